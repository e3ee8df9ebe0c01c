//! The rows of the table: which subjects under which load, alternating.

use crate::report::{Row, write_report};
use crate::run::{Router, Subject};
use crate::stalled::Stalled;

/// Runs the rows and writes the table.
#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// Only rows whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// How many times each subject is measured, in turns.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// How many turns there may be at most until `--runs` were quiet, that is, until a hypervisor took less than 1 %
    /// of the machine's time in each measurement; the quietest are kept. As many as `--runs` if less.
    #[arg(long, default_value_t = 0)]
    turns: usize,
    /// Seconds a measurement.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Print the table and leave the file as it is.
    #[arg(long)]
    dry: bool,
}

/// Percent of the machine's time that a hypervisor may take in a measurement that counts as quiet.
const QUIET: f64 = 1.0;

const PROXY: Subject = Subject::Router(Router::Proxy);
const LOGPLEX: Subject = Subject::Router(Router::Logplex { drains: 1, history: false });
const WITH_HISTORY: Subject = Subject::Router(Router::Logplex { drains: 1, history: true });
const LOGPLEX_10: Subject = Subject::Router(Router::Logplex { drains: 10, history: false });
const SHUTTLE_FILE: Subject = Subject::Shuttle { pipe: false };
const SHUTTLE_PIPE: Subject = Subject::Shuttle { pipe: true };
const LONE_LINE: Subject = Subject::LoneLine;
const STALLED_50: Subject = stalled(50);
const STALLED_1K: Subject = stalled(1_000);
const STALLED_10K: Subject = stalled(10_000);
const STALLED_50_KEEP: Subject = stalled_keeping(50);
const STALLED_1K_KEEP: Subject = stalled_keeping(1_000);
const CHANNELS_1K: Subject = Subject::Channels(1_000);
const CHANNELS_10K: Subject = Subject::Channels(10_000);
const CHANNELS_100K: Subject = Subject::Channels(100_000);
const RSYSLOG: Subject = Subject::Router(Router::Rsyslog);
const LOGPLEX_SYSLOG: Subject = Subject::Router(Router::LogplexSyslog);

const fn stalled(line: usize) -> Subject {
    Subject::Stalled(Stalled { line, messages: 10_000, options: "" })
}

/// The drain gets one message in 1,000.
const fn stalled_keeping(line: usize) -> Subject {
    Subject::Stalled(Stalled { line, messages: 1_500_000, options: "#include-ps=keep.1" })
}

/// Name, subjects (the first is what the others are compared with), arguments of the load.
const ROWS: &[(&str, &[Subject], &[&str])] = &[
    ("full speed, 100 a request", &[PROXY, LOGPLEX, RSYSLOG], &[]),
    ("500k msg/s, 100 a request", &[PROXY, LOGPLEX, RSYSLOG], &["--rate", "500000"]),
    ("50k msg/s, 100 a request", &[PROXY, LOGPLEX, RSYSLOG], &["--rate", "50000"]),
    ("syslog over TCP in and out, full speed, 100 a write", &[RSYSLOG, LOGPLEX_SYSLOG], &[]),
    ("syslog over TCP in and out, 50k msg/s, 100 a write", &[RSYSLOG, LOGPLEX_SYSLOG], &["--rate", "50000"]),
    ("single-message requests, full speed", &[PROXY, LOGPLEX], &["--batch", "1"]),
    ("history off and on, 50k msg/s", &[LOGPLEX, WITH_HISTORY], &["--rate", "50000"]),
    ("fan-out, 50k msg/s", &[PROXY, LOGPLEX, LOGPLEX_10], &["--rate", "50000"]),
    ("1,000,000 lines of 220 bytes, none dropped", &[PROXY, SHUTTLE_FILE, SHUTTLE_PIPE], &[]),
    ("lone lines, one every 50 ms", &[LONE_LINE], &[]),
    ("memory, the only drain stands still", &[STALLED_50, STALLED_1K, STALLED_10K], &[]),
    (
        "memory, the only drain stands still, 1 message in 1,000 is for it",
        &[STALLED_50_KEEP, STALLED_1K_KEEP],
        &[],
    ),
    ("1,000 tails, 1,000 msg/s each", &[Subject::BusyTails], &[]),
    ("memory of 10,000 idle tails", &[Subject::IdleTails], &[]),
    ("1,000 active channels of many", &[CHANNELS_1K, CHANNELS_10K, CHANNELS_100K], &[]),
];

impl Run {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let mut rows = Vec::new();
        let turns = self.turns.max(self.runs);
        for (name, subjects, load) in ROWS.iter().filter(|row| row.0.contains(&self.only)) {
            let mut row = Row::new(name, subjects);
            let mut quiet = 0;
            for turn in 1..=turns {
                let mut measures = Vec::new();
                for subject in *subjects {
                    let measure = subject.measure(load, self.seconds)?;
                    eprintln!("{name} · turn {turn} · {} · {measure:.2?}", subject.name());
                    measures.push(measure);
                }
                quiet += usize::from(measures.iter().all(|measure| measure.stolen < QUIET));
                row.add(measures);
                if quiet == self.runs {
                    break;
                }
            }
            row.keep_quietest(self.runs);
            println!("{}", row.table());
            rows.push(row);
        }
        if !self.dry {
            write_report(&rows, self.runs, turns, self.seconds)?;
        }
        Ok(())
    }
}
