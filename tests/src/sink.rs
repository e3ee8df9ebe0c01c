//! A scripted HTTP receiver: plays the destination of a drain, or the server that a shuttle ships to.
//!
//! It records every request in the order it came, answers each as the test says at that moment, and decodes what it
//! was sent. A request counts as received only when its answer was 2xx; the others are recorded too.

mod answer;
mod connection;
mod record;
pub(crate) mod stream;

use std::collections::{HashMap, VecDeque};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};

pub use self::answer::Answer;
pub use self::record::{Outcome, Request};
use self::stream::Identity;
use crate::frame::{Form, Received};
use crate::listening::Listening;
use crate::wait::wait_for;

/// The receiver. Dropping it closes the listener and every connection.
#[derive(Debug)]
pub struct Sink {
    shared: Arc<Shared>,
    listening: Listening,
}

/// While it is there, requests are held unanswered. See [`Sink::gate`].
#[derive(Debug)]
pub struct Gate<'a> {
    sink: &'a Sink,
}

#[derive(Debug)]
struct Shared {
    form: Form,
    /// `None` is plain http.
    identity: Option<Identity>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    running: bool,
    /// Answers for the next requests, one each, ahead of `standing`.
    once: VecDeque<Answer>,
    standing: Answer,
    /// How often held requests were released, and how they are answered since.
    releases: u64,
    release_as: Answer,
    held: usize,
    requests: Vec<Request>,
    cut_short: u64,
    connections: u64,
    /// To close them from outside. Weak, because a reset happens only when the last handle is dropped.
    open: HashMap<u64, Weak<TcpStream>>,
}

impl Sink {
    /// Starts a receiver of what an http drain sends, answering 204.
    pub fn start() -> Sink {
        Sink::of(Form::Routed, None)
    }

    /// Starts a receiver of strict RFC 5424: what a shuttle sends, or a drain with `format=rfc5424`.
    pub fn strict() -> Sink {
        Sink::of(Form::Strict, None)
    }

    /// As [`Sink::start`], under TLS with a self-signed certificate for 127.0.0.1.
    pub fn https() -> Sink {
        Sink::of(Form::Routed, Some(Identity::new()))
    }

    /// As [`Sink::https`], for what [`Sink::strict`] receives.
    pub fn strict_https() -> Sink {
        Sink::of(Form::Strict, Some(Identity::new()))
    }

    fn of(form: Form, identity: Option<Identity>) -> Sink {
        let state = State { running: true, ..State::default() };
        let shared = Arc::new(Shared { form, identity, state: Mutex::new(state), changed: Condvar::new() });
        let listening = Listening::start(None, taking(&shared));
        Sink { shared, listening }
    }

    // === where it is ===

    /// Where it listens; the port stays its own over [`Sink::stop`] and [`Sink::start_again`].
    pub fn address(&self) -> SocketAddr {
        self.listening.address()
    }

    /// `http://127.0.0.1:PORT/PATH`, for a drain; with `https` if it speaks TLS.
    pub fn url(&self, path: &str) -> String {
        let scheme = if self.shared.identity.is_some() { "https" } else { "http" };
        format!("{scheme}://{}/{}", self.address(), path.trim_start_matches('/'))
    }

    /// Its certificate in PEM, which a client may be told to trust.
    ///
    /// # Panics
    /// When it speaks plain http.
    pub fn certificate(&self) -> &str {
        &self.shared.identity.as_ref().expect("a sink made by Sink::https").pem
    }

    /// `http://token:TOKEN@127.0.0.1:PORT/logs`, for a shuttle; with `https` if it speaks TLS.
    pub fn logs_url(&self, token: &str) -> String {
        self.url("logs").replace("://", &format!("://token:{token}@"))
    }

    // === what it answers ===

    /// Answers every request from now on so, unless [`Sink::answer_next`] says otherwise.
    pub fn answer(&self, answer: Answer) {
        self.shared.state().standing = answer;
    }

    /// Answers the next requests so, one each, after those said before.
    pub fn answer_next(&self, answers: impl IntoIterator<Item = Answer>) {
        self.shared.state().once.extend(answers);
    }

    /// Holds every request unanswered until the gate is opened or dropped; then all are answered 204.
    #[must_use = "dropping the gate opens it"]
    pub fn gate(&self) -> Gate<'_> {
        self.answer(Answer::Hold);
        Gate { sink: self }
    }

    /// How many requests are held unanswered now.
    pub fn held(&self) -> usize {
        self.shared.state().held
    }

    /// Waits until `n` requests are held.
    ///
    /// # Panics
    /// When that does not come.
    #[track_caller]
    pub fn wait_held(&self, n: usize) {
        wait_for(&format!("{n} held requests"), || (self.held() == n).then_some(()));
    }

    /// Answers the requests held now, each by `answer`. Later ones are held anew if the script says so.
    pub fn release(&self, answer: Answer) {
        let mut state = self.shared.state();
        state.releases += 1;
        state.release_as = answer;
        self.shared.changed.notify_all();
    }

    // === what it received ===

    /// Every request in the order they came, whatever its answer.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.state().requests.clone()
    }

    /// How many requests ended before they were complete.
    pub fn cut_short(&self) -> u64 {
        self.shared.state().cut_short
    }

    /// How many connections were accepted.
    pub fn connections(&self) -> u64 {
        self.shared.state().connections
    }

    /// The messages of every request answered 2xx, repeats included.
    ///
    /// # Panics
    /// When any request breaks the framing or miscounts.
    pub fn all(&self) -> Vec<Received> {
        record::all(&self.shared.state().requests)
    }

    /// The messages of every request answered 2xx, each `Logplex-Frame-Id` once.
    ///
    /// # Panics
    /// As [`Sink::all`], and when two requests with one id differ in their bytes.
    pub fn deduplicated(&self) -> Vec<Received> {
        record::deduplicated(&self.shared.state().requests)
    }

    /// What was received: [`Sink::deduplicated`].
    ///
    /// # Panics
    /// As that does.
    pub fn received(&self) -> Vec<Received> {
        self.deduplicated()
    }

    /// Waits until something holds for what was received, and returns what `state` gives.
    ///
    /// # Panics
    /// When that does not come, or as [`Sink::received`] does.
    #[track_caller]
    pub fn wait_received<T>(&self, what: &str, mut state: impl FnMut(&[Received]) -> Option<T>) -> T {
        let mut seen = None;
        wait_for(what, || {
            // Decoding everything at each look would take the cores from those who are watched.
            let progress = {
                let state = self.shared.state();
                (state.requests.len(), state.requests.iter().filter(|request| request.is_received()).count())
            };
            if seen == Some(progress) {
                return None;
            }
            seen = Some(progress);
            state(&self.received())
        })
    }

    /// Waits until the numbered line `number` was received, which ends a test's traffic when it was the last sent.
    ///
    /// # Panics
    /// As [`Sink::wait_received`] does.
    #[track_caller]
    pub fn wait_line(&self, number: u64) -> Vec<Received> {
        self.wait_received(&format!("line {number}"), |received| {
            let there = received.iter().rev().any(|message| message.number() == Some(number));
            there.then(|| received.to_vec())
        })
    }

    // === the peer dies and returns ===

    /// Closes the listener and every connection, held requests unanswered. Returns when all are closed.
    pub fn stop(&self) {
        let mut state = self.shared.state();
        state.running = false;
        for stream in state.open.values().filter_map(Weak::upgrade) {
            // One that the peer has closed already cannot be shut down, and need not be.
            stream.shutdown(Shutdown::Both).ok();
        }
        drop(state);
        self.shared.changed.notify_all();
        self.listening.stop();
    }

    /// Listens again on the same port, with the same script. Does nothing while it still listens.
    ///
    /// # Panics
    /// When the port is taken by another.
    pub fn start_again(&self) {
        self.listening.start_again(|| {
            self.shared.state().running = true;
            taking(&self.shared)
        });
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Gate<'_> {
    /// Answers what is held, and what comes, with 204.
    pub fn open(self) {}
}

impl Drop for Gate<'_> {
    fn drop(&mut self) {
        // First the script, else a request that comes in between would be held for ever.
        self.sink.answer(Answer::status(204));
        self.sink.release(Answer::status(204));
    }
}

impl Shared {
    /// A panic elsewhere in a test must not hide behind a poisoned lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes connections until the sink stops, one thread each.
fn taking(shared: &Arc<Shared>) -> impl FnMut(TcpStream) -> Option<JoinHandle<()>> + Send + 'static {
    let shared = Arc::clone(shared);
    move |stream| {
        let mut state = shared.state();
        if !state.running {
            return None;
        }
        state.connections += 1;
        let (number, stream) = (state.connections, Arc::new(stream));
        state.open.insert(number, Arc::downgrade(&stream));
        let ours = Arc::clone(&shared);
        Some(thread::spawn(move || connection::serve(&ours, number, stream)))
    }
}

#[cfg(test)]
mod tests;
