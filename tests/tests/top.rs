//! `logplex top` and the route behind it: which channels take, deliver and lose the most.

use std::sync::mpsc;
use std::thread;

use logplex_tests::{
    API_KEY, Answer, DEADLINE, Ended, Program, Server, Signal, Sink, Tail, Terminal, binary, encode, wait_for,
};
use serde_json::{Value, json};

/// `logplex top ARGS…` on a server, with its key.
fn start(server: &Server, args: &[&str]) -> Program {
    let url = server.url("");
    let env = [("LOGPLEX_API_KEY", API_KEY), ("LOGPLEX_URL", &url)];
    Program::start("logplex", &[&["top"], args].concat(), &env)
}

/// One table, measured over as little time as is allowed.
#[track_caller]
fn once(server: &Server, args: &[&str]) -> Vec<String> {
    let Ended { status, stdout, stderr } =
        start(server, &[&["--once", "--interval", "0.1"], args].concat()).wait();
    assert_eq!((status.code(), stderr.as_slice()), (Some(0), &[][..]), "{args:?}");
    stdout
}

#[track_caller]
fn ask(server: &Server, query: &str) -> Value {
    server.api("GET", &format!("/v3/top?seconds=0.1&{query}"), None).expect(&[200]).json()
}

fn names(answer: &Value) -> Vec<&str> {
    let channels = answer["channels"].as_array().expect("a list");
    channels.iter().map(|channel| channel["channel"].as_str().expect("a name")).collect()
}

fn router(code: &str) -> Vec<u8> {
    let text = format!("<158>1 2026-01-02T03:04:05+00:00 h heroku router - - at=error code={code}");
    encode(text.as_bytes())
}

/// Channel `busy` delivers 600 lines to a drain and a tail; `lossy` loses 30 of 30 with codes; `quiet` has a drain that
/// holds 6; `idle` has nothing.
struct Walk {
    server: Server,
    _sinks: [Sink; 3],
    _tail: Tail,
}

fn walk() -> Walk {
    let (server, sink, failing, standing) = (Server::start(), Sink::start(), Sink::start(), Sink::start());
    let [busy, lossy, _idle] = ["busy", "lossy", "idle"].map(|name| server.create_app(name));
    let drain = server.add_drain("busy", &sink.url(""));
    let tail = Tail::open(&server.create_session("busy", json!({ "tail": true })));
    wait_for("an open tail", || (server.stats("busy")["tails"]["open"] == 1).then_some(()));
    server.post_batches(&busy, 0..600, 100);
    server.rested("busy", &drain);
    tail.wait_number(599);
    wait_for("a tail that was sent all", || (server.tails_ledger("busy").held == 0).then_some(()));

    failing.answer(Answer::status(403));
    let drain = server.add_drain("lossy", &failing.url(""));
    assert_eq!(server.post_logs(&lossy, &[], &router("H12").repeat(28)).0, 204);
    assert_eq!(server.post_logs(&lossy, &[], &[router("H10"), router("L14")].concat()).0, 204);
    let ledger = server.rested("lossy", &drain);
    assert_eq!(ledger.lost("refused"), 30);
    let quiet = server.create_app("quiet");
    server.add_drain("quiet", &standing.url(""));
    standing.answer(Answer::Hold);
    server.post_lines(&quiet, 0, 1);
    standing.wait_held(1);
    server.post_lines(&quiet, 1, 5);
    Walk { server, _sinks: [sink, failing, standing], _tail: tail }
}

#[test]
fn each_channel_has_its_exact_counts_and_the_totals_are_their_sums() {
    let walk = walk();
    let answer = ask(&walk.server, "sort=name");
    assert_eq!(names(&answer), ["busy", "idle", "lossy", "quiet"]);
    let figures = |value: &Value| {
        let keys = ["accepted", "delivered", "dropped", "lost", "held", "drains", "tails"];
        keys.map(|key| value[key].as_u64().unwrap_or_else(|| panic!("no {key} in {value}")))
    };
    let rows: Vec<[u64; 7]> = (0..4).map(|at| figures(&answer["channels"][at])).collect();
    let expected =
        [[600, 1200, 0, 0, 0, 1, 1], [0, 0, 0, 0, 0, 0, 0], [30, 0, 0, 30, 0, 1, 0], [6, 0, 0, 0, 6, 1, 0]];
    assert_eq!(rows, expected);
    assert_eq!(figures(&answer["total"]), [636, 1200, 0, 30, 6, 3, 1]);
    assert_eq!((&answer["total"]["channels"], &answer["total"]["in"]), (&json!(4), &json!(0)));
    // An L10 on the channel may be among them by now.
    let lossy = &answer["channels"][2];
    assert_eq!(lossy["codes"][0], json!({ "code": "H12", "count": 28 }));
    assert!(lossy["coded"].as_u64() >= Some(30), "{lossy}");
    // The same as the ledgers say.
    for (name, row) in names(&answer).into_iter().zip(rows) {
        let stats = walk.server.stats(name);
        let accepted: u64 =
            stats["tokens"].as_array().unwrap().iter().map(|token| token["accepted"].as_u64().unwrap()).sum();
        assert_eq!(accepted, row[0], "{name}");
    }
}

#[test]
fn the_first_are_those_that_were_asked_for() {
    let walk = walk();
    assert_eq!(names(&ask(&walk.server, "sort=lost&n=1")), ["lossy"]);
    assert_eq!(names(&ask(&walk.server, "sort=codes&n=1")), ["lossy"]);
    assert_eq!(names(&ask(&walk.server, "sort=codes")), ["lossy", "busy", "idle", "quiet"]);
    let two = ask(&walk.server, "sort=name&n=2");
    assert_eq!((names(&two), &two["total"]["channels"]), (vec!["busy", "idle"], &json!(4)));
    for wrong in
        ["n=0", "n=1001", "n=x", "sort=size", "seconds=0.05", "seconds=31", "seconds=NaN", "seconds=x"]
    {
        let answer = walk.server.api("GET", &format!("/v3/top?{wrong}"), None).expect(&[400]).json();
        let name = wrong.split('=').next().unwrap();
        assert!(answer["error"].as_str().unwrap().starts_with(&format!("'{name}' must be")), "{answer}");
    }
    assert_eq!(walk.server.call("GET", "/v3/top", &[], b"").status, 401);
}

#[test]
fn of_many_channels_the_first_are_found() {
    let server = Server::start();
    for number in 0..300 {
        server.create_app(&format!("app-{number:03}"));
    }
    let loud = server.create_app("zz-loud");
    assert_eq!(server.post_logs(&loud, &[], &router("H12")).0, 204);
    let answer = ask(&server, "sort=name&n=3");
    assert_eq!(names(&answer), ["app-000", "app-001", "app-002"]);
    assert_eq!(answer["total"]["channels"], 301);
    assert_eq!(names(&ask(&server, "sort=codes&n=2")), ["zz-loud", "app-000"]);
}

#[test]
fn what_comes_while_it_is_measured_is_the_rate() {
    let (server, sink) = (Server::start(), Sink::start());
    let token = server.create_app("app");
    server.add_drain("app", &sink.url(""));
    server.create_app("other");
    let program = start(&server, &["--json", "--interval", "1"]);
    let samples = || -> Vec<Value> {
        program.stdout().iter().map(|line| serde_json::from_str(line).expect("an object a line")).collect()
    };
    // What comes between two tables is in neither, which is seldom.
    let mut posted = 0;
    let sample = wait_for("500 lines within one table", || {
        let newest = samples().into_iter().find(|sample| sample["total"]["accepted"] == posted);
        let newest = newest.filter(|sample| posted == 0 || sample["total"]["in"] != 500);
        if newest.is_some() {
            posted += 500;
            server.post_lines(&token, posted - 500, 500);
        }
        samples().into_iter().find(|sample| sample["total"]["in"] == 500)
    });
    assert_eq!(names(&sample), ["app", "other"]);
    let app = &sample["channels"][0];
    let seconds = sample["seconds"].as_f64().expect("how long it took");
    assert!((1.0..30.0).contains(&seconds), "{seconds}");
    let rate = app["in_per_second"].as_f64().expect("a rate");
    assert!((rate - 500.0 / seconds).abs() < 1.0, "{rate} in {seconds} s");
    assert_eq!((&app["in"], &sample["channels"][1]["in"]), (&json!(500), &json!(0)));
    assert!(app["out"].as_u64() <= Some(500), "{app}");
}

#[test]
fn without_a_terminal_tables_follow_each_other_as_plain_text() {
    let walk = walk();
    let table = once(&walk.server, &["--sort", "lost"]);
    assert!(
        table[0].ends_with("Z  4 channels: 0 in/s, 0 out/s, 0 dropped, 30 lost, 6 held, 3 drains, 1 tail"),
        "{table:?}"
    );
    let cells = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let headings = ["CHANNEL", "IN/S", "OUT/S", "DROPPED", "LOST", "HELD", "DRAINS", "TAILS", "CODES"];
    assert_eq!(cells(&table[1]), headings);
    assert_eq!(cells(&table[2])[..9], ["lossy", "0", "0", "0", "30", "0", "1", "0", "H12\u{d7}28"]);
    assert_eq!(table.len(), 6, "{table:?}");
    assert_eq!(once(&walk.server, &["-n", "2"]).len(), 4);
    let one: Value =
        serde_json::from_str(&once(&walk.server, &["--json", "--sort", "name"]).join("\n")).unwrap();
    assert_eq!(names(&one), ["busy", "idle", "lossy", "quiet"]);

    // Whoever ends it, a cursor that was hidden would be shown again.
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGQUIT, Signal::SIGHUP] {
        let mut program = start(&walk.server, &["--interval", "0.1"]);
        wait_for("three tables", || {
            (program.stdout().iter().filter(|line| line.is_empty()).count() >= 2).then_some(())
        });
        program.signal(signal);
        let ended = program.wait();
        assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(130), &[][..]), "{signal}");
        assert!(ended.stdout.iter().all(|line| !line.contains('\x1b')), "{:?}", ended.stdout);
    }
    let head = Program::start_head(
        "logplex",
        &["top", "--interval", "0.1", "--url", &walk.server.url("")],
        &[("LOGPLEX_API_KEY", API_KEY)],
        8,
    )
    .wait();
    assert_eq!((head.status.code(), head.stderr.as_slice()), (Some(0), &[][..]));
}

#[test]
fn a_terminal_is_redrawn_and_restored() {
    let mut server = Server::start();
    let token = server.create_app("app");
    let command = format!("'{}' top --interval 0.2 --url '{}'", binary("logplex").display(), server.url(""));
    let terminal = Terminal::start(&command, &[("LOGPLEX_API_KEY", API_KEY)]);
    terminal.wait_screen("1 channel: 0 in/s");
    assert!(!terminal.has_cursor());
    assert!(terminal.coloured().contains("\x1b[1mCHANNEL"), "{:?}", terminal.coloured());
    assert_eq!(server.post_logs(&token, &[], &router("H12")).0, 204);
    let screen = terminal.wait_screen("H12\u{d7}1\n");
    assert_eq!(screen.matches("CHANNEL").count(), 1, "{screen}");

    // As long as the server is away its last table stays, and a dim line below says why it is old.
    server.term();
    let screen = terminal.wait_screen("; asking again");
    assert!(screen.contains("H12\u{d7}1\n"), "{screen}");
    assert!(terminal.coloured().contains("\x1b[2mlogplex: "), "{:?}", terminal.coloured());
    server.restart_same_port();
    wait_for("a table of the new process", || {
        let screen = terminal.screen();
        (!screen.contains("asking again") && !screen.contains("H12")).then_some(())
    });
    terminal.press("C-c");
    let screen = terminal.wait_screen("exit 130");
    let lines: Vec<&str> = screen.lines().filter(|line| !line.is_empty()).collect();
    assert!(matches!(lines.as_slice(), [_, _, _, end] if end.ends_with("exit 130")), "{screen}");
    assert!(terminal.has_cursor());
}

#[test]
fn a_page_fits_its_terminal_and_colours_can_be_left_out() {
    let server = Server::start();
    for number in 0..60 {
        server.create_app(&format!("app-{number:02}-{}", "x".repeat(150)));
    }
    let command = format!(
        "'{}' top --sort name --interval 0.2 --url '{}'",
        binary("logplex").display(),
        server.url("")
    );
    let terminal = Terminal::start(&command, &[("LOGPLEX_API_KEY", API_KEY), ("NO_COLOR", "1")]);
    // 50 lines: the totals, the headings, one that stays free.
    let screen = terminal.wait_screen("app-46-x");
    assert!(screen.contains("Z  47 of 60 channels: "), "{screen}");
    assert!(!screen.contains("app-47-x") && screen.lines().count() <= 50, "{screen}");
    let row = screen.lines().nth(2).expect("a channel");
    assert!(row.starts_with("app-00-xxx") && row.contains("…  ") && row.ends_with('0'), "{row}");
    assert!(!terminal.coloured().contains('\x1b'), "{:?}", terminal.coloured());
    terminal.press("C-c");
    terminal.wait_screen("exit 130");
}

#[test]
fn refusals_and_wrong_usage_have_their_codes() {
    let server = Server::start();
    let url = server.url("");
    let run = |args: &[&str], key: &str, url: &str| {
        let env = [("LOGPLEX_API_KEY", key), ("LOGPLEX_URL", url)];
        Program::start("logplex", &[&["top"], args].concat(), &env).wait()
    };
    for (args, key, url, code, says) in [
        (&[][..], "wrong-key-wrong-key-wrong-key-1234", url.as_str(), 1, "refused the API key"),
        (&[], API_KEY, "http://127.0.0.1:9", 1, "cannot reach the server"),
        (&["--interval", "31"], API_KEY, &url, 2, "0.1 to 30"),
        (&["--sort", "size"], API_KEY, &url, 2, "rate, lost, codes, name"),
        (&["-n", "0"], API_KEY, &url, 2, "1..=1000"),
    ] {
        let ended = run(args, key, url);
        assert_eq!((ended.status.code(), ended.stdout.len()), (Some(code), 0), "{args:?}");
        assert!(ended.stderr.join("\n").contains(says), "{args:?}: {:?}", ended.stderr);
    }
}

#[test]
fn few_measure_at_a_time_and_a_stop_does_not_wait_for_them() {
    let mut server = Server::start();
    let request =
        format!("GET /v3/top?seconds=30 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {API_KEY}\r\n\r\n");
    let (answers, answered) = mpsc::sync_channel(6);
    for _ in 0..6 {
        let (mut connection, answers) = (server.connect(), answers.clone());
        connection.send_raw(request.as_bytes()).expect("sent");
        thread::spawn(move || answers.send(connection.response()));
    }
    let next = |expected: &str| {
        let answer = answered.recv_timeout(DEADLINE).expect("in time").expect("an answer");
        assert_eq!((answer.status, &answer.json()["error"]), (503, &json!(expected)));
    };
    (0..2).for_each(|_| next("too many are measuring; ask again"));
    assert_eq!(answered.try_iter().count(), 0);
    server.term();
    (0..4).for_each(|_| next("the server is stopping"));
}

#[test]
fn a_stop_waits_for_what_comes_over_a_connection_that_has_measured() {
    let (mut server, sink) = (Server::start(), Sink::start());
    let token = server.create_app("app");
    server.add_drain("app", &sink.url(""));
    let mut connection = server.connect();
    let key = format!("Bearer {API_KEY}");
    let measured = connection.request("GET", "/v3/top?seconds=0.1", &[("Authorization", &key)], b"");
    measured.expect("an answer").expect(&[200]);

    let body = router("H12");
    let head = format!(
        "POST /logs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nExpect: 100-continue\r\n\
         Content-Type: application/logplex-1\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    connection.send_raw(head.as_bytes()).expect("sent");
    assert_eq!(connection.interim().expect("the body is waited for"), 100);
    server.signal(Signal::SIGTERM);
    wait_for("the stop to begin", || {
        server.stderr().iter().any(|line| line.contains("stopping")).then_some(())
    });
    connection.send_raw(&body).expect("sent");
    assert_eq!(connection.response().expect("an answer").status, 204);
    assert_eq!((server.wait().code(), sink.received().len()), (Some(0), 1));
}
