//! The harness of the end-to-end tests: starts the real binaries on loopback, plays their peers, and judges.
//!
//! **An independent judge.** Frames, notices, metrics and HTTP are read here by code of its own, never by the
//! library under test: a mistake that encoder and decoder share would otherwise judge itself correct. For the same
//! reason this is plain blocking `std`, one thread a connection.
//!
//! **Nothing is slept for.** Every wait polls a state with a deadline and panics naming what did not come
//! ([`wait_for`]). Peers are held and released by the test ([`Sink::gate`], [`Tail::pause`]), not by timers.
//!
//! **Nothing is left behind.** Processes are killed by their id, listeners closed and folders removed when their
//! handle is dropped, also when the test panics.

mod wait;
mod wire;

mod client;
mod frame;
mod listening;
mod metrics;
mod told;

mod binary;
mod browser;
mod heroku;
mod nginx;
mod page;
mod process;
mod program;
mod relay;
mod rsyslog;
mod scripted;
mod server;
mod shuttle;
mod sink;
mod stream;
mod syslog;
mod syslog_sink;
mod tail;
mod terminal;

mod conservation;

pub use binary::binary;
pub use browser::Browser;
pub use client::{Connection, Response, basic, request};
pub use conservation::{conservation, conservation_within};
pub use frame::{
    Form, Received, encode, frame, numbered_frames, numbers, padded_frames, shuttles_notice, split_frames,
};
pub use heroku::Heroku;
pub use metrics::Metrics;
pub use nginx::Nginx;
pub use nix::sys::signal::Signal;
pub use page::Page;
pub use program::{Ended, Program};
pub use relay::Relay;
pub use rsyslog::Rsyslog;
pub use scripted::scripted;
pub use server::{API_KEY, Drain, LedgerSeen, Server, ServerOptions};
pub use shuttle::{Shuttle, ShuttleOptions};
pub use sink::{Answer, Gate, Outcome, Request, Sink};
pub use stream::{Event, Stream, StreamEnd};
pub use syslog::{SyslogSender, rfc3164, rfc5424};
pub use syslog_sink::SyslogSink;
pub use tail::{Tail, TailLine};
pub use terminal::Terminal;
pub use told::{Code, Told, notices, told_sum};
pub use wait::{DEADLINE, poll_until, wait_for, wait_until};
pub use wire::Headers;
