//! Messages that others write: RFC 3164 with and without a time, RFC 5424 with odd heads, bare lines.
//!
//! Each is written as one strict RFC 5424 message, so that everything behind the door has one form. A head
//! that is strict but for its time gets a strict time; `syslog_loose` reads the others. It drops structured
//! data that it cannot read, and a text's leading `-`; so the text is cut from the frame here, and keeps its
//! bytes, whatever they are. What a sender left out is filled in: the time of receipt, APP-NAME `token`,
//! which stands for the name of the token that the message came with. What stands behind a PRI and has no time that
//! can be read is content, which may begin with a tag (RFC 3164, 4.3.2): so write Python's `SysLogHandler` and small
//! devices. A frame without a PRI in range is a text from its first byte on, with PRI 13 (4.3.3).

use chrono::{DateTime, Datelike, SecondsFormat, Timelike, Utc};
use syslog_loose::{IncompleteDate, Message, ProcId, Protocol, Variant};

use crate::message::{
    Form, Head, PRI_MAX, as_text, next_field, pri_and_version, structured_data_len, write_head,
};

/// The PRI of a message that has none: facility user, severity notice.
const DEFAULT_PRI: u8 = 13;

/// Longest field of a head that is taken from a foreign message, in bytes (RFC 5424, 6: HOSTNAME's bound).
const FIELD_MAX: usize = 255;

/// How many fields stand before the structured data of an RFC 5424 message, PRI and VERSION counted as one.
const HEAD_FIELDS: usize = 6;

/// Longest name and longest PROCID of a tag, in bytes: what APP-NAME may have (RFC 5424, 6), since a token is longer
/// than the 32 of RFC 3164.
const TAG_MAX: usize = 48;

/// What the parser takes for the space between fields.
const BLANKS: [char; 2] = [' ', '\t'];

/// Appends `frame` as strict RFC 5424 without a count to an empty `out`, and tells where its fields lie.
pub(crate) fn rewrite(frame: &[u8], form: Form, now: DateTime<Utc>, out: &mut Vec<u8>) -> Head {
    if let Some(head) = rewrite_time(frame, form, now, out) {
        return head;
    }
    out.clear();
    rewrite_head(frame, now, out);
    Head::parse(out, Form::Any).expect("PRI in range, a strict time and short fields make a strict head")
}

/// Gives a message that is strict but for its time a strict one.
fn rewrite_time(frame: &[u8], form: Form, now: DateTime<Utc>, out: &mut Vec<u8>) -> Option<Head> {
    let (_, start) = pri_and_version(frame)?;
    let end = next_field(frame, start)? - 1;
    let time = match std::str::from_utf8(&frame[start..end]).ok()? {
        "-" => None,
        sent => Some(DateTime::parse_from_rfc3339(sent).ok()?.to_utc()),
    };
    out.extend_from_slice(&frame[..start]);
    out.extend_from_slice(strict_time(time, now).as_bytes());
    out.extend_from_slice(&frame[end..]);
    Head::parse(out, form)
}

fn rewrite_head(frame: &[u8], now: DateTime<Utc>, out: &mut Vec<u8>) {
    let readable = match std::str::from_utf8(frame) {
        Ok(all) => all,
        // The head is ASCII where there is one; the text's bytes are taken from the frame below.
        Err(error) => std::str::from_utf8(&frame[..error.valid_up_to()]).unwrap_or_default(),
    };
    let year = |(month, ..): IncompleteDate| nearest_year(month, now);
    let message = syslog_loose::parse_message_with_year_tz(readable, year, Some(Utc), Variant::Either);
    let Some(pri) = pri(&message) else {
        let (pri, (name, procid, text)) = match leading_pri(frame) {
            Some((pri, content)) => (pri, leading_tag(content).unwrap_or(("token", "-", content))),
            None => (DEFAULT_PRI, ("token", "-", frame)),
        };
        write_head(out, pri, &strict_time(None, now), "-", name, procid);
        out.extend_from_slice(b" - - ");
        out.extend_from_slice(text);
        return;
    };
    let (host, app) = match (message.hostname, message.appname) {
        (Some(tag), None) if stands_before_a_colon(tag, readable) => (None, Some(tag)),
        both => both,
    };
    let procid = match message.procid {
        Some(ProcId::PID(pid)) => pid.to_string(),
        Some(ProcId::Name(name)) => field(Some(name), "-"),
        None => "-".to_owned(),
    };
    write_head(
        out,
        pri,
        &strict_time(message.timestamp.map(|time| time.to_utc()), now),
        &field(host, "-"),
        &field(app, "token"),
        &procid,
    );
    out.push(b' ');
    out.extend_from_slice(field(message.msgid, "-").as_bytes());
    let rest = &frame[rest_at(readable, &message)..];
    let has_structured_data =
        matches!(message.protocol, Protocol::RFC5424(_)) && structured_data_len(rest, false) > 0;
    out.extend_from_slice(if has_structured_data { b" " } else { b" - " });
    out.extend_from_slice(rest);
}

/// Where in `readable` the part after the head begins: the structured data in RFC 5424, else the text.
fn rest_at(readable: &str, message: &Message<&str>) -> usize {
    if let Protocol::RFC5424(_) = message.protocol {
        let mut rest = readable.trim_start();
        for _ in 0..HEAD_FIELDS {
            rest = rest.trim_start_matches(|c: char| !c.is_whitespace()).trim_start_matches(BLANKS);
        }
        return readable.len() - rest.len();
    }
    // RFC 3164 has no structured data: what the parser took for it is text.
    if let Some(element) = message.structured_data.first() {
        return offset_of(element.id, readable) - "[".len();
    }
    let text_at =
        readable.len() - readable[offset_of(message.msg, readable)..].trim_start_matches(BLANKS).len();
    let nil = readable[..text_at].trim_end_matches(BLANKS).strip_suffix('-');
    nil.filter(|before| before.ends_with([' ', '\t', ':'])).map_or(text_at, str::len)
}

/// Where `part`, which the parser took out of `readable`, stands in it.
fn offset_of(part: &str, readable: &str) -> usize {
    part.as_ptr() as usize - readable.as_ptr() as usize
}

/// Whether what the parser took for a host is a tag: a host ends with a space, and if it has colons it is an address.
fn stands_before_a_colon(host: &str, readable: &str) -> bool {
    !host.contains(':') && readable[offset_of(host, readable) + host.len()..].starts_with(':')
}

/// The PRI in front of a frame, if it is in range, and what comes behind it and its spaces.
fn leading_pri(frame: &[u8]) -> Option<(u8, &[u8])> {
    let rest = frame.trim_ascii_start().strip_prefix(b"<")?;
    let end = rest.iter().take(4).position(|&byte| byte == b'>')?;
    let digits = as_text(&rest[..end]);
    // `parse` would take a sign, too.
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    let pri = digits.parse().ok().filter(|pri| is_number && *pri <= PRI_MAX)?;
    Some((pri, without_blanks(&rest[end + 1..])))
}

fn without_blanks(bytes: &[u8]) -> &[u8] {
    let blanks = bytes.iter().take_while(|&&byte| BLANKS.contains(&byte.into())).count();
    &bytes[blanks..]
}

/// The tag that a content begins with, `NAME:` or `NAME[PROCID]:` (RFC 3164, 4.1.3 and 5.3): both, and the text behind it
/// and its spaces. A name has letters, digits and a few signs, so that a JSON text's first key is none.
fn leading_tag(content: &[u8]) -> Option<(&str, &str, &[u8])> {
    let is_in_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-/@+".contains(byte);
    let (name, rest) = content.split_at(content.iter().take_while(|byte| is_in_name(byte)).count());
    let (procid, rest) = match rest.strip_prefix(b"[") {
        Some(rest) => {
            let end = rest.iter().take(TAG_MAX + 1).position(|&byte| byte == b']')?;
            (&rest[..end], &rest[end + 1..])
        }
        None => (&b"-"[..], rest),
    };
    let text = rest.strip_prefix(b":")?;
    let fits = |field: &[u8]| (1..=TAG_MAX).contains(&field.len()) && field.iter().all(u8::is_ascii_graphic);
    let is_tag = fits(name) && fits(procid) && text.first().is_none_or(u8::is_ascii_whitespace);
    is_tag.then(|| (as_text(name), as_text(procid), without_blanks(text)))
}

fn pri(message: &Message<&str>) -> Option<u8> {
    Some(message.facility? as u8 * 8 + message.severity? as u8)
}

/// The time as a strict head has it. A leap second becomes the last microsecond before it, which RFC 5424
/// asks for; a year of other than four digits is taken for no time.
fn strict_time(sent: Option<DateTime<Utc>>, now: DateTime<Utc>) -> String {
    let has_four_digits = |time: &DateTime<Utc>| (0..=9999).contains(&time.year());
    let time = sent.into_iter().chain([now]).find(has_four_digits).unwrap_or_default();
    let time = time.with_nanosecond(time.nanosecond().min(999_999_999)).unwrap_or(time);
    time.to_rfc3339_opts(SecondsFormat::Micros, false)
}

/// RFC 3164 times have no year: it is this one, but for a sender's December seen in January and the reverse.
fn nearest_year(month: u32, now: DateTime<Utc>) -> i32 {
    match (month, now.month()) {
        (12, 1) => now.year() - 1,
        (1, 12) => now.year() + 1,
        _ => now.year(),
    }
}

fn field(value: Option<&str>, default: &str) -> String {
    let value = value.unwrap_or_default();
    let kept: String = value.chars().filter(char::is_ascii_graphic).take(FIELD_MAX).collect();
    if kept.is_empty() { default.to_owned() } else { kept }
}

#[cfg(test)]
mod tests;
