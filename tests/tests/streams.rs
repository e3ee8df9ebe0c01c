//! Sessions as events and as lines: no gap and no repeat between past and present, over a return and over a restart.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use logplex_tests::{Server, Stream, StreamEnd, Tail, conservation, encode, wait_for};
use serde_json::{Value, json};

fn live(server: &Server) -> String {
    server.create_session("app", json!({ "tail": true, "num": 0 }))
}

fn past(server: &Server, mut extras: Value) -> String {
    extras["tail"] = false.into();
    server.create_session("app", extras)
}

/// The path of a session's URL.
fn path(url: &str) -> String {
    format!("/sessions/{}", url.rsplit('/').next().expect("a path"))
}

/// Posts messages `<PRI>1 TIME h APP PROCID - - TEXT`.
#[track_caller]
fn post(server: &Server, token: &str, messages: &[(u8, &str, &str, &str, &str)]) {
    let body: Vec<u8> = messages
        .iter()
        .flat_map(|(pri, time, app, procid, text)| {
            encode(format!("<{pri}>1 {time} h {app} {procid} - - {text}").as_bytes())
        })
        .collect();
    assert_eq!(server.post_logs(token, &[], &body).0, 204);
}

const TIME: &str = "2026-01-02T03:04:05+00:00";

// === forms ===

#[test]
fn events_carry_a_line_and_its_cursor() {
    let server = Server::start();
    let token = server.create_app("app");
    post(&server, &token, &[(190, TIME, "app", "web.1", "one\r\ndata: two\rthree")]);
    let stream = Stream::events_of(&live(&server), None);
    assert_eq!(stream.headers.get("content-type"), Some("text/event-stream"));
    assert_eq!(stream.headers.get("cache-control"), Some("no-cache"));
    post(&server, &token, &[(190, TIME, "app", "web.1", "one\r\ndata: two\rthree")]);
    post(&server, &token, &[(190, TIME, "app", "web.1", "line 2")]);
    stream.wait_number(2);
    let events = stream.events();
    assert_eq!(events[0].data, format!("{TIME} app[web.1]: one\\r\\ndata: two\\rthree"));
    let cursors: Vec<&str> = events.iter().map(|event| event.id.as_deref().expect("an id")).collect();
    let numbers: Vec<u64> = cursors
        .iter()
        .map(|id| id.rsplit('-').next().and_then(|n| n.parse().ok()).expect("a number"))
        .collect();
    assert_eq!((events.len(), numbers), (2, vec![1, 2]));
    assert_eq!(stream.retry(), None);
    // An idle client hears of us at once, and again every 15 s.
    wait_for("two comments", || (stream.comments() >= 2).then_some(()));
}

#[test]
fn the_past_alone_ends_and_says_so() {
    let server = Server::start();
    let token = server.create_app("app");
    server.post_lines(&token, 0, 20);
    let events = Stream::events_of(&past(&server, json!({ "num": "5" })), None);
    assert_eq!((events.wait_ended(), events.retry()), (StreamEnd::Clean, Some(0)));
    assert_eq!(events.numbers(), [15, 16, 17, 18, 19]);
    let lines = Stream::lines_of(&past(&server, json!({ "num": 3 })));
    assert_eq!(lines.headers.get("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!((lines.wait_ended(), lines.numbers()), (StreamEnd::Clean, vec![17, 18, 19]));
    let json = Stream::lines_of(&format!("{}?format=json", past(&server, json!({ "num": 1 }))));
    assert_eq!(json.wait_ended(), StreamEnd::Clean);
    let value: Value = serde_json::from_str(&json.lines()[0]).expect("JSON");
    assert_eq!((&value["message"], &value["procid"]), (&json!("line 19"), &json!("web.1")));
}

#[test]
fn lines_are_streamed_as_they_come() {
    let server = Server::start();
    let token = server.create_app("app");
    let stream = Stream::lines_of(&live(&server));
    for first in [0, 7, 14] {
        server.post_lines(&token, first, 7);
        stream.wait_number(first + 6);
    }
    conservation(0..21, &stream.numbers(), 0);
    drop(stream);
    wait_for("no open tail", || (server.stats("app")["tails"]["open"] == 0).then_some(()));
    let ledger = server.tails_ledger("app");
    assert_eq!((ledger.accepted, ledger.delivered, ledger.held), (21, 21, 0));
}

// === coming back ===

#[test]
fn who_comes_back_gets_no_gap_and_no_repeat() {
    let server = Server::start();
    let token = server.create_app("app");
    let url = live(&server);
    let first = Stream::events_of(&url, None);
    server.post_lines(&token, 0, 10);
    first.wait_number(9);
    let seen = first.last_id().expect("an id");
    drop(first);
    server.post_lines(&token, 10, 400);
    // As a header, as a parameter, over every carrier; `num` has nothing to say here.
    let stream = Stream::events_of(&url, Some(&seen));
    stream.wait_number(409);
    conservation(10..410, &stream.numbers(), 0);
    let stream = Stream::lines_of(&format!("{url}?after={seen}"));
    stream.wait_number(409);
    conservation(10..410, &stream.numbers(), 0);
    let tail = Tail::open(&format!("{url}?after={seen}"));
    tail.wait_number(409);
    conservation(10..410, &tail.numbers(), 0);
    // Who has seen all gets what comes.
    let newest = Stream::events_of(&url, Some(&cursor(409, &seen)));
    server.post_lines(&token, 410, 1);
    newest.wait_number(410);
    assert_eq!(newest.lines().len(), 1);
}

/// The cursor of message `number`, in the channel of `other`.
fn cursor(number: u64, other: &str) -> String {
    format!("{}-{number}", other.split('-').next().expect("an epoch"))
}

#[test]
fn a_history_that_moved_on_is_told_exactly() {
    let server = Server::start();
    let token = server.create_app("app");
    let url = live(&server);
    let first = Stream::events_of(&url, None);
    server.post_lines(&token, 0, 100);
    first.wait_number(99);
    let seen = cursor(49, &first.last_id().expect("an id"));
    drop(first);
    server.post_batches(&token, 100..3000, 100);
    let stream = Stream::events_of(&url, Some(&seen));
    stream.wait_number(2999);
    let told = stream.told();
    let [notice] = told.as_slice() else { panic!("one notice, not {told:?}") };
    assert_eq!((notice.count, notice.fact("reason"), notice.fact("at_most")), (1450, Some("history"), None));
    conservation(50..3000, &stream.numbers(), notice.count);
    // The notice is the first event, and who read it has read all ahead of the next.
    let events = stream.events();
    assert_eq!(events[0].id.as_deref(), Some(cursor(1499, &seen).as_str()));
    drop(stream);
    // With a filter nobody knows what it would have kept of them.
    let url = server.create_session("app", json!({ "tail": true, "source": "app" }));
    let stream = Stream::events_of(&url, Some(&seen));
    stream.wait_number(2999);
    assert_eq!(stream.told()[0].fact("at_most"), Some("1450"));
    drop(stream);
    wait_for("no open tail", || (server.stats("app")["tails"]["open"] == 0).then_some(()));
    let ledger = server.tails_ledger("app");
    assert_eq!((ledger.dropped("history"), ledger.held), (2900, 0));
}

#[test]
fn who_scrolls_back_gets_what_was_ahead_of_a_cursor() {
    let mut server = Server::start();
    let token = server.create_app("app");
    server.post_lines(&token, 0, 1000);
    let newest = cursor_of_newest(&server);
    let ahead_of = |server: &Server, number: u64, asked: Value| {
        let url = server.create_session("app", asked);
        let stream = Stream::lines_of(&format!("{url}?before={}", cursor(number, &newest)));
        assert_eq!(stream.wait_ended(), StreamEnd::Clean);
        stream.numbers()
    };
    let range = |lines: std::ops::Range<u64>| lines.collect::<Vec<_>>();
    // A session's `tail` has nothing to say here, its filter and number have.
    assert_eq!(ahead_of(&server, 999, json!({ "num": 300, "tail": true })), range(699..999));
    assert_eq!(ahead_of(&server, 699, json!({ "num": 300 })), range(399..699));
    assert_eq!(ahead_of(&server, 99, json!({ "num": 300 })), range(0..99));
    assert_eq!(ahead_of(&server, 0, json!({ "num": 300 })), [0; 0]);
    assert_eq!(ahead_of(&server, 500, json!({ "num": 2, "grep": ["0$"] })), [480, 490]);
    // From the disk, too.
    server.term();
    server.restart();
    assert_eq!(ahead_of(&server, 699, json!({ "num": 300 })), range(399..699));

    let url = live(&server);
    let other_life = Stream::lines_of(&format!("{url}?before=0123456789abcdef-7"));
    assert_eq!((other_life.wait_ended(), other_life.lines().len()), (StreamEnd::Clean, 0));
    let answer = Stream::open(&format!("{url}?before=x"), &[]).map(|_| ()).expect_err("refused");
    assert_eq!(answer.0, 400);
}

#[test]
fn a_cursor_of_nothing_we_know_is_not_guessed_at() {
    let server = Server::start();
    let token = server.create_app("app");
    server.post_lines(&token, 0, 5);
    let url = live(&server);
    for wrong in ["x", "-", "0123", "zz-1", "00-x"] {
        let answer = Stream::open(&format!("{url}?after={wrong}"), &[]).map(|_| ()).expect_err("refused");
        assert_eq!(answer.0, 400, "{wrong}");
    }
    // Of another life of the channel, or of a message that is yet to come: all there is, and a word that it is not
    // known what was missed.
    for strange in ["0123456789abcdef-7", &cursor(99, &cursor_of_newest(&server))] {
        let stream = Stream::events_of(&url, Some(strange));
        stream.wait_number(4);
        assert_eq!(stream.numbers(), [0, 1, 2, 3, 4]);
        assert!(
            stream.lines()[0].contains("L15 (Tail buffer temporarily unavailable) -> "),
            "{:?}",
            stream.lines()
        );
    }
}

fn cursor_of_newest(server: &Server) -> String {
    let stream = Stream::events_of(&past(server, json!({ "num": 1 })), None);
    stream.wait_ended();
    stream.last_id().expect("an id")
}

/// Follows a session by events, and comes back whenever the stream ends, until it has read `last`.
fn follow(url: &str, last: u64) -> (Vec<u64>, u64, u32) {
    let (mut numbers, mut told, mut opened) = (Vec::new(), 0, 0);
    let mut seen: Option<String> = None;
    while numbers.last() != Some(&last) {
        let mut headers = vec![("Accept", "text/event-stream")];
        headers.extend(seen.as_deref().map(|id| ("Last-Event-ID", id)));
        let stream = Stream::open(url, &headers).unwrap_or_else(|answer| panic!("refused: {answer:?}"));
        opened += 1;
        // Not to the end: who comes back often has more to get wrong.
        let most = 700 + opened as usize * 13;
        wait_for("events", || {
            let done = stream.events().len() >= most || stream.ended().is_some();
            (done || stream.numbers().last() == Some(&last)).then_some(())
        });
        seen = stream.last_id().or(seen);
        let events = stream.events();
        let end = events.iter().rposition(|event| event.id == seen).map_or(0, |at| at + 1);
        let told_before = stream.told().iter().map(|told| told.count).sum::<u64>();
        let lines = &events[..end];
        numbers.extend(
            lines.iter().filter_map(|event| {
                logplex_tests::TailLine::parse(&event.data).and_then(|line| line.number())
            }),
        );
        told += told_before;
    }
    (numbers, told, opened)
}

#[test]
fn from_history_to_live_there_is_no_gap_and_no_repeat_under_full_load() {
    let server = Server::start();
    let token = server.create_app("app");
    let url = server.create_session("app", json!({ "tail": true, "num": 1500 }));
    const LAST: u64 = 30_000;
    let (numbers, told, opened) = std::thread::scope(|scope| {
        let poster = scope.spawn(|| server.post_batches(&token, 0..LAST + 1, 10));
        let followed = follow(&url, LAST);
        poster.join().expect("all is posted");
        followed
    });
    assert!(opened > 3, "{opened}");
    conservation(numbers[0]..LAST + 1, &numbers, told);
}

#[test]
fn a_follower_goes_on_over_a_restart_of_the_server() {
    let mut server = Server::start();
    let token = server.create_app("app");
    let url = live(&server);
    let first = Stream::events_of(&url, None);
    server.post_batches(&token, 0..1000, 10);
    first.wait_number(999);
    // What is posted up to the last moment is read, or there when the reader comes back.
    let stop = AtomicBool::new(false);
    let taken = std::thread::scope(|scope| {
        let address = server.address();
        let token = token.clone();
        let stop = &stop;
        let poster = scope.spawn(move || {
            let mut connection = logplex_tests::Connection::open(address).expect("the server listens");
            let credentials = logplex_tests::basic("token", &token);
            let headers =
                [("Authorization", credentials.as_str()), ("Content-Type", "application/logplex-1")];
            let mut taken = 1000;
            while !stop.load(Ordering::Relaxed) {
                let body = logplex_tests::numbered_frames(taken..taken + 10);
                match connection.request("POST", "/logs", &headers, &body) {
                    Ok(answer) if answer.status == 204 => taken += 10,
                    _ => break,
                }
            }
            taken
        });
        first.wait_number(1999);
        let stopping = Instant::now();
        assert_eq!(server.term().code(), Some(0));
        // Half the grace period is what requests under way may take; a tail is none.
        assert!(stopping.elapsed() < Duration::from_secs(5), "{:?}", stopping.elapsed());
        stop.store(true, Ordering::Relaxed);
        poster.join().expect("the poster ends")
    });
    assert_eq!(first.wait_ended(), StreamEnd::Clean);
    let mut numbers = first.numbers();
    let seen = first.last_id().expect("an id");
    server.restart_same_port();
    let second = Stream::events_of(&url, Some(&seen));
    server.post_lines(&token, taken, 10);
    second.wait_number(taken + 9);
    numbers.extend(second.numbers());
    conservation(0..taken + 10, &numbers, 0);
    assert_eq!((first.told(), second.told()), (vec![], vec![]));
}

// === filters ===

#[test]
fn filters_act_on_past_and_present_alike() {
    let server = Server::start();
    let token = server.create_app("app");
    let messages = [
        (190, "2026-01-02T03:00:00+00:00", "app", "web.1", "line 0 GET /a"),
        (187, "2026-01-02T03:01:00+00:00", "app", "web.2", "line 1 GET /b"),
        (190, "2026-01-02T05:02:00+02:00", "app", "worker.1", "line 2 done"),
        (134, "2026-01-02T03:03:00+00:00", "heroku", "router", "line 3 GET /a"),
        (188, "2026-01-02T03:04:00+00:00", "other", "webx", "line 4 POST /é"),
    ];
    for (filter, expected) in [
        (json!({ "sources": ["app", "other"] }), vec![0, 1, 2, 4]),
        (json!({ "source": "app", "sources": ["heroku"] }), vec![0, 1, 2, 3]),
        (json!({ "exclude_sources": ["heroku", "other"] }), vec![0, 1, 2]),
        (json!({ "processes": ["web", "router"] }), vec![0, 1, 3]),
        (json!({ "exclude_processes": ["web"] }), vec![2, 3, 4]),
        (json!({ "min_severity": "warning" }), vec![1, 4]),
        (json!({ "min_severity": 3 }), vec![1]),
        (json!({ "min_severity": "3" }), vec![1]),
        (json!({ "grep": ["GET"] }), vec![0, 1, 3]),
        (json!({ "grep": ["GET", "/a$"] }), vec![0, 3]),
        (json!({ "grep": ["(?i)post /É"] }), vec![4]),
        (json!({ "exclude": ["GET", "done"] }), vec![4]),
        (json!({ "grep": ["line"], "exclude": ["/a"], "source": "app" }), vec![1, 2]),
        (json!({ "since": "2026-01-02T03:02:00Z" }), vec![2, 3, 4]),
        (json!({ "until": "2026-01-02T03:02:00Z" }), vec![0, 1]),
        (json!({ "since": "2026-01-02T03:01:00Z", "until": "2026-01-02T03:04:00Z" }), vec![1, 2, 3]),
        (json!({ "since": "15m" }), vec![]),
        (json!({ "until": "15m", "num": 2 }), vec![3, 4]),
    ] {
        let live_too = filter["until"].is_null();
        let mut filter = filter;
        filter["tail"] = true.into();
        let live = Stream::lines_of(&server.create_session("app", filter.clone()));
        post(&server, &token, &messages);
        let past = Stream::lines_of(&past(&server, filter.clone()));
        assert_eq!(past.wait_ended(), StreamEnd::Clean);
        // The rounds before this one are in the history too.
        let rounds = past.numbers();
        let newest = &rounds[rounds.len().saturating_sub(expected.len())..];
        assert_eq!(newest, expected, "{filter}");
        assert!(rounds.iter().all(|number| expected.contains(number)), "{filter}: {rounds:?}");
        if live_too && !expected.is_empty() {
            wait_for(&format!("{filter}"), || live.numbers().ends_with(&expected).then_some(()));
        } else if !live_too {
            // Nothing more can come.
            assert_eq!(live.wait_ended(), StreamEnd::Clean, "{filter}");
        }
    }
}

#[test]
fn a_tail_ends_at_the_time_that_it_was_given() {
    let server = Server::start();
    let token = server.create_app("app");
    let soon = Command::new("date").args(["-u", "-d", "+3 seconds", "+%Y-%m-%dT%H:%M:%SZ"]).output();
    let soon = String::from_utf8(soon.expect("a clock").stdout).expect("a time");
    let url = server.create_session("app", json!({ "tail": true, "num": 0, "until": soon.trim() }));
    let (events, tail) = (Stream::events_of(&url, None), Tail::open(&url));
    post(&server, &token, &[(190, TIME, "app", "web.1", "line 0")]);
    events.wait_number(0);
    assert_eq!(events.wait_ended(), StreamEnd::Clean);
    let ended = tail.wait_ended();
    assert!(ended.contains("1000") || ended.to_lowercase().contains("normal"), "{ended}");
    assert_eq!(tail.numbers(), [0]);
}

#[test]
fn what_a_filter_cannot_be_is_refused_with_a_reason() {
    let server = Server::start();
    server.create_app("app");
    for (extras, reason) in [
        (json!({ "grep": ["(a"] }), "unclosed group"),
        (json!({ "grep": ["(?:(?:a{1000}){1000}){1000}"] }), "too large"),
        (json!({ "exclude": ["x".repeat(2000)] }), "longer than 1024 bytes"),
        (json!({ "grep": vec!["x"; 17] }), "at most 16"),
        (json!({ "sources": vec!["x"; 65] }), "at most 64"),
        (json!({ "min_severity": 8 }), "min_severity"),
        (json!({ "min_severity": "loud" }), "min_severity"),
        (json!({ "since": "yesterday" }), "since"),
        (json!({ "until": "15" }), "until"),
        (json!({ "sources": "app" }), "invalid payload"),
    ] {
        let mut body = extras.clone();
        body["channel_id"] = "app".into();
        let answer = server.api("POST", "/v3/sessions", Some(&body));
        let text = answer.text();
        assert!(answer.status == 400 && text.contains(reason), "{extras}: {} {text}", answer.status);
    }
}

// === revocation ===

#[test]
fn a_revoked_session_ends_and_does_not_come_back() {
    let server = Server::start();
    let token = server.create_app("app");
    let (url, other) = (live(&server), live(&server));
    let (events, tail, spared) = (Stream::events_of(&url, None), Tail::open(&url), Stream::lines_of(&other));
    server.post_lines(&token, 0, 3);
    events.wait_number(2);
    tail.wait_number(2);
    spared.wait_number(2);
    let id = url.rsplit('/').next().expect("an id");
    assert_eq!(server.call("DELETE", &format!("/v3/sessions/{id}"), &[], b"").status, 401);
    assert_eq!(server.api("DELETE", &format!("/v3/sessions/{id}"), None).status, 204);
    assert_eq!(server.api("DELETE", &format!("/v3/sessions/{id}"), None).status, 404);
    assert_eq!(events.wait_ended(), StreamEnd::Clean);
    let ended = tail.wait_ended();
    assert!(ended.contains("1008") || ended.to_lowercase().contains("policy"), "{ended}");
    assert_eq!(server.call("GET", &path(&url), &[], b"").status, 404);
    assert_eq!(spared.ended(), None);
    // All of a channel, also by removing the channel.
    let second = Stream::events_of(&live(&server), None);
    let answer = server.api("DELETE", "/v3/channels/app/sessions", None).expect(&[200]).json();
    assert_eq!(answer, json!({ "removed": 2 }));
    assert_eq!((spared.wait_ended(), second.wait_ended()), (StreamEnd::Clean, StreamEnd::Clean));
    assert_eq!(server.api("DELETE", "/v3/channels/none/sessions", None).status, 404);
    let third = Stream::events_of(&live(&server), None);
    server.api("DELETE", "/v3/channels/app", None).expect(&[204]);
    assert_eq!(third.wait_ended(), StreamEnd::Clean);
}
