//! A reader's ring with a lock and a bell: where a channel hands messages to a drain or a tail.
//!
//! A reader that waits with nothing in flight is handed what it would take at once, and only the rest has to
//! fit into the ring: a burst into an idle reader may be as large as one request and the ring.

use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use logplex_core::{Batch, Gap, Ledger, LossReason, Part, Policy, Ring, RingLimits, Taken, Teller};
use tokio::sync::Notify;

/// Locks a mutex whose sections cannot leave it half changed, so that a panic elsewhere does not spread.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// See the module's text. Full: drops the oldest. Pushing never blocks and wakes the reader.
#[derive(Debug)]
pub(crate) struct Mailbox {
    state: Mutex<State>,
    readable: Notify,
}

#[derive(Debug)]
struct State {
    ring: Ring<Batch>,
    reader: Reader,
    /// Whether the reader gets nothing for now.
    paused: bool,
}

#[derive(Debug)]
enum Reader {
    /// Has something in flight, or is not there.
    Busy,
    /// Waits, and would take this much.
    Waiting(Policy),
    /// Collects for a moment, and would take this much at once if it became many.
    Lingering(Policy),
    /// Was waiting, and is handed this.
    Handed(Taken<Batch>),
}

/// What a reader found when it looked.
pub(crate) enum Found {
    /// Messages to send, a gap to tell ahead of them, or both.
    Work(Taken<Batch>, Option<Gap>),
    /// Nothing now; if `untold`, there is a gap that is not due yet.
    Nothing { untold: bool },
}

/// A mailbox at one moment.
pub(crate) struct Look {
    pub(crate) ledger: Ledger,
    pub(crate) paused: bool,
    /// When the oldest message that waits came in.
    pub(crate) oldest: Option<DateTime<Utc>>,
}

impl Mailbox {
    pub(crate) fn new(limits: RingLimits) -> Mailbox {
        let state = State { ring: Ring::new(limits), reader: Reader::Busy, paused: false };
        Mailbox { state: Mutex::new(state), readable: Notify::new() }
    }

    /// Hands messages over; `generated` if they are notices of our own making. Returns whether there is
    /// something for the reader to take.
    pub(crate) fn push(&self, part: Part<Batch>, generated: bool, now: DateTime<Utc>) -> bool {
        let count = part.messages() as u64;
        let mut state = lock(&self.state);
        let State { ring, reader, paused } = &mut *state;
        let mut wakes = !*paused;
        match reader {
            Reader::Waiting(policy) if count > 0 => {
                *reader = Reader::Handed(ring.push_and_take(part, policy, now))
            }
            Reader::Lingering(policy) if are_many(ring, part.messages(), part.size()) => {
                *reader = Reader::Handed(ring.push_and_take(part, policy, now))
            }
            _ => {
                wakes &= !matches!(reader, Reader::Lingering(_));
                ring.push(part, now);
            }
        }
        if generated {
            ring.ledger_mut().count_as_generated(count);
        }
        // Release the lock before waking: the reader would only wake up to wait for us.
        drop(state);
        if wakes {
            self.readable.notify_one();
        }
        wakes
    }

    /// The reader is not to be woken until there is much to take. Returns false if there is already; else the reader
    /// counts as collecting until it takes again.
    pub(crate) fn linger(&self, policy: &Policy) -> bool {
        let mut state = lock(&self.state);
        if matches!(state.reader, Reader::Handed(_)) || are_many(&state.ring, 0, 0) {
            return false;
        }
        state.reader = Reader::Lingering(*policy);
        true
    }

    /// Holds everything back from the reader, or no longer. What is in flight is not touched.
    pub(crate) fn set_paused(&self, paused: bool) {
        let mut state = lock(&self.state);
        state.paused = paused;
        // A reader that waits would be handed the next push; what it was handed before stays held.
        if paused && matches!(state.reader, Reader::Waiting(_)) {
            state.reader = Reader::Busy;
        }
        drop(state);
        self.readable.notify_one();
    }

    /// Takes what there is to do. Messages that were handed over go before a gap, which lies behind them;
    /// else a gap goes first, if it is `due`. If there is nothing, the reader counts as waiting from here on.
    pub(crate) fn take(&self, policy: &Policy, due: bool) -> Found {
        let mut state = lock(&self.state);
        if state.paused {
            return Found::Nothing { untold: false };
        }
        if let Reader::Handed(taken) = std::mem::replace(&mut state.reader, Reader::Busy) {
            return Found::Work(taken, None);
        }
        let gap = state.ring.ledger_mut().take_gap_if(Teller::Reader, due);
        // The notice is one of the messages that the reader would take.
        let room = policy.messages.saturating_sub(usize::from(gap.is_some()));
        let taken = match room {
            0 => Taken::default(),
            messages => state.ring.take(&Policy { messages, ..*policy }),
        };
        if taken.is_empty() && gap.is_none() {
            state.reader = Reader::Waiting(*policy);
            return Found::Nothing { untold: !state.ring.ledger().gap(Teller::Reader).is_empty() };
        }
        Found::Work(taken, gap)
    }

    /// Takes as little as shows whether messages would arrive: a gap to tell, else one message. Nothing if
    /// there is neither.
    pub(crate) fn take_probe(&self) -> Option<(Taken<Batch>, Option<Gap>)> {
        match self.take(&Policy { messages: 1, ..Policy::default() }, true) {
            Found::Work(taken, gap) => Some((taken, gap)),
            Found::Nothing { .. } => None,
        }
    }

    /// Whether there is nothing that the reader may take, no message and no gap to tell.
    pub(crate) fn is_idle(&self) -> bool {
        let state = lock(&self.state);
        let waits = state.ring.messages() > 0 || matches!(state.reader, Reader::Handed(_));
        state.paused || !waits && state.ring.ledger().gap(Teller::Reader).is_empty()
    }

    /// Of what was taken, these have arrived.
    pub(crate) fn deliver(&self, parts: &[Part<Batch>]) {
        lock(&self.state).ring.deliver(parts);
    }

    /// Of what was taken, these are given up, and the gap that was to be told ahead of them is untold again.
    pub(crate) fn lose(
        &self,
        parts: &[Part<Batch>],
        gap: Option<Gap>,
        reason: LossReason,
        now: DateTime<Utc>,
    ) {
        let mut state = lock(&self.state);
        if let Some(gap) = gap {
            state.ring.ledger_mut().restore_gap(Teller::Reader, gap);
        }
        state.ring.lose(parts, reason, now);
    }

    /// Gives up all that waits.
    pub(crate) fn lose_all(&self, reason: LossReason, now: DateTime<Utc>) {
        let mut state = lock(&self.state);
        if let Reader::Handed(taken) = std::mem::replace(&mut state.reader, Reader::Busy) {
            state.ring.lose(taken.parts(), reason, now);
        }
        state.ring.lose_all(reason, now);
    }

    /// A snapshot of the ledger.
    pub(crate) fn ledger(&self) -> Ledger {
        lock(&self.state).ring.ledger().clone()
    }

    /// The ledger and what belongs to it, in one snapshot.
    pub(crate) fn look(&self) -> Look {
        let state = lock(&self.state);
        let handed = match &state.reader {
            Reader::Handed(taken) => taken.parts().first(),
            Reader::Busy | Reader::Waiting(_) | Reader::Lingering(_) => None,
        };
        let oldest = handed.or_else(|| state.ring.parts().next()).map(|part| part.chunk().received());
        Look { ledger: state.ring.ledger().clone(), paused: state.paused, oldest }
    }

    /// Changes the ledger; for messages that never were in the ring, and for what the channel is told.
    pub(crate) fn with_ledger<T>(&self, change: impl FnOnce(&mut Ledger) -> T) -> T {
        change(lock(&self.state).ring.ledger_mut())
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

/// Whether a ring with so many more messages and bytes has enough for a reader not to wait for yet more, far below
/// where it would drop any.
fn are_many(ring: &Ring<Batch>, messages: usize, bytes: usize) -> bool {
    let limits = ring.limits();
    ring.messages() + messages >= limits.messages / 4 || ring.bytes() + bytes >= limits.bytes / 64
}

#[cfg(test)]
pub(crate) mod tests {
    use logplex_core::{Batch, FrameLimit, Frames, Origin, Policy, RingLimits};

    use super::*;

    /// A part of so many messages, of a time that is past.
    pub(crate) fn part(count: usize) -> Part<Batch> {
        let origin = Origin {
            token_name: "app",
            token: "t.1",
            form: Default::default(),
            limit: FrameLimit::MAX,
            now: Utc::now(),
        };
        let message = "<190>1 2026-11-21T08:58:16.397290+00:00 shuttle app web.1 - - hello";
        let frames = Frames::from_messages(std::iter::repeat_n(message, count));
        Part::whole(Batch::decode(&frames.wire(0..count), &origin).expect("strict").into())
    }

    const TEN: Policy = Policy { messages: 10, bytes: usize::MAX };

    fn mailbox() -> Mailbox {
        Mailbox::new(RingLimits { messages: 5, ..RingLimits::default() })
    }

    fn work(found: Found) -> (usize, u64) {
        match found {
            Found::Work(taken, gap) => (taken.messages(), gap.map_or(0, |gap| gap.total())),
            Found::Nothing { .. } => (0, 0),
        }
    }

    #[test]
    fn a_waiting_reader_is_handed_a_request_and_the_ring_holds_the_rest() {
        let mailbox = mailbox();
        assert_eq!(work(mailbox.take(&TEN, true)), (0, 0));
        mailbox.push(part(15), false, Utc::now());
        assert_eq!(mailbox.ledger().dropped_total(), 0);
        mailbox.push(part(2), false, Utc::now());
        assert_eq!(mailbox.ledger().dropped_total(), 2);
        // The gap lies behind the ten that were handed over, so it is told with the next.
        assert_eq!(work(mailbox.take(&TEN, true)), (10, 0));
        assert_eq!(work(mailbox.take(&TEN, true)), (5, 2));
    }

    #[test]
    fn a_busy_reader_has_its_ring_and_no_more() {
        let mailbox = mailbox();
        mailbox.push(part(15), false, Utc::now());
        assert_eq!(work(mailbox.take(&TEN, true)), (5, 10));
        mailbox.push(part(6), false, Utc::now());
        assert_eq!(work(mailbox.take(&TEN, false)), (5, 0));
    }

    #[test]
    fn a_paused_reader_gets_nothing_and_its_ring_goes_on_dropping() {
        let mailbox = mailbox();
        assert_eq!(work(mailbox.take(&TEN, true)), (0, 0));
        mailbox.set_paused(true);
        assert!(!mailbox.push(part(15), false, Utc::now()));
        assert_eq!(work(mailbox.take(&TEN, true)), (0, 0));
        let look = mailbox.look();
        assert_eq!((look.ledger.dropped_total(), look.ledger.held(), look.paused), (10, 5, true));
        assert!(mailbox.is_idle() && look.oldest.is_some());
        mailbox.set_paused(false);
        assert!(!mailbox.is_idle());
        assert_eq!(work(mailbox.take(&TEN, true)), (5, 10));
        assert!(mailbox.push(part(1), false, Utc::now()));
    }

    #[test]
    fn what_was_handed_over_before_a_pause_stays_held() {
        let mailbox = mailbox();
        assert_eq!(work(mailbox.take(&TEN, true)), (0, 0));
        mailbox.push(part(10), false, Utc::now());
        mailbox.set_paused(true);
        assert_eq!(work(mailbox.take(&TEN, true)), (0, 0));
        assert_eq!(mailbox.ledger().held(), 10);
        mailbox.set_paused(false);
        assert_eq!(work(mailbox.take(&TEN, true)), (10, 0));
    }

    #[test]
    fn a_probe_is_a_notice_alone_or_else_one_message() {
        let mailbox = mailbox();
        assert!(mailbox.take_probe().is_none());
        mailbox.set_paused(true);
        mailbox.push(part(7), false, Utc::now());
        assert!(mailbox.take_probe().is_none());
        mailbox.set_paused(false);
        let (taken, gap) = mailbox.take_probe().expect("a gap");
        assert_eq!((taken.messages(), gap.map(|gap| gap.total())), (0, Some(2)));
        let (taken, gap) = mailbox.take_probe().expect("a message");
        assert_eq!((taken.messages(), gap), (1, None));
    }

    #[test]
    fn a_notice_is_one_of_the_messages_of_a_request() {
        let mailbox = mailbox();
        mailbox.push(part(7), false, Utc::now());
        let three = Policy { messages: 3, ..TEN };
        assert_eq!(work(mailbox.take(&three, true)), (2, 2));
        assert_eq!(work(mailbox.take(&three, true)), (3, 0));
    }

    #[test]
    fn a_reader_that_lingers_is_woken_by_much_and_drops_none_of_it() {
        let mailbox = Mailbox::new(RingLimits { messages: 100, ..RingLimits::default() });
        let all = Policy { messages: usize::MAX, ..TEN };
        assert!(mailbox.linger(&all));
        assert!(!mailbox.push(part(10), false, Utc::now()));
        assert!(!mailbox.push(part(14), false, Utc::now()));
        // With these it is a quarter of the ring, and all of it is handed over, however much it is.
        assert!(mailbox.push(part(150), false, Utc::now()));
        assert!(!mailbox.linger(&all));
        assert_eq!(work(mailbox.take(&all, true)), (174, 0));
        assert!(mailbox.linger(&all));
        mailbox.push(part(1), false, Utc::now());
        assert_eq!(work(mailbox.take(&all, true)), (1, 0));
        assert_eq!(mailbox.ledger().dropped_total(), 0);
    }

    #[test]
    fn what_was_handed_over_is_lost_with_the_rest() {
        let mailbox = mailbox();
        assert_eq!(work(mailbox.take(&TEN, true)), (0, 0));
        mailbox.push(part(15), false, Utc::now());
        assert!(!mailbox.is_idle());
        mailbox.lose_all(LossReason::Closed, Utc::now());
        let ledger = mailbox.ledger();
        assert_eq!((ledger.lost(LossReason::Closed), ledger.held()), (15, 0));
        assert!(ledger.balances());
        // Nothing to take, but for what is to be told of it.
        assert_eq!(work(mailbox.take(&TEN, true)), (0, 15));
    }
}
