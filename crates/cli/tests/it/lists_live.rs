//! Lists while they come in, and lists of several hosts: nothing waits for what it needs not wait
//! for.

use crate::support::{Objects, Place, assert_same, by_url, stored, tool, urls};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::process::Command;
use windrow_testkit::script::{Site, http};
use windrow_testkit::{Gate, Script, Step, Windrow, wait};

/// A named pipe, and what opens its end for writing once somebody reads.
fn pipe(place: &Place) -> (String, impl Fn() -> File) {
    let path = place.at("pipe.txt");
    tool(Command::new("mkfifo").arg(&path));
    let text = path.to_str().expect("a path of text").to_owned();
    (text, move || OpenOptions::new().write(true).open(&path).expect("somebody reads"))
}

/// Gives a run one line after the other, each when the object before it is stored.
fn line_by_line(call: impl Fn(&Place, &str) -> Windrow) {
    let site = Site::numbered(6);
    let server = site.start();
    let place = Place::new();
    let (path, open) = pipe(&place);
    let running = call(&place, &path).start();
    let mut writer = open();
    let host = server.url().replace("http://", "");
    for number in 0..6 {
        writeln!(writer, "{}/get/n{number}", server.url()).expect("somebody reads");
        writer.flush().expect("somebody reads");
        server.until_asked("/get/", number + 1);
        let file = place.at(&format!("out/{host}/get/n{number}"));
        wait::until("the object is stored", || file.exists());
    }
    drop(writer);
    let done = running.finish().complete(6);
    assert_same(&stored(&done), &by_url(&server.url(), &site.objects()));
}

#[test]
fn objects_are_stored_while_standard_input_is_open() {
    line_by_line(|place, path| {
        let script = r#"in="$0"; exec "$@" < "$in""#;
        place.get("-").under("sh", &["-c".into(), script.into(), path.into()])
    });
}

#[test]
fn objects_are_stored_while_a_named_pipe_is_open() {
    line_by_line(|place, path| place.get(path));
}

/// A server at another address of this machine, that has the objects of a site.
fn at(address: &str, site: &Site) -> Script {
    let site = site.clone();
    Script::start_at(format!("{address}:0").parse().expect("it can be done"), move |request| {
        site.answer(request)
    })
}

#[test]
fn a_dead_host_takes_nothing_from_the_others() {
    let site = Site::numbered(60);
    let (one, two) = (at("127.0.0.1", &site), at("127.0.0.2", &site));
    // Nobody listens there.
    let dead = format!("http://127.0.0.3:{}", one.port());
    let lists = [&one.url(), &dead, &two.url()].map(|url| urls(url, &site.objects()));
    let mut list = String::new();
    for number in 0..60 {
        list.extend(
            lists
                .iter()
                .map(|urls| format!("{}\n", urls.lines().nth(number).expect("it can be done"))),
        );
    }
    let mut expected = by_url(&one.url(), &site.objects());
    expected.extend(by_url(&two.url(), &site.objects()));
    for format in ["files", "tar"] {
        let place = Place::new();
        let list = place.file("l.txt", &list);
        let done = place.get(&list).args(["--format", format]).run();
        let done = done.expect(1).sum_holds();
        assert_eq!(done.failed("connect"), 60, "{:#}", done.summary());
        assert_same(&stored(&done), &expected);
        for line in done.failures() {
            let url = line["url"].as_str().unwrap_or_default();
            assert!(url.starts_with(&dead), "{line}");
        }
    }
}

#[test]
fn a_host_that_is_silent_holds_up_no_other() {
    let site = Site::numbered(300);
    let gate = Gate::new();
    let silent = {
        let (site, gate) = (site.clone(), gate.clone());
        Script::start_at("127.0.0.2:0".parse().expect("it can be done"), move |request| {
            let mut steps = vec![Step::Await(gate.clone())];
            steps.extend(site.answer(request));
            steps
        })
    };
    let quick = site.start();
    // All that is silent comes first, and is more than there are connections.
    let few: Objects = site.objects().into_iter().take(40).collect();
    let place = Place::new();
    let list = urls(&silent.url(), &few) + &urls(&quick.url(), &site.objects());
    let list = place.file("l.txt", list);
    let running = place.get(&list).args(["--cores", "2"]).start();
    quick.until_asked("/get/", 300);
    gate.open();
    let done = running.finish().complete(340);
    let mut expected = by_url(&quick.url(), &site.objects());
    expected.extend(by_url(&silent.url(), &few));
    assert_same(&stored(&done), &expected);
}

#[test]
fn a_host_that_only_throttles_stops_no_other() {
    let site = Site::numbered(100);
    let gate = Gate::new();
    let busy = {
        let (site, gate) = (site.clone(), gate.clone());
        Script::start_at("127.0.0.2:0".parse().expect("it can be done"), move |request| match gate
            .is_open()
        {
            true => site.answer(request),
            false => http::send_status("429 Too Many Requests"),
        })
    };
    let quick = site.start();
    let few: Objects = site.objects().into_iter().take(10).collect();
    let place = Place::new();
    let list = urls(&busy.url(), &few) + &urls(&quick.url(), &site.objects());
    let list = place.file("l.txt", list);
    let running = place.get(&list).start();
    quick.until_asked("/get/", 100);
    gate.open();
    running.finish().complete(110);
}
