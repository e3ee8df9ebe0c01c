//! Messages as tails show them.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, PoisonError};

use super::Batch;
use crate::chunk::Chunk;
use crate::message::as_text;

/// All messages of a batch, one line each.
#[derive(Debug)]
pub struct Lines {
    text: String,
    ends: Box<[u32]>,
}

impl Lines {
    /// The lines of these messages, each with its newline.
    ///
    /// # Panics
    /// If there are no such messages.
    pub fn of(&self, range: Range<usize>) -> &str {
        let end = |messages: usize| messages.checked_sub(1).map_or(0, |last| self.ends[last] as usize);
        &self.text[end(range.start)..end(range.end)]
    }
}

impl Batch {
    /// All messages as [`Batch::write_line`] shows them. Rendered once for all who hold the result at the same time.
    pub fn lines(&self) -> Arc<Lines> {
        let mut rendered = self.rendered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lines) = rendered.lines.upgrade() {
            return lines;
        }
        let mut text = String::with_capacity(self.bytes.len());
        let mut end = |index| {
            self.write_line(index, &mut text);
            text.len() as u32
        };
        let ends = (0..self.count()).map(&mut end).collect();
        let lines = Arc::new(Lines { text, ends });
        rendered.lines = Arc::downgrade(&lines);
        lines
    }

    /// Appends a message as a tail shows it: `TIME SOURCE[PROCID]: MSG` and one newline. CR and LF inside the
    /// text are escaped, so that a text cannot forge another line; bytes that are not UTF-8 become U+FFFD.
    pub fn write_line(&self, index: usize, out: &mut String) {
        let [time, source, procid] = self.kept(index).map(as_text);
        for piece in [time, " ", source, "[", procid, "]: "] {
            out.push_str(piece);
        }
        let text = self.head(index).text(self.frame(index));
        // `from_utf8_lossy` goes byte by byte; a check goes by words, and mostly that is all there is to do.
        let text = std::str::from_utf8(text).map_or_else(|_| String::from_utf8_lossy(text), Cow::Borrowed);
        write_escaped(trim_line_end(&text), out);
        out.push('\n');
    }
}

fn trim_line_end(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

fn write_escaped(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(at) = memchr::memchr2(b'\r', b'\n', rest.as_bytes()) {
        out.push_str(&rest[..at]);
        out.push_str(if rest.as_bytes()[at] == b'\n' { "\\n" } else { "\\r" });
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}
