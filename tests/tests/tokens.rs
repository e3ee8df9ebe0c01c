//! Tokens are listed, rotated and removed; a rotation refuses nobody and loses nothing.

use std::sync::atomic::{AtomicBool, Ordering};

use logplex_tests::{Server, Sink, conservation, numbered_frames, numbers, wait_for};
use serde_json::{Value, json};

const ROTATE: &str = "/v3/channels/app/tokens/app/rotate";

fn list(server: &Server) -> Vec<Value> {
    let listed = server.api("GET", "/v3/channels/app/tokens", None).expect(&[200]).json();
    listed["tokens"].as_array().expect("a list").clone()
}

/// Rotates the token `app`; the new one.
#[track_caller]
fn rotate(server: &Server, body: Value) -> String {
    let answer = server.api("POST", ROTATE, Some(&body)).expect(&[200]).json();
    assert_eq!(answer["name"], "app");
    answer["token"].as_str().expect("a token").to_owned()
}

/// The status that an empty request with this token is answered with.
fn status(server: &Server, token: &str) -> u16 {
    server.post_logs(token, &[], b"").0
}

#[test]
fn rotation_loses_nothing_under_load() {
    let (mut server, sink) = (Server::start(), Sink::start());
    let old = server.create_app("app");
    server.add_drain("app", &sink.url(""));
    let stop = AtomicBool::new(false);
    // Who has the old token goes on with it; who has the new one comes in beside it.
    let (first, second) = std::thread::scope(|scope| {
        let (server, sink, stop) = (&server, &sink, &stop);
        let send = |token: String, from: u64| {
            move || {
                let mut connection = server.connect();
                let mut next = from;
                while !stop.load(Ordering::Relaxed) {
                    server.post_lines_on(&mut connection, &token, next, 5);
                    next += 5;
                    // Slower than the drain, so that nothing is dropped.
                    sink.wait_line(next - 1);
                }
                next
            }
        };
        let with_old = scope.spawn(send(old.clone(), 0));
        sink.wait_line(20);
        let new = rotate(server, json!({}));
        assert_ne!(new, old);
        let with_new = scope.spawn(send(new, 1_000_000));
        sink.wait_line(1_000_020);
        let twenty_more = numbers(&sink.received()).iter().filter(|number| **number < 1_000_000).count() + 20;
        sink.wait_line(twenty_more as u64);
        stop.store(true, Ordering::Relaxed);
        (with_old.join().expect("no request was refused"), with_new.join().expect("no request was refused"))
    });
    let received = numbers(&sink.received());
    let (of_new, of_old): (Vec<u64>, Vec<u64>) = received.iter().partition(|number| **number >= 1_000_000);
    conservation(0..first, &of_old, 0);
    conservation(1_000_000..second, &of_new, 0);
    // One name, one count: nothing of what the old one brought is forgotten.
    let stats = server.stats("app");
    let total = first + second - 1_000_000;
    assert_eq!(stats["tokens"].as_array().map(Vec::len), Some(1), "{stats}");
    assert_eq!(
        (&stats["tokens"][0]["name"], &stats["tokens"][0]["accepted"]),
        (&json!("app"), &json!(total))
    );
    let accepted = || {
        server
            .metrics()
            .sum("logplex_ingest_accepted_messages_total", &[("channel", "app"), ("token", "app")])
    };
    assert_eq!(accepted() as u64, total);

    // It survives a restart and a crash, with what it knows of its end.
    let before = list(&server);
    assert_eq!(before.len(), 2);
    let new = before[0]["token"].as_str().expect("a token").to_owned();
    for crash in [false, true] {
        if crash {
            server.kill9();
        } else {
            server.term();
        }
        server.restart();
        assert_eq!(list(&server), before);
        assert_eq!((status(&server, &old), status(&server, &new)), (204, 204));
    }
    let removed = server.api("DELETE", "/v3/channels/app/tokens/app/old", None).expect(&[200]).json();
    assert_eq!(removed, json!({ "name": "app", "removed": 1 }));
    assert_eq!((status(&server, &old), status(&server, &new)), (401, 204));
    server.restart();
    assert_eq!((status(&server, &old), status(&server, &new)), (401, 204));
    server.api("DELETE", "/v3/channels/app/tokens/app/old", None).expect(&[404]);
}

#[test]
fn a_repeat_under_the_new_token_is_not_taken_twice() {
    let (server, sink) = (Server::start(), Sink::start());
    let old = server.create_app("app");
    server.add_drain("app", &sink.url(""));
    let body = numbered_frames(0..3);
    let headers = [("Logplex-Frame-Id", "the-same")];
    assert_eq!(server.post_logs(&old, &headers, &body).0, 204);
    let new = rotate(&server, json!({}));
    assert_eq!(server.post_logs(&new, &headers, &body).0, 204);
    server.post_lines(&new, 3, 1);
    assert_eq!(numbers(&sink.wait_line(3)), [0, 1, 2, 3]);
    let counts = &server.stats("app")["tokens"][0];
    assert_eq!((&counts["accepted"], &counts["repeated"]), (&json!(4), &json!(3)));
}

#[test]
fn an_old_token_ends_with_its_grace() {
    let server = Server::start();
    let first = server.create_app("app");
    let second = rotate(&server, json!({ "grace": 0 }));
    assert_eq!((status(&server, &first), status(&server, &second)), (401, 204));
    // One second is enough to see both.
    let third = rotate(&server, json!({ "grace": 1 }));
    assert_eq!(status(&server, &third), 204);
    wait_for("the end of the grace period", || (status(&server, &second) == 401).then_some(()));
    assert_eq!(status(&server, &third), 204);
    assert_eq!(list(&server), [json!({ "name": "app", "token": third })]);
    // Another rotation does not lengthen what was settled before.
    let fourth = rotate(&server, json!({}));
    assert_eq!([&first, &second, &third, &fourth].map(|token| status(&server, token)), [401, 401, 204, 204]);
}

#[test]
fn each_request_of_a_connection_is_judged_by_its_own_token_as_that_is_now() {
    let server = Server::start();
    let tokens = server.create_channel("app", &["app", "web"]);
    let mut connection = server.connect();
    let mut status =
        |token: &str| server.post_logs_on(&mut connection, token, &[], &numbered_frames(0..1)).status;
    for (token, expected) in [
        (&tokens["app"], 204),
        (&tokens["app"], 204),
        (&tokens["web"], 204),
        (&tokens["app"].replace("t.", "t.0"), 401),
        (&tokens["web"], 204),
    ] {
        assert_eq!(status(token), expected);
    }
    let stats = server.stats("app");
    let accepted = |at: usize| (&stats["tokens"][at]["name"], &stats["tokens"][at]["accepted"]);
    assert_eq!([accepted(0), accepted(1)], [(&json!("app"), &json!(2)), (&json!("web"), &json!(2))]);

    // Removed, replaced, gone with its channel: each while its connection is open, and was its last.
    server.api("DELETE", "/v3/channels/app/tokens/web", None).expect(&[200]);
    assert_eq!([status(&tokens["web"]), status(&tokens["app"]), status(&tokens["app"])], [401, 204, 204]);
    let new = rotate(&server, json!({ "grace": 0 }));
    assert_eq!([status(&tokens["app"]), status(&new), status(&new)], [401, 204, 204]);
    server.api("DELETE", "/v3/channels/app", None).expect(&[204]);
    assert_eq!(status(&new), 401);
    let again = server.create_app("app");
    assert_eq!([status(&new), status(&again)], [401, 204]);
    assert_eq!(server.stats("app")["tokens"][0]["accepted"], json!(1));
}

#[test]
fn tokens_are_listed_shown_and_removed_by_name() {
    let server = Server::start();
    let made = server.create_channel("app", &["web", "app"]);
    assert_eq!(
        list(&server),
        [json!({ "name": "app", "token": made["app"] }), json!({ "name": "web", "token": made["web"] })]
    );
    let new = rotate(&server, json!({ "grace": 3600 }));
    let listed = list(&server);
    assert_eq!(listed.len(), 3);
    assert_eq!(listed[0], json!({ "name": "app", "token": new }));
    assert_eq!(listed[1]["token"], made["app"].as_str());
    let until = listed[1]["valid_until"].as_str().expect("a time");
    assert!(until.ends_with("+00:00") && until.len() == 25, "{until}");
    // Everywhere else a name has one token: the one to use.
    let channel = server.api("GET", "/v3/channels/app", None).expect(&[200]).json();
    assert_eq!(channel["tokens"], json!({ "app": new, "web": made["web"] }));
    let second = server.api("GET", "/v2/channels/app", None).expect(&[200]).json();
    assert_eq!(second["tokens"].as_array().map(Vec::len), Some(2));
    // A declaration that keeps the name keeps both.
    server.create_channel("app", &["app"]);
    assert_eq!([&made["app"], &new, &made["web"]].map(|token| status(&server, token)), [204, 204, 401]);

    let removed = server.api("DELETE", "/v3/channels/app/tokens/app", None).expect(&[200]).json();
    assert_eq!(removed, json!({ "name": "app", "removed": 2 }));
    assert_eq!([&made["app"], &new].map(|token| status(&server, token)), [401, 401]);
    assert!(list(&server).is_empty());
    for (method, path) in [
        ("DELETE", "/v3/channels/app/tokens/app"),
        ("DELETE", "/v3/channels/app/tokens/app/old"),
        ("POST", ROTATE),
        ("GET", "/v3/channels/none/tokens"),
        ("DELETE", "/v3/channels/none/tokens/app"),
    ] {
        server.api(method, path, None).expect(&[404]);
    }
}

#[test]
fn grace_is_a_number_of_seconds_with_a_bound() {
    let server = Server::start();
    let token = server.create_app("app");
    for body in [
        json!({ "grace": -1 }),
        json!({ "grace": "1" }),
        json!({ "grace": 31_536_001 }),
        json!({ "grace": 1.5 }),
        json!({ "graze": 1 }),
        json!([5]),
    ] {
        server.api("POST", ROTATE, Some(&body)).expect(&[400]);
    }
    assert_eq!(list(&server), [json!({ "name": "app", "token": token })]);
    server.api("POST", ROTATE, None).expect(&[200]);
    server.api("POST", ROTATE, Some(&json!({ "grace": 31_536_000 }))).expect(&[200]);
    assert_eq!(list(&server).len(), 3);
}

#[test]
fn a_channel_has_at_most_a_thousand_tokens() {
    let server = Server::start();
    let names: Vec<String> = (0..999).map(|n| format!("t{n}")).collect();
    let body = json!({ "tokens": names });
    server.api("PUT", "/v3/channels/app", Some(&body)).expect(&[201]);
    let add = || server.api("POST", "/v3/channels/app/tokens", Some(&json!({ "name": "more" })));
    add().expect(&[200]);
    assert_eq!(add().expect(&[422]).json(), json!({ "error": "maximum number of tokens reached" }));
    server.api("POST", "/v3/channels/app/tokens/t1/rotate", None).expect(&[422]);
    server.api("DELETE", "/v3/channels/app/tokens/t2", None).expect(&[200]);
    server.api("POST", "/v3/channels/app/tokens/t1/rotate", None).expect(&[200]);
}
