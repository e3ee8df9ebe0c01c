use proptest::prelude::*;

use super::*;

const HEAD: &str = "2012-07-22T00:06:26+00:00 host erlang console";

fn parse(frame: &str) -> Option<Message<'_>> {
    Message::parse(frame.as_bytes(), Form::Any)
}

/// The structured data and the text of a message from host `h`.
fn body(rest: &str) -> (Option<String>, String) {
    split(&format!("<13>1 2012-07-22T00:06:26Z h app web.1 ID{rest}"), Form::Any)
}

/// The same in the head of an HTTP drain.
fn drain_body(rest: &str, form: Form) -> (Option<String>, String) {
    split(&format!("<174>1 {HEAD} - {rest}"), form)
}

fn split(frame: &str, form: Form) -> (Option<String>, String) {
    let message = Message::parse(frame.as_bytes(), form).expect("strict");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("a test's text");
    (message.structured_data.map(text), text(message.text))
}

fn some(structured_data: &str, text: &str) -> (Option<String>, String) {
    (Some(structured_data.to_owned()), text.to_owned())
}

fn none(text: &str) -> (Option<String>, String) {
    (None, text.to_owned())
}

#[test]
fn every_field_is_found() {
    let frame =
        "<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog 42 ID47 [a@1 b=\"c\"] \u{feff}text\n";
    let expected = Message {
        pri: 165,
        time: "2003-10-11T22:14:15.003Z",
        host: "mymachine.example.com",
        app: "evntslog",
        procid: "42",
        msgid: "ID47",
        structured_data: Some(b"[a@1 b=\"c\"]"),
        text: "\u{feff}text\n".as_bytes(),
    };
    assert_eq!(parse(frame), Some(expected));
    assert_eq!(expected.severity(), 5);
}

#[test]
fn a_text_keeps_its_bytes() {
    let mut frame = b"<13>1 2012-07-22T00:06:26Z h app web.1 - - ".to_vec();
    let text: Vec<u8> = (0..=255).collect();
    frame.extend_from_slice(&text);
    assert_eq!(Message::parse(&frame, Form::Any).map(|message| message.text), Some(&text[..]));
}

#[test]
fn pri_is_0_to_191() {
    let pri = |pri: &str| parse(&format!("<{pri}>1 {HEAD} - - x")).map(|message| message.pri);
    for good in ["0", "13", "99", "100", "190", "191"] {
        assert_eq!(pri(good), good.parse().ok());
    }
    for bad in ["192", "199", "256", "300", "1000", "007", "07", "00", "", "-1", "+1", "1x", "x"] {
        assert_eq!(pri(bad), None, "{bad:?}");
    }
}

#[test]
fn a_head_has_version_1_and_single_spaces() {
    for foreign in [
        "",
        "<13>1",
        "<13>1 ",
        "<13>2 2012-07-22T00:06:26+00:00 h a p m - x",
        "<13>11 2012-07-22T00:06:26+00:00 h a p m - x",
        "<13>1  2012-07-22T00:06:26+00:00 h a p m - x",
        "<13>1 2012-07-22T00:06:26+00:00  h a p m - x",
        "<13>1 2012-07-22T00:06:26+00:00 h a p  m - x",
        "<13>1 2012-07-22T00:06:26+00:00 h\ta p m - x",
        "<13>1 2012-07-22T00:06:26+00:00 hé a p m - x",
        "<13>1 2012-07-22T00:06:26+00:00 h a p m\n",
        "<13>1 2012-07-22T00:06:26+00:00 h a p",
        "<13>1 2012-07-22T00:06:26+00:00 h a p ",
        "13>1 2012-07-22T00:06:26+00:00 h a p m - x",
    ] {
        assert_eq!(parse(foreign), None, "{foreign:?}");
    }
}

#[test]
fn a_time_is_rfc_3339_as_rfc_5424_narrows_it() {
    let good = |time: &str| parse(&format!("<13>1 {time} h a p m - x")).is_some();
    for time in [
        "2012-07-22T00:06:26Z",
        "2012-07-22T23:59:59.1Z",
        "2012-07-22T00:06:26.123456+23:59",
        "2012-12-31T00:06:26-08:00",
        "0000-01-01T00:00:00Z",
        // The calendar is not looked at.
        "2012-02-31T00:00:00Z",
    ] {
        assert!(good(time), "{time}");
    }
    for time in [
        "-",
        "2012-07-22",
        "2012-07-22T00:06:26",
        "2012-07-22t00:06:26Z",
        "2012-07-22T00:06:26z",
        "2012-07-22T24:00:00Z",
        "2012-07-22T00:60:26Z",
        "2012-07-22T00:06:60Z",
        "2012-00-22T00:06:26Z",
        "2012-13-22T00:06:26Z",
        "2012-07-00T00:06:26Z",
        "2012-07-32T00:06:26Z",
        "2012-07-22T00:06:26.Z",
        "2012-07-22T00:06:26.1234567Z",
        "2012-07-22T00:06:26+24:00",
        "2012-07-22T00:06:26+30:00",
        "2012-07-22T00:06:26+00:60",
        "2012-07-22T00:06:26+0000",
        "2012-07-22T00:06:26Zjunk",
        "12012-07-22T00:06:26Z",
    ] {
        assert!(!good(time), "{time}");
    }
}

#[test]
fn structured_data_ends_where_its_brackets_do() {
    assert_eq!(body(" - text"), some("-", "text"));
    assert_eq!(body(" - - text"), some("-", "- text"));
    assert_eq!(body(" -  text "), some("-", " text "));
    assert_eq!(body(" [a] text"), some("[a]", "text"));
    assert_eq!(body(" [a][b] text"), some("[a][b]", "text"));
    assert_eq!(body(" [a b=\"\"] text"), some("[a b=\"\"]", "text"));
    assert_eq!(
        body(" [a@1 b=\"c\" d=\"e\"][f g=\"h\"] text"),
        some("[a@1 b=\"c\" d=\"e\"][f g=\"h\"]", "text")
    );
    assert_eq!(body(r#" [a b="\"\\\]"] text"#), some(r#"[a b="\"\\\]"]"#, "text"));
    assert_eq!(body(r#" [a b="] text"] text"#), some(r#"[a b="] text"]"#, "text"));
    assert_eq!(body(" [a b=\"é\\é\n\"] text"), some("[a b=\"é\\é\n\"]", "text"));
    // A second element that stands apart is text.
    assert_eq!(body(" [a] [b] text"), some("[a]", "[b] text"));
}

#[test]
fn what_is_no_structured_data_is_text() {
    for text in [
        "hello",
        "-5 degrees",
        "--",
        "[]",
        "[] x",
        "[a]text",
        "[a",
        "[a b]",
        "[a b=c]",
        "[a b=\"c]",
        "[a b=\"c\\",
        "[a b=\"c\"",
        "[a  b=\"c\"]",
        "[a b=\"c\" ]",
        "[a][",
        "[a][b",
        "[=a]",
        "[a\"] x",
        "[Tue Jun 08] x",
    ] {
        assert_eq!(body(&format!(" {text}")), none(text));
    }
}

#[test]
fn a_message_may_end_early() {
    assert_eq!(body(""), none(""));
    assert_eq!(body(" "), none(""));
    assert_eq!(body(" -"), some("-", ""));
    assert_eq!(body(" - "), some("-", ""));
    assert_eq!(body(" [a]"), some("[a]", ""));
    assert_eq!(body(" [a] "), some("[a]", ""));
    for rest in ["", " ", " -", " - ", " [a]"] {
        let frame = format!("<13>1 2012-07-22T00:06:26Z h app web.1 ID{rest}");
        assert_eq!(parse(&frame).map(|message| message.msgid), Some("ID"), "{rest:?}");
    }
}

#[test]
fn a_drains_text_is_what_stands_after_its_nil_msgid() {
    for text in ["hello", "[INFO] hello", "- dash", "-", "", "[a b=\"c\"] hello", " x", "-\n"] {
        assert_eq!(drain_body(text, Form::Drain), none(text));
    }
}

#[test]
fn only_a_drains_head_has_a_drains_text() {
    let frame = |host: &str, msgid: &str| format!("<13>1 2012-07-22T00:06:26Z {host} app web.1 {msgid} - x");
    assert_eq!(split(&frame("host", "-"), Form::Drain), none("- x"));
    assert_eq!(split(&frame("h", "-"), Form::Drain), some("-", "x"));
    assert_eq!(split(&frame("hosts", "-"), Form::Drain), some("-", "x"));
    assert_eq!(split(&frame("host", "ID"), Form::Drain), some("-", "x"));
    assert_eq!(split(&frame("host", "--"), Form::Drain), some("-", "x"));
}

#[test]
fn a_strict_senders_head_has_structured_data_whatever_it_looks_like() {
    assert_eq!(drain_body("- [INFO] x", Form::Strict), some("-", "[INFO] x"));
    assert_eq!(drain_body("[INFO] x", Form::Strict), some("[INFO]", "x"));
    assert_eq!(drain_body("[a b=\"c\"] - x", Form::Strict), some("[a b=\"c\"]", "- x"));
}

#[test]
fn without_a_hint_a_drains_head_has_structured_data_where_it_looks_like_some() {
    let body = |text: &str| drain_body(text, Form::Any);
    assert_eq!(body("hello"), none("hello"));
    assert_eq!(body("[INFO] hello"), none("[INFO] hello"));
    assert_eq!(body("[a b=\"c\"][INFO] hello"), none("[a b=\"c\"][INFO] hello"));
    assert_eq!(body("-5"), none("-5"));
    // These two cannot be told from structured data; the hint is for them.
    assert_eq!(body("- dash"), some("-", "dash"));
    assert_eq!(body("[a b=\"c\"] hello"), some("[a b=\"c\"]", "hello"));
}

#[test]
fn what_is_written_reads_back() {
    for rest in [" - text\n", " [a b=\"c\"] text", " [x]", " - ", " plain", ""] {
        let frame = format!("<13>1 2012-07-22T00:06:26Z h app web.1 ID{rest}");
        let message = parse(&frame).expect("strict");
        let mut written = Vec::new();
        message.write(&mut written);
        let read = Message::parse(&written, Form::Any).expect("what we write is strict");
        assert_eq!(read, Message { structured_data: message.structured_data.or(Some(b"-")), ..message });
    }
}

#[test]
fn a_head_may_be_as_long_as_its_offsets_reach() {
    let frame = |len: usize| format!("<13>1 2012-07-22T00:06:26Z {} a p m - x", "h".repeat(len));
    let longest = HEAD_MAX - frame(0).len() + "- x".len();
    let message = frame(longest);
    let message = parse(&message).expect("strict");
    assert_eq!((message.host.len(), message.text), (longest, &b"x"[..]));
    assert_eq!(parse(&frame(longest + 1)), None);
}

#[test]
fn a_field_ends_at_the_first_byte_that_is_not_printable_wherever_it_stands() {
    for byte in 0..=255u8 {
        for at in 0..20 {
            // What follows must not matter, least of all bytes that borrow or carry.
            for after in [b'x', 0, b' ', b'!', b'~', 0x7f, 0x80, 0xff] {
                let mut bytes = [after; 20];
                bytes[..at].fill(b'~');
                bytes[at] = byte;
                let expected = bytes.iter().position(|byte| !byte.is_ascii_graphic()).unwrap_or(bytes.len());
                assert_eq!(printable_len(&bytes), expected, "{bytes:?}");
            }
        }
    }
}

#[test]
fn each_byte_of_a_time_is_looked_at() {
    let time = *b"2026-11-21T19:38:57";
    for at in 0..time.len() {
        for byte in 0..=255u8 {
            let mut other = time;
            other[at] = byte;
            let right = if time[at].is_ascii_digit() { byte.is_ascii_digit() } else { byte == time[at] };
            let shaped = has_shape(&other, 0, b"0000-00-")
                && has_shape(&other, 8, b"00T00:00")
                && has_shape(&other, 11, b"00:00:00");
            assert_eq!(shaped, right, "{byte} at {at}");
        }
    }
}

/// Frames that are much alike, whole and cut off.
fn alike() -> impl Strategy<Value = Vec<u8>> {
    let one_of = |choices: &'static [&'static str]| prop::sample::select(choices);
    let time = one_of(&[
        "2012-07-22T00:06:26Z",
        "2012-07-22T00:06:27Z",
        "2012-07-22T00:06 27Z",
        "2012-07-22T00:06:2xZ",
    ]);
    let fields = one_of(&["host app web.1 -", "host app web.2 -", "h app web.1 -", "host app web.1 ID"]);
    let structured_data =
        one_of(&["", " ", " - ", " -", " [a] ", " [a b=\"c\"] ", " [a b=\"c\"]", " [a b=\"c"]);
    let text = one_of(&["", "x", " ", "- x", "[INFO] x", "[a b=\"c\"] x", "-x"]);
    let frame = (one_of(&["13", "174"]), time, fields, structured_data, text);
    frame.prop_map(|(pri, time, fields, structured_data, text)| {
        format!("<{pri}>1 {time} {fields}{structured_data}{text}").into_bytes()
    })
}

#[test]
fn a_head_fits_with_any_valid_time_of_its_length_and_no_other() {
    let times = [
        "2012-07-22T00:06:26Z",
        "2012-07-22T00:06:26.1Z",
        "2012-07-22T00:06:26.123456Z",
        "2012-07-22T00:06:26.123456+00:00",
        "2012-07-22T00:06:27.654321+00:00",
        "2012-07-22T00:06:26.12345-10:30",
        "2012-07-22T00:06:26-10:30",
    ];
    let frame = |time: &[u8]| [b"<13>1 ", time, b" host app web.1 - - text"].concat();
    for valid in times {
        let one = frame(valid.as_bytes());
        let head = Head::parse(&one, Form::Any).expect("strict");
        let pattern = Pattern::of(head, &one);
        for time in times.iter().filter(|time| time.len() == valid.len()) {
            // Each byte replaced by each kind of byte that a time may have, and by others.
            for (at, byte) in (0..time.len()).flat_map(|at| b"09.Z+-:Tx\xff".map(|byte| (at, byte))) {
                let mut time = time.as_bytes().to_vec();
                time[at] = byte;
                let fits = pattern.fits(&frame(&time));
                assert_eq!(fits, is_timestamp(&time), "{}", String::from_utf8_lossy(&time));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]
    #[test]
    fn a_head_that_fits_is_what_would_be_read(one in alike(), other in alike(), form in 0..3usize) {
        let form = [Form::Any, Form::Drain, Form::Strict][form];
        if let Some(head) = Head::parse(&one, form)
            && Pattern::of(head, &one).fits(&other)
        {
            prop_assert_eq!(Head::parse(&other, form), Some(head));
        }
    }
}

#[test]
fn any_frame_is_read_with_its_strict_form() {
    let now = "2026-01-02T03:04:05.678901Z".parse().expect("a time");
    let cases = [
        (
            "<190>1 2026-01-02T03:04:05Z h a p m [x y=\"z\"] t",
            "<190>1 2026-01-02T03:04:05Z h a p m [x y=\"z\"] t",
            "a",
        ),
        ("<190>1 - h a p m - t", "<190>1 2026-01-02T03:04:05.678901+00:00 h a p m - t", "a"),
        (
            "<34>Oct 11 22:14:15 h t.5bd00e46-1ca4[23]: t",
            "<34>1 2026-10-11T22:14:15.000000+00:00 h t.5bd00e46-1ca4 23 - - t",
            "t.5bd00e46-1ca4",
        ),
        ("t", "<13>1 2026-01-02T03:04:05.678901+00:00 - token - - - t", "token"),
    ];
    let mut spare = b"what was there before".to_vec();
    for (frame, strict, app) in cases {
        let (read, message) = Message::read(frame.as_bytes(), now, &mut spare);
        assert_eq!((std::str::from_utf8(read), message.app, message.text), (Ok(strict), app, &b"t"[..]));
    }
}

#[test]
fn the_next_line_of_a_process_has_a_head_that_fits() {
    let rows = [
        ("host app web.1 - - one", "host app web.1 - - another", true),
        ("host app web.1 - one", "host app web.1 - another", true),
        ("host app web.1 - one", "host app web.1 - [another]", false),
        ("host app web.1 - - one", "host app web.2 - - one", false),
        ("host app web.1 - [a b=\"c\"] one", "host app web.1 - [a b=\"c\"] [two]", true),
    ];
    for (one, other, fits) in rows {
        let one = format!("<190>1 2026-01-02T03:04:05.678901+00:00 {one}");
        let other = format!("<190>1 2026-01-02T03:04:06.000001+00:00 {other}");
        let head = Head::parse(one.as_bytes(), Form::Any).expect("strict");
        let pattern = Pattern::of(head, one.as_bytes());
        assert_eq!(pattern.fits(other.as_bytes()), fits, "{other}");
    }
}
