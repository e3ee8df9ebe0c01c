//! A live tail: the same ring as a drain's, read over a websocket ([`websocket`]) or as the body of an answer
//! ([`mod@body`]).
//!
//! A session first gets what it asked of the past, then what comes, in one piece all that is there ([`Feed`]). A
//! client that reads too slowly makes the ring drop its oldest, and an L11 line, which no filter hides, goes ahead of
//! what follows.

use std::collections::VecDeque;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use logplex_core::{Batch, Filter, LossReason, Part, RingLimits};

use crate::channel::Channel;
use crate::history::{Begin, LookBack, Piece};
use crate::hub::SessionUse;
use crate::mailbox::Mailbox;

mod body;
mod feed;
mod render;
mod websocket;

pub(crate) use body::body;
pub(crate) use feed::Feed;
pub(crate) use render::{Form, Format};
pub(crate) use websocket::serve;

/// A tail's place in its channel.
#[derive(Debug)]
pub(crate) struct Tail {
    pub(crate) filter: Filter,
    pub(crate) mailbox: Mailbox,
}

impl Tail {
    /// Hands over the messages that the filter keeps, before the ring, so that noise cannot push out signal. What
    /// comes when the tail's time is up is not for it, whatever time it bears: a busy channel would never let it end.
    pub(crate) fn push(&self, part: &Part<Batch>, generated: bool, now: DateTime<Utc>) {
        if self.filter.until.is_some_and(|until| until <= now) {
            return;
        }
        if let Some(kept) = self.filter.apply(part) {
            self.mailbox.push(kept, generated, now);
        }
    }

    /// Counts what of the past is handed over, and what of it is gone. Returns how much is handed over.
    fn count_past(&self, pieces: &VecDeque<Piece>) -> u64 {
        let mut past = 0;
        self.mailbox.with_ledger(|ledger| {
            for piece in pieces {
                match piece {
                    Piece::Part(part) => past += part.messages() as u64,
                    Piece::Hole { count, reason, .. } => ledger.count_gone(*count, *reason),
                    Piece::Unreadable | Piece::UnknownCursor => {}
                }
            }
            ledger.accept(past);
        });
        past
    }
}

/// A reader's place in a channel, taken before the client is told that it is connected, so that it misses
/// nothing that comes after. Dropping it gives the place up.
#[derive(Debug)]
pub(crate) struct Seat {
    channel: Arc<Channel>,
    tail: Arc<Tail>,
    live: bool,
    /// Messages of the past that were handed over and not yet written.
    past: u64,
    session: SessionUse,
}

impl Seat {
    /// Takes a place behind what `begin` finds of the past; unless `live`, that is all that there will be.
    pub(crate) async fn take(
        channel: Arc<Channel>,
        session: SessionUse,
        filter: Filter,
        begin: Begin,
        live: bool,
    ) -> (Seat, LookBack) {
        let tail = Arc::new(Tail { filter, mailbox: Mailbox::new(RingLimits::default()) });
        let attached = channel.look_back(begin, &tail.filter, live.then_some(&tail)).await;
        // From here on the place is given up when this is dropped.
        let mut seat = Seat { channel, tail, live, past: 0, session };
        let look_back = attached.filter(&seat.tail.filter);
        seat.past = seat.tail.count_past(&look_back.pieces);
        (seat, look_back)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let (now, past) = (Utc::now(), self.past);
        self.tail.mailbox.with_ledger(|ledger| ledger.lose(past, LossReason::Closed, now));
        self.channel.close_tail(&self.tail, self.live, now);
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::mailbox::tests::part;

    #[test]
    fn nothing_reaches_a_tail_whose_time_is_up() {
        let until = Utc::now() + TimeDelta::hours(1);
        let filter = Filter { until: Some(until), ..Filter::default() };
        let tail = Tail { filter, mailbox: Mailbox::new(RingLimits::default()) };
        tail.push(&part(3), false, until - TimeDelta::nanoseconds(1));
        tail.push(&part(5), false, until);
        assert_eq!(tail.mailbox.ledger().accepted(), 3);
    }
}
