//! Pauses that servers ask for (`Retry-After`): kept by every core, and to the end.

use crate::support::{Place, assert_same, stored};
use std::time::Duration;
use windrow_testkit::Step;
use windrow_testkit::script::{Site, http};

/// The server asks for a second when it is first asked for `n0`.
fn pausing(status: &'static str) {
    let site = Site::numbered(300).pages_of(20);
    let server = site.start_but(move |request, name| {
        (name == Some("n0") && request.attempt == 0).then(|| {
            let busy = http::response(status, &["Retry-After: 1"], b"later\n");
            vec![Step::Send(busy)]
        })
    });
    let place = Place::new();
    let settings = ["--cores", "2", "-c", "8"];
    let done = place.get(&server.url()).args(settings).run().complete(300);
    assert_same(&stored(&done), &site.objects());

    let requests = server.requests();
    let asked =
        requests.iter().find(|request| request.target == "/get/n0").expect("n0 was asked for").time;
    // What was under way when the answer came has arrived long before half of the pause is over;
    // from then on there is silence to its end.
    let early = requests
        .iter()
        .filter(|request| {
            let after = request.time.saturating_duration_since(asked);
            after > Duration::from_millis(500) && after < Duration::from_millis(1000)
        })
        .count();
    assert_eq!(early, 0, "requests during the pause");
    let again = requests.iter().filter(|request| request.target == "/get/n0").nth(1);
    let again = again.expect("n0 was asked for again").time;
    assert!(again - asked >= Duration::from_secs(1), "{:?}", again - asked);
}

#[test]
fn too_many_requests_pause_every_core() {
    pausing("429 Too Many Requests");
}

#[test]
fn an_unavailable_service_pauses_every_core() {
    pausing("503 Service Unavailable");
}
