//! `logplex tail`: follows channels over websockets and writes their lines.
//!
//! It asks for JSON, whatever it writes: the cursors in it tell, after a reconnect, where each channel goes on. The
//! channels share nothing but stdout. All streams are opened before anything is written, so that a wrong name is
//! told at once. Lines are hostile: on a terminal, control characters are escaped.

use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow};
use chrono::Utc;
use futures_util::StreamExt;
use futures_util::future::try_join_all;
use http::StatusCode;
use logplex_core::outlet::{Trust, tls_config};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config, tungstenite,
};
use tokio_util::sync::CancellationToken;

use self::args::HISTORY;
pub(crate) use self::args::{Color, Request, TailArgs};
pub(crate) use self::escape::{escape, escape_json};
use self::look::Line;
pub(crate) use self::look::{Look, has_colour};
pub(crate) use self::stdout::{NobodyReads, Stdout, reader_gone};
use crate::client::{ApiClient, Refused};
use crate::http::encode_segment;

mod args;
mod escape;
mod look;
mod stdout;
mod time;

/// How long a stream may take to open.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// The server pings every 15 s; one that is not heard for this long is gone, though no one said so.
const SILENCE: Duration = Duration::from_secs(60);

/// The largest websocket message: the server's largest is one line of 64 KiB, each byte of it escaped in JSON.
const MESSAGE_MAX: usize = 1024 * 1024;

/// Pauses between attempts to connect: random up to a bound that doubles from the first of these to the second.
const BACKOFF: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// A stream that lasted this long was a good one: the next attempt is made at once.
const STEADY: Duration = Duration::from_secs(1);

type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Follows what `request` asks for.
#[derive(Debug)]
pub(crate) struct Follower<'a> {
    pub(crate) request: &'a Request,
    pub(crate) look: &'a Look,
    pub(crate) api: &'a ApiClient,
    /// Whether a stream that breaks is opened again.
    pub(crate) reconnect: bool,
    /// Rung when all streams are open for the first time.
    pub(crate) connected: &'a Notify,
}

/// A channel's place in the stream: what was written, so that nothing is written twice.
#[derive(Debug, Default)]
struct Place {
    /// The newest cursor, as the server wrote it.
    cursor: Option<String>,
    /// The same as far as we understand it: an epoch and a sequence number.
    newest: Option<(String, u64)>,
}

/// How the stream of a channel ended.
#[derive(Debug)]
enum Ended {
    /// The server has written all that was asked for.
    Done,
    /// Something broke.
    Broken(anyhow::Error),
}

impl Follower<'_> {
    /// Follows until the history is written (without following), the server has written all up to the time to end, the
    /// reader of stdout goes away, a stream ends for good, or `stop`.
    ///
    /// # Errors
    /// When a channel is not there, the server cannot be reached at the start, or refuses.
    pub(crate) async fn run(&self, stop: &CancellationToken) -> anyhow::Result<()> {
        let ended = tokio::select! {
            () = stop.cancelled() => Ok(()),
            () = reader_gone() => Ok(()),
            ended = self.follow_all() => ended,
        };
        match ended {
            Err(error) if error.is::<NobodyReads>() => Ok(()),
            ended => ended,
        }
    }

    async fn follow_all(&self) -> anyhow::Result<()> {
        let channels = &self.request.channels;
        let opened = try_join_all(channels.iter().map(|channel| self.begin(channel))).await?;
        self.connected.notify_one();
        let (stdout, broken) = (Stdout::new(), Outages::new());
        let all = channels.iter().zip(opened);
        try_join_all(
            all.map(|(channel, (stream, place))| self.follow(channel, stream, place, &stdout, &broken)),
        )
        .await?;
        Ok(())
    }

    /// Opens a channel's stream for the first time.
    async fn begin(&self, channel: &str) -> anyhow::Result<(Stream, Place)> {
        let mut place = Place::default();
        if self.request.num == 0 && self.request.follow && self.reconnect {
            // Without a line there is no cursor, and after a reconnect nothing would tell what is old.
            place = self.newest(channel).await?;
            if place.cursor.is_some() {
                return Ok((self.open(channel, HISTORY, &self.request.filters, &place).await?, place));
            }
        }
        let stream = self.open(channel, self.request.num, &self.request.filters, &place).await?;
        Ok((stream, place))
    }

    /// The place behind all that a channel has now.
    async fn newest(&self, channel: &str) -> anyhow::Result<Place> {
        let mut place = Place::default();
        let body = json!({ "channel_id": channel, "num": 1, "tail": false });
        let mut stream = self.connect(channel, &body, &place).await?;
        while let Ok(Some(Ok(message))) = timeout(SILENCE, stream.next()).await {
            if let Message::Text(text) = message {
                place.read(&text)?;
            }
        }
        Ok(place)
    }

    async fn open(
        &self,
        channel: &str,
        num: u32,
        filters: &serde_json::Value,
        place: &Place,
    ) -> anyhow::Result<Stream> {
        let mut body = filters.clone();
        body["channel_id"] = channel.into();
        body["num"] = num.into();
        body["tail"] = self.request.follow.into();
        self.connect(channel, &body, place).await
    }

    /// Makes a session and opens its stream behind `place`.
    async fn connect(
        &self,
        channel: &str,
        body: &serde_json::Value,
        place: &Place,
    ) -> anyhow::Result<Stream> {
        let answer = self.api.post("/v3/sessions", body).await.map_err(|error| {
            match error.downcast_ref::<Refused>() {
                Some(refused) if refused.is_not_there() => {
                    let mut name = String::from("channel ");
                    escape(channel, &mut name);
                    error.context(name)
                }
                _ => error,
            }
        })?;
        let url = answer["url"].as_str().context("the server's answer has no session URL")?;
        let url = url.strip_prefix("http").context("the session URL is not http")?;
        let mut url = format!("ws{url}?format=json");
        if let Some(cursor) = &place.cursor {
            write!(url, "&after={}", encode_segment(cursor))?;
        }
        let trust = if url.starts_with("wss:") { Trust::Platform } else { Trust::Insecure };
        let connector = Connector::Rustls(tls_config(trust)?);
        let config =
            WebSocketConfig::default().max_message_size(Some(MESSAGE_MAX)).max_frame_size(Some(MESSAGE_MAX));
        let opening = connect_async_tls_with_config(url, Some(config), true, Some(connector));
        let opened = timeout(OPEN_TIMEOUT, opening).await.context("the stream did not open in time")?;
        let (stream, _response) = opened.map_err(not_opened)?;
        Ok(stream)
    }

    /// Writes a channel's lines, over as many streams as it takes.
    async fn follow(
        &self,
        channel: &str,
        mut stream: Stream,
        mut place: Place,
        stdout: &Stdout,
        outages: &Outages,
    ) -> anyhow::Result<()> {
        let mut failures = 0;
        loop {
            let opened_at = Instant::now();
            let problem = match self.write_lines(channel, &mut stream, &mut place, stdout).await? {
                Ended::Done => return Ok(()),
                Ended::Broken(_) if !self.reconnect => return Ok(()),
                Ended::Broken(problem) if !self.request.follow => return Err(problem),
                Ended::Broken(problem) => problem,
            };
            outages.begin(&problem);
            if opened_at.elapsed() >= STEADY {
                failures = 0;
            }
            stream = loop {
                let most = BACKOFF.saturating_mul(1 << failures.min(10)).min(BACKOFF_MAX);
                let pause = if failures == 0 { Duration::ZERO } else { most.mul_f64(fastrand::f64()) };
                tokio::time::sleep(pause).await;
                failures += 1;
                match self.open(channel, HISTORY, &self.request.filters, &place).await {
                    Ok(stream) => break stream,
                    Err(problem) if is_final(&problem) || self.is_late() => return Err(problem),
                    Err(_) => {}
                }
            };
            outages.end();
        }
    }

    /// Whether the server is to end the stream when all is written.
    fn has_end(&self) -> bool {
        !self.request.follow || self.request.until.is_some()
    }

    /// Whether the time to end has passed so long ago that a server that cannot be reached is not waited for.
    fn is_late(&self) -> bool {
        self.request.until.is_some_and(|until| Utc::now() > until + BACKOFF_MAX)
    }

    /// Writes what a stream brings until it ends.
    async fn write_lines(
        &self,
        channel: &str,
        stream: &mut (impl futures_util::Stream<Item = Result<Message, tungstenite::Error>> + Unpin),
        place: &mut Place,
        stdout: &Stdout,
    ) -> anyhow::Result<Ended> {
        loop {
            let Ok(heard) = timeout(SILENCE, stream.next()).await else {
                let seconds = SILENCE.as_secs();
                return Ok(Ended::Broken(anyhow!("nothing was heard from the server for {seconds} s")));
            };
            match heard {
                Some(Ok(Message::Text(text))) => {
                    let mut out = String::with_capacity(text.len());
                    let now = Utc::now();
                    for (json, line) in place.read(&text)? {
                        self.look.render(channel, json, &line, now, &mut out);
                    }
                    stdout.write(&out).await?;
                }
                // Who ends a stream without an end, such as a proxy, has not written all of it.
                Some(Ok(Message::Close(Some(close))))
                    if close.code == CloseCode::Normal && self.has_end() =>
                {
                    return Ok(Ended::Done);
                }
                Some(Ok(Message::Close(_))) | None => {
                    return Ok(Ended::Broken(anyhow!("the server ended the stream")));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    return Ok(Ended::Broken(anyhow::Error::new(error).context("the stream broke")));
                }
            }
        }
    }
}

impl Place {
    /// The lines of a message that were not there before, each with its JSON.
    ///
    /// # Errors
    /// When one is not understood: it cannot be shown, and must not disappear.
    fn read<'a>(&mut self, text: &'a str) -> anyhow::Result<Vec<(&'a str, Line<'a>)>> {
        let mut lines = Vec::new();
        for json in text.lines() {
            let line: Line<'a> =
                serde_json::from_str(json).context("the server sent a line that is not understood")?;
            if self.passes(line.cursor.as_deref()) {
                lines.push((json, line));
            }
        }
        Ok(lines)
    }

    /// False for what was there before the connection broke.
    fn passes(&mut self, cursor: Option<&str>) -> bool {
        let Some(cursor) = cursor else { return true };
        let understood =
            cursor.split_once('-').and_then(|(epoch, sequence)| Some((epoch, sequence.parse::<u64>().ok()?)));
        let new = match (&mut self.newest, understood) {
            (Some((epoch, newest)), Some((this, sequence))) if epoch == this => {
                let new = sequence > *newest;
                *newest = sequence.max(*newest);
                new
            }
            (newest, understood) => {
                *newest = understood.map(|(epoch, sequence)| (epoch.to_owned(), sequence));
                true
            }
        };
        if new {
            self.cursor = Some(cursor.to_owned());
        }
        new
    }
}

/// How many of the streams are broken, to say so once and not once for each.
#[derive(Debug)]
struct Outages {
    broken: AtomicUsize,
    dim: bool,
}

impl Outages {
    fn new() -> Outages {
        let terminal = io::stderr().is_terminal();
        let dim = terminal && has_colour(Color::Auto, true, std::env::var_os);
        Outages { broken: AtomicUsize::new(0), dim }
    }

    /// A word on what happens, apart from the data, if all was well until now.
    fn begin(&self, problem: &anyhow::Error) {
        if self.broken.fetch_add(1, Ordering::Relaxed) > 0 {
            return;
        }
        let mut text = String::from("logplex: ");
        escape(&format!("{problem:#}; reconnecting"), &mut text);
        if self.dim {
            eprintln!("\x1b[2m{text}\x1b[0m");
        } else {
            eprintln!("{text}");
        }
    }

    fn end(&self) {
        self.broken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why a stream did not open: a refusal, or a connection that failed.
fn not_opened(error: tungstenite::Error) -> anyhow::Error {
    match error {
        tungstenite::Error::Http(response) => {
            let (status, body) = (response.status(), response.body().as_deref().unwrap_or_default());
            let mut problem = String::new();
            escape(String::from_utf8_lossy(body).trim(), &mut problem);
            anyhow::Error::new(Refused { status, problem, answer: serde_json::Value::Null })
        }
        error => error.into(),
    }
    .context("cannot open the stream")
}

/// Whether asking again cannot help: the server understood, and said no.
pub(crate) fn is_final(problem: &anyhow::Error) -> bool {
    problem.downcast_ref::<Refused>().is_some_and(|refused| {
        let passing = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
        refused.status.is_client_error() && !passing.contains(&refused.status)
    })
}

#[cfg(test)]
mod tests {
    use tokio_tungstenite::tungstenite::protocol::CloseFrame;

    use super::*;
    use crate::config::Secret;

    fn refused(status: u16) -> anyhow::Error {
        let status = StatusCode::from_u16(status).unwrap();
        let refused = Refused { status, problem: String::new(), answer: json!({}) };
        anyhow::Error::new(refused).context("app")
    }

    #[test]
    fn what_the_client_must_mend_is_final() {
        for (status, expected) in
            [(401, true), (404, true), (422, true), (408, false), (429, false), (500, false), (503, false)]
        {
            assert_eq!(is_final(&refused(status)), expected, "{status}");
        }
        assert!(!is_final(&anyhow!("cannot reach the server")));
        let answered = |status: u16| {
            let response = http::Response::builder().status(status).body(Some(b"a \x1b\n".to_vec())).unwrap();
            not_opened(tungstenite::Error::Http(Box::new(response)))
        };
        assert!(is_final(&answered(400)) && !is_final(&answered(502)));
        let text = format!("{:#}", answered(400));
        assert_eq!(text, "cannot open the stream: the server answered 400 Bad Request: a \\x1b");
        assert!(!is_final(&not_opened(tungstenite::Error::ConnectionClosed)));
    }

    /// How a stream that brings `messages` to this request ends, and after how long.
    async fn ended(
        request: &Request,
        messages: impl futures_util::Stream<Item = Result<Message, tungstenite::Error>> + Unpin,
    ) -> (String, Duration) {
        let api = ApiClient::new("http://127.0.0.1:9", Secret::new("key".to_owned())).unwrap();
        let (look, connected) = (Look::default(), Notify::new());
        let follower = Follower { request, look: &look, api: &api, reconnect: true, connected: &connected };
        let (mut messages, mut place, begun) = (messages, Place::default(), Instant::now());
        let ended = follower.write_lines("app", &mut messages, &mut place, &Stdout::new()).await.unwrap();
        (format!("{ended:?}"), begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_not_heard_is_gone_and_one_that_pings_is_not() {
        let live = Request::live("app");
        let (problem, after) = ended(&live, futures_util::stream::pending()).await;
        assert!(problem.contains("nothing was heard from the server for 60 s"), "{problem}");
        assert_eq!(after, Duration::from_secs(60));
        let pings = futures_util::stream::unfold(20, |left: u32| async move {
            tokio::time::sleep(Duration::from_secs(15)).await;
            (left > 0).then(|| (Ok(Message::Ping("".into())), left - 1))
        });
        let (problem, after) = ended(&live, std::pin::pin!(pings)).await;
        assert!(problem.contains("the server ended the stream"), "{problem}");
        assert_eq!(after, Duration::from_secs(21 * 15));
    }

    #[tokio::test]
    async fn a_stream_is_done_when_the_server_says_so_of_one_that_has_an_end() {
        let live = Request::live("app");
        let until = Request { until: Some(Utc::now()), ..Request::live("app") };
        let past = Request { follow: false, ..Request::live("app") };
        for (code, request, expected) in [
            (CloseCode::Normal, &live, false),
            (CloseCode::Normal, &until, true),
            (CloseCode::Normal, &past, true),
            (CloseCode::Restart, &until, false),
            (CloseCode::Policy, &past, false),
        ] {
            let close = Message::Close(Some(CloseFrame { code, reason: "".into() }));
            let (how, _) = ended(request, futures_util::stream::iter([Ok(close)])).await;
            let seen = (how.starts_with("Done"), how.contains("the server ended the stream"));
            assert_eq!(seen, (expected, !expected), "{code} {request:?}");
        }
    }

    #[test]
    fn a_place_lets_each_cursor_pass_once() {
        let mut place = Place::default();
        let mut seen =
            |cursors: &[Option<&str>]| cursors.iter().map(|&cursor| place.passes(cursor)).collect::<Vec<_>>();
        assert_eq!(seen(&[Some("a-1"), Some("a-3"), None]), [true, true, true]);
        assert_eq!(seen(&[Some("a-2"), Some("a-3"), None, Some("a-4")]), [false, false, true, true]);
        // Another epoch counts anew, and what is not understood always passes.
        assert_eq!(seen(&[Some("b-1"), Some("b-1"), Some("odd"), Some("odd")]), [true, false, true, true]);
        assert_eq!(place.cursor.as_deref(), Some("odd"));
    }

    #[test]
    fn a_line_that_is_not_understood_is_an_error() {
        let mut place = Place::default();
        assert_eq!(place.read("{\"cursor\":\"a-1\"}\n{}\n").unwrap().len(), 2);
        assert!(place.read("{\"cursor\":\"a-2\"}\nnonsense\n").is_err());
    }
}
