//! A live tail: the same ring as a drain's, read over a websocket ([`websocket`]) or as the body of an answer
//! ([`body`]).
//!
//! A session first gets what it asked of the past, then what comes, in one piece all that is there ([`Feed`]). A
//! client that reads too slowly makes the ring drop its oldest, and an L11 line, which no filter hides, goes ahead of
//! what follows.

use std::collections::VecDeque;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use logplex_core::{Batch, Filter, LossReason, Part, RingLimits, Teller};

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
    /// Hands over the messages that the filter keeps, before the ring, so that noise cannot push out signal.
    pub(crate) fn push(&self, part: &Part<Batch>, generated: bool, now: DateTime<Utc>) {
        if let Some(kept) = self.filter.apply(part) {
            self.mailbox.push(kept, generated, now);
        }
    }

    /// Counts what of the past is handed over, and what of it is gone. Ahead of all that comes.
    pub(crate) fn count_past(&self, pieces: &VecDeque<Piece>) {
        self.mailbox.with_ledger(|ledger| {
            for piece in pieces {
                match piece {
                    Piece::Part(part) => ledger.accept(part.messages() as u64),
                    Piece::Hole { gap, .. } => {
                        ledger.inherit(*gap, Default::default());
                        // It is told with its piece.
                        ledger.take_gap(Teller::Reader);
                    }
                    Piece::Unreadable | Piece::UnknownCursor => {}
                }
            }
        });
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
        let look_back = channel.look_back(begin, &tail, live).await;
        let parts = look_back.pieces.iter().map(|piece| match piece {
            Piece::Part(part) => part.messages() as u64,
            Piece::Hole { .. } | Piece::Unreadable | Piece::UnknownCursor => 0,
        });
        let past = parts.sum();
        (Seat { channel, tail, live, past, session }, look_back)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let (now, past) = (Utc::now(), self.past);
        self.tail.mailbox.with_ledger(|ledger| ledger.lose(past, LossReason::Closed, now));
        self.channel.close_tail(&self.tail, self.live, now);
    }
}
