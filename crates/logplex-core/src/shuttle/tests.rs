//! The shuttle against a peer over loopback.

use std::io::Write;
use std::num::NonZeroU32;
use std::thread;
use std::time::Duration;

use chrono::Utc;

use super::*;
use crate::outlet::RetryPolicy;
use crate::{Code, LossReason};

mod endings;
pub(crate) mod peer;

use peer::{PATIENCE, Peer, Received};

/// A shuttle that gives up after `attempts` and never waits long in between.
fn builder(peer: &Peer, attempts: u32) -> Builder {
    let retry = RetryPolicy {
        max_attempts: NonZeroU32::new(attempts),
        base: Duration::from_millis(1),
        ..RetryPolicy::default()
    };
    Builder::new(&peer.url).retry(retry).request_timeout(PATIENCE).procid("web.1")
}

/// Writes `count` numbered lines.
fn write_numbers(guard: &Guard, numbers: std::ops::Range<usize>) {
    let mut writer = guard.writer();
    for number in numbers {
        writeln!(writer, "{number}").unwrap();
    }
}

/// Asks for a flush and does not wait for it.
fn flush_later(guard: &Guard) -> thread::JoinHandle<bool> {
    let shuttle = guard.shuttle().clone();
    thread::spawn(move || shuttle.flush(PATIENCE))
}

#[test]
fn a_line_arrives_framed_as_the_original_frames_it() {
    let peer = Peer::new();
    let guard = builder(&peer, 1).start().unwrap();
    let before = Utc::now();
    writeln!(guard.writer(), "hello").unwrap();
    let request = peer.next();
    let [message] = request.messages()[..] else { panic!("one message") };
    assert_eq!((message.pri, message.host, message.app, message.procid), (190, "shuttle", "token", "web.1"));
    assert_eq!(
        (message.msgid, message.structured_data, message.text),
        ("-", Some(&b"-"[..]), &b"hello\n"[..])
    );
    let time = chrono::DateTime::parse_from_rfc3339(message.time).unwrap();
    assert!(message.time.len() == 32 && before.timestamp_micros() <= time.timestamp_micros());

    assert_eq!(request.header("content-type"), "application/logplex-1");
    assert_eq!(request.header("authorization"), "Basic dG9rZW46dC5zZWNyZXQ=");
    assert_eq!(request.header("logplex-drop-count"), "0");
    assert_eq!(request.header("logplex-lost-count"), "0");
    let id = request.header("x-request-id").replace('-', "").to_uppercase();
    assert_eq!(request.header("logplex-frame-id"), id);
    request.answer("204 No Content");
    let report = guard.shutdown(PATIENCE);
    assert!(report.is_clean() && report.delivered == 1, "{report:?}");
}

/// With one request unanswered, 1,024 + k more lose exactly the oldest k.
fn check_exactly_the_oldest_are_dropped(k: usize, write: impl FnOnce(&Guard, std::ops::Range<usize>)) {
    let peer = Peer::new();
    let guard = builder(&peer, 1).ring_lines(1024).batch_lines(100_000).start().unwrap();
    write_numbers(&guard, 0..1);
    let in_flight = peer.next();
    let before = Utc::now().timestamp_micros();
    write(&guard, 1..1 + 1024 + k);
    let after = Utc::now().timestamp_micros();
    let stats = guard.stats();
    assert!(stats.ledger.balances());
    assert_eq!(stats.ledger.held(), 1025);
    in_flight.answer("204 No Content");

    let next = peer.next();
    let (notices, texts) = next.split();
    let expected: Vec<String> = (1 + k..1 + 1024 + k).map(|number| number.to_string()).collect();
    assert_eq!(texts, expected);
    assert_eq!(next.header("logplex-drop-count"), k.to_string());
    match &notices[..] {
        [] => assert_eq!(k, 0),
        [notice] => {
            assert_eq!((notice.code, notice.count), (Code::L12, k as u64));
            assert!((before..=after).contains(&notice.since.timestamp_micros()), "{notice}");
            let [head, ..] = next.messages()[..] else { panic!("no message") };
            assert_eq!((head.pri, head.host, head.app, head.procid), (172, "heroku", "token", "log-shuttle"));
            assert!(head.text.ends_with(b"+00:00.\n"));
        }
        more => panic!("{more:?}"),
    }
    next.answer("204 No Content");
    let report = guard.shutdown(PATIENCE);
    assert_eq!((report.delivered, report.dropped, report.untold.total()), (1025, k as u64, 0));
}

#[test]
fn behind_one_request_in_flight_exactly_the_oldest_are_dropped() {
    for k in [0, 1, 511, 512, 513, 1024, 3000] {
        check_exactly_the_oldest_are_dropped(k, write_numbers);
    }
}

#[test]
fn exactly_the_oldest_are_dropped_when_lines_come_in_chunks() {
    for k in [0, 1, 700, 5000] {
        check_exactly_the_oldest_are_dropped(k, |guard, numbers| {
            let text: String = numbers.map(|number| format!("{number}\n")).collect();
            guard.writer().write_all(text.as_bytes()).unwrap();
        });
    }
}

#[test]
fn a_notice_whose_carrier_is_refused_is_told_with_the_next_request() {
    let peer = Peer::new();
    let guard = builder(&peer, 1).ring_lines(2).start().unwrap();
    write_numbers(&guard, 0..1);
    let first = peer.next();
    write_numbers(&guard, 1..6);
    first.answer("204 No Content");

    let carrier = peer.next();
    let (notices, texts) = carrier.split();
    assert_eq!((notices[0].count, &texts[..]), (3, &["4".to_owned(), "5".to_owned()][..]));
    carrier.answer("400 Bad Request");

    // A flush tells at once; without it the next notice would wait for its second.
    let flushed = flush_later(&guard);
    let last = peer.next();
    let (told, texts) = last.split();
    let summary: Vec<_> = told.iter().map(|notice| (notice.code, notice.count)).collect();
    assert_eq!(summary, [(Code::L12, 3), (Code::L13, 2)]);
    assert_eq!(told[0].since, notices[0].since, "the first drop's time");
    assert_eq!(told[1].facts, [("reason".to_owned(), "refused".to_owned())]);
    assert_eq!((last.header("logplex-drop-count"), last.header("logplex-lost-count")), ("3", "2"));
    assert!(texts.is_empty());
    last.answer("204 No Content");
    assert!(flushed.join().unwrap());
    let report = guard.shutdown(PATIENCE);
    assert_eq!((report.delivered, report.dropped, report.lost, report.untold.total()), (1, 3, 2, 0));
}

#[test]
fn a_gap_within_a_second_of_a_notice_waits_for_that_second() {
    let peer = Peer::new();
    let guard = builder(&peer, 1).ring_lines(1).pace(Duration::ZERO).start().unwrap();
    write_numbers(&guard, 0..1);
    let first = peer.next();
    write_numbers(&guard, 1..3);
    first.answer("204 No Content");
    let carrier = peer.next();
    assert_eq!(carrier.split().0[0].count, 1);
    write_numbers(&guard, 3..5);
    carrier.answer("204 No Content");
    let told = std::time::Instant::now();

    let soon = peer.next();
    assert_eq!(soon.texts(), ["4"], "the new gap is not told yet");
    soon.answer("204 No Content");
    let alone = peer.next();
    let (notices, texts) = alone.split();
    assert_eq!((notices[0].count, texts.len()), (1, 0), "nothing waits, so it is told alone");
    assert!(Duration::from_millis(900) < told.elapsed());
    alone.answer("204 No Content");
    assert!(guard.flush(PATIENCE));
}

#[test]
fn a_retry_has_the_same_bytes_and_the_same_ids() {
    for gzip in [false, true] {
        let peer = Peer::new();
        let guard = builder(&peer, 5).gzip(gzip).start().unwrap();
        write_numbers(&guard, 0..1);
        let first = peer.next();
        let same = |request: &Received| {
            let id = request.header("logplex-frame-id").to_owned();
            (request.body.clone(), id, request.header("x-request-id").to_owned())
        };
        let expected = same(&first);
        write_numbers(&guard, 1..2);
        first.answer("503 Service Unavailable");
        let second = peer.next();
        assert_eq!(same(&second), expected);
        // Closes the connection without an answer.
        drop(second);
        let third = peer.next();
        assert_eq!(same(&third), expected);
        assert_eq!(third.header("content-encoding"), if gzip { "gzip" } else { "" });
        third.answer("200 OK");
        peer.next().answer("204 No Content");
        assert!(guard.shutdown(PATIENCE).is_clean());
    }
}

#[test]
fn a_request_that_is_too_large_is_cut_in_two() {
    let peer = Peer::new();
    let guard = builder(&peer, 1).start().unwrap();
    let text: String = (0..200).map(|number| format!("{number:0100}\n")).collect();
    guard.writer().write_all(text.as_bytes()).unwrap();
    let (mut arrived, mut lost, mut refused) = (Vec::new(), 0, 0);
    while arrived.len() + lost < 200 {
        let request = peer.next();
        let texts = request.texts();
        if texts.len() > 40 || texts.iter().any(|text| text.ends_with("077")) {
            refused += 1;
            lost += usize::from(texts.len() == 1);
            request.answer("413 Content Too Large");
        } else {
            arrived.extend(request.split().1);
            request.answer("204 No Content");
        }
    }
    assert_eq!((arrived.len(), lost), (199, 1));
    assert!(arrived.is_sorted(), "order is kept");
    assert!(refused < 20, "{refused}");
    let flushed = flush_later(&guard);
    let told = peer.next();
    assert_eq!(told.split().0[0].facts, [("reason".to_owned(), "too-large".to_owned())]);
    told.answer("204 No Content");
    assert!(flushed.join().unwrap());
    assert_eq!(guard.stats().ledger.lost(LossReason::TooLarge), 1);
}

#[test]
fn a_writer_that_may_wait_loses_nothing() {
    let peer = Peer::new();
    let guard = builder(&peer, 1).overflow(Overflow::Block).ring_lines(10).batch_lines(7).start().unwrap();
    let mut writer = guard.writer();
    let writing = thread::spawn(move || {
        for number in 0..500 {
            writeln!(writer, "{number}").unwrap();
        }
        let text: String = (500..2000).map(|number| format!("{number}\n")).collect();
        writer.write_all(text.as_bytes()).unwrap();
    });
    let mut arrived = Vec::new();
    while arrived.len() < 2000 {
        let request = peer.next();
        let waiting = guard.stats().ledger.held();
        assert!(waiting <= 7 + 10 + 1500, "{waiting}");
        arrived.extend(request.texts());
        request.answer("204 No Content");
    }
    writing.join().unwrap();
    assert_eq!(arrived, (0..2000).map(|number| number.to_string()).collect::<Vec<_>>());
    assert!(guard.shutdown(PATIENCE).is_clean());
}

#[test]
fn nothing_printed_holds_a_secret() {
    let secrets = ["t.secret", "hunter2", "dG9rZW46"];
    let builder = Builder::new("http://token:t.secret@127.0.0.1:1/logs").bearer_token("hunter2");
    let mut shown = format!("{builder:?}");
    let guard = builder.start().unwrap();
    shown.push_str(&format!("{guard:?} {:?}", guard.writer()));
    for url in ["ftp://u:t.secret@h/", "http://u:t.secret@h:99999/", "t.secret"] {
        let error = Builder::new(url).start().unwrap_err();
        shown.push_str(&format!("{error} {error:?} {}", crate::Chain(&error)));
    }
    for secret in secrets {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}
