//! The `/v2` routes, and what is left of the first API: the original's statuses and bodies.

use logplex_tests::{API_KEY, Response, Server, Sink, Tail};
use serde_json::{Value, json};

const TARGET: &str = "http://203.0.113.1/in";

/// Asks as `curl -d` does, which calls every body a form.
#[track_caller]
fn ask(server: &Server, route: &str, body: &str, status: u16) -> Response {
    let (method, path) = route.split_once(' ').expect("METHOD PATH");
    let key = format!("Bearer {API_KEY}");
    let headers = [("Authorization", key.as_str()), ("Content-Type", "application/x-www-form-urlencoded")];
    let answer = server.call(method, path, &headers, body.as_bytes());
    assert_eq!(answer.status, status, "{route} {body}: {}", answer.text());
    answer
}

#[track_caller]
fn refused(server: &Server, route: &str, body: &str, status: u16, text: &str) {
    let error = ask(server, route, body, status).json()["error"].as_str().unwrap_or_default().to_owned();
    assert!(error.starts_with(text), "{route} {body}: {error:?} is not {text:?}");
}

#[test]
fn every_route_answers_as_the_original() {
    let server = Server::start();
    let made = ask(&server, "POST /v2/channels", r#"{"name":"app","tokens":["app","heroku"]}"#, 201).json();
    assert_eq!(made["channel_id"], "app");
    let token = |name: &str| made["tokens"][name].as_str().expect("a token").to_owned();
    assert_eq!(server.post_logs(&token("app"), &[], b"").0, 204);
    let shown = ask(&server, "GET /v2/channels/app", "", 200).json();
    let tokens =
        json!([{ "name": "app", "token": token("app") }, { "name": "heroku", "token": token("heroku") }]);
    assert_eq!(shown, json!({ "channel_id": "app", "tokens": tokens, "drains": [] }));

    let added = ask(&server, "POST /v2/channels/app/tokens", r#"{"name":"late"}"#, 201).json();
    assert_eq!((added["name"].as_str(), added.as_object().map(|all| all.len())), (Some("late"), Some(2)));
    assert_eq!(server.post_logs(added["token"].as_str().expect("a token"), &[], b"").0, 204);

    let drain =
        ask(&server, "POST /v2/channels/app/drains", &json!({ "url": TARGET }).to_string(), 201).json();
    assert_eq!((drain["url"].as_str(), drain.as_object().map(|all| all.len())), (Some(TARGET), Some(3)));
    assert!(drain["token"].as_str().is_some_and(|token| token.starts_with("d.")), "{drain}");
    assert_eq!(ask(&server, "GET /v2/channels/app", "", 200).json()["drains"], json!([drain]));

    let reserved = ask(&server, "POST /channels/app/drains/tokens", "", 201).json();
    assert_eq!(reserved["msg"], "Successfully reserved drain token");
    assert_eq!(ask(&server, "GET /v2/channels/app", "", 200).json()["drains"], json!([drain]));
    let route = format!("POST /v2/channels/app/drains/{}", reserved["id"]);
    let given = ask(&server, &route, r#"{"url":"http://203.0.113.2/"}"#, 201).json();
    let expected = json!({ "id": reserved["id"], "token": reserved["token"], "url": "http://203.0.113.2/" });
    assert_eq!(given, expected);

    let session =
        ask(&server, "POST /v2/sessions", r#"{"channel_id":"app","tail":"1","num":"5"}"#, 201).json();
    assert!(
        session["url"].as_str().is_some_and(|url| url.starts_with(&server.url("sessions/"))),
        "{session}"
    );
    let canary = ask(&server, "POST /v2/canary-sessions", r#"{"channel_id":"app"}"#, 201).json();
    let path = canary["url"].as_str().expect("a url");
    assert!(path.starts_with("/v2/canary-fetch/"), "{canary}");
    server.post_lines(&token("app"), 0, 1);
    Tail::open(&server.url(path)).wait_line("the line", |line| line.ends_with("line 0"));

    let route = format!("DELETE /v2/channels/app/drains/{}", drain["id"]);
    assert_eq!(ask(&server, &route, "", 200).text(), "");
    refused(&server, &route, "", 404, "Not found");
    assert_eq!(ask(&server, "DELETE /v2/channels/app", "", 200).text(), "");
    refused(&server, "DELETE /v2/channels/app", "", 404, "Not Found");
    refused(&server, "GET /v2/channels/app", "", 404, "Not Found");
}

#[test]
fn what_is_wrong_is_answered_with_the_originals_texts() {
    let server = Server::options().args(&["--max-drains", "1"]).start();
    server.create_app("app");
    server.create_app("other");
    let drain = server.add_drain("app", TARGET);
    let reserved = ask(&server, "POST /channels/app/drains/tokens", "", 201).json();
    let reserved = format!("POST /v2/channels/app/drains/{}", reserved["id"]);
    let other = format!("POST /v2/channels/other/drains/{}", drain.id);
    let removed = format!("DELETE /v2/channels/other/drains/{}", drain.id);
    let [same, new] = [TARGET, "http://203.0.113.2/"].map(|url| json!({ "url": url }).to_string());
    let (same, new) = (same.as_str(), new.as_str());
    let many = "You have already added the maximum number of drains allowed";
    for (route, body, status, text) in [
        ("POST /v2/channels/app/tokens", "{}", 422, "NAME is a required field"),
        ("POST /v2/channels/app/tokens", r#"{"name":7}"#, 422, "NAME is a required field"),
        ("POST /v2/channels/app/tokens", r#"{"name":"a b"}"#, 400, "a token name has"),
        ("POST /v2/channels/none/tokens", r#"{"name":"x"}"#, 404, "Not Found"),
        ("POST /v2/channels/app/drains", same, 409, "Already exists"),
        ("POST /v2/channels/app/drains", new, 422, many),
        ("POST /v2/channels/none/drains", new, 404, "No such channel"),
        ("POST /v2/channels/app/drains", "{}", 422, "Invalid drain destination: give a url"),
        ("POST /v2/channels/app/drains", r#"{"url":"nonsense"}"#, 422, "Invalid drain destination: "),
        (
            "POST /v2/channels/app/drains",
            r#"{"host":"h","port":"x"}"#,
            422,
            "Invalid drain destination: the port",
        ),
        ("POST /channels/none/drains/tokens", "", 404, "No such channel"),
        (&reserved, same, 409, "Already exists"),
        (&reserved, new, 422, many),
        (&reserved, r#"{"url":"nonsense"}"#, 422, "Invalid drain destination: "),
        (&other, new, 404, "Unknown drain."),
        ("POST /v2/channels/app/drains/99999999999999999999999", new, 404, "Unknown drain."),
        (&removed, "", 404, "Not found"),
        ("POST /v2/sessions", r#"{"channel_id":"none"}"#, 422, "channel not found"),
        ("POST /v2/channels", r#"{"name":7}"#, 400, "invalid payload"),
        ("POST /v2/channels", r#"{"tokens":[""]}"#, 400, "a token name has"),
    ] {
        refused(&server, route, body, status, text);
    }
    // What is no JSON object is never an error of the server's own.
    for route in ["POST /v2/channels", "POST /v2/channels/app/tokens", &reserved, "POST /v2/sessions"] {
        for body in ["{", "[]", "7", "null", "\"x\""] {
            refused(&server, route, body, 400, "invalid payload");
        }
    }
    // A URL that is refused leaves the reservation, which the original takes away.
    server.api("DELETE", &format!("/v3/channels/app/drains/{}", drain.id), None).expect(&[204]);
    ask(&server, &reserved, new, 201);
}

#[test]
fn a_channel_without_a_free_name_gets_an_id_of_its_own() {
    let server = Server::start();
    let make = |body: &str| {
        let made = ask(&server, "POST /channels", body, 201).json();
        (made["channel_id"].as_str().expect("a string").to_owned(), made["tokens"].clone())
    };
    let (first, tokens) = make(r#"{"name":"app","tokens":["app"]}"#);
    let (second, others) = make(r#"{"name":"app","tokens":["app"]}"#);
    assert_eq!(first, "app");
    assert_eq!(second.len(), 36, "{second}");
    assert_ne!(tokens, others);
    for body in ["", "{}", r#"{"name":""}"#, r#"{"name":"no id"}"#] {
        let (id, tokens) = make(body);
        assert_eq!((id.len(), tokens), (36, json!({})), "{body}");
        ask(&server, &format!("GET /v2/channels/{id}"), "", 200);
    }
    assert_eq!(ask(&server, "GET /v2/channels/app", "", 200).json()["tokens"][0]["token"], tokens["app"]);
}

#[test]
fn a_drain_made_by_v2_delivers() {
    let (server, sink) = (Server::start(), Sink::start());
    let token = server.create_app("app");
    let body = json!({ "url": sink.url("") }).to_string();
    let drain = ask(&server, "POST /v2/channels/app/drains", &body, 201).json();
    server.post_lines(&token, 0, 3);
    sink.wait_line(2);
    assert_eq!(sink.requests()[0].headers.get("logplex-drain-token"), drain["token"].as_str());
}

#[test]
fn the_first_api_says_where_to_go() {
    let server = Server::start();
    server.create_app("app");
    for route in [
        "DELETE /channels/app",
        "GET /channels/app/info",
        "POST /channels/app/token",
        "GET /channels/app/drains",
        "POST /channels/app/drains",
        "DELETE /channels/app/drains",
        "POST /channels/app/drains/1",
        "POST /sessions",
    ] {
        let text = ask(&server, route, "{}", 501).text();
        assert!(text.contains("/v2"), "{route}: {text}");
    }
    assert_eq!(ask(&server, "GET /v3/channels/app", "", 200).json()["channel"], Value::from("app"));
}
