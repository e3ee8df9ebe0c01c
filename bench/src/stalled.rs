//! The memory of a server whose only drain stands still: everything that the bounds allow is held.

use anyhow::ensure;
use logplex_tests::Server;

use crate::frames::message_size;
use crate::load::Sent;
use crate::program::{Program, peak_rss, rss};
use crate::run::{Measure, without_history};
use crate::sink::Received;

/// A load and a drain that takes none of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stalled {
    /// Bytes of each line, the head of its message not counted.
    pub(crate) line: usize,
    /// How many are sent: several times what the ring holds of those that the drain keeps.
    pub(crate) messages: u64,
    /// Ends the drain's URL: nothing, or `#` and options.
    pub(crate) options: &'static str,
}

/// One of so many messages is from `keep.1`; a drain's options may keep those alone.
const KEEP_EVERY: u64 = 1000;

/// Messages a request, and producers.
const BATCH: usize = 100;
const CONNECTIONS: usize = 2;

/// MiB of what a load of seconds fills beside: the write buffer of the store, which has a checkpoint every 1,024
/// messages.
const LONG_LOAD: usize = 1;

impl Stalled {
    pub(crate) fn name(self) -> String {
        let Stalled { line, options, .. } = self;
        format!("{line} bytes{}{options}", if options.is_empty() { "" } else { ", " })
    }

    /// Whether the drain gets only what is from `keep.1`.
    fn is_filtered(self) -> bool {
        !self.options.is_empty()
    }

    /// How many bytes the server should hold at the most, as the report explains it.
    fn bound(self) -> usize {
        const KIB: usize = 1024;
        const MIB: usize = 1024 * KIB;
        // The octet count, and an entry of the batch's index.
        let message = message_size(self.line) + 6 + 16;
        let batch = BATCH * message;
        if self.is_filtered() {
            // Each kept message rests in a batch of its own: its place in the ring, the batch, its head, and its
            // allocations.
            let ring = (1024 * (message + 288)).min(16 * MIB);
            return ring + LONG_LOAD * MIB + 100 * KIB + 2 * batch + CONNECTIONS * (400 * KIB + batch);
        }
        // The oldest batch of a ring may be half dropped before it is copied.
        let ring = (1024 * message + batch).min(16 * MIB);
        let history = (1500 * message + batch).min(4 * MIB);
        // The request keeps the batches alive that it is made of, its first and last in part.
        let in_flight = 100 * KIB + 2 * batch;
        // A connection's read buffer, and the body that was read.
        let connections = CONNECTIONS * (400 * KIB + batch);
        ring + history + in_flight + connections
    }
}

/// Fills the ring, checks that the drain's ledger knows every message, and reads off the memory.
pub(crate) fn measure(stalled: Stalled) -> anyhow::Result<Measure> {
    const MIB: f64 = 1024.0 * 1024.0;
    let mut sink = Program::part(&["sink", "--stall"], &[])?;
    // A filtered drain's load takes seconds, in which the store of histories would fill its buffers.
    let options = if stalled.is_filtered() { without_history() } else { Server::options() };
    let server = options.start();
    let token = server.create_app("bench");
    let drain = server.add_drain("bench", &format!("http://{}/{}", sink.address()?, stalled.options));
    let idle = rss(server.id())?;
    let to = server.address().to_string();
    let size = message_size(stalled.line).to_string();
    let (messages, every) = (stalled.messages.to_string(), KEEP_EVERY.to_string());
    let (batch, connections) = (BATCH.to_string(), CONNECTIONS.to_string());
    #[rustfmt::skip]
    let args = [
        "load", &to, "--size", &size, "--messages", &messages, "--keep-every", &every,
        "--batch", &batch, "--connections", &connections,
    ];
    let sent: Sent = Program::part(&args, &[("BENCH_TOKEN", &token)])?.report()?;
    let for_drain = if stalled.is_filtered() { sent.kept } else { sent.messages };
    // Whoever was answered has been counted: there is nothing to wait for.
    let ledger = server.drain_ledger("bench", &drain);
    let received: Received = sink.ask()?;
    ensure!(received.messages == 0, "the sink was to take nothing: {received:?}");
    ensure!(ledger.held + ledger.gone() == for_drain, "{for_drain} sent to the drain, but {ledger:?}");
    ensure!(ledger.gone() > 0, "the ring is not full: {ledger:?}");
    Ok(Measure {
        rss: peak_rss(server.id())?,
        dropped: ledger.gone() as f64 * 100.0 / for_drain as f64,
        held: ledger.held as f64,
        memory: peak_rss(server.id())? - idle,
        bound: stalled.bound() as f64 / MIB,
        ..Measure::default()
    })
}
