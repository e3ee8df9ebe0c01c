//! A live tail: the same ring as a drain's, read by a websocket.
//!
//! The session first writes the history that was asked for, then what comes, one websocket message for all
//! that is there. A client that reads too slowly makes the ring drop its oldest, and an L11 line, which no
//! filter hides, goes ahead of what follows.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use chrono::{DateTime, Utc};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use logplex_core::{Batch, Filter, Gap, Ledger, LossReason, Notice, Part, Policy, RingLimits};
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::channel::Channel;
use crate::mailbox::{Found, Mailbox};

/// A websocket message holds at most this, but for a single longer line.
const MESSAGE_MAX: usize = 256 * 1024;

/// How much is taken from the ring at once: what is taken is no longer bounded by it.
const TAKE: Policy = Policy { messages: usize::MAX, bytes: 64 * 1024 };

/// How often an idle session is pinged.
const PING: Duration = Duration::from_secs(15);

/// A client that takes nothing and answers nothing for this long is gone.
const GONE: Duration = Duration::from_secs(5 * 60);

/// How long a write may still take once the server is stopping.
const LAST_WRITE: Duration = Duration::from_millis(800);

/// After a notice, gaps of this long are merged into the next one.
const NOTICE_INTERVAL: Duration = Duration::from_secs(1);

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// `TIME SOURCE[PROCID]: MSG`.
    #[default]
    Text,
    /// One JSON object a line, with the message's cursor.
    Json,
}

/// A tail's place in its channel.
#[derive(Debug)]
pub(crate) struct Tail {
    pub(crate) filter: Filter,
    pub(crate) mailbox: Mailbox,
}

impl Tail {
    pub(crate) fn new(filter: Filter, limits: RingLimits) -> Arc<Tail> {
        Arc::new(Tail { filter, mailbox: Mailbox::new(limits) })
    }

    /// Hands over the messages that the filter keeps, before the ring, so that noise cannot push out signal.
    pub(crate) fn push(&self, part: &Part<Batch>, generated: bool, now: DateTime<Utc>) {
        if let Some(kept) = self.filter.apply(part) {
            self.mailbox.push(kept, generated, now);
        }
    }
}

/// A reader's place in a channel, taken before the client is told that it is connected, so that it misses
/// nothing that comes after. Dropping it gives the place up.
#[derive(Debug)]
pub(crate) struct Seat {
    channel: Arc<Channel>,
    tail: Arc<Tail>,
    history: Vec<Part<Batch>>,
    live: bool,
}

impl Seat {
    /// Takes a place behind the newest `history` messages that `filter` keeps; unless `live`, those are all
    /// that there will be.
    pub(crate) fn take(
        channel: Arc<Channel>,
        filter: Filter,
        history: usize,
        live: bool,
        limits: RingLimits,
    ) -> Seat {
        let tail = Tail::new(filter, limits);
        let history = if live {
            channel.attach(tail.clone(), history)
        } else {
            channel.history(history, |batch, index| tail.filter.keeps(batch, index))
        };
        Seat { channel, tail, history, live }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.live {
            self.channel.detach(&self.tail, Utc::now());
        }
    }
}

/// Serves one websocket until the client goes, the history is written and no more was asked for, or
/// `stopped`.
pub(crate) async fn serve(socket: WebSocket, mut seat: Seat, format: Format, stopped: CancellationToken) {
    let (sink, stream) = socket.split();
    let mut session = Session { sink, stream, heard_at: Instant::now(), format, epoch: seat.channel.epoch };
    let history = std::mem::take(&mut seat.history);
    let ended = match session.write_parts(&seat.tail, history, &stopped).await {
        ControlFlow::Continue(()) if seat.live => session.follow(&seat.tail, &stopped).await,
        ended => ended,
    };
    if ended.is_continue() {
        session.close(if stopped.is_cancelled() { close_code::RESTART } else { close_code::NORMAL }).await;
    }
}

struct Session {
    sink: SplitSink<WebSocket, Message>,
    stream: SplitStream<WebSocket>,
    /// When the client last took or said something.
    heard_at: Instant,
    format: Format,
    epoch: u64,
}

impl Session {
    /// Writes messages that are not in the tail's ring; they are counted in its ledger all the same.
    async fn write_parts(
        &mut self,
        tail: &Tail,
        parts: Vec<Part<Batch>>,
        stopped: &CancellationToken,
    ) -> ControlFlow<()> {
        let mut left = parts.iter().map(Part::messages).sum::<usize>() as u64;
        tail.mailbox.with_ledger(|ledger| ledger.accept(left));
        for part in parts {
            let texts = self.render(None, std::slice::from_ref(&part));
            if self.write(texts, stopped).await.is_break() {
                let lose = |ledger: &mut Ledger| ledger.lose(left, LossReason::Closed, Utc::now());
                tail.mailbox.with_ledger(lose);
                return ControlFlow::Break(());
            }
            let written = part.messages() as u64;
            tail.mailbox.with_ledger(|ledger| ledger.deliver(written));
            left -= written;
        }
        ControlFlow::Continue(())
    }

    async fn follow(&mut self, tail: &Tail, stopped: &CancellationToken) -> ControlFlow<()> {
        let mut told_at: Option<Instant> = None;
        let mut ping = tokio::time::interval(PING);
        ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let due_at = told_at.map(|at| at + NOTICE_INTERVAL);
            let due = stopped.is_cancelled() || due_at.is_none_or(|at| Instant::now() >= at);
            let untold = match tail.mailbox.take(&TAKE, due) {
                Found::Work(taken, gap) => {
                    if gap.is_some() {
                        told_at = Some(Instant::now());
                    }
                    let texts = self.render(gap.as_ref(), taken.parts());
                    if self.write(texts, stopped).await.is_break() {
                        // Some of it may have arrived; nobody is left to be told.
                        tail.mailbox.lose(&taken, gap, LossReason::Closed, Utc::now());
                        return ControlFlow::Break(());
                    }
                    tail.mailbox.deliver(&taken);
                    continue;
                }
                Found::Nothing { untold } => untold,
            };
            let notice_at = due_at.filter(|_| untold);
            tokio::select! {
                () = tail.mailbox.readable() => {}
                () = sleep_until(notice_at) => {}
                _ = ping.tick() => self.write(vec![Message::Ping("".into())], stopped).await?,
                heard = self.stream.next() => self.hear(heard)?,
                // What is held was written, but for a gap that now must not wait any longer and for what came
                // just ahead of the order to stop, such as a drain's last notice.
                () = stopped.cancelled() => if !untold && tail.mailbox.is_empty() {
                    return ControlFlow::Continue(());
                },
            }
            if self.heard_at.elapsed() > GONE {
                return ControlFlow::Break(());
            }
        }
    }

    /// Writes messages while listening, so that a client that goes away is noticed in the middle.
    async fn write(&mut self, messages: Vec<Message>, stopped: &CancellationToken) -> ControlFlow<()> {
        for message in messages {
            let deadline = tokio::time::sleep(GONE);
            tokio::pin!(deadline);
            let mut stopping = false;
            let mut sending = std::pin::pin!(self.sink.send(message));
            loop {
                tokio::select! {
                    biased;
                    sent = &mut sending => match sent {
                        Ok(()) => break,
                        Err(_gone) => return ControlFlow::Break(()),
                    },
                    heard = self.stream.next() => match heard {
                        Some(Ok(Message::Close(_)) | Err(_)) | None => return ControlFlow::Break(()),
                        Some(Ok(_)) => self.heard_at = Instant::now(),
                    },
                    () = stopped.cancelled(), if !stopping => {
                        stopping = true;
                        let last = deadline.deadline().min(Instant::now() + LAST_WRITE);
                        deadline.as_mut().reset(last);
                    }
                    () = &mut deadline => return ControlFlow::Break(()),
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn hear(&mut self, heard: Option<Result<Message, axum::Error>>) -> ControlFlow<()> {
        match heard {
            Some(Ok(Message::Close(_)) | Err(_)) | None => ControlFlow::Break(()),
            Some(Ok(_)) => {
                self.heard_at = Instant::now();
                ControlFlow::Continue(())
            }
        }
    }

    async fn close(&mut self, code: u16) {
        let frame = CloseFrame { code, reason: Utf8Bytes::from_static("") };
        let closing = self.sink.send(Message::Close(Some(frame)));
        // The client may be gone already, or not be reading; then there is nobody to part from.
        drop(tokio::time::timeout(Duration::from_secs(1), closing).await);
    }

    fn render(&self, gap: Option<&Gap>, parts: &[Part<Batch>]) -> Vec<Message> {
        let mut messages = Vec::new();
        let mut text = String::new();
        let mut line = String::new();
        let mut add = |line: &mut String| {
            if !text.is_empty() && text.len() + line.len() > MESSAGE_MAX {
                messages.push(Message::Text(std::mem::take(&mut text).into()));
            }
            text.push_str(line);
            line.clear();
        };
        if let Some(gap) = gap {
            self.write_notice(gap, &mut line);
            add(&mut line);
        }
        for part in parts {
            for index in part.range() {
                match self.format {
                    Format::Text => part.chunk().write_line(index, &mut line),
                    Format::Json => self.write_json(part, index, &mut line),
                }
                add(&mut line);
            }
        }
        if !text.is_empty() {
            messages.push(Message::Text(text.into()));
        }
        messages
    }

    fn write_notice(&self, gap: &Gap, line: &mut String) {
        let now = Utc::now();
        let Some(notice) = Notice::l11(gap) else { return };
        let time = notice.time(now);
        match self.format {
            Format::Text => line.push_str(&format!("{time} heroku[logplex]: {notice}\n")),
            Format::Json => {
                let since = notice.time(notice.since);
                let value = json!({
                    "time": time, "source": "heroku", "procid": "logplex", "severity": 4,
                    "message": notice.to_string(), "code": "L11", "dropped": notice.count, "since": since,
                });
                line.push_str(&value.to_string());
                line.push('\n');
            }
        }
    }

    fn write_json(&self, part: &Part<Batch>, index: usize, line: &mut String) {
        let batch = part.chunk();
        let message = batch.message(index);
        let sequence = part.first_sequence() + batch.ordinal(index);
        let text = String::from_utf8_lossy(message.text);
        let mut value = json!({
            "cursor": format!("{:016x}-{sequence}", self.epoch),
            "time": message.time,
            "source": batch.source(index),
            "procid": message.procid,
            "severity": message.severity(),
            "message": text.strip_suffix('\n').unwrap_or(&text),
        });
        if let Some(code) = batch.code(index) {
            value["code"] = code.as_str().into();
        }
        line.push_str(&value.to_string());
        line.push('\n');
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
