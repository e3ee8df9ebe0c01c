//! Assembles the server, runs it, and stops it in the direction of the flow.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use chrono::Utc;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use logplex_core::Chain;
use logplex_core::outlet::{AddressGuard, OutletConfig, Proxies, RetryPolicy, Trust, tls_config};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::config::Config;
use crate::drain::DrainContext;
use crate::http::{App, LARGE_BODIES, router};
use crate::hub::Hub;
use crate::rate::RateLimit;
use crate::store::Store;
use crate::tasks::Tasks;

/// Connections served at once; more wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 16 * 1024;

/// A connection that sends no complete request head for this long is closed; above the idle time after which
/// our own clients give up a connection, so that it is they who close it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// How long a request's body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);

/// A drain's request is retried for this long before its messages are given up.
const RETRY_AGE: Duration = Duration::from_secs(5 * 60);

/// The part of the grace period that is kept for ending tails and writing the last checkpoint.
const LAST_STEPS: Duration = Duration::from_secs(1);

/// A server that is set up but not yet accepting.
#[derive(Debug)]
pub(crate) struct Server {
    listener: TcpListener,
    app: Arc<App>,
    grace: Duration,
    connections: Tasks,
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
        let store = Store::open(&config.data_dir)?;
        let drains = Tasks::default();
        let context = drain_context(&config, drains.clone())?;
        let hub = Hub::open(store, context)?;
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
            large_bodies: Semaphore::new(LARGE_BODIES),
            body_timeout: BODY_TIMEOUT,
            rate: config.channel_rate.map(RateLimit::new),
        });
        let (connections, housekeeping) = Default::default();
        Ok(Server { listener, app, grace: config.grace, connections, housekeeping, drains, new_key })
    }

    pub(crate) fn address(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
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
        accept(self.listener, router, &self.connections, &stop).await;

        let deadline = Instant::now() + self.grace;
        info!(grace_s = self.grace.as_secs(), "stopping");
        self.app.stopping.store(true, Ordering::Relaxed);
        let connections = self.connections.shut_down(self.grace.min(BODY_TIMEOUT) / 2).await;
        self.app.hub.stop_drains(deadline - LAST_STEPS.min(self.grace / 2));
        let drains = self.drains.wait(deadline - Instant::now() + LAST_STEPS).await;
        self.app.hub.copy_last_notices(Utc::now());
        let tails = self.app.tails.shut_down(LAST_STEPS).await;
        let housekeeping = self.housekeeping.shut_down(LAST_STEPS).await;
        if !(connections && drains && tails && housekeeping) {
            warn!(connections, drains, tails, housekeeping, "not all tasks ended within the grace period");
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
    Ok(Arc::new(DrainContext { tasks, ring: config.ring, outlet, insecure_outlet }))
}

async fn accept(listener: TcpListener, router: Router, connections: &Tasks, stop: &CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
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
            Ok((stream, _peer)) => {
                pause = Duration::ZERO;
                let router = router.clone();
                connections.spawn(|cancelled| async move {
                    serve_connection(stream, router, cancelled).await;
                    drop(place);
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

async fn serve_connection(stream: TcpStream, router: Router, cancelled: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "no nodelay");
    }
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    tokio::pin!(connection);
    let mut stopping = false;
    loop {
        tokio::select! {
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

/// Once a second: checkpoints and copies of notices; expired sessions now and then.
async fn housekeep(app: Arc<App>, cancelled: CancellationToken) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    let mut seconds = 0u64;
    loop {
        tokio::select! {
            () = cancelled.cancelled() => return,
            _ = second.tick() => {}
        }
        seconds += 1;
        let app = app.clone();
        let work = tokio::task::spawn_blocking(move || {
            let now = Utc::now();
            app.hub.tick(now);
            if seconds.is_multiple_of(60) { app.hub.expire_sessions(now) } else { Ok(()) }
        });
        match work.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => error!(error = format!("{error:#}"), "sessions could not be expired"),
            Err(panicked) => error!(%panicked, "housekeeping failed"),
        }
    }
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
