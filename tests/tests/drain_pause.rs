//! A paused drain sends nothing and goes on counting; a resumed one tells exactly what went meanwhile.

use logplex_tests::{Answer, Code, Drain, Server, Sink, conservation, notices, numbers, told_sum, wait_for};

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

    #[track_caller]
    fn order(&self, order: &str) -> String {
        let status = self.server.order_drain(CHANNEL, &self.drain, order);
        status["state"].as_str().expect("a state").to_owned()
    }

    /// After `last` the lines add up, and what is told is `dropped` in one notice.
    #[track_caller]
    fn check(&self, last: u64, dropped: u64) {
        let received = self.sink.wait_line(last);
        let told = notices(&received);
        assert_eq!((told.len(), told_sum(&told, &[Code::L10])), (1, dropped));
        conservation(0..last + 1, &numbers(&received), dropped);
        let ledger = self.server.rested(CHANNEL, &self.drain);
        assert_eq!((ledger.accepted, ledger.gone()), (last + 1, dropped));
    }
}

#[test]
fn a_resumed_drain_tells_what_its_ring_dropped_and_sends_the_rest() {
    let walk = Walk::start();
    walk.server.post_lines(&walk.token, 0, 5);
    walk.sink.wait_line(4);
    assert_eq!(walk.order("pause"), "paused");
    assert_eq!(walk.order("pause"), "paused");
    // The reader waited, but a paused one is handed nothing: its ring is all that there is.
    walk.server.post_batches(&walk.token, 5..5 + RING + 33, 100);
    let status = walk.server.drain_status(CHANNEL, &walk.drain);
    assert_eq!((status["held"].as_u64(), status["dropped"]["full"].as_u64()), (Some(RING), Some(33)));
    assert_eq!((status["state"].as_str(), status["delivered"].as_u64()), (Some("paused"), Some(5)));
    assert_eq!(walk.sink.requests().len(), 1);
    let session = serde_json::json!({ "tail": true, "num": "1500", "source": "heroku" });
    let tail = logplex_tests::Tail::open(&walk.server.create_session(CHANNEL, session));
    assert_ne!(walk.order("resume"), "paused");
    walk.check(4 + RING + 33, 33);
    // The channel gets one copy, when the pause has ended.
    let copy = tail.wait_line("a copy of the notice", |line| line.contains("L10"));
    assert!(copy.contains(": 33 messages dropped since") && copy.contains(&walk.drain.token), "{copy}");
}

#[test]
fn a_channel_is_not_told_of_a_pause_while_it_lasts() {
    let walk = Walk::start();
    let other = Sink::start();
    let other_drain = walk.server.add_drain(CHANNEL, &other.url(""));
    walk.order("pause");
    other.answer_next([Answer::status(404)]);
    walk.server.post_batches(&walk.token, 0..RING + 10, 600);
    // Both drains have gone without messages, and are looked after in one turn.
    let logs = wait_for("the copy of the other drain's notice", || {
        let logs = walk.server.api("GET", "/v3/channels/app/logs?num=1500", None).expect(&[200]).text();
        logs.contains(&other_drain.token).then_some(logs)
    });
    assert!(walk.server.drain_ledger(CHANNEL, &walk.drain).dropped("full") > 0);
    assert!(!logs.contains(&walk.drain.token), "{logs}");
}

#[test]
fn a_request_under_way_ends_normally() {
    let walk = Walk::start();
    walk.sink.answer(Answer::Hold);
    walk.server.post_lines(&walk.token, 0, 1);
    walk.sink.wait_held(1);
    walk.order("pause");
    walk.server.post_lines(&walk.token, 1, 9);
    walk.sink.answer(Answer::status(204));
    walk.sink.release(Answer::status(204));
    wait_for("the delivery", || {
        (walk.server.drain_ledger(CHANNEL, &walk.drain).delivered == 1).then_some(())
    });
    assert_eq!(walk.server.drain_ledger(CHANNEL, &walk.drain).held, 9);
    walk.order("resume");
    conservation(0..10, &numbers(&walk.sink.wait_line(9)), 0);
    assert_eq!(walk.sink.requests().len(), 2);
}

#[test]
fn a_pause_survives_restarts_and_what_they_cost_is_told_when_resumed() {
    let mut walk = Walk::start();
    walk.order("pause");
    walk.server.post_lines(&walk.token, 0, 100);
    assert_eq!(walk.server.term().code(), Some(0));
    walk.server.restart();
    assert_eq!(walk.server.drain_status(CHANNEL, &walk.drain)["state"], "paused");
    // 100 were held at the stop, and 24 are pushed out here.
    walk.server.post_batches(&walk.token, 100..100 + RING + 24, 100);
    assert_eq!(walk.server.drain_ledger(CHANNEL, &walk.drain).held, RING);
    assert_eq!(walk.sink.requests().len(), 0);
    walk.order("resume");
    walk.check(99 + RING + 24, 124);
    let lost = walk.server.drain_status(CHANNEL, &walk.drain)["lost"].clone();
    assert_eq!(lost, serde_json::json!({ "stopped": 100 }));

    // Resumed is remembered too.
    walk.server.term();
    walk.server.restart();
    walk.server.post_lines(&walk.token, 124 + RING, 1);
    walk.sink.wait_line(124 + RING);
}

#[test]
fn only_the_owner_channels_path_reaches_a_drain() {
    let walk = Walk::start();
    walk.server.create_app("other");
    let reserved = walk
        .server
        .api("POST", "/v3/channels/app/drains", Some(&serde_json::json!({})))
        .expect(&[201])
        .json()["id"]
        .to_string();
    let id = &walk.drain.id;
    for (channel, drain) in
        [("other", id.as_str()), ("none", id), ("app", "999999"), ("app", "x"), ("app", &reserved)]
    {
        let path = format!("/v3/channels/{channel}/drains/{drain}");
        walk.server.api("GET", &path, None).expect(&[404]);
        for order in ["pause", "resume"] {
            walk.server.api("POST", &format!("{path}/{order}"), None).expect(&[404]);
        }
    }
    assert_eq!(walk.server.drain_status(CHANNEL, &walk.drain)["state"], "idle");
    walk.server.api("GET", "/v3/channels/none/drains", None).expect(&[404]);
}

#[test]
fn a_removed_drain_that_is_paused_tells_its_channel_what_it_held() {
    let walk = Walk::start();
    let session = serde_json::json!({ "tail": true, "num": "0" });
    let tail = logplex_tests::Tail::open(&walk.server.create_session(CHANNEL, session));
    walk.order("pause");
    walk.server.post_lines(&walk.token, 0, 7);
    let path = format!("/v3/channels/{CHANNEL}/drains/{}", walk.drain.id);
    walk.server.api("DELETE", &path, None).expect(&[204]);
    let copy = tail.wait_line("the copy of the last notice", |line| line.contains("Error L10"));
    let facts = format!("lost=7 reason=closed drain={}", walk.drain.token);
    assert!(copy.contains(": 7 messages dropped since") && copy.ends_with(&facts), "{copy}");
    assert_eq!(walk.sink.requests().len(), 0);
}

#[test]
fn a_removed_drain_sends_what_it_can_and_tells_its_channel_of_nothing_else() {
    let walk = Walk::start();
    let gate = walk.sink.gate();
    walk.server.post_lines(&walk.token, 0, 1);
    walk.sink.wait_held(1);
    walk.server.post_lines(&walk.token, 1, 200);
    let path = format!("/v3/channels/{CHANNEL}/drains/{}", walk.drain.id);
    walk.server.api("DELETE", &path, None).expect(&[204]);
    // It gets nothing that comes after.
    walk.server.post_lines(&walk.token, 201, 1);
    gate.open();
    conservation(0..201, &numbers(&walk.sink.wait_line(200)), 0);
    wait_for("the end of the removed drain", || {
        walk.server
            .stderr()
            .iter()
            .any(|line| line.contains("drain removed") && line.contains("untold=0"))
            .then_some(())
    });
    let logs = walk.server.api("GET", "/v3/channels/app/logs?num=1500", None).expect(&[200]).text();
    assert!(!logs.contains("L10"), "{logs}");
    assert_eq!(numbers(&walk.sink.received()).len(), 201);
}
