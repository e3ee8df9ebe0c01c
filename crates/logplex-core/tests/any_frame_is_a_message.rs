//! Whatever bytes a frame has, it is taken as a message, and no byte of its text is lost.

use chrono::{DateTime, Utc};
use logplex_core::message::Form;
use logplex_core::{Batch, Chunk, FrameLimit, Frames, Origin};
use proptest::collection::vec;
use proptest::prelude::*;

fn origin(form: Form, now: DateTime<Utc>) -> Origin<'static> {
    Origin { token_name: "app", token: "t.1", form, limit: FrameLimit::MAX, now }
}

fn now() -> DateTime<Utc> {
    "2026-01-02T03:04:05Z".parse().expect("a time")
}

/// Decodes and looks at all that a batch has: each of its messages must render.
fn take(frames: &[Vec<u8>], origin: &Origin<'_>) -> Batch {
    let framed = Frames::from_messages(frames);
    let batch = Batch::decode(&framed.wire(0..framed.count()), origin).expect("well framed");
    assert_eq!(batch.count(), frames.len());
    for (index, frame) in frames.iter().enumerate() {
        let mut line = String::new();
        batch.write_line(index, &mut line);
        assert!(line.ends_with('\n') && line.matches(['\r', '\n']).count() == 1, "{line:?}");
        let message = batch.message(index);
        assert!(message.pri <= 191 && frame.ends_with(message.text));
        for field in [message.time, message.host, message.app, message.procid, message.msgid] {
            assert!(!field.is_empty() && field.bytes().all(|byte| byte.is_ascii_graphic()), "{field:?}");
        }
        assert!(batch.drain_form(index..index + 1).ends_with(message.text));
    }
    batch
}

/// Pieces of which syslog is made, some of them wrong.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let pieces: &[&[u8]] = &[
        b"<13>",
        b"<191>",
        b"<192>",
        b"<007>",
        b"<300>",
        b"<1300>",
        b"<+13>",
        b"<",
        b">",
        b"1 ",
        b"2 ",
        b"11 ",
        b" ",
        b"  ",
        b"\t",
        b"-",
        b"- ",
        b"- - ",
        b":",
        b": ",
        b"\n",
        b"\r\n",
        b"[",
        b"]",
        b"\"",
        b"=",
        b"\\",
        b"[a b=\"c\"]",
        b"[a",
        b" b=\"",
        b"[INFO] ",
        b"host ",
        b"host: ",
        b"app ",
        b"app[1]: ",
        b"app[",
        b"web.1 ",
        b"token ",
        b"t.1 ",
        b"007 ",
        b"99999999999999999999 ",
        b"Oct 11 22:14:15 ",
        b"Feb 29 22:14:15 ",
        b"Dec 31 23:59:60 ",
        b"Oct 11 ",
        b"Oct 11 2019 22:14:15 ",
        b"Oct 11 70000 22:14:15 ",
        b"Oct 11 262143 22:14:15 ",
        b"22:14:15 ",
        b"Oct 11 -5 22:14:15 ",
        b"2020-10-11T22:14:15Z ",
        b"2020-10-11t22:14:15.123456789z ",
        b"2016-12-31T23:59:60Z ",
        b"2016-12-31T23:59:60.999999999+23:59 ",
        b"0000-01-01T00:00:00+23:59 ",
        b"9999-12-31T23:59:59-23:59 ",
        b"+12020-10-11T22:14:15Z ",
        b"2020-02-30T22:14:15Z ",
        b"\xff",
        b"\xc3",
        b"\xc3\xa9",
        b"\xef\xbb\xbf",
        b"\xc2\xa0",
        b"\xe2\x80\xa8",
        b"\0",
        b"hello ",
    ];
    prop_oneof![
        12 => prop::sample::select(pieces).prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 1..8),
        1 => (any::<u8>(), 1..400usize).prop_map(|(byte, count)| vec![byte; count]),
    ]
}

fn frame() -> impl Strategy<Value = Vec<u8>> {
    let joined = |pieces: Vec<Vec<u8>>| pieces.concat();
    let head = prop::sample::select(vec!["", "<34>", "<34>1 ", "<34>2 ", "<34>Oct 11 22:14:15 "]);
    prop_oneof![
        1 => vec(any::<u8>(), 1..100),
        8 => (head, vec(piece(), 1..16)).prop_map(move |(head, pieces)| [head.as_bytes(), &joined(pieces)].concat()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn no_frame_is_too_odd(frames in vec(frame(), 1..5), drain in any::<bool>()) {
        take(&frames, &origin(if drain { Form::Drain } else { Form::Any }, now()));
    }

    #[test]
    fn no_body_is_too_odd(body in vec(any::<u8>(), 0..200)) {
        drop(Batch::decode(&body, &origin(Form::Any, now())));
        let text = Batch::from_text(&body, "p", &origin(Form::Any, now())).expect("not too many");
        let lines = body.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let texts: Vec<&[u8]> = (0..text.count()).map(|index| text.message(index).text).collect();
        prop_assert_eq!(texts, lines.filter(|line| !line.is_empty()).collect::<Vec<_>>());
    }
}

#[test]
fn a_frame_at_the_limit_is_taken_whatever_fills_it() {
    const HEADS: &[&str] = &[
        "",
        "<34>1 ",
        "<34>2 2020-10-11T22:14:15Z h a p m ",
        "<34>2 2020-10-11T22:14:15Z h a p m - ",
        "<34>1 2020-10-11T22:14:15Z ",
        "<34>1 2020-10-11T22:14:15Z h ",
        "<34>1 2020-10-11T22:14:15Z h a p ",
        "<34>1 2020-10-11T22:14:15Z h a p m - ",
        "<34>1 2020-10-11T22:14:15Z h a p m [",
        "<34>1 2020-10-11T22:14:15Z h a p m [a b=\"",
        "<34>1 - h ",
        "<34>1 - ",
        "<34>Oct 11 22:14:15 ",
        "<34>Oct 11 22:14:15 m su[",
        "<34>Oct 11 22:14:15 m su: [a b=\"",
    ];
    const FILLS: &[&str] =
        &["a", "a ", "[", "[a]", "]", "\"", "\\", " ", "-", "\u{a0}", "b=\"\\\"\" ", "[a b=\"c\"]", ":"];
    let limit = FrameLimit::MAX.get() as usize;
    for head in HEADS {
        for fill in FILLS {
            // Around 2^16 the offsets of fields stop to fit.
            for cut in [0, 40] {
                let mut frame = [head.as_bytes(), &fill.as_bytes().repeat(limit / fill.len() + 1)].concat();
                frame.truncate(limit - cut);
                take(std::slice::from_ref(&frame), &origin(Form::Any, now()));
                let tail = frame.len() - " m - x".len();
                frame[tail..].copy_from_slice(b" m - x");
                take(&[frame], &origin(Form::Any, now()));
            }
        }
    }
}

#[test]
fn a_clock_that_is_wrong_does_not_stop_the_door() {
    for now in [
        DateTime::<Utc>::MIN_UTC,
        DateTime::<Utc>::MAX_UTC,
        "+12026-01-02T03:04:05Z".parse().expect("a time"),
    ] {
        let frames =
            ["x", "<34>1 - h a p m - x", "<34>Dec 31 22:14:15 m su: x", "<34>Jan 1 22:14:15 m su: x"];
        let batch = take(&frames.map(|frame| frame.as_bytes().to_vec()), &origin(Form::Any, now));
        assert_eq!(batch.message(0).time.len(), "1970-01-01T00:00:00.000000+00:00".len());
        assert_eq!(Batch::from_text(b"x", "p", &origin(Form::Any, now)).expect("one").count(), 1);
    }
}
