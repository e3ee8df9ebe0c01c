//! The platform's error codes in what a channel carries: counted by code, and named in JSON lines.

use logplex_tests::{Server, Tail, encode, frame, shuttles_notice};
use serde_json::{Value, json};

const COUNTER: &str = "logplex_error_codes_total";

/// A frame as the router writes it.
fn router(text: &str) -> Vec<u8> {
    encode(format!("<158>1 2026-01-02T03:04:05.678901+00:00 host heroku router - - {text}").as_bytes())
}

#[test]
fn codes_are_counted_a_channel_and_named_in_json_lines() {
    let server = Server::start();
    let (token, other) = (server.create_app("app"), server.create_app("other"));
    let url = server.create_session("app", json!({ "tail": true }));
    let tail = Tail::open(&format!("{url}?format=json"));
    assert!(server.metrics().values(COUNTER, "code").is_empty());
    let h12 = "at=error code=H12 desc=\"Request timeout\" status=503";
    let body = [
        router(h12),
        router("sock=client at=warning code=\"H27\" status=499"),
        router("at=info path=\"/ code=H10 \" status=200"),
        frame("app", h12),
        router(h12),
        shuttles_notice(7),
        frame("app", "the last"),
    ];
    assert_eq!(server.post_logs(&token, &[], &body.concat()).0, 204);
    assert_eq!(server.post_logs(&other, &[], &router("at=info code=H81")).0, 204);

    tail.wait_line("the last", |line| line.contains("the last"));
    let lines: Vec<Value> =
        tail.lines().iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let codes: Vec<&Value> = lines.iter().map(|line| &line["code"]).collect();
    assert_eq!(json!(codes), json!(["H12", "H27", null, null, "H12", "L12", null]));
    assert!(lines[2].get("code").is_none(), "{}", lines[2]);

    let metrics = server.metrics();
    let count = |channel: &str, code: &str| metrics.sum(COUNTER, &[("channel", channel), ("code", code)]);
    assert_eq!((count("app", "H12"), count("app", "H27"), count("app", "L12")), (2.0, 1.0, 1.0));
    assert_eq!((count("other", "H81"), count("other", "H12")), (1.0, 0.0));
    // There is a series for each code that came, and for no other.
    let seen: Vec<String> = metrics.values(COUNTER, "code").into_iter().collect();
    assert_eq!(seen, ["H12", "H27", "H81", "L12"]);
}
