//! `logplex channels`.

use clap::{Args, Subcommand};
use http::StatusCode;
use serde_json::{Value, json};

use super::table::table;
use super::{Common, EXIT_CODES, Session, counted, drains, list, path, text, tokens};
use crate::client::Refused;
use crate::http::encode_segment;

/// The token that a new channel gets unless others are named.
const DEFAULT_TOKEN: &str = "app";

/// How many error codes are shown of a channel: those that came last.
const CODES: usize = 10;

const EXAMPLES: &str = "\
Examples:
  logplex channels add my-app
  logplex channels add my-app --token web --token worker
  logplex channels ls --json
  logplex channels show my-app";

#[derive(Args, Debug)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(crate) struct ChannelsArgs {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List all channels
    Ls,
    /// Make a channel with its tokens, and show these
    Add {
        /// The channel's id: up to 200 printable ASCII characters without blanks
        channel: String,
        /// The name of a token to make, such as the name of a process type; may be repeated
        #[arg(long = "token", value_name = "NAME", default_value = DEFAULT_TOKEN)]
        tokens: Vec<String>,
    },
    /// Remove a channel with its tokens and drains
    Rm {
        /// The channel's id
        channel: String,
    },
    /// Show a channel's tokens, drains, error codes and counts
    Show {
        /// The channel's id
        channel: String,
    },
}

pub(crate) async fn run(args: &ChannelsArgs) -> anyhow::Result<()> {
    let session = args.common.session()?;
    match &args.command {
        Command::Ls => ls(&session).await,
        Command::Add { channel, tokens } => add(&session, channel, tokens).await,
        Command::Rm { channel } => rm(&session, channel).await,
        Command::Show { channel } => show(&session, channel).await,
    }
}

async fn ls(session: &Session) -> anyhow::Result<()> {
    let mut channels: Vec<Value> = Vec::new();
    let mut query = String::new();
    loop {
        let page = session.api.get(&format!("{}{query}", path(&[]))).await?;
        channels.extend_from_slice(list(&page["channels"]));
        let Some(next) = page["next"].as_str() else { break };
        query = format!("?after={}", encode_segment(next));
    }
    if channels.is_empty() && !session.json {
        session.say("no channels yet; make one with `logplex channels add NAME`");
        return Ok(());
    }
    let row = |channel: &Value| ["channel", "tokens", "drains"].map(|key| text(&channel[key])).to_vec();
    let rows: Vec<Vec<String>> = channels.iter().map(row).collect();
    session.show(&Value::Array(channels), || table(&["CHANNEL", "TOKENS", "DRAINS"], &rows))
}

async fn add(session: &Session, channel: &str, names: &[String]) -> anyhow::Result<()> {
    let made = session.api.put_new(&path(&[channel]), &json!({ "tokens": names })).await;
    let made = made.map_err(|error| match error.downcast_ref::<Refused>() {
        Some(refused) if refused.status == StatusCode::PRECONDITION_FAILED => {
            anyhow::anyhow!(
                "the channel {channel} exists; `logplex tokens add {channel} NAME` gives it more tokens"
            )
        }
        _ => error.context(format!("cannot make the channel {channel}")),
    })?;
    let tokens: Vec<(&String, &Value)> =
        made["tokens"].as_object().map(|tokens| tokens.iter().collect()).unwrap_or_default();
    let rows: Vec<Vec<String>> =
        tokens.iter().map(|(name, token)| vec![text(&Value::from(name.as_str())), text(token)]).collect();
    session.show(&made, || table(&["TOKEN", "SECRET"], &rows))?;
    session.say(&format!("made the channel {channel} with {}", counted(tokens.len(), "token")));
    if let Some(token) = tokens.first().and_then(|(_, token)| token.as_str()) {
        tokens::say_how_to_ship(session, token);
    }
    Ok(())
}

async fn rm(session: &Session, channel: &str) -> anyhow::Result<()> {
    let context = || format!("cannot remove the channel {channel}");
    let before = session.api.get(&path(&[channel])).await.map_err(|error| error.context(context()))?;
    session.api.delete(&path(&[channel])).await.map_err(|error| error.context(context()))?;
    let tokens = before["tokens"].as_object().map_or(0, serde_json::Map::len);
    let drains = list(&before["drains"]).len();
    let json = json!({ "channel": channel, "removed": true, "tokens": tokens, "drains": drains });
    session.show(&json, || {
        let (tokens, drains) = (counted(tokens, "token"), counted(drains, "drain"));
        format!("removed the channel {channel} with {tokens} and {drains}\n")
    })
}

async fn show(session: &Session, channel: &str) -> anyhow::Result<()> {
    let tokens = tokens::Tokens::read(session, channel).await?;
    let drains = drains::Drains::read(session, channel).await?;
    let codes = session.api.get(&path(&[channel, "codes"])).await?;
    let codes = &codes["codes"];
    let tails = &tokens.stats["tails"];
    let json = json!({
        "channel": channel,
        "tokens": tokens.json(session),
        "drains": drains.json(),
        "tails": tails,
        "codes": codes,
    });
    session.show(&json, || {
        let mut shown = tokens.table(session) + "\n";
        if !drains.is_empty() {
            shown = shown + &drains.table() + "\n";
        }
        let row = |code: &Value| {
            ["code", "severity", "count", "last_at", "title"].map(|key| text(&code[key])).to_vec()
        };
        let codes: Vec<Vec<String>> = list(codes).iter().take(CODES).map(row).collect();
        if !codes.is_empty() {
            shown = shown + &table(&["CODE", "SEVERITY", "COUNT", "LAST", "TITLE"], &codes) + "\n";
        }
        let delivered = text(&tails["delivered"]);
        let open = counted(tails["open"].as_u64().unwrap_or(0) as usize, "tail");
        shown + &format!("{open} open, {delivered} messages delivered to tails\n")
    })
}
