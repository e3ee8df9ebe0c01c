//! The one queue between whoever writes lines and the thread that ships them.
//!
//! A ring of chunks, and in front of it one open chunk to which single lines are appended. Lines are framed
//! when they come, so that shipping slices and never renders. Work is per write: one lock and, only if the
//! shipping thread sleeps on it, one wake-up.
//!
//! Full, with [`Overflow::DropOldest`]: the oldest lines go, to the message, and the ledger knows. With
//! [`Overflow::Block`] a writer waits before it adds anything; then what it adds in one go may pass the bound
//! by one write (at most 64 KiB of text), and nothing is ever dropped.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use crossbeam_channel::Sender;

use crate::frame::FramesBuilder;
use crate::{Frames, Gap, Ledger, LossReason, Part, Policy, Ring, RingLimits, Taken, Teller};

/// The open chunk is closed at this size: small enough that dropping its oldest lines frees memory soon.
const SEAL_BYTES: usize = 64 * 1024;

/// As [`SEAL_BYTES`], for short lines.
const SEAL_LINES: usize = 512;

/// What happens to a line when the queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest lines are dropped and counted; the writer never waits.
    #[default]
    DropOldest,
    /// The writer waits until there is room.
    Block,
}

/// When the shipping thread wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WakeOn {
    /// It is busy and will look by itself.
    Nothing,
    /// Any line.
    Line,
    /// Enough lines for a whole request.
    FullBatch,
}

/// What waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub(crate) lines: usize,
    /// Whether waiting any longer would not make a better request.
    pub(crate) is_full: bool,
    /// Whether losses wait to be told.
    pub(crate) untold: bool,
}

/// What goes into one request.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) taken: Taken<Frames>,
    pub(crate) gap: Option<Gap>,
}

#[derive(Debug)]
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    room: Condvar,
    wake: Sender<()>,
    limits: RingLimits,
    batch: Policy,
    overflow: Overflow,
}

#[derive(Debug)]
struct Inner {
    ring: Ring<Frames>,
    open: FramesBuilder,
    wake_on: WakeOn,
    closed: bool,
}

impl Queue {
    /// An empty queue that sends to `wake` (of capacity 1) when the shipping thread is to look.
    pub(crate) fn new(limits: RingLimits, batch: Policy, overflow: Overflow, wake: Sender<()>) -> Queue {
        let ring = match overflow {
            Overflow::DropOldest => Ring::new(limits),
            // Writers keep to the bound by waiting; the ring itself must never drop.
            Overflow::Block => Ring::new(RingLimits { messages: usize::MAX, bytes: usize::MAX }),
        };
        let limits = RingLimits { messages: limits.messages.max(1), ..limits };
        let inner = Inner { ring, open: FramesBuilder::default(), wake_on: WakeOn::Nothing, closed: false };
        Queue { inner: Mutex::new(inner), room: Condvar::new(), wake, limits, batch, overflow }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that can panic leaves the counts half changed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room, if that is this queue's way.
    fn admit(&self, lines: usize, bytes: usize) -> MutexGuard<'_, Inner> {
        let mut inner = self.lock();
        while self.overflow == Overflow::Block && !inner.closed && self.lacks_room(&inner, lines, bytes) {
            inner = self.room.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        inner
    }

    fn lacks_room(&self, inner: &Inner, lines: usize, bytes: usize) -> bool {
        let resting = inner.resting();
        resting > 0 && (resting + lines > self.limits.messages || inner.bytes() + bytes > self.limits.bytes)
    }

    /// Appends what `render` frames: for a few short lines. Never blocks but for [`Overflow::Block`].
    pub(crate) fn append(&self, now: DateTime<Utc>, render: impl FnOnce(&mut FramesBuilder)) {
        let mut inner = self.admit(1, 0);
        if inner.closed {
            let mut late = FramesBuilder::default();
            render(&mut late);
            return inner.refuse(late.count(), now);
        }
        render(&mut inner.open);
        if inner.open.count() > self.limits.messages {
            inner.seal(now);
        } else {
            let open = inner.open.count();
            inner.ring.make_room(open, now);
            if open >= SEAL_LINES || inner.open.bytes.len() >= SEAL_BYTES {
                inner.seal(now);
            }
        }
        self.wake_up(inner);
    }

    /// Adds a chunk: for many lines or long ones.
    pub(crate) fn push(&self, chunk: FramesBuilder, now: DateTime<Utc>) {
        if chunk.is_empty() {
            return;
        }
        let (count, frames) = (chunk.count(), Part::whole(chunk.build().into()));
        let mut inner = self.admit(count, frames.size());
        if inner.closed {
            return inner.refuse(count, now);
        }
        inner.seal(now);
        inner.ring.push(frames, now);
        self.wake_up(inner);
    }

    fn wake_up(&self, mut inner: MutexGuard<'_, Inner>) {
        let wake = match inner.wake_on {
            WakeOn::Nothing => false,
            WakeOn::Line => inner.resting() > 0,
            WakeOn::FullBatch => self.is_full(&inner),
        };
        if wake {
            inner.wake_on = WakeOn::Nothing;
            // Unlock before waking: the thread would only wake up to wait for us.
            drop(inner);
            // A full channel holds a wake-up already.
            self.wake.try_send(()).ok();
        }
    }

    fn is_full(&self, inner: &Inner) -> bool {
        inner.resting() >= self.batch.messages.min(self.limits.messages.div_ceil(2))
            || inner.bytes() >= self.batch.bytes.min(self.limits.bytes / 2)
    }

    /// What waits now; from now on `wake_on` wakes.
    pub(crate) fn look(&self, wake_on: WakeOn) -> Waiting {
        let mut inner = self.lock();
        inner.wake_on = wake_on;
        Waiting {
            lines: inner.resting(),
            is_full: self.is_full(&inner),
            untold: !inner.ring.ledger().gap(Teller::Reader).is_empty(),
        }
    }

    /// Takes the next request's lines, and what is to be told ahead of them if `tell`.
    pub(crate) fn take(&self, policy: &Policy, tell: bool, now: DateTime<Utc>) -> Load {
        let mut inner = self.lock();
        inner.wake_on = WakeOn::Nothing;
        // What went before goes ahead; what the open chunk may yet push out lies behind what is taken.
        let gap = if tell { inner.ring.ledger_mut().take_gap(Teller::Reader) } else { None };
        // Taking makes the room that the open chunk may lack: nothing that is taken is dropped for it.
        let taken = match inner.close_open() {
            Some(open) => inner.ring.push_and_take(open, policy, now),
            None => inner.ring.take(policy),
        };
        // A writer that waits has room for many lines when it is woken, and is not woken for each request.
        let has_room =
            inner.resting() <= self.limits.messages / 4 * 3 && inner.bytes() <= self.limits.bytes / 4 * 3;
        drop(inner);
        if has_room && self.overflow == Overflow::Block {
            self.room.notify_all();
        }
        Load { taken, gap }
    }

    /// Takes only what is to be told.
    pub(crate) fn take_gap(&self) -> Option<Gap> {
        self.lock().ring.ledger_mut().take_gap(Teller::Reader)
    }

    /// What was taken has arrived.
    pub(crate) fn delivered(&self, parts: &[Part<Frames>]) {
        self.lock().ring.deliver(parts);
    }

    /// What was taken is given up, and what was to be told with it is not told.
    pub(crate) fn lost(
        &self,
        parts: &[Part<Frames>],
        reason: LossReason,
        untold: Option<Gap>,
        now: DateTime<Utc>,
    ) {
        let mut inner = self.lock();
        inner.ring.lose(parts, reason, now);
        if let Some(gap) = untold {
            inner.ring.ledger_mut().restore_gap(Teller::Reader, gap);
        }
    }

    /// Takes no more lines: those that still come are counted as lost. Writers that wait go on.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.room.notify_all();
    }

    /// Gives up all that waits.
    pub(crate) fn lose_rest(&self, now: DateTime<Utc>) {
        let mut inner = self.lock();
        inner.seal(now);
        inner.ring.lose_all(LossReason::Stopped, now);
    }

    /// The ledger as of now.
    pub(crate) fn ledger(&self) -> Ledger {
        let inner = self.lock();
        let mut ledger = inner.ring.ledger().clone();
        ledger.accept(inner.open.count() as u64);
        ledger
    }

    /// How many lines ever came, and how many of those are no longer waiting here.
    pub(crate) fn progress(&self) -> (u64, u64) {
        let inner = self.lock();
        let accepted = inner.ring.ledger().accepted() + inner.open.count() as u64;
        (accepted, accepted - inner.resting() as u64)
    }
}

impl Inner {
    fn resting(&self) -> usize {
        self.ring.messages() + self.open.count()
    }

    fn bytes(&self) -> usize {
        self.ring.bytes() + self.open.bytes.len()
    }

    /// Moves the open chunk into the ring.
    fn seal(&mut self, now: DateTime<Utc>) {
        if let Some(open) = self.close_open() {
            self.ring.push(open, now);
        }
    }

    fn close_open(&mut self) -> Option<Part<Frames>> {
        let open = (!self.open.is_empty()).then(|| std::mem::take(&mut self.open));
        open.map(|open| Part::whole(open.build().into()))
    }

    /// Counts lines that came after the end.
    fn refuse(&mut self, late: usize, now: DateTime<Utc>) {
        let ledger = self.ring.ledger_mut();
        ledger.accept(late as u64);
        ledger.lose(late as u64, LossReason::Stopped, now);
    }
}

#[cfg(test)]
mod tests;
