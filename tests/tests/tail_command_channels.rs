//! `logplex tail` of several channels, and of one over interruptions and losses: nothing missing, nothing twice, and
//! what was missed told to the message.

use logplex_tests::{
    API_KEY, Program, Relay, Server, Signal, conservation, padded_frames, poll_until, wait_for,
};
use serde_json::Value;

const KEY: (&str, &str) = ("LOGPLEX_API_KEY", API_KEY);

/// Enough of 1 KB each that a tail that stands still falls behind, whatever the kernel takes.
const MANY: u64 = 12_000;

/// The width of a time as the harness sends it: 2026-01-02T03:04:05.678901+00:00.
const TIME: usize = 32;

fn tail(url: &str, args: &[&str]) -> Program {
    Program::start("logplex", &[&["tail", "--url", url], args].concat(), &[KEY])
}

#[track_caller]
fn wait_open(server: &Server, channel: &str) {
    wait_for("an open tail", || (server.stats(channel)["tails"]["open"] == 1).then_some(()));
}

/// The numbers of the numbered lines that stand behind `prefix`.
fn numbers(stdout: &[String], prefix: &str) -> Vec<u64> {
    let own = stdout.iter().filter_map(|line| line.strip_prefix(prefix)?.get(TIME..));
    own.filter_map(|line| line.strip_prefix(" app[web.1]: line ")?.split(' ').next()?.parse().ok()).collect()
}

#[test]
fn each_line_stands_behind_its_channel_in_its_order() {
    let server = Server::start();
    let tokens = ["a", "longer"].map(|channel| server.create_app(channel));
    for token in &tokens {
        server.post_lines(token, 0, 5);
    }
    let mut program = tail(&server.url(""), &["a", "longer", "-n", "3"]);
    for _ in 0..2 {
        wait_open(&server, "a");
        wait_open(&server, "longer");
    }
    for first in (5..25).step_by(5) {
        for token in &tokens {
            server.post_lines(token, first, 5);
        }
    }
    for prefix in ["a      | ", "longer | "] {
        program.wait_line("its last line", |line| line.starts_with(prefix) && line.ends_with(" line 24"));
    }
    program.signal(Signal::SIGINT);
    let ended = program.wait();
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(130), &[][..]));
    assert_eq!(ended.stdout.len(), 2 * 23, "{:?}", ended.stdout);
    assert_eq!(ended.stdout.iter().filter(|line| line.starts_with("a ")).count(), 23);
    for prefix in ["a      | ", "longer | "] {
        assert_eq!(numbers(&ended.stdout, prefix), (2..25).collect::<Vec<_>>(), "{prefix}");
    }
}

#[test]
fn without_following_it_ends_when_the_last_channel_has() {
    let server = Server::start();
    for (channel, lines) in [("a", 3), ("b", 40), ("c", 0)] {
        server.post_lines(&server.create_app(channel), 0, lines);
    }
    let ended = tail(&server.url(""), &["a", "b", "c", "b", "--no-follow", "-o", "json"]).wait();
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), &[][..]));
    let lines: Vec<Value> =
        ended.stdout.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of = |channel: &str| -> Vec<String> {
        let own = lines.iter().filter(|line| line["channel"] == channel);
        own.map(|line| line["message"].as_str().expect("a text").to_owned()).collect()
    };
    let expected = |lines: u64| (0..lines).map(|line| format!("line {line}")).collect::<Vec<_>>();
    assert_eq!((of("a"), of("b"), lines.len()), (expected(3), expected(40), 43));
}

#[test]
fn a_restart_is_ridden_out_by_all_channels_and_told_once() {
    let mut server = Server::start();
    let channels = ["a", "b", "c"];
    let tokens = channels.map(|channel| server.create_app(channel));
    for token in &tokens {
        server.post_lines(token, 0, 5);
    }
    let mut program = tail(&server.url(""), &channels);
    for channel in channels {
        wait_open(&server, channel);
        let prefix = format!("{channel} | ");
        program.wait_line("the history", |line| line.starts_with(&prefix) && line.ends_with("line 4"));
    }
    server.term();
    server.restart_same_port();
    for token in &tokens {
        server.post_lines(token, 5, 5);
    }
    for channel in channels {
        let prefix = format!("{channel} | ");
        program.wait_line("what came since", |line| line.starts_with(&prefix) && line.ends_with("line 9"));
    }
    program.signal(Signal::SIGINT);
    let ended = program.wait();
    for channel in channels {
        assert_eq!(numbers(&ended.stdout, &format!("{channel} | ")), (0..10).collect::<Vec<_>>());
    }
    let [said] = ended.stderr.as_slice() else { panic!("one line, not {:?}", ended.stderr) };
    assert!(said.starts_with("logplex: ") && said.ends_with("; reconnecting"), "{said}");
    assert!(!said.contains('\x1b'), "it is no terminal: {said:?}");
}

#[test]
fn a_tail_without_history_shows_none_after_a_broken_connection_either() {
    let (relay, server) = Relay::with_server();
    let token = server.create_app("app");
    server.post_lines(&token, 0, 50);
    let program = tail(&relay.url(), &["app", "-n", "0"]);
    // One stream that tells where the past ends, and the one that follows.
    relay.wait_upgraded(2);
    relay.cut();
    server.post_lines(&token, 50, 10);
    program.wait_line("what came since", |line| line.ends_with("line 59"));
    assert_eq!(numbers(&program.stdout(), ""), (50..60).collect::<Vec<_>>());
}

#[test]
fn a_channel_that_is_gone_after_a_broken_connection_ends_it() {
    let (relay, server) = Relay::with_server();
    server.create_app("app");
    server.create_app("other");
    let mut program = tail(&relay.url(), &["app", "other"]);
    relay.wait_upgraded(2);
    server.api("DELETE", "/v3/channels/app", None).expect(&[204]);
    relay.cut();
    let ended = program.wait();
    assert_eq!(ended.status.code(), Some(3), "{:?}", ended.stderr);
    let said = ended.stderr.last().expect("a reason");
    assert!(said.starts_with("logplex: channel app: ") && said.ends_with("channel not found"), "{said}");
}

/// Posts [`MANY`] lines while a tail with these arguments stands still; how many its ring dropped by the server's
/// count, and what it wrote in the end.
#[track_caller]
fn fall_behind(args: &[&str]) -> (u64, Vec<String>) {
    let server = Server::start();
    let token = server.create_app("app");
    let mut program = tail(&server.url(""), &[&["app", "-n", "0"], args].concat());
    wait_open(&server, "app");
    program.signal(Signal::SIGSTOP);
    let mut connection = server.connect();
    for first in (0..MANY).step_by(100) {
        let body = padded_frames(first..first + 100, 1000);
        server.post_logs_on(&mut connection, &token, &[], &body).expect(&[204]);
    }
    let dropped = server.tails_ledger("app").dropped("full");
    assert!(dropped > 0, "the kernel took it all");
    program.signal(Signal::SIGCONT);
    program.wait_line("the last line", |line| line.contains(&format!("line {} ", MANY - 1)));
    program.signal(Signal::SIGINT);
    (dropped, program.wait().stdout)
}

#[test]
fn a_loss_is_a_plain_l11_in_a_pipe() {
    let (dropped, stdout) = fall_behind(&[]);
    let text = format!("L11 (Tail buffer overflow) -> This tail session dropped {dropped} messages since ");
    let own: Vec<&String> = stdout.iter().filter(|line| line.contains("L11")).collect();
    assert!(
        matches!(own.as_slice(), [line] if line.contains(&format!(" heroku[logplex]: {text}"))),
        "{own:?}"
    );
    conservation(0..MANY, &numbers(&stdout, ""), dropped);
}

#[test]
fn a_loss_is_drawn_where_a_person_looks() {
    let (dropped, stdout) = fall_behind(&["--color", "always", "-o", "text", "--timestamps", "none"]);
    let grouped = format!("{},{:03}", dropped / 1000, dropped % 1000);
    let drawn = format!(
        "── {} messages dropped since 20",
        if dropped < 1000 { dropped.to_string() } else { grouped }
    );
    let own: Vec<&String> = stdout.iter().filter(|line| line.contains("──")).collect();
    let [line] = own.as_slice() else { panic!("one marker, not {own:?}") };
    assert!(
        line.starts_with(&format!("\x1b[1;33m{drawn}")) && line.ends_with(" (L11) ──\x1b[0m"),
        "{line:?}"
    );
    assert_eq!(stdout.len() as u64 + dropped, MANY + 1);
}

#[test]
fn a_loss_is_a_json_line_of_its_own() {
    let (dropped, stdout) = fall_behind(&["-o", "json"]);
    let lines: Vec<Value> = stdout.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let told: Vec<&Value> = lines.iter().filter(|line| line["code"] == "L11").collect();
    let [notice] = told.as_slice() else { panic!("one notice, not {told:?}") };
    assert_eq!((&notice["dropped"], &notice["channel"]), (&dropped.into(), &"app".into()));
    assert_eq!(lines.len() as u64 + dropped, MANY + 1);
}

#[test]
fn it_can_be_interrupted_while_nobody_reads_what_it_writes() {
    let server = Server::start();
    let token = server.create_app("app");
    let url = server.url("");
    let mut child = std::process::Command::new(logplex_tests::binary("logplex"))
        .args(["tail", "app", "--url", &url, "-n", "0"])
        .env(KEY.0, KEY.1)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("it starts");
    wait_open(&server, "app");
    // Its pipe is full when its ring in the server has to drop.
    let mut connection = server.connect();
    let stuck = (0..10 * MANY).step_by(100).any(|first| {
        let body = padded_frames(first..first + 100, 1000);
        server.post_logs_on(&mut connection, &token, &[], &body).expect(&[204]);
        server.tails_ledger("app").dropped("full") > 0
    });
    let id = nix_id(&child);
    nix::sys::signal::kill(id, Signal::SIGINT).expect("it runs");
    let ended = poll_until(logplex_tests::DEADLINE, || child.try_wait().expect("it is ours"));
    child.kill().ok();
    child.wait().ok();
    assert!(stuck, "the pipe and the kernel took it all");
    assert_eq!(ended.and_then(|status| status.code()), Some(130));
}

fn nix_id(child: &std::process::Child) -> nix::unistd::Pid {
    nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("process ids fit an i32"))
}
