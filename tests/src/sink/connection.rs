//! One connection of a sink: reads requests and does to each what the script says.

use std::io::{self, BufReader, Write};
use std::net::TcpStream;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};

use super::stream::Stream;
use super::{Answer, Outcome, Request, Shared, State};
use crate::wire::{Undeclared, read_body, read_head};

/// Between two looks at whether the peer of a held request has gone.
const LOOK: Duration = Duration::from_millis(10);

/// Serves requests until either side closes.
pub(super) fn serve(shared: &Shared, number: u64, stream: Arc<TcpStream>) {
    // An answer is one small write: without this the peer's delayed acknowledgement would set the pace.
    stream.set_nodelay(true).ok();
    let stream = Stream::new(stream, shared.identity.as_ref());
    let mut reader = BufReader::new(&stream);
    while serve_one(shared, number, &mut reader) {}
    // Whoever closes a socket that has unread bytes resets it. That is right for a reset and for a close ahead of
    // the request; everything else was read to its end.
    shared.state().open.remove(&number);
}

/// Serves the next request; false when the connection is to be closed.
fn serve_one(shared: &Shared, connection: u64, reader: &mut BufReader<&Stream>) -> bool {
    let stream = *reader.get_ref();
    if reader.buffer().is_empty() && !matches!(stream.tcp.peek(&mut [0]), Ok(1..)) {
        return false;
    }
    if shared.state().takes_close_before_read() {
        return false;
    }
    let request = match read_request(shared, connection, reader) {
        Ok(Some(request)) => request,
        Ok(None) => return false,
        Err(_) => {
            shared.state().cut_short += 1;
            return false;
        }
    };
    let (number, mut answer, releases) = shared.state().record(request);
    if answer == Answer::Hold || answer == Answer::Hang {
        // A release between the two locks counts: it came after the request.
        match held(shared, number, &stream.tcp, (answer == Answer::Hold).then_some(releases)) {
            Some(released) => answer = released,
            None => return false,
        }
    }
    match answer {
        Answer::Status(status, headers) => {
            // Told before it is sent: who sees the answer may ask at once what was received.
            shared.state().requests[number].outcome = Outcome::Answered(status);
            let close = headers.iter().any(|(name, value)| {
                name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case("close")
            });
            if write_answer(stream, status, &headers).is_err() {
                shared.state().requests[number].outcome = Outcome::Unanswered;
                return false;
            }
            !close
        }
        Answer::Reset | Answer::Lose(_) => {
            shared.state().requests[number].outcome = match answer {
                Answer::Lose(status) => Outcome::Answered(status),
                _ => Outcome::Unanswered,
            };
            let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
            setsockopt(&*stream.tcp, sockopt::Linger, &linger).ok();
            false
        }
        // A request that was read cannot be answered so, and a released one is not held again: it just ends.
        Answer::Hold | Answer::Hang | Answer::CloseBeforeRead => {
            shared.state().requests[number].outcome = Outcome::Unanswered;
            false
        }
    }
}

fn read_request(
    shared: &Shared,
    connection: u64,
    reader: &mut BufReader<&Stream>,
) -> io::Result<Option<Request>> {
    let Some(head) = read_head(reader)? else { return Ok(None) };
    let body = read_body(reader, &head.headers, Undeclared::Empty)?;
    Ok(Some(Request::new(connection, shared.form, &head.start, head.headers, body)))
}

/// Keeps a request unanswered; the answer when there were more than `releases`, `None` when either side closes first.
fn held(shared: &Shared, number: usize, stream: &TcpStream, releases: Option<u64>) -> Option<Answer> {
    let mut state = shared.state();
    state.held += usize::from(releases.is_some());
    let released = loop {
        if !state.running || peer_has_gone(stream) {
            state.requests[number].outcome = Outcome::Unanswered;
            break None;
        }
        if releases.is_some_and(|before| state.releases > before) {
            break Some(state.release_as.clone());
        }
        state = shared.changed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
    };
    state.held -= usize::from(releases.is_some());
    released
}

fn peer_has_gone(stream: &TcpStream) -> bool {
    let looked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
    stream.set_nonblocking(false).ok();
    match looked {
        Ok(read) => read == 0,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}

fn write_answer(mut stream: &Stream, status: u16, headers: &[(String, String)]) -> io::Result<()> {
    let mut message = format!("HTTP/1.1 {status} Scripted\r\n");
    for (name, value) in headers {
        message.push_str(&format!("{name}: {value}\r\n"));
    }
    // RFC 9110, 8.6: neither of these has a body. The others have one, as most peers' answers do.
    let body = if status == 204 || status == 304 { "" } else { "Scripted\n" };
    if !body.is_empty() {
        message.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    message.push_str("\r\n");
    message.push_str(body);
    stream.write_all(message.as_bytes())
}

impl State {
    /// Whether the next request is to be refused unread; uses up the answer that says so.
    fn takes_close_before_read(&mut self) -> bool {
        match self.once.front() {
            Some(Answer::CloseBeforeRead) => self.once.pop_front().is_some(),
            Some(_) => false,
            None => self.standing == Answer::CloseBeforeRead,
        }
    }

    /// Gives a request its place and its answer under one lock, so that the script acts in the order of arrival;
    /// also how often requests were released before it.
    fn record(&mut self, mut request: Request) -> (usize, Answer, u64) {
        let number = self.requests.len();
        request.number = number;
        self.requests.push(request);
        let answer = self.once.pop_front().unwrap_or_else(|| self.standing.clone());
        (number, answer, self.releases)
    }
}
