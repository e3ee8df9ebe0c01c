//! The head of an RFC 5424 message, found in one scan without an allocation.
//!
//! `<PRI>1 TIME HOST APP PROCID MSGID SD MSG`, each field printable ASCII, single spaces. The structured
//! data may be missing altogether, as in the body of an HTTP drain (`reference: Logplex 5.2`): a message in
//! which no well-formed structured data follows MSGID is of that form. What this scan refuses is read by
//! `foreign` and rewritten, so that everything behind the door has a `Head`.

use std::ops::Range;

use chrono::{DateTime, Utc};

use crate::foreign;

/// The largest PRI: facility 23, severity 7 (RFC 5424, 6.2.1).
pub(crate) const PRI_MAX: u8 = 191;

/// Longest head that is strict, up to its structured data, in bytes: what sixteen bits count, with room for what a drain
/// is sent in place of HOST and APP-NAME. Of a longer one the fields are cut.
const HEAD_MAX: usize = u16::MAX as usize - 512;

/// One message, borrowed from its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// PRI: facility × 8 + severity, 0 to 191 (RFC 5424, 6.2.1).
    pub pri: u8,
    /// TIMESTAMP as sent.
    pub time: &'a str,
    /// HOSTNAME.
    pub host: &'a str,
    /// APP-NAME.
    pub app: &'a str,
    /// PROCID.
    pub procid: &'a str,
    /// MSGID.
    pub msgid: &'a str,
    /// STRUCTURED-DATA with its brackets, `-` if nil, or `None` in the drain form, which has no such field.
    pub structured_data: Option<&'a [u8]>,
    /// MSG: any bytes, with a final newline if one was sent.
    pub text: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads a frame in our own strict form, or `None` if it is foreign.
    pub fn parse(frame: &'a [u8], form: Form) -> Option<Message<'a>> {
        Head::parse(frame, form).map(|head| head.message(frame))
    }

    /// Reads any frame, and returns it in our strict form as well: as it is, or as it was rewritten into `spare`
    /// if it is foreign. What its sender left out is filled in: time `now`, APP-NAME `token`.
    pub fn read(frame: &'a [u8], now: DateTime<Utc>, spare: &'a mut Vec<u8>) -> (&'a [u8], Message<'a>) {
        if let Some(message) = Message::parse(frame, Form::Any) {
            return (frame, message);
        }
        spare.clear();
        let head = foreign::rewrite(frame, Form::Any, now, spare);
        (spare, head.message(spare))
    }

    /// The severity, 0 (emergency) to 7 (debug).
    pub fn severity(&self) -> u8 {
        self.pri & 7
    }

    /// Appends the message as strict RFC 5424, structured data as `-` where there is none.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_head(out, self.pri, self.time, self.host, self.app, self.procid);
        out.push(b' ');
        out.extend_from_slice(self.msgid.as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.structured_data.unwrap_or(b"-"));
        out.push(b' ');
        out.extend_from_slice(self.text);
    }
}

/// Appends `<PRI>1 TIME HOST APP PROCID`, what every form begins with.
pub(crate) fn write_head(out: &mut Vec<u8>, pri: u8, time: &str, host: &str, app: &str, procid: &str) {
    out.push(b'<');
    out.extend_from_slice(itoa::Buffer::new().format(pri).as_bytes());
    out.extend_from_slice(b">1");
    for field in [time, host, app, procid] {
        out.push(b' ');
        out.extend_from_slice(field.as_bytes());
    }
}

/// What is known of a frame's form before it is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// With structured data, or visibly without.
    #[default]
    Any,
    /// From an HTTP drain: where HOST is `host` and MSGID nil there is no structured data, whatever the text
    /// looks like.
    Drain,
    /// From a drain that sends RFC 5424: there is structured data, whatever HOST and MSGID are.
    Strict,
}

/// Where the fields of a strict message lie in its frame. Fields are one space apart, so each start tells
/// where the field before it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) pri: u8,
    time: u16,
    host: u16,
    app: u16,
    procid: u16,
    msgid: u16,
    structured_data: u16,
    /// Equal to `structured_data` where there is none.
    structured_data_end: u32,
    text: u32,
}

impl Head {
    pub(crate) fn parse(frame: &[u8], form: Form) -> Option<Head> {
        let (pri, time) = pri_and_version(frame)?;
        let host = next_field(frame, time)?;
        if !is_timestamp(&frame[time..host - 1]) {
            return None;
        }
        let app = next_field(frame, host)?;
        let procid = next_field(frame, app)?;
        let msgid = next_field(frame, procid)?;
        // A frame may end with MSGID: the drain form of an empty text whose last space was trimmed.
        let structured_data = match next_field(frame, msgid) {
            Some(start) => start,
            None if msgid < frame.len() && msgid + printable_len(&frame[msgid..]) == frame.len() => {
                frame.len()
            }
            None => return None,
        };
        if structured_data > HEAD_MAX {
            return None;
        }
        let drain_like = &frame[host..app - 1] == b"host" && frame.get(msgid..msgid + 2) == Some(b"- ");
        let rest = &frame[structured_data.min(frame.len())..];
        let length = match form {
            Form::Drain if drain_like => 0,
            Form::Any | Form::Drain => structured_data_len(rest, drain_like),
            Form::Strict => structured_data_len(rest, false),
        };
        let structured_data_end = structured_data + length;
        // One space stands between the structured data and the text; a message may also end with the former.
        let text = if length == 0 { structured_data } else { (structured_data_end + 1).min(frame.len()) };
        Some(Head {
            pri,
            time: time as u16,
            host: host as u16,
            app: app as u16,
            procid: procid as u16,
            msgid: msgid as u16,
            structured_data: structured_data as u16,
            structured_data_end: structured_data_end as u32,
            text: text as u32,
        })
    }

    /// The text of the frame that this head was read from.
    pub(crate) fn text<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        &frame[self.text as usize..]
    }

    /// Where the parts lie that every form has as they came, `<PRI>1 TIME ` and the text, of a frame that lies there.
    pub(crate) fn staying(&self, frame: Range<usize>) -> [Range<usize>; 2] {
        [frame.start..frame.start + self.host as usize, frame.start + self.text as usize..frame.end]
    }

    /// The head in the form without structured data and with a nil MSGID, of these lengths of HOST, APP-NAME and PROCID.
    pub(crate) fn in_drain_form(&self, [host, app, procid]: [usize; 3]) -> Head {
        let app_at = self.host + host as u16 + 1;
        let procid_at = app_at + app as u16 + 1;
        let msgid = procid_at + procid as u16 + 1;
        let text = msgid + b"- ".len() as u16;
        Head {
            app: app_at,
            procid: procid_at,
            msgid,
            structured_data: text,
            structured_data_end: text.into(),
            text: text.into(),
            ..*self
        }
    }

    /// The fields that every rendered form keeps: time, app, procid.
    pub(crate) fn kept<'a>(&self, frame: &'a [u8]) -> [&'a [u8]; 3] {
        [
            field(frame, self.time..self.host - 1),
            field(frame, self.app..self.procid - 1),
            field(frame, self.procid..self.msgid - 1),
        ]
    }

    /// The fields that only the strict form keeps: host, msgid, structured data, the last empty where there is none.
    pub(crate) fn not_kept<'a>(&self, frame: &'a [u8]) -> [&'a [u8]; 3] {
        let structured_data = self.structured_data as usize..self.structured_data_end as usize;
        let msgid = &frame[self.msgid as usize..(self.structured_data as usize).min(frame.len())];
        [
            field(frame, self.host..self.app - 1),
            msgid.strip_suffix(b" ").unwrap_or(msgid),
            if structured_data.is_empty() { b"" } else { &frame[structured_data] },
        ]
    }

    pub(crate) fn message<'a>(&self, frame: &'a [u8]) -> Message<'a> {
        let [time, app, procid] = self.kept(frame).map(as_text);
        let [host, msgid, structured_data] = self.not_kept(frame);
        Message {
            pri: self.pri,
            time,
            host: as_text(host),
            app,
            procid,
            msgid: as_text(msgid),
            structured_data: (!structured_data.is_empty()).then_some(structured_data),
            text: self.text(frame),
        }
    }
}

/// The head of one frame as a pattern for the next: the lines of one process, one after the other, differ in the time's
/// value and in the text.
#[derive(Debug)]
pub(crate) struct Pattern<'a> {
    pub(crate) head: Head,
    /// The frame up to its text.
    bytes: &'a [u8],
    /// Where the digits of the second's fraction lie, which differ most often; empty if there are none.
    fraction: Range<usize>,
    /// The high bit of each of these digits, in the word that begins with them.
    digits: u64,
    /// Whether the text stands where structured data would: one that begins like some has to be read.
    has_no_data: bool,
}

impl<'a> Pattern<'a> {
    /// The head of this frame, which it was read from.
    pub(crate) fn of(head: Head, frame: &'a [u8]) -> Pattern<'a> {
        let time = head.time as usize;
        let fraction = fraction(&frame[time..head.host as usize - 1]);
        let digits = (EACH * 0x80).unbounded_shr(64 - 8 * fraction.len() as u32);
        Pattern {
            head,
            bytes: &frame[..head.text as usize],
            fraction: time + fraction.start..time + fraction.end,
            digits,
            has_no_data: head.text == u32::from(head.structured_data),
        }
    }

    /// Whether `frame` has this head, with a time of the same length that is valid, too. Never if the head stood without
    /// a space behind it, for then its frame ended with it.
    pub(crate) fn fits(&self, frame: &[u8]) -> bool {
        let Some((bytes, text)) = frame.split_at_checked(self.bytes.len()) else { return false };
        if self.has_no_data && matches!(text.first(), None | Some(b'-' | b'[')) || !self.bytes.ends_with(b" ")
        {
            return false;
        }
        let is_alike = |except: &Range<usize>| {
            bytes[..except.start] == self.bytes[..except.start]
                && bytes[except.end..] == self.bytes[except.end..]
        };
        if let Some(word) = bytes[self.fraction.start..].first_chunk()
            && self.digits != 0
            && unlike(u64::from_le_bytes(*word), EACH * u64::from(b'0'), EACH * DIGIT) & self.digits == 0
            && is_alike(&self.fraction)
        {
            return true;
        }
        let time = self.head.time as usize..self.head.host as usize - 1;
        is_alike(&time) && is_timestamp(&bytes[time])
    }
}

fn field(frame: &[u8], range: Range<u16>) -> &[u8] {
    &frame[range.start as usize..range.end as usize]
}

/// A head's field as text; it was checked to be printable ASCII when the head was read.
pub(crate) fn as_text(field: &[u8]) -> &str {
    std::str::from_utf8(field).unwrap_or("-")
}

/// One in each byte of a word.
const EACH: u64 = u64::from_le_bytes([1; 8]);

/// What may be added to what remains of a digit when its `0` is taken away, and not to another byte, without reaching its
/// high bit: of a digit 9 at most remains. Of a byte that is as expected nothing does, so that it may be 0x7f there.
const DIGIT: u64 = 0x7f - 9;

/// How many printable bytes `bytes` begins with, found eight at a time.
fn printable_len(bytes: &[u8]) -> usize {
    let mut len = 0;
    while let Some(word) = bytes[len..].first_chunk() {
        let word = u64::from_le_bytes(*word);
        // The high bit of each byte below `!` or above `~`. What one byte borrows or carries spoils only
        // those after it, and the first is what counts.
        let below = word.wrapping_sub(EACH * u64::from(b'!')) & !word;
        let above = word.wrapping_add(EACH * u64::from(0x7f - b'~')) | word;
        let found = (below | above) & (EACH * 0x80);
        if found != 0 {
            return len + found.trailing_zeros() as usize / 8;
        }
        len += size_of::<u64>();
    }
    len + bytes[len..].iter().take_while(|byte| byte.is_ascii_graphic()).count()
}

/// `<PRI>1 `, PRI 0 to 191 without leading zeros; returns it and where TIMESTAMP starts.
pub(crate) fn pri_and_version(frame: &[u8]) -> Option<(u8, usize)> {
    let (digits, rest_at) = match frame {
        [b'<', a, b'>', b'1', b' ', ..] => (&[*a][..], 5),
        [b'<', a, b, b'>', b'1', b' ', ..] if *a != b'0' => (&[*a, *b][..], 6),
        [b'<', b'1', b, c, b'>', b'1', b' ', ..] => (&[b'1', *b, *c][..], 7),
        _ => return None,
    };
    let mut pri = 0u16;
    for digit in digits {
        pri = pri * 10 + u16::from(digit.is_ascii_digit().then(|| digit - b'0')?);
    }
    (pri <= PRI_MAX.into()).then_some((pri as u8, rest_at))
}

/// Where the field after the one at `start` begins: one or more printable bytes and one space.
pub(crate) fn next_field(frame: &[u8], start: usize) -> Option<usize> {
    let end = start + printable_len(frame.get(start..)?);
    (end > start && frame.get(end) == Some(&b' ')).then_some(end + 1)
}

/// RFC 3339 as RFC 5424, 6.2.3 narrows it: upper-case `T` and `Z`, at most six digits of a second.
/// Checks the shape and coarse ranges, not the calendar.
fn is_timestamp(time: &[u8]) -> bool {
    let Some((date_time, rest)) = time.split_first_chunk::<19>() else { return false };
    let shape = has_shape(date_time, 0, b"0000-00-") && has_shape(date_time, 8, b"00T00:00");
    if !shape || !has_shape(date_time, 11, b"00:00:00") {
        return false;
    }
    let two = |at: usize| (date_time[at] & 15) * 10 + (date_time[at + 1] & 15);
    let date = (1..=12).contains(&two(5)) && (1..=31).contains(&two(8));
    if !date || two(11) > 23 || two(14) > 59 || two(17) > 59 {
        return false;
    }
    let zone = match rest {
        [b'.', fraction @ ..] => {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if !(1..=6).contains(&digits) {
                return false;
            }
            &fraction[digits..]
        }
        zone => zone,
    };
    match zone {
        [b'Z'] => true,
        [b'+' | b'-', a, b, b':', c, d] => {
            [a, b, c, d].iter().all(|byte| byte.is_ascii_digit())
                && (*a, *b) <= (b'2', b'9')
                && !(*a == b'2' && *b > b'3')
                && *c <= b'5'
        }
        _ => false,
    }
}

/// Where the digits of the second's fraction are in a valid time; an empty range if it has none.
fn fraction(valid: &[u8]) -> Range<usize> {
    let zone = if valid.ends_with(b"Z") { 1 } else { "+00:00".len() };
    let start = "2026-01-02T03:04:05.".len();
    start..valid.len().saturating_sub(zone).max(start)
}

/// Whether the eight bytes at `at` have a digit wherever `shape` has `0`, and are as in `shape` elsewhere.
fn has_shape(time: &[u8; 19], at: usize, shape: &[u8; 8]) -> bool {
    let room = u64::from_le_bytes(shape.map(|byte| if byte == b'0' { DIGIT as u8 } else { 0x7f }));
    let word = time[at..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
    unlike(word, u64::from_le_bytes(*shape), room) == 0
}

/// The high bit of each byte of `word` that is not as in `shape`, give or take what there is `room` for.
fn unlike(word: u64, shape: u64, room: u64) -> u64 {
    let high = EACH * 0x80;
    let rest = word ^ shape;
    (((rest & !high) + room) | rest) & high
}

/// How long the structured data at the front of `rest` is; 0 if there is none.
///
/// `[INFO] text` is well-formed structured data and, in a drain's body, a common beginning of a text. Where
/// the head looks like a drain's (`drain_like`), an element without parameters is taken for text.
pub(crate) fn structured_data_len(rest: &[u8], drain_like: bool) -> usize {
    let ended = |len: usize| matches!(rest.get(len), None | Some(b' '));
    match rest.first() {
        Some(b'-') if ended(1) => 1,
        Some(b'[') => {
            let mut len = 0;
            while rest.get(len) == Some(&b'[') {
                match element_len(&rest[len..]) {
                    Some((_, 0)) | None if drain_like => return 0,
                    Some((element, _)) => len += element,
                    None => return 0,
                }
            }
            if ended(len) { len } else { 0 }
        }
        _ => 0,
    }
}

/// The length of one `[ID name="value" …]` and its number of parameters.
fn element_len(rest: &[u8]) -> Option<(usize, usize)> {
    let name_len = |from: usize| {
        let name = rest[from..].iter().take_while(|b| b.is_ascii_graphic() && !b"=]\"".contains(b));
        Some(name.count()).filter(|len| *len > 0)
    };
    let mut at = 1 + name_len(1)?;
    let mut parameters = 0;
    loop {
        match rest.get(at)? {
            b']' => return Some((at + 1, parameters)),
            b' ' => at += 1,
            _ => return None,
        }
        at += name_len(at)?;
        if rest.get(at..at + 2)? != b"=\"" {
            return None;
        }
        at += 2;
        loop {
            match rest.get(at)? {
                b'\\' => at += 2,
                b'"' => break,
                _ => at += 1,
            }
        }
        at += 1;
        parameters += 1;
    }
}

#[cfg(test)]
mod tests;
