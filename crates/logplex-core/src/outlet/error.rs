//! What can go wrong with an attempt, and what is left when a request is given up.
//!
//! Nothing here holds a URL, a header or a byte of a body: errors may be logged and shown as they are.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http::status::StatusCode;
use rustls::CertificateError;

use super::guard::Forbidden;
use crate::ledger::LossReason;

/// Why there is no connection. Nothing was sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The look-up of the host's name failed.
    #[error("the host name cannot be looked up")]
    Lookup(#[source] io::Error),
    /// The host's name has no address.
    #[error("the host name has no address")]
    NoAddress,
    /// The host has only addresses that the [`AddressGuard`](super::AddressGuard) refuses.
    #[error("the address is not allowed")]
    Forbidden(#[from] Forbidden),
    /// No address took the connection; this is the last one's answer.
    #[error("cannot connect to {address}")]
    Tcp {
        /// The address tried last.
        address: SocketAddr,
        /// What it answered.
        source: io::Error,
    },
    /// The proxy broke off, or answered something that is not HTTP.
    #[error("the proxy gave no answer that can be understood")]
    Proxy(#[source] io::Error),
    /// The proxy opens no tunnel to the endpoint.
    #[error("the proxy answered {0}")]
    NoTunnel(StatusCode),
    /// The TLS handshake failed.
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
    /// The endpoint wants TLS and the outlet was given no configuration of it.
    #[error("no TLS configuration for an endpoint that wants one")]
    NoTls,
    /// It took too long.
    #[error("timed out {doing}")]
    TimedOut {
        /// What was being done.
        doing: &'static str,
    },
}

/// Why an attempt has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttemptError {
    /// There was no connection. Nothing was sent.
    #[error("no connection")]
    Connect(#[from] ConnectError),
    /// The connection broke, or what came is not HTTP. The request may have been taken.
    #[error("the connection broke before an answer came")]
    Broken(#[source] io::Error),
    /// A syslog peer closed the connection before it took all. What it had not acknowledged it has not read.
    #[error("the peer closed the connection")]
    Closed,
    /// The connection to a syslog peer broke. What it had not acknowledged may have been taken.
    #[error("the connection broke")]
    Reset(#[source] io::Error),
    /// A syslog peer acknowledged nothing for this long.
    #[error("the peer took nothing for {0:?}")]
    Stalled(Duration),
    /// No answer within the request timeout. The request may have been taken.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The stop instant came first.
    #[error("told to stop")]
    Stopped,
}

impl AttemptError {
    /// What is wrong with the peer's certificate, if that was the reason.
    pub fn certificate(&self) -> Option<&CertificateError> {
        let AttemptError::Connect(ConnectError::Tls(error)) = self else { return None };
        match error.get_ref()?.downcast_ref::<rustls::Error>()? {
            rustls::Error::InvalidCertificate(error) => Some(error),
            _ => None,
        }
    }
}

/// How the last attempt of a request ended that was given up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LastOutcome {
    /// With this answer.
    #[error("the peer answered {0}")]
    Answered(StatusCode),
    /// Without one.
    #[error(transparent)]
    Failed(#[from] AttemptError),
}

/// A request that was given up. Its messages are lost; the reason says whether they may have been taken.
#[derive(Debug, thiserror::Error)]
#[error("given up ({}), attempts: {attempts}", reason.as_str())]
#[non_exhaustive]
pub struct GivenUp {
    /// Why, as the ledger counts it: [`LossReason::Unanswered`] if any attempt may have been taken.
    pub reason: LossReason,
    /// How many attempts were made.
    pub attempts: u32,
    /// How the last one ended.
    #[source]
    pub last: LastOutcome,
}

impl GivenUp {
    /// What is wrong with the peer's certificate, if the last attempt failed on it.
    pub fn certificate(&self) -> Option<&CertificateError> {
        match &self.last {
            LastOutcome::Failed(error) => error.certificate(),
            LastOutcome::Answered(_) => None,
        }
    }
}
