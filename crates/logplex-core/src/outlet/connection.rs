//! One HTTP/1.1 connection, driven by whoever uses it.
//!
//! hyper splits a connection into a handle and a driver that somebody must poll. Here the same task polls
//! both, so nothing runs on when the connection is dropped, and an idle connection costs no task. While
//! nobody polls, a peer's close goes unnoticed: [`Connection::is_alive`] looks before each reuse.

use std::fmt;
use std::future::{self, Future};
use std::io::IoSlice;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::task::unconstrained;
use tokio::time::Instant;

use super::after;
use super::error::AttemptError;
use super::wire::{Stream, Traffic, Wire};
use crate::timer::Timer;

/// The most of an answer's body that is read so that the connection can be used again. Reading more costs
/// more than a new connection.
const MOST_DISCARDED: u64 = 64 * 1024;

/// The most bytes that an answer's head may have.
const MOST_HEAD: usize = 64 * 1024;

/// An open connection with at most one request on it.
pub(super) struct Connection {
    sender: http1::SendRequest<Body>,
    /// `None` once the connection has ended.
    driver: Option<Driver>,
    traffic: Traffic,
    /// When the last answer was read to its end.
    pub(super) idle_since: Instant,
    /// Empty: the memory of the last answer's headers, for those of the next request.
    pub(super) spare_headers: HeaderMap,
    timer: Timer,
}

type Driver = http1::Connection<TokioIo<Wire>, Body>;

/// Why a request has no answer.
pub(super) struct PostError {
    pub(super) error: AttemptError,
    /// Whether any byte of an answer came.
    pub(super) heard: bool,
}

impl PostError {
    /// Whether it is how a connection fails whose peer had closed it, or was about to. A peer that hangs had
    /// not: asking it again at once would not help it.
    pub(super) fn looks_closed_while_idle(&self) -> bool {
        !self.heard && matches!(self.error, AttemptError::Unsent(_) | AttemptError::Broken(_))
    }
}

impl Connection {
    /// A box, for a connection is handed on several times a request.
    pub(super) async fn new(stream: Box<dyn Stream>) -> Result<Box<Connection>, hyper::Error> {
        let (wire, traffic) = Wire::new(stream);
        let handshake = http1::Builder::new().max_buf_size(MOST_HEAD).handshake(TokioIo::new(wire));
        let (sender, driver) = handshake.await?;
        let idle_since = Instant::now();
        let (spare_headers, timer) = (HeaderMap::new(), Timer::new());
        Ok(Box::new(Connection { sender, driver: Some(driver), traffic, idle_since, spare_headers, timer }))
    }

    /// Sends a request and waits for the head of its answer; `None` if that has not come by `deadline`.
    pub(super) async fn post(
        &mut self,
        request: Request<Body>,
        deadline: Instant,
    ) -> Option<Result<Response<Incoming>, PostError>> {
        self.traffic.begin();
        // Unconstrained: an answer that is there is taken, for it wakes nobody, see below.
        let mut answer = pin!(unconstrained(self.sender.try_send_request(request)));
        let answer = future::poll_fn(|cx| {
            // The driver first: it is what brings the answer, also the one that it ended. So the answer itself need
            // not wake this task, which would only find it taken.
            poll_driver(&mut self.driver, cx);
            match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(answer) => Poll::Ready(Some(answer)),
                Poll::Pending => self.timer.poll_reached(deadline, cx).map(|()| None),
            }
        });
        let answer = answer.await?;
        Some(answer.map_err(|mut failed| {
            // hyper gives the request back if, and only if, it had not begun to write it.
            let unsent = failed.take_message().is_some();
            let error = failed.into_error();
            let error = if unsent { AttemptError::Unsent(error) } else { AttemptError::Broken(error) };
            PostError { error, heard: self.traffic.heard() }
        }))
    }

    /// Whether any byte came since the last request was begun.
    pub(super) fn heard(&self) -> bool {
        self.traffic.heard()
    }

    /// Reads the rest of an answer, until `deadline`, and throws it away. Returns whether the connection can be used
    /// again.
    pub(super) async fn discard(&mut self, mut body: Incoming, deadline: Instant) -> bool {
        let mut left = MOST_DISCARDED;
        if body.size_hint().lower() > left {
            return false;
        }
        while !body.is_end_stream() {
            let mut frame = body.frame();
            let frame = future::poll_fn(|cx| {
                poll_driver(&mut self.driver, cx);
                match Pin::new(&mut frame).poll(cx) {
                    Poll::Ready(frame) => Poll::Ready(Some(frame)),
                    Poll::Pending => self.timer.poll_reached(deadline, cx).map(|()| None),
                }
            });
            match frame.await {
                Some(None) => break,
                None | Some(Some(Err(_))) => return false,
                Some(Some(Ok(frame))) => {
                    match left.checked_sub(frame.data_ref().map_or(0, |data| data.len() as u64)) {
                        Some(rest) => left = rest,
                        None => return false,
                    }
                }
            }
        }
        self.idle_since = Instant::now();
        // Whether it is alive is looked at when it is needed again.
        !self.traffic.is_broken()
    }

    /// Looks once, without waiting, whether the peer has closed an idle connection or said more on it than
    /// its answer. Also false while a request is still being written: its answer came early.
    pub(super) fn is_alive(&mut self) -> bool {
        poll_driver(&mut self.driver, &mut Context::from_waker(Waker::noop()));
        self.driver.is_some() && self.sender.is_ready()
    }

    /// Waits until the peer has closed an idle connection, or until it has been idle for this long.
    pub(super) async fn outlived(&mut self, idle_close: Duration) {
        future::poll_fn(|cx| {
            poll_driver(&mut self.driver, cx);
            match self.driver {
                Some(_) => self.timer.poll_reached(after(self.idle_since, idle_close), cx),
                None => Poll::Ready(()),
            }
        })
        .await;
    }
}

/// Lets the connection read and write. Its own error is of no interest: the request's answer carries it.
fn poll_driver(driver: &mut Option<Driver>, cx: &mut Context<'_>) {
    if let Some(connection) = driver
        && Pin::new(connection).poll(cx).is_ready()
    {
        *driver = None;
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("open", &self.driver.is_some()).finish_non_exhaustive()
    }
}

/// A request's body: shared buffers, sent without being copied. All of them are one frame of the body, so that
/// hyper writes them at once, with the request's head ahead.
pub(super) struct Body(Option<Pieces>);

impl Body {
    pub(super) fn new(pieces: &[Bytes]) -> Body {
        let left = pieces.iter().map(Bytes::len).sum();
        Body((left > 0).then(|| Pieces { rest: Vec::from(pieces).into_iter(), left }))
    }
}

impl hyper::body::Body for Body {
    type Data = Pieces;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Pieces>, Self::Error>>> {
        Poll::Ready(self.0.take().map(|pieces| Ok(Frame::data(pieces))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |pieces| pieces.left as u64))
    }
}

/// Buffers one after the other.
pub(super) struct Pieces {
    rest: std::vec::IntoIter<Bytes>,
    left: usize,
}

impl Buf for Pieces {
    fn remaining(&self) -> usize {
        self.left
    }

    fn chunk(&self) -> &[u8] {
        self.rest.as_slice().iter().find(|piece| !piece.is_empty()).map_or(&[], |piece| &piece[..])
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let pieces = self.rest.as_slice().iter().filter(|piece| !piece.is_empty());
        let filled = slices.iter_mut().zip(pieces).map(|(slice, piece)| *slice = IoSlice::new(piece));
        filled.count()
    }

    fn advance(&mut self, count: usize) {
        self.left = self.left.checked_sub(count).expect("no more is written than there is");
        let mut count = count;
        while let Some(piece) = self.rest.as_mut_slice().first_mut() {
            if count < piece.len() {
                return piece.advance(count);
            }
            count -= piece.len();
            self.rest.next();
        }
    }
}
