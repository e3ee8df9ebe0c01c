//! A reader's ring with a lock and a bell: where a channel hands messages to a drain or a tail.

use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use logplex_core::{Batch, Ledger, Part, Ring, RingLimits};
use tokio::sync::Notify;

/// Locks a mutex whose sections cannot leave it half changed, so that a panic elsewhere does not spread.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// See the module's text. Full: drops the oldest. Pushing never blocks and wakes the reader.
#[derive(Debug)]
pub(crate) struct Mailbox {
    ring: Mutex<Ring<Batch>>,
    readable: Notify,
}

impl Mailbox {
    pub(crate) fn new(limits: RingLimits) -> Mailbox {
        Mailbox { ring: Mutex::new(Ring::new(limits)), readable: Notify::new() }
    }

    /// Hands messages over; `generated` if they are notices of our own making.
    pub(crate) fn push(&self, part: Part<Batch>, generated: bool, now: DateTime<Utc>) {
        let count = part.messages() as u64;
        let mut ring = self.ring();
        ring.push(part, now);
        if generated {
            ring.ledger_mut().count_as_generated(count);
        }
        // Release the lock before waking: the reader would only wake up to wait for us.
        drop(ring);
        self.readable.notify_one();
    }

    /// The ring, for a short section without `.await`.
    pub(crate) fn ring(&self) -> MutexGuard<'_, Ring<Batch>> {
        lock(&self.ring)
    }

    /// A snapshot of the ledger.
    pub(crate) fn ledger(&self) -> Ledger {
        self.ring().ledger().clone()
    }

    /// Waits until something was pushed or the reader was poked since the last wait. Cancel safe.
    pub(crate) async fn readable(&self) {
        self.readable.notified().await;
    }

    /// Wakes the reader to look at its orders.
    pub(crate) fn poke(&self) {
        self.readable.notify_one();
    }
}
