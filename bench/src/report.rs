//! Medians, ratios, and the table.

use std::fmt::Write as _;
use std::process::Command;

use anyhow::Context;

use crate::run::{Measure, Subject};

/// A row of the table: measurements by subject.
#[derive(Debug)]
pub(crate) struct Row {
    name: String,
    subjects: Vec<(Subject, Vec<Measure>)>,
}

impl Row {
    pub(crate) fn new(name: &str, subjects: &[Subject]) -> Row {
        let subjects = subjects.iter().map(|subject| (*subject, Vec::new())).collect();
        Row { name: name.to_owned(), subjects }
    }

    pub(crate) fn add(&mut self, subject: usize, measure: Measure) {
        self.subjects[subject].1.push(measure);
    }

    /// A table in Markdown; ratios are medians of the ratios to the first subject in the same turn.
    pub(crate) fn table(&self) -> String {
        let mut table = format!(
            "### {}\n\n| | delivered msg/s | ratio | CPU-s/M | ratio | peak RSS | p50 | p99 | dropped, all told |\n\
             |---|---|---|---|---|---|---|---|---|\n",
            self.name
        );
        for (subject, measures) in &self.subjects {
            let of = |value: fn(&Measure) -> f64| median(measures.iter().map(value));
            let ratio = |value: fn(&Measure) -> f64| {
                median(
                    measures.iter().zip(&self.subjects[0].1).map(|(this, first)| value(this) / value(first)),
                )
            };
            // A table is written to a text, which cannot fail.
            let _written = writeln!(
                table,
                "| {} | {:.0} | {:.2} | {:.3} | {:.2} | {:.0} MiB | {:.2} ms | {:.2} ms | {:.1} % |",
                subject.name(),
                of(|measure| measure.rate),
                ratio(|measure| measure.rate),
                of(|measure| measure.cpu),
                ratio(|measure| measure.cpu),
                of(|measure| measure.rss),
                of(|measure| measure.p50_us) / 1000.0,
                of(|measure| measure.p99_us) / 1000.0,
                of(|measure| measure.dropped),
            );
        }
        table
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Writes `BENCHMARKS.md` into the current folder.
pub(crate) fn write_report(rows: &[Row], runs: usize, seconds: u64) -> anyhow::Result<()> {
    let tables: Vec<String> = rows.iter().map(Row::table).collect();
    std::fs::write("BENCHMARKS.md", format!("{}\n{}", head(runs, seconds)?, tables.join("\n")))
        .context("cannot write BENCHMARKS.md")
}

fn head(runs: usize, seconds: u64) -> anyhow::Result<String> {
    let cpu = std::fs::read_to_string("/proc/cpuinfo")?;
    let model =
        cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("", |at| at.1);
    let cores = std::thread::available_parallelism()?;
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let rsyslog = Command::new("rsyslogd").arg("-v").output().context("rsyslogd; apt-get install rsyslog")?;
    let rsyslog = String::from_utf8_lossy(&rsyslog.stdout);
    let rsyslog = rsyslog.split_whitespace().nth(1).unwrap_or_default();
    Ok(format!(
        "# Benchmarks\n\n\
         `cargo xtask bench -- --runs {runs} --seconds {seconds}`: medians of {runs} runs of {seconds} s, in turns, on \
         {model}, {cores} cores, Linux {}, rsyslog {rsyslog}.\n\n\
         Messages of 200 bytes from two connections to one sink, all on this machine, so that the programs compete for \
         its cores. CPU is that of the program under test, a million messages received. A ratio is to the first program \
         of its table in the same turn: times move with whatever else the machine does, ratios less. In each run \
         received and told add up to what was sent, else it ends with an error.\n",
        kernel.trim()
    ))
}
