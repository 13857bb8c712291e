//! However the bytes are split, and wherever they end.

use super::drive::{self, Item};
use super::grammar::{self, Choices};
use super::{Broken, Malformed, config};
use proptest::prelude::*;

/// Bytes that stand for choices.
fn choices(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..most)
}

/// Several responses one behind the other, damaged.
fn stream(bytes: &[u8]) -> Vec<u8> {
    let mut choices = Choices(bytes);
    let mut stream = Vec::new();
    for number in 0..=choices.below(3) {
        let mark = format!("<{number}>");
        stream.extend_from_slice(&grammar::response(&mut choices, &mark).bytes);
    }
    grammar::damage(&mut choices, &mut stream);
    stream
}

proptest! {
    #![proptest_config(config(3000))]

    #[test]
    fn a_split_changes_nothing(
        bytes in choices(160),
        at in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let stream = stream(&bytes);
        let whole = drive::decode([&stream[..]], false);
        let text = stream.escape_ascii();
        for at_once in [false, true] {
            let split = drive::decode(drive::split(&stream, &at), at_once);
            prop_assert_eq!(split.essence(), whole.essence(), "{}", text);
            let bytewise = drive::decode(stream.chunks(1), at_once);
            prop_assert_eq!(bytewise.essence(), whole.essence(), "{}", text);
        }
        let at_once = drive::decode([&stream[..]], true);
        prop_assert_eq!(&at_once, &whole, "{}", text);

        // The same for a session, its heads included.
        let sent = |piece| (3, piece);
        let whole = drive::converse([sent(&stream[..])], vec![], false);
        whole.check();
        let pieces = drive::split(&stream, &at);
        let split = drive::converse(pieces.into_iter().map(sent), vec![], false);
        split.check();
        prop_assert_eq!(&split.recorder.heads, &whole.recorder.heads, "{}", text);
        prop_assert_eq!(split.raced, whole.raced);
        let failed = |why| matches!(why, Broken::Failed(_));
        prop_assert_eq!(failed(split.why), failed(whole.why), "{}", text);
        prop_assert_eq!(split.answered(), whole.answered());
    }
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn a_cut_response_is_never_complete(bytes in choices(100)) {
        let response = grammar::response(&mut Choices(&bytes), "<mark>");
        let input = &response.bytes;
        let whole = drive::decode([&input[..]], true);
        let text = input.escape_ascii();
        prop_assert_eq!(whole.end, Ok(()), "{}", text);
        prop_assert_eq!(whole.responses(), [(response.status, response.body.clone())], "{}", text);
        let keep_alive = whole.items.iter().find_map(|item| match item {
            Item::Head(head, _) => Some(head.keep_alive),
            _ => None,
        });
        prop_assert_eq!(keep_alive, Some(response.keep_alive), "{}", text);
        for cut in 0..input.len() {
            for pieces in [vec![&input[..cut]], drive::split(&input[..cut], &[cut / 2, cut / 3])] {
                let decoded = drive::decode(pieces, cut % 2 == 0);
                if response.until_close && cut >= response.body_at {
                    let part = input[response.body_at..cut].to_vec();
                    prop_assert_eq!(decoded.responses(), [(response.status, part)]);
                    prop_assert_eq!(decoded.end, Ok(()));
                } else {
                    prop_assert_eq!(decoded.responses(), [], "cut at {} of {}", cut, text);
                    let want = if cut == 0 { Ok(()) } else { Err(Malformed::Truncated) };
                    prop_assert_eq!(decoded.end, want, "cut at {} of {}", cut, text);
                }
            }
        }
    }
}
