//! `logplex`: a log router in one binary. See the README for what it does and ARCHITECTURE for how.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::info;
use tracing_subscriber::EnvFilter;

use crate::cli::{Cli, Command};
use crate::client::ApiClient;
use crate::config::Secret;
use crate::follow::Follower;
use crate::serve::{Server, say};

mod channel;
mod checkpoint;
mod cli;
mod client;
mod config;
mod destination;
mod dev;
mod drain;
mod follow;
mod http;
mod hub;
mod mailbox;
mod metrics;
mod rate;
mod repeats;
mod sender;
mod serve;
mod store;
mod tail;
mod tasks;

/// The exit code of a command that a signal ended, as shells have it for SIGINT.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_env("LOGPLEX_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let ansi = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(ansi).with_env_filter(filter).init();
    let workers = cli.command.workers();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("logplex: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(run(cli));
    // A look-up in a dead resolver cannot be cancelled; it must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended.unwrap_or_else(|error| {
        eprintln!("logplex: {error:#}");
        ExitCode::FAILURE
    })
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Serve(args) => {
            let stop = stop_on_signals()?;
            let server = Server::start(args.try_into()?).await?;
            let address = server.address()?;
            if let Some(key) = &server.new_key {
                say(&format!("API key, shown only now: {key}"));
            }
            say(&format!("listening on http://{address}"));
            info!(%address, "listening");
            server.run(stop).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Tail(args) => {
            let key =
                args.key.clone().context("no API key: set LOGPLEX_API_KEY to the one the server showed")?;
            let api = ApiClient::new(&args.url, Secret::new(key))?;
            let stop = stop_on_signals()?;
            let follower = Follower { args: &args, api: &api, reconnect: true, connected: &Notify::new() };
            follower.run(&stop).await?;
            Ok(if stop.is_cancelled() { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
        }
        Command::Dev(args) => dev::run(args).await,
    }
}

/// Cancelled by the first SIGTERM or SIGINT; a second one ends the process at once.
fn stop_on_signals() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let told = stop.clone();
    tasks::Tasks::default().spawn(|_| async move {
        for _ in 0..2 {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if told.is_cancelled() {
                std::process::exit(INTERRUPTED.into());
            }
            told.cancel();
        }
    });
    Ok(stop)
}
