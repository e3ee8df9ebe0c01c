//! `logplex tail` as whoever debugs an app uses it.

use logplex_tests::{API_KEY, Program, Relay, Server, Signal, TailLine, encode, wait_for};
use serde_json::Value;

const KEY: (&str, &str) = ("LOGPLEX_API_KEY", API_KEY);

/// `logplex tail app ARGS…` with the key.
fn tail(server: &Server, args: &[&str]) -> Program {
    let url = server.url("");
    Program::start("logplex", &[&["tail", "app", "--url", &url], args].concat(), &[KEY])
}

/// The numbers of numbered lines among what was printed.
fn numbers(stdout: &[String]) -> Vec<u64> {
    let parse = |line: &String| TailLine::parse(line).unwrap_or_else(|| panic!("no tail line: {line:?}"));
    stdout.iter().filter_map(|line| parse(line).number()).collect()
}

/// Waits until a tail of the channel is open.
#[track_caller]
fn wait_open(server: &Server) {
    wait_for("an open tail", || (server.stats("app")["tails"]["open"] == 1).then_some(()));
}

fn post(server: &Server, token: &str, message: &str) {
    assert_eq!(server.post_logs(token, &[], &encode(message.as_bytes())).0, 204);
}

#[test]
fn history_is_printed_and_then_what_comes() {
    let server = Server::start();
    let token = server.create_app("app");
    server.post_lines(&token, 0, 10);
    let mut program = tail(&server, &["-n", "3"]);
    program.wait_line("the history", |line| line.ends_with("line 9"));
    server.post_lines(&token, 10, 5);
    program.wait_line("what comes", |line| line.ends_with("line 14"));
    assert_eq!(numbers(&program.stdout()), (7..15).collect::<Vec<_>>());
    assert_eq!(program.stdout()[0], "2026-01-02T03:04:05.678901+00:00 app[web.1]: line 7");
    program.signal(Signal::SIGINT);
    let ended = program.wait();
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(130), &[][..]));
}

#[test]
fn without_following_it_ends_with_the_history() {
    let server = Server::start();
    let token = server.create_app("app");
    server.post_lines(&token, 0, 200);
    for (args, first) in [
        (&["--no-follow"][..], 100),
        (&["--no-follow", "-n", "5"], 195),
        (&["--no-follow", "--num", "0"], 200),
    ] {
        let ended = tail(&server, args).wait();
        assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), &[][..]), "{args:?}");
        assert_eq!(numbers(&ended.stdout), (first..200).collect::<Vec<_>>(), "{args:?}");
    }
}

#[test]
fn filters_choose_lines() {
    let server = Server::start();
    let token = server.create_app("app");
    for (number, (app, procid)) in
        (0..).zip([("app", "web.1"), ("app", "web.2"), ("heroku", "router"), ("app", "worker.1")])
    {
        post(
            &server,
            &token,
            &format!("<190>1 2026-01-02T03:04:05+00:00 h {app} {procid} - - line {number}"),
        );
    }
    for (args, expected) in [
        (&["--source", "app"][..], vec![0, 1, 3]),
        (&["--ps", "web"], vec![0, 1]),
        (&["--ps", "web.2"], vec![1]),
        (&["--source", "heroku", "--ps", "router"], vec![2]),
        (&["--source", "none"], vec![]),
    ] {
        let ended = tail(&server, &[&["--no-follow"], args].concat()).wait();
        assert_eq!(numbers(&ended.stdout), expected, "{args:?}");
    }
}

#[test]
fn json_is_one_object_a_line() {
    let server = Server::start();
    let token = server.create_app("app");
    post(&server, &token, "<190>1 2026-01-02T03:04:05+00:00 h app web.1 - - a\nb \"c\"");
    let ended = tail(&server, &["--no-follow", "-o", "json"]).wait();
    let [line] = ended.stdout.as_slice() else { panic!("one line, not {:?}", ended.stdout) };
    let value: Value = serde_json::from_str(line).expect("JSON");
    assert_eq!((&value["message"], &value["source"]), (&"a\nb \"c\"".into(), &"app".into()));
    assert!(value["cursor"].is_string());
}

#[test]
fn a_text_cannot_forge_a_line_in_a_file_either() {
    let server = Server::start();
    let token = server.create_app("app");
    post(
        &server,
        &token,
        "<190>1 2026-01-02T03:04:05+00:00 h app web.1 - - a\r\nforged heroku[router]: b\x1b[31m\tc",
    );
    let ended = tail(&server, &["--no-follow"]).wait();
    // A file is not a terminal: what it holds is the line, control characters included.
    assert_eq!(
        ended.stdout,
        ["2026-01-02T03:04:05+00:00 app[web.1]: a\\r\\nforged heroku[router]: b\x1b[31m\tc"]
    );
}

#[test]
fn what_is_wrong_is_said_in_words_that_help() {
    let server = Server::start();
    let token = server.create_app("app");
    server.post_lines(&token, 0, 1);
    let run = |args: &[&str], env: &[(&str, &str)]| {
        let ended = Program::start("logplex", &[&["tail"], args].concat(), env).wait();
        assert_eq!(ended.stdout, [""; 0]);
        (ended.status.code(), ended.stderr.join("\n"))
    };
    let url = server.url("");
    let wrong = [("LOGPLEX_API_KEY", "some-other-key"), ("LOGPLEX_URL", url.as_str())];
    let right = [KEY, ("LOGPLEX_URL", url.as_str())];
    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    type Row<'a> = (i32, &'a [&'a str], &'a [(&'a str, &'a str)], &'a [&'a str]);
    let rows: [Row<'_>; 8] = [
        (1, &["app"], &wrong, &["LOGPLEX_API_KEY"]),
        (1, &["app", "--url", &url], &[], &["LOGPLEX_API_KEY"]),
        (3, &["none"], &right, &["channel none", "channel not found"]),
        // Nothing is shown of the one that is there.
        (3, &["app", "no\x1bne"], &right, &["channel no\\x1bne", "channel not found"]),
        (1, &["app", "--url", &nobody], &[KEY], &["cannot reach the server", &nobody]),
        (1, &["app", "--url", "nonsense"], &[KEY], &["--url"]),
        (1, &["app", "--url", "ftp://x/"], &[KEY], &["--url"]),
        (2, &["app", "--since", "1m", "--until", "1h"], &right, &["--until must not be ahead of --since"]),
    ];
    for (expected, args, env, texts) in rows {
        let (code, stderr) = run(args, env);
        assert_eq!(code, Some(expected), "{args:?}: {stderr}");
        assert!(texts.iter().all(|text| stderr.contains(text)), "{args:?}: {stderr}");
        assert!(stderr.starts_with("logplex: ") && stderr.lines().count() == 1, "{stderr}");
        assert!(!stderr.contains("some-other-key") && !stderr.contains(API_KEY), "{stderr}");
    }
    for wrong in
        [&[][..], &["app", "--grep", "("], &["app", "--since", "soon"], &["app", "--timezone", "No/Where"]]
    {
        assert_eq!(run(wrong, &right).0, Some(2), "{wrong:?}");
    }
}

#[test]
fn a_reader_that_has_enough_is_a_quiet_end() {
    let server = Server::start();
    let token = server.create_app("app");
    server.post_lines(&token, 0, 1);
    let url = server.url("");
    let args = ["tail", "app", "--url", &url];
    let mut program = Program::start_head("logplex", &args, &[KEY], 1);
    program.wait_line("the first line", |line| line.ends_with("line 0"));
    // It notices when it writes.
    let mut next = 1;
    wait_for("its end", || {
        server.post_lines(&token, next, 1);
        next += 1;
        program.try_wait()
    });
    let ended = program.wait();
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), &[][..]));
}

#[test]
fn a_restart_is_ridden_out_without_repeats() {
    for crash in [false, true] {
        let mut server = Server::start();
        let token = server.create_app("app");
        server.post_lines(&token, 0, 5);
        let program = tail(&server, &[]);
        program.wait_line("the history", |line| line.ends_with("line 4"));
        if crash {
            server.kill9();
        } else {
            server.term();
        }
        server.restart_same_port();
        server.post_lines(&token, 5, 5);
        program.wait_line("what came since", |line| line.ends_with("line 9"));
        wait_open(&server);
        server.post_lines(&token, 10, 5);
        program.wait_line("what comes", |line| line.ends_with("line 14"));
        assert_eq!(numbers(&program.stdout()), (0..15).collect::<Vec<_>>());
        assert!(program.stderr().iter().any(|line| line.contains("reconnecting")), "{:?}", program.stderr());
    }
}

#[test]
fn a_broken_connection_is_resumed_without_gap_or_repeat() {
    let (relay, server) = Relay::with_server();
    let token = server.create_app("app");
    server.post_lines(&token, 0, 300);
    let program = Program::start("logplex", &["tail", "app", "--url", &relay.url(), "-n", "10"], &[KEY]);
    program.wait_line("the history", |line| line.ends_with("line 299"));
    for round in 1..4 {
        relay.cut();
        server.post_lines(&token, round * 300, 300);
        program.wait_line("what came since", |line| line.ends_with(&format!("line {}", round * 300 + 299)));
    }
    assert_eq!(numbers(&program.stdout()), (290..1200).collect::<Vec<_>>());
}

#[test]
fn notices_are_shown_among_the_lines() {
    let (server, sink) = (Server::start(), logplex_tests::Sink::start());
    let token = server.create_app("app");
    server.add_drain("app", &sink.url(""));
    let program = tail(&server, &["-n", "0"]);
    wait_open(&server);
    sink.answer_next([logplex_tests::Answer::status(404)]);
    server.post_lines(&token, 0, 3);
    let line = program.wait_line("the notice", |line| line.contains("Error L10"));
    assert!(
        line.contains(" heroku[logplex]: Error L10 (output buffer overflow): 3 messages dropped since "),
        "{line}"
    );
}

#[test]
fn sigterm_ends_it_quietly_too() {
    let server = Server::start();
    server.create_app("app");
    let mut program = tail(&server, &[]);
    wait_open(&server);
    program.signal(Signal::SIGTERM);
    let ended = program.wait();
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(130), &[][..]));
}
