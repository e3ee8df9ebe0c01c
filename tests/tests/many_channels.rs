//! Many channels at once: what was answered is there after a crash.

use std::thread;

use logplex_tests::{API_KEY, Connection, Server, Sink, conservation, numbers};
use serde_json::Value;

const CLIENTS: usize = 16;
const EACH: usize = 25;

/// A channel's token, as an answer says it.
fn token(answer: &Value) -> String {
    answer["tokens"]["app"].as_str().unwrap_or_else(|| panic!("no token in {answer}")).to_owned()
}

#[test]
fn channels_made_at_the_same_time_survive_a_crash() {
    let mut server = Server::start();
    let make = |client: usize| {
        let mut connection = Connection::open(server.address()).expect("the server listens");
        let key = format!("Bearer {API_KEY}");
        let headers = [("Authorization", key.as_str()), ("Content-Type", "application/json")];
        let make = |at: usize| {
            let id = format!("app-{client}-{at}");
            let answer =
                connection.request("PUT", &format!("/v3/channels/{id}"), &headers, br#"{"tokens":["app"]}"#);
            (id, token(&answer.expect("an answer").expect(&[201]).json()))
        };
        (0..EACH).map(make).collect::<Vec<_>>()
    };
    let made: Vec<(String, String)> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|client| scope.spawn(move || make(client))).collect();
        clients.into_iter().flat_map(|client| client.join().expect("the client ends")).collect()
    });
    assert_eq!(made.len(), CLIENTS * EACH);
    // A token that is removed is no more, either.
    server.api("DELETE", "/v3/channels/app-0-0", None).expect(&[204]);
    server.kill9();
    server.restart();
    server.api("GET", "/v3/channels/app-0-0", None).expect(&[404]);
    for (id, expected) in &made[1..] {
        let found = server.api("GET", &format!("/v3/channels/{id}"), None).expect(&[200]).json();
        assert_eq!(token(&found), *expected, "{id}");
    }
    // And they work.
    let (sink, (id, token)) = (Sink::start(), &made[made.len() - 1]);
    let drain = server.add_drain(id, &sink.url(""));
    server.post_lines(token, 0, 100);
    server.rested(id, &drain);
    conservation(0..100, &numbers(&sink.received()), 0);
}

#[test]
fn a_channel_that_was_never_used_goes_on_after_a_stop_as_one_that_was() {
    let mut server = Server::start();
    let (used, unused) = (server.create_app("used"), server.create_app("unused"));
    server.post_lines(&used, 0, 10);
    assert!(server.term().success());
    server.restart();
    for (id, token, first) in [("used", used, 10), ("unused", unused, 0)] {
        server.post_lines(&token, first, 10);
        let logs = server.api("GET", &format!("/v3/channels/{id}/logs?num=100"), None).expect(&[200]);
        let expected = (first + 10).to_string();
        assert_eq!(logs.headers.get("logplex-msg-count"), Some(expected.as_str()), "{id}");
    }
}
