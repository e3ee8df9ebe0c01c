//! A bounded queue of messages that drops its oldest and counts every one.
//!
//! Bounded by messages *and* by bytes. When it is full, a push drops the oldest messages, cutting through a
//! chunk if need be, so that exactly the newest remain. A part is charged for the whole buffer it keeps
//! alive; one that shrank under half of its buffer is copied out of it. No async, no clock, no lock: whoever
//! owns the ring adds those.

use std::collections::VecDeque;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::chunk::{Chunk, Part};
use crate::ledger::{DropReason, Ledger, LossReason, Tally};

/// The most that a ring holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingLimits {
    /// Messages; at least 1. Default 1,024.
    pub messages: usize,
    /// Bytes of buffers kept alive. Default 16 MiB: 1,024 messages of 10 KB always fit.
    pub bytes: usize,
}

impl Default for RingLimits {
    fn default() -> RingLimits {
        RingLimits { messages: 1024, bytes: 16 * 1024 * 1024 }
    }
}

/// How much a reader takes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The most messages in one batch.
    pub messages: usize,
    /// The size in bytes that a batch should not pass; a single larger message still goes, alone.
    pub bytes: usize,
}

impl Default for Policy {
    /// No bound on messages, 100 KiB as the original's HTTP drains.
    fn default() -> Policy {
        Policy { messages: usize::MAX, bytes: 100 * 1024 }
    }
}

/// What a reader took: in flight until it is settled with [`Ring::deliver`] or [`Ring::lose`].
#[derive(Debug)]
pub struct Taken<C> {
    parts: Vec<Part<C>>,
    messages: usize,
}

impl<C> Default for Taken<C> {
    /// Nothing, as where only a notice is sent.
    fn default() -> Taken<C> {
        Taken { parts: Vec::new(), messages: 0 }
    }
}

impl<C: Chunk> Taken<C> {
    /// The parts, oldest first.
    pub fn parts(&self) -> &[Part<C>] {
        &self.parts
    }

    /// The parts, to keep.
    pub fn into_parts(self) -> Vec<Part<C>> {
        self.parts
    }

    /// How many messages.
    pub fn messages(&self) -> usize {
        self.messages
    }

    /// Whether nothing was there.
    pub fn is_empty(&self) -> bool {
        self.messages == 0
    }
}

/// See the module's text. `held` in the ledger is what rests here plus what is in flight.
#[derive(Debug)]
pub struct Ring<C> {
    parts: VecDeque<Part<C>>,
    limits: RingLimits,
    messages: usize,
    bytes: usize,
    ledger: Ledger,
}

impl<C: Chunk> Ring<C> {
    /// An empty ring. A limit of 0 messages counts as 1.
    pub fn new(limits: RingLimits) -> Ring<C> {
        let limits = RingLimits { messages: limits.messages.max(1), ..limits };
        Ring { parts: VecDeque::new(), limits, messages: 0, bytes: 0, ledger: Ledger::default() }
    }

    /// Adds messages as the newest. Whatever is over the limits then is dropped, oldest first.
    pub fn push(&mut self, part: Part<C>, now: DateTime<Utc>) {
        self.append(part);
        self.trim(now);
    }

    /// As [`Ring::push`], for a reader that waits: it takes its share before the limits are applied.
    pub fn push_and_take(&mut self, part: Part<C>, policy: &Policy, now: DateTime<Utc>) -> Taken<C> {
        self.append(part);
        let taken = self.take(policy);
        self.trim(now);
        taken
    }

    fn append(&mut self, mut part: Part<C>) {
        if part.messages() == 0 {
            return;
        }
        self.ledger.accept(part.messages() as u64);
        self.ledger.accept_upstream(part.upstream().count);
        self.messages += part.messages();
        part.settle();
        self.bytes += charge(&part);
        self.parts.push_back(part);
    }

    fn trim(&mut self, now: DateTime<Utc>) {
        self.drop_oldest(self.messages.saturating_sub(self.limits.messages), DropReason::Full, now);
        while self.bytes > self.limits.bytes && self.messages > 0 {
            self.drop_oldest(1, DropReason::Bytes, now);
        }
    }

    /// Drops the oldest messages to make room for `messages` more.
    pub fn make_room(&mut self, messages: usize, now: DateTime<Utc>) {
        let over = (self.messages + messages).saturating_sub(self.limits.messages);
        self.drop_oldest(over.min(self.messages), DropReason::Full, now);
    }

    fn drop_oldest(&mut self, count: usize, reason: DropReason, now: DateTime<Utc>) {
        let mut left = count;
        let mut upstream = Tally::default();
        while left > 0
            && let Some(head) = self.parts.front()
        {
            let cut = left.min(head.messages());
            if let Some(gone) = self.split_head(cut) {
                upstream.merge(gone.upstream());
            }
            left -= cut;
        }
        self.ledger.lose_upstream(upstream);
        self.ledger.drop((count - left) as u64, reason, now);
    }

    /// Takes the first `count` messages of the head part out.
    fn split_head(&mut self, count: usize) -> Option<Part<C>> {
        let head = self.parts.front_mut()?;
        self.bytes -= charge(head);
        let taken = head.split_to(count);
        self.messages -= count;
        if head.messages() == 0 {
            self.parts.pop_front();
        } else {
            head.settle();
            self.bytes += charge(head);
        }
        Some(taken)
    }

    /// Takes the oldest messages, as many as `policy` allows and at least one if there is any.
    pub fn take(&mut self, policy: &Policy) -> Taken<C> {
        let mut taken = Taken::default();
        let mut size = 0;
        while let Some(head) = self.parts.front() {
            let room = policy.messages.saturating_sub(taken.messages);
            let fits = fitting(head, room, policy.bytes.saturating_sub(size));
            let count = if taken.messages == 0 { fits.max(1) } else { fits };
            let whole = count == head.messages();
            if count > 0
                && let Some(part) = self.split_head(count)
            {
                size += part.size();
                taken.messages += count;
                taken.parts.push(part);
            }
            if !whole {
                break;
            }
        }
        taken
    }

    /// In-flight messages arrived.
    pub fn deliver(&mut self, parts: &[Part<C>]) {
        self.ledger.deliver(sum_messages(parts));
        self.ledger.deliver_upstream(sum_upstream(parts).count);
    }

    /// In-flight messages were given up.
    pub fn lose(&mut self, parts: &[Part<C>], reason: LossReason, now: DateTime<Utc>) {
        self.ledger.lose(sum_messages(parts), reason, now);
        self.ledger.lose_upstream(sum_upstream(parts));
    }

    /// Gives up all that rests here, as when the reader is removed.
    pub fn lose_all(&mut self, reason: LossReason, now: DateTime<Utc>) {
        let parts: Vec<Part<C>> = std::mem::take(&mut self.parts).into();
        self.bytes = 0;
        self.messages = 0;
        self.lose(&parts, reason, now);
    }

    /// What rests here, oldest first.
    pub fn parts(&self) -> impl DoubleEndedIterator<Item = &Part<C>> {
        self.parts.iter()
    }

    /// How many messages rest here; those in flight are not among them.
    pub fn messages(&self) -> usize {
        self.messages
    }

    /// How many bytes of buffers the messages keep alive.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The limits in force.
    pub fn limits(&self) -> RingLimits {
        self.limits
    }

    /// The count of every message that came here.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The ledger, to take or restore a gap.
    pub fn ledger_mut(&mut self) -> &mut Ledger {
        &mut self.ledger
    }
}

fn sum_messages<C: Chunk>(parts: &[Part<C>]) -> u64 {
    parts.iter().map(Part::messages).sum::<usize>() as u64
}

fn sum_upstream<C: Chunk>(parts: &[Part<C>]) -> Tally<()> {
    let mut sum = Tally::default();
    for part in parts {
        sum.merge(part.upstream());
    }
    sum
}

/// What a part costs: the memory it keeps alive, and its own place in the queue.
fn charge<C: Chunk>(part: &Part<C>) -> usize {
    part.chunk().footprint() + size_of::<Part<C>>() + size_of::<C>()
}

/// How many messages from the front of `part` have at most `bytes` together, and are at most `most`.
fn fitting<C: Chunk>(part: &Part<C>, most: usize, bytes: usize) -> usize {
    let range = part.range();
    let (chunk, most): (&Arc<C>, _) = (part.chunk(), most.min(part.messages()));
    if chunk.size(range.start..range.start + most) <= bytes {
        return most;
    }
    let fits = |count: usize| chunk.size(range.start..range.start + count) <= bytes;
    // The largest count that fits; sizes grow with the count.
    let (mut low, mut high) = (0, most);
    while high - low > 1 {
        let middle = (low + high) / 2;
        if fits(middle) { low = middle } else { high = middle }
    }
    low
}

#[cfg(test)]
mod tests;
