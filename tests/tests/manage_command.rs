//! `logplex channels`, `tokens` and `drains`: what they show, what they end with, and what they keep to themselves.

use std::net::TcpListener;

use logplex_tests::{API_KEY, Ended, Program, Server, Sink, numbers, scripted};
use serde_json::{Value, json};

const SECRET_URL: &str = "http://user:pa55word@203.0.113.1:8443/k3y-in-path?code=k3y-in-query";
const SHOWN_URL: &str = "http://…@203.0.113.1:8443/…?…";

/// `logplex ARGS…` on a server, with its key.
fn run(server: &Server, args: &[&str]) -> Ended {
    let url = server.url("");
    Program::start("logplex", args, &[("LOGPLEX_API_KEY", API_KEY), ("LOGPLEX_URL", &url)]).wait()
}

/// What a command prints that must succeed.
#[track_caller]
fn done(server: &Server, args: &[&str]) -> Vec<String> {
    let ended = run(server, args);
    assert_eq!(ended.status.code(), Some(0), "{args:?}: {:?}", ended.stderr);
    ended.stdout
}

/// What a command prints as JSON that must succeed.
#[track_caller]
fn json_of(server: &Server, args: &[&str]) -> Value {
    let stdout = done(server, &[args, &["--json"]].concat()).join("\n");
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {stdout}"))
}

#[test]
fn a_channel_is_made_used_shown_and_removed() {
    let (server, sink) = (Server::start(), Sink::start());
    let ended = run(&server, &["channels", "ls"]);
    assert_eq!((ended.status.code(), ended.stdout.len()), (Some(0), 0));
    assert!(ended.stderr[0].contains("logplex channels add NAME"), "{:?}", ended.stderr);
    assert_eq!(json_of(&server, &["channels", "ls"]), json!([]));

    let made = run(&server, &["channels", "add", "my-app"]);
    assert_eq!((made.status.code(), made.stdout.len()), (Some(0), 2), "{:?}", made.stderr);
    let token = made.stdout[1].strip_prefix("app    ").expect("a name and a token").to_owned();
    assert_eq!((made.stdout[0].as_str(), token.len()), ("TOKEN  SECRET", 38));
    let ship = format!("LOGS_URL=http://token:{token}@{}/logs", server.address());
    assert!(made.stderr.iter().any(|line| line.ends_with(&ship)), "{:?}", made.stderr);

    let added = done(&server, &["drains", "add", "my-app", &sink.url("in"), "--no-verify"]);
    let (id, rest) =
        added[0].strip_prefix("added the drain ").and_then(|line| line.split_once(" (")).unwrap();
    assert!(rest.contains(") to the channel my-app: http://") && rest.ends_with("/…"), "{added:?}");
    server.post_lines(&token, 0, 7);
    sink.wait_line(6);
    server.rested("my-app", &logplex_tests::Drain { id: id.to_owned(), token: rest[..38].to_owned() });

    let shown = done(&server, &["channels", "show", "my-app"]);
    let [tokens, row, _, drains, drain, _, tails] = shown.as_slice() else { panic!("{shown:?}") };
    assert!(tokens.starts_with("TOKEN  SECRET     ACCEPTED"), "{shown:?}");
    assert_eq!(
        row.split_whitespace().collect::<Vec<_>>(),
        ["app", &format!("{}…", &token[..8]), "7", "0", "0"]
    );
    assert_eq!(
        drains.split_whitespace().collect::<Vec<_>>(),
        ["DRAIN", "TOKEN", "STATE", "DELIVERED", "DROPPED", "LOST", "HELD", "URL"]
    );
    assert!(drain.split_whitespace().any(|cell| cell == "7"), "{drain}");
    assert_eq!(tails, "0 tails open, 0 messages delivered to tails");
    let shown = json_of(&server, &["channels", "show", "my-app"]);
    assert_eq!(
        (&shown["tokens"][0]["accepted"], &shown["drains"][0]["delivered"], &shown["tails"]["open"]),
        (&json!(7), &json!(7), &json!(0))
    );

    done(&server, &["channels", "add", "other", "--token", "web", "--token", "worker"]);
    let listed = done(&server, &["channels", "ls"]);
    assert_eq!(listed, ["CHANNEL  TOKENS  DRAINS", "my-app        1       1", "other         2       0"]);
    let removed = done(&server, &["channels", "rm", "my-app"]);
    assert_eq!(removed, ["removed the channel my-app with 1 token and 1 drain"]);
    assert_eq!(
        json_of(&server, &["channels", "ls"]),
        json!([{ "channel": "other", "tokens": 2, "drains": 0 }])
    );
    let expected = json!({ "channel": "other", "removed": true, "tokens": 2, "drains": 0 });
    assert_eq!(json_of(&server, &["channels", "rm", "other"]), expected);
}

#[test]
fn making_a_channel_again_takes_no_token_away() {
    let server = Server::start();
    let token = server.create_app("app");
    let ended = run(&server, &["channels", "add", "app", "--token", "other"]);
    assert_eq!((ended.status.code(), ended.stdout.len()), (Some(1), 0));
    assert!(ended.stderr[0].contains("logplex tokens add app NAME"), "{:?}", ended.stderr);
    assert_eq!(server.post_logs(&token, &[], b"").0, 204);
}

#[test]
fn more_channels_than_a_page_are_all_listed() {
    let server = Server::start();
    let names: Vec<String> = (0..1100).map(|n| format!("app-{n:04}")).collect();
    let mut connection = server.connect();
    let key = format!("Bearer {API_KEY}");
    let headers = [("Authorization", key.as_str()), ("Content-Type", "application/json")];
    for name in &names {
        let path = format!("/v3/channels/{name}");
        assert_eq!(connection.request("PUT", &path, &headers, b"{}").unwrap().status, 201);
    }
    let listed = json_of(&server, &["channels", "ls"]);
    let listed: Vec<&str> =
        listed.as_array().unwrap().iter().map(|row| row["channel"].as_str().unwrap()).collect();
    assert_eq!(listed, names);
}

#[test]
fn tokens_are_made_rotated_and_removed() {
    let server = Server::start();
    server.create_app("app");
    let status = |token: &str| server.post_logs(token, &[], b"").0;
    // The token alone is on stdout, as a script wants it.
    let [old] = &done(&server, &["tokens", "add", "app", "web"])[..] else { panic!("one line") };
    let [new] = &done(&server, &["tokens", "rotate", "app", "web"])[..] else { panic!("one line") };
    assert_eq!((status(old), status(new), old == new), (204, 204, false));
    server.post_lines(old, 0, 2);
    server.post_lines(new, 2, 3);
    let listed = done(&server, &["tokens", "ls", "app"]);
    let cells: Vec<Vec<&str>> = listed.iter().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(cells[2][..5], ["web", &format!("{}…", &new[..8]), "5", "0", "0"], "{listed:?}");
    assert_eq!(cells[3][..6], ["web", &format!("{}…", &old[..8]), "-", "-", "-", "until"], "{listed:?}");
    let revealed = done(&server, &["tokens", "ls", "app", "--reveal"]).join("\n");
    assert!(revealed.contains(old) && revealed.contains(new), "{revealed}");
    let listed = json_of(&server, &["tokens", "ls", "app"]);
    assert_eq!((listed.as_array().map(Vec::len), &listed[1]["accepted"]), (Some(3), &json!(5)));

    let removed = done(&server, &["tokens", "rm", "app", "web", "--old"]);
    assert_eq!(removed, ["removed the old token web of the channel app: 1 secret"]);
    assert_eq!((status(old), status(new)), (401, 204));
    let next = json_of(&server, &["tokens", "rotate", "app", "web", "--grace", "0"]);
    assert_eq!((status(new), status(next["token"].as_str().unwrap())), (401, 204));
    let removed = json_of(&server, &["tokens", "rm", "app", "web"]);
    assert_eq!(removed["name"], "web");
    assert_eq!(status(next["token"].as_str().unwrap()), 401);
}

#[test]
fn drains_are_added_changed_and_removed_without_showing_their_secrets() {
    let server = Server::start();
    server.create_app("app");
    let mut said = Vec::new();
    let mut run = |args: &[&str]| {
        let ended = run(&server, args);
        assert_eq!(ended.status.code(), Some(0), "{args:?}: {:?}", ended.stderr);
        said.extend([ended.stdout.clone(), ended.stderr].concat());
        ended.stdout
    };
    let added = run(&["drains", "add", "app", SECRET_URL, "--no-verify"]);
    assert!(added[0].ends_with(&format!("to the channel app: {SHOWN_URL}")), "{added:?}");
    let json = run(&["drains", "add", "app", &format!("{SECRET_URL}2#insecure"), "--no-verify", "--json"])
        .join("\n");
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["url"], format!("{SHOWN_URL}#insecure"));
    let listed = run(&["drains", "ls", "app"]);
    assert!(listed[1].ends_with(SHOWN_URL) && listed.len() == 3, "{listed:?}");
    let listed: Value = serde_json::from_str(&run(&["drains", "ls", "app", "--json"]).join("\n")).unwrap();
    assert_eq!((&listed[0]["url"], &listed[0]["held"]), (&json!(SHOWN_URL), &json!(0)));
    run(&["channels", "show", "app"]);
    run(&["channels", "show", "app", "--json"]);
    // By its number or by its token, as a notice names it.
    let token = listed[0]["token"].as_str().unwrap().to_owned();
    let changed = run(&["drains", "set", "app", &token, &SECRET_URL.replace("pa55", "0ther-pa55")]);
    assert_eq!(changed, [format!("the drain {} of the channel app sends to {SHOWN_URL}", listed[0]["id"])]);
    let removed = run(&["drains", "rm", "app", &listed[0]["id"].to_string()]);
    assert_eq!(
        removed,
        [format!("removed the drain {} ({token}) of the channel app: {SHOWN_URL}", listed[0]["id"])]
    );
    run(&["drains", "rm", "app", json["token"].as_str().unwrap(), "--json"]);
    let said = said.join("\n");
    for secret in ["user", "pa55word", "k3y-in-path", "k3y-in-query", API_KEY] {
        assert!(!said.contains(secret), "{secret}: {said}");
    }
    done(&server, &["drains", "add", "app", SECRET_URL, "--no-verify"]);
    for option in ["--reveal", "--show-url"] {
        assert!(done(&server, &["drains", "ls", "app", option]).join("\n").contains(SECRET_URL), "{option}");
    }
}

#[test]
fn another_url_given_by_the_command_line_is_where_lines_go() {
    let (server, a, b) = (Server::start(), Sink::start(), Sink::start());
    let token = server.create_app("app");
    let drain = server.add_drain("app", &a.url(""));
    done(&server, &["drains", "set", "app", &drain.id, &b.url("")]);
    server.post_lines(&token, 0, 2);
    assert_eq!(numbers(&b.wait_line(1)), [0, 1]);
    assert!(a.requests().is_empty());
}

/// `logplex drains ARGS…` against a scripted server: how it ended, and what was asked.
fn drains(args: &[&str], answers: Vec<(u16, Value)>) -> (Ended, Vec<(String, String)>) {
    let (url, server) = scripted(answers);
    let env = [("LOGPLEX_API_KEY", API_KEY), ("LOGPLEX_URL", &url)];
    let ended = Program::start("logplex", &[&["drains"], args].concat(), &env).wait();
    (ended, server.join().expect("a server that was asked what it expects"))
}

/// A drain as `GET …/drains/:D` tells of it.
fn status_json() -> Value {
    json!({
        "id": 7, "token": "d.1", "url": "https://h.example/…", "state": "retrying", "last_status": 503,
        "insecure": true, "options": ["insecure", "include-ps=web"],
        "last_error": "bad \u{1b}[31m", "held": 12, "oldest_held_seconds": 40, "accepted": 30, "delivered": 10,
        "dropped": { "full": 5 }, "lost": { "rejected": 2, "timeout": 1 }, "next_try_at": "2026-01-02T03:04:05+00:00",
    })
}

#[test]
fn a_drains_state_is_shown_paused_and_resumed() {
    let expected = [
        "drain        7",
        "token        d.1",
        "url          https://h.example/…",
        "options      insecure, include-ps=web",
        "state        retrying",
        "last status  503",
        "last error   bad \\x1b[31m",
        "next try     2026-01-02T03:04:05+00:00",
        "accepted     30",
        "delivered    10",
        "dropped      5 (5 full)",
        "lost         3 (2 rejected, 1 timeout)",
        "held         12",
        "oldest held  40 s",
    ];
    for (command, request, body) in [
        ("status", "GET /v3/channels/app/drains/7", ""),
        ("pause", "POST /v3/channels/app/drains/7/pause", "{}"),
        ("resume", "POST /v3/channels/app/drains/7/resume", "{}"),
    ] {
        let (ended, asked) = drains(&[command, "app", "7"], vec![(200, status_json())]);
        assert_eq!((ended.status.code(), ended.stderr.len()), (Some(0), 0), "{:?}", ended.stderr);
        assert_eq!(ended.stdout, expected, "{command}");
        assert_eq!(asked, [(request.to_owned(), body.to_owned())]);
        let (ended, _) = drains(&[command, "app", "7", "--json"], vec![(200, status_json())]);
        let shown: Value = serde_json::from_str(&ended.stdout.join("\n")).expect("JSON");
        assert_eq!(shown, status_json(), "{command}");
    }
    // The list tells states, where the server does.
    let channel = json!({ "channel": "app", "drains": [{ "id": 7, "token": "d.1", "url": SECRET_URL }] });
    let (ended, _) = drains(&["ls", "app"], vec![(200, channel), (200, json!([status_json()]))]);
    let cells: Vec<&str> = ended.stdout[1].split_whitespace().collect();
    assert_eq!(cells, ["7", "d.1", "retrying", "10", "5", "3", "12", SHOWN_URL]);
}

#[test]
fn what_trying_a_drain_out_said_is_shown_step_by_step() {
    let step =
        |step: &str, ok: bool, detail: &str| json!({ "step": step, "ok": ok, "detail": detail, "ms": 3 });
    let good =
        json!({ "steps": [step("resolve", true, "203.0.113.1"), step("probe", true, "204 No Content")] });
    let bad = json!({ "steps": [step("resolve", true, "203.0.113.1"), step("connect", false, "refused")] });
    let lines = |last: &str| {
        vec![
            "STEP     RESULT  TIME  DETAIL".to_owned(),
            "resolve  ok      3 ms  203.0.113.1".to_owned(),
            last.to_owned(),
        ]
    };
    let refused = lines("connect  failed  3 ms  refused");

    let (ended, asked) = drains(&["test", "app", "7"], vec![(200, json!({ "report": good }))]);
    assert_eq!(
        (ended.status.code(), ended.stdout),
        (Some(0), lines("probe    ok      3 ms  204 No Content"))
    );
    assert_eq!(asked[0].0, "POST /v3/channels/app/drains/7/test");
    let (ended, _) = drains(&["test", "app", "7"], vec![(200, bad.clone())]);
    assert_eq!((ended.status.code(), &ended.stdout), (Some(1), &refused));
    assert!(ended.stderr[0].contains("connect failed"), "{:?}", ended.stderr);

    let made = json!({ "id": 7, "token": "d.1", "url": SECRET_URL, "report": good });
    let (ended, asked) = drains(&["add", "app", SECRET_URL], vec![(201, made.clone())]);
    assert_eq!((ended.status.code(), ended.stdout.len()), (Some(0), 4));
    let sent = |asked: &[(String, String)]| serde_json::from_str::<Value>(&asked[0].1).expect("JSON");
    assert_eq!(sent(&asked), json!({ "url": SECRET_URL, "verify": true }));
    let (_, asked) = drains(&["add", "app", SECRET_URL, "--no-verify"], vec![(201, made)]);
    assert_eq!(sent(&asked), json!({ "url": SECRET_URL }));
    let answer = json!({ "error": "the drain cannot be reached", "report": bad });
    let (ended, _) = drains(&["add", "app", SECRET_URL], vec![(422, answer)]);
    assert_eq!((ended.status.code(), ended.stdout.len()), (Some(1), 0));
    assert_eq!(ended.stderr[..3], refused);
    assert!(ended.stderr[3].contains("the drain cannot be reached"), "{:?}", ended.stderr);
}

#[test]
fn a_url_can_be_given_where_other_users_cannot_read_it() {
    let server = Server::start();
    server.create_app("app");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("url");
    std::fs::write(&file, format!("{SECRET_URL}\n")).expect("a file");
    let script = format!(
        "'{}' drains add app - --no-verify < '{}'",
        logplex_tests::binary("logplex").display(),
        file.display()
    );
    let output = std::process::Command::new("sh")
        .args(["-c", &script])
        .env("LOGPLEX_API_KEY", API_KEY)
        .env("LOGPLEX_URL", server.url(""))
        .output()
        .expect("sh runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let drains = server.api("GET", "/v3/channels/app", None).expect(&[200]).json()["drains"].clone();
    assert_eq!(drains[0]["url"], SECRET_URL);
}

#[test]
fn what_is_wrong_is_said_in_words_that_help_and_by_the_exit_code() {
    let server = Server::start();
    server.create_app("app");
    let drain = server.add_drain("app", SECRET_URL);
    let url = server.url("");
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        format!("http://{}", listener.local_addr().expect("a bound listener has an address"))
    };
    let key = ("LOGPLEX_API_KEY", API_KEY);
    let at = ("LOGPLEX_URL", url.as_str());
    let missing = ("LOGPLEX_API_KEY_FILE", "/nonexistent/key");
    type Row<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], i32, &'a [&'a str]);
    let rows: [Row<'_>; 22] = [
        (&["channels", "ls"], &[at], 1, &["LOGPLEX_API_KEY", "LOGPLEX_API_KEY_FILE"]),
        (
            &["channels", "ls"],
            &[at, ("LOGPLEX_API_KEY", "some-other-key")],
            1,
            &["refused the API key", "LOGPLEX_API_KEY"],
        ),
        (&["channels", "ls"], &[at, missing], 1, &["/nonexistent/key"]),
        (&["channels", "ls"], &[at, key, missing], 1, &["keep one of them"]),
        (
            &["channels", "ls", "--url", &nobody],
            &[key],
            1,
            &["cannot reach the server", &nobody, "is it running", "LOGPLEX_URL"],
        ),
        (&["channels", "ls", "--url", "nonsense"], &[key], 1, &["--url"]),
        (&["channels", "show", "none"], &[at, key], 3, &["the channel none", "not found"]),
        (&["channels", "rm", "none"], &[at, key], 3, &["cannot remove the channel none", "not found"]),
        (&["channels", "add", "a b"], &[at, key], 1, &["printable ASCII"]),
        (&["channels", "add", "b", "--token", ""], &[at, key], 1, &["a token name has"]),
        (&["tokens", "ls", "none"], &[at, key], 3, &["the channel none"]),
        (&["tokens", "add", "none", "x"], &[at, key], 3, &["the channel none"]),
        (&["tokens", "rm", "app", "none"], &[at, key], 3, &["the token none"]),
        (&["tokens", "rm", "app", "app", "--old"], &[at, key], 3, &["the old token app"]),
        (&["tokens", "rotate", "app", "none"], &[at, key], 3, &["the token none"]),
        (&["tokens", "rotate", "app", "app", "--grace", "4000000000"], &[at, key], 1, &["at most 31536000"]),
        (&["drains", "ls", "none"], &[at, key], 3, &["the channel none"]),
        (&["drains", "add", "app", "ftp://u:pa55word@h/k3y-in-path"], &[at, key], 1, &["invalid drain URL"]),
        (&["drains", "add", "app", SECRET_URL, "--no-verify"], &[at, key], 1, &["already exists"]),
        (&["drains", "rm", "app", "999"], &[at, key], 3, &["the drain 999"]),
        (&["drains", "set", "app", "d.none", "http://h.example/"], &[at, key], 3, &["no drain d.none"]),
        (&["drains", "set", "none", &drain.id, "http://h.example/"], &[at, key], 3, &["of the channel none"]),
    ];
    for (args, env, code, texts) in rows {
        for json in [&[][..], &["--json"]] {
            let ended = Program::start("logplex", &[args, json].concat(), env).wait();
            let stderr = ended.stderr.join("\n");
            assert_eq!((ended.status.code(), ended.stdout.len()), (Some(code), 0), "{args:?}: {stderr}");
            assert!(texts.iter().all(|text| stderr.contains(text)), "{args:?}: {stderr}");
            assert!(stderr.starts_with("logplex: ") && stderr.lines().count() == 1, "{stderr}");
            for secret in ["some-other-key", API_KEY, "pa55word", "k3y-in-path", "k3y-in-query"] {
                assert!(!stderr.contains(secret), "{stderr}");
            }
        }
    }
    for args in [
        &["channels"][..],
        &["channels", "add"],
        &["tokens", "rm", "app"],
        &["drains", "set", "app", "1"],
        &["drains", "set", "app", "1", "--url", "http://h.example/"],
    ] {
        assert_eq!(Program::start("logplex", args, &[at, key]).wait().status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn the_key_may_be_in_a_file_for_every_command() {
    let server = Server::start();
    let token = server.create_app("app");
    server.post_lines(&token, 0, 1);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("key");
    std::fs::write(&file, format!("{API_KEY}\n")).expect("a file");
    let (url, file) = (server.url(""), file.to_str().expect("UTF-8"));
    for args in [
        &["channels", "ls"][..],
        &["tokens", "ls", "app"],
        &["drains", "ls", "app"],
        &["tail", "app", "--no-follow"],
    ] {
        let by_option =
            Program::start("logplex", &[args, &["--api-key-file", file, "--url", &url]].concat(), &[]).wait();
        assert_eq!(by_option.status.code(), Some(0), "{args:?}: {:?}", by_option.stderr);
        let env = [("LOGPLEX_API_KEY_FILE", file), ("LOGPLEX_URL", &url)];
        assert_eq!(Program::start("logplex", args, &env).wait().status.code(), Some(0), "{args:?}");
    }
}

#[test]
fn a_reader_that_has_enough_is_a_quiet_end() {
    let server = Server::start();
    // More than a pipe holds, so that the end is seen while writing.
    let names: Vec<String> = (0..1000).map(|n| format!("{n}-{}", "x".repeat(100))).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    server.create_channel("app", &names);
    let url = server.url("");
    let env = [("LOGPLEX_API_KEY", API_KEY), ("LOGPLEX_URL", url.as_str())];
    let ended = Program::start_head("logplex", &["tokens", "ls", "app"], &env, 1).wait();
    assert_eq!((ended.status.code(), ended.stderr.len()), (Some(0), 0), "{:?}", ended.stderr);
}
