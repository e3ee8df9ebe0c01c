//! A scripted receiver of syslog over TCP: plays the destination of a syslog drain.
//!
//! It counts octets by itself, records each message with the connection it came on, and does to its connections what
//! the test says: leaves them unread, closes them, resets them. A message counts as received once it was read whole.

use std::fs;
use std::io::Read;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use nix::sys::socket::{setsockopt, sockopt};

use crate::frame::{Form, Received};
use crate::listening::Listening;
use crate::sink::stream::{Identity, Stream};
use crate::wait::wait_for;

/// The receive buffer of a [`SyslogSink::narrow`] one, which the kernel doubles.
const NARROW: usize = 2048;

/// The receiver. Dropping it closes the listener and every connection.
#[derive(Debug)]
pub struct SyslogSink {
    shared: Arc<Shared>,
    listening: Listening,
}

#[derive(Debug)]
struct Shared {
    form: Form,
    identity: Option<Identity>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    running: bool,
    held: bool,
    /// How many connections have something to be read while held.
    waiting: usize,
    open: Vec<(u64, Arc<TcpStream>)>,
    connections: u64,
    /// The newest connection that was reset.
    reset: u64,
    /// Connections that ended in the middle of a frame.
    cut_short: u64,
    messages: Vec<(u64, Result<Received, String>)>,
}

impl SyslogSink {
    /// Starts a receiver of what a syslog drain sends.
    pub fn start() -> SyslogSink {
        SyslogSink::of(Form::Syslog, None, false)
    }

    /// As [`SyslogSink::start`], of strict RFC 5424: what a drain with `format=rfc5424` sends.
    pub fn strict() -> SyslogSink {
        SyslogSink::of(Form::Strict, None, false)
    }

    /// As [`SyslogSink::start`], under TLS with a self-signed certificate for 127.0.0.1.
    pub fn tls() -> SyslogSink {
        SyslogSink::of(Form::Syslog, Some(Identity::new()), false)
    }

    /// As [`SyslogSink::start`], with a receive buffer of a few KiB: a line of 60,000 bytes stays on its way while
    /// nothing is read.
    pub fn narrow() -> SyslogSink {
        SyslogSink::of(Form::Syslog, None, true)
    }

    fn of(form: Form, identity: Option<Identity>, narrow: bool) -> SyslogSink {
        let state = State { running: true, ..State::default() };
        let shared = Arc::new(Shared { form, identity, state: Mutex::new(state), changed: Condvar::new() });
        let listening = Listening::start(narrow.then_some(NARROW), taking(&shared));
        SyslogSink { shared, listening }
    }

    /// `syslog://127.0.0.1:PORT`, for a drain; with `syslog+tls` if it speaks TLS.
    pub fn url(&self) -> String {
        let scheme = if self.shared.identity.is_some() { "syslog+tls" } else { "syslog" };
        format!("{scheme}://{}", self.listening.address())
    }

    /// Its certificate in PEM.
    ///
    /// # Panics
    /// When it speaks no TLS.
    pub fn certificate(&self) -> &str {
        &self.shared.identity.as_ref().expect("a sink made by SyslogSink::tls").pem
    }

    /// How many connections were accepted.
    pub fn connections(&self) -> u64 {
        self.shared.state().connections
    }

    /// How many connections ended in the middle of a frame.
    pub fn cut_short(&self) -> u64 {
        self.shared.state().cut_short
    }

    /// Every message that was read: by connections, and in the order of each. (A connection that the peer has left
    /// may be read to its end while the next one is read already.)
    ///
    /// # Panics
    /// When one breaks the form.
    pub fn received(&self) -> Vec<Received> {
        let state = self.shared.state();
        let message = |(connection, message): &(u64, Result<Received, String>)| match message {
            Ok(message) => message.clone(),
            Err(why) => panic!("connection {connection}: {why}"),
        };
        let mut messages: Vec<_> = state.messages.iter().collect();
        messages.sort_by_key(|(connection, _)| *connection);
        messages.into_iter().map(message).collect()
    }

    /// Waits until the numbered line `number` was received.
    ///
    /// # Panics
    /// When that does not come, or as [`SyslogSink::received`] does.
    #[track_caller]
    pub fn wait_line(&self, number: u64) -> Vec<Received> {
        let mut seen = 0;
        wait_for(&format!("line {number}"), || {
            let new = {
                let state = self.shared.state();
                let there = |(_, message): &(u64, Result<Received, String>)| {
                    message.as_ref().is_ok_and(|message| message.number() == Some(number))
                };
                let new = state.messages[seen..].iter().any(there);
                seen = state.messages.len();
                new
            };
            new.then(|| self.received())
        })
    }

    /// Waits until `n` messages were received, over all connections.
    ///
    /// # Panics
    /// When they do not come, or as [`SyslogSink::received`] does.
    #[track_caller]
    pub fn wait_count(&self, n: usize) -> Vec<Received> {
        wait_for(&format!("{n} messages"), || (self.shared.state().messages.len() >= n).then_some(()));
        self.received()
    }

    /// From now on nothing is read, until [`SyslogSink::read_on`].
    pub fn hold(&self) {
        self.shared.state().held = true;
    }

    /// Waits until a connection that is held has something to be read.
    ///
    /// # Panics
    /// When that does not come.
    #[track_caller]
    pub fn wait_unread(&self) {
        wait_for("unread bytes", || (self.shared.state().waiting > 0).then_some(()));
    }

    /// Waits until a connection to this sink has more than so many bytes written and not acknowledged.
    ///
    /// # Panics
    /// When that does not come.
    #[track_caller]
    pub fn wait_in_flight(&self, bytes: u64) {
        wait_for("bytes in flight", || {
            let sockets = fs::read_to_string("/proc/net/tcp").expect("Linux lists its sockets");
            let port = format!(":{:04X}", self.listening.address().port());
            let in_flight = |socket: &str| {
                // Number, local address, remote address, state, and what is queued to be sent, and received.
                let fields: Vec<&str> = socket.split_whitespace().collect();
                let queued = fields.get(4)?.split(':').next()?;
                fields[2].ends_with(&port).then(|| u64::from_str_radix(queued, 16).expect("a number"))
            };
            sockets.lines().skip(1).filter_map(in_flight).any(|queued| queued > bytes).then_some(())
        });
    }

    /// Reads again what comes.
    pub fn read_on(&self) {
        self.shared.state().held = false;
        self.shared.changed.notify_all();
    }

    /// Says on every connection that it is closed, and reads what still comes until the peer closes too.
    pub fn close(&self) {
        for (_, stream) in self.shared.state().open.drain(..) {
            // One that the peer has closed already needs no closing.
            stream.shutdown(Shutdown::Write).ok();
        }
    }

    /// Resets every connection; what was not read is gone.
    pub fn reset(&self) {
        let mut state = self.shared.state();
        state.reset = state.connections;
        for (_, stream) in std::mem::take(&mut state.open) {
            let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
            setsockopt(&*stream, sockopt::Linger, &linger).ok();
            // The reset goes out when the last handle is dropped: by the reader, who is let go by this.
            stream.shutdown(Shutdown::Read).ok();
        }
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Closes the listener and every connection. Returns when all are closed.
    pub fn stop(&self) {
        let mut state = self.shared.state();
        state.running = false;
        for (_, stream) in state.open.drain(..) {
            stream.shutdown(Shutdown::Both).ok();
        }
        drop(state);
        self.shared.changed.notify_all();
        self.listening.stop();
    }

    /// Listens again on the same port.
    ///
    /// # Panics
    /// When the port is taken by another.
    pub fn start_again(&self) {
        self.listening.start_again(|| {
            self.shared.state().running = true;
            taking(&self.shared)
        });
    }
}

impl Drop for SyslogSink {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while reading is held. False when the connection is no longer ours to read.
    fn may_read(&self, number: u64, stream: &TcpStream) -> bool {
        // Under TLS there may be something that was read and not given out.
        let something = self.identity.is_some() || matches!(stream.peek(&mut [0]), Ok(1..));
        let mut state = self.state();
        if state.held {
            state.waiting += usize::from(something);
            while state.held && state.running && state.open.iter().any(|(open, _)| *open == number) {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.waiting -= usize::from(something);
        }
        state.running && number > state.reset
    }
}

/// Takes connections until the sink stops, one thread each.
fn taking(shared: &Arc<Shared>) -> impl FnMut(TcpStream) -> Option<JoinHandle<()>> + Send + 'static {
    let shared = Arc::clone(shared);
    move |stream| {
        let mut state = shared.state();
        if !state.running {
            return None;
        }
        state.connections += 1;
        let (number, stream) = (state.connections, Arc::new(stream));
        state.open.push((number, Arc::clone(&stream)));
        let ours = Arc::clone(&shared);
        Some(thread::spawn(move || serve(&ours, number, stream)))
    }
}

/// Reads until either side closes.
fn serve(shared: &Shared, number: u64, tcp: Arc<TcpStream>) {
    let stream = Stream::new(Arc::clone(&tcp), shared.identity.as_ref());
    let (mut unread, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
    while shared.may_read(number, &tcp) {
        match (&stream).read(&mut piece) {
            Ok(read @ 1..) => unread.extend_from_slice(&piece[..read]),
            _ => break,
        }
        let mut at = 0;
        while let Some(frame) = next_frame(&unread[at..]) {
            let message = frame.and_then(|(frame, len)| {
                at += len;
                Received::parse(frame, shared.form)
            });
            let broken = at == 0 && message.is_err();
            shared.state().messages.push((number, message));
            if broken {
                return;
            }
        }
        unread.drain(..at);
    }
    let mut state = shared.state();
    state.cut_short += u64::from(!unread.is_empty());
    state.open.retain(|(open, _)| *open != number);
}

/// The frame that `bytes` begin with, and the length of both; `None` if it is not all there.
fn next_frame(bytes: &[u8]) -> Option<Result<(&[u8], usize), String>> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits > 7 || (digits < bytes.len() && (digits == 0 || bytes[digits] != b' ' || bytes[0] == b'0')) {
        return Some(Err(format!(
            "no octet count: {:?}",
            String::from_utf8_lossy(&bytes[..bytes.len().min(60)])
        )));
    }
    if digits == bytes.len() {
        return None;
    }
    let count: usize = std::str::from_utf8(&bytes[..digits]).ok()?.parse().ok()?;
    let frame = bytes.get(digits + 1..digits + 1 + count)?;
    Some(Ok((frame, digits + 1 + count)))
}
