//! The official Heroku CLI, unmodified, against the server: nobody here wrote what judges.

use logplex_tests::{Heroku, Server, Sink};
use serde_json::{Value, json};

/// What it wrote to stderr, its frame and line breaks taken away.
fn said(stderr: &[String]) -> String {
    let words: Vec<&str> =
        stderr.iter().flat_map(|line| line.split_whitespace()).filter(|word| *word != "›").collect();
    words.join(" ")
}

#[test]
fn drains_are_added_listed_and_removed() {
    let (server, sink, other) = (Server::start(), Sink::start(), Sink::start());
    let token = server.create_app("myapp");
    let heroku = Heroku::new(&server);
    let run = |args: &[&str]| heroku.run(&[args, &["-a", "myapp"]].concat());

    let first = format!("{}#exclude-ps=worker", sink.url("logs?x=1").replace("//", "//user:pw@"));
    let second = other.url("in");
    for url in [&first, &second] {
        let added = run(&["drains:add", url]);
        assert_eq!(
            (added.status.code(), added.stdout),
            (Some(0), vec![format!("Successfully added drain {url}")])
        );
    }
    let again = run(&["drains:add", &second]);
    assert_eq!(again.status.code(), Some(2), "{again:?}");
    let told = said(&again.stderr);
    assert!(told.contains("Error: Url has already been taken Error ID: invalid_params"), "{told}");

    server.post_lines(&token, 0, 3);
    for sink in [&sink, &other] {
        assert_eq!(sink.wait_line(2).len(), 3);
    }

    let shown: Value = serde_json::from_str(&run(&["drains", "--json"]).stdout.join("\n")).expect("JSON");
    let tokens = [0, 1].map(|at| shown[at]["token"].as_str().expect("a token").to_owned());
    assert_eq!([&shown[0]["url"], &shown[1]["url"]], [&json!(first), &json!(second)]);
    let listed = run(&["drains"]).stdout;
    let line = |url: &str, token: &str| format!("{url} ({token})");
    assert_eq!(listed, ["=== Drains", "", &line(&first, &tokens[0]), &line(&second, &tokens[1])]);

    for (name, url) in [(&first, &first), (&tokens[1], &second)] {
        let removed = run(&["drains:remove", name]);
        let expected = vec![format!("Successfully removed drain {url}")];
        assert_eq!((removed.status.code(), removed.stdout), (Some(0), expected), "{name}");
    }
    let gone = run(&["drains:remove", &second]);
    assert_eq!(gone.status.code(), Some(2), "{gone:?}");
    let told = said(&gone.stderr);
    assert!(told.contains("Error: Couldn't find that log drain. Error ID: not_found"), "{told}");
    let left = server.api("GET", "/v3/channels/myapp/drains", None).expect(&[200]).json();
    assert_eq!(left, json!([]));
}

#[test]
fn an_unknown_app_and_a_wrong_key_are_told() {
    let server = Server::start();
    server.create_app("myapp");
    let missing = Heroku::new(&server).run(&["logs", "-a", "missing"]);
    assert_eq!(missing.status.code(), Some(2), "{missing:?}");
    let told = said(&missing.stderr);
    assert!(told.contains("Error: Couldn't find that app. Error ID: not_found"), "{told}");

    let wrong = Heroku::new(&server).key("wrong").run(&["drains", "-a", "myapp"]);
    assert_eq!(wrong.status.code(), Some(1), "{wrong:?}");
    let told = said(&wrong.stderr);
    assert!(told.contains("The token provided to HEROKU_API_KEY is invalid"), "{told}");
}
