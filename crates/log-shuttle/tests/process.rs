//! The program as users run it: input, signals, exit codes, and what it says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// A peer that takes everything and hands on the frames' texts.
fn sink() -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback works");
    let url = format!("http://token:hunter2@{}/logs", listener.local_addr().expect("loopback works"));
    let (tell, texts) = sync_channel(100_000);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let tell = tell.clone();
            thread::spawn(move || serve(stream.expect("loopback works"), &tell));
        }
    });
    (url, texts)
}

fn serve(mut stream: TcpStream, tell: &SyncSender<String>) {
    let mut reader = BufReader::new(stream.try_clone().expect("loopback works"));
    loop {
        let (mut line, mut len) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                len = value.trim_end().parse().expect("a number");
            }
        }
        let mut body = vec![0; len];
        reader.read_exact(&mut body).expect("loopback works");
        let mut rest = &body[..];
        while let Some(space) = rest.iter().position(|&byte| byte == b' ') {
            let count: usize =
                std::str::from_utf8(&rest[..space]).expect("a count").parse().expect("a number");
            let (frame, more) = rest[space + 1..].split_at(count);
            let text = String::from_utf8_lossy(frame).split(' ').skip(7).collect::<Vec<_>>().join(" ");
            tell.send(text).expect("the test listens");
            rest = more;
        }
        if stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").is_err() {
            return;
        }
    }
}

fn shuttle(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_log-shuttle"));
    command.args(arguments).env("LOGS_URL", url).env_remove("LOGPLEX_URL");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it on an input to its end.
fn run(url: &str, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = shuttle(url, arguments).spawn().expect("the program starts");
    let mut stdin = child.stdin.take().expect("piped");
    // It may end before it has read all.
    stdin.write_all(input).ok();
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!text.contains("hunter2"), "{text}");
    text
}

fn next(texts: &Receiver<String>) -> String {
    texts.recv_timeout(PATIENCE).expect("a line")
}

fn send(signal: &str, child: &Child) -> ExitStatus {
    Command::new("kill").args([signal, &child.id().to_string()]).status().expect("kill is installed")
}

#[test]
fn the_end_of_input_ships_everything_and_exits_0_in_silence() {
    let (url, texts) = sink();
    let input: String = (0..5000).map(|number| format!("{number}\n")).collect();
    let output = run(&url, &[], format!("{input}no newline").as_bytes());
    assert_eq!((output.status.code(), said(&output).as_str()), (Some(0), ""));
    for number in 0..5000 {
        assert_eq!(next(&texts), format!("{number}\n"));
    }
    assert_eq!(next(&texts), "no newline");
}

#[test]
fn sigterm_and_sigint_ship_what_was_written() {
    for signal in ["-TERM", "-INT"] {
        let (url, texts) = sink();
        let mut child = shuttle(&url, &[]).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(b"one\n").unwrap();
        assert_eq!(next(&texts), "one\n");
        // In the pipe before the signal, so it is shipped, though its line has no end and the pipe stays open.
        stdin.write_all(b"two\nthree").unwrap();
        assert!(send(signal, &child).success());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), said(&output).as_str()), (Some(0), ""), "{signal}");
        assert_eq!([next(&texts), next(&texts)], ["two\n", "three"]);
        drop(stdin);
    }
}

#[test]
fn losses_are_told_on_stderr_and_by_the_exit_code_if_asked() {
    // A port that nobody listens on.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://u:hunter2@{}/", listener.local_addr().unwrap());
    drop(listener);
    for (argument, code) in [("--fail-on-loss=false", 0), ("--fail-on-loss", 3)] {
        let output = run(&url, &["--grace", "300ms", argument], b"one\ntwo\n");
        assert_eq!(output.status.code(), Some(code));
        let said = said(&output);
        assert!(said.contains("cannot connect"), "{said}");
        let told = said.lines().last().unwrap();
        assert!(told.starts_with("log-shuttle: flushed=0 dropped=0 lost="), "{told}");
        let number = |name: &str| -> u64 {
            let value = told.split(' ').find_map(|word| word.strip_prefix(name)).unwrap();
            value.parse().unwrap()
        };
        assert_eq!(number("lost=") + number("unsent="), 2);
        assert_eq!(number("untold="), 2);
    }
}

#[test]
fn a_malformed_stream_of_frames_is_an_error_after_what_came_before() {
    let (url, texts) = sink();
    let first = "<190>1 - - a - - - x";
    let input = format!("{} {first}oops", first.len());
    let output = run(&url, &["-input-format=lprfc5424"], input.as_bytes());
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    assert!(said.contains("stdin is not octet-counted") && said.contains("found byte 0x6f"), "{said}");
    assert_eq!(next(&texts), "x");
}

#[test]
fn a_command_runs_with_its_output_shipped_and_its_code_returned() {
    let (url, texts) = sink();
    let output = run(&url, &["-tee", "run", "--", "sh", "-c", "echo out; echo err >&2; exit 7"], b"");
    assert_eq!((output.status.code(), said(&output).as_str()), (Some(7), ""));
    assert_eq!(output.stdout, b"out\nerr\n");
    assert_eq!([next(&texts), next(&texts)], ["out\n", "err\n"]);
}

#[test]
fn a_signal_ends_the_command_and_its_last_words_are_shipped() {
    let (url, texts) = sink();
    let script = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
    let child = shuttle(&url, &["run", "sh", "-c", script]).spawn().unwrap();
    assert_eq!(next(&texts), "ready\n");
    assert!(send("-TERM", &child).success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert_eq!(next(&texts), "bye\n");
}

#[test]
fn commands_that_cannot_run_and_wrong_usage_have_their_codes() {
    let (url, _texts) = sink();
    let check = |arguments: &[&str], code: i32, expected: &str| {
        let output = run(&url, arguments, b"");
        let said = said(&output);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(expected), "{said}");
    };
    check(&["run", "/nowhere/at/all"], 127, "log-shuttle: error: cannot run \"/nowhere/at/all\"");
    check(&["-batch-size=x"], 2, "--batch-size");
    check(&["-logs-url=ftp://u:hunter2@h/"], 2, "log-shuttle: error: the destination in --logs-url");
}
