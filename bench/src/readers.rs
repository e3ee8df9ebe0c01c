//! Many websocket readers in one process. They cost so little themselves that the server's share of the machine is
//! what is measured: one thread, one read buffer for all, and no more of a frame is looked at than must be counted.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::frames::now;
use crate::sink::Total;

/// Opens a session each for all readers; prints a report once all are connected, and one for every line from stdin.
#[derive(Debug, clap::Args)]
pub(crate) struct Readers {
    /// Where to.
    to: SocketAddr,
    /// A file with the paths of the sessions, one a line.
    sessions: PathBuf,
}

/// The most bytes read at once.
const READ: usize = 256 * 1024;

/// A pong, as a client sends it: masked with zeros.
const PONG: [u8; 6] = [0x8A, 0x80, 0, 0, 0, 0];

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;

impl Readers {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, self.read())
    }

    async fn read(&self) -> anyhow::Result<()> {
        let sessions = std::fs::read_to_string(&self.sessions).context("the sessions")?;
        let (total, buffer) = (Rc::new(Total::default()), Rc::new(RefCell::new(vec![0; READ])));
        let mut readers = JoinSet::new();
        for session in sessions.lines() {
            let mut reader = Reader::open(self.to, session).await?;
            let (total, buffer) = (total.clone(), buffer.clone());
            readers.spawn_local(async move { reader.read(&buffer, &total).await });
        }
        println!("{}", serde_json::to_string(&total.report())?);
        let (asked_tx, mut asked_rx) = tokio::sync::mpsc::channel(1);
        std::thread::spawn(move || {
            for _line in std::io::stdin().lines() {
                if asked_tx.blocking_send(()).is_err() {
                    return;
                }
            }
        });
        loop {
            tokio::select! {
                asked = asked_rx.recv() => match asked {
                    Some(()) => println!("{}", serde_json::to_string(&total.report())?),
                    None => return Ok(()),
                },
                Some(ended) = readers.join_next() => {
                    ended??;
                    bail!("a reader's stream ended");
                }
            }
        }
    }
}

/// One websocket.
struct Reader {
    stream: TcpStream,
    /// The beginning of a frame whose end has not come yet.
    begun: Vec<u8>,
}

impl Reader {
    async fn open(to: SocketAddr, path: &str) -> anyhow::Result<Reader> {
        let mut stream = TcpStream::connect(to).await?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {to}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut begun = Vec::new();
        loop {
            ensure!(stream.read_buf(&mut begun).await? > 0, "no answer to an upgrade");
            if let Some(at) = memchr::memmem::find(&begun, b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&begun[..at]);
                ensure!(head.starts_with("HTTP/1.1 101"), "no upgrade: {head}");
                begun.drain(..at + 4);
                begun.shrink_to_fit();
                return Ok(Reader { stream, begun });
            }
        }
    }

    /// Reads until the stream ends.
    async fn read(&mut self, buffer: &RefCell<Vec<u8>>, total: &Total) -> anyhow::Result<()> {
        loop {
            self.stream.readable().await?;
            let mut pings = 0;
            {
                let mut buffer = buffer.borrow_mut();
                let read = match self.stream.try_read(&mut buffer) {
                    Ok(0) => return Ok(()),
                    Ok(read) => read,
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
                    Err(error) => return Err(error.into()),
                };
                let came = &buffer[..read];
                if self.begun.is_empty() {
                    let taken = take_frames(came, total, &mut pings)?;
                    self.begun.extend_from_slice(&came[taken..]);
                } else {
                    self.begun.extend_from_slice(came);
                    let taken = take_frames(&self.begun, total, &mut pings)?;
                    self.begun.drain(..taken);
                }
            }
            for _ in 0..pings {
                self.stream.write_all(&PONG).await?;
            }
        }
    }
}

/// Counts the lines of the whole frames at the start of `bytes`; returns how many bytes those were.
fn take_frames(bytes: &[u8], total: &Total, pings: &mut u32) -> anyhow::Result<usize> {
    let mut at = 0;
    while let Some((kind, frame, size)) = split_frame(&bytes[at..])? {
        at += size;
        match kind {
            TEXT => total.count_lines(frame, now()),
            CLOSE => bail!("closed: {}", String::from_utf8_lossy(frame)),
            PING => *pings += 1,
            _ => bail!("a frame of kind {kind}"),
        }
    }
    Ok(at)
}

/// The first frame of `bytes`, if all of it is there: its kind, what it carries, and its size with its head. A server
/// does not mask.
fn split_frame(bytes: &[u8]) -> anyhow::Result<Option<(u8, &[u8], usize)>> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    ensure!(first & 0xF0 == 0x80 && second & 0x80 == 0, "no frame of a server: {first:02x} {second:02x}");
    let (length, rest) = match second {
        126 => match rest {
            [a, b, rest @ ..] => (u64::from(u16::from_be_bytes([*a, *b])), rest),
            _ => return Ok(None),
        },
        127 => match rest.split_first_chunk() {
            Some((length, rest)) => (u64::from_be_bytes(*length), rest),
            None => return Ok(None),
        },
        length => (u64::from(*length), rest),
    };
    let size = bytes.len() - rest.len() + length as usize;
    Ok(rest.get(..length as usize).map(|frame| (first & 0x0F, frame, size)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_counted_wherever_they_are_cut() {
        let line = format!("2026-01-02T03:04:05+00:00 app[web.1]: t={:019}\n", now());
        let told = "2026-01-02T03:04:05+00:00 heroku[logplex]: L11 (Tail buffer overflow) -> This tail session \
                    dropped 7 messages since 2026-01-02T03:04:05+00:00\n";
        let plain = "2026-01-02T03:04:05+00:00 app[web.1]: t=xxx\n".repeat(2000);
        let mut bytes = Vec::new();
        for text in [line.as_str(), told, "", &plain, &plain[..440]] {
            bytes.push(0x81);
            match text.len() {
                length @ 0..126 => bytes.push(length as u8),
                length @ 126..65536 => {
                    bytes.push(126);
                    bytes.extend_from_slice(&(length as u16).to_be_bytes());
                }
                length => {
                    bytes.push(127);
                    bytes.extend_from_slice(&(length as u64).to_be_bytes());
                }
            }
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes.extend_from_slice(&[0x89, 0]);
        for cut in [0, 1, 2, 60, 70, 300, 5000, bytes.len()] {
            let (total, mut pings) = (Total::default(), 0);
            let taken = take_frames(&bytes[..cut], &total, &mut pings).expect("frames");
            let rest = take_frames(&bytes[taken..], &total, &mut pings).expect("frames");
            let received = total.report();
            assert_eq!(taken + rest, bytes.len());
            assert_eq!((received.messages, received.told, pings), (2011, 7, 1), "cut at {cut}");
            assert!(received.p99_us < 60_000_000, "the time since the line was made");
        }
        assert!(take_frames(b"HTTP/1.1 400", &Total::default(), &mut 0).is_err());
    }
}
