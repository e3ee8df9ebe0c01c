//! `logplex explain`: codes, statuses and pasted lines, without a server; and a server that says the same.

use logplex_tests::{Answer, Ended, Program, Server, Sink, Tail};
use serde_json::{Value, json};

const ROUTER_LINE: &str = "2026-03-04T05:06:07.809010+00:00 heroku[router]: sock=client at=warning code=H27 \
    desc=\"Client Request Interrupted\" method=POST path=\"/\" status=499 bytes=0";

fn run(args: &[&str]) -> Ended {
    Program::start("logplex", &[&["explain"], args].concat(), &[]).wait()
}

/// What it prints.
#[track_caller]
fn explained(args: &[&str]) -> Vec<String> {
    let ended = run(args);
    assert_eq!((ended.status.code(), ended.stderr.len()), (Some(0), 0), "{args:?}: {:?}", ended.stderr);
    ended.stdout
}

/// The names of what it explains, as JSON has them.
#[track_caller]
fn names(args: &[&str]) -> Vec<String> {
    let json: Value =
        serde_json::from_str(&explained(&[args, &["--json"]].concat()).join("\n")).expect("JSON");
    let name = |entry: &Value| entry["name"].as_str().expect("a name").to_owned();
    json.as_array().expect("a list").iter().map(name).collect()
}

/// What it says instead, where there is nothing to explain.
#[track_caller]
fn refused(args: &[&str]) -> String {
    let ended = run(args);
    assert_eq!((ended.status.code(), ended.stdout.len()), (Some(3), 0), "{args:?}: {:?}", ended.stdout);
    ended.stderr.join("\n")
}

#[test]
fn a_code_is_explained_with_what_to_do_and_where_to_look() {
    let lines = explained(&["h12"]);
    assert_eq!(
        lines[..4],
        ["H12  Request timeout", "severity  critical", "fault     the app", "status    503"]
    );
    for part in ["What to do", "Evidence", "Example"] {
        assert!(lines.iter().any(|line| line == part), "{part}: {lines:?}");
    }
    assert!(lines.iter().any(|line| line.starts_with("1. Group the lines by `path=`")), "{lines:?}");
    let tail = "   logplex tail CHANNEL --source heroku --ps router -n 1500";
    assert!(lines.iter().any(|line| line == tail), "{lines:?}");
    // All but the example is set for a terminal.
    let long: Vec<&String> = lines.iter().filter(|line| line.chars().count() > 80).collect();
    assert!(matches!(&long[..], [example] if example.contains("code=H12")), "{long:?}");
    assert!(explained(&["H16"]).contains(&"state     retired: no longer written".to_owned()));
}

#[test]
fn a_pasted_line_is_explained_by_its_code() {
    assert_eq!(names(&[ROUTER_LINE]), ["H27"]);
    // A shell that was not told to leave it alone has taken it apart.
    assert_eq!(names(&["at=error", "code=H12", "desc=Request timeout"]), ["H12"]);
    assert_eq!(names(&["Error R14 (Memory quota exceeded)"]), ["R14"]);

    let users = "2026-03-04T05:06:07+00:00 app[web.1]: at=error code=H12";
    assert!(refused(&[users]).contains("`logplex explain H12` or --loose"));
    assert_eq!(names(&["--loose", users]), ["H12"]);
    assert!(refused(&["app[web.1]: nothing of that kind \x1b[31m"]).contains("no code in that line"));
}

#[test]
fn a_status_is_explained_by_all_that_it_may_stand_for() {
    assert_eq!(names(&["502"]), ["page-502", "proxy-502", "port", "start-command", "H25"]);
    assert_eq!(names(&["422", "504", "H12", "h12"]), ["page-422", "page-504", "H12"]);
    let lines = explained(&["503"]);
    assert!(lines.iter().any(|line| line == "H12   critical     503  Request timeout"));
    for name in ["boot-timeout", "image-too-large", "technology", "post-deploy", "page-500"] {
        assert_eq!(names(&[name]), [name]);
    }
}

#[test]
fn what_is_unknown_is_answered_with_the_nearest() {
    assert!(refused(&["H29"]).ends_with("H29 is not known; the nearest: H28, H27, H31"));
    assert!(refused(&["prt"]).contains("the nearest: port"));
    assert!(refused(&["H12", "H29 "]).contains("`logplex explain H12` or --loose"));
    assert!(refused(&["404"]).ends_with("the nearest: 403, 400, 417"));
    // What a terminal would obey comes back escaped.
    assert!(refused(&["H\x1b[31m"]).contains("H\\x1b[31m is not known"));
}

#[test]
fn without_a_question_all_codes_are_listed_by_family() {
    let lines = explained(&[]);
    let code =
        |line: &&String| matches!(line.as_bytes(), [b'H' | b'R' | b'L', b'0'..=b'9', b'0'..=b'9', b' ', ..]);
    assert_eq!(lines.iter().filter(code).count(), 44);
    let at = |heading: &str| lines.iter().position(|line| line == heading).expect("a heading");
    let headings = ["Requests (router)", "Processes (runtime)", "Logs", "Pages and deployments"].map(at);
    assert!(headings.is_sorted(), "{headings:?}");
    assert!(
        lines
            .iter()
            .any(|line| line == "H70   error     403      Access to Bamboo HTTP endpoint denied (legacy)")
    );
    assert_eq!(names(&[]).len(), 44 + 12);
}

#[test]
fn the_notice_of_a_drain_that_fell_behind_is_explained() {
    let (server, sink) = (Server::start(), Sink::start());
    let token = server.create_app("app");
    server.add_drain("app", &sink.url(""));
    let tail = Tail::open(&server.create_session("app", json!({ "tail": true })));
    sink.answer(Answer::Hold);
    server.post_lines(&token, 0, 1);
    sink.wait_held(1);
    server.post_lines(&token, 1, 1024 + 5);
    sink.answer(Answer::status(204));
    sink.release(Answer::status(204));
    let line = tail.wait_line("the copy of the drain's notice", |line| line.contains("Error L10"));
    assert_eq!(names(&[line.trim_end()]), ["L10"], "{line}");
}

#[test]
fn a_server_explains_in_the_same_words() {
    let server = Server::start();
    for name in ["H12", "h12", "L10", "page-502"] {
        let told: Value = serde_json::from_str(&explained(&[name, "--json"]).join("\n")).expect("JSON");
        let answer = server.api("GET", &format!("/v3/codes/{name}"), None).expect(&[200]).json();
        assert_eq!(told, json!([answer]), "{name}");
    }
    server.api("GET", "/v3/codes/H29", None).expect(&[404]);
    server.call("GET", "/v3/codes/H12", &[], b"").expect(&[401]);
}
