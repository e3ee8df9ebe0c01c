use super::*;

fn now() -> DateTime<Utc> {
    "2026-01-02T03:04:05.678901Z".parse().expect("a time")
}

fn rewritten(frame: impl AsRef<[u8]>, form: Form) -> Vec<u8> {
    let mut out = Vec::new();
    let head = rewrite(frame.as_ref(), form, now(), &mut out);
    assert!(out.ends_with(head.text(&out)));
    out
}

fn check(frame: &str, expected: &str) {
    let out = rewritten(frame, Form::Any);
    assert_eq!(String::from_utf8(out).expect("UTF-8 in, UTF-8 out"), expected, "from {frame:?}");
}

#[test]
fn rfc_3164_is_understood() {
    let cases = [
        (
            "<34>Oct 11 22:14:15 mymachine su[23]: hi",
            "<34>1 2026-10-11T22:14:15.000000+00:00 mymachine su 23 - - hi",
        ),
        (
            "<34>Oct 11 22:14:15 mymachine su[w.1]: hi",
            "<34>1 2026-10-11T22:14:15.000000+00:00 mymachine su w.1 - - hi",
        ),
        (
            "<34>Oct  1 22:14:15 mymachine su: hi\n",
            "<34>1 2026-10-01T22:14:15.000000+00:00 mymachine su - - - hi\n",
        ),
        ("<34>Oct 11 2019 22:14:15 m su: hi", "<34>1 2019-10-11T22:14:15.000000+00:00 m su - - - hi"),
        (
            "<34>2020-10-11T22:14:15.5+02:00 m su[1]: hi",
            "<34>1 2020-10-11T20:14:15.500000+00:00 m su 1 - - hi",
        ),
        // Without a host, as the C library writes.
        ("<34>Oct 11 22:14:15 su: hi", "<34>1 2026-10-11T22:14:15.000000+00:00 - su - - - hi"),
        ("<34>Oct 11 22:14:15 ::1: hi", "<34>1 2026-10-11T22:14:15.000000+00:00 ::1 token - - - hi"),
        ("<34>Oct 11 22:14:15 su hi", "<34>1 2026-10-11T22:14:15.000000+00:00 su hi - - - "),
        ("<34>Oct 11 22:14:15 su[23]: hi", "<34>1 2026-10-11T22:14:15.000000+00:00 - su 23 - - hi"),
        ("<34>Oct 11 22:14:15 : hi", "<34>1 2026-10-11T22:14:15.000000+00:00 - token - - - hi"),
        // A December seen in January is the last one.
        ("<34>Dec 31 23:59:59 m su: hi", "<34>1 2025-12-31T23:59:59.000000+00:00 m su - - - hi"),
    ];
    for (frame, expected) in cases {
        check(frame, expected);
    }
}

#[test]
fn rfc_3164_has_no_structured_data() {
    for text in
        ["-5 degrees", "- item", "-", "--flag", "[a b=\"c\"] x", "[a b=\"c\"][d] x", "[d] x", "", "hi"]
    {
        let head = "1 2026-10-11T22:14:15.000000+00:00 m su - -";
        check(&format!("<34>Oct 11 22:14:15 m su: {text}"), &format!("<34>{head} - {text}"));
    }
    check("<34>Oct 11 22:14:15 m su -x", "<34>1 2026-10-11T22:14:15.000000+00:00 m su - - - -x");
    check("<34>Oct 11 22:14:15 m a- x", "<34>1 2026-10-11T22:14:15.000000+00:00 m a- - - - x");
}

#[test]
fn a_year_is_the_nearest() {
    let year = |month, now: &str| nearest_year(month, now.parse().expect("a time"));
    assert_eq!(year(12, "2026-01-02T00:00:00Z"), 2025);
    assert_eq!(year(1, "2026-12-31T23:59:59Z"), 2027);
    assert_eq!(year(11, "2026-12-31T23:59:59Z"), 2026);
    assert_eq!(year(12, "2026-12-31T23:59:59Z"), 2026);
}

#[test]
fn a_frame_without_a_pri_in_range_is_text() {
    for text in [
        "hello",
        "  hello ",
        "- item one two",
        "Oct 11 22:14:15 host app: text",
        "2020-10-11T22:14:15Z one two three",
        "<300>1 2020-10-11T22:14:15Z h a p m - x",
        "<192>1 2020-10-11T22:14:15Z h a p m - x",
        "<>1 2020-10-11T22:14:15Z h a p m - x",
        "<1300>hello",
        "<+13>hello",
        "<13hello",
        "[a b=\"c\"] x",
    ] {
        check(text, &format!("<13>1 2026-01-02T03:04:05.678901+00:00 - token - - - {text}"));
    }
}

#[test]
fn content_without_a_time_keeps_its_pri_and_its_tag() {
    let longest = "a".repeat(48);
    let rows = [
        // As Python's SysLogHandler writes, with and without an `ident`.
        (
            "<14>t.0f5c7e9a-1111-2222-3333-444444444444: hello",
            "<14>1 TIME - t.0f5c7e9a-1111-2222-3333-444444444444 - - - hello",
        ),
        ("<14>hello", "<14>1 TIME - token - - - hello"),
        ("<14>web[7]: hello", "<14>1 TIME - web 7 - - hello"),
        (" <0>web[w.1]:\thello\n", "<0>1 TIME - web w.1 - - hello\n"),
        ("<191>/usr/sbin/cron: x: y", "<191>1 TIME - /usr/sbin/cron - - - x: y"),
        ("<14>LONGEST[LONGEST]: x", "<14>1 TIME - LONGEST LONGEST - - x"),
        ("<14>web:", "<14>1 TIME - web - - - "),
        ("<14>", "<14>1 TIME - token - - - "),
        // No tags.
        ("<14>{\"level\": \"info\"}", "<14>1 TIME - token - - - {\"level\": \"info\"}"),
        ("<14>http://x: y", "<14>1 TIME - token - - - http://x: y"),
        ("<14>it failed: why", "<14>1 TIME - token - - - it failed: why"),
        ("<14>web[]: hello", "<14>1 TIME - token - - - web[]: hello"),
        ("<14>web[7] hello", "<14>1 TIME - token - - - web[7] hello"),
        ("<14>web[a b]: hello", "<14>1 TIME - token - - - web[a b]: hello"),
        ("<14>: hello", "<14>1 TIME - token - - - : hello"),
        ("<14>aLONGEST: x", "<14>1 TIME - token - - - aLONGEST: x"),
        ("<14>LONGEST: x", "<14>1 TIME - LONGEST - - - x"),
        ("<14>web[aLONGEST]: x", "<14>1 TIME - token - - - web[aLONGEST]: x"),
        // An RFC 5424 head that ends before its time.
        ("<13>1 hello", "<13>1 TIME - token - - - 1 hello"),
    ];
    for (frame, expected) in rows {
        let full = |text: &str| {
            text.replace("LONGEST", &longest).replace("TIME", "2026-01-02T03:04:05.678901+00:00")
        };
        check(&full(frame), &full(expected));
    }
}

#[test]
fn a_head_strict_but_for_its_time_keeps_all_else() {
    for rest in
        ["h a p m - x", "h a p m [a b=\"c\"]  x\n", "host a p - [INFO] x", "h a p m", "h a 007 m - -5"]
    {
        let cases = [
            ("-", "2026-01-02T03:04:05.678901+00:00"),
            ("2020-10-11T22:14:15.123456789Z", "2020-10-11T22:14:15.123456+00:00"),
            ("2020-10-11t22:14:15z", "2020-10-11T22:14:15.000000+00:00"),
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999999+00:00"),
            // In UTC this is in a year before 0, which cannot be written.
            ("0000-01-01T00:00:00.0000000+01:00", "2026-01-02T03:04:05.678901+00:00"),
        ];
        for (sent, kept) in cases {
            check(&format!("<45>1 {sent} {rest}"), &format!("<45>1 {kept} {rest}"));
        }
    }
}

#[test]
fn a_drains_text_behind_a_nil_time_stays_a_drains_text() {
    let out = rewritten("<45>1 - host a p - - dash", Form::Drain);
    let message = crate::Message::parse(&out, Form::Drain).expect("strict");
    assert_eq!((message.structured_data, message.text), (None, &b"- dash"[..]));
}

#[test]
fn odd_rfc_5424_is_understood() {
    let head = "<45>1 2020-10-11T22:14:15.000000+00:00 h a p m";
    for (frame, rest) in [
        ("<45>1 2020-10-11T22:14:15Z h  a p m - x ", "- x "),
        ("<45>1 2020-10-11T22:14:15Z  h a p m  [a b=\"c\\n\"] x", "[a b=\"c\\n\"] x"),
        (" <45>1 2020-10-11T22:14:15Z h a p m - x", "- x"),
        ("<45>2 2020-10-11T22:14:15Z h a p m - x", "- x"),
        ("<045>1 2020-10-11T22:14:15Z h a p m - x", "- x"),
        ("<45>1 2020-10-11T22:14:15Z h ä p m - x", "- x"),
        // What the parser would throw away is text.
        ("<45>2 2020-10-11T22:14:15Z h a p m [a b=] x", "- [a b=] x"),
        ("<45>2 2020-10-11T22:14:15Z h a p m [a\"] x", "- [a\"] x"),
        ("<45>2 2020-10-11T22:14:15Z h a p m -5 x", "- -5 x"),
    ] {
        let head = if frame.contains('ä') { head.replace(" a ", " token ") } else { head.to_owned() };
        check(frame, &format!("{head} {rest}"));
    }
    // Numbers are written as numbers.
    check("<45>2 2020-10-11T22:14:15Z h a 007 m - x", "<45>1 2020-10-11T22:14:15.000000+00:00 h a 7 m - x");
}

#[test]
fn a_field_is_cut_at_its_bound() {
    let long = "a".repeat(60_000);
    let out = rewritten(format!("<45>2 2020-10-11T22:14:15Z {long} {long} {long} {long} - x"), Form::Any);
    let kept = "a".repeat(255);
    let expected = format!("<45>1 2020-10-11T22:14:15.000000+00:00 {kept} {kept} {kept} {kept} - x");
    assert_eq!(String::from_utf8(out), Ok(expected));
}

#[test]
fn a_text_keeps_bytes_that_are_not_utf_8() {
    for (head, kept) in [
        ("<34>Oct 11 22:14:15 m su: ", "<34>1 2026-10-11T22:14:15.000000+00:00 m su - - - "),
        ("<45>1 - h a p m - ", "<45>1 2026-01-02T03:04:05.678901+00:00 h a p m - "),
        ("<45>2 2020-10-11T22:14:15Z h a p m - ", "<45>1 2020-10-11T22:14:15.000000+00:00 h a p m - "),
        ("", "<13>1 2026-01-02T03:04:05.678901+00:00 - token - - - "),
    ] {
        for text in [&b"caf\xe9 \xff\xfe \xc3"[..], b"\xff", b" \xff ", b"x \xff\n"] {
            // RFC 3164 has no rule for spaces in front of a text; the parser takes them for the head's.
            let text = if head.starts_with("<34>") { text.trim_ascii_start() } else { text };
            let frame = [head.as_bytes(), text].concat();
            assert_eq!(rewritten(&frame, Form::Any), [kept.as_bytes(), text].concat());
        }
    }
}
