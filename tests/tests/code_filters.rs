//! Readers who want the platform's error codes alone: drains, sessions, `logplex tail --code`, the history.

use logplex_tests::{
    API_KEY, Form, Program, Received, Server, Sink, Stream, TailLine, encode, split_frames, wait_for,
};
use serde_json::{Value, json};

/// What the channel gets, and the code that the platform gives it there.
const MESSAGES: [(&str, &str, Option<&str>); 7] = [
    ("heroku router", "at=error code=H12 desc=\"Request timeout\" n=0", Some("H12")),
    ("heroku router", "at=info path=\"/\" status=200 n=1", None),
    ("app web.1", "at=error code=H12 Error R14 (Memory quota exceeded) n=2", None),
    ("heroku web.1", "Error R14 (Memory quota exceeded)", Some("R14")),
    ("heroku web.2", "Error R15 (Memory quota vastly exceeded)", Some("R15")),
    ("app web.1", "hello n=5", None),
    ("heroku router", "at=error code=H10 desc=\"App crashed\" n=6", Some("H10")),
];

fn frame_of((from, text, _): (&str, &str, Option<&str>)) -> Vec<u8> {
    encode(format!("<158>1 2026-01-02T03:04:05.678901+00:00 host {from} - - {text}").as_bytes())
}

fn all() -> Vec<u8> {
    MESSAGES.map(frame_of).concat()
}

/// The texts of the messages with one of these codes.
fn texts_of(codes: &[&str]) -> Vec<&'static str> {
    MESSAGES
        .iter()
        .filter(|(_, _, code)| code.is_some_and(|code| codes.contains(&code)))
        .map(|(_, text, _)| *text)
        .collect()
}

#[track_caller]
fn post(server: &Server, token: &str, body: &[u8]) {
    let (status, text) = server.post_logs(token, &[], body);
    assert_eq!(status, 204, "{text}");
}

#[test]
fn a_drain_gets_the_codes_that_it_asks_for_and_counts_no_others() {
    for (options, codes) in [
        ("code=R*", &["R14", "R15"][..]),
        ("code=h12&code=H10,L*", &["H12", "H10"]),
        ("code=*&exclude-ps=router", &["R14", "R15"]),
        ("code=L*", &[]),
    ] {
        let (server, sink) = (Server::start(), Sink::start());
        let token = server.create_app("app");
        let drain = server.add_drain("app", &format!("{}#{options}", sink.url("in")));
        // In one request, and then each in one of its own.
        post(&server, &token, &all());
        MESSAGES.iter().for_each(|message| post(&server, &token, &frame_of(*message)));
        let ledger = server.rested("app", &drain);
        let texts: Vec<String> = sink.received().into_iter().map(|message| message.text).collect();
        let expected = texts_of(codes);
        assert_eq!(texts, [expected.as_slice(), &expected].concat(), "{options}");
        let wanted = 2 * expected.len() as u64;
        assert_eq!((ledger.accepted, ledger.delivered, ledger.gone()), (wanted, wanted, 0), "{options}");
        let shown = server.drain_status("app", &drain)["options"].clone();
        assert_eq!(shown, json!(options.split('&').collect::<Vec<_>>()));
    }
}

#[test]
fn noise_pushes_no_code_out_of_a_drains_ring() {
    let (server, sink) = (Server::start(), Sink::start());
    let token = server.create_app("app");
    let drain = server.add_drain("app", &format!("{}#code=H*", sink.url("in")));
    let gate = sink.gate();
    post(&server, &token, &all());
    sink.wait_held(1);
    server.post_batches(&token, 0..3000, 500);
    post(&server, &token, &all());
    let ledger = server.drain_ledger("app", &drain);
    assert_eq!((ledger.accepted, ledger.held, ledger.gone()), (4, 4, 0));
    gate.open();
    assert_eq!(server.rested("app", &drain).delivered, 4);
}

#[test]
fn an_unknown_code_is_refused_with_the_nearest() {
    let server = Server::start();
    server.create_app("app");
    let refused = |method: &str, path: &str, body: Option<Value>| {
        let answer = server.api(method, path, body.as_ref()).expect(&[400]).json();
        answer["error"].as_str().expect("a text").to_owned()
    };
    let hint = "unknown code \"H121\"; did you mean H12?";
    let url = json!({ "url": "https://h.example/#code=R14,H121" });
    let said = refused("POST", "/v3/channels/app/drains", Some(url));
    assert_eq!(said, format!("invalid drain URL: the drain option \"code\" takes codes: {hint}"));
    let session =
        |code: Value| refused("POST", "/v3/sessions", Some(json!({ "channel_id": "app", "code": code })));
    assert_eq!(session(json!("H121")), hint);
    assert_eq!(session(json!(["H12", "R*,H121"])), hint);
    assert!(session(json!(12)).starts_with("'code' must be codes such as"));
    assert!(session(json!(vec!["H12"; 65])).starts_with("at most 64 names"));
    assert_eq!(refused("GET", "/v3/channels/app/logs?code=H121", None), hint);

    let args = ["tail", "app", "--url", &server.url(""), "--code", "H121"];
    let ended = Program::start("logplex", &args, &[("LOGPLEX_API_KEY", API_KEY)]).wait();
    assert_eq!((ended.status.code(), ended.stdout.len()), (Some(2), 0));
    assert!(ended.stderr.join("\n").contains(hint), "{:?}", ended.stderr);
}

#[test]
fn a_session_shows_codes_alone_of_the_past_and_of_what_comes() {
    let server = Server::start();
    let token = server.create_app("app");
    post(&server, &token, &all());
    for (code, codes) in
        [(json!("r*"), &["R14", "R15"][..]), (json!(["H12", "H10"]), &["H12", "H10"]), (json!([]), &[])]
    {
        let url = server.create_session("app", json!({ "tail": false, "code": code }));
        let stream = Stream::lines_of(&url);
        stream.wait_ended();
        let expected =
            if codes.is_empty() { MESSAGES.map(|(_, text, _)| text).to_vec() } else { texts_of(codes) };
        let shown: Vec<String> = stream.lines();
        let texts: Vec<&str> = shown.iter().map(|line| line.split_once("]: ").expect("a line").1).collect();
        assert_eq!(texts, expected, "{code}");
    }
    // The number is that of messages which fit.
    let url = server.create_session("app", json!({ "tail": true, "num": 2, "code": "*" }));
    let stream = Stream::events_of(&format!("{url}?format=json"), None);
    post(&server, &token, &all());
    let codes = |lines: Vec<String>| -> Vec<String> {
        let code =
            |line: &String| serde_json::from_str::<Value>(line).ok()?["code"].as_str().map(str::to_owned);
        lines.iter().map(|line| code(line).expect("each has a code")).collect()
    };
    let data = || stream.events().iter().map(|event| event.data.clone()).collect::<Vec<_>>();
    wait_for("six lines", || (data().len() == 6).then_some(()));
    assert_eq!(codes(data()), ["R15", "H10", "H12", "R14", "R15", "H10"]);
    // What was left out was not this reader's: nothing is missing.
    assert_eq!(server.tails_ledger("app").gone(), 0);
}

#[test]
fn the_tail_command_shows_codes_alone() {
    let server = Server::start();
    let token = server.create_app("app");
    post(&server, &token, &all());
    let url = server.url("");
    for (args, codes) in [
        (&["--code", "H12,R*"][..], &["H12", "R14", "R15"][..]),
        (&["--code", "h10", "--code", "r15"], &["R15", "H10"]),
        (&["--code", "*", "-n", "1"], &["H10"]),
    ] {
        let args = [&["tail", "app", "--no-follow", "-o", "raw", "--url", &url], args].concat();
        let ended = Program::start("logplex", &args, &[("LOGPLEX_API_KEY", API_KEY)]).wait();
        assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), &[][..]), "{args:?}");
        assert_eq!(ended.stdout, texts_of(codes), "{args:?}");
    }
    let args = ["tail", "app", "-n", "0", "--code", "R14", "--url", &url];
    let program = Program::start("logplex", &args, &[("LOGPLEX_API_KEY", API_KEY)]);
    wait_for("an open tail", || (server.stats("app")["tails"]["open"] == 1).then_some(()));
    post(&server, &token, &all());
    program.wait_line("the code", |line| TailLine::parse(line).is_some_and(|line| line.text.contains("R14")));
    assert_eq!(program.stdout().len(), 1);
}

#[test]
fn the_history_is_read_by_code_also_after_a_restart() {
    let mut server = Server::start();
    let token = server.create_app("app");
    post(&server, &token, &all());
    let logs = |server: &Server, query: &str| {
        let answer = server.api("GET", &format!("/v3/channels/app/logs?{query}"), None).expect(&[200]);
        let count = answer.headers.get("logplex-msg-count").expect("a count").to_owned();
        let texts: Vec<String> = split_frames(&answer.body)
            .expect("frames")
            .into_iter()
            .map(|raw| Received::parse(raw, Form::Routed).expect("a drain's form").text)
            .collect();
        assert_eq!(count, texts.len().to_string());
        texts
    };
    let check = |server: &Server| {
        assert_eq!(logs(server, "code=R*,H12"), texts_of(&["R14", "R15", "H12"]));
        assert_eq!(logs(server, "code=H*&num=1"), texts_of(&["H10"]));
        assert_eq!(logs(server, "code=L*"), [] as [&str; 0]);
        assert_eq!(logs(server, "num=100").len(), MESSAGES.len());
    };
    check(&server);
    server.term();
    server.restart();
    check(&server);
}
