//! The official Heroku CLI, unmodified, against the server: nobody here wrote what judges.

use logplex_tests::{Heroku, Server, Signal, Sink, TailLine, encode};
use serde_json::json;

/// What it wrote to stderr, its frame and line breaks taken away.
fn said(stderr: &[String]) -> String {
    let words: Vec<&str> =
        stderr.iter().flat_map(|line| line.split_whitespace()).filter(|word| *word != "›").collect();
    words.join(" ")
}

#[test]
fn logs_are_printed_as_they_came_and_by_number_source_process_and_type() {
    let server = Server::start();
    let token = server.create_app("myapp");
    let messages = [
        ("app", "api", "Release v7 created by user dev@example.com"),
        ("app", "web.1", "   indented  body with   blanks"),
        ("app", "web.2", "percent %s %d %% end"),
        ("heroku", "router", "at=info method=GET path=\"/a?b=c=d\" status=503 code=H12"),
        ("heroku", "worker.2", "State changed from starting to up"),
        ("app", "worker.2", "unicode é中😀 one\rtwo\nthree"),
        ("app", "web.1", ""),
    ];
    let frame = |(app, procid, text): &(&str, &str, &str)| {
        let time = "2026-01-02T03:04:05.678901+00:00";
        encode(format!("<190>1 {time} host {app} {procid} - - {text}").as_bytes())
    };
    let body: Vec<u8> = messages.iter().flat_map(frame).collect();
    assert_eq!(server.post_logs(&token, &[], &body).0, 204);
    let printed = |(app, procid, text): &(&str, &str, &str)| {
        // What would end a line is escaped.
        let text = text.replace('\r', "\\r").replace('\n', "\\n");
        format!("2026-01-02T03:04:05.678901+00:00 {app}[{procid}]: {text}").trim_end().to_owned()
    };
    let plain = Heroku::new(&server).env("HEROKU_LOGS_COLOR", "0");
    for (args, expected) in [
        (&[][..], &[0, 1, 2, 3, 4, 5, 6][..]),
        (&["-n", "2"], &[5, 6]),
        (&["-p", "web"], &[1, 2, 6]),
        (&["-s", "heroku", "-d", "worker.2"], &[4]),
    ] {
        let ended = plain.run(&[&["logs", "-a", "myapp"], args].concat());
        assert_eq!(ended.status.code(), Some(0), "{args:?} {ended:?}");
        let expected: Vec<String> = expected.iter().map(|&at: &usize| printed(&messages[at])).collect();
        assert_eq!(ended.stdout, expected, "{args:?}");
    }
    // A line that it understands begins with a colour.
    let colour = Heroku::new(&server).env("FORCE_COLOR", "1").run(&["logs", "-a", "myapp", "-s", "heroku"]);
    let coloured = colour.stdout.iter().filter(|line| line.starts_with('\u{1b}')).count();
    assert_eq!(coloured, 2, "{colour:?}");
}

#[test]
fn a_tail_goes_on_where_it_was_after_a_restart() {
    let mut server = Server::start();
    let token = server.create_app("myapp");
    server.post_lines(&token, 0, 3);
    let heroku = Heroku::new(&server).env("HEROKU_LOGS_COLOR", "0");
    let mut tail = heroku.start(&["logs", "-a", "myapp", "--tail", "-n", "2"]);
    tail.wait_line("the history", |line| line.ends_with("line 2"));
    server.post_lines(&token, 3, 3);
    tail.wait_line("what comes", |line| line.ends_with("line 5"));

    assert!(server.term().success());
    server.restart_same_port();
    // The CLI waits for some seconds before it comes back, so it must ask for these.
    server.post_lines(&token, 6, 3);
    tail.wait_line("what came meanwhile", |line| line.ends_with("line 8"));
    server.post_lines(&token, 9, 3);
    tail.wait_line("what comes again", |line| line.ends_with("line 11"));

    let number = |line: &String| TailLine::parse(line).and_then(|line| line.number());
    let numbers: Vec<_> = tail.stdout().iter().map(|line| number(line).ok_or(line.clone())).collect();
    assert_eq!(numbers, (1..12).map(Ok).collect::<Vec<_>>());
    tail.signal(Signal::SIGTERM);
    tail.wait();
}

#[test]
fn drains_are_added_listed_and_removed() {
    let (server, sink, other) = (Server::start(), Sink::start(), Sink::start());
    let token = server.create_app("myapp");
    let heroku = Heroku::new(&server);
    let run = |args: &[&str]| heroku.run(&[args, &["-a", "myapp"]].concat());

    let first = format!("{}#exclude-ps=worker", sink.url("logs?x=1").replace("//", "//user:pw@"));
    let second = other.url("in");
    for url in [&first, &second] {
        let added = run(&["drains:add", url]);
        assert_eq!(
            (added.status.code(), added.stdout),
            (Some(0), vec![format!("Successfully added drain {url}")])
        );
    }
    let again = run(&["drains:add", &second]);
    assert_eq!(again.status.code(), Some(2), "{again:?}");
    let told = said(&again.stderr);
    assert!(told.contains("Error: Url has already been taken Error ID: invalid_params"), "{told}");

    server.post_lines(&token, 0, 3);
    for sink in [&sink, &other] {
        assert_eq!(sink.wait_line(2).len(), 3);
    }

    let drains = server.api("GET", "/v3/channels/myapp/drains", None).expect(&[200]).json();
    let tokens = [0, 1].map(|at| drains[at]["token"].as_str().expect("a token").to_owned());
    let listed = run(&["drains"]).stdout;
    let line = |url: &str, token: &str| format!("{url} ({token})");
    assert_eq!(listed, ["=== Drains", "", &line(&first, &tokens[0]), &line(&second, &tokens[1])]);

    for (name, url) in [(&first, &first), (&tokens[1], &second)] {
        let removed = run(&["drains:remove", name]);
        let expected = vec![format!("Successfully removed drain {url}")];
        assert_eq!((removed.status.code(), removed.stdout), (Some(0), expected), "{name}");
    }
    let gone = run(&["drains:remove", &second]);
    assert_eq!(gone.status.code(), Some(2), "{gone:?}");
    let told = said(&gone.stderr);
    assert!(told.contains("Error: Couldn't find that log drain. Error ID: not_found"), "{told}");
    let left = server.api("GET", "/v3/channels/myapp/drains", None).expect(&[200]).json();
    assert_eq!(left, json!([]));
}

#[test]
fn an_unknown_app_and_a_wrong_key_are_told() {
    let server = Server::start();
    server.create_app("myapp");
    let missing = Heroku::new(&server).run(&["logs", "-a", "missing"]);
    assert_eq!(missing.status.code(), Some(2), "{missing:?}");
    let told = said(&missing.stderr);
    assert!(told.contains("Error: Couldn't find that app. Error ID: not_found"), "{told}");

    let wrong = Heroku::new(&server).env("HEROKU_API_KEY", "wrong").run(&["drains", "-a", "myapp"]);
    assert_eq!(wrong.status.code(), Some(1), "{wrong:?}");
    let told = said(&wrong.stderr);
    assert!(told.contains("The token provided to HEROKU_API_KEY is invalid"), "{told}");
}
