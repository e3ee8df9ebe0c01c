//! What a reader is told about a gap: L10 to L13, rendered and parsed.
//!
//! The sentences are the platform's published ones, byte for byte; parsers in the wild match them. Facts
//! follow the sentence as ` key=value`. L10 and L11 have times of whole seconds, L12 and L13 of six digits,
//! always with `+00:00`. Shapes: `reference: error codes, part C3`.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};

use crate::ledger::{DropReason, Gap, LossReason, Tally};
use crate::message::write_head;

/// The PRI of notices that are messages: local5.warning.
const NOTICE_PRI: u8 = 172;

/// Which queue overflowed, or whose delivery failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// A drain's ring overflowed, or its deliveries failed.
    L10,
    /// A tail's ring overflowed.
    L11,
    /// The shuttle's ring overflowed.
    L12,
    /// The shuttle's deliveries failed.
    L13,
}

/// A gap, told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Which code.
    pub code: Code,
    /// How many messages.
    pub count: u64,
    /// When the first of them went.
    pub since: DateTime<Utc>,
    /// ` key=value` facts in the order they are written.
    pub facts: Vec<(String, String)>,
}

impl Notice {
    /// What a drain is told: all that went in one number, as the original has it, and its parts as facts.
    pub fn l10(gap: &Gap) -> Option<Notice> {
        let mut facts = Vec::new();
        if gap.lost.count > 0 {
            facts.push(("lost".to_owned(), gap.lost.count.to_string()));
        }
        facts.extend(upstream(gap));
        match (gap.dropped.reason, gap.lost.reason) {
            (Some(DropReason::Crash), _) => {
                facts.push(reason(DropReason::Crash.as_str()));
                facts.push(("at_most".to_owned(), gap.total().to_string()));
            }
            (_, Some(lost)) => facts.push(reason(lost.as_str())),
            (dropped, None) => facts.extend(unusual(dropped)),
        }
        Notice::new(Code::L10, gap.total(), gap.since(), facts)
    }

    /// What a tail is told.
    pub fn l11(gap: &Gap) -> Option<Notice> {
        let facts = upstream(gap).into_iter().chain(unusual(gap.dropped.reason)).collect();
        Notice::new(Code::L11, gap.total(), gap.since(), facts)
    }

    /// What a channel is told of the shuttle's overflow.
    pub fn l12(dropped: &Tally<DropReason>) -> Option<Notice> {
        let facts = unusual(dropped.reason).into_iter().collect();
        Notice::new(Code::L12, dropped.count, dropped.since, facts)
    }

    /// What a channel is told of the shuttle's failed deliveries.
    pub fn l13(lost: &Tally<LossReason>) -> Option<Notice> {
        let facts = lost.reason.map(|lost| reason(lost.as_str())).into_iter().collect();
        Notice::new(Code::L13, lost.count, lost.since, facts)
    }

    fn new(
        code: Code,
        count: u64,
        since: Option<DateTime<Utc>>,
        facts: Vec<(String, String)>,
    ) -> Option<Notice> {
        since.filter(|_| count > 0).map(|since| Notice { code, count, since, facts })
    }

    /// Adds a fact.
    #[must_use]
    pub fn with_fact(mut self, key: &str, value: &str) -> Notice {
        self.facts.push((key.to_owned(), value.to_owned()));
        self
    }

    /// The notice's own time as its code writes times.
    pub fn time(&self, now: DateTime<Utc>) -> String {
        let digits = match self.code {
            Code::L10 | Code::L11 => SecondsFormat::Secs,
            Code::L12 | Code::L13 => SecondsFormat::Micros,
        };
        now.to_rfc3339_opts(digits, false)
    }

    /// The notice as a strict message from `heroku[PROCID]` (L10, L11) or from the shuttle's app (L12, L13).
    pub fn message(&self, app: &str, now: DateTime<Utc>) -> Vec<u8> {
        let mut message = self.head(app, now);
        message.extend_from_slice(b" - - ");
        message.extend_from_slice(self.to_string().as_bytes());
        message
    }

    /// The notice in the form of a syslog drain, whose HOST is the drain's token.
    pub fn syslog_message(&self, host: &str, now: DateTime<Utc>) -> Vec<u8> {
        let mut message = Vec::with_capacity(256);
        write_head(&mut message, NOTICE_PRI, &self.time(now), host, "heroku", "logplex");
        message.extend_from_slice(b" - - ");
        message.extend_from_slice(self.to_string().as_bytes());
        message.push(b'\n');
        message
    }

    /// The notice in the form of an HTTP drain, which has no structured data.
    pub fn drain_message(&self, now: DateTime<Utc>) -> Vec<u8> {
        let mut message = self.head("heroku", now);
        message.extend_from_slice(b" - ");
        message.extend_from_slice(self.to_string().as_bytes());
        message
    }

    fn head(&self, app: &str, now: DateTime<Utc>) -> Vec<u8> {
        let (host, procid) = match self.code {
            Code::L10 | Code::L11 => ("host", "logplex"),
            Code::L12 | Code::L13 => ("heroku", "log-shuttle"),
        };
        let mut head = Vec::with_capacity(256);
        write_head(&mut head, NOTICE_PRI, &self.time(now), host, app, procid);
        head
    }

    /// Reads a notice from a message's text, in any shape that the platform's notices have had.
    pub fn parse(text: &str) -> Option<Notice> {
        let text = text.trim_end();
        let text = text.strip_prefix("Error ").unwrap_or(text);
        let (code, rest) = match text.split_at_checked(3)? {
            ("L10", rest) => (Code::L10, rest.strip_prefix(" (output buffer overflow): ")?),
            ("L11", rest) => {
                let rest = rest.strip_prefix(" (Tail buffer overflow) -> ")?;
                (Code::L11, rest.strip_prefix("This tail session dropped ")?)
            }
            ("L12", rest) => (Code::L12, rest.strip_prefix(": ")?),
            ("L13", rest) => (Code::L13, rest.strip_prefix(": ")?),
            _ => return None,
        };
        let mut facts = Vec::new();
        // The platform's later builds name the drain inside the sentence.
        let rest = match rest.strip_prefix("drain '") {
            Some(named) => {
                let (drain, rest) = named.split_once("' dropped ")?;
                facts.push(("drain".to_owned(), drain.to_owned()));
                rest
            }
            None => rest,
        };
        let (count, rest) = rest.split_once(" messages ")?;
        let rest = rest.strip_prefix("dropped ").or_else(|| rest.strip_prefix("lost ")).unwrap_or(rest);
        let mut words = rest.strip_prefix("since ")?.split(' ');
        let since = words.next()?.trim_end_matches('.');
        let since = DateTime::parse_from_rfc3339(since).ok()?.with_timezone(&Utc);
        facts
            .extend(words.filter_map(|word| word.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())));
        Some(Notice { code, count: count.parse().ok()?, since, facts })
    }
}

/// What a channel is told of a drain whose certificate does not hold (L14), as a strict message from
/// `heroku[logplex]`. `uri` must hold no secrets. A quote or a control character cannot break the line.
pub fn certificate_message(error: &str, uri: &str, now: DateTime<Utc>) -> Vec<u8> {
    let plain = |text: &str| text.replace('"', "'").replace(char::is_control, " ");
    let text =
        format!("Error L14 (certificate validation): error=\"{}\" uri=\"{}\"", plain(error), plain(uri));
    channel_message(&text, now)
}

/// A line of the router's own on a channel, as its copies of notices have it.
pub fn channel_message(text: &str, now: DateTime<Utc>) -> Vec<u8> {
    let mut message = Vec::with_capacity(text.len() + 64);
    let time = now.to_rfc3339_opts(SecondsFormat::Secs, false);
    write_head(&mut message, NOTICE_PRI, &time, "host", "heroku", "logplex");
    message.extend_from_slice(b" - - ");
    message.extend_from_slice(text.as_bytes());
    message
}

fn reason(name: &str) -> (String, String) {
    ("reason".to_owned(), name.to_owned())
}

/// How many of the messages went upstream, and were told by a notice that did not arrive either.
fn upstream(gap: &Gap) -> Option<(String, String)> {
    (gap.upstream.count > 0).then(|| ("upstream".to_owned(), gap.upstream.count.to_string()))
}

/// The reason of a drop, where it is another than the usual full ring.
fn unusual(dropped: Option<DropReason>) -> Option<(String, String)> {
    dropped.filter(|dropped| *dropped != DropReason::Full).map(|dropped| reason(dropped.as_str()))
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.time(self.since);
        let count = self.count;
        match self.code {
            Code::L10 => {
                write!(f, "Error L10 (output buffer overflow): {count} messages dropped since {since}.")?
            }
            Code::L11 => write!(
                f,
                "L11 (Tail buffer overflow) -> This tail session dropped {count} messages since {since}"
            )?,
            Code::L12 => write!(f, "Error L12: {count} messages dropped since {since}.")?,
            Code::L13 => write!(f, "Error L13: {count} messages lost since {since}.")?,
        }
        for (key, value) in &self.facts {
            write!(f, " {key}={value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
