//! The bytes below HTTP: a stream that remembers what the outlet's rules need to know about them.
//!
//! A peer that answers early (413, 503) and closes makes our next write fail while its answer waits to be
//! read, and hyper would report the write. So a failed write is swallowed: reading then yields the answer or,
//! if there is none, the end of the stream.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// TCP, or TLS over it.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A stream that notes its [`Traffic`].
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    traffic: Traffic,
}

/// What went over a [`Wire`], seen from outside the HTTP library that owns it.
///
/// Relaxed is enough: one task owns both ends.
#[derive(Clone, Default)]
pub(super) struct Traffic {
    heard: Arc<AtomicBool>,
    broken: Arc<AtomicBool>,
}

impl Traffic {
    /// A new request begins: nothing was heard of its answer.
    pub(super) fn begin(&self) {
        self.heard.store(false, Ordering::Relaxed);
    }

    /// Whether a byte came since the request began.
    pub(super) fn heard(&self) -> bool {
        self.heard.load(Ordering::Relaxed)
    }

    /// Whether a write ever failed.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }
}

impl Wire {
    pub(super) fn new(stream: Box<dyn Stream>) -> (Wire, Traffic) {
        let traffic = Traffic::default();
        (Wire { stream, traffic: traffic.clone() }, traffic)
    }

    /// The result of a write of `len` bytes, or of a flush of 0.
    fn swallow(&self, written: io::Result<usize>, len: usize) -> io::Result<usize> {
        written.or_else(|_| {
            self.traffic.broken.store(true, Ordering::Relaxed);
            Ok(len)
        })
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        if buf.filled().len() > before {
            self.traffic.heard.store(true, Ordering::Relaxed);
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf));
        Poll::Ready(self.swallow(written, buf.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs));
        Poll::Ready(self.swallow(written, bufs.iter().map(|buf| buf.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        Poll::Ready(self.swallow(flushed.map(|()| 0), 0).map(drop))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
