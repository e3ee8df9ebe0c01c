//! Everything that can be chosen about a shuttle, checked before it starts.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::bounded;
use http::header::HeaderValue;
use tokio::sync::watch;

use super::guard::{Guard, Shuttle};
use super::head::{FieldError, Fields, Head, MOST_HEAD};
use super::load::Form;
use super::queue::{Overflow, Queue};
use super::warn::Warnings;
use super::worker::{Counts, Telling, Worker};
use crate::outlet::{
    Endpoint, EndpointError, Outlet, OutletConfig, Protocol, Proxies, RetryPolicy, TlsError, Trust,
    basic_authorization, tls_config,
};
use crate::{FrameLimit, Policy, RingLimits};

/// Lines that wait at most. The original held 27,500 by its defaults.
const RING_LINES: usize = 25_000;

/// Bytes that wait at most.
const RING_BYTES: usize = 16 * 1024 * 1024;

/// Fewer bytes could not hold one read of input.
const LEAST_RING_BYTES: usize = 256 * 1024;

/// Lines in one request at most: the original's number, and well under the 1,024 that a reader's ring behind a
/// router holds. A larger request can overflow such a ring all by itself.
const BATCH_LINES: usize = 500;

/// Bytes in one request: a little under 1 MiB, where common proxies refuse larger bodies.
const BATCH_BYTES: usize = 1_000_000;

/// Requests of single lines start at most this often. Half of the 10 ms that a lone line may take.
const PACE: Duration = Duration::from_millis(5);

/// The original's limit for a line.
const MAX_LINE: usize = 10_000;

/// How long dropping the guard may take.
const GRACE: Duration = Duration::from_secs(5);

/// How many orders may wait for the shipping thread.
const ORDERS: usize = 16;

/// Why a shuttle does not start. Repeats nothing of the URL.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The URL cannot be posted to.
    #[error("the URL of the logs")]
    Url(#[from] EndpointError),
    /// A header field is malformed.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// The longest line is out of bounds.
    #[error("the longest line must be 4 to {} bytes", MOST_LINE)]
    MaxLine,
    /// The token cannot be sent in a header.
    #[error("the bearer token must be printable ASCII")]
    BearerToken,
    /// There is nobody to trust for https.
    #[error("https cannot be used")]
    Tls(#[from] TlsError),
    /// The machine gives no thread or no event queue.
    #[error("the shipping thread cannot be started")]
    Thread(#[from] io::Error),
}

/// The longest line that fits into a frame with any header.
const MOST_LINE: usize = FrameLimit::MAX.get() as usize - MOST_HEAD - 1;

/// Chooses and starts. Every setting has a default; only the URL is needed.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::io::Write;
/// let guard = logplex_core::shuttle::Builder::new("http://token:t.123@127.0.0.1:8601/logs").app("web").start()?;
/// writeln!(guard.writer(), "hello")?;
/// let report = guard.shutdown(std::time::Duration::from_secs(5));
/// assert_eq!(report.delivered, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is shipped before it is started"]
pub struct Builder {
    url: Secret,
    bearer: Option<Secret>,
    fields: Fields,
    ring: RingLimits,
    overflow: Overflow,
    batch: Policy,
    pace: Duration,
    max_line: usize,
    gzip: bool,
    grace: Duration,
    user_agent: Option<HeaderValue>,
    connect_timeout: Option<Duration>,
    request_timeout: Option<Duration>,
    retry: RetryPolicy,
    insecure: bool,
    ca: Option<Vec<u8>>,
    proxies: Arc<Proxies>,
}

impl Builder {
    /// The defaults, for an http or https URL. Its userinfo becomes basic authorization; without one that is
    /// `token` and the app name, as the original has it.
    pub fn new(url: impl Into<String>) -> Builder {
        Builder {
            url: Secret(url.into()),
            bearer: None,
            fields: Fields::default(),
            ring: RingLimits { messages: RING_LINES, bytes: RING_BYTES },
            overflow: Overflow::DropOldest,
            batch: Policy { messages: BATCH_LINES, bytes: BATCH_BYTES },
            pace: PACE,
            max_line: MAX_LINE,
            gzip: false,
            grace: GRACE,
            user_agent: None,
            connect_timeout: None,
            request_timeout: None,
            retry: RetryPolicy::default(),
            insecure: false,
            ca: None,
            proxies: Arc::default(),
        }
    }

    /// Sends this token instead of basic authorization.
    pub fn bearer_token(self, token: impl Into<String>) -> Builder {
        Builder { bearer: Some(Secret(token.into())), ..self }
    }

    /// The APP-NAME of every line. See [`Fields`] for its and the next ones' defaults.
    pub fn app(mut self, app: impl Into<String>) -> Builder {
        self.fields.app = app.into();
        self
    }

    /// The PROCID of every line, such as `web.1`.
    pub fn procid(mut self, procid: impl Into<String>) -> Builder {
        self.fields.procid = procid.into();
        self
    }

    /// The HOSTNAME of every line.
    pub fn hostname(mut self, hostname: impl Into<String>) -> Builder {
        self.fields.hostname = hostname.into();
        self
    }

    /// All header fields at once.
    pub fn fields(self, fields: Fields) -> Builder {
        Builder { fields, ..self }
    }

    /// The most lines that wait. Default 25,000; 0 counts as 1. What is in flight is not among them.
    pub fn ring_lines(mut self, lines: usize) -> Builder {
        self.ring.messages = lines;
        self
    }

    /// The most bytes that wait. Default 16 MiB, at least 256 KiB.
    pub fn ring_bytes(mut self, bytes: usize) -> Builder {
        self.ring.bytes = bytes.max(LEAST_RING_BYTES);
        self
    }

    /// What happens when the ring is full. Default: the oldest lines are dropped.
    pub fn overflow(self, overflow: Overflow) -> Builder {
        Builder { overflow, ..self }
    }

    /// The most lines in one request. Default 500; 0 counts as 1. A request also ends at 1,000,000 bytes.
    pub fn batch_lines(mut self, lines: usize) -> Builder {
        self.batch.messages = lines.max(1);
        self
    }

    /// How long a line may wait for others to share its request. Default 5 ms. A lone line does not wait.
    pub fn pace(self, pace: Duration) -> Builder {
        Builder { pace, ..self }
    }

    /// The most bytes of a line; longer ones are cut into several. Default 10,000.
    pub fn max_line(self, bytes: usize) -> Builder {
        Builder { max_line: bytes, ..self }
    }

    /// Compresses requests.
    pub fn gzip(self, gzip: bool) -> Builder {
        Builder { gzip, ..self }
    }

    /// How long dropping the guard may take to ship what waits. Default 5 s.
    pub fn grace(self, grace: Duration) -> Builder {
        Builder { grace, ..self }
    }

    /// `User-Agent`. Default `logplex-core/<version>`.
    pub fn user_agent(self, user_agent: HeaderValue) -> Builder {
        Builder { user_agent: Some(user_agent), ..self }
    }

    /// The longest that connecting may take. Default 3 s.
    pub fn connect_timeout(self, timeout: Duration) -> Builder {
        Builder { connect_timeout: Some(timeout), ..self }
    }

    /// The longest that an attempt may take. Default 5 s.
    pub fn request_timeout(self, timeout: Duration) -> Builder {
        Builder { request_timeout: Some(timeout), ..self }
    }

    /// When to try again and when to give up. Default: for a minute.
    pub fn retry(self, retry: RetryPolicy) -> Builder {
        Builder { retry, ..self }
    }

    /// Accepts any certificate. Whoever can sit between reads and forges everything.
    pub fn insecure(self, insecure: bool) -> Builder {
        Builder { insecure, ..self }
    }

    /// Trusts the certificates in this PEM text besides the platform's.
    pub fn ca(self, pem: impl Into<Vec<u8>>) -> Builder {
        Builder { ca: Some(pem.into()), ..self }
    }

    /// Goes through a proxy where these name one. Default: none.
    pub fn proxies(self, proxies: Proxies) -> Builder {
        Builder { proxies: Arc::new(proxies), ..self }
    }

    /// Checks everything without starting anything.
    ///
    /// # Errors
    /// As [`Builder::start`], but for [`StartError::Tls`] and [`StartError::Thread`].
    pub fn check(&self) -> Result<(), StartError> {
        self.endpoint()?;
        self.fields.check()?;
        if !(4..=MOST_LINE).contains(&self.max_line) {
            return Err(StartError::MaxLine);
        }
        Ok(())
    }

    /// Starts the shipping thread. Needs no async runtime and minds none.
    ///
    /// # Errors
    /// [`StartError`] if a setting is wrong or the machine refuses; nothing has been started then.
    pub fn start(self) -> Result<Guard, StartError> {
        self.check()?;
        let outlet = self.outlet()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;

        let (wake, woken) = bounded(1);
        let (orders, ordered) = bounded(ORDERS);
        let (done, is_done) = bounded(1);
        let (stop, stopped) = watch::channel(None);
        let queue = Arc::new(Queue::new(self.ring, self.batch, self.overflow, wake));
        let counts = Arc::new(Counts::default());
        let worker = Worker {
            queue: queue.clone(),
            counts: counts.clone(),
            outlet,
            runtime,
            form: Form { app: self.fields.app.clone(), gzip: self.gzip },
            batch: self.batch,
            size: self.batch.bytes,
            pace: self.pace,
            wake: woken,
            orders: ordered,
            stop: stopped,
            warnings: Warnings::default(),
            telling: Telling::new(),
        };
        thread::Builder::new().name("logplex-shuttle".to_owned()).spawn(move || {
            super::mark_own_thread();
            worker.run();
            // Dropped unsent if the worker panics, which says the same.
            done.send(()).ok();
        })?;
        let shuttle = Shuttle {
            queue,
            counts,
            orders,
            head: Head::new(&self.fields),
            fields: Arc::new(self.fields),
            max_line: self.max_line,
        };
        Ok(Guard::new(shuttle, stop, is_done, self.grace))
    }

    fn endpoint(&self) -> Result<Endpoint, StartError> {
        // Lines are shipped by requests that are answered, or what was lost could not be told.
        let endpoint = match Endpoint::parse(&self.url.0) {
            Ok(endpoint) if endpoint.protocol() == Protocol::Http => endpoint,
            Ok(_) | Err(EndpointError::Scheme) => return Err(EndpointError::NotHttp.into()),
            Err(error) => return Err(error.into()),
        };
        Ok(match &self.bearer {
            Some(token) => {
                let value = HeaderValue::try_from(format!("Bearer {}", token.0));
                endpoint.with_authorization(value.map_err(|_| StartError::BearerToken)?)
            }
            None if endpoint.has_authorization() => endpoint,
            None => endpoint.with_authorization(basic_authorization(b"token", self.fields.app.as_bytes())),
        })
    }

    fn outlet(&self) -> Result<Outlet, StartError> {
        let endpoint = self.endpoint()?;
        let trust = match &self.ca {
            _ if self.insecure => Trust::Insecure,
            Some(pem) => Trust::PlatformAnd(pem),
            None => Trust::Platform,
        };
        let tls = if endpoint.is_tls() { Some(tls_config(trust)?) } else { None };
        let ours = HeaderValue::from_static(concat!("logplex-core/", env!("CARGO_PKG_VERSION")));
        let mut config = OutletConfig::new(self.user_agent.clone().unwrap_or(ours), tls);
        config.connect_timeout = self.connect_timeout.unwrap_or(config.connect_timeout);
        config.request_timeout = self.request_timeout.unwrap_or(config.request_timeout);
        config.retry = self.retry;
        config.proxies = Arc::clone(&self.proxies);
        Ok(Outlet::new(endpoint, config))
    }
}

/// A text that is never printed.
#[derive(Clone)]
struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}
