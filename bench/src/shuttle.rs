//! Measurements of `log-shuttle`: many lines at once, and lines that come one by one.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use logplex_tests::{Shuttle, binary};
use tempfile::TempDir;

use crate::frames::stamped_line;
use crate::program::{Program, cpu_of_ended_children, peak_rss};
use crate::run::{Measure, settled};

/// The lines that a shuttle ships in one measurement, and how long each is.
const LINES: u64 = 1_000_000;
const LINE: usize = 220;

/// Ships lines with nothing dropped. The cost is the whole process's, start and end included.
pub(crate) fn many_lines(pipe: bool) -> anyhow::Result<Measure> {
    let mut sink = Program::part(&["sink"], &[])?;
    let url = format!("http://token:t@{}/logs", sink.address()?);
    let folder = TempDir::new()?;
    let path = folder.path().join("lines");
    let mut lines = BufWriter::new(File::create(&path)?);
    let line = format!("{}\n", "x".repeat(LINE - 1));
    for _ in 0..LINES {
        lines.write_all(line.as_bytes())?;
    }
    lines.flush()?;
    let mut file = File::open(&path)?;
    let before = cpu_of_ended_children()?;
    let mut command = Command::new(binary("log-shuttle"));
    command.arg("--drop=false").env("LOGS_URL", url);
    command.stdin(if pipe { Stdio::piped() } else { Stdio::from(file.try_clone()?) });
    let mut shuttle = command.spawn().context("cannot start log-shuttle")?;
    let writer = shuttle.stdin.take().map(|mut stdin| thread::spawn(move || io::copy(&mut file, &mut stdin)));
    let mut rss = 0.0;
    while shuttle.try_wait()?.is_none() {
        // It may end between the two looks.
        rss = peak_rss(shuttle.id()).unwrap_or(rss);
        thread::sleep(Duration::from_millis(5));
    }
    if let Some(writer) = writer {
        let copied = writer.join().map_err(|_panicked| anyhow!("the writer failed"))?;
        ensure!(copied? == LINES * LINE as u64, "not all lines were read");
    }
    let cpu = cpu_of_ended_children()? - before;
    let received = settled(&mut sink, LINES)?;
    Ok(Measure {
        rate: received.messages as f64 / received.seconds,
        cpu: cpu * 1e6 / LINES as f64,
        rss,
        dropped: received.told as f64 * 100.0 / LINES as f64,
        ..Measure::default()
    })
}

/// The pause between two lone lines: long enough that each finds everything asleep.
const PAUSE: Duration = Duration::from_millis(50);

/// Writes lines one by one for so many seconds, and measures the way of each from the write to the sink.
pub(crate) fn lone_lines(seconds: u64) -> anyhow::Result<Measure> {
    let mut sink = Program::part(&["sink"], &[])?;
    // The sink reads the time from messages of severity debug.
    let mut shuttle = Shuttle::start(&format!("http://token:t@{}/logs", sink.address()?), &["--prival=191"]);
    let lines = (Duration::from_secs(seconds).as_millis() / PAUSE.as_millis()) as u64;
    for _ in 0..lines {
        shuttle.write(stamped_line().as_bytes()).context("log-shuttle reads no more")?;
        thread::sleep(PAUSE);
    }
    ensure!(shuttle.finish().success(), "log-shuttle failed: {:?}", shuttle.stderr());
    let received = settled(&mut sink, lines)?;
    Ok(Measure { p50_us: received.p50_us.into(), p99_us: received.p99_us.into(), ..Measure::default() })
}
