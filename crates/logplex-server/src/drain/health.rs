//! How a drain's deliveries go: what its last attempts said, and whether it is in quarantine.
//!
//! A peer that refuses request after request for good (a revoked key, a path that is gone) would cost every
//! message a request and the reader a notice each. After [`REFUSALS`] in a row the drain is quarantined: the
//! ring collects and drops its oldest, and from time to time the notice of what went is sent alone, as a
//! probe that risks no message. The first 2xx ends it, and so do a new URL and the order to resume. A restart
//! begins without it.
//!
//! The channel is told once when a quarantine begins and once when it ends.

use std::collections::VecDeque;
use std::time::Duration;

use chrono::{DateTime, Utc};
use http::StatusCode;
use logplex_core::Chain;
use logplex_core::outlet::AttemptError;
use tokio::time::Instant;

/// How many requests in a row must be refused for good before a drain is quarantined. A single refusal may
/// be of one request; after this many, with as many messages lost as they held, the next will fare no better.
pub(crate) const REFUSALS: u32 = 8;

/// Pauses between probes double up to this.
const PROBE_PAUSE_MAX: Duration = Duration::from_secs(60 * 60);

/// The most lines that wait to be told; one more replaces the oldest. They are taken every second.
const LINES_MAX: usize = 16;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Health {
    token: String,
    /// The pause before the first probe.
    probe_after: Duration,
    refused_in_a_row: u32,
    quarantine: Option<Quarantine>,
    under_way: Option<UnderWay>,
    last_status: Option<StatusCode>,
    last_error: Option<String>,
    last_attempt_at: Option<DateTime<Utc>>,
    last_delivered_at: Option<DateTime<Utc>>,
    /// What the channel has yet to be told.
    lines: VecDeque<String>,
}

#[derive(Clone, Copy, Debug)]
struct Quarantine {
    since: Instant,
    /// Without jitter.
    pause: Duration,
    probe_at: Instant,
}

/// A request that is being sent or retried.
#[derive(Clone, Copy, Debug)]
struct UnderWay {
    /// When its oldest message came in.
    oldest: Option<DateTime<Utc>>,
    /// Whether its last attempt failed.
    failed: bool,
    /// What its last attempt was answered.
    answer: Option<StatusCode>,
    next_try: Option<Instant>,
}

/// What a status shows of a drain's health at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) quarantined: bool,
    pub(crate) delivering: bool,
    pub(crate) retrying: bool,
    /// The oldest message that is under way came in then.
    pub(crate) oldest: Option<DateTime<Utc>>,
    pub(crate) last_status: Option<u16>,
    pub(crate) last_error: Option<String>,
    pub(crate) last_attempt_at: Option<DateTime<Utc>>,
    pub(crate) last_delivered_at: Option<DateTime<Utc>>,
    pub(crate) next_try: Option<Instant>,
}

impl Health {
    pub(crate) fn new(token: &str, probe_after: Duration) -> Health {
        Health {
            token: token.to_owned(),
            probe_after,
            refused_in_a_row: 0,
            quarantine: None,
            under_way: None,
            last_status: None,
            last_error: None,
            last_attempt_at: None,
            last_delivered_at: None,
            lines: VecDeque::new(),
        }
    }

    /// When to probe, if quarantined.
    pub(crate) fn probe_at(&self) -> Option<Instant> {
        self.quarantine.map(|quarantine| quarantine.probe_at)
    }

    /// A request is about to be sent; its oldest message came in at `oldest`.
    pub(crate) fn begin(&mut self, oldest: Option<DateTime<Utc>>) {
        self.under_way = Some(UnderWay { oldest, failed: false, answer: None, next_try: None });
    }

    /// An attempt ended, with this answer or without one; the next is made after `retry_in`, if ever. Returns whether
    /// the one before failed.
    pub(crate) fn attempted(
        &mut self,
        outcome: Result<StatusCode, &AttemptError>,
        retry_in: Option<Duration>,
        now: DateTime<Utc>,
    ) -> bool {
        let failed_before = self.last_error.is_some();
        self.last_attempt_at = Some(now);
        self.last_status = outcome.ok().or(self.last_status);
        self.last_error = match outcome {
            Ok(status) if status.is_success() => None,
            Ok(status) => Some(format!("the peer answered {status}")),
            Err(error) => Some(Chain(error).to_string()),
        };
        if self.last_error.is_none() {
            self.last_delivered_at = Some(now);
        }
        if let Some(under_way) = &mut self.under_way {
            under_way.failed = self.last_error.is_some();
            under_way.answer = outcome.ok();
            under_way.next_try = retry_in.map(|pause| Instant::now() + pause);
        }
        failed_before
    }

    /// The request under way was delivered or given up.
    pub(crate) fn settled(&mut self, delivered: bool) {
        let answer = self.under_way.take().and_then(|under_way| under_way.answer);
        if delivered {
            self.refused_in_a_row = 0;
            return self.end_quarantine("it delivers again");
        }
        let refusal = answer.filter(|status| is_final(*status));
        self.refused_in_a_row = if refusal.is_some() { self.refused_in_a_row + 1 } else { 0 };
        match (&mut self.quarantine, refusal) {
            (Some(quarantine), _) => {
                quarantine.pause = (quarantine.pause * 2).min(PROBE_PAUSE_MAX);
                quarantine.probe_at = Instant::now() + jittered(quarantine.pause);
            }
            (None, Some(status)) if self.refused_in_a_row >= REFUSALS => self.quarantine(status),
            (None, _) => {}
        }
    }

    fn quarantine(&mut self, last: StatusCode) {
        let (since, pause) = (Instant::now(), jittered(self.probe_after));
        self.quarantine = Some(Quarantine { since, pause: self.probe_after, probe_at: since + pause });
        let (token, seconds) = (&self.token, pause.as_secs_f64().round());
        self.say(format!(
            "Drain {token} quarantined: {REFUSALS} requests in a row were refused, last {last}; next probe in {seconds} s"
        ));
    }

    /// Begins afresh: whatever was refused before counts no more.
    pub(crate) fn forgive(&mut self, why: &str) {
        self.refused_in_a_row = 0;
        self.end_quarantine(why);
    }

    fn end_quarantine(&mut self, why: &str) {
        if let Some(quarantine) = self.quarantine.take() {
            let (token, seconds) = (&self.token, quarantine.since.elapsed().as_secs());
            self.say(format!("Drain {token} out of quarantine after {seconds} s: {why}"));
        }
    }

    fn say(&mut self, line: String) {
        if self.lines.len() >= LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// Takes what the channel has yet to be told, oldest first.
    pub(crate) fn take_lines(&mut self) -> VecDeque<String> {
        std::mem::take(&mut self.lines)
    }

    /// Whether the channel was told everything.
    pub(crate) fn is_told(&self) -> bool {
        self.lines.is_empty()
    }

    pub(crate) fn seen(&self) -> Seen {
        Seen {
            quarantined: self.quarantine.is_some(),
            delivering: self.under_way.is_some(),
            retrying: self.under_way.is_some_and(|under_way| under_way.failed),
            oldest: self.under_way.and_then(|under_way| under_way.oldest),
            last_status: self.last_status.map(|status| status.as_u16()),
            last_error: self.last_error.clone(),
            last_attempt_at: self.last_attempt_at,
            last_delivered_at: self.last_delivered_at,
            next_try: match self.under_way {
                Some(under_way) => under_way.next_try,
                None => self.probe_at(),
            },
        }
    }
}

/// Whether an answer says that the like of this request will not be taken either. 413 is about one request's
/// size.
fn is_final(status: StatusCode) -> bool {
    matches!(status.as_u16(), 300..=499) && !matches!(status.as_u16(), 408 | 413 | 425 | 429)
}

/// A tenth more or less, so that many drains of one peer do not probe in step.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.9 + 0.2 * fastrand::f64())
}

#[cfg(test)]
mod tests;
