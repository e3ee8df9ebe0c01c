//! A peer that does with each request what its script says, and remembers what it saw.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::outlet::connection::Stream;

pub(super) const NO_CONTENT: &str = "HTTP/1.1 204 No Content\r\n\r\n";

/// What a peer does with one request.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// Says this and waits for the next request on the same connection.
    Say(String),
    /// Says this and closes.
    SayAndClose(String),
    /// Says this when only the head of the request was read, and closes without reading the rest.
    Interrupt(String),
    /// Says this when only the head of the request was read, and then reads the rest.
    SayEarly(String),
    /// Closes without a word.
    Close,
    /// Says nothing more.
    Hang,
}

pub(super) fn say(status: &str) -> Act {
    Act::Say(format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nhi"))
}

/// One request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Which connection it came on, counted from 1.
    pub(super) connection: usize,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Seen {
    /// A header's values.
    pub(super) fn header(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }
}

/// What the peer has seen so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    pub(super) requests: Vec<Seen>,
    pub(super) connections: usize,
    /// Connections that are over.
    pub(super) closed: usize,
}

pub(super) struct Peer {
    pub(super) port: u16,
    log: watch::Receiver<Log>,
    _task: JoinSet<()>,
}

impl Peer {
    /// After its script it answers 204.
    pub(super) async fn new(script: impl IntoIterator<Item = Act>) -> Peer {
        Peer::start("127.0.0.1:0", script, None).await
    }

    pub(super) async fn start(
        address: &str,
        script: impl IntoIterator<Item = Act>,
        tls: Option<Arc<ServerConfig>>,
    ) -> Peer {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let port = listener.local_addr().unwrap().port();
        let (log_tx, log) = watch::channel(Log::default());
        let mut task = JoinSet::new();
        task.spawn(serve(listener, script.into_iter().collect(), tls, log_tx));
        Peer { port, log, _task: task }
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/logs", self.port)
    }

    pub(super) fn log(&self) -> Log {
        self.log.borrow().clone()
    }

    /// Waits for a state, at most 10 s.
    pub(super) async fn until(&mut self, reached: impl FnMut(&Log) -> bool) {
        let waited = timeout(Duration::from_secs(10), self.log.wait_for(reached)).await;
        waited.expect("the peer saw it in time").expect("the peer runs");
    }
}

async fn serve(
    listener: TcpListener,
    mut script: VecDeque<Act>,
    tls: Option<Arc<ServerConfig>>,
    log: watch::Sender<Log>,
) {
    loop {
        let (stream, _) = listener.accept().await.expect("loopback accepts");
        log.send_modify(|log| log.connections += 1);
        if let Some(stream) = secure(stream, tls.clone()).await {
            serve_connection(stream, &mut script, &log).await;
        }
        log.send_modify(|log| log.closed += 1);
    }
}

async fn secure(stream: TcpStream, tls: Option<Arc<ServerConfig>>) -> Option<Box<dyn Stream>> {
    match tls {
        None => Some(Box::new(stream)),
        Some(config) => match TlsAcceptor::from(config).accept(stream).await {
            Ok(stream) => Some(Box::new(stream)),
            Err(_) => None,
        },
    }
}

async fn serve_connection(mut stream: Box<dyn Stream>, script: &mut VecDeque<Act>, log: &watch::Sender<Log>) {
    while let Some((head, mut body)) = read_head(&mut stream).await {
        let act = script.pop_front().unwrap_or(Act::Say(NO_CONTENT.to_owned()));
        if let Act::SayEarly(text) = &act {
            stream.write_all(text.as_bytes()).await.expect("the outlet listens");
        }
        if !matches!(act, Act::Interrupt(_)) {
            read_body(&mut stream, &head, &mut body).await;
        }
        log.send_modify(|log| log.requests.push(Seen { connection: log.connections, head, body }));
        match act {
            Act::Say(text) => stream.write_all(text.as_bytes()).await.expect("the outlet listens"),
            Act::SayAndClose(text) | Act::Interrupt(text) => {
                stream.write_all(text.as_bytes()).await.expect("the outlet listens");
                stream.shutdown().await.ok();
                return;
            }
            Act::SayEarly(_) => {}
            Act::Close => return,
            // Until the outlet closes.
            Act::Hang => drop(stream.read_to_end(&mut Vec::new()).await),
        }
    }
}

async fn read_head(stream: &mut Box<dyn Stream>) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let body = bytes.split_off(end + 4);
            return Some((String::from_utf8(bytes).unwrap(), body));
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

async fn read_body(stream: &mut Box<dyn Stream>, head: &str, body: &mut Vec<u8>) {
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let length: usize = length.expect("the outlet always says the length");
    while body.len() < length {
        assert_ne!(stream.read_buf(body).await.expect("the outlet sends all"), 0, "the body broke off");
    }
    assert_eq!(body.len(), length, "nothing may follow a body");
}
