//! The platform's error codes in what a channel carries: counted by code, named in JSON lines, and told by the API.

use logplex_tests::{API_KEY, Program, Server, Tail, encode, frame, shuttles_notice};
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

#[test]
fn a_channels_codes_are_told_with_their_times_and_newest_lines() {
    let server = Server::start();
    let token = server.create_app("app");
    let codes = |channel: &str| {
        server.api("GET", &format!("/v3/channels/{channel}/codes"), None).expect(&[200]).json()
    };
    assert_eq!(codes("app"), json!({ "channel": "app", "codes": [] }));
    server.api("GET", "/v3/channels/none/codes", None).expect(&[404]);

    let post = |body: &[u8]| assert_eq!(server.post_logs(&token, &[], body).0, 204);
    post(&[router("at=info code=H80 desc=\"Maintenance mode\""), router("at=info status=200")].concat());
    let h12 = |n: u64| router(&format!("at=error code=H12 desc=\"Request timeout\" n={n}"));
    post(&(0..7).flat_map(h12).collect::<Vec<u8>>());
    let before = codes("app")["codes"][0].clone();
    // An app's own codes count for nothing, and a long line is cut.
    post(
        &[frame("app", "at=error code=H12"), h12(7), router(&format!("code=H10 {}", "x".repeat(5000)))]
            .concat(),
    );

    let seen = codes("app")["codes"].clone();
    let seen = seen.as_array().expect("a list");
    let shown: Vec<Value> =
        seen.iter().map(|one| json!([one["code"], one["count"], one["severity"]])).collect();
    // Those that came last first; of those that came together, in the order of the catalogue.
    assert_eq!(json!(shown), json!([["H10", 1, "critical"], ["H12", 8, "critical"], ["H80", 1, "warning"]]));
    assert_eq!(seen[1]["title"], "Request timeout");
    let line = |n: u64| {
        format!(
            "2026-01-02T03:04:05.678901+00:00 heroku[router]: at=error code=H12 desc=\"Request timeout\" n={n}"
        )
    };
    assert_eq!(seen[1]["lines"], json!((3..8).map(line).collect::<Vec<_>>()));
    let cut = seen[0]["lines"][0].as_str().expect("a line");
    assert!(cut.len() <= 512 && cut.ends_with("x…"), "{cut}");
    let time = |value: &Value| value.as_str().expect("a time").to_owned();
    assert_eq!(time(&seen[1]["first_at"]), time(&before["first_at"]));
    assert!(time(&seen[1]["last_at"]) >= time(&before["last_at"]));
    assert_eq!(time(&seen[0]["first_at"]), time(&seen[1]["last_at"]));

    // The metric counts the same.
    let metrics = server.metrics();
    for one in seen {
        let code = one["code"].as_str().expect("a code");
        assert_eq!(
            metrics.sum(COUNTER, &[("channel", "app"), ("code", code)]),
            one["count"].as_f64().unwrap()
        );
    }
    let url = server.url("");
    let show = |args: &[&str]| {
        let env = [("LOGPLEX_API_KEY", API_KEY), ("LOGPLEX_URL", &url)];
        Program::start("logplex", &[&["channels", "show", "app"], args].concat(), &env).wait().stdout
    };
    let shown = show(&[]);
    let heading = shown.iter().position(|line| line.starts_with("CODE  SEVERITY  COUNT")).expect("a table");
    let row: Vec<&str> = shown[heading + 2].split_whitespace().collect();
    assert_eq!((row[0], row[2], &row[4..]), ("H12", "8", &["Request", "timeout"][..]), "{shown:?}");
    let shown: Value = serde_json::from_str(&show(&["--json"]).join("\n")).expect("JSON");
    assert_eq!(shown["codes"], json!(seen));
}

#[test]
fn where_no_history_is_kept_no_line_is() {
    let server = Server::options().args(&["--history-memory", "0"]).start();
    let token = server.create_app("app");
    assert_eq!(server.post_logs(&token, &[], &router("at=error code=H12")).0, 204);
    let codes = server.api("GET", "/v3/channels/app/codes", None).expect(&[200]).json();
    assert_eq!((&codes["codes"][0]["count"], &codes["codes"][0]["lines"]), (&json!(1), &json!([])));
}
