//! A TCP relay in front of a server, so that a test can cut connections, or hold what comes back on them, while both
//! ends live on.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::server::Server;
use crate::wait::wait_for;

/// The relay. Dropping it cuts every connection and takes no more.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Mutex<State>>,
    held: Arc<Held>,
}

/// Whether what servers say waits.
#[derive(Debug, Default)]
struct Held {
    held: Mutex<bool>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    to: Option<SocketAddr>,
    closed: bool,
    accepted: u64,
    /// Whether clients ask for a tunnel first, and what they said.
    is_proxy: bool,
    asked: Vec<String>,
    open: Vec<Arc<TcpStream>>,
    /// How many answers of 101 went to their clients.
    upgraded: u64,
}

impl Relay {
    /// Listens. Connections are closed at once until [`Relay::forward_to`] says where they go.
    ///
    /// # Panics
    /// When loopback has no free port.
    pub fn start() -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::new(Mutex::new(State::default()));
        let held = Arc::new(Held::default());
        let (ours, holds) = (Arc::clone(&shared), Arc::clone(&held));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let mut state = lock(&ours);
                if state.closed {
                    return;
                }
                state.accepted += 1;
                if state.is_proxy {
                    let head = answer_connect(&client).unwrap_or_default();
                    state.asked.push(head);
                }
                if let Some(server) = state.to.and_then(|to| TcpStream::connect(to).ok()) {
                    let (client, server) = (Arc::new(client), Arc::new(server));
                    state.open.extend([Arc::clone(&client), Arc::clone(&server)]);
                    pump(&client, &server, || {}, |_| {});
                    let (holds, ours) = (Arc::clone(&holds), Arc::clone(&ours));
                    let note = move |bytes: &[u8]| {
                        lock(&ours).upgraded += u64::from(bytes.starts_with(b"HTTP/1.1 101 "));
                    };
                    pump(&server, &client, move || holds.pass(), note);
                }
            }
        });
        Relay { address, shared, held }
    }

    /// A relay, and a server behind it that gives out the relay's address as its own.
    ///
    /// # Panics
    /// As [`Relay::start`] does, and when the server does not start.
    pub fn with_server() -> (Relay, Server) {
        let relay = Relay::start();
        let server = Server::options().args(&["--public-url", &relay.url()]).start();
        relay.forward_to(server.address());
        (relay, server)
    }

    /// Plays an http proxy: takes CONNECT to anywhere, and goes to `server`.
    ///
    /// # Panics
    /// As [`Relay::start`] does.
    pub fn proxy(server: SocketAddr) -> Relay {
        let relay = Relay::start();
        lock(&relay.shared).is_proxy = true;
        relay.forward_to(server);
        relay
    }

    /// The heads of the requests for a tunnel.
    pub fn asked(&self) -> Vec<String> {
        lock(&self.shared).asked.clone()
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends connections there from now on.
    pub fn forward_to(&self, server: SocketAddr) {
        lock(&self.shared).to = Some(server);
    }

    /// Cuts every connection; new ones are taken.
    pub fn cut(&self) {
        for stream in lock(&self.shared).open.drain(..) {
            // One that has ended cannot be shut down, and need not be.
            stream.shutdown(Shutdown::Both).ok();
        }
    }

    /// Reads nothing more from servers and passes nothing on, until [`Relay::release`]: their clients are slow.
    pub fn hold(&self) {
        self.held.set(true);
    }

    /// Ends [`Relay::hold`].
    pub fn release(&self) {
        self.held.set(false);
    }

    /// Waits until so many clients have been sent that their websocket is open.
    ///
    /// # Panics
    /// When that does not come.
    #[track_caller]
    pub fn wait_upgraded(&self, clients: u64) {
        wait_for("answers of 101", || (lock(&self.shared).upgraded >= clients).then_some(()));
    }

    /// How many connections were made.
    pub fn accepted(&self) -> u64 {
        lock(&self.shared).accepted
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.cut();
        self.release();
        lock(&self.shared).closed = true;
        // The listener looks at `closed` when it accepts, so it gets something to accept.
        TcpStream::connect(self.address).ok();
    }
}

fn lock(shared: &Mutex<State>) -> MutexGuard<'_, State> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads the request for a tunnel and grants it.
fn answer_connect(mut client: &TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    client.write_all(b"HTTP/1.1 200 Granted\r\nVia: a test\r\n\r\n")?;
    Ok(String::from_utf8_lossy(&head).into_owned())
}

impl Held {
    fn set(&self, held: bool) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = held;
        self.changed.notify_all();
    }

    /// Waits as long as it is held.
    fn pass(&self) {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_while(held, |held| *held));
    }
}

/// Copies until either side ends, then ends the other's direction. Calls `ahead` before it reads or writes, and `note`
/// with what it has passed on.
fn pump(
    from: &Arc<TcpStream>,
    to: &Arc<TcpStream>,
    ahead: impl Fn() + Send + 'static,
    note: impl Fn(&[u8]) + Send + 'static,
) {
    let (from, to) = (Arc::clone(from), Arc::clone(to));
    thread::spawn(move || {
        let copy = || -> io::Result<()> {
            let mut buffer = [0; 64 * 1024];
            loop {
                ahead();
                let read = (&*from).read(&mut buffer)?;
                if read == 0 {
                    return Ok(());
                }
                // It may have waited in the read since before it was held.
                ahead();
                (&*to).write_all(&buffer[..read])?;
                note(&buffer[..read]);
            }
        };
        copy().ok();
        to.shutdown(Shutdown::Write).ok();
    });
}
