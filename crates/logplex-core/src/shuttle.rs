//! The in-process shuttle: an app's lines go into a bounded queue and from there, in order, to a log router.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::io::Write;
//! let guard = logplex_core::init("http://token:t.123@127.0.0.1:8601/logs")?;
//! writeln!(guard.writer(), "hello")?;
//! # Ok(())
//! # }
//! ```
//!
//! | | |
//! |---|---|
//! | blocks the app | never; with [`Overflow::Block`] a writer, while the queue is full |
//! | drops | the oldest lines, when 25,000 lines or 16 MiB wait; told by `Error L12` in the log itself |
//! | loses | lines of a request that is given up; told by `Error L13` |
//! | retries | a request that got no answer, or 408, 425, 429, 5xx: for a minute, `Retry-After` obeyed |
//! | gives up at once | 3xx and other 4xx; 413 only once a request of a single line is too large |
//! | ends | [`Guard::shutdown`] ships for as long as it is given and reports; dropping the guard does for 5 s |
//! | needs | one thread of its own; no async runtime, and it minds none |
//!
//! A crash of the process loses what waits. The counts are those of [`Ledger`](crate::Ledger):
//! `accepted = delivered + dropped + lost + held` in every snapshot.
//!
//! It deliberately reads no environment, file or terminal, and joins no lines.

use std::cell::Cell;

mod builder;
mod feeder;
mod guard;
mod head;
mod load;
mod queue;
#[cfg(feature = "tracing")]
mod sender;
mod warn;
mod worker;

#[cfg(test)]
pub(crate) mod tests;

pub use builder::{Builder, StartError};
pub use feeder::{Feeder, Format, Writer};
pub use guard::{Guard, Report, Shuttle, Stats};
pub use head::{FieldError, Fields};
pub use queue::Overflow;
#[cfg(feature = "tracing")]
pub(crate) use sender::LineSender;

/// Starts a shuttle with the defaults; see [`Builder`] to choose. Keep the guard: dropping it ends the
/// shuttle.
///
/// # Errors
/// As [`Builder::start`].
pub fn init(url: impl Into<String>) -> Result<Guard, StartError> {
    Builder::new(url).start()
}

thread_local! {
    static IS_OWN_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// Marks the calling thread as one whose own log lines must not be shipped.
fn mark_own_thread() {
    IS_OWN_THREAD.set(true);
}

/// Whether the calling thread is one that ships lines: what it logs would beget more of the same.
#[cfg(feature = "tracing")]
pub(crate) fn is_own_thread() -> bool {
    IS_OWN_THREAD.get()
}
