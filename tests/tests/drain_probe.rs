//! Whether a drain's destination is there is looked at when it is added, and on demand.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use logplex_tests::{API_KEY, Answer, Program, Server, Sink, SyslogSink};
use serde_json::{Value, json};

/// The answer to adding a drain with a look at its destination.
fn add(server: &Server, url: &str, status: u16) -> Value {
    let body = json!({ "url": url, "verify": true });
    server.api("POST", "/v3/channels/app/drains", Some(&body)).expect(&[status]).json()
}

/// The steps of a report, `step: ok`.
fn steps(answer: &Value) -> Vec<(String, bool)> {
    let steps = answer["report"]["steps"].as_array().unwrap_or_else(|| panic!("no steps: {answer}"));
    let step = |step: &Value| (step["step"].as_str().expect("a name").to_owned(), step["ok"] == true);
    steps.iter().map(step).collect()
}

/// What the last step came to.
fn detail(answer: &Value) -> String {
    let steps = answer["report"]["steps"].as_array().expect("steps");
    steps.last().expect("a step")["detail"].as_str().expect("a detail").to_owned()
}

fn expect_steps(answer: &Value, expected: &[(&str, bool)]) {
    let expected: Vec<_> = expected.iter().map(|(step, ok)| ((*step).to_owned(), *ok)).collect();
    assert_eq!(steps(answer), expected, "{answer}");
}

fn drains(server: &Server) -> usize {
    server.api("GET", "/v3/channels/app/drains", None).expect(&[200]).json().as_array().expect("a list").len()
}

#[test]
fn a_destination_that_takes_requests_is_added_and_gets_one_that_is_empty() {
    let (server, sink) = (Server::start(), Sink::start());
    let token = server.create_app("app");
    let made = add(&server, &sink.url("in"), 201);
    expect_steps(&made, &[("resolve", true), ("connect", true), ("request", true)]);
    assert_eq!(detail(&made), "204 No Content");
    let requests = sink.requests();
    assert_eq!((requests.len(), requests[0].messages().len()), (1, 0));
    server.post_lines(&token, 0, 3);
    sink.wait_line(2);

    // Who does not ask for a look gets none, as with the original.
    let body = json!({ "url": "http://127.0.0.1:9/nobody" });
    let made = server.api("POST", "/v3/channels/app/drains", Some(&body)).expect(&[201]).json();
    assert!(made["report"].is_null(), "{made}");
}

#[test]
fn an_answer_that_refuses_every_request_is_told_and_one_that_misses_content_is_none() {
    let (server, sink) = (Server::start(), Sink::start());
    server.create_app("app");
    for (status, fine) in
        [(200, true), (400, true), (429, true), (401, false), (404, false), (302, false), (500, false)]
    {
        sink.answer(Answer::status(status));
        let answer = add(&server, &sink.url(&format!("in/{status}")), if fine { 201 } else { 422 });
        expect_steps(&answer, &[("resolve", true), ("connect", true), ("request", fine)]);
        assert!(detail(&answer).contains(&status.to_string()), "{answer}");
        // An answer is judged, not asked for again.
        assert_eq!(
            sink.requests().iter().filter(|request| request.path == format!("/in/{status}")).count(),
            1
        );
    }
    assert_eq!(drains(&server), 3);
}

#[test]
fn who_cannot_be_reached_is_no_drain_and_the_step_is_named() {
    let server = Server::start();
    server.create_app("app");
    let sink = Sink::https();
    let refused = sink.url("in").replace("https://", "https://us3r:p4ss@");
    let answer = add(&server, &format!("{refused}?k3y=1"), 422);
    expect_steps(&answer, &[("resolve", true), ("connect", true), ("tls", false)]);
    assert!(detail(&answer).contains("certificate"), "{answer}");
    for secret in ["us3r", "p4ss", "k3y"] {
        assert!(!answer.to_string().contains(secret), "{answer}");
    }
    let trusted = add(&server, &sink.url("in#insecure"), 201);
    expect_steps(&trusted, &[("resolve", true), ("connect", true), ("tls", true), ("request", true)]);

    sink.stop();
    let gone = add(&server, &sink.url("gone#insecure"), 422);
    expect_steps(&gone, &[("resolve", true), ("connect", false)]);
    let unknown = add(&server, "http://no-such-host.invalid/", 422);
    expect_steps(&unknown, &[("resolve", false)]);
    assert_eq!(drains(&server), 1);
}

#[test]
fn a_private_address_is_not_even_connected_to() {
    let (server, sink) = (Server::options().without_private_drains().start(), Sink::start());
    server.create_app("app");
    let answer = add(&server, &sink.url("in"), 422);
    expect_steps(&answer, &[("resolve", false)]);
    assert!(detail(&answer).contains("loopback"), "{answer}");
    assert_eq!((sink.connections(), drains(&server)), (0, 0));
}

#[test]
fn a_test_sends_one_marked_line_past_the_ring() {
    let (server, sink) = (Server::start(), Sink::start());
    server.create_app("app");
    let drain = server.add_drain("app", &sink.url("in"));
    let path = format!("/v3/channels/app/drains/{}/test", drain.id);
    let answer = server.api("POST", &path, None).expect(&[200]).json();
    assert_eq!(answer["ok"], true, "{answer}");
    expect_steps(&answer, &[("resolve", true), ("connect", true), ("request", true)]);
    let received = sink.all();
    assert_eq!(received.len(), 1);
    assert!(received[0].text.starts_with("Test of this drain"), "{:?}", received[0]);
    assert_eq!((received[0].app.as_str(), received[0].procid.as_str()), ("heroku", "logplex"));
    assert_eq!(sink.requests()[0].headers.get("logplex-drain-token"), Some(drain.token.as_str()));
    assert_eq!(server.drain_status("app", &drain)["accepted"], 0);

    sink.answer(Answer::status(503));
    let answer = server.api("POST", &path, None).expect(&[200]).json();
    assert_eq!(
        (&answer["ok"], detail(&answer).as_str()),
        (&json!(false), "the peer answered 503 Service Unavailable")
    );

    // A drain of another channel is not there.
    server.create_app("other");
    server.api("POST", &path.replace("/app/", "/other/"), None).expect(&[404]);
}

#[test]
fn a_syslog_drain_is_tested_with_a_line_too() {
    let (server, sink) = (Server::start(), SyslogSink::start());
    server.create_app("app");
    let made = add(&server, &sink.url(), 201);
    expect_steps(&made, &[("resolve", true), ("connect", true)]);
    let path = format!("/v3/channels/app/drains/{}/test", made["id"]);
    let answer = server.api("POST", &path, None).expect(&[200]).json();
    expect_steps(&answer, &[("resolve", true), ("connect", true), ("send", true)]);
    let received = sink.wait_count(1);
    assert!(received[0].text.starts_with("Test of this drain"), "{:?}", received[0]);
}

#[test]
fn the_command_shows_each_step() {
    let (server, sink) = (Server::start(), Sink::start());
    server.create_app("app");
    let run = |args: &[&str]| {
        Program::start("logplex", args, &[("LOGPLEX_API_KEY", API_KEY), ("LOGPLEX_URL", &server.url(""))])
            .wait()
    };
    let ended = run(&["drains", "add", "app", &sink.url("in")]);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    for step in ["resolve", "connect", "request"] {
        assert!(ended.stdout.iter().any(|line| line.contains(step)), "{step}: {ended:?}");
    }
    sink.stop();
    let ended = run(&["drains", "add", "app", &sink.url("gone")]);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.stderr.iter().any(|line| line.contains("connect")), "{ended:?}");
    let listed = server.api("GET", "/v3/channels/app/drains", None).expect(&[200]).json();
    let ended = run(&["drains", "test", "app", &listed[0]["id"].to_string()]);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
}

#[test]
fn a_peer_that_serves_one_connection_after_the_other_is_not_kept_waiting() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let peer = thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let (mut head, mut piece) = (Vec::new(), [0; 4096]);
            while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read(&mut piece).expect("a peer that closes in order") {
                    0 => break,
                    read => head.extend_from_slice(&piece[..read]),
                }
            }
            if !head.is_empty() {
                return stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").expect("an answer can be sent");
            }
        }
    });
    let server = Server::start();
    server.create_app("app");
    let made = add(&server, &format!("http://{address}/"), 201);
    expect_steps(&made, &[("resolve", true), ("connect", true), ("request", true)]);
    peer.join().expect("it served one request");
}
