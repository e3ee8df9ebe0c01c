//! A drain: a destination, the ring of what it has yet to get, and the worker that sends.
//!
//! The worker exists only while there is work or an idle connection worth keeping. It takes what is there, up
//! to the target size, and sends at once; while its one request is in flight the ring collects, so that
//! batches grow with the load by themselves. What is in flight is outside the ring: a stalled drain holds at
//! most one request and 1,024 messages.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use logplex_core::outlet::{Attempt, OutletConfig};
use logplex_core::{Batch, Chain, LossReason, Notice, Part, Policy, RingLimits, Teller, certificate_message};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::destination::Destination;
use crate::mailbox::{Found, Mailbox, lock};
use crate::sender::{Load, Sender};
use crate::tasks::Tasks;

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
}

impl DrainContext {
    /// How to reach a destination: whom to trust, above all.
    fn outlet(&self, destination: &Destination) -> &OutletConfig {
        if destination.insecure { &self.insecure_outlet } else { &self.outlet }
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
    working: AtomicBool,
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
            working: AtomicBool::new(false),
            copied_at: Mutex::new(None),
            certificate: Mutex::default(),
            stop: watch::Sender::new(None),
            context,
        })
    }

    /// Hands messages over. Never waits.
    pub(crate) fn push(self: &Arc<Drain>, part: Part<Batch>, now: DateTime<Utc>) {
        self.mailbox.push(part, false, now);
        self.start();
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
        self.redirected.notify_one();
    }

    /// Where this drain sends.
    pub(crate) fn destination(&self) -> Arc<Destination> {
        lock(&self.destination).clone()
    }

    /// Sends what is held until `deadline`, then counts the rest as lost and ends.
    pub(crate) fn stop(self: &Arc<Drain>, deadline: Instant) {
        self.stop.send_replace(Some(deadline));
        self.mailbox.poke();
        self.start();
    }

    /// Whether every message was delivered or told.
    pub(crate) fn is_settled(&self) -> bool {
        let ledger = self.mailbox.ledger();
        ledger.held() == 0 && ledger.gap(Teller::Reader).is_empty() && ledger.gap(Teller::Channel).is_empty()
    }

    /// What the channel is to be told of this drain now, as messages: of what it missed, and of its destination's
    /// certificate.
    pub(crate) fn words_for_channel(&self, at_once: bool, now: DateTime<Utc>) -> Vec<Vec<u8>> {
        let missed = self.notice_for_channel(at_once).map(|notice| notice.message("heroku", now));
        missed.into_iter().chain(self.certificate_for_channel(now)).collect()
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

    /// The copy for the channel of what this drain missed, if one is due.
    fn notice_for_channel(&self, at_once: bool) -> Option<Notice> {
        let mut copied_at = lock(&self.copied_at);
        let due = copied_at.is_none_or(|at| at.elapsed() >= COPY_INTERVAL);
        let gap = self.mailbox.with_ledger(|ledger| ledger.take_gap_if(Teller::Channel, due || at_once))?;
        *copied_at = Some(Instant::now());
        Some(Notice::l10(&gap)?.with_fact("drain", &self.token))
    }

    fn sender(&self) -> Sender {
        let destination = self.destination();
        let config = self.context.outlet(&destination).clone();
        Sender::new(&self.token, destination, config)
    }

    /// Sends to where the drain sends now.
    fn redirect_sender(&self, sender: &mut Sender) {
        let destination = self.destination();
        let config = self.context.outlet(&destination).clone();
        sender.redirect(destination, config, self);
    }

    async fn work(self: Arc<Drain>) {
        let mut stop = self.stop.subscribe();
        let mut sender = self.sender();
        let mut told_at: Option<Instant> = None;
        let mut failing = false;
        loop {
            sender.settle(&self);
            let deadline = *stop.borrow_and_update();
            match self.next(told_at, deadline.is_some(), &sender) {
                Next::Send(load) => {
                    if load.gap.is_some() {
                        told_at = Some(Instant::now());
                    }
                    sender.push(load);
                    loop {
                        let observe = |attempt: Attempt<'_>| self.log_attempt(&attempt, &mut failing);
                        tokio::select! {
                            biased;
                            () = sender.send(&self, &mut stop, observe) => break,
                            () = self.redirected.notified() => {}
                        }
                        self.redirect_sender(&mut sender);
                    }
                }
                Next::Wait(_) if deadline.is_some() => break,
                Next::Wait(until) => {
                    let wake = until.unwrap_or_else(|| Instant::now() + IDLE);
                    tokio::select! {
                        biased;
                        () = self.mailbox.readable() => {}
                        () = self.redirected.notified() => self.redirect_sender(&mut sender),
                        _stop = stop.changed() => {}
                        () = sender.tend() => {}
                        () = tokio::time::sleep_until(wake), if until.is_some() => {}
                        () = tokio::time::sleep_until(wake), if until.is_none() => {
                            // Nothing came for long: give the connection and this task back. Who pushes from
                            // here on starts another; who pushed just before is seen by the second look.
                            self.working.store(false, Ordering::SeqCst);
                            let idle = self.mailbox.is_empty();
                            if idle || self.working.swap(true, Ordering::SeqCst) {
                                return;
                            }
                        }
                    }
                }
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                self.mailbox.lose_all(LossReason::Stopped, Utc::now());
                break;
            }
        }
        sender.finish(&self, &mut stop).await;
    }

    /// What to do now. A notice goes ahead of the first surviving message; within a second of the last one,
    /// gaps are merged, and told alone if nothing else waits then. A stop tells at once.
    fn next(&self, told_at: Option<Instant>, stopping: bool, sender: &Sender) -> Next {
        let due_at = told_at.map(|at| at + NOTICE_INTERVAL);
        let due = stopping || due_at.is_none_or(|at| Instant::now() >= at);
        let policy = Policy { bytes: sender.size(), ..Policy::default() };
        match self.mailbox.take(&policy, due) {
            Found::Work(taken, gap) => Next::Send(Load { parts: taken.parts().to_vec(), gap }),
            Found::Nothing { untold } => Next::Wait(due_at.filter(|_| untold)),
        }
    }

    /// What became of messages, with the notice ahead of them.
    pub(crate) fn settle(&self, load: Load, outcome: Result<(), LossReason>) {
        match outcome {
            Ok(()) => self.mailbox.deliver(&load.parts),
            Err(reason) => self.mailbox.lose(&load.parts, load.gap, reason, Utc::now()),
        }
    }

    /// Says when a drain begins to fail and when it works again, not each attempt.
    fn log_attempt(&self, attempt: &Attempt<'_>, failing: &mut bool) {
        if let Err(error) = attempt.outcome
            && let Some(certificate) = error.certificate()
        {
            lock(&self.certificate).untold = Some(certificate.to_string());
        }
        let delivered = matches!(attempt.outcome, Ok(status) if status.is_success());
        match (delivered, std::mem::replace(failing, !delivered)) {
            (true, true) => info!(drain = self.token, "drain delivers again"),
            (false, false) => {
                let problem = match &attempt.outcome {
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
