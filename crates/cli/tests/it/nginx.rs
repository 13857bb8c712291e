//! nginx as the file server: an HTTP/1.1 server that windrow did not write.

use crate::directory::PLAIN;
use crate::support::{Objects, Place, assert_same, stored, windrow};
use windrow_testkit::script::{body_of, http};
use windrow_testkit::{Nginx, Tree};

/// Names on one page.
const PAGE: usize = 1000;

/// Writes pages and objects into the place, and starts nginx over them.
fn serve(place: &Place, objects: &Objects, settings: &str) -> Nginx {
    let names: Vec<_> = objects.keys().map(|name| String::from_utf8_lossy(name)).collect();
    let pages = names.len().div_ceil(PAGE).max(1);
    let mut pages: Tree = (0..pages)
        .map(|page| {
            let names = &names[page * PAGE..names.len().min((page + 1) * PAGE)];
            let marker = (page + 1 < pages).then(|| format!("p{}", page + 1));
            (format!("pages/p{page}.json"), http::page(names, marker.as_deref()))
        })
        .collect();
    let files: Tree = objects.iter().collect_tree("objects");
    pages.0.extend(files.0);
    pages.write(place.path());
    let folder = place.path().display();
    Nginx::start(
        "map $args $page { default p0; ~^next-marker=(?<asked>p[0-9]+)$ $asked; }",
        &format!(
            "{settings}
            default_type application/octet-stream;
            location = /list {{
                default_type application/json;
                root {folder};
                try_files /pages/$page.json =404;
            }}
            location /get/ {{ alias {folder}/objects/; }}"
        ),
    )
}

trait CollectTree {
    fn collect_tree(self, folder: &str) -> Tree;
}

impl<'o, I: Iterator<Item = (&'o Vec<u8>, &'o Vec<u8>)>> CollectTree for I {
    /// Objects as files below a folder.
    fn collect_tree(self, folder: &str) -> Tree {
        self.map(|(name, body)| ([folder.as_bytes(), b"/", name].concat(), body.clone())).collect()
    }
}

fn numbered(count: usize) -> Objects {
    let names = (0..count).map(|number| format!("object-{number:05}").into_bytes());
    names.map(|name| (name.clone(), body_of(&name))).collect()
}

#[test]
fn five_thousand_objects_over_connections_that_end_after_seven() {
    let place = Place::new();
    let objects = numbered(5000);
    let nginx = serve(&place, &objects, "keepalive_requests 7;");
    for (format, pipeline) in [("tar", "1"), ("tar", "64"), ("files", "64")] {
        let place = Place::new();
        let get = place.get(&nginx.url()).args(["--format", format, "--pipeline", pipeline]);
        // The server says when a connection ends, or ends it: nothing failed, so nothing is
        // counted as tried again.
        let done = get.env("WINDROW_CONCURRENCY", "auto").run().complete(5000);
        let done = done.figures([("retries", 0), ("pages", 5)]);
        assert_same(&stored(&done), &objects);
    }
    assert_eq!(nginx.complaints(), "");
}

#[test]
fn odd_names_are_asked_for_as_they_are() {
    let place = Place::new();
    let objects: Objects = PLAIN.map(|name| (name.into(), format!("body of {name}").into())).into();
    let nginx = serve(&place, &objects, "");
    let count = PLAIN.len() as u64;
    for path in ["/get/{name}", "/get/{+name}"] {
        for pipeline in ["1", "64"] {
            let own = Place::new();
            let get = own.get(&nginx.url()).args(["--get-path", path, "--pipeline", pipeline]);
            let done = get.run().complete(count);
            assert_same(&stored(&done), &objects);
        }
    }
}

#[test]
fn a_server_that_likes_to_compress_is_asked_not_to() {
    let place = Place::new();
    let objects: Objects = [(b"zeros".to_vec(), vec![b'0'; 100_000])].into();
    let nginx = serve(&place, &objects, "gzip on; gzip_types *; gzip_min_length 1;");
    let done = place.get(&nginx.url()).run().complete(1);
    assert_same(&stored(&done), &objects);
}

#[test]
fn bodies_from_nothing_to_megabytes() {
    let place = Place::new();
    let sizes = [0, 1, 511, 512, 513, 65_536, 300_000, 5_000_000];
    let body = |size: usize| (format!("size {size}").into(), crate::directory::noise(size));
    let objects: Objects = sizes.into_iter().map(body).collect();
    let nginx = serve(&place, &objects, "keepalive_requests 3;");
    for (format, pipeline) in [("files", "1"), ("tar", "8")] {
        let own = Place::new();
        let get = own.get(&nginx.url()).args(["--format", format, "--pipeline", pipeline]);
        let done = get.args(["--memory", "2MiB"]).run().complete(sizes.len() as u64);
        assert_same(&stored(&done), &objects);
    }
}

#[test]
fn answers_without_files() {
    let names: Vec<_> = (0..500).map(|number| format!("n{number}")).collect();
    let page = String::from_utf8(http::page(&names, None)).unwrap();
    let body = "x".repeat(100);
    let nginx = Nginx::start(
        "",
        &format!(
            "location = /base/list {{ default_type application/json; return 200 '{page}'; }}
            location /base/get/ {{ return 200 '{body}'; }}"
        ),
    );
    let place = Place::new();
    let get = windrow().get(&format!("{}/base/", nginx.url()), &place.at("out"));
    let done = get.args(["--format", "tar", "--pipeline", "64"]).run().complete(500);
    let expected = names.into_iter().map(|name| (name.into_bytes(), body.clone().into_bytes()));
    assert_same(&stored(&done), &expected.collect());
}
