//! Frames of one buffer written into another with something else in the middle.

use std::ops::Range;

use crate::frame::put_count;

/// Goes through a buffer of frames back to back. A text is copied in one piece with what lies behind it, the next
/// frame's count and beginning, and the count is written over.
pub(super) struct Splicer<'a> {
    from: &'a [u8],
    /// The last frame's text, which is yet to be copied.
    text: Range<usize>,
}

impl<'a> Splicer<'a> {
    pub(super) fn new(from: &'a [u8]) -> Splicer<'a> {
        Splicer { from, text: 0..0 }
    }

    /// Writes the next frame, whose beginning and text lie there in the buffer, with `middle` between them. Returns where
    /// its content lies in `out`, as soon as all is written.
    // What it is given lies in registers then: it is called for each message.
    #[inline(always)]
    pub(super) fn put(
        &mut self,
        [beginning, text]: [Range<usize>; 2],
        middle: &[u8],
        out: &mut Vec<u8>,
    ) -> Range<usize> {
        out.extend_from_slice(&self.from[self.text.start..beginning.end]);
        let start = out.len() - beginning.len();
        let count_len = beginning.start - self.text.end;
        let count = beginning.len() + middle.len() + text.len();
        self.text = text;
        let start = match out[..start].last_chunk_mut() {
            Some([a, b, c, b' ']) if count_len == 4 && (100..1000).contains(&count) => {
                let count = count as u16;
                *a = b'0' + (count / 100) as u8;
                *b = b'0' + (count / 10 % 10) as u8;
                *c = b'0' + (count % 10) as u8;
                start
            }
            _ => recount(out, start - count_len, &self.from[beginning], count),
        };
        out.extend_from_slice(middle);
        start..start + count
    }

    /// Writes what is left of the last frame, and goes on at `at`.
    pub(super) fn skip_to(&mut self, at: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.from[self.text.clone()]);
        self.text = at..at;
    }
}

/// Writes a frame's count and beginning at the end of `out`, over what stands there from `frame` on. Returns where its
/// content begins.
#[cold]
fn recount(out: &mut Vec<u8>, frame: usize, beginning: &[u8], count: usize) -> usize {
    out.truncate(frame);
    put_count(out, count);
    out.extend_from_slice(beginning);
    out.len() - beginning.len()
}
