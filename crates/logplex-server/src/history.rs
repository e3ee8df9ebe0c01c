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
use logplex_core::{Batch, DropReason, Filter, Part, Policy, Ring, RingLimits};
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
    /// So many of the newest messages with a lower sequence number than this.
    Before { sequence: u64, count: usize },
    /// All there is: the cursor is of another life of the channel.
    Unknown,
}

/// What goes ahead of a tail's live messages.
#[derive(Debug)]
pub(crate) enum Piece {
    Part(Part<Batch>),
    /// Messages that are gone; if not `exact`, the number is the most that it can be. `since` is when the first that
    /// is not gone came.
    Hole {
        count: u64,
        reason: DropReason,
        since: DateTime<Utc>,
        exact: bool,
    },
    /// What the store holds cannot be read now.
    Unreadable,
    /// The cursor says nothing here.
    UnknownCursor,
}

/// What there is for a reader, as it was at one moment; filters have not acted yet.
#[derive(Debug)]
pub(crate) struct Past {
    begin: Begin,
    parts: Vec<Part<Batch>>,
    jumps: Vec<(u64, u64)>,
    /// The number of the first message that is not part of it.
    next: u64,
    now: DateTime<Utc>,
    /// Whether there is more, which cannot be read.
    pub(crate) unreadable: bool,
    pub(crate) permit: Option<OwnedSemaphorePermit>,
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
    /// When the newest was written, in milliseconds since 1970.
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
    /// When someone last wrote or read here, in milliseconds since 1970.
    used_at: i64,
}

impl History {
    /// What an earlier process left; `reserved` numbers may have been given away since it wrote that.
    pub(crate) fn restored(place: &Place, reserved: u64) -> History {
        let mut jumps = place.jumps.clone();
        if reserved > 0 {
            jumps.push((place.next, place.next.saturating_add(reserved)));
        }
        if jumps.len() > JUMPS_MAX {
            let (first, _) = jumps.remove(0);
            jumps[0].0 = first;
        }
        History { ring: None, stored: place.stored, jumps, used_at: place.stored.at }
    }

    /// Adds messages as the newest. Returns by how much memory grew or shrank.
    pub(crate) fn push(&mut self, part: Part<Batch>, now: DateTime<Utc>) -> isize {
        self.used_at = now.timestamp_millis();
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
            // Texts are not matched under the channel's lock, so a filter may keep none of what is in memory.
            Begin::Newest(count) => {
                let messages = self.ring.as_ref().map_or(0, |ring| ring.messages());
                messages >= KEPT.messages || messages >= count && (count == 0 || filter.keeps_all())
            }
            Begin::After(sequence) => sequence + 1 >= in_memory,
            Begin::Before { .. } => self.ring.as_ref().is_some_and(|ring| ring.messages() >= KEPT.messages),
            Begin::Unknown => false,
        };
        (!enough).then_some(self.stored.first..in_memory)
    }

    /// What is in `loaded`, which was read from the store, and in memory.
    pub(crate) fn look(
        &mut self,
        begin: Begin,
        loaded: &[Part<Batch>],
        next: u64,
        now: DateTime<Utc>,
    ) -> Past {
        self.used_at = now.timestamp_millis();
        let in_memory = self.first_in_memory(next);
        let mut parts: Vec<Part<Batch>> =
            loaded.iter().filter_map(|part| before_sequence(part, in_memory)).collect();
        parts.extend(self.ring.iter().flat_map(|ring| ring.parts()).cloned());
        keep_newest(&mut parts, now - KEPT_FOR);
        Past { begin, parts, jumps: self.jumps.clone(), next, now, unreadable: false, permit: None }
    }
}

impl Past {
    /// What `filter` leaves for the reader.
    pub(crate) fn filter(self, filter: &Filter) -> LookBack {
        let mut pieces = match self.begin {
            Begin::Newest(count) => newest(&self.parts, count, filter).into_iter().map(Piece::Part).collect(),
            Begin::After(sequence) => self.after(sequence + 1, filter),
            Begin::Before { sequence, count } => {
                let parts: Vec<_> =
                    self.parts.iter().filter_map(|part| before_sequence(part, sequence)).collect();
                newest(&parts, count, filter).into_iter().map(Piece::Part).collect()
            }
            Begin::Unknown => {
                let mut pieces = self.after(self.parts.first().map_or(self.next, first), filter);
                pieces.push_front(Piece::UnknownCursor);
                pieces
            }
        };
        if self.unreadable {
            pieces.push_front(Piece::Unreadable);
        }
        LookBack { pieces, permit: self.permit }
    }

    fn after(&self, mut expected: u64, filter: &Filter) -> VecDeque<Piece> {
        let hole = |from: u64, to: u64, since: DateTime<Utc>| {
            let crashed = self.jumps.iter().any(|(start, end)| *start < to && from < *end);
            let reason = if crashed { DropReason::Crash } else { DropReason::History };
            // Nobody knows what the filter would have kept of them.
            Piece::Hole { count: to - from, reason, since, exact: !crashed && filter.keeps_all() }
        };
        let mut pieces = VecDeque::new();
        for part in &self.parts {
            let Some(part) = from_sequence(part, expected) else { continue };
            let numbers = sequences(&part);
            if numbers.start > expected {
                pieces.push_back(hole(expected, numbers.start, part.chunk().received()));
            }
            expected = numbers.end;
            pieces.extend(filter.apply(&part).map(Piece::Part));
        }
        if expected < self.next {
            pieces.push_back(hole(expected, self.next, self.now));
        }
        pieces
    }
}

/// Leaves what is kept of a channel: what is not too old, and of that the newest.
fn keep_newest(parts: &mut Vec<Part<Batch>>, too_old: DateTime<Utc>) {
    parts.retain(|part| part.chunk().received() >= too_old);
    let mut room = KEPT;
    let kept = parts.iter().rev().take_while(|part| {
        let (has_room, size) = (room.messages > 0 && room.bytes > 0, part.size());
        room = RingLimits {
            messages: room.messages.saturating_sub(part.messages()),
            bytes: room.bytes.saturating_sub(size),
        };
        has_room
    });
    let gone = parts.len() - kept.count();
    parts.drain(..gone);
    let messages: usize = parts.iter().map(Part::messages).sum();
    if let Some(oldest) = parts.first_mut() {
        drop(oldest.split_to(messages.saturating_sub(KEPT.messages)));
    }
}

fn first(part: &Part<Batch>) -> u64 {
    sequences(part).start
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
fn newest(parts: &[Part<Batch>], count: usize, filter: &Filter) -> Vec<Part<Batch>> {
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
            let mut piece = part.clone();
            let first = run[run.len() - 1] - part.range().start;
            drop(piece.split_to(first));
            found.push(piece.split_to(run.len()));
        }
    }
    found.reverse();
    found
}

#[cfg(test)]
mod tests {
    use logplex_core::Frames;

    use super::*;

    fn part(first: u64, count: usize) -> Part<Batch> {
        let message = "<190>1 2026-01-02T03:04:05+00:00 h app web.1 - - text";
        let frames = Frames::from_messages(std::iter::repeat_n(message, count));
        Part::numbered(Batch::read_back(&frames.wire(0..count), Utc::now()).unwrap().into(), first)
    }

    /// What a reader gets: `+FIRST..END` for messages, `-COUNT` for a hole, `~COUNT` for a bound.
    fn shown(past: Past, filter: &Filter) -> String {
        let piece = |piece| match piece {
            Piece::Part(part) => format!("+{:?}", sequences(&part)),
            Piece::Hole { count, reason, exact, .. } => {
                format!("{}{count} {}", if exact { '-' } else { '~' }, reason.as_str())
            }
            Piece::Unreadable => "unreadable".to_owned(),
            Piece::UnknownCursor => "unknown".to_owned(),
        };
        past.filter(filter).pieces.into_iter().map(piece).collect::<Vec<_>>().join(", ")
    }

    /// Numbers below 100 are gone, to 200 in the store, from there in memory.
    fn history() -> (History, Vec<Part<Batch>>) {
        let mut history = History::default();
        history.push(part(200, 50), Utc::now());
        history.stored = Stored { first: 100, end: 220, bytes: 1, at: 0 };
        (history, vec![part(100, 60), part(160, 60)])
    }

    #[test]
    fn store_and_memory_are_one_and_holes_are_told() {
        let all = Filter::default();
        for (begin, expected) in [
            (Begin::Newest(10), "+240..250"),
            (Begin::Newest(60), "+190..200, +200..250"),
            (Begin::After(239), "+240..250"),
            (Begin::After(249), ""),
            (Begin::After(150), "+151..160, +160..200, +200..250"),
            (Begin::After(0), "-99 history, +100..160, +160..200, +200..250"),
            (Begin::Before { sequence: 205, count: 10 }, "+195..200, +200..205"),
            (Begin::Before { sequence: 130, count: 1000 }, "+100..130"),
            (Begin::Before { sequence: 100, count: 10 }, ""),
            (Begin::Unknown, "unknown, +100..160, +160..200, +200..250"),
        ] {
            let (mut history, loaded) = history();
            assert_eq!(shown(history.look(begin, &loaded, 250, Utc::now()), &all), expected, "{begin:?}");
        }
        let some = Filter { exclude_sources: vec!["app".to_owned()], ..Filter::default() };
        let (mut history, loaded) = history();
        assert_eq!(shown(history.look(Begin::After(49), &loaded, 250, Utc::now()), &some), "~50 history");
    }

    #[test]
    fn the_store_is_asked_for_what_is_not_in_memory() {
        let (history, _) = history();
        let all = Filter::default();
        let some = Filter { min_severity: Some(1), ..Filter::default() };
        for (begin, filter, missing) in [
            (Begin::Newest(50), &all, None),
            (Begin::Newest(51), &all, Some(100..200)),
            (Begin::Newest(1), &some, Some(100..200)),
            (Begin::Newest(0), &some, None),
            (Begin::After(199), &all, None),
            (Begin::After(198), &all, Some(100..200)),
            (Begin::Before { sequence: 250, count: 1 }, &all, Some(100..200)),
            (Begin::Unknown, &all, Some(100..200)),
        ] {
            assert_eq!(history.missing(begin, filter, 250), missing, "{begin:?}");
        }
    }

    #[test]
    fn a_jump_makes_a_hole_a_bound() {
        let place = |jumps| Place { epoch: 1, next: 250, jumps, ..Place::default() };
        let mut history = History::restored(&place(vec![]), 1000);
        history.push(part(1250, 5), Utc::now());
        let loaded = [part(100, 140)];
        let mut show = |begin| shown(history.look(begin, &loaded, 1255, Utc::now()), &Filter::default());
        assert_eq!(show(Begin::After(98)), "-1 history, +100..240, ~1010 crash, +1250..1255");
        // Of who had read on, it is known that this much was not given away for nothing.
        assert_eq!(show(Begin::After(700)), "~549 crash, +1250..1255");
        let jumps = History::restored(&place(vec![(1, 2), (3, 4), (5, 6), (7, 8)]), 10).jumps;
        assert_eq!(jumps, [(1, 4), (5, 6), (7, 8), (250, 260)]);
        assert_eq!(History::restored(&place(vec![(1, 2)]), 0).jumps, [(1, 2)]);
    }

    #[test]
    fn only_what_is_stored_leaves_memory_unless_it_must() {
        let (mut history, _) = history();
        history.stored.end = 230;
        let unstored = |history: &History| history.unstored().iter().flat_map(sequences).collect::<Vec<_>>();
        assert_eq!(unstored(&history), (230..250).collect::<Vec<_>>());
        assert!(history.evict() < 0);
        assert_eq!(unstored(&history), (230..250).collect::<Vec<_>>());
        assert!(!history.is_stored());
        history.stored.end = 250;
        assert!(history.is_stored() && history.evict() < 0);
        assert_eq!((history.memory(), history.evict()), (0, 0));
        history.push(part(250, 50), Utc::now());
        let before = history.memory() as isize;
        assert!(history.shed(1) < 0 && history.memory() > 0);
        assert!(history.shed(usize::MAX) > -before && history.memory() == 0);
    }

    #[test]
    fn no_more_is_shown_than_is_kept() {
        let (mut history, _) = history();
        let loaded = [part(0, 1000), part(1000, 1000)];
        history.ring = None;
        let past = history.look(Begin::Unknown, &loaded, 2000, Utc::now());
        assert_eq!(shown(past, &Filter::default()), "unknown, +500..1000, +1000..2000");
        let past = history.look(Begin::Newest(5), &loaded, 2000, Utc::now() + TimeDelta::days(8));
        assert_eq!(shown(past, &Filter::default()), "");
    }
}
