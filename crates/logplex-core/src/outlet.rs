//! The ordered outlet: posts one request after the other to one endpoint, each until it is answered for good
//! or given up.
//!
//! One connection, one request in flight, no task and no queue of its own. Whoever calls
//! [`Outlet::deliver`] is the queue's owner and gets an answer that his ledger can count:
//!
//! * **delivered**: an answer of 2xx came;
//! * **given up**, with the [`LossReason`]: a final answer, or the [`RetryPolicy`] came to its end, or the
//!   stop instant came. `Unanswered` if *any* attempt may have been taken, whatever came after it.
//!
//! A slow or broken peer makes `deliver` take long, at most [`RetryPolicy::max_age`] and one more attempt;
//! meanwhile whatever feeds the outlet collects or drops. Nothing starts, and nothing goes on, past the stop
//! instant. Dropping the outlet closes its connection at once.
//!
//! # An attempt
//! Connects, or uses the connection of the request before if that has been idle for less than
//! [`OutletConfig::idle_close`] and its peer has not closed it. A peer may close just then: a failure on a
//! used connection before a byte of the answer came is tried again at once on a new one, once, as the same
//! attempt. After the answer up to 64 KiB of its body are read and thrown away, so that the connection can be
//! used again; a longer one is closed, and one whose end would be a close that the peer did not announce. A peer
//! that says 2xx before it has read all of a request is sent the rest, and heard out meanwhile.
//!
//! It deliberately follows no redirect, pipelines nothing and speaks no HTTP/2: one stream of ordered requests gains
//! nothing from it.

use std::convert::Infallible;
use std::fmt;
use std::future;
use std::time::Duration;

use http::status::StatusCode;
use tokio::time::Instant;

use crate::ledger::LossReason;

mod answer;
mod config;
mod connect;
mod connection;
mod doubt;
mod endpoint;
mod error;
mod guard;
mod line;
mod probe;
mod proxy;
mod request;
mod retry;
mod stop;
pub mod syslog;
mod tls;

#[cfg(test)]
mod tests;

use answer::Head;
pub use config::OutletConfig;
use connection::{Connection, PostError};
pub use endpoint::{Endpoint, EndpointError, Protocol, basic_authorization};
pub use error::{AttemptError, ConnectError, GivenUp, LastOutcome};
pub use guard::{AddressGuard, Forbidden};
pub use probe::{ProbeStep, probe};
pub use proxy::{Proxies, ProxyError};
pub use request::Request;
use request::SameHead;
pub use retry::RetryPolicy;
use retry::Verdict;
pub use stop::Stop;
use stop::{is_due, rest_until, stopped};
pub use syslog::{Settled, SyslogOutlet};
pub use tls::{TlsError, Trust, tls_config};

/// A request that was answered 2xx.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivered {
    /// The answer.
    pub status: StatusCode,
    /// How many attempts it took.
    pub attempts: u32,
}

/// One attempt, just ended.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Attempt<'a> {
    /// Counts from 1.
    pub number: u32,
    /// How long it took, from connecting to the end of the answer.
    pub took: Duration,
    /// The answer, or why there is none.
    pub outcome: Result<StatusCode, &'a AttemptError>,
    /// The pause before the next; `None` if this was the last. A stop instant may still cut it short.
    pub retry_in: Option<Duration>,
}

/// Posts requests to one endpoint, in order. See the [module](self).
///
/// # Examples
///
/// ```no_run
/// use http::HeaderValue;
/// use logplex_core::Chain;
/// use logplex_core::outlet::{Endpoint, Outlet, OutletConfig, Request, Trust, tls_config};
/// use tokio::sync::watch;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let endpoint = Endpoint::parse("https://token:t.123@logs.example/logs")?;
/// let tls = tls_config(Trust::Platform)?;
/// let mut outlet = Outlet::new(endpoint, OutletConfig::new(HeaderValue::from_static("me/1"), Some(tls)));
///
/// let request = Request::new(vec!["19 <190>1 - - - - - hi".into()], 1);
/// let (_stop_tx, mut stop) = watch::channel(None);
/// match outlet.deliver(&request, &mut stop, |attempt| println!("{attempt:?}")).await {
///     Ok(delivered) => println!("after {} attempts", delivered.attempts),
///     Err(given_up) => println!("{} messages lost: {}", request.messages, Chain(&given_up)),
/// }
/// # Ok(())
/// # }
/// ```
pub struct Outlet {
    endpoint: Endpoint,
    config: OutletConfig,
    same_head: SameHead,
    /// The head of the request under way.
    head: Vec<u8>,
    /// The connection of the request before. Taken out while in use, so that a cancelled request never
    /// leaves a half-used one behind.
    idle: Option<Box<Connection>>,
}

impl Outlet {
    /// An outlet without a connection; the first request opens one.
    pub fn new(endpoint: Endpoint, config: OutletConfig) -> Outlet {
        // Under TLS a proxy sees none of it.
        let proxy = config.proxies.of(&endpoint).filter(|_| !endpoint.is_tls());
        let same_head = SameHead::new(&endpoint, proxy, &config.user_agent);
        Outlet { endpoint, config, same_head, head: Vec::new(), idle: None }
    }

    /// Where the requests go.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Delivers one request: tries until it is answered for good or given up. `observe` is told of every
    /// attempt once, when it has ended.
    ///
    /// # Errors
    ///
    /// When the request was given up; the error's reason is what the ledger counts. If `stop` was due before
    /// the first attempt, no attempt was made.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection. The request may have been taken: count it as
    /// [`LossReason::Unanswered`], or better, use `stop`.
    pub async fn deliver(
        &mut self,
        request: &Request,
        stop: &mut Stop,
        mut observe: impl FnMut(Attempt<'_>),
    ) -> Result<Delivered, GivenUp> {
        let started = Instant::now();
        let mut begun = started;
        let mut attempts = 0;
        let mut unanswered = false;
        let mut reason = LossReason::Stopped;
        if is_due(stop, started) {
            return Err(GivenUp { reason, attempts, last: AttemptError::Stopped.into() });
        }
        request.write_head(&self.same_head, &mut self.head);
        loop {
            attempts += 1;
            // Stop first: past its instant not even a connection that has just opened is written to.
            let answer = tokio::select! {
                biased;
                () = stopped(stop) => Err(AttemptError::Stopped),
                answer = self.attempt(request, begun, &mut unanswered) => answer,
            };
            let (outcome, retry_after) = match answer {
                Ok(answer) => (Ok(answer.head.status), self.keep(answer, stop).await),
                Err(error) => (Err(error), None),
            };
            let verdict = retry::judge(&outcome, reason);
            let retry_at = match verdict {
                Verdict::Again(_) => self.config.retry.retry_at(attempts, started, retry_after, stop),
                Verdict::Delivered(_) | Verdict::Final(_) => None,
            };
            observe(Attempt {
                number: attempts,
                took: begun.elapsed(),
                outcome: outcome.as_ref().copied(),
                retry_in: retry_at.map(|at| at.saturating_duration_since(Instant::now())),
            });
            reason = match verdict {
                Verdict::Delivered(status) => return Ok(Delivered { status, attempts }),
                _ if unanswered => LossReason::Unanswered,
                Verdict::Again(reason) | Verdict::Final(reason) => reason,
            };
            let rested = match retry_at {
                Some(at) => rest_until(at, stop).await,
                None => false,
            };
            if !rested {
                let last = outcome.map_or_else(LastOutcome::Failed, LastOutcome::Answered);
                return Err(GivenUp { reason, attempts, last });
            }
            begun = Instant::now();
        }
    }

    /// Watches the idle connection between requests and closes it as soon as its peer does or it is too old
    /// to be used again. Never returns: for a `select!` with the wait for work.
    ///
    /// Without it a connection whose peer is gone stays open until the next request or until the outlet is
    /// dropped.
    ///
    /// # Cancel safety
    ///
    /// Safe: the connection stays as it is.
    pub async fn tend(&mut self) -> Infallible {
        if let Some(connection) = &mut self.idle {
            connection.outlived(self.config.idle_close).await;
            self.idle = None;
        }
        future::pending().await
    }

    /// One attempt, begun now: over the idle connection if there is one, and if that fails as a connection does that
    /// was closed while idle, over a new one.
    async fn attempt(
        &mut self,
        request: &Request,
        now: Instant,
        unanswered: &mut bool,
    ) -> Result<Answer, AttemptError> {
        if let Some(connection) = self.take_idle(now) {
            let deadline = after(now, self.config.request_timeout);
            let answer = self.exchange(connection, deadline, request, unanswered).await;
            match answer {
                Ok(answer) => return Ok(answer),
                Err(failed) if failed.looks_closed_while_idle() => {}
                Err(failed) => return Err(failed.error),
            }
        }
        let now = Instant::now();
        let deadline = after(now, self.config.request_timeout);
        let connected_by = deadline.min(after(now, self.config.connect_timeout));
        let stream = connect::connect(&self.endpoint, &self.config, connected_by).await?;
        self.exchange(Connection::new(stream), deadline, request, unanswered)
            .await
            .map_err(|failed| failed.error)
    }

    /// The idle connection, if it can be used again.
    fn take_idle(&mut self, now: Instant) -> Option<Box<Connection>> {
        let mut connection = self.idle.take()?;
        let fresh = now.duration_since(connection.idle_since) < self.config.idle_close;
        (fresh && connection.is_alive()).then_some(connection)
    }

    async fn exchange(
        &mut self,
        mut connection: Box<Connection>,
        deadline: Instant,
        request: &Request,
        unanswered: &mut bool,
    ) -> Result<Answer, PostError> {
        // In doubt until the answer comes, so that the doubt remains when this future is dropped.
        let before = std::mem::replace(unanswered, true);
        let Some(head) = connection.post(&self.head, &request.body, deadline).await else {
            let error = AttemptError::TimedOut(self.config.request_timeout);
            return Err(PostError { error, heard: connection.heard() });
        };
        let head = head?;
        *unanswered = before;
        Ok(Answer { head, connection, deadline })
    }

    /// Reads what is left of an answer, so that its connection can be used again; closes it if that takes
    /// too long or too much. What the answer meant stands either way. Returns its `Retry-After`.
    async fn keep(&mut self, answer: Answer, stop: &mut Stop) -> Option<Duration> {
        let Answer { head, mut connection, deadline } = answer;
        let retry_after = head.retry_after;
        let reusable = tokio::select! {
            biased;
            reusable = connection.discard(head, deadline) => reusable,
            () = stopped(stop) => false,
        };
        if reusable {
            self.idle = Some(connection);
        }
        retry_after
    }
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet")
            .field("endpoint", &self.endpoint)
            .field("config", &self.config)
            .field("idle", &self.idle)
            .finish()
    }
}

/// The head of an answer, and what is needed to read the rest of it.
struct Answer {
    head: Head,
    connection: Box<Connection>,
    deadline: Instant,
}

/// `start` and `wait` later; in thirty years if that is more than an instant can hold, as `Duration::MAX` is.
fn after(start: Instant, wait: Duration) -> Instant {
    start.checked_add(wait).unwrap_or_else(|| start + Duration::from_secs(30 * 365 * 86_400))
}
