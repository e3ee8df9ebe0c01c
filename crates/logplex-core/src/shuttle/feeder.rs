//! From a stream of bytes to framed lines.
//!
//! A line keeps its newline, as the original's do. One that is longer than the limit is cut into several
//! frames on a character's boundary; only its last piece has the newline and none is empty. Where a stream is
//! cut into reads makes no difference to the frames. At most one line's piece is kept between two reads, so
//! an endless line costs no memory.

use std::fmt;
use std::io;
use std::sync::Arc;

use chrono::Utc;

use super::head::{Head, MOST_HEAD};
use super::queue::Queue;
use crate::batch::cut_point;
use crate::frame::{FrameError, FrameLimit, FramesBuilder, missing, next_frame, put_frame};

/// Up to this size the lines of one write are appended to the queue's open chunk; above it they become a
/// chunk of their own, rendered outside the lock.
const SMALL_FEED: usize = 4 * 1024;

/// How a stream of bytes is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// Lines of text: each gets a header.
    #[default]
    Raw,
    /// Lines that bring their own RFC 5424 header: only the octet count is put ahead. A line over the frame
    /// limit goes on in frames with the shuttle's own header.
    Rfc5424,
    /// Octet-counted frames already: checked and passed on byte for byte.
    OctetCounted,
}

/// Takes the bytes of one stream in any pieces and queues its lines.
///
/// Blocks only with [`Overflow::Block`](super::Overflow::Block). Dropping it queues a last line that has no
/// newline.
pub struct Feeder {
    queue: Arc<Queue>,
    head: Head,
    format: Format,
    cutter: Cutter,
}

impl Feeder {
    pub(super) fn new(queue: Arc<Queue>, head: Head, format: Format, max_line: usize) -> Feeder {
        let most = match format {
            Format::Raw => max_line,
            Format::Rfc5424 | Format::OctetCounted => FrameLimit::MAX.get() as usize - MOST_HEAD,
        };
        let cutter = Cutter { most, bare: format == Format::Rfc5424, held: Vec::new(), continues: false };
        Feeder { queue, head, format, cutter }
    }

    /// Takes the next bytes of the stream.
    ///
    /// # Errors
    /// With [`Format::OctetCounted`] only: the stream is malformed from here on. What came before is queued;
    /// nothing that comes after can be read.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), FrameError> {
        let now = Utc::now();
        self.head.stamp(now);
        let Feeder { queue, head, cutter, .. } = self;
        if self.format == Format::OctetCounted {
            let mut chunk = FramesBuilder::with_capacity(cutter.held.len() + bytes.len(), 16);
            let read = take_frames(&mut cutter.held, bytes, &mut chunk);
            queue.push(chunk, now);
            return read;
        }
        if bytes.len() > SMALL_FEED {
            // Counting first costs less than growing, or than room that is not used.
            let lines = memchr::memchr_iter(b'\n', bytes).count() + bytes.len() / cutter.most + 1;
            let room = cutter.held.len() + bytes.len() + lines * (head.len() + "65536 ".len());
            let mut chunk = FramesBuilder::with_capacity(room, lines);
            cutter.cut(head, bytes, &mut chunk);
            queue.push(chunk, now);
        } else if memchr::memchr(b'\n', bytes).is_some() || cutter.would_cut(bytes) {
            queue.append(now, |open| cutter.cut(head, bytes, open));
        } else {
            // Part of a line is not worth the lock.
            cutter.held.extend_from_slice(bytes);
        }
        Ok(())
    }

    /// Ends the stream: a last line without a newline is queued.
    ///
    /// # Errors
    /// With [`Format::OctetCounted`], if the last frame is cut short.
    pub fn finish(&mut self) -> Result<(), FrameError> {
        let Feeder { queue, head, cutter, .. } = self;
        if cutter.held.is_empty() {
            return Ok(());
        }
        if self.format == Format::OctetCounted {
            let missing = missing(&cutter.held);
            cutter.held.clear();
            return Err(FrameError::Truncated { missing });
        }
        let now = Utc::now();
        head.stamp(now);
        queue.append(now, |open| cutter.end(head, open));
        Ok(())
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        // A frame cut short is of interest to who calls `finish`.
        self.finish().ok();
    }
}

impl fmt::Debug for Feeder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.cutter.held.len();
        f.debug_struct("Feeder").field("format", &self.format).field("held", &held).finish_non_exhaustive()
    }
}

/// Takes whole frames; the beginning of the next is held.
fn take_frames(held: &mut Vec<u8>, mut bytes: &[u8], out: &mut FramesBuilder) -> Result<(), FrameError> {
    let mut put = |frame: &[u8]| {
        out.bytes.extend_from_slice(frame);
        out.end_frame();
    };
    // A held frame is completed in steps that never pass its end.
    while !held.is_empty() {
        if next_frame(held, FrameLimit::MAX)?.is_some() {
            put(held);
            held.clear();
        } else if bytes.is_empty() {
            return Ok(());
        } else {
            let (step, rest) = bytes.split_at(bytes.len().min(missing(held) as usize));
            held.extend_from_slice(step);
            bytes = rest;
        }
    }
    while let Some(content) = next_frame(bytes, FrameLimit::MAX)? {
        put(&bytes[..content.end]);
        bytes = &bytes[content.end..];
    }
    held.extend_from_slice(bytes);
    Ok(())
}

/// A plain writer of lines: what is written is shipped, line by line. A clone is a stream of its own, so two
/// writers never mix their halves of a line.
///
/// Writing never fails, and blocks only with [`Overflow::Block`](super::Overflow::Block). `flush` does
/// nothing: a line is queued when its newline comes, or when the writer is dropped.
#[derive(Debug)]
pub struct Writer(pub(super) Feeder);

impl Clone for Writer {
    fn clone(&self) -> Writer {
        let Feeder { queue, head, format, cutter } = &self.0;
        Writer(Feeder::new(queue.clone(), head.clone(), *format, cutter.most))
    }
}

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.feed(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Cuts bytes into lines and lines into pieces.
#[derive(Debug)]
struct Cutter {
    /// The most bytes of a piece, newline not counted.
    most: usize,
    /// Whether lines bring their own header.
    bare: bool,
    /// The beginning of a line, or of a frame, whose rest has not come; at most `most` bytes.
    held: Vec<u8>,
    /// Whether a piece of the held line has left.
    continues: bool,
}

impl Cutter {
    fn would_cut(&self, part: &[u8]) -> bool {
        self.held.len() + part.len() > self.most
    }

    fn cut(&mut self, head: &Head, bytes: &[u8], out: &mut FramesBuilder) {
        let mut start = 0;
        for at in memchr::memchr_iter(b'\n', bytes) {
            let line = &bytes[start..=at];
            start = at + 1;
            if self.held.is_empty() && line.len() - 1 <= self.most {
                self.frame(head, line, out);
            } else {
                self.hold(head, &line[..line.len() - 1], out);
                self.held.push(b'\n');
                self.end(head, out);
            }
        }
        self.hold(head, &bytes[start..], out);
    }

    /// Adds to the held line; pieces that are full leave.
    fn hold(&mut self, head: &Head, mut text: &[u8], out: &mut FramesBuilder) {
        // One byte over the limit must be there before a cut: it shows that another piece follows, and
        // whether a character begins there.
        while self.would_cut(text) {
            let (fill, rest) = text.split_at(self.most + 1 - self.held.len());
            self.held.extend_from_slice(fill);
            let cut = cut_point(&self.held, self.most);
            self.frame(head, &self.held[..cut], out);
            self.held.drain(..cut);
            self.continues = true;
            text = rest;
        }
        self.held.extend_from_slice(text);
    }

    /// The held line is whole.
    fn end(&mut self, head: &Head, out: &mut FramesBuilder) {
        self.frame(head, &self.held, out);
        self.held.clear();
        self.continues = false;
    }

    fn frame(&self, head: &Head, text: &[u8], out: &mut FramesBuilder) {
        if self.bare && !self.continues {
            put_frame(&mut out.bytes, [text]);
            out.end_frame();
        } else {
            head.frame(out, text);
        }
    }
}

#[cfg(test)]
mod tests;
