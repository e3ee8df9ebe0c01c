//! Debian's rsyslog forwards to us: nothing is missing and nothing doubled.

use logplex_tests::{Rsyslog, Server, Sink, SyslogSender, conservation, notices, numbers, rfc5424, wait_for};
use tempfile::TempDir;

/// How many lines are sent at once, and how many may be under way: two of the former fit a drain's ring.
const STEP: u64 = 500;

/// Sends numbered lines through a relay with `actions` to a server with `options`, no faster than they arrive, and
/// judges what arrived: the sources seen.
#[track_caller]
fn check(server: &Server, lines: u64, actions: &str) -> Vec<String> {
    let sink = Sink::start();
    let drain = server.add_drain("app", &sink.url(""));
    let rsyslog = Rsyslog::start(actions);
    let mut sender = SyslogSender::connect(rsyslog.address());
    for first in (0..lines).step_by(STEP as usize) {
        let line = |number: u64| rfc5424("worker", "-", &format!("line {number}\n"));
        let step: String = (first..first + STEP).map(line).collect();
        wait_for("the lines before the last ones", || {
            (server.drain_ledger("app", &drain).delivered + STEP >= first).then_some(())
        });
        sender.send(step.as_bytes()).expect("rsyslog takes it");
    }
    let received = sink.wait_line(lines - 1);
    assert_eq!(notices(&received), []);
    conservation(0..lines, &numbers(&received), 0);
    assert_eq!(received.len() as u64, lines);
    assert_eq!(server.metrics().sum("logplex_syslog_rejected_messages_total", &[]), 0.0);
    let mut sources: Vec<String> = received.into_iter().map(|message| message.app).collect();
    sources.dedup();
    sources
}

fn forward(server: &Server, options: &str) -> String {
    let port = server.syslog_addresses()[0].port();
    format!("action(type=\"omfwd\" target=\"127.0.0.1\" port=\"{port}\" protocol=\"tcp\" {options})")
}

#[test]
fn a_hundred_thousand_counted_frames_arrive_once() {
    let server = Server::options().args(&["--syslog-listen", "127.0.0.1:0"]).start();
    let token = server.create_app("app");
    let template = format!(
        "template(name=\"logplex\" type=\"string\" string=\"<%pri%>1 %timereported:::date-rfc3339% %hostname% \
         %app-name% %procid% %msgid% [logplex@32473 token=\\\"{token}\\\"] %msg%\")\n"
    );
    let action = forward(&server, "template=\"logplex\" TCP_Framing=\"octet-counted\"");
    assert_eq!(check(&server, 100_000, &(template + &action)), ["worker"]);
}

#[test]
fn its_traditional_lines_arrive_once_at_a_listener_with_a_token() {
    let mut server = Server::start();
    let token = server.create_app("app");
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, token).expect("it can be written");
    let listen = format!("127.0.0.1:0,token-file={}", file.display());
    server.set_options(Server::options().args(&["--syslog-listen", &listen]));
    server.restart();
    assert_eq!(check(&server, 5_000, &forward(&server, "")), ["worker"]);
}
