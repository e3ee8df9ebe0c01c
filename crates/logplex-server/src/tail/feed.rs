//! What a session's client gets next, whatever carries it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use logplex_core::{Batch, Gap, LossReason, Policy, Taken, Tally};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::Seat;
use super::render::{Form, Page};
use crate::history::{LookBack, Piece, sequences};
use crate::mailbox::Found;
use crate::tasks::sleep_until;

/// How much is taken at once: what is taken is no longer bounded by the ring.
const TAKE: Policy = Policy { messages: usize::MAX, bytes: 64 * 1024 };

/// How often a client hears of us, whatever there is to say.
const PING: Duration = Duration::from_secs(15);

/// After a notice, gaps of this long are merged into the next one.
const NOTICE_INTERVAL: Duration = Duration::from_secs(1);

/// After a piece, what comes is collected this long, unless it is much: a thousand tails cost a wake-up and a write
/// each for every piece. The first line after a pause goes at once.
const LINGER: Duration = Duration::from_millis(50);

/// See the module's text. What was handed out counts as delivered when the next is asked for, and as lost when nobody
/// asks any more.
#[derive(Debug)]
pub(crate) struct Feed {
    seat: Seat,
    look_back: LookBack,
    page: Page,
    told_at: Option<Instant>,
    taken_at: Option<Instant>,
    ping: Interval,
    /// When there will be nothing more that the filter keeps.
    until: Option<Instant>,
    under_way: UnderWay,
    stopped: CancellationToken,
    revoked: CancellationToken,
}

#[derive(Debug)]
enum UnderWay {
    Nothing,
    Past(u64),
    Live(Taken<Batch>, Option<Gap>),
}

/// What is next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Lines, in pieces of at most 256 KiB but for longer ones.
    Lines(Vec<String>),
    /// Nothing; the client should hear that we are still here.
    Quiet,
    End(Ending),
}

/// Why nothing more comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// All that was asked for is written.
    Done,
    Stopped,
    Revoked,
}

impl Feed {
    pub(crate) fn new((seat, look_back): (Seat, LookBack), form: Form, stopped: CancellationToken) -> Feed {
        let mut ping = tokio::time::interval(PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let until = seat.tail.filter.until.map(deadline);
        Feed {
            page: Page::new(form, seat.channel.epoch),
            revoked: seat.session.revoked(),
            seat,
            look_back,
            told_at: None,
            taken_at: None,
            ping,
            until,
            under_way: UnderWay::Nothing,
            stopped,
        }
    }

    /// Waits for what is next. Cancel safe.
    pub(crate) async fn next(&mut self) -> Next {
        self.settle();
        if self.revoked.is_cancelled() {
            return Next::End(Ending::Revoked);
        }
        if !self.look_back.pieces.is_empty() {
            self.write_past();
            return Next::Lines(self.page.take());
        }
        // What was read back for this reader alone no longer takes memory.
        self.look_back.permit = None;
        if !self.seat.live {
            return Next::End(Ending::Done);
        }
        loop {
            let now = Instant::now();
            // What came just ahead of the end, such as a drain's last notice, is still written, and no gap waits.
            let ending = match self.until {
                Some(until) if now >= until => Some(Ending::Done),
                _ => self.stopped.is_cancelled().then_some(Ending::Stopped),
            };
            let lingers_to = self.taken_at.map(|at| at + LINGER).filter(|at| now < *at && ending.is_none());
            let due_at = self.told_at.map(|at| at + NOTICE_INTERVAL);
            let mailbox = &self.seat.tail.mailbox;
            let wake_at = if let Some(lingers_to) = lingers_to
                && mailbox.linger(&TAKE)
            {
                Some(lingers_to)
            } else {
                let due = ending.is_some() || due_at.is_none_or(|at| now >= at);
                match (mailbox.take(&TAKE, due), ending) {
                    (Found::Work(taken, gap), _) => return Next::Lines(self.write_live(taken, gap)),
                    (Found::Nothing { .. }, Some(ending)) => return Next::End(ending),
                    (Found::Nothing { untold }, None) => {
                        self.page.forget();
                        due_at.filter(|_| untold)
                    }
                }
            };
            tokio::select! {
                () = mailbox.readable() => {}
                () = sleep_until(wake_at) => {}
                _ = self.ping.tick() => return Next::Quiet,
                () = self.revoked.cancelled() => return Next::End(Ending::Revoked),
                () = sleep_until(self.until) => {}
                () = self.stopped.cancelled() => {}
            }
        }
    }

    fn write_past(&mut self) {
        let mut size = 0;
        let mut messages = 0;
        while size < TAKE.bytes
            && let Some(piece) = self.look_back.pieces.pop_front()
        {
            match piece {
                Piece::Part(part) => {
                    size += part.size();
                    messages += part.messages() as u64;
                    self.page.write_part(&part);
                }
                Piece::Hole { count, reason, since, exact } => {
                    let dropped = Tally { count, since: Some(since), reason: Some(reason) };
                    let gap = Gap { dropped, ..Gap::default() };
                    let next = match self.look_back.pieces.front() {
                        Some(Piece::Part(part)) => Some(sequences(part).start),
                        _ => None,
                    };
                    self.page.write_gap(&gap, exact, next);
                }
                Piece::Unreadable => {
                    self.page.write_unavailable("What was before this line cannot be read now");
                }
                Piece::UnknownCursor => self.page.write_unavailable(
                    "The place to go on from is of a history that is gone; what was missed is not known",
                ),
            }
        }
        self.under_way = UnderWay::Past(messages);
    }

    fn write_live(&mut self, taken: Taken<Batch>, gap: Option<Gap>) -> Vec<String> {
        let now = Instant::now();
        self.taken_at = Some(now);
        if let Some(gap) = &gap {
            self.told_at = Some(now);
            let next = taken.parts().first().map(|part| sequences(part).start);
            self.page.write_gap(gap, true, next);
        }
        self.page.write_parts(taken.parts());
        self.under_way = UnderWay::Live(taken, gap);
        self.page.take()
    }

    /// What was handed out has arrived.
    fn settle(&mut self) {
        match std::mem::replace(&mut self.under_way, UnderWay::Nothing) {
            UnderWay::Nothing => {}
            UnderWay::Past(messages) => {
                self.seat.past -= messages;
                self.seat.tail.mailbox.with_ledger(|ledger| ledger.deliver(messages));
            }
            UnderWay::Live(taken, _told) => self.seat.tail.mailbox.deliver(taken.parts()),
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        // Some of it may have arrived; nobody is left to be told. The seat counts what is left of the past.
        if let UnderWay::Live(taken, gap) = std::mem::replace(&mut self.under_way, UnderWay::Nothing) {
            self.seat.tail.mailbox.lose(taken.parts(), gap, LossReason::Closed, Utc::now());
        }
    }
}

fn deadline(at: DateTime<Utc>) -> Instant {
    // Far enough away for any other: what is not a duration now will not be one while this process lives.
    let wait = (at - Utc::now()).to_std().unwrap_or_default().min(Duration::from_secs(365 * 86_400));
    Instant::now() + wait
}
