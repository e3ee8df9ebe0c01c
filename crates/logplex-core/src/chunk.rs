//! What a ring holds: parts of shared, immutable chunks of messages.

use std::ops::Range;
use std::sync::Arc;

use crate::ledger::Tally;

mod sealed {
    pub trait Sealed {}
    impl Sealed for crate::Frames {}
    impl Sealed for crate::Batch {}
}

/// Messages in one shared buffer. Sealed: [`crate::Frames`] on the way out, [`crate::Batch`] inside.
pub trait Chunk: sealed::Sealed + Sized {
    /// How many messages there are.
    fn count(&self) -> usize;

    /// How many bytes the messages of `range` have, framed.
    fn size(&self, range: Range<usize>) -> usize;

    /// How many bytes of memory a reference to any part of this keeps alive.
    fn footprint(&self) -> usize;

    /// What notices among the messages of `range` tell of losses upstream. They may be dropped like any other
    /// message, but what they tell may not.
    fn upstream(&self, range: Range<usize>) -> Tally<()>;

    /// The messages of `range` in a buffer of their own.
    fn copy_out(&self, range: Range<usize>) -> Self;
}

/// A run of messages of one chunk; never empty while it rests in a ring.
#[derive(Debug)]
pub struct Part<C> {
    chunk: Arc<C>,
    range: Range<u32>,
    first_sequence: u64,
}

impl<C> Clone for Part<C> {
    fn clone(&self) -> Part<C> {
        Part { chunk: self.chunk.clone(), range: self.range.clone(), first_sequence: self.first_sequence }
    }
}

impl<C: Chunk> Part<C> {
    /// All of a chunk.
    pub fn whole(chunk: Arc<C>) -> Part<C> {
        Part::numbered(chunk, 0)
    }

    /// All of a chunk whose messages count their sequence numbers from `first_sequence`.
    pub fn numbered(chunk: Arc<C>, first_sequence: u64) -> Part<C> {
        let count = u32::try_from(chunk.count()).expect("a chunk stays below 4 GiB");
        Part { chunk, range: 0..count, first_sequence }
    }

    /// The chunk that this is a part of.
    pub fn chunk(&self) -> &Arc<C> {
        &self.chunk
    }

    /// Which of the chunk's messages.
    pub fn range(&self) -> Range<usize> {
        self.range.start as usize..self.range.end as usize
    }

    /// What a message's ordinal ([`crate::Batch::ordinal`]) is added to for its sequence number.
    pub fn first_sequence(&self) -> u64 {
        self.first_sequence
    }

    /// How many messages.
    pub fn messages(&self) -> usize {
        self.range.len()
    }

    /// How many bytes the messages have, framed.
    pub fn size(&self) -> usize {
        self.chunk.size(self.range())
    }

    /// What notices among the messages tell of losses upstream.
    pub fn upstream(&self) -> Tally<()> {
        self.chunk.upstream(self.range())
    }

    /// Splits off the first `messages`; the rest stays here.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn split_to(&mut self, messages: usize) -> Part<C> {
        assert!(messages <= self.messages(), "a part of {} has no {messages} messages", self.messages());
        let middle = self.range.start + messages as u32;
        let head = Part { range: self.range.start..middle, ..self.clone() };
        self.range.start = middle;
        head
    }

    /// Copies the messages out if they keep a buffer alive that is more than twice their size.
    pub(crate) fn settle(&mut self) {
        if self.size() * 2 < self.chunk.size(0..self.chunk.count()) {
            *self = Part::numbered(Arc::new(self.chunk.copy_out(self.range())), self.first_sequence);
        }
    }
}

/// Cuts messages in two after the first `count`.
pub fn halve<C: Chunk>(parts: Vec<Part<C>>, count: usize) -> (Vec<Part<C>>, Vec<Part<C>>) {
    let (mut first, mut second, mut left) = (Vec::new(), Vec::new(), count);
    for mut part in parts {
        let cut = left.min(part.messages());
        left -= cut;
        if cut > 0 {
            first.push(part.split_to(cut));
        }
        if part.messages() > 0 {
            second.push(part);
        }
    }
    (first, second)
}
