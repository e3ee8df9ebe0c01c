//! Any command of the binaries under test, such as `logplex tail`.

use std::process::{ExitStatus, Stdio};

use nix::sys::signal::Signal;

use crate::binary::command;
use crate::process::Process;
use crate::wait::wait_for;

/// A running command without stdin. Dropping it kills it.
#[derive(Debug)]
pub struct Program {
    process: Process,
}

/// A command that has ended.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub status: ExitStatus,
    /// The lines it printed.
    pub stdout: Vec<String>,
    /// The lines it wrote to stderr.
    pub stderr: Vec<String>,
}

impl Program {
    /// Starts the binary `name` without the caller's own settings of it.
    ///
    /// # Panics
    /// When it is missing or does not start.
    #[track_caller]
    pub fn start(name: &str, args: &[&str], env: &[(&str, &str)]) -> Program {
        Program::start_head(name, args, env, usize::MAX)
    }

    /// As [`Program::start`], but closes its stdout once that has carried `most` lines, as `head` does.
    ///
    /// # Panics
    /// As [`Program::start`].
    #[track_caller]
    pub fn start_head(name: &str, args: &[&str], env: &[(&str, &str)], most: usize) -> Program {
        let mut command = command(name);
        command.args(args).envs(env.iter().copied()).stdin(Stdio::null());
        let title = format!("{name} {}", args.join(" "));
        Program::of(Process::start_head(&title, command, most))
    }

    /// A process that is already running.
    pub(crate) fn of(process: Process) -> Program {
        Program { process }
    }

    /// How it ended, if it has.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        self.process.try_wait()
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

    /// Waits for a line on stdout of which `find` says yes.
    ///
    /// # Panics
    /// When it does not come.
    #[track_caller]
    pub fn wait_line(&self, what: &str, find: impl Fn(&str) -> bool) -> String {
        wait_for(what, || self.process.stdout.find_map(|line| find(line).then(|| line.clone())))
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When the signal cannot be sent.
    pub fn signal(&mut self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end within the deadline.
    #[track_caller]
    pub fn wait(&mut self) -> Ended {
        let status = self.process.wait();
        Ended { status, stdout: self.stdout(), stderr: self.stderr() }
    }
}
