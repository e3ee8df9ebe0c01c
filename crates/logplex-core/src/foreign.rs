//! Messages that others write: RFC 3164, RFC 5424 with odd heads, bare lines.
//!
//! `syslog_loose` reads them; what it finds is written as one strict RFC 5424 message, so that everything
//! behind the door has one form. The text keeps its bytes, whatever they are. What a sender left out is
//! filled in: PRI 13 (RFC 3164, 4.3.3), the time of receipt, APP-NAME `token`, which stands for the name of
//! the token that the message came with.

use chrono::{DateTime, Datelike, SecondsFormat, Utc};
use syslog_loose::{IncompleteDate, Message, ProcId, StructuredElement, Variant};

use crate::message::write_head;

/// The PRI of a message that has none: facility user, severity notice.
const DEFAULT_PRI: u8 = 13;

/// Longest field of a head that is taken from a foreign message, in bytes (RFC 5424, 6: HOSTNAME's bound).
const FIELD_MAX: usize = 255;

/// Appends `frame` as strict RFC 5424 without a count.
pub(crate) fn rewrite(frame: &[u8], now: DateTime<Utc>, out: &mut Vec<u8>) {
    let readable = match std::str::from_utf8(frame) {
        Ok(all) => all,
        // The head is ASCII where there is one; the text's bytes are taken from the frame below.
        Err(error) => std::str::from_utf8(&frame[..error.valid_up_to()]).unwrap_or_default(),
    };
    let year = |(month, ..): IncompleteDate| nearest_year(month, now);
    let message = syslog_loose::parse_message_with_year_tz(readable, year, Some(Utc), Variant::Either);
    // The parser trims; the text's bytes are the frame's own from where the parser found it to begin. An
    // empty text may point elsewhere: then it begins, and ends, at the frame's end.
    let text_at = (message.msg.as_ptr() as usize).wrapping_sub(readable.as_ptr() as usize);
    let text = frame.get(text_at..).unwrap_or_default();
    let time = message.timestamp.map_or(now, |time| time.with_timezone(&Utc));
    let procid = match message.procid {
        Some(ProcId::PID(pid)) => pid.to_string(),
        Some(ProcId::Name(name)) => field(Some(name), "-"),
        None => "-".to_owned(),
    };
    write_head(
        out,
        pri(&message),
        &time.to_rfc3339_opts(SecondsFormat::Micros, false),
        &field(message.hostname, "-"),
        &field(message.appname, "token"),
        &procid,
    );
    out.push(b' ');
    out.extend_from_slice(field(message.msgid, "-").as_bytes());
    out.push(b' ');
    if message.structured_data.is_empty() {
        out.push(b'-');
    }
    for element in &message.structured_data {
        write_element(out, element);
    }
    out.push(b' ');
    out.extend_from_slice(text);
}

fn pri(message: &Message<&str>) -> u8 {
    match (message.facility, message.severity) {
        (Some(facility), Some(severity)) => (facility as u8) * 8 + severity as u8,
        _ => DEFAULT_PRI,
    }
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

fn write_element(out: &mut Vec<u8>, element: &StructuredElement<&str>) {
    out.push(b'[');
    out.extend_from_slice(field(Some(element.id), "-").as_bytes());
    for (name, value) in element.params() {
        out.push(b' ');
        out.extend_from_slice(field(Some(name), "-").as_bytes());
        out.extend_from_slice(b"=\"");
        for byte in value.bytes() {
            if matches!(byte, b'"' | b'\\' | b']') {
                out.push(b'\\');
            }
            out.push(byte);
        }
        out.push(b'"');
    }
    out.push(b']');
}
