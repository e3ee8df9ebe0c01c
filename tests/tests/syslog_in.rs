//! Syslog over TCP and TLS: whatever framing, format and place of the token, what comes is taken in order, or counted.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use logplex_tests::{
    Received, Server, ServerOptions, Signal, Sink, SyslogSender, conservation, encode, notices, numbers,
    rfc3164, rfc5424, told_sum, wait_for,
};
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;

const LISTEN: [&str; 2] = ["--syslog-listen", "127.0.0.1:0"];
const UNKNOWN: &str = "t.00000000-0000-4000-8000-000000000000";

struct Door {
    server: Server,
    sink: Sink,
    token: String,
}

impl Door {
    fn start() -> Door {
        Door::with(Server::options().args(&LISTEN))
    }

    fn with(options: ServerOptions) -> Door {
        let (server, sink) = (options.start(), Sink::start());
        let token = server.create_app("app");
        server.add_drain("app", &sink.url(""));
        Door { server, sink, token }
    }

    fn address(&self) -> SocketAddr {
        self.server.syslog_addresses()[0]
    }

    #[track_caller]
    fn connect(&self) -> SyslogSender {
        SyslogSender::connect(self.address())
    }

    /// Sends all of it and waits until the server has taken it.
    #[track_caller]
    fn send(&self, bytes: &[u8]) {
        let mut sender = self.connect();
        sender.send(bytes).expect("it is taken");
        sender.finish();
    }

    fn rejected(&self, reason: &str) -> f64 {
        self.server.metrics().sum("logplex_syslog_rejected_messages_total", &[("reason", reason)])
    }

    fn rejected_in_all(&self) -> f64 {
        self.server.metrics().sum("logplex_syslog_rejected_messages_total", &[])
    }

    fn accepted(&self) -> u64 {
        self.server.stats("app")["tokens"][0]["accepted"].as_u64().expect("a number")
    }

    /// No reader and no log got to see the token.
    #[track_caller]
    fn kept_secret(&self, token: &str) {
        let seen = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(token);
        assert!(self.sink.requests().iter().all(|request| !seen(&request.body)));
        assert!(!self.server.stderr().iter().any(|line| line.contains(token)));
        let logs = self.server.api("GET", "/v3/channels/app/logs", None);
        assert!(!logs.text().contains(token), "{}", logs.text());
    }
}

fn counted(message: &str) -> Vec<u8> {
    encode(message.as_bytes())
}

fn line(message: &str) -> Vec<u8> {
    format!("{message}\n").into_bytes()
}

fn texts(received: &[Received]) -> Vec<&str> {
    received.iter().map(|message| message.text.as_str()).collect()
}

type Framed = fn(&str) -> Vec<u8>;

fn stream(lines: Range<u64>, framed: Framed, message: impl Fn(&str) -> String) -> Vec<u8> {
    lines.flat_map(|number| framed(&message(&format!("line {number}")))).collect()
}

#[track_caller]
fn check_3000(framed: Framed, message: fn(&str, &str) -> String) {
    let door = Door::start();
    let mut sender = door.connect();
    // A ring holds 1,024, and this is not about losing.
    for first in [0, 1000, 2000] {
        let bytes = stream(first..first + 1000, framed, |text| message(&door.token, text));
        sender.send(&bytes).expect("it is taken");
        door.sink.wait_line(first + 999);
    }
    sender.finish();
    let received = door.sink.received();
    conservation(0..3000, &numbers(&received), 0);
    let right = |message: &Received| {
        (message.pri, message.app.as_str(), message.procid.as_str()) == (190, "app", "web.1")
    };
    assert!(received.iter().all(right), "{:?}", received.iter().find(|message| !right(message)));
    assert_eq!((door.accepted(), door.rejected_in_all()), (3000, 0.0));
    door.kept_secret(&door.token);
}

#[test]
fn counted_frames_of_rfc_5424_arrive_in_order() {
    check_3000(counted, |token, text| rfc5424(token, "-", text));
}

#[test]
fn counted_frames_of_rfc_3164_arrive_in_order() {
    check_3000(counted, rfc3164);
}

#[test]
fn lines_of_rfc_5424_arrive_in_order() {
    check_3000(line, |token, text| rfc5424(token, "-", text));
}

#[test]
fn lines_of_rfc_3164_arrive_in_order() {
    check_3000(line, rfc3164);
}

#[test]
fn messages_without_a_time_arrive_in_order() {
    // As Python's SysLogHandler writes them.
    let ended_by_nul = |message: &str| format!("{message}\0").into_bytes();
    check_3000(ended_by_nul, |token, text| format!("<190>{token}[web.1]: {text}"));
}

#[test]
fn a_stream_split_anywhere_arrives_the_same() {
    let door = Door::start();
    let mut sent = 0;
    for framed in [counted as Framed, line] {
        let short = |token: &str, text: &str| format!("<9>1 - h {token} - - - {text}");
        let size = stream(0..3, framed, |text| short(&door.token, text)).len();
        for at in 0..=size {
            let bytes = stream(sent..sent + 3, framed, |text| short(&door.token, text));
            let mut sender = door.connect();
            let at = at.min(bytes.len());
            for piece in [&bytes[..at], &bytes[at..]] {
                sender.send(piece).expect("it is taken");
            }
            sender.finish();
            sent += 3;
        }
        let mut sender = door.connect();
        for byte in stream(sent..sent + 3, framed, |text| short(&door.token, text)) {
            sender.send(&[byte]).expect("it is taken");
        }
        sender.finish();
        sent += 3;
    }
    conservation(0..sent, &numbers(&door.sink.wait_line(sent - 1)), 0);
    assert_eq!((door.accepted(), door.rejected_in_all()), (sent, 0.0));
}

#[test]
fn a_token_in_structured_data_is_taken_out() {
    let door = Door::start();
    let token = &door.token;
    let mine = format!("[logplex@32473 token=\"{token}\"]");
    let data = format!("[a b=\"c\"]{mine}[x token=\"{token}\" y=\"z\"]");
    let messages = [rfc5424("sshd", &mine, "line 0"), rfc5424("cron", &data, "line 1")];
    door.send(&[counted(&messages[0]), counted(&messages[1])].concat());
    door.send(&line(&rfc5424(token, &mine, "line 2")));
    let received = door.sink.wait_line(2);
    let sources: Vec<&str> = received.iter().map(|message| message.app.as_str()).collect();
    assert_eq!(
        (sources, texts(&received)),
        (vec!["sshd", "cron", "app"], vec!["line 0", "line 1", "line 2"])
    );
    door.kept_secret(token);
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_text() {
    let door = Door::start();
    let token = &door.token;
    let mine = format!("[logplex@32473 token=\"{token}\"]");
    door.send(
        &[line(&rfc5424(token, "-", "\u{feff}line 0")), line(&rfc3164(token, "\u{feff}line 1"))].concat(),
    );
    let messages = [rfc5424("app", &mine, "\u{feff}line 2"), rfc5424(token, "[a b=\"c\"]", "\u{feff}line 3")];
    door.send(&[counted(&messages[0]), counted(&messages[1])].concat());
    let received = door.sink.wait_line(3);
    assert_eq!(texts(&received), ["line 0", "line 1", "line 2", "line 3"]);
    door.kept_secret(token);
}

#[test]
fn a_listener_with_a_token_takes_whatever_comes() {
    // The token comes from an earlier run, as it does where a listener is set up for a channel that exists.
    let mut server = Server::start();
    let token = server.create_app("app");
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{token}\n")).expect("it can be written");
    let listen = format!("127.0.0.1:0,token-file={}", file.display());
    server.set_options(Server::options().args(&["--syslog-listen", &listen]));
    server.restart();
    let sink = Sink::start();
    server.add_drain("app", &sink.url(""));
    let mut sender = SyslogSender::connect(server.syslog_addresses()[0]);
    sender.send(b"<13>Jan  2 03:04:05 host sshd[7]: line 0\n").expect("it is taken");
    sender
        .send(b"just line\0\r\n\n<13>1 2026-01-02T03:04:05Z h cron - - - line 1\nline 2")
        .expect("it is taken");
    sender.finish();
    let received = sink.wait_line(2);
    let seen: Vec<_> = received.iter().map(|one| (one.app.as_str(), one.text.as_str())).collect();
    assert_eq!(seen, [("sshd", "line 0"), ("app", "just line"), ("cron", "line 1"), ("app", "line 2")]);
}

#[test]
fn an_unknown_token_is_counted_and_the_connection_goes_on() {
    let door = Door::start();
    let mut sender = door.connect();
    let strangers = [
        rfc5424(UNKNOWN, "-", "no"),
        rfc5424("app", "-", "no"),
        rfc5424("app", &format!("[x token=\"{UNKNOWN}\"]"), "no"),
        rfc3164("app", "no"),
        "no head".to_owned(),
    ];
    for (number, stranger) in strangers.iter().enumerate() {
        let known = rfc5424(&door.token, "-", &format!("line {number}"));
        sender.send(&[counted(stranger), counted(&known)].concat()).expect("it is taken");
    }
    let received = door.sink.wait_line(4);
    assert_eq!(received.len(), 5);
    assert_eq!((door.rejected("unauthorized"), door.rejected_in_all()), (5.0, 5.0));
    let said = |line: &String| line.contains("syslog messages rejected") && line.contains("unauthorized");
    assert_eq!(door.server.stderr().iter().filter(|line| said(line)).count(), 1);
    door.kept_secret(UNKNOWN);
    assert_eq!(door.server.metrics().sum("logplex_syslog_connections", &[]), 1.0);
    sender.finish();
}

#[test]
fn tokens_of_one_channel_keep_their_order_on_one_connection() {
    let (server, sink) = (Server::options().args(&LISTEN).start(), Sink::start());
    let tokens = server.create_channel("app", &["app", "heroku"]);
    server.add_drain("app", &sink.url(""));
    let mut sender = SyslogSender::connect(server.syslog_addresses()[0]);
    let name = |number: u64| if number.is_multiple_of(3) { "heroku" } else { "app" };
    let message = |number: u64| counted(&rfc5424(&tokens[name(number)], "-", &format!("line {number}")));
    sender.send(&(0..500).flat_map(message).collect::<Vec<_>>()).expect("it is taken");
    sender.finish();
    let received = sink.wait_line(499);
    conservation(0..500, &numbers(&received), 0);
    assert!(received.iter().zip(0..).all(|(message, number)| message.app == name(number)));
}

#[test]
fn a_frame_over_the_limit_is_passed_over() {
    let door = Door::start();
    let long = "x".repeat(70_000);
    let messages = ["line 0", &long, "line 1"].map(|text| counted(&rfc5424(&door.token, "-", text)));
    door.send(&messages.concat());
    assert_eq!(texts(&door.sink.wait_line(1)), ["line 0", "line 1"]);
    assert_eq!((door.rejected("too-large"), door.rejected_in_all()), (1.0, 1.0));
}

#[test]
fn a_line_over_the_limit_becomes_several_messages() {
    let long = "ä".repeat(75_000);
    for message in [|token: &str, text: &str| rfc5424(token, "[a b=\"c\"]", text), rfc3164] {
        let door = Door::start();
        let message = message(&door.token, &long);
        door.send(&[line(&message), line(&rfc5424(&door.token, "-", "line 1"))].concat());
        let received = door.sink.wait_line(1);
        let [pieces @ .., _] = received.as_slice() else { panic!("messages") };
        assert_eq!(pieces.len(), 3);
        assert_eq!(pieces.iter().map(|piece| piece.text.as_str()).collect::<String>(), long);
        let heads: Vec<_> =
            pieces.iter().map(|one| (one.pri, one.app.as_str(), one.procid.as_str())).collect();
        assert_eq!(heads, [(190, "app", "web.1"); 3]);
        assert!(pieces.iter().all(|piece| piece.raw.len() <= 64 * 1024 && piece.time == pieces[0].time));
        assert_eq!(door.rejected_in_all(), 0.0);
    }
}

#[test]
fn a_long_line_with_a_long_head_keeps_its_source_and_its_text() {
    let door = Door::start();
    let (id, long) = ("m".repeat(3000), "x".repeat(100_000));
    let head = format!("<190>1 2026-01-02T03:04:05.678901+00:00 host {} web.1 {id} -", door.token);
    door.send(format!("{head} {long}\n{head} line 1\n").as_bytes());
    let received = door.sink.wait_line(1);
    assert_eq!(texts(&received[..2]).concat(), long);
    assert!(received.iter().all(|message| message.app == "app" && message.raw.len() <= 64 * 1024));
}

#[test]
fn a_malformed_count_ends_the_connection() {
    let door = Door::start();
    let good = counted(&rfc5424(&door.token, "-", "line 0"));
    let mut sender = door.connect();
    sender.send(&[&good[..], b"x"].concat()).expect("it is taken");
    sender.wait_closed();
    door.sink.wait_line(0);
    assert_eq!((door.accepted(), door.rejected("malformed"), door.rejected_in_all()), (1, 1.0, 1.0));
}

#[test]
fn what_is_cut_short_is_counted_and_a_last_line_needs_no_end() {
    let door = Door::start();
    let frame = counted(&rfc5424(&door.token, "-", "line 1"));
    door.send(&[&counted(&rfc5424(&door.token, "-", "line 0")), &frame[..frame.len() - 1]].concat());
    assert_eq!((door.rejected("truncated"), door.rejected_in_all()), (1.0, 1.0));
    door.send(rfc5424(&door.token, "-", "line 2").as_bytes());
    assert_eq!(texts(&door.sink.wait_line(2)), ["line 0", "line 2"]);
    assert_eq!(door.rejected_in_all(), 1.0);
}

#[test]
fn what_is_over_the_rate_is_counted() {
    let door = Door::with(Server::options().args(&LISTEN).args(&["--channel-rate", "1"]));
    door.send(&stream(0..5000, counted, |text| rfc5424(&door.token, "-", text)));
    let (accepted, rejected) = (door.accepted(), door.rejected("over-rate"));
    assert_eq!(accepted as f64 + rejected, 5000.0);
    // The burst, and what a few seconds add.
    assert!((1..1100).contains(&accepted), "{accepted}");
    assert_eq!(door.server.stats("app")["tokens"][0]["rejected_messages"], 5000 - accepted);
}

#[test]
fn a_silent_connection_is_closed() {
    let door = Door::with(Server::options().args(&LISTEN).args(&["--syslog-idle", "1"]));
    let mut sender = door.connect();
    let begun = Instant::now();
    sender.send(&line(&rfc5424(&door.token, "-", "line 0"))).expect("it is taken");
    sender.wait_closed();
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!((door.sink.wait_line(0).len(), door.rejected_in_all()), (1, 0.0));
    wait_for("the place to be free", || {
        (door.server.metrics().sum("logplex_syslog_connections", &[]) == 0.0).then_some(())
    });
}

/// A certificate for 127.0.0.1 and its key as files, and the options to use them.
fn tls_options(folder: &Path) -> (ServerOptions, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).expect("it can be written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("it can be written");
    let path = |file: &Path| file.to_str().expect("UTF-8").to_owned();
    let args =
        ["--syslog-tls-listen", "127.0.0.1:0", "--tls-cert", &path(&certificate), "--tls-key", &path(&key)];
    (Server::options().args(&args), made.cert.der().clone())
}

#[test]
fn tls_carries_the_same() {
    let folder = TempDir::new().expect("a folder");
    let (options, certificate) = tls_options(folder.path());
    let door = Door::with(options);
    let mut sender = SyslogSender::connect_tls(door.address(), &certificate);
    let bytes = stream(0..1000, counted, |text| rfc5424(&door.token, "-", text));
    sender.send(&bytes).expect("it is taken");
    sender.finish();
    conservation(0..1000, &numbers(&door.sink.wait_line(999)), 0);

    // Who does not speak TLS is not listened to.
    let mut plain = door.connect();
    plain.send(&line(&rfc5424(&door.token, "-", "line 1000"))).expect("it is taken");
    wait_for("a word about it", || {
        door.server.stderr().iter().any(|line| line.contains("no TLS with a syslog sender")).then_some(())
    });
    assert_eq!(door.accepted(), 1000);
}

#[test]
fn a_stop_in_the_middle_of_a_stream_tells_exactly_what_was_taken() {
    let mut door = Door::start();
    let (address, token) = (door.address(), door.token.clone());
    let sending = std::thread::spawn(move || {
        let mut sender = SyslogSender::connect(address);
        let mut next = 0;
        loop {
            let bytes = stream(next..next + 10, counted, |text| rfc5424(&token, "-", text));
            if sender.send(&bytes).is_err() {
                return next;
            }
            next += 10;
        }
    });
    door.sink.wait_received("a good start", |received| (numbers(received).len() > 500).then_some(()));
    assert!(door.server.term().success());
    let sent = sending.join().expect("the sender ends when the server does");
    let stderr = door.server.stderr();
    let totals = stderr.iter().find(|line| line.contains("syslog messages in all")).expect("the totals");
    let number = |name: &str| -> u64 {
        let after =
            totals.split_once(&format!("{name}=")).unwrap_or_else(|| panic!("no {name} in {totals}")).1;
        after.split_whitespace().next().and_then(|digits| digits.parse().ok()).expect("a number")
    };
    let (accepted, rejected) = (number("accepted"), number("rejected"));
    assert!(accepted > 500 && accepted <= sent + 10, "{accepted} of {sent}");
    assert!(rejected <= 1, "at most the frame that was cut short: {rejected}");
    let received = door.sink.received();
    let told = told_sum(&notices(&received), &[logplex_tests::Code::L10]);
    conservation(0..accepted, &numbers(&received), told);
}

#[test]
fn a_stop_takes_a_line_that_has_no_end_yet() {
    let mut door = Door::start();
    let mut sender = door.connect();
    sender.send(&line(&rfc5424(&door.token, "-", "line 0"))).expect("it is taken");
    sender.send(rfc5424(&door.token, "-", "line 1").as_bytes()).expect("it is taken");
    door.sink.wait_line(0);
    door.server.signal(Signal::SIGTERM);
    sender.wait_closed();
    assert!(door.server.wait().success());
    assert_eq!(texts(&door.sink.received()), ["line 0", "line 1"]);
}
