//! With one request unanswered in flight, a full ring and k lines more lose exactly the oldest k, and L12 says so.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use logplex_tests::{Code, Shuttle, Sink, Told, conservation, notices, numbers, wait_for};

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is right").as_secs()
}

fn start(sink: &Sink, ring: u64, more: &[&str]) -> Shuttle {
    let ring = format!("--ring={ring}");
    let args = [&[&ring, "--stats-interval=10ms", "--appname=web"], more].concat();
    Shuttle::start(&sink.logs_url("t.1"), &args)
}

/// A shuttle whose line 0 is held by the sink's gate, alone in its request.
fn start_held(sink: &Sink, ring: u64, more: &[&str]) -> Shuttle {
    let mut shuttle = start(sink, ring, more);
    shuttle.write_lines(0, 1);
    sink.wait_held(1);
    shuttle
}

/// Writes lines in writes of `size`.
fn write(shuttle: &mut Shuttle, first: u64, n: u64, size: u64) {
    for at in (first..first + n).step_by(size as usize) {
        shuttle.write_lines(at, size.min(first + n - at));
    }
}

#[track_caller]
fn check(ring: u64, k: u64, size: u64) {
    let sink = Sink::strict();
    let gate = sink.gate();
    let mut shuttle = start_held(&sink, ring, &[]);
    write(&mut shuttle, 1, ring, size);
    assert_eq!(shuttle.wait_accepted(1 + ring).held, 1 + ring);
    let before = unix_seconds();
    let last = ring + k;
    write(&mut shuttle, 1 + ring, k, size);
    let ledger = shuttle.wait_accepted(1 + last);
    let first_drop = before..=unix_seconds();
    assert_eq!((ledger.dropped("full"), ledger.held), (k, 1 + ring));
    gate.open();
    assert!(shuttle.finish().success());

    let received = sink.received();
    let expected: Vec<u64> = [0].into_iter().chain(k + 1..=last).collect();
    assert_eq!(numbers(&received), expected);
    let told = notices(&received);
    let [notice] = told.as_slice() else { panic!("one notice, not {told:?}") };
    assert_eq!((notice.code, notice.count, notice.facts.as_slice()), (Code::L12, k, &[][..]));
    assert!(first_drop.contains(&notice.since_seconds()), "{notice:?} {first_drop:?}");

    // Directly ahead of the first survivor: the same request, the next message.
    let requests = sink.requests();
    let second = &requests[1];
    assert_eq!(Told::parse_strictly(&second.messages()[0].text).as_ref(), Some(notice));
    assert_eq!(second.messages()[1].number(), Some(k + 1));
    let frame = &second.messages()[0];
    assert_eq!((frame.pri, frame.host.as_str()), (172, "heroku"));
    assert_eq!((frame.app.as_str(), frame.procid.as_str()), ("web", "log-shuttle"));
    let dropped = |name: &str| -> Vec<u64> {
        requests.iter().map(|request| request.headers.number(name).unwrap_or(0)).collect()
    };
    assert_eq!(dropped("logplex-drop-count")[..2], [0, k]);
    assert!(dropped("logplex-drop-count")[2..].iter().chain(&dropped("logplex-lost-count")).all(|n| *n == 0));

    let report = format!("log-shuttle: flushed={} dropped={k} lost=0 unsent=0 untold=0", 1 + ring);
    assert_eq!(shuttle.stderr().last(), Some(&report));
}

#[track_caller]
fn check_all(size: u64) {
    for k in [1, 7, 500, 3000] {
        check(1024, k, size);
    }
}

#[test]
fn exactly_the_oldest_are_dropped_of_single_lines() {
    check_all(1);
}

#[test]
fn exactly_the_oldest_are_dropped_of_writes_of_100_lines() {
    check_all(100);
}

#[test]
fn exactly_the_oldest_are_dropped_of_large_writes() {
    check_all(5000);
}

#[test]
fn small_rings_are_as_exact() {
    for (ring, k, size) in [(1, 1, 1), (1, 700, 100), (2, 1, 2), (10, 700, 3), (511, 1, 512), (513, 7, 600)] {
        check(ring, k, size);
    }
}

#[test]
fn a_full_ring_loses_nothing() {
    let sink = Sink::strict();
    let gate = sink.gate();
    let mut shuttle = start_held(&sink, 1024, &[]);
    write(&mut shuttle, 1, 1024, 100);
    assert_eq!(shuttle.wait_accepted(1025).held, 1025);
    gate.open();
    assert!(shuttle.finish().success());
    assert_eq!(notices(&sink.received()), []);
    conservation(0..1025, &numbers(&sink.received()), 0);
}

#[test]
fn each_overflow_is_told_by_itself_and_exactly() {
    let sink = Sink::strict();
    let mut shuttle = start(&sink, 100, &[]);
    let mut sent = 0;
    for k in [7, 300, 1] {
        let gate = sink.gate();
        shuttle.write_lines(sent, 1);
        sink.wait_held(1);
        shuttle.write_lines(sent + 1, 100 + k);
        sent += 101 + k;
        shuttle.wait_accepted(sent);
        gate.open();
        // At most once a second, so that the later ones come behind their survivors.
        sink.wait_received("the notice", |received| {
            notices(received).iter().find(|told| told.count == k).cloned()
        });
        sink.wait_line(sent - 1);
    }
    assert!(shuttle.finish().success());
    let told = notices(&sink.received());
    assert_eq!(told.iter().map(|notice| notice.count).collect::<Vec<_>>(), [7, 300, 1]);
    assert!(told.is_sorted_by_key(|notice| &notice.since), "{told:?}");
    conservation(0..sent, &numbers(&sink.received()), 308);
}

#[test]
fn a_byte_bound_ring_says_that_bytes_were_the_reason() {
    let sink = Sink::strict();
    let gate = sink.gate();
    let mut shuttle = start_held(&sink, 25_000, &["--max-line-length=64000"]);
    let padding = "x".repeat(60_000);
    // 400 lines of 60 KB are more than 16 MiB.
    for line in 1..401 {
        shuttle.write(format!("line {line} {padding}\n").as_bytes()).expect("the shuttle reads its stdin");
    }
    let dropped = shuttle.wait_accepted(401).dropped("bytes");
    gate.open();
    assert!(shuttle.finish().success());
    let received = sink.received();
    let told = notices(&received);
    assert_eq!((told.len(), told[0].count, told[0].fact("reason")), (1, dropped, Some("bytes")));
    assert!((100..200).contains(&dropped), "{dropped} of 24 MB in a ring of 16 MiB");
    conservation(0..401, &numbers(&received), dropped);
}

#[test]
fn with_drop_false_the_writer_waits_and_nothing_is_dropped() {
    const LINES: u64 = 40_000;
    let sink = Sink::strict();
    let gate = sink.gate();
    let mut shuttle = start_held(&sink, 1024, &["-drop=false"]);
    let written = AtomicU64::new(1);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            while written.load(Relaxed) <= LINES {
                let first = written.fetch_add(100, Relaxed);
                shuttle.write_lines(first, 100);
            }
            shuttle
        });
        wait_for("more than the ring holds", || (written.load(Relaxed) > 3000).then_some(()));
        assert!(!writer.is_finished(), "more than pipe, ring and one read hold was written");
        gate.open();
        assert!(writer.join().expect("it writes").finish().success());
    });
    assert_eq!(notices(&sink.received()), []);
    conservation(0..LINES + 1, &numbers(&sink.received()), 0);
}
