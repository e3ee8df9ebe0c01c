//! What an app holds: a handle to write with, a guard that ships the rest at the end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::sync::watch;

use super::feeder::{Feeder, Format, Writer};
use super::head::{FieldError, Fields, Head};
use super::queue::Queue;
#[cfg(feature = "tracing")]
use super::sender::LineSender;
use super::worker::{Counts, Order};
use crate::{Gap, Ledger, LossReason, Teller};

/// Beyond the time a shutdown is given: for the shipping thread to say that it has ended.
const SLACK: Duration = Duration::from_millis(500);

/// The share of a shutdown's time that is kept for telling what could not be sent, and the most of it.
const LAST_WORDS_SHARE: u32 = 5;
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A handle to a running shuttle. Cheap to clone; lines written after the guard's shutdown are counted as
/// lost.
#[derive(Clone, Debug)]
pub struct Shuttle {
    pub(super) queue: Arc<Queue>,
    pub(super) counts: Arc<Counts>,
    pub(super) orders: Sender<Order>,
    pub(super) head: Head,
    pub(super) fields: Arc<Fields>,
    pub(super) max_line: usize,
}

impl Shuttle {
    /// A writer of lines of text.
    pub fn writer(&self) -> Writer {
        Writer(self.feeder(Format::Raw))
    }

    /// A reader's end: takes a stream's bytes in any pieces.
    pub fn feeder(&self, format: Format) -> Feeder {
        Feeder::new(self.queue.clone(), self.head.clone(), format, self.max_line)
    }

    /// Queues whole lines, each as one message.
    #[cfg(feature = "tracing")]
    pub(crate) fn line_sender(&self) -> LineSender {
        LineSender::new(self.queue.clone(), self.head.clone(), self.max_line)
    }

    /// The header fields of the lines.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// A handle to the same queue whose lines have other header fields.
    ///
    /// # Errors
    /// [`FieldError`] if a field is malformed.
    pub fn with_fields(&self, fields: Fields) -> Result<Shuttle, FieldError> {
        fields.check()?;
        Ok(Shuttle { head: Head::new(&fields), fields: Arc::new(fields), ..self.clone() })
    }

    /// Waits until every line accepted before this call has been delivered, dropped or lost, and that was
    /// told. Returns whether it came to that within `timeout`. Blocks the calling thread.
    pub fn flush(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let (reply, answer) = bounded(1);
        let (target, _) = self.queue.progress();
        // Without a shipping thread there is nobody to take or answer it.
        self.orders.send_deadline(Order::Flush { target, reply }, deadline).is_ok()
            && answer.recv_deadline(deadline).unwrap_or(false)
    }

    /// What has become of every line as of now; held ones count as unsent and untold.
    pub fn report(&self) -> Report {
        Report::of(&self.queue.ledger())
    }

    /// All counts as of now.
    pub fn stats(&self) -> Stats {
        let Counts { posts, attempts, bytes } = &*self.counts;
        Stats {
            ledger: self.queue.ledger(),
            posts: posts.load(Ordering::Relaxed),
            attempts: attempts.load(Ordering::Relaxed),
            bytes: bytes.load(Ordering::Relaxed),
        }
    }
}

/// Counts of a running shuttle.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Every line: accepted, delivered, dropped, lost, held. One snapshot, so it balances.
    pub ledger: Ledger,
    /// Requests settled, whether delivered or given up.
    pub posts: u64,
    /// Attempts to post them; more than `posts` if there were retries.
    pub attempts: u64,
    /// Bytes of the requests' bodies, each counted once.
    pub bytes: u64,
}

/// What became of every line. `accepted = delivered + dropped + lost + unsent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Lines that came.
    pub accepted: u64,
    /// Lines that arrived.
    pub delivered: u64,
    /// Lines pushed out of a full ring.
    pub dropped: u64,
    /// Lines given up after delivery failed.
    pub lost: u64,
    /// Lines that were not sent when the time was over.
    pub unsent: u64,
    /// How many of those that did not arrive the log itself does not tell.
    pub untold: Gap,
}

impl Report {
    /// Whether every line arrived.
    pub fn is_clean(&self) -> bool {
        self.delivered == self.accepted
    }

    fn of(ledger: &Ledger) -> Report {
        let stopped = ledger.lost(LossReason::Stopped);
        let mut untold = *ledger.gap(Teller::Reader);
        untold.lost.count += ledger.held();
        Report {
            accepted: ledger.accepted(),
            delivered: ledger.delivered(),
            dropped: ledger.dropped_total(),
            lost: ledger.lost_total() - stopped,
            unsent: stopped + ledger.held(),
            untold,
        }
    }
}

/// Keeps a shuttle running. Dropping it ships what waits, for at most the builder's grace.
#[derive(Debug)]
#[must_use = "dropping the guard ends the shuttle"]
pub struct Guard {
    shuttle: Shuttle,
    stop: watch::Sender<Option<tokio::time::Instant>>,
    done: Receiver<()>,
    grace: Duration,
    is_stopped: bool,
}

impl Guard {
    pub(super) fn new(
        shuttle: Shuttle,
        stop: watch::Sender<Option<tokio::time::Instant>>,
        done: Receiver<()>,
        grace: Duration,
    ) -> Guard {
        Guard { shuttle, stop, done, grace, is_stopped: false }
    }

    /// A handle for other threads; also where [`Shuttle::flush`] and the rest are.
    pub fn shuttle(&self) -> &Shuttle {
        &self.shuttle
    }

    /// As [`Shuttle::writer`].
    pub fn writer(&self) -> Writer {
        self.shuttle.writer()
    }

    /// As [`Shuttle::flush`].
    pub fn flush(&self, timeout: Duration) -> bool {
        self.shuttle.flush(timeout)
    }

    /// As [`Shuttle::stats`].
    pub fn stats(&self) -> Stats {
        self.shuttle.stats()
    }

    /// Takes no more lines, ships what waits for at most `timeout`, tells what it could not ship, ends.
    /// Blocks the calling thread; inside an async runtime use its `spawn_blocking`.
    pub fn shutdown(mut self, timeout: Duration) -> Report {
        self.stop(timeout)
    }

    fn stop(&mut self, timeout: Duration) -> Report {
        self.is_stopped = true;
        let deadline = Instant::now() + timeout;
        let last_send = deadline - (timeout / LAST_WORDS_SHARE).min(LAST_WORDS);
        self.shuttle.queue.close();
        // The instant first: a request under way ends by it, and only then is the order read.
        self.stop.send_replace(Some(deadline.into()));
        if self.shuttle.orders.send_deadline(Order::Stop { last_send }, deadline + SLACK).is_ok() {
            // Either it has ended, or the report below counts what is still held as unsent.
            self.done.recv_deadline(deadline + SLACK).ok();
        }
        Report::of(&self.shuttle.queue.ledger())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.is_stopped {
            self.stop(self.grace);
        }
    }
}
