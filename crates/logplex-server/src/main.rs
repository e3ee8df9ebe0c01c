//! `logplex`: a log router in one binary. See the README for what it does and ARCHITECTURE for how.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::CommandFactory;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::info;
use tracing_subscriber::EnvFilter;

use crate::cli::{Cli, Command};
use crate::config::Config;
use crate::follow::Follower;
use crate::serve::{Server, say};
use crate::settings::Settings;

mod channel;
mod checkpoint;
mod cli;
mod client;
mod codes;
mod command;
mod config;
mod destination;
mod dev;
mod drain;
mod follow;
mod history;
mod http;
mod hub;
mod mailbox;
mod metrics;
mod rate;
mod repeats;
mod sender;
mod serve;
mod settings;
mod store;
mod syslog;
mod tail;
mod tasks;

/// The exit code of what is wrong with the command line or the configuration, as clap has it.
const USAGE: u8 = 2;

/// The exit code of a command that a signal ended, as shells have it for SIGINT.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let (cli, settings) = match settings::command_line() {
        Ok(parsed) => parsed,
        Err(error) => {
            eprintln!("logplex: {error:#}");
            return ExitCode::from(USAGE);
        }
    };
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
    let ended = runtime.block_on(run(cli, settings));
    // A look-up in a dead resolver cannot be cancelled; it must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended.unwrap_or_else(|error| {
        eprintln!("logplex: {error:#}");
        command::exit_code(&error)
    })
}

async fn run(cli: Cli, settings: Settings) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Serve(args) => {
            let stop = stop_on_signals()?;
            let server = Server::start(args.try_into()?).await?;
            let address = server.address()?;
            if let Some(key) = &server.new_key {
                say(&format!("API key, shown only now: {key}"));
            }
            for (scheme, address) in server.syslog_addresses()? {
                say(&format!("listening for syslog on {scheme}://{address}"));
            }
            say(&format!("the page is at {}/", server.app().public_url));
            say(&format!("listening on http://{address}"));
            info!(%address, "listening");
            server.run(stop).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::CheckConfig(args) => {
            if let Err(error) = Config::try_from(args) {
                eprintln!("logplex: {error:#}");
                return Ok(ExitCode::from(USAGE));
            }
            say(settings.show().trim_end());
            Ok(ExitCode::SUCCESS)
        }
        Command::Tail(args) => {
            let (request, look) = match args.check(chrono::Utc::now()) {
                Ok(checked) => checked,
                Err(error) => {
                    eprintln!("logplex: {error:#}");
                    return Ok(ExitCode::from(USAGE));
                }
            };
            let api = args.api.client(args.key.clone())?;
            let stop = stop_on_signals()?;
            let connected = Notify::new();
            let follower = Follower {
                request: &request,
                look: &look,
                api: &api,
                reconnect: true,
                connected: &connected,
            };
            follower.run(&stop).await?;
            Ok(if stop.is_cancelled() { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
        }
        Command::Top(args) => {
            let stop = stop_on_signals()?;
            command::top::run(&args, &stop).await?;
            Ok(if stop.is_cancelled() { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
        }
        Command::Channels(args) => command::channels::run(&args).await.map(|()| ExitCode::SUCCESS),
        Command::Tokens(args) => command::tokens::run(&args).await.map(|()| ExitCode::SUCCESS),
        Command::Drains(args) => command::drains::run(&args).await.map(|()| ExitCode::SUCCESS),
        Command::Explain(args) => command::explain::run(&args),
        Command::Dev(args) => dev::run(args).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "logplex", &mut script);
            command::print(&String::from_utf8(script)?)?;
            Ok(ExitCode::SUCCESS)
        }
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
