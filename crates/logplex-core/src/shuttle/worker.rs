//! The thread that ships: takes what waits, posts it, settles the ledger.
//!
//! One request is in flight at a time, so order is kept, retries included, and while one is in flight the
//! queue collects: requests grow with load by themselves. A lone line after a pause leaves at once; after
//! that a request starts at most once a `pace`, unless a whole one is ready.
//!
//! A gap is told at the head of the next request, but at most once a second; what went within that second is
//! told with the first request after it, or alone if nothing waits. `flush` and shutdown tell at once. If the
//! carrier is given up its gap goes back into the ledger. A notice that was given up alone is tried again
//! after 1, 2, 4, … 60 s: a peer that refuses everything must not be hammered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::Utc;
use crossbeam_channel::{Receiver, Sender, TryRecvError, never, select};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::load::Form;
use super::queue::{Load, Queue, WakeOn};
use super::warn::Warnings;
use crate::outlet::{GivenUp, Outlet};
use crate::{Frames, Gap, LossReason, Part, Policy, halve};

/// Gaps this close to the last notice are merged.
const TELLING_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause between notices that nobody takes.
const LONGEST_TELLING_PAUSE: Duration = Duration::from_secs(60);

/// What the thread is asked to do.
#[derive(Debug)]
pub(super) enum Order {
    /// Ship all that was accepted before `target` lines were, and tell what is untold; then answer whether
    /// nothing is untold.
    Flush { target: u64, reply: Sender<bool> },
    /// Ship what can be shipped, starting no request of lines after `last_send`, then end: by the stop
    /// instant. What lies between the two is for telling what could not be sent.
    Stop { last_send: Instant },
}

impl Order {
    /// What it means that nobody is left to give orders.
    fn stop_now() -> Order {
        Order::Stop { last_send: Instant::now() }
    }
}

/// Counts of requests, for statistics.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) posts: AtomicU64,
    pub(super) attempts: AtomicU64,
    pub(super) bytes: AtomicU64,
}

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) queue: Arc<Queue>,
    pub(super) counts: Arc<Counts>,
    pub(super) outlet: Outlet,
    pub(super) runtime: Runtime,
    pub(super) form: Form,
    pub(super) batch: Policy,
    /// The size of a request now: the batch's, but less after the peer found one too large.
    pub(super) size: usize,
    pub(super) pace: Duration,
    pub(super) wake: Receiver<()>,
    pub(super) orders: Receiver<Order>,
    pub(super) stop: watch::Receiver<Option<tokio::time::Instant>>,
    pub(super) warnings: Warnings,
    pub(super) telling: Telling,
}

/// When the next notice may be sent.
#[derive(Debug)]
pub(super) struct Telling {
    not_before: Option<Instant>,
    failures: u32,
}

impl Telling {
    pub(super) const fn new() -> Telling {
        Telling { not_before: None, failures: 0 }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|at| at <= now)
    }

    /// A notice was sent.
    fn settle(&mut self, delivered: bool, now: Instant) {
        self.failures = if delivered { 0 } else { self.failures.saturating_add(1) };
        let pause = TELLING_PAUSE * (1 << self.failures.saturating_sub(1).min(6));
        self.not_before = Some(now + pause.min(LONGEST_TELLING_PAUSE));
    }
}

/// What to do next.
enum Next {
    Send,
    Tell,
    Order(Order),
}

impl Worker {
    /// Works until it is told to stop or nobody is left to tell it anything.
    pub(super) fn run(mut self) {
        let mut started = None;
        loop {
            match self.next(started) {
                Next::Send => {
                    let now = Instant::now();
                    started = Some(now);
                    let tell = self.telling.is_due(now);
                    self.send(tell);
                }
                Next::Tell => self.tell(),
                Next::Order(Order::Flush { target, reply }) => {
                    let told = self.flush(target);
                    // Whoever asked may have given up waiting.
                    reply.send(told).ok();
                }
                Next::Order(Order::Stop { last_send }) => break self.finish(last_send),
            }
        }
        // A look-up of a name that hangs must not hold up the end.
        self.runtime.shutdown_background();
    }

    /// Waits for something to do. `started` is when the last request was.
    fn next(&self, started: Option<Instant>) -> Next {
        loop {
            // Orders first: under load there is always something to send.
            match self.orders.try_recv() {
                Err(TryRecvError::Empty) => {}
                order => return Next::Order(order.unwrap_or_else(|_| Order::stop_now())),
            }
            let waiting = self.queue.look(WakeOn::Line);
            let now = Instant::now();
            let mut until = None;
            if waiting.lines > 0 {
                let due = started.map(|at| at + self.pace).filter(|&due| now < due && !waiting.is_full);
                // Look again with the other wake-up in force: lines may have come in between.
                if due.is_none() || self.queue.look(WakeOn::FullBatch).is_full {
                    return Next::Send;
                }
                until = due;
            } else if waiting.untold {
                match self.telling.not_before.filter(|&at| now < at) {
                    None => return Next::Tell,
                    at => until = at,
                }
            }
            let timer = until.map_or_else(never, crossbeam_channel::at);
            select! {
                recv(self.orders) -> order => {
                    return Next::Order(order.unwrap_or_else(|_| Order::stop_now()));
                }
                recv(self.wake) -> _ => {}
                recv(timer) -> _ => {}
            }
        }
    }

    /// Sends one request of what waits.
    fn send(&mut self, tell: bool) {
        let policy = Policy { bytes: self.size, ..self.batch };
        let Load { taken, gap } = self.queue.take(&policy, tell, Utc::now());
        self.post(taken.into_parts(), gap);
    }

    /// Sends a notice alone.
    fn tell(&mut self) {
        let gap = self.queue.take_gap();
        self.post(Vec::new(), gap);
    }

    fn flush(&mut self, target: u64) -> bool {
        while self.queue.progress().1 < target && !self.is_stopping() {
            self.send(true);
        }
        if self.queue.look(WakeOn::Nothing).untold && !self.is_stopping() {
            self.tell();
        }
        !self.queue.look(WakeOn::Nothing).untold
    }

    fn is_stopping(&self) -> bool {
        self.stop.borrow().is_some()
    }

    /// The end: ships what it can, gives up the rest, tells that.
    fn finish(&mut self, last_send: Instant) {
        while self.queue.look(WakeOn::Nothing).lines > 0 && Instant::now() < last_send {
            self.send(true);
        }
        self.queue.lose_rest(Utc::now());
        if self.queue.look(WakeOn::Nothing).untold {
            // No attempt is made if the stop instant has come.
            self.tell();
        }
    }

    /// Posts lines and notices and settles them. A request that is too large for the peer is cut in two.
    fn post(&mut self, parts: Vec<Part<Frames>>, gap: Option<Gap>) {
        let lines: usize = parts.iter().map(Part::messages).sum();
        if lines == 0 && gap.is_none() {
            return;
        }
        let request = self.form.request(&parts, gap.as_ref(), Utc::now());
        match self.deliver(&request) {
            Ok(()) => {
                self.queue.delivered(&parts);
                // Back to the full size by and by: one large line may have been all that was too large.
                self.size = (self.size + self.size / 16 + 1).min(self.batch.bytes);
                if let Some(gap) = &gap {
                    self.telling.settle(true, Instant::now());
                    self.warnings.told(gap);
                }
            }
            Err(given_up) if given_up.reason == LossReason::TooLarge && lines > 1 => {
                let size: usize = parts.iter().map(Part::size).sum();
                self.size = (size / 2).max(1);
                let (first, second) = halve(parts, lines / 2);
                self.post(first, gap);
                self.post(second, None);
            }
            Err(given_up) => {
                self.warnings.given_up(lines, &given_up);
                if gap.is_some() {
                    self.telling.settle(false, Instant::now());
                }
                self.queue.lost(&parts, given_up.reason, gap, Utc::now());
            }
        }
    }

    fn deliver(&mut self, request: &crate::outlet::Request) -> Result<(), GivenUp> {
        let Worker { runtime, outlet, stop, warnings, counts, .. } = self;
        let result = runtime.block_on(outlet.deliver(request, stop, |attempt| {
            counts.attempts.fetch_add(1, Ordering::Relaxed);
            warnings.attempt(request, &attempt);
        }));
        counts.posts.fetch_add(1, Ordering::Relaxed);
        counts.bytes.fetch_add(request.body_len() as u64, Ordering::Relaxed);
        result.map(drop)
    }
}
