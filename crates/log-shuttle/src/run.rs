//! From settings to exit code: reads until the end or a signal, then ships the rest within the grace.

use std::ffi::OsString;
use std::future;
use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use logplex_core::child::{Command, exit_code_of};
use logplex_core::shuttle::{Guard, Shuttle};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout, timeout_at};

use crate::config::Config;
use crate::source::Source;
use crate::{Exit, say};

/// How long a reader that had to wait may take to end once it need not wait any more.
const LAST_READ: Duration = Duration::from_millis(500);

/// Does all that `config` says.
pub(crate) fn run(config: Config, stdin: OwnedFd) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("no event queue")?;
    let code = runtime.block_on(ship(config, stdin));
    // A thread that still reads stdin or ships must not hold up the end.
    runtime.shutdown_background();
    code
}

async fn ship(config: Config, stdin: OwnedFd) -> anyhow::Result<ExitCode> {
    let guard = config.builder.clone().start()?;
    let shuttle = guard.shuttle().clone();
    let mut outcome = {
        let stats = print_stats(&shuttle, config.stats_interval, &config.stats_source);
        tokio::select! {
            outcome = read(&config, &shuttle, stdin) => outcome?,
            never = stats => match never {},
        }
    };
    stop(guard, &mut outcome).await?;
    if let Some(reader) = outcome.reader {
        // The queue is closed and refuses what it waited to add: then that is counted too.
        timeout(LAST_READ, reader.done).await.ok();
    }
    let report = shuttle.report();
    if config.stats_interval.is_some() || config.verbose {
        say::stats(&shuttle.stats(), &config.stats_source);
    }
    if !report.is_clean() || config.verbose {
        say::report(&report);
    }
    if outcome.code != ExitCode::SUCCESS {
        return Ok(outcome.code);
    }
    let exit = if config.fail_on_loss && !report.is_clean() { Exit::Loss } else { Exit::Done };
    Ok(exit.into())
}

/// How reading ended.
struct Outcome {
    code: ExitCode,
    /// When shipping is to end.
    deadline: Instant,
    /// The reader of stdin if it has not ended: it waits for room in the queue or for who reads stdout.
    reader: Option<Source>,
    /// Listened to from before the first, so that a second that follows it closely is not missed.
    signals: Signals,
}

async fn read(config: &Config, shuttle: &Shuttle, stdin: OwnedFd) -> anyhow::Result<Outcome> {
    match &config.command {
        Some(command) => run_command(command, config, shuttle).await,
        None => read_stdin(config, shuttle, stdin).await,
    }
}

async fn run_command(command: &[OsString], config: &Config, shuttle: &Shuttle) -> anyhow::Result<Outcome> {
    let (program, arguments) = command.split_first().context("no command")?;
    let mut child = Command::new(program, arguments).split(config.split);
    if config.tee {
        child = child.tee(io::stdout()).tee_stderr(io::stderr());
    }
    let code = match child.run(shuttle).await {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(error) => {
            let name = program.to_string_lossy();
            say::info(format_args!("error: cannot run {name:?}: {error}"));
            ExitCode::from(exit_code_of(&error))
        }
    };
    // Those that came so far were the command's.
    Ok(Outcome { code, deadline: Instant::now() + config.grace, reader: None, signals: Signals::new()? })
}

async fn read_stdin(config: &Config, shuttle: &Shuttle, stdin: OwnedFd) -> anyhow::Result<Outcome> {
    let mut signals = Signals::new()?;
    let mut source = Source::start(stdin, shuttle.feeder(config.format), config.tee)?;
    let (read, deadline) = tokio::select! {
        read = &mut source.done => (Some(read), Instant::now() + config.grace),
        () = signals.any() => {
            let deadline = Instant::now() + config.grace;
            source.stop();
            tokio::select! {
                read = timeout_at(deadline, &mut source.done) => (read.ok(), deadline),
                () = signals.any() => (None, Instant::now()),
            }
        }
    };
    let reader = if read.is_none() { Some(source) } else { None };
    let code = match read {
        Some(Ok(Err(error))) => {
            say::error(&error);
            Exit::Failed
        }
        _ => Exit::Done,
    };
    Ok(Outcome { code: code.into(), deadline, reader, signals })
}

/// Ships the rest. A second signal ends it at once.
async fn stop(guard: Guard, outcome: &mut Outcome) -> anyhow::Result<()> {
    let grace = outcome.deadline.saturating_duration_since(Instant::now());
    let report = tokio::task::spawn_blocking(move || guard.shutdown(grace));
    tokio::select! {
        report = report => report.map(drop).context("the shuttle failed"),
        () = outcome.signals.any() => Ok(()),
    }
}

async fn print_stats(shuttle: &Shuttle, every: Option<Duration>, source: &str) -> std::convert::Infallible {
    let Some(every) = every else { return future::pending().await };
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        say::stats(&shuttle.stats(), source);
    }
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Signals> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Signals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
