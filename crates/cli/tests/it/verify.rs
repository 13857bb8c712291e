//! `windrow verify`: what is whole is called whole, and what is damaged is named, and nothing else.

use crate::support::{Place, entries, packs, tool, windrow};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use windrow_engine::inspect::{self, Finding, Kind, Settings, Verdict};
use windrow_testkit::script::{Site, body_of, http};
use windrow_testkit::{Finished, Step, tree, wait};

/// What is wrong, and the sum; in this process, so that it can be asked thousands of times.
fn look(dest: &Path) -> (Vec<Finding>, Verdict) {
    let mut all = Vec::new();
    let verdict = inspect::verify(dest, Settings::default(), &mut |finding| {
        all.push(finding.clone());
        true
    });
    all.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    let verdict = verdict.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(verdict.is_right(), all.is_empty());
    (all, verdict)
}

/// Kinds and names of what is wrong.
#[track_caller]
fn wrong(dest: &Path) -> Vec<(Kind, String)> {
    let name = |finding: Finding| String::from_utf8_lossy(&finding.name).into_owned();
    look(dest).0.into_iter().map(|finding| (finding.kind, name(finding))).collect()
}

#[track_caller]
fn is_wrong<'n>(dest: &Path, expected: impl IntoIterator<Item = (Kind, &'n str)>) {
    let expected: Vec<_> = expected.into_iter().map(|(kind, name)| (kind, name.into())).collect();
    assert_eq!(wrong(dest), expected);
}

/// `windrow verify` of a destination.
fn verify(dest: &Path) -> windrow_testkit::Windrow {
    windrow().arg("verify").arg(dest)
}

#[track_caller]
fn is_right(dest: &Path) -> Finished {
    let before = tree::outline(dest, Path::new("-"));
    let done = verify(dest).run().expect(0);
    assert_eq!(done.stdout, "", "{}", done.stderr);
    assert!(tree::outline(dest, Path::new("-")) == before, "verify changed something");
    done
}

/// A run of these names in both formats, in packs of 20.
fn runs(site: &Site) -> Vec<(Place, PathBuf, &'static str)> {
    let server = site.start();
    let run = |format| {
        let place = Place::new();
        let get = place.get(&server.url()).args(["--format", format, "--shard-size", "20"]);
        let done = get.args(["--cores", "1"]).run().expect(0);
        let dest = done.dest.expect("a destination");
        (place, dest, format)
    };
    ["tar", "files"].map(run).into()
}

fn tar_of(site: &Site) -> (Place, PathBuf) {
    let (place, dest, _) = runs(site).swap_remove(0);
    (place, dest)
}

fn files_of(site: &Site) -> (Place, PathBuf) {
    let (place, dest, _) = runs(site).swap_remove(1);
    (place, dest)
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    change(&mut bytes);
    std::fs::write(path, bytes).expect("a file that can be written");
}

/// Members of a pack: name, where its headers begin, where its body is.
fn members(pack: &Path) -> Vec<(String, usize, std::ops::Range<usize>)> {
    let mut members = Vec::new();
    let mut start = 0;
    let file = std::fs::File::open(pack).expect("a pack");
    windrow_engine::pack::tar::read::for_each(std::io::BufReader::new(file), |member| {
        let name = String::from_utf8_lossy(member.path).into_owned();
        let at = usize::try_from(member.offset).expect("a small pack");
        let end = at + member.body.len();
        members.push((name, start, at..end));
        start = end.next_multiple_of(512);
    })
    .expect("a whole pack");
    members
}

#[test]
fn whole_runs_are_right() {
    for (_place, dest, format) in runs(&Site::numbered(105).pages_of(10)) {
        let done = is_right(&dest).says(["105 of 105 objects are right"]);
        assert!(!done.stderr.contains("not complete"), "{format}: {}", done.stderr);
        let json = verify(&dest).args(["--json", "--cores", "1"]).run().expect(0);
        let summary: Value = serde_json::from_str(&json.stdout).expect("one line of JSON");
        assert_eq!(summary["summary"]["right"], 105);
        assert_eq!(summary["summary"]["complete"], true);
    }
    for (_place, dest, _) in runs(&Site::numbered(0)) {
        is_right(&dest).says(["0 of 0 objects"]);
    }
}

#[test]
fn odd_names_and_names_listed_twice_are_right() {
    let odd = crate::names::HOSTILE.map(|name| name.as_bytes().to_vec()).into_iter();
    let odd =
        odd.chain([b"\xff\xfe".to_vec(), vec![b'x'; 300], b"twice".to_vec(), b"twice".to_vec()]);
    for (_place, dest, _) in runs(&Site::new(odd)) {
        is_right(&dest).says(["46 of 46 objects are right"]);
    }
}

#[test]
fn failures_are_no_damage() {
    let site = Site::numbered(30);
    let server = site.start_but(|_, name| {
        name.filter(|name| name.ends_with('7')).map(|_| http::send_status("404 Not Found"))
    });
    for format in ["tar", "files"] {
        let place = Place::new();
        place.get(&server.url()).args(["--format", format]).run().expect(1);
        is_right(&place.at("out")).says(["27 of 27", "not complete: 3 failed, 0 pending"]);
    }
}

#[test]
fn a_killed_run_is_right_as_far_as_it_is_recorded() {
    let site = Site::numbered(300).pages_of(100);
    for format in ["tar", "files"] {
        let place = Place::new();
        let server = site.start_but(|_, name| (name == Some("n250")).then(|| vec![Step::Hang]));
        let get = place.get(&server.url()).args(["--format", format, "--shard-size", "70"]);
        let running = get.args(["--cores", "2"]).start();
        let dest = place.at("out");
        wait::until("299 objects are recorded", || {
            inspect::status(&dest).is_ok_and(|status| status.stored == 299)
        });
        let refused = verify(&dest).run().expect(4);
        refused.says(["in use", &running.id().to_string(), "hint: "]);
        running.signal(Signal::KILL);
        drop(running.finish());
        is_right(&dest).says(["299 of 299", "not complete: 0 failed, 1 pending"]);
    }
}

#[test]
fn a_resumed_run_is_right() {
    let site = Site::numbered(2000).pages_of(100);
    for format in ["tar", "files"] {
        for round in 0..3 {
            let place = Place::new();
            let hung = windrow_testkit::Gate::new();
            let gate = hung.clone();
            let stuck = format!("n{}", 700 + 300 * round);
            let server = site.start_but(move |request, name| {
                let first = request.attempt == 0 && name == Some(&*stuck);
                first.then(|| vec![Step::Open(gate.clone()), Step::Hang])
            });
            let get = || {
                let get = place.get(&server.url()).args(["--format", format, "--shard-size", "90"]);
                get.args(["--cores", if round == 1 { "1" } else { "3" }])
            };
            let running = get().start();
            hung.pass();
            running.signal(Signal::KILL);
            drop(running.finish());
            get().run().complete(2000);
            is_right(&place.at("out")).says(["2,000 of 2,000"]);
        }
    }
}

#[test]
fn every_changed_byte_of_a_pack_is_found_and_its_owner_named() {
    let long = "l".repeat(120);
    let site = Site::new(["a", "some/where/else", &long, "n3", "empty?", "last"]);
    let (_place, dest) = tar_of(&site);
    let pack = packs(&dest).swap_remove(0);
    let members = members(&pack);
    let whole = std::fs::read(&pack).expect("a pack");
    let mut changed = whole.clone();
    for at in 0..whole.len() {
        changed[at] ^= [1, 0x80, 0xFF, 0x20][at % 4];
        std::fs::write(&pack, &changed).expect("a pack that can be written");
        let found = look(&dest).0;
        changed[at] = whole[at];
        assert_eq!(found.len(), 1, "byte {at}: {found:?}");
        let owner = members.iter().rev().find(|(_, start, _)| *start <= at);
        let (name, start, body) = owner.expect("the first begins at 0");
        let name = match at < body.end.next_multiple_of(512) {
            true => name.as_str(),
            false => "00000.tar",
        };
        let Finding { kind, name: told, detail, .. } = &found[0];
        let told = String::from_utf8_lossy(told);
        if name == long && at < body.start {
            // The records of an extended header have no checksum: what they say is another name.
            let records = (start + 512..start + 1024).contains(&at);
            assert!(*kind == Kind::Torn || (records && *kind == Kind::Corrupt), "{at}: {found:?}");
            let unsure = detail.contains("what is left") || detail.contains("is lost");
            assert!(told == name || records || unsure, "{at}: {found:?}");
            continue;
        }
        assert_eq!(told, name, "byte {at}: {found:?}");
        let expected = if body.contains(&at) { Kind::Corrupt } else { Kind::Torn };
        assert_eq!(*kind, expected, "byte {at}: {found:?}");
        assert!(!detail.contains("what is left"), "byte {at}: {found:?}");
    }
    std::fs::write(&pack, &whole).expect("a pack that can be written");
    is_right(&dest);
}

#[test]
fn a_pack_that_is_cut_anywhere_loses_what_is_behind() {
    let (_place, dest) = tar_of(&Site::numbered(6));
    let pack = packs(&dest).swap_remove(0);
    let members = members(&pack);
    let whole = std::fs::read(&pack).expect("a pack");
    for cut in (0..whole.len()).step_by(100) {
        std::fs::write(&pack, &whole[..cut]).expect("a pack that can be written");
        let (found, verdict) = look(&dest);
        let right = members.iter().filter(|(_, _, body)| body.end.next_multiple_of(512) <= cut);
        let right = right.count() as u64;
        assert_eq!(verdict.right, right, "cut at {cut}: {found:?}");
        let lost: u64 = found.iter().map(|finding| finding.objects).sum();
        assert_eq!(right + lost, 6, "cut at {cut}: {found:?}");
        assert!(found.iter().all(|f| matches!(f.kind, Kind::Missing | Kind::Torn)), "{found:?}");
        for finding in found.iter().filter(|finding| finding.name != b"00000.tar") {
            let (_, start, body) = members
                .iter()
                .find(|(name, ..)| name.as_bytes() == finding.name)
                .expect("a name that is there");
            assert!(*start < cut && cut < body.end.next_multiple_of(512), "{cut}: {found:?}");
        }
    }
}

#[test]
fn packs_and_members_that_come_go_and_change_places() {
    let (place, dest) = tar_of(&Site::numbered(100));
    let all = packs(&dest);
    let name = |pack: &Path| pack.file_name().expect("a name").to_string_lossy().into_owned();
    let aside = place.at("aside");

    std::fs::rename(&all[1], &aside).expect("a pack that can be moved");
    let (found, verdict) = look(&dest);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].kind, found[0].objects), (Kind::Missing, 20));
    assert_eq!((verdict.right, verdict.wrong["missing"]), (80, 20));
    is_wrong(&dest, [(Kind::Missing, name(&all[1]).as_str())]);
    std::os::unix::fs::symlink(&aside, &all[1]).expect("a link");
    is_wrong(&dest, [(Kind::Missing, name(&all[1]).as_str())]);
    std::fs::remove_file(&all[1]).expect("a link");
    std::fs::rename(&aside, &all[1]).expect("a pack that can be moved");

    // Other people's files are theirs.
    std::fs::write(dest.join("notes.txt"), "mine").expect("a file");
    std::fs::copy(&all[0], dest.join("00099.tar")).expect("a copy");
    std::fs::copy(&all[0], dest.join("000000.tar")).expect("a copy");
    is_wrong(&dest, [(Kind::Extra, "000000.tar"), (Kind::Extra, "00099.tar")]);
    std::fs::remove_file(dest.join("00099.tar")).expect("a copy");
    std::fs::remove_file(dest.join("000000.tar")).expect("a copy");

    // Another tool adds a member, and one that is there.
    let whole = std::fs::read(&all[0]).expect("a pack");
    let there = members(&all[0]).swap_remove(3).0;
    std::fs::write(place.at("new"), "new").expect("a file");
    std::fs::write(place.at(&there), body_of(there.as_bytes())).expect("a file");
    tool(
        Command::new("tar")
            .arg("-rf")
            .arg(&all[0])
            .arg("-C")
            .arg(place.path())
            .args(["new", &there]),
    );
    is_wrong(&dest, [(Kind::Extra, "new"), (Kind::Doubled, there.as_str())]);
    std::fs::write(&all[0], [&whole[..], b"more"].concat()).expect("a pack");
    is_wrong(&dest, [(Kind::Extra, name(&all[0]).as_str())]);
    std::fs::write(&all[0], &whole).expect("a pack");

    // Two bodies of one size; a name; two members whole.
    let same = |range: &std::ops::Range<usize>| range.len();
    let (first, second) = {
        let members = members(&all[0]);
        let at = |name: &str| members.iter().find(|(own, ..)| own == name).cloned().expect("there");
        let pair = members.iter().enumerate().find_map(|(index, (name, _, body))| {
            let mut behind = members[index + 1..].iter();
            let rounded = |range: &std::ops::Range<usize>| same(range).next_multiple_of(512);
            let other = behind
                .find(|(own, _, other)| rounded(other) == rounded(body) && own.len() == name.len());
            other.map(|(other, ..)| (name.clone(), other.clone()))
        });
        let (first, second) = pair.expect("two of a size among twenty");
        (at(&first), at(&second))
    };
    let mut names = [first.0.as_str(), second.0.as_str()];
    names.sort_unstable();
    let swap = |bytes: &mut Vec<u8>, a: usize, b: usize, len: usize| {
        let piece = bytes[a..a + len].to_vec();
        bytes.copy_within(b..b + len, a);
        bytes[b..b + len].copy_from_slice(&piece);
    };
    let len = same(&first.2).next_multiple_of(512);
    change(&all[0], |bytes| swap(bytes, first.1, second.1, 512 + len));
    is_wrong(&dest, names.map(|name| (Kind::Corrupt, name)));
    std::fs::write(&all[0], &whole).expect("a pack");
    // The headers alone: each has the other's body, and its size.
    change(&all[0], |bytes| swap(bytes, first.1, second.1, 512));
    let found = wrong(&dest);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|(_, name)| names.contains(&name.as_str())), "{found:?}");
    std::fs::write(&all[0], &whole).expect("a pack");
    // A header that is whole, and has another name.
    change(&all[0], |bytes| {
        bytes[first.1] += 1;
        let digits = std::str::from_utf8(&bytes[first.1 + 148..first.1 + 154]).expect("digits");
        let sum = u32::from_str_radix(digits, 8).expect("a number") + 1;
        let digits = format!("{sum:06o}");
        bytes[first.1 + 148..first.1 + 154].copy_from_slice(digits.as_bytes());
    });
    is_wrong(&dest, [(Kind::Corrupt, format!("o{}", &first.0[1..]).as_str())]);
    std::fs::write(&all[0], &whole).expect("a pack");
    is_right(&dest);
}

#[test]
fn much_damage_in_one_pack_stays_where_it_is() {
    let (_place, dest) = tar_of(&Site::numbered(20));
    let pack = packs(&dest).swap_remove(0);
    let members = members(&pack);
    let count = members.len();
    // From the third header into the sixth body, which has a byte to lose.
    let to = (5..count - 1).find(|&index| !members[index].2.is_empty()).expect("a body");
    let range = members[2].1..members[to].2.start + 1;
    change(&pack, |bytes| bytes[range].fill(0xAA));
    let (found, verdict) = look(&dest);
    let lost: u64 = found.iter().map(|finding| finding.objects).sum();
    assert_eq!(lost as usize, to - 1, "{found:?}");
    assert_eq!(verdict.right, 20 - lost);
    assert!(found.iter().all(|finding| finding.kind == Kind::Torn), "{found:?}");
}

#[test]
fn files_that_come_go_and_change() {
    let site = Site::new(["a", "a/b", "dir/x", "dir/y", "same", "n1", "n2", "n4", "line\nfeed"]);
    let (_place, dest) = files_of(&site);
    // `a` has one of its two places, whichever came first.
    let [file, below] = [["a", "%=a"], ["a/b", "%@a/b"]].map(|places| {
        dest.join(places.into_iter().find(|at| dest.join(at).is_file()).expect("there"))
    });
    let body = |name: &str| body_of(name.as_bytes());
    for (path, name) in [
        (file, "a"),
        (below, "a/b"),
        (dest.join("n1"), "n1"),
        (dest.join("%=line%0Afeed"), "line\nfeed"),
    ] {
        if !body(name).is_empty() {
            change(&path, |bytes| bytes[0] ^= 1);
            is_wrong(&dest, [(Kind::Corrupt, name)]);
            change(&path, |bytes| bytes.truncate(bytes.len() - 1));
            is_wrong(&dest, [(Kind::Torn, name)]);
        }
        std::fs::write(&path, [&body(name)[..], b"+"].concat()).expect("a file");
        is_wrong(&dest, [(Kind::Torn, name)]);
        std::fs::remove_file(&path).expect("a file");
        is_wrong(&dest, [(Kind::Missing, name)]);
        std::fs::create_dir(&path).expect("a folder");
        is_wrong(&dest, [(Kind::Missing, name)]);
        std::fs::remove_dir(&path).expect("a folder");
        std::os::unix::fs::symlink("n2", &path).expect("a link");
        is_wrong(&dest, [(Kind::Missing, name), (Kind::Extra, name)]);
        std::fs::remove_file(&path).expect("a link");
        std::fs::write(&path, body(name)).expect("a file");
    }
    is_right(&dest);

    std::fs::rename(dest.join("n1"), dest.join("n9")).expect("a file");
    is_wrong(&dest, [(Kind::Missing, "n1"), (Kind::Extra, "n9")]);
    std::fs::rename(dest.join("n9"), dest.join("n1")).expect("a file");
    // Under its other form it is the same object; under both it is there twice.
    std::fs::rename(dest.join("n1"), dest.join("%=n1")).expect("a file");
    is_right(&dest);
    std::fs::copy(dest.join("%=n1"), dest.join("n1")).expect("a file");
    is_wrong(&dest, [(Kind::Doubled, "n1")]);
    std::fs::remove_file(dest.join("%=n1")).expect("a file");

    std::fs::write(dest.join("dir/z"), "").expect("a file");
    std::fs::write(dest.join("%=n%"), "").expect("a file");
    std::fs::create_dir(dest.join("empty")).expect("a folder");
    is_wrong(&dest, [(Kind::Extra, "%=n%"), (Kind::Extra, "dir/z")]);
    std::fs::remove_file(dest.join("dir/z")).expect("a file");
    std::fs::remove_file(dest.join("%=n%")).expect("a file");

    std::fs::write(dest.join("n1"), body("n2")).expect("a file");
    std::fs::write(dest.join("n2"), body("n1")).expect("a file");
    let found = wrong(&dest);
    let names: BTreeSet<_> = found.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!((found.len(), names), (2, BTreeSet::from(["n1", "n2"])));
    // Lines are for programs and for terminals.
    let done = verify(&dest).run().expect(1);
    let mut lines: Vec<_> = done.stdout.lines().map(|line| line.split('\t').count()).collect();
    lines.dedup();
    assert_eq!(lines, [3]);
    std::fs::write(dest.join("%=line%0Afeed"), "x").expect("a file");
    let done = verify(&dest).run().expect(1);
    assert!(
        done.stdout.contains("torn\tline\\x0afeed\t%=line%0Afeed: has 1 bytes"),
        "{}",
        done.stdout
    );
    let json = verify(&dest).arg("--json").run().expect(1).stdout;
    let mut lines: Vec<Value> =
        json.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.pop().expect("a summary")["summary"]["stored"], 9);
    assert!(lines.iter().any(|line| line["name"] == "line\nfeed" && line["kind"] == "torn"));
}

#[test]
fn every_changed_byte_of_a_manifest_is_found_and_accuses_nobody() {
    for (_place, dest, format) in runs(&Site::numbered(12)) {
        let folder = dest.join(".windrow/manifest");
        let file = entries(&folder).into_iter().map(|name| folder.join(name));
        let file = file.max_by_key(|path| path.metadata().map_or(0, |meta| meta.len()));
        let file = file.expect("a manifest");
        let own = format!(".windrow/manifest/{}", file.file_name().expect("a name").display());
        let whole = std::fs::read(&file).expect("a manifest");
        let check = |bytes: &[u8], what: &str| {
            std::fs::write(&file, bytes).expect("a manifest that can be written");
            let (found, verdict) = look(&dest);
            let told = found.iter().filter(|finding| finding.kind == Kind::Manifest);
            assert!(told.clone().count() > 0, "{format}, {what}: {found:?}");
            assert!(told.clone().any(|f| f.name == own.as_bytes()), "{format}, {what}: {found:?}");
            for finding in &found {
                let fits = matches!(finding.kind, Kind::Manifest | Kind::Unproved);
                assert!(fits, "{format}, {what}: {found:?}");
            }
            verdict
        };
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1 << (at % 8);
            let verdict = check(&changed, &format!("byte {at}"));
            if format == "tar" {
                assert!(verdict.right >= 11, "byte {at}: {verdict:?}");
            }
        }
        for cut in 0..whole.len() {
            check(&whole[..cut], &format!("cut at {cut}"));
        }
        std::fs::remove_file(&file).expect("a manifest");
        let (found, _) = look(&dest);
        let fits = |f: &Finding| matches!(f.kind, Kind::Manifest | Kind::Unproved);
        assert!(found.iter().all(fits), "{found:?}");
        // What is there and is not in doubt is still checked.
        std::fs::write(&file, &whole).expect("a manifest");
        is_right(&dest);
    }
}

#[test]
fn a_damaged_ledger_is_refused_by_name() {
    for (_place, dest, _) in runs(&Site::numbered(100).pages_of(7)) {
        let folder = dest.join(".windrow/ledger");
        for name in entries(&folder) {
            let whole = std::fs::read(folder.join(&name)).expect("a ledger");
            change(&folder.join(&name), |bytes| bytes[40] ^= 1);
            for command in ["verify", "status", "ls"] {
                let done = windrow().arg(command).arg(&dest).run().expect(4);
                done.says([&*format!(".windrow/ledger/{name}"), "damaged at byte 32", "hint: "]);
            }
            std::fs::write(folder.join(&name), whole).expect("a ledger");
        }
        is_right(&dest);
    }
}

#[test]
fn where_there_is_no_run_there_is_nothing_to_verify() {
    let place = Place::new();
    std::fs::create_dir(place.at("empty")).expect("a folder");
    std::fs::write(place.at("file"), "").expect("a file");
    for command in ["verify", "status", "ls"] {
        for dest in ["empty", "file", "missing"] {
            let done = windrow().arg(command).arg(place.at(dest)).run().expect(2);
            done.says(["holds no run of windrow", "hint: "]);
        }
    }
    assert_eq!(place.entries(), ["empty", "file"]);
    assert_eq!(entries(&place.at("empty")), Vec::<String>::new());
    let server = Site::numbered(3).start();
    place.get(&server.url()).args(["--format", "null"]).run().complete(3);
    verify(&place.at("out")).run().expect(2).says(["keeps nothing"]);
    windrow().arg("ls").arg(place.at("out")).run().expect(2).says(["keeps nothing"]);
    let status = windrow().arg("status").arg(place.at("out")).run().expect(0);
    assert!(status.stdout.contains("keeps nothing"), "{}", status.stdout);
    verify(&place.at("out")).args(["--cores", "0"]).run().expect(2);
}

#[test]
fn the_corpus_is_a_second_witness() {
    let figures = ["--synthetic", "500", "--size", "1001", "--seed", "3"];
    let server = windrow().serve(figures);
    for format in ["tar", "files"] {
        let place = Place::new();
        let get = place.get(&server.url).args(["--format", format, "--shard-size", "100"]);
        get.args(["--cores", "1"]).run().complete(500);
        let dest = place.at("out");
        let corpus = || verify(&dest).args(figures);
        assert_eq!(corpus().run().expect(0).stdout, "");
        // Whatever the ledger says, the corpus has one more.
        let more = verify(&dest).args(["--synthetic", "502", "--size", "1001", "--seed", "3"]);
        let more = more.run().expect(1).stdout;
        assert_eq!(more.lines().count(), 2, "{more}");
        assert!(more.lines().all(|line| line.starts_with("missing\to00000000050")), "{more}");
        // Another seed has no object in common.
        let other = verify(&dest).args(["--synthetic", "500", "--size", "1001", "--seed", "4"]);
        let other = other.run().expect(1).stdout;
        assert_eq!(other.lines().filter(|line| line.starts_with("extra\t")).count(), 500);
        assert_eq!(other.lines().filter(|line| line.starts_with("missing\t")).count(), 500);
        // What is gone has names now.
        if format == "tar" {
            std::fs::remove_file(&packs(&dest)[2]).expect("a pack");
            let gone = corpus().run().expect(1);
            let names = gone.stdout.lines().filter(|line| line.starts_with("missing\to0"));
            assert_eq!(names.count(), 100, "{}", gone.stdout);
            gone.says(["400 of 500 objects are right", "100 missing"]);
        } else {
            let file = entries(&dest).into_iter().find(|name| name.starts_with('o'));
            let file = file.expect("an object");
            std::fs::remove_file(dest.join(&file)).expect("an object");
            let gone = corpus().run().expect(1).stdout;
            let lines: Vec<_> = gone.lines().filter(|line| line.contains(&file)).collect();
            assert_eq!(lines.len(), gone.lines().count(), "{gone}");
        }
    }
}

#[test]
fn large_bodies_are_read_in_pieces() {
    let figures = ["--synthetic", "3", "--size", "3000001", "--seed", "8"];
    let server = windrow().serve(figures);
    for format in ["tar", "files"] {
        let place = Place::new();
        place.get(&server.url).args(["--format", format, "--cores", "1"]).run().complete(3);
        let dest = place.at("out");
        verify(&dest).args(figures).run().expect(0).says(["3 of 3"]);
        let corpus = windrow_model::Corpus { count: 3, size: 3_000_001, seed: 8 };
        let mut name = Vec::new();
        corpus.name_into(1, &mut name);
        let name = String::from_utf8(name).expect("UTF-8");
        let (file, at) = match format {
            "tar" => {
                let pack = packs(&dest).swap_remove(0);
                let body = members(&pack).into_iter().find(|(own, ..)| *own == name);
                (pack, body.expect("a member").2.start)
            }
            _ => (dest.join(&name), 0),
        };
        for byte in [0, 1 << 20, 3_000_000] {
            change(&file, |bytes| bytes[at + byte] ^= 0x10);
            is_wrong(&dest, [(Kind::Corrupt, name.as_str())]);
            change(&file, |bytes| bytes[at + byte] ^= 0x10);
        }
        is_right(&dest);
    }
}

#[test]
fn of_many_files_a_share_is_looked_at_after_the_other() {
    let (_place, dest) = files_of(&Site::numbered(50));
    std::fs::remove_file(dest.join("n7")).expect("a file");
    std::fs::write(dest.join("n8"), "not that").expect("a file");
    std::fs::write(dest.join("more"), "").expect("a file");
    std::fs::write(dest.join("%="), "").expect("a file");
    std::fs::write(dest.join("%=no%"), "").expect("a file");
    let expected = look(&dest).0;
    assert_eq!(expected.len(), 5, "{expected:?}");
    for names in [1, 7, 49, 50] {
        let mut all = Vec::new();
        let settings = Settings { names, ..Settings::default() };
        let verdict = inspect::verify(&dest, settings, &mut |finding| {
            all.push(finding.clone());
            true
        });
        assert_eq!(verdict.expect("a whole ledger").right, 48);
        all.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        assert_eq!(all, expected, "{names} at once");
    }
}

#[test]
fn a_reader_that_has_enough_ends_it() {
    let (_place, dest) = tar_of(&Site::numbered(60));
    for pack in packs(&dest) {
        std::fs::remove_file(pack).expect("a pack");
    }
    let mut calls = 0;
    let verdict = inspect::verify(&dest, Settings::default(), &mut |_| {
        calls += 1;
        false
    });
    assert!(verdict.is_ok());
    assert_eq!(calls, 1);
}
