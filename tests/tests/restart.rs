//! A stop flushes or writes down exactly what it could not send; a crash is told with a bound; what was configured
//! is there again.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use logplex_tests::{
    Answer, Code, Drain, Server, ServerOptions, Signal, Sink, Tail, Told, conservation, conservation_within,
    notices, numbers, shuttles_notice, told_sum, wait_for,
};
use serde_json::json;

const CHANNEL: &str = "app";
const RING: u64 = 1024;

/// More than a crash may ever be over-told by here.
const ANY: u64 = 1 << 32;

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

    /// Line 0 is held unanswered and lines 1 to `last` are behind it.
    fn stall(&self, last: u64) {
        self.sink.answer(Answer::Hold);
        self.server.post_lines(&self.token, 0, 1);
        self.sink.wait_held(1);
        self.server.post_batches(&self.token, 1..last + 1, 100);
    }

    /// The sink answers from now on, and knows nothing of what it held.
    fn heal(&self) {
        self.sink.answer(Answer::status(204));
        wait_for("the end of held requests", || (self.sink.held() == 0).then_some(()));
    }

    /// Waits for a copy of the drain's notice in the channel's history.
    #[track_caller]
    fn wait_copy(&self, is: impl Fn(&Told) -> bool) -> Told {
        wait_for("the copy in the history", || {
            let logs = self.server.api("GET", "/v3/channels/app/logs?num=1500", None).expect(&[200]).text();
            // The history outlives a stop: the newest is what is waited for.
            let from = logs.rfind("Error L10")?;
            // The next frame's count follows at once; a drain's token ends the notice.
            let end = from + logs[from..].find(&self.drain.token)? + self.drain.token.len();
            let text = &logs[from..end];
            Some(Told::parse(text).unwrap_or_else(|| panic!("no notice: {text:?}"))).filter(|told| is(told))
        })
    }

    #[track_caller]
    fn told(&self) -> Vec<Told> {
        notices(&self.sink.received())
    }

    #[track_caller]
    fn wait_told(&self) -> Vec<Told> {
        self.sink
            .wait_received("a notice", |received| Some(notices(received)).filter(|told| !told.is_empty()))
    }
}

/// Two seconds of grace: enough for what answers, short for what does not.
fn hasty() -> ServerOptions {
    Server::options().args(&["--grace", "2"])
}

#[test]
fn a_stop_tells_the_next_start_exactly_what_was_left() {
    let mut walk = Walk::start(hasty());
    walk.stall(1500);
    // What was dropped so far, its channel knows before the stop.
    assert_eq!(walk.wait_copy(|_| true).count, 476);
    let stop = Instant::now();
    assert_eq!(walk.server.term().code(), Some(0));
    assert!(stop.elapsed() < Duration::from_secs(20), "it took {:?}", stop.elapsed());
    let left = walk.server.stderr().iter().any(|line| line.contains("untold") && line.contains("1501"));
    assert!(left, "{:?}", walk.server.stderr());

    walk.heal();
    walk.server.restart();
    // Alone: nobody posts anything.
    let told = walk.wait_told();
    let [notice] = told.as_slice() else { panic!("one notice, not {told:?}") };
    assert_eq!((notice.code, notice.count), (Code::L10, 1501));
    assert_eq!((notice.fact("lost"), notice.fact("at_most")), (Some("1025"), None));
    assert_eq!(walk.sink.received().len(), 1);
    let ledger = walk.server.rested(CHANNEL, &walk.drain);
    assert_eq!((ledger.accepted, ledger.gone()), (1501, 1501));

    // Nobody read the channel at the stop, so the copy of the rest is in the new history.
    let copy = walk.wait_copy(|told| told.count != 476);
    assert_eq!((copy.count, copy.fact("lost")), (1025, Some("1025")));

    // Told once and not again.
    walk.server.post_lines(&walk.token, 1501, 1);
    let received = walk.sink.wait_line(1501);
    conservation(0..1502, &numbers(&received), told_sum(&notices(&received), &[Code::L10]));
}

#[test]
fn a_tail_is_told_at_the_stop_what_a_drain_could_not_get() {
    let mut walk = Walk::start(hasty());
    let tail = Tail::open(&walk.server.create_session(CHANNEL, json!({ "tail": true, "num": "0" })));
    walk.stall(100);
    assert_eq!(walk.server.term().code(), Some(0));
    let ended = tail.wait_ended();
    assert!(ended.contains("1012") || ended.to_lowercase().contains("restart"), "{ended}");
    let copies: Vec<String> = tail.lines().into_iter().filter(|line| line.contains("Error L10")).collect();
    let [copy] = copies.as_slice() else { panic!("one copy, not {copies:?}") };
    assert!(copy.contains(": 101 messages dropped since"), "{copy}");
    assert!(copy.ends_with(&format!(" drain={}", walk.drain.token)), "{copy}");
    assert_eq!(tail.numbers(), (0..101).collect::<Vec<_>>());
}

#[test]
fn what_is_left_is_carried_over_any_number_of_stops() {
    let mut walk = Walk::start(hasty());
    walk.stall(RING + 9);
    walk.server.term();
    for _ in 0..2 {
        // The notice itself is held unanswered, and comes back.
        walk.heal();
        walk.sink.answer(Answer::Hold);
        walk.server.restart();
        walk.sink.wait_held(1);
        assert_eq!(walk.server.term().code(), Some(0));
    }
    walk.heal();
    walk.server.restart();
    let told = walk.wait_told();
    assert_eq!(told_sum(&told, &[Code::L10]), RING + 10);
}

#[test]
fn a_stop_flushes_a_drain_that_takes_its_time() {
    let mut walk = Walk::start(Server::options());
    walk.stall(1000);
    walk.server.signal(Signal::SIGTERM);
    wait_for("the stop to begin", || {
        walk.server.stderr().iter().any(|line| line.contains("stopping")).then_some(())
    });
    walk.sink.answer(Answer::status(204));
    walk.sink.release(Answer::status(204));
    assert_eq!(walk.server.wait().code(), Some(0));
    conservation(0..1001, &numbers(&walk.sink.received()), 0);
    let clean = walk.server.stderr().iter().any(|line| line.contains("nothing was left"));
    assert!(clean, "{:?}", walk.server.stderr());

    walk.server.restart();
    walk.server.post_lines(&walk.token, 1001, 1);
    let received = walk.sink.wait_line(1001);
    conservation(0..1002, &numbers(&received), 0);
    assert_eq!(notices(&received), []);
}

#[test]
fn a_second_signal_ends_a_stop_at_once() {
    let mut walk = Walk::start(Server::options().args(&["--grace", "300"]));
    walk.stall(10);
    walk.server.signal(Signal::SIGTERM);
    wait_for("the stop to begin", || {
        walk.server.stderr().iter().any(|line| line.contains("stopping")).then_some(())
    });
    assert_eq!(walk.server.term().code(), Some(130));
    // That was a crash: the ring was not written down.
    walk.heal();
    walk.server.restart();
    let told = walk.wait_told();
    assert!(told[0].fact("reason") == Some("crash") && told[0].count >= 11, "{told:?}");
}

#[test]
fn no_request_is_taken_and_then_forgotten_while_stopping() {
    let mut walk = Walk::start(Server::options());
    let mut connection = walk.server.connect();
    walk.server.post_lines_on(&mut connection, &walk.token, 0, 1);
    walk.server.signal(Signal::SIGTERM);
    // Whatever is answered 204 counts; the others may go anywhere.
    let credentials = logplex_tests::basic("token", &walk.token);
    let headers = [("Authorization", credentials.as_str()), ("Content-Type", "application/logplex-1")];
    let mut taken = 1;
    while let Ok(answer) =
        connection.request("POST", "/logs", &headers, &logplex_tests::numbered_frames(taken..taken + 1))
    {
        if answer.status != 204 {
            break;
        }
        taken += 1;
    }
    walk.server.wait();
    let received = numbers(&walk.sink.received());
    conservation(0..taken.max(received.len() as u64), &received, 0);
    assert!(received.len() as u64 >= taken);
}

// === kill -9 ===

#[test]
fn configuration_survives_a_kill() {
    let mut walk = Walk::start(Server::options());
    let session = walk.server.create_session(CHANNEL, json!({ "tail": true }));
    let before = walk.server.api("GET", "/v3/channels/app", None).expect(&[200]).json();
    walk.server.kill9();
    walk.server.restart_same_port();
    assert_eq!(walk.server.api("GET", "/v3/channels/app", None).expect(&[200]).json(), before);
    let tail = Tail::open(&session);
    walk.server.post_lines(&walk.token, 0, 3);
    tail.wait_number(2);
    conservation(0..3, &numbers(&walk.sink.wait_line(2)), 0);
    // Ids are never given twice.
    let other = walk.server.add_drain(CHANNEL, &walk.sink.url("other"));
    assert_ne!(other.id, walk.drain.id);
}

#[test]
fn what_rings_held_at_a_kill_is_told_with_a_bound() {
    let mut walk = Walk::start(Server::options());
    walk.server.post_batches(&walk.token, 0..500, 100);
    walk.sink.wait_line(499);
    walk.sink.answer(Answer::Hold);
    walk.server.post_lines(&walk.token, 500, 1);
    walk.sink.wait_held(1);
    walk.server.post_batches(&walk.token, 501..900, 10);
    walk.server.kill9();
    walk.heal();
    walk.server.restart();
    let told = walk.wait_told();
    assert_eq!(told[0].fact("reason"), Some("crash"));
    assert_eq!(told[0].fact("at_most"), Some(told[0].count.to_string().as_str()));
    walk.server.post_lines(&walk.token, 900, 50);
    let received = walk.sink.wait_line(949);
    conservation_within(0..950, &numbers(&received), told_sum(&notices(&received), &[Code::L10]), ANY);
    walk.wait_copy(|told| told.fact("reason") == Some("crash"));
}

#[test]
fn what_a_held_notice_told_is_within_the_bound() {
    for two in [false, true] {
        let mut walk = Walk::start(Server::options());
        walk.stall(1);
        if two {
            walk.server.post_logs(&walk.token, &[], &shuttles_notice(50_000));
        }
        walk.server.post_logs(&walk.token, &[], &shuttles_notice(70_000));
        walk.server.kill9();
        walk.heal();
        walk.server.restart();
        let told = told_sum(&walk.wait_told(), &[Code::L10]);
        assert!(told >= if two { 120_000 } else { 70_000 }, "{told}");
    }
}

#[test]
fn a_drop_that_was_not_yet_told_survives_a_kill() {
    let mut walk = Walk::start(Server::options());
    walk.stall(RING + 700);
    walk.server.kill9();
    walk.heal();
    walk.server.restart();
    let told = walk.wait_told();
    conservation_within(0..RING + 701, &numbers(&walk.sink.received()), told_sum(&told, &[Code::L10]), ANY);
}

#[test]
fn a_kill_before_the_notice_was_taken_tells_it_again() {
    let mut walk = Walk::start(Server::options());
    walk.stall(300);
    walk.server.kill9();
    walk.heal();
    walk.sink.answer(Answer::Hold);
    walk.server.restart();
    walk.sink.wait_held(1);
    walk.server.kill9();
    walk.heal();
    walk.server.restart();
    let told = walk.wait_told();
    assert!(told[0].fact("reason") == Some("crash") && told[0].count >= 301, "{told:?}");
}

#[test]
fn kills_in_a_row_under_load_never_under_tell() {
    let mut walk = Walk::start(Server::options());
    let mut sent = 0;
    for round in 0..4_u64 {
        walk.server.post_batches(&walk.token, sent..sent + 777, 37);
        sent += 777;
        if round % 2 == 1 {
            // What was dropped before a tick is in no checkpoint but the reservation.
            walk.sink.answer(Answer::Hold);
            walk.server.post_batches(&walk.token, sent..sent + 3000, 100);
            sent += 3000;
        }
        walk.server.kill9();
        walk.heal();
        walk.server.restart_same_port();
    }
    walk.server.post_lines(&walk.token, sent, 1);
    let received = walk.sink.wait_line(sent);
    conservation_within(0..sent + 1, &numbers(&received), told_sum(&notices(&received), &[Code::L10]), ANY);
}

#[test]
fn a_kill_at_rest_tells_nothing() {
    let mut walk = Walk::start(Server::options());
    walk.server.post_batches(&walk.token, 0..100, 10);
    walk.sink.wait_line(99);
    wait_for_rest(walk.server.data_dir());
    walk.server.kill9();
    walk.server.restart();
    walk.server.post_lines(&walk.token, 100, 1);
    let received = walk.sink.wait_line(100);
    assert_eq!(notices(&received), []);
    conservation(0..101, &numbers(&received), 0);
}

/// Waits until no file of the store was written to for three of its seconds.
fn wait_for_rest(folder: &Path) {
    let mut last: Option<(Vec<(PathBuf, SystemTime)>, Instant)> = None;
    wait_for("a store at rest", || {
        let now = files(folder);
        match &last {
            Some((before, since)) if *before == now => {
                (since.elapsed() > Duration::from_secs(3)).then_some(())
            }
            _ => {
                last = Some((now, Instant::now()));
                None
            }
        }
    });
}

fn files(folder: &Path) -> Vec<(PathBuf, SystemTime)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found = Vec::new();
    for path in entries.map(|entry| entry.path()) {
        if path.is_dir() {
            found.extend(files(&path));
        } else if let Ok(modified) = path.metadata().and_then(|about| about.modified()) {
            found.push((path, modified));
        }
    }
    found.sort();
    found
}

#[test]
fn a_deleted_channel_stays_deleted() {
    let mut walk = Walk::start(Server::options());
    walk.stall(50);
    walk.server.api("DELETE", "/v3/channels/app", None).expect(&[204]);
    walk.server.kill9();
    walk.heal();
    walk.server.restart();
    walk.server.api("GET", "/v3/channels/app", None).expect(&[404]);
    assert_eq!(walk.server.post_logs(&walk.token, &[], b"").0, 401);
    assert_eq!(walk.told(), []);
}

// === what cannot start ===

#[test]
fn a_store_in_use_is_refused_with_a_way_out() {
    let server = Server::start();
    let ended = Server::options().fail(server.data_dir(), 0);
    assert_eq!(ended.status.code(), Some(1));
    let text = ended.stderr.join("\n");
    assert!(text.contains("cannot open the store") && text.contains("--data-dir"), "{text}");
    assert!(text.contains(&server.data_dir().display().to_string()), "{text}");
}

#[test]
fn a_data_folder_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "not a folder").unwrap();
    for path in [file.clone(), file.join("below")] {
        let ended = Server::options().fail(&path, 0);
        assert_eq!(ended.status.code(), Some(1));
        let text = ended.stderr.join("\n");
        assert!(text.contains("data directory") && text.contains(&path.display().to_string()), "{text}");
    }
}

#[test]
fn a_port_in_use_is_refused() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let ended = Server::options().fail(folder.path(), server.address().port());
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.join("\n").contains("cannot listen on"), "{:?}", ended.stderr);
}
