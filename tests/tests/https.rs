//! https drains: a certificate is verified unless the drain's URL says otherwise, and nothing is lost meanwhile.

use logplex_tests::{Drain, Server, ServerOptions, Sink, conservation, numbers, wait_for};
use serde_json::json;

struct Walk {
    server: Server,
    token: String,
    drain: Drain,
}

impl Walk {
    fn start(options: ServerOptions, url: &str) -> Walk {
        let server = options.start();
        let token = server.create_app("app");
        let drain = server.add_drain("app", url);
        Walk { server, token, drain }
    }

    #[track_caller]
    fn wait_logged(&self, text: &str) -> String {
        wait_for(&format!("{text:?} in the log"), || {
            let stderr = self.server.stderr();
            stderr.iter().find(|line| line.contains("does not deliver") && line.contains(text)).cloned()
        })
    }
}

#[test]
fn a_self_signed_certificate_is_refused_until_the_url_allows_it() {
    let sink = Sink::https();
    let walk = Walk::start(Server::options(), &sink.url("in"));
    walk.server.post_lines(&walk.token, 0, 500);
    let said = walk.wait_logged("certificate");
    assert!(said.contains(&walk.drain.token), "{said}");
    let ledger = walk.server.drain_ledger("app", &walk.drain);
    assert_eq!((ledger.held, ledger.delivered, ledger.gone()), (500, 0, 0));
    assert_eq!(sink.requests().len(), 0);

    let path = format!("/v3/channels/app/drains/{}", walk.drain.id);
    let url = sink.url("in#insecure");
    walk.server.api("PUT", &path, Some(&json!({ "url": url }))).expect(&[200]);
    conservation(0..500, &numbers(&sink.wait_line(499)), 0);
    // Our option is for us alone.
    assert!(sink.requests().iter().all(|request| request.path == "/in"));
    assert_eq!(walk.server.rested("app", &walk.drain).delivered, 500);
}

#[test]
fn a_trusted_certificate_is_verified() {
    let (sink, folder) = (Sink::https(), tempfile::tempdir().unwrap());
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, sink.certificate()).unwrap();
    let options = || Server::options().env("SSL_CERT_FILE", file.to_str().unwrap());
    let walk = Walk::start(options(), &sink.url("in"));
    walk.server.post_lines(&walk.token, 0, 10);
    conservation(0..10, &numbers(&sink.wait_line(9)), 0);

    // It is for 127.0.0.1, and the name is verified too.
    let localhost = sink.url("in").replace("127.0.0.1", "localhost");
    let walk = Walk::start(options(), &localhost);
    walk.server.post_lines(&walk.token, 0, 10);
    walk.wait_logged("certificate");
}

#[test]
fn a_peer_without_tls_is_no_https_peer() {
    let sink = Sink::start();
    let url = sink.url("in#insecure").replace("http:", "https:");
    let walk = Walk::start(Server::options(), &url);
    walk.server.post_lines(&walk.token, 0, 1);
    walk.wait_logged("");
    assert_eq!((sink.requests().len(), walk.server.drain_ledger("app", &walk.drain).held), (0, 1));
}

#[test]
fn a_drain_to_a_private_address_needs_the_operators_word() {
    let sink = Sink::start();
    let walk = Walk::start(Server::options().without_private_drains(), &sink.url("in"));
    walk.server.post_lines(&walk.token, 0, 1);
    walk.wait_logged("");
    assert_eq!((sink.connections(), walk.server.drain_ledger("app", &walk.drain).held), (0, 1));
}
