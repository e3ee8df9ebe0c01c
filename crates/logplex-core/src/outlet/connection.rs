//! One HTTP/1.1 connection, driven by whoever uses it: what is written goes out while the answer is read.
//!
//! Nothing runs on when the connection is dropped, and an idle one costs no task. While nobody polls, a peer's close
//! goes unnoticed: [`Connection::is_alive`] looks before each reuse.

use std::fmt;
use std::future::{self, Future};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::Instant;

use super::after;
use super::answer::{Body, Head};
use super::error::AttemptError;
use crate::timer::Timer;

/// The most of an answer's body that is read so that the connection can be used again. Reading more costs
/// more than a new connection.
const MOST_DISCARDED: usize = 64 * 1024;

/// The most bytes that an answer's head may have.
const MOST_HEAD: usize = 64 * 1024;

/// How much is read at once, at the least.
const ROOM: usize = 4096;

/// TCP, or TLS over it.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// An open connection with at most one request on it.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    /// What came and was not looked at.
    came: BytesMut,
    /// Whether a byte came since the last request was begun.
    heard: bool,
    written: Written,
    /// When the last answer was read to its end.
    pub(super) idle_since: Instant,
    timer: Timer,
}

/// How much of the last request was written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    /// Not all of it yet.
    Part,
    All,
    /// The peer takes no more of it.
    Failed,
}

/// Why a request has no answer.
pub(super) struct PostError {
    pub(super) error: AttemptError,
    /// Whether any byte of an answer came.
    pub(super) heard: bool,
}

impl PostError {
    /// Whether this is what a connection looks like whose peer closed it while it was idle.
    pub(super) fn looks_closed_while_idle(&self) -> bool {
        !self.heard && matches!(self.error, AttemptError::Broken(_))
    }
}

impl Connection {
    /// A box, for a connection is handed on several times a request.
    pub(super) fn new(stream: Box<dyn Stream>) -> Box<Connection> {
        Box::new(Connection {
            stream,
            came: BytesMut::new(),
            heard: false,
            written: Written::All,
            idle_since: Instant::now(),
            timer: Timer::new(),
        })
    }

    /// Sends a request and waits for the head of its answer; `None` if that has not come by `deadline`. A peer that says
    /// 2xx before it has read all gets the rest, too.
    pub(super) async fn post(
        &mut self,
        head: &[u8],
        body: &[Bytes],
        deadline: Instant,
    ) -> Option<Result<Head, PostError>> {
        (self.heard, self.written) = (false, Written::Part);
        let pieces = std::iter::once(head).chain(body.iter().map(|piece| &piece[..]));
        let mut pieces: Vec<IoSlice<'_>> = pieces.map(IoSlice::new).collect();
        let mut unwritten = &mut pieces[..];
        let mut answer = None;
        future::poll_fn(|cx| {
            self.write(&mut unwritten, cx);
            if answer.is_none()
                && let Poll::Ready(came) = self.poll_head(cx)
            {
                answer = Some(came);
            }
            if let Some(came) = &mut answer {
                match came {
                    Ok(head) if head.status.is_success() && self.written == Written::Part => {
                        self.hear_out(head, cx);
                    }
                    _ => return Poll::Ready(()),
                }
            }
            self.timer.poll_reached(deadline, cx)
        })
        .await;
        Some(answer?.map_err(|error| PostError { error: AttemptError::Broken(error), heard: self.heard }))
    }

    /// Whether any byte came since the last request was begun.
    pub(super) fn heard(&self) -> bool {
        self.heard
    }

    /// Writes what can be written now. A peer that answers early (413, 503) and closes makes a write fail while its
    /// answer waits to be read. So that is no error: reading then yields the answer or, if there is none, the end.
    fn write(&mut self, unwritten: &mut &mut [IoSlice<'_>], cx: &mut Context<'_>) {
        if self.written == Written::Part {
            self.written = match poll_write(&mut self.stream, unwritten, cx) {
                Poll::Pending => Written::Part,
                Poll::Ready(Ok(())) => Written::All,
                Poll::Ready(Err(_)) => Written::Failed,
            };
        }
    }

    /// The head of the answer proper.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Head>> {
        loop {
            let before = self.came.len();
            if before >= MOST_HEAD {
                let problem = format!("the head is longer than {MOST_HEAD} bytes");
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, problem)));
            }
            if ready!(self.poll_read(cx))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            // A head ends with a line and has only so many, so that who sends it byte by byte does not cost more.
            if !self.came[before..].contains(&b'\n') {
                continue;
            }
            let mut read = 0;
            while let Some((head, len)) = Head::read(&self.came[read..])? {
                read += len;
                if !head.is_interim() {
                    self.forget(read);
                    return Poll::Ready(Ok(head));
                }
            }
        }
    }

    /// Reads what a peer says that has yet to read the rest of a request: it may not read on before.
    fn hear_out(&mut self, head: &mut Head, cx: &mut Context<'_>) {
        while let Poll::Ready(Ok(1..)) = self.poll_read(cx) {
            if self.came.len() > MOST_DISCARDED {
                self.came.clear();
                (head.body, head.keeps_alive) = (Body::Bytes(0), false);
            }
        }
    }

    /// Reads what there is; how many bytes came, none at the end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.came.reserve(ROOM);
        let read = ready!(pin!(self.stream.read_buf(&mut self.came)).poll(cx));
        self.heard |= matches!(read, Ok(1..));
        Poll::Ready(read)
    }

    /// So many bytes of what came are done with.
    fn forget(&mut self, len: usize) {
        if len == self.came.len() {
            // All of it, most often: the next answer has the same place.
            self.came.clear();
        } else {
            self.came.advance(len);
        }
    }

    /// Reads the rest of an answer, until `deadline`, and throws it away. Returns whether the connection can be used
    /// again.
    pub(super) async fn discard(&mut self, head: Head, deadline: Instant) -> bool {
        let Head { mut body, keeps_alive, .. } = head;
        let mut left = MOST_DISCARDED;
        let ends = match body {
            Body::Bytes(length) => length <= left as u64,
            // A peer that did not say that it closes may never do so.
            Body::UntilClose => !keeps_alive,
            Body::Chunks(_) | Body::Trailers => true,
        };
        if !ends || self.written != Written::All {
            return false;
        }
        while !body.is_over() {
            let Ok(read) = body.read(&self.came) else { return false };
            self.forget(read);
            if body.is_over() {
                break;
            }
            let came = future::poll_fn(|cx| match self.poll_read(cx) {
                Poll::Ready(came) => Poll::Ready(came.unwrap_or(0)),
                Poll::Pending => self.timer.poll_reached(deadline, cx).map(|()| 0),
            });
            left = match came.await {
                came @ 1.. if came <= left => left - came,
                _ => return false,
            };
        }
        self.idle_since = Instant::now();
        keeps_alive
    }

    /// Looks once, without waiting, whether the peer has closed an idle connection or said more on it than
    /// its answer.
    pub(super) fn is_alive(&mut self) -> bool {
        self.came.is_empty() && self.poll_read(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    /// Waits until the peer has closed an idle connection, or until it has been idle for this long.
    pub(super) async fn outlived(&mut self, idle_close: Duration) {
        future::poll_fn(|cx| match self.poll_read(cx) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => self.timer.poll_reached(after(self.idle_since, idle_close), cx),
        })
        .await;
    }
}

/// Writes until all went or nothing more goes for now.
fn poll_write(
    stream: &mut Box<dyn Stream>,
    unwritten: &mut &mut [IoSlice<'_>],
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while !unwritten.is_empty() {
        let written = ready!(Pin::new(&mut *stream).poll_write_vectored(cx, unwritten))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        IoSlice::advance_slices(unwritten, written);
    }
    Pin::new(stream).poll_flush(cx)
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("idle_since", &self.idle_since).finish_non_exhaustive()
    }
}
