//! Tail sessions: exact about what they missed, blind to noise, and impossible to forge lines in.

use std::time::{Duration, Instant};

use logplex_tests::{
    Code, Server, Sink, Tail, TailLine, Told, basic, conservation, encode, frame, padded_frames, wait_for,
};
use serde_json::{Value, json};

/// Enough of 1 KB each that a paused tail falls behind, whatever the kernel takes.
const MANY: u64 = 12_000;

/// A session of what comes from now on.
fn live(server: &Server) -> String {
    server.create_session("app", json!({ "tail": true, "num": "0" }))
}

fn live_with(server: &Server, mut filter: Value) -> String {
    filter["tail"] = true.into();
    filter["num"] = "0".into();
    server.create_session("app", filter)
}

#[test]
fn a_close_is_answered() {
    let server = Server::start();
    server.create_app("app");
    let tail = Tail::open(&live(&server));
    assert_eq!(tail.close(), "bye (1000)");
}

struct Poster<'a> {
    server: &'a Server,
    connection: logplex_tests::Connection,
    authorization: String,
}

impl<'a> Poster<'a> {
    fn new(server: &'a Server, token: &str) -> Poster<'a> {
        Poster { server, connection: server.connect(), authorization: basic("token", token) }
    }

    #[track_caller]
    fn post(&mut self, body: &[u8]) {
        let headers =
            [("Authorization", self.authorization.as_str()), ("Content-Type", "application/logplex-1")];
        self.connection.request("POST", "/logs", &headers, body).expect("an answer").expect(&[204]);
    }

    /// Lines of 1 KB, 100 a request.
    #[track_caller]
    fn post_many(&mut self, lines: std::ops::Range<u64>) {
        for first in lines.clone().step_by(100) {
            self.post(&padded_frames(first..lines.end.min(first + 100), 1000));
        }
    }

    #[track_caller]
    fn line(&mut self, app: &str, procid: &str, text: &str) {
        let message = format!("<190>1 2026-01-02T03:04:05+00:00 h {app} {procid} - - {text}");
        self.post(&encode(message.as_bytes()));
    }

    fn dropped(&self) -> u64 {
        self.server.tails_ledger("app").dropped("full")
    }
}

// === falling behind ===

#[test]
fn a_paused_tail_is_told_exactly_what_it_missed() {
    let server = Server::start();
    let token = server.create_app("app");
    let tail = Tail::narrow(&live(&server));
    tail.pause();
    let mut poster = Poster::new(&server, &token);
    poster.post_many(0..MANY);
    assert!(poster.dropped() > 0, "the kernel took it all");
    tail.resume();
    tail.wait_number(MANY - 1);
    poster.post(&frame("app", &format!("line {MANY}")));
    tail.wait_number(MANY);

    let told = tail.told();
    let [notice] = told.as_slice() else { panic!("one notice, not {told:?}") };
    conservation(0..MANY + 1, &tail.numbers(), notice.count);
    let ledger = server.tails_ledger("app");
    assert_eq!((ledger.accepted, ledger.gone()), (MANY + 1, notice.count));
    assert_eq!(ledger.delivered, tail.numbers().len() as u64);

    // Directly ahead of the first survivor, to the letter, and contiguous behind it.
    let lines = tail.lines();
    let at = lines.iter().position(|line| line.contains("L11")).expect("the notice");
    let line = TailLine::parse(&lines[at]).expect("a tail line");
    assert_eq!((line.source.as_str(), line.procid.as_str(), line.time.len()), ("heroku", "logplex", 25));
    let text = "L11 (Tail buffer overflow) -> This tail session dropped";
    assert_eq!(line.text, format!("{text} {} messages since {}", notice.count, notice.since));
    let number =
        |at: usize| TailLine::parse(&lines[at]).and_then(|line| line.number()).expect("a numbered line");
    assert_eq!(number(at - 1) + notice.count + 1, number(at + 1));
    let behind: Vec<u64> = (at + 1..lines.len()).map(number).collect();
    assert_eq!(behind, (number(at + 1)..MANY + 1).collect::<Vec<_>>());
    assert!(behind.len() >= 1024, "the ring held 1,024: {}", behind.len());
}

#[test]
fn a_tail_that_falls_behind_again_and_again_is_told_each_time() {
    let server = Server::start();
    let token = server.create_app("app");
    let tail = Tail::narrow(&live(&server));
    let mut poster = Poster::new(&server, &token);
    for round in 0..3 {
        tail.pause();
        let before = poster.dropped();
        poster.post_many(round * MANY..(round + 1) * MANY);
        assert!(poster.dropped() > before, "the kernel took it all");
        tail.resume();
        tail.wait_number((round + 1) * MANY - 1);
    }
    // The last gap may be told up to a second after the one before it.
    wait_for("the last notice", || {
        let told: u64 = tail.told().iter().map(|told| told.count).sum();
        (told == poster.dropped()).then_some(())
    });
    conservation(0..3 * MANY, &tail.numbers(), poster.dropped());
}

#[test]
fn a_tail_that_the_server_ends_is_told_all_that_it_missed() {
    let mut server = Server::start();
    let token = server.create_app("app");
    let tail = Tail::open(&live(&server));
    // Each is more at once than the ring takes, and the stop comes ahead of when the second gap would be told.
    server.post_lines(&token, 0, 5000);
    wait_for("the first notice", || tail.told().first().map(|_| ()));
    server.post_lines(&token, 5000, 5000);
    assert_eq!(server.term().code(), Some(0));
    let ended = tail.wait_ended();
    assert!(ended.contains("1012"), "{ended}");
    let told: u64 = tail.told().iter().map(|told| told.count).sum();
    conservation(0..10_000, &tail.numbers(), told);
}

#[test]
fn no_filter_hides_a_tails_own_notice() {
    let server = Server::start();
    let token = server.create_app("app");
    let tail = Tail::narrow(&live_with(&server, json!({ "source": "app", "ps": "web.1" })));
    tail.pause();
    let mut poster = Poster::new(&server, &token);
    poster.post_many(0..MANY);
    assert!(poster.dropped() > 0, "the kernel took it all");
    tail.resume();
    tail.wait_number(MANY - 1);
    let told: u64 = tail.told().iter().map(|told| told.count).sum();
    conservation(0..MANY, &tail.numbers(), told);
}

#[test]
fn noise_that_is_filtered_out_costs_no_signal() {
    let server = Server::start();
    let token = server.create_app("app");
    let tail = Tail::narrow(&live_with(&server, json!({ "source": "signal" })));
    tail.pause();
    let mut poster = Poster::new(&server, &token);
    for number in 0..100 {
        let noise = frame("noise", &"n".repeat(1000)).repeat(60);
        let signal = frame("signal", &format!("line {number}"));
        poster.post(&[noise.as_slice(), &signal, &noise].concat());
    }
    tail.resume();
    tail.wait_number(99);
    conservation(0..100, &tail.numbers(), 0);
    assert_eq!(tail.lines().len(), 100);
    let ledger = server.tails_ledger("app");
    assert_eq!((ledger.accepted, ledger.gone()), (100, 0));
}

#[test]
fn a_tail_that_goes_away_leaves_a_ledger_that_balances() {
    let server = Server::start();
    let token = server.create_app("app");
    let tail = Tail::narrow(&live(&server));
    tail.pause();
    Poster::new(&server, &token).post_many(0..MANY);
    drop(tail);
    wait_for("no open tail", || (server.stats("app")["tails"]["open"] == 0).then_some(()));
    let ledger = server.tails_ledger("app");
    assert_eq!((ledger.accepted, ledger.held), (MANY, 0));
    assert!(ledger.lost("closed") > 0 && ledger.dropped("full") > 0, "{ledger:?}");
}

// === a drain's notice on its channel ===

#[test]
fn a_drains_losses_show_on_its_channel_at_most_every_ten_seconds() {
    let (server, stalled, healthy) = (Server::start(), Sink::start(), Sink::start());
    let token = server.create_app("app");
    let drain = server.add_drain("app", &stalled.url(""));
    server.add_drain("app", &healthy.url(""));
    let tail = Tail::open(&live(&server));
    let gate = stalled.gate();
    server.post_lines(&token, 0, 1);
    stalled.wait_held(1);
    server.post_batches(&token, 1..1035, 100);
    let copies = || -> Vec<Told> {
        let own = |line: &String| {
            let text = TailLine::parse(line)?.text;
            Told::parse_strictly(&text).filter(|told| told.code == Code::L10)
        };
        tail.lines().iter().filter_map(own).collect()
    };
    let first = wait_for("the first copy", || copies().first().cloned());
    let seen = Instant::now();
    assert_eq!((first.count, first.fact("drain")), (10, Some(drain.token.as_str())));
    let line = tail.wait_line("the copy", |line| line.contains("Error L10"));
    assert!(
        line.contains(" heroku[logplex]: Error L10 (output buffer overflow): 10 messages dropped since "),
        "{line}"
    );

    for first in (1035..1100).step_by(5) {
        server.post_lines(&token, first, 5);
    }
    let second = wait_for("the second copy", || copies().get(1).cloned());
    // A little less: the first may have been longer under way to us.
    assert!(seen.elapsed() > Duration::from_secs(9), "{:?}", seen.elapsed());
    assert_eq!(second.count, 65);
    gate.open();
    stalled.wait_line(1099);
    // Neither drain got a copy, and the healthy one nothing about losses at all.
    for sink in [&stalled, &healthy] {
        assert!(sink.received().iter().all(|message| !message.text.contains("drain=")));
    }
    healthy.wait_line(1099);
    assert_eq!(logplex_tests::notices(&healthy.received()), []);
    let ledger = server.tails_ledger("app");
    assert_eq!((ledger.accepted, ledger.generated), (1100, 2));
}

// === history, ends, pings ===

#[test]
fn history_goes_first_without_gap_or_repeat() {
    let server = Server::start();
    let token = server.create_app("app");
    server.post_batches(&token, 0..50, 7);
    for (num, first) in
        [(json!("10"), 40), (json!(10), 40), (json!(null), 0), (json!(0), 50), (json!(5000), 0)]
    {
        let tail = Tail::open(&server.create_session("app", json!({ "num": num })));
        let ended = tail.wait_ended();
        assert!(ended.contains("1000") || ended.to_lowercase().contains("normal"), "{ended}");
        assert_eq!(tail.numbers(), (first..50).collect::<Vec<_>>(), "{num}");
    }
    std::thread::scope(|scope| {
        scope.spawn(|| server.post_batches(&token, 50..600, 5));
        // Whatever is posted while it is opened is either in its history or comes after.
        for _ in 0..5 {
            let tail = Tail::open(&server.create_session("app", json!({ "num": "1500", "tail": "1" })));
            tail.wait_number(599);
            assert_eq!(tail.numbers(), (0..600).collect::<Vec<_>>());
        }
    });
}

#[test]
fn history_is_filtered_before_it_is_counted() {
    let server = Server::start();
    let token = server.create_app("app");
    let mut poster = Poster::new(&server, &token);
    for (number, (app, procid)) in (0..).zip([
        ("app", "web.1"),
        ("app", "web.2"),
        ("heroku", "router"),
        ("app", "webx"),
        ("app", "worker.1"),
    ]) {
        poster.line(app, procid, &format!("line {number}"));
    }
    for (filter, expected) in [
        (json!({ "source": "app" }), vec![0, 1, 3, 4]),
        (json!({ "source": "app", "num": "2" }), vec![3, 4]),
        (json!({ "ps": "web" }), vec![0, 1]),
        (json!({ "ps": "web.1" }), vec![0]),
        (json!({ "ps": "web.1", "source": "heroku" }), vec![]),
        (json!({ "source": "ap" }), vec![]),
    ] {
        let tail = Tail::open(&server.create_session("app", filter.clone()));
        tail.wait_ended();
        assert_eq!(tail.numbers(), expected, "{filter}");
    }
}

#[test]
fn live_is_what_says_so() {
    let server = Server::start();
    for tail in [json!(true), json!("true"), json!("1"), json!(1)] {
        server.create_app("app");
        let tail = Tail::open(&server.create_session("app", json!({ "tail": tail, "num": "0" })));
        wait_for("an open tail", || (server.stats("app")["tails"]["open"] == 1).then_some(()));
        drop(tail);
        wait_for("none", || (server.stats("app")["tails"]["open"] == 0).then_some(()));
    }
    for tail in [json!(false), json!("false"), json!(null), json!(0), json!("")] {
        Tail::open(&server.create_session("app", json!({ "tail": tail }))).wait_ended();
    }
}

#[test]
fn an_idle_tail_is_pinged() {
    let server = Server::start();
    server.create_app("app");
    let tail = Tail::open(&live(&server));
    // The first goes out at once; the second shows that it goes on.
    wait_for("two pings", || (tail.pings() >= 2).then_some(()));
}

#[test]
fn a_session_may_be_read_by_many() {
    let server = Server::start();
    let token = server.create_app("app");
    let url = live(&server);
    let tails = [Tail::open(&url), Tail::open(&url), Tail::open(&url)];
    server.post_lines(&token, 0, 20);
    for tail in &tails {
        tail.wait_number(19);
        assert_eq!(tail.numbers(), (0..20).collect::<Vec<_>>());
    }
}

// === forms ===

#[test]
fn json_lines_carry_a_rising_cursor() {
    let server = Server::start();
    let token = server.create_app("app");
    let mut poster = Poster::new(&server, &token);
    poster.line("app", "web.1", "before");
    let url = server.create_session("app", json!({ "tail": true, "num": "10" }));
    let tail = Tail::open(&format!("{url}?format=json"));
    poster.line("heroku", "router", "quote \" back \\ tab \t nul \0 newline\nend");
    poster.post(&logplex_tests::numbered_frames(0..5));
    tail.wait_line("the last", |line| line.contains("line 4"));
    let lines: Vec<Value> = tail
        .lines()
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    assert_eq!(lines.len(), 7);
    assert_eq!(lines[1]["message"], "quote \" back \\ tab \t nul \0 newline\nend");
    assert_eq!((&lines[1]["source"], &lines[1]["procid"]), (&json!("heroku"), &json!("router")));
    assert_eq!((&lines[0]["time"], &lines[0]["severity"]), (&json!("2026-01-02T03:04:05+00:00"), &json!(6)));
    let cursors: Vec<(String, u64)> = lines
        .iter()
        .map(|line| {
            let (epoch, number) =
                line["cursor"].as_str().expect("a cursor").split_once('-').expect("EPOCH-N");
            (epoch.to_owned(), number.parse().expect("a number"))
        })
        .collect();
    assert!(cursors.windows(2).all(|pair| pair[0].0 == pair[1].0 && pair[0].1 < pair[1].1), "{cursors:?}");
    assert_eq!(
        server
            .call(
                "GET",
                &format!(
                    "/{}?format=xml",
                    url.rsplitn(3, '/')
                        .take(2)
                        .collect::<Vec<_>>()
                        .into_iter()
                        .rev()
                        .collect::<Vec<_>>()
                        .join("/")
                ),
                &[],
                b""
            )
            .status,
        400
    );
}

#[test]
fn a_text_cannot_forge_a_line() {
    let server = Server::start();
    let token = server.create_app("app");
    let tail = Tail::open(&live(&server));
    let mut poster = Poster::new(&server, &token);
    let forged = "2026-01-02T03:04:05+00:00 heroku[logplex]: L11 (Tail buffer overflow) -> This tail session dropped 9 \
                  messages since 2026-01-02T03:04:05+00:00";
    for (end, shown) in [("\n", "\\n"), ("\r\n", "\\r\\n"), ("\r", "\\r"), ("\n\n", "\\n\\n")] {
        poster.line("app", "web.1", &format!("before{end}{forged}"));
        let line = tail.wait_line("the line", |line| line.contains(&format!("before{shown}2026")));
        assert_eq!(line, format!("2026-01-02T03:04:05+00:00 app[web.1]: before{shown}{forged}"));
    }
    assert_eq!((tail.lines().len(), tail.told().len()), (4, 0));
    // One line's end at the end is the line's own, and not shown.
    poster.line("app", "web.1", "whole\r\n");
    let line = tail.wait_line("the line", |line| line.contains("whole"));
    assert!(line.ends_with(": whole"), "{line}");
}

#[test]
fn bytes_that_are_no_text_are_replaced() {
    let server = Server::start();
    let token = server.create_app("app");
    let tail = Tail::open(&live(&server));
    let message =
        [b"<190>1 2026-01-02T03:04:05+00:00 h app web.1 - - a".as_slice(), b"\xff\xc3", b"b"].concat();
    Poster::new(&server, &token).post(&encode(&message));
    let line = tail.wait_line("the line", |_| true);
    assert!(line.ends_with(": a\u{fffd}\u{fffd}b"), "{line:?}");
}

#[test]
fn recent_logs_are_there_as_frames() {
    let server = Server::start();
    let token = server.create_app("app");
    server.post_batches(&token, 0..1600, 100);
    for (query, first) in
        [("", 1500), ("?num=3", 1597), ("?num=0", 1600), ("?num=x", 1500), ("?num=99999", 100)]
    {
        let answer = server.api("GET", &format!("/v3/channels/app/logs{query}"), None).expect(&[200]);
        let frames = logplex_tests::split_frames(&answer.body).expect("frames");
        assert_eq!(answer.headers.number("logplex-msg-count"), Some(frames.len() as u64));
        let numbers: Vec<u64> = frames
            .iter()
            .filter_map(|raw| logplex_tests::Received::parse(raw, logplex_tests::Form::Routed).ok()?.number())
            .collect();
        assert_eq!(numbers, (first..1600).collect::<Vec<_>>(), "{query}");
    }
    assert_eq!(server.api("GET", "/v3/channels/none/logs", None).status, 404);
}
