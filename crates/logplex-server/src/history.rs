//! A channel's newest messages, for tails that ask for what was before them or come back with a cursor.
//!
//! In memory they are a ring of shared batches, the same that drains and tails hold. Once a second what is new in
//! it goes to the store ([`Shelf`]), so that it outlives the process; whichever channels were not used for longest
//! lose their place in memory when all of them together need too much, and are read back when asked.
//!
//! **What a cursor finds.** A message's cursor is its channel's epoch and its sequence number, and both go on over a
//! restart. Numbers that are in neither memory nor store are a hole, which is told with its exact size. After a crash
//! it is not known how many of the numbers that were reserved had been given away ([`crate::checkpoint`]): a hole
//! that touches such a jump is told as an upper bound.

use std::collections::VecDeque;
use std::ops::Range;

use chrono::{DateTime, TimeDelta, Utc};
use logplex_core::{Batch, DropReason, Filter, Gap, Part, Policy, Ring, RingLimits, Tally};
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;

mod shelf;

pub(crate) use shelf::{ReadError, Shelf, ShelfLimits, Write, encode};

/// What is kept of a channel: the original's number of messages, and a bound on their bytes.
pub(crate) const KEPT: RingLimits = RingLimits { messages: 1500, bytes: 4 * 1024 * 1024 };

/// How long a message is kept; the original's number.
const KEPT_FOR: TimeDelta = TimeDelta::days(7);

/// The most jumps that are told apart; of more, the oldest become one.
const JUMPS_MAX: usize = 4;

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// So many of the newest messages that the filter keeps.
    Newest(usize),
    /// All that came after this sequence number.
    After(u64),
    /// All there is: the cursor is of another life of the channel.
    Unknown,
}

/// What goes ahead of a tail's live messages.
#[derive(Debug)]
pub(crate) enum Piece {
    Part(Part<Batch>),
    /// Messages that are gone; if not `exact`, the number is the most that it can be.
    Hole {
        gap: Gap,
        exact: bool,
    },
    /// What the store holds cannot be read now.
    Unreadable,
    /// The cursor says nothing here.
    UnknownCursor,
}

/// Pieces in their order, and what reading them may cost as long as they are not written.
#[derive(Debug, Default)]
pub(crate) struct LookBack {
    pub(crate) pieces: VecDeque<Piece>,
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

/// Which sequence numbers the store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(crate) first: u64,
    pub(crate) end: u64,
    pub(crate) bytes: u64,
    /// When the newest was written, in seconds since 1970.
    pub(crate) at: i64,
}

impl Stored {
    pub(crate) fn is_empty(&self) -> bool {
        self.first >= self.end
    }
}

/// What a checkpoint says of a history.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) epoch: u64,
    pub(crate) next: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) jumps: Vec<(u64, u64)>,
    pub(crate) stored: Stored,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// What is in memory; no ring at all where that is nothing, as in most of many channels.
    ring: Option<Box<Ring<Batch>>>,
    pub(crate) stored: Stored,
    pub(crate) jumps: Vec<(u64, u64)>,
    /// When someone last wrote or read here, in seconds since 1970.
    used_at: i64,
}

impl History {
    /// What an earlier process left; `reserved` numbers may have been given away since it wrote that.
    pub(crate) fn restored(place: &Place, reserved: u64) -> History {
        let mut jumps = place.jumps.clone();
        if reserved > 0 {
            jumps.push((place.next, place.next + reserved));
        }
        if jumps.len() > JUMPS_MAX {
            let (first, _) = jumps.remove(0);
            jumps[0].0 = first;
        }
        History { ring: None, stored: place.stored, jumps, used_at: place.stored.at }
    }

    /// Adds messages as the newest. Returns by how much memory grew or shrank.
    pub(crate) fn push(&mut self, part: Part<Batch>, now: DateTime<Utc>) -> isize {
        self.used_at = now.timestamp();
        let ring = self.ring.get_or_insert_with(|| Box::new(Ring::new(KEPT)));
        let before = ring.bytes() as isize;
        ring.push(part, now);
        ring.bytes() as isize - before
    }

    /// Gives up the oldest messages, stored or not, until `bytes` are free or nothing is left. Returns by how much
    /// memory shrank.
    pub(crate) fn shed(&mut self, bytes: usize) -> isize {
        let Some(ring) = &mut self.ring else { return 0 };
        let before = ring.bytes();
        while ring.messages() > 0 && before - ring.bytes() < bytes {
            let left = bytes - (before - ring.bytes());
            ring.take(&Policy { messages: usize::MAX, bytes: left });
        }
        ring.bytes() as isize - before as isize
    }

    /// Goes out of memory, but for what is not stored yet. Returns by how much memory shrank.
    pub(crate) fn evict(&mut self) -> isize {
        let Some(ring) = &mut self.ring else { return 0 };
        let before = ring.bytes() as isize;
        let unstored = ring.parts().filter_map(|part| from_sequence(part, self.stored.end));
        let stored = ring.messages() - unstored.map(|part| part.messages()).sum::<usize>();
        if stored > 0 {
            ring.take(&Policy { messages: stored, bytes: usize::MAX });
        }
        let after = ring.bytes() as isize;
        if ring.messages() == 0 {
            self.ring = None;
        }
        after - before
    }

    pub(crate) fn used_at(&self) -> i64 {
        self.used_at
    }

    pub(crate) fn memory(&self) -> usize {
        self.ring.as_ref().map_or(0, |ring| ring.bytes())
    }

    /// What the store does not hold yet.
    pub(crate) fn unstored(&self) -> Vec<Part<Batch>> {
        let parts = self.ring.iter().flat_map(|ring| ring.parts());
        parts.filter_map(|part| from_sequence(part, self.stored.end)).collect()
    }

    /// Whether the store holds all of it.
    pub(crate) fn is_stored(&self) -> bool {
        let newest = self.ring.as_ref().and_then(|ring| ring.parts().next_back());
        newest.is_none_or(|part| sequences(part).end <= self.stored.end)
    }

    fn first_in_memory(&self, next: u64) -> u64 {
        let first = self.ring.as_ref().and_then(|ring| ring.parts().next());
        first.map_or(next, |part| sequences(part).start)
    }

    /// Which numbers must be read from the store before [`History::look`] can answer, if any.
    pub(crate) fn missing(&self, begin: Begin, filter: &Filter, next: u64) -> Option<Range<u64>> {
        let in_memory = self.first_in_memory(next);
        let enough = match begin {
            _ if self.stored.is_empty() || self.stored.first >= in_memory => true,
            Begin::Newest(count) => {
                let messages = self.ring.as_ref().map_or(0, |ring| ring.messages());
                count == 0
                    || messages >= KEPT.messages
                    || messages >= count && {
                        let parts: Vec<_> = self.ring.iter().flat_map(|ring| ring.parts()).collect();
                        newest(&parts, count, filter).iter().map(Part::messages).sum::<usize>() >= count
                    }
            }
            Begin::After(sequence) => sequence + 1 >= in_memory,
            Begin::Unknown => false,
        };
        (!enough).then_some(self.stored.first..in_memory)
    }

    /// What `begin` finds in `loaded`, which was read from the store, and in memory.
    pub(crate) fn look(
        &mut self,
        begin: Begin,
        loaded: &[Part<Batch>],
        filter: &Filter,
        next: u64,
        now: DateTime<Utc>,
    ) -> VecDeque<Piece> {
        self.used_at = now.timestamp();
        let in_memory = self.first_in_memory(next);
        let too_old = now - KEPT_FOR;
        let mut parts: Vec<Part<Batch>> =
            loaded.iter().filter_map(|part| before_sequence(part, in_memory)).collect();
        parts.extend(self.ring.iter().flat_map(|ring| ring.parts()).cloned());
        parts.retain(|part| part.chunk().received() >= too_old);
        let mut over = parts.iter().map(Part::messages).sum::<usize>().saturating_sub(KEPT.messages);
        for part in &mut parts {
            let cut = over.min(part.messages());
            drop(part.split_to(cut));
            over -= cut;
        }
        parts.retain(|part| part.messages() > 0);
        match begin {
            Begin::Newest(count) => {
                let parts: Vec<_> = parts.iter().collect();
                newest(&parts, count, filter).into_iter().map(Piece::Part).collect()
            }
            Begin::After(sequence) => self.after(sequence + 1, &parts, filter, next, now),
            Begin::Unknown => {
                let first = parts.first().map_or(next, |part| sequences(part).start);
                let mut pieces = self.after(first, &parts, filter, next, now);
                pieces.push_front(Piece::UnknownCursor);
                pieces
            }
        }
    }

    fn after(
        &self,
        mut expected: u64,
        parts: &[Part<Batch>],
        filter: &Filter,
        next: u64,
        now: DateTime<Utc>,
    ) -> VecDeque<Piece> {
        let mut pieces = VecDeque::new();
        let hole = |from: u64, to: u64, since: DateTime<Utc>| {
            let crashed = self.jumps.iter().any(|(start, end)| *start < to && from < *end);
            let reason = if crashed { DropReason::Crash } else { DropReason::History };
            let dropped = Tally { count: to - from, since: Some(since), reason: Some(reason) };
            let gap = Gap { dropped, ..Gap::default() };
            // Nobody knows what the filter would have kept of them.
            Piece::Hole { gap, exact: !crashed && filter.keeps_all() }
        };
        for part in parts {
            let Some(part) = from_sequence(part, expected) else { continue };
            let numbers = sequences(&part);
            if numbers.start > expected {
                pieces.push_back(hole(expected, numbers.start, part.chunk().received()));
            }
            expected = numbers.end;
            pieces.extend(filter.apply(&part).map(Piece::Part));
        }
        if expected < next {
            pieces.push_back(hole(expected, next, now));
        }
        pieces
    }
}

/// The sequence numbers of a part that filters left no holes in.
pub(crate) fn sequences(part: &Part<Batch>) -> Range<u64> {
    let range = part.range();
    if range.is_empty() {
        return part.first_sequence()..part.first_sequence();
    }
    let number = |index| part.first_sequence() + part.chunk().ordinal(index);
    number(range.start)..number(range.end - 1) + 1
}

/// What of a part has this number or a higher one.
fn from_sequence(part: &Part<Batch>, first: u64) -> Option<Part<Batch>> {
    let numbers = sequences(part);
    let mut rest = part.clone();
    let cut = first.saturating_sub(numbers.start).min(part.messages() as u64);
    drop(rest.split_to(cut as usize));
    (rest.messages() > 0).then_some(rest)
}

/// What of a part has a lower number than this.
fn before_sequence(part: &Part<Batch>, end: u64) -> Option<Part<Batch>> {
    let numbers = sequences(part);
    let keep = end.saturating_sub(numbers.start).min(part.messages() as u64);
    let front = part.clone().split_to(keep as usize);
    (front.messages() > 0).then_some(front)
}

/// The newest `count` messages that a filter keeps, oldest first.
fn newest(parts: &[&Part<Batch>], count: usize, filter: &Filter) -> Vec<Part<Batch>> {
    let mut left = count;
    let mut found = Vec::new();
    for part in parts.iter().rev() {
        if left == 0 {
            break;
        }
        let batch = part.chunk();
        let kept: Vec<usize> =
            part.range().rev().filter(|&index| filter.keeps(batch, index)).take(left).collect();
        left -= kept.len();
        // Runs of neighbours become one part each; usually that is one run.
        for run in kept.chunk_by(|later, earlier| later - earlier == 1) {
            let mut piece = (*part).clone();
            let first = run[run.len() - 1] - part.range().start;
            drop(piece.split_to(first));
            found.push(piece.split_to(run.len()));
        }
    }
    found.reverse();
    found
}
