//! `logplex-guard PIECE TIMES` does a fixed piece of the core's work so many times, on input that is the same each
//! time. `cargo xtask bench --guard` counts the instructions.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use chrono::DateTime;
use logplex_core::message::Form;
use logplex_core::shuttle::{Builder, Format};
use logplex_core::{Batch, Chunk, FrameLimit, Frames, Origin, Part, Policy, Ring, RingLimits};

/// A request's messages, and the bytes of each.
const MESSAGES: usize = 100;
const SIZE: usize = 200;

/// What a shuttle reads at once, in lines of [`SIZE`] bytes.
const FEED: usize = 64 * 1024;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [piece, times] = args.as_slice() else { bail!("usage: logplex-guard PIECE TIMES") };
    let times: usize = times.parse().with_context(|| format!("{times:?} is not a number"))?;
    let done = match piece.as_str() {
        "decode" => decode(times)?,
        "render" => render(times)?,
        "ring" => ring(times)?,
        "feed" => feed(times)?,
        _ => bail!("no piece of work is called {piece:?}"),
    };
    ensure!(done > 0, "{piece} did nothing");
    println!("{done}");
    Ok(())
}

fn body() -> Bytes {
    let head = "<190>1 2026-01-02T03:04:05.678901+00:00 host app web.1 - - ";
    let message = format!("{head}{}", "x".repeat(SIZE - head.len()));
    Frames::from_messages(vec![message; MESSAGES]).wire(0..MESSAGES)
}

fn origin() -> Origin<'static> {
    Origin {
        token_name: "app",
        token: "t.0f5c7e9a-1111-2222-3333-444444444444",
        form: Form::Any,
        limit: FrameLimit::MAX,
        now: DateTime::UNIX_EPOCH,
    }
}

/// Finds the frames and fields of a request; how many messages in all.
fn decode(times: usize) -> anyhow::Result<usize> {
    let (body, origin) = (body(), origin());
    let mut messages = 0;
    for _ in 0..times {
        messages += Batch::decode(black_box(&body), &origin)?.count();
    }
    Ok(messages)
}

/// Renders a request in the strict form; how many messages in all.
fn render(times: usize) -> anyhow::Result<usize> {
    let batch = Batch::decode(&body(), &origin())?;
    // Nobody holds the result, so each call renders anew.
    Ok((0..times).map(|_| black_box(&batch).strict_form().count()).sum())
}

/// Pushes a request into a ring that is full, takes as many messages, and settles them; how many were taken.
fn ring(times: usize) -> anyhow::Result<usize> {
    let batch: Arc<Batch> = Batch::decode(&body(), &origin())?.into();
    let policy = Policy { messages: MESSAGES, ..Policy::default() };
    let now = DateTime::UNIX_EPOCH;
    let mut ring = Ring::new(RingLimits::default());
    let mut messages = 0;
    while ring.ledger().dropped_total() == 0 {
        ring.push(Part::whole(batch.clone()), now);
    }
    for _ in 0..times {
        ring.push(Part::whole(black_box(&batch).clone()), now);
        let taken = ring.take(&policy);
        ring.deliver(taken.parts());
        messages += taken.messages();
        ring.push(Part::whole(batch.clone()), now);
    }
    Ok(messages)
}

/// Cuts what a shuttle reads into lines and frames them; how many lines in all.
///
/// The shuttle has been shut down: it counts the lines as lost where it would queue them, and no thread that ships
/// runs beside.
fn feed(times: usize) -> anyhow::Result<usize> {
    let guard = Builder::new("http://token:t@127.0.0.1:9/logs").start()?;
    let shuttle = guard.shuttle().clone();
    guard.shutdown(Duration::ZERO);
    let mut feeder = shuttle.feeder(Format::Raw);
    let line = format!("{}\n", "x".repeat(SIZE - 1));
    let read = &line.repeat(FEED / SIZE + 1)[..FEED];
    for _ in 0..times {
        feeder.feed(black_box(read.as_bytes()))?;
    }
    Ok(shuttle.stats().ledger.accepted() as usize)
}
