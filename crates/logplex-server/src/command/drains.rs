//! `logplex drains`.

use std::io::{self, BufRead, Read};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use http::StatusCode;
use serde_json::{Value, json};
use url::Url;

use super::table::{facts, table};
use super::{Common, EXIT_CODES, Session, list, path, text};
use crate::client::Refused;

/// The longest URL that is read from stdin.
const URL_MAX: u64 = 16 * 1024;

const EXAMPLES: &str = "\
Examples:
  logplex drains add my-app https://logs.example.com/in
  logplex drains add my-app - < url-with-a-password       # does not show in the list of processes
  logplex drains ls my-app
  logplex drains status my-app 1
  logplex drains set my-app 1 'https://logs.example.com/in#insecure'";

#[derive(Args, Debug)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(crate) struct DrainsArgs {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List a channel's drains and their counts
    Ls {
        /// The channel's id
        channel: String,
    },
    /// Add a drain
    Add {
        /// The channel's id
        channel: String,
        /// Where it sends, with options in the fragment; - reads it from stdin, so that a password in it does not
        /// show in the list of processes
        #[arg(value_name = "URL")]
        to: String,
        /// Do not try out first whether it can be reached
        #[arg(long)]
        no_verify: bool,
    },
    /// Remove a drain; it sends what it holds for a short time
    Rm {
        #[command(flatten)]
        drain: DrainArgs,
    },
    /// Send to another place from now on; what is held goes there
    Set {
        #[command(flatten)]
        drain: DrainArgs,
        /// Where it sends, with options in the fragment; - reads it from stdin
        // No option of that name: --url is the server, which gets the API key.
        #[arg(value_name = "URL")]
        to: String,
    },
    /// Send nothing until `resume`; the newest messages are held, what is dropped is told
    Pause {
        #[command(flatten)]
        drain: DrainArgs,
    },
    /// Send again, after `pause` or where the drain was set aside because it was refused
    Resume {
        #[command(flatten)]
        drain: DrainArgs,
    },
    /// Show a drain's state, its last answer and its counts
    Status {
        #[command(flatten)]
        drain: DrainArgs,
    },
    /// Try out whether a drain can be reached, and show each step
    Test {
        #[command(flatten)]
        drain: DrainArgs,
    },
}

#[derive(Args, Debug)]
struct DrainArgs {
    /// The channel's id
    channel: String,
    /// Its number, or its token as notices name it (d.…)
    drain: String,
}

impl DrainArgs {
    /// The drain's number.
    async fn id(&self, session: &Session) -> anyhow::Result<String> {
        if !self.drain.starts_with("d.") {
            return Ok(self.drain.clone());
        }
        let channel = session.api.get(&path(&[&self.channel])).await;
        let channel = channel.with_context(|| format!("cannot read the channel {}", self.channel))?;
        let same = |drain: &&Value| drain["token"] == self.drain.as_str();
        match list(&channel["drains"]).iter().find(same) {
            Some(drain) => Ok(text(&drain["id"])),
            None => {
                let problem = format!("the channel {} has no drain {}", self.channel, self.drain);
                bail!(Refused { status: StatusCode::NOT_FOUND, problem, answer: Value::Null })
            }
        }
    }

    async fn path(&self, session: &Session, rest: &[&str]) -> anyhow::Result<String> {
        let id = self.id(session).await?;
        Ok(path(&[&[self.channel.as_str(), "drains", &id], rest].concat()))
    }

    fn failed(&self, what: &str) -> String {
        format!("cannot {what} the drain {} of the channel {}", self.drain, self.channel)
    }
}

pub(crate) async fn run(args: &DrainsArgs) -> anyhow::Result<()> {
    let session = args.common.session()?;
    match &args.command {
        Command::Ls { channel } => ls(&session, channel).await,
        Command::Add { channel, to, no_verify } => add(&session, channel, to, *no_verify).await,
        Command::Rm { drain } => rm(&session, drain).await,
        Command::Set { drain, to } => set(&session, drain, to).await,
        Command::Pause { drain } => post(&session, drain, "pause").await,
        Command::Resume { drain } => post(&session, drain, "resume").await,
        Command::Status { drain } => {
            let path = drain.path(&session, &[]).await?;
            let status = session.api.get(&path).await.with_context(|| drain.failed("read"))?;
            show_status(&session, &status)
        }
        Command::Test { drain } => test(&session, drain).await,
    }
}

/// A channel's drains: what they were made with, and what is known of each.
#[derive(Debug)]
pub(super) struct Drains(Vec<Value>);

impl Drains {
    pub(super) async fn read(session: &Session, channel: &str) -> anyhow::Result<Drains> {
        let context = || format!("cannot read the channel {channel}");
        let record = session.api.get(&path(&[channel])).await.with_context(context)?;
        let known = session.api.get(&path(&[channel, "drains"])).await.with_context(context)?;
        let with_url = |drain: &Value| {
            let mut drain = drain.clone();
            let made = list(&record["drains"]).iter().find(|made| made["id"] == drain["id"]);
            if let Some(url) = made.and_then(|made| made["url"].as_str()) {
                drain["url"] = if session.reveal { url.into() } else { redacted(url).into() };
            }
            drain
        };
        Ok(Drains(list(&known).iter().map(with_url).collect()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn json(&self) -> Value {
        self.0.iter().cloned().collect()
    }

    pub(super) fn table(&self) -> String {
        let row = |drain: &Value| {
            vec![
                text(&drain["id"]),
                text(&drain["token"]),
                text(&drain["state"]),
                text(&drain["delivered"]),
                sum(&drain["dropped"]).to_string(),
                sum(&drain["lost"]).to_string(),
                text(&drain["held"]),
                text(&drain["url"]),
            ]
        };
        let rows: Vec<Vec<String>> = self.0.iter().map(row).collect();
        table(&["DRAIN", "TOKEN", "STATE", "DELIVERED", "DROPPED", "LOST", "HELD", "URL"], &rows)
    }
}

async fn ls(session: &Session, channel: &str) -> anyhow::Result<()> {
    let drains = Drains::read(session, channel).await?;
    if drains.is_empty() && !session.json {
        session.say(&format!("no drains yet; add one with `logplex drains add {channel} URL`"));
        return Ok(());
    }
    session.show(&drains.json(), || drains.table())
}

async fn add(session: &Session, channel: &str, to: &str, no_verify: bool) -> anyhow::Result<()> {
    let mut body = json!({ "url": given_url(to)? });
    if !no_verify {
        body["verify"] = true.into();
    }
    let added = match session.api.post(&path(&[channel, "drains"]), &body).await {
        Ok(added) => added,
        Err(error) => {
            if let Some(refused) = error.downcast_ref::<Refused>().filter(|_| !session.json) {
                eprint!("{}", report(&refused.answer["report"]));
            }
            return Err(error.context(format!("cannot add a drain to the channel {channel}")));
        }
    };
    let shown = shown(session, &added);
    session.show(&shown, || {
        let (id, token, url) = (text(&shown["id"]), text(&shown["token"]), text(&shown["url"]));
        format!(
            "{}added the drain {id} ({token}) to the channel {channel}: {url}\n",
            report(&added["report"])
        )
    })
}

async fn rm(session: &Session, drain: &DrainArgs) -> anyhow::Result<()> {
    let id = drain.id(session).await?;
    let channel = session.api.get(&path(&[&drain.channel])).await.with_context(|| drain.failed("remove"))?;
    let removed = path(&[&drain.channel, "drains", &id]);
    session.api.delete(&removed).await.with_context(|| drain.failed("remove"))?;
    // One that is only reserved is in no list.
    let before = list(&channel["drains"]).iter().find(|before| text(&before["id"]) == id);
    let mut shown = before.map_or_else(|| json!({ "id": id }), |before| shown(session, before));
    shown["removed"] = true.into();
    session.show(&shown, || match before {
        Some(_) => {
            let (token, url) = (text(&shown["token"]), text(&shown["url"]));
            format!("removed the drain {id} ({token}) of the channel {}: {url}\n", drain.channel)
        }
        None => format!("removed the drain {id} of the channel {}\n", drain.channel),
    })
}

async fn set(session: &Session, drain: &DrainArgs, to: &str) -> anyhow::Result<()> {
    let path = drain.path(session, &[]).await?;
    let body = json!({ "url": given_url(to)? });
    let changed = session.api.put(&path, &body).await.with_context(|| drain.failed("change"))?;
    let shown = shown(session, &changed);
    session.show(&shown, || {
        let url = text(&shown["url"]);
        format!("the drain {} of the channel {} sends to {url}\n", text(&shown["id"]), drain.channel)
    })
}

async fn post(session: &Session, drain: &DrainArgs, what: &str) -> anyhow::Result<()> {
    let path = drain.path(session, &[what]).await?;
    let status = session.api.post(&path, &json!({})).await.with_context(|| drain.failed(what))?;
    show_status(session, &status)
}

async fn test(session: &Session, drain: &DrainArgs) -> anyhow::Result<()> {
    let path = drain.path(session, &["test"]).await?;
    let answer = session.api.post(&path, &json!({})).await.with_context(|| drain.failed("test"))?;
    let result = if answer["report"].is_object() { &answer["report"] } else { &answer };
    session.show(&answer, || match list(&result["steps"]) {
        [] => format!("{result:#}\n"),
        _ => report(result),
    })?;
    match list(&result["steps"]).iter().find(|step| step["ok"] == false) {
        Some(failed) => {
            bail!("the drain {} cannot be reached: {} failed", drain.drain, text(&failed["step"]))
        }
        None => Ok(()),
    }
}

/// The URL that was given, or where that is `-`, the line on stdin.
fn given_url(given: &str) -> anyhow::Result<String> {
    if given != "-" {
        return Ok(given.to_owned());
    }
    let mut line = String::new();
    let read = io::stdin().lock().take(URL_MAX).read_line(&mut line);
    read.context("cannot read the URL from stdin")?;
    Ok(line.trim().to_owned())
}

/// An answer of the API as it may be shown.
fn shown(session: &Session, answer: &Value) -> Value {
    let mut shown = answer.clone();
    if let Some(url) = answer["url"].as_str().filter(|_| !session.reveal) {
        shown["url"] = redacted(url).into();
    }
    shown
}

fn show_status(session: &Session, status: &Value) -> anyhow::Result<()> {
    let shown = shown(session, status);
    session.show(&shown, || {
        let fact = |name| text(&shown[name]);
        let seconds = |name| Some(fact(name)).filter(|fact| !fact.is_empty()).map(|fact| fact + " s");
        facts(&[
            ("drain", fact("id")),
            ("token", fact("token")),
            ("url", fact("url")),
            ("options", list(&shown["options"]).iter().map(text).collect::<Vec<_>>().join(", ")),
            ("state", fact("state")),
            ("last status", fact("last_status")),
            ("last error", fact("last_error")),
            ("last attempt", fact("last_attempt_at")),
            ("last delivered", fact("last_delivered_at")),
            ("next try", fact("next_try_at")),
            ("accepted", fact("accepted")),
            ("delivered", fact("delivered")),
            ("dropped", by_reason(&shown["dropped"])),
            ("lost", by_reason(&shown["lost"])),
            ("held", fact("held")),
            ("oldest held", seconds("oldest_held_seconds").unwrap_or_default()),
        ])
    })
}

/// The steps of trying a drain out, a line each; empty if nothing was tried.
fn report(report: &Value) -> String {
    let steps = list(&report["steps"]);
    let row = |step: &Value| {
        let took = Some(text(&step["ms"])).filter(|ms| !ms.is_empty()).map(|ms| ms + " ms");
        let ok = if step["ok"] == true { "ok" } else { "failed" };
        vec![text(&step["step"]), ok.to_owned(), took.unwrap_or_default(), text(&step["detail"])]
    };
    if steps.is_empty() {
        return String::new();
    }
    table(&["STEP", "RESULT", "TIME", "DETAIL"], &steps.iter().map(row).collect::<Vec<_>>())
}

/// The sum of counts by reason.
fn sum(counts: &Value) -> u64 {
    counts.as_object().map_or(0, |counts| counts.values().filter_map(Value::as_u64).sum())
}

/// `7 (5 full, 2 stopped)`.
fn by_reason(counts: &Value) -> String {
    let reasons = |counts: &serde_json::Map<String, Value>| {
        let reason = |(reason, count): (&String, &Value)| format!("{} {}", text(count), reason);
        counts.iter().map(reason).collect::<Vec<_>>().join(", ")
    };
    match counts.as_object() {
        None => String::new(),
        Some(counts) if counts.is_empty() => "0".to_owned(),
        Some(all) => format!("{} ({})", sum(counts), reasons(all)),
    }
}

/// A drain's URL as it may be shown: of user, password, path and query only that they are there. The fragment
/// holds our own options.
fn redacted(url: &str) -> String {
    let Ok(url) = Url::parse(url) else { return "…".to_owned() };
    let user = if url.username().is_empty() && url.password().is_none() { "" } else { "…@" };
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let path = if matches!(url.path(), "" | "/") { url.path() } else { "/…" };
    let query = if url.query().is_some() { "?…" } else { "" };
    let fragment = url.fragment().map(|fragment| format!("#{fragment}")).unwrap_or_default();
    format!("{}://{user}{host}{port}{path}{query}{fragment}", url.scheme())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_what_may_be_a_secret() {
        for (url, shown) in [
            ("https://h.example", "https://h.example/"),
            (
                "https://u:pa55@h.example:8443/k3y/in?code=s3cret#insecure",
                "https://…@h.example:8443/…?…#insecure",
            ),
            ("https://t0ken@h.example/", "https://…@h.example/"),
            ("syslog+tls://h.example:6514", "syslog+tls://h.example:6514"),
            ("http://[2001:db8::1]:80/", "http://[2001:db8::1]/"),
            ("https://…@h.example/…?…", "https://…@h.example/…?…"),
            ("pa55 is no URL", "…"),
        ] {
            assert_eq!(redacted(url), shown, "{url}");
        }
    }

    #[test]
    fn a_report_has_a_line_for_each_step() {
        let steps = json!({ "steps": [
            { "step": "resolve", "ok": true, "detail": "203.0.113.1", "ms": 3 },
            { "step": "connect", "ok": false, "detail": "refused \u{1b}[31m" },
        ] });
        let expected = "\
STEP     RESULT  TIME  DETAIL
resolve  ok      3 ms  203.0.113.1
connect  failed        refused \\x1b[31m
";
        assert_eq!(report(&steps), expected);
        assert_eq!((report(&Value::Null), report(&json!({}))), Default::default());
    }

    #[test]
    fn counts_are_summed_and_told_by_reason() {
        assert_eq!(by_reason(&json!({ "full": 5, "stopped": 2 })), "7 (5 full, 2 stopped)");
        assert_eq!((by_reason(&json!({})), by_reason(&Value::Null)), ("0".to_owned(), String::new()));
    }
}
