//! What one request brings: its frames as received in one buffer, and a compact index over them.
//!
//! A batch is immutable and shared. What drains send is rendered from it once for all drains that are
//! sending it at that time, and forgotten when the last of them is done, so that what rests in a ring is the
//! received bytes and the index and nothing else.

use std::ops::Range;
use std::sync::{Arc, Mutex, Weak};

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};

use crate::buffer::{self, Buffer};
use crate::chunk::Chunk;
use crate::code::{ErrorCode, Speaker};
use crate::foreign;
use crate::frame::{FrameError, FrameLimit, Frames, WholeInput, put_frame};
use crate::ledger::Tally;
use crate::message::{Form, Head, Message, Pattern, as_text, write_head};
use crate::notice::Notice;

mod forms;
mod lines;

pub use lines::Lines;

/// The PRI of a line that came without a head: local7.info, as log-shuttle writes it.
const LINE_PRI: u8 = 190;

/// The most messages in one batch: what an index over a body of tiny frames may cost. Sixteen bits count them.
const MESSAGES_MAX: usize = 64 * 1024;

/// Who writes notices of losses: shuttles, and servers whose drains feed this one.
const NOTICE_PROCIDS: [&[u8]; 2] = [b"log-shuttle", b"logplex"];

/// The most messages that one notice is believed to tell: anyone may write one, and sums must not overflow.
const TOLD_MAX: u64 = u32::MAX as u64;

/// Who sent a batch, as far as it decides how the batch is read.
#[derive(Clone, Debug)]
pub struct Origin<'a> {
    /// The name of the token that the batch came with. A message whose APP-NAME is the token itself or the
    /// literal `token` has this for its source.
    pub token_name: Arc<str>,
    /// The token itself.
    pub token: &'a str,
    /// Whether the sender is an HTTP drain.
    pub form: Form,
    /// The largest frame.
    pub limit: FrameLimit,
    /// When the batch was received: the time of messages that have none.
    pub now: DateTime<Utc>,
}

impl Origin<'_> {
    fn traits(&self, frame: &[u8], head: &Head) -> Traits {
        let [_, app, procid] = head.kept(frame);
        let source_is_token_name = app == b"token" || app == self.token.as_bytes();
        Traits {
            source_is_token_name,
            speaker: Speaker::of(if source_is_token_name { self.token_name.as_bytes() } else { app }, procid),
            writes_notices: NOTICE_PROCIDS.contains(&procid),
        }
    }
}

/// What follows from a head's APP-NAME and PROCID.
#[derive(Clone, Copy, Debug)]
struct Traits {
    source_is_token_name: bool,
    speaker: Speaker,
    writes_notices: bool,
}

/// Why a batch is refused, and where in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("frame {frame} at byte {offset}")]
pub struct BatchError {
    /// Which frame, counted from 1.
    pub frame: usize,
    /// Where in the body it begins.
    pub offset: usize,
    /// What is wrong with it.
    #[source]
    pub source: FrameError,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Where the frame's content lies in the batch's buffer.
    start: u32,
    end: u32,
    /// The message's place in the request it came with; filters leave holes.
    ordinal: u16,
    /// Which of the batch's heads it has.
    head: u16,
    /// Whether it looks like a notice of a loss upstream.
    is_notice: bool,
    /// The platform's code that it is about.
    code: Option<ErrorCode>,
}

/// The head of consecutive messages that differ in their text and in the value of their time, and in nothing else.
#[derive(Clone, Copy, Debug)]
struct SharedHead {
    head: Head,
    source_is_token_name: bool,
}

/// Messages that travel together, indexed once.
#[derive(Debug)]
pub struct Batch {
    /// The messages back to back, and between any two nothing but the count of the second with its space.
    bytes: Bytes,
    entries: Box<[Entry]>,
    /// In the order of the messages that have them.
    heads: Box<[SharedHead]>,
    /// Whether any entry is one.
    has_notices: bool,
    /// Whether any entry has one.
    has_codes: bool,
    token_name: Arc<str>,
    received: DateTime<Utc>,
    rendered: Mutex<Rendered>,
}

/// What was rendered and someone still holds.
#[derive(Debug, Default)]
struct Rendered {
    /// By [`forms::Shared`].
    frames: [Weak<Frames>; 2],
    lines: Weak<Lines>,
}

impl Batch {
    /// Reads a whole body of octet-counted frames. Strict frames stay where they are; if there is a foreign
    /// one, the batch gets a buffer of its own in which that one is rewritten.
    ///
    /// # Errors
    /// [`BatchError`] on the first frame that is malformed, too long, cut short or one too many: nothing is
    /// taken.
    pub fn decode(body: Bytes, origin: &Origin<'_>) -> Result<Batch, BatchError> {
        let mut builder = BatchBuilder::new(origin, body.len());
        let mut input = WholeInput { rest: &body, limit: origin.limit };
        // Set once a foreign frame was rewritten; until then entries point into the body itself.
        let mut rewritten: Option<Vec<u8>> = None;
        // The head of the frames before this one, and what follows from it.
        let mut last: Option<(Pattern<'_>, Traits)> = None;
        loop {
            let offset = body.len() - input.rest.len();
            let frame = match input.next() {
                None => break,
                Some(Ok(frame)) => frame,
                Some(Err(source)) => {
                    return Err(BatchError { frame: builder.entries.len() + 1, offset, source });
                }
            };
            builder.check_room(offset)?;
            let end = body.len() - input.rest.len();
            match &last {
                // As nearly all: with the head of the one before, and left where it is.
                Some((pattern, traits)) if pattern.fits(frame) => {
                    if rewritten.is_none() {
                        builder.index(end - frame.len()..end, pattern.head.text(frame), *traits);
                        continue;
                    }
                }
                _ => {
                    last = Head::parse(frame, origin.form)
                        .map(|head| (Pattern::of(head, frame), builder.begin_head(frame, head)));
                }
            }
            match (&last, &mut rewritten) {
                (Some((pattern, traits)), None) => {
                    builder.index(end - frame.len()..end, pattern.head.text(frame), *traits);
                }
                (Some((pattern, traits)), Some(out)) => builder.append(out, frame, pattern.head, *traits),
                (None, out) => {
                    let out = out.get_or_insert_with(|| {
                        let mut out = Vec::with_capacity(body.len() + 1024);
                        out.extend_from_slice(&body[..offset]);
                        out
                    });
                    builder.append_foreign(out, frame);
                }
            }
        }
        Ok(builder.build(rewritten.map_or(body, |bytes| buffer::copy(&bytes))))
    }

    /// Takes a text, one message a line; empty lines are skipped, a line over the limit is cut into several
    /// messages on a character's boundary.
    ///
    /// # Errors
    /// [`BatchError`] if there are too many: nothing is taken.
    pub fn from_text(text: &[u8], procid: &str, origin: &Origin<'_>) -> Result<Batch, BatchError> {
        let mut builder = BatchBuilder::new(origin, text.len());
        let mut out = Vec::with_capacity(text.len() + text.len() / 2);
        let time = origin.now.to_rfc3339_opts(SecondsFormat::Micros, false);
        let mut message = Vec::new();
        for line in text.split(|&byte| byte == b'\n') {
            let mut rest = line.strip_suffix(b"\r").unwrap_or(line);
            while !rest.is_empty() {
                message.clear();
                write_head(&mut message, LINE_PRI, &time, "-", "token", procid);
                message.extend_from_slice(b" - - ");
                let room = (origin.limit.get() as usize).saturating_sub(message.len()).max(4);
                builder.check_room(text.len() - rest.len())?;
                let (piece, more) = rest.split_at(cut_point(rest, room));
                message.extend_from_slice(piece);
                rest = more;
                match Head::parse(&message, Form::Any) {
                    Some(head) => {
                        let traits = builder.begin_head(&message, head);
                        builder.append(&mut out, &message, head, traits);
                    }
                    None => builder.append_foreign(&mut out, &message),
                }
            }
        }
        Ok(builder.build(buffer::copy(&out)))
    }

    /// The messages for which `keep` is true in a buffer of their own, or `None` if that is all of them.
    pub fn filtered(&self, mut keep: impl FnMut(usize) -> bool) -> Option<Batch> {
        let first = (0..self.count()).find(|&index| !keep(index))?;
        let mut kept = Vec::with_capacity(self.count());
        kept.extend(0..first);
        kept.extend((first + 1..self.count()).filter(|&index| keep(index)));
        let size = kept.iter().map(|&index| self.frame(index).len() + "65536 ".len()).sum();
        let mut bytes = Buffer::with_capacity(size);
        let mut entries = Vec::with_capacity(kept.len());
        for index in kept {
            let frame = self.frame(index);
            bytes.extend_from_slice(itoa::Buffer::new().format(frame.len()).as_bytes());
            bytes.extend_from_slice(b" ");
            let start = bytes.len() as u32;
            bytes.extend_from_slice(frame);
            entries.push(Entry { start, end: bytes.len() as u32, ..self.entries[index] });
        }
        // Heads that only messages had which go now, go too.
        let of_one_head = |one: &Entry, next: &Entry| one.head == next.head;
        let mut heads = Vec::with_capacity(entries.chunk_by(of_one_head).count());
        for run in entries.chunk_by_mut(of_one_head) {
            heads.push(self.heads[run[0].head as usize]);
            run.iter_mut().for_each(|entry| entry.head = (heads.len() - 1) as u16);
        }
        Some(self.of_entries(bytes.build(), entries.into(), heads.into()))
    }

    /// Other messages that came with this batch.
    fn of_entries(&self, bytes: Bytes, entries: Box<[Entry]>, heads: Box<[SharedHead]>) -> Batch {
        Batch {
            bytes,
            has_notices: self.has_notices && entries.iter().any(|entry| entry.is_notice),
            has_codes: self.has_codes && entries.iter().any(|entry| entry.code.is_some()),
            entries,
            heads,
            token_name: self.token_name.clone(),
            received: self.received,
            rendered: Mutex::default(),
        }
    }

    /// When the batch came in ([`Origin::now`]).
    pub fn received(&self) -> DateTime<Utc> {
        self.received
    }

    /// The message at `index`; its `app` is as sent, see [`Batch::source`].
    ///
    /// # Panics
    /// If there is none, as all that take an index.
    pub fn message(&self, index: usize) -> Message<'_> {
        self.head(index).message(self.frame(index))
    }

    /// A message's source: its APP-NAME, or the token's name where that stands for the token.
    pub fn source(&self, index: usize) -> &str {
        as_text(self.kept(index)[1])
    }

    /// A message's PROCID.
    pub fn procid(&self, index: usize) -> &str {
        as_text(self.kept(index)[2])
    }

    /// A message's severity, 0 (emergency) to 7 (debug).
    pub fn severity(&self, index: usize) -> u8 {
        self.head(index).pri & 7
    }

    /// The platform's error code that a message is about ([`ErrorCode::from_message`]), found when the batch was read.
    pub fn code(&self, index: usize) -> Option<ErrorCode> {
        self.entries[index].code
    }

    /// Whether any message has one.
    pub fn has_codes(&self) -> bool {
        self.has_codes
    }

    /// All messages that have a code, in their order, by index. Costs nothing where there is none.
    pub fn codes(&self) -> impl DoubleEndedIterator<Item = (usize, ErrorCode)> {
        let entries = if self.has_codes { &self.entries[..] } else { &[] };
        entries.iter().enumerate().filter_map(|(index, entry)| Some((index, entry.code?)))
    }

    /// A message's place in the request it came with.
    pub fn ordinal(&self, index: usize) -> u64 {
        u64::from(self.entries[index].ordinal)
    }

    /// What the message tells of losses upstream, if it is a notice. One of L10 that names a drain is about
    /// another reader, not about what was on its way here.
    fn told(&self, index: usize) -> Option<Tally<()>> {
        let text = self.head(index).text(self.frame(index));
        let notice = Notice::parse(std::str::from_utf8(text).ok()?)?;
        let elsewhere = notice.facts.iter().any(|(key, _)| key == "drain");
        (!elsewhere).then_some(Tally {
            count: notice.count.min(TOLD_MAX),
            since: Some(notice.since),
            reason: Some(()),
        })
    }

    /// A message's text.
    #[cfg(feature = "grep")]
    pub(crate) fn text(&self, index: usize) -> &[u8] {
        self.head(index).text(self.frame(index))
    }

    fn frame(&self, index: usize) -> &[u8] {
        let Entry { start, end, .. } = self.entries[index];
        &self.bytes[start as usize..end as usize]
    }

    fn shared_head(&self, index: usize) -> &SharedHead {
        &self.heads[self.entries[index].head as usize]
    }

    fn head(&self, index: usize) -> &Head {
        &self.shared_head(index).head
    }

    /// TIME, source, PROCID: what every rendered form keeps.
    pub(crate) fn kept(&self, index: usize) -> [&[u8]; 3] {
        let SharedHead { head, source_is_token_name } = self.shared_head(index);
        let [time, app, procid] = head.kept(self.frame(index));
        [time, if *source_is_token_name { self.token_name.as_bytes() } else { app }, procid]
    }
}

/// Where to cut `bytes` so that the front has at most `most` bytes (and at least one) and no character of
/// UTF-8 is torn; where the bytes are no UTF-8, at `most`.
pub fn cut_point(bytes: &[u8], most: usize) -> usize {
    if bytes.len() <= most {
        return bytes.len();
    }
    let is_start = |at: &usize| bytes[*at] & 0xC0 != 0x80;
    (most.saturating_sub(3).max(1)..=most).rev().find(is_start).unwrap_or(most)
}

impl Chunk for Batch {
    fn count(&self) -> usize {
        self.entries.len()
    }

    fn size(&self, range: Range<usize>) -> usize {
        match (
            self.entries.get(range.start),
            range.end.checked_sub(1).and_then(|last| self.entries.get(last)),
        ) {
            (Some(first), Some(last)) if !range.is_empty() => (last.end - first.start) as usize,
            _ => 0,
        }
    }

    fn footprint(&self) -> usize {
        self.bytes.len() + size_of_val(&*self.entries) + size_of_val(&*self.heads)
    }

    fn upstream(&self, range: Range<usize>) -> Tally<()> {
        let mut sum = Tally::default();
        if self.has_notices {
            for index in range.filter(|&index| self.entries[index].is_notice) {
                sum.merge(self.told(index).unwrap_or_default());
            }
        }
        sum
    }

    fn copy_out(&self, range: Range<usize>) -> Batch {
        // Frames lie one after the other, so that they can be copied in one piece, and their heads are in their order.
        let entries = &self.entries[range];
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
            return self.of_entries(Bytes::new(), Box::default(), Box::default());
        };
        let shifted = |entry: &Entry| Entry {
            start: entry.start - first.start,
            end: entry.end - first.start,
            head: entry.head - first.head,
            ..*entry
        };
        let bytes = buffer::copy(&self.bytes[first.start as usize..last.end as usize]);
        let heads = &self.heads[first.head as usize..=last.head as usize];
        self.of_entries(bytes, entries.iter().map(shifted).collect(), heads.into())
    }
}

/// Entries while a batch is read.
struct BatchBuilder<'a> {
    origin: &'a Origin<'a>,
    entries: Vec<Entry>,
    heads: Vec<SharedHead>,
    has_notices: bool,
    has_codes: bool,
}

impl<'a> BatchBuilder<'a> {
    fn new(origin: &'a Origin<'a>, body_len: usize) -> BatchBuilder<'a> {
        // A guess that fits lines of 128 bytes and more without growing.
        let entries = Vec::with_capacity(body_len / 128 + 1);
        let heads = Vec::with_capacity(1);
        BatchBuilder { origin, entries, heads, has_notices: false, has_codes: false }
    }

    /// Whether the message at `offset` may still be added.
    fn check_room(&self, offset: usize) -> Result<(), BatchError> {
        if self.entries.len() < MESSAGES_MAX {
            return Ok(());
        }
        let source = FrameError::TooMany { limit: MESSAGES_MAX };
        Err(BatchError { frame: self.entries.len() + 1, offset, source })
    }

    /// What is added from here on has this head, which was read from `frame`.
    fn begin_head(&mut self, frame: &[u8], head: Head) -> Traits {
        let traits = self.origin.traits(frame, &head);
        if self.heads.len() == self.heads.capacity() {
            // Most batches have one; where there are some, there may be as many as messages.
            self.heads.reserve(if self.heads.len() == 1 { 3 } else { self.entries.capacity() });
        }
        self.heads.push(SharedHead { head, source_is_token_name: traits.source_is_token_name });
        traits
    }

    /// Adds a message with the head that was begun last.
    fn index(&mut self, at: Range<usize>, text: &[u8], traits: Traits) {
        let is_notice = traits.writes_notices && text.starts_with(b"Error L1");
        self.has_notices |= is_notice;
        self.entries.push(Entry {
            start: at.start as u32,
            end: at.end as u32,
            ordinal: self.entries.len() as u16,
            head: (self.heads.len() - 1) as u16,
            is_notice,
            code: None,
        });
        if traits.speaker != Speaker::Other {
            self.find_code(traits.speaker, text);
        }
    }

    /// Finds the code of the newest entry. A call of its own, so that other sources' messages do not pay for it.
    #[inline(never)]
    fn find_code(&mut self, speaker: Speaker, text: &[u8]) {
        let code = speaker.code(text);
        self.has_codes |= code.is_some();
        if let Some(entry) = self.entries.last_mut() {
            entry.code = code;
        }
    }

    fn append(&mut self, out: &mut Vec<u8>, frame: &[u8], head: Head, traits: Traits) {
        put_frame(out, [frame]);
        self.index(out.len() - frame.len()..out.len(), head.text(frame), traits);
    }

    fn append_foreign(&mut self, out: &mut Vec<u8>, frame: &[u8]) {
        let mut message = Vec::with_capacity(frame.len() + 128);
        let head = foreign::rewrite(frame, self.origin.form, self.origin.now, &mut message);
        let traits = self.begin_head(&message, head);
        self.append(out, &message, head, traits);
    }

    fn build(self, bytes: Bytes) -> Batch {
        Batch {
            bytes,
            entries: self.entries.into(),
            heads: self.heads.into(),
            has_notices: self.has_notices,
            has_codes: self.has_codes,
            token_name: self.origin.token_name.clone(),
            received: self.origin.now,
            rendered: Mutex::default(),
        }
    }
}

#[cfg(test)]
mod tests;
