//! Syslog over TCP and TLS: the door for whoever cannot post (RFC 6587 framing, RFC 5424 and RFC 3164 messages).
//!
//! A message's token is a parameter `token` in its structured data, or its APP-NAME; or the listener has one for
//! all that comes. There is no way to answer a sender, and it never waits for a reader; so what cannot be taken is
//! counted by reason (`logplex_syslog_rejected_messages_total`), and the connection goes on. Only after a
//! malformed octet count nothing can be trusted, and it is closed.
//!
//! What a read brings is handed over at once, consecutive messages of one token as one batch. A connection holds
//! at most one read and one frame.

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::Utc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use self::framing::{BUFFER_MAX, Framing, Piece};
use self::intake::{Front, Intake};
use crate::config::Secret;
use crate::http::App;
use crate::mailbox::lock;
use crate::metrics::{Rejection, Rejections};

mod credential;
mod framing;
mod intake;

/// How much is read at once: as much as the last reads brought, within these.
const READ_MIN: usize = 4 * 1024;
const READ_MAX: usize = 64 * 1024;

/// How long a message may take from its first byte to its last.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long saying goodbye may take, which TLS does.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// At a stop a connection is read until nothing comes for this long.
const QUIET: Duration = Duration::from_millis(50);

/// Rejections and failed handshakes are logged at most this often.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// What came in over syslog, by all listeners together.
#[derive(Debug, Default)]
pub(crate) struct SyslogCounts {
    accepted: AtomicU64,
    /// Rejected messages by reason.
    pub(crate) rejections: Rejections,
    connections: AtomicUsize,
    told: Mutex<Told>,
}

/// What the log was told of rejections.
#[derive(Debug, Default)]
struct Told {
    at: Option<Instant>,
    /// How many messages were rejected since then.
    held_back: u64,
}

impl SyslogCounts {
    fn accepted(&self, messages: u64) {
        self.accepted.fetch_add(messages, Ordering::Relaxed);
    }

    /// Messages taken and messages rejected so far.
    pub(crate) fn totals(&self) -> (u64, u64) {
        (self.accepted.load(Ordering::Relaxed), self.rejections.total())
    }

    /// Connections now.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Logs a rejection, unless something was logged just now; it never says what was in the message.
    fn tell(&self, peer: SocketAddr, rejection: Rejection, messages: u64) {
        if let Some(others) = self.may_tell(messages) {
            warn!(%peer, reason = rejection.as_str(), messages, others, "syslog messages rejected");
        }
    }

    /// Logs a handshake that failed, unless something was logged just now.
    fn tell_handshake(&self, peer: SocketAddr, error: &dyn Display) {
        if let Some(others) = self.may_tell(0) {
            warn!(%peer, %error, others, "no TLS with a syslog sender");
        }
    }

    /// How many other messages were rejected since the log was told last, or `None` if that was just now.
    fn may_tell(&self, messages: u64) -> Option<u64> {
        let now = Instant::now();
        let mut told = lock(&self.told);
        told.held_back += messages;
        if told.at.is_some_and(|at| now.duration_since(at) < TOLD_EVERY) {
            return None;
        }
        told.at = Some(now);
        Some(std::mem::take(&mut told.held_back) - messages)
    }
}

/// What the connections of one listener share.
#[derive(Debug)]
pub(crate) struct SyslogListener {
    pub(crate) app: Arc<App>,
    /// The token of all messages, if it has one.
    pub(crate) token: Option<Secret>,
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// A connection that brings nothing for this long is closed.
    pub(crate) idle: Duration,
    /// At a stop, for how long what still comes is read.
    pub(crate) last_read: Duration,
}

impl SyslogListener {
    /// Serves one connection to its end.
    pub(crate) async fn serve(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        cancelled: CancellationToken,
    ) {
        let _open = Open::new(&self.app.syslog);
        match &self.tls {
            None => Connection::new(&self, peer).run(stream, &cancelled).await,
            Some(tls) => {
                let handshake = timeout(HANDSHAKE_TIMEOUT, TlsAcceptor::from(tls.clone()).accept(stream));
                let shaken = tokio::select! {
                    shaken = handshake => shaken,
                    () = cancelled.cancelled() => return,
                };
                match shaken {
                    Ok(Ok(stream)) => Connection::new(&self, peer).run(stream, &cancelled).await,
                    Ok(Err(error)) => self.app.syslog.tell_handshake(peer, &error),
                    Err(elapsed) => self.app.syslog.tell_handshake(peer, &elapsed),
                }
            }
        }
    }
}

/// Counts a connection while it is open.
struct Open<'a>(&'a SyslogCounts);

impl Open<'_> {
    fn new(counts: &SyslogCounts) -> Open<'_> {
        counts.connections.fetch_add(1, Ordering::Relaxed);
        Open(counts)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Closed,
    Broken,
    Idle,
    TooSlow,
    Malformed,
    Stopped,
}

struct Connection<'a> {
    listener: &'a SyslogListener,
    peer: SocketAddr,
    framing: Framing,
    front: Option<Front>,
    /// What was read and is not yet a message.
    buffer: Vec<u8>,
    /// How much to read at once.
    room: usize,
    /// Since when the message at the front of the buffer is incomplete.
    begun: Option<Instant>,
    accepted: u64,
    rejected: u64,
}

impl<'a> Connection<'a> {
    fn new(listener: &'a SyslogListener, peer: SocketAddr) -> Connection<'a> {
        Connection {
            listener,
            peer,
            framing: Framing::new(),
            front: None,
            buffer: Vec::new(),
            room: READ_MIN,
            begun: None,
            accepted: 0,
            rejected: 0,
        }
    }

    async fn run(mut self, mut stream: impl AsyncRead + AsyncWrite + Unpin, cancelled: &CancellationToken) {
        let end = match self.receive(&mut stream, cancelled).await {
            End::Stopped => self.receive_last(&mut stream).await,
            end => end,
        };
        if end != End::Malformed {
            self.take_rest(end);
        }
        if !matches!(timeout(CLOSE_TIMEOUT, stream.shutdown()).await, Ok(Ok(()))) {
            debug!(peer = %self.peer, "syslog connection not closed in an orderly way");
        }
        let Connection { peer, accepted, rejected, .. } = self;
        debug!(%peer, ?end, accepted, rejected, "syslog connection ended");
    }

    async fn receive(&mut self, stream: &mut (impl AsyncRead + Unpin), cancelled: &CancellationToken) -> End {
        let mut last = Instant::now();
        loop {
            let deadline = self.begun.map_or(last + self.listener.idle, |begun| begun + MESSAGE_TIMEOUT);
            let read = tokio::select! {
                read = timeout_at(deadline, self.read(stream)) => read,
                () = cancelled.cancelled() => return End::Stopped,
            };
            match read {
                Ok(Ok(0)) => return End::Closed,
                Ok(Ok(read)) => {
                    last = Instant::now();
                    if !self.take(read, last) {
                        return End::Malformed;
                    }
                    // Else a sender that is never out of bytes would fill rings whose readers wait for their turn.
                    yield_now().await;
                }
                Ok(Err(error)) => {
                    debug!(peer = %self.peer, %error, "syslog connection broken");
                    return End::Broken;
                }
                Err(_elapsed) if self.begun.is_some() => return End::TooSlow,
                Err(_elapsed) => return End::Idle,
            }
        }
    }

    /// Takes what was sent before the stop: until it is quiet, or time is up.
    async fn receive_last(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> End {
        let until = Instant::now() + self.listener.last_read;
        while Instant::now() < until {
            let quiet = (Instant::now() + QUIET).min(until);
            match timeout_at(quiet, self.read(stream)).await {
                Ok(Ok(read)) if read > 0 => {
                    if !self.take(read, Instant::now()) {
                        return End::Malformed;
                    }
                }
                _ => break,
            }
        }
        End::Stopped
    }

    /// Reads once. Cancel safe.
    async fn read(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<usize> {
        self.buffer.reserve(self.room);
        stream.read_buf(&mut self.buffer).await
    }

    /// Hands over what the buffer holds, after a read of `read` bytes. Returns false if it is no syslog.
    fn take(&mut self, read: usize, now: Instant) -> bool {
        let buffer = std::mem::take(&mut self.buffer);
        let mut rest = &buffer[..];
        let mut pieces = 0;
        let well_formed = self.with_intake(buffer.len(), |framing, intake| {
            loop {
                match framing.next(&mut rest) {
                    Ok(Some(piece)) => {
                        intake.add(piece);
                        pieces += 1;
                    }
                    Ok(None) => return true,
                    Err(_malformed) => {
                        intake.reject(Rejection::Malformed, 1);
                        return false;
                    }
                }
            }
        });
        let left = rest.len();
        debug_assert!(left <= BUFFER_MAX, "{left} bytes are left over");
        self.keep(buffer, left, read);
        let incomplete = left > 0 || self.framing.is_passing();
        // Each message that was completed gives the next one its own time.
        self.begun = incomplete.then(|| self.begun.filter(|_| pieces == 0).unwrap_or(now));
        well_formed
    }

    /// Keeps the last `left` bytes of what was read. A sender that is slower than we are gets a small buffer, and
    /// who sends nothing holds nothing.
    fn keep(&mut self, mut buffer: Vec<u8>, left: usize, read: usize) {
        self.room = match read {
            read if read >= self.room => (self.room * 2).min(READ_MAX),
            read if read < self.room / 4 => (self.room / 2).max(READ_MIN),
            _ => self.room,
        };
        buffer.drain(..buffer.len() - left);
        buffer.shrink_to(self.room + left);
        self.buffer = buffer;
    }

    /// What is left when nothing follows.
    fn take_rest(&mut self, end: End) {
        let rest = std::mem::take(&mut self.buffer);
        self.with_intake(rest.len(), |framing, intake| match framing.finish(&rest) {
            Some(Piece::CutShort) if end == End::TooSlow => intake.reject(Rejection::Timeout, 1),
            Some(piece) => intake.add(piece),
            None => {}
        });
    }

    /// Lets `add` put pieces in, hands them over, and counts.
    fn with_intake<T>(&mut self, size: usize, add: impl FnOnce(&mut Framing, &mut Intake<'_>) -> T) -> T {
        let app = &*self.listener.app;
        let bound = self.listener.token.as_ref().map(Secret::expose);
        let mut intake = Intake::new(app, bound, &mut self.front, size, Utc::now());
        let result = add(&mut self.framing, &mut intake);
        intake.publish();
        self.accepted += intake.accepted;
        self.rejected += intake.rejected;
        if let Some(rejection) = intake.rejection {
            app.syslog.tell(self.peer, rejection, intake.rejected);
        }
        result
    }
}

#[cfg(test)]
mod tests;
