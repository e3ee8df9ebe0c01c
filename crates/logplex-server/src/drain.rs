//! A drain: a destination, the ring of what it has yet to get, and the worker that sends.
//!
//! The worker exists only while there is work or an idle connection worth keeping. It takes what is there, up
//! to the target size, and sends at once; while its request is in flight the ring collects, so that
//! batches grow with the load by themselves. What is in flight is outside the ring: a stalled http drain holds at
//! most one request and 1,024 messages, a syslog drain what its outlet's window has room for instead of the one.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use http::StatusCode;
use logplex_core::outlet::{Attempt, AttemptError, OutletConfig, ProbeStep, probe};
use logplex_core::{
    Batch, Chain, LossReason, Notice, Part, Policy, RingLimits, Teller, certificate_message, channel_message,
};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::destination::Destination;
use crate::mailbox::{Found, Mailbox, lock};
use crate::sender::{self, Load, Sender};
use crate::tasks::{Tasks, sleep_until};

mod health;
mod status;

use health::Health;
pub(crate) use status::DrainStatus;
use status::State;

/// After a notice, gaps of this long are merged into the next one.
const NOTICE_INTERVAL: Duration = Duration::from_secs(1);

/// The copies of a drain's notices on its channel are at least this far apart.
const COPY_INTERVAL: Duration = Duration::from_secs(10);

/// How long a worker without work keeps its connection.
const IDLE: Duration = Duration::from_secs(55);

/// What all drains share.
#[derive(Debug)]
pub(crate) struct DrainContext {
    pub(crate) tasks: Tasks,
    pub(crate) ring: RingLimits,
    pub(crate) outlet: OutletConfig,
    pub(crate) insecure_outlet: OutletConfig,
    /// For drains with `ca=NAME`: trusts that bundle besides the platform's roots.
    pub(crate) ca_outlets: HashMap<String, OutletConfig>,
    /// The pause before a quarantined drain's first probe.
    pub(crate) probe_after: Duration,
}

impl DrainContext {
    /// How to reach a destination: whom to trust, above all.
    pub(crate) fn outlet(&self, destination: &Destination) -> OutletConfig {
        match &destination.ca {
            _ if destination.insecure => self.insecure_outlet.clone(),
            None => self.outlet.clone(),
            // A bundle that is no longer configured: nobody is trusted, and the status says so.
            Some(name) => self
                .ca_outlets
                .get(name)
                .cloned()
                .unwrap_or_else(|| OutletConfig { tls: None, ..self.outlet.clone() }),
        }
    }
}

/// What is wrong with a destination's certificate, until the channel is told.
#[derive(Debug, Default)]
struct CertificateTrouble {
    untold: Option<String>,
    told_at: Option<Instant>,
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Drain {
    pub(crate) id: u64,
    pub(crate) token: String,
    pub(crate) mailbox: Mailbox,
    destination: Mutex<Arc<Destination>>,
    /// Rung when the destination changed.
    redirected: Notify,
    health: Mutex<Health>,
    /// Set when what is untold must go ahead of everything, however young the last notice is.
    tell_first: AtomicBool,
    working: AtomicBool,
    removed: AtomicBool,
    /// Set when the worker has ended for good.
    ended: AtomicBool,
    copied_at: Mutex<Option<Instant>>,
    certificate: Mutex<CertificateTrouble>,
    stop: watch::Sender<Option<Instant>>,
    context: Arc<DrainContext>,
}

enum Next {
    Send(Load),
    /// Nothing to do before this instant, if ever.
    Wait(Option<Instant>),
}

impl Drain {
    pub(crate) fn new(
        id: u64,
        token: &str,
        destination: Destination,
        context: Arc<DrainContext>,
    ) -> Arc<Drain> {
        Arc::new(Drain {
            id,
            token: token.to_owned(),
            mailbox: Mailbox::new(context.ring),
            destination: Mutex::new(Arc::new(destination)),
            redirected: Notify::new(),
            health: Mutex::new(Health::new(token, context.probe_after)),
            tell_first: AtomicBool::new(false),
            working: AtomicBool::new(false),
            removed: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            copied_at: Mutex::new(None),
            certificate: Mutex::default(),
            stop: watch::Sender::new(None),
            context,
        })
    }

    /// Hands over the messages that the drain's filter keeps. Never waits.
    pub(crate) fn push(self: &Arc<Drain>, part: &Part<Batch>, now: DateTime<Utc>) {
        let Some(kept) = self.destination().filter.apply(part) else { return };
        if self.mailbox.push(kept, false, now) {
            self.start();
        }
    }

    /// Makes sure that a worker looks at the ring.
    pub(crate) fn start(self: &Arc<Drain>) {
        if !self.working.swap(true, Ordering::SeqCst) {
            let drain = self.clone();
            self.context.tasks.spawn(|_stopped_by_deadline| drain.work());
        }
    }

    /// Sends to another place from now on; what is held stays held, a request under way is sent anew.
    pub(crate) fn redirect(&self, destination: Destination) {
        *lock(&self.destination) = Arc::new(destination);
        lock(&self.health).forgive("its URL was set");
        self.tell_first.store(true, Ordering::SeqCst);
        // The worker sends or waits.
        self.redirected.notify_one();
        self.mailbox.poke();
    }

    /// Sends nothing more after the request under way; the ring collects and drops its oldest.
    pub(crate) fn pause(&self) {
        self.mailbox.set_paused(true);
    }

    /// Sends again, also out of quarantine; what went meanwhile is told first.
    pub(crate) fn resume(self: &Arc<Drain>) {
        lock(&self.health).forgive("it was resumed");
        self.tell_first.store(true, Ordering::SeqCst);
        self.mailbox.set_paused(false);
        self.start();
    }

    /// Where this drain sends.
    pub(crate) fn destination(&self) -> Arc<Destination> {
        lock(&self.destination).clone()
    }

    /// Sends what is held until `deadline`, or an earlier one given before, then counts the rest as lost and
    /// ends. One that is paused or in quarantine sends nothing.
    pub(crate) fn stop(self: &Arc<Drain>, deadline: Instant) {
        self.stop.send_modify(|at| *at = Some(at.map_or(deadline, |at| at.min(deadline))));
        self.mailbox.poke();
        self.start();
    }

    /// As [`Drain::stop`], for good: nobody will be told of the rest but the channel.
    pub(crate) fn remove(self: &Arc<Drain>, deadline: Instant) {
        self.removed.store(true, Ordering::SeqCst);
        self.stop(deadline);
    }

    /// Whether a drain that was told to stop has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// Whether every message was delivered or told.
    pub(crate) fn is_settled(&self) -> bool {
        let ledger = self.mailbox.ledger();
        let told = |teller| ledger.gap(teller).is_empty();
        ledger.held() == 0 && told(Teller::Reader) && told(Teller::Channel) && lock(&self.health).is_told()
    }

    /// What the channel is to be told of this drain now, as messages: how it fares, what it missed, and what is
    /// wrong with its destination's certificate.
    pub(crate) fn words_for_channel(&self, at_once: bool, now: DateTime<Utc>) -> Vec<Vec<u8>> {
        let lines = lock(&self.health).take_lines();
        let mut words: Vec<Vec<u8>> = lines.iter().map(|line| channel_message(line, now)).collect();
        words.extend(self.notice_for_channel(at_once).map(|notice| notice.message("heroku", now)));
        words.extend(self.certificate_for_channel(now));
        words
    }

    fn certificate_for_channel(&self, now: DateTime<Utc>) -> Option<Vec<u8>> {
        let mut certificate = lock(&self.certificate);
        if certificate.told_at.is_some_and(|at| at.elapsed() < COPY_INTERVAL) {
            return None;
        }
        let error = certificate.untold.take()?;
        certificate.told_at = Some(Instant::now());
        Some(certificate_message(&error, &self.destination().endpoint.to_string(), now))
    }

    /// The copy for the channel of what this drain missed, if one is due. A drain that is paused or in
    /// quarantine drops for as long as that lasts, so the copy is made when it ends.
    fn notice_for_channel(&self, at_once: bool) -> Option<Notice> {
        let resting = matches!(self.state(), State::Paused | State::Quarantined);
        let mut copied_at = lock(&self.copied_at);
        let due = !resting && copied_at.is_none_or(|at| at.elapsed() >= COPY_INTERVAL);
        let gap = self.mailbox.with_ledger(|ledger| ledger.take_gap_if(Teller::Channel, due || at_once))?;
        *copied_at = Some(Instant::now());
        Some(Notice::l10(&gap)?.with_fact("drain", &self.token))
    }

    fn sender(&self) -> Sender {
        let destination = self.destination();
        let config = self.context.outlet(&destination);
        Sender::new(&self.token, destination, config)
    }

    /// Whether `destination` is where the drain sends now.
    fn sends_to(&self, destination: &Arc<Destination>) -> bool {
        Arc::ptr_eq(&lock(&self.destination), destination)
    }

    /// Sends to where the drain sends now, if the sender does not.
    fn redirect_sender(&self, sender: &mut Sender) {
        if !self.sends_to(sender.destination()) {
            let destination = self.destination();
            let config = self.context.outlet(&destination);
            sender.redirect(destination, config, self);
        }
    }

    /// Waits until the drain sends elsewhere than to `destination`. Cancel safe.
    async fn leaves(&self, destination: &Arc<Destination>) {
        while self.sends_to(destination) {
            self.redirected.notified().await;
        }
    }

    async fn work(self: Arc<Drain>) {
        let mut stop = self.stop.subscribe();
        let mut sender = self.sender();
        let mut told_at: Option<Instant> = None;
        // When there was something to do last. The timer stays as it is meanwhile, for setting it costs more than to
        // look when it rings.
        let mut busy_at = Instant::now();
        let idle = tokio::time::sleep_until(busy_at + IDLE);
        tokio::pin!(idle);
        loop {
            self.redirect_sender(&mut sender);
            sender.settle(&self);
            while sender.must_send() {
                let destination = sender.destination().clone();
                tokio::select! {
                    biased;
                    () = sender.send(&self, &mut stop) => {}
                    () = self.leaves(&destination) => self.redirect_sender(&mut sender),
                }
                busy_at = Instant::now();
            }
            let deadline = *stop.borrow_and_update();
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                break;
            }
            match self.next(told_at, deadline.is_some(), &sender) {
                Next::Send(load) => {
                    if load.gap.is_some() {
                        told_at = Some(Instant::now());
                    }
                    sender.push(load);
                }
                Next::Wait(_) if deadline.is_some() => break,
                Next::Wait(until) => {
                    // Who redirects, pauses, resumes or stops the drain pokes, too.
                    tokio::select! {
                        biased;
                        () = self.mailbox.readable() => {}
                        () = sender.tend() => {}
                        () = sleep_until(until) => {}
                        () = idle.as_mut(), if until.is_none() => {
                            if busy_at.elapsed() < IDLE {
                                idle.as_mut().reset(busy_at + IDLE);
                                continue;
                            }
                            // Nothing came for long: give the connection and this task back. Who pushes from
                            // here on starts another; who pushed just before is seen by the second look.
                            self.working.store(false, Ordering::SeqCst);
                            let idle = self.mailbox.is_idle() && stop.borrow().is_none();
                            if idle || self.working.swap(true, Ordering::SeqCst) {
                                return;
                            }
                            busy_at = Instant::now();
                        }
                    }
                }
            }
        }
        sender.finish(&self, &mut stop).await;
        self.mailbox.lose_all(self.reason_to_stop(), Utc::now());
        if self.removed.load(Ordering::SeqCst) {
            let lost = self.mailbox.ledger().gap(Teller::Reader).total();
            info!(drain = self.token, untold = lost, "drain removed");
        }
        self.ended.store(true, Ordering::SeqCst);
    }

    fn reason_to_stop(&self) -> LossReason {
        if self.removed.load(Ordering::SeqCst) { LossReason::Closed } else { LossReason::Stopped }
    }

    /// Sends one marked line over a connection of its own, past the ring and its counts; what each step came to.
    pub(crate) async fn test(&self) -> Vec<ProbeStep> {
        let destination = self.destination();
        let line = channel_message("Test of this drain, sent on demand.", Utc::now());
        let Some(request) = sender::marked(&self.token, &destination, &line) else { return Vec::new() };
        probe(&destination.endpoint, &self.context.outlet(&destination), &request).await
    }

    /// What to do now. A notice goes ahead of the first surviving message; within a second of the last one,
    /// gaps are merged, and told alone if nothing else waits then. A stop tells at once.
    fn next(&self, told_at: Option<Instant>, stopping: bool, sender: &Sender) -> Next {
        let probe_at = lock(&self.health).probe_at();
        let (taken, gap) = match probe_at {
            Some(at) if stopping || Instant::now() < at => return Next::Wait(Some(at)),
            Some(_) => match self.mailbox.take_probe() {
                Some(probe) => probe,
                None => return Next::Wait(None),
            },
            None => {
                let due_at = told_at.map(|at| at + NOTICE_INTERVAL);
                let ordered = self.tell_first.load(Ordering::SeqCst);
                let due = stopping || ordered || due_at.is_none_or(|at| Instant::now() >= at);
                let batch = self.destination().batch.map_or(usize::MAX, NonZeroUsize::get);
                match self.mailbox.take(&Policy { messages: batch, bytes: sender.size() }, due) {
                    Found::Work(taken, gap) => {
                        if ordered {
                            self.tell_first.store(false, Ordering::SeqCst);
                        }
                        (taken, gap)
                    }
                    Found::Nothing { untold } => return Next::Wait(due_at.filter(|_| untold)),
                }
            }
        };
        Next::Send(Load { parts: taken.into_parts(), gap })
    }

    /// A request is about to be sent.
    pub(crate) fn begins(&self, load: &Load) {
        let oldest = load.parts.first().map(|part| part.chunk().received());
        lock(&self.health).begin(oldest);
    }

    /// The request that was begun was delivered or given up.
    pub(crate) fn ends(&self, delivered: bool) {
        lock(&self.health).settled(delivered);
    }

    /// Requests that have no answer were delivered or given up; `next` is what is under way after them.
    pub(crate) fn ends_unanswered(&self, outcome: Result<(), LossReason>, next: Option<&Load>) {
        if outcome.is_ok() {
            self.note_outcome(Ok(StatusCode::OK), None);
        }
        self.ends(outcome.is_ok());
        next.into_iter().for_each(|load| self.begins(load));
    }

    /// What became of messages, with the notice ahead of them.
    pub(crate) fn settle(&self, load: Load, outcome: Result<(), LossReason>) {
        match outcome {
            Ok(()) => self.mailbox.deliver(&load.parts),
            Err(reason) => {
                let reason = if reason == LossReason::Stopped { self.reason_to_stop() } else { reason };
                self.mailbox.lose(&load.parts, load.gap, reason, Utc::now());
            }
        }
    }

    /// Notes an attempt. Says when a drain begins to fail and when it works again, not each attempt.
    pub(crate) fn note_attempt(&self, attempt: &Attempt<'_>) {
        self.note_outcome(attempt.outcome, attempt.retry_in);
    }

    fn note_outcome(&self, outcome: Result<StatusCode, &AttemptError>, retry_in: Option<Duration>) {
        let failed_before = lock(&self.health).attempted(outcome, retry_in, Utc::now());
        if let Err(error) = outcome
            && let Some(certificate) = error.certificate()
        {
            lock(&self.certificate).untold = Some(certificate.to_string());
        }
        let delivered = matches!(outcome, Ok(status) if status.is_success());
        match (delivered, failed_before) {
            (true, true) => info!(drain = self.token, "drain delivers again"),
            (false, false) => {
                let problem = match &outcome {
                    Ok(status) => status.to_string(),
                    Err(error) => Chain(*error).to_string(),
                };
                let destination = self.destination();
                warn!(drain = self.token, to = %destination.endpoint, problem, "drain does not deliver");
            }
            _ => {}
        }
    }
}
