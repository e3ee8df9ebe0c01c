//! A syslog+tls drain into Debian's rsyslog with GnuTLS.

use logplex_tests::{Rsyslog, Server, Tail, conservation, notices, numbers, wait_for};
use serde_json::json;

/// As many as are posted at once; two such steps fit a drain's ring.
const STEP: u64 = 500;

/// Fewer than over plain TCP, which takes the time; the path through the outlet is the same but for the records.
const LINES: u64 = 20_000;

#[test]
fn twenty_thousand_messages_arrive_once_under_a_certificate_that_is_trusted() {
    let rsyslog = Rsyslog::tls_receiver();
    let bundle = format!("own={}", rsyslog.certificate().display());
    let server = Server::options().args(&["--drain-ca", &bundle]).start();
    let token = server.create_app("app");
    let drain = server.add_drain("app", &format!("{}#ca=own", rsyslog.url()));
    for first in (0..LINES).step_by(STEP as usize) {
        wait_for("the lines before the last ones", || {
            (server.drain_ledger("app", &drain).delivered + STEP >= first).then_some(())
        });
        server.post_lines(&token, first, STEP);
    }
    let received = rsyslog.wait_line(LINES - 1);
    assert_eq!((received.len() as u64, notices(&received)), (LINES, vec![]));
    conservation(0..LINES, &numbers(&received), 0);
    assert!(received.iter().all(|message| message.host == drain.token));
    let ledger = server.rested("app", &drain);
    assert_eq!((ledger.accepted, ledger.delivered, ledger.gone()), (LINES, LINES, 0));
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused_and_told() {
    let rsyslog = Rsyslog::tls_receiver();
    let server = Server::start();
    let token = server.create_app("app");
    let url = rsyslog.url();
    let drain = server.add_drain("app", &url);
    let tail = Tail::open(&server.create_session("app", json!({ "tail": "t", "num": "0" })));
    server.post_lines(&token, 0, 100);
    let line = tail.wait_line("L14", |line| line.contains("Error L14"));
    let (source, text) = line.split_once("]: ").expect("a tail's line");
    assert!(source.ends_with(" heroku[logplex"), "{line}");
    assert!(text.starts_with("Error L14 (certificate validation): error=\""), "{line}");
    assert!(text.ends_with(&format!("\" uri=\"{url}\"")), "{line}");
    let ledger = server.drain_ledger("app", &drain);
    assert_eq!((ledger.held, ledger.delivered, ledger.gone()), (100, 0, 0));
    assert_eq!(rsyslog.taken(), []);

    // What was held goes once the URL allows it.
    let path = format!("/v3/channels/app/drains/{}", drain.id);
    server.api("PUT", &path, Some(&json!({ "url": format!("{url}#insecure") }))).expect(&[200]);
    conservation(0..100, &numbers(&rsyslog.wait_line(99)), 0);
    assert_eq!(server.rested("app", &drain).delivered, 100);
}
