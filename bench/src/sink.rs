//! The sink: takes everything at once and counts it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use serde::{Deserialize, Serialize};

use crate::frames::{Seen, now};

/// Takes what comes; prints its address, and then a report for every line it reads from stdin.
#[derive(Debug, clap::Args)]
pub(crate) struct Sink {
    /// Plain TCP with octet-counted frames, no HTTP.
    #[arg(long)]
    tcp: bool,
    /// Never answer.
    #[arg(long)]
    stall: bool,
}

/// What a sink prints.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Received {
    pub(crate) messages: u64,
    pub(crate) told: u64,
    /// From the first message to the last.
    pub(crate) seconds: f64,
    pub(crate) p50_us: u32,
    pub(crate) p99_us: u32,
}

/// What came in, counted by several threads.
#[derive(Debug, Default)]
pub(crate) struct Total {
    /// Nanoseconds since 1970.
    first: AtomicU64,
    last: AtomicU64,
    seen: Mutex<Seen>,
}

impl Sink {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        println!("{}", listener.local_addr()?);
        let total = Arc::new(Total::default());
        let (tcp, stall, shared) = (self.tcp, self.stall, total.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let total = shared.clone();
                thread::spawn(move || match tcp {
                    true => take_frames(stream, &total),
                    false => take_requests(stream, &total, stall),
                });
            }
        });
        for _line in std::io::stdin().lines() {
            println!("{}", serde_json::to_string(&total.report())?);
        }
        Ok(())
    }
}

impl Total {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how many bytes were whole frames.
    fn count(&self, bytes: &[u8]) -> usize {
        self.see(now());
        self.lock().count(bytes)
    }

    /// Counts the lines of a tail, which came at `now`.
    pub(crate) fn count_lines(&self, bytes: &[u8], now: u64) {
        self.see(now);
        self.lock().count_lines(bytes, now);
    }

    fn see(&self, now: u64) {
        let _was_set = self.first.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        self.last.store(now, Ordering::Relaxed);
    }

    pub(crate) fn report(&self) -> Received {
        let span = self.last.load(Ordering::Relaxed) - self.first.load(Ordering::Relaxed);
        let mut seen = self.lock();
        seen.latencies.sort_unstable();
        let quantile = |of: usize| seen.latencies.get(seen.latencies.len() * of / 100).copied().unwrap_or(0);
        Received {
            messages: seen.messages,
            told: seen.told,
            seconds: span as f64 / 1e9,
            p50_us: quantile(50),
            p99_us: quantile(99),
        }
    }
}

/// Reads on; false at the end.
fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>, filled: &mut usize) -> bool {
    if buffer.len() - *filled < 64 * 1024 {
        buffer.resize(buffer.len() + 256 * 1024, 0);
    }
    match stream.read(&mut buffer[*filled..]) {
        Ok(0) | Err(_) => false,
        Ok(read) => {
            *filled += read;
            true
        }
    }
}

fn take_frames(mut stream: TcpStream, total: &Total) {
    let mut buffer = Vec::new();
    let mut filled = 0;
    while read(&mut stream, &mut buffer, &mut filled) {
        let counted = total.count(&buffer[..filled]);
        buffer.copy_within(counted..filled, 0);
        filled -= counted;
    }
}

fn take_requests(mut stream: TcpStream, total: &Total, stall: bool) {
    let mut buffer = Vec::new();
    let mut filled = 0;
    loop {
        let Some(head) = memchr::memmem::find(&buffer[..filled], b"\r\n\r\n").map(|at| at + 4) else {
            if !read(&mut stream, &mut buffer, &mut filled) {
                return;
            }
            continue;
        };
        let Some(length) = content_length(&buffer[..head]) else {
            eprintln!("a request without a length: {}", String::from_utf8_lossy(&buffer[..head]));
            return;
        };
        while filled < head + length {
            if !read(&mut stream, &mut buffer, &mut filled) {
                return;
            }
        }
        if stall {
            thread::park();
        }
        total.count(&buffer[head..head + length]);
        if stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").is_err() {
            return;
        }
        buffer.copy_within(head + length..filled, 0);
        filled -= head + length;
    }
}

fn content_length(head: &[u8]) -> Option<usize> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut headers);
    request.parse(head).ok()?;
    let value =
        request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"))?.value;
    std::str::from_utf8(value).ok()?.parse().ok()
}
