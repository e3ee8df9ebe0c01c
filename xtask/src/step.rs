//! One cargo command of a task: printed before it runs, its output passed through.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::Context as _;

use crate::count::{Count, Runner};

/// A cargo command, run in the workspace's root.
#[derive(Debug)]
pub(crate) struct Step {
    args: Vec<String>,
    env: Vec<(&'static str, &'static str)>,
}

impl Step {
    /// `cargo ARGS…`, the arguments separated by spaces.
    pub(crate) fn cargo(args: &str) -> Step {
        Step { args: args.split_whitespace().map(str::to_owned).collect(), env: Vec::new() }
    }

    /// Adds one argument that may contain spaces.
    pub(crate) fn arg(mut self, arg: impl Into<String>) -> Step {
        self.args.push(arg.into());
        self
    }

    /// Sets a variable for this command only.
    pub(crate) fn env(mut self, key: &'static str, value: &'static str) -> Step {
        self.env.push((key, value));
        self
    }

    /// Runs the command; true when it succeeded. A failure is also named on stderr.
    pub(crate) fn run(&self) -> anyhow::Result<bool> {
        let status = self.announced().status().with_context(|| format!("cannot start {self}"))?;
        Ok(self.report(status.success()))
    }

    /// Runs a test runner and adds the tests it reports to `count`; true when it succeeded.
    pub(crate) fn run_counted(&self, count: &mut Count) -> anyhow::Result<bool> {
        let runner = if self.args[0] == "nextest" { Runner::Nextest } else { Runner::Libtest };
        let mut child = self
            .announced()
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {self}"))?;
        let stdout = child.stdout.take().context("the child's stdout is piped")?;
        let stderr = child.stderr.take().context("the child's stderr is piped")?;
        // Two readers, because a child that fills the pipe that nobody reads would wait for ever.
        let errors = thread::spawn(move || pass_through(runner, stderr, io::stderr()));
        let from_stdout = pass_through(runner, stdout, io::stdout());
        let from_stderr = errors.join().unwrap_or_default();
        count.add(from_stdout);
        count.add(from_stderr);
        let status = child.wait().with_context(|| format!("cannot wait for {self}"))?;
        Ok(self.report(status.success()))
    }

    fn announced(&self) -> Command {
        eprintln!("xtask: {self}");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let mut command = Command::new(cargo);
        command.args(&self.args).envs(self.env.iter().copied()).current_dir(root());
        command
    }

    fn report(&self, ok: bool) -> bool {
        if !ok {
            eprintln!("xtask: failed: {self}");
        }
        ok
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (key, value) in &self.env {
            write!(f, "{key}={value:?} ")?;
        }
        write!(f, "cargo {}", self.args.join(" "))
    }
}

/// The workspace's root: the parent of this package.
pub(crate) fn root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    package.as_deref().and_then(Path::parent).map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Copies `from` to `to` line by line and counts the tests that the lines report.
fn pass_through(runner: Runner, from: impl Read, mut to: impl Write) -> Count {
    let mut count = Count::default();
    let mut reader = BufReader::new(from);
    let mut line = Vec::new();
    // Bytes, not text: a test may print anything.
    while matches!(reader.read_until(b'\n', &mut line), Ok(read) if read > 0) {
        // A closed terminal is no reason to stop counting.
        to.write_all(&line).and_then(|()| to.flush()).ok();
        count.add(Count::in_line(runner, &String::from_utf8_lossy(&line)));
        line.clear();
    }
    count
}
