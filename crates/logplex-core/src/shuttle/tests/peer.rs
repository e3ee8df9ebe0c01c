//! A peer whose every answer the test decides: each request waits until the test has looked at it.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::message::{Form, Message};
use crate::{FrameLimit, Notice};

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Peer {
    pub(crate) url: String,
    requests: Receiver<Received>,
}

/// A request that waits for its answer. Dropping it closes the connection.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
    answer: Sender<String>,
}

impl Peer {
    pub(crate) fn new() -> Peer {
        Peer::at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    pub(crate) fn at(address: SocketAddr) -> Peer {
        let listener = TcpListener::bind(address).unwrap();
        let url = format!("http://token:t.secret@{}/logs", listener.local_addr().unwrap());
        let (tell, requests) = bounded(100);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let tell = tell.clone();
                thread::spawn(move || serve(stream.unwrap(), &tell));
            }
        });
        Peer { url, requests }
    }

    /// A peer that takes everything, from now on.
    pub(crate) fn taking_all() -> (String, Receiver<String>) {
        let Peer { url, requests } = Peer::new();
        let (tell, texts) = bounded(100_000);
        thread::spawn(move || {
            for request in requests {
                for text in request.texts() {
                    tell.send(text).unwrap();
                }
                request.answer("204 No Content");
            }
        });
        (url, texts)
    }

    /// The next request.
    pub(crate) fn next(&self) -> Received {
        self.requests.recv_timeout(PATIENCE).expect("a request")
    }

    /// Whether no request comes for so long.
    pub(crate) fn is_quiet_for(&self, time: Duration) -> bool {
        self.requests.recv_timeout(time).is_err()
    }
}

impl Received {
    pub(crate) fn answer(self, status: &str) {
        self.answer.send(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")).unwrap();
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The frames' contents. Checks the count on the way.
    pub(crate) fn frames(&self) -> Vec<&[u8]> {
        let (mut rest, mut frames) = (&self.body[..], Vec::new());
        while !rest.is_empty() {
            let content = crate::frame::next_frame(rest, FrameLimit::MAX).unwrap().expect("a whole frame");
            frames.push(&rest[content.clone()]);
            rest = &rest[content.end..];
        }
        assert_eq!(self.header("logplex-msg-count"), frames.len().to_string());
        frames
    }

    pub(crate) fn messages(&self) -> Vec<Message<'_>> {
        self.frames().iter().map(|frame| Message::parse(frame, Form::Any).expect("strict")).collect()
    }

    /// The texts, without their newline.
    pub(crate) fn texts(&self) -> Vec<String> {
        let text =
            |message: &Message<'_>| String::from_utf8_lossy(message.text).trim_end_matches('\n').to_owned();
        self.messages().iter().map(text).collect()
    }

    /// The notices at the head, and the other texts.
    pub(crate) fn split(&self) -> (Vec<Notice>, Vec<String>) {
        let texts = self.texts();
        let notices: Vec<Notice> = texts.iter().map_while(|text| Notice::parse(text)).collect();
        let rest = texts[notices.len()..].to_vec();
        (notices, rest)
    }
}

fn serve(stream: TcpStream, tell: &Sender<Received>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line == "\r\n" {
                break;
            }
            if let Some((name, value)) = line.split_once(": ") {
                headers.insert(name.to_ascii_lowercase(), value.trim_end().to_owned());
            }
        }
        let len = headers["content-length"].parse().unwrap();
        let mut body = vec![0; len];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let (answer, answered) = bounded::<String>(1);
        if tell.send(Received { headers, body, answer }).is_err() {
            return;
        }
        match answered.recv() {
            Ok(answer) if stream.write_all(answer.as_bytes()).is_ok() => {}
            _ => return,
        }
    }
}
