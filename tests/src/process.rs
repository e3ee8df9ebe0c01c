//! A child process whose output is collected and which does not outlive its handle.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait::{DEADLINE, poll_until, wait_until};

/// How long a process that has ended may leave its pipes open in the hands of its own children.
const PIPE_GRACE: Duration = Duration::from_secs(2);

/// A running or ended child. Dropping it kills it by its id.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    exited: Option<ExitStatus>,
    pub(crate) stdout: Lines,
    pub(crate) stderr: Lines,
}

/// The lines that a pipe has carried so far.
#[derive(Clone, Debug)]
pub(crate) struct Lines {
    text: Arc<Mutex<Vec<String>>>,
    ended: Arc<AtomicBool>,
}

impl Process {
    /// Starts `command` with all its output piped, and collects that.
    pub(crate) fn start(name: &str, command: Command) -> Process {
        Process::start_head(name, command, usize::MAX)
    }

    /// As [`Process::start`], but closes its stdout once that has carried `most` lines.
    pub(crate) fn start_head(name: &str, mut command: Command, most: usize) -> Process {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let stdout = Lines::collect(child.stdout.take().expect("stdout is piped"), most);
        let stderr = Lines::collect(child.stderr.take().expect("stderr is piped"), usize::MAX);
        Process { name: name.to_owned(), child, exited: None, stdout, stderr }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Sends a signal, unless the process has ended and its id may be another's.
    pub(crate) fn signal(&mut self, signal: Signal) {
        if self.try_wait().is_none() {
            let id = i32::try_from(self.child.id()).expect("process ids fit an i32");
            kill(Pid::from_raw(id), signal)
                .unwrap_or_else(|error| panic!("cannot signal {}: {error}", self.name));
        }
    }

    /// How the process ended, if it has.
    pub(crate) fn try_wait(&mut self) -> Option<ExitStatus> {
        if self.exited.is_none() {
            self.exited = self.child.try_wait().expect("the child is ours to wait for");
        }
        self.exited
    }

    /// Waits for the end, and for the last of the output.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        let status = wait_until(DEADLINE, &what, || self.try_wait());
        poll_until(PIPE_GRACE, || (self.stdout.ended() && self.stderr.ended()).then_some(()));
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.try_wait().is_none() {
            // It may end between the two calls; then there is nothing left to kill.
            self.child.kill().ok();
            self.child.wait().ok();
        }
        if thread::panicking() {
            for (pipe, lines) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
                for line in lines.get().iter().rev().take(200).rev() {
                    eprintln!("{} {pipe}: {line}", self.name);
                }
            }
        }
    }
}

impl Lines {
    fn collect(pipe: impl Read + Send + 'static, most: usize) -> Lines {
        let lines = Lines { text: Arc::default(), ended: Arc::default() };
        let ours = lines.clone();
        thread::spawn(move || {
            let mut reader = BufReader::new(pipe);
            let mut line = Vec::new();
            // Bytes, not text: what a program prints need not be UTF-8.
            for _ in 0..most {
                if !matches!(reader.read_until(b'\n', &mut line), Ok(read) if read > 0) {
                    break;
                }
                let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line)).into_owned();
                ours.text.lock().unwrap_or_else(PoisonError::into_inner).push(text);
                line.clear();
            }
            ours.ended.store(true, Ordering::Release);
        });
        lines
    }

    pub(crate) fn get(&self) -> Vec<String> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the first line holds for which `find` gives something.
    pub(crate) fn find_map<T>(&self, find: impl FnMut(&String) -> Option<T>) -> Option<T> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).iter().find_map(find)
    }

    fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_complete_when_the_process_has_ended() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two >&2; exit 3"]);
        let mut process = Process::start("sh", command);
        assert_eq!(process.wait().code(), Some(3));
        assert_eq!(
            (process.stdout.get(), process.stderr.get()),
            (vec!["one".to_owned()], vec!["two".to_owned()])
        );
    }

    #[test]
    fn a_signal_ends_it() {
        let mut command = Command::new("sleep");
        command.arg("600");
        let mut process = Process::start("sleep", command);
        process.signal(Signal::SIGTERM);
        assert_eq!(process.wait().code(), None);
        // A second one goes nowhere, least of all to whoever has the id now.
        process.signal(Signal::SIGTERM);
    }
}
