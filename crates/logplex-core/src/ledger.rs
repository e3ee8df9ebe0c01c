//! The one place where messages are counted.
//!
//! At every moment `accepted + generated = delivered + dropped + lost + held`: each method moves messages
//! from one side of that equation to the other and there is no other way to change a number. What was
//! dropped or lost and not yet told is a [`Gap`], kept once for each [`Teller`], so that a notice, a metric
//! and the API can never disagree.

use chrono::{DateTime, Utc};

/// Declares an enum of reasons whose names are those of notices, metrics and the API.
macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// Every reason, in the order of its number.
            pub const ALL: &[$name] = &[$($name::$variant),*];

            /// The reason as notices, metrics and the API write it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $text,)*
                }
            }

            /// The reason that `text` names.
            pub fn from_name(text: &str) -> Option<$name> {
                $name::ALL.iter().copied().find(|reason| reason.as_str() == text)
            }
        }
    };
}

reasons! {
    /// Why messages were pushed out unsent.
    DropReason {
        /// The ring held its most messages.
        Full = "full",
        /// The ring held its most bytes.
        Bytes = "bytes",
        /// They were held when the process died; the number is an upper bound.
        Crash = "crash",
        /// They were no longer in the history when a tail came back for them.
        History = "history",
    }
}

reasons! {
    /// Why messages were given up.
    LossReason {
        /// The peer answered with a final status (4xx).
        Refused = "refused",
        /// The peer answered with a redirect.
        Redirected = "redirected",
        /// The peer answered 413.
        TooLarge = "too-large",
        /// Retries ended while the peer answered 408, 425, 429 or 5xx.
        Unavailable = "unavailable",
        /// Retries ended without a connection.
        Unreachable = "unreachable",
        /// A request got no answer: its messages may have been taken.
        Unanswered = "unanswered",
        /// The process stopped before they were sent.
        Stopped = "stopped",
        /// The reader went away or was removed.
        Closed = "closed",
    }
}

/// How many messages, since when, and why (the reason of the first).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally<R> {
    /// How many messages.
    pub count: u64,
    /// When the first of them went.
    pub since: Option<DateTime<Utc>>,
    /// Why the first of them went.
    pub reason: Option<R>,
}

impl<R> Default for Tally<R> {
    fn default() -> Tally<R> {
        Tally { count: 0, since: None, reason: None }
    }
}

impl<R: Copy> Tally<R> {
    fn add(&mut self, count: u64, now: DateTime<Utc>, reason: R) {
        if count > 0 {
            self.merge(Tally { count, since: Some(now), reason: Some(reason) });
        }
    }

    /// Adds another tally; the earlier one gives `since` and the reason.
    pub fn merge(&mut self, other: Tally<R>) {
        self.count += other.count;
        if let Some(theirs) = other.since
            && self.since.is_none_or(|ours| theirs < ours)
        {
            self.since = other.since;
            self.reason = other.reason;
        }
    }
}

/// What went and was not yet told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gap {
    /// Pushed out of a full ring.
    pub dropped: Tally<DropReason>,
    /// Given up after delivery failed.
    pub lost: Tally<LossReason>,
    /// What notices told that themselves were dropped or lost: messages that went further upstream.
    pub upstream: Tally<()>,
}

impl Gap {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.total() == 0
    }

    /// How many messages in all.
    pub fn total(&self) -> u64 {
        self.dropped.count + self.lost.count + self.upstream.count
    }

    /// When the first of them went.
    pub fn since(&self) -> Option<DateTime<Utc>> {
        [self.dropped.since, self.lost.since, self.upstream.since].into_iter().flatten().min()
    }

    /// Adds another gap.
    pub fn merge(&mut self, other: Gap) {
        self.dropped.merge(other.dropped);
        self.lost.merge(other.lost);
        self.upstream.merge(other.upstream);
    }
}

/// Who is told of a gap. Each has a position of its own: what one was told the other may not yet know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Teller {
    /// The reader that the messages were for.
    Reader,
    /// The channel that the reader belongs to, which gets a copy.
    Channel,
}

/// Counts messages at one hop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    accepted: u64,
    generated: u64,
    delivered: u64,
    held: u64,
    upstream_held: u64,
    dropped: [u64; DropReason::ALL.len()],
    lost: [u64; LossReason::ALL.len()],
    reader_gap: Gap,
    channel_gap: Gap,
}

impl Ledger {
    /// Messages came in and are held.
    pub fn accept(&mut self, count: u64) {
        self.accepted += count;
        self.held += count;
    }

    /// Of the messages accepted last, `count` are notices of our own making, not a producer's.
    pub fn count_as_generated(&mut self, count: u64) {
        self.accepted -= count;
        self.generated += count;
    }

    /// Held messages arrived.
    pub fn deliver(&mut self, count: u64) {
        self.held -= count;
        self.delivered += count;
    }

    /// Held messages were pushed out.
    pub fn drop(&mut self, count: u64, reason: DropReason, now: DateTime<Utc>) {
        self.held -= count;
        self.dropped[reason as usize] += count;
        self.reader_gap.dropped.add(count, now, reason);
        self.channel_gap.dropped.add(count, now, reason);
    }

    /// Held messages were given up.
    pub fn lose(&mut self, count: u64, reason: LossReason, now: DateTime<Utc>) {
        self.held -= count;
        self.lost[reason as usize] += count;
        self.reader_gap.lost.add(count, now, reason);
        self.channel_gap.lost.add(count, now, reason);
    }

    /// Among the messages accepted last are notices that tell of `count` messages lost upstream.
    pub fn accept_upstream(&mut self, count: u64) {
        self.upstream_held += count;
    }

    /// Notices that tell of `count` messages lost upstream arrived.
    pub fn deliver_upstream(&mut self, count: u64) {
        self.upstream_held -= count;
    }

    /// Notices of losses upstream were themselves dropped or lost: what they told is now for this ledger's
    /// notices to tell.
    pub fn lose_upstream(&mut self, told: Tally<()>) {
        self.upstream_held -= told.count;
        self.reader_gap.upstream.merge(told);
        self.channel_gap.upstream.merge(told);
    }

    /// Takes over what an earlier process left untold to the reader and to its channel: accepted and gone,
    /// as far as this ledger is concerned.
    pub fn inherit(&mut self, reader: Gap, channel: Gap) {
        self.accepted += reader.dropped.count + reader.lost.count;
        let dropped = reader.dropped.reason.unwrap_or(DropReason::Crash);
        let lost = reader.lost.reason.unwrap_or(LossReason::Stopped);
        self.dropped[dropped as usize] += reader.dropped.count;
        self.lost[lost as usize] += reader.lost.count;
        self.reader_gap.merge(reader);
        self.channel_gap.merge(channel);
    }

    /// Messages were gone before they could come here, and are told without this ledger's notices.
    pub fn count_gone(&mut self, count: u64, reason: DropReason) {
        self.accepted += count;
        self.dropped[reason as usize] += count;
    }

    /// Adds the numbers of a reader that is gone, for the sum over all that ever were. Its gaps go with it.
    pub fn absorb(&mut self, other: &Ledger) {
        self.accepted += other.accepted;
        self.generated += other.generated;
        self.delivered += other.delivered;
        self.held += other.held;
        for (ours, theirs) in self.dropped.iter_mut().zip(other.dropped) {
            *ours += theirs;
        }
        for (ours, theirs) in self.lost.iter_mut().zip(other.lost) {
            *ours += theirs;
        }
    }

    fn gap_mut(&mut self, teller: Teller) -> &mut Gap {
        match teller {
            Teller::Reader => &mut self.reader_gap,
            Teller::Channel => &mut self.channel_gap,
        }
    }

    /// What `teller` has not told yet.
    pub fn gap(&self, teller: Teller) -> &Gap {
        match teller {
            Teller::Reader => &self.reader_gap,
            Teller::Channel => &self.channel_gap,
        }
    }

    /// Takes what is to be told now. If it cannot be told after all, [`Ledger::restore_gap`] puts it back.
    pub fn take_gap(&mut self, teller: Teller) -> Option<Gap> {
        Some(std::mem::take(self.gap_mut(teller))).filter(|gap| !gap.is_empty())
    }

    /// As [`Ledger::take_gap`] if `due`, else nothing: the gap goes on growing.
    pub fn take_gap_if(&mut self, teller: Teller, due: bool) -> Option<Gap> {
        if due { self.take_gap(teller) } else { None }
    }

    /// Puts back a gap whose notice could not be delivered. It came before what went since.
    pub fn restore_gap(&mut self, teller: Teller, gap: Gap) {
        let newer = std::mem::replace(self.gap_mut(teller), gap);
        self.gap_mut(teller).merge(newer);
    }

    /// Messages that producers brought.
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Notices of our own making that were handed to this reader as messages.
    pub fn generated(&self) -> u64 {
        self.generated
    }

    /// Messages that arrived.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Messages that wait or are under way.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// How many messages lost upstream are told by notices that wait or are under way.
    pub fn upstream_held(&self) -> u64 {
        self.upstream_held
    }

    /// Messages pushed out for `reason`.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }

    /// Messages given up for `reason`.
    pub fn lost(&self, reason: LossReason) -> u64 {
        self.lost[reason as usize]
    }

    /// Messages pushed out, whatever the reason.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// Messages given up, whatever the reason.
    pub fn lost_total(&self) -> u64 {
        self.lost.iter().sum()
    }

    /// Whether every message is accounted for; holds after every call.
    pub fn balances(&self) -> bool {
        let gone = self.dropped_total() + self.lost_total();
        self.accepted + self.generated == self.delivered + gone + self.held
    }
}

#[cfg(test)]
mod tests;
