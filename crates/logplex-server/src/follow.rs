//! `logplex tail`: follows a channel over a websocket and writes its lines.
//!
//! It asks for JSON, whatever it writes: the cursors in it tell, after a reconnect, which lines of the
//! history were already shown. Lines are hostile: on a terminal, control characters are escaped.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::StreamExt;
use logplex_core::outlet::{Trust, tls_config};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{Connector, connect_async_tls_with_config};
use tokio_util::sync::CancellationToken;

use crate::cli::{Output, TailArgs};
use crate::client::{ApiClient, Refused};

/// After a reconnect, how much history is asked for; as much as the server keeps.
const CATCH_UP: u32 = 1500;

/// The pause before the second reconnect and the longest one.
const BACKOFF: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// One line as the server sends it.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    cursor: Option<std::borrow::Cow<'a, str>>,
    time: std::borrow::Cow<'a, str>,
    source: std::borrow::Cow<'a, str>,
    procid: std::borrow::Cow<'a, str>,
    message: std::borrow::Cow<'a, str>,
}

/// Why following ended.
enum Ended {
    /// All that was asked for was written, or nobody reads our output any more.
    Done,
    /// The connection broke: worth another try.
    Broken(anyhow::Error),
}

/// Follows one channel, as `args` ask.
#[derive(Debug)]
pub(crate) struct Follower<'a> {
    pub(crate) args: &'a TailArgs,
    pub(crate) api: &'a ApiClient,
    /// Whether a stream that breaks is opened again.
    pub(crate) reconnect: bool,
    /// Rung when the stream is open for the first time.
    pub(crate) connected: &'a Notify,
}

impl Follower<'_> {
    /// Follows until the history is written (without following), the reader of stdout goes away, the stream
    /// ends for good, or `stop`.
    pub(crate) async fn run(&self, stop: &CancellationToken) -> anyhow::Result<()> {
        let mut printer = Printer::new(self.args.output);
        let mut num = self.args.num;
        let mut failures = 0u32;
        loop {
            let connected_before = printer.connected;
            let ended = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                ended = self.session(num, &mut printer) => ended,
            };
            let problem = match ended {
                Ok(Ended::Done) => return Ok(()),
                Ok(Ended::Broken(_)) if !self.reconnect => return Ok(()),
                Ok(Ended::Broken(problem)) if self.args.no_follow => return Err(problem),
                Ok(Ended::Broken(problem)) => {
                    failures = 0;
                    problem
                }
                // What was never reached, or says no, is for the user to mend.
                Err(problem) if !connected_before || problem.is::<Refused>() => return Err(problem),
                Err(problem) => problem,
            };
            num = CATCH_UP;
            failures += 1;
            printer.status(&format!("{problem:#}; reconnecting"));
            let most = BACKOFF_MAX.min(BACKOFF * 2u32.saturating_pow(failures.min(10)));
            let pause = if failures == 1 { Duration::ZERO } else { most.mul_f64(fastrand::f64()) };
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn session(&self, num: u32, printer: &mut Printer) -> anyhow::Result<Ended> {
        let args = self.args;
        let mut body = json!({ "channel_id": args.channel, "num": num, "tail": !args.no_follow });
        for (key, value) in [("source", &args.source), ("ps", &args.ps)] {
            if let Some(value) = value {
                body[key] = value.as_str().into();
            }
        }
        let answer = self.api.post("/v3/sessions", &body).await?;
        let url = answer["url"].as_str().context("the server's answer has no session URL")?;
        let url =
            format!("ws{}?format=json", url.strip_prefix("http").context("the session URL is not http")?);
        let trust = if url.starts_with("wss:") { Trust::Platform } else { Trust::Insecure };
        let connector = Connector::Rustls(tls_config(trust)?);
        let (mut stream, _response) = connect_async_tls_with_config(url, None, true, Some(connector))
            .await
            .context("cannot open the stream")?;
        printer.connected = true;
        self.connected.notify_one();
        while let Some(message) = stream.next().await {
            match message {
                Ok(Message::Text(text)) => match printer.print(&text) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Ended::Done),
                    Err(error) => bail!("cannot write: {error}"),
                },
                Ok(Message::Close(_)) if args.no_follow => return Ok(Ended::Done),
                Ok(Message::Close(_)) => {
                    return Ok(Ended::Broken(anyhow::anyhow!("the server ended the stream")));
                }
                Ok(_) => {}
                Err(error) => {
                    return Ok(Ended::Broken(anyhow::Error::new(error).context("the stream broke")));
                }
            }
        }
        Ok(if args.no_follow { Ended::Done } else { Ended::Broken(anyhow::anyhow!("the stream ended")) })
    }
}

/// Writes lines, and knows which were written.
struct Printer {
    output: Output,
    terminal: bool,
    colour: bool,
    connected: bool,
    /// The epoch and sequence of the newest line written.
    last: Option<(String, u64)>,
}

impl Printer {
    fn new(output: Output) -> Printer {
        let terminal = io::stdout().is_terminal();
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Printer { output, terminal, colour, connected: false, last: None }
    }

    fn print(&mut self, text: &str) -> io::Result<()> {
        let mut out = String::with_capacity(text.len());
        for json in text.lines() {
            let Ok(line) = serde_json::from_str::<Line<'_>>(json) else { continue };
            if self.is_new(&line) {
                match self.output {
                    Output::Json => self.push_json(json, &mut out),
                    Output::Text => self.write_line(&line, &mut out),
                }
                out.push('\n');
            }
        }
        let mut stdout = io::stdout().lock();
        stdout.write_all(out.as_bytes())?;
        stdout.flush()
    }

    /// False for what was written before the connection broke.
    fn is_new(&mut self, line: &Line<'_>) -> bool {
        let Some((epoch, sequence)) = line.cursor.as_deref().and_then(|cursor| cursor.split_once('-')) else {
            return true;
        };
        let Ok(sequence) = sequence.parse::<u64>() else { return true };
        match &mut self.last {
            Some((last_epoch, last)) if last_epoch == epoch => {
                let new = sequence > *last;
                *last = sequence.max(*last);
                new
            }
            last => {
                *last = Some((epoch.to_owned(), sequence));
                true
            }
        }
    }

    fn write_line(&self, line: &Line<'_>, out: &mut String) {
        let head = format!("{} {}[{}]:", line.time, line.source, line.procid);
        if self.colour {
            // The same process always has the same colour; notices of losses are yellow.
            let sum: u32 = line.source.bytes().chain(line.procid.bytes()).map(u32::from).sum();
            let colour =
                if line.cursor.is_none() { 33 } else { [32, 36, 35, 34, 92, 96, 95][(sum % 7) as usize] };
            out.push_str(&format!("\x1b[{colour}m"));
            self.push_text(&head, out);
            out.push_str("\x1b[0m ");
        } else {
            self.push_text(&head, out);
            out.push(' ');
        }
        self.push_text(&line.message, out);
    }

    /// Line breaks never pass; on a terminal no control character does.
    fn push_text(&self, text: &str, out: &mut String) {
        if self.terminal {
            return escape(text, out);
        }
        for char in text.chars() {
            match char {
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                char => out.push(char),
            }
        }
    }

    /// JSON stays as it came, but for what a terminal would obey.
    fn push_json(&self, json: &str, out: &mut String) {
        if self.terminal { escape_json(json, out) } else { out.push_str(json) }
    }

    /// A word on what happens, apart from the data.
    fn status(&self, text: &str) {
        if io::stderr().is_terminal() {
            eprintln!("\x1b[2mlogplex: {text}\x1b[0m");
        } else {
            eprintln!("logplex: {text}");
        }
    }
}

/// Adds text without anything that a terminal would obey.
pub(crate) fn escape(text: &str, out: &mut String) {
    for char in text.chars() {
        match char {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push('\t'),
            char if char.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(char))),
            char if turns_text(char) => out.extend(char.escape_unicode()),
            char => out.push(char),
        }
    }
}

/// Adds JSON in which what a terminal would obey has another spelling: inside its strings, where alone such
/// characters can be, but for the line breaks between its members.
pub(crate) fn escape_json(json: &str, out: &mut String) {
    for char in json.chars() {
        if (char.is_control() && char != '\n') || turns_text(char) {
            out.push_str(&format!("\\u{:04x}", u32::from(char)));
        } else {
            out.push(char);
        }
    }
}

/// Whether a character changes the direction of the text around it, so that a line could show another order
/// than it has (CVE-2021-42574).
fn turns_text(char: char) -> bool {
    matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
