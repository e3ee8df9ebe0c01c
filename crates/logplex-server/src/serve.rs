//! Assembles the server, runs it, and stops it in the direction of the flow.

use std::collections::HashMap;
use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use axum::Router;
use chrono::Utc;
use futures_util::FutureExt;
use futures_util::future::Either;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use logplex_core::Chain;
use logplex_core::outlet::{AddressGuard, OutletConfig, Proxies, RetryPolicy, Trust, tls_config};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::config::{Config, SyslogConfig};
use crate::drain::DrainContext;
use crate::history::Shelf;
use crate::http::{App, Caller, LARGE_BODIES, is_posted, post_logs, router, top};
use crate::hub::Hub;
use crate::rate::RateLimit;
use crate::store::Store;
use crate::syslog::SyslogListener;
use crate::tasks::{AtWork, Tasks};
use stalled::Stalled;

mod stalled;

/// Connections served at once; more wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 16 * 1024;

/// A connection that sends no complete request head for this long is closed; above the idle time after which
/// our own clients give up a connection, so that it is they who close it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// The most that a connection's read buffer grows to, and the largest request head.
const READ_BUFFER: usize = 64 * 1024;

/// How long a request's body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);

/// A drain's request is retried for this long before its messages are given up.
const RETRY_AGE: Duration = Duration::from_secs(5 * 60);

/// How soon histories are looked at again that take too much memory.
const CROWDED_PAUSE: Duration = Duration::from_millis(100);

/// At a stop, how long syslog senders are still read, if the grace period is long enough for that.
const LAST_READ: Duration = Duration::from_secs(1);

/// The part of the grace period that is kept for ending tails and writing the last checkpoint.
const LAST_STEPS: Duration = Duration::from_secs(1);

/// A server that is set up but not yet accepting.
#[derive(Debug)]
pub(crate) struct Server {
    listener: TcpListener,
    syslog: Vec<(TcpListener, Arc<SyslogListener>)>,
    app: Arc<App>,
    grace: Duration,
    connections: Tasks,
    /// The stage of a stop in which connections are waited for that are no tails.
    requests: Tasks,
    housekeeping: Tasks,
    drains: Tasks,
    /// The key made at this first start, to be shown once.
    pub(crate) new_key: Option<String>,
}

impl Server {
    /// Opens the store, binds, and reads everything back. Drains that have something to tell begin at once.
    pub(crate) async fn start(config: Config) -> anyhow::Result<Server> {
        raise_file_limit();
        let listener = TcpListener::bind(config.listen)
            .await
            .with_context(|| format!("cannot listen on {}", config.listen))?;
        let address = listener.local_addr()?;
        let mut syslog_listeners = Vec::new();
        for syslog in &config.syslog {
            syslog_listeners.push(
                TcpListener::bind(syslog.address)
                    .await
                    .with_context(|| format!("cannot listen for syslog on {}", syslog.address))?,
            );
        }
        let store = Store::open(&config.data_dir)?;
        let drains = Tasks::default();
        let context = drain_context(&config, drains.clone())?;
        let shelf = Shelf::open(&config.data_dir, config.history);
        let hub = Hub::open(store, shelf, context, config.max_drains)?;
        let new_key = match &config.api_key {
            Some(key) => {
                hub.accept_key(key.expose());
                None
            }
            None => hub.first_key()?,
        };
        let app = Arc::new(App {
            hub,
            tails: Tasks::default(),
            public_url: config.public_url.unwrap_or_else(|| format!("http://{address}")),
            stopping: AtomicBool::new(false),
            rejections: Default::default(),
            syslog: Default::default(),
            large_bodies: Semaphore::new(LARGE_BODIES),
            tops: Semaphore::new(top::PLACES),
            body_timeout: BODY_TIMEOUT,
            rate: config.channel_rate.map(RateLimit::new),
        });
        let syslog = syslog_listeners.into_iter().zip(config.syslog).map(|(listener, syslog)| {
            let SyslogConfig { token, tls, .. } = syslog;
            if token.as_ref().is_some_and(|token| app.hub.token(token.expose()).is_none()) {
                warn!(address = %syslog.address, "a syslog listener's token is not known, so what comes is rejected");
            }
            let (idle, last_read) = (config.syslog_idle, LAST_READ.min(config.grace / 4));
            (listener, Arc::new(SyslogListener { app: app.clone(), token, tls, idle, last_read }))
        });
        let syslog = syslog.collect();
        let (connections, requests, housekeeping) = Default::default();
        let grace = config.grace;
        Ok(Server { listener, syslog, app, grace, connections, requests, housekeeping, drains, new_key })
    }

    pub(crate) fn address(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// Where syslog is listened for, each with `tcp` or `tls`.
    pub(crate) fn syslog_addresses(&self) -> anyhow::Result<Vec<(&'static str, SocketAddr)>> {
        let address = |(listener, syslog): &(TcpListener, Arc<SyslogListener>)| {
            Ok((if syslog.tls.is_some() { "tls" } else { "tcp" }, listener.local_addr()?))
        };
        self.syslog.iter().map(address).collect()
    }

    pub(crate) fn app(&self) -> Arc<App> {
        self.app.clone()
    }

    /// Serves until `stop`, then ends within the grace period: no new connections, requests under way, drains'
    /// rings, tails, the last checkpoint.
    pub(crate) async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let app = self.app.clone();
        self.housekeeping.spawn(|cancelled| housekeep(app, cancelled));
        let router = router(self.app.clone());
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        for (listener, syslog) in self.syslog {
            let (places, connections, stop) = (places.clone(), self.connections.clone(), stop.clone());
            let requests = self.requests.clone();
            self.connections.spawn(|_| async move {
                let serve = |stream, peer, cancelled| {
                    let (at_work, served) =
                        (AtWork::new(&requests), syslog.clone().serve(stream, peer, cancelled));
                    async move {
                        served.await;
                        at_work.rest();
                    }
                };
                accept(listener, places, &connections, &stop, serve).await;
            });
        }
        let serve = |stream, _peer, cancelled| {
            let at_work = AtWork::new(&self.requests);
            serve_connection(stream, self.app.clone(), router.clone(), at_work, cancelled)
        };
        accept(self.listener, places, &self.connections, &stop, serve).await;

        let deadline = Instant::now() + self.grace;
        info!(grace_s = self.grace.as_secs(), "stopping");
        self.app.stopping.store(true, Ordering::Relaxed);
        self.connections.cancel();
        let requests = self.requests.wait(self.grace.min(BODY_TIMEOUT) / 2).await;
        let (accepted, rejected) = self.app.syslog.totals();
        if accepted + rejected > 0 {
            info!(accepted, rejected, "syslog messages in all");
        }
        self.app.hub.stop_drains(deadline - LAST_STEPS.min(self.grace / 2));
        let drains = self.drains.wait(deadline - Instant::now() + LAST_STEPS).await;
        self.app.hub.copy_last_notices(Utc::now());
        let tails = self.app.tails.shut_down(LAST_STEPS).await;
        // What is left of them by now are the ends of tails' answers on their way out.
        let connections = !requests || self.connections.wait(LAST_STEPS).await;
        let housekeeping = self.housekeeping.shut_down(LAST_STEPS).await;
        if !(requests && connections && drains && tails && housekeeping) {
            warn!(
                requests,
                connections, drains, tails, housekeeping, "not all tasks ended within the grace period"
            );
        }
        let untold = self.app.hub.write_final_checkpoints(Utc::now());
        if untold > 0 {
            warn!(untold, "stopped; what drains could not be told is told at the next start");
        } else {
            info!("stopped; nothing was left");
        }
        Ok(())
    }
}

fn drain_context(config: &Config, tasks: Tasks) -> anyhow::Result<Arc<DrainContext>> {
    let user_agent = concat!("Logplex/", env!("CARGO_PKG_VERSION")).parse()?;
    let trusted = tls_config(Trust::Platform).inspect_err(
        |error| warn!(error = %Chain(error), "https drains cannot be verified, so they will not deliver"),
    );
    let mut outlet = OutletConfig::new(user_agent, trusted.ok());
    outlet.addresses = if config.allow_private_drains { AddressGuard::Any } else { AddressGuard::PublicOnly };
    outlet.retry = RetryPolicy { max_attempts: None, max_age: RETRY_AGE, ..RetryPolicy::default() };
    outlet.proxies = Arc::new(Proxies::from_variables(|name| std::env::var(name).ok())?);
    let insecure_outlet = OutletConfig { tls: Some(tls_config(Trust::Insecure)?), ..outlet.clone() };
    let mut ca_outlets = HashMap::new();
    for (name, file) in &config.drain_cas {
        let pem = std::fs::read(file)
            .with_context(|| format!("cannot read the certificates {name:?} from {}", file.display()))?;
        let tls = tls_config(Trust::PlatformAnd(&pem))
            .with_context(|| format!("the certificates {name:?} in {} are not usable", file.display()))?;
        let trusting = OutletConfig { tls: Some(tls), ..outlet.clone() };
        if ca_outlets.insert(name.clone(), trusting).is_some() {
            bail!("--drain-ca names {name:?} twice");
        }
    }
    let (ring, probe_after) = (config.ring, config.probe_after);
    Ok(Arc::new(DrainContext { tasks, ring, outlet, insecure_outlet, ca_outlets, probe_after }))
}

/// Accepts until `stop`; each connection is served in a task of its own and takes one of the places, which all
/// listeners share.
async fn accept<F>(
    listener: TcpListener,
    places: Arc<Semaphore>,
    connections: &Tasks,
    stop: &CancellationToken,
    serve: impl Fn(TcpStream, SocketAddr, CancellationToken) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut pause = Duration::ZERO;
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => return,
            place = places.clone().acquire_owned() => place,
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                pause = Duration::ZERO;
                connections.spawn(|cancelled| {
                    let served = serve(stream, peer, cancelled);
                    async move {
                        served.await;
                        drop(place);
                    }
                });
            }
            Err(error) => {
                // Out of file descriptors, most often: trying at once again would only burn the processor.
                pause = (pause * 2).clamp(Duration::from_millis(5), Duration::from_secs(1));
                warn!(%error, "cannot accept connections");
                tokio::time::sleep(pause).await;
            }
        }
    }
}

async fn serve_connection(
    stream: TcpStream,
    app: Arc<App>,
    router: Router,
    at_work: AtWork,
    cancelled: CancellationToken,
) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "no nodelay");
    }
    let (router, caller) = (TowerToHyperService::new(router), Caller::default());
    let service = service_fn(|mut request: hyper::Request<Incoming>| {
        at_work.begin();
        if is_posted(&request) {
            return Either::Left(post_logs(&app, &caller, request).map(Ok));
        }
        request.extensions_mut().insert(at_work.clone());
        Either::Right(router.call(request))
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(caller.patience.clone())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(READ_BUFFER)
        .serve_connection(TokioIo::new(Stalled::new(stream)), service)
        .with_upgrades();
    tokio::pin!(connection);
    let mut stopping = false;
    loop {
        tokio::select! {
            biased;
            served = connection.as_mut() => {
                if let Err(error) = served {
                    debug!(%error, "connection ended early");
                }
                return;
            }
            () = cancelled.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Once a second: checkpoints and copies of notices; expired sessions and tokens now and then.
async fn housekeep(app: Arc<App>, cancelled: CancellationToken) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    let mut seconds = 0u64;
    let mut looked_at = Instant::now();
    loop {
        let full = tokio::select! {
            () = cancelled.cancelled() => return,
            _ = second.tick() => true,
            () = crowded(&app, looked_at) => false,
        };
        looked_at = Instant::now();
        seconds += u64::from(full);
        let app = app.clone();
        let work = tokio::task::spawn_blocking(move || {
            let now = Utc::now();
            app.hub.tick(now);
            if full && seconds.is_multiple_of(60) {
                app.hub.expire(now)?;
            }
            anyhow::Ok(())
        });
        match work.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                error!(error = format!("{error:#}"), "sessions and tokens could not be expired")
            }
            Err(panicked) => error!(%panicked, "housekeeping failed"),
        }
    }
}

/// Waits until histories should leave memory before the second is over, but not at once again.
async fn crowded(app: &App, looked_at: Instant) {
    app.hub.shelf.crowded.notified().await;
    tokio::time::sleep_until(looked_at + CROWDED_PAUSE).await;
}

/// Each connection is a file; the soft limit is often 1,024.
fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_soft, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        debug!(%error, "the limit of open files stays as it is");
    }
}

/// Prints a line of data; a closed stdout is nobody's loss.
pub(crate) fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    if writeln!(stdout, "{line}").and_then(|()| stdout.flush()).is_err() {
        debug!("stdout is closed");
    }
}

#[cfg(test)]
mod tests;
