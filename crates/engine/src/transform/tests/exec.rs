use super::*;
use std::collections::BTreeMap;

fn why(spec: &str, body: &[u8]) -> String {
    shown(&apply(&[spec], object(body)).unwrap_err())
}

#[test]
fn a_command_makes_the_body() {
    assert_eq!(kept(apply(&["exec=cat"], object(b"body"))).body, b"body");
    assert_eq!(kept(apply(&["exec=tr a-z A-Z | rev"], object(b"abc\n"))).body, b"CBA\n");
    assert_eq!(kept(apply(&["exec=true"], object(b"body"))).body, b"");
    let large: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    assert_eq!(kept(apply(&["exec=cat"], object(&large))).body, large);
    let typed = kept(apply(&["exec(type=text/plain)=cat"], object(b"x")));
    assert_eq!(typed.content_type.as_deref(), Some("text/plain"));
}

#[test]
fn names_are_data_and_no_commands() {
    let name = b"a $(touch /tmp/x) `id` ' \" \\ \xFF \n;".to_vec();
    let named = Object {
        name: name.clone(),
        ordinal: 77,
        content_type: Some("text/x".to_owned()),
        ..object(b"")
    };
    let body = kept(apply(
        &["exec=printf %s:%s: \"$WINDROW_ORDINAL\" \"$WINDROW_TYPE\"; printenv WINDROW_NAME"],
        named,
    ))
    .body;
    assert_eq!(body, [b"77:text/x:", &name[..], b"\n"].concat());
    let zero = Object { name: b"a\0b".to_vec(), ..object(b"") };
    let failed = apply(&["exec=cat"], zero).unwrap_err();
    assert_eq!(failed.failure.detail, "the name cannot be given to a command");
}

#[test]
fn exit_codes_mean_something() {
    assert_eq!(apply(&["exec=exit 10"], object(b"x")).unwrap(), Outcome::Drop);
    assert_eq!(apply(&["exec(drop=3)=exit 3"], object(b"x")).unwrap(), Outcome::Drop);
    for (spec, told) in [
        ("exec=exit 3", "transform | the command failed | exit code 3"),
        ("exec(drop=3)=exit 10", "transform | the command failed | exit code 10"),
        (
            "exec=printf '\\n no \\033[31mway\\nmore' >&2; exit 1",
            "transform | the command failed | exit code 1: no  [31mway",
        ),
        ("exec=kill -9 $$", "transform | the command failed | killed by signal 9"),
        ("exec=no-such-thing; exit $?", "transform | the command failed | exit code 127: "),
    ] {
        let why = why(spec, b"x");
        assert!(why.starts_with(told), "{why}");
    }
}

#[test]
fn input_that_is_not_read_is_no_failure() {
    let large = vec![0; 1 << 20];
    assert_eq!(kept(apply(&["exec=echo done"], object(&large))).body, b"done\n");
    assert_eq!(kept(apply(&["exec=head -c 3"], object(&large))).body, [0; 3]);
    // Closed at once, and then it goes on for a while.
    let closed = "exec=exec <&-; printf a; cat /dev/null; printf b";
    assert_eq!(kept(apply(&[closed], object(&large))).body, b"ab");
    // Much on both of its outputs, nothing read before.
    let loud = "exec=head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2; cat";
    assert_eq!(kept(apply(&[loud], object(&large))).body.len(), 300_000 + (1 << 20));
}

#[test]
fn results_are_bounded() {
    let mut lane = Lane::new(PATIENT, 1000);
    let chain = parse(&["exec=cat"]);
    kept(chain.apply(object(&[0; 1000]), &mut lane));
    for endless in ["exec=yes", "exec=head -c 1001 /dev/zero"] {
        let failed = parse(&[endless]).apply(object(b""), &mut lane).unwrap_err();
        let told = "too_large | the result of the command is larger than --max-object-size | -";
        assert_eq!(shown(&failed), told);
    }
}

/// The whole group is killed: the pipe that a grandchild holds is closed.
#[test]
fn one_that_hangs_is_killed_with_what_it_started() {
    let (reader, writer) = std::io::pipe().unwrap();
    let path =
        format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(&writer));
    let mut lane = Lane::new(Duration::from_millis(300), 1000);
    let spec = format!("exec=exec 7>{path}; sleep 1000 & sleep 1000; wait");
    let failed = parse(&[&spec]).apply(object(b""), &mut lane).unwrap_err();
    assert_eq!(shown(&failed), "transform | the command took too long | -");
    drop(writer);
    // Ends when nobody holds the other end.
    assert_eq!(std::io::read_to_string(reader).unwrap(), "");
}

#[test]
fn what_it_leaves_behind_ends_with_it() {
    let (reader, writer) = std::io::pipe().unwrap();
    let path =
        format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(&writer));
    let spec = format!("exec=exec 7>{path}; echo result; sleep 1000 & exit 0");
    assert_eq!(kept(apply(&[&spec], object(b""))).body, b"result\n");
    drop(writer);
    assert_eq!(std::io::read_to_string(reader).unwrap(), "");
}

/// Open files by what they are, without those of other tests' making that come and go: pipes and
/// descriptors of processes.
fn own_children() -> usize {
    let me = std::process::id();
    let tasks = std::fs::read_dir(format!("/proc/{me}/task")).unwrap();
    let children = tasks.filter_map(Result::ok).map(|task| task.path().join("children"));
    children
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .map(|c| c.split_whitespace().count())
        .sum()
}

#[test]
#[ignore = "takes some seconds, and counts the process's open files: run alone"]
fn ten_thousand_leave_nothing() {
    let open = || {
        let mut kinds = BTreeMap::<String, usize>::new();
        for entry in std::fs::read_dir("/proc/self/fd").unwrap().flatten() {
            let target = std::fs::read_link(entry.path()).unwrap_or_default();
            let kind = target.to_string_lossy().split(':').next().unwrap_or_default().to_owned();
            *kinds.entry(kind).or_default() += 1;
        }
        kinds
    };
    let before = open();
    let specs = ["exec=cat", "exec=exit 10", "exec=exit 1"];
    for spec in specs {
        let mut rig = Rig::new(parse(&[spec]), threads(4));
        for key in 0..3334 {
            rig.submit(key, object(b"body"));
        }
        assert_eq!(rig.finish().unwrap().len(), 3334);
    }
    assert_eq!(open(), before);
    assert_eq!(own_children(), 0);
}
