//! Flush, shutdown, runtimes.

use std::time::Instant;

use super::*;

const SOON: Duration = Duration::from_millis(300);

#[test]
fn a_flush_waits_for_the_lines_before_it() {
    let peer = Peer::new();
    let guard = builder(&peer, 1).start().unwrap();
    assert!(guard.flush(PATIENCE), "there is nothing to wait for");
    write_numbers(&guard, 0..10);
    let mut got = 0;
    let flushed = flush_later(&guard);
    while got < 10 {
        let request = peer.next();
        assert!(!flushed.is_finished());
        got += request.texts().len();
        request.answer("204 No Content");
    }
    assert!(flushed.join().unwrap());
}

#[test]
fn a_flush_gives_up_when_its_time_is_over() {
    let peer = Peer::new();
    let guard = builder(&peer, 1).start().unwrap();
    write_numbers(&guard, 0..1);
    let request = peer.next();
    assert!(!guard.flush(SOON));
    request.answer("204 No Content");
    assert!(guard.flush(PATIENCE));
}

#[test]
fn a_shutdown_ships_what_waits() {
    let peer = Peer::new();
    let guard = builder(&peer, 1).start().unwrap();
    write_numbers(&guard, 0..1);
    let first = peer.next();
    write_numbers(&guard, 1..400);
    let mut unfinished = guard.writer();
    write!(unfinished, "no newline").unwrap();
    drop(unfinished);
    let ending = thread::spawn(move || guard.shutdown(PATIENCE));
    first.answer("204 No Content");
    let rest = peer.next();
    assert_eq!(rest.texts().last().unwrap(), "no newline");
    rest.answer("204 No Content");
    let report = ending.join().unwrap();
    assert_eq!((report.accepted, report.delivered, report.unsent), (401, 401, 0));
}

#[test]
fn a_shutdown_against_a_peer_that_hangs_ends_in_time_and_says_what_was_left() {
    let peer = Peer::new();
    let guard = builder(&peer, 1).start().unwrap();
    write_numbers(&guard, 0..1);
    let request = peer.next();
    write_numbers(&guard, 1..10);
    let begun = Instant::now();
    let report = guard.shutdown(SOON);
    assert!(begun.elapsed() < PATIENCE / 2);
    assert_eq!((report.accepted, report.delivered, report.dropped), (10, 0, 0));
    assert_eq!((report.lost, report.unsent), (1, 9), "one may have been taken, nine were never sent");
    assert_eq!(report.untold.total(), 10);
    drop(request);
}

#[test]
fn what_cannot_be_sent_in_time_is_told_in_a_last_request() {
    let peer = Peer::new();
    let guard = builder(&peer, 1).batch_lines(1).start().unwrap();
    write_numbers(&guard, 0..1);
    let request = peer.next();
    write_numbers(&guard, 1..10);
    // A fifth of the time is kept for the last words: the request under way outlasts the rest of it.
    let ending = thread::spawn(move || guard.shutdown(Duration::from_secs(2)));
    assert!(peer.is_quiet_for(Duration::from_millis(1700)), "one request at a time");
    request.answer("204 No Content");
    let last = peer.next();
    let (notices, texts) = last.split();
    assert_eq!((notices[0].code, notices[0].count, texts.len()), (Code::L13, 9, 0));
    assert_eq!(notices[0].facts, [("reason".to_owned(), "stopped".to_owned())]);
    last.answer("204 No Content");
    let report = ending.join().unwrap();
    assert_eq!((report.delivered, report.unsent, report.untold.total()), (1, 9, 0));
}

#[test]
fn lines_after_the_end_are_counted() {
    let (url, _texts) = Peer::taking_all();
    let guard = Builder::new(url).start().unwrap();
    let shuttle = guard.shuttle().clone();
    assert!(guard.shutdown(PATIENCE).is_clean());
    writeln!(shuttle.writer(), "late").unwrap();
    shuttle.writer().write_all("late\n".repeat(2000).as_bytes()).unwrap();
    let report = shuttle.report();
    assert_eq!((report.accepted, report.unsent), (2001, 2001));
    assert!(shuttle.stats().ledger.balances());
    assert!(!shuttle.flush(SOON));
}

#[test]
fn dropping_the_guard_ships_what_waits() {
    let (url, texts) = Peer::taking_all();
    let guard = init(url).unwrap();
    write_numbers(&guard, 0..100);
    drop(guard);
    assert_eq!(texts.len(), 100);
}

#[tokio::test]
async fn it_works_inside_a_runtime() {
    let (url, texts) = Peer::taking_all();
    let guard = init(url).unwrap();
    writeln!(guard.writer(), "hello").unwrap();
    assert!(guard.flush(PATIENCE));
    assert_eq!(texts.recv().unwrap(), "hello");
    drop(guard);
}

#[test]
fn a_peer_that_comes_back_gets_everything() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let retry = RetryPolicy { base: Duration::from_millis(1), ..RetryPolicy::default() };
    let guard = Builder::new(format!("http://{address}/logs")).retry(retry).start().unwrap();
    write_numbers(&guard, 0..100);
    while guard.stats().attempts < 3 {
        thread::yield_now();
    }
    let peer = Peer::at(address);
    let ending = thread::spawn(move || guard.shutdown(PATIENCE));
    let mut got = Vec::new();
    while got.len() < 100 {
        let request = peer.next();
        got.extend(request.texts());
        request.answer("204 No Content");
    }
    assert_eq!(got, (0..100).map(|number| number.to_string()).collect::<Vec<_>>());
    assert!(ending.join().unwrap().is_clean());
}
