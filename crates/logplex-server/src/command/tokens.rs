//! `logplex tokens`.

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::table::table;
use super::{Common, EXIT_CODES, Session, counted, list, path, shortened, text};

const EXAMPLES: &str = "\
Examples:
  logplex tokens add my-app worker
  logplex tokens rotate my-app app              # both work for a day: give the apps the new one
  logplex tokens rm my-app app --old            # the old one ends now
  logplex tokens ls my-app --reveal";

#[derive(Args, Debug)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(crate) struct TokensArgs {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List a channel's tokens and what they brought
    Ls {
        /// The channel's id
        channel: String,
    },
    /// Make a token, and show it
    Add {
        /// The channel's id
        channel: String,
        /// The token's name, by which its lines and counts are told from others'
        name: String,
    },
    /// Remove a token: what is sent with it is refused from then on
    Rm {
        /// The channel's id
        channel: String,
        /// The token's name
        name: String,
        /// Only what `rotate` left valid
        #[arg(long)]
        old: bool,
    },
    /// Make a new token of this name, and show it; the old one stays valid for a while, and both count as one
    Rotate {
        /// The channel's id
        channel: String,
        /// The token's name
        name: String,
        /// For how many seconds the old one stays valid; a day if absent
        #[arg(long, value_name = "SECONDS")]
        grace: Option<u32>,
    },
}

pub(crate) async fn run(args: &TokensArgs) -> anyhow::Result<()> {
    let session = args.common.session()?;
    match &args.command {
        Command::Ls { channel } => {
            let tokens = Tokens::read(&session, channel).await?;
            if tokens.tokens.is_empty() && !session.json {
                session.say(&format!("no tokens yet; make one with `logplex tokens add {channel} NAME`"));
                return Ok(());
            }
            session.show(&tokens.json(&session), || tokens.table(&session))
        }
        Command::Add { channel, name } => add(&session, channel, name).await,
        Command::Rm { channel, name, old } => rm(&session, channel, name, *old).await,
        Command::Rotate { channel, name, grace } => rotate(&session, channel, name, *grace).await,
    }
}

/// A channel's tokens with what was counted for each name.
#[derive(Debug)]
pub(super) struct Tokens {
    tokens: Vec<Value>,
    /// The channel's ledgers, drains' and tails' included.
    pub(super) stats: Value,
}

impl Tokens {
    pub(super) async fn read(session: &Session, channel: &str) -> anyhow::Result<Tokens> {
        let context = || format!("cannot read the channel {channel}");
        let listed = session.api.get(&path(&[channel, "tokens"])).await.with_context(context)?;
        let stats = session.api.get(&path(&[channel, "stats"])).await.with_context(context)?;
        Ok(Tokens { tokens: list(&listed["tokens"]).to_vec(), stats })
    }

    /// What was counted for a token's name; it is shown with the one in use, not with those it replaced.
    fn counts(&self, token: &Value) -> Option<&Value> {
        let counted = list(&self.stats["tokens"]).iter().find(|counts| counts["name"] == token["name"])?;
        token["valid_until"].is_null().then_some(counted)
    }

    pub(super) fn json(&self, session: &Session) -> Value {
        let shown = self.tokens.iter().map(|token| {
            let mut shown = token.clone();
            shown["token"] = shortened(token["token"].as_str().unwrap_or_default(), session.reveal).into();
            for key in ["accepted", "repeated", "rejected_requests"] {
                if let Some(counts) = self.counts(token) {
                    shown[key] = counts[key].clone();
                }
            }
            shown
        });
        shown.collect()
    }

    pub(super) fn table(&self, session: &Session) -> String {
        let row = |token: &Value| {
            let count = |key: &str| self.counts(token).map_or("-".to_owned(), |counts| text(&counts[key]));
            let until = token["valid_until"].as_str().map(|until| format!("until {until}"));
            vec![
                text(&token["name"]),
                shortened(&text(&token["token"]), session.reveal),
                count("accepted"),
                count("repeated"),
                count("rejected_requests"),
                until.unwrap_or_default(),
            ]
        };
        let rows: Vec<Vec<String>> = self.tokens.iter().map(row).collect();
        table(&["TOKEN", "SECRET", "ACCEPTED", "REPEATED", "REFUSED", "VALID"], &rows)
    }
}

async fn add(session: &Session, channel: &str, name: &str) -> anyhow::Result<()> {
    let made = session.api.post(&path(&[channel, "tokens"]), &json!({ "name": name })).await;
    let made = made.with_context(|| format!("cannot add a token to the channel {channel}"))?;
    let token = text(&made["token"]);
    session.show(&made, || format!("{token}\n"))?;
    session.say(&format!("made the token {name} of the channel {channel}"));
    say_how_to_ship(session, &token);
    Ok(())
}

async fn rm(session: &Session, channel: &str, name: &str, old: bool) -> anyhow::Result<()> {
    let mut segments = vec![channel, "tokens", name];
    if old {
        segments.push("old");
    }
    let what = if old { "the old token" } else { "the token" };
    let removed = session.api.delete(&path(&segments)).await;
    let removed = removed.with_context(|| format!("cannot remove {what} {name} of the channel {channel}"))?;
    session.show(&removed, || {
        let secrets = counted(removed["removed"].as_u64().unwrap_or(0) as usize, "secret");
        format!("removed {what} {name} of the channel {channel}: {secrets}\n")
    })
}

async fn rotate(session: &Session, channel: &str, name: &str, grace: Option<u32>) -> anyhow::Result<()> {
    let rotated =
        session.api.post(&path(&[channel, "tokens", name, "rotate"]), &json!({ "grace": grace })).await;
    let rotated =
        rotated.with_context(|| format!("cannot rotate the token {name} of the channel {channel}"))?;
    let token = text(&rotated["token"]);
    session.show(&rotated, || format!("{token}\n"))?;
    let until = text(&rotated["old_valid_until"]);
    session.say(&format!(
        "the old token stays valid until {until}; `logplex tokens rm {channel} {name} --old` ends it before"
    ));
    say_how_to_ship(session, &token);
    Ok(())
}

/// Names what an app needs; only where a person reads it, who has just been shown the token.
pub(super) fn say_how_to_ship(session: &Session, token: &str) {
    if session.json {
        return;
    }
    let base = session.api.base();
    let (scheme, rest) = base.split_once("://").unwrap_or(("http", base));
    session.say(&format!("an app ships with LOGS_URL={scheme}://token:{token}@{rest}/logs"));
}
