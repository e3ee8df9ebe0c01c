//! The part of Heroku's Platform API that its CLI uses, asked without the CLI.

use logplex_tests::{API_KEY, Response, Server, Sink, Stream, StreamEnd, Tail, basic, encode};
use serde_json::{Value, json};

/// Nobody is asked there.
const TARGET: &str = "https://user:pw@203.0.113.1/in?x=1";

/// Asks as the CLI does; `route` is `METHOD /PATH`, the path as it is sent.
#[track_caller]
fn ask(server: &Server, route: &str, body: &str, status: u16) -> Response {
    let key = format!("Bearer {API_KEY}");
    let headers = [
        ("Authorization", key.as_str()),
        ("Accept", "application/vnd.heroku+json; version=3.sdk"),
        ("Request-Id", "0a1b2c3d-0000-4000-8000-000000000000"),
        ("Content-Type", "application/json"),
    ];
    asked(server, route, &headers, body, status)
}

#[track_caller]
fn asked(server: &Server, route: &str, headers: &[(&str, &str)], body: &str, status: u16) -> Response {
    let (method, path) = route.split_once(' ').expect("METHOD PATH");
    let answer = server.call(method, path, headers, body.as_bytes());
    assert_eq!(answer.status, status, "{route} {body}: {}", answer.text());
    assert_eq!(answer.headers.get("content-type"), Some("application/json"), "{route}");
    answer
}

/// The `id` and the `message` of an error.
#[track_caller]
fn refused(server: &Server, route: &str, body: &str, status: u16) -> (String, String) {
    let answer = ask(server, route, body, status).json();
    let text = |key: &str| answer[key].as_str().unwrap_or_else(|| panic!("no {key}: {answer}")).to_owned();
    (text("id"), text("message"))
}

#[track_caller]
fn add(server: &Server, url: &str) -> Value {
    ask(server, "POST /apps/myapp/log-drains", &json!({ "url": url }).to_string(), 201).json()
}

/// All of a URL that the CLI encodes; `#` is not among it, so that a client cuts the URL there.
fn as_the_cli_does(url: &str) -> String {
    let url = url.split('#').next().unwrap_or_default();
    url.chars().fold(String::new(), |path, letter| match letter {
        ':' | '/' | '?' | '&' | '=' | '@' | '%' => format!("{path}%{:02X}", u32::from(letter)),
        letter => format!("{path}{letter}"),
    })
}

#[test]
fn an_app_is_a_channel_by_name_and_by_a_stable_id() {
    let mut server = Server::start();
    server.create_app("myapp");
    server.create_app("fir");
    let shown = ask(&server, "GET /apps/myapp", "", 200).json();
    let id = shown["id"].as_str().expect("an id").to_owned();
    assert_eq!(shown, json!({ "id": id, "name": "myapp", "generation": { "name": "cedar" } }));
    assert_eq!((id.len(), id.as_bytes()[14]), (36, b'8'), "a UUID: {id}");
    let other = ask(&server, "GET /apps/fir", "", 200).json();
    assert_eq!(other["generation"]["name"], "cedar");
    assert_ne!(other["id"], id.as_str());

    server.restart();
    assert_eq!(ask(&server, &format!("GET /apps/{id}"), "", 200).json(), shown);
    let unknown = ["apps/none", "apps/00000000-0000-4000-8000-000000000000", "apps/none/addons/x"];
    for path in unknown {
        let told = refused(&server, &format!("GET /{path}"), "", 404);
        assert_eq!(told, ("not_found".into(), "Couldn't find that app.".into()), "{path}");
    }
    let told = refused(&server, "GET /apps/myapp/addons/papertrail-curved-1", "", 404);
    assert_eq!(told, ("not_found".into(), "Couldn't find that add-on.".into()));
    for route in ["GET /apps/myapp/config-vars", "PUT /apps/myapp", "GET /apps/myapp/log-sessions"] {
        assert_eq!(refused(&server, route, "", 404).0, "not_found", "{route}");
    }
}

#[test]
fn apps_are_listed_by_pages() {
    let server = Server::start();
    let names = ["a", "b;c..d", "e%f", "g"];
    for name in names {
        server.create_app(&name.replace('%', "%25"));
    }
    let key = format!("Bearer {API_KEY}");
    let page = |range: &str, status: u16| {
        let answer = asked(&server, "GET /apps", &[("Authorization", &key), ("Range", range)], "", status);
        let apps = answer.json().as_array().cloned().unwrap_or_default();
        let seen: Vec<_> =
            apps.iter().map(|app| app["name"].as_str().unwrap_or_default().to_owned()).collect();
        (seen, answer.headers.get("next-range").map(str::to_owned))
    };
    // What heroku-client sends, what heroku3 sends, and what nobody understands.
    for range in ["id ..; max=1000", "id ..; ;", "bytes=0-1", "name ..; order=asc,max=4"] {
        assert_eq!(page(range, 200), (names.map(str::to_owned).into(), None), "{range}");
    }
    let (mut seen, mut range, mut pages) = (Vec::new(), Some("name ..; max=1".to_owned()), 0);
    while let Some(next) = range {
        let more;
        (more, range) = page(&next, if pages < 3 { 206 } else { 200 });
        seen.extend(more);
        pages += 1;
    }
    assert_eq!((seen, pages), (names.map(str::to_owned).into(), 4));
}

#[test]
fn every_route_wants_a_key_in_any_of_its_forms() {
    let server = Server::start();
    server.create_app("myapp");
    let routes = [
        "GET /apps",
        "GET /apps/myapp",
        "GET /apps/none",
        "POST /apps/myapp/log-sessions",
        "GET /apps/myapp/log-drains",
        "POST /apps/myapp/log-drains",
        "GET /apps/myapp/log-drains/x",
        "DELETE /apps/myapp/log-drains/x",
        "GET /apps/myapp/addons/x",
    ];
    for route in routes {
        for wrong in
            [None, Some("Bearer wrong".to_owned()), Some(basic("", "wrong")), Some(basic(API_KEY, ""))]
        {
            let header = wrong.as_deref().map(|value| ("Authorization", value));
            let told = asked(&server, route, header.as_slice(), "not json", 401).json();
            assert_eq!(told["id"], "unauthorized", "{route} {wrong:?}");
            assert!(told["message"].is_string(), "{told}");
        }
    }
    for right in [format!("Bearer {API_KEY}"), basic("", API_KEY), basic("user@example.com", API_KEY)] {
        asked(&server, "GET /apps/myapp", &[("Authorization", &right)], "", 200);
    }
}

#[test]
fn each_answer_has_a_request_id_of_its_own() {
    let server = Server::start();
    server.create_app("myapp");
    let id = |route: &str, status: u16| {
        let answer = ask(&server, route, "", status);
        answer.headers.get("request-id").unwrap_or_else(|| panic!("none: {route}")).to_owned()
    };
    let ids = [id("GET /apps/myapp", 200), id("GET /apps/myapp", 200), id("GET /apps/none", 404)];
    assert!(ids.iter().all(|id| id.len() == 36 && !id.starts_with("0a1b2c3d")), "{ids:?}");
    assert!(ids[0] != ids[1] && ids[1] != ids[2], "{ids:?}");
}

#[test]
fn drains_are_added_shown_and_removed() {
    let server = Server::start();
    server.create_app("myapp");
    server.create_app("other");
    let app = ask(&server, "GET /apps/myapp", "", 200).json()["id"].as_str().expect("an id").to_owned();
    assert_eq!(ask(&server, "GET /apps/myapp/log-drains", "", 200).json(), json!([]));

    let first = add(&server, TARGET);
    let token = first["token"].as_str().expect("a token");
    assert_eq!(first, json!({ "id": &token[2..], "token": token, "url": TARGET, "addon": null }));
    let [second, third] = ["http://203.0.113.2/", "http://203.0.113.3/#gzip"].map(|url| add(&server, url));
    // One that is only reserved is none of the app's drains.
    server.api("POST", "/v3/channels/myapp/drains", Some(&json!({}))).expect(&[201]);
    let all = json!([first, second, third]);
    assert_eq!(ask(&server, "GET /apps/myapp/log-drains", "", 200).json(), all);
    assert_eq!(ask(&server, &format!("GET /apps/{app}/log-drains?extended=false"), "", 200).json(), all);
    let extended = ask(&server, "GET /apps/myapp/log-drains?extended=true", "", 200).json();
    let ours = server.api("GET", "/v3/channels/myapp/drains", None).expect(&[200]).json();
    assert!(ours[0]["id"].is_u64() && ours[0]["token"] == token, "{ours}");
    assert_eq!(extended[0]["extended"]["drain_id"], ours[0]["id"]);

    let [second_id, third_url] = [&second["id"], &third["url"]].map(|text| text.as_str().expect("a string"));
    for (name, drain) in [
        (as_the_cli_does(TARGET), &first),
        (second_id.to_owned(), &second),
        (as_the_cli_does(third_url), &third),
    ] {
        assert_eq!(
            refused(&server, &format!("DELETE /apps/other/log-drains/{name}"), "", 404).0,
            "not_found"
        );
        assert_eq!(ask(&server, &format!("GET /apps/myapp/log-drains/{name}"), "", 200).json(), *drain);
        assert_eq!(ask(&server, &format!("DELETE /apps/{app}/log-drains/{name}"), "", 200).json(), *drain);
        let told = refused(&server, &format!("DELETE /apps/myapp/log-drains/{name}"), "", 404);
        assert_eq!(told.1, "Couldn't find that log drain.", "{name}");
    }
    assert_eq!(ask(&server, "GET /apps/myapp/log-drains", "", 200).json(), json!([]));
}

#[test]
fn a_url_without_its_fragment_names_a_drain_only_if_it_is_the_only_one() {
    let server = Server::start();
    server.create_app("myapp");
    let [plain, gzip, router] = ["", "#gzip", "#include-ps=router"]
        .map(|options| add(&server, &format!("http://203.0.113.1/in{options}")));
    let delete = format!("DELETE /apps/myapp/log-drains/{}", as_the_cli_does("http://203.0.113.1/in"));
    assert_eq!(ask(&server, &delete, "", 200).json(), plain);
    let told = refused(&server, &delete, "", 422);
    assert_eq!((told.0.as_str(), told.1.contains("use the token")), ("invalid_params", true), "{told:?}");
    let token = gzip["token"].as_str().expect("a token");
    assert_eq!(ask(&server, &format!("DELETE /apps/myapp/log-drains/{token}"), "", 200).json(), gzip);
    assert_eq!(ask(&server, &delete, "", 200).json(), router);
}

#[test]
fn a_drain_made_there_delivers_with_the_options_of_its_fragment() {
    let (server, sink) = (Server::start(), Sink::start());
    let token = server.create_app("myapp");
    let drain = add(&server, &format!("{}#exclude-ps=worker", sink.url("")));
    let line = |procid: &str, text: &str| {
        encode(format!("<190>1 2026-01-02T03:04:05.678901+00:00 host app {procid} - - {text}").as_bytes())
    };
    let body = [line("worker.1", "line 0"), line("web.1", "line 1")].concat();
    assert_eq!(server.post_logs(&token, &[], &body).0, 204);
    let received = sink.wait_line(1);
    assert_eq!(received.len(), 1, "{received:?}");
    assert_eq!(sink.requests()[0].headers.get("logplex-drain-token"), drain["token"].as_str());
}

#[test]
fn a_session_shows_what_was_asked_for() {
    let server = Server::start();
    let token = server.create_app("myapp");
    let line = |app: &str, procid: &str, text: &str| {
        encode(format!("<190>1 2026-01-02T03:04:05.678901+00:00 host {app} {procid} - - {text}").as_bytes())
    };
    let body = [
        line("app", "web.1", "one"),
        line("heroku", "router", "two"),
        line("app", "web", "three"),
        line("app", "worker.1", "four"),
        line("app", "webx.1", "five"),
    ];
    assert_eq!(server.post_logs(&token, &[], &body.concat()).0, 204);
    for (body, expected) in [
        (json!({}), &["one", "two", "three", "four", "five"][..]),
        (json!({ "lines": 2, "tail": false }), &["four", "five"]),
        (json!({ "lines": "3" }), &["three", "four", "five"]),
        (json!({ "lines": 0 }), &[]),
        (json!({ "source": "app", "lines": 2 }), &["four", "five"]),
        (json!({ "dyno": "web.1", "lines": 100 }), &["one"]),
        (json!({ "dyno": "web" }), &["one", "three"]),
        (json!({ "type": "web" }), &["one", "three"]),
        (json!({ "source": "heroku", "dyno": "router" }), &["two"]),
        (json!({ "source": "heroku", "dyno": "web" }), &[]),
    ] {
        let session = ask(&server, "POST /apps/myapp/log-sessions", &body.to_string(), 201).json();
        let url = session["logplex_url"].as_str().unwrap_or_else(|| panic!("no logplex_url: {session}"));
        assert!(url.starts_with(&server.url("sessions/")) && !url.contains('?'), "{session}");
        for member in ["id", "created_at", "updated_at"] {
            assert!(session[member].is_string(), "{session}");
        }
        let stream = Stream::lines_of(url);
        assert_eq!(stream.wait_ended(), StreamEnd::Clean);
        let seen: Vec<String> = stream
            .lines()
            .iter()
            .map(|line| line.rsplit(' ').next().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(seen, expected, "{body}");
    }
}

#[test]
fn a_tail_session_follows_in_the_form_that_is_asked_for_and_its_url_says_so() {
    let server = Server::start();
    let token = server.create_app("myapp");
    server.post_lines(&token, 0, 3);
    let open = |tail: Value| {
        let body = json!({ "lines": 1, "tail": tail }).to_string();
        let session = ask(&server, "POST /apps/myapp/log-sessions", &body, 201).json();
        let url = session["logplex_url"].as_str().expect("a URL").to_owned();
        assert!(url.ends_with("?tail=true"), "{url}");
        // Clients that want lines may add a query of their own.
        url + "&srv=1325419200"
    };
    let (events, lines) =
        (Stream::events_of(&open(json!(true)), None), Stream::lines_of(&open(json!("true"))));
    let websocket = Tail::open(&open(json!(1)));
    server.post_lines(&token, 3, 3);
    events.wait_number(5);
    lines.wait_number(5);
    websocket.wait_number(5);
    for numbers in [events.numbers(), lines.numbers(), websocket.numbers()] {
        assert_eq!(numbers, [2, 3, 4, 5]);
    }
    assert!(events.last_id().is_some() && lines.last_id().is_none());
}

#[test]
fn what_is_wrong_is_told_as_the_cli_wants_it() {
    let server = Server::options().args(&["--max-drains", "1"]).start();
    server.create_app("myapp");
    add(&server, TARGET);
    let [same, new, ftp, unknown] =
        [TARGET, "http://203.0.113.2/", "ftp://203.0.113.2/", "http://203.0.113.2/#gzipp"]
            .map(|url| json!({ "url": url }).to_string());
    let many = "You have already added the maximum number of drains allowed";
    let [source, dyno] = ["source", "dyno"].map(|key| json!({ key: "x".repeat(201) }).to_string());
    let big = format!(r#"{{"url":"{}"}}"#, "x".repeat(1024 * 1024));
    for (route, body, status, id, message) in [
        ("POST /apps/none/log-drains", new.as_str(), 404, "not_found", "Couldn't find that app."),
        ("POST /apps/none/log-sessions", "{}", 404, "not_found", "Couldn't find that app."),
        ("GET /apps/none/log-drains", "", 404, "not_found", "Couldn't find that app."),
        ("DELETE /apps/none/log-drains/x", "", 404, "not_found", "Couldn't find that app."),
        ("POST /apps/myapp/log-drains", &same, 422, "invalid_params", "Url has already been taken"),
        ("POST /apps/myapp/log-drains", &new, 422, "invalid_params", many),
        ("POST /apps/myapp/log-drains", &ftp, 422, "invalid_params", "Url is not usable: "),
        ("POST /apps/myapp/log-drains", &unknown, 422, "invalid_params", "Url is not usable: "),
        ("POST /apps/myapp/log-drains", "{}", 422, "invalid_params", "Url is missing"),
        ("POST /apps/myapp/log-drains", "", 422, "invalid_params", "Url is missing"),
        ("POST /apps/myapp/log-drains", r#"{"url":7}"#, 400, "bad_request", "invalid type"),
        ("POST /apps/myapp/log-drains", &big, 413, "bad_request", "the body is over the limit"),
        ("POST /apps/myapp/log-sessions", "[]", 400, "bad_request", "The body is not a JSON object."),
        ("POST /apps/myapp/log-sessions", r#"{"lines":-1}"#, 422, "invalid_params", "Lines must be a number"),
        (
            "POST /apps/myapp/log-sessions",
            r#"{"lines":"x"}"#,
            422,
            "invalid_params",
            "Lines must be a number",
        ),
        ("POST /apps/myapp/log-sessions", &source, 422, "invalid_params", "Source and dyno have at most"),
        ("POST /apps/myapp/log-sessions", &dyno, 422, "invalid_params", "Source and dyno have at most"),
    ] {
        let told = refused(&server, route, body, status);
        assert_eq!(told.0, id, "{route} {body:.80}: {told:?}");
        assert!(told.1.starts_with(message), "{route} {body:.80}: {told:?}");
        assert!(!told.1.contains("pw"), "{told:?}");
    }
    assert!(refused(&server, "POST /apps/myapp/log-drains", &unknown, 422).1.contains("gzip"));
    // Nothing of all that was taken.
    assert_eq!(ask(&server, "GET /apps/myapp/log-drains", "", 200).json().as_array().map(Vec::len), Some(1));
}
