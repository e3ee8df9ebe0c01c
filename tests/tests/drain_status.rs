//! What the API tells of a drain, what it never tells, and which options of a drain it refuses.

use logplex_tests::{Answer, Server, Sink, conservation, numbers, wait_for};
use serde_json::{Value, json};

const CHANNEL: &str = "app";

#[track_caller]
fn refusal(server: &Server, url: &str) -> String {
    let answer = server.api("POST", "/v3/channels/app/drains", Some(&json!({ "url": url })));
    let answer = answer.expect(&[400]).json();
    answer["error"].as_str().expect("an error").to_owned()
}

fn seconds(status: &Value, field: &str) -> String {
    let time = status[field].as_str().unwrap_or_else(|| panic!("no {field}: {status}"));
    assert!(time.ends_with("+00:00") && time.len() == "2026-01-02T03:04:05.678+00:00".len(), "{time}");
    time.to_owned()
}

#[test]
fn a_status_tells_state_attempts_and_one_ledger() {
    let (server, sink) = (Server::start(), Sink::start());
    let token = server.create_app(CHANNEL);
    let secret = sink.url("p4th?code=qu3ry").replace("://", "://us3r:p4ss@");
    let drain = server.add_drain(CHANNEL, &format!("{secret}#exclude-source=heroku&gzip=false"));
    let status = server.drain_status(CHANNEL, &drain);
    let id: u64 = drain.id.parse().unwrap();
    assert_eq!(
        status,
        json!({
            "id": id, "token": drain.token, "url": format!("http://{}", sink.address()), "insecure": false,
            "options": ["exclude-source=heroku", "gzip=false"], "state": "idle",
            "last_status": null, "last_error": null, "last_attempt_at": null, "last_delivered_at": null,
            "next_try_at": null, "held": 0, "oldest_held_seconds": null, "accepted": 0, "delivered": 0,
            "dropped": {}, "lost": {},
        })
    );

    sink.answer(Answer::Hold);
    server.post_lines(&token, 0, 3);
    sink.wait_held(1);
    let status = server.drain_status(CHANNEL, &drain);
    assert_eq!((&status["state"], &status["held"]), (&json!("delivering"), &json!(3)));
    // The first is a second old before the next comes, and it is the oldest.
    wait_for("an age", || {
        server.drain_status(CHANNEL, &drain)["oldest_held_seconds"].as_u64().filter(|age| *age >= 1)
    });
    server.post_lines(&token, 3, 1);
    assert!(server.drain_status(CHANNEL, &drain)["oldest_held_seconds"].as_u64() >= Some(1));

    sink.answer(Answer::with(503, &[("Retry-After", "30")]));
    sink.release(Answer::with(503, &[("Retry-After", "30")]));
    let status = server.wait_drain_state(CHANNEL, &drain, "retrying");
    assert_eq!(status["last_status"], 503);
    assert_eq!(status["last_error"], "the peer answered 503 Service Unavailable");
    assert!(seconds(&status, "next_try_at") > seconds(&status, "last_attempt_at"));
    assert!(status["last_delivered_at"].is_null());

    // Another URL is tried at once.
    sink.answer(Answer::status(204));
    let path = format!("/v3/channels/app/drains/{}", drain.id);
    server.api("PUT", &path, Some(&json!({ "url": secret }))).expect(&[200]);
    conservation(0..4, &numbers(&sink.wait_line(3)), 0);
    let status = server.wait_drain_state(CHANNEL, &drain, "idle");
    assert_eq!((&status["last_status"], &status["last_error"]), (&json!(204), &Value::Null));
    assert_eq!((&status["delivered"], &status["oldest_held_seconds"]), (&json!(4), &Value::Null));
    assert_eq!(status["options"], json!([]));
    seconds(&status, "last_delivered_at");

    let list = server.api("GET", "/v3/channels/app/drains", None).expect(&[200]).json();
    assert_eq!(list, json!([status]));
    let labels = [("channel", CHANNEL), ("drain", drain.token.as_str())];
    assert_eq!(server.metrics().values("logplex_drain_state", "state"), ["idle".to_owned()].into());
    assert_eq!(server.metrics().sum("logplex_drain_state", &labels), 1.0);
    for text in [list.to_string(), server.stderr().join("\n")] {
        for secret in ["us3r", "p4ss", "p4th", "qu3ry"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[test]
fn a_drain_that_nobody_answers_says_why() {
    let server = Server::start();
    let token = server.create_app(CHANNEL);
    let drain = server.add_drain(CHANNEL, "http://127.0.0.1:9/s3cret");
    server.post_lines(&token, 0, 1);
    let status = server.wait_drain_state(CHANNEL, &drain, "retrying");
    let error = status["last_error"].as_str().expect("an error");
    assert!(error.starts_with("no connection: cannot connect to 127.0.0.1:9"), "{error}");
    assert_eq!((&status["last_status"], &status["held"]), (&Value::Null, &json!(1)));
    assert!(!status.to_string().contains("s3cret"));
}

#[test]
fn options_are_refused_with_what_was_meant() {
    let server = Server::start();
    server.create_app(CHANNEL);
    let refused = |options: &str, expected: &str| {
        let refusal = refusal(&server, &format!("https://us3r:p4ss@203.0.113.1/p4th#{options}"));
        assert!(refusal.contains(expected), "{options}: {refusal}");
        assert!(!["us3r", "p4ss", "p4th"].iter().any(|secret| refusal.contains(secret)), "{refusal}");
    };
    refused("exclude-sources=heroku", "did you mean \"exclude-source\"?");
    refused("insecur", "did you mean \"insecure\"?");
    refused("min-severity=loud", "emerg, alert, crit, err, warning, notice, info, debug or 0 to 7");
    refused("batch=0", "takes 1 to 1024");
    refused("insecure&ca=internal", "contradict each other");
    refused("ca=internal", "no bundle of certificates is named \"internal\"; the server was started without");
    assert_eq!(server.api("GET", "/v3/channels/app/drains", None).json(), json!([]));
    // A URL that is set is checked as one that is added.
    let drain = server.add_drain(CHANNEL, "http://203.0.113.1/");
    let path = format!("/v3/channels/app/drains/{}", drain.id);
    server.api("PUT", &path, Some(&json!({ "url": "http://203.0.113.1/#formt=rfc5424" }))).expect(&[400]);
}

#[test]
fn a_drain_trusts_the_bundle_that_it_names_and_no_other_drain_does() {
    let (sink, folder) = (Sink::https(), tempfile::tempdir().unwrap());
    let file = folder.path().join("internal.pem");
    std::fs::write(&file, sink.certificate()).unwrap();
    let mut server = Server::options().args(&["--drain-ca", &format!("internal={}", file.display())]).start();
    let token = server.create_app(CHANNEL);
    let trusting = server.add_drain(CHANNEL, &sink.url("trusting#ca=internal"));
    let other = server.add_drain(CHANNEL, &sink.url("other"));
    server.post_lines(&token, 0, 10);
    conservation(0..10, &numbers(&sink.wait_line(9)), 0);
    let status = server.wait_drain_state(CHANNEL, &other, "retrying");
    assert!(status["last_error"].as_str().unwrap().contains("certificate"), "{status}");
    assert!(sink.requests().iter().all(|request| request.path == "/trusting"));
    assert!(refusal(&server, "https://203.0.113.1/#ca=intrenal").ends_with("known: internal"));

    // A bundle that is gone from the configuration is trusted no longer, and the drain says so.
    server.term();
    server.set_options(Server::options());
    server.restart();
    server.post_lines(&token, 10, 1);
    let status = server.wait_drain_state(CHANNEL, &trusting, "retrying");
    assert_eq!((&status["options"], &status["held"]), (&json!(["ca=internal"]), &json!(1)));
    assert!(status["last_error"].as_str().unwrap().contains("no TLS configuration"), "{status}");

    let missing = Server::options().args(&["--drain-ca", "x=/nowhere.pem"]).fail(folder.path(), 0);
    assert!(missing.stderr.join("\n").contains("cannot read the certificates \"x\""), "{missing:?}");
}
