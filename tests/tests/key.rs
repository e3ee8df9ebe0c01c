//! API keys: made and shown once, or brought by the operator; never written where they can be read.

use std::path::Path;

use logplex_tests::{API_KEY, Server, ServerOptions, Signal, Sink, basic, numbered_frames};

const CHANNEL: &str = "/v3/channels/app";

fn status(server: &Server, authorization: &str) -> u16 {
    server.call("GET", CHANNEL, &[("Authorization", authorization)], b"").status
}

/// Whether the server lets this key in, in each form it may come in. 404: there is no such channel, but it looked.
#[track_caller]
fn opens(server: &Server, key: &str) {
    for authorization in
        [format!("Bearer {key}"), format!("bearer {key}"), basic("", key), basic("x", key), basic("api", key)]
    {
        assert_eq!(status(server, &authorization), 404, "{authorization}");
    }
}

/// The key that the server showed at its start.
fn shown(server: &Server) -> Option<String> {
    let stdout = server.stdout();
    stdout.iter().find_map(|line| line.strip_prefix("API key, shown only now: ").map(str::to_owned))
}

#[track_caller]
fn holds_nothing_of(what: &str, text: &[u8], secret: &str) {
    assert!(!String::from_utf8_lossy(text).contains(secret), "{secret} is in {what}");
}

#[track_caller]
fn is_not_in_files(folder: &Path, secret: &str) {
    for entry in std::fs::read_dir(folder).expect("the folder is there").flatten() {
        let path = entry.path();
        if path.is_dir() {
            is_not_in_files(&path, secret);
        } else {
            holds_nothing_of(&path.display().to_string(), &std::fs::read(&path).unwrap_or_default(), secret);
        }
    }
}

#[test]
fn a_key_is_made_and_shown_at_the_first_start_only() {
    let mut server = Server::options().without_key().start();
    let key = shown(&server).expect("the first start shows a key");
    assert!(key.starts_with("lpk_") && key.len() >= 36, "{key}");
    opens(&server, &key);
    holds_nothing_of("stderr", server.stderr().join("\n").as_bytes(), &key);
    is_not_in_files(server.data_dir(), &key);

    for crash in [false, true] {
        let end = if crash { Signal::SIGKILL } else { Signal::SIGTERM };
        server.signal(end);
        server.wait();
        server.restart();
        assert_eq!(shown(&server), None);
        opens(&server, &key);
    }
    let other = Server::options().without_key().start();
    assert_ne!(shown(&other), Some(key));
}

#[test]
fn a_key_of_ones_own_is_taken_and_not_shown() {
    let mut server = Server::start();
    assert_eq!(shown(&server), None);
    opens(&server, API_KEY);
    is_not_in_files(server.data_dir(), API_KEY);
    // It is for this run: whoever takes it away has taken it away.
    server.set_options(Server::options().without_key());
    server.restart();
    assert_eq!(status(&server, &format!("Bearer {API_KEY}")), 401);
    opens(&server, &shown(&server).expect("now one is made"));
}

#[test]
fn a_key_from_a_file_is_taken_without_its_line_end() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "from-a-file-0123456789\n").unwrap();
    let server = Server::options().without_key().env("LOGPLEX_API_KEY_FILE", file.to_str().unwrap()).start();
    assert_eq!(shown(&server), None);
    opens(&server, "from-a-file-0123456789");
}

#[test]
fn other_keys_are_refused() {
    let server = Server::start();
    let near = format!("{API_KEY}x");
    let wrong = [
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        format!("Bearer {near}"),
        format!("Bearer {}", &API_KEY[1..]),
        format!("Bearer {}", API_KEY.to_uppercase()),
        basic(API_KEY, ""),
        basic("x", &near),
        API_KEY.to_owned(),
        "Basic !!!".to_owned(),
    ];
    for authorization in wrong {
        let answer = server.call("GET", CHANNEL, &[("Authorization", &authorization)], b"");
        assert_eq!(answer.status, 401, "{authorization}");
        assert_eq!(answer.headers.get("www-authenticate"), Some("Basic realm=Logplex"));
    }
    assert_eq!(server.call("GET", CHANNEL, &[], b"").status, 401);
}

#[test]
fn unusable_settings_end_the_start_and_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing").display().to_string();
    let file = folder.path().join("key");
    std::fs::write(&file, "from-a-file-0123456789").unwrap();
    let short = || Server::options().env("LOGPLEX_API_KEY", "short");
    let rows: [(ServerOptions, &str); 4] = [
        (Server::options().without_key().env("LOGPLEX_API_KEY_FILE", &missing), &missing),
        (Server::options().env("LOGPLEX_API_KEY_FILE", file.to_str().unwrap()), "keep one of them"),
        (short(), "fewer than 8 characters"),
        (Server::options().env("LOGPLEX_API_KEY", ""), "fewer than 8 characters"),
    ];
    for (options, text) in rows {
        let ended = options.fail(&folder.path().join("data"), 0);
        assert_eq!(ended.status.code(), Some(1));
        let stderr = ended.stderr.join("\n");
        assert!(stderr.contains(text), "{stderr}");
        assert!(!stderr.contains("\"short\"") && !stderr.contains("0123456789"), "{stderr}");
    }
}

#[test]
fn no_secret_is_logged_however_much_is() {
    let sink = Sink::start();
    let mut server = Server::options().env("LOGPLEX_LOG", "trace").start();
    let token = server.create_app("app");
    let url = sink.url("k3y-in-path?code=k3y-in-query").replace("http://", "http://user:pa55word@");
    let drain = server.add_drain("app", &url);
    let session = server.create_session("app", serde_json::json!({ "tail": true }));
    let session = session.rsplit('/').next().expect("a path").to_owned();
    sink.answer_next([logplex_tests::Answer::status(503), logplex_tests::Answer::Reset]);
    server.post_lines(&token, 0, 5);
    sink.wait_line(4);
    assert_eq!(status(&server, "Bearer wrong-key-0123"), 401);
    assert_eq!(server.post_logs("t.wrong-token", &[], &numbered_frames(0..1)).0, 401);
    server.api("DELETE", "/v3/channels/app", None).expect(&[204]);
    server.term();
    let said = [server.stdout(), server.stderr()].concat().join("\n");
    assert!(said.contains(&drain.token), "a drain is named by its token: {said}");
    let secrets =
        ["pa55word", "k3y-in-path", "k3y-in-query", "wrong-key-0123", "t.wrong-token", "dXNlcjpwYTU1d29yZA"];
    for secret in [API_KEY, &token, &session].into_iter().chain(secrets) {
        holds_nothing_of("the log", said.as_bytes(), secret);
    }
}
