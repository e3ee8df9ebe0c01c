//! A notice keeps its bytes while its request is retried, survives failed posts, and goes alone if it must.

use std::time::Duration;

use logplex_tests::{
    Answer, Code, Drain, Received, Server, Sink, Told, conservation, notices, numbers, shuttles_notice,
    told_sum, wait_for,
};

const CHANNEL: &str = "app";
const RING: u64 = 1024;

struct Walk {
    server: Server,
    sink: Sink,
    token: String,
    drain: Drain,
}

impl Walk {
    fn start() -> Walk {
        let (server, sink) = (Server::start(), Sink::start());
        let token = server.create_app(CHANNEL);
        let drain = server.add_drain(CHANNEL, &sink.url(""));
        Walk { server, sink, token, drain }
    }

    /// Line 0 is held unanswered, and `dropped` lines behind it were pushed out; the number of the last line.
    fn overflow(&self, dropped: u64) -> u64 {
        self.sink.answer(Answer::Hold);
        self.server.post_lines(&self.token, 0, 1);
        self.sink.wait_held(1);
        let last = RING + dropped;
        self.server.post_batches(&self.token, 1..last + 1, 100);
        last
    }

    #[track_caller]
    fn wait_told(&self, total: u64) -> Vec<Told> {
        self.sink.wait_received(&format!("{total} told"), |received| {
            let told = notices(received);
            (told_sum(&told, &[Code::L10]) >= total).then_some(told)
        })
    }
}

fn carries_notice(messages: &[Received]) -> bool {
    Told::parse_strictly(&messages[0].text).is_some()
}

#[test]
fn a_retried_request_keeps_its_bytes_and_later_gaps_wait() {
    let walk = Walk::start();
    let before = walk.overflow(5);
    walk.sink.answer(Answer::status(503));
    walk.sink.release(Answer::status(204));
    let retried = || walk.sink.requests().iter().filter(|request| carries_notice(request.messages())).count();
    wait_for("a retried notice", || (retried() >= 2).then_some(()));
    // What is being retried is out of the ring, so this pushes out 7 of its own.
    let last = before + RING + 7;
    walk.server.post_batches(&walk.token, before + 1..last + 1, 100);
    walk.sink.answer(Answer::status(204));
    // Told in a request of its own if the first notice is less than a second old.
    let told = walk.wait_told(12);
    walk.sink.wait_line(last);

    let counts: Vec<u64> = told.iter().map(|notice| notice.count).collect();
    assert_eq!(counts, [5, 7]);
    let requests = walk.sink.requests();
    let first: Vec<_> = requests
        .iter()
        .filter(|request| {
            Told::parse_strictly(&request.messages()[0].text).is_some_and(|notice| notice.count == 5)
        })
        .collect();
    assert!(first.len() >= 3, "the first, its retry and the one that was taken: {}", first.len());
    assert!(first.iter().all(|retry| retry.body == first[0].body && retry.frame_id() == first[0].frame_id()));
    conservation(0..last + 1, &numbers(&walk.sink.received()), 12);
}

#[test]
fn a_notice_that_was_refused_comes_back() {
    let walk = Walk::start();
    let last = walk.overflow(5);
    walk.sink.answer_next([Answer::status(404)]);
    walk.sink.answer(Answer::status(204));
    walk.sink.release(Answer::status(204));
    // All that was held went with the notice into the refused request.
    let told = walk.wait_told(RING + 5);
    assert_eq!(told.iter().map(|notice| notice.count).sum::<u64>(), RING + 5);
    let ledger = walk.server.rested(CHANNEL, &walk.drain);
    assert_eq!((ledger.dropped("full"), ledger.lost("refused")), (5, RING));
    let facts: Vec<_> = told.iter().filter_map(|notice| notice.fact("lost")).collect();
    assert_eq!(facts, [RING.to_string()]);
    conservation(0..last + 1, &numbers(&walk.sink.received()), RING + 5);
}

#[test]
fn a_notice_goes_alone_if_nothing_else_waits() {
    let walk = Walk::start();
    walk.sink.answer_next([Answer::status(404)]);
    walk.server.post_lines(&walk.token, 0, 5);
    let told = walk.wait_told(5);
    let requests = walk.sink.requests();
    assert_eq!((requests.len(), requests[1].messages().len(), told.len()), (2, 1, 1));
    assert_eq!((told[0].fact("lost"), told[0].fact("reason")), (Some("5"), Some("refused")));
    assert_eq!(requests[1].headers.number("logplex-lost-count"), Some(5));
    assert_ne!(requests[0].frame_id(), requests[1].frame_id());
}

#[test]
fn the_published_sentence_is_kept_and_facts_follow_the_full_stop() {
    let walk = Walk::start();
    walk.sink.answer_next([Answer::status(404)]);
    walk.server.post_lines(&walk.token, 0, 3);
    let told = walk.wait_told(3);
    let text = &walk.sink.received()[0].text;
    let sentence = format!("Error L10 (output buffer overflow): 3 messages dropped since {}.", told[0].since);
    assert_eq!(*text, format!("{sentence} lost=3 reason=refused"));
}

#[test]
fn gaps_within_a_second_are_merged() {
    const LINES: u64 = 200;
    let walk = Walk::start();
    walk.sink.answer(Answer::status(204));
    for line in 0..LINES {
        // Every line is refused and every notice is taken: a notice has a request of its own here. 413 is about
        // one request only, so that the drain is not quarantined.
        let known = walk.sink.requests().len();
        walk.sink.answer_next([Answer::status(413)]);
        walk.server.post_lines(&walk.token, line, 1);
        wait_for("an attempt", || (walk.sink.requests().len() > known).then_some(()));
    }
    walk.sink.answer(Answer::status(204));
    let ledger = walk.server.rested(CHANNEL, &walk.drain);
    let told = walk.wait_told(ledger.gone());
    conservation(0..LINES, &numbers(&walk.sink.received()), told_sum(&told, &[Code::L10]));
    let requests = walk.sink.requests();
    let arrived: Vec<_> = requests
        .iter()
        .filter(|request| request.is_received() && carries_notice(request.messages()))
        .map(|request| request.arrived)
        .collect();
    for pair in arrived.windows(2) {
        // A little less than a second: the first may have been longer under way.
        assert!(pair[1] - pair[0] > Duration::from_millis(700), "{:?}", pair[1] - pair[0]);
    }
}

#[test]
fn a_byte_bound_ring_says_that_bytes_were_the_reason() {
    let walk = Walk::start();
    walk.sink.answer(Answer::Hold);
    walk.server.post_lines(&walk.token, 0, 1);
    walk.sink.wait_held(1);
    // 400 messages of 60 KB are more than 16 MiB.
    let mut connection = walk.server.connect();
    for first in (1..401).step_by(20) {
        let body = logplex_tests::padded_frames(first..first + 20, 60_000);
        walk.server.post_logs_on(&mut connection, &walk.token, &[], &body).expect(&[204]);
    }
    walk.sink.answer(Answer::status(204));
    walk.sink.release(Answer::status(204));
    let received = walk.sink.wait_line(400);
    let told = notices(&received);
    assert_eq!((told.len(), told[0].fact("reason")), (1, Some("bytes")));
    conservation(0..401, &numbers(&received), told[0].count);
    assert!(walk.server.rested(CHANNEL, &walk.drain).dropped("bytes") > 0);
}

#[test]
fn what_a_dropped_notice_told_is_told_on() {
    let walk = Walk::start();
    walk.sink.answer(Answer::Hold);
    walk.server.post_lines(&walk.token, 0, 1);
    walk.sink.wait_held(1);
    walk.server.post_logs(&walk.token, &[], &shuttles_notice(38_500));
    walk.server.post_batches(&walk.token, 1..RING + 1, 100);
    walk.sink.answer(Answer::status(204));
    let told = walk.wait_told(38_501);
    let [notice] = told.as_slice() else { panic!("one notice, not {told:?}") };
    assert_eq!((notice.code, notice.fact("upstream")), (Code::L10, Some("38500")));
    assert_eq!(notice.since, "2026-01-02T03:04:05+00:00");
    conservation(0..RING + 1, &numbers(&walk.sink.wait_line(RING)), 0);
    assert_eq!(walk.server.rested(CHANNEL, &walk.drain).dropped("full"), 1);
}
