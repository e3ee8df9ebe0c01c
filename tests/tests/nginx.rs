//! https drains into a real nginx, which passes on to a sink: whatever it does to answers and connections, nothing is
//! lost and nothing comes twice.

use std::fs;

use logplex_tests::{Answer, Drain, Nginx, Server, Sink, conservation, numbers, request, wait_for};

struct Walk {
    server: Server,
    token: String,
    drain: Drain,
    nginx: Nginx,
    sink: Sink,
}

impl Walk {
    /// The drain trusts nginx's certificate by the operator's bundle.
    fn start(rules: &str) -> Walk {
        let sink = Sink::start();
        let nginx = Nginx::start(sink.address(), rules);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let bundle = folder.path().join("ca.pem");
        fs::write(&bundle, nginx.certificate()).expect("the folder is ours");
        let server = Server::options().env("SSL_CERT_FILE", bundle.to_str().expect("a plain path")).start();
        let token = server.create_app("app");
        let drain = server.add_drain("app", &nginx.url("in"));
        Walk { server, token, drain, nginx, sink }
    }

    /// Sends lines one by one, each after the one before has arrived.
    fn trickle(&self, lines: std::ops::Range<u64>) {
        for line in lines {
            self.server.post_lines(&self.token, line, 1);
            self.sink.wait_line(line);
        }
    }

    /// The client connections of nginx that requests came over.
    fn connections(&self) -> Vec<String> {
        let mut seen: Vec<String> = Vec::new();
        for request in self.sink.requests() {
            let number = request.headers.get("x-connection").expect("set by nginx").to_owned();
            if seen.last() != Some(&number) {
                seen.push(number);
            }
        }
        seen
    }

    /// All `lines` arrived once, in order, and the ledger says so.
    #[track_caller]
    fn exact(&self, lines: std::ops::Range<u64>) {
        conservation(lines.clone(), &numbers(&self.sink.all()), 0);
        let ledger = self.server.rested("app", &self.drain);
        assert_eq!((ledger.delivered, ledger.gone()), (lines.end, 0));
    }
}

#[test]
fn chunked_answers_leave_the_connection_usable() {
    let walk = Walk::start("ssi on; ssi_types *;");
    walk.sink.answer(Answer::with(200, &[("Content-Type", "text/plain")]));
    walk.trickle(0..20);
    walk.exact(0..20);
    assert_eq!(walk.connections().len(), 1);
    let answer = request(walk.nginx.plain(), "GET", "/", &[], b"").unwrap();
    assert_eq!(answer.headers.get("transfer-encoding"), Some("chunked"), "the rules do what they are for");
}

#[test]
fn a_connection_that_is_closed_after_each_answer_costs_nothing() {
    let walk = Walk::start("keepalive_requests 1;");
    walk.trickle(0..20);
    walk.exact(0..20);
    assert_eq!(walk.connections().len(), 20);
}

#[test]
fn a_connection_closed_while_idle_is_opened_anew() {
    let walk = Walk::start("keepalive_timeout 50ms;");
    for line in 0..5 {
        walk.trickle(line..line + 1);
        wait_for("nginx to close the idle connection", || (walk.nginx.open_connections() == 0).then_some(()));
    }
    walk.exact(0..5);
    assert_eq!(walk.connections().len(), 5);
}

#[test]
fn a_connection_that_is_closed_just_when_it_is_used_loses_nothing() {
    // So short that the peer often closes while the next request is on its way.
    let walk = Walk::start("keepalive_timeout 1ms;");
    walk.trickle(0..200);
    walk.exact(0..200);
}

#[test]
fn too_many_requests_are_sent_later() {
    let walk = Walk::start(
        "limit_req_zone $server_port zone=one:1m rate=1r/s; limit_req zone=one; limit_req_status 429;\n\
         add_header Retry-After 1 always;",
    );
    walk.server.post_lines(&walk.token, 0, 10);
    walk.sink.wait_line(9);
    walk.server.post_lines(&walk.token, 10, 10);
    wait_for("the peer's 429", || {
        let said = |line: &String| line.contains("does not deliver") && line.contains("429");
        walk.server.stderr().iter().any(said).then_some(())
    });
    walk.sink.wait_line(19);
    walk.exact(0..20);
}

#[test]
fn while_its_upstream_is_gone_everything_is_held() {
    let walk = Walk::start("");
    walk.trickle(0..5);
    walk.sink.stop();
    walk.server.post_lines(&walk.token, 5, 200);
    wait_for("the peer's 502", || {
        let said = |line: &String| line.contains("does not deliver") && line.contains("502");
        walk.server.stderr().iter().any(said).then_some(())
    });
    assert_eq!(walk.server.drain_ledger("app", &walk.drain).held, 200);
    walk.sink.start_again();
    walk.sink.wait_line(204);
    walk.exact(0..205);
}
#[test]
fn a_body_that_is_too_large_for_the_peer_is_split() {
    let walk = Walk::start("client_max_body_size 4k;");
    walk.server.post_lines(&walk.token, 0, 1000);
    walk.sink.wait_line(999);
    walk.exact(0..1000);
}
