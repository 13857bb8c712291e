//! Waiting for a condition: always with a limit, never for a fixed time.

use std::time::{Duration, Instant};

/// How long a test waits for what is bound to come, on a machine under load. Nothing is slower
/// because of it: it only ends what would never end.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Between two looks.
const PERIOD: Duration = Duration::from_millis(2);

/// Looks until `condition` holds.
///
/// # Panics
/// When it does not within [`LIMIT`]; says `what` was waited for.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    until_some(what, LIMIT, || condition().then_some(()));
}

/// Looks until there is a value.
///
/// # Panics
/// When there is none within `limit`; says `what` was waited for.
pub fn until_some<T>(what: &str, limit: Duration, look: impl FnMut() -> Option<T>) -> T {
    within(limit, look).unwrap_or_else(|| panic!("waited {limit:?} in vain for {what}"))
}

/// Looks until there is a value, or the limit is over.
pub fn within<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        // Looked at once more behind the deadline: this process may have stood still.
        let late = Instant::now() >= deadline;
        if let Some(value) = look() {
            return Some(value);
        }
        if late {
            return None;
        }
        std::thread::sleep(PERIOD); // tidy: sleep-ok: polling with a deadline
    }
}
