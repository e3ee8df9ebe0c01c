//! A request that is sent again under the same id is answered alike and taken once.

use logplex_tests::{Server, Sink, encode, numbered_frames, numbers};

struct Door {
    server: Server,
    sink: Sink,
    token: String,
}

impl Door {
    fn start() -> Door {
        let (server, sink) = (Server::start(), Sink::start());
        let token = server.create_app("app");
        server.add_drain("app", &sink.url(""));
        Door { server, sink, token }
    }

    #[track_caller]
    fn post(&self, id: (&str, &str), lines: std::ops::Range<u64>) {
        assert_eq!(self.server.post_logs(&self.token, &[id], &numbered_frames(lines)), (204, String::new()));
    }

    /// Accepted and repeated messages.
    fn counts(&self) -> (u64, u64) {
        let stats = &self.server.stats("app")["tokens"][0];
        let number = |name: &str| stats[name].as_u64().expect("a number");
        (number("accepted"), number("repeated"))
    }
}

#[test]
fn a_repeat_is_taken_once() {
    for name in ["Logplex-Frame-Id", "X-Request-Id", "logplex-frame-id"] {
        let door = Door::start();
        for _ in 0..3 {
            door.post((name, "AB12"), 0..5);
        }
        door.post((name, "AB13"), 5..6);
        assert_eq!(numbers(&door.sink.wait_line(5)), (0..6).collect::<Vec<_>>());
        assert_eq!(door.counts(), (6, 10), "{name}");
        let repeated =
            door.server.metrics().sum("logplex_ingest_repeated_messages_total", &[("channel", "app")]);
        assert_eq!(repeated, 10.0);
    }
}

#[test]
fn another_length_under_the_same_id_is_another_request() {
    let door = Door::start();
    door.post(("Logplex-Frame-Id", "same"), 0..5);
    door.post(("Logplex-Frame-Id", "same"), 5..7);
    assert_eq!(numbers(&door.sink.wait_line(6)), (0..7).collect::<Vec<_>>());
    // Another number of messages in as many bytes.
    let id = [("Logplex-Frame-Id", "bytes")];
    for body in [encode(b"ABCDEFGH"), encode(b"ABC").repeat(2)] {
        assert_eq!((body.len(), door.server.post_logs(&door.token, &id, &body).0), (10, 204));
    }
    assert_eq!(door.counts(), (10, 0));
}

#[test]
fn without_an_id_or_with_an_endless_one_everything_is_taken() {
    let door = Door::start();
    let endless = "x".repeat(200);
    for id in [("X-Unrelated", "1"), ("Logplex-Frame-Id", ""), ("Logplex-Frame-Id", endless.as_str())] {
        door.post(id, 0..1);
        door.post(id, 0..1);
    }
    assert_eq!(door.counts(), (6, 0));
}

#[test]
fn another_tokens_id_is_another_request() {
    let door = Door::start();
    let tokens = door.server.create_channel("app", &["app", "other"]);
    door.post(("Logplex-Frame-Id", "same"), 0..1);
    let id = [("Logplex-Frame-Id", "same")];
    assert_eq!(door.server.post_logs(&tokens["other"], &id, &numbered_frames(0..1)).0, 204);
    door.sink.wait_received("both", |received| (received.len() == 2).then_some(()));
}

#[test]
fn a_refused_request_may_come_again() {
    let door = Door::start();
    let id = ("Logplex-Frame-Id", "same");
    let body = numbered_frames(0..2);
    assert_eq!(door.server.post_logs(&door.token, &[id, ("Logplex-Msg-Count", "9")], &body).0, 400);
    door.post(id, 0..2);
    assert_eq!(numbers(&door.sink.wait_line(1)), [0, 1]);
}

#[test]
fn the_newest_1024_ids_are_remembered() {
    let door = Door::start();
    let mut connection = door.server.connect();
    let mut post = |id: u64| {
        let id = id.to_string();
        door.server
            .post_logs_on(&mut connection, &door.token, &[("Logplex-Frame-Id", &id)], b"5 hello")
            .expect(&[204]);
    };
    for id in 0..1025 {
        post(id);
    }
    assert_eq!(door.counts(), (1025, 0));
    post(1);
    assert_eq!(door.counts(), (1025, 1), "the 1,024th newest is known");
    post(0);
    assert_eq!(door.counts(), (1026, 1), "the one before is not");
}

#[test]
fn repeats_that_race_are_taken_once() {
    let door = Door::start();
    let body = numbered_frames(0..50);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let id = [("Logplex-Frame-Id", "race")];
                assert_eq!(door.server.post_logs(&door.token, &id, &body).0, 204);
            });
        }
    });
    assert_eq!(numbers(&door.sink.wait_line(49)), (0..50).collect::<Vec<_>>());
    assert_eq!(door.counts(), (50, 350));
}
