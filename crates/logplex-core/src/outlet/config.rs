//! How an outlet behaves: its timeouts, whom it trusts, where it may connect, when it gives up.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderValue;
use rustls::ClientConfig;

use super::guard::AddressGuard;
use super::proxy::Proxies;
use super::retry::RetryPolicy;

/// The original's time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The original's time for a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Shorter than the 60 s after which common proxies and balancers close an idle connection, so that it is
/// mostly we who close.
const IDLE_CLOSE: Duration = Duration::from_secs(55);

/// How an outlet behaves. Cheap to clone.
#[derive(Clone)]
pub struct OutletConfig {
    /// The longest that look-up, TCP and TLS may take together. Default 3 s.
    pub connect_timeout: Duration,
    /// The longest that an exchange may take, from connecting to the last byte of the answer. Default 5 s.
    pub request_timeout: Duration,
    /// A connection idle for this long is not used again. Default 55 s.
    pub idle_close: Duration,
    /// Sent with every request.
    pub user_agent: HeaderValue,
    /// Whom to trust, from [`tls_config`](super::tls_config). `None` if the endpoint is plain http: an https
    /// one is then unreachable.
    pub tls: Option<Arc<ClientConfig>>,
    /// Which addresses may be connected to. Default [`AddressGuard::Any`].
    pub addresses: AddressGuard,
    /// Proxies for http and https endpoints. Default none.
    pub proxies: Arc<Proxies>,
    /// When to try again and when to give up.
    pub retry: RetryPolicy,
}

impl OutletConfig {
    /// The defaults, for an outlet that calls itself `user_agent`.
    pub fn new(user_agent: HeaderValue, tls: Option<Arc<ClientConfig>>) -> OutletConfig {
        OutletConfig {
            connect_timeout: CONNECT_TIMEOUT,
            request_timeout: REQUEST_TIMEOUT,
            idle_close: IDLE_CLOSE,
            user_agent,
            tls,
            addresses: AddressGuard::default(),
            proxies: Arc::default(),
            retry: RetryPolicy::default(),
        }
    }
}

impl fmt::Debug for OutletConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutletConfig")
            .field("connect_timeout", &self.connect_timeout)
            .field("request_timeout", &self.request_timeout)
            .field("idle_close", &self.idle_close)
            .field("user_agent", &self.user_agent)
            .field("tls", &self.tls.is_some())
            .field("addresses", &self.addresses)
            .field("proxies", &self.proxies)
            .field("retry", &self.retry)
            .finish()
    }
}
