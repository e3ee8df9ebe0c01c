//! What was typed: the original's flags, with one dash or two, and ours.

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::ArgAction::Set;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::{argv, duration};

/// Ships an app's lines to a log router, in order, and says in the log itself what it could not ship.
///
/// Reads lines from stdin (`app | log-shuttle`), or runs the app and reads its output (`log-shuttle run --
/// app`). Lines wait in a bounded queue; when it is full the oldest are dropped and the log says how many:
/// `Error L12: 222 messages dropped since …`.
///
/// Flags may have one dash or two. Durations: 250ms, 5s, 1m30s.
#[derive(Debug, Parser)]
#[command(
    name = "log-shuttle",
    version,
    args_override_self = true,
    disable_help_subcommand = true,
    after_help = AFTER_HELP,
    max_term_width = 110
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) destination: Destination,
    #[command(flatten)]
    pub(crate) input: Input,
    #[command(flatten)]
    pub(crate) header: Header,
    #[command(flatten)]
    pub(crate) queue: Queue,
    #[command(flatten)]
    pub(crate) delivery: Delivery,
    #[command(flatten)]
    pub(crate) diagnostics: Diagnostics,
    #[command(flatten)]
    pub(crate) compatibility: Compatibility,
    #[command(subcommand)]
    pub(crate) command: Option<Mode>,
}

const AFTER_HELP: &str = "\
What an answer means:
  2xx                                  delivered
  408, 425, 429, 5xx                   tried again, Retry-After obeyed (up to 30s)
  no connection, no answer, timeout    tried again
  413                                  cut in two and sent in halves; a single line is lost
  3xx, other 4xx                       lost; a redirect is not followed
Without --max-attempts a request is tried again for a minute, with pauses that grow
to 5s; meanwhile lines queue. What is lost is told in the log as
`Error L13: 111 messages lost since …`.

Environment: LOGS_URL, LOGPLEX_URL (deprecated), LOG_SHUTTLE_BEARER_TOKEN, LOG_SHUTTLE_CA_FILE;
http_proxy, https_proxy, all_proxy, no_proxy, also in upper case.

Exit codes:
  0    done
  1    failed
  2    wrong usage
  3    lines were dropped or lost, with --fail-on-loss
`run` exits with the command's code, 128 + n if signal n ended it, 126 or 127 if it
could not be started.";

/// What to read.
#[derive(Debug, Subcommand)]
pub(crate) enum Mode {
    /// Run a command and ship its output; signals are passed on, its exit code is returned
    Run {
        /// The command and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
}

/// How lines come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum InputFormat {
    /// Lines of text; each gets a header
    Raw,
    /// Lines that begin with an RFC 5424 header
    Rfc5424,
    /// Octet-counted RFC 5424 frames
    Lprfc5424,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Destination")]
pub(crate) struct Destination {
    /// Where to post: http(s)://USER:PASSWORD@HOST/PATH; prefer LOGS_URL or the file, for arguments are
    /// public
    #[arg(long, value_name = "URL")]
    pub(crate) logs_url: Option<String>,
    /// Read the URL from this file
    #[arg(long, value_name = "PATH")]
    pub(crate) logs_url_file: Option<PathBuf>,
    /// Send `Authorization: Bearer` instead of basic; prefer LOG_SHUTTLE_BEARER_TOKEN or the file
    #[arg(long, value_name = "TOKEN")]
    pub(crate) bearer_token: Option<String>,
    /// Read the bearer token from this file
    #[arg(long, value_name = "PATH")]
    pub(crate) bearer_token_file: Option<PathBuf>,
    /// Trust the certificates in this PEM file besides the system's [env: LOG_SHUTTLE_CA_FILE]
    #[arg(long, value_name = "PATH")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Accept any TLS certificate; whoever sits between can read and forge
    #[arg(long, value_name = "BOOL", action = Set, value_parser = go_bool, default_value = "false")]
    pub(crate) skip_verify: bool,
    /// Compress requests
    #[arg(long, value_name = "BOOL", action = Set, value_parser = go_bool, default_value = "false")]
    pub(crate) gzip: bool,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Input")]
pub(crate) struct Input {
    /// How lines come in
    #[arg(long, value_name = "FORMAT", default_value = "raw")]
    pub(crate) input_format: InputFormat,
    /// Cut longer lines into several, on a character's boundary; 4 to 64000 bytes
    #[arg(long, value_name = "BYTES", default_value_t = 10_000, value_parser = number::<4, 64_000>)]
    pub(crate) max_line_length: u32,
    /// Pass what is read on to stdout (and with --split stderr); who reads it slowly slows the app
    #[arg(long, value_name = "BOOL", action = Set, value_parser = go_bool, default_value = "false")]
    pub(crate) tee: bool,
    /// With `run`: keep stdout and stderr apart, stderr with severity err; their order is then not exact
    #[arg(long, value_name = "BOOL", action = Set, value_parser = go_bool, default_value = "false")]
    pub(crate) split: bool,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Header")]
pub(crate) struct Header {
    /// APP-NAME of every line, and the password if the URL has none [alias: --logplex-token]
    #[arg(long, alias = "logplex-token", value_name = "NAME", default_value = "token")]
    pub(crate) appname: String,
    /// PROCID of every line
    #[arg(long, value_name = "ID", default_value = "shuttle")]
    pub(crate) procid: String,
    /// HOSTNAME of every line
    #[arg(long, value_name = "NAME", default_value = "shuttle")]
    pub(crate) hostname: String,
    /// PRI of every line, facility × 8 + severity; 0 to 191
    #[arg(long, value_name = "NUMBER", default_value_t = 190, value_parser = number::<0, 191>)]
    pub(crate) prival: u32,
    /// MSGID and structured data of every line
    #[arg(long, value_name = "TEXT", default_value = "- -")]
    pub(crate) msgid: String,
    /// The header's version; there is only 1
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = number::<1, 1>)]
    pub(crate) syslog_version: u32,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Queue")]
pub(crate) struct Queue {
    /// The most lines that wait, besides those of the request under way; also at most 16 MiB [default: 25000]
    #[arg(long, value_name = "LINES", value_parser = number::<1, 100_000_000>)]
    pub(crate) ring: Option<u32>,
    /// When the queue is full drop the oldest lines; with =false stop reading instead, so that the app waits
    #[arg(long, value_name = "BOOL", action = Set, value_parser = go_bool, default_value = "true")]
    pub(crate) drop: bool,
    /// The most lines in one request [default: 500; it ends at 1,000,000 bytes too]
    #[arg(long, value_name = "LINES", value_parser = number::<1, 1_000_000>)]
    pub(crate) batch_size: Option<u32>,
    /// How long a line may wait for others to share its request; a lone line does not wait
    #[arg(long, value_name = "DURATION", default_value = "5ms", value_parser = duration::parse)]
    pub(crate) wait: Duration,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Delivery")]
pub(crate) struct Delivery {
    /// Give a request up after this many attempts [default: after a minute]
    #[arg(long, value_name = "NUMBER", value_parser = at_least_one)]
    pub(crate) max_attempts: Option<NonZeroU32>,
    /// The longest that an attempt may take, connecting included; 0: an hour
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration::parse)]
    pub(crate) timeout: Duration,
    /// At the end of input, SIGTERM or SIGINT: how long to go on shipping what waits
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration::parse)]
    pub(crate) grace: Duration,
    /// Exit with 3 if a line was dropped or lost
    #[arg(long, value_name = "BOOL", action = Set, value_parser = go_bool, default_value = "false")]
    pub(crate) fail_on_loss: bool,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Diagnostics (on stderr)")]
pub(crate) struct Diagnostics {
    /// Print counts to stderr this often, and at the end; 0: never
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = duration::parse)]
    pub(crate) stats_interval: Duration,
    /// Adds `source=TEXT` to the counts
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) stats_source: String,
    /// Print a line for every request, and the counts at the end
    #[arg(long, value_name = "BOOL", action = Set, value_parser = go_bool, default_value = "false")]
    pub(crate) verbose: bool,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Kept for those who come from the original")]
pub(crate) struct Compatibility {
    /// Queue depth in batches: stands for --ring with this times the batch size (500 if not given)
    #[arg(long, value_name = "BATCHES", value_parser = number::<1, 1_000_000>)]
    pub(crate) back_buff: Option<u32>,
    /// Without effect: one request is under way at a time, so that order is kept
    #[arg(long, value_name = "NUMBER", default_value_t = 1, hide_default_value = true, value_parser = number::<0, 1_000_000>)]
    pub(crate) num_outlets: u32,
    /// Same as --input-format=rfc5424
    #[arg(long, value_name = "BOOL", action = Set, value_parser = go_bool, default_value = "false")]
    pub(crate) skip_headers: bool,
    /// Without effect: diagnostics go to stderr
    #[arg(long, value_name = "BOOL", action = Set, value_parser = go_bool, default_value = "false")]
    pub(crate) log_to_syslog: bool,
    /// Without effect: there is no Kinesis output
    #[arg(long, value_name = "NUMBER", default_value_t = 1, hide_default_value = true, value_parser = number::<0, 1_000_000>)]
    pub(crate) kinesis_shards: u32,
    /// Without effect, as in the original
    #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true, value_parser = number::<0, 1_000_000>)]
    pub(crate) front_buff: u32,
    /// Without effect, as in the original
    #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true, value_parser = number::<0, 1_000_000>)]
    pub(crate) num_batchers: u32,
    /// Without effect, as in the original
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) stats_addr: String,
}

/// Booleans as Go reads them.
fn go_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

/// A whole number from `LEAST` to `MOST`.
fn number<const LEAST: u32, const MOST: u32>(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (LEAST..=MOST).contains(number));
    number.ok_or_else(|| format!("expected a whole number from {LEAST} to {MOST}"))
}

fn at_least_one(text: &str) -> Result<NonZeroU32, String> {
    text.parse().map_err(|_| "expected a whole number of at least 1".to_owned())
}

/// The command as clap knows it.
pub(crate) fn command() -> Command {
    Args::command().mut_args(|arg| match argv::takes_bool(&arg) {
        true => {
            arg.num_args(0..=1).require_equals(true).default_missing_value("true").hide_default_value(true)
        }
        false => arg,
    })
}

impl Args {
    /// Reads arguments; help is an error too, as in clap.
    pub(crate) fn read(argv: impl IntoIterator<Item = OsString>) -> Result<Args, clap::Error> {
        let mut command = command();
        let argv = argv::normalise(&command, argv)
            .map_err(|misplaced| command.error(ErrorKind::UnknownArgument, misplaced))?;
        let matches = command.try_get_matches_from_mut(argv).map_err(without_url)?;
        Args::from_arg_matches(&matches)
    }
}

/// Hides a value that may be a URL with a password, as when `--ring --logs-url=URL` lacks a number.
fn without_url(mut error: clap::Error) -> clap::Error {
    let value = error.get(ContextKind::InvalidValue);
    if matches!(value, Some(ContextValue::String(value)) if argv::may_be_url(value)) {
        let hidden = ContextValue::String("(not shown, it may hold a secret)".to_owned());
        error.insert(ContextKind::InvalidValue, hidden);
    }
    error
}

#[cfg(test)]
mod tests;
