//! Commands whose output arrives.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::*;
use crate::shuttle::tests::peer::{PATIENCE, Peer};
use crate::shuttle::{Builder, Guard};

/// Signals reach every command of this process: one test at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Runs a shell script; its exit code and the lines that arrived, `PRI text`.
fn run(script: &str, change: impl FnOnce(Command) -> Command) -> (u8, Vec<String>) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let peer = Peer::new();
    let guard = Builder::new(&peer.url).start().unwrap();
    let command = change(Command::new("sh", ["-c", script]));
    let exit = runtime().block_on(command.run(guard.shuttle())).unwrap();
    (exit.code(), arrived(&peer, guard))
}

fn arrived(peer: &Peer, guard: Guard) -> Vec<String> {
    let mut lines = Vec::new();
    while (lines.len() as u64) < guard.stats().ledger.accepted() {
        let request = peer.next();
        for message in request.messages() {
            lines.push(format!("{} {}", message.pri, String::from_utf8_lossy(message.text)));
        }
        request.answer("204 No Content");
    }
    assert!(guard.shutdown(PATIENCE).is_clean());
    lines
}

#[test]
fn stdout_and_stderr_keep_their_order_to_the_line() {
    let (code, lines) =
        run("for i in 1 2 3 4 5 6 7 8 9; do echo out $i; echo err $i >&2; done; exit 7", |run| run);
    assert_eq!(code, 7);
    let expected: Vec<String> =
        (1..10).flat_map(|i| [format!("190 out {i}\n"), format!("190 err {i}\n")]).collect();
    assert_eq!(lines, expected);
}

#[test]
fn split_streams_have_their_own_severity() {
    let (code, mut lines) = run("echo out; echo err >&2; printf last", |run| run.split(true));
    assert_eq!(code, 0);
    lines.sort();
    assert_eq!(lines, ["187 err\n", "190 last", "190 out\n"]);
}

#[test]
fn a_command_ended_by_a_signal_has_the_code_of_shells() {
    assert_eq!(run("kill -9 $$", |run| run).0, 137);
    assert_eq!(run("kill -TERM $$", |run| run).0, 143);
}

#[test]
fn a_command_that_cannot_be_started_has_the_code_of_shells() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let guard = Builder::new("http://127.0.0.1:1/").start().unwrap();
    let code = |program: &str| {
        let run = Command::new(program, [""; 0]).run(guard.shuttle());
        exit_code_of(&runtime().block_on(run).unwrap_err())
    };
    assert_eq!([code("/nowhere/at/all"), code("/etc")], [127, 126]);
}

#[test]
fn signals_are_passed_on() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let peer = Peer::new();
    let guard = Builder::new(&peer.url).start().unwrap();
    // The command says when it listens; then it is told to end, and says so.
    let script = "trap 'echo bye; exit 5' USR1; echo ready; while :; do sleep 0.05; done";
    let shuttle = guard.shuttle().clone();
    let running =
        std::thread::spawn(move || runtime().block_on(Command::new("sh", ["-c", script]).run(&shuttle)));
    let ready = peer.next();
    assert_eq!(ready.texts(), ["ready"]);
    ready.answer("204 No Content");
    nix::sys::signal::kill(Pid::this(), Number::SIGUSR1).unwrap();
    let bye = peer.next();
    assert_eq!(bye.texts(), ["bye"]);
    bye.answer("204 No Content");
    assert_eq!(running.join().unwrap().unwrap().code(), 5);
}

#[test]
fn what_a_command_leaves_behind_holds_nothing_up() {
    let begun = Instant::now();
    let (code, lines) = run("sleep 60 & printf hello", |run| run);
    assert_eq!((code, &lines[..]), (0, &["190 hello".to_owned()][..]));
    assert!(begun.elapsed() < MOST_AFTER_END);
}

#[test]
fn what_a_command_leaves_behind_may_still_say_something() {
    let (_, lines) = run("(sleep 0.1; echo late) & echo first", |run| run);
    assert_eq!(lines, ["190 first\n", "190 late\n"]);
}

#[test]
fn the_end_of_output_is_seen_at_once() {
    // The quickest of a few: this machine may be busy, but a pipe held open always costs the whole silence.
    let time = |_| {
        let begun = Instant::now();
        run("true", |run| run);
        begun.elapsed()
    };
    assert!((0..5).map(time).min() < Some(SILENCE));
}

#[test]
fn large_output_arrives_whole() {
    let (code, lines) = run("seq 1 20000", |run| run);
    assert_eq!((code, lines.len()), (0, 20_000));
    assert_eq!(lines[19_999], "190 20000\n");
}

/// A sink that the test can look into.
#[derive(Clone, Default)]
struct Shared(std::sync::Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_tee_gets_every_byte_and_its_failure_changes_nothing() {
    let sink = Shared::default();
    let (_, lines) = run("echo a; echo b >&2; printf c", |run| run.tee(sink.clone()));
    assert_eq!(lines.len(), 3);
    assert_eq!(*sink.0.lock().unwrap(), b"a\nb\nc");

    let full: &'static mut [u8] = &mut [];
    let (_, lines) = run("echo a; echo b", |run| run.tee(full));
    assert_eq!(lines.len(), 2);
}
