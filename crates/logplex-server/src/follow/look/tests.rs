use super::*;

const LINE: &str = r#"{"cursor":"0-7","time":"2026-01-02T03:04:05.678901+00:00","source":"app","procid":"web.1","severity":6,"message":"hello"}"#;
const L11: &str = r#"{"time":"2026-01-02T03:04:06+00:00","source":"heroku","procid":"logplex","severity":4,"message":"L11 (Tail buffer overflow) -> This tail session dropped 1101 messages since 2026-01-02T03:04:05+00:00","code":"L11","dropped":1101,"since":"2026-01-02T03:04:05+00:00"}"#;

fn now() -> DateTime<Utc> {
    "2026-01-02T03:04:10Z".parse().unwrap()
}

#[track_caller]
fn check(look: &Look, json: &str, expected: &str) {
    let line: Line<'_> = serde_json::from_str(json).unwrap();
    let mut out = String::new();
    look.render("shop", json, &line, now(), &mut out);
    assert_eq!(out, format!("{expected}\n"));
}

fn coloured() -> Look {
    Look { terminal: true, colour: true, ..Look::default() }
}

/// A line of `severity` with this message.
fn line(severity: u8, message: &str) -> String {
    let mut value: serde_json::Value = serde_json::from_str(LINE).unwrap();
    value["severity"] = severity.into();
    value["message"] = message.into();
    value.to_string()
}

#[test]
fn plain_text_is_the_line_as_it_is() {
    check(&Look::default(), LINE, "2026-01-02T03:04:05.678901+00:00 app[web.1]: hello");
    check(
        &Look::default(),
        &line(3, "\x1b[31ma\r\nb"),
        "2026-01-02T03:04:05.678901+00:00 app[web.1]: \x1b[31ma\\r\\nb",
    );
    let short = Look { timestamps: Timestamps::Short, ..Look::default() };
    check(&short, LINE, "03:04:05.678 app[web.1]: hello");
    let none = Look { timestamps: Timestamps::None, ..Look::default() };
    check(&none, LINE, "app[web.1]: hello");
    let zoned = Look { zone: Some("+01:00".parse().unwrap()), ..Look::default() };
    check(&zoned, LINE, "2026-01-02T04:04:05.678901+01:00 app[web.1]: hello");
}

#[test]
fn a_process_has_a_colour_and_what_is_severe_another() {
    let look = Look { timestamps: Timestamps::None, ..coloured() };
    let head = |name: &str| format!("{}{name}:\x1b[0m", paint(name.as_bytes()));
    check(&look, LINE, &format!("{} hello", head("app[web.1]")));
    check(&look, &line(4, "careful"), &format!("{} \x1b[33mcareful\x1b[0m", head("app[web.1]")));
    check(&look, &line(2, "broken"), &format!("{} \x1b[31mbroken\x1b[0m", head("app[web.1]")));
    // Stable, told apart, and never the colours of what is severe.
    assert_eq!(paint(b"app[web.1]"), paint(b"app[web.1]"));
    let colours: std::collections::HashSet<_> =
        (1..40).map(|n| paint(format!("app[web.{n}]").as_bytes())).collect();
    assert_eq!(colours.len(), COLOURS.len());
    assert!(!colours.contains(RED) && !colours.contains(YELLOW));
}

#[test]
fn matches_stand_out_and_are_harmless() {
    let highlight = ["b+", "bc", "\x1b", "x*"].map(|pattern| Regex::new(pattern).unwrap()).to_vec();
    let look = Look { output: Output::Raw, highlight: highlight.clone(), ..coloured() };
    check(&look, &line(6, "abbcd"), "a\x1b[7mbb\x1b[0m\x1b[7mc\x1b[0md");
    check(&look, &line(6, "a\x1b[31mx"), "a\x1b[7m\\x1b\x1b[0m[31m\x1b[7mx\x1b[0m");
    check(&look, &line(3, "ab"), "\x1b[31ma\x1b[7mb\x1b[0m\x1b[31m\x1b[0m");
    let plain = Look { output: Output::Raw, highlight, ..Look::default() };
    check(&plain, &line(3, "abbcd"), "abbcd");
}

#[test]
fn a_loss_is_drawn_for_a_person_and_kept_for_a_program() {
    let drawn = "── 1,101 messages dropped since 2026-01-02T03:04:05+00:00 (L11) ──";
    check(&coloured(), L11, &format!("\x1b[1;33m{drawn}\x1b[0m"));
    let terminal = Look { terminal: true, ..Look::default() };
    check(&terminal, L11, drawn);
    let short =
        Look { timestamps: Timestamps::Short, zone: Some("+01:00".parse().unwrap()), ..terminal.clone() };
    check(&short, L11, "── 1,101 messages dropped since 04:04:05.000 (L11) ──");
    let relative = Look { timestamps: Timestamps::Relative, ..terminal.clone() };
    check(&relative, L11, drawn);
    check(
        &terminal,
        &L11.replace("\"dropped\":1101", "\"dropped\":1"),
        &drawn.replace("1,101 messages", "1 message"),
    );
    let text = "L11 (Tail buffer overflow) -> This tail session dropped 1101 messages since 2026-01-02T03:04:05+00:00";
    check(&Look::default(), L11, &format!("2026-01-02T03:04:06+00:00 heroku[logplex]: {text}"));
    check(&Look { output: Output::Raw, ..terminal.clone() }, L11, text);
    check(
        &Look { output: Output::Json, ..terminal.clone() },
        L11,
        &L11.replacen('{', r#"{"channel":"shop","#, 1),
    );
    // What it adds to its count is shown, too.
    let facts = L11.replace("+00:00\",\"code\"", "+00:00 at_most=1101 reason=crash\",\"code\"");
    let expected = drawn.replace("1,101", "at most 1,101").replace("L11", "L11 at_most=1101 reason=crash");
    check(&terminal, &facts, &expected);
    // A notice without a count says what it says.
    let l15 = r#"{"time":"2026-01-02T03:04:06+00:00","source":"heroku","procid":"logplex","message":"L15 \u001b[2J","code":"L15"}"#;
    check(&terminal, l15, "── L15 \\x1b[2J ──");
}

#[test]
fn several_channels_stand_in_a_column() {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    assert_eq!(column(&names(&["shop"])), 0);
    assert_eq!(column(&names(&["shop", "billing"])), 7);
    assert_eq!(column(&names(&["shop", &"x".repeat(300)])), COLUMN_MAX);
    let look = Look { column: 7, ..Look::default() };
    check(&look, LINE, "shop    | 2026-01-02T03:04:05.678901+00:00 app[web.1]: hello");
    check(&Look { output: Output::Raw, ..look.clone() }, LINE, "hello");
    check(
        &Look { terminal: true, ..look },
        L11,
        "shop    | ── 1,101 messages dropped since 2026-01-02T03:04:05+00:00 (L11) ──",
    );
    let look = Look { column: 2, timestamps: Timestamps::None, ..coloured() };
    let (shop, web) = (paint(b"shop"), paint(b"app[web.1]"));
    check(&look, LINE, &format!("{shop}shop\x1b[0m | {web}app[web.1]:\x1b[0m hello"));
}

#[test]
fn json_names_its_channel_and_stays_json() {
    let json = Look { output: Output::Json, ..Look::default() };
    for sent in [LINE, L11, "{}", " { } ", &line(6, "a\"}\n\u{9b}31m \u{202e}")] {
        let parsed: Line<'_> = serde_json::from_str(sent).unwrap();
        for (look, channel) in [(&json, "a\"b"), (&Look { terminal: true, ..json.clone() }, "shop")] {
            let mut out = String::new();
            look.render(channel, sent, &parsed, now(), &mut out);
            assert_eq!(out.matches('\n').count(), 1, "{out:?}");
            let mut expected: serde_json::Value = serde_json::from_str(sent).unwrap();
            expected["channel"] = channel.into();
            assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap(), expected);
            assert!(!look.terminal || !out.trim_end().chars().any(char::is_control), "{out:?}");
        }
    }
}

#[test]
fn colours_are_asked_for_by_flag_environment_and_terminal() {
    let decide = |choice, terminal, env: &[(&str, &str)]| {
        has_colour(choice, terminal, |name| {
            env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        })
    };
    type Row<'a> = (Color, bool, &'a [(&'a str, &'a str)], bool);
    let rows: [Row<'_>; 13] = [
        (Color::Auto, true, &[], true),
        (Color::Auto, false, &[], false),
        (Color::Auto, true, &[("TERM", "dumb")], false),
        (Color::Auto, true, &[("NO_COLOR", "1")], false),
        (Color::Auto, true, &[("NO_COLOR", "")], true),
        (Color::Auto, false, &[("FORCE_COLOR", "1")], true),
        (Color::Auto, false, &[("CLICOLOR_FORCE", "1")], true),
        (Color::Auto, false, &[("FORCE_COLOR", "0")], false),
        (Color::Auto, false, &[("FORCE_COLOR", "")], false),
        (Color::Auto, false, &[("FORCE_COLOR", "1"), ("NO_COLOR", "1")], false),
        (Color::Always, false, &[("NO_COLOR", "1")], true),
        (Color::Never, true, &[("FORCE_COLOR", "1")], false),
        (Color::Auto, true, &[("TERM", "xterm")], true),
    ];
    for (choice, terminal, env, expected) in rows {
        assert_eq!(decide(choice, terminal, env), expected, "{choice:?} {terminal} {env:?}");
    }
}
