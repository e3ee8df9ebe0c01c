//! The rows of the table: which subjects under which load, alternating.

use crate::report::{Row, write_report};
use crate::run::{Router, Subject};

/// Runs the rows and writes the table.
#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// Only rows whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// How many times each subject is measured, in turns.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Seconds a measurement.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Print the table and leave the file as it is.
    #[arg(long)]
    dry: bool,
}

const PROXY: Subject = Subject::Router(Router::Proxy);
const LOGPLEX: Subject = Subject::Router(Router::Logplex { drains: 1 });
/// The most that a channel may have.
const LOGPLEX_5: Subject = Subject::Router(Router::Logplex { drains: 5 });
const SHUTTLE_FILE: Subject = Subject::Shuttle { pipe: false };
const SHUTTLE_PIPE: Subject = Subject::Shuttle { pipe: true };
const RSYSLOG: Subject = Subject::Router(Router::Rsyslog);

/// Name, subjects (the first is what the others are compared with), arguments of the load.
const ROWS: &[(&str, &[Subject], &[&str])] = &[
    ("full speed, 100 a request", &[PROXY, LOGPLEX, RSYSLOG], &[]),
    ("500k msg/s, 100 a request", &[PROXY, LOGPLEX, RSYSLOG], &["--rate", "500000"]),
    ("50k msg/s, 100 a request", &[PROXY, LOGPLEX, RSYSLOG], &["--rate", "50000"]),
    ("single-message requests, full speed", &[PROXY, LOGPLEX], &["--batch", "1"]),
    ("fan-out, 50k msg/s", &[PROXY, LOGPLEX, LOGPLEX_5], &["--rate", "50000"]),
    ("1,000,000 lines of 220 bytes, none dropped", &[SHUTTLE_FILE, SHUTTLE_PIPE], &[]),
];

impl Run {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let seconds = self.seconds.to_string();
        let mut rows = Vec::new();
        for (name, subjects, load) in ROWS.iter().filter(|row| row.0.contains(&self.only)) {
            let mut row = Row::new(name, subjects);
            let load = [load, &["--seconds", &seconds][..]].concat();
            for run in 1..=self.runs {
                for (at, subject) in subjects.iter().enumerate() {
                    let measure = subject.measure(&load)?;
                    eprintln!("{name} · run {run} · {} · {measure:.2?}", subject.name());
                    row.add(at, measure);
                }
            }
            println!("{}", row.table());
            rows.push(row);
        }
        if !self.dry {
            write_report(&rows, self.runs, self.seconds)?;
        }
        Ok(())
    }
}
