//! A reader that stalls costs nothing to any other drain, tail or channel.

use logplex_tests::{Server, Sink, Tail, conservation, numbers, padded_frames};
use serde_json::json;

const LINES: u64 = 8000;
const OTHER_LINES: u64 = LINES / 500;

/// Posts lines of 1 KB, 100 a request, and calls `each` after every request with the number of the last line.
fn post(server: &Server, token: &str, mut each: impl FnMut(u64)) {
    let mut connection = server.connect();
    for first in (0..LINES).step_by(100) {
        let body = padded_frames(first..first + 100, 1000);
        server.post_logs_on(&mut connection, token, &[], &body).expect(&[204]);
        each(first + 99);
    }
}

#[test]
fn a_stalled_drain_and_a_stalled_tail_cost_nobody_else_a_line() {
    let server = Server::start();
    let (token, other_token) = (server.create_app("app"), server.create_app("other"));
    let (stalled, healthy, other) = (Sink::start(), Sink::start(), Sink::start());
    let stalled_drain = server.add_drain("app", &stalled.url(""));
    let healthy_drain = server.add_drain("app", &healthy.url(""));
    let other_drain = server.add_drain("other", &other.url(""));
    let gate = stalled.gate();
    let live = || json!({ "tail": true, "num": "0", "source": "app" });
    let stalled_tail = Tail::narrow(&server.create_session("app", live()));
    let healthy_tail = Tail::open(&server.create_session("app", live()));
    let other_tail = Tail::open(&server.create_session("other", live()));
    stalled_tail.pause();

    // The others keep up because they are waited for: 500 lines are never more than their rings hold.
    post(&server, &token, |last| {
        if last % 500 != 499 {
            return;
        }
        healthy.wait_line(last);
        healthy_tail.wait_number(last);
        server.post_lines(&other_token, last / 500, 1);
    });
    other.wait_line(OTHER_LINES - 1);
    other_tail.wait_number(OTHER_LINES - 1);

    let held = server.drain_ledger("app", &stalled_drain);
    assert!(held.dropped("full") > 0 && held.held > 0, "the stalled drain did fall behind: {held:?}");
    assert!(server.tails_ledger("app").dropped("full") > 0, "and so did the stalled tail");
    for (sink, channel, drain, lines) in
        [(&healthy, "app", &healthy_drain, LINES), (&other, "other", &other_drain, OTHER_LINES)]
    {
        conservation(0..lines, &numbers(&sink.received()), 0);
        let ledger = server.rested(channel, drain);
        assert_eq!((ledger.delivered, ledger.gone()), (lines, 0));
    }
    for (tail, lines) in [(&healthy_tail, LINES), (&other_tail, OTHER_LINES)] {
        conservation(0..lines, &tail.numbers(), 0);
        assert!(tail.told().is_empty());
    }
    gate.open();
}
