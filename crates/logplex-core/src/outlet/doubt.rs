//! What a syslog peer has acknowledged and may not have read, and what became of messages until that is told.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::syslog::Settled;
use crate::ledger::LossReason;

/// How long what was acknowledged is in doubt. A process that lives reads within milliseconds; and all that is in
/// doubt when a peer resets is told as lost, though most of it was read, so longer is not safer.
const DOUBT: Duration = Duration::from_millis(100);

/// The most bytes in doubt, so that a fast stream does not hold more in memory than that.
const MOST_DOUBT: usize = 1024 * 1024;

/// Messages from their acknowledgement until they are told of, oldest first.
#[derive(Debug)]
pub(super) struct Doubt {
    /// How long something is in doubt.
    pub(super) time: Duration,
    acknowledged: VecDeque<Acknowledged>,
    /// Of these together.
    bytes: usize,
    settled: VecDeque<Settled>,
}

#[derive(Debug)]
struct Acknowledged {
    messages: u32,
    bytes: usize,
    since: Instant,
}

impl Doubt {
    pub(super) fn new() -> Doubt {
        Doubt { time: DOUBT, acknowledged: VecDeque::new(), bytes: 0, settled: VecDeque::new() }
    }

    /// Whether nothing is in doubt.
    pub(super) fn is_empty(&self) -> bool {
        self.acknowledged.is_empty()
    }

    /// Messages of so many bytes were acknowledged.
    pub(super) fn begin(&mut self, messages: u32, bytes: usize, since: Instant) {
        self.bytes += bytes;
        self.acknowledged.push_back(Acknowledged { messages, bytes, since });
    }

    /// When the oldest has been in doubt for long enough, if there is anything.
    pub(super) fn oldest_until(&self) -> Option<Instant> {
        self.acknowledged.front().map(|oldest| oldest.since + self.time)
    }

    /// When all has.
    pub(super) fn newest_until(&self) -> Option<Instant> {
        self.acknowledged.back().map(|newest| newest.since + self.time)
    }

    /// Whether the oldest is delivered if its connection stands at `now`.
    pub(super) fn is_ripe(&self, now: Instant) -> bool {
        self.acknowledged
            .front()
            .is_some_and(|oldest| self.bytes - oldest.bytes >= MOST_DOUBT || now >= oldest.since + self.time)
    }

    /// The oldest was delivered.
    pub(super) fn deliver_oldest(&mut self) {
        if let Some(oldest) = self.acknowledged.pop_front() {
            self.bytes -= oldest.bytes;
            self.settle(oldest.messages, Ok(()));
        }
    }

    /// All that is in doubt came to this.
    pub(super) fn end(&mut self, outcome: Result<(), LossReason>) {
        self.bytes = 0;
        for of in std::mem::take(&mut self.acknowledged) {
            self.settle(of.messages, outcome);
        }
    }

    /// What became of the next messages.
    pub(super) fn settle(&mut self, messages: u32, outcome: Result<(), LossReason>) {
        if messages > 0 {
            self.settled.push_back(Settled { messages, outcome });
        }
    }

    /// Whether there is something to [tell](Doubt::told).
    pub(super) fn has_settled(&self) -> bool {
        !self.settled.is_empty()
    }

    /// The next messages whose fate is known, and has not been told.
    pub(super) fn told(&mut self) -> Option<Settled> {
        self.settled.pop_front()
    }
}
