//! The program's own words, on stderr, each line beginning with `log-shuttle: `.

use std::error::Error;
use std::fmt::{self, Arguments, Write as _};
use std::io::{self, Write as _};

use logplex_core::shuttle::{Report, Stats};
use logplex_core::{Chain, DropReason, LossReason};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

/// A line of information. A closed stderr is nobody's loss.
pub(crate) fn info(text: Arguments<'_>) {
    writeln!(io::stderr(), "log-shuttle: {text}").ok();
}

pub(crate) fn warning(text: Arguments<'_>) {
    info(format_args!("warning: {text}"));
}

/// An error with its causes.
pub(crate) fn error(error: &(dyn Error + 'static)) {
    info(format_args!("error: {}", Chain(error)));
}

/// What became of every line.
pub(crate) fn report(report: &Report) {
    let Report { delivered, dropped, lost, unsent, .. } = report;
    let untold = report.untold.total();
    info(format_args!("flushed={delivered} dropped={dropped} lost={lost} unsent={unsent} untold={untold}"));
}

/// Counts as one logfmt line.
pub(crate) fn stats(stats: &Stats, source: &str) {
    let ledger = &stats.ledger;
    let mut text = String::from("stats");
    let mut add = |name: &str, value: u64| write!(text, " {name}={value}").expect("a string takes all");
    add("accepted", ledger.accepted());
    add("delivered", ledger.delivered());
    add("dropped", ledger.dropped_total());
    add("lost", ledger.lost_total());
    add("held", ledger.held());
    for reason in DropReason::ALL.iter().filter(|reason| ledger.dropped(**reason) > 0) {
        add(&format!("dropped.{}", reason.as_str()), ledger.dropped(*reason));
    }
    for reason in LossReason::ALL.iter().filter(|reason| ledger.lost(**reason) > 0) {
        add(&format!("lost.{}", reason.as_str()), ledger.lost(*reason));
    }
    add("posts", stats.posts);
    add("retries", stats.attempts.saturating_sub(stats.posts));
    add("bytes", stats.bytes);
    if !source.is_empty() {
        write!(text, " source={source:?}").expect("a string takes all");
    }
    info(format_args!("{text}"));
}

/// Prints what the library says about itself.
pub(crate) fn listen(verbose: bool) {
    let level = if verbose { Level::DEBUG } else { Level::WARN };
    let targets = tracing_subscriber::filter::Targets::new().with_target("logplex_core", level);
    let layer = tracing_subscriber::fmt::layer().event_format(Plain).with_ansi(false).with_writer(io::stderr);
    use tracing_subscriber::prelude::*;
    tracing_subscriber::registry().with(layer.with_filter(targets)).init();
}

/// `log-shuttle: warning: message key=value`.
struct Plain;

impl<S: Subscriber + for<'a> LookupSpan<'a>, N: for<'a> FormatFields<'a> + 'static> FormatEvent<S, N>
    for Plain
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let severity = match *event.metadata().level() {
            Level::ERROR => "error: ",
            Level::WARN => "warning: ",
            _ => "",
        };
        write!(writer, "log-shuttle: {severity}")?;
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}
