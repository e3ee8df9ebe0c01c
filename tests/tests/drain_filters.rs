//! A drain's filters act before its ring: what they leave out is in none of its counts.

use logplex_tests::{
    Answer, Code, Drain, Received, Server, Sink, conservation, encode, notices, numbers, shuttles_notice,
    told_sum,
};

const CHANNEL: &str = "app";
const RING: u64 = 1024;

/// `line N` from `SOURCE[PROCID]` with a PRI.
fn line(pri: u8, source: &str, procid: &str, number: u64) -> Vec<u8> {
    let head = format!("<{pri}>1 2026-01-02T03:04:05.678901+00:00 host {source} {procid} - -");
    encode(format!("{head} line {number}").as_bytes())
}

struct Walk {
    server: Server,
    sink: Sink,
    token: String,
    drain: Drain,
}

impl Walk {
    fn start(options: &str) -> Walk {
        let (server, sink) = (Server::start(), Sink::start());
        let token = server.create_app(CHANNEL);
        let drain = server.add_drain(CHANNEL, &format!("{}#{options}", sink.url("in?key=1")));
        Walk { server, sink, token, drain }
    }

    #[track_caller]
    fn post(&self, body: &[u8]) {
        let (status, text) = self.server.post_logs(&self.token, &[], body);
        assert_eq!(status, 204, "{text}");
    }
}

/// Of lines 0 to 7 and a last one that every filter here keeps, only `expected` arrive and count.
#[track_caller]
fn check(options: &str, expected: &[u64]) {
    let walk = Walk::start(options);
    let sources = [
        (190, "app", "web.1"),
        (190, "app", "web.2"),
        (187, "app", "webx"),
        (190, "app", "worker.1"),
        (172, "heroku", "router"),
        (190, "heroku", "api"),
        (191, "jobs", "web.1"),
        (128, "jobs", "clock"),
    ];
    // In one request, and then each in one of its own.
    let frames: Vec<Vec<u8>> =
        (0..).zip(sources).map(|(at, (pri, source, procid))| line(pri, source, procid, at)).collect();
    walk.post(&frames.concat());
    frames.iter().for_each(|frame| walk.post(frame));
    let ledger = walk.server.rested(CHANNEL, &walk.drain);
    assert_eq!(numbers(&walk.sink.received()), [expected, expected].concat(), "{options}");
    assert_eq!(
        (ledger.accepted, ledger.delivered),
        (2 * expected.len() as u64, ledger.accepted),
        "{options}"
    );
    // Our options are for us alone; the query is the destination's.
    assert!(walk.sink.requests().iter().all(|request| request.path == "/in?key=1"));
}

#[test]
fn sources_processes_and_severities_are_filtered() {
    check("include-source=app", &[0, 1, 2, 3]);
    check("exclude-source=heroku,jobs&exclude-ps=worker", &[0, 1, 2]);
    check("include-ps=web", &[0, 1, 6]);
    check("include-ps=web.1&include-ps=router", &[0, 4, 6]);
    check("min-severity=warning", &[2, 4, 7]);
    check("min-severity=3&exclude-source=jobs", &[2]);
    check("exclude-source=none", &[0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn noise_costs_a_drain_no_signal_and_its_notice_counts_what_its_reader_would_have_seen() {
    let walk = Walk::start("exclude-source=heroku");
    let gate = walk.sink.gate();
    walk.post(&line(190, "app", "web.1", 0));
    walk.sink.wait_held(1);
    // Three lines of noise for each that counts: 7 more than the ring holds, mixed into every request.
    let last = RING + 7;
    for first in (1..=last).step_by(100) {
        let numbers = first..(first + 100).min(last + 1);
        let signal_in_noise = |number| {
            let noise = line(190, "heroku", "router", number).repeat(3);
            [noise, line(190, "app", "web.1", number)].concat()
        };
        walk.post(&numbers.flat_map(signal_in_noise).collect::<Vec<u8>>());
    }
    let ledger = walk.server.drain_ledger(CHANNEL, &walk.drain);
    assert_eq!((ledger.accepted, ledger.held, ledger.dropped("full")), (last + 1, RING + 1, 7));
    gate.open();
    // The drain's own notice is from the source that it excludes.
    let received = walk.sink.wait_line(last);
    let told = notices(&received);
    assert_eq!(told_sum(&told, &[Code::L10]), 7);
    conservation(0..last + 1, &numbers(&received), 7);
    assert!(received.iter().all(|message| message.app == "app" || is_notice(message)));
}

fn is_notice(message: &Received) -> bool {
    message.app == "heroku" && message.procid == "logplex"
}

#[test]
fn what_a_filtered_drain_never_accepted_is_not_told_when_it_fails() {
    let walk = Walk::start("include-ps=web");
    walk.sink.answer_next([Answer::status(404)]);
    walk.post(&[line(190, "app", "worker.1", 0), line(190, "app", "web.1", 1)].concat());
    let told = walk.sink.wait_received("a notice", |received| notices(received).pop());
    assert_eq!((told.count, told.fact("lost")), (1, Some("1")));
    // A shuttle's notice is a line like any other, so this drain has no part in it.
    walk.post(&shuttles_notice(500));
    walk.post(&line(190, "app", "web.1", 2));
    walk.sink.wait_line(2);
    assert_eq!(walk.server.rested(CHANNEL, &walk.drain).accepted, 2);
}

#[test]
fn a_request_holds_no_more_messages_than_the_batch_option_says_its_notice_included() {
    let walk = Walk::start("batch=10");
    let gate = walk.sink.gate();
    walk.post(&line(190, "app", "web.1", 0));
    walk.sink.wait_held(1);
    walk.server.post_batches(&walk.token, 1..RING + 4, 100);
    gate.open();
    let received = walk.sink.wait_line(RING + 3);
    conservation(0..RING + 4, &numbers(&received), told_sum(&notices(&received), &[Code::L10]));
    let requests = walk.sink.requests();
    assert!(requests.iter().all(|request| request.messages().len() <= 10));
    assert!(requests.len() > 100, "{}", requests.len());
}

#[test]
fn a_filter_may_change_while_messages_are_held() {
    let walk = Walk::start("include-ps=web");
    let gate = walk.sink.gate();
    walk.server.post_lines(&walk.token, 0, 1);
    walk.sink.wait_held(1);
    walk.server.post_lines(&walk.token, 1, 5);
    let path = format!("/v3/channels/{CHANNEL}/drains/{}", walk.drain.id);
    let url = format!("{}#exclude-ps=web", walk.sink.url("in?key=1"));
    walk.server.api("PUT", &path, Some(&serde_json::json!({ "url": url }))).expect(&[200]);
    // What was accepted is sent; what comes from now on is judged anew.
    walk.server.post_lines(&walk.token, 6, 5);
    walk.post(&line(190, "app", "clock", 11));
    gate.open();
    walk.sink.wait_line(11);
    assert_eq!(numbers(&walk.sink.received()), [0, 1, 2, 3, 4, 5, 11]);
}
