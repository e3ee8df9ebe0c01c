//! What `logplex tail` asks a server for, by the session that it makes.

use logplex_tests::{API_KEY, Ended, Program, scripted};
use serde_json::{Value, json};

/// The body of the session that `logplex tail ARGS…` asks for, and how it ends when that is refused with this status.
#[track_caller]
fn asked(args: &[&str], status: u16) -> (Value, Ended) {
    let (url, server) = scripted(vec![(status, json!({ "error": "so!" }))]);
    let args = [&["tail", "--url", &url], args].concat();
    let ended = Program::start("logplex", &args, &[("LOGPLEX_API_KEY", API_KEY)]).wait();
    let got = server.join().expect("a server that was asked once");
    let [(request, body)] = got.as_slice() else { panic!("one request, not {got:?}") };
    assert_eq!(request.trim_end(), "POST /v3/sessions");
    (serde_json::from_str(body).expect("JSON"), ended)
}

#[test]
fn filters_are_members_of_the_session() {
    let (body, _) = asked(&["app"], 422);
    assert_eq!(body, json!({ "channel_id": "app", "num": 100, "tail": true }));
    let args = [
        "app",
        "-n",
        "7",
        "--no-follow",
        "--source",
        "app",
        "--source",
        "api",
        "--exclude-source",
        "heroku",
        "--ps",
        "web.1",
        "--exclude-ps",
        "web.2",
        "--grep",
        "a+",
        "--grep",
        "(?i)b",
        "--exclude",
        "c",
        "--level",
        "err",
        "--since",
        "2026-01-02T03:04:05+01:00",
        "--until",
        "2026-01-02T03:04:05.5Z",
    ];
    let expected = json!({
        "channel_id": "app", "num": 7, "tail": false, "sources": ["app", "api"], "exclude_sources": ["heroku"],
        "ps": "web.1", "exclude_processes": ["web.2"], "grep": ["a+", "(?i)b"], "exclude": ["c"], "min_severity": 3,
        "since": "2026-01-02T02:04:05.000000Z", "until": "2026-01-02T03:04:05.500000Z",
    });
    assert_eq!(asked(&args, 422).0, expected);
    // How long ago is counted from now.
    let since = asked(&["app", "--since", "15m"], 422).0["since"].clone();
    let age =
        std::process::Command::new("date").args(["-d", since.as_str().expect("a time"), "+%s"]).output();
    let then: u64 = String::from_utf8(age.expect("there is a clock").stdout).unwrap().trim().parse().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!((900..960).contains(&(now - then)), "{since}: {} s ago", now - then);
}

#[test]
fn a_refusal_is_told_and_ends_it() {
    for (status, code) in [(400, 1), (422, 1), (404, 3), (503, 1)] {
        let (_, ended) = asked(&["app"], status);
        assert_eq!((ended.status.code(), ended.stdout.len()), (Some(code), 0), "{status}");
        let [said] = ended.stderr.as_slice() else { panic!("one line, not {:?}", ended.stderr) };
        assert!(said.contains(&status.to_string()) && said.ends_with(": so!"), "{said}");
    }
}
