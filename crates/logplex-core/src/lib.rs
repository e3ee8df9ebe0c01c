//! The parts of a log pipeline that never loses a line without a number that says so.
//!
//! * [`frame`]: octet-counted framing (RFC 6587, 3.4.1), [`Frames`]: many frames in one buffer.
//! * [`message`]: RFC 5424 heads, read and written without an allocation a message.
//! * [`Batch`]: messages that travel together, indexed once and shared.
//! * [`Filter`]: which messages a reader gets, decided before his ring.
//! * [`Ring`]: a bounded queue that drops its oldest messages; its [`Ledger`] counts every one of them.
//! * [`ErrorCode`]: the platform's codes (H12, R14, L10, …), found in its lines and explained.
//! * [`Notice`]: what a reader is told about a gap (L10, L11, L12, L13), rendered and parsed.
//!
//! The base has no HTTP, no files, no arguments and no clock of its own. Feature `client` adds the ordered
//! HTTP outlet and the in-process shuttle, `tracing` a layer over it, `child` the runner of a command.
//!
//! ```
//! use logplex_core::{Chunk, Frames, Part, Policy, Ring, RingLimits};
//!
//! let now = chrono::Utc::now();
//! let mut ring = Ring::new(RingLimits { messages: 2, ..RingLimits::default() });
//! let frames = Frames::from_messages(["<190>1 - a", "<190>1 - b", "<190>1 - c"]);
//! ring.push(Part::whole(frames.into()), now);
//!
//! // The oldest of three was pushed out of a ring of two, and the ledger says so.
//! let gap = ring.ledger_mut().take_gap(logplex_core::Teller::Reader).expect("one message was dropped");
//! assert_eq!((gap.dropped.count, gap.dropped.since), (1, Some(now)));
//! assert_eq!(ring.take(&Policy::default()).messages(), 2);
//! ```

pub mod buffer;
pub mod code;
pub mod frame;
pub mod message;
#[cfg(feature = "client")]
pub mod outlet;
#[cfg(feature = "client")]
pub mod shuttle;
#[cfg(feature = "client")]
pub mod timer;

#[cfg(feature = "child")]
pub mod child;
#[cfg(feature = "tracing")]
pub mod layer;

mod batch;
mod chain;
mod chunk;
mod filter;
mod foreign;
mod ledger;
mod notice;
mod ring;

pub use batch::{Batch, BatchError, Lines, Origin, cut_point};
pub use chain::Chain;
pub use chunk::{Chunk, Part, halve};
pub use code::ErrorCode;
pub use filter::Filter;
#[cfg(feature = "grep")]
pub use filter::Pattern;
pub use frame::{FrameError, FrameLimit, Frames};
pub use ledger::{DropReason, Gap, Ledger, LossReason, Tally, Teller};
pub use message::Message;
pub use notice::{Code, Notice, certificate_message, channel_message};
pub use ring::{Policy, Ring, RingLimits, Taken};
#[cfg(feature = "client")]
pub use shuttle::init;
