//! `windrow serve --dir` of a real tree, and back to files: byte for byte the same.

use crate::support::{Place, assert_same, windrow};
use windrow_testkit::Tree;

/// Names that a file system takes and that something on the way might trip over.
pub(crate) const PLAIN: [&str; 30] = [
    "plain",
    "two words",
    " leading and trailing ",
    "100%",
    "%41",
    "%2e%2e%2f",
    "a+b=c&d",
    "what?next-marker=x",
    "hash#fragment",
    "semi;colon",
    "quote\"and'",
    "back\\slash",
    "<angle>|pipe*",
    "-dash",
    "~tilde",
    ".hidden",
    "..two dots first",
    "...",
    "über",
    "u\u{308}ber",
    "日本語/テキスト",
    "emoji 🦀/🦀",
    "a/b/c/d/e/f/g",
    "a/b/c.d",
    "a/sibling",
    "folder with spaces/file with spaces",
    "folder%2Fnot/file",
    "NUL.txt",
    "con",
    "x/.windrow",
];

/// Names that windrow stores in their encoded form.
pub(crate) const ENCODED: [&str; 6] =
    ["%=marked", "%@marked/x", "%+marked", "tab\there", "new\nline/x\r", "del\u{7f}"];

/// Bytes without a pattern that a mistake could hide in.
pub(crate) fn noise(size: usize) -> Vec<u8> {
    let corpus = windrow_model::Corpus { count: 1, size: size as u64, seed: 99 };
    let mut body = Vec::new();
    corpus.body_into(0, &mut body);
    body
}

/// Odd names, and bodies from nothing to 5 MiB.
pub(crate) fn odd_tree(names: impl IntoIterator<Item = &'static str>) -> Tree {
    let long =
        ["n".repeat(150), format!("{}/{}/{}", "d".repeat(100), "e".repeat(100), "f".repeat(98))];
    let sizes = [("empty", 0), ("one", 1), ("300 KiB", 300 << 10), ("5 MiB", 5 << 20)];
    let odd = names.into_iter().map(|name| (name.to_owned(), format!("body of {name}").into()));
    let long = long.into_iter().map(|name| (name, b"long".to_vec()));
    let sizes = sizes.into_iter().map(|(name, size)| (name.to_owned(), noise(size)));
    odd.chain(long).chain(sizes).collect()
}

#[test]
fn a_tree_comes_back_byte_for_byte() {
    let place = Place::new();
    let tree = odd_tree(PLAIN);
    tree.write(&place.at("tree"));
    let server = windrow().env("WINDROW_PAGE", "7").serve_dir(&place.at("tree"));
    for (memory, pipeline) in [("16MiB", "1"), ("1GiB", "1"), ("16MiB", "16")] {
        let get = place.get(&server.url).args(["--memory", memory, "--pipeline", pipeline]);
        let done = get.args(["--format", "files", "--fresh"]).run().complete(tree.0.len() as u64);
        assert_eq!(done.tree(), tree);
        assert_eq!(place.entries(), ["out", "tree"]);
    }
}

#[test]
fn names_that_are_not_stored_as_they_are_lead_back() {
    let place = Place::new();
    let tree = odd_tree(PLAIN.into_iter().chain(ENCODED));
    tree.write(&place.at("tree"));
    let server = windrow().serve_dir(&place.at("tree"));
    let done = place.get(&server.url).run().complete(tree.0.len() as u64);
    let expected = tree.0.into_iter();
    let expected = expected.map(|(path, body)| (path.into_os_string().into_encoded_bytes(), body));
    assert_same(&done.tree().objects(), &expected.collect());
}

#[test]
fn a_destination_can_be_served_again() {
    let place = Place::new();
    let tree = odd_tree(PLAIN);
    tree.write(&place.at("tree"));
    let first = windrow().serve_dir(&place.at("tree"));
    place.get(&first.url).run().complete(tree.0.len() as u64);

    let second = windrow().serve_dir(&place.at("out"));
    let again = Place::new();
    let done = again.get(&second.url).run().complete(tree.0.len() as u64);
    assert_eq!(done.tree(), tree, "the state of the first run is no content");
}

#[test]
fn links_and_what_they_lead_to_are_not_served() {
    let place = Place::new();
    let tree: Tree = [("inside/file", "x")].into_iter().collect();
    tree.write(&place.at("tree"));
    std::fs::write(place.at("secret"), "s").unwrap();
    std::os::unix::fs::symlink(place.at("secret"), place.at("tree/link")).unwrap();
    std::os::unix::fs::symlink(place.path(), place.at("tree/inside/up")).unwrap();
    let server = windrow().serve_dir(&place.at("tree"));
    let done = place.get(&server.url).run().complete(1);
    assert_eq!(done.tree(), tree);
}
