//! From an endpoint to an open connection: look-up, address check, TCP, TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Host;

use super::connection::Stream;
use super::endpoint::Endpoint;
use super::error::ConnectError;
use super::{AddressGuard, OutletConfig, proxy};

/// The most addresses of one name that are tried.
const MOST_ADDRESSES: usize = 8;

/// Opens a stream to the endpoint, by `deadline`.
pub(super) async fn connect(
    endpoint: &Endpoint,
    config: &OutletConfig,
    deadline: Instant,
) -> Result<Box<dyn Stream>, ConnectError> {
    let stream = connect_as(endpoint, config, deadline, |tcp| tcp).await?;
    Ok(match stream {
        Secured::No(tcp) => Box::new(tcp) as Box<dyn Stream>,
        Secured::Tls(tls) => tls,
    })
}

/// A stream, under TLS if the endpoint wants it.
pub(super) enum Secured<S> {
    No(S),
    Tls(Box<TlsStream<S>>),
}

/// As [`connect`]; `wrap` is put between TCP and TLS.
pub(super) async fn connect_as<S: AsyncRead + AsyncWrite + Unpin>(
    endpoint: &Endpoint,
    config: &OutletConfig,
    deadline: Instant,
    wrap: impl FnOnce(TcpStream) -> S,
) -> Result<Secured<S>, ConnectError> {
    let mut doing = "";
    let steps = async {
        let tcp = connect_tcp(endpoint, config, deadline, &mut doing).await?;
        secure(endpoint, config.tls.as_ref(), wrap(tcp), &mut doing).await
    };
    let stream = timeout_at(deadline, steps).await;
    stream.unwrap_or(Err(ConnectError::TimedOut { doing }))
}

/// Looks the endpoint up and connects to an address of it that the guard lets through, or to its proxy.
async fn connect_tcp(
    endpoint: &Endpoint,
    config: &OutletConfig,
    deadline: Instant,
    doing: &mut &'static str,
) -> Result<TcpStream, ConnectError> {
    *doing = "looking up the host name";
    let addresses = resolve(endpoint, config).await?;
    *doing = "connecting";
    let mut tcp = open(&addresses, deadline).await?;
    if let Some(proxy) = tunnel_proxy(endpoint, config) {
        *doing = "waiting for the proxy";
        proxy::tunnel(&mut tcp, proxy, endpoint).await?;
    }
    Ok(tcp)
}

/// The addresses of the endpoint that the guard lets through, or those of its proxy.
pub(super) async fn resolve(
    endpoint: &Endpoint,
    config: &OutletConfig,
) -> Result<Vec<SocketAddr>, ConnectError> {
    match (config.proxies.of(endpoint), endpoint.address()) {
        (None, _) => addresses(endpoint, Some(config.addresses)).await,
        (Some(proxy), address) => {
            // The proxy looks names up; what is written as a number can be judged here.
            address.map_or(Ok(()), |address| config.addresses.check(address))?;
            addresses(proxy, None).await
        }
    }
}

/// Connects to the first of the addresses that answers.
pub(super) async fn open(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, ConnectError> {
    let tcp = connect_to_one_of(addresses, deadline).await?;
    // What is sent is written whole; waiting for more of it would only delay a small one. A socket that takes
    // no options is broken, which the first write will say better.
    tcp.set_nodelay(true).ok();
    Ok(tcp)
}

/// The proxy that has to open a tunnel to the endpoint.
pub(super) fn tunnel_proxy<'a>(endpoint: &Endpoint, config: &'a OutletConfig) -> Option<&'a Endpoint> {
    config.proxies.of(endpoint).filter(|_| endpoint.is_tls())
}

/// Shakes hands if the endpoint wants TLS.
pub(super) async fn secure<S: AsyncRead + AsyncWrite + Unpin>(
    endpoint: &Endpoint,
    tls: Option<&Arc<ClientConfig>>,
    stream: S,
    doing: &mut &'static str,
) -> Result<Secured<S>, ConnectError> {
    let Some(name) = &endpoint.server_name else { return Ok(Secured::No(stream)) };
    *doing = "in the TLS handshake";
    let tls = TlsConnector::from(Arc::clone(tls.ok_or(ConnectError::NoTls)?));
    let tls = tls.connect(name.clone(), stream).await.map_err(ConnectError::Tls)?;
    Ok(Secured::Tls(Box::new(tls)))
}

/// The endpoint's addresses that the guard, if there is one, lets through; at least one.
async fn addresses(
    endpoint: &Endpoint,
    guard: Option<AddressGuard>,
) -> Result<Vec<SocketAddr>, ConnectError> {
    let found = match (endpoint.address(), &endpoint.host) {
        (None, Host::Domain(name)) => {
            let found = lookup_host((name.as_str(), endpoint.port)).await.map_err(ConnectError::Lookup)?;
            found.take(MOST_ADDRESSES).collect()
        }
        (address, _) => Vec::from_iter(address.map(|address| SocketAddr::new(address, endpoint.port))),
    };
    let mut refused = None;
    let mut allowed = found;
    allowed.retain(|address| match guard.map_or(Ok(()), |guard| guard.check(address.ip())) {
        Ok(()) => true,
        Err(forbidden) => {
            refused = Some(forbidden);
            false
        }
    });
    match refused {
        Some(forbidden) if allowed.is_empty() => Err(forbidden.into()),
        _ if allowed.is_empty() => Err(ConnectError::NoAddress),
        _ => Ok(allowed),
    }
}

/// Connects to the first address that answers. Each gets an equal share of what time is left, so that one
/// that swallows packets leaves some for the next.
async fn connect_to_one_of(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, ConnectError> {
    let mut failed = ConnectError::NoAddress;
    for (address, untried) in addresses.iter().zip((1..=addresses.len() as u32).rev()) {
        let share: Duration = deadline.saturating_duration_since(Instant::now()) / untried;
        failed = match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(source)) => ConnectError::Tcp { address: *address, source },
            Err(_) => ConnectError::TimedOut { doing: "connecting" },
        };
    }
    Err(failed)
}
