//! A process of a run, and what the operating system says that it cost.

use std::io::{BufRead, BufReader, Lines, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::Context;
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::time::TimeVal;
use serde::de::DeserializeOwned;

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

/// CPU-seconds that a process's threads have used so far, user and system, to the nanosecond; a thread that has
/// ended is not among them.
pub(crate) fn cpu_seconds(id: u32) -> anyhow::Result<f64> {
    let mut nanoseconds = 0;
    for task in std::fs::read_dir(format!("/proc/{id}/task"))? {
        let stat = std::fs::read_to_string(task?.path().join("schedstat"))?;
        nanoseconds += stat.split_whitespace().next().context("a time")?.parse::<u64>()?;
    }
    Ok(nanoseconds as f64 / 1e9)
}

/// As [`cpu_seconds`], with threads that have ended, to a hundredth.
pub(crate) fn cpu_seconds_of_all(id: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The name in brackets is the second field and may have spaces; user and system time are the 14th and 15th.
    let (_, fields) = stat.rsplit_once(") ").context("a name in brackets")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    let ticks: Vec<u64> = ticks.collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<u64>() as f64 / 100.0)
}

/// CPU-seconds that all children used which have ended and were waited for.
pub(crate) fn cpu_of_ended_children() -> anyhow::Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

/// Seconds for which a hypervisor gave this machine's cores to others though they had work, all cores together; 0
/// where there is none.
pub(crate) fn stolen_seconds() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    // `cpu`, then user, nice, system, idle, iowait, irq, softirq, steal.
    let ticks: u64 = stat.split_whitespace().nth(8).context("a time stolen")?.parse()?;
    Ok(ticks as f64 / 100.0)
}

/// The memory that a process has resident, in MiB.
pub(crate) fn rss(id: u32) -> anyhow::Result<f64> {
    status_mib(id, "VmRSS:")
}

/// The most memory that a process had resident, in MiB.
pub(crate) fn peak_rss(id: u32) -> anyhow::Result<f64> {
    status_mib(id, "VmHWM:")
}

/// Each connection is a file; the soft limit is often 1,024. Children have what their parent has.
pub(crate) fn raise_file_limit() -> anyhow::Result<()> {
    let (_soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}

fn status_mib(id: u32, field: &'static str) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).context(field)?;
    let kib: f64 = line.trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}
