//! What leaves a feeder, whatever the pieces its input comes in.

use crossbeam_channel::bounded;
use proptest::collection::vec;
use proptest::prelude::*;

use super::super::head::Fields;
use super::super::queue::Overflow;
use super::*;
use crate::message::{Form, Message};
use crate::{Policy, RingLimits};

/// The frames' contents after feeding the pieces.
fn feed<'a>(
    format: Format,
    max_line: usize,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Vec<u8>>, Result<(), FrameError>) {
    let (wake, _woken) = bounded(1);
    let limits = RingLimits { messages: usize::MAX, bytes: usize::MAX };
    let queue = Arc::new(Queue::new(limits, Policy::default(), Overflow::DropOldest, wake));
    let mut feeder = Feeder::new(queue.clone(), Head::new(&Fields::default()), format, max_line);
    let mut result = Ok(());
    for piece in pieces {
        assert!(feeder.cutter.held.len() <= FrameLimit::MAX.get() as usize + 8);
        result = result.and_then(|()| feeder.feed(piece));
    }
    result = result.and_then(|()| feeder.finish());
    let all = Policy { messages: usize::MAX, bytes: usize::MAX };
    let taken = queue.take(&all, false, Utc::now()).taken;
    let mut frames = Vec::new();
    for part in taken.parts() {
        for index in part.range() {
            let wire = part.chunk().wire(index..index + 1);
            let content = next_frame(&wire, FrameLimit::MAX).unwrap().expect("a whole frame");
            assert_eq!(content.end, wire.len());
            frames.push(wire[content].to_vec());
        }
    }
    (frames, result)
}

fn texts(max_line: usize, input: &str) -> Vec<String> {
    let text = |frame: &Vec<u8>| {
        let message = Message::parse(frame, Form::Any).expect("strict");
        String::from_utf8(message.text.to_vec()).expect("no character is torn")
    };
    feed(Format::Raw, max_line, [input.as_bytes()]).0.iter().map(text).collect()
}

#[test]
fn lines_keep_their_newline_and_long_ones_are_cut_between_characters() {
    assert_eq!(texts(10, "a\n\nb\r\nc"), ["a\n", "\n", "b\r\n", "c"]);
    assert_eq!(texts(4, "aaaa\n"), ["aaaa\n"], "no empty tail piece");
    assert_eq!(texts(4, "aaaaaaaa\n"), ["aaaa", "aaaa\n"]);
    assert_eq!(texts(4, "aaaab"), ["aaaa", "b"]);
    assert_eq!(texts(4, "aaéé\nx"), ["aaé", "é\n", "x"]);
    assert_eq!(texts(4, "aaaé\n"), ["aaa", "é\n"]);
    assert_eq!(texts(4, "a😀😀\n"), ["a", "😀", "😀\n"]);
    assert_eq!(texts(10_000, &format!("{}\n", "a".repeat(25_000))).len(), 3);
}

#[test]
fn lines_with_their_own_header_get_only_a_count() {
    let (frames, _) = feed(Format::Rfc5424, 10, [&b"<190>1 - - a - - - hi\n<190>1 - - b - - - x"[..]]);
    assert_eq!(frames, [&b"<190>1 - - a - - - hi\n"[..], b"<190>1 - - b - - - x"]);
    // What does not fit into a frame goes on under the shuttle's own header.
    let long = format!("<190>1 - - a - - - {}\n", "é".repeat(40_000));
    let (frames, _) = feed(Format::Rfc5424, 10, long.as_bytes().chunks(1000));
    assert_eq!(frames.len(), 2);
    let rest = Message::parse(&frames[1], Form::Any).expect("strict");
    assert_eq!([&frames[0], rest.text].concat(), long.as_bytes());
}

#[test]
fn a_malformed_frame_ends_the_stream_after_what_came_before() {
    let check = |input: &str| {
        let whole = feed(Format::OctetCounted, 10, [input.as_bytes()]);
        let bytes = feed(Format::OctetCounted, 10, input.as_bytes().chunks(1));
        assert_eq!(whole, bytes, "{input}");
        let error = whole.1.map_err(|error| error.to_string()).err().unwrap_or_default();
        (whole.0.len(), error)
    };
    assert_eq!(check("1 a2 b\n"), (2, String::new()));
    assert_eq!(check("1 a\n1 b").0, 1);
    assert_eq!(check("1 a\n1 b").1, "expected an octet count, found byte 0x0a");
    assert_eq!(check("2 ab99999999999 x").1, "a frame of 99999 bytes or more is over the limit of 65536");
    assert_eq!(check("2 ab5 abc"), (1, "the last frame is cut short: 2 bytes are missing".to_owned()));
    assert_eq!(check("0 "), (0, "expected an octet count, found byte 0x30".to_owned()));
}

#[test]
fn an_endless_line_costs_no_memory() {
    let piece = vec![b'a'; 64 * 1024];
    let (wake, _woken) = bounded(1);
    let limits = RingLimits { messages: 100, bytes: 1 << 20 };
    let queue = Arc::new(Queue::new(limits, Policy::default(), Overflow::DropOldest, wake));
    let mut feeder = Feeder::new(queue.clone(), Head::new(&Fields::default()), Format::Raw, 10_000);
    for _ in 0..1000 {
        feeder.feed(&piece).unwrap();
        assert!(feeder.cutter.held.capacity() <= 32 * 1024);
    }
    assert!(queue.ledger().dropped_total() > 6000);
}

fn any_text() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![3 => Just(b'a'), 2 => Just(b'\n'), 1 => any::<u8>()];
    vec(byte, 0..400)
}

proptest! {
    #[test]
    fn where_the_input_is_cut_makes_no_difference(
        text in any_text(),
        most in 4usize..40,
        size in 1usize..50,
        repeat in 1usize..40,
    ) {
        // Long enough now and then to take the way of large reads.
        let text = text.repeat(repeat);
        let strip = |frames: Vec<Vec<u8>>| -> Vec<Vec<u8>> {
            frames.iter().map(|frame| Message::parse(frame, Form::Any).expect("strict").text.to_vec()).collect()
        };
        let whole = strip(feed(Format::Raw, most, [&text[..]]).0);
        let pieces = strip(feed(Format::Raw, most, text.chunks(size)).0);
        prop_assert_eq!(&whole, &pieces);
        prop_assert_eq!(whole.concat(), text, "nothing is added or missing");
        for piece in &whole {
            prop_assert!(!piece.is_empty() && piece.len() <= most + 1);
            prop_assert!(piece.len() <= most || piece.ends_with(b"\n"));
        }
    }
}
