//! One app's stream: the door through which batches enter, and the readers they are handed to.
//!
//! A channel is the unit of ownership: its sequence, history, drains, tails and ledgers hang on it. The one
//! short lock in here is all that its producers share; channels share nothing.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard};

use chrono::{DateTime, Utc};
use logplex_core::{Batch, Chunk, ErrorCode, Ledger, LossReason, Part, Ring, RingLimits};

use crate::checkpoint::Reservation;
use crate::drain::Drain;
use crate::mailbox::lock;
use crate::repeats::Repeats;
use crate::store::{Store, TokenRecord};
use crate::tail::Tail;

/// The newest messages kept for a tail that asks for what was before it: the original's number, and the
/// memory that a channel's history may keep alive.
const HISTORY: RingLimits = RingLimits { messages: 1500, bytes: 4 * 1024 * 1024 };

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
    /// Tells the sequence numbers of this process from those of an earlier one.
    pub(crate) epoch: u64,
    store: Store,
    spine: Mutex<Spine>,
}

/// What one lock guards.
#[derive(Debug)]
pub(crate) struct Spine {
    next_sequence: u64,
    pub(crate) reservation: Reservation,
    history: Ring<Batch>,
    pub(crate) drains: Vec<Arc<Drain>>,
    tails: Vec<Arc<Tail>>,
    /// The sum of the ledgers of tails that are gone.
    closed_tails: Ledger,
    /// How many messages had each of [`ErrorCode::ALL`]; empty until there is one.
    codes: Vec<u64>,
}

impl Channel {
    pub(crate) fn new(id: Arc<str>, store: Store) -> Channel {
        let spine = Spine {
            next_sequence: 0,
            reservation: Reservation::default(),
            history: Ring::new(HISTORY),
            drains: Vec::new(),
            tails: Vec::new(),
            closed_tails: Ledger::default(),
            codes: Vec::new(),
        };
        let epoch = uuid::Uuid::new_v4().as_u64_pair().0;
        Channel { id, epoch, store, spine: Mutex::new(spine) }
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
        let mut spine = self.spine();
        let part = Part::numbered(batch, spine.next_sequence);
        let woke = spine.reserve(&self.id, &self.store, count + part.upstream().count, now);
        spine.next_sequence += count;
        for code in part.chunk().codes() {
            spine.codes.resize(ErrorCode::ALL.len(), 0);
            spine.codes[code as usize] += 1;
        }
        spine.history.push(part.clone(), now);
        let generated = producer == Producer::Notice;
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

    /// The newest `count` messages that a filter keeps, oldest first.
    pub(crate) fn history(&self, count: usize, keep: impl Fn(&Batch, usize) -> bool) -> Vec<Part<Batch>> {
        newest(&self.spine().history, count, keep)
    }

    /// Adds a tail, and returns the history that goes ahead of what it will get: no gap, no repeat.
    pub(crate) fn attach(&self, tail: Arc<Tail>, history: usize) -> Vec<Part<Batch>> {
        let mut spine = self.spine();
        let before = newest(&spine.history, history, |batch, index| tail.filter.keeps(batch, index));
        spine.tails.push(tail);
        before
    }

    /// Removes a tail. What it still held is counted as lost.
    pub(crate) fn detach(&self, tail: &Arc<Tail>, now: DateTime<Utc>) {
        let mut spine = self.spine();
        spine.tails.retain(|other| !Arc::ptr_eq(other, tail));
        tail.mailbox.lose_all(LossReason::Closed, now);
        spine.closed_tails.absorb(&tail.mailbox.ledger());
    }

    /// Whether anyone reads the channel now.
    pub(crate) fn has_tails(&self) -> bool {
        !self.spine().tails.is_empty()
    }

    /// The sum of the ledgers of all tails that are and were, and how many are.
    pub(crate) fn tails(&self) -> (Ledger, usize) {
        let spine = self.spine();
        let mut sum = spine.closed_tails.clone();
        for tail in &spine.tails {
            sum.absorb(&tail.mailbox.ledger());
        }
        (sum, spine.tails.len())
    }

    /// The error codes of the messages so far, with how many there were of each.
    pub(crate) fn codes(&self) -> Vec<(ErrorCode, u64)> {
        let spine = self.spine();
        let counted = ErrorCode::ALL.iter().copied().zip(spine.codes.iter().copied());
        counted.filter(|(_, count)| *count > 0).collect()
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

fn newest(history: &Ring<Batch>, count: usize, keep: impl Fn(&Batch, usize) -> bool) -> Vec<Part<Batch>> {
    let mut left = count;
    let mut found = Vec::new();
    for part in history.parts().rev() {
        if left == 0 {
            break;
        }
        let batch = part.chunk();
        let kept: Vec<usize> = part.range().rev().filter(|&index| keep(batch, index)).take(left).collect();
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

/// The right to write to a channel.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) id: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) channel: Arc<Channel>,
    /// When it ends, if another one has taken its place.
    until: Option<DateTime<Utc>>,
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
        let (id, name) = (record.id.as_str().into(), record.name.as_str().into());
        Token { id, name, channel, until: record.until, state }
    }

    /// Whether it may still be used.
    pub(crate) fn is_valid(&self) -> bool {
        self.until.is_none_or(|until| Utc::now() < until)
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
