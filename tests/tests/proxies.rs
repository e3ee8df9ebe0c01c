//! Through proxies: drains and the shuttle honour the usual variables, and the shuttle trusts a bundle of its own.

use logplex_tests::{Relay, Server, Shuttle, ShuttleOptions, Sink, numbers};

#[test]
fn an_http_drain_asks_the_proxy() {
    let proxy = Sink::start();
    let address = proxy.address();
    let server = Server::options()
        .env("http_proxy", &format!("http://user:p%40ss@{address}"))
        .env("no_proxy", "direct.example")
        .start();
    let token = server.create_app("app");
    let drain = server.add_drain("app", "http://u:p@logs.example/in?a=b");
    server.post_lines(&token, 0, 10);
    assert_eq!(numbers(&proxy.wait_line(9)), Vec::from_iter(0..10));
    let request = &proxy.requests()[0];
    assert_eq!(request.path, "http://logs.example:80/in?a=b");
    assert_eq!(request.headers.get("host"), Some("logs.example"));
    assert_eq!(request.headers.get("proxy-authorization"), Some("Basic dXNlcjpwQHNz"));
    assert_eq!(request.headers.get("authorization"), Some("Basic dTpw"));
    assert_eq!(server.rested("app", &drain).delivered, 10);
}

#[test]
fn an_https_drain_goes_through_a_tunnel() {
    let sink = Sink::https();
    let proxy = Relay::proxy(sink.address());
    let server = Server::options().env("HTTPS_PROXY", &format!("http://user:pw@{}", proxy.address())).start();
    let token = server.create_app("app");
    let drain = server.add_drain("app", "https://logs.example/in#insecure");
    server.post_lines(&token, 0, 10);
    assert_eq!(numbers(&sink.wait_line(9)), Vec::from_iter(0..10));
    let expected = "CONNECT logs.example:443 HTTP/1.1\r\nHost: logs.example:443\r\n\
                    Proxy-Authorization: Basic dXNlcjpwdw==\r\n\r\n";
    assert_eq!(proxy.asked(), [expected]);
    let request = &sink.requests()[0];
    assert_eq!((request.path.as_str(), request.headers.get("proxy-authorization")), ("/in", None));
    assert_eq!(server.rested("app", &drain).delivered, 10);
}

#[test]
fn a_metadata_address_is_refused_though_a_proxy_would_reach_it() {
    let proxy = Sink::start();
    let server = Server::options().env("all_proxy", &proxy.address().to_string()).start();
    let token = server.create_app("app");
    server.add_drain("app", "http://169.254.169.254/latest");
    server.post_lines(&token, 0, 1);
    logplex_tests::wait_for("a refusal", || {
        server.stderr().iter().any(|line| line.contains("169.254.169.254 is link-local")).then_some(())
    });
    assert_eq!(proxy.connections(), 0);
}

/// Ships one numbered line; what the shuttle says.
fn ship(url: &str, options: ShuttleOptions, line: u64) -> String {
    let mut shuttle = options.env("LOGS_URL", url).start();
    shuttle.write_lines(line, 1);
    assert!(shuttle.finish().success(), "{:?}", shuttle.stderr());
    shuttle.stderr().join("\n")
}

#[test]
fn the_shuttle_asks_the_proxy_and_says_no_password() {
    let proxy = Sink::strict();
    let options = Shuttle::options()
        .env("http_proxy", &format!("http://user:hunter2@{}", proxy.address()))
        .args(&["--verbose"]);
    let said = ship("http://token:t.1@logs.example/logs", options, 3);
    assert_eq!(numbers(&proxy.received()), [3]);
    assert_eq!(proxy.requests()[0].path, "http://logs.example:80/logs");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn the_shuttle_trusts_the_bundle_it_is_given() {
    let (sink, folder) = (Sink::strict_https(), tempfile::tempdir().unwrap());
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, sink.certificate()).unwrap();
    let path = file.to_str().unwrap();
    let said = ship(&sink.logs_url("t.1"), Shuttle::options().args(&["--max-attempts=1"]), 0);
    assert!(said.contains("certificate"), "{said}");
    assert_eq!(sink.requests().len(), 0);
    ship(&sink.logs_url("t.1"), Shuttle::options().args(&["--ca-file", path]), 1);
    ship(&sink.logs_url("t.1"), Shuttle::options().env("LOG_SHUTTLE_CA_FILE", path), 2);
    assert_eq!(numbers(&sink.received()), [1, 2]);
}
