//! What goes ahead of every line: checked and rendered once, with a time that is overwritten in place.

use chrono::{DateTime, SecondsFormat, Utc};

use crate::frame::{FramesBuilder, put_frame};
use crate::message::{Form, Message, PRI_MAX};

/// The length of `2026-11-21T09:10:55.245476+00:00`.
const TIME_LEN: usize = 32;

/// The most bytes that a head may have: with the longest line it stays below the frame limit of 64 KiB.
pub(super) const MOST_HEAD: usize = 1024;

/// The header fields of the lines that a shuttle ships, but for the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    /// PRI: facility × 8 + severity, 0 to 191. Default 190, local7.info, as the original.
    pub pri: u8,
    /// HOSTNAME. Default `shuttle`, as the original.
    pub hostname: String,
    /// APP-NAME. Default `token`, for which the server puts the token's name.
    pub app: String,
    /// PROCID. Default the process's id.
    pub procid: String,
    /// MSGID and STRUCTURED-DATA. Default `- -`.
    pub msgid: String,
}

impl Default for Fields {
    fn default() -> Fields {
        Fields {
            pri: 190,
            hostname: "shuttle".to_owned(),
            app: "token".to_owned(),
            procid: std::process::id().to_string(),
            msgid: "- -".to_owned(),
        }
    }
}

/// A header field that RFC 5424 does not allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} must be {expected}")]
pub struct FieldError {
    /// Which.
    pub field: &'static str,
    /// What it must be.
    pub expected: &'static str,
}

impl Fields {
    /// Checks the fields against RFC 5424, 6.
    ///
    /// # Errors
    /// [`FieldError`] on the first that would make every message malformed.
    pub fn check(&self) -> Result<(), FieldError> {
        let refuse = |field, expected| Err(FieldError { field, expected });
        let is_word = |text: &str, most: usize| {
            (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if self.pri > PRI_MAX {
            return refuse("the PRI", "a number from 0 to 191 (facility × 8 + severity)");
        }
        if !is_word(&self.hostname, 255) {
            return refuse("the host name", "1 to 255 printable ASCII characters without a space");
        }
        if !is_word(&self.app, 48) {
            return refuse("the app name", "1 to 48 printable ASCII characters without a space");
        }
        if !is_word(&self.procid, 128) {
            return refuse("the procid", "1 to 128 printable ASCII characters without a space");
        }
        let mut sample = Head::new(self).bytes;
        let len = sample.len();
        sample.push(b'x');
        let read = Message::parse(&sample, Form::Any);
        let is_whole = read.is_some_and(|read| read.text == b"x" && read.structured_data.is_some());
        if len > MOST_HEAD || !is_whole {
            return refuse(
                "the msgid",
                "a MSGID and structured data, such as `- -` or `- [id key=\"value\"]`",
            );
        }
        Ok(())
    }
}

/// `<PRI>1 TIME HOSTNAME APP-NAME PROCID MSGID SD ` as bytes.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    bytes: Vec<u8>,
    time_at: usize,
    /// The second whose text the bytes hold.
    second: i64,
}

impl Head {
    /// A head of the year 1970; [`Head::stamp`] it.
    pub(crate) fn new(fields: &Fields) -> Head {
        let Fields { pri, hostname, app, procid, msgid } = fields;
        let mut bytes = format!("<{pri}>1 ").into_bytes();
        let time_at = bytes.len();
        bytes.extend_from_slice(time_text(DateTime::UNIX_EPOCH).as_bytes());
        bytes.extend_from_slice(format!(" {hostname} {app} {procid} {msgid} ").as_bytes());
        Head { bytes, time_at, second: 0 }
    }

    /// Sets the time. Only a new second is worth rendering whole.
    pub(crate) fn stamp(&mut self, now: DateTime<Utc>) {
        let second = now.timestamp();
        let text = &mut self.bytes[self.time_at..self.time_at + TIME_LEN];
        if second == self.second {
            let mut micros = now.timestamp_subsec_micros().min(999_999);
            for digit in text[20..26].iter_mut().rev() {
                *digit = b'0' + (micros % 10) as u8;
                micros /= 10;
            }
        } else if let rendered = time_text(now)
            // A year of five digits does not fit; such a clock is wrong in any case.
            && rendered.len() == TIME_LEN
        {
            text.copy_from_slice(rendered.as_bytes());
            self.second = second;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Appends one frame: this head and a text.
    pub(crate) fn frame(&self, out: &mut FramesBuilder, text: &[u8]) {
        put_frame(&mut out.bytes, [&self.bytes, text]);
        out.end_frame();
    }
}

fn time_text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_in_place_is_what_chrono_renders() {
        let mut head = Head::new(&Fields { procid: "web.1".to_owned(), ..Fields::default() });
        let start = DateTime::from_timestamp(1_383_604_291, 999_000_000).unwrap();
        for step in 0..3000 {
            let now = start + chrono::TimeDelta::microseconds(step * 7);
            head.stamp(now);
            let expected = format!("<190>1 {} shuttle token web.1 - - ", time_text(now));
            assert_eq!(String::from_utf8_lossy(&head.bytes), expected);
        }
    }

    #[test]
    fn fields_that_would_break_every_message_are_refused() {
        let check = |change: fn(&mut Fields)| {
            let mut fields = Fields::default();
            change(&mut fields);
            fields.check().map_err(|error| error.field)
        };
        assert_eq!(check(|_| {}), Ok(()));
        assert_eq!(check(|fields| fields.msgid = "ID7 [a@1 k=\"v\"]".to_owned()), Ok(()));
        assert_eq!(check(|fields| fields.pri = 192), Err("the PRI"));
        assert_eq!(check(|fields| fields.hostname = "a b".to_owned()), Err("the host name"));
        assert_eq!(check(|fields| fields.app = "é".to_owned()), Err("the app name"));
        assert_eq!(check(|fields| fields.app = "a".repeat(49)), Err("the app name"));
        assert_eq!(check(|fields| fields.procid = String::new()), Err("the procid"));
        assert_eq!(check(|fields| fields.msgid = "-".to_owned()), Err("the msgid"));
        assert_eq!(check(|fields| fields.msgid = "- - x".to_owned()), Err("the msgid"));
        assert_eq!(check(|fields| fields.msgid = "- [a".to_owned()), Err("the msgid"));
        assert_eq!(check(|fields| fields.msgid = "- -\n".to_owned()), Err("the msgid"));
    }
}
