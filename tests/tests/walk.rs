//! What is posted to `/logs` reaches an HTTP drain and a websocket tail, in the published wire forms.

use logplex_tests::{Server, Sink, Tail, TailLine, encode};
use serde_json::json;

const HI: &[u8] = b"<174>1 2012-07-22T00:06:26.123456+00:00 somehost erlang console - - Hi from erlang\n";

#[test]
fn a_posted_line_reaches_a_drain_and_a_tail() {
    let (server, sink) = (Server::start(), Sink::start());
    let token = server.create_app("walk");
    let drain = server.add_drain("walk", &sink.url("in?code=K"));
    let tail = Tail::open(&server.create_session("walk", json!({ "tail": true })));
    let headers = [("Logplex-Msg-Count", "1"), ("Logplex-Frame-Id", "walk-1")];
    assert_eq!(server.post_logs(&token, &headers, &encode(HI)), (204, String::new()));

    sink.wait_received("the line", |received| (received.len() == 1).then_some(()));
    let requests = sink.requests();
    let [request] = requests.as_slice() else { panic!("one request, not {requests:?}") };
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/in?code=K"));
    let body = String::from_utf8_lossy(&request.body);
    assert_eq!(body, "77 <174>1 2012-07-22T00:06:26.123456+00:00 host erlang console - Hi from erlang\n");
    let header = |name| request.headers.get(name).unwrap_or_else(|| panic!("no {name}"));
    assert_eq!(header("content-type"), "application/logplex-1");
    assert_eq!(header("logplex-msg-count"), "1");
    assert_eq!(header("logplex-drain-token"), drain.token);
    assert_eq!((header("logplex-drop-count"), header("logplex-lost-count")), ("0", "0"));
    assert_eq!(header("content-length"), request.body.len().to_string());
    assert_eq!(header("host"), sink.address().to_string());
    let version = header("user-agent").strip_prefix("Logplex/").expect("our name");
    assert!(version.starts_with(|letter: char| letter.is_ascii_digit()), "{version:?}");
    let id = header("logplex-frame-id");
    assert!(id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F')), "{id:?}");
    assert!(drain.token.starts_with("d."), "{drain:?}");

    let line = tail.wait_line("the line", |_| true);
    assert_eq!(line, "2012-07-22T00:06:26.123456+00:00 erlang[console]: Hi from erlang");
}

#[test]
fn each_request_has_an_id_of_its_own_and_the_urls_password_is_sent() {
    let (server, sink) = (Server::start(), Sink::start());
    let token = server.create_app("walk");
    server.add_drain("walk", &sink.url("in").replace("http://", "http://user:pass@"));
    for line in 0..2 {
        server.post_lines(&token, line, 1);
        sink.wait_line(line);
    }
    let requests = sink.requests();
    assert_ne!(requests[0].frame_id(), requests[1].frame_id());
    assert_eq!(requests[0].headers.get("authorization"), Some("Basic dXNlcjpwYXNz"));
    assert_eq!(requests[0].connection, requests[1].connection, "the connection is kept");
}

#[test]
fn what_one_server_drains_another_takes() {
    let (first, second, sink) = (Server::start(), Server::start(), Sink::start());
    let (from, to) = (first.create_app("one"), second.create_app("two"));
    let drain = first.add_drain("one", &second.logs_url(&to));
    second.add_drain("two", &sink.url(""));
    let texts =
        ["plain", "[INFO] text", "- dash", "[a b=\"c\"] data?", "", " two  blanks ", "töst \u{1f980}"];
    for text in texts {
        let message = format!("<14>1 2026-01-02T03:04:05+00:00 h src proc - - {text}");
        assert_eq!(first.post_logs(&from, &[], &encode(message.as_bytes())).0, 204);
    }
    let received = sink
        .wait_received("all of them", |received| (received.len() == texts.len()).then(|| received.to_vec()));
    let same: Vec<&str> = received.iter().map(|message| message.text.as_str()).collect();
    assert_eq!(same, texts);
    let heads_kept = received
        .iter()
        .all(|message| (message.pri, message.app.as_str(), message.procid.as_str()) == (14, "src", "proc"));
    assert!(heads_kept, "{received:?}");
    assert_eq!(first.rested("one", &drain).delivered, texts.len() as u64);
}

#[test]
fn text_is_enough_for_curl() {
    let (server, sink) = (Server::start(), Sink::start());
    let token = server.create_app("walk");
    server.add_drain("walk", &sink.url(""));
    let tail = Tail::open(&server.create_session("walk", json!({ "tail": true })));
    let body = b"one\r\n\ntwo\nthree without an end";
    assert_eq!(server.post_logs(&token, &[("Content-Type", "text/plain; charset=utf-8")], body).0, 204);
    let received =
        sink.wait_received("three lines", |received| (received.len() == 3).then(|| received.to_vec()));
    let fields: Vec<_> =
        received.iter().map(|m| (m.pri, m.app.as_str(), m.procid.as_str(), m.text.as_str())).collect();
    assert_eq!(
        fields,
        [
            (190, "app", "http", "one"),
            (190, "app", "http", "two"),
            (190, "app", "http", "three without an end")
        ]
    );
    let last = tail.wait_line("the last line", |line| line.contains("three"));
    let last = TailLine::parse(&last).expect("a tail line");
    assert_eq!((last.source.as_str(), last.procid.as_str()), ("app", "http"));
}

#[test]
fn what_senders_lost_is_kept_in_the_ledger() {
    let server = Server::start();
    let token = server.create_app("walk");
    let headers = [("Logplex-Drop-Count", "7"), ("Logplex-Lost-Count", "3")];
    for _ in 0..2 {
        assert_eq!(server.post_logs(&token, &headers, &encode(HI)).0, 204);
    }
    let stats = &server.stats("walk")["tokens"][0];
    assert_eq!((stats["upstream_dropped"].as_u64(), stats["upstream_lost"].as_u64()), (Some(14), Some(6)));
    assert_eq!(server.metrics().sum("logplex_upstream_dropped_messages_total", &[("token", "app")]), 14.0);
}

#[test]
fn operations_are_answered() {
    let server = Server::start();
    for path in ["/livez", "/readyz", "/healthcheck", "/v3/healthcheck"] {
        let answer = server.call("GET", path, &[], b"");
        assert_eq!((answer.status, answer.text().as_str()), (200, "OK"), "{path}");
    }
    assert_eq!(server.call("GET", "/nowhere", &[], b"").status, 404);
    let kind = server.call("GET", "/metrics", &[], b"");
    assert!(
        kind.headers.get("content-type").is_some_and(|kind| kind.starts_with("application/openmetrics-text"))
    );
    assert!(kind.text().ends_with("# EOF\n"));
}
