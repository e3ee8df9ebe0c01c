//! `logplex dev`: the first minute. A server on a fresh store with a channel and a token, the lines to copy,
//! and with `-- CMD` a command whose output goes through all of it and comes out in the same terminal.

use std::process::ExitCode;

use anyhow::Context;
use logplex_core::child;
use logplex_core::shuttle::{Builder, Report};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::cli::DevArgs;
use crate::client::ApiClient;
use crate::config::{Config, PASSING_GRACE, Secret};
use crate::follow::{Color, Follower, Look, Request};
use crate::serve::Server;
use crate::stop_on_signals;

/// The channel that is made, and its token's name.
const CHANNEL: &str = "dev";
const TOKEN_NAME: &str = "app";

/// The PROCID of the command's lines.
const PROCID: &str = "run.1";

/// Runs until the command ends, or without one until a signal.
pub(crate) async fn run(args: DevArgs) -> anyhow::Result<ExitCode> {
    // Ahead of the store and of the lines to copy: who sees them may end it at once, and the store has to go.
    let stop = if args.command.is_empty() { stop_on_signals()? } else { CancellationToken::new() };
    let store = tempfile::tempdir().context("cannot make a directory for the store")?;
    let config = Config { listen: args.listen, ..Config::passing(store.path().to_owned()) };
    let server = Server::start(config).await?;
    let key = Secret::new(server.new_key.clone().context("a fresh store has no key yet")?);
    let (record, _new) = server.app().hub.put_channel(CHANNEL, &[TOKEN_NAME.to_owned()])?;
    let token = &record.tokens.first().context("the channel was made with a token")?.id;
    let base = format!("http://{}", server.address()?);
    let logs_url = format!("http://token:{token}@{}/logs", server.address()?);
    introduce(&base, &logs_url, token, &key);

    if args.command.is_empty() {
        server.run(stop).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let session = async {
        let code = run_command(&args, &base, &logs_url, key, &stop).await;
        stop.cancel();
        code
    };
    let (served, code) = tokio::join!(server.run(stop.clone()), session);
    served?;
    code
}

/// Runs the command with its output shipped, shows what comes back, and returns the command's exit code.
async fn run_command(
    args: &DevArgs,
    base: &str,
    logs_url: &str,
    key: Secret,
    stop: &CancellationToken,
) -> anyhow::Result<ExitCode> {
    let (request, look) = (Request::live(CHANNEL), Look::of_stdout(Color::Auto));
    let api = ApiClient::new(base, key)?;
    let connected = Notify::new();
    let follower =
        Follower { request: &request, look: &look, api: &api, reconnect: false, connected: &connected };
    // The tail ends when the server does, after it was sent the last line; it is never cut short.
    let never = CancellationToken::new();
    let command = async {
        connected.notified().await;
        let guard = Builder::new(logs_url).app(TOKEN_NAME).procid(PROCID).start()?;
        let (program, arguments) = args.command.split_first().context("no command")?;
        let ended = child::Command::new(program, arguments).run(guard.shuttle()).await;
        let report = tokio::task::spawn_blocking(move || guard.shutdown(PASSING_GRACE)).await?;
        if !report.is_clean() {
            let Report { accepted, delivered, dropped, lost, unsent, .. } = report;
            eprintln!(
                "logplex dev: of {accepted} lines {delivered} were delivered, {dropped} dropped, {lost} lost, \
                 {unsent} not sent"
            );
        }
        stop.cancel();
        match ended {
            Ok(exit) => anyhow::Ok(exit.code()),
            Err(error) => {
                eprintln!("logplex dev: cannot run {}: {error}", program.display());
                Ok(child::exit_code_of(&error))
            }
        }
    };
    tokio::pin!(command);
    let mut following = std::pin::pin!(follower.run(&never));
    tokio::select! {
        ended = &mut command => {
            let code = ended?;
            following.await?;
            Ok(ExitCode::from(code))
        }
        followed = &mut following => {
            followed?;
            // Nobody reads our output any more, or the server is gone; the command still ends by itself.
            Ok(ExitCode::from(command.await?))
        }
    }
}

fn introduce(base: &str, logs_url: &str, token: &str, key: &Secret) {
    let key = key.expose();
    eprintln!(
        "\
logplex dev: a server on {base} with the channel {CHANNEL:?}; its store goes when it ends.
Drains may reach loopback and private addresses here.

  page    {base}/  in a browser, with the key {key}
  ship    LOGS_URL={logs_url} log-shuttle run -- CMD
  curl    curl -u token:{token} -H 'Content-Type: text/plain' --data-binary 'hello' {base}/logs
  tail    LOGPLEX_URL={base} LOGPLEX_API_KEY={key} logplex tail {CHANNEL}
  drain   curl -X POST -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \\
            -d '{{\"url\":\"http://127.0.0.1:PORT/\"}}' {base}/v3/channels/{CHANNEL}/drains
  counts  curl -H 'Authorization: Bearer {key}' {base}/v3/channels/{CHANNEL}/stats
"
    );
}
