//! `--dry-run`: what would be done, and nothing done.

use crate::support::{Place, windrow};
use windrow_testkit::script::Site;

#[test]
fn a_list_is_counted_and_nothing_fetched() {
    let site = Site::numbered(10);
    let server = site.start();
    let place = Place::new();
    let url = server.url();
    let mut list: String = (0..10).map(|n| format!("{url}/get/n{n}\n")).collect();
    list += "https://other.invalid/a\nhttps://other.invalid/b\nno URL\n";
    let list = place.file("l.txt", list);
    for format in ["files", "tar", "null"] {
        let done = place.get(&list).args(["--dry-run", "--format", format]).run().expect(0);
        assert_eq!(done.stderr, "");
        for says in [
            "objects      13\n",
            "malformed    1 line,",
            "hosts        2\n",
            &format!("10  {url}\n"),
            "2  https://other.invalid\n",
            format,
            "open files",
            "memory",
            "as the servers bear",
        ] {
            assert!(done.stdout.contains(says), "`{says}` is missing:\n{}", done.stdout);
        }
        assert!(!done.stdout.contains("expir"), "{}", done.stdout);
    }
    // With a part of it, and a rate.
    let get = place.get(&list).args(["--dry-run", "--limit", "5", "--rate", "10/m"]);
    let done = get.run().expect(0);
    for says in ["objects      5\n", "hosts        1\n", "0.1", "30"] {
        assert!(done.stdout.contains(says), "`{says}` is missing:\n{}", done.stdout);
    }
    let get = place.get(&list).args(["--dry-run", "--sample", "4"]);
    let done = get.run().expect(0);
    assert!(done.stdout.contains("objects      4\n"), "{}", done.stdout);
    assert_eq!(server.connections(), 0);
    assert_eq!(place.entries(), ["l.txt"], "nothing is left behind");
    // What would be refused is refused.
    let missing = place.at("missing.txt");
    let get = place.get(missing.to_str().expect("it can be done")).arg("--dry-run");
    get.run().expect(2).says(["missing.txt"]);
    place.get(&list).args(["--dry-run", "--pipeline", "0"]).run().expect(2);
    let csv = place.file("l.csv", "a,b\n1,2\n");
    place.get(&csv).arg("--dry-run").run().expect(2).says(["no column `url`"]);
}

#[test]
fn signed_urls_are_looked_at() {
    // Whole pages: the forecast judges a page as one.
    let synthetic = ["--synthetic", "1024", "--sign-key", "canary-key"];
    let server = windrow().serve([&synthetic[..], &["--stats"]].concat());
    let place = Place::new();
    let printed = |expires: &str, clock: &str| {
        let serve = windrow().args(["serve", "--print-urls", "--base", &server.url]);
        let serve = serve.args(synthetic).args(["--expires-in", expires, "--clock-offset", clock]);
        serve.run().expect(0).stdout
    };
    let list = place.file("l.txt", printed("5h", "0s") + &printed("1h", "-3h"));
    let done = place.get(&list).arg("--dry-run").run().expect(0);
    for says in
        ["objects      2,048\n", "expiry       2,048 URLs, 1,024 expired, the next expires in "]
    {
        assert!(done.stdout.contains(says), "`{says}` is missing:\n{}", done.stdout);
    }
    assert!(!done.stdout.contains("canary") && !done.stdout.contains("Signature"));
    // Five an hour will not do.
    let done = place.get(&list).args(["--dry-run", "--rate", "5/h"]).run().expect(0);
    assert!(done.stdout.contains("will expire"), "{}", done.stdout);
    assert_eq!(server.stats().expect("stats")["objects"], 0);
    assert_eq!(place.entries(), ["l.txt"]);
}

#[test]
fn a_listing_is_not_read() {
    let server = Site::numbered(10).start();
    let place = Place::new();
    let done = place.get(&server.url()).arg("--dry-run").run().expect(0);
    assert!(done.stdout.contains(&server.url()), "{}", done.stdout);
    assert_eq!((server.connections(), place.entries().len()), (0, 0));
}
