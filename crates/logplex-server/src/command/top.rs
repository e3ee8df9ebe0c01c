//! `logplex top`: the channels with the most of something, in a table that refreshes.
//!
//! The server measures and chooses ([`crate::http`], `/v3/top`); here a sample becomes a page for a terminal, a
//! table, or a line of JSON.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::{Args, ValueEnum};
use http::StatusCode;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use self::page::{Page, Sample};
use super::ApiArgs;
use crate::client::{ApiClient, Refused};
use crate::follow::{Color, NobodyReads, Stdout, escape, escape_json, has_colour, is_final, reader_gone};
use crate::http::top::{N_MAX, SECONDS, Sort};

mod page;

/// How many channels are shown where nothing bounds them.
const ROWS: u16 = 20;

/// How long the server may take to look, besides the interval.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// The pause before a server that is away is asked again is random up to this.
const RETRY_MAX: Duration = Duration::from_secs(2);

const EXAMPLES: &str = "\
Examples:
  logplex top                            what the busiest channels take and deliver, until Ctrl-C
  logplex top --sort lost -n 5           where messages are dropped and lost
  logplex top --once --interval 10       one table, measured over ten seconds
  logplex top --json | jq .total.in_per_second

IN/S is what a channel takes, OUT/S what it delivers to all its drains and tails together, measured over the interval.
DROPPED, LOST and HELD are the sums over its drains and tails, the former two and CODES since the server's start.

Exit codes: 0 done, or stdout was closed; 1 failed or refused; 2 wrong usage; 130 interrupted.";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TopArgs {
    #[command(flatten)]
    api: ApiArgs,
    /// Which channels come first: by messages a second, messages dropped and lost, messages with error codes, or name
    #[arg(long, value_enum, value_name = "BY", default_value_t)]
    sort: Sort,
    /// How many channels to show; as many as fit on a terminal, else 20
    #[arg(short = 'n', long, value_name = "ROWS", value_parser = clap::value_parser!(u16).range(1..=N_MAX as i64))]
    rows: Option<u16>,
    /// Over how many seconds to measure, 0.1 to 30; then the next table comes
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = seconds)]
    interval: f64,
    /// Show one table and end
    #[arg(long)]
    once: bool,
    /// Write JSON, an object a line for each table
    #[arg(long)]
    json: bool,
}

fn seconds(text: &str) -> Result<f64, &'static str> {
    let parsed = text.parse().ok().filter(|seconds| SECONDS.contains(seconds));
    parsed.ok_or("write a number from 0.1 to 30")
}

/// Shows table after table until it is stopped or nobody reads them.
///
/// # Errors
/// When the server cannot be reached at first, or refuses.
pub(crate) async fn run(args: &TopArgs, stop: &CancellationToken) -> anyhow::Result<()> {
    let api = args.api.client(std::env::var("LOGPLEX_API_KEY").ok())?;
    let mut hung_up = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let mut quit = signal(SignalKind::quit()).context("cannot listen for SIGQUIT")?;
    let told_to_end = async {
        tokio::select! {
            () = stop.cancelled() => {}
            _ = hung_up.recv() => {}
            _ = quit.recv() => {}
        }
        stop.cancel();
    };
    let mut shown = Shown::new(args);
    let ended = tokio::select! {
        () = told_to_end => Ok(()),
        () = reader_gone() => Ok(()),
        ended = watch(args, &api, &mut shown) => ended,
    };
    match ended {
        Err(error) if error.is::<NobodyReads>() => Ok(()),
        ended => ended,
    }
}

async fn watch(args: &TopArgs, api: &ApiClient, shown: &mut Shown) -> anyhow::Result<()> {
    let timeout = Duration::from_secs_f64(args.interval) + ANSWER_TIMEOUT;
    let sort = args.sort.to_possible_value().context("every sort has a name")?;
    let sort = sort.get_name();
    let mut reached = false;
    loop {
        let path = format!("/v3/top?sort={sort}&n={}&seconds={}", shown.rows(), args.interval);
        let answered = tokio::time::timeout(timeout, api.get(&path)).await;
        let answered = answered.unwrap_or_else(|_| Err(anyhow!("the server does not answer")));
        match answered {
            Ok(answer) => shown.sample(&answer).await?,
            Err(error) => {
                if error
                    .downcast_ref()
                    .is_some_and(|refused: &Refused| refused.status == StatusCode::NOT_FOUND)
                {
                    bail!("the server at {} knows no top: it is older than this command", api.base());
                }
                if !reached || is_final(&error) {
                    return Err(error);
                }
                shown.trouble(&error).await?;
                tokio::time::sleep(RETRY_MAX.mul_f64(0.1 + 0.9 * fastrand::f64())).await;
                continue;
            }
        }
        if args.once {
            return Ok(());
        }
        reached = true;
    }
}

/// Where tables go, and in which form.
#[derive(Debug)]
struct Shown {
    stdout: Stdout,
    json: bool,
    rows: Option<u16>,
    /// Whether stdout is a terminal, whose width counts.
    terminal: bool,
    colour: bool,
    /// On a terminal that is drawn anew for each table.
    drawn: Option<HiddenCursor>,
    /// The newest table.
    last: Option<Sample>,
    /// Whether it was said that the server is away.
    told: bool,
}

impl Shown {
    fn new(args: &TopArgs) -> Shown {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let terminal = io::stdout().is_terminal();
        let drawn = terminal && !dumb && !args.json && !args.once;
        Shown {
            stdout: Stdout::new(),
            json: args.json,
            rows: args.rows,
            terminal,
            colour: terminal && has_colour(Color::Auto, terminal, std::env::var_os),
            drawn: drawn.then(HiddenCursor::new),
            last: None,
            told: false,
        }
    }

    /// The terminal's columns and lines, if that is what stdout is.
    fn size(&self) -> Option<(usize, usize)> {
        let (columns, lines) = terminal_size::terminal_size_of(io::stdout())
            .map_or((80, 24), |(columns, lines)| (columns.0.max(1), lines.0.max(1)));
        self.terminal.then_some((columns.into(), lines.into()))
    }

    /// How many channels to ask for.
    fn rows(&self) -> usize {
        let asked = usize::from(self.rows.unwrap_or(if self.drawn.is_some() { u16::MAX } else { ROWS }));
        match self.size() {
            Some((_, lines)) if self.drawn.is_some() => asked.min(page::rows_in(lines)).min(N_MAX),
            _ => asked,
        }
    }

    async fn sample(&mut self, answer: &Value) -> anyhow::Result<()> {
        self.told = false;
        if self.json {
            let mut line = String::new();
            escape_json(&answer.to_string(), &mut line);
            return self.stdout.write(&(line + "\n")).await;
        }
        let sample = Sample::of(answer).context("the server's answer is not understood")?;
        let is_first = self.last.is_none();
        self.last = Some(sample);
        if self.drawn.is_some() {
            return self.draw(None).await;
        }
        let columns = self.size().map(|(columns, _)| columns);
        let page = Page { columns, lines: None, colour: self.colour, trouble: None };
        let table = self.last.as_ref().map(|sample| page.render(sample)).unwrap_or_default();
        self.stdout.write(&if is_first { table } else { format!("\n{table}") }).await
    }

    /// Says that the server is away: once on stderr, or below the table as long as it lasts.
    async fn trouble(&mut self, problem: &anyhow::Error) -> anyhow::Result<()> {
        let mut text = String::from("logplex: ");
        escape(&format!("{problem:#}; asking again"), &mut text);
        if self.drawn.is_some() {
            return self.draw(Some(&text)).await;
        }
        if !std::mem::replace(&mut self.told, true) {
            eprintln!("{text}");
        }
        Ok(())
    }

    /// Draws over what was drawn before.
    async fn draw(&self, trouble: Option<&str>) -> anyhow::Result<()> {
        let (columns, lines) = self.size().unzip();
        let page = Page { columns, lines, colour: self.colour, trouble };
        let table = self.last.as_ref().map(|sample| page.render(sample)).unwrap_or_default();
        // From the top, the rest of each line and then of the screen cleared.
        self.stdout.write(&format!("\x1b[H{}\x1b[J", table.replace('\n', "\x1b[K\n"))).await
    }
}

/// A terminal's cursor is hidden as long as this lives, however that ends.
#[derive(Debug)]
struct HiddenCursor;

impl HiddenCursor {
    fn new() -> HiddenCursor {
        put("\x1b[?25l\x1b[H\x1b[J");
        HiddenCursor
    }
}

impl Drop for HiddenCursor {
    fn drop(&mut self) {
        // The page has no end of line.
        put("\x1b[?25h\n");
    }
}

/// Writes to stdout. If that fails, nobody sees it.
fn put(text: &str) {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_bounded() {
        assert_eq!((seconds("2"), seconds("0.1"), seconds("30")), (Ok(2.0), Ok(0.1), Ok(30.0)));
        for wrong in ["", "0", "0.09", "30.1", "-1", "inf", "NaN", "2s"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
