//! Octet-counted framing: `LEN SP CONTENT`, frames back to back (RFC 6587, 3.4.1).
//!
//! A count has no leading zero and is bounded *before* anything is added to it, indexed by it or reserved
//! for it. There is no resynchronisation: after a bad count nothing that follows can be trusted, so the
//! caller refuses the whole input and says where it went wrong.

use std::num::NonZeroU32;
use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};

use crate::buffer;
use crate::chunk::Chunk;
use crate::ledger::Tally;

/// The most bytes one frame's content may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLimit(NonZeroU32);

impl FrameLimit {
    /// 64 KiB, the largest frame accepted and the default.
    pub const MAX: FrameLimit = FrameLimit(NonZeroU32::new(64 * 1024).expect("not zero"));

    /// 1 KiB more, for frames that another router sends on: rewriting one can make it a little longer, and
    /// what the first router accepted the next must not refuse.
    pub const FORWARDED: FrameLimit = FrameLimit(NonZeroU32::new(65 * 1024).expect("not zero"));

    /// A limit of `bytes`, or `None` if it is zero or above [`FrameLimit::MAX`].
    pub fn new(bytes: u32) -> Option<FrameLimit> {
        NonZeroU32::new(bytes).map(FrameLimit).filter(|limit| limit.get() <= FrameLimit::MAX.get())
    }

    /// The limit in bytes.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl Default for FrameLimit {
    fn default() -> FrameLimit {
        FrameLimit::MAX
    }
}

/// Why bytes are not octet-counted frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A frame begins with something else than a count of at least 1 without leading zeros.
    #[error("expected an octet count, found byte 0x{found:02x}")]
    NotACount {
        /// The first byte that does not fit.
        found: u8,
    },
    /// The count is above the limit.
    #[error("a frame of {declared} bytes or more is over the limit of {limit}")]
    TooLong {
        /// The count as far as it was read.
        declared: u32,
        /// The limit in force.
        limit: u32,
    },
    /// The input has more frames than one batch may have.
    #[error("more than {limit} messages in one request")]
    TooMany {
        /// The most messages in one batch.
        limit: usize,
    },
    /// The input ends inside a frame; reported only where the input is known to be whole.
    #[error("the last frame is cut short: {missing} bytes are missing")]
    Truncated {
        /// How many bytes the input lacks at least.
        missing: u32,
    },
}

/// Where the next frame's content lies in `buf`, or `None` if `buf` does not hold all of it yet.
///
/// # Errors
/// [`FrameError::NotACount`] or [`FrameError::TooLong`]; never [`FrameError::Truncated`].
pub fn next_frame(buf: &[u8], limit: FrameLimit) -> Result<Option<Range<usize>>, FrameError> {
    // Three digits, as most counts have, without a loop.
    if let [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b' ', ..] = *buf {
        let declared = u32::from(a - b'0') * 100 + u32::from(b - b'0') * 10 + u32::from(c - b'0');
        if declared <= limit.get() {
            let content = 4..4 + declared as usize;
            return Ok((content.end <= buf.len()).then_some(content));
        }
    }
    let mut declared = 0u32;
    for (at, &byte) in buf.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit < 10 {
            // At most the limit so far, so one more digit cannot overflow.
            declared = declared * 10 + u32::from(digit);
            // Zero is above every limit, too.
            if declared.wrapping_sub(1) >= limit.get() {
                return Err(match declared {
                    0 => FrameError::NotACount { found: byte },
                    _ => FrameError::TooLong { declared, limit: limit.get() },
                });
            }
        } else if byte == b' ' && declared > 0 {
            let content = at + 1..at + 1 + declared as usize;
            return Ok((content.end <= buf.len()).then_some(content));
        } else {
            return Err(FrameError::NotACount { found: byte });
        }
    }
    Ok(None)
}

/// How many bytes at least are missing to complete the frame that `rest` begins; for error texts.
pub(crate) fn missing(rest: &[u8]) -> u32 {
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let declared = std::str::from_utf8(&rest[..digits]).ok().and_then(|text| text.parse::<u32>().ok());
    let have = rest.len().saturating_sub(digits + 1) as u32;
    declared.map_or(1, |declared| declared.saturating_sub(have)).max(1)
}

/// Takes whole frames off the front of a growing buffer, for streams that arrive in pieces.
///
/// Returns the frame with its count, as received; `Ok(None)` means that more bytes are needed, and that the
/// buffer need never grow beyond the limit plus the length of a count.
///
/// # Errors
/// As [`next_frame`]. The buffer is left as it was.
pub fn take_frame(buf: &mut BytesMut, limit: FrameLimit) -> Result<Option<Bytes>, FrameError> {
    Ok(next_frame(buf, limit)?.map(|content| buf.split_to(content.end).freeze()))
}

/// Appends one frame, whose content is the `pieces` joined.
pub fn put_frame<const N: usize>(out: &mut Vec<u8>, pieces: [&[u8]; N]) {
    put_count(out, pieces.iter().map(|piece| piece.len()).sum());
    for piece in pieces {
        out.extend_from_slice(piece);
    }
}

/// Appends the count of a frame whose content follows.
pub(crate) fn put_count(out: &mut Vec<u8>, len: usize) {
    out.extend_from_slice(itoa::Buffer::new().format(len).as_bytes());
    out.push(b' ');
}

/// Octet-counted frames back to back in one buffer, with where each ends: what an outlet sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frames {
    bytes: Bytes,
    ends: Box<[u32]>,
}

impl Frames {
    /// Frames the messages one by one.
    pub fn from_messages<M: AsRef<[u8]>>(messages: impl IntoIterator<Item = M>) -> Frames {
        let mut builder = FramesBuilder::default();
        for message in messages {
            put_frame(&mut builder.bytes, [message.as_ref()]);
            builder.end_frame();
        }
        builder.build()
    }

    /// The frames of `range` as they go on the wire. Shares the buffer.
    ///
    /// # Panics
    /// If the range is not within `0..self.count()`.
    pub fn wire(&self, range: Range<usize>) -> Bytes {
        self.bytes.slice(self.start_of(range.start)..self.start_of(range.end))
    }

    fn start_of(&self, index: usize) -> usize {
        if index == 0 { 0 } else { self.ends[index - 1] as usize }
    }
}

impl Chunk for Frames {
    fn count(&self) -> usize {
        self.ends.len()
    }

    fn size(&self, range: Range<usize>) -> usize {
        self.start_of(range.end) - self.start_of(range.start)
    }

    fn footprint(&self) -> usize {
        self.bytes.len() + self.ends.len() * size_of::<u32>()
    }

    /// Nothing: frames are on their way out of the process that wrote them, with its notices ahead.
    fn upstream(&self, _range: Range<usize>) -> Tally<()> {
        Tally::default()
    }

    fn copy_out(&self, range: Range<usize>) -> Frames {
        let base = self.start_of(range.start) as u32;
        Frames {
            bytes: buffer::copy(&self.wire(range.clone())),
            ends: self.ends[range].iter().map(|end| end - base).collect(),
        }
    }
}

/// Builds [`Frames`] in one growing buffer.
#[derive(Debug, Default)]
pub struct FramesBuilder {
    /// The frames so far; write a whole frame, count included, and call [`FramesBuilder::end_frame`].
    pub bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl FramesBuilder {
    /// A builder that will not grow until it holds `bytes` or `frames`.
    pub fn with_capacity(bytes: usize, frames: usize) -> FramesBuilder {
        FramesBuilder { bytes: Vec::with_capacity(bytes), ends: Vec::with_capacity(frames) }
    }

    /// All that was written since the last call is one frame.
    ///
    /// # Panics
    /// If the buffer has grown beyond 4 GiB.
    pub fn end_frame(&mut self) {
        self.end_frame_at(self.bytes.len());
    }

    /// All that was written between the last end and `at` is one frame.
    pub(crate) fn end_frame_at(&mut self, at: usize) {
        self.ends.push(u32::try_from(at).expect("a buffer of frames stays below 4 GiB"));
    }

    /// How many frames were ended.
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// Whether no frame was ended.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The frames written so far. What rests must not keep spare room alive, so the buffer is cut to size.
    pub fn build(mut self) -> Frames {
        if self.bytes.capacity() > self.bytes.len() + self.bytes.len() / 4 {
            self.bytes.shrink_to_fit();
        }
        Frames { bytes: self.bytes.into(), ends: self.ends.into() }
    }
}

/// Reads frames from a whole input, each with its position: the iterator behind [`crate::Batch::decode`].
#[derive(Debug)]
pub(crate) struct WholeInput<'a> {
    pub(crate) rest: &'a [u8],
    pub(crate) limit: FrameLimit,
}

impl<'a> Iterator for WholeInput<'a> {
    type Item = Result<&'a [u8], FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.rest.has_remaining() {
            return None;
        }
        Some(match next_frame(self.rest, self.limit) {
            Ok(Some(content)) => {
                let frame = &self.rest[content.clone()];
                self.rest = &self.rest[content.end..];
                Ok(frame)
            }
            Ok(None) => Err(FrameError::Truncated { missing: missing(self.rest) }),
            Err(error) => Err(error),
        })
    }
}

#[cfg(test)]
mod tests;
