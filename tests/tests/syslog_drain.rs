//! Syslog drains: the form on the wire, order, exact losses, and what a broken connection costs.

use std::collections::BTreeSet;

use logplex_tests::{
    Code, Received, Server, SyslogSink, conservation, frame, notices, numbered_frames, numbers,
    padded_frames, wait_for,
};

/// The messages that a drain's ring holds.
const RING: u64 = 1024;

/// That the lines of a range were received, each once and in order; says where not.
#[track_caller]
fn assert_all(received: &[Received], lines: std::ops::Range<u64>) {
    let got = numbers(received);
    let wrong = got.iter().copied().zip(lines.clone()).position(|(got, expected)| got != expected);
    let around = wrong.map(|at| (at, &got[at.saturating_sub(2)..got.len().min(at + 3)]));
    assert_eq!((got.len() as u64, around), (lines.end - lines.start, None));
}

struct Walk {
    server: Server,
    token: String,
    drain: logplex_tests::Drain,
}

impl Walk {
    fn start(url: &str) -> Walk {
        let server = Server::start();
        let token = server.create_app("app");
        let drain = server.add_drain("app", url);
        Walk { server, token, drain }
    }

    #[track_caller]
    fn post(&self, body: &[u8]) {
        assert_eq!(self.server.post_logs(&self.token, &[], body).0, 204);
    }
}

#[test]
fn lines_arrive_in_the_form_of_the_original() {
    let sink = SyslogSink::start();
    let walk = Walk::start(&sink.url());
    let body = [frame("app", "line 0"), frame("app", "two\nlines\n"), frame("app", "line 1\n")].concat();
    walk.post(&body);
    let received = sink.wait_line(1);
    let token = &walk.drain.token;
    let head = format!("<190>1 2026-01-02T03:04:05.678901+00:00 {token} app web.1 - - ");
    let raw: Vec<String> =
        received.iter().map(|message| String::from_utf8_lossy(&message.raw).into_owned()).collect();
    assert_eq!(raw, [format!("{head}line 0\n"), format!("{head}two\nlines\n"), format!("{head}line 1\n")]);
    let ledger = walk.server.rested("app", &walk.drain);
    assert_eq!((ledger.accepted, ledger.delivered, ledger.gone()), (3, 3, 0));
}

#[test]
fn the_strict_form_keeps_host_msgid_and_structured_data() {
    let sink = SyslogSink::strict();
    let walk = Walk::start(&format!("{}#format=rfc5424", sink.url()));
    let strict = "<13>1 2026-01-02T03:04:05Z web-7 app p.1 ID47 [a@1 b=\"c]\"] line 1";
    walk.post(&logplex_tests::encode(strict.as_bytes()));
    assert_eq!(sink.wait_line(1)[0].raw, strict.as_bytes());
}

/// With more bytes than this unacknowledged a drain writes nothing else.
const WINDOW: u64 = 512 * 1024;

#[track_caller]
fn check_exact(server: &Server, k: u64) {
    let (channel, sink) = (format!("exact-{k}"), SyslogSink::narrow());
    let token = server.create_app(&channel);
    let drain = server.add_drain(&channel, &sink.url());
    sink.hold();
    // More than may be in flight: from then on nothing newer is taken out of the ring.
    const LARGE: u64 = 40;
    for number in 0..LARGE {
        let body = padded_frames(number..number + 1, 60_000);
        assert_eq!(server.post_logs(&token, &[], &body).0, 204);
    }
    sink.wait_in_flight(WINDOW);
    let last = LARGE + RING + k;
    server.post_batches(&token, LARGE..last, 100);
    sink.read_on();
    let received = sink.wait_line(last - 1);

    let arrived = numbers(&received);
    let taken = arrived.iter().filter(|number| **number < LARGE).count() as u64;
    assert!((1..LARGE / 2).contains(&taken), "{taken} messages of 60 kB in flight");
    let dropped = LARGE - taken + k;
    assert_eq!(arrived, [(0..taken).collect(), (taken + dropped..last).collect::<Vec<u64>>()].concat());
    let told = notices(&received);
    let [notice] = told.as_slice() else { panic!("one notice, not {told:?}") };
    assert_eq!((notice.code, notice.count, notice.facts.as_slice()), (Code::L10, dropped, &[][..]));
    // Directly ahead of the first survivor.
    let carrier = &received[taken as usize];
    assert_eq!((carrier.pri, carrier.app.as_str(), carrier.procid.as_str()), (172, "heroku", "logplex"));
    assert_eq!(carrier.host.as_str(), drain.token);
    conservation(0..last, &arrived, dropped);
    let ledger = server.rested(&channel, &drain);
    assert_eq!((ledger.accepted, ledger.dropped("full"), ledger.gone()), (last, dropped, dropped));
    assert_eq!((sink.connections(), sink.cut_short()), (1, 0));
}

#[test]
fn exactly_the_oldest_are_dropped() {
    let server = Server::start();
    for k in [1, 7, 500, 3000] {
        check_exact(&server, k);
    }
}

#[test]
fn a_peer_that_closes_in_mid_stream_costs_nothing() {
    let sink = SyslogSink::start();
    let walk = Walk::start(&sink.url());
    let mut connection = walk.server.connect();
    for first in (0..6000).step_by(600) {
        for first in (first..first + 600).step_by(60) {
            if first % 600 == 300 {
                sink.close();
            }
            walk.server.post_lines_on(&mut connection, &walk.token, first, 60);
        }
        // Never more than a ring is on its way. A connection that the drain has left is read on beside the next one.
        sink.wait_count(first as usize + 600);
    }
    let received = sink.received();
    assert_all(&received, 0..6000);
    assert_eq!(notices(&received), []);
    assert!(sink.connections() > 5, "{}", sink.connections());
    let ledger = walk.server.rested("app", &walk.drain);
    assert_eq!((ledger.delivered, ledger.gone()), (6000, 0));
}

#[test]
fn a_peer_that_restarts_gets_what_was_held() {
    let sink = SyslogSink::start();
    let walk = Walk::start(&sink.url());
    walk.server.post_lines(&walk.token, 0, 100);
    sink.wait_line(99);
    sink.stop();
    walk.server.post_lines(&walk.token, 100, 100);
    sink.start_again();
    assert_all(&sink.wait_line(199), 0..200);
    assert_eq!(walk.server.rested("app", &walk.drain).delivered, 200);
}

#[test]
fn what_a_reset_left_unread_is_told() {
    let sink = SyslogSink::narrow();
    let walk = Walk::start(&sink.url());
    walk.server.post_lines(&walk.token, 0, 10);
    assert_all(&sink.wait_line(9), 0..10);
    assert_eq!(walk.server.rested("app", &walk.drain).delivered, 10);
    // The peer's kernel takes the first ten, and its process does not read them. What it has not taken is kept.
    sink.hold();
    walk.post(&[numbered_frames(10..20), padded_frames(20..21, 60_000)].concat());
    sink.wait_unread();
    sink.reset();
    sink.read_on();
    let received = sink.wait_line(20);
    let missing: Vec<u64> = (0..21).filter(|line| !numbers(&received).contains(line)).collect();
    assert_eq!(missing, Vec::from_iter(10..20));
    let ledger = walk.server.rested("app", &walk.drain);
    assert_eq!((ledger.delivered, ledger.lost("unanswered"), ledger.gone()), (11, 10, 10));
    let told = wait_for("the notice", || Some(notices(&sink.received())).filter(|told| !told.is_empty()));
    assert_eq!((told.len(), told[0].count, told[0].fact("reason")), (1, 10, Some("unanswered")));
}

#[test]
fn resets_in_mid_stream_are_told_in_full() {
    let sink = SyslogSink::start();
    let walk = Walk::start(&sink.url());
    let mut connection = walk.server.connect();
    for first in (0..3000).step_by(300) {
        for first in (first..first + 300).step_by(30) {
            if first % 300 == 150 {
                sink.reset();
            }
            walk.server.post_lines_on(&mut connection, &walk.token, first, 30);
        }
        // Never more than a ring is on its way. The last line of all may be lost.
        walk.server.rested("app", &walk.drain);
    }
    let ledger = walk.server.rested("app", &walk.drain);
    // A notice that is itself in doubt is told again, so the sum may be more.
    let told = || notices(&sink.received()).iter().map(|notice| notice.count).sum::<u64>();
    wait_for("all that is lost to be told", || (told() >= ledger.gone()).then_some(()));
    let arrived: BTreeSet<u64> = numbers(&sink.received()).into_iter().collect();
    let missing = 3000 - arrived.len() as u64;
    assert!(missing <= ledger.lost("unanswered"), "{missing} are missing: {ledger:?}");
    assert_eq!((ledger.accepted, ledger.delivered + ledger.gone()), (3000, 3000));
    assert!(sink.connections() > 5, "{}", sink.connections());
}

#[test]
fn a_stop_sends_what_is_held() {
    let sink = SyslogSink::start();
    let mut walk = Walk::start(&sink.url());
    sink.hold();
    walk.server.post_lines(&walk.token, 0, RING);
    sink.read_on();
    assert!(walk.server.term().success());
    assert_all(&sink.wait_line(RING - 1), 0..RING);
}

#[test]
fn another_destination_gets_what_is_held() {
    let (stuck, sink) = (SyslogSink::narrow(), SyslogSink::start());
    let walk = Walk::start(&stuck.url());
    stuck.hold();
    walk.post(&padded_frames(0..1, 60_000));
    stuck.wait_unread();
    walk.server.post_lines(&walk.token, 1, 99);
    let path = format!("/v3/channels/app/drains/{}", walk.drain.id);
    let url = sink.url();
    walk.server.api("PUT", &path, Some(&serde_json::json!({ "url": url }))).expect(&[200]);
    assert_all(&sink.wait_line(99), 0..100);
    assert_eq!(walk.server.rested("app", &walk.drain).delivered, 100);
}
