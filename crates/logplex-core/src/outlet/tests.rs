//! The outlet against scripted peers on loopback.

mod attempts;
mod connections;
mod peer;
mod proxies;
mod stopping;
mod syslog;
mod trust;

use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::*;
use crate::Chain;

/// Long for a test that passes, short for one that hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where nobody listens: no test is given the discard port.
const NOBODY: &str = "127.0.0.1:9";

/// Three attempts, pauses of at most 2 ms, and no time limit that could hide a wait.
fn config() -> OutletConfig {
    OutletConfig {
        connect_timeout: PATIENCE * 2,
        request_timeout: PATIENCE * 2,
        retry: RetryPolicy {
            max_attempts: NonZeroU32::new(3),
            base: Duration::from_millis(1),
            cap: Duration::from_millis(2),
            ..RetryPolicy::default()
        },
        ..OutletConfig::new(HeaderValue::from_static("Logplex/test"), None)
    }
}

fn outlet(url: &str, config: OutletConfig) -> Outlet {
    Outlet::new(Endpoint::parse(url).unwrap(), config)
}

fn request() -> Request {
    Request::new(vec![Bytes::from_static(b"9 <190>1 - "), Bytes::new(), Bytes::from_static(b"a")], 1)
}

/// What became of one request, as a table can say it.
#[derive(Debug)]
struct Told {
    result: Result<Delivered, GivenUp>,
    /// One entry an attempt: its number, and the status or the error.
    attempts: Vec<(u32, String)>,
    /// The pauses that were announced; the last attempt has none.
    pauses: Vec<Duration>,
}

impl Told {
    /// `204 after 1`, or `unanswered after 3`.
    fn summary(&self) -> String {
        match &self.result {
            Ok(delivered) => format!("{} after {}", delivered.status.as_u16(), delivered.attempts),
            Err(given_up) => format!("{} after {}", given_up.reason.as_str(), given_up.attempts),
        }
    }
}

async fn deliver(outlet: &mut Outlet, request: &Request) -> Told {
    let (_never, mut stop) = watch::channel(None);
    deliver_until(outlet, request, &mut stop).await
}

async fn deliver_until(outlet: &mut Outlet, request: &Request, stop: &mut Stop) -> Told {
    let (mut attempts, mut pauses) = (Vec::new(), Vec::new());
    let observe = |attempt: Attempt<'_>| {
        let outcome = match attempt.outcome {
            Ok(status) => status.as_u16().to_string(),
            Err(error) => error.to_string(),
        };
        attempts.push((attempt.number, outcome));
        pauses.extend(attempt.retry_in);
    };
    let delivered = timeout(PATIENCE, outlet.deliver(request, stop, observe)).await;
    let result = delivered.expect("deliver ends");
    // Whatever became of it: every attempt was told once, in order, and all but the last may announce a pause.
    let numbers: Vec<u32> = attempts.iter().map(|(number, _)| *number).collect();
    let made = match &result {
        Ok(delivered) => delivered.attempts,
        Err(given_up) => given_up.attempts,
    };
    assert_eq!(numbers, Vec::from_iter(1..=made));
    Told { result, attempts, pauses }
}

/// Drain workers are spawned: the future has to be `Send`.
#[tokio::test]
async fn deliver_can_be_spawned() {
    let peer = peer::Peer::new([]).await;
    let mut outlet = outlet(&peer.url(), config());
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let (_never, mut stop) = watch::channel(None);
        outlet.deliver(&request(), &mut stop, |_| {}).await.is_ok()
    });
    assert!(tasks.join_next().await.unwrap().unwrap());
}

#[tokio::test]
async fn nothing_prints_a_secret() {
    let peer = peer::Peer::new([peer::say("403 secret")]).await;
    let mut request = request();
    request.headers.push((HeaderName::from_static("x-token"), HeaderValue::from_static("secret")));
    request.body = vec![Bytes::from_static(b"secret")];

    let mut chains = Vec::new();
    for address in [format!("127.0.0.1:{}", peer.port), NOBODY.to_owned()] {
        let mut outlet = outlet(&format!("http://secret:secret@{address}/secret?secret"), config());
        let given_up = deliver(&mut outlet, &request).await.result.unwrap_err();
        let chain = Chain(&given_up).to_string();
        let shown = format!("{outlet:?} {request:?} {given_up:?} {chain}");
        assert!(!shown.contains("secret"), "{shown}");
        chains.push(chain);
    }
    assert!(peer.log().requests[0].head.contains("/secret?secret HTTP"));
    assert_eq!(chains[0], "given up (refused), attempts: 1: the peer answered 403 Forbidden");
    let expected = "given up (unreachable), attempts: 3: no connection: cannot connect to 127.0.0.1:9: ";
    assert!(chains[1].starts_with(expected), "{}", chains[1]);
}
