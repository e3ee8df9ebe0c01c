use proptest::prelude::*;

use super::*;

const TIME: &str = "2026-03-04T05:06:07.809010+00:00";

/// A text as the platform writes it, in each form that a message may be shown in, with its source and PROCID.
#[track_caller]
fn check_as(code: ErrorCode, source: &str, procid: &str, text: &str) {
    let found = ErrorCode::from_message(source, procid, text.as_bytes());
    assert_eq!(found, Some(code), "{source}[{procid}]: {text}");
    let message = format!("<172>1 {TIME} host {source} {procid} - - {text}");
    for line in [
        format!("{TIME} {source}[{procid}]: {text}"),
        format!("{source}[{procid}]: {text}\n"),
        format!("Mar 04 05:06:07 demo {source}/{procid}: {text}"),
        format!("<134>Mar  4 05:06:07 demo {source}[{procid}]: {text}"),
        format!("{} {message}", message.len()),
        message,
        format!("<172>1 {TIME} host {source} {procid} - {text}"),
        format!("<172>1 {TIME} host {source} {procid} - [meta sequenceId=\"7\"] {text}"),
        format!("{TIME} d.1f0c8f5e-1111-4222-8333-444444444444 {source} {procid} - - {text}"),
    ] {
        assert_eq!(ErrorCode::from_line(&line), Some(code), "{line}");
        assert_eq!(ErrorCode::from_words(&line), Some(code), "{line}");
    }
    for (source, procid) in [("app", "web.1"), ("app", "logplex"), ("herokux", "router"), ("", "")] {
        assert_eq!(
            ErrorCode::from_message(source, procid, text.as_bytes()),
            None,
            "{source}[{procid}]: {text}"
        );
    }
    for line in [
        format!("{TIME} app[web.1]: {text}"),
        format!("Mar 04 05:06:07 demo app/web.1: {text}"),
        format!("<172>1 {TIME} host app web.1 - - {text}"),
        format!("<172>1 {TIME} host app web.1 - - heroku[router]: {text}"),
        format!("{TIME} app[web.1]: heroku[router]: {text}"),
        format!("{TIME} heroku app web.1 - {text}"),
    ] {
        assert_eq!(ErrorCode::from_line(&line), None, "{line}");
    }
    assert_eq!(ErrorCode::from_line(text), Some(code), "{text}");
}

#[track_caller]
fn check(code: ErrorCode, procid: &str, text: &str) {
    check_as(code, "heroku", procid, text);
}

fn family(letter: char) -> impl Iterator<Item = (ErrorCode, &'static str)> {
    let codes = ErrorCode::ALL.iter().filter(move |code| code.as_str().starts_with(letter));
    codes.map(|code| (*code, code.entry().title))
}

#[test]
fn the_routers_pairs_are_read_in_any_order_quoted_or_bare() {
    for (code, title) in family('H') {
        for at in ["error", "warning", "info"] {
            let rest = "method=GET path=\"/a?b=c=d\" host=demo.example.com fwd=\"198.51.100.7\" dyno= connect= \
                        service= status=503 bytes=";
            for text in [
                format!("at={at} code={code} desc=\"{title}\" {rest}"),
                format!("at={at} code=\"{code}\" desc=\"{title}\" {rest}"),
                format!("at=\"{at}\" desc=\"{title}\" code=\"{code}\" {rest}"),
                format!("sock=client at={at} code={code} desc=\"{title}\" {rest}"),
                format!("code={code} at={at} {rest}"),
                format!("at={at} {rest} protocol=https code={code}"),
                format!("at={at} desc=\"a \\\" code=H99 x\" code={code} {rest}"),
                format!("at={at} code={code} desc={title} method=GET path=/ fwd=198.51.100.7"),
                format!("  at={at} code={code}\n"),
            ] {
                check(code, "router", &text);
            }
        }
    }
}

#[test]
fn the_routers_sentences_before_2013_are_read() {
    for (code, title) in family('H') {
        let rest = "GET demo.example.com/ dyno= queue= wait= service= status=503 bytes=";
        check(code, "router", &format!("Error {code} ({title}) -> {rest}"));
        check(code, "router", &format!("Error {code} (some other title) -> {rest}"));
    }
}

#[test]
fn a_processs_codes_are_read_alone_or_with_a_text() {
    for (code, title) in family('R') {
        for procid in ["web.1", "worker.12", "run.4521", "release.77"] {
            check(code, procid, &format!("Error {code} ({title})"));
            check(code, procid, &format!("Error {code} ({title}) -> whatever the text says of H12"));
            check(code, procid, &format!("Error {code}"));
        }
    }
}

#[test]
fn notices_are_read_in_every_shape_they_have_had() {
    let since = "2013-04-17T19:04:46+00:00";
    for text in [
        format!("Error L10 (output buffer overflow): 500 messages dropped since {since}."),
        format!("Error L10 (output buffer overflow): drain 'd.1f0c' dropped 12 messages since {since}."),
        format!(
            "Error L10 (output buffer overflow): 5 messages dropped since {since}. lost=2 reason=rejected"
        ),
    ] {
        check(ErrorCode::L10, "logplex", &text);
        check_as(ErrorCode::L10, "logplex", "drain", &text);
    }
    for text in [
        format!("Error L11 (Tail buffer overflow) -> This tail session dropped 1101 messages since {since}."),
        format!("L11 (Tail buffer overflow) -> This tail session dropped 1101 messages since {since}"),
    ] {
        check(ErrorCode::L11, "logplex", &text);
    }
    for (code, what) in [(ErrorCode::L12, "dropped"), (ErrorCode::L13, "lost")] {
        for end in ["", ".", ". reason=refused"] {
            let text = format!("Error {code}: 222 messages {what} since {since}{end}");
            check(code, "log-shuttle", &text);
            check_as(code, "app", "log-shuttle", &text);
            check_as(code, "log-shuttle", "-", &text);
        }
    }
    let uri = "error=\"bad certificate\" uri=\"syslog+tls://logs.example.com:6514/\"";
    check(ErrorCode::L14, "logplex", &format!("Error L14 (certificate validation): {uri}"));
    check(ErrorCode::L15, "logplex", "Error L15 (Tail buffer temporarily unavailable) -> no history");
    check(ErrorCode::L15, "logplex", "L15 (Tail buffer temporarily unavailable) -> no history");
}

#[test]
fn what_users_wrote_is_not_matched() {
    for (procid, text) in [
        ("web.1", "Starting process with command `echo code=H12 Error R14 (x)`"),
        ("web.1", "State changed from starting to up"),
        ("router", "at=info method=GET path=\"/H12\" host=demo.example.com status=200"),
        ("router", "at=info method=GET path=\"/ code=H12 \" host=demo.example.com status=200"),
        ("router", "at=info method=GET path=\"/\\\" code=H12 \\\"\" status=200"),
        ("router", "at=info method=GET path=/?code=H12 host=demo.example.com status=200"),
        ("router", "at=info xcode=H12 status=200"),
        ("router", "at=info code=H123 status=200"),
        ("router", "at=info code=\"H12 and\" status=200"),
        ("router", "at=info code=H29 status=200"),
        ("router", "at=info code="),
        ("router", "at=info code=\"H1"),
        ("web.1", "Error H123 (x)"),
        ("web.1", "Error R1"),
        ("web.1", "Error R14x"),
        ("web.1", "Error R18 (unknown)"),
        ("web.1", "R14 was here"),
        ("web.1", "H12"),
        ("web.1", ""),
    ] {
        assert_eq!(ErrorCode::from_message("heroku", procid, text.as_bytes()), None, "{text}");
        let line = format!("{TIME} heroku[{procid}]: {text}");
        assert_eq!(ErrorCode::from_line(&line), None, "{line}");
    }
    // Whoever writes as the shuttle says no more than a shuttle may.
    for text in ["at=error code=H12 desc=\"Request timeout\"", "Error R14 (Memory quota exceeded)"] {
        assert_eq!(ErrorCode::from_message("app", "log-shuttle", text.as_bytes()), None, "{text}");
    }
    assert_eq!(ErrorCode::from_line("my app said H12 again"), None);
}

#[test]
fn who_asks_about_any_text_gets_its_first_code() {
    let line = format!("{TIME} app[web.1]: H1 saw (R14), then H12");
    assert_eq!(ErrorCode::from_words(&line), Some(ErrorCode::R14));
    // What the platform says goes ahead of what stands in its quotes.
    let line = format!("{TIME} heroku[router]: at=error path=\"/H10\" code=H12");
    assert_eq!(ErrorCode::from_words(&line), Some(ErrorCode::H12));
    for text in ["", "H1", "AH12", "H12x", "h12_", "H29", "\u{301}H1\u{301}2"] {
        assert_eq!(ErrorCode::from_words(text), None, "{text}");
    }
}

#[test]
fn all_codes_are_there_with_the_severities_of_the_platforms_own_command_line() {
    let of = |severity: Severity| {
        let codes = ErrorCode::ALL.iter().filter(|code| code.entry().severity == severity);
        codes.map(|code| code.as_str()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(ErrorCode::ALL.len(), 44);
    assert_eq!(
        of(Severity::Critical),
        "H10 H11 H12 H13 H14 H18 H19 H20 H21 H22 H24 H25 H26 H31 H99 R10 R14 R15 L13"
    );
    assert_eq!(of(Severity::Warning), "H15 H17 H28 H80 R12 R13 R16 R99 L10 L11 L12 L15");
    assert_eq!(of(Severity::Info), "H16 H27 H81 H82 H83");
    assert_eq!(of(Severity::Error), "H23 H32 H33 H34 H70 R11 R17 L14");
    let gone = ErrorCode::ALL.iter().filter(|code| code.entry().state != State::Present);
    assert_eq!(gone.map(|code| code.as_str()).collect::<Vec<_>>(), ["H16", "H23", "H70", "R11"]);
    let platforms = ErrorCode::ALL.iter().filter(|code| code.entry().fault == Fault::Platform);
    assert_eq!(platforms.map(|code| code.as_str()).collect::<Vec<_>>(), ["H99", "R99"]);
}

#[test]
fn every_entry_is_whole_and_its_example_is_recognised() {
    for &code in ErrorCode::ALL {
        let entry = code.entry();
        assert_eq!((entry.name, ErrorCode::from_name(entry.name.as_bytes())), (code.as_str(), Some(code)));
        assert_eq!(ErrorCode::from_line(entry.example), Some(code), "{}", entry.example);
    }
    let mut names: Vec<&str> = Entry::all().map(|entry| entry.name).collect();
    for entry in Entry::all() {
        assert_eq!(Entry::find(&entry.name.to_lowercase()), Some(entry));
        assert!(
            entry.meaning.len() > 30 && entry.meaning.ends_with('.'),
            "{}: {}",
            entry.name,
            entry.meaning
        );
        assert!(
            !entry.title.is_empty() && !entry.checks.is_empty() && !entry.example.is_empty(),
            "{}",
            entry.name
        );
        assert!(entry.tail.starts_with("logplex tail CHANNEL"), "{}", entry.name);
        for text in entry.checks.iter().chain([&entry.meaning, &entry.example]) {
            assert!(!text.contains("  ") && !text.contains('\n'), "{}: {text}", entry.name);
        }
        for check in entry.checks {
            assert!(check.ends_with(['.', '?', '`']), "{}: {check}", entry.name);
        }
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), ErrorCode::ALL.len() + PAGES.len());
}

#[test]
fn finding_a_code_allocates_nothing() {
    let texts = [
        ErrorCode::H27.entry().example.split_once(": ").unwrap().1,
        ErrorCode::R14.entry().example.split_once(": ").unwrap().1,
        "at=info method=GET path=\"/\" host=demo.example.com status=200 bytes=1",
    ];
    // The first search builds what is searched with.
    let find = |text: &str| ErrorCode::from_message("heroku", "router", text.as_bytes());
    assert_eq!(texts.map(find), [Some(ErrorCode::H27), Some(ErrorCode::R14), None]);
    let measured = allocation_counter::measure(|| {
        std::hint::black_box(texts.map(find));
    });
    assert_eq!(measured.count_total, 0);
}

/// Pieces of lines, so that they meet more often than chance has it.
fn line() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("code=H12".to_owned()),
        Just("code=\"R14\"".to_owned()),
        Just("Error L10 (".to_owned()),
        Just("heroku[router]: ".to_owned()),
        Just(format!("<172>1 {TIME} host heroku logplex - ")),
        Just("at=\"\\".to_owned()),
        Just(" ".to_owned()),
        "\\PC{0,6}",
        any::<String>(),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_line_and_no_bytes_are_too_odd(line in line(), bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for text in [line.as_bytes(), &bytes] {
            for source in ["heroku", "app"] {
                let found = ErrorCode::from_message(source, "log-shuttle", text);
                // Whatever is found stands in the text.
                let stands_there = found.is_none_or(|code| {
                    text.windows(3).any(|window| window == code.as_str().as_bytes())
                });
                prop_assert!(stands_there, "{:?}", found);
            }
        }
        let (strict, loose) = (ErrorCode::from_line(&line), ErrorCode::from_words(&line));
        prop_assert!(strict.is_none() || strict == loose);
    }
}
