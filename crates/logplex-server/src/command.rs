//! The commands that manage a running server: clients of its API, with a table or JSON on stdout and words on
//! stderr.
//!
//! Secrets are shortened in what they show: the tokens of apps, and of a drain's URL all that may be one. What was
//! made just now is shown in full, and the rest with `--reveal`.

use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde_json::Value;

use crate::client::{ApiClient, Refused};
use crate::config::Secret;
use crate::follow::{escape, escape_json};
use crate::http::encode_segment;

pub(crate) mod channels;
pub(crate) mod drains;
pub(crate) mod explain;
mod table;
pub(crate) mod tokens;
pub(crate) mod top;

/// The exit code where what was named is not there.
const NOT_THERE: u8 = 3;

/// What the help of each of these commands closes with.
pub(crate) const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed or refused, 2 wrong usage, 3 no such channel, token or drain.";

/// Which server, and with what key.
#[derive(Args, Debug)]
pub(crate) struct ApiArgs {
    /// The server
    #[arg(
        long,
        env = "LOGPLEX_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:8601",
        global = true
    )]
    pub(crate) url: String,
    /// A file with the API key; LOGPLEX_API_KEY may hold the key itself
    #[arg(long, env = "LOGPLEX_API_KEY_FILE", value_name = "FILE", global = true)]
    pub(crate) api_key_file: Option<PathBuf>,
}

impl ApiArgs {
    /// A client of the server. `key` is what `LOGPLEX_API_KEY` holds.
    pub(crate) fn client(&self, key: Option<String>) -> anyhow::Result<ApiClient> {
        let key = Secret::from_variable_or_file(key, self.api_key_file.as_ref())?.context(
            "no API key: set LOGPLEX_API_KEY to the one the server showed at its first start, or \
             LOGPLEX_API_KEY_FILE to a file that holds it",
        )?;
        ApiClient::new(&self.url, key)
    }
}

/// What every command that manages takes.
#[derive(Args, Debug)]
pub(crate) struct Common {
    #[command(flatten)]
    api: ApiArgs,
    /// Write JSON
    #[arg(long, global = true)]
    json: bool,
    /// Show tokens and drain URLs in full
    #[arg(long, alias = "show-url", global = true)]
    reveal: bool,
}

impl Common {
    fn session(&self) -> anyhow::Result<Session> {
        let api = self.api.client(std::env::var("LOGPLEX_API_KEY").ok())?;
        Ok(Session { api, json: self.json, reveal: self.reveal })
    }
}

/// A server, and how to show what it says.
#[derive(Debug)]
struct Session {
    api: ApiClient,
    json: bool,
    reveal: bool,
}

impl Session {
    /// Writes JSON if that was asked for, else the text.
    fn show(&self, json: &Value, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        if !self.json {
            return print(&text());
        }
        let mut safe = String::new();
        escape_json(&format!("{json:#}"), &mut safe);
        print(&(safe + "\n"))
    }

    /// A word on what happened, apart from the data.
    fn say(&self, text: &str) {
        eprintln!("logplex: {text}");
    }
}

/// What a failed command ends with: the error is told by the caller.
pub(crate) fn exit_code(error: &anyhow::Error) -> ExitCode {
    match error.downcast_ref::<Refused>() {
        Some(refused) if refused.is_not_there() => ExitCode::from(NOT_THERE),
        _ => ExitCode::FAILURE,
    }
}

/// `/v3/channels/…`, each segment as a path needs it.
fn path(segments: &[&str]) -> String {
    let encoded = segments.iter().map(|segment| format!("/{}", encode_segment(segment)));
    encoded.fold("/v3/channels".to_owned(), |path, segment| path + &segment)
}

/// Writes to stdout. That nobody reads it any more is a quiet end.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write"),
        _ => Ok(()),
    }
}

/// The text of a member, empty if there is none; nothing in it is obeyed by a terminal.
fn text(value: &Value) -> String {
    let mut safe = String::new();
    match value {
        Value::Null => {}
        Value::String(text) => escape(text, &mut safe),
        other => escape(&other.to_string(), &mut safe),
    }
    safe
}

/// The members of a list, none if it is no list.
fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A token as it may be shown: enough to tell it from others.
fn shortened(token: &str, reveal: bool) -> String {
    const KEPT: usize = "t.".len() + 6;
    match token.char_indices().nth(KEPT) {
        Some((end, _)) if !reveal => format!("{}…", &token[..end]),
        _ => token.to_owned(),
    }
}

/// `1 drain`, `2 drains`.
fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_shortened_to_what_tells_it_from_others() {
        let token = "t.3f1c2d4e-0000-4000-8000-000000000000";
        assert_eq!(shortened(token, false), "t.3f1c2d…");
        assert_eq!(shortened(token, true), token);
        assert_eq!(shortened("t.ü", false), "t.ü");
    }

    #[test]
    fn paths_hold_names_as_they_are() {
        assert_eq!(path(&[]), "/v3/channels");
        assert_eq!(path(&["a/b", "tokens", ".."]), "/v3/channels/a%2Fb/tokens/%2E%2E");
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        assert_eq!(text(&Value::from("a\x1b[31m\u{202e}\n")), "a\\x1b[31m\\u{202e}\\n");
        assert_eq!((text(&Value::Null), text(&Value::from(7))), (String::new(), "7".to_owned()));
    }
}
