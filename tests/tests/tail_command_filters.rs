//! What `logplex tail` asks a server for, by the session that it makes.

use logplex_tests::{API_KEY, Ended, Program, Server, TailLine, encode, scripted, wait_for};
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

/// A server's answer to filters: the numbers of the lines of channel `app` that are shown.
#[track_caller]
fn shown(server: &Server, args: &[&str]) -> Vec<u64> {
    let url = server.url("");
    let args = [&["tail", "app", "--no-follow", "--url", &url], args].concat();
    let ended = Program::start("logplex", &args, &[("LOGPLEX_API_KEY", API_KEY)]).wait();
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), &[][..]), "{args:?}");
    ended.stdout.iter().filter_map(|line| TailLine::parse(line)?.number()).collect()
}

#[test]
fn each_filter_acts_in_the_server() {
    let server = Server::start();
    let token = server.create_app("app");
    for (number, (pri, hour, source, ps)) in (0..).zip([
        (190, 1, "app", "web.1"),
        (187, 2, "app", "web.2"),
        (172, 3, "heroku", "router"),
        (191, 4, "api", "cron.1"),
    ]) {
        let message =
            format!("<{pri}>1 2026-01-02T0{hour}:00:00+00:00 h {source} {ps} - - line {number} of {source}");
        assert_eq!(server.post_logs(&token, &[], &encode(message.as_bytes())).0, 204);
    }
    let rows: [(&[&str], &[u64]); 11] = [
        (&["-s", "heroku", "-s", "api"], &[2, 3]),
        (&["--exclude-source", "app", "--exclude-source", "api"], &[2]),
        (&["-p", "web.2", "-p", "cron"], &[1, 3]),
        (&["--exclude-ps", "web", "--exclude-ps", "router"], &[3]),
        (&["--level", "warning"], &[1, 2]),
        (&["--grep", "line [0-2]", "--grep", "of (app|api)"], &[0, 1]),
        (&["--exclude", "of app", "--exclude", "3"], &[2]),
        (&["--since", "2026-01-02T02:30:00Z"], &[2, 3]),
        (&["--until", "2026-01-02T02:30:00Z"], &[0, 1]),
        (&["--since", "1h"], &[]),
        (&["-s", "app", "-n", "1"], &[1]),
    ];
    for (args, expected) in rows {
        assert_eq!(shown(&server, args), expected, "{args:?}");
    }
}

#[test]
fn filters_act_on_what_comes_too() {
    let server = Server::start();
    let token = server.create_app("app");
    let url = server.url("");
    let args = ["tail", "app", "--url", &url, "--grep", "line [0-9]*7$"];
    let program = Program::start("logplex", &args, &[("LOGPLEX_API_KEY", API_KEY)]);
    wait_for("an open tail", || (server.stats("app")["tails"]["open"] == 1).then_some(()));
    server.post_lines(&token, 0, 30);
    program.wait_line("the last match", |line| line.ends_with("line 27"));
    assert_eq!(program.stdout().len(), 3);
}
