//! A process of a run, and what the operating system says that it cost.

use std::io::{BufRead, BufReader, Lines, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, bail};
use serde::de::DeserializeOwned;

/// A tick of `/proc/PID/stat`; Linux has 100 a second on every machine that we know.
const TICKS: f64 = 100.0;

/// A running process that is killed when dropped.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Program {
    pub(crate) fn start(command: &mut Command) -> anyhow::Result<Program> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("stdout is piped")?;
        Ok(Program { child, stdin, lines: BufReader::new(stdout).lines() })
    }

    /// Another part of this very program.
    pub(crate) fn part(args: &[&str], env: &[(&str, &str)]) -> anyhow::Result<Program> {
        Program::start(Command::new(std::env::current_exe()?).args(args).envs(env.iter().copied()))
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    fn line(&mut self) -> anyhow::Result<String> {
        Ok(self.lines.next().context("the process ended")??)
    }

    /// The address that it prints first.
    pub(crate) fn address(&mut self) -> anyhow::Result<SocketAddr> {
        self.line()?.parse().context("an address")
    }

    /// Asks for a report by a line on stdin.
    pub(crate) fn ask<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        self.stdin.as_mut().context("stdin is piped")?.write_all(b"\n")?;
        self.report()
    }

    /// The report that it prints next.
    pub(crate) fn report<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        Ok(serde_json::from_str(&self.line()?)?)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// CPU-seconds that a process has used so far, user and system.
pub(crate) fn cpu_seconds(id: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The name may contain anything; after it come the fields from the third on.
    let (_, rest) = stat.rsplit_once(')').context("a name in parentheses")?;
    let field = |at: usize| rest.split_whitespace().nth(at - 3).and_then(|field| field.parse::<f64>().ok());
    match (field(14), field(15)) {
        (Some(user), Some(system)) => Ok((user + system) / TICKS),
        _ => bail!("unreadable: {stat}"),
    }
}

/// The most memory that a process had resident, in MiB.
pub(crate) fn peak_rss(id: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
    let kib: f64 = line.trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}
