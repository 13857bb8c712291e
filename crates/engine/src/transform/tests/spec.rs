use super::*;
use proptest::prelude::*;

fn error(spec: &str) -> String {
    let error = Chain::parse(&[spec.to_owned()]).unwrap_err();
    assert!(!error.to_string().contains('\n'));
    error.to_string()
}

#[test]
fn a_chain_has_one_form() {
    for (specs, described) in [
        (&[][..], "[]"),
        (&["verify"], r#"["verify"]"#),
        (
            &["verify=sha256:digest", "gunzip", "zstd"],
            r#"["verify=sha256:digest","gunzip","zstd"]"#,
        ),
        (&["drop-if=empty"], r#"["drop-if=size=0"]"#),
        (&["drop-if=size<4K"], r#"["drop-if=size<4096"]"#),
        (&["drop-if=name~*.[jp]*"], r#"["drop-if=name=*.[jp]*"]"#),
        (&["exec=sed s/a,b/c/ | cat"], r#"["exec=sed s/a,b/c/ | cat"]"#),
        (&["exec(drop=7,type=a/b)= cat "], r#"["exec(drop=7,type=a/b)=cat"]"#),
        (&["resize=256"], r#"["resize=256x256,mode=fit,quality=85"]"#),
        (
            &["resize=64x32,only-shrink,format=jpg,quality=9,mode=crop"],
            r#"["resize=64x32,mode=crop,format=jpeg,quality=9,only-shrink"]"#,
        ),
        (&["resize=1,format=webp"], r#"["resize=1x1,mode=fit,format=webp,quality=85"]"#),
        (&["resize=1,lossless,format=webp"], r#"["resize=1x1,mode=fit,format=webp,lossless"]"#),
        (&["resize=1,format=png,lossless"], r#"["resize=1x1,mode=fit,format=png"]"#),
        (&["resize=1,lossless"], r#"["resize=1x1,mode=fit,quality=85,lossless"]"#),
        (&["exec(drop=10)=cat"], r#"["exec=cat"]"#),
        (&["exec-worker=python3 worker.py"], r#"["exec-worker=python3 worker.py"]"#),
    ] {
        let chain = parse(specs);
        assert_eq!(chain.describe(), described);
        // What is described is the same again.
        let again: Vec<String> = serde_json::from_str(&chain.describe()).unwrap();
        assert_eq!(Chain::parse(&again).unwrap().describe(), described);
    }
}

#[test]
fn mistakes_are_told() {
    for (spec, told) in [
        ("", "--transform : names no transform"),
        ("=x", "--transform =x: names no transform"),
        ("resise=2", "--transform resise=2: is no transform"),
        ("gunzip=9", "--transform gunzip=9: takes no argument"),
        ("gunzip(fast)", "--transform gunzip(fast): has no option `fast`"),
        ("gunzip:9", "--transform gunzip:9: cannot be understood: `:9` behind the name"),
        ("exec(drop=3=cat", "--transform exec(drop=3=cat: has a ( without a )"),
        ("resize", "--transform resize: is no size of 1 to 16384"),
        ("resize=0", "--transform resize=0: is no size of 1 to 16384"),
        ("resize=+5", "--transform resize=+5: is no size of 1 to 16384"),
        ("resize=5x", "--transform resize=5x: is no size of 1 to 16384"),
        ("resize=20000", "--transform resize=20000: is no size of 1 to 16384"),
        (
            "resize=5,mode=stretch",
            "--transform resize=5,mode=stretch: has no option `mode=stretch`",
        ),
        ("resize=5,quality=0", "--transform resize=5,quality=0: has a bad quality"),
        ("resize=5,format=avif", "--transform resize=5,format=avif: AVIF cannot be written"),
        (
            "resize=5,format=png,quality=9",
            "--transform resize=5,format=png,quality=9: has a quality for a format without loss",
        ),
        (
            "resize=5,quality=9,format=webp,lossless",
            "--transform resize=5,quality=9,format=webp,lossless: has a quality for a format \
             without loss",
        ),
        (
            "resize=5,format=jpeg,lossless",
            "--transform resize=5,format=jpeg,lossless: asks for a JPEG without loss",
        ),
        ("exec", "--transform exec: names no command"),
        ("exec= ", "--transform exec= : names no command"),
        ("exec(drop=0)=cat", "--transform exec(drop=0)=cat: has a bad exit code"),
        ("exec(drip=1)=cat", "--transform exec(drip=1)=cat: has no option `drip`"),
        ("exec=no-such-program -x", "--transform exec: no such command: `no-such-program`"),
        ("exec-worker=/no/such", "--transform exec-worker: no such command: `/no/such`"),
        ("drop-if", "--transform drop-if: is no condition"),
        ("drop-if=size", "--transform drop-if=size: is no condition"),
        ("drop-if=size<", "--transform drop-if=size<: is no condition"),
        (
            "drop-if=size<99999999999999999999",
            "--transform drop-if=size<99999999999999999999: is no condition",
        ),
        ("drop-if=size!=4", "--transform drop-if=size!=4: is no condition"),
        ("drop-if=colour=red", "--transform drop-if=colour=red: is no condition"),
        ("drop-if=name=[a", "--transform drop-if=name=[a: has a pattern with a [ without a ]"),
        ("verify=md5:x", "--transform verify=md5:x: cannot be verified"),
        ("verify=sha256:", "--transform verify=sha256:: cannot be verified"),
    ] {
        assert_eq!(error(spec), told);
    }
    let two = ["verify=sha256:a".to_owned(), "verify=sha256:b".to_owned()];
    assert!(Chain::parse(&two).is_err());
    let same = ["verify=sha256:a".to_owned(), "verify=sha256:a".to_owned()];
    assert_eq!(Chain::parse(&same).unwrap().wants_sha256_column(), Some("a"));
    assert!(Chain::parse(&vec!["gunzip".to_owned(); 33]).is_err());
    assert!(error(&format!("exec={}", "x".repeat(1 << 17))).len() < 200);
}

proptest! {
    #[test]
    fn anything_is_a_chain_or_one_line(
        specs in prop::collection::vec("(verify|gunzip|zstd|resize|drop-if|exec)?[(=<>!~a-z0-9,%:x*\\[) \n\u{e9}]{0,12}", 0..3),
    ) {
        match Chain::parse(&specs) {
            Ok(chain) => {
                let again: Vec<String> = serde_json::from_str(&chain.describe()).unwrap();
                prop_assert_eq!(Chain::parse(&again).unwrap().describe(), chain.describe());
            }
            Err(error) => prop_assert!(!error.to_string().contains('\n')),
        }
    }
}
