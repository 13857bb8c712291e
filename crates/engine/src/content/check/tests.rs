use super::*;
use proptest::prelude::*;
use windrow_model::task::Digest;

const BODY: &[u8] = b"123456789";
const MD5: &str = "JfnnlDI7RTiF9RgfG2JNCw==";
const MD5_HEX: &str = "25f9e794323b453885f5181f1b624d0b";
const SHA1: &str = "98O8HYCOBHMq32eZZczDTKeuNEE=";
const SHA256: &str = "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=";
const CRC32: &str = "y/Q5Jg==";
const CRC32C: &str = "4waSgw==";
const CRC64: &str = "rosUhgp5mIg=";

fn learnt(lines: &[(&str, &str)]) -> Checks {
    let mut checks = Checks::default();
    for (name, value) in lines {
        checks.learn(name.as_bytes(), value.as_bytes());
    }
    checks
}

/// What the whole body and every piece of it say; they must not differ.
fn verdict(checks: &Checks, form: Form, body: &[u8]) -> Result<(), Failure> {
    let whole = check_whole(checks, form, body);
    for size in [1, 4, 9] {
        let pieces = checks.checker(form).map_or(Ok(()), |mut checker| {
            body.chunks(size).for_each(|piece| checker.update(piece));
            checker.finish()
        });
        assert_eq!(whole, pieces);
    }
    assert!(whole.is_ok() || !checks.is_empty(form));
    whole
}

/// Lines that are one true statement about the body each.
fn truths() -> Vec<Vec<(&'static str, String)>> {
    let line = |name: &'static str, value: &str| vec![(name, value.to_owned())];
    vec![
        line("Content-MD5", MD5),
        line("content-md5", &format!("  {MD5} ")),
        line("Digest", &format!("MD5={MD5}")),
        line("Digest", &format!("SHA={SHA1}")),
        line("Digest", &format!("unixsum=30637, sha-256={SHA256}")),
        line("digest", "crc32c=e3069283"),
        line("Repr-Digest", &format!("sha-256=:{SHA256}:")),
        line("Content-Digest", &format!("md5=:{MD5}:;q=1, unknown=:AAAA:")),
        line("Repr-Digest", &format!("crc32c=:{CRC32C}:")),
        line("x-amz-checksum-crc32", CRC32),
        line("x-amz-checksum-crc32c", CRC32C),
        line("x-amz-checksum-sha1", SHA1),
        line("X-Amz-Checksum-SHA256", SHA256),
        line("x-amz-checksum-crc64nvme", CRC64),
        line("x-goog-hash", &format!("crc32c={CRC32C},md5={MD5}")),
        line("x-goog-hash", &format!("md5={MD5}")),
        vec![("ETag", format!("\"{MD5_HEX}\"")), ("x-amz-request-id", "A1".to_owned())],
        vec![
            ("x-amz-request-id", "A1".to_owned()),
            ("x-amz-server-side-encryption", "AES256".to_owned()),
            ("etag", format!("\"{}\"", MD5_HEX.to_uppercase())),
        ],
        vec![
            ("x-goog-hash", format!("md5={MD5}")),
            ("x-goog-stored-content-encoding", "gzip".to_owned()),
            ("Content-Encoding", "gzip".to_owned()),
        ],
        vec![
            ("x-goog-stored-content-encoding", "identity".to_owned()),
            ("x-goog-hash", format!("crc32c={CRC32C}")),
        ],
    ]
}

#[test]
fn what_a_server_says_is_compared() {
    for lines in truths() {
        let lines: Vec<_> = lines.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let checks = learnt(&lines);
        for form in [Form::Sent, Form::Plain] {
            assert_eq!(verdict(&checks, form, BODY), Ok(()), "{lines:?}");
            let failure = verdict(&checks, form, b"123456780").expect_err("another body");
            assert_eq!(failure.class, FailureClass::Checksum, "{lines:?}");
            let what = if lines.iter().any(|line| line.0.eq_ignore_ascii_case("etag")) {
                "its ETag says"
            } else {
                "the server says"
            };
            assert!(failure.detail.ends_with(what), "{lines:?}: {failure}");
        }
        assert!(checks.is_empty(Form::Stored) && checks.checker(Form::Stored).is_none());
    }
}

#[test]
fn what_says_nothing_about_the_body_is_not_compared() {
    let other = "ICy5YqxZB1uWSwcVLSNLcA==";
    let etag = "\"202cb962ac59075b964b07152d234b70\"";
    let cases: &[&[(&str, &str)]] = &[
        &[],
        &[("Content-MD5", "202cb962ac59075b964b07152d234b70")],
        &[("Content-MD5", "")],
        &[("Content-MD5", "JfnnlDI7RTiF9RgfG2JNCw")],
        &[("Digest", "sha-256=abc, crc32c=, =, md5, UNIXsum=1,")],
        &[("Digest", "id-sha-256=FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=")],
        &[("Repr-Digest", "md5=ICy5YqxZB1uWSwcVLSNLcA==")],
        &[("Repr-Digest", "md5=:ICy5YqxZB1uWSwcVLSNLcA==")],
        &[("Want-Digest", "md5=ICy5YqxZB1uWSwcVLSNLcA==")],
        // Composite, either way, in either order.
        &[("x-amz-checksum-crc32", "AAAAAA==-3")],
        &[("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-checksum-type", "COMPOSITE")],
        &[("x-amz-checksum-type", "COMPOSITE"), ("x-amz-checksum-crc32", "AAAAAA==")],
        &[("x-amz-checksum-xxhash64", "AAAAAAAAAAA=")],
        &[("x-amz-meta-checksum-md5", other)],
        // GCS undid the coding.
        &[
            ("x-goog-hash", "md5=ICy5YqxZB1uWSwcVLSNLcA=="),
            ("x-goog-stored-content-encoding", "gzip"),
        ],
        // No MD5, or nothing that tells.
        &[("ETag", etag)],
        &[("x-amz-request-id", "A1"), ("ETag", "W/\"202cb962ac59075b964b07152d234b70\"")],
        &[("x-amz-request-id", "A1"), ("ETag", "\"202cb962ac59075b964b07152d234b70-2\"")],
        &[("x-amz-request-id", "A1"), ("ETag", "202cb962ac59075b964b07152d234b70")],
        &[("x-amz-request-id", "A1"), ("ETag", "\"202cb962ac59075b964b07152d234b7\"")],
        &[
            ("x-amz-request-id", "A1"),
            ("ETag", etag),
            ("x-amz-server-side-encryption", "aws:kms:dsse"),
        ],
        &[
            ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
            ("x-amz-request-id", "A1"),
            ("ETag", etag),
        ],
        &[("x-amz-request-id", "A1"), ("ETag", etag), ("x-amz-storage-class", "EXPRESS_ONEZONE")],
    ];
    for lines in cases {
        let checks = learnt(lines);
        assert!(checks.is_empty(Form::Plain) && checks.is_empty(Form::Sent), "{lines:?}");
        assert_eq!(verdict(&checks, Form::Plain, BODY), Ok(()), "{lines:?}");
    }
}

#[test]
fn what_the_list_says_holds_for_what_is_stored() {
    let md5 = Sum::of_base64(Algorithm::Md5, MD5.as_bytes());
    let Some(Sum::Md5(md5)) = md5 else { panic!("the constant is base64") };
    let checks = |size, digest| Checks::of(Expected { size, digest });
    for expected in [
        checks(Some(9), None),
        checks(None, Some(Digest::Md5(md5))),
        checks(Some(9), Some(Digest::Crc32(0xCBF4_3926))),
        checks(None, Some(Digest::Crc32c(0xE306_9283))),
    ] {
        assert!(expected.is_empty(Form::Sent));
        assert_eq!(verdict(&expected, Form::Sent, b"coded"), Ok(()));
        for form in [Form::Stored, Form::Plain] {
            assert_eq!(verdict(&expected, form, BODY), Ok(()));
            let failure = verdict(&expected, form, b"12345678").expect_err("shorter");
            assert!(failure.detail.ends_with("than the list says"), "{failure}");
        }
    }
    assert!(Checks::of(Expected::default()).is_empty(Form::Plain));
}

#[test]
fn what_a_bucket_lists_holds_for_what_is_sent_of_that_version() {
    let listed = |size, etag: &str| {
        let digest = Some(Digest::Etag(Etag::read(etag.as_bytes())));
        Checks::of(Expected { size, digest })
    };
    let learn = |mut checks: Checks, lines: &[(&str, &str)]| {
        for (name, value) in lines {
            checks.learn(name.as_bytes(), value.as_bytes());
        }
        checks
    };
    let (quoted, other) = (format!("\"{MD5_HEX}\""), format!("\"{}\"", "0".repeat(32)));
    let s3 = ("x-amz-request-id", "A1");
    let checks = learn(listed(Some(9), MD5_HEX), &[s3]);
    for form in [Form::Plain, Form::Sent] {
        assert_eq!(verdict(&checks, form, BODY), Ok(()));
        assert!(verdict(&checks, form, b"12345678").is_err());
        assert!(verdict(&checks, form, b"123456780").is_err());
    }
    // What it is decoded to has another size and sum.
    assert!(checks.is_empty(Form::Stored));
    // No MD5, whatever it looks like.
    let kms = ("x-amz-server-side-encryption", "aws:kms");
    let checks = learn(listed(Some(9), &other), &[s3, kms, ("ETag", &other)]);
    assert_eq!((checks.changed(), verdict(&checks, Form::Plain, BODY)), (None, Ok(())));
    for etag in ["", "x", &format!("{MD5_HEX}-2"), &format!("{MD5_HEX}-x")] {
        assert_eq!(verdict(&learn(listed(None, etag), &[s3]), Form::Plain, b"?"), Ok(()), "{etag}");
    }
    // Another version of the object.
    let parts = |number: u32| format!("\"{MD5_HEX}-{number}\"");
    for (then, now, same) in [
        (&quoted, &quoted, true),
        (&quoted, &other, false),
        (&parts(2), &parts(2), true),
        (&parts(2), &parts(3), false),
        (&parts(2), &quoted, false),
        (&quoted, &format!("W/{other}"), true),
        (&quoted, &"\"odd\"".to_owned(), true),
        (&"odd".to_owned(), &quoted, true),
    ] {
        let changed = learn(listed(None, then), &[("etag", now)]).changed();
        assert_eq!(changed.map(|failure| failure.class), (!same).then_some(FailureClass::Changed));
    }
}

#[test]
fn every_witness_must_agree() {
    let mut checks =
        Checks::of(Expected { size: Some(9), digest: Some(Digest::Crc32c(0xE306_9283)) });
    checks.learn(b"Content-MD5", MD5.as_bytes());
    assert_eq!(verdict(&checks, Form::Plain, BODY), Ok(()));
    // Two values of one algorithm: one of them is wrong.
    checks.learn(b"Digest", b"md5=ICy5YqxZB1uWSwcVLSNLcA==");
    let failure = verdict(&checks, Form::Plain, BODY).expect_err("contradiction");
    assert_eq!(failure.detail, "the body has another MD5 than the server says");
    assert_eq!(verdict(&checks, Form::Stored, BODY), Ok(()), "that was said of the bytes as sent");
}

#[test]
fn a_flood_of_checksums_has_an_end() {
    let mut checks = Checks::default();
    for _ in 0..1000 {
        checks.learn(b"Content-MD5", MD5.as_bytes());
    }
    assert_eq!(checks.len, 1, "what is known is not noted again");
    for at in 0..1000 {
        checks.learn(b"Digest", format!("crc32c={at:x}").as_bytes());
    }
    assert_eq!(usize::from(checks.len), BODY_CHECKS);
    assert!(verdict(&checks, Form::Plain, BODY).is_err());
}

proptest! {
    #[test]
    fn no_header_line_is_too_strange(
        name in prop::sample::select(vec![
            "etag", "digest", "repr-digest", "content-digest", "content-md5", "x-goog-hash",
            "x-amz-checksum-crc32", "x-amz-checksum-sha256", "x-amz-checksum-typo", "x-amz-request-id",
        ]),
        value in "[a-z0-9=:;,\" /+\\-]{0,80}|\\PC{0,20}",
        body in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut checks = learnt(&[("x-amz-request-id", "1")]);
        checks.learn(name.as_bytes(), value.as_bytes());
        let _ = verdict(&checks, Form::Plain, &body);
    }

    #[test]
    fn a_changed_bit_is_found(
        body in prop::collection::vec(any::<u8>(), 1..300), bit in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
    ) {
        for algorithm in [
            Algorithm::Md5, Algorithm::Sha1, Algorithm::Sha256, Algorithm::Sha512,
            Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme,
        ] {
            let mut checks = Checks::default();
            checks.add(By::Header, Some(Sum::of_body(algorithm, &body)));
            let cut = cut.index(body.len() + 1);
            let mut checker = checks.checker(Form::Sent).expect("there is something to compare");
            checker.update(&body[..cut]);
            checker.update(&body[cut..]);
            prop_assert_eq!(checker.finish(), Ok(()));
            let mut other = body.clone();
            let bit = bit.index(body.len() * 8);
            other[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(verdict(&checks, Form::Sent, &other).is_err());
        }
    }
}
