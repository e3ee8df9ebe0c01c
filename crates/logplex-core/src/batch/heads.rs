//! The heads of a batch's messages, each once for consecutive messages that differ in their text and in the value of
//! their time, and in nothing else.

use std::ops::Range;

use crate::message::Head;

/// In the order of the messages that have them.
#[derive(Debug, Default)]
pub(super) struct Heads {
    heads: Vec<SharedHead>,
    /// HOST, MSGID and STRUCTURED-DATA, one after the other, in the order of the heads.
    left_out: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct SharedHead {
    /// As the messages have it in the batch's buffer.
    head: Head,
    left_out: LeftOut,
}

/// Where the fields lie that http drains are not sent. Consecutive heads that have them in common share the place.
#[derive(Clone, Copy, Debug)]
struct LeftOut {
    start: u32,
    host: u16,
    msgid: u16,
    /// Of no length where there was none.
    structured_data: u32,
}

impl LeftOut {
    fn range(&self) -> Range<usize> {
        let start = self.start as usize;
        start..start + self.host as usize + self.msgid as usize + self.structured_data as usize
    }
}

impl Heads {
    pub(super) fn len(&self) -> usize {
        self.heads.len()
    }

    /// A head as its messages have it in the batch's buffer.
    pub(super) fn head(&self, index: usize) -> &Head {
        &self.heads[index].head
    }

    /// HOST, MSGID and STRUCTURED-DATA as they came; the last is empty where there was none.
    pub(super) fn left_out(&self, index: usize) -> [&[u8]; 3] {
        let LeftOut { host, msgid, .. } = self.heads[index].left_out;
        let (host, rest) = self.left_out[self.heads[index].left_out.range()].split_at(host as usize);
        let (msgid, structured_data) = rest.split_at(msgid as usize);
        [host, msgid, structured_data]
    }

    /// Adds a head, with what is left out of it. There will be no more than `most`.
    pub(super) fn push(&mut self, head: Head, fields: [&[u8]; 3], most: usize) {
        if self.heads.len() == self.heads.capacity() {
            // Most batches have one; where there are some, there may be as many as messages.
            match self.heads.len() {
                0 => self.heads.reserve_exact(1),
                1 => self.heads.reserve_exact(3),
                _ => self.heads.reserve(most),
            }
        }
        let left_out = match self.heads.last() {
            Some(last) if self.left_out(self.len() - 1) == fields => last.left_out,
            _ => {
                let start = self.left_out.len() as u32;
                let [host, msgid, structured_data] = fields.map(<[u8]>::len);
                self.left_out.reserve_exact(if start == 0 { host + msgid + structured_data } else { 0 });
                fields.iter().for_each(|field| self.left_out.extend_from_slice(field));
                LeftOut {
                    start,
                    host: host as u16,
                    msgid: msgid as u16,
                    structured_data: structured_data as u32,
                }
            }
        };
        self.heads.push(SharedHead { head, left_out });
    }

    /// The heads of `range` alone.
    pub(super) fn copy_out(&self, range: Range<usize>) -> Heads {
        let mut heads = self.heads[range].to_vec();
        let place = match &*heads {
            [first, .., last] => first.left_out.range().start..last.left_out.range().end,
            [only] => only.left_out.range(),
            [] => 0..0,
        };
        heads.iter_mut().for_each(|shared| shared.left_out.start -= place.start as u32);
        Heads { heads, left_out: self.left_out[place].to_vec() }
    }

    /// Gives back what memory it does not need.
    pub(super) fn settle(mut self) -> Heads {
        self.heads.shrink_to_fit();
        self.left_out.shrink_to_fit();
        self
    }

    /// In bytes.
    pub(super) fn footprint(&self) -> usize {
        size_of_val(&*self.heads) + self.left_out.len()
    }
}
