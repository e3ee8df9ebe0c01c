//! With one message unanswered in flight, 1,024 + k more lose exactly the oldest k, and the notice says so.

use std::ops::RangeInclusive;
use std::time::{SystemTime, UNIX_EPOCH};

use logplex_tests::{Code, Request, Server, Sink, Told, conservation, notices, numbers};

/// The messages that a drain's ring holds.
const RING: u64 = 1024;

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is right").as_secs()
}

/// Posts `lines` lines from number 1 on, in batches; the seconds between which line `RING + 1` pushed out the first.
fn overflow(server: &Server, token: &str, lines: u64, batch: u64) -> RangeInclusive<u64> {
    let mut connection = server.connect();
    let mut window = None;
    let mut next = 1;
    while next <= lines {
        let n = batch.min(lines + 1 - next);
        let before = unix_seconds();
        server.post_lines_on(&mut connection, token, next, n);
        next += n;
        if next > RING + 1 {
            window.get_or_insert_with(|| before..=unix_seconds());
        }
    }
    window.expect("the lines are more than the ring holds")
}

/// The notice in front of a request's messages.
fn leading_notice(request: &Request) -> Option<Told> {
    Told::parse_strictly(&request.messages()[0].text)
}

#[track_caller]
fn check(server: &Server, k: u64, batch: u64) {
    let (channel, sink) = (format!("exact-{k}-{batch}"), Sink::start());
    let token = server.create_app(&channel);
    let drain = server.add_drain(&channel, &sink.url(""));
    let gate = sink.gate();
    server.post_lines(&token, 0, 1);
    sink.wait_held(1);
    let last = RING + k;
    let first_drop = overflow(server, &token, last, batch);
    gate.open();
    let received = sink.wait_line(last);

    let expected: Vec<u64> = [0].into_iter().chain(k + 1..=last).collect();
    assert_eq!(numbers(&received), expected);
    let told = notices(&received);
    let [notice] = told.as_slice() else { panic!("one notice, not {told:?}") };
    assert_eq!((notice.code, notice.count, notice.facts.as_slice()), (Code::L10, k, &[][..]));
    assert!(first_drop.contains(&notice.since_seconds()), "{notice:?} {first_drop:?}");
    conservation(0..last + 1, &numbers(&received), k);

    // Directly ahead of the first survivor: the same request, the next message.
    let mut requests = sink.requests();
    // The first is held for as long as the overflow takes, and asked again on a machine where that is long.
    requests.dedup_by(|again, before| again.frame_id() == before.frame_id());
    let [_, second, rest @ ..] = requests.as_slice() else { panic!("a request for the survivors") };
    assert_eq!(leading_notice(second).as_ref(), Some(notice));
    assert_eq!(second.messages()[1].number(), Some(k + 1));
    assert!(rest.iter().all(|request| leading_notice(request).is_none()));
    assert_eq!(second.headers.number("logplex-drop-count"), Some(k));
    let frame = &second.messages()[0];
    assert_eq!((frame.pri, frame.app.as_str(), frame.procid.as_str()), (172, "heroku", "logplex"));
    assert_eq!(frame.host, "host");

    let ledger = server.rested(&channel, &drain);
    assert_eq!((ledger.accepted, ledger.dropped("full"), ledger.gone()), (last + 1, k, k));
}

#[track_caller]
fn check_all(batch: u64) {
    let server = Server::start();
    for k in [1, 7, 500, 2000] {
        check(&server, k, batch);
    }
}

#[test]
fn exactly_the_oldest_are_dropped_of_single_lines() {
    check_all(1);
}

#[test]
fn exactly_the_oldest_are_dropped_of_batches_of_10() {
    check_all(10);
}

#[test]
fn exactly_the_oldest_are_dropped_of_batches_of_100() {
    check_all(100);
}

#[test]
fn a_full_ring_loses_nothing() {
    let (server, sink) = (Server::start(), Sink::start());
    let token = server.create_app("full");
    let drain = server.add_drain("full", &sink.url(""));
    let gate = sink.gate();
    server.post_lines(&token, 0, 1);
    sink.wait_held(1);
    server.post_batches(&token, 1..RING + 1, 64);
    assert_eq!(server.drain_ledger("full", &drain).held, RING + 1);
    gate.open();
    let received = sink.wait_line(RING);
    assert_eq!(notices(&received), []);
    conservation(0..RING + 1, &numbers(&received), 0);
}

#[test]
fn a_batch_larger_than_the_ring_is_cut() {
    let (server, sink) = (Server::start(), Sink::start());
    let token = server.create_app("cut");
    server.add_drain("cut", &sink.url(""));
    let gate = sink.gate();
    server.post_lines(&token, 0, 1);
    sink.wait_held(1);
    server.post_lines(&token, 1, 5000);
    gate.open();
    let received = sink.wait_line(5000);
    assert_eq!(notices(&received)[0].count, 5000 - RING);
    conservation(0..5001, &numbers(&received), 5000 - RING);
}
