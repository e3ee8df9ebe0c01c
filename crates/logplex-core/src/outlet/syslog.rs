//! The ordered outlet for syslog over TCP and TLS: writes one request after the other to one endpoint.
//!
//! One connection, no task of its own, and a queue of what is not acknowledged: up to 512 KiB and the request that
//! went over it.
//!
//! # What counts as delivered
//!
//! There are no answers, so this is made of what TCP tells (`line.rs`):
//!
//! * A message is **in flight** until the peer's TCP has acknowledged its last byte. What comes after it is written
//!   meanwhile; what is in flight is kept, so that it can be written again.
//! * Acknowledged, it is **in doubt** while the peer's process may not have read it: for 100 ms, or until 1 MiB
//!   was acknowledged after it. A connection that stands that long after it has delivered it.
//! * If the peer **closes** the connection (FIN), it has read all that it acknowledged, or goes on reading: that is
//!   delivered, and what it does not acknowledge goes to the next connection. Nothing is missing and nothing is
//!   doubled.
//! * If the connection **breaks** (RST, or silence), what is in doubt is lost as `unanswered`, never sent twice;
//!   what was not acknowledged goes to the next connection and may arrive twice, if its acknowledgement was
//!   under way.
//!
//! So nothing is told as delivered of which a reset says otherwise, except what a peer acknowledged more than
//! 100 ms (or 1 MiB) before it died without having read it. What a peer does with what it has read is its
//! own affair: no sender of this protocol can know.
//!
//! A proxy in front of a peer that is away accepts, acknowledges, and resets. So that it does not cost all that
//! comes, a connection after one that broke without having delivered anything is made after a pause, and is on
//! **trial**: until its first request is delivered nothing else is written.
//!
//! # Attempts
//! A connection that ends while something is in flight is an attempt that failed, and so is one that cannot be
//! made. One that has carried whole messages is followed by the next at once; else there is a pause as
//! [`RetryPolicy`](super::RetryPolicy) says, by which the oldest request may be given up, and with it what was handed
//! over up to [`RetryPolicy::cap`](super::RetryPolicy) later. Time and attempts count from the last acknowledgement.
//! A connection that was not used within [`OutletConfig::idle_close`] is closed, up to 5 s earlier so that many
//! connections do not close in step. A peer that acknowledges nothing for 30 s is left: its connection is closed.
//! What a peer says is read and thrown away.

use std::collections::VecDeque;
use std::fmt;
use std::future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::doubt::Doubt;
use super::line::{End, Line};
use super::retry::{self, Verdict};
use super::stop::{Stop, is_due, rest_until, stopped};
use super::{Attempt, AttemptError, Endpoint, GivenUp, OutletConfig, Request, after};
use crate::frame::{FrameLimit, next_frame};
use crate::ledger::LossReason;

/// With more than this in flight nothing else is written. Five of the largest requests that drains make of small
/// messages; once in 50 ms, which is how far a peer may be, they are 10 MB a second.
const WINDOW: usize = 512 * 1024;

/// How long a peer that has closed its side may take to read what was under way.
const HEARD_OUT: Duration = Duration::from_secs(1);

/// How long a peer may take nothing of what it is sent.
const STALLED: Duration = Duration::from_secs(30);

/// Between looks at what was acknowledged, of which the kernel gives no word: while something waits for it, and else.
const SOON: Duration = Duration::from_millis(1);
const LATER: Duration = Duration::from_millis(20);

/// The most by which a connection is closed before its idle time is over.
const IDLE_JITTER_MS: u64 = 5_000;

/// What became of messages, oldest first: each that was handed to [`SyslogOutlet::push`] is settled once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// How many messages, from the oldest unsettled one on.
    pub messages: u32,
    /// Whether they were delivered, or why they are lost.
    pub outcome: Result<(), LossReason>,
}

/// Writes requests to one endpoint, in order. See the [module](self) for what counts as delivered.
///
/// A request is handed over with [`push`](SyslogOutlet::push) and written by [`write`](SyslogOutlet::write), which
/// returns as soon as the next one may be; what became of the messages is told by
/// [`settled`](SyslogOutlet::settled), in order and later.
pub struct SyslogOutlet {
    endpoint: Endpoint,
    config: OutletConfig,
    line: Option<Line>,
    /// How long the connection may be idle; another for each.
    idle_close: Duration,
    /// What was handed over and is not known to be acknowledged, oldest first.
    flight: VecDeque<Flight>,
    /// How many of these the connection was given, whole.
    written: usize,
    /// How many bytes the connection was given ahead of the oldest of these: what it got acknowledged of whole
    /// messages.
    passed: u64,
    /// Since when nothing was acknowledged.
    waits_since: Instant,
    /// Attempts that failed since then.
    attempts: u32,
    /// Connections in a row that broke without having delivered anything. The next is on trial if there are any.
    breaks: u32,
    /// When that may be made.
    connect_at: Option<Instant>,
    /// Whether the connection delivered anything.
    has_delivered: bool,
    /// What was acknowledged, and what became of it.
    pub(super) doubt: Doubt,
}

/// What is left of a request.
struct Flight {
    body: Bytes,
    messages: u32,
    /// When it was handed over.
    since: Instant,
    /// Whether a connection broke that had been given some of it.
    unanswered: bool,
}

/// How an attempt ended before all was written.
struct Failed {
    error: AttemptError,
    /// Whether the next attempt need not wait.
    at_once: bool,
}

impl SyslogOutlet {
    /// An outlet without a connection; the first request opens one.
    pub fn new(endpoint: Endpoint, mut config: OutletConfig) -> SyslogOutlet {
        if let Some(tls) = &mut config.tls {
            // Those who speak HTTP on this port must not be told that we do.
            Arc::make_mut(tls).alpn_protocols.clear();
        }
        SyslogOutlet {
            endpoint,
            idle_close: config.idle_close,
            config,
            line: None,
            flight: VecDeque::new(),
            written: 0,
            passed: 0,
            waits_since: Instant::now(),
            attempts: 0,
            breaks: 0,
            connect_at: None,
            has_delivered: false,
            doubt: Doubt::new(),
        }
    }

    /// Where the messages go.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Takes over a request, to be written by [`write`](SyslogOutlet::write).
    ///
    /// Headers and frame id have no meaning here. The body must hold whole frames, [`Request::messages`] of them.
    pub fn push(&mut self, request: &Request) {
        let body = match request.body.as_slice() {
            [one] => one.clone(),
            parts => parts.concat().into(),
        };
        let since = Instant::now();
        if self.flight.is_empty() {
            (self.attempts, self.waits_since) = (0, since);
        }
        self.flight.push_back(Flight { body, messages: request.messages, since, unanswered: false });
    }

    /// Whether [`write`](SyslogOutlet::write) has something to do: what was handed over is not written, or its
    /// connection has ended.
    pub fn must_write(&self) -> bool {
        let ended = self.line.as_ref().is_none_or(|line| line.end().is_some());
        self.written < self.flight.len() || ended && !self.flight.is_empty()
    }

    /// Writes what was handed over, again if its connection has ended. Returns when the next request may be handed
    /// over. `observe` is told of every attempt that failed, once.
    ///
    /// # Errors
    ///
    /// When the oldest request was given up, and others with it, or at the stop instant all of them.
    ///
    /// # Cancel safety
    ///
    /// After dropping the future only [`SyslogOutlet::leave`] and [`SyslogOutlet::settled`] may be called.
    pub async fn write(
        &mut self,
        stop: &mut Stop,
        mut observe: impl FnMut(Attempt<'_>),
    ) -> Result<(), GivenUp> {
        loop {
            let begun = Instant::now();
            if !self.flight.is_empty() && is_due(stop, begun) {
                return Err(self.give_up_all());
            }
            let attempt = tokio::select! {
                biased;
                () = stopped(stop) => return Err(self.give_up_all()),
                attempt = self.attempt() => attempt,
            };
            if attempt.is_ok() && self.is_on_trial() {
                tokio::select! {
                    biased;
                    () = stopped(stop) => {}
                    () = self.trial() => {}
                }
                if self.must_write() {
                    continue;
                }
            }
            let Err(Failed { error, at_once }) = attempt else { return Ok(()) };
            self.attempts += 1;
            let retry_at = if at_once {
                Some(Instant::now())
            } else {
                self.config.retry.retry_at(self.attempts, self.waits_since, None, stop)
            };
            // A connection that delivered nothing asks for a pause even where it carried something.
            let retry_at = retry_at.map(|at| self.connect_at.map_or(at, |pause| pause.max(at)));
            observe(Attempt {
                number: self.attempts,
                took: begun.elapsed(),
                outcome: Err(&error),
                retry_in: retry_at.map(|at| at.saturating_duration_since(Instant::now())),
            });
            match retry_at {
                Some(at) => {
                    if !rest_until(at, stop).await {
                        return Err(self.give_up_all());
                    }
                }
                None => return Err(self.give_up(error)),
            }
        }
    }

    /// Gives up the oldest request, and what was handed over hardly later, which has been tried for as long: one after
    /// the other they would wait that long each, or be given up at an attempt each without a pause.
    fn give_up(&mut self, error: AttemptError) -> GivenUp {
        let attempts = std::mem::take(&mut self.attempts);
        let reason = match retry::judge_error(&error, LossReason::Stopped) {
            Verdict::Again(reason) | Verdict::Final(reason) => reason,
            Verdict::Delivered(_) => LossReason::Unanswered,
        };
        let as_long = after(self.waits_since, self.config.retry.cap);
        let mut first = None;
        while let Some(oldest) = self.flight.front()
            && (first.is_none() || oldest.since <= as_long)
        {
            let reason = if oldest.unanswered { LossReason::Unanswered } else { reason };
            self.doubt.settle(oldest.messages, Err(reason));
            self.flight.pop_front();
            first.get_or_insert(reason);
        }
        self.waits_since = self.flight.front().map_or_else(Instant::now, |next| next.since);
        GivenUp { reason: first.unwrap_or(reason), attempts, last: error.into() }
    }

    /// The stop instant has come.
    fn give_up_all(&mut self) -> GivenUp {
        let attempts = self.attempts + u32::from(self.line.is_some());
        self.drop_line(self.fate());
        let reason = |unanswered| if unanswered { LossReason::Unanswered } else { LossReason::Stopped };
        let mut any = false;
        for Flight { messages, unanswered, .. } in std::mem::take(&mut self.flight) {
            any |= unanswered;
            self.doubt.settle(messages, Err(reason(unanswered)));
        }
        GivenUp { reason: reason(any), attempts, last: AttemptError::Stopped.into() }
    }

    /// The next messages whose fate is known.
    pub fn settled(&mut self) -> Option<Settled> {
        if !self.doubt.has_settled() {
            self.judge();
        }
        self.doubt.told()
    }

    /// Settles what has been in doubt for long enough.
    fn judge(&mut self) {
        self.take_acknowledged();
        let now = Instant::now();
        while self.doubt.is_ripe(now) {
            // Time that passed is no sign to whoever comes late: a reset may be here that nobody has read, or after
            // which there was no attempt yet.
            let fate = self.fate();
            if fate.is_err() {
                self.drop_line(fate);
                break;
            }
            self.doubt.deliver_oldest();
            (self.has_delivered, self.breaks) = (true, 0);
        }
    }

    /// What becomes of all that is in doubt if the connection is let go of: delivered, unless a reset says otherwise.
    fn fate(&self) -> Result<(), LossReason> {
        if self.line.as_ref().is_some_and(Line::is_broken) { Err(LossReason::Unanswered) } else { Ok(()) }
    }

    /// Whether the connection has to deliver what it was given before it is given more.
    fn is_on_trial(&self) -> bool {
        self.breaks > 0 && (self.written > 0 || !self.doubt.is_empty())
    }

    /// Waits until that is over, or the connection has ended.
    async fn trial(&mut self) {
        let stands = |line: &Line| line.end().is_none();
        while self.is_on_trial() && self.line.as_ref().is_some_and(stands) {
            self.tend().await;
            self.judge();
        }
    }

    /// Watches the connection between requests: closes it when it has been idle for too long, and returns when
    /// there may be something [`settled`](SyslogOutlet::settled) or to [write](SyslogOutlet::must_write). For a
    /// `select!` with the wait for work.
    ///
    /// # Cancel safety
    ///
    /// Safe: the connection stays as it is.
    pub async fn tend(&mut self) {
        let certain = self.doubt.oldest_until();
        let look = (!self.flight.is_empty()).then(|| Instant::now() + LATER);
        let Some(line) = &mut self.line else { return self.wait_for_settled().await };
        let wake = [certain, look].into_iter().flatten().min();
        // A connection that is old is closed once nothing is under way on it.
        let wake = wake.unwrap_or_else(|| after(line.used, self.idle_close));
        if timeout_at(wake, line.ended()).await.is_ok() {
            return self.end_idle_line();
        }
        if line.silence() >= STALLED {
            line.cut();
        } else if certain.is_none() && look.is_none() {
            // TLS has a farewell of its own, without which a peer may believe that something is missing.
            timeout(HEARD_OUT, line.hang_up()).await.ok();
            self.drop_line(Ok(()));
        }
    }

    /// Without a connection nothing can happen any more, unless something is settled, or to be written, already.
    async fn wait_for_settled(&self) {
        if !self.doubt.has_settled() && self.doubt.is_empty() && self.flight.is_empty() {
            future::pending().await
        }
    }

    /// As [`write`](SyslogOutlet::write), and returns when all is acknowledged.
    ///
    /// # Errors
    ///
    /// When a request was given up. Others may be left to be written then.
    pub async fn flush(
        &mut self,
        stop: &mut Stop,
        mut observe: impl FnMut(Attempt<'_>),
    ) -> Result<(), GivenUp> {
        while !self.flight.is_empty() {
            self.write(stop, &mut observe).await?;
            tokio::select! {
                biased;
                () = stopped(stop) => {}
                // Ended or not, the next turn shows what is left.
                _ended = self.wait_for_room(0) => {}
            }
        }
        Ok(())
    }

    /// Flushes, ends the connection and waits until all is settled: until the peer has closed its side too, the
    /// connection has stood long enough, or the stop instant.
    pub async fn finish(&mut self, stop: &mut Stop, mut observe: impl FnMut(Attempt<'_>)) {
        while !self.flight.is_empty() {
            // Given up or not, what became of it is in `settled`.
            self.flush(stop, &mut observe).await.ok();
        }
        let fate = self.fate();
        if fate.is_err() {
            self.drop_line(fate);
        }
        if let Some(line) = &mut self.line {
            let certain = self.doubt.newest_until().unwrap_or_else(Instant::now);
            tokio::select! {
                biased;
                () = stopped(stop) => {}
                () = sleep_until(certain) => {}
                () = async { line.hang_up().await; line.ended().await } => {}
            }
            self.end_idle_line();
        }
    }

    /// Closes the connection, if there is one. Unless it broke, it stood: what is in doubt is delivered. What was in
    /// flight is forgotten, and for the caller to hand over again: all that is not settled then.
    pub fn leave(&mut self) {
        self.drop_line(self.fate());
        self.flight.clear();
    }

    /// Lets go of a connection that has ended, or is too old, unless something is in flight on it, which the next
    /// attempt finds out about.
    fn end_idle_line(&mut self) {
        self.take_acknowledged();
        if self.written == 0 {
            let broken = self.line.as_ref().and_then(Line::end) == Some(End::Broken);
            self.drop_line(if broken { Err(LossReason::Unanswered) } else { Ok(()) });
        }
    }

    /// Puts in doubt what was acknowledged of whole requests.
    fn take_acknowledged(&mut self) {
        let Some(line) = &mut self.line else { return };
        if self.written == 0 {
            return;
        }
        let mut acknowledged = line.acknowledged().saturating_sub(self.passed) as usize;
        let since = Instant::now();
        while self.written > 0
            && let Some(oldest) = self.flight.front()
            && oldest.body.len() <= acknowledged
        {
            let Flight { messages, ref body, .. } = *oldest;
            let bytes = body.len();
            acknowledged -= bytes;
            self.flight.pop_front();
            self.written -= 1;
            self.passed(messages, bytes, since);
        }
    }

    /// The next `bytes` were acknowledged.
    fn passed(&mut self, messages: u32, bytes: usize, since: Instant) {
        self.passed += bytes as u64;
        (self.attempts, self.waits_since) = (0, since);
        self.doubt.begin(messages, bytes, since);
    }

    /// Lets go of the connection. What it got acknowledged, and whatever is in doubt, came to `outcome`; what else it
    /// was given of the requests in flight is to be written again.
    fn drop_line(&mut self, outcome: Result<(), LossReason>) {
        self.take_acknowledged();
        if let Some(mut line) = self.line.take() {
            if outcome.is_err() && !self.has_delivered {
                self.breaks += 1;
                self.connect_at = Some(Instant::now() + self.config.retry.pause(self.breaks, None));
            }
            let begun = self.written + usize::from(line.has_begun());
            let broken = line.end() != Some(End::Closed);
            for flight in self.flight.iter_mut().take(begun) {
                flight.unanswered |= broken;
            }
            let acknowledged = line.acknowledged().saturating_sub(self.passed) as usize;
            if let Some(oldest) = self.flight.front_mut() {
                let (messages, bytes) = whole_frames(&oldest.body, acknowledged);
                // Who made the request counted it; should he have miscounted, nothing is settled twice.
                let messages = messages.min(oldest.messages);
                oldest.messages -= messages;
                oldest.body = oldest.body.slice(bytes..);
                if messages > 0 {
                    self.passed(messages, bytes, Instant::now());
                }
            }
        }
        self.written = 0;
        if outcome.is_ok() && !self.doubt.is_empty() {
            self.breaks = 0;
        }
        self.doubt.end(outcome);
    }

    /// One attempt: until all is written and no more than [`WINDOW`] in flight.
    async fn attempt(&mut self) -> Result<(), Failed> {
        if let Some(line) = &mut self.line {
            let is_over = !line.look().await || line.used.elapsed() >= self.idle_close;
            self.take_acknowledged();
            if self.written == 0 && is_over {
                // Nothing was under way on it, so its end is no failed attempt.
                self.end_idle_line();
            }
        }
        let Err(error) = self.send().await else { return Ok(()) };
        let Some(line) = &mut self.line else { return Err(Failed { error, at_once: false }) };
        if line.end() == Some(End::Closed) {
            heard_out(line).await;
            self.drop_line(Ok(()));
        } else {
            self.drop_line(Err(LossReason::Unanswered));
        }
        if self.flight.is_empty() { Ok(()) } else { Err(Failed { error, at_once: self.passed > 0 }) }
    }

    /// Writes all that is not written, over a new connection if there is none; on trial only the first request.
    async fn send(&mut self) -> Result<(), AttemptError> {
        match &mut self.line {
            Some(line) if line.end().is_some() => return Err(line.why_ended()),
            None if !self.flight.is_empty() => self.connect().await?,
            _ => {}
        }
        while let Some(next) = self.flight.get(self.written) {
            if self.is_on_trial() {
                break;
            }
            let body = next.body.clone();
            let Some(line) = &mut self.line else { return Err(AttemptError::Closed) };
            match timeout(STALLED, line.write(&body)).await {
                Ok(true) => self.written += 1,
                Ok(false) => return Err(line.why_ended()),
                Err(_) => {
                    line.cut();
                    return Err(AttemptError::Stalled(STALLED));
                }
            }
            self.wait_for_room(WINDOW).await?;
        }
        Ok(())
    }

    async fn connect(&mut self) -> Result<(), AttemptError> {
        if let Some(at) = self.connect_at.take() {
            sleep_until(at).await;
        }
        let connected_by = after(Instant::now(), self.config.connect_timeout);
        self.line = Some(Line::connect(&self.endpoint, &self.config, connected_by).await?);
        (self.passed, self.has_delivered) = (0, false);
        let jitter = Duration::from_millis(fastrand::u64(0..=IDLE_JITTER_MS));
        self.idle_close = self.config.idle_close.saturating_sub(jitter).max(self.config.idle_close / 2);
        Ok(())
    }

    /// Waits until no more than so many bytes are in flight. Cancel safe.
    async fn wait_for_room(&mut self, most: usize) -> Result<(), AttemptError> {
        while let Some(line) = &mut self.line {
            if line.end().is_some() {
                return Err(line.why_ended());
            }
            if line.in_flight() <= most as u64 {
                break;
            }
            if line.silence() >= STALLED {
                line.cut();
                return Err(AttemptError::Stalled(STALLED));
            }
            // Ended or not, the next turn shows.
            timeout(SOON, line.ended()).await.ok();
        }
        self.take_acknowledged();
        Ok(())
    }
}

impl fmt::Debug for SyslogOutlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyslogOutlet")
            .field("endpoint", &self.endpoint)
            .field("config", &self.config)
            .field("open", &self.line.is_some())
            .field("in_flight", &self.flight.len())
            .field("doubt", &self.doubt)
            .finish_non_exhaustive()
    }
}

/// How many of the frames lie within the first `bytes`, and their length.
fn whole_frames(frames: &[u8], bytes: usize) -> (u32, usize) {
    let (mut count, mut at) = (0, 0);
    while let Ok(Some(content)) = next_frame(&frames[at..], FrameLimit::MAX) {
        if at + content.end > bytes {
            break;
        }
        at += content.end;
        count += 1;
    }
    (count, at)
}

/// A peer that has closed its side may still read, or answers what it gets with a reset: waits until that is known
/// of all that was written.
async fn heard_out(line: &mut Line) {
    let deadline = Instant::now() + HEARD_OUT;
    while line.in_flight() > 0 && !line.is_over() && Instant::now() < deadline {
        sleep(SOON).await;
    }
}
