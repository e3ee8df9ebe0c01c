//! The command line of `logplex`.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use logplex_core::RingLimits;

use crate::command::ApiArgs;
use crate::command::channels::ChannelsArgs;
use crate::command::drains::DrainsArgs;
use crate::command::tokens::TokensArgs;
use crate::config::{Config, DEFAULT_MAX_DRAINS, Secret, base_url};

/// A log router that drops the oldest when a reader falls behind, and says so.
#[derive(Debug, Parser)]
#[command(name = "logplex", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server
    Serve(ServeArgs),
    /// Follow a channel in this terminal
    Tail(TailArgs),
    /// List, make, show and remove channels
    Channels(ChannelsArgs),
    /// List, make, rotate and remove the tokens that apps write with
    Tokens(TokensArgs),
    /// List, add, change, pause and remove the destinations of a channel
    Drains(DrainsArgs),
    /// The first minute: a server on a fresh store, and with -- CMD a command whose output it shows
    Dev(DevArgs),
}

#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    /// Where to listen; port 0 takes a free one
    #[arg(long, env = "LOGPLEX_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:8601")]
    listen: SocketAddr,
    /// Where channels, tokens, drains and checkpoints are kept
    #[arg(long, env = "LOGPLEX_DATA_DIR", value_name = "DIR", default_value = "logplex-data")]
    data_dir: PathBuf,
    /// What is handed out as this server's address, if a proxy stands in front of it
    #[arg(long, env = "LOGPLEX_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,
    /// A file with the API key to accept; LOGPLEX_API_KEY may hold the key itself. Without either, a key is
    /// made and shown at the first start
    #[arg(long, env = "LOGPLEX_API_KEY_FILE", value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Let drains reach loopback and private addresses
    #[arg(long, env = "LOGPLEX_ALLOW_PRIVATE_DRAINS")]
    allow_private_drains: bool,
    /// The most messages a second that one channel may bring, after a burst of 1,024; more is answered 429
    #[arg(long, env = "LOGPLEX_CHANNEL_RATE", value_name = "MESSAGES")]
    channel_rate: Option<NonZeroU32>,
    /// The most drains that one channel may have; one more is answered 422
    #[arg(long, env = "LOGPLEX_MAX_DRAINS", value_name = "N", default_value_t = DEFAULT_MAX_DRAINS)]
    max_drains: NonZeroUsize,
    /// How many threads do the work; half as many as there are cores if absent
    #[arg(long, env = "LOGPLEX_WORKERS", value_name = "N")]
    workers: Option<NonZeroUsize>,
    /// How many seconds a stop may take to send what is held
    #[arg(long, env = "LOGPLEX_GRACE", value_name = "SECONDS", default_value_t = 10)]
    grace: u16,
}

impl Command {
    /// How many threads the runtime gets. A message costs about a microsecond, so one thread carries far, and
    /// threads that hand work to each other cost more than they bring; the other cores are for the kernel's
    /// part of each connection.
    pub(crate) fn workers(&self) -> usize {
        let half = || std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2));
        match self {
            Command::Serve(args) => args.workers.map_or_else(half, NonZeroUsize::get),
            _ => 1,
        }
    }
}

impl TryFrom<ServeArgs> for Config {
    type Error = anyhow::Error;

    fn try_from(args: ServeArgs) -> anyhow::Result<Config> {
        let variable = std::env::var("LOGPLEX_API_KEY").ok();
        Ok(Config {
            listen: args.listen,
            data_dir: args.data_dir,
            public_url: args.public_url.as_deref().map(|url| base_url("--public-url", url)).transpose()?,
            api_key: Secret::from_variable_or_file(variable, args.api_key_file.as_ref())?,
            allow_private_drains: args.allow_private_drains,
            channel_rate: args.channel_rate,
            max_drains: args.max_drains,
            grace: Duration::from_secs(args.grace.into()),
            ring: RingLimits::default(),
        })
    }
}

#[derive(Args, Debug)]
pub(crate) struct DevArgs {
    /// Where to listen; port 0 takes a free one
    #[arg(long, env = "LOGPLEX_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:8601")]
    pub(crate) listen: SocketAddr,
    /// A command to run; its output goes through the server and is shown here
    #[arg(last = true, value_name = "CMD")]
    pub(crate) command: Vec<std::ffi::OsString>,
}

#[derive(Args, Debug)]
pub(crate) struct TailArgs {
    /// The channel to follow
    pub(crate) channel: String,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
    /// The API key; better given as LOGPLEX_API_KEY, where other users cannot see it
    #[arg(long, env = "LOGPLEX_API_KEY", value_name = "KEY", hide_env_values = true)]
    pub(crate) key: Option<String>,
    /// Only this source, such as app or heroku
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
    /// Only this process, such as web.1, or web for all of that kind
    #[arg(long, value_name = "NAME")]
    pub(crate) ps: Option<String>,
    /// How many lines of history to show first
    #[arg(short = 'n', long = "num", value_name = "LINES", default_value_t = 100)]
    pub(crate) num: u32,
    /// Show the history and end
    #[arg(long)]
    pub(crate) no_follow: bool,
    /// How to write lines
    #[arg(short = 'o', long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// `TIME SOURCE[PROCID]: MSG`
    Text,
    /// One JSON object a line
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
