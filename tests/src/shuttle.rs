//! `log-shuttle` with a pipe for its stdin.

use std::io::{self, Write};
use std::process::{ChildStdin, ExitStatus, Stdio};

use nix::sys::signal::Signal;

use crate::binary::command;
use crate::process::Process;
use crate::server::LedgerSeen;
use crate::wait::wait_for;

/// What to start a shuttle with.
#[derive(Clone, Debug, Default)]
pub struct ShuttleOptions {
    args: Vec<String>,
    env: Vec<(String, String)>,
}

impl ShuttleOptions {
    /// Adds arguments.
    pub fn args(mut self, args: &[&str]) -> ShuttleOptions {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, key: &str, value: &str) -> ShuttleOptions {
        self.env.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Starts the binary.
    ///
    /// # Panics
    /// When it is missing or does not start.
    pub fn start(self) -> Shuttle {
        let mut command = command("log-shuttle");
        command.args(&self.args).envs(self.env).stdin(Stdio::piped());
        let mut process = Process::start("log-shuttle", command);
        let stdin = process.take_stdin();
        Shuttle { process, stdin }
    }
}

/// A running `log-shuttle`. Dropping it kills it.
#[derive(Debug)]
pub struct Shuttle {
    process: Process,
    stdin: Option<ChildStdin>,
}

impl Shuttle {
    /// Starts a shuttle that ships to `logs_url`, which goes in by `LOGS_URL`.
    ///
    /// # Panics
    /// As [`ShuttleOptions::start`] does.
    pub fn start(logs_url: &str, args: &[&str]) -> Shuttle {
        Shuttle::options().env("LOGS_URL", logs_url).args(args).start()
    }

    /// Options to start one with; nothing is set.
    pub fn options() -> ShuttleOptions {
        ShuttleOptions::default()
    }

    /// Writes to its stdin; blocks while the shuttle does not read.
    ///
    /// # Errors
    /// When the shuttle has closed its stdin or this test has.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stdin = self.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        stdin.write_all(bytes)?;
        stdin.flush()
    }

    /// Writes `n` numbered lines, `line FIRST` and on.
    ///
    /// # Panics
    /// When the shuttle has closed its stdin.
    pub fn write_lines(&mut self, first: u64, n: u64) {
        let lines: String = (first..first + n).map(|line| format!("line {line}\n")).collect();
        self.write(lines.as_bytes()).expect("the shuttle reads its stdin");
    }

    /// Ends its input.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The lines it has printed so far.
    pub fn stdout(&self) -> Vec<String> {
        self.process.stdout.get()
    }

    /// The lines it has written to stderr so far.
    pub fn stderr(&self) -> Vec<String> {
        self.process.stderr.get()
    }

    /// Its newest counts, of which it prints some with `--stats-interval` or `--verbose`.
    ///
    /// # Panics
    /// When they do not balance.
    #[track_caller]
    pub fn ledger(&self) -> Option<LedgerSeen> {
        let stderr = self.stderr();
        stderr.iter().rev().find_map(|line| line.strip_prefix("log-shuttle: stats ")).map(parse_stats)
    }

    /// Waits until it has read exactly `lines` lines in all; it prints that with `--stats-interval`.
    ///
    /// # Panics
    /// When that does not come, or as [`Shuttle::ledger`] does.
    #[track_caller]
    pub fn wait_accepted(&self, lines: u64) -> LedgerSeen {
        wait_for(&format!("{lines} lines read"), || self.ledger().filter(|ledger| ledger.accepted == lines))
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When the signal cannot be sent.
    pub fn signal(&mut self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for its end; input is left as it is.
    ///
    /// # Panics
    /// When it does not end within the deadline.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        self.process.wait()
    }

    /// Ends its input and waits for its end.
    ///
    /// # Panics
    /// As [`Shuttle::wait`] does.
    #[track_caller]
    pub fn finish(&mut self) -> ExitStatus {
        self.close_stdin();
        self.wait()
    }
}

/// Reads `accepted=5 … dropped=2 dropped.full=2 …`.
#[track_caller]
fn parse_stats(text: &str) -> LedgerSeen {
    let words = || text.split(' ').filter_map(|word| word.split_once('='));
    let number = |value: &str| -> u64 { value.parse().unwrap_or_else(|_| panic!("no number in {text:?}")) };
    let sum = |name: &str| words().find(|(key, _)| *key == name).map_or(0, |(_, value)| number(value));
    let reasons = |prefix: &str| {
        let reasons =
            words().filter_map(|(key, value)| Some((key.strip_prefix(prefix)?.to_owned(), number(value))));
        reasons.collect()
    };
    let ledger = LedgerSeen {
        accepted: sum("accepted"),
        generated: 0,
        delivered: sum("delivered"),
        dropped: reasons("dropped."),
        lost: reasons("lost."),
        held: sum("held"),
    };
    assert_eq!(ledger.gone(), sum("dropped") + sum("lost"), "the reasons do not add up: {text}");
    assert_eq!(ledger.accepted, ledger.delivered + ledger.gone() + ledger.held, "does not balance: {text}");
    ledger
}
