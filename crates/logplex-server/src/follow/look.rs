//! What a line looks like: as text, as JSON, or its message alone; with colours or without.

use std::borrow::Cow;
use std::ffi::OsString;

use chrono::{DateTime, Utc};
use regex::Regex;
use serde::Deserialize;

use super::args::{Color, Output};
use super::escape::{escape, escape_breaks, escape_json};
use super::time::{Timestamps, Zone, show};

/// The colours of processes and channels: not red and yellow, which are for what is severe.
const COLOURS: [u8; 8] = [32, 36, 35, 34, 92, 96, 95, 94];

const RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const BOLD_YELLOW: &str = "\x1b[1;33m";
const REVERSE: &str = "\x1b[7m";
const PLAIN: &str = "\x1b[0m";

/// A column of channels is not wider than this; a longer name moves its own lines only.
const COLUMN_MAX: usize = 24;

/// One line as the server sends it. A notice of the tail's own has no cursor.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Line<'a> {
    #[serde(borrow)]
    pub(super) cursor: Option<Cow<'a, str>>,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(borrow)]
    procid: Cow<'a, str>,
    severity: Option<u8>,
    #[serde(borrow)]
    message: Cow<'a, str>,
    /// Of a notice: which, how many messages it tells of, and since when.
    #[serde(borrow)]
    code: Option<Cow<'a, str>>,
    dropped: Option<u64>,
    #[serde(borrow)]
    since: Option<Cow<'a, str>>,
}

/// How lines are shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Look {
    pub(super) output: Output,
    /// Whether it is a terminal that gets them, now or at the end of a pipe: then nothing in them is obeyed, and
    /// losses are drawn for a person.
    pub(super) terminal: bool,
    pub(super) colour: bool,
    pub(super) timestamps: Timestamps,
    pub(super) zone: Option<Zone>,
    /// What stands out in a message.
    pub(super) highlight: Vec<Regex>,
    /// The width of the column with the channel's name; 0 for none.
    pub(super) column: usize,
}

/// Whether to use colours, by the flag, else the environment, else whether it is a terminal.
pub(crate) fn has_colour(
    choice: Color,
    terminal: bool,
    variable: impl Fn(&'static str) -> Option<OsString>,
) -> bool {
    let set = |name| variable(name).is_some_and(|value| !value.is_empty());
    let forced = |name| set(name) && variable(name).is_some_and(|value| value != "0");
    match choice {
        Color::Always => true,
        Color::Never => false,
        Color::Auto if set("NO_COLOR") => false,
        Color::Auto if forced("FORCE_COLOR") || forced("CLICOLOR_FORCE") => true,
        Color::Auto => terminal && variable("TERM").is_none_or(|value| value != "dumb"),
    }
}

/// The width of a column for these names; none for a single one.
pub(super) fn column(channels: &[String]) -> usize {
    let widest = channels.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    if channels.len() > 1 { widest.min(COLUMN_MAX) } else { 0 }
}

impl Look {
    /// Adds a line of `channel`, which came as `json`, with its end.
    pub(super) fn render(
        &self,
        channel: &str,
        json: &str,
        line: &Line<'_>,
        now: DateTime<Utc>,
        out: &mut String,
    ) {
        match self.output {
            Output::Json => self.push_json(channel, json, out),
            Output::Raw => self.push_message(line, out),
            Output::Text => {
                self.push_channel(channel, out);
                if self.terminal && (line.cursor.is_none() || line.dropped.is_some()) {
                    self.push_marker(line, now, out);
                } else {
                    self.push_head(line, now, out);
                    self.push_message(line, out);
                }
            }
        }
        out.push('\n');
    }

    fn push_channel(&self, channel: &str, out: &mut String) {
        if self.column == 0 {
            return;
        }
        self.coloured(&paint(channel.as_bytes()), out, |out| self.push_text(channel, out));
        let blanks = self.column.saturating_sub(channel.chars().count());
        out.extend(std::iter::repeat_n(' ', blanks));
        out.push_str(" | ");
    }

    fn push_head(&self, line: &Line<'_>, now: DateTime<Utc>, out: &mut String) {
        let time = show(&line.time, self.timestamps, self.zone.as_ref(), now);
        let (source, procid) = (&line.source, &line.procid);
        let blank = if time.is_empty() { "" } else { " " };
        let colour = paint(format!("{source}[{procid}]").as_bytes());
        self.coloured(&colour, out, |out| self.push_text(&format!("{time}{blank}{source}[{procid}]:"), out));
        out.push(' ');
    }

    fn push_message(&self, line: &Line<'_>, out: &mut String) {
        let text = line.message.as_ref();
        if !self.colour {
            return self.push_text(text, out);
        }
        // 0 to 3 are errors, 4 is a warning, as all notices of losses are (RFC 5424, 6.2.1).
        let colour = match line.severity {
            Some(0..=3) => RED,
            Some(4) => YELLOW,
            _ => "",
        };
        out.push_str(colour);
        let mut done = 0;
        for (start, end) in self.matches(text) {
            if end <= done {
                continue;
            }
            let start = start.max(done);
            self.push_text(&text[done..start], out);
            out.push_str(REVERSE);
            self.push_text(&text[start..end], out);
            out.push_str(PLAIN);
            out.push_str(colour);
            done = end;
        }
        self.push_text(&text[done..], out);
        if !colour.is_empty() {
            out.push_str(PLAIN);
        }
    }

    /// Where a message stands out, in order; they may overlap.
    fn matches(&self, text: &str) -> Vec<(usize, usize)> {
        let found = self.highlight.iter().flat_map(|pattern| pattern.find_iter(text));
        let mut places: Vec<_> =
            found.filter(|found| !found.is_empty()).map(|found| (found.start(), found.end())).collect();
        places.sort_unstable();
        places
    }

    /// A loss of this tail's own, as a person cannot miss it.
    fn push_marker(&self, line: &Line<'_>, now: DateTime<Utc>, out: &mut String) {
        self.coloured(BOLD_YELLOW, out, |out| {
            out.push_str("── ");
            match line.dropped {
                Some(dropped) => {
                    let timestamps = match self.timestamps {
                        Timestamps::None | Timestamps::Relative => Timestamps::Full,
                        timestamps => timestamps,
                    };
                    let since = line.since.as_deref().unwrap_or(&line.time);
                    // What the notice adds behind its sentence: ` at_most=7 reason=crash`.
                    let facts = line.message.split_once(since).map_or("", |(_, facts)| facts);
                    let most = if facts.contains(" at_most=") { "at most " } else { "" };
                    let since = show(since, timestamps, self.zone.as_ref(), now);
                    let code = line.code.as_deref().unwrap_or("L11");
                    let messages = if dropped == 1 { "message" } else { "messages" };
                    let dropped = grouped(dropped);
                    let text = format!("{most}{dropped} {messages} dropped since {since} ({code}{facts})");
                    self.push_text(&text, out);
                }
                None => self.push_text(&line.message, out),
            }
            out.push_str(" ──");
        });
    }

    /// The JSON as it came, with the channel ahead of the rest, but for what a terminal would obey.
    fn push_json(&self, channel: &str, json: &str, out: &mut String) {
        let channel = serde_json::Value::from(channel);
        let mut own = format!("{{\"channel\":{channel}");
        let members = json.trim().strip_prefix('{').unwrap_or("}");
        if !members.trim_start().starts_with('}') {
            own.push(',');
        }
        own.push_str(members);
        if self.terminal { escape_json(&own, out) } else { out.push_str(&own) }
    }

    fn coloured(&self, colour: &str, out: &mut String, push: impl FnOnce(&mut String)) {
        if self.colour {
            out.push_str(colour);
        }
        push(out);
        if self.colour {
            out.push_str(PLAIN);
        }
    }

    /// Line breaks never pass; on a terminal no control character does.
    fn push_text(&self, text: &str, out: &mut String) {
        if self.terminal { escape(text, out) } else { escape_breaks(text, out) }
    }
}

/// The same name always has the same colour: FNV-1a, which is not seeded.
fn paint(name: &[u8]) -> String {
    let hash =
        name.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    format!("\x1b[{}m", COLOURS[(hash >> 16) as usize % COLOURS.len()])
}

/// `1,101`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests;
