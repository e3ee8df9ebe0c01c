//! A listener on a port of its own that can be stopped and listen there again.
//!
//! Each connection has a thread, which is waited for.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use nix::sys::socket::{setsockopt, sockopt};

use crate::wait::wait_for;

/// A thread that accepts.
#[derive(Debug)]
pub(crate) struct Listening {
    address: SocketAddr,
    /// Of what it accepts, if not the kernel's own.
    receive_buffer: Option<usize>,
    /// Returns the threads of its connections.
    accepting: Mutex<Option<JoinHandle<Vec<JoinHandle<()>>>>>,
}

impl Listening {
    /// Listens on a free port of loopback. Each connection goes to `take`, which starts its thread, until that
    /// returns none.
    ///
    /// # Panics
    /// When loopback has no free port.
    pub(crate) fn start(
        receive_buffer: Option<usize>,
        take: impl FnMut(TcpStream) -> Option<JoinHandle<()>> + Send + 'static,
    ) -> Listening {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let listening = Listening { address, receive_buffer, accepting: Mutex::default() };
        *listening.accepting() = Some(listening.accept(listener, take));
        listening
    }

    /// Where it listens; the port stays its own.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Listens no more, and waits for the connections to end. Whatever `take` is told by, it returns none from before
    /// this call on.
    pub(crate) fn stop(&self) {
        if let Some(accepting) = self.accepting().take() {
            // It asks `take` when it accepts, so it gets something to accept.
            TcpStream::connect(self.address).ok();
            for connection in accepting.join().unwrap_or_default() {
                connection.join().ok();
            }
        }
    }

    /// Listens again on the same port; `prepare` makes what connections go to. Does nothing while it still listens.
    ///
    /// # Panics
    /// When the port is taken by another.
    pub(crate) fn start_again<T>(&self, prepare: impl FnOnce() -> T)
    where
        T: FnMut(TcpStream) -> Option<JoinHandle<()>> + Send + 'static,
    {
        let mut accepting = self.accepting();
        if accepting.is_none() {
            let listener = wait_for("the listener's own port", || TcpListener::bind(self.address).ok());
            *accepting = Some(self.accept(listener, prepare()));
        }
    }

    fn accept(
        &self,
        listener: TcpListener,
        take: impl FnMut(TcpStream) -> Option<JoinHandle<()>> + Send + 'static,
    ) -> JoinHandle<Vec<JoinHandle<()>>> {
        if let Some(bytes) = self.receive_buffer {
            setsockopt(&listener, sockopt::RcvBuf, &bytes).expect("a receive buffer can be small");
        }
        thread::spawn(move || listener.incoming().flatten().map_while(take).collect())
    }

    fn accepting(&self) -> MutexGuard<'_, Option<JoinHandle<Vec<JoinHandle<()>>>>> {
        self.accepting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
