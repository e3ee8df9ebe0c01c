//! Messages as drains send them, and as histories store them.

use std::ops::Range;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::{Batch, BatchError, Origin, Splicer};
use crate::chunk::Chunk;
use crate::frame::{FrameLimit, Frames, FramesBuilder, put_frame};
use crate::message::Form;

impl Batch {
    /// The messages of `range` as an HTTP drain sends them: `LEN <PRI>1 TIME host SOURCE PROCID - MSG`, without
    /// structured data, as the original does. Shares the buffer.
    ///
    /// # Panics
    /// If there are no such messages, as all that take a range.
    pub fn drain_form(&self, range: Range<usize>) -> Bytes {
        self.bytes.slice(self.framed(range))
    }

    /// All messages as strict RFC 5424, octet-counted: as they came, but with their source for APP-NAME, and with
    /// `-` for structured data where there is none. Rendered once for all who hold the result at the same time.
    pub fn strict_form(&self) -> Arc<Frames> {
        let mut rendered = self.rendered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(frames) = rendered.strict.upgrade() {
            return frames;
        }
        let mut builder = FramesBuilder::with_capacity(self.strict_room(0..self.count()), self.count());
        let mut splicer = Splicer::new(&self.bytes);
        self.for_each_rendered(
            0..self.count(),
            |index| self.strict_fields(index),
            |parts, middle| {
                let at = splicer.put(parts, middle, &mut builder.bytes);
                builder.end_frame_at(at.end);
            },
        );
        splicer.skip_to(self.bytes.len(), &mut builder.bytes);
        let frames = Arc::new(builder.build());
        rendered.strict = Arc::downgrade(&frames);
        frames
    }

    /// Appends the messages of `range` as in [`Batch::strict_form`], so that what [`Batch::read_back`] makes of them needs
    /// no token.
    pub fn write_strict(&self, range: Range<usize>, out: &mut Vec<u8>) {
        out.reserve(self.strict_room(range.clone()));
        // Without structured data a text may look like some; with a nil one it cannot.
        self.for_each_rendered(
            range,
            |index| self.strict_fields(index),
            |[beginning, text], middle| {
                put_frame(out, [&self.bytes[beginning], middle, &self.bytes[text]]);
            },
        );
    }

    /// What the strict form has between a message's time and its text.
    fn strict_fields(&self, index: usize) -> [&[u8]; 5] {
        let [_time, source, procid] = self.kept(index);
        let [host, msgid, structured_data] = self.left_out(index);
        [host, source, procid, msgid, if structured_data.is_empty() { b"-" } else { structured_data }]
    }

    /// No less than what the messages of `range` take in the strict form.
    fn strict_room(&self, range: Range<usize>) -> usize {
        let more =
            |index| self.left_out(index).iter().map(|field| field.len()).sum::<usize>() + "- 65536".len();
        self.size(range.clone()) + range.map(more).sum::<usize>()
    }

    /// Appends the messages of `range` as a syslog drain sends them: `LEN <PRI>1 TIME HOST SOURCE PROCID - - MSG`
    /// with exactly one newline at its end. `host` is the drain's token, so nothing of this can be shared.
    pub fn write_syslog_form(&self, range: Range<usize>, host: &str, out: &mut Vec<u8>) {
        let head_room = host.len() + " - - \n65536".len();
        out.reserve(self.size(range.clone()) + range.len() * head_room);
        let fields = |index| {
            let [_time, source, procid] = self.kept(index);
            [host.as_bytes(), source, procid, b"-", b"-"]
        };
        self.for_each_rendered(range, fields, |[beginning, text], middle| {
            let text = &self.bytes[text];
            let text = text.strip_suffix(b"\n").unwrap_or(text);
            put_frame(out, [&self.bytes[beginning], middle, text, b"\n"]);
        });
    }

    /// Calls `put` with where the two parts of each message lie that stay as they came, `<PRI>1 TIME ` and its text, and
    /// with what is to stand between them: the `fields` of the first message with its head, each with a space behind it.
    fn for_each_rendered<'a, const N: usize>(
        &'a self,
        range: Range<usize>,
        fields: impl Fn(usize) -> [&'a [u8]; N],
        mut put: impl FnMut([Range<usize>; 2], &[u8]),
    ) {
        let (mut middle, mut first) = (Vec::with_capacity(128), range.start);
        for run in self.entries[range].chunk_by(|one, next| one.head == next.head) {
            middle.clear();
            for field in fields(first) {
                middle.extend_from_slice(field);
                middle.push(b' ');
            }
            let head = self.head(first);
            for entry in run {
                put(head.staying(entry.start as usize..entry.end as usize), &middle);
            }
            first += run.len();
        }
    }

    /// Reads what [`Batch::write_strict`] wrote, or other messages that name their source, as received at `now`.
    ///
    /// # Errors
    /// As [`Batch::decode`].
    pub fn read_back(bytes: &[u8], now: DateTime<Utc>) -> Result<Batch, BatchError> {
        // A source that is literally `token` is one here: the name that would stand in for it is the same.
        let token_name = "token";
        let (form, limit) = (Form::Any, FrameLimit::MAX);
        Batch::decode(bytes, &Origin { token_name, token: "", form, limit, now })
    }
}
