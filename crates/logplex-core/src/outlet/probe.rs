//! A look at an endpoint, step by step, for who is about to rely on it.

use std::future::Future;
use std::num::NonZeroU32;
use std::time::Duration;

use http::StatusCode;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::connect::{Secured, open, resolve, secure, tunnel_proxy};
use super::error::ConnectError;
use super::{Attempt, Endpoint, Outlet, OutletConfig, Protocol, Request, SyslogOutlet, proxy};
use crate::chain::Chain;

/// One step of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProbeStep {
    /// `resolve`, `connect`, `tls`, `request` (http) or `send` (syslog).
    pub name: &'static str,
    /// How long it took.
    pub took: Duration,
    /// What was found, or what is wrong. No secret of the endpoint is in it.
    pub outcome: Result<String, String>,
}

/// Looks an endpoint up, connects, shakes hands, and then sends `request` once, as an outlet does; stops at the first
/// step that fails. A request without messages asks an HTTP endpoint whether it takes requests at all,
/// and is not sent over syslog.
///
/// A step takes at most the connect or the request timeout of `config`. An answer is good if it is 2xx; to an
/// empty request also one that says that something should be in it (400, 411, 415, 422) or to come later (408,
/// 425, 429).
pub async fn probe(endpoint: &Endpoint, config: &OutletConfig, request: &Request) -> Vec<ProbeStep> {
    let mut config = config.clone();
    config.retry.max_attempts = Some(NonZeroU32::MIN);
    let mut steps = Steps { done: Vec::new(), limit: config.connect_timeout };
    // A step that fails is noted by then; there is nothing left to say.
    _ = steps.walk(endpoint, &config, request).await;
    steps.done
}

struct Steps {
    done: Vec<ProbeStep>,
    /// How long a step may take.
    limit: Duration,
}

impl Steps {
    async fn walk(&mut self, endpoint: &Endpoint, config: &OutletConfig, request: &Request) -> Option<()> {
        let found = self.step("resolve", resolve(endpoint, config), |found| {
            let found: Vec<String> = found.iter().map(|address| address.ip().to_string()).collect();
            found.join(", ")
        });
        let addresses = found.await?;
        let by = Instant::now() + config.connect_timeout;
        let opened = self.step("connect", open(&addresses, by), |tcp| {
            tcp.peer_addr().map_or_else(|_| "connected".to_owned(), |address| address.to_string())
        });
        let mut tcp = opened.await?;
        if endpoint.is_tls() {
            let shaken = async {
                if let Some(proxy) = tunnel_proxy(endpoint, config) {
                    proxy::tunnel(&mut tcp, proxy, endpoint).await?;
                }
                secure(endpoint, config.tls.as_ref(), tcp, &mut "").await
            };
            let secured = self.step("tls", shaken, |secured| match secured {
                Secured::Tls(tls) => tls
                    .get_ref()
                    .1
                    .protocol_version()
                    .map_or_else(|| "TLS".to_owned(), |version| format!("{version:?}")),
                Secured::No(_) => "none".to_owned(),
            });
            drop(secured.await?);
        } else {
            // A peer that serves one connection after the other must not wait for the end of this one.
            drop(tcp);
        }
        self.limit = config.connect_timeout + config.request_timeout;
        match endpoint.protocol() {
            Protocol::Http => {
                let mut outlet = Outlet::new(endpoint.clone(), config.clone());
                let posted = async {
                    let (_never, mut stop) = watch::channel(None);
                    let mut answer = Err(String::new());
                    let observe = |attempt: Attempt<'_>| {
                        answer = attempt.outcome.map_err(|error| Chain(error).to_string());
                    };
                    // What the last attempt came to says more.
                    outlet.deliver(request, &mut stop, observe).await.ok();
                    judge(answer?, request.messages == 0)
                };
                self.step("request", posted, String::clone).await.map(drop)
            }
            Protocol::Syslog if request.messages > 0 => {
                let mut outlet = SyslogOutlet::new(endpoint.clone(), config.clone());
                let sent = async {
                    let (_never, mut stop) = watch::channel(None);
                    outlet.push(request);
                    match outlet.flush(&mut stop, |_| {}).await {
                        Ok(()) => Ok("acknowledged".to_owned()),
                        Err(given_up) => Err(Chain(&given_up.last).to_string()),
                    }
                };
                self.step("send", sent, String::clone).await.map(drop)
            }
            Protocol::Syslog => Some(()),
        }
    }

    /// Notes what a step came to, and returns what it gave.
    async fn step<T, E: Into<Failed>>(
        &mut self,
        name: &'static str,
        step: impl Future<Output = Result<T, E>>,
        detail: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        let begun = Instant::now();
        let outcome = match timeout(self.limit, step).await {
            Ok(outcome) => outcome.map_err(|error| error.into().0),
            Err(_elapsed) => Err(format!("took longer than {:?}", self.limit)),
        };
        let shown = outcome.as_ref().map(detail).map_err(Clone::clone);
        self.done.push(ProbeStep { name, took: begun.elapsed(), outcome: shown });
        outcome.ok()
    }
}

/// What is wrong, in words.
struct Failed(String);

impl From<ConnectError> for Failed {
    fn from(error: ConnectError) -> Failed {
        Failed(Chain(&error).to_string())
    }
}

impl From<String> for Failed {
    fn from(text: String) -> Failed {
        Failed(text)
    }
}

/// Whether an answer is good enough to rely on.
fn judge(answer: StatusCode, was_empty: bool) -> Result<String, String> {
    let fine = answer.is_success()
        || was_empty && matches!(answer.as_u16(), 400 | 408 | 411 | 415 | 422 | 425 | 429);
    if fine { Ok(answer.to_string()) } else { Err(format!("the peer answered {answer}")) }
}
