//! One app's stream: the door through which batches enter, and the readers they are handed to.
//!
//! A channel is the unit of ownership: its sequence, history, drains, tails and ledgers hang on it. The one
//! short lock in here is all that its producers share; channels share nothing.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use chrono::{DateTime, Utc};
use logplex_core::{Batch, Chunk, ErrorCode, Filter, Ledger, LossReason, Part};

use crate::checkpoint::{Checkpoint, Reservation};
use crate::codes::{Codes, Seen, newest_lines};
use crate::drain::Drain;
use crate::history::{
    Begin, History, KEPT, Past, Piece, Place, ReadError, Shelf, Stored, Write, encode, sequences,
};
use crate::mailbox::lock;
use crate::repeats::Repeats;
use crate::store::{Store, TokenRecord};
use crate::tail::Tail;

/// How often the store is read for one look back, because what was in memory a moment ago no longer is.
const READS: u32 = 3;

/// How many messages more than are kept may be stored: removing them one by one costs more than they take.
const TRIM_EVERY: u64 = 512;

/// Who brings a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Producer {
    /// An app, by a token.
    Token,
    /// We ourselves: a notice for tails and history, which no drain gets.
    Notice,
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) id: Arc<str>,
    /// Tells the sequence numbers of this channel from those of another life of it, in which nothing was stored.
    pub(crate) epoch: u64,
    store: Store,
    shelf: Arc<Shelf>,
    /// As the shelf says, which is not for every batch to ask: what lies there others write to.
    keeps_history: bool,
    spine: Mutex<Spine>,
}

/// What one lock guards.
#[derive(Debug)]
pub(crate) struct Spine {
    next_sequence: u64,
    /// How many messages producers brought since the process started.
    accepted: u64,
    pub(crate) reservation: Reservation,
    pub(crate) history: History,
    pub(crate) drains: Vec<Arc<Drain>>,
    tails: Vec<Arc<Tail>>,
    /// The sum of the ledgers of tails that are gone, if there ever were any.
    closed_tails: Option<Box<Ledger>>,
    /// Whether the channel is no more: nothing of it is stored from then on.
    pub(crate) removed: bool,
    /// The error codes so far, if there was one.
    codes: Option<Box<Codes>>,
}

impl Spine {
    /// Whether any message ever had a number.
    pub(crate) fn has_numbered(&self) -> bool {
        self.next_sequence > 0
    }
}

impl Channel {
    /// A channel, or what `checkpoint` says an earlier process left of it.
    pub(crate) fn new(id: Arc<str>, store: Store, shelf: Arc<Shelf>, checkpoint: &Checkpoint) -> Channel {
        let (epoch, next_sequence, history) = match checkpoint.history().filter(|_| shelf.is_on()) {
            Some((place, reserved)) => {
                (place.epoch, place.next.saturating_add(reserved), History::restored(place, reserved))
            }
            None => (uuid::Uuid::new_v4().as_u64_pair().0, 0, History::default()),
        };
        shelf.count_stored(0, history.stored.bytes);
        let spine = Spine {
            next_sequence,
            accepted: 0,
            reservation: Reservation::default(),
            history,
            drains: Vec::new(),
            tails: Vec::new(),
            closed_tails: None,
            removed: false,
            codes: None,
        };
        Channel { id, epoch, store, keeps_history: shelf.is_on(), shelf, spine: Mutex::new(spine) }
    }

    pub(crate) fn spine(&self) -> MutexGuard<'_, Spine> {
        lock(&self.spine)
    }

    /// Takes a batch: gives it its numbers and hands it to history and every reader. Never waits for one of
    /// them. Returns true if the channel was settled before and must be watched from now on
    /// ([`crate::checkpoint`]).
    pub(crate) fn publish(&self, batch: Arc<Batch>, producer: Producer, now: DateTime<Utc>) -> bool {
        let count = batch.count() as u64;
        if count == 0 {
            return false;
        }
        // Rendered ahead of the lock.
        let code_lines = if self.keeps_history { newest_lines(&batch) } else { Vec::new() };
        let generated = producer == Producer::Notice;
        let mut spine = self.spine();
        let part = Part::numbered(batch, spine.next_sequence);
        let woke = spine.reserve(self, &self.store, count + part.upstream().count, now);
        spine.next_sequence += count;
        if !generated {
            spine.accepted += count;
        }
        if part.chunk().has_codes() {
            let removed = spine.removed;
            let codes = spine.codes.get_or_insert_default();
            codes.count(part.chunk(), now);
            if !removed {
                codes.keep(code_lines, &self.shelf.code_lines);
            }
        }
        if self.keeps_history {
            let grown = spine.history.push(part.clone(), now);
            let over = self.shelf.count_memory(grown);
            if over > 0 {
                // Others may be colder, but their locks are not for this one to wait for.
                self.shelf.count_memory(spine.history.shed(over));
            }
        }
        if !generated {
            for drain in &spine.drains {
                drain.push(&part, now);
            }
        }
        for tail in &spine.tails {
            tail.push(&part, generated, now);
        }
        woke
    }

    // === History ===

    /// Where the history stands, for the checkpoint.
    pub(crate) fn place(&self, spine: &Spine) -> Option<Place> {
        let History { stored, jumps, .. } = &spine.history;
        let (epoch, next) = (self.epoch, spine.next_sequence);
        self.keeps_history.then(|| Place { epoch, next, jumps: jumps.clone(), stored: *stored })
    }

    /// Whether there is a history that must be written down.
    pub(crate) fn keeps_history(&self) -> bool {
        self.keeps_history
    }

    /// Where a reader begins that has seen the message of this cursor; `None` if that is no cursor at all.
    pub(crate) fn after(&self, cursor: &str) -> Option<Begin> {
        let (epoch, sequence) = read_cursor(cursor)?;
        let ours = epoch == self.epoch && sequence < self.spine().next_sequence;
        Some(if ours { Begin::After(sequence) } else { Begin::Unknown })
    }

    /// What a reader gets who wants `count` messages ahead of this cursor's; `None` if that is no cursor at all. Ahead
    /// of one of another life of the channel there is nothing any more.
    pub(crate) fn before(&self, cursor: &str, count: usize) -> Option<Begin> {
        let (epoch, sequence) = read_cursor(cursor)?;
        Some(if epoch == self.epoch { Begin::Before { sequence, count } } else { Begin::Newest(0) })
    }

    /// What there is of the past for who begins there, and for a `tail` its place for all that comes: no gap, no
    /// repeat. May wait for the store.
    pub(crate) async fn look_back(&self, begin: Begin, filter: &Filter, tail: Option<&Arc<Tail>>) -> Past {
        let mut loaded = Vec::new();
        let (mut read_to, mut reads) = (0, 0);
        let mut permit = None;
        let mut failed = false;
        loop {
            let wanted = {
                let mut spine = self.spine();
                let next = spine.next_sequence;
                let missing = spine.history.missing(begin, filter, next);
                // What was read may have been overtaken by what went out of memory meanwhile.
                let wanted = missing.filter(|missing| missing.end > read_to);
                match wanted {
                    Some(wanted) if !failed && reads < READS => wanted,
                    wanted => {
                        let mut past = spine.history.look(begin, &loaded, next, Utc::now());
                        past.unreadable = failed || wanted.is_some();
                        past.permit = permit;
                        spine.tails.extend(tail.cloned());
                        return past;
                    }
                }
            };
            drop(permit.take());
            (read_to, reads) = (wanted.end, reads + 1);
            match self.shelf.read(self.id.clone(), self.epoch, wanted).await {
                Ok((parts, allowed)) => (loaded, permit) = (parts, Some(allowed)),
                Err(problem) => {
                    failed = true;
                    if problem == ReadError::Damaged {
                        self.give_up_stored(&mut self.spine());
                    }
                }
            }
        }
    }

    /// The newest `count` messages that `filter` keeps, oldest first; `None` if they cannot be read.
    pub(crate) async fn newest(&self, count: usize, filter: &Filter) -> Option<Vec<Part<Batch>>> {
        let look_back = self.look_back(Begin::Newest(count), filter, None).await.filter(filter);
        let part = |piece| match piece {
            Piece::Part(part) => Some(part),
            Piece::Hole { .. } | Piece::Unreadable | Piece::UnknownCursor => None,
        };
        look_back.pieces.into_iter().map(part).collect()
    }

    /// What is stored is not looked at any more.
    fn give_up_stored(&self, spine: &mut Spine) {
        let stored = &mut spine.history.stored;
        self.shelf.count_stored(stored.bytes, 0);
        (stored.first, stored.bytes) = (stored.end, 0);
    }

    /// Whether nothing is left to store, or nowhere to store it.
    pub(crate) fn history_is_stored(&self, spine: &Spine) -> bool {
        !self.shelf.stores() || spine.removed || spine.history.is_stored()
    }

    /// What is not stored yet, encoded, and the number after it.
    pub(crate) fn unstored(&self) -> Option<(Write, u64)> {
        let spine = self.spine();
        if spine.removed || !self.shelf.stores() {
            return None;
        }
        let parts = spine.history.unstored();
        drop(spine);
        let end = sequences(parts.last()?).end;
        Some((encode(&self.id, self.epoch, &parts), end))
    }

    /// What was not stored is now, up to `end`; and what is more than is kept goes.
    pub(crate) fn set_stored(&self, write: &Write, end: u64, now: DateTime<Utc>) {
        let mut spine = self.spine();
        let stored = &mut spine.history.stored;
        if stored.is_empty() {
            stored.first = write.first;
            stored.bytes = 0;
        }
        stored.end = end;
        stored.bytes += write.bytes;
        stored.at = now.timestamp_millis();
        self.shelf.count_stored(0, write.bytes);
        let before = *stored;
        drop(spine);
        let mut cut = end.saturating_sub(KEPT.messages as u64);
        if before.bytes > 2 * KEPT.bytes as u64 {
            // What was written just now is no more than is kept.
            cut = cut.max(write.first);
        } else if cut < before.first + TRIM_EVERY {
            return;
        }
        let (first, gone) = match self.shelf.trim(&self.id, self.epoch, before.first..end, cut) {
            Ok(trimmed) => trimmed,
            // What is damaged is not looked at any more, and what is behind it is good.
            Err(error) => {
                self.shelf.count_damaged(&self.id, &error);
                (write.first, before.bytes - write.bytes)
            }
        };
        let mut spine = self.spine();
        let stored = &mut spine.history.stored;
        let gone = gone.min(stored.bytes);
        stored.first = first.max(stored.first);
        stored.bytes -= gone;
        self.shelf.count_stored(gone, 0);
    }

    /// When the history was used last, and what it takes in memory and in the store.
    pub(crate) fn history_use(&self) -> (i64, usize, Stored) {
        let spine = self.spine();
        (spine.history.used_at(), spine.history.memory(), spine.history.stored)
    }

    /// What is stored goes out of memory.
    pub(crate) fn evict_history(&self) {
        let freed = self.spine().history.evict();
        self.shelf.count_memory(freed);
    }

    /// Removes what is stored, and what is in memory of it.
    pub(crate) fn forget_history(&self) -> anyhow::Result<()> {
        let mut spine = self.spine();
        self.shelf.count_memory(spine.history.evict());
        self.give_up_stored(&mut spine);
        drop(spine);
        self.shelf.forget(&self.id)
    }

    /// The channel is no more.
    pub(crate) fn remove(&self) {
        let mut spine = self.spine();
        spine.removed = true;
        let freed = spine.history.shed(usize::MAX);
        self.shelf.count_memory(freed);
        self.give_up_stored(&mut spine);
        drop(spine);
        self.forget_code_lines();
    }

    // === Codes ===

    /// What there was of each error code, the last first, each with its newest lines.
    pub(crate) fn codes(&self) -> Vec<(Seen, Vec<String>)> {
        let spine = self.spine();
        let Some(codes) = &spine.codes else { return Vec::new() };
        let with_lines = |seen: &Seen| (*seen, codes.lines(seen.code).map(str::to_owned).collect());
        let mut found: Vec<(Seen, Vec<String>)> = codes.seen().iter().map(with_lines).collect();
        drop(spine);
        found.sort_by_key(|(seen, _)| (Reverse(seen.last), seen.code));
        found
    }

    /// How many messages had which error code.
    pub(crate) fn code_counts(&self) -> Vec<(ErrorCode, u64)> {
        let spine = self.spine();
        let seen = spine.codes.as_ref().map_or(&[][..], |codes| codes.seen());
        let mut counts: Vec<(ErrorCode, u64)> = seen.iter().map(|seen| (seen.code, seen.count)).collect();
        drop(spine);
        counts.sort_unstable_by_key(|(code, _)| *code);
        counts
    }

    /// When the last code came, if lines of codes are kept.
    pub(crate) fn code_lines_of(&self) -> Option<DateTime<Utc>> {
        self.spine().codes.as_ref().filter(|codes| codes.has_lines())?.last()
    }

    /// Gives up the lines of codes. Returns what they took.
    pub(crate) fn forget_code_lines(&self) -> usize {
        let mut spine = self.spine();
        spine.codes.as_mut().map_or(0, |codes| codes.forget_lines(&self.shelf.code_lines))
    }

    // === Readers ===

    /// Removes a tail, if it was `live`. What it still held is counted as lost.
    pub(crate) fn close_tail(&self, tail: &Arc<Tail>, live: bool, now: DateTime<Utc>) {
        let mut spine = self.spine();
        if live {
            spine.tails.retain(|other| !Arc::ptr_eq(other, tail));
        }
        tail.mailbox.lose_all(LossReason::Closed, now);
        spine.closed_tails.get_or_insert_default().absorb(&tail.mailbox.ledger());
    }

    /// Whether anyone reads the channel now.
    pub(crate) fn has_tails(&self) -> bool {
        !self.spine().tails.is_empty()
    }

    /// The sum of the ledgers of all tails that are and were, and how many are.
    pub(crate) fn tails(&self) -> (Ledger, usize) {
        let spine = self.spine();
        let mut sum = spine.closed_tails.as_deref().cloned().unwrap_or_default();
        for tail in &spine.tails {
            sum.absorb(&tail.mailbox.ledger());
        }
        (sum, spine.tails.len())
    }

    /// What the channel took, and what became of it at all its readers; `None` if it is no more.
    pub(crate) fn figures(&self) -> Option<Figures> {
        let spine = self.spine();
        if spine.removed {
            return None;
        }
        let mut figures = Figures { accepted: spine.accepted, ..Figures::default() };
        figures.coded =
            spine.codes.as_ref().map_or(0, |codes| codes.seen().iter().map(|seen| seen.count).sum());
        if let Some(closed) = &spine.closed_tails {
            figures.add_ledger(closed);
        }
        let (drains, tails) = (spine.drains.clone(), spine.tails.clone());
        // Who closes from here on is counted as one of these, and not among the closed ones as well.
        drop(spine);
        (figures.drains, figures.tails) = (drains.len() as u64, tails.len() as u64);
        drains.iter().for_each(|drain| figures.add_ledger(&drain.mailbox.ledger()));
        tails.iter().for_each(|tail| figures.add_ledger(&tail.mailbox.ledger()));
        Some(figures)
    }

    /// Takes drains out: they get nothing from here on.
    pub(crate) fn remove_drains(&self, which: impl Fn(&Drain) -> bool) -> Vec<Arc<Drain>> {
        self.spine().drains.extract_if(.., |drain| which(drain)).collect()
    }

    /// The drain with this id.
    pub(crate) fn drain(&self, id: u64) -> Option<Arc<Drain>> {
        self.spine().drains.iter().find(|drain| drain.id == id).cloned()
    }

    /// The drains, in the order they were added.
    pub(crate) fn drains(&self) -> Vec<Arc<Drain>> {
        self.spine().drains.clone()
    }
}

/// A channel in numbers since the process started, or the sums of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Messages that producers brought.
    pub(crate) accepted: u64,
    /// What the ledgers of all drains and tails say together, tails that are gone among them.
    pub(crate) delivered: u64,
    pub(crate) dropped: u64,
    pub(crate) lost: u64,
    pub(crate) held: u64,
    /// How many drains and tails there are now.
    pub(crate) drains: u64,
    pub(crate) tails: u64,
    /// Messages with an error code.
    pub(crate) coded: u64,
}

impl Figures {
    fn add_ledger(&mut self, ledger: &Ledger) {
        self.delivered += ledger.delivered();
        self.dropped += ledger.dropped_total();
        self.lost += ledger.lost_total();
        self.held += ledger.held();
    }

    /// Adds another channel's.
    pub(crate) fn add(&mut self, other: &Figures) {
        self.accepted += other.accepted;
        self.delivered += other.delivered;
        self.dropped += other.dropped;
        self.lost += other.lost;
        self.held += other.held;
        self.drains += other.drains;
        self.tails += other.tails;
        self.coded += other.coded;
    }
}

/// The epoch and the sequence number of a cursor.
fn read_cursor(cursor: &str) -> Option<(u64, u64)> {
    let (epoch, sequence) = cursor.split_once('-')?;
    Some((u64::from_str_radix(epoch, 16).ok()?, sequence.parse().ok()?))
}

/// The right to write to a channel.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) id: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) channel: Arc<Channel>,
    /// When it ends, if another one has taken its place.
    until: Option<DateTime<Utc>>,
    /// Set when the registry has it no more.
    forgotten: AtomicBool,
    /// Shared by the tokens of one name, so that nothing is counted anew or taken twice where one takes
    /// another's place.
    pub(crate) state: Arc<Mutex<TokenState>>,
}

/// What one lock guards; held from the look-up of a repeat until the request is published.
#[derive(Debug)]
pub(crate) struct TokenState {
    pub(crate) repeats: Repeats,
    pub(crate) counts: TokenCounts,
}

/// What a token brought. At this hop nothing is held: accepted is what its channel was handed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TokenCounts {
    pub(crate) accepted: u64,
    pub(crate) repeated: u64,
    pub(crate) rejected_requests: u64,
    /// Messages over syslog that were refused though they had this token.
    pub(crate) rejected_messages: u64,
    /// What the senders said they had dropped and lost before they reached us.
    pub(crate) upstream_dropped: u64,
    pub(crate) upstream_lost: u64,
}

impl TokenState {
    pub(crate) fn new(repeats_in_all: Arc<AtomicUsize>) -> TokenState {
        TokenState { repeats: Repeats::new(repeats_in_all), counts: TokenCounts::default() }
    }
}

impl Token {
    pub(crate) fn new(record: &TokenRecord, channel: Arc<Channel>, state: Arc<Mutex<TokenState>>) -> Token {
        let (id, name, forgotten) = (record.id.clone(), record.name.clone(), AtomicBool::new(false));
        Token { id, name, channel, until: record.until, forgotten, state }
    }

    /// Whether it may still be used.
    pub(crate) fn is_valid(&self) -> bool {
        !self.forgotten.load(Ordering::Acquire) && self.until.is_none_or(|until| Utc::now() < until)
    }

    /// Whoever still has it may use it no more.
    pub(crate) fn forget(&self) {
        self.forgotten.store(true, Ordering::Release);
    }

    pub(crate) fn counts(&self) -> TokenCounts {
        lock(&self.state).counts
    }

    pub(crate) fn count_rejected(&self) {
        lock(&self.state).counts.rejected_requests += 1;
    }

    pub(crate) fn count_rejected_messages(&self, messages: u64) {
        lock(&self.state).counts.rejected_messages += messages;
    }
}
