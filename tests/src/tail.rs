//! A websocket reader of a session, which a test can pause so that it falls behind.

use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, HandshakeError, Message, WebSocket};

use crate::frame::line_number;
use crate::told::{Code, Told};
use crate::wait::{DEADLINE, wait_for};

/// How long a read lasts before the reader looks whether it is paused or dropped.
const LOOK: Duration = Duration::from_millis(20);

/// The most bytes that one frame of a stream may have.
const MAX_FRAME: usize = 256 * 1024;

/// The receive buffer of a narrow tail, which the kernel doubles. Two segments of loopback: with less, the sender's
/// avoidance of silly windows makes catching up take minutes.
const NARROW: usize = 128 * 1024;

/// A live reader. Dropping it closes the connection.
#[derive(Debug)]
pub struct Tail {
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
}

/// A line of a tail, taken apart: `TIME SOURCE[PROCID]: MSG`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TailLine {
    /// The time, as sent.
    pub time: String,
    /// Who wrote it.
    pub source: String,
    /// Which process.
    pub procid: String,
    /// The message's own text.
    pub text: String,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<String>,
    frames: usize,
    pings: u64,
    paused: bool,
    /// The reader has seen that it is paused and reads nothing.
    rests: bool,
    dropped: bool,
    closing: bool,
    /// Why the stream is over, or what is wrong with it.
    ended: Option<String>,
    wrong: Option<String>,
}

impl Tail {
    /// Opens a session's URL as a websocket.
    ///
    /// # Panics
    /// When the server refuses.
    #[track_caller]
    pub fn open(url: &str) -> Tail {
        Tail::try_open(url).unwrap_or_else(|status| panic!("no websocket, but {status}, at {url}"))
    }

    /// As [`Tail::open`]; the status when the server refuses.
    ///
    /// # Errors
    /// The status of an answer that is no upgrade.
    ///
    /// # Panics
    /// When there is no answer at all.
    pub fn try_open(url: &str) -> Result<Tail, u16> {
        Tail::connect(url, None)
    }

    /// As [`Tail::open`], with a small receive buffer, so that little hides in the kernel while it is paused.
    ///
    /// # Panics
    /// When the server refuses.
    #[track_caller]
    pub fn narrow(url: &str) -> Tail {
        Tail::connect(url, Some(NARROW))
            .unwrap_or_else(|status| panic!("no websocket, but {status}, at {url}"))
    }

    fn connect(url: &str, receive_buffer: Option<usize>) -> Result<Tail, u16> {
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("ws://"));
        let rest = rest.unwrap_or_else(|| panic!("not a plain URL: {url}"));
        let host = rest.split(['/', '?']).next().unwrap_or_default();
        let address: SocketAddr = host.parse().unwrap_or_else(|_| panic!("not an address: {host}"));
        let stream = TcpStream::connect_timeout(&address, DEADLINE).expect("the server listens");
        if let Some(bytes) = receive_buffer {
            setsockopt(&stream, sockopt::RcvBuf, &bytes).expect("a receive buffer can be set");
        }
        stream.set_read_timeout(Some(DEADLINE)).expect("a deadline can be set");
        let socket = match tungstenite::client(format!("ws://{rest}"), stream) {
            Ok((socket, _)) => socket,
            Err(HandshakeError::Failure(Error::Http(response))) => return Err(response.status().as_u16()),
            Err(error) => panic!("no handshake with {url}: {error}"),
        };
        socket.get_ref().set_read_timeout(Some(LOOK)).expect("a deadline can be set");
        let shared = Arc::new(Shared::default());
        let ours = Arc::clone(&shared);
        Ok(Tail { shared, reader: Some(thread::spawn(move || read(&ours, socket))) })
    }

    /// Stops reading; returns when nothing more is read.
    ///
    /// # Panics
    /// When the reader does not come to rest.
    #[track_caller]
    pub fn pause(&self) {
        self.shared.state().paused = true;
        wait_for("the paused tail", || {
            let state = self.shared.state();
            (state.rests || state.ended.is_some()).then_some(())
        });
    }

    /// Reads on.
    pub fn resume(&self) {
        self.shared.state().paused = false;
        self.shared.changed.notify_all();
    }

    /// The lines so far.
    ///
    /// # Panics
    /// When a frame broke the form: it was binary, longer than 256 KiB, or did not end with a line's end.
    pub fn lines(&self) -> Vec<String> {
        let state = self.shared.state();
        if let Some(wrong) = &state.wrong {
            panic!("a tail's frame is wrong: {wrong}");
        }
        state.lines.clone()
    }

    /// The lines so far, taken apart.
    ///
    /// # Panics
    /// As [`Tail::lines`], and at a line that is no tail line.
    pub fn parsed(&self) -> Vec<TailLine> {
        let parse = |line: &String| TailLine::parse(line).unwrap_or_else(|| panic!("no tail line: {line:?}"));
        self.lines().iter().map(parse).collect()
    }

    /// The numbers of the numbered lines so far.
    ///
    /// # Panics
    /// As [`Tail::parsed`].
    pub fn numbers(&self) -> Vec<u64> {
        self.parsed().iter().filter_map(TailLine::number).collect()
    }

    /// This tail's own notices (L11) so far.
    ///
    /// # Panics
    /// As [`Tail::parsed`], and at a notice that breaks its form.
    pub fn told(&self) -> Vec<Told> {
        let own = |line: TailLine| (line.source == "heroku" && line.procid == "logplex").then_some(line.text);
        let told = self.parsed().into_iter().filter_map(own).filter_map(|text| Told::parse_strictly(&text));
        told.filter(|told| told.code == Code::L11).collect()
    }

    /// Waits for a line of which `find` says yes, and returns it.
    ///
    /// # Panics
    /// When it does not come, or as [`Tail::lines`].
    #[track_caller]
    pub fn wait_line(&self, what: &str, find: impl Fn(&str) -> bool) -> String {
        let mut seen = 0;
        wait_for(what, || {
            let lines = self.lines();
            let found = lines[seen..].iter().find(|line| find(line)).cloned();
            seen = lines.len();
            found
        })
    }

    /// Waits for the numbered line `number`.
    ///
    /// # Panics
    /// As [`Tail::wait_line`].
    #[track_caller]
    pub fn wait_number(&self, number: u64) {
        let is = |line: &str| TailLine::parse(line).and_then(|line| line.number()) == Some(number);
        self.wait_line(&format!("line {number} at the tail"), is);
    }

    /// How many text frames came.
    pub fn frames(&self) -> usize {
        self.shared.state().frames
    }

    /// How many pings came. Each is answered while the tail reads.
    pub fn pings(&self) -> u64 {
        self.shared.state().pings
    }

    /// Closes in order, with the code 1000 and the reason `bye`; what the server answers, or the error.
    ///
    /// # Panics
    /// When the stream does not end.
    #[track_caller]
    pub fn close(&self) -> String {
        self.shared.state().closing = true;
        self.wait_ended()
    }

    /// Waits for the stream's end; the close code and reason, or the error.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn wait_ended(&self) -> String {
        wait_for("the end of the tail", || self.shared.state().ended.clone())
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.shared.state().dropped = true;
        self.shared.changed.notify_all();
        if let Some(reader) = self.reader.take() {
            reader.join().ok();
        }
    }
}

impl TailLine {
    /// Takes a line apart; `None` when it has another form.
    pub fn parse(line: &str) -> Option<TailLine> {
        let (time, rest) = line.split_once(' ')?;
        let (source, rest) = rest.split_once('[')?;
        let (procid, text) = rest.split_once("]: ")?;
        let [time, source, procid, text] = [time, source, procid, text].map(str::to_owned);
        Some(TailLine { time, source, procid, text })
    }

    /// The number of a numbered line.
    pub fn number(&self) -> Option<u64> {
        line_number(&self.text)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads until the stream ends or the handle is dropped. Dropping the socket closes the connection.
fn read(shared: &Shared, mut socket: WebSocket<TcpStream>) {
    loop {
        let mut state = shared.state();
        while state.paused && !state.dropped {
            state.rests = true;
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.rests = false;
        if state.dropped {
            return;
        }
        let closing = std::mem::take(&mut state.closing);
        drop(state);
        if closing {
            let frame = CloseFrame { code: CloseCode::Normal, reason: "bye".into() };
            socket.close(Some(frame)).expect("a close can be sent");
        }
        let message = socket.read();
        let mut state = shared.state();
        match message {
            Ok(Message::Text(text)) => {
                state.frames += 1;
                if text.len() > MAX_FRAME || !text.ends_with('\n') {
                    state.wrong = Some(format!("{} bytes, beginning {:.200?}", text.len(), text.as_str()));
                }
                state.lines.extend(text.split_terminator('\n').map(str::to_owned));
            }
            Ok(Message::Binary(bytes)) => state.wrong = Some(format!("{} bytes of binary", bytes.len())),
            Ok(Message::Ping(_)) => state.pings += 1,
            Ok(Message::Close(close)) => {
                state.ended = Some(close.map_or_else(String::new, |close| format!("{close}")));
            }
            Ok(_) => {}
            Err(Error::Io(error)) if is_timeout(&error) => {}
            Err(error) => {
                state.ended.get_or_insert_with(|| error.to_string());
                return;
            }
        }
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests;
