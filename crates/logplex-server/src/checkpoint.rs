//! What a crash may cost, written down before it can happen.
//!
//! A crash loses what rings held. So that the next start can tell each drain an upper bound, a channel's
//! checkpoint holds, for each drain, what was held or untold at one moment, and the sequence number up to
//! which the channel may go on without writing again: its *reservation*. Whoever died at most lost
//! `outstanding + (reserved - at)`.
//!
//! Once a second the checkpoints of all channels that are not settled are written anew. A channel is settled
//! when all of its messages were delivered or told and nothing was published for a second; its checkpoint is
//! then exact, and the first batch after that pays for one small write. A stop writes exact numbers.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use logplex_core::{DropReason, Gap, LossReason, Tally, Teller};
use serde::{Deserialize, Serialize};
use tracing::error;

use crate::channel::{Channel, Spine};
use crate::drain::Drain;
use crate::history::Place;
use crate::store::Store;

/// The fewest messages that a busy channel reserves at once.
const RESERVE_MIN: u64 = 1024;

/// How far a channel may go before it must write again.
#[derive(Debug, Default)]
pub(crate) struct Reservation {
    /// Messages so far, and those that notices among them tell of.
    spent: u64,
    reserved: u64,
    at_last_tick: u64,
    /// Whether the ticker looks after this channel.
    watched: bool,
}

/// A channel's checkpoint as it is stored.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// Messages that may have entered after the numbers below were taken.
    reserved: u64,
    /// Set by a graceful stop: the numbers are exact.
    stopped: bool,
    /// When the numbers were taken.
    at: DateTime<Utc>,
    drains: HashMap<u64, Outstanding>,
    /// Where the history stood then, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    history: Option<Place>,
}

/// What one drain and its channel had not been told.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Outstanding {
    /// Accepted and not yet delivered, dropped or lost.
    held: u64,
    reader: StoredGap,
    channel: StoredGap,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct StoredGap {
    dropped: Option<StoredTally>,
    lost: Option<StoredTally>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upstream: Option<StoredTally>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredTally {
    count: u64,
    since: DateTime<Utc>,
    reason: String,
}

impl StoredGap {
    fn new(gap: &Gap) -> StoredGap {
        StoredGap {
            dropped: store_tally(&gap.dropped, DropReason::as_str),
            lost: store_tally(&gap.lost, LossReason::as_str),
            upstream: store_tally(&gap.upstream, |()| "told"),
        }
    }

    fn to_gap(&self) -> Gap {
        Gap {
            dropped: load_tally(self.dropped.as_ref(), DropReason::from_name),
            lost: load_tally(self.lost.as_ref(), LossReason::from_name),
            upstream: load_tally(self.upstream.as_ref(), |_| Some(())),
        }
    }
}

fn store_tally<R: Copy>(tally: &Tally<R>, name: fn(R) -> &'static str) -> Option<StoredTally> {
    let (since, reason) = (tally.since?, tally.reason?);
    Some(StoredTally { count: tally.count, since, reason: name(reason).to_owned() })
}

fn load_tally<R>(stored: Option<&StoredTally>, reason: fn(&str) -> Option<R>) -> Tally<R> {
    stored.map_or_else(Tally::default, |stored| Tally {
        count: stored.count,
        since: Some(stored.since),
        reason: reason(&stored.reason),
    })
}

impl Checkpoint {
    pub(crate) fn decode(record: &[u8]) -> anyhow::Result<Checkpoint> {
        Ok(serde_json::from_slice(record)?)
    }

    /// Where the history stood, and how many sequence numbers may have been given away since.
    pub(crate) fn history(&self) -> Option<(&Place, u64)> {
        self.history.as_ref().map(|place| (place, if self.stopped { 0 } else { self.reserved }))
    }

    /// What the drain and the channel must be told at this start: exact after a stop, at most that much
    /// after a crash.
    pub(crate) fn untold(&self, drain: u64) -> Option<(Gap, Gap)> {
        let outstanding = self.drains.get(&drain)?;
        let mut gaps = (outstanding.reader.to_gap(), outstanding.channel.to_gap());
        // A stop leaves nothing held, unless a drain did not end within the grace period.
        let crashed = outstanding.held + if self.stopped { 0 } else { self.reserved };
        if crashed > 0 {
            let tally = Tally { count: crashed, since: Some(self.at), reason: Some(DropReason::Crash) };
            for gap in [&mut gaps.0, &mut gaps.1] {
                gap.dropped.merge(tally);
                // What the notice must say, even where an earlier drop gives `since`.
                gap.dropped.reason = Some(DropReason::Crash);
            }
        }
        Some(gaps).filter(|(reader, channel)| !reader.is_empty() || !channel.is_empty())
    }
}

impl Spine {
    /// Before `count` messages, with those that notices among them tell of, are handed to drains: makes sure
    /// that the stored checkpoint covers them. Returns true if the channel must be put on the ticker's list.
    pub(crate) fn reserve(
        &mut self,
        channel: &Channel,
        store: &Store,
        count: u64,
        now: DateTime<Utc>,
    ) -> bool {
        if self.drains.is_empty() && !channel.keeps_history() {
            return false;
        }
        if self.reservation.spent + count > self.reservation.reserved {
            self.write(channel, store, count.max(RESERVE_MIN), false, now);
        }
        self.reservation.spent += count;
        !std::mem::replace(&mut self.reservation.watched, true)
    }

    /// Writes the checkpoint, reserving `ahead` messages. A store that cannot be written does not stop the
    /// stream; it is said, once a failed write.
    fn write(&mut self, channel: &Channel, store: &Store, ahead: u64, stopped: bool, now: DateTime<Utc>) {
        if self.removed {
            return;
        }
        let drains =
            self.drains.iter().map(|drain| (drain.id, outstanding(&drain.mailbox.ledger()))).collect();
        let history = channel.place(self);
        let checkpoint = Checkpoint { reserved: ahead, stopped, at: now, drains, history };
        self.reservation.reserved = self.reservation.spent + ahead;
        let written = match serde_json::to_vec(&checkpoint) {
            Ok(record) => store.put_checkpoint(&channel.id, &record),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = written {
            error!(
                channel = &*channel.id,
                error = format!("{error:#}"),
                "checkpoint not written; a crash now would under-tell"
            );
        }
    }
}

fn outstanding(ledger: &logplex_core::Ledger) -> Outstanding {
    Outstanding {
        held: ledger.held() + ledger.upstream_held(),
        reader: StoredGap::new(ledger.gap(Teller::Reader)),
        channel: StoredGap::new(ledger.gap(Teller::Channel)),
    }
}

impl Channel {
    /// The ticker's look at a channel that is not settled. Returns false when it is, and needs no more looks.
    pub(crate) fn tick(self: &Arc<Channel>, store: &Store, now: DateTime<Utc>) -> bool {
        let mut spine = self.spine();
        let spent = spine.reservation.spent;
        let flow = spent - std::mem::replace(&mut spine.reservation.at_last_tick, spent);
        let ahead = if flow == 0 { 0 } else { (2 * flow).max(RESERVE_MIN) };
        spine.write(self, store, ahead, false, now);
        let settled = flow == 0
            && self.history_is_stored(&spine)
            && spine.drains.iter().all(|drain| drain.is_settled());
        spine.reservation.watched = !settled;
        !settled
    }

    /// The last checkpoint of a graceful stop: exact. A channel in which nothing ever was has nothing to say.
    pub(crate) fn write_final_checkpoint(&self, store: &Store, now: DateTime<Utc>) {
        let mut spine = self.spine();
        if spine.has_numbered() || !spine.drains.is_empty() {
            spine.write(self, store, 0, true, now);
        }
    }

    /// Adds a drain. The stored checkpoint knows nothing of it yet, so what was reserved no longer counts.
    /// Returns true if the channel must be put on the ticker's list.
    pub(crate) fn add_drain(&self, drain: Arc<Drain>) -> bool {
        let mut spine = self.spine();
        spine.drains.push(drain);
        spine.reservation.reserved = 0;
        !std::mem::replace(&mut spine.reservation.watched, true)
    }
}
