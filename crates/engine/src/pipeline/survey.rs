//! A pass over a list before its objects are fetched, or beside that: what there is, and when it
//! expires.

use super::plan::{Plan, Source};
use crate::rt::machine;
use crate::schedule::Forecast;
use crate::source::list::{List, ListSpec};
use std::collections::HashMap;
use windrow_model::Error;
use windrow_model::limits::SURVEY_HOSTS;
use windrow_model::task::Details;
use windrow_model::url::Origin;

/// What a list holds.
#[derive(Debug, Default)]
pub struct Survey {
    /// Objects, malformed lines included.
    pub objects: u64,
    /// Lines that name no object.
    pub malformed: u64,
    /// Objects of each server, of so many servers as are counted.
    pub servers: HashMap<Origin, u64>,
    /// Objects of other servers.
    pub elsewhere: u64,
    /// Sum of the sizes that the list tells.
    pub bytes: u64,
    /// When the URLs expire.
    pub forecast: Forecast,
    /// How many of them do.
    pub expiring: u64,
}

impl Survey {
    /// Reads a list to its end, or to its first `limit` objects; ends early when `go_on` says so
    /// after a page.
    ///
    /// # Errors
    /// The list cannot be read.
    pub fn of(
        list: &ListSpec,
        limit: u64,
        mut go_on: impl FnMut(&Self) -> bool,
    ) -> Result<Self, Error> {
        let mut survey = Self::default();
        let mut pages = List::open(list, None)?;
        while survey.objects < limit
            && let Some(page) = pages.page()?
        {
            let room = usize::try_from(limit - survey.objects).unwrap_or(usize::MAX);
            let count = page.sheet.names.len().min(room);
            if let Some(details) = &page.sheet.details {
                survey.add(details, count);
            }
            survey.objects += count as u64;
            if !go_on(&survey) {
                break;
            }
        }
        Ok(survey)
    }

    fn add(&mut self, details: &Details, count: usize) {
        let mut counts = vec![0_u64; details.origins.len()];
        for &origin in details.origin.iter().take(count) {
            match counts.get_mut(origin as usize) {
                Some(count) => *count += 1,
                None => self.malformed += 1,
            }
        }
        for (origin, count) in details.origins.iter().zip(counts) {
            if count == 0 {
                // Behind the limit.
                continue;
            }
            if let Some(known) = self.servers.get_mut(origin) {
                *known += count;
            } else if self.servers.len() < SURVEY_HOSTS {
                self.servers.insert(origin.clone(), count);
            } else {
                self.elsewhere += count;
            }
        }
        let expiry = &details.expiry[..details.expiry.len().min(count)];
        self.expiring += expiry.iter().filter(|&&expiry| expiry > 0).count() as u64;
        self.forecast.add(count as u64, expiry);
        let sizes = details.expected.iter().take(count).filter_map(|expected| expected.size);
        self.bytes = sizes.fold(self.bytes, u64::saturating_add);
    }
}

/// What a run would do.
#[derive(Debug)]
pub struct Preview {
    /// What there is to fetch, where a list tells.
    pub survey: Option<Survey>,
    /// Cores, requests in flight, memory.
    pub setting: String,
    /// Files that this process may open.
    pub files: usize,
}

/// Looks at what a run would do. Fetches nothing and changes nothing; a list is read to its end.
///
/// # Errors
/// Those of a run before its first request.
pub fn preview(plan: Plan) -> Result<Preview, Error> {
    let files = machine::raise_file_limit();
    let plan = plan.settle(files)?;
    let survey = match &plan.source {
        Source::Server(_) => None,
        Source::List(list) => {
            let limit = plan.limit.unwrap_or(u64::MAX);
            Some(Survey::of(list, limit, |_| true)?)
        }
    };
    Ok(Preview { survey, setting: plan.setting(), files })
}
