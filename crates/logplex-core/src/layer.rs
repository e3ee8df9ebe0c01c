//! A `tracing` layer over the shuttle: every event becomes a line.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use tracing_subscriber::prelude::*;
//! let guard = logplex_core::init("http://token:t.123@127.0.0.1:8601/logs")?;
//! tracing_subscriber::registry().with(logplex_core::layer::Layer::new(guard.shuttle())).init();
//! tracing::info!(user = 7, "signed in");
//! # Ok(())
//! # }
//! ```
//!
//! A line is `LEVEL target: message key=value …`, first the event's fields, then those of its spans from the
//! outermost in, as logfmt; PRI has the level's severity. A message of several lines stays in one frame with
//! its newlines; other control characters, and in fields newlines too, are written as `\n` and the like.
//!
//! Never blocks but with [`Overflow::Block`](crate::shuttle::Overflow::Block). What the shipping thread
//! itself logs is not shipped: every request would beget another.

use std::cell::RefCell;
use std::fmt;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::shuttle::{Fields, LineSender, Shuttle, is_own_thread};

#[cfg(test)]
mod tests;

/// Ships events. See the module's text.
#[derive(Debug)]
pub struct Layer {
    /// One a level, from ERROR to TRACE: its PRI is part of its rendered head.
    senders: [LineSender; 5],
}

impl Layer {
    /// A layer that ships through `shuttle`, with its header fields but for the severity.
    pub fn new(shuttle: &Shuttle) -> Layer {
        // RFC 5424, 6.2.1: err, warning, informational, debug; there is nothing below debug.
        let senders = [3, 4, 6, 7, 7].map(|severity| {
            let fields = shuttle.fields().clone();
            let pri = (fields.pri & !7) | severity;
            let shuttle = shuttle.with_fields(Fields { pri, ..fields }).expect("only the severity differs");
            shuttle.line_sender()
        });
        Layer { senders }
    }

    fn sender(&self, level: Level) -> &LineSender {
        let index = match level {
            Level::ERROR => 0,
            Level::WARN => 1,
            Level::INFO => 2,
            Level::DEBUG => 3,
            Level::TRACE => 4,
        };
        &self.senders[index]
    }
}

/// A span's fields, rendered once: ` key=value key=value`.
struct SpanFields(String);

impl<S: Subscriber + for<'a> LookupSpan<'a>> tracing_subscriber::Layer<S> for Layer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut line = Line::default();
        attributes.record(&mut line);
        span.extensions_mut().insert(SpanFields(line.fields));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(SpanFields(fields)) = span.extensions_mut().get_mut() {
            let mut line = Line { fields: std::mem::take(fields), ..Line::default() };
            values.record(&mut line);
            *fields = line.fields;
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if is_own_thread() {
            return;
        }
        let metadata = event.metadata();
        LINE.with(|line| {
            // A value whose `Debug` logs comes here while its line is being rendered: it gets its own.
            let mut own = Line::default();
            let mut kept = line.try_borrow_mut();
            let line = kept.as_deref_mut().unwrap_or(&mut own);
            line.clear();
            event.record(line);
            for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
                if let Some(SpanFields(fields)) = span.extensions().get() {
                    line.fields.push_str(fields);
                }
            }
            line.finish(metadata.level(), metadata.target());
            self.sender(*metadata.level()).send(line.whole.as_bytes());
        });
    }
}

thread_local! {
    static LINE: RefCell<Line> = RefCell::default();
}

/// One event as it is rendered.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
    whole: String,
}

impl Line {
    fn clear(&mut self) {
        self.message.clear();
        self.fields.clear();
        self.whole.clear();
    }

    fn finish(&mut self, level: &Level, target: &str) {
        use fmt::Write;
        write!(self.whole, "{level} {target}: {}", self.message).expect("a string takes all");
        let fields = if self.message.is_empty() { self.fields.trim_start() } else { &self.fields };
        self.whole.push_str(fields);
        self.whole.push('\n');
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        // What the `log` bridge adds is in the metadata already.
        if field.name().starts_with("log.") {
            return;
        }
        if field.name() == "message" {
            push_escaped(value, Place::Message, &mut self.message);
            return;
        }
        push_key(field, &mut self.fields);
        let is_word = !value.is_empty() && !value.contains([' ', '"', '=', '\\']);
        if is_word && !value.chars().any(char::is_control) {
            self.fields.push_str(value);
        } else {
            self.fields.push('"');
            push_escaped(value, Place::Field, &mut self.fields);
            self.fields.push('"');
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_str(field, &crate::Chain(value).to_string());
    }
}

fn push_key(field: &Field, out: &mut String) {
    out.push(' ');
    out.push_str(field.name());
    out.push('=');
}

/// Where a text goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Message,
    Field,
}

fn push_escaped(text: &str, place: Place, out: &mut String) {
    for c in text.chars() {
        match (c, place) {
            ('\n' | '\t', Place::Message) => out.push(c),
            ('"' | '\\', Place::Field) => out.extend(['\\', c]),
            _ if c.is_control() => out.extend(c.escape_default()),
            _ => out.push(c),
        }
    }
}
