//! Medians, ratios, and the tables.

use std::fmt::Write as _;
use std::process::Command;

use anyhow::Context;

use crate::run::{Measure, Router, Subject};
use crate::stalled::Stalled;

/// A table: the subjects, and turns with a measurement of each.
#[derive(Debug)]
pub(crate) struct Row {
    name: String,
    subjects: Vec<Subject>,
    turns: Vec<Vec<Measure>>,
}

/// A column of a table.
struct Column {
    title: &'static str,
    value: fn(&Measure) -> f64,
    show: Show,
}

/// How a column shows its values.
#[derive(Clone, Copy)]
enum Show {
    /// With so many decimals, and a unit.
    Value(usize, &'static str),
    /// As a ratio to the first subject's in the same turn.
    Ratio,
}

const fn column(title: &'static str, show: Show, value: fn(&Measure) -> f64) -> Column {
    Column { title, value, show }
}

const ROUTERS: &[Column] = &[
    column("delivered msg/s", Show::Value(0, ""), |measure| measure.rate),
    column("ratio", Show::Ratio, |measure| measure.rate),
    column("CPU-s/M", Show::Value(3, ""), |measure| measure.cpu),
    column("ratio", Show::Ratio, |measure| measure.cpu),
    column("peak RSS", Show::Value(0, " MiB"), |measure| measure.rss),
    column("p50", Show::Value(2, " ms"), |measure| measure.p50_us / 1000.0),
    column("p99", Show::Value(2, " ms"), |measure| measure.p99_us / 1000.0),
    column("dropped, all told", Show::Value(1, " %"), |measure| measure.dropped),
];

const SHUTTLES: &[Column] = &[
    column("lines/s", Show::Value(0, ""), |measure| measure.rate),
    column("ratio", Show::Ratio, |measure| measure.rate),
    column("CPU-s/M", Show::Value(3, ""), |measure| measure.cpu),
    column("ratio", Show::Ratio, |measure| measure.cpu),
    column("peak RSS", Show::Value(0, " MiB"), |measure| measure.rss),
];

const LONE_LINE: &[Column] = &[
    column("p50", Show::Value(2, " ms"), |measure| measure.p50_us / 1000.0),
    column("p99", Show::Value(2, " ms"), |measure| measure.p99_us / 1000.0),
];

const STALLED: &[Column] = &[
    column("messages held", Show::Value(0, ""), |measure| measure.held),
    column("dropped", Show::Value(1, " %"), |measure| measure.dropped),
    column("peak RSS", Show::Value(1, " MiB"), |measure| measure.rss),
    column("over idle", Show::Value(1, " MiB"), |measure| measure.memory),
    column("bound", Show::Value(1, " MiB"), |measure| measure.bound),
];

const BUSY_TAILS: &[Column] = &[
    column("delivered msg/s", Show::Value(0, ""), |measure| measure.rate),
    column("cores", Show::Value(2, ""), |measure| measure.cores),
    column("RSS", Show::Value(0, " MiB"), |measure| measure.rss),
    column("p50", Show::Value(1, " ms"), |measure| measure.p50_us / 1000.0),
    column("p99", Show::Value(1, " ms"), |measure| measure.p99_us / 1000.0),
    column("dropped, all told", Show::Value(1, " %"), |measure| measure.dropped),
];

const IDLE_TAILS: &[Column] = &[
    column("RSS", Show::Value(0, " MiB"), |measure| measure.rss),
    column("over one tail", Show::Value(0, " MiB"), |measure| measure.memory),
    column("each", Show::Value(1, " KiB"), |measure| measure.each),
];

const CHANNELS: &[Column] = &[
    column("made in", Show::Value(1, " s"), |measure| measure.made),
    column("start", Show::Value(2, " s"), |measure| measure.start),
    column("RSS, idle", Show::Value(1, " MiB"), |measure| measure.rss),
    column("delivered msg/s", Show::Value(0, ""), |measure| measure.rate),
    column("ratio", Show::Ratio, |measure| measure.rate),
    column("CPU-s/M", Show::Value(3, ""), |measure| measure.cpu),
    column("ratio", Show::Ratio, |measure| measure.cpu),
    column("dropped, all told", Show::Value(1, " %"), |measure| measure.dropped),
];

/// What every table ends with.
const STOLEN: Column = column("stolen", Show::Value(1, " %"), |measure| measure.stolen);

impl Row {
    pub(crate) fn new(name: &str, subjects: &[Subject]) -> Row {
        Row { name: name.to_owned(), subjects: subjects.to_vec(), turns: Vec::new() }
    }

    /// Adds a turn: a measurement of each subject.
    pub(crate) fn add(&mut self, turn: Vec<Measure>) {
        self.turns.push(turn);
    }

    /// Keeps the turns in which the least time was stolen.
    pub(crate) fn keep_quietest(&mut self, runs: usize) {
        let most = |turn: &Vec<Measure>| turn.iter().map(|measure| measure.stolen).fold(0.0, f64::max);
        self.turns.sort_by(|one, other| most(one).total_cmp(&most(other)));
        self.turns.truncate(runs);
    }

    /// A table in Markdown; ratios are medians of the ratios to the first subject in the same turn.
    pub(crate) fn table(&self) -> String {
        // The first may be what the others are compared with.
        let Some(last) = self.subjects.last() else { return String::new() };
        let (columns, note) = match last {
            Subject::Router(_) => (ROUTERS, self.further_drain()),
            Subject::Shuttle { .. } => (SHUTTLES, Some(SHUTTLES_NOTE.to_owned())),
            Subject::LoneLine => (LONE_LINE, Some(LONE_LINE_NOTE.to_owned())),
            Subject::Stalled(Stalled { options: "", .. }) => (STALLED, Some(STALLED_NOTE.to_owned())),
            Subject::Stalled(_) => (STALLED, Some(KEEPING_NOTE.to_owned())),
            Subject::BusyTails => (BUSY_TAILS, Some(BUSY_TAILS_NOTE.to_owned())),
            Subject::IdleTails => (IDLE_TAILS, Some(IDLE_TAILS_NOTE.to_owned())),
            Subject::Channels(_) => (CHANNELS, Some(CHANNELS_NOTE.to_owned() + &self.idle_channel())),
        };
        let columns = || columns.iter().chain([&STOLEN]);
        let titles: String = columns().map(|column| format!(" {} |", column.title)).collect();
        let rule = "---|".repeat(columns().count() + 1);
        let mut table = format!("### {}\n\n| |{titles}\n|{rule}\n", self.name);
        for (at, subject) in self.subjects.iter().enumerate() {
            let cell = |column: &Column| match column.show {
                Show::Value(decimals, unit) => {
                    format!(" {:.decimals$}{unit} |", self.median(|turn| (column.value)(&turn[at])))
                }
                Show::Ratio => {
                    let ratio = self.median(|turn| (column.value)(&turn[at]) / (column.value)(&turn[0]));
                    format!(" {ratio:.2} |")
                }
            };
            let cells: String = columns().map(cell).collect();
            // A table is written to a text, which cannot fail.
            let _written = writeln!(table, "| {} |{cells}", subject.name());
        }
        note.map_or(table.clone(), |note| format!("{table}\n{note}\n"))
    }

    /// The median of what `value` makes of each turn.
    fn median(&self, value: impl Fn(&[Measure]) -> f64) -> f64 {
        let mut values: Vec<f64> = self.turns.iter().map(|turn| value(turn)).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// What a drain beyond the first costs, if that was measured.
    fn further_drain(&self) -> Option<String> {
        let drains = |subject: &Subject| match subject {
            Subject::Router(Router::Logplex { drains, .. }) => *drains,
            _ => 0,
        };
        let is_proxy = |subject: &Subject| matches!(subject, Subject::Router(Router::Proxy));
        let proxy = self.subjects.iter().position(is_proxy)?;
        let one = self.subjects.iter().position(|subject| drains(subject) == 1)?;
        let many = self.subjects.iter().position(|subject| drains(subject) > 1)?;
        let most = drains(&self.subjects[many]);
        let share =
            self.median(|turn| (turn[many].cpu - turn[one].cpu) / f64::from(most - 1) / turn[proxy].cpu);
        Some(format!("Each drain from the second to the {most}th costs {share:.2} of the proxy's whole CPU."))
    }

    /// What a channel that nothing is sent to takes, if that was measured.
    fn idle_channel(&self) -> String {
        let channels = |subject: &Subject| match subject {
            Subject::Channels(channels) => *channels,
            _ => 0,
        };
        let [.., some, most] = &self.subjects[..] else { return String::new() };
        let (some, most) = (channels(some), channels(most));
        let each = self.median(|turn| match turn {
            [.., few, many] => (many.rss - few.rss) * 1024.0 / (most - some) as f64,
            _ => f64::NAN,
        });
        format!(" From {some} to {most} channels each takes {each:.2} KiB.")
    }
}

const SHUTTLES_NOTE: &str = "The proxy forwards messages of 200 bytes, 100 a request, for so many seconds; a shuttle reads 1,000,000 lines of \
     220 bytes and posts up to 500 a request, its start and end included.";

const BUSY_TAILS_NOTE: &str = "Posts of 10 messages every 10 ms to one channel with 1,000 websocket tails, which one other process reads. \
     Every tail's lines and what its L11 lines say add up to what was sent, and the server's ledger says the same, else the \
     run ends with an error. Times are from the making of a line to its sight at a tail, which may be kept for 50 ms to \
     go with others. Cores are the server's own CPU-seconds a second. Goal: none dropped, p99 at most 100 ms, one core.";

const IDLE_TAILS_NOTE: &str = "10,000 websocket tails of one channel, each with a session of its own, over the memory with one. Then one line \
     is sent, which all of them must get. Goal: at most 16 KiB each.";

const CHANNELS_NOTE: &str = "Channels with one token each are made over the API, and the server is started again with them. Then 1,000 of \
     them get a drain to one sink, and messages in turns at full speed. History is off. Goal: with 100,000 channels within \
     15 % of what 1,000 deliver, a start in at most 3 s, at most 1 KiB for an idle channel.";

const LONE_LINE_NOTE: &str = "A line every 50 ms, from the write into the pipe to the sight at the sink: reading, \
     framing, waking, a request. The first line's includes the connection. Goal: at most 10 ms.";

const STALLED_NOTE: &str = "10,000 lines of this size to a server whose only drain takes a request and never answers: its ring is full. Held \
     and dropped add up to what was sent, else the run ends with an error. The bound is what may be held by the bytes \
     of a message, its head of 59 bytes and 22 of count and index included: the ring (1,024 messages, 16 MiB at the \
     most), history (1,500, 4 MiB), both with one more request of 100 messages, which may be half used; one drain \
     request in flight, in whole batches (100 KiB and two requests); and two connections (400 KiB and a request \
     each). The idle server has not yet touched the code that the load runs.";

const KEEPING_NOTE: &str = "As above, but 1,500,000 lines, of which the drain keeps one in 1,000, and no history, whose store would fill its \
     buffers in the seconds that this takes. The bound is the ring (1,024 messages, each in a batch of its own: 288 bytes \
     more), a request in flight and two connections as above, and the write buffer of the store (1 MiB). Were the bodies \
     kept that the messages came in, it would be the 16 MiB that a ring may have.";

/// Writes `BENCHMARKS.md` into the current folder.
pub(crate) fn write_report(rows: &[Row], runs: usize, turns: usize, seconds: u64) -> anyhow::Result<()> {
    let tables: Vec<String> = rows.iter().map(Row::table).collect();
    std::fs::write("BENCHMARKS.md", format!("{}\n{}", head(runs, turns, seconds)?, tables.join("\n")))
        .context("cannot write BENCHMARKS.md")
}

fn head(runs: usize, turns: usize, seconds: u64) -> anyhow::Result<String> {
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
         `cargo xtask bench -- --runs {runs} --turns {turns} --seconds {seconds}`: medians of {runs} runs of {seconds} s, \
         in turns, on {model}, {cores} cores, Linux {}, rsyslog {rsyslog}.\n\n\
         Where a table does not say otherwise: messages of 200 bytes from two connections to one sink, all on this \
         machine, so that the programs compete for its cores. CPU is that of the program under test, a million messages \
         received by one sink. A ratio is to the first program of its table in the same turn: times move with whatever \
         else the machine does, ratios less. In each run received and told add up to what was sent, else it ends with an \
         error.\n\n\
         Stolen is the share of the machine's time that its hypervisor gave to others while programs here had work. A \
         core that is taken away for 1 ms while 1,000,000 messages a second come is a full ring, so what is dropped \
         says more of the neighbours than of the router where much is stolen: up to {turns} turns were measured until \
         {runs} had less than 1 %, and the {runs} with the least are shown.\n",
        kernel.trim()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(measures: &[(Subject, Measure)]) -> String {
        let subjects: Vec<Subject> = measures.iter().map(|(subject, _)| *subject).collect();
        let mut row = Row::new("name", &subjects);
        row.add(measures.iter().map(|(_, measure)| *measure).collect());
        row.table()
    }

    #[test]
    fn a_further_drain_is_told_as_a_share_of_the_proxys_whole_cost() {
        let router = |router, cpu| (Subject::Router(router), Measure { cpu, ..Measure::default() });
        let (proxy, one) =
            (router(Router::Proxy, 2.0), router(Router::Logplex { drains: 1, history: false }, 3.0));
        let ten = router(Router::Logplex { drains: 10, history: false }, 12.0);
        let text = table(&[proxy, one, ten]);
        assert!(text.contains("to the 10th costs 0.50 of the proxy's whole CPU"), "{text}");
        assert!(!table(&[proxy, one]).contains("Each drain"), "it was not measured");
    }

    #[test]
    fn a_table_has_the_columns_of_what_it_measures() {
        let measure = Measure { p50_us: 1500.0, held: 1124.0, memory: 2.5, bound: 4.0, ..Measure::default() };
        let lone = table(&[(Subject::LoneLine, measure)]);
        assert!(
            lone.contains(
                "| | p50 | p99 | stolen |\n|---|---|---|---|\n| log-shuttle, from a pipe | 1.50 ms |"
            ),
            "{lone}"
        );
        let stalled =
            table(&[(Subject::Stalled(Stalled { line: 50, messages: 10_000, options: "" }), measure)]);
        assert!(stalled.contains("| 50 bytes | 1124 |"), "{stalled}");
        assert!(stalled.contains("| 2.5 MiB | 4.0 MiB |"), "{stalled}");
        let of_channels =
            |channels, rss| (Subject::Channels(channels), Measure { rss, ..Measure::default() });
        let channels =
            table(&[of_channels(1_000, 10.0), of_channels(10_000, 20.0), of_channels(100_000, 110.0)]);
        assert!(channels.contains("From 10000 to 100000 channels each takes 1.02 KiB."), "{channels}");
        let shuttle = table(&[(Subject::Shuttle { pipe: true }, measure)]);
        assert!(!shuttle.contains("p50"), "{shuttle}");
    }

    #[test]
    fn the_turns_with_the_least_theft_are_kept_whole() {
        let measure = |p50_us, stolen| Measure { p50_us, stolen, ..Measure::default() };
        let mut row = Row::new("name", &[Subject::LoneLine, Subject::LoneLine]);
        for (p50_us, stolen) in [(1000.0, 3.0), (2000.0, 0.5), (3000.0, 9.0), (4000.0, 0.1), (5000.0, 0.2)] {
            row.add(vec![measure(p50_us, 0.0), measure(p50_us + 100.0, stolen)]);
        }
        row.keep_quietest(3);
        let kept: Vec<f64> = row.turns.iter().map(|turn| turn[0].p50_us).collect();
        assert_eq!(kept, [4000.0, 5000.0, 2000.0]);
        let text = row.table();
        assert!(text.contains("| 4.00 ms | 0.00 ms | 0.0 % |"), "the medians of the three: {text}");
        assert!(text.contains("| 4.10 ms | 0.00 ms | 0.2 % |"), "the medians of the three: {text}");
    }
}
