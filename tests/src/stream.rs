//! A reader of a session over plain HTTP: lines, or Server-Sent Events.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crate::tail::TailLine;
use crate::told::{Code, Told};
use crate::wait::{DEADLINE, wait_for};
use crate::wire::{Headers, Undeclared, read_body, read_head, read_line};

/// A live reader. Dropping it closes the connection.
#[derive(Debug)]
pub struct Stream {
    /// The answer's header fields.
    pub headers: Headers,
    shared: Arc<Mutex<State>>,
    socket: TcpStream,
    reader: Option<JoinHandle<()>>,
}

/// One event, or one line of a stream that has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its `id`, if it had one.
    pub id: Option<String>,
    /// Its data, or the line.
    pub data: String,
}

/// How a stream's body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// With its last chunk.
    Clean,
    /// In the middle.
    Cut,
}

#[derive(Debug, Default)]
struct State {
    events: Vec<Event>,
    comments: usize,
    retry: Option<u64>,
    ended: Option<StreamEnd>,
}

impl Stream {
    /// Opens a session's URL with these header fields.
    ///
    /// # Errors
    /// Status and body of an answer that is not 200.
    ///
    /// # Panics
    /// When there is no answer at all, or one of another form than a stream's.
    pub fn open(url: &str, headers: &[(&str, &str)]) -> Result<Stream, (u16, String)> {
        let rest = url.strip_prefix("http://").unwrap_or_else(|| panic!("not a plain URL: {url}"));
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let address: SocketAddr = host.parse().unwrap_or_else(|_| panic!("not an address: {host}"));
        let mut socket = TcpStream::connect_timeout(&address, DEADLINE).expect("the server listens");
        let mut request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        socket.set_read_timeout(Some(DEADLINE)).expect("a deadline can be set");
        socket.write_all(request.as_bytes()).expect("the request is sent");
        let mut reader = BufReader::new(socket.try_clone().expect("a second handle"));
        let head = read_head(&mut reader).expect("an answer").expect("an answer");
        let status = head.status().expect("a status");
        if status != 200 {
            let body = read_body(&mut reader, &head.headers, Undeclared::UntilClosed).expect("a body");
            return Err((status, String::from_utf8_lossy(&body).into_owned()));
        }
        assert!(head.headers.has_token("transfer-encoding", "chunked"), "no chunks: {:?}", head.headers);
        // Quiet streams are quiet for long.
        socket.set_read_timeout(None).expect("a deadline can be lifted");
        let events =
            head.headers.get("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"));
        let shared = Arc::new(Mutex::new(State::default()));
        let ours = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            let end = match read(&ours, &mut reader, events) {
                Ok(()) => StreamEnd::Clean,
                Err(_) => StreamEnd::Cut,
            };
            lock(&ours).ended = Some(end);
        });
        Ok(Stream { headers: head.headers, shared, socket, reader: Some(thread) })
    }

    /// Opens a session's URL for lines.
    ///
    /// # Panics
    /// When the server refuses.
    #[track_caller]
    pub fn lines_of(url: &str) -> Stream {
        Stream::open(url, &[]).unwrap_or_else(|answer| panic!("no stream, but {answer:?}, at {url}"))
    }

    /// Opens a session's URL for events, after the one with this id if there is one.
    ///
    /// # Panics
    /// When the server refuses.
    #[track_caller]
    pub fn events_of(url: &str, after: Option<&str>) -> Stream {
        let mut headers = vec![("Accept", "text/event-stream")];
        headers.extend(after.map(|id| ("Last-Event-ID", id)));
        Stream::open(url, &headers).unwrap_or_else(|answer| panic!("no stream, but {answer:?}, at {url}"))
    }

    /// The events, or lines, so far.
    pub fn events(&self) -> Vec<Event> {
        lock(&self.shared).events.clone()
    }

    /// The lines so far, without their ids.
    pub fn lines(&self) -> Vec<String> {
        lock(&self.shared).events.iter().map(|event| event.data.clone()).collect()
    }

    /// The id of the last event that had one.
    pub fn last_id(&self) -> Option<String> {
        lock(&self.shared).events.iter().rev().find_map(|event| event.id.clone())
    }

    /// The numbers of the numbered lines so far.
    ///
    /// # Panics
    /// At a line that is no tail line.
    pub fn numbers(&self) -> Vec<u64> {
        let parse = |line: &String| TailLine::parse(line).unwrap_or_else(|| panic!("no tail line: {line:?}"));
        self.lines().iter().map(parse).filter_map(|line| line.number()).collect()
    }

    /// This stream's own notices (L11) so far.
    ///
    /// # Panics
    /// At a notice that breaks its form.
    pub fn told(&self) -> Vec<Told> {
        let lines = self.lines();
        let own =
            lines.iter().filter_map(|line| TailLine::parse(line)).filter(|line| line.procid == "logplex");
        let told = own.filter_map(|line| Told::parse_strictly(&line.text));
        told.filter(|told| told.code == Code::L11).collect()
    }

    /// How many comments came.
    pub fn comments(&self) -> usize {
        lock(&self.shared).comments
    }

    /// The pause that the stream asked for before a client comes back, in milliseconds.
    pub fn retry(&self) -> Option<u64> {
        lock(&self.shared).retry
    }

    /// Waits for a line of which `find` says yes, and returns it.
    ///
    /// # Panics
    /// When it does not come.
    #[track_caller]
    pub fn wait_line(&self, what: &str, find: impl Fn(&str) -> bool) -> String {
        wait_for(what, || self.lines().into_iter().find(|line| find(line)))
    }

    /// Waits for the numbered line `number`.
    ///
    /// # Panics
    /// When it does not come.
    #[track_caller]
    pub fn wait_number(&self, number: u64) {
        let is = |line: &str| TailLine::parse(line).and_then(|line| line.number()) == Some(number);
        wait_for(&format!("line {number} of the stream"), || {
            let state = lock(&self.shared);
            // The newest is what is waited for, mostly.
            state.events.iter().rev().any(|event| is(&event.data)).then_some(())
        });
    }

    /// How the stream has ended, if it has.
    pub fn ended(&self) -> Option<StreamEnd> {
        lock(&self.shared).ended
    }

    /// Waits for the stream's end.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn wait_ended(&self) -> StreamEnd {
        wait_for("the end of the stream", || self.ended())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.socket.shutdown(Shutdown::Both).ok();
        if let Some(reader) = self.reader.take() {
            reader.join().ok();
        }
    }
}

fn lock(shared: &Mutex<State>) -> MutexGuard<'_, State> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads chunks to the last one. What they hold is taken apart by lines, wherever the chunks are cut.
fn read(shared: &Mutex<State>, reader: &mut impl BufRead, events: bool) -> io::Result<()> {
    let mut parser = Parser { events, ..Parser::default() };
    loop {
        let cut = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let size = read_line(reader)?.ok_or_else(cut)?;
        let size = usize::from_str_radix(size.trim(), 16).map_err(|_| cut())?;
        let mut chunk = vec![0; size];
        reader.read_exact(&mut chunk)?;
        if read_line(reader)?.is_none_or(|line| !line.is_empty()) {
            return Err(cut());
        }
        if size == 0 {
            return if parser.rest.is_empty() { Ok(()) } else { Err(cut()) };
        }
        parser.rest.extend_from_slice(&chunk);
        parser.take(&mut lock(shared));
    }
}

#[derive(Debug, Default)]
struct Parser {
    events: bool,
    rest: Vec<u8>,
    id: Option<String>,
    data: Option<String>,
}

impl Parser {
    fn take(&mut self, state: &mut State) {
        let mut from = 0;
        while let Some(length) = self.rest[from..].iter().position(|&byte| byte == b'\n') {
            let line = String::from_utf8_lossy(&self.rest[from..from + length]).into_owned();
            from += length + 1;
            if self.events {
                self.field(line, state);
            } else {
                state.events.push(Event { id: None, data: line });
            }
        }
        self.rest.drain(..from);
    }

    fn field(&mut self, line: String, state: &mut State) {
        // A bare CR would end the field for every other reader.
        assert!(!line.contains('\r'), "a CR in {line:?}");
        if line.is_empty() {
            if let Some(data) = self.data.take() {
                state.events.push(Event { id: self.id.take(), data });
            }
        } else if line.starts_with(':') {
            state.comments += 1;
        } else if let Some(id) = line.strip_prefix("id: ") {
            self.id = Some(id.to_owned());
        } else if let Some(data) = line.strip_prefix("data: ") {
            self.data = Some(data.to_owned());
        } else if let Some(retry) = line.strip_prefix("retry: ") {
            state.retry = retry.parse().ok();
        } else {
            panic!("no field of an event: {line:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(pieces: &[&str]) -> Vec<u8> {
        let mut wire = Vec::new();
        for piece in pieces {
            wire.extend_from_slice(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes());
        }
        wire
    }

    fn parse(wire: &[u8], events: bool) -> (State, bool) {
        let state = Mutex::new(State::default());
        let ended = read(&state, &mut &wire[..], events).is_ok();
        (state.into_inner().unwrap(), ended)
    }

    #[test]
    fn events_are_read_wherever_chunks_are_cut() {
        let wire = chunks(&["retry: 0\n\n:\n\nid: e-", "1\ndata: one\n", "\ndata: two\n\n", ""]);
        let (state, ended) = parse(&wire, true);
        let event = |id: Option<&str>, data: &str| Event { id: id.map(str::to_owned), data: data.to_owned() };
        assert_eq!(state.events, [event(Some("e-1"), "one"), event(None, "two")]);
        assert_eq!((state.comments, state.retry, ended), (1, Some(0), true));
    }

    #[test]
    fn an_end_in_the_middle_is_no_clean_end() {
        assert!(parse(&chunks(&["a line\n", ""]), false).1);
        let (state, ended) = parse(&chunks(&["a line\n"]), false);
        assert_eq!((state.events.len(), ended), (1, false));
        assert!(!parse(&chunks(&["half a li", ""]), false).1);
        assert!(!parse(b"5\r\nhal", false).1);
    }
}
