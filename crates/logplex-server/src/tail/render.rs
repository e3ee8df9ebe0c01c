//! How messages are written to a tail: as lines or as JSON, each alone or as an event of a stream of events.

use std::fmt::Write;
use std::sync::Arc;

use chrono::Utc;
use logplex_core::{Batch, Chunk, Gap, Lines, Notice, Part};
use serde_json::{Value, json};

/// A piece holds at most this, but for a single longer line.
const PIECE_MAX: usize = 256 * 1024;

/// How a line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// `TIME SOURCE[PROCID]: MSG`.
    #[default]
    Text,
    /// One JSON object, with the message's cursor.
    Json,
}

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) format: Format,
    /// Whether each line is an event with its cursor for an id (Server-Sent Events), or just a line.
    pub(crate) events: bool,
}

/// Lines on their way out.
#[derive(Debug)]
pub(super) struct Page {
    form: Form,
    /// `EPOCH-`, what all cursors of a channel begin with.
    prefix: String,
    pieces: Vec<String>,
    piece: String,
    line: String,
    /// What others may take over as long as this is here, see [`Page::forget`].
    shared: Vec<Arc<Lines>>,
}

impl Page {
    pub(super) fn new(form: Form, epoch: u64) -> Page {
        let prefix = format!("{epoch:016x}-");
        let (piece, line) = Default::default();
        Page { form, prefix, pieces: Vec::new(), piece, line, shared: Vec::new() }
    }

    /// All that was written since the last time; no piece but for a longer line has more than 256 KiB.
    pub(super) fn take(&mut self) -> Vec<String> {
        if !self.piece.is_empty() {
            self.pieces.push(std::mem::take(&mut self.piece));
        }
        std::mem::take(&mut self.pieces)
    }

    /// Writes the parts that were taken at once. What was shared of those before is not needed any more.
    pub(super) fn write_parts(&mut self, parts: &[Part<Batch>]) {
        let before = std::mem::take(&mut self.shared);
        for part in parts {
            let batch = part.chunk();
            // All readers of a channel that show lines show the same ones, unless little is left of a batch for this one.
            let shares = self.form == Form::default() && part.size() * 2 > batch.size(0..batch.count());
            if !shares {
                self.write_part(part);
                continue;
            }
            let lines = batch.lines();
            let text = lines.of(part.range());
            if self.piece.len() + text.len() <= PIECE_MAX {
                self.piece.push_str(text);
            } else {
                part.range().for_each(|index| self.push(lines.of(index..index + 1)));
            }
            self.shared.push(lines);
        }
        drop(before);
    }

    /// Nothing came for a while: whoever was to share what was written last has done so.
    pub(super) fn forget(&mut self) {
        self.shared = Vec::new();
    }

    pub(super) fn write_part(&mut self, part: &Part<Batch>) {
        let batch = part.chunk();
        for index in part.range() {
            self.begin(Some(part.first_sequence() + batch.ordinal(index)));
            match self.form.format {
                Format::Text => batch.write_line(index, &mut self.line),
                Format::Json => {
                    let value = self.message_json(part, index);
                    self.push_json(&value);
                }
            }
            self.end();
        }
    }

    /// A loss. `before` is the number of the message that follows it: who has read the notice has read all ahead of
    /// that one.
    pub(super) fn write_gap(&mut self, gap: &Gap, exact: bool, before: Option<u64>) {
        let Some(mut notice) = Notice::l11(gap) else { return };
        if !exact {
            let most = notice.count.to_string();
            notice = notice.with_fact("at_most", &most);
        }
        let since = notice.time(notice.since);
        let facts = json!({ "code": "L11", "dropped": notice.count, "since": since });
        self.write_own(&notice.to_string(), facts, before.and_then(|number| number.checked_sub(1)));
    }

    /// A word on the past that cannot be shown.
    pub(super) fn write_unavailable(&mut self, what: &str) {
        let text = format!("L15 (Tail buffer temporarily unavailable) -> {what}");
        self.write_own(&text, json!({ "code": "L15" }), None);
    }

    fn write_own(&mut self, text: &str, facts: Value, seen: Option<u64>) {
        let time = Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, false);
        self.begin(seen);
        match self.form.format {
            Format::Text => {
                self.line.push_str(&format!("{time} heroku[logplex]: {text}\n"));
            }
            Format::Json => {
                let mut value = json!({
                    "time": time, "source": "heroku", "procid": "logplex", "severity": 4, "message": text,
                });
                if let (Value::Object(value), Value::Object(facts)) = (&mut value, facts) {
                    value.extend(facts);
                }
                self.push_json(&value);
            }
        }
        self.end();
    }

    fn begin(&mut self, seen: Option<u64>) {
        if !self.form.events {
            return;
        }
        if let Some(sequence) = seen {
            for piece in ["id: ", &self.prefix, itoa::Buffer::new().format(sequence), "\n"] {
                self.line.push_str(piece);
            }
        }
        self.line.push_str("data: ");
    }

    fn end(&mut self) {
        if self.form.events {
            self.line.push('\n');
        }
        let mut line = std::mem::take(&mut self.line);
        self.push(&line);
        line.clear();
        self.line = line;
    }

    fn push(&mut self, line: &str) {
        if !self.piece.is_empty() && self.piece.len() + line.len() > PIECE_MAX {
            self.pieces.push(std::mem::take(&mut self.piece));
        }
        self.piece.push_str(line);
    }

    fn message_json(&self, part: &Part<Batch>, index: usize) -> Value {
        let batch = part.chunk();
        let message = batch.message(index);
        let sequence = part.first_sequence() + batch.ordinal(index);
        let text = String::from_utf8_lossy(message.text);
        let mut value = json!({
            "cursor": format!("{}{sequence}", self.prefix),
            "time": message.time,
            "source": batch.source(index),
            "procid": message.procid,
            "severity": message.severity(),
            "message": text.strip_suffix('\n').unwrap_or(&text),
        });
        if let Some(code) = batch.code(index) {
            value["code"] = code.as_str().into();
        }
        value
    }

    fn push_json(&mut self, value: &Value) {
        // Writing to a string cannot fail.
        writeln!(self.line, "{value}").ok();
    }
}
