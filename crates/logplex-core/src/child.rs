//! Runs a command and ships what it prints.
//!
//! stdout and stderr share one pipe, so the order in which the command wrote is the order of its lines, to
//! the byte. [`Command::split`] gives each a pipe of its own: their lines can then be told apart, but their
//! order is only as exact as two readers can be.
//!
//! SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2 and SIGWINCH are passed on to the command. On a
//! terminal, SIGINT, SIGQUIT and SIGWINCH are not: the terminal sends them to the command itself, and twice
//! would be once too often.
//!
//! When the command has ended its output is read to the end; if something that it left behind keeps the pipe
//! open, until it has been silent for half a second, and for five seconds at most. A full queue with
//! [`Overflow::Block`](crate::shuttle::Overflow::Block), or a slow [`Command::tee`], makes the command wait;
//! nothing else does.

use std::ffi::OsStr;
use std::io::{self, IsTerminal, PipeReader, Write};
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::Signal as Number;
use nix::unistd::Pid;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::shuttle::{Format, Shuttle};

mod output;

#[cfg(test)]
mod tests;

use output::Output;
pub use output::Sink;

/// stderr's severity when it is kept apart: err (RFC 5424, 6.2.1).
const SEVERITY_ERR: u8 = 3;

/// How long a pipe that something else keeps open may be silent after the command's end.
const SILENCE: Duration = Duration::from_millis(500);

/// How long such a pipe is read at most.
const MOST_AFTER_END: Duration = Duration::from_secs(5);

/// A command to run. Its stdin is this process's.
#[derive(Debug)]
#[must_use = "nothing runs before `run`"]
pub struct Command {
    inner: tokio::process::Command,
    is_split: bool,
    tee: Option<Sink>,
    tee_stderr: Option<Sink>,
}

impl Command {
    /// A command with its arguments, its environment and directory this process's own.
    pub fn new<A: AsRef<OsStr>>(
        program: impl AsRef<OsStr>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Command {
        let mut inner = tokio::process::Command::new(program);
        inner.args(arguments);
        Command { inner, is_split: false, tee: None, tee_stderr: None }
    }

    /// Keeps stdout and stderr apart; lines of stderr have severity err.
    pub fn split(self, is_split: bool) -> Command {
        Command { is_split, ..self }
    }

    /// Passes what is read on, byte for byte: all of it, or with [`Command::split`] what is stdout's. A sink
    /// that fails gets nothing more; the shipping goes on.
    pub fn tee(self, sink: impl Write + Send + 'static) -> Command {
        Command { tee: Some(Sink::new(sink)), ..self }
    }

    /// Passes stderr on; only with [`Command::split`].
    pub fn tee_stderr(self, sink: impl Write + Send + 'static) -> Command {
        Command { tee_stderr: Some(Sink::new(sink)), ..self }
    }

    /// Adds an environment variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Command {
        self.inner.env(name, value);
        self
    }

    /// Removes an environment variable.
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Command {
        self.inner.env_remove(name);
        self
    }

    /// Runs the command to its end. Its lines are queued by then, not yet delivered: flush or shut down.
    ///
    /// # Errors
    /// When the command cannot be started; [`exit_code_of`] gives the shell's code for that. Or when the
    /// machine gives no pipe, thread or signal handler.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the command running; its output is still read and queued.
    pub async fn run(self, shuttle: &Shuttle) -> io::Result<Exit> {
        let Command { mut inner, is_split, tee, tee_stderr } = self;
        let mut signals = Signals::new()?;
        let (stdout, writer) = io::pipe()?;
        let stderr = match is_split {
            true => {
                let (stderr, writer) = io::pipe()?;
                inner.stderr(writer);
                Some(stderr)
            }
            false => {
                inner.stderr(writer.try_clone()?);
                None
            }
        };
        inner.stdout(writer);
        let mut child = inner.spawn()?;
        // The writing ends live in the command; while we hold one the pipe does not end.
        drop(inner);

        let mut outputs = vec![read(stdout, shuttle, tee)?];
        if let Some(stderr) = stderr {
            let mut fields = shuttle.fields().clone();
            fields.pri = (fields.pri & !7) | SEVERITY_ERR;
            let as_errors = shuttle.with_fields(fields).map_err(io::Error::other)?;
            outputs.push(read(stderr, &as_errors, tee_stderr)?);
        }

        let status = loop {
            tokio::select! {
                status = child.wait() => break status?,
                number = signals.next() => pass_on(&child, number),
            }
        };
        for output in outputs {
            output.end(SILENCE, MOST_AFTER_END).await;
        }
        Ok(Exit(status))
    }
}

fn read(pipe: PipeReader, shuttle: &Shuttle, tee: Option<Sink>) -> io::Result<Output> {
    Output::start(pipe, shuttle.feeder(Format::Raw), tee)
}

fn pass_on(child: &tokio::process::Child, number: Number) {
    // No id: it has ended and been waited for, and the id may be another's.
    let Some(id) = child.id().and_then(|id| i32::try_from(id).ok()) else { return };
    // Fails if it has ended meanwhile, which `wait` tells.
    nix::sys::signal::kill(Pid::from_raw(id), number).ok();
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit(ExitStatus);

impl Exit {
    /// The exit code as a shell gives it: the command's own, or 128 + n if signal n ended it.
    pub fn code(self) -> u8 {
        use std::os::unix::process::ExitStatusExt;
        let code = self.0.code().or_else(|| self.0.signal().map(|number| 128 + number));
        // Codes and signal numbers fit; anything else is a failure in any case.
        code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
    }

    /// What the operating system says.
    pub fn status(self) -> ExitStatus {
        self.0
    }
}

/// The exit code that a shell gives to a command that could not be started: 127 if it was not found, else
/// 126.
pub fn exit_code_of(error: &io::Error) -> u8 {
    if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 }
}

/// The signals that are passed on.
struct Signals(Vec<(Number, Signal)>);

impl Signals {
    fn new() -> io::Result<Signals> {
        let by_terminal = [Number::SIGINT, Number::SIGQUIT, Number::SIGWINCH];
        let numbers = [Number::SIGTERM, Number::SIGHUP, Number::SIGUSR1, Number::SIGUSR2].into_iter();
        let listen = |number: Number| Ok((number, signal(SignalKind::from_raw(number as i32))?));
        let mut signals: Vec<_> = numbers.chain(by_terminal).map(listen).collect::<io::Result<_>>()?;
        // Once listened to they no longer end this process, which has to outlive the command.
        if io::stdin().is_terminal() {
            signals.retain(|(number, _)| !by_terminal.contains(number));
        }
        Ok(Signals(signals))
    }

    async fn next(&mut self) -> Number {
        std::future::poll_fn(|context| {
            for (number, signal) in &mut self.0 {
                if signal.poll_recv(context).is_ready() {
                    return std::task::Poll::Ready(*number);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}
