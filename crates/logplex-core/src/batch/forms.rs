//! Messages as drains send them, and as histories store them.

use std::ops::Range;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::{Batch, BatchError, Origin};
use crate::chunk::Chunk;
use crate::frame::{FrameLimit, Frames, FramesBuilder, put_count, put_frame};
use crate::message::Form;

/// The forms that are the same for all drains.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shared {
    Drain,
    Strict,
}

impl Batch {
    /// All messages as an HTTP drain sends them: `LEN <PRI>1 TIME host SOURCE PROCID - MSG`, without
    /// structured data, as the original does. Rendered once for all who hold the result at the same time.
    pub fn drain_form(&self) -> Arc<Frames> {
        self.shared(Shared::Drain, |index| {
            let [_time, source, procid] = self.kept(index);
            [b"host", source, procid, b"-"]
        })
    }

    /// All messages as strict RFC 5424, octet-counted: as they came, but with their source for APP-NAME, and with
    /// `-` for structured data where there is none. Rendered once for all who hold the result at the same time.
    pub fn strict_form(&self) -> Arc<Frames> {
        self.shared(Shared::Strict, |index| {
            let [_time, source, procid] = self.kept(index);
            let [host, msgid, data] = self.head(index).not_kept(self.frame(index));
            [host, source, procid, msgid, data]
        })
    }

    /// Appends the messages of `range` as a syslog drain sends them: `LEN <PRI>1 TIME HOST SOURCE PROCID - - MSG`
    /// with exactly one newline at its end. `host` is the drain's token, so nothing of this can be shared.
    pub fn write_syslog_form(&self, range: Range<usize>, host: &str, out: &mut Vec<u8>) {
        let head_room = host.len() + self.token_name.len() + " - - \n".len() + "65536 ".len();
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

    /// All messages in a form, each with `fields` between its time and its text.
    fn shared<'a, const N: usize>(
        &'a self,
        form: Shared,
        fields: impl Fn(usize) -> [&'a [u8]; N],
    ) -> Arc<Frames> {
        let mut rendered = self.rendered.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = &mut rendered.frames[form as usize];
        if let Some(frames) = slot.upgrade() {
            return frames;
        }
        // HOST is the only field that can grow, by at most three bytes over `-`, and a source's name.
        let room = self.bytes.len() + self.count() * (4 + self.token_name.len());
        let mut builder = FramesBuilder::with_capacity(room, self.count());
        // A text is copied in one piece with what came behind it: the next message's count and beginning.
        let mut text = 0..0;
        self.for_each_rendered(0..self.count(), fields, |[beginning, next], middle| {
            let out = &mut builder.bytes;
            out.extend_from_slice(&self.bytes[text.start..beginning.end]);
            let frame = out.len() - (beginning.end - text.end);
            let digits = frame..frame + (beginning.start - text.end).saturating_sub(1);
            let count = beginning.len() + middle.len() + next.len();
            if !overwrite(&mut out[digits], count) {
                out.truncate(frame);
                put_count(out, count);
                out.extend_from_slice(&self.bytes[beginning]);
            }
            out.extend_from_slice(middle);
            if text.end > 0 {
                builder.end_frame_at(frame);
            }
            text = next;
        });
        builder.bytes.extend_from_slice(&self.bytes[text.clone()]);
        if text.end > 0 {
            builder.end_frame();
        }
        let frames = Arc::new(builder.build());
        *slot = Arc::downgrade(&frames);
        frames
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
            let (beginning_len, text_at) = (head.beginning_len(), head.text_at());
            for entry in run {
                let (start, end) = (entry.start as usize, entry.end as usize);
                put([start..start + beginning_len, start + text_at..end], &middle);
            }
            first += run.len();
        }
    }

    /// Appends the messages of `range` octet-counted and strict, each with its source spelled out, so that what
    /// [`Batch::read_back`] makes of them needs no token.
    pub fn write_strict(&self, range: Range<usize>, out: &mut Vec<u8>) {
        let mut spelled = Vec::new();
        for index in range {
            let mut message = self.message(index);
            // Without structured data a text may look like some; with a nil one it cannot.
            let is_spelled_out =
                message.structured_data.is_some() && !self.shared_head(index).source_is_token_name;
            let frame = if is_spelled_out {
                self.frame(index)
            } else {
                message.app = self.source(index);
                spelled.clear();
                message.write(&mut spelled);
                &spelled
            };
            put_frame(out, [frame]);
        }
    }

    /// Reads what [`Batch::write_strict`] wrote, or other messages that name their source, as received at `now`.
    ///
    /// # Errors
    /// As [`Batch::decode`].
    pub fn read_back(bytes: Bytes, now: DateTime<Utc>) -> Result<Batch, BatchError> {
        // A source that is literally `token` is one here: the name that would stand in for it is the same.
        let token_name = Arc::from("token");
        let (form, limit) = (Form::Any, FrameLimit::MAX);
        Batch::decode(bytes, &Origin { token_name, token: "", form, limit, now })
    }
}

/// Writes a count over another. False if it has more or fewer digits; what is there then is no count.
fn overwrite(digits: &mut [u8], mut count: usize) -> bool {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (count % 10) as u8;
        count /= 10;
    }
    count == 0 && digits.first().is_some_and(|&first| first != b'0')
}
