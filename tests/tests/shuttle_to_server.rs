//! A real shuttle in front of a real server: what one of them does, the other rides out, and no line is missing
//! that neither tells of.

use std::collections::HashSet;

use logplex_tests::{
    Answer, Code, Drain, Received, Server, ServerOptions, Shuttle, Signal, Sink, Tail, Told, conservation,
    conservation_within, notices, numbers, told_sum, wait_for,
};
use serde_json::{Value, json};

const CHANNEL: &str = "app";

/// More than a crash may ever be over-told by here.
const ANY: u64 = 1 << 32;

const CODES: [Code; 3] = [Code::L10, Code::L12, Code::L13];

struct Walk {
    server: Server,
    sink: Sink,
    token: String,
    drain: Drain,
}

impl Walk {
    fn start(options: ServerOptions) -> Walk {
        let (server, sink) = (options.start(), Sink::start());
        let token = server.create_app(CHANNEL);
        let drain = server.add_drain(CHANNEL, &sink.url(""));
        Walk { server, sink, token, drain }
    }

    fn shuttle(&self, args: &[&str]) -> Shuttle {
        Shuttle::start(&self.server.logs_url(&self.token), args)
    }

    /// A tail that is shown what came before it too.
    fn tail(&self) -> Tail {
        Tail::open(&self.server.create_session(CHANNEL, json!({ "tail": true, "num": "1500" })))
    }

    /// What the server counts of the token.
    fn token_stats(&self) -> Value {
        self.server.stats(CHANNEL)["tokens"][0].clone()
    }

    fn history(&self) -> String {
        self.server.api("GET", "/v3/channels/app/logs?num=1500", None).expect(&[200]).text()
    }
}

/// Waits until the shuttle has said something.
#[track_caller]
fn wait_said(shuttle: &Shuttle, text: &str) {
    wait_for(text, || shuttle.stderr().iter().any(|line| line.contains(text)).then_some(()));
}

/// Waits until the shuttle, started with `--stats-interval`, has taken `lines` lines.
#[track_caller]
fn wait_accepted(shuttle: &Shuttle, lines: u64) {
    wait_said(shuttle, &format!(" accepted={lines} "));
}

/// The numbers of lines, each where it came first: a server that crashed knows no repeats from before.
fn first_numbers(received: &[Received]) -> Vec<u64> {
    let mut seen = HashSet::new();
    numbers(received).into_iter().filter(|number| seen.insert(*number)).collect()
}

#[test]
fn lines_reach_drains_and_tails_in_order() {
    for flags in [&[][..], &["--gzip"], &["--batch-size", "7"]] {
        let walk = Walk::start(Server::options());
        let (tail, mut shuttle) = (walk.tail(), walk.shuttle(flags));
        for first in (0..1000).step_by(100) {
            shuttle.write_lines(first, 100);
        }
        assert_eq!(shuttle.finish().code(), Some(0));
        assert_eq!(shuttle.stderr(), [""; 0]);
        let received = walk.sink.wait_line(999);
        conservation(0..1000, &numbers(&received), 0);
        assert_eq!(received.len(), 1000, "{flags:?}");
        // The shuttle's own APP-NAME stands for the token's name.
        let head = |line: &Received| (line.pri, line.app.clone(), line.procid.clone());
        assert_eq!(head(&received[0]), (190, "app".to_owned(), "shuttle".to_owned()));
        tail.wait_number(999);
        assert_eq!(tail.numbers(), (0..1000).collect::<Vec<_>>());
        assert!(tail.lines()[0].ends_with(" app[shuttle]: line 0"), "{:?}", tail.lines()[0]);
        assert_eq!(walk.token_stats()["accepted"], 1000);
    }
}

// === the server goes and returns ===

#[test]
fn a_graceful_restart_costs_nothing_and_repeats_nothing() {
    let mut walk = Walk::start(Server::options());
    let mut shuttle = walk.shuttle(&["--wait", "0s", "--stats-interval", "20ms"]);
    let mut sent = 0;
    for _ in 0..3 {
        walk.server.signal(Signal::SIGTERM);
        // A request a line, so that some are under way at the stop; a few more when nobody listens.
        for _ in 0..100 {
            shuttle.write_lines(sent, 1);
            sent += 1;
        }
        assert_eq!(walk.server.wait().code(), Some(0));
        shuttle.write_lines(sent, 20);
        sent += 20;
        wait_accepted(&shuttle, sent);
        walk.server.restart_same_port();
        shuttle.write_lines(sent, 20);
        sent += 20;
        walk.sink.wait_line(sent - 1);
    }
    assert_eq!(shuttle.finish().code(), Some(0));
    let received = walk.sink.received();
    conservation(0..sent, &numbers(&received), 0);
    assert_eq!(notices(&received), []);
}

#[test]
fn what_a_crashed_server_held_is_told_and_what_came_meanwhile_arrives() {
    let mut walk = Walk::start(Server::options());
    let mut shuttle = walk.shuttle(&["--stats-interval", "20ms"]);
    shuttle.write_lines(0, 100);
    walk.sink.wait_line(99);
    walk.sink.answer(Answer::Hold);
    shuttle.write_lines(100, 400);
    let accepted = || walk.token_stats()["accepted"].as_u64();
    wait_for("500 lines at the server", || (accepted() == Some(500)).then_some(()));
    // The shuttle knows that these have arrived.
    wait_said(&shuttle, " delivered=500 ");
    walk.server.kill9();
    shuttle.write_lines(500, 300);
    wait_accepted(&shuttle, 800);
    walk.sink.answer(Answer::status(204));
    walk.server.restart_same_port();
    assert_eq!(shuttle.finish().code(), Some(0));

    let received = walk.sink.wait_line(799);
    assert_eq!(numbers(&received), (0..100).chain(500..800).collect::<Vec<_>>());
    let told = notices(&received);
    assert_eq!((told.len(), told[0].code, told[0].fact("reason")), (1, Code::L10, Some("crash")));
    assert_eq!(told[0].fact("at_most"), Some(told[0].count.to_string().as_str()));
    conservation_within(0..800, &numbers(&received), told_sum(&told, &CODES), ANY);
}

#[test]
fn kills_under_a_running_shuttle_are_never_under_told() {
    let mut walk = Walk::start(Server::options());
    let mut shuttle = walk.shuttle(&[]);
    let mut sent = 0;
    for round in 0..4 {
        // However far the lines have come at the kill.
        for _ in 0..5 {
            shuttle.write_lines(sent, 61);
            sent += 61;
        }
        if round % 2 == 0 {
            walk.sink.wait_line(sent - 61);
        }
        walk.server.kill9();
        shuttle.write_lines(sent, 50);
        sent += 50;
        walk.server.restart_same_port();
    }
    assert_eq!(shuttle.finish().code(), Some(0));
    let received = walk.sink.wait_line(sent - 1);
    conservation_within(0..sent, &first_numbers(&received), told_sum(&notices(&received), &CODES), ANY);
}

#[test]
fn a_long_outage_overflows_the_shuttle_which_tells_exactly_how_many() {
    const RING: u64 = 100;
    const GONE: u64 = 900;
    let mut walk = Walk::start(Server::options());
    let mut shuttle = walk.shuttle(&["--ring", "100", "--stats-interval", "20ms"]);
    shuttle.write_lines(0, 50);
    walk.sink.wait_line(49);
    walk.server.term();
    // Line 50 is under way when the others begin to queue.
    shuttle.write_lines(50, 1);
    wait_said(&shuttle, "will post again");
    let last = 50 + GONE + RING;
    shuttle.write_lines(51, GONE + RING);
    wait_accepted(&shuttle, last + 1);
    walk.server.restart_same_port();
    let tail = walk.tail();
    let received = walk.sink.wait_line(last);

    assert_eq!(numbers(&received), (0..51).chain(51 + GONE..last + 1).collect::<Vec<_>>());
    let told = notices(&received);
    let [notice] = told.as_slice() else { panic!("one notice, not {told:?}") };
    assert_eq!((notice.code, notice.count, notice.facts.as_slice()), (Code::L12, GONE, &[][..]));
    conservation(0..last + 1, &numbers(&received), GONE);
    let place = received.iter().position(|line| Told::parse_strictly(&line.text).is_some()).unwrap();
    let line = &received[place];
    assert_eq!((line.pri, line.app.as_str(), line.procid.as_str()), (172, "app", "log-shuttle"));
    assert_eq!(received[place + 1].number(), Some(51 + GONE), "it stands where the gap is");

    let sentence = format!("Error L12: {GONE} messages dropped since {}.", notice.since);
    tail.wait_line("the notice at the tail", |line| {
        line.ends_with(&format!(" app[log-shuttle]: {sentence}"))
    });
    assert_eq!(walk.history().matches(&sentence).count(), 1);
    let stats = walk.token_stats();
    assert_eq!((&stats["upstream_dropped"], &stats["upstream_lost"]), (&json!(GONE), &json!(0)));
    let label = [("channel", CHANNEL)];
    assert_eq!(walk.server.metrics().sum("logplex_upstream_dropped_messages_total", &label), GONE as f64);
    // The server itself lost nothing.
    assert_eq!(walk.server.rested(CHANNEL, &walk.drain).gone(), 0);
    assert_eq!(shuttle.finish().code(), Some(0));
}

// === the server refuses ===

#[test]
fn a_refusal_is_told_on_stderr_and_in_the_exit_code() {
    let walk = Walk::start(Server::options());
    let unknown = walk.server.logs_url("t.00000000-0000-0000-0000-000000000000");
    let nameless = walk.server.url("/logs");
    let elsewhere = walk.server.logs_url(&walk.token).replace("/logs", "/nowhere");
    for (url, status) in [(unknown, 401), (nameless, 401), (elsewhere, 404)] {
        let mut shuttle = Shuttle::start(&url, &["--fail-on-loss"]);
        shuttle.write_lines(0, 3);
        assert_eq!(shuttle.finish().code(), Some(3), "{url}");
        let said = shuttle.stderr();
        let lost = said.iter().find(|line| line.contains("lines lost")).expect("a warning");
        assert!(lost.contains(&status.to_string()) && lost.contains("refused"), "{lost}");
        assert!(said.iter().all(|line| !line.contains("t.0000") && !line.contains(&walk.token)), "{said:?}");
        let counts = "log-shuttle: flushed=0 dropped=0 lost=3 unsent=0 untold=3";
        assert_eq!(said.last().map(String::as_str), Some(counts));
    }
    assert_eq!(walk.token_stats()["accepted"], 0);
}

#[test]
fn what_was_given_up_is_told_once_the_server_takes_lines_again() {
    let mut walk = Walk::start(Server::options());
    let mut shuttle = walk.shuttle(&["--max-attempts", "1", "--fail-on-loss"]);
    shuttle.write_lines(0, 1);
    walk.sink.wait_line(0);
    walk.server.term();
    shuttle.write_lines(1, 5);
    wait_said(&shuttle, "lines lost");
    walk.server.restart_same_port();
    shuttle.write_lines(6, 1);
    assert_eq!(shuttle.finish().code(), Some(3));
    let told = walk.sink.wait_received("the notice", |received| {
        let all = numbers(received) == [0, 6];
        Some(notices(received)).filter(|told| all && !told.is_empty())
    });
    let [notice] = told.as_slice() else { panic!("one notice, not {told:?}") };
    assert_eq!((notice.code, notice.count), (Code::L13, 5));
    // The server may have closed the kept connection just before or just after the shuttle wrote to it.
    assert!(matches!(notice.fact("reason"), Some("unreachable" | "unanswered")), "{notice:?}");
    assert_eq!(walk.token_stats()["upstream_lost"], 5);
    assert!(walk.history().contains("Error L13: 5 messages lost since "), "{}", walk.history());
}

#[test]
fn a_channel_over_its_rate_is_waited_for() {
    let walk = Walk::start(Server::options().args(&["--channel-rate", "500"]));
    let mut shuttle = walk.shuttle(&[]);
    let mut sent = 0;
    // The burst first, then faster than the rate until an answer says so.
    let over_rate = || walk.token_stats()["rejected_requests"].as_u64() > Some(0);
    wait_for("a refusal for the rate", || {
        shuttle.write_lines(sent, 100);
        sent += 100;
        over_rate().then_some(())
    });
    wait_said(&shuttle, "the server answered 429");
    assert_eq!(shuttle.finish().code(), Some(0));
    let received = walk.sink.wait_line(sent - 1);
    conservation(0..sent, &numbers(&received), 0);
    assert_eq!((received.len() as u64, walk.token_stats()["accepted"].as_u64()), (sent, Some(sent)));
}
