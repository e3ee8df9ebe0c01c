//! What the API tells of a drain: its state, its last attempts, and one snapshot of its ledger.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use logplex_core::outlet::Protocol;
use serde::Serialize;
use tokio::time::Instant;

use super::Drain;
use super::health::Seen;
use crate::mailbox::lock;
use crate::metrics::{dropped_by_reason, lost_by_reason};

/// What a drain does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// Nothing is held.
    Idle,
    /// Messages are being sent.
    Delivering,
    /// The request under way failed and is tried again.
    Retrying,
    /// Sends only probes; see [`super::health`].
    Quarantined,
    /// Sends nothing until it is resumed.
    Paused,
}

impl State {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            State::Idle => "idle",
            State::Delivering => "delivering",
            State::Retrying => "retrying",
            State::Quarantined => "quarantined",
            State::Paused => "paused",
        }
    }

    fn of(paused: bool, seen: &Seen, held: u64) -> State {
        match () {
            () if paused => State::Paused,
            () if seen.quarantined => State::Quarantined,
            () if seen.retrying => State::Retrying,
            () if seen.delivering || held > 0 => State::Delivering,
            () => State::Idle,
        }
    }
}

/// A drain's state and counts. Times are RFC 3339 with milliseconds; what never was is null.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct DrainStatus {
    pub(crate) id: u64,
    pub(crate) token: String,
    /// Scheme, host and port; the rest of a URL may hold secrets.
    pub(crate) url: String,
    pub(crate) insecure: bool,
    /// The options of the URL's fragment, one each.
    pub(crate) options: Vec<String>,
    pub(crate) state: State,
    /// The status of the last answer; syslog has none.
    pub(crate) last_status: Option<u16>,
    /// Why the last attempt failed; null if it did not.
    pub(crate) last_error: Option<String>,
    pub(crate) last_attempt_at: Option<String>,
    pub(crate) last_delivered_at: Option<String>,
    /// When it is tried again: a retry, or a quarantined drain's probe.
    pub(crate) next_try_at: Option<String>,
    pub(crate) held: u64,
    /// How long ago the oldest held message came in; null if none is held.
    pub(crate) oldest_held_seconds: Option<u64>,
    pub(crate) accepted: u64,
    pub(crate) delivered: u64,
    /// By reason, those that are not 0.
    pub(crate) dropped: BTreeMap<&'static str, u64>,
    pub(crate) lost: BTreeMap<&'static str, u64>,
}

impl Drain {
    /// What this drain does at the moment.
    pub(crate) fn state(&self) -> State {
        let look = self.mailbox.look();
        State::of(look.paused, &lock(&self.health).seen(), look.ledger.held())
    }

    /// All counts are of one snapshot of the ledger.
    pub(crate) fn status(&self) -> DrainStatus {
        let look = self.mailbox.look();
        let seen = lock(&self.health).seen();
        let destination = self.destination();
        let (now, held) = (Utc::now(), look.ledger.held());
        let oldest = [seen.oldest, look.oldest].into_iter().flatten().min().filter(|_| held > 0);
        DrainStatus {
            id: self.id,
            token: self.token.clone(),
            url: destination.endpoint.to_string(),
            insecure: destination.insecure,
            options: destination.options.clone(),
            state: State::of(look.paused, &seen, held),
            last_status: seen.last_status.filter(|_| destination.endpoint.protocol() == Protocol::Http),
            last_attempt_at: seen.last_attempt_at.map(written),
            last_delivered_at: seen.last_delivered_at.map(written),
            next_try_at: seen.next_try.and_then(|at| in_wall_time(at, now)).map(written),
            last_error: seen.last_error,
            held,
            oldest_held_seconds: oldest.map(|at| (now - at).num_seconds().try_into().unwrap_or(0)),
            accepted: look.ledger.accepted(),
            delivered: look.ledger.delivered(),
            dropped: non_zero(dropped_by_reason(&look.ledger)),
            lost: non_zero(lost_by_reason(&look.ledger)),
        }
    }
}

fn non_zero(counts: Vec<(&'static str, u64)>) -> BTreeMap<&'static str, u64> {
    counts.into_iter().filter(|(_, count)| *count > 0).collect()
}

fn written(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, false)
}

/// `None` once it has passed.
fn in_wall_time(at: Instant, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let pause = at.checked_duration_since(Instant::now())?;
    now.checked_add_signed(TimeDelta::from_std(pause).ok()?)
}
