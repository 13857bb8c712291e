//! The schedule: which task is next, which waits, which is done with.
//!
//! All decisions, no I/O: time and randomness come in as arguments, so that a run can be played
//! again from its seed.

pub mod access;
pub mod backoff;
pub mod board;
pub mod budget;
pub mod clock;
pub mod crowd;
pub mod desk;
pub mod forecast;
pub mod gate;
pub mod hedge;
mod lull;
pub mod origin;
pub mod rate;
#[cfg(test)]
mod simulation;
pub mod throttle;
pub mod ticket;

pub use access::Access;
pub use backoff::RetryPolicy;
pub use board::{Board, Key, NamedBy, SiteId};
pub use clock::ClockOffset;
pub use crowd::{Crowd, Tick};
pub use desk::{Desk, Next, Verdict};
pub use forecast::{Forecast, Outlook};
pub use gate::Gate;
pub use hedge::Hedge;
pub use lull::{Lull, Seen};
pub use origin::{Fault, Origin, Outage, Probe};
pub use rate::{ByteRate, Rate};
pub use throttle::{Answers, Throttle};
pub use ticket::{Address, Detour, Errand, Ticket};

/// SplitMix64: jitter needs no better.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
