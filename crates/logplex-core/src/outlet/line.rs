//! One connection to a syslog peer, and what is known of the bytes that went over it.
//!
//! Syslog over TCP has no answers. What there is instead: the peer's TCP acknowledges bytes, which the kernel
//! tells as a number that survives the end of the connection; and the end itself says whether the peer's
//! process had read them. A process that closes a socket whose bytes it has all read ends it with FIN, which
//! reading shows as the end of the stream, whatever comes after it; one that leaves bytes unread, or is gone,
//! ends it with RST, which reading shows as an error.

use std::collections::VecDeque;
use std::future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use nix::libc;
use nix::sys::socket::sockopt::{GetStruct, KeepAlive, Linger, TcpKeepIdle, TcpKeepInterval};
use nix::sys::socket::{getsockopt, setsockopt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::connect::{Secured, connect_as};
use super::error::{AttemptError, ConnectError};
use super::{Endpoint, OutletConfig};

/// TLS records hold no more. What went ahead of a record that was acknowledged is known to be acknowledged.
const PIECE: usize = 16 * 1024;

/// After this many seconds without traffic the kernel asks whether the peer is there, and then again.
const KEEP_ALIVE_S: u32 = 30;
const KEEP_ALIVE_INTERVAL_S: u32 = 10;

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The peer closed it, having read all that it acknowledged.
    Closed,
    /// Otherwise.
    Broken,
}

/// An open connection.
pub(super) struct Line {
    stream: Secured<Counted>,
    end: Option<End>,
    /// What was wrong when it broke.
    problem: Option<io::Error>,
    /// When something was last written.
    pub(super) used: Instant,
    /// How many bytes were given to be written.
    given: u64,
    /// How many bytes had been written when the write that is under way began.
    start: Option<u64>,
    /// How many bytes had been given, and written, when pieces of them were done that may not be acknowledged.
    marks: VecDeque<(u64, u64)>,
    /// How many of the bytes given were acknowledged, and since when no more.
    acknowledged: (u64, Instant),
}

/// TCP that counts the bytes it took.
struct Counted {
    tcp: TcpStream,
    written: u64,
    /// What the kernel says was acknowledged of a connection that has carried nothing: its SYN.
    acknowledged_before: u64,
}

/// The beginning of Linux's `struct tcp_info` (since 4.2), which only ever grows at its end.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct TcpInfo {
    state: u8,
    _other: [u8; 119],
    bytes_acked: u64,
}

/// `TCP_CLOSE`: both sides have closed, or one has reset the connection.
const CLOSED: u8 = 7;

#[derive(Clone, Copy, Debug)]
struct GetTcpInfo;

nix::getsockopt_impl!(GetTcpInfo, libc::IPPROTO_TCP, libc::TCP_INFO, TcpInfo, GetStruct<TcpInfo>);

fn bytes_acked(tcp: &TcpStream) -> u64 {
    // A socket that does not tell is one of which nothing is known to have arrived.
    getsockopt(tcp, GetTcpInfo).map_or(0, |info| info.bytes_acked)
}

impl Line {
    pub(super) async fn connect(
        endpoint: &Endpoint,
        config: &OutletConfig,
        deadline: Instant,
    ) -> Result<Line, ConnectError> {
        let stream = connect_as(endpoint, config, deadline, |tcp| {
            // Not supported is not needed: a peer that is gone takes nothing, which has a deadline of its own.
            setsockopt(&tcp, KeepAlive, &true).ok();
            setsockopt(&tcp, TcpKeepIdle, &KEEP_ALIVE_S).ok();
            setsockopt(&tcp, TcpKeepInterval, &KEEP_ALIVE_INTERVAL_S).ok();
            Counted { acknowledged_before: bytes_acked(&tcp), tcp, written: 0 }
        });
        Ok(Line {
            stream: stream.await?,
            end: None,
            problem: None,
            used: Instant::now(),
            given: 0,
            start: None,
            marks: VecDeque::new(),
            acknowledged: (0, Instant::now()),
        })
    }

    fn counted(&self) -> &Counted {
        match &self.stream {
            Secured::No(counted) => counted,
            Secured::Tls(tls) => tls.get_ref().0,
        }
    }

    /// Writes `body`. Returns when the kernel has taken all, false when the connection ended first.
    pub(super) async fn write(&mut self, body: &[u8]) -> bool {
        if self.in_flight() == 0 {
            self.acknowledged.1 = Instant::now();
        }
        self.start = Some(self.counted().written);
        for piece in body.chunks(PIECE) {
            if !self.write_piece(piece).await {
                return false;
            }
            self.given += piece.len() as u64;
            self.marks.push_back((self.given, self.counted().written));
            self.used = Instant::now();
        }
        self.start = None;
        true
    }

    async fn write_piece(&mut self, piece: &[u8]) -> bool {
        let mut rest = piece;
        let written = future::poll_fn(|cx| {
            if self.poll_end(cx).is_ready() {
                return Poll::Ready(Ok(false));
            }
            while !rest.is_empty() {
                let written = ready!(Pin::new(self.stream.io()).poll_write(cx, rest))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                rest = &rest[written..];
            }
            Pin::new(self.stream.io()).poll_flush(cx).map_ok(|()| true)
        });
        match written.await {
            Ok(open) => open,
            Err(error) => {
                // Reading tells how it ended, and says so at once where writing has failed.
                if self.look().await {
                    self.broken(error);
                }
                false
            }
        }
    }

    /// How many of the bytes given are known to be acknowledged.
    pub(super) fn acknowledged(&mut self) -> u64 {
        let counted = self.counted();
        let known =
            bytes_acked(&counted.tcp).saturating_sub(counted.acknowledged_before).min(counted.written);
        let mut acknowledged = self.acknowledged.0;
        while let Some((given, written)) = self.marks.front()
            && *written <= known
        {
            acknowledged = *given;
            self.marks.pop_front();
        }
        if let Secured::No(_) = self.stream {
            // What is written is what was given.
            acknowledged = known;
        }
        if acknowledged > self.acknowledged.0 {
            self.acknowledged = (acknowledged, Instant::now());
        }
        acknowledged
    }

    /// How many of the bytes given are not known to be acknowledged.
    pub(super) fn in_flight(&mut self) -> u64 {
        self.given.saturating_sub(self.acknowledged())
    }

    /// For how long the peer has acknowledged nothing of what is in flight.
    pub(super) fn silence(&mut self) -> Duration {
        if self.in_flight() == 0 { Duration::ZERO } else { self.acknowledged.1.elapsed() }
    }

    /// Whether nothing can come of what was written and not acknowledged: it has been answered by a reset.
    pub(super) fn is_over(&self) -> bool {
        getsockopt(&self.counted().tcp, GetTcpInfo).map_or(true, |info| info.state == CLOSED)
    }

    /// Whether a write was begun and not ended of which anything was written.
    pub(super) fn has_begun(&self) -> bool {
        self.start.is_some_and(|start| self.counted().written > start)
    }

    /// How the connection ended, if it is known to have.
    pub(super) fn end(&self) -> Option<End> {
        self.end
    }

    /// Whether it broke, also if nobody has read that yet. Of one that was not hung up.
    pub(super) fn is_broken(&self) -> bool {
        self.end.map_or_else(|| self.is_over(), |end| end == End::Broken)
    }

    /// Why it ended; what was wrong is said once.
    pub(super) fn why_ended(&mut self) -> AttemptError {
        match self.end {
            Some(End::Closed) => AttemptError::Closed,
            _ => {
                let problem = self.problem.take();
                AttemptError::Reset(problem.unwrap_or_else(|| io::ErrorKind::ConnectionReset.into()))
            }
        }
    }

    /// Breaks the connection: what the kernels still hold of it goes nowhere.
    pub(super) fn cut(&mut self) {
        let at_once = libc::linger { l_onoff: 1, l_linger: 0 };
        // Where that is not possible the peer may get what is sent again.
        setsockopt(&self.counted().tcp, Linger, &at_once).ok();
        self.broken(io::ErrorKind::TimedOut.into());
    }

    fn broken(&mut self, problem: io::Error) {
        self.end = Some(End::Broken);
        self.problem = Some(problem);
    }

    /// Waits until the connection ends. What the peer says is thrown away. Cancel safe.
    pub(super) async fn ended(&mut self) {
        future::poll_fn(|cx| self.poll_end(cx)).await;
    }

    /// Looks once, without waiting, whether the connection still stands.
    pub(super) async fn look(&mut self) -> bool {
        future::poll_fn(|cx| Poll::Ready(self.poll_end(cx).is_pending())).await
    }

    /// Says that nothing more will come.
    pub(super) async fn hang_up(&mut self) {
        // One that cannot be hung up has ended.
        future::poll_fn(|cx| Pin::new(self.stream.io()).poll_shutdown(cx)).await.ok();
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut space = [0; 1024];
        while self.end.is_none() {
            let mut read = ReadBuf::new(&mut space);
            match ready!(Pin::new(self.stream.io()).poll_read(cx, &mut read)) {
                Ok(()) if read.filled().is_empty() => self.end = Some(End::Closed),
                Ok(()) => {}
                // TLS without its farewell: it is TCP that says whether all was read.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.end = Some(End::Closed),
                Err(error) => self.broken(error),
            }
        }
        Poll::Ready(())
    }
}

/// Both halves of a stream.
trait Io: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Io for S {}

impl Secured<Counted> {
    fn io(&mut self) -> &mut (dyn Io + Send) {
        match self {
            Secured::No(counted) => counted,
            Secured::Tls(tls) => tls,
        }
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.tcp).poll_write(cx, buf))?;
        self.written += written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
