//! What is piped in arrives: in order, well framed, once, whatever the lines look like; or the log says what did not.

use std::fs;

use logplex_tests::{
    Answer, Code, Ended, Program, Received, Request, Shuttle, Sink, basic, conservation, notices, numbers,
    wait_for,
};

/// Pipes `input` through a shuttle to `sink`; its stderr and stdout.
#[track_caller]
fn ship(sink: &Sink, args: &[&str], input: &[u8]) -> Ended {
    let mut shuttle = Shuttle::start(&sink.logs_url("t.1"), args);
    shuttle.write(input).expect("the shuttle reads its stdin");
    let status = shuttle.finish();
    Ended { status, stdout: shuttle.stdout(), stderr: shuttle.stderr() }
}

/// As [`ship`], where all goes well; what arrived.
#[track_caller]
fn ship_well(sink: &Sink, args: &[&str], input: &[u8]) -> Vec<Received> {
    let ended = ship(sink, args, input);
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), &[][..]));
    sink.received()
}

fn lines(n: u64) -> Vec<u8> {
    (0..n).flat_map(|line| format!("line {line}\n").into_bytes()).collect()
}

fn texts(received: &[Received]) -> Vec<&str> {
    received.iter().map(|message| message.text.as_str()).collect()
}

/// The frame ids of the requests, and how often in a row each came.
fn attempts(requests: &[Request]) -> Vec<usize> {
    requests.chunk_by(|a, b| a.frame_id() == b.frame_id()).map(<[Request]>::len).collect()
}

#[test]
fn lines_arrive_in_order_in_well_formed_requests() {
    const LINES: u64 = 5000;
    let sink = Sink::strict();
    let received = ship_well(&sink, &[], &lines(LINES));
    conservation(0..LINES, &numbers(&received), 0);
    for (number, message) in received.iter().enumerate() {
        assert_eq!(message.text, format!("line {number}\n"));
        let Received { pri, host, app, procid, rest, .. } = message;
        let fields = (*pri, host.as_str(), app.as_str(), procid.as_str());
        assert_eq!(fields, (190, "shuttle", "token", "shuttle"));
        assert!(rest.starts_with("- - "), "{rest:?}");
        assert!(message.time.len() == 32 && message.time.ends_with("+00:00"), "{}", message.time);
    }
    assert!(received.is_sorted_by_key(|message| &message.time));
    let requests = sink.requests();
    assert_eq!(attempts(&requests), vec![1; requests.len()]);
    for request in &requests {
        let header = |name| request.headers.get(name).unwrap_or_default();
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/logs"));
        assert_eq!(header("content-type"), "application/logplex-1");
        assert_eq!(header("authorization"), basic("token", "t.1"));
        assert_eq!(header("content-length"), request.body.len().to_string());
        assert_eq!(header("logplex-msg-count"), request.messages().len().to_string());
        assert!(request.messages().len() <= 500);
        assert_eq!(header("x-request-id").replace('-', "").to_uppercase(), header("logplex-frame-id"));
        assert!(header("user-agent").starts_with("log-shuttle/"));
    }
    assert_eq!(sink.connections(), 1);
}

#[test]
fn a_lone_line_does_not_wait_for_the_end_of_input() {
    let sink = Sink::strict();
    let mut shuttle = Shuttle::start(&sink.logs_url("t.1"), &[]);
    for line in 0..5 {
        shuttle.write_lines(line, 1);
        sink.wait_line(line);
    }
    assert!(shuttle.finish().success());
    assert_eq!(sink.requests().len(), 5);
}

#[test]
fn the_header_is_what_the_flags_say() {
    let sink = Sink::strict();
    let flags =
        ["-appname=web", "--procid", "web.1", "-hostname", "h", "--prival=13", "-msgid", "ID [a b=\"]\"]"];
    let received = ship_well(&sink, &flags, b"hello\n");
    let raw = String::from_utf8(received[0].raw.clone()).unwrap();
    let time = &received[0].time;
    assert_eq!(raw, format!("<13>1 {time} h web web.1 ID [a b=\"]\"] hello\n"));
}

#[test]
fn credentials_come_from_url_flag_file_or_environment() {
    let sink = Sink::strict();
    let url = |userinfo: &str| format!("http://{userinfo}{}/in?code=a%20b&x", sink.address());
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let token_file = file("token", "from-file\n");
    let url_file = file("url", &format!("  {}\n", url("file:p@")));
    type Row<'a> = (&'a str, &'a [&'a str], &'a [(&'a str, &'a str)], String);
    let table: [Row; 9] = [
        ("user:pass@", &[], &[], basic("user", "pass")),
        ("us%3Aer:p%40ss%2F%C3%BC@", &[], &[], basic("us:er", "p@ss/ü")),
        ("user@", &[], &[], basic("user", "")),
        ("", &[], &[], basic("token", "token")),
        ("", &["-logplex-token=t.9"], &[], basic("token", "t.9")),
        ("user:pass@", &["-bearer-token", "secret"], &[], "Bearer secret".to_owned()),
        ("user:pass@", &["--bearer-token-file", &token_file], &[], "Bearer from-file".to_owned()),
        ("user:pass@", &[], &[("LOG_SHUTTLE_BEARER_TOKEN", "from-env")], "Bearer from-env".to_owned()),
        ("user:pass@", &["-logs-url-file", &url_file], &[], basic("file", "p")),
    ];
    for (userinfo, args, env, expected) in table {
        let mut shuttle = Shuttle::options().env("LOGS_URL", &url(userinfo)).args(args);
        for (key, value) in env {
            shuttle = shuttle.env(key, value);
        }
        let mut shuttle = shuttle.start();
        shuttle.write_lines(0, 1);
        assert!(shuttle.finish().success());
        let request = sink.requests().pop().expect("a request");
        assert_eq!(request.headers.get("authorization"), Some(expected.as_str()), "{userinfo} {args:?}");
        assert_eq!(request.path, "/in?code=a%20b&x");
    }
}

#[test]
fn gzip_is_used_when_asked_for() {
    let sink = Sink::strict();
    conservation(0..2000, &numbers(&ship_well(&sink, &["-gzip"], &lines(2000))), 0);
    for request in sink.requests() {
        assert_eq!(request.headers.get("content-encoding"), Some("gzip"));
        let sent = request.headers.number("content-length").expect("a length") as usize;
        assert!(
            sent < request.body.len() || request.messages().len() < 3,
            "{sent} of {}",
            request.body.len()
        );
    }
}

#[test]
fn tee_passes_on_what_was_read() {
    let sink = Sink::strict();
    let ended = ship(&sink, &["--tee"], &lines(3000));
    assert_eq!(ended.stderr, [""; 0]);
    assert_eq!(ended.stdout, (0..3000).map(|line| format!("line {line}")).collect::<Vec<_>>());
    conservation(0..3000, &numbers(&sink.received()), 0);
}

#[test]
fn odd_bytes_pass_through() {
    let sink = Sink::strict();
    let input = b"\n\r\n nul \0 \x1b[31m\n\xff\xfe not UTF-8\n12 <13>1 like a frame\n\t\nno newline";
    let received = ship_well(&sink, &[], input);
    let pieces: Vec<Vec<u8>> = received
        .iter()
        .map(|message| {
            let head = b" token shuttle - - ";
            let at = message.raw.windows(head.len()).position(|bytes| bytes == head).expect("a head");
            message.raw[at + head.len()..].to_vec()
        })
        .collect();
    assert_eq!(pieces, input.split_inclusive(|byte| *byte == b'\n').collect::<Vec<_>>());
}

#[test]
fn long_lines_are_cut_between_characters_and_nothing_is_missing() {
    for most in [4, 5, 7, 100, 10_000, 64_000] {
        let sink = Sink::strict();
        let line = "aß€𝄞".repeat(most / 3);
        let exact = "x".repeat(most);
        let received = ship_well(
            &sink,
            &[&format!("-max-line-length={most}")],
            format!("{line}\n{exact}\nb\n").as_bytes(),
        );
        let texts = texts(&received);
        assert!(texts.iter().all(|text| text.trim_end_matches('\n').len() <= most), "{most}");
        // No piece is shorter than it must be, and a line of exactly the limit is whole.
        let cut = line.len().div_ceil(most)..=line.len().div_ceil(most - 3);
        assert!(cut.contains(&(texts.len() - 2)), "{} pieces of at most {most}", texts.len());
        assert_eq!(texts.concat(), format!("{line}\n{exact}\nb\n"));
        assert!(received.iter().all(|message| str::from_utf8(&message.raw).is_ok()), "{most}");
        assert_eq!(texts[texts.len() - 2..], [&format!("{exact}\n"), "b\n"]);
    }
}

#[test]
fn an_endless_line_costs_no_memory() {
    const BYTES: usize = 32 * 1024 * 1024;
    let sink = Sink::strict();
    let mut shuttle = Shuttle::start(&sink.logs_url("t.1"), &["-drop=false", "--ring=100"]);
    let part = "endless ".repeat(64 * 1024 / 8);
    for _ in 0..BYTES / part.len() {
        shuttle.write(part.as_bytes()).expect("the shuttle reads its stdin");
    }
    let status = fs::read_to_string(format!("/proc/{}/status", shuttle.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux knows the peak");
    let peak: usize = peak.trim().trim_end_matches(" kB").parse().expect("a number of kB");
    assert!(shuttle.finish().success());
    assert!(peak < BYTES / 1024, "{peak} kB for a line of {} kB", BYTES / 1024);
    let received = sink.received();
    assert_eq!(texts(&received).concat(), part.repeat(BYTES / part.len()));
}

#[test]
fn framed_input_is_passed_on_as_it_is() {
    let sink = Sink::strict();
    let header = "<13>1 2026-01-02T03:04:05Z h app p ID [a b=\"c\"] ";
    ship_well(&sink, &["-input-format=rfc5424"], format!("{header}one\n{header}two\n").as_bytes());
    // A frame may hold newlines and need not end with one.
    let frame = |text: &str| format!("{} {header}{text}", header.len() + text.len());
    ship_well(&sink, &["-input-format=lprfc5424"], (frame("th\nree") + &frame("four")).as_bytes());
    let received = sink.received();
    assert_eq!(texts(&received), ["one\n", "two\n", "th\nree", "four"]);
    assert!(received.iter().all(|message| message.raw.starts_with(header.as_bytes())));
}

#[test]
fn a_retried_request_keeps_its_id_and_bytes() {
    let busy = Answer::with(429, &[("Retry-After", "0")]);
    let faults = [Answer::status(503), busy, Answer::Reset, Answer::status(408), Answer::Lose(204)];
    let sink = Sink::strict();
    sink.answer_next(faults);
    let mut shuttle = Shuttle::start(&sink.logs_url("t.1"), &["--max-attempts=100"]);
    shuttle.write_lines(0, 100);
    sink.wait_line(99);
    wait_for("the last attempt", || (sink.requests().len() == 6).then_some(()));
    shuttle.write_lines(100, 1);
    sink.wait_line(100);
    assert!(shuttle.finish().success());
    assert_eq!(attempts(&sink.requests()), [6, 1]);
    // A repeat that differs in its bytes would end the test here.
    conservation(0..101, &numbers(&sink.received()), 0);
}

/// Ships 10 lines that are answered `answer`, then 5 that are taken.
#[track_caller]
fn check_lost(answer: Answer, reason: &str) -> Sink {
    let sink = Sink::strict();
    sink.answer_next([Answer::Hold]);
    let mut shuttle = Shuttle::start(&sink.logs_url("t.1"), &["--stats-interval=10ms"]);
    shuttle.write_lines(0, 1);
    sink.wait_held(1);
    shuttle.write_lines(1, 10);
    shuttle.wait_accepted(11);
    sink.answer_next([answer]);
    sink.release(Answer::status(204));
    wait_for("the loss", || shuttle.ledger().filter(|ledger| ledger.lost(reason) == 10));
    shuttle.write_lines(11, 5);
    sink.wait_line(15);
    assert!(shuttle.finish().success());

    let requests = sink.requests();
    assert_eq!(requests[2..].iter().map(|request| request.messages().len()).sum::<usize>(), 1 + 5);
    let first = &requests[2].messages()[0];
    let [notice] = &notices(std::slice::from_ref(first))[..] else { panic!("no notice: {first:?}") };
    assert_eq!((notice.code, notice.count, notice.fact("reason")), (Code::L13, 10, Some(reason)));
    assert_eq!((first.pri, first.host.as_str(), first.procid.as_str()), (172, "heroku", "log-shuttle"));
    assert_eq!(requests[2].headers.number("logplex-lost-count"), Some(10));
    assert_eq!(requests[2].headers.number("logplex-drop-count"), Some(0));
    assert_eq!(numbers(&sink.received()), [0, 11, 12, 13, 14, 15]);
    assert!(shuttle.stderr().iter().any(|line| line.contains("lines lost") && line.contains(reason)));
    let report = shuttle.stderr().pop().expect("a report");
    assert_eq!(report, "log-shuttle: flushed=6 dropped=0 lost=10 unsent=0 untold=0");
    sink
}

#[test]
fn refused_lines_are_lost_and_told() {
    for status in [400, 401, 403, 404, 410, 422] {
        check_lost(Answer::status(status), "refused");
    }
}

#[test]
fn a_redirect_is_not_followed_and_its_lines_are_told_as_lost() {
    let elsewhere = Sink::strict();
    for status in [301, 302, 303, 307, 308] {
        let redirect = Answer::with(status, &[("Location", &elsewhere.url("logs"))]);
        let sink = check_lost(redirect, "redirected");
        assert!(sink.requests().iter().all(|request| request.method == "POST"));
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[test]
fn a_request_that_is_too_large_is_halved() {
    let sink = Sink::strict();
    sink.answer_next([Answer::Hold]);
    let mut shuttle = Shuttle::start(&sink.logs_url("t.1"), &["--stats-interval=10ms"]);
    shuttle.write_lines(0, 1);
    sink.wait_held(1);
    shuttle.write_lines(1, 100);
    shuttle.wait_accepted(101);
    // The whole, its first half, and that one's first half.
    sink.answer_next([const { Answer::Status(413, Vec::new()) }; 3]);
    sink.release(Answer::status(204));
    assert!(shuttle.finish().success());
    let requests = sink.requests();
    let sizes: Vec<usize> = requests.iter().map(|request| request.messages().len()).collect();
    assert_eq!(sizes, [1, 100, 50, 25, 12, 13, 25, 50]);
    assert_eq!(attempts(&requests), [1; 8], "other bytes have another id");
    conservation(0..101, &numbers(&sink.received()), 0);
    assert_eq!(notices(&sink.received()), []);
}

#[test]
fn a_line_that_is_too_large_by_itself_is_lost_and_told() {
    let sink = Sink::strict();
    sink.answer_next([Answer::status(413)]);
    let mut shuttle = Shuttle::start(&sink.logs_url("t.1"), &[]);
    shuttle.write_lines(0, 1);
    // The notice goes alone.
    sink.wait_received("the notice", |received| notices(received).pop());
    shuttle.write_lines(1, 3);
    assert!(shuttle.finish().success());
    let told = notices(&sink.received());
    assert_eq!((told[0].count, told[0].fact("reason")), (1, Some("too-large")));
    assert_eq!((told.len(), numbers(&sink.received())), (1, vec![1, 2, 3]));
}

#[test]
fn https_is_verified_unless_skip_verify_is_given() {
    let sink = Sink::strict_https();
    let ended = ship(&sink, &["--grace=300ms", "--fail-on-loss"], b"line 0\n");
    assert_eq!(ended.status.code(), Some(3));
    assert!(
        ended.stderr[0].contains("the TLS handshake failed: invalid peer certificate"),
        "{:?}",
        ended.stderr
    );
    assert_eq!(sink.requests().len(), 0);

    conservation(0..100, &numbers(&ship_well(&sink, &["-skip-verify"], &lines(100))), 0);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    fs::write(&file, sink.certificate()).unwrap();
    let options = Shuttle::options().env("SSL_CERT_FILE", file.to_str().unwrap());
    let mut shuttle = options.env("LOGS_URL", &sink.logs_url("t.1")).start();
    shuttle.write_lines(100, 100);
    assert!(shuttle.finish().success());
    conservation(0..200, &numbers(&sink.received()), 0);
}

#[test]
fn nothing_in_means_nothing_out() {
    let sink = Sink::strict();
    let mut program = Program::start("log-shuttle", &[], &[("LOGS_URL", &sink.logs_url("t.1"))]);
    let Ended { status, stdout, stderr } = program.wait();
    assert_eq!((status.code(), stdout.len() + stderr.len(), sink.connections()), (Some(0), 0, 0));
}
