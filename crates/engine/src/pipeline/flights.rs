//! The requests of one core that are under way, and which of two for the same object counts.
//!
//! A request is a *first* one, with an errand, or a *second* one for the errand of another. The
//! errand is in one place only: it moves to the second where the first fails, and leaves with
//! the one that is answered first. The other is an *orphan* from then on: whatever comes of it
//! is thrown away. So no object is ever stored twice, whoever answers when.

/// Stands for a request on the wire. Not `Clone`: it lands once.
#[derive(Debug)]
pub(super) struct FlightId(u32);

impl FlightId {
    /// Where [`Flights::cargo_at`] finds what belongs to it.
    pub(super) fn index(&self) -> usize {
        self.0 as usize
    }
}

/// Requests with their errands `E`, and what else belongs to each, `C`.
#[derive(Debug)]
pub(super) struct Flights<E, C> {
    slots: Vec<Option<Slot<E, C>>>,
    free: Vec<u32>,
    seconds: usize,
    orphans: usize,
}

#[derive(Debug)]
struct Slot<E, C> {
    job: Job<E>,
    cargo: C,
}

#[derive(Debug)]
enum Job<E> {
    First { errand: E, second: Option<u32> },
    Second { first: u32 },
    Orphan,
}

/// What a request that has landed means.
#[derive(Debug)]
pub(super) struct Landed<'f, E, C> {
    /// The errand that ends with it, if one does.
    pub(super) errand: Option<E>,
    pub(super) cargo: C,
    /// Nobody had waited for it any more.
    pub(super) was_orphan: bool,
    /// The other request for the same errand, for which nobody waits from now on.
    pub(super) orphan: Option<&'f mut C>,
}

impl<E, C> Default for Flights<E, C> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), seconds: 0, orphans: 0 }
    }
}

impl<E, C> Flights<E, C> {
    /// A request for an errand.
    #[inline(always)]
    pub(super) fn first(&mut self, errand: E, cargo: C) -> FlightId {
        FlightId(self.put(Slot { job: Job::First { errand, second: None }, cargo }))
    }

    /// A second request for an errand that is out; `first` is of [`Flights::alone`].
    pub(super) fn second(&mut self, first: usize, cargo: C) -> FlightId {
        let index = self.put(Slot { job: Job::Second { first: first as u32 }, cargo });
        if let Some(Job::First { second, .. }) = self.slots[first].as_mut().map(|s| &mut s.job) {
            debug_assert!(second.is_none(), "an errand has at most two requests");
            *second = Some(index);
        }
        self.seconds += 1;
        FlightId(index)
    }

    /// First requests that have no second.
    pub(super) fn alone(&self) -> impl Iterator<Item = (usize, &E, &C)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| match slot.as_ref()? {
            Slot { job: Job::First { errand, second: None }, cargo } => {
                Some((index, errand, cargo))
            }
            _ => None,
        })
    }

    /// Second requests that are out.
    pub(super) fn seconds(&self) -> usize {
        self.seconds
    }

    /// Requests under way for which somebody waits.
    #[cfg(test)]
    fn wanted(&self) -> usize {
        self.slots.len() - self.free.len() - self.orphans
    }

    /// Whether nothing is under way, wanted or not.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.len() == self.free.len()
    }

    /// The errand that a request is for; `None` for an orphan.
    pub(super) fn errand(&self, id: &FlightId) -> Option<&E> {
        match &self.slot(id.0).job {
            Job::First { errand, .. } => Some(errand),
            Job::Second { first } => match &self.slot(*first).job {
                Job::First { errand, .. } => Some(errand),
                _ => None,
            },
            Job::Orphan => None,
        }
    }

    /// What else belongs to a request.
    pub(super) fn cargo(&mut self, id: &FlightId) -> &mut C {
        &mut self.slot_mut(id.0).cargo
    }

    /// What belongs to the request at an index of [`Flights::alone`].
    pub(super) fn cargo_at(&self, index: usize) -> Option<&C> {
        self.slots.get(index)?.as_ref().map(|slot| &slot.cargo)
    }

    /// A request has landed: the common case, where no second one is out. Else the id comes back,
    /// for [`Flights::land`].
    // What the optimizer can see through costs a few loads; as a call it would copy everything.
    #[inline(always)]
    pub(super) fn land_alone(&mut self, id: FlightId) -> Result<(E, C), FlightId> {
        let slot = &mut self.slots[id.0 as usize];
        if !matches!(slot, Some(Slot { job: Job::First { second: None, .. }, .. })) {
            return Err(id);
        }
        self.free.push(id.0);
        match slot.take() {
            Some(Slot { job: Job::First { errand, .. }, cargo }) => Ok((errand, cargo)),
            _ => unreachable!("looked at above"),
        }
    }

    /// A request has landed. `decides` is whether the errand ends with it even if another request
    /// for it is out: it was answered, and no other answer is to be expected.
    // Taken by value: it has landed.
    #[allow(clippy::needless_pass_by_value)]
    pub(super) fn land(&mut self, id: FlightId, decides: bool) -> Landed<'_, E, C> {
        let Slot { job, cargo } = self.take(id.0);
        let mut landed = Landed { errand: None, cargo, was_orphan: false, orphan: None };
        match job {
            Job::Orphan => {
                self.orphans -= 1;
                landed.was_orphan = true;
            }
            Job::First { errand, second: None } => landed.errand = Some(errand),
            Job::First { errand, second: Some(second) } => {
                self.seconds -= 1;
                let other = self.slots[second as usize].as_mut().expect(LINKED);
                if decides {
                    other.job = Job::Orphan;
                    self.orphans += 1;
                    landed.errand = Some(errand);
                    landed.orphan = Some(&mut other.cargo);
                } else {
                    other.job = Job::First { errand, second: None };
                }
            }
            Job::Second { first } => {
                self.seconds -= 1;
                let other = self.slots[first as usize].as_mut().expect(LINKED);
                let job = std::mem::replace(&mut other.job, Job::Orphan);
                let Job::First { errand, .. } = job else { unreachable!("{LINKED}") };
                if decides {
                    self.orphans += 1;
                    landed.errand = Some(errand);
                    landed.orphan = Some(&mut other.cargo);
                } else {
                    other.job = Job::First { errand, second: None };
                }
            }
        }
        landed
    }

    #[inline(always)]
    fn put(&mut self, slot: Slot<E, C>) -> u32 {
        match self.free.pop() {
            Some(index) => {
                self.slots[index as usize] = Some(slot);
                index
            }
            None => {
                self.slots.push(Some(slot));
                self.slots.len() as u32 - 1
            }
        }
    }

    fn take(&mut self, index: u32) -> Slot<E, C> {
        self.free.push(index);
        self.slots[index as usize].take().expect("an id stands for a request that is out")
    }

    fn slot(&self, index: u32) -> &Slot<E, C> {
        self.slots[index as usize].as_ref().expect("an id stands for a request that is out")
    }

    fn slot_mut(&mut self, index: u32) -> &mut Slot<E, C> {
        self.slots[index as usize].as_mut().expect("an id stands for a request that is out")
    }
}

const LINKED: &str = "two requests for one errand know each other while both are out";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As little `Clone` as a ticket.
    #[derive(Debug, PartialEq)]
    struct Errand(usize);

    #[test]
    fn the_first_answer_counts_and_the_other_is_nobodys() {
        for second_wins in [false, true] {
            let mut flights = Flights::default();
            let first = flights.first(Errand(7), "first");
            let second = flights.second(0, "second");
            assert_eq!((flights.errand(&second), flights.seconds()), (Some(&Errand(7)), 1));
            assert_eq!(flights.alone().count(), 0);
            let (winner, loser) = if second_wins { (second, first) } else { (first, second) };
            let landed = flights.land(winner, true);
            assert_eq!(landed.errand, Some(Errand(7)));
            assert_eq!(
                landed.orphan.as_deref(),
                Some(if second_wins { &"first" } else { &"second" })
            );
            assert_eq!((flights.wanted(), flights.is_empty()), (0, false));
            assert_eq!(flights.errand(&loser), None);
            let landed = flights.land(loser, true);
            assert!(landed.errand.is_none() && landed.was_orphan && flights.is_empty());
        }
    }

    #[test]
    fn the_errand_ends_with_the_last_that_fails() {
        for second_fails in [false, true] {
            let mut flights = Flights::default();
            let first = flights.first(Errand(7), ());
            let second = flights.second(0, ());
            let (early, late) = if second_fails { (second, first) } else { (first, second) };
            assert_eq!(flights.land(early, false).errand, None);
            assert_eq!((flights.wanted(), flights.seconds()), (1, 0));
            assert_eq!(flights.errand(&late), Some(&Errand(7)));
            assert_eq!(flights.alone().count(), 1, "it may have another second one");
            assert_eq!(flights.land(late, false).errand, Some(Errand(7)));
        }
    }

    proptest! {
        /// Whatever happens in which order, each errand ends exactly once.
        #[test]
        fn every_errand_ends_exactly_once(steps in prop::collection::vec((0..4_u8, any::<usize>()), 1..300)) {
            let mut flights = Flights::default();
            let mut out = Vec::new();
            let mut ended = Vec::new();
            let end = |flights: &mut Flights<Errand, ()>, id, decides, ended: &mut Vec<u32>| {
                if let Some(Errand(number)) = flights.land(id, decides).errand {
                    ended[number] += 1;
                }
            };
            for (step, pick) in steps {
                match step {
                    0 => {
                        out.push(flights.first(Errand(ended.len()), ()));
                        ended.push(0);
                    }
                    1 => {
                        let alone: Vec<_> = flights.alone().map(|(index, ..)| index).collect();
                        if !alone.is_empty() {
                            out.push(flights.second(alone[pick % alone.len()], ()));
                        }
                    }
                    _ if out.is_empty() => {}
                    _ => {
                        let id = out.swap_remove(pick % out.len());
                        end(&mut flights, id, step == 2, &mut ended);
                    }
                }
                prop_assert!(flights.wanted() <= out.len());
            }
            for id in out {
                end(&mut flights, id, false, &mut ended);
            }
            prop_assert!(flights.is_empty() && flights.wanted() == 0 && flights.seconds() == 0);
            prop_assert!(ended.iter().all(|&times| times == 1), "{ended:?}");
        }
    }
}
