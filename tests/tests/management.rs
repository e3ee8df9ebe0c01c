//! The `/v3` routes: what each answers, and what a change means for lines under way.

use logplex_tests::{API_KEY, Answer, Server, Sink, conservation, notices, numbers, wait_for};
use serde_json::{Value, json};

const TARGET: &str = "http://203.0.113.1/in";

/// `METHOD PATH` with a body is answered with this status; the answer.
#[track_caller]
fn ask(server: &Server, route: &str, body: Option<Value>, status: u16) -> Value {
    let (method, path) = route.split_once(' ').expect("METHOD PATH");
    let answer = server.api(method, path, body.as_ref());
    assert_eq!(answer.status, status, "{route}: {}", answer.text());
    serde_json::from_slice(&answer.body).unwrap_or(Value::Null)
}

fn id(drain: &Value) -> String {
    drain["id"].as_u64().expect("ids are numbers, as in the original").to_string()
}

#[test]
fn channels_are_made_changed_and_removed() {
    let server = Server::start();
    ask(&server, "GET /v3/channels/app", None, 404);
    let made = ask(&server, "PUT /v3/channels/app", Some(json!({})), 201);
    assert_eq!(made, json!({ "channel": "app" }));
    let made = ask(&server, "PUT /v3/channels/app", Some(json!({ "tokens": ["app", "heroku"] })), 200);
    let tokens = made["tokens"].clone();
    assert!(
        tokens["app"].as_str().is_some_and(|token| token.starts_with("t.") && token.len() == 38),
        "{made}"
    );
    assert_eq!(ask(&server, "GET /v3/channels/app", None, 200), made);

    // Declarative: who is named stays as it was, who is new is made, who is not named goes.
    let changed =
        ask(&server, "PUT /v3/channels/app", Some(json!({ "tokens": ["app", "more", "app"] })), 200);
    assert_eq!(
        (&changed["tokens"]["app"], changed["tokens"].as_object().map(|all| all.len())),
        (&tokens["app"], Some(2))
    );
    let token = |name: &str| tokens[name].as_str().expect("a token").to_owned();
    assert_eq!(server.post_logs(&token("app"), &[], b"").0, 204);
    assert_eq!(server.post_logs(&token("heroku"), &[], b"").0, 401);
    ask(&server, "PUT /v3/channels/app", Some(json!({})), 200);
    assert_eq!(server.post_logs(&token("app"), &[], b"").0, 401);

    let added = ask(&server, "POST /v3/channels/app/tokens", Some(json!({ "name": "late" })), 200);
    assert_eq!(added["name"], "late");
    assert_eq!(server.post_logs(added["token"].as_str().unwrap(), &[], b"").0, 204);

    ask(&server, "DELETE /v3/channels/app", None, 204);
    ask(&server, "DELETE /v3/channels/app", None, 404);
    ask(&server, "GET /v3/channels/app", None, 404);
    assert_eq!(server.post_logs(added["token"].as_str().unwrap(), &[], b"").0, 401);
    ask(&server, "PUT /v3/channels/app", Some(json!({ "tokens": ["app"] })), 201);
}

#[test]
fn drains_are_added_redirected_and_removed() {
    let server = Server::start();
    server.create_app("app");
    server.create_app("other");
    let made = server.api("POST", "/v3/channels/app/drains", Some(&json!({ "url": TARGET }))).expect(&[201]);
    let location = made.headers.get("location").expect("a location").to_owned();
    let drain = made.json();
    assert_eq!(
        (drain["url"].as_str(), location),
        (Some(TARGET), server.url(&format!("v3/channels/app/drains/{}", id(&drain))))
    );
    assert!(
        drain["token"].as_str().is_some_and(|token| token.starts_with("d.") && token.len() == 38),
        "{drain}"
    );
    assert_eq!(ask(&server, "GET /v3/channels/app", None, 200)["drains"], json!([drain]));
    ask(&server, "POST /v3/channels/app/drains", Some(json!({ "url": TARGET })), 409);

    // A reserved drain is not shown until it has a URL.
    let reserved = ask(&server, "POST /v3/channels/app/drains", Some(json!({})), 201);
    assert_eq!(reserved.get("url"), None);
    assert_eq!(ask(&server, "GET /v3/channels/app", None, 200)["drains"], json!([drain]));
    let route = format!("PUT /v3/channels/app/drains/{}", id(&reserved));
    ask(&server, &route, Some(json!({ "url": TARGET })), 409);
    let given = ask(&server, &route, Some(json!({ "url": "http://203.0.113.2/" })), 200);
    assert_eq!((&given["id"], &given["token"]), (&reserved["id"], &reserved["token"]));
    // Its own URL again is no conflict.
    ask(&server, &route, Some(json!({ "url": "http://203.0.113.2/" })), 200);

    // Only the owner channel's path reaches a drain.
    for (method, body) in [("PUT", Some(json!({ "url": "http://203.0.113.3/" }))), ("DELETE", None)] {
        ask(&server, &format!("{method} /v3/channels/other/drains/{}", id(&drain)), body.clone(), 404);
        ask(&server, &format!("{method} /v3/channels/none/drains/{}", id(&drain)), body.clone(), 404);
        for wrong in ["999999", "x", "-1", "99999999999999999999999", "d.123"] {
            ask(&server, &format!("{method} /v3/channels/app/drains/{wrong}"), body.clone(), 404);
        }
    }
    assert_eq!(ask(&server, "GET /v3/channels/app", None, 200)["drains"][0], drain);
    let route = format!("DELETE /v3/channels/app/drains/{}", id(&drain));
    ask(&server, &route, None, 204);
    ask(&server, &route, None, 404);
}

#[test]
fn a_channel_has_at_most_six_drains_reserved_ones_not_counted() {
    let server = Server::start();
    server.create_app("app");
    let add = |body, status| ask(&server, "POST /v3/channels/app/drains", Some(body), status);
    let reserved = add(json!({}), 201);
    for n in 0..6 {
        add(json!({ "url": format!("http://203.0.113.1/{n}") }), 201);
    }
    let refused = add(json!({ "url": "http://203.0.113.1/6" }), 422);
    assert_eq!(refused, json!({ "error": "maximum number of drains reached" }));
    // The original lets this one through.
    let route = format!("PUT /v3/channels/app/drains/{}", id(&reserved));
    ask(&server, &route, Some(json!({ "url": "http://203.0.113.1/6" })), 422);
    add(json!({}), 201);
}

#[test]
fn the_operator_says_how_many_drains_a_channel_may_have() {
    let mut server = Server::options().args(&["--max-drains", "2"]).start();
    server.create_app("app");
    let add = |server: &Server, n, status| {
        let body = json!({ "url": format!("http://203.0.113.1/{n}") });
        ask(server, "POST /v3/channels/app/drains", Some(body), status)
    };
    add(&server, 1, 201);
    add(&server, 2, 201);
    assert_eq!(add(&server, 3, 422), json!({ "error": "maximum number of drains reached" }));
    server.set_options(Server::options().env("LOGPLEX_MAX_DRAINS", "8"));
    server.restart();
    for n in 3..9 {
        add(&server, n, 201);
    }
    add(&server, 9, 422);
    // Fewer than there are: none is taken away, each can be changed, and none can be added.
    server.set_options(Server::options().args(&["--max-drains", "1"]));
    server.restart();
    let channel = ask(&server, "GET /v3/channels/app", None, 200);
    assert_eq!(channel["drains"].as_array().map(Vec::len), Some(8));
    let route = format!("PUT /v3/channels/app/drains/{}", id(&channel["drains"][0]));
    ask(&server, &route, Some(json!({ "url": "http://203.0.113.1/10" })), 200);
    ask(&server, "PUT /v3/channels/app/drains/999999", Some(json!({ "url": TARGET })), 404);
    add(&server, 11, 422);
}

#[test]
fn urls_that_cannot_be_drained_to_are_refused() {
    let server = Server::start();
    server.create_app("app");
    let urls = [
        "",
        "nonsense",
        "http://",
        "ftp://h.example/",
        "udpsyslog://h.example",
        "http://h.example/#insecur",
        "http://h.example/#insecure=1",
        "http://h.example:99999/",
        "http://h example/",
    ];
    for url in urls {
        let refused = ask(&server, "POST /v3/channels/app/drains", Some(json!({ "url": url })), 400);
        assert!(
            refused["error"].as_str().is_some_and(|error| error.starts_with("invalid drain URL")),
            "{url}: {refused}"
        );
    }
    let secret = "http://u:pa55@h.example/k3y?code=s3cret#nope";
    let refused =
        ask(&server, "POST /v3/channels/app/drains", Some(json!({ "url": secret })), 400).to_string();
    assert!(["pa55", "k3y", "s3cret"].iter().all(|secret| !refused.contains(secret)), "{refused}");
    assert_eq!(ask(&server, "GET /v3/channels/app", None, 200).get("drains"), None);
}

#[test]
fn sessions_are_made_for_channels_that_exist() {
    let server = Server::start();
    server.create_app("app");
    let answer = server.api("POST", "/v3/sessions", Some(&json!({ "channel_id": "app" }))).expect(&[201]);
    let url = answer.json()["url"].as_str().expect("a url").to_owned();
    assert!(url.starts_with(&server.url("sessions/")), "{url}");
    assert_eq!(answer.headers.get("location"), Some(url.as_str()));
    let refused = ask(&server, "POST /v3/sessions", Some(json!({ "channel_id": "none" })), 422);
    assert_eq!(refused, json!({ "error": "channel not found" }));
    for body in [
        json!({}),
        json!({ "channel_id": 7 }),
        json!({ "channel_id": "app", "num": "x" }),
        json!({ "channel_id": "app", "num": -1 }),
        json!({ "channel_id": "app", "num": [] }),
        json!({ "channel_id": "app", "source": 7 }),
        json!([]),
    ] {
        ask(&server, "POST /v3/sessions", Some(body), 400);
    }
    for num in [json!(5), json!("5"), json!(null), json!("0")] {
        ask(&server, "POST /v3/sessions", Some(json!({ "channel_id": "app", "num": num })), 201);
    }
    // A plain GET gets lines; other ids are not found.
    let path = url.strip_prefix(&server.url("")).expect("our own").to_owned();
    assert_eq!(server.call("GET", &format!("/{path}"), &[], b"").status, 200);
    for wrong in ["/sessions/x", "/sessions/00000000-0000-4000-8000-000000000000"] {
        assert_eq!(server.call("GET", wrong, &[], b"").status, 404);
    }
}

#[test]
fn every_route_wants_a_key_and_its_own_methods() {
    let server = Server::start();
    server.create_app("app");
    let drain = server.add_drain("app", TARGET);
    let [drain, second] = ["v3", "v2"].map(|api| format!("/{api}/channels/app/drains/{}", drain.id));
    let (pause, resume) = (format!("{drain}/pause"), format!("{drain}/resume"));
    let routes: [(&str, &[&str]); 22] = [
        ("/v3/channels", &["GET"]),
        ("/v3/channels/app", &["PUT", "GET", "DELETE"]),
        ("/v3/channels/app/tokens", &["GET", "POST"]),
        ("/v3/channels/app/tokens/app", &["DELETE"]),
        ("/v3/channels/app/tokens/app/old", &["DELETE"]),
        ("/v3/channels/app/tokens/app/rotate", &["POST"]),
        ("/v3/channels/app/drains", &["POST", "GET"]),
        (&drain, &["PUT", "DELETE", "GET"]),
        (&pause, &["POST"]),
        (&resume, &["POST"]),
        ("/v3/channels/app/logs", &["GET"]),
        ("/v3/channels/app/stats", &["GET"]),
        ("/v3/sessions", &["POST"]),
        ("/v2/channels", &["POST"]),
        ("/v2/channels/app", &["GET", "DELETE"]),
        ("/v2/channels/app/tokens", &["POST"]),
        ("/v2/channels/app/drains", &["POST"]),
        (&second, &["POST", "DELETE"]),
        ("/v2/sessions", &["POST"]),
        ("/v2/canary-sessions", &["POST"]),
        ("/channels", &["POST"]),
        ("/channels/app/drains/tokens", &["POST"]),
    ];
    let before = ask(&server, "GET /v3/channels/app", None, 200);
    let kind = ("Content-Type", "application/json");
    for (path, methods) in routes {
        for method in ["GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"] {
            let known = methods.contains(&method);
            let answer = server.call(method, path, &[kind], b"{}");
            assert_eq!(answer.status, if known { 401 } else { 405 }, "{method} {path}");
            if known {
                assert_eq!(
                    answer.headers.get("www-authenticate"),
                    Some("Basic realm=Logplex"),
                    "{method} {path}"
                );
            }
            if !known {
                let allowed = answer.headers.get("allow").unwrap_or_default();
                assert!(methods.iter().all(|method| allowed.contains(method)), "{method} {path}: {allowed}");
            }
            assert!(answer.headers.get("request-id").is_some_and(|id| id.len() == 36), "{method} {path}");
        }
        // The key comes before everything that its absence could tell: bodies, types, existence.
        for method in methods {
            let wrong =
                server.call(method, &path.replace("app", "none"), &[("Authorization", "Bearer nope")], b"{");
            assert_eq!(wrong.status, 401, "{method} {path}");
        }
    }
    assert_eq!(ask(&server, "GET /v3/channels/app", None, 200), before);
    for path in ["/v3/channels/app", "/v3/channels/app/logs", "/v3/channels/app/stats"] {
        let mut connection = server.connect();
        let head = format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        connection.send_raw(head.as_bytes()).unwrap();
        assert_eq!(connection.interim().unwrap(), 405, "HEAD {path}, as in the original");
    }
    // Who names its request itself needs no name from us.
    let own = server.call("GET", "/v3/channels/app", &[("Request-Id", "mine")], b"");
    assert_eq!(own.headers.get("request-id"), None);
}

#[test]
fn bodies_are_json_and_say_so() {
    let server = Server::start();
    server.create_app("app");
    let drain = server.add_drain("app", TARGET);
    let drain = format!("/v3/channels/app/drains/{}", drain.id);
    let key = format!("Bearer {API_KEY}");
    let call = |method: &str, path: &str, kind: &str, body: &str| {
        let headers = [("Authorization", key.as_str()), ("Content-Type", kind)];
        server.call(method, path, &headers, body.as_bytes()).status
    };
    let routes = [
        ("PUT", "/v3/channels/app", r#"{"tokens":["app"]}"#),
        ("POST", "/v3/channels/app/tokens", r#"{"name":"x"}"#),
        ("POST", "/v3/channels/app/drains", "{}"),
        ("PUT", drain.as_str(), r#"{"url":"http://203.0.113.9/"}"#),
        ("POST", "/v3/sessions", r#"{"channel_id":"app"}"#),
    ];
    for (method, path, good) in routes {
        for kind in ["text/plain", "application/x-www-form-urlencoded", ""] {
            assert_eq!(call(method, path, kind, good), 415, "{method} {path} {kind:?}");
        }
        for body in ["{", "[]", "\"x\"", "7", "null", "\u{feff}{}"] {
            assert_eq!(call(method, path, "application/json", body), 400, "{method} {path} {body:?}");
        }
        let status = call(method, path, "application/json; charset=utf-8", good);
        assert!(matches!(status, 200 | 201), "{method} {path}: {status}");
    }
    for body in [r#"{"tokens":"app"}"#, r#"{"tokens":[7]}"#, r#"{"tokens":[""]}"#, r#"{"tokens":["a b"]}"#] {
        assert_eq!(call("PUT", "/v3/channels/app", "application/json", body), 400, "{body}");
    }
    assert_eq!(call("POST", "/v3/channels/app/tokens", "application/json", "{}"), 400);
    assert_eq!(call("POST", "/v3/channels/none/tokens", "application/json", r#"{"name":"x"}"#), 404);
    assert_eq!(call("POST", "/v3/channels/none/drains", "application/json", "{}"), 404);
    let large = format!("{{\"tokens\":[\"{}\"]}}", "x".repeat(16 * 1024 * 1024));
    assert_eq!(call("PUT", "/v3/channels/app", "application/json", &large), 413);
}

#[test]
fn a_body_is_not_awaited_from_who_has_no_key() {
    let server = Server::start();
    let mut connection = server.connect();
    let head = "PUT /v3/channels/app HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
                Content-Length: 1000\r\n\r\n";
    connection.send_raw(head.as_bytes()).unwrap();
    assert_eq!(connection.response().unwrap().status, 401);
}

#[test]
fn channels_are_listed_by_pages() {
    let server = Server::start();
    let list = |query: &str, status| ask(&server, &format!("GET /v3/channels{query}"), None, status);
    assert_eq!(list("", 200), json!({ "channels": [] }));
    for name in ["c", "a", "b/1"] {
        server.create_channel(&name.replace('/', "%2F"), &["app", "web"]);
    }
    server.add_drain("c", TARGET);
    ask(&server, "POST /v3/channels/c/drains", Some(json!({})), 201);
    ask(&server, "POST /v3/channels/c/tokens/app/rotate", Some(json!({})), 200);
    let row = |name: &str, drains: u64| json!({ "channel": name, "tokens": 2, "drains": drains });
    assert_eq!(list("", 200), json!({ "channels": [row("a", 0), row("b/1", 0), row("c", 1)] }));
    assert_eq!(list("?limit=2", 200), json!({ "channels": [row("a", 0), row("b/1", 0)], "next": "b/1" }));
    assert_eq!(list("?limit=2&after=b%2F1", 200), json!({ "channels": [row("c", 1)] }));
    assert_eq!(list("?after=c", 200), json!({ "channels": [] }));
    for limit in ["0", "1001", "x", "-1"] {
        list(&format!("?limit={limit}"), 400);
    }
}

#[test]
fn a_channel_that_must_be_new_is_not_changed_if_it_is_not() {
    let server = Server::start();
    let key = format!("Bearer {API_KEY}");
    let put = || {
        let headers =
            [("Authorization", key.as_str()), ("Content-Type", "application/json"), ("If-None-Match", "*")];
        server.call("PUT", "/v3/channels/app", &headers, br#"{"tokens":["app"]}"#)
    };
    let made = put().expect(&[201]).json();
    assert_eq!(put().expect(&[412]).json(), json!({ "error": "already exists" }));
    assert_eq!(ask(&server, "GET /v3/channels/app", None, 200), made);
}

#[test]
fn a_channels_name_is_one_path_segment() {
    let server = Server::start();
    let sink = Sink::start();
    for (path, name) in
        [("a%2Fb", "a/b"), ("%C3%A4", ""), ("a%20b", ""), ("app-1.test_2~3", "app-1.test_2~3")]
    {
        let answer = server.api("PUT", &format!("/v3/channels/{path}"), Some(&json!({ "tokens": ["app"] })));
        if name.is_empty() {
            assert_eq!(answer.status, 400, "{path}");
            continue;
        }
        let made = answer.expect(&[201]).json();
        assert_eq!(made["channel"], name);
        let drain = server.add_drain(path, &sink.url(path));
        assert_eq!(server.rested(path, &drain).accepted, 0);
    }
    assert_eq!(server.api("PUT", &format!("/v3/channels/{}", "x".repeat(300)), Some(&json!({}))).status, 400);
}

#[test]
fn another_url_keeps_what_is_held() {
    let (server, a, b) = (Server::start(), Sink::start(), Sink::start());
    let token = server.create_app("app");
    let drain = server.add_drain("app", &a.url("a"));
    a.answer(Answer::Hold);
    server.post_lines(&token, 0, 1);
    a.wait_held(1);
    server.post_batches(&token, 1..1030, 100);
    let route = format!("PUT /v3/channels/app/drains/{}", drain.id);
    ask(&server, &route, Some(json!({ "url": b.url("b") })), 200);
    let received = b.wait_line(1029);
    // 5 were dropped before, and b is told so; a's unanswered request is sent anew, as it was.
    assert_eq!(notices(&received).iter().map(|told| told.count).sum::<u64>(), 5);
    conservation(0..1030, &numbers(&received), 5);
    assert_eq!(a.requests()[0].frame_id(), b.requests()[0].frame_id());
    assert!(
        b.requests().iter().all(|request| request.headers.get("logplex-drain-token") == Some(&drain.token))
    );
    assert_eq!(server.rested("app", &drain).delivered, 1025);
}

#[test]
fn another_url_is_used_by_a_drain_at_rest() {
    let (server, a, b) = (Server::start(), Sink::start(), Sink::start());
    let token = server.create_app("app");
    let drain = server.add_drain("app", &a.url("a"));
    server.post_lines(&token, 0, 1);
    a.wait_line(0);
    ask(
        &server,
        &format!("PUT /v3/channels/app/drains/{}", drain.id),
        Some(json!({ "url": b.url("b") })),
        200,
    );
    server.post_lines(&token, 1, 1);
    b.wait_line(1);
    assert_eq!((numbers(&a.received()), numbers(&b.received())), (vec![0], vec![1]));
}

#[test]
fn a_removed_drain_sends_what_it_holds_and_no_more() {
    let (server, sink) = (Server::start(), Sink::start());
    let token = server.create_app("app");
    let drain = server.add_drain("app", &sink.url(""));
    let gate = sink.gate();
    server.post_lines(&token, 0, 1);
    sink.wait_held(1);
    server.post_lines(&token, 1, 1034);
    ask(&server, &format!("DELETE /v3/channels/app/drains/{}", drain.id), None, 204);
    server.post_lines(&token, 1035, 10);
    gate.open();
    let received = sink.wait_line(1034);
    assert_eq!(notices(&received)[0].count, 10);
    conservation(0..1035, &numbers(&received), 10);
}

#[test]
fn a_drain_added_later_gets_what_comes_later() {
    let (server, early, late) = (Server::start(), Sink::start(), Sink::start());
    let token = server.create_app("app");
    server.add_drain("app", &early.url(""));
    server.post_lines(&token, 0, 10);
    early.wait_line(9);
    server.add_drain("app", &late.url(""));
    server.post_lines(&token, 10, 10);
    assert_eq!(numbers(&late.wait_line(19)), (10..20).collect::<Vec<_>>());
}

#[test]
fn figures_of_removed_things_are_gone() {
    let (server, sink) = (Server::start(), Sink::start());
    let token = server.create_app("app");
    let drain = server.add_drain("app", &sink.url(""));
    server.post_lines(&token, 0, 5);
    sink.wait_line(4);
    server.rested("app", &drain);
    let labels = [("drain", drain.token.as_str())];
    assert!(server.metrics().has("logplex_drain_delivered_messages_total", &labels));
    ask(&server, "DELETE /v3/channels/app", None, 204);
    wait_for("no figures", || {
        (!server.metrics().has("logplex_drain_delivered_messages_total", &labels)).then_some(())
    });
    assert!(!server.metrics().has("logplex_ingest_accepted_messages_total", &[("channel", "app")]));
}
