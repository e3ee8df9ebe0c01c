//! What one request brings: its messages in one buffer as http drains send them, and a compact index over them.
//!
//! A batch is immutable and shared. A body is read and rendered in one go, so that what rests in a ring is what most
//! drains send, and they send it from there. What that form leaves out of a head rests beside it, once for consecutive
//! messages that have it in common; other forms are put together from both, once for all who need one at that time, and
//! forgotten when the last of them is done.

use std::ops::Range;
use std::sync::{Mutex, Weak};

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
mod heads;
mod lines;
mod splice;

use heads::Heads;
pub use lines::Lines;
use splice::Splicer;

/// The PRI of a line that came without a head: local7.info, as log-shuttle writes it.
const LINE_PRI: u8 = 190;

/// The most messages in one batch: what an index over a body of tiny frames may cost. Sixteen bits count them.
const MESSAGES_MAX: usize = 64 * 1024;

/// The HOST of all that http drains send, as the original's.
const DRAIN_HOST: &[u8] = b"host";

/// The longest source that a token's name makes, in bytes.
const SOURCE_MAX: usize = 255;

/// How many bytes of a large body are rendered before they are put where they rest, so that they need not grow there.
const STAGED: usize = 64 * 1024;

/// Who writes notices of losses: shuttles, and servers whose drains feed this one.
const NOTICE_PROCIDS: [&[u8]; 2] = [b"log-shuttle", b"logplex"];

/// The most messages that one notice is believed to tell: anyone may write one, and sums must not overflow.
const TOLD_MAX: u64 = u32::MAX as u64;

/// Who sent a batch, as far as it decides how the batch is read.
#[derive(Clone, Debug)]
pub struct Origin<'a> {
    /// The name of the token that the batch came with. A message whose APP-NAME is the token itself or the
    /// literal `token` has this for its source. Of a name over 255 bytes the rest is left out.
    pub token_name: &'a str,
    /// The token itself.
    pub token: &'a str,
    /// Whether the sender is an HTTP drain.
    pub form: Form,
    /// The largest frame.
    pub limit: FrameLimit,
    /// When the batch was received: the time of messages that have none.
    pub now: DateTime<Utc>,
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
    /// Where the message lies in the batch's buffer, without its count.
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

/// Messages that travel together, indexed once.
#[derive(Debug)]
pub struct Batch {
    /// The messages as http drains send them, back to back, each with its count ahead.
    bytes: Bytes,
    entries: Box<[Entry]>,
    heads: Heads,
    /// Whether any entry is one.
    has_notices: bool,
    /// Whether any entry has one.
    has_codes: bool,
    received: DateTime<Utc>,
    rendered: Mutex<Rendered>,
}

/// What was rendered and someone still holds.
#[derive(Debug, Default)]
struct Rendered {
    strict: Weak<Frames>,
    lines: Weak<Lines>,
}

impl Batch {
    /// Reads a whole body of octet-counted frames, and renders it as http drains send it.
    ///
    /// # Errors
    /// [`BatchError`] on the first frame that is malformed, too long, cut short or one too many: nothing is
    /// taken.
    pub fn decode(body: &[u8], origin: &Origin<'_>) -> Result<Batch, BatchError> {
        let mut builder = BatchBuilder::new(origin, body.len());
        let mut input = WholeInput { rest: body, limit: origin.limit };
        let mut splicer = Splicer::new(body);
        // The head of the frame before this one, unless that was foreign.
        let mut last: Option<Pattern<'_>> = None;
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
            if !last.as_ref().is_some_and(|pattern| pattern.fits(frame)) {
                last = Head::parse(frame, origin.form).map(|head| {
                    builder.begin_head(frame, &head);
                    Pattern::of(head, frame)
                });
            }
            let Some(Pattern { head, .. }) = &last else {
                splicer.skip_to(end, &mut builder.bytes);
                builder.append_foreign(frame);
                continue;
            };
            let parts = head.staying(end - frame.len()..end);
            let at = splicer.put(parts, &builder.middle, &mut builder.bytes);
            builder.index(at, head.text(frame));
        }
        splicer.skip_to(body.len(), &mut builder.bytes);
        Ok(builder.build())
    }

    /// Takes a text, one message a line; empty lines are skipped, a line over the limit is cut into several
    /// messages on a character's boundary.
    ///
    /// # Errors
    /// [`BatchError`] if there are too many: nothing is taken.
    pub fn from_text(text: &[u8], procid: &str, origin: &Origin<'_>) -> Result<Batch, BatchError> {
        let mut builder = BatchBuilder::new(origin, text.len() + text.len() / 2);
        let time = origin.now.to_rfc3339_opts(SecondsFormat::Micros, false);
        let mut message = Vec::new();
        write_head(&mut message, LINE_PRI, &time, "-", "token", procid);
        message.extend_from_slice(b" - - ");
        let head = Head::parse(&message, Form::Any);
        if let Some(head) = &head {
            builder.begin_head(&message, head);
        }
        let head_len = message.len();
        let room = (origin.limit.get() as usize).saturating_sub(head_len).max(4);
        for line in text.split(|&byte| byte == b'\n') {
            let mut rest = line.strip_suffix(b"\r").unwrap_or(line);
            while !rest.is_empty() {
                builder.check_room(text.len() - rest.len())?;
                let (piece, more) = rest.split_at(cut_point(rest, room));
                rest = more;
                message.truncate(head_len);
                message.extend_from_slice(piece);
                match &head {
                    Some(head) => builder.append(&message, head),
                    None => builder.append_foreign(&message),
                }
            }
        }
        Ok(builder.build())
    }

    /// The messages for which `keep` is true in a buffer of their own, or `None` if that is all of them.
    pub fn filtered(&self, mut keep: impl FnMut(usize) -> bool) -> Option<Batch> {
        let first = (0..self.count()).find(|&index| !keep(index))?;
        let mut kept = Vec::with_capacity(self.count());
        kept.extend(0..first);
        kept.extend((first + 1..self.count()).filter(|&index| keep(index)));
        let mut bytes = Buffer::with_capacity(kept.iter().map(|&index| self.size(index..index + 1)).sum());
        let mut entries = Vec::with_capacity(kept.len());
        for index in kept {
            bytes.extend_from_slice(&self.bytes[self.framed(index..index + 1)]);
            let (end, len) = (bytes.len(), self.frame(index).len());
            entries.push(Entry { start: (end - len) as u32, end: end as u32, ..self.entries[index] });
        }
        // Heads that only messages had which go now, go too.
        let of_one_head = |one: &Entry, next: &Entry| one.head == next.head;
        let (mut heads, most) = (Heads::default(), entries.len());
        for run in entries.chunk_by_mut(of_one_head) {
            let head = run[0].head as usize;
            run.iter_mut().for_each(|entry| entry.head = heads.len() as u16);
            heads.push(*self.heads.head(head), self.heads.left_out(head), most);
        }
        Some(self.of_entries(bytes.build(), entries.into(), heads.settle()))
    }

    /// Other messages that came with this batch.
    fn of_entries(&self, bytes: Bytes, entries: Box<[Entry]>, heads: Heads) -> Batch {
        Batch {
            bytes,
            has_notices: self.has_notices && entries.iter().any(|entry| entry.is_notice),
            has_codes: self.has_codes && entries.iter().any(|entry| entry.code.is_some()),
            entries,
            heads,
            received: self.received,
            rendered: Mutex::default(),
        }
    }

    /// When the batch came in ([`Origin::now`]).
    pub fn received(&self) -> DateTime<Utc> {
        self.received
    }

    /// The message at `index`; its `app` is its source, see [`Batch::source`].
    ///
    /// # Panics
    /// If there is none, as all that take an index.
    pub fn message(&self, index: usize) -> Message<'_> {
        let [host, msgid, structured_data] = self.left_out(index);
        Message {
            host: as_text(host),
            msgid: as_text(msgid),
            structured_data: (!structured_data.is_empty()).then_some(structured_data),
            ..self.head(index).message(self.frame(index))
        }
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

    /// Where the messages of `range` lie in the buffer, counts included.
    fn framed(&self, range: Range<usize>) -> Range<usize> {
        let end = |messages: usize| messages.checked_sub(1).map_or(0, |last| self.entries[last].end as usize);
        end(range.start)..end(range.end)
    }

    fn head(&self, index: usize) -> &Head {
        self.heads.head(self.entries[index].head as usize)
    }

    /// HOST, MSGID and STRUCTURED-DATA as they came; the last is empty where there was none.
    fn left_out(&self, index: usize) -> [&[u8]; 3] {
        self.heads.left_out(self.entries[index].head as usize)
    }

    /// TIME, source, PROCID: what every form has.
    pub(crate) fn kept(&self, index: usize) -> [&[u8]; 3] {
        self.head(index).kept(self.frame(index))
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
        self.framed(range).len()
    }

    fn footprint(&self) -> usize {
        self.bytes.len() + size_of_val(&*self.entries) + self.heads.footprint()
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
        // Messages lie one after the other, so that they can be copied in one piece; so do their heads.
        let framed = self.framed(range.clone());
        let entries = &self.entries[range];
        let heads = match (entries.first(), entries.last()) {
            (Some(first), Some(last)) => first.head as usize..last.head as usize + 1,
            _ => 0..0,
        };
        let shifted = |entry: &Entry| Entry {
            start: entry.start - framed.start as u32,
            end: entry.end - framed.start as u32,
            head: entry.head - heads.start as u16,
            ..*entry
        };
        let entries = entries.iter().map(shifted).collect();
        self.of_entries(
            buffer::copy(&self.bytes[framed.clone()]),
            entries,
            self.heads.copy_out(heads.clone()),
        )
    }
}

/// A batch while it is read.
struct BatchBuilder<'a> {
    origin: &'a Origin<'a>,
    /// What was rendered last; of a small body all.
    bytes: Vec<u8>,
    /// Of a large body, where the rest lies already.
    rested: Option<Buffer>,
    /// How many bytes lie there. Each message needs it, so it is not asked for.
    before: usize,
    entries: Vec<Entry>,
    heads: Heads,
    /// What the messages with the newest head have between their time and their text.
    middle: Vec<u8>,
    /// Who speaks in them, and whether it is somebody who writes notices.
    speaker: Speaker,
    may_be_notices: bool,
    has_notices: bool,
    has_codes: bool,
}

impl<'a> BatchBuilder<'a> {
    fn new(origin: &'a Origin<'a>, body_len: usize) -> BatchBuilder<'a> {
        // HOST is the one field that can grow, by three bytes over `-`, while structured data go; and a source that is a
        // name.
        let room = body_len + body_len / 32 + 64;
        BatchBuilder {
            origin,
            bytes: Vec::with_capacity(room.min(2 * STAGED)),
            rested: (room > 2 * STAGED).then(|| Buffer::with_capacity(room)),
            before: 0,
            // A guess that fits lines of 128 bytes and more without growing.
            entries: Vec::with_capacity(body_len / 128 + 1),
            heads: Heads::default(),
            middle: Vec::with_capacity(128),
            speaker: Speaker::Other,
            may_be_notices: false,
            has_notices: false,
            has_codes: false,
        }
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
    fn begin_head(&mut self, frame: &[u8], head: &Head) {
        let [_time, app, procid] = head.kept(frame);
        let is_token = app == b"token" || app == self.origin.token.as_bytes();
        let name = self.origin.token_name.as_bytes();
        let source = if is_token { &name[..cut_point(name, SOURCE_MAX)] } else { app };
        self.speaker = Speaker::of(source, procid);
        self.may_be_notices = NOTICE_PROCIDS.contains(&procid);
        self.middle.clear();
        for field in [DRAIN_HOST, source, procid, b"-"] {
            self.middle.extend_from_slice(field);
            self.middle.push(b' ');
        }
        let drain_head = head.in_drain_form([DRAIN_HOST, source, procid].map(<[u8]>::len));
        self.heads.push(drain_head, head.not_kept(frame), self.entries.capacity());
    }

    /// Adds a message with the head that was begun last, which lies there in the buffer, or is to.
    fn index(&mut self, at: Range<usize>, text: &[u8]) {
        let is_notice = self.may_be_notices && text.starts_with(b"Error L1");
        self.has_notices |= is_notice;
        self.entries.push(Entry {
            start: (self.before + at.start) as u32,
            end: (self.before + at.end) as u32,
            ordinal: self.entries.len() as u16,
            head: (self.heads.len() - 1) as u16,
            is_notice,
            code: None,
        });
        if self.bytes.len() >= STAGED {
            self.lay_down();
        }
        if self.speaker != Speaker::Other {
            self.find_code(text);
        }
    }

    /// Puts what was rendered where it rests, if the body is large.
    #[cold]
    fn lay_down(&mut self) {
        if let Some(rested) = &mut self.rested {
            rested.extend_from_slice(&self.bytes);
            self.bytes.clear();
            self.before = rested.len();
        }
    }

    /// Finds the code of the newest entry. A call of its own, so that other sources' messages do not pay for it.
    #[inline(never)]
    fn find_code(&mut self, text: &[u8]) {
        let code = self.speaker.code(text);
        self.has_codes |= code.is_some();
        if let Some(entry) = self.entries.last_mut() {
            entry.code = code;
        }
    }

    /// Adds a message whose head was begun last.
    fn append(&mut self, message: &[u8], head: &Head) {
        let [beginning, text] = head.staying(0..message.len()).map(|part| &message[part]);
        put_frame(&mut self.bytes, [beginning, &self.middle, text]);
        let len = beginning.len() + self.middle.len() + text.len();
        self.index(self.bytes.len() - len..self.bytes.len(), text);
    }

    fn append_foreign(&mut self, frame: &[u8]) {
        let mut message = Vec::with_capacity(frame.len() + 128);
        let head = foreign::rewrite(frame, self.origin.form, self.origin.now, &mut message);
        self.begin_head(&message, &head);
        self.append(&message, &head);
    }

    fn build(self) -> Batch {
        let bytes = match self.rested {
            None => buffer::settle(self.bytes),
            Some(mut rested) => {
                rested.extend_from_slice(&self.bytes);
                rested.build()
            }
        };
        Batch {
            bytes,
            entries: self.entries.into(),
            heads: self.heads.settle(),
            has_notices: self.has_notices,
            has_codes: self.has_codes,
            received: self.origin.now,
            rendered: Mutex::default(),
        }
    }
}

#[cfg(test)]
mod tests;
