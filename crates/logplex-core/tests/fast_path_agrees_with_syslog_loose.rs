//! What the scanning fast path finds in a strict frame is what `syslog_loose` finds, field by field. Where the
//! two are known to differ there is a row in the table below, and the generator leaves out just that.

use chrono::DateTime;
use logplex_core::Message;
use logplex_core::message::Form;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use syslog_loose::{Protocol, Variant};

/// What both find, in one form: nil fields as `-`, structured data as it is written.
#[derive(Debug, PartialEq)]
struct Fields {
    pri: Option<u8>,
    time: Option<DateTime<chrono::FixedOffset>>,
    host: String,
    app: String,
    procid: String,
    msgid: String,
    structured_data: String,
    text: String,
}

fn ours(frame: &str) -> Fields {
    let message = Message::parse(frame.as_bytes(), Form::Any).expect("a strict frame");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("a test's text");
    Fields {
        pri: Some(message.pri),
        time: DateTime::parse_from_rfc3339(message.time).ok(),
        host: message.host.to_owned(),
        app: message.app.to_owned(),
        procid: message.procid.to_owned(),
        msgid: message.msgid.to_owned(),
        structured_data: text(message.structured_data.unwrap_or(b"-")),
        text: text(message.text),
    }
}

/// `None` where it does not take the frame for RFC 5424.
fn theirs(frame: &str) -> Option<Fields> {
    let message = syslog_loose::parse_message(frame, Variant::Either);
    if message.protocol != Protocol::RFC5424(1) {
        return None;
    }
    let field = |value: Option<&str>| value.unwrap_or("-").to_owned();
    let elements: String = message.structured_data.iter().map(ToString::to_string).collect();
    Some(Fields {
        pri: message
            .facility
            .zip(message.severity)
            .map(|(facility, severity)| facility as u8 * 8 + severity as u8),
        time: message.timestamp,
        host: field(message.hostname),
        app: field(message.appname),
        procid: message.procid.map_or("-".to_owned(), |procid| procid.to_string()),
        msgid: field(message.msgid),
        structured_data: if elements.is_empty() { "-".to_owned() } else { elements },
        text: message.msg.to_owned(),
    })
}

fn time() -> impl Strategy<Value = String> {
    let date = (0..=9999u16, 1..=12u8, 1..=28u8).prop_map(|(y, m, d)| format!("{y:04}-{m:02}-{d:02}"));
    let time = (0..24u8, 0..60u8, 0..60u8).prop_map(|(h, m, s)| format!("{h:02}:{m:02}:{s:02}"));
    let zone = prop_oneof![
        Just("Z".to_owned()),
        ("[+-]", 0..24u8, 0..60u8).prop_map(|(sign, h, m)| format!("{sign}{h:02}:{m:02}")),
    ];
    (date, time, option::of("\\.[0-9]{1,6}"), zone).prop_map(|(date, time, fraction, zone)| {
        format!("{date}T{time}{}{zone}", fraction.unwrap_or_default())
    })
}

/// Printable ASCII. A lone colon and, in HOSTNAME, a last one are rows of the table.
fn field() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-zA-Z0-9._-]{1,12}", 1 => "[!-~]{1,40}", 1 => Just("-".to_owned())]
        .prop_filter("a row of the table", |field| field != ":")
}

fn host() -> impl Strategy<Value = String> {
    field().prop_filter("a row of the table", |host| !host.ends_with(':') && host != "host")
}

fn procid() -> impl Strategy<Value = String> {
    prop_oneof![field(), any::<i32>().prop_map(|pid| pid.to_string())].prop_filter(
        "a row of the table",
        |procid| {
            procid.parse::<i32>().is_ok_and(|pid| pid.to_string() == *procid)
                || procid.parse::<i32>().is_err()
        },
    )
}

fn structured_data() -> impl Strategy<Value = String> {
    let name = "[!#-<>-\\\\^-~]{1,10}";
    let value = r#"([^"\\]|\\["\\\]]|\\[a-zé]){0,12}"#;
    let parameter = (name, value).prop_map(|(name, value)| format!(" {name}=\"{value}\""));
    let element =
        (name, vec(parameter, 0..4)).prop_map(|(id, parameters)| format!("[{id}{}]", parameters.concat()));
    prop_oneof![1 => Just("-".to_owned()), 2 => vec(element, 1..4).prop_map(|elements| elements.concat())]
}

/// A text; white space around it is a row of the table.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![".{0,60}", "[\\[\\]\"= a-c-]{0,20}", "(?s).{0,20}"].prop_map(|text| text.trim().to_owned())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn both_find_the_same_fields(
        pri in 0..=191u8,
        time in time(),
        host in host(),
        (app, procid, msgid) in (field(), procid(), field()),
        structured_data in structured_data(),
        text in text(),
    ) {
        let frame = format!("<{pri}>1 {time} {host} {app} {procid} {msgid} {structured_data} {text}");
        let ours = ours(&frame);
        prop_assert_eq!(&ours.structured_data, &structured_data);
        prop_assert_eq!(&ours.text, &text);
        prop_assert_eq!(Some(ours), theirs(&frame));
    }
}

/// A field's name, our answer, theirs.
type Difference = (&'static str, &'static str, &'static str);

/// Both answers to one frame, where they differ.
fn differ(rest: &str) -> Vec<(&'static str, String, String)> {
    let frame = format!("<13>1 {rest}");
    let Some(theirs) = theirs(&frame) else {
        return vec![("all", ours(&frame).text, "not RFC 5424".to_owned())];
    };
    let ours = ours(&frame);
    let time = |time: Option<DateTime<_>>| time.map_or("no time".to_owned(), |time| time.to_rfc3339());
    [
        ("pri", format!("{:?}", ours.pri), format!("{:?}", theirs.pri)),
        ("time", time(ours.time), time(theirs.time)),
        ("host", ours.host, theirs.host),
        ("app", ours.app, theirs.app),
        ("procid", ours.procid, theirs.procid),
        ("msgid", ours.msgid, theirs.msgid),
        ("structured_data", ours.structured_data, theirs.structured_data),
        ("text", ours.text, theirs.text),
    ]
    .into_iter()
    .filter(|(_, ours, theirs)| ours != theirs)
    .collect()
}

#[test]
fn each_known_difference_is_a_row() {
    const T: &str = "2012-07-22T00:06:26Z";
    #[rustfmt::skip]
    let rows: &[(&str, &[Difference])] = &[
        // They trim the frame, and blanks in front of the text: we keep a text's bytes.
        ("TIME h a p m - text\n", &[("text", "text\n", "text")]),
        ("TIME h a p m - text \t", &[("text", "text \t", "text")]),
        ("TIME h a p m -  text", &[("text", " text", "text")]),
        ("TIME h a p m [a] \ttext", &[("text", "\ttext", "text")]),
        // They read a numeric PROCID as a number: we keep it as sent.
        ("TIME h a 007 m - x", &[("procid", "007", "7")]),
        ("TIME h a +5 m - x", &[("procid", "+5", "5")]),
        ("TIME h a -0 m - x", &[("procid", "-0", "0")]),
        // They take a colon for the end of an RFC 3164 tag: in RFC 5424 it is printable ASCII as any other.
        ("TIME h: a p m - x", &[("all", "x", "not RFC 5424")]),
        ("TIME : a p m - x", &[("all", "x", "not RFC 5424")]),
        ("TIME h : p m - x", &[("all", "x", "not RFC 5424")]),
        ("TIME h a : m - x", &[("all", "x", "not RFC 5424")]),
        ("TIME h a p : - x", &[("all", "x", "not RFC 5424")]),
        // They want structured data, as RFC 5424 does: without it, ours is the form of an HTTP drain.
        ("TIME h a p m hello", &[("all", "hello", "not RFC 5424")]),
        ("TIME h a p m", &[("all", "", "not RFC 5424")]),
        ("TIME host a p - [INFO] x", &[("structured_data", "-", "[INFO]"), ("text", "[INFO] x", "x")]),
        // They take a leading `-` for nil whatever follows it: for us it is a text.
        ("TIME h a p m -5 x", &[("text", "-5 x", "5 x")]),
        // They throw away what is no structured data between brackets: for us it is text.
        ("TIME h a p m [] x", &[("text", "[] x", "x")]),
        ("TIME h a p m [a b=] x", &[("text", "[a b=] x", "x")]),
        ("TIME h a p m [a][b c] x", &[("text", "[a][b c] x", "x"), ("structured_data", "-", "[a]")]),
        // They need no space behind structured data: for us it is then text.
        ("TIME h a p m [a]x", &[("structured_data", "-", "[a]"), ("text", "[a]x", "x")]),
        // They forgive blanks and quotes in structured data: for us it is then text.
        ("TIME h a p m [a b= \"c\"] x", &[("structured_data", "-", "[a b=\"c\"]"), ("text", "[a b= \"c\"] x", "x")]),
        ("TIME h a p m [a\"] x", &[("structured_data", "-", "[a\"]"), ("text", "[a\"] x", "x")]),
        // They look at the calendar: we keep the time as sent, whoever reads it next decides.
        ("2012-02-30T00:00:00Z h a p m - x", &[("all", "x", "not RFC 5424")]),
    ];
    for (frame, expected) in rows {
        let mut found = differ(&frame.replace("TIME", T));
        let mut expected: Vec<_> = expected
            .iter()
            .map(|(field, ours, theirs)| (*field, (*ours).to_owned(), (*theirs).to_owned()))
            .collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{frame}");
    }
}
