//! A thousand drains on one channel, a hundred of them hung: the others lose nothing, and memory is bounded.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use logplex_tests::{LedgerSeen, Server, Sink, split_frames, wait_until};

const CHANNEL: &str = "app";
const DRAINS: usize = 1000;
const HUNG: usize = 100;
const LINES: u64 = 1500;

/// What all of this may cost the server, in KiB: a build without optimisation had 56 MiB, 28 of them before the
/// first line. What rests in the rings of a hundred drains is the same batches, and costs little.
const MEMORY_MAX_KIB: u64 = 128 * 1024;

/// Two cores, a build without optimisation and some ten thousand requests.
const PATIENCE: Duration = Duration::from_secs(100);

/// A receiver that keeps nothing of what it gets but how far each path has come, so that a million messages fit.
struct Counter {
    address: SocketAddr,
    paths: Mutex<HashMap<String, u64>>,
    wrong: Mutex<Vec<String>>,
    stopped: AtomicBool,
}

impl Counter {
    fn start() -> Arc<Counter> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let counter = Arc::new(Counter {
            address: listener.local_addr().expect("a bound listener has an address"),
            paths: Mutex::default(),
            wrong: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let ours = counter.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ours.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let ours = ours.clone();
                thread::Builder::new()
                    .stack_size(64 * 1024)
                    .spawn(move || ours.serve(stream))
                    .expect("a thread");
            }
        });
        counter
    }

    /// Until the peer closes; answers every request 204.
    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some((path, body)) = read_request(&mut reader) {
            for frame in split_frames(&body).expect("well framed") {
                self.count(&path, frame);
            }
            if reader.get_mut().write_all(b"HTTP/1.1 204 No Content\r\n\r\n").is_err() {
                return;
            }
        }
    }

    fn count(&self, path: &str, frame: &[u8]) {
        let mut paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        let next = paths.entry(path.to_owned()).or_default();
        if !frame.ends_with(format!(" - line {next}").as_bytes()) {
            let frame = String::from_utf8_lossy(frame).into_owned();
            let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
            wrong.push(format!("{path}: not line {next}, but {frame}"));
        }
        *next += 1;
    }

    /// Whether `drains` paths have come to line `last`.
    fn have_all(&self, drains: usize, last: u64) -> bool {
        let wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(wrong.is_empty(), "{} wrong messages: {}", wrong.len(), wrong[0]);
        let paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        paths.len() == drains && paths.values().all(|next| *next == last + 1)
    }
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let (mut path, mut length) = (None, 0);
    for line in reader.by_ref().lines() {
        let line = line.ok()?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        match line.split_once(": ") {
            Some(("content-length", value)) => length = value.parse().ok()?,
            Some(_) => {}
            None => path = line.split(' ').nth(1).map(str::to_owned),
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((path?, body))
}

fn memory_kib(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
    peak.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn nine_hundred_drains_lose_nothing_while_a_hundred_hang() {
    let server = Server::options().args(&["--max-drains", &DRAINS.to_string()]).start();
    let token = server.create_app(CHANNEL);
    let (healthy, hung) = (Counter::start(), Sink::start());
    let gate = hung.gate();
    for drain in 0..DRAINS {
        // Every tenth hangs.
        let is_hung = drain % (DRAINS / HUNG) == 0;
        let base = if is_hung { hung.url("") } else { format!("http://{}/", healthy.address) };
        server.add_drain(CHANNEL, &format!("{base}{drain}"));
    }
    // The others keep up because they are waited for: 250 lines are never more than their rings hold.
    for first in (0..LINES).step_by(250) {
        server.post_batches(&token, first..first + 250, 125);
        wait_until(PATIENCE, "250 lines more at each healthy drain", || {
            healthy.have_all(DRAINS - HUNG, first + 249).then_some(())
        });
    }
    let memory = memory_kib(&server);
    assert!(memory < MEMORY_MAX_KIB, "{memory} KiB");

    // Every ledger balances, or could not be read.
    let ledgers = || -> Vec<LedgerSeen> {
        let stats = server.stats(CHANNEL);
        stats["drains"].as_array().expect("drains").iter().map(LedgerSeen::parse).collect()
    };
    let ledgers = wait_until(PATIENCE, "the last answers", || {
        Some(ledgers()).filter(|all| all.iter().filter(|one| one.delivered == LINES).count() == DRAINS - HUNG)
    });
    let (well, ill): (Vec<_>, Vec<_>) = ledgers.iter().partition(|ledger| ledger.delivered > 0);
    assert_eq!((well.len(), ill.len()), (DRAINS - HUNG, HUNG));
    assert!(well.iter().all(|ledger| (ledger.accepted, ledger.gone(), ledger.held) == (LINES, 0, 0)));
    assert!(ill.iter().all(|ledger| ledger.accepted == LINES && ledger.dropped("full") > 0));
    gate.open();
    healthy.stopped.store(true, Ordering::SeqCst);
    // The listener looks at that when it accepts, so it gets something to accept.
    TcpStream::connect(healthy.address).ok();
}
