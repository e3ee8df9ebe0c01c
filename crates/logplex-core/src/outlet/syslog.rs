//! The ordered outlet for syslog over TCP and TLS: writes one request after the other to one endpoint.
//!
//! As [`Outlet`](super::Outlet): one connection, one request in flight, no task and no queue of its own.
//!
//! # What counts as delivered
//!
//! There are no answers, so this is made of what TCP tells (`line.rs`):
//!
//! * A message is **in flight** until the peer's TCP has acknowledged its last byte.
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
//! # An attempt
//! Connects, or uses the connection of the request before if its peer has not closed it and it has been used
//! within [`OutletConfig::idle_close`], less up to 5 s so that many connections do not close in step. If that one
//! ends, or one that has carried something of this request, the next attempt starts at once; else after a pause as
//! [`RetryPolicy`](super::RetryPolicy) says. A peer that acknowledges nothing for 30 s is left: its connection is
//! closed. What a peer says is read and thrown away.

use std::collections::VecDeque;
use std::fmt;
use std::future;
use std::sync::Arc;
use std::time::Duration;

use http::status::StatusCode;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::line::{End, Line};
use super::retry::{self, Verdict};
use super::stop::{Stop, is_due, rest_until, stopped};
use super::{Attempt, AttemptError, Delivered, Endpoint, GivenUp, OutletConfig, Request, after};
use crate::frame::{FrameLimit, next_frame};
use crate::ledger::LossReason;

/// How long what was acknowledged is in doubt. A process that lives reads within milliseconds; and all that is in
/// doubt when a peer resets is told as lost, though most of it was read, so longer is not safer.
const DOUBT: Duration = Duration::from_millis(100);

/// The most bytes in doubt, so that a fast stream does not hold more in memory than that.
const MOST_DOUBT: usize = 1024 * 1024;

/// How long a peer that has closed its side may take to read what was under way.
const HEARD_OUT: Duration = Duration::from_secs(1);

/// How long a peer may take nothing of what it is sent.
const STALLED: Duration = Duration::from_secs(30);

/// Between looks at what was acknowledged, of which the kernel gives no word: for as long as the second says, and then
/// growing up to that. A peer that is near has mostly acknowledged within a millisecond or two.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LAST_LOOK: Duration = Duration::from_millis(20);

/// The most by which a connection is closed before its idle time is over.
const IDLE_JITTER_MS: u64 = 5_000;

/// What became of messages, oldest first: each that was handed to [`SyslogOutlet::deliver`] is settled once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// How many messages, from the oldest unsettled one on.
    pub messages: u32,
    /// Whether they were delivered, or why they are lost.
    pub outcome: Result<(), LossReason>,
}

/// Writes requests to one endpoint, in order. See the [module](self) for what counts as delivered.
///
/// [`deliver`](SyslogOutlet::deliver) returns as soon as the next request may be written; what became of the
/// messages is then told by [`settled`](SyslogOutlet::settled), in order and perhaps later.
pub struct SyslogOutlet {
    endpoint: Endpoint,
    config: OutletConfig,
    /// The connection of the request before.
    line: Option<Line>,
    /// How long the connection may be idle; another for each.
    idle_close: Duration,
    /// How long something is in doubt.
    pub(super) doubt_time: Duration,
    /// What the connection carried and is in doubt.
    doubt: VecDeque<Doubt>,
    settled: VecDeque<Settled>,
}

#[derive(Debug)]
struct Doubt {
    messages: u32,
    bytes: usize,
    since: Instant,
    /// Why these are lost whatever becomes of the connection; they wait for those ahead of them.
    lost: Option<LossReason>,
}

/// How an attempt ended before all was acknowledged.
struct Failed {
    error: AttemptError,
    /// Whether what was not acknowledged may have been taken all the same.
    unanswered: bool,
    /// Whether it was a connection that had worked before.
    used: bool,
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
            doubt_time: DOUBT,
            doubt: VecDeque::new(),
            settled: VecDeque::new(),
        }
    }

    /// Where the messages go.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Writes one request: tries until all of it is acknowledged or the rest is given up. `observe` is told of
    /// every attempt once, when it has ended; an attempt that got everything acknowledged shows as 200.
    ///
    /// Headers and frame id have no meaning here. The body must hold whole frames, [`Request::messages`] of them.
    ///
    /// # Errors
    ///
    /// When something of the request was given up. [`SyslogOutlet::settled`] says what.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves all of the request unsettled, though some of it may have arrived; only
    /// [`SyslogOutlet::leave`] and [`SyslogOutlet::settled`] may be called then.
    pub async fn deliver(
        &mut self,
        request: &Request,
        stop: &mut Stop,
        mut observe: impl FnMut(Attempt<'_>),
    ) -> Result<Delivered, GivenUp> {
        let joined;
        let body: &[u8] = match request.body.as_slice() {
            [one] => one,
            parts => {
                joined = parts.concat();
                &joined
            }
        };
        let started = Instant::now();
        let mut rest = Rest { at: 0, messages: request.messages, fates: Vec::new() };
        let mut attempts = 0;
        let mut unanswered = false;
        let mut reason = LossReason::Stopped;
        if is_due(stop, started) {
            self.settle(rest.messages, Err(reason));
            return Err(GivenUp { reason, attempts, last: AttemptError::Stopped.into() });
        }
        loop {
            attempts += 1;
            let begun = Instant::now();
            let attempt = tokio::select! {
                biased;
                () = stopped(stop) => None,
                attempt = self.attempt(&body[rest.at..]) => Some(attempt),
            };
            let failed = attempt.unwrap_or_else(|| Err(self.interrupted())).err();
            let advanced = match (&failed, &self.line) {
                (None, _) => rest.advance(body, body.len() - rest.at, None),
                // It still stands, so what was acknowledged is in doubt like that of a whole request.
                (Some(_), Some(line)) if line.end().is_none() => {
                    rest.advance(body, line.acknowledged(), None)
                }
                (Some(_), Some(line)) => {
                    let clean = line.end() == Some(End::Closed);
                    let fate = if clean { Ok(()) } else { Err(LossReason::Unanswered) };
                    rest.advance(body, line.acknowledged(), Some(fate))
                }
                (Some(_), None) => false,
            };
            self.take_end();
            let failed = failed.filter(|_| rest.messages > 0);
            let outcome = failed.as_ref().map_or(Ok(StatusCode::OK), |failed| Err(&failed.error));
            let at_once = failed.as_ref().is_some_and(|failed| {
                (failed.used || advanced) && !matches!(failed.error, AttemptError::Stopped)
            });
            let verdict = failed.as_ref().map(|failed| retry::judge_error(&failed.error, reason));
            let retry_at = match verdict {
                Some(Verdict::Again(_)) if at_once => Some(Instant::now()),
                Some(Verdict::Again(_)) => self.config.retry.retry_at(attempts, started, None, stop),
                _ => None,
            };
            observe(Attempt {
                number: attempts,
                took: begun.elapsed(),
                outcome,
                retry_in: retry_at.map(|at| at.saturating_duration_since(Instant::now())),
            });
            let Some(failed) = failed else {
                self.keep(rest);
                return Ok(Delivered { status: StatusCode::OK, attempts });
            };
            unanswered |= failed.unanswered;
            reason = match verdict {
                _ if unanswered => LossReason::Unanswered,
                Some(Verdict::Again(reason) | Verdict::Final(reason)) => reason,
                Some(Verdict::Delivered(_)) | None => reason,
            };
            let rested = match retry_at {
                Some(at) => rest_until(at, stop).await,
                None => false,
            };
            if !rested {
                let (messages, bytes) = (rest.messages, body.len() - rest.at);
                rest.fates.push(Fate { messages, bytes, outcome: Some(Err(reason)) });
                self.keep(rest);
                return Err(GivenUp { reason, attempts, last: failed.error.into() });
            }
        }
    }

    /// The next messages whose fate is known.
    pub fn settled(&mut self) -> Option<Settled> {
        let now = Instant::now();
        let mut bytes: usize = self.doubt.iter().map(|doubt| doubt.bytes).sum();
        while let Some(oldest) = self.doubt.front()
            && (bytes - oldest.bytes >= MOST_DOUBT || now >= oldest.since + self.doubt_time)
        {
            // Time that passed is no sign to whoever comes late: a reset may be here that nobody has read.
            if self.line.as_ref().is_some_and(|line| line.end().is_none() && line.is_over()) {
                self.line = None;
                self.end_doubt(Err(LossReason::Unanswered));
                break;
            }
            bytes -= oldest.bytes;
            let (messages, outcome) = (oldest.messages, oldest.lost.map_or(Ok(()), Err));
            self.doubt.pop_front();
            self.settle(messages, outcome);
        }
        self.settled.pop_front()
    }

    /// Watches the connection between requests: closes it when it has been idle for too long, and returns when
    /// there may be something [`settled`](SyslogOutlet::settled). For a `select!` with the wait for work.
    ///
    /// # Cancel safety
    ///
    /// Safe: the connection stays as it is.
    pub async fn tend(&mut self) {
        let Some(line) = &mut self.line else { return self.wait_for_doubt().await };
        let too_old = after(line.used, self.idle_close);
        let certain = self.doubt.front().map(|doubt| doubt.since + self.doubt_time);
        let wake = certain.map_or(too_old, |certain| certain.min(too_old));
        if timeout_at(wake, line.ended()).await.is_err() && certain.is_none() {
            // TLS has a farewell of its own, without which a peer may believe that something is missing.
            timeout(HEARD_OUT, line.hang_up()).await.ok();
            self.leave();
        }
        self.take_end();
    }

    /// Without a connection nothing can happen any more, unless something is settled already.
    async fn wait_for_doubt(&self) {
        if self.settled.is_empty() && self.doubt.is_empty() {
            future::pending().await
        }
    }

    /// Ends the connection and waits until all is settled: until the peer has closed its side too, the
    /// connection has stood long enough, or the stop instant.
    pub async fn finish(&mut self, stop: &mut Stop) {
        if let Some(line) = &mut self.line {
            let certain = self.doubt.back().map_or_else(Instant::now, |doubt| doubt.since + self.doubt_time);
            tokio::select! {
                biased;
                () = stopped(stop) => {}
                () = sleep_until(certain) => {}
                () = async { line.hang_up().await; line.ended().await } => {}
            }
            self.take_end();
        }
        self.leave();
    }

    /// Closes the connection, if there is one. It stood: what is in doubt is delivered.
    pub fn leave(&mut self) {
        self.line = None;
        self.end_doubt(Ok(()));
    }

    /// If the connection has ended, settles what was in doubt.
    fn take_end(&mut self) {
        let outcome = match self.line.as_ref().and_then(Line::end) {
            None => return,
            Some(End::Closed) => Ok(()),
            Some(End::Broken) => Err(LossReason::Unanswered),
        };
        self.line = None;
        self.end_doubt(outcome);
    }

    fn end_doubt(&mut self, outcome: Result<(), LossReason>) {
        for doubt in std::mem::take(&mut self.doubt) {
            self.settle(doubt.messages, doubt.lost.map_or(outcome, Err));
        }
    }

    /// Takes over what became of a request: what is in doubt if its connection still stands.
    fn keep(&mut self, rest: Rest) {
        let since = Instant::now();
        for Fate { messages, bytes, outcome } in rest.fates {
            // What is settled already still waits for those ahead of it.
            let waits = self.line.is_some() && (outcome.is_none() || !self.doubt.is_empty());
            let outcome = outcome.unwrap_or(Ok(()));
            if waits {
                self.doubt.push_back(Doubt { messages, bytes, since, lost: outcome.err() });
            } else {
                self.settle(messages, outcome);
            }
        }
    }

    fn settle(&mut self, messages: u32, outcome: Result<(), LossReason>) {
        if messages > 0 {
            self.settled.push_back(Settled { messages, outcome });
        }
    }

    /// One attempt: until all is acknowledged, or the connection has ended. The line stays, ended or not.
    async fn attempt(&mut self, body: &[u8]) -> Result<(), Failed> {
        let used = self.look_at_line().await;
        let line = match &mut self.line {
            Some(line) => line,
            none => {
                let connected_by = after(Instant::now(), self.config.connect_timeout);
                let line = Line::connect(&self.endpoint, &self.config, connected_by).await;
                let line = line.map_err(|error| Failed { error: error.into(), unanswered: false, used })?;
                let jitter = Duration::from_millis(fastrand::u64(0..=IDLE_JITTER_MS));
                self.idle_close =
                    self.config.idle_close.saturating_sub(jitter).max(self.config.idle_close / 2);
                none.insert(line)
            }
        };
        let error = match send(line, body).await {
            Sent::All => return Ok(()),
            Sent::Stalled => {
                line.cut();
                AttemptError::Stalled(STALLED)
            }
            Sent::Ended if line.end() == Some(End::Closed) => {
                if heard_out(line, body.len()).await {
                    return Ok(());
                }
                AttemptError::Closed
            }
            Sent::Ended => AttemptError::Reset(line.take_problem()),
        };
        Err(Failed { unanswered: !matches!(error, AttemptError::Closed), error, used })
    }

    /// The stop instant came in the middle of an attempt.
    fn interrupted(&self) -> Failed {
        let unanswered = self.line.as_ref().is_some_and(Line::has_begun);
        Failed { error: AttemptError::Stopped, unanswered, used: false }
    }

    /// Whether the connection of the request before can be used again; takes it away if not.
    async fn look_at_line(&mut self) -> bool {
        let Some(line) = &mut self.line else { return false };
        let stands = line.look().await;
        if stands && line.used.elapsed() >= self.idle_close {
            self.leave();
        }
        self.take_end();
        self.line.is_some()
    }
}

impl fmt::Debug for SyslogOutlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyslogOutlet")
            .field("endpoint", &self.endpoint)
            .field("config", &self.config)
            .field("open", &self.line.is_some())
            .field("doubt", &self.doubt)
            .finish_non_exhaustive()
    }
}

/// What is left of a request, and what became of the rest.
struct Rest {
    /// Where the first frame begins that is not known to be acknowledged.
    at: usize,
    messages: u32,
    fates: Vec<Fate>,
}

/// What became of the next messages of a request.
struct Fate {
    messages: u32,
    bytes: usize,
    /// `None` is acknowledged, on a connection that stands.
    outcome: Option<Result<(), LossReason>>,
}

impl Rest {
    /// The first `acknowledged` bytes of the rest arrived. Returns whether that was a whole frame or more.
    fn advance(&mut self, body: &[u8], acknowledged: usize, outcome: Option<Result<(), LossReason>>) -> bool {
        let (messages, bytes) = whole_frames(&body[self.at..], acknowledged);
        // Who made the request counted it; should he have miscounted, nothing is settled twice.
        let messages =
            if self.at + bytes == body.len() { self.messages } else { messages.min(self.messages) };
        self.at += bytes;
        self.messages -= messages;
        if messages > 0 {
            self.fates.push(Fate { messages, bytes, outcome });
        }
        messages > 0
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
/// of all that was written. Returns whether it was all taken.
async fn heard_out(line: &Line, len: usize) -> bool {
    let deadline = Instant::now() + HEARD_OUT;
    let mut pause = FIRST_LOOK;
    loop {
        if line.acknowledged() >= len {
            return true;
        }
        if line.is_over() || !line.awaits_word() || Instant::now() >= deadline {
            return false;
        }
        sleep(pause).await;
        pause = (pause * 2).min(LAST_LOOK);
    }
}

/// How far writing came.
enum Sent {
    All,
    Ended,
    Stalled,
}

/// Writes and waits until all is acknowledged.
async fn send(line: &mut Line, body: &[u8]) -> Sent {
    match timeout(STALLED, line.write(body)).await {
        Ok(true) => {}
        Ok(false) => return Sent::Ended,
        Err(_) => return Sent::Stalled,
    }
    let mut known = (0, Instant::now());
    let mut pause = FIRST_LOOK;
    let written_at = Instant::now();
    loop {
        let acknowledged = line.acknowledged();
        if acknowledged >= body.len() {
            return Sent::All;
        }
        if acknowledged > known.0 {
            known = (acknowledged, Instant::now());
        } else if known.1.elapsed() >= STALLED {
            return Sent::Stalled;
        }
        tokio::select! {
            biased;
            () = line.ended() => return Sent::Ended,
            () = sleep(pause) => if written_at.elapsed() >= LAST_LOOK {
                pause = (pause * 2).min(LAST_LOOK);
            },
        }
    }
}
