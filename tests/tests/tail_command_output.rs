//! How `logplex tail` writes lines, and when it ends.

use std::process::Command;

use logplex_tests::{API_KEY, Program, Relay, Server, encode, wait_for};

/// Variables and their values.
type Env<'a> = &'a [(&'a str, &'a str)];

const KEY: (&str, &str) = ("LOGPLEX_API_KEY", API_KEY);

/// What `logplex tail app --no-follow ARGS…` writes into a pipe, which must succeed.
#[track_caller]
fn tail(server: &Server, args: &[&str], env: Env<'_>) -> Vec<String> {
    let url = server.url("");
    let args = [&["tail", "app", "--no-follow", "--url", &url], args].concat();
    let ended = Program::start("logplex", &args, &[&[KEY], env].concat()).wait();
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), &[][..]), "{args:?}");
    ended.stdout
}

/// A server with one line, of severity `pri` modulo 8, in channel `app`.
#[track_caller]
fn server_with(pri: u8, text: &str) -> Server {
    let server = Server::start();
    let token = server.create_app("app");
    let message = format!("<{pri}>1 2026-01-02T03:04:05.678901+00:00 h app web.1 - - {text}");
    assert_eq!(server.post_logs(&token, &[], &encode(message.as_bytes())).0, 204);
    server
}

#[test]
fn times_are_shown_as_asked() {
    let server = server_with(190, "hello");
    let rows: [(&[&str], Env<'_>, &str); 7] = [
        (&[], &[], "2026-01-02T03:04:05.678901+00:00 app[web.1]: hello"),
        (&["--timestamps", "short"], &[], "03:04:05.678 app[web.1]: hello"),
        (&["--timestamps", "none"], &[], "app[web.1]: hello"),
        (&["--timezone", "-03:30"], &[], "2026-01-01T23:34:05.678901-03:30 app[web.1]: hello"),
        (&["--timezone", "local"], &[("TZ", "JST-9")], "2026-01-02T12:04:05.678901+09:00 app[web.1]: hello"),
        (
            &[],
            &[("LOGPLEX_TIMEZONE", "+01:00"), ("LOGPLEX_TIMESTAMPS", "short")],
            "04:04:05.678 app[web.1]: hello",
        ),
        (&["--timezone", "utc", "-o", "raw"], &[], "hello"),
    ];
    for (args, env, expected) in rows {
        assert_eq!(tail(&server, args, env), [expected], "{args:?} {env:?}");
    }
    let relative = tail(&server, &["--timestamps", "relative"], &[]);
    assert!(relative[0].ends_with("d ago app[web.1]: hello"), "{relative:?}");
}

#[test]
fn a_zone_has_a_name_where_the_machine_knows_it() {
    let server = server_with(190, "hello");
    let url = server.url("");
    let args = ["tail", "app", "--no-follow", "--url", &url, "--timezone", "Asia/Tokyo"];
    let ended = Program::start("logplex", &args, &[KEY]).wait();
    if std::path::Path::new("/usr/share/zoneinfo/Asia/Tokyo").is_file() {
        assert_eq!(ended.stdout, ["2026-01-02T12:04:05.678901+09:00 app[web.1]: hello"]);
        assert_eq!(ended.status.code(), Some(0), "{:?}", ended.stderr);
    } else {
        assert!(ended.stderr.join(" ").contains("/usr/share/zoneinfo"), "{:?}", ended.stderr);
        assert_eq!(ended.status.code(), Some(2));
    }
}

#[test]
fn colours_are_for_who_wants_them() {
    let server = server_with(187, "it broke \x1b[2J");
    let rows: [(&[&str], Env<'_>, bool); 7] = [
        (&[], &[], false),
        (&["--color", "always"], &[], true),
        (&["--color", "always"], &[("NO_COLOR", "1")], true),
        (&[], &[("FORCE_COLOR", "1")], true),
        (&[], &[("CLICOLOR_FORCE", "1")], true),
        (&[], &[("FORCE_COLOR", "1"), ("NO_COLOR", "1")], false),
        (&["--color", "never"], &[("FORCE_COLOR", "1")], false),
    ];
    for (args, env, coloured) in rows {
        let stdout = tail(&server, args, env);
        let [line] = stdout.as_slice() else { panic!("one line, not {stdout:?}") };
        if coloured {
            // An error is red, and what a terminal would obey at the other end of the pipe is escaped.
            assert!(line.contains(" \x1b[31mit broke \\x1b[2J\x1b[0m"), "{args:?} {env:?}: {line:?}");
        } else {
            assert!(line.ends_with(" app[web.1]: it broke \x1b[2J"), "{args:?} {env:?}: {line:?}");
        }
    }
}

#[test]
fn what_is_looked_for_stands_out() {
    let server = server_with(190, "GET /shop status=503 in 12ms");
    let args = ["--color", "always", "-o", "raw", "--highlight", "status=5\\d\\d", "-H", "(?i)get"];
    assert_eq!(tail(&server, &args, &[]), ["\x1b[7mGET\x1b[0m /shop \x1b[7mstatus=503\x1b[0m in 12ms"]);
}

#[test]
fn a_reader_that_goes_is_noticed_without_another_line() {
    let server = server_with(190, "hello");
    let url = server.url("");
    let mut program = Program::start_head("logplex", &["tail", "app", "--url", &url], &[KEY], 1);
    program.wait_line("the line", |line| line.ends_with("hello"));
    let ended = program.wait();
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), &[][..]));
    wait_for("its end in the server", || (server.stats("app")["tails"]["open"] == 0).then_some(()));
}

#[test]
fn it_ends_when_until_has_come() {
    let server = server_with(190, "hello");
    let url = server.url("");
    // A time of the past is the end of the history.
    for until in ["1s", "+2 seconds"] {
        let until = if until.starts_with('+') { time(until) } else { until.to_owned() };
        let args = ["tail", "app", "--url", &url, "--until", &until];
        let ended = Program::start("logplex", &args, &[KEY]).wait();
        assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), &[][..]), "{until}");
        assert!(matches!(ended.stdout.as_slice(), [line] if line.ends_with("hello")), "{:?}", ended.stdout);
    }
}

#[test]
fn until_is_over_when_all_before_it_is_written() {
    let (relay, server) = Relay::with_server();
    let token = server.create_app("app");
    server.post_lines(&token, 0, 1);
    let args = ["tail", "app", "--url", &relay.url(), "--until", &time("+3 seconds")];
    let mut program = Program::start("logplex", &args, &[KEY]);
    program.wait_line("the history", |line| line.ends_with("line 0"));
    relay.hold();
    server.post_lines(&token, 1, 10);
    // The time has come, and nothing of what came ahead of it is there yet.
    wait_for("the end of the tail", || (server.stats("app")["tails"]["open"] == 0).then_some(()));
    relay.release();
    let ended = program.wait();
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), &[][..]));
    assert!(ended.stdout.len() == 11 && ended.stdout[10].ends_with("line 10"), "{:?}", ended.stdout);
}

/// A time from now, as RFC 3339.
fn time(from_now: &str) -> String {
    let output = Command::new("date").args(["-u", "-d", from_now, "+%Y-%m-%dT%H:%M:%SZ"]).output();
    let output = output.expect("there is a clock");
    String::from_utf8(output.stdout).expect("it is text").trim().to_owned()
}

#[test]
fn the_help_has_examples_and_exit_codes() {
    let ended = Program::start("logplex", &["tail", "--help"], &[]).wait();
    let help = ended.stdout.join("\n");
    assert_eq!(ended.status.code(), Some(0));
    for text in
        ["Examples:", "logplex tail shop billing", "Exit codes: 0 ", "3 no such channel", "130", "--timezone"]
    {
        assert!(help.contains(text), "no {text:?} in {help}");
    }
}
