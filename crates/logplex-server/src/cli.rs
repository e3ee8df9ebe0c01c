//! The command line of `logplex`.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, Parser, Subcommand};
use logplex_core::RingLimits;

use crate::command::channels::ChannelsArgs;
use crate::command::drains::DrainsArgs;
use crate::command::explain::ExplainArgs;
use crate::command::tokens::TokensArgs;
use crate::command::top::TopArgs;
use crate::config::{
    Config, DEFAULT_MAX_DRAINS, HISTORY_DISK_MIB, HISTORY_MEMORY_MIB, PROBE_AFTER_SECONDS, Secret,
    SyslogConfig, SyslogListen, base_url, server_tls,
};
use crate::destination::is_name;
use crate::follow::TailArgs;
use crate::history::ShelfLimits;

/// The variable that may hold the API key itself.
pub(crate) const API_KEY_VARIABLE: &str = "LOGPLEX_API_KEY";

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
    /// Show what `serve` would run with and where each setting comes from, without secrets
    CheckConfig(ServeArgs),
    /// Follow channels in this terminal
    Tail(TailArgs),
    /// Show which channels take, deliver and lose the most, in a table that refreshes
    Top(TopArgs),
    /// List, make, show and remove channels
    Channels(ChannelsArgs),
    /// List, make, rotate and remove the tokens that apps write with
    Tokens(TokensArgs),
    /// List, add, change, pause and remove the destinations of a channel
    Drains(DrainsArgs),
    /// Explain an error code, a status or a line, without a server: what happened, what to do
    Explain(ExplainArgs),
    /// The first minute: a server on a fresh store, and with -- CMD a command whose output it shows
    Dev(DevArgs),
    /// Write a script that lets a shell complete commands and flags
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
}

#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    /// A TOML file with settings, each under its flag's name: `grace = 5`. A flag goes over the environment, that
    /// over the file
    #[arg(long, env = "LOGPLEX_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
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
    #[arg(
        long,
        env = "LOGPLEX_ALLOW_PRIVATE_DRAINS",
        value_name = "BOOL",
        action = ArgAction::Set,
        value_parser = BoolishValueParser::new(),
        num_args = 0..=1,
        require_equals = true,
        default_value = "false",
        default_missing_value = "true"
    )]
    allow_private_drains: bool,
    /// A PEM file with certificates that drains may trust with the option ca=NAME; may be given again, in the
    /// variable joined by commas
    #[arg(
        long,
        env = "LOGPLEX_DRAIN_CA",
        value_name = "NAME=FILE",
        value_parser = named_file,
        value_delimiter = ','
    )]
    drain_ca: Vec<(String, PathBuf)>,
    /// After how many seconds a drain that refuses everything is probed; the pauses double, up to an hour
    #[arg(long, env = "LOGPLEX_PROBE_AFTER", value_name = "SECONDS", default_value_t = PROBE_AFTER_SECONDS,
        value_parser = clap::value_parser!(u16).range(1..=3600))]
    probe_after: u16,
    /// Where to listen for syslog over TCP; may be given several times. Messages say their token, or
    /// ADDR,token-file=FILE names the file with the token of all that comes there
    #[arg(long, env = "LOGPLEX_SYSLOG_LISTEN", value_name = "ADDR", value_delimiter = ' ')]
    syslog_listen: Vec<SyslogListen>,
    /// As --syslog-listen, for syslog over TLS
    #[arg(long, env = "LOGPLEX_SYSLOG_TLS_LISTEN", value_name = "ADDR", value_delimiter = ' ')]
    syslog_tls_listen: Vec<SyslogListen>,
    /// The server's certificate and those that vouch for it, in PEM
    #[arg(long, env = "LOGPLEX_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The private key of that certificate, in PEM
    #[arg(long, env = "LOGPLEX_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// After how many seconds without a byte a syslog connection is closed
    #[arg(long, env = "LOGPLEX_SYSLOG_IDLE", value_name = "SECONDS", default_value = "600")]
    syslog_idle: NonZeroU32,
    /// The most messages a second that one channel may bring, after a burst of 1,024; more is answered 429, and
    /// over syslog rejected
    #[arg(long, env = "LOGPLEX_CHANNEL_RATE", value_name = "MESSAGES")]
    channel_rate: Option<NonZeroU32>,
    /// The most drains that one channel may have; one more is answered 422
    #[arg(long, env = "LOGPLEX_MAX_DRAINS", value_name = "N", default_value_t = DEFAULT_MAX_DRAINS)]
    max_drains: NonZeroUsize,
    /// How many MiB of memory the newest messages of all channels may take; what was not used for longest is read
    /// back from the disk when it is asked for. 0 keeps no history at all
    #[arg(long, env = "LOGPLEX_HISTORY_MEMORY", value_name = "MIB", default_value_t = HISTORY_MEMORY_MIB,
        value_parser = clap::value_parser!(u32).range(0..=1024 * 1024))]
    history_memory: u32,
    /// How many MiB of them are kept on the disk; beyond, the channels that were not written to for longest lose
    /// theirs. Files may take more for a while
    #[arg(long, env = "LOGPLEX_HISTORY_DISK", value_name = "MIB", default_value_t = HISTORY_DISK_MIB)]
    history_disk: u32,
    /// How many threads do the work; half as many as there are cores if absent
    #[arg(long, env = "LOGPLEX_WORKERS", value_name = "N")]
    workers: Option<NonZeroUsize>,
    /// How many seconds a stop may take to send what is held
    #[arg(long, env = "LOGPLEX_GRACE", value_name = "SECONDS", default_value_t = 10)]
    grace: u16,
}

fn named_file(text: &str) -> Result<(String, PathBuf), &'static str> {
    let (name, file) = text.split_once('=').unwrap_or_default();
    if name.is_empty() || file.is_empty() || !is_name(name) {
        return Err("write NAME=FILE, the name of letters, digits, -, _ and .");
    }
    Ok((name.to_owned(), file.into()))
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
        let variable = std::env::var(API_KEY_VARIABLE).ok();
        let mut syslog = Vec::new();
        for listen in &args.syslog_listen {
            syslog.push(SyslogConfig::new(listen, None)?);
        }
        if !args.syslog_tls_listen.is_empty() {
            let (Some(certificate), Some(key)) = (&args.tls_cert, &args.tls_key) else {
                bail!("--syslog-tls-listen needs --tls-cert and --tls-key");
            };
            let tls = server_tls(certificate, key)?;
            for listen in &args.syslog_tls_listen {
                syslog.push(SyslogConfig::new(listen, Some(tls.clone()))?);
            }
        }
        Ok(Config {
            listen: args.listen,
            data_dir: args.data_dir,
            public_url: args.public_url.as_deref().map(|url| base_url("--public-url", url)).transpose()?,
            api_key: Secret::from_variable_or_file(variable, args.api_key_file.as_ref())?,
            allow_private_drains: args.allow_private_drains,
            drain_cas: args.drain_ca,
            probe_after: Duration::from_secs(args.probe_after.into()),
            channel_rate: args.channel_rate,
            max_drains: args.max_drains,
            syslog,
            syslog_idle: Duration::from_secs(args.syslog_idle.get().into()),
            grace: Duration::from_secs(args.grace.into()),
            ring: RingLimits::default(),
            history: ShelfLimits::mebibytes(args.history_memory, args.history_disk),
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn a_bundle_has_a_name_and_a_file() {
        let named = super::named_file("internal-2=/etc/a=b.pem").unwrap();
        assert_eq!(named, ("internal-2".to_owned(), "/etc/a=b.pem".into()));
        for wrong in ["", "internal", "=file", "internal=", "in ternal=file", "a,b=file"] {
            assert!(super::named_file(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
