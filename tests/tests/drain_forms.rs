//! How http drains send: requests that are too large are cut, bodies packed, RFC 5424 kept; and what a channel is
//! told of a certificate that does not hold.

use logplex_tests::{
    Answer, Drain, Received, Server, Sink, SyslogSink, Tail, frame, notices, numbers, padded_frames, wait_for,
};

struct Walk {
    server: Server,
    token: String,
    drain: Drain,
}

impl Walk {
    fn start(url: &str) -> Walk {
        let server = Server::start();
        let token = server.create_app("app");
        let drain = server.add_drain("app", url);
        Walk { server, token, drain }
    }
}

#[test]
fn a_request_that_is_too_large_is_cut_in_two_until_it_fits() {
    let sink = Sink::start();
    let walk = Walk::start(&sink.url("in"));
    let gate = sink.gate();
    walk.server.post_lines(&walk.token, 0, 1);
    sink.wait_held(1);
    // More than the ring holds, so that a notice goes ahead.
    walk.server.post_batches(&walk.token, 1..1029, 257);
    sink.answer_next([Answer::status(413), Answer::status(413)]);
    gate.open();
    let received = sink.wait_line(1028);
    assert_eq!(numbers(&received), Vec::from_iter([0].into_iter().chain(5..1029)), "in order, none lost");
    assert_eq!(notices(&received).iter().map(|notice| notice.count).sum::<u64>(), 4);
    let requests = sink.requests();
    let counts: Vec<usize> = requests.iter().map(|request| request.messages().len()).collect();
    // All that waited with its notice, then its first half with it, then that one's.
    let all = counts[1];
    let quarter = 1 + (all - 1) / 2 / 2;
    assert_eq!(counts[1..5], [all, 1 + (all - 1) / 2, quarter, 1 + (all - 1) / 2 - quarter]);
    for request in &requests[1..4] {
        assert_eq!(request.messages()[0].text, requests[1].messages()[0].text, "the notice stays ahead");
    }
    let ids: std::collections::HashSet<_> =
        requests.iter().filter_map(|request| request.frame_id()).collect();
    assert_eq!(ids.len(), requests.len(), "each half is a request of its own");
    let ledger = walk.server.rested("app", &walk.drain);
    assert_eq!((ledger.delivered, ledger.gone()), (1025, 4));
}

#[test]
fn a_single_message_that_is_too_large_is_lost_and_told() {
    let sink = Sink::start();
    let walk = Walk::start(&sink.url("in"));
    sink.answer_next([Answer::status(413)]);
    walk.server.post_lines(&walk.token, 0, 1);
    wait_for("a loss", || (walk.server.drain_ledger("app", &walk.drain).gone() == 1).then_some(()));
    walk.server.post_lines(&walk.token, 1, 2);
    let received = sink.wait_line(2);
    assert_eq!(numbers(&received), [1, 2]);
    let told =
        notices(&sink.wait_received("the notice", |received| {
            (!notices(received).is_empty()).then(|| received.to_vec())
        }));
    assert_eq!((told[0].count, told[0].fact("reason")), (1, Some("too-large")));
    assert_eq!(walk.server.rested("app", &walk.drain).lost("too-large"), 1);
}

#[test]
fn bodies_are_packed_if_the_url_says_so() {
    let sink = Sink::start();
    let walk = Walk::start(&sink.url("in#gzip"));
    assert_eq!(walk.server.post_logs(&walk.token, &[], &padded_frames(0..50, 500)).0, 204);
    assert_eq!(numbers(&sink.wait_line(49)), Vec::from_iter(0..50));
    let request = &sink.requests()[0];
    assert_eq!(request.headers.get("content-encoding"), Some("gzip"));
    let (packed, body) = (request.headers.number("content-length").unwrap(), request.body.len() as u64);
    assert!(packed * 5 < body, "{packed} of {body}");
    assert_eq!(walk.server.rested("app", &walk.drain).delivered, 50);
}

#[test]
fn the_strict_form_keeps_host_msgid_and_structured_data() {
    let sink = Sink::strict();
    let walk = Walk::start(&sink.url("in#format=rfc5424"));
    let strict = "<13>1 2026-01-02T03:04:05Z web-7 app p.1 ID47 [a@1 b=\"c]\"] line 0";
    let body = [logplex_tests::encode(strict.as_bytes()), frame("app", "line 1")].concat();
    assert_eq!(walk.server.post_logs(&walk.token, &[], &body).0, 204);
    let raw: Vec<Vec<u8>> = sink.wait_line(1).into_iter().map(|message: Received| message.raw).collect();
    let second = "<190>1 2026-01-02T03:04:05.678901+00:00 host app web.1 - - line 1";
    assert_eq!(raw, [strict.as_bytes(), second.as_bytes()]);
}

#[test]
fn a_certificate_that_does_not_hold_is_told_on_the_channel() {
    let sink = SyslogSink::tls();
    let url = sink.url();
    let walk = Walk::start(&url.replace("://", "://user:hunter2@"));
    let tail = Tail::open(&walk.server.create_session("app", serde_json::json!({ "tail": "t", "num": "0" })));
    walk.server.post_lines(&walk.token, 0, 3);
    let line = tail.wait_line("L14", |line| line.contains("Error L14 (certificate validation): error=\""));
    let (source, text) = line.split_once("]: ").expect("a tail's line");
    assert!(source.ends_with(" heroku[logplex"), "{line}");
    assert!(text.ends_with(&format!("\" uri=\"{url}\"")), "{line}");
    assert!(!line.contains("hunter2"), "{line}");
    let ledger = walk.server.tails_ledger("app");
    assert_eq!((ledger.accepted, ledger.generated), (3, 1), "three lines, and our own");

    // The drain gets its lines once its URL allows it, and nothing of that.
    let path = format!("/v3/channels/app/drains/{}", walk.drain.id);
    let allowed = format!("{url}#insecure");
    walk.server.api("PUT", &path, Some(&serde_json::json!({ "url": allowed }))).expect(&[200]);
    assert_eq!(numbers(&sink.wait_line(2)), [0, 1, 2]);
    assert_eq!(sink.received().len(), 3);
    assert_eq!(walk.server.rested("app", &walk.drain).delivered, 3);
}

#[test]
fn a_trusted_certificate_is_verified_for_syslog_too() {
    let (sink, folder) = (SyslogSink::tls(), tempfile::tempdir().unwrap());
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, sink.certificate()).unwrap();
    let server = Server::options().env("SSL_CERT_FILE", file.to_str().unwrap()).start();
    let token = server.create_app("app");
    let drain = server.add_drain("app", &sink.url());
    server.post_batches(&token, 0..1000, 100);
    assert_eq!(numbers(&sink.wait_line(999)), Vec::from_iter(0..1000));
    assert_eq!(server.rested("app", &drain).delivered, 1000);
}
