//! Reads one pipe on a thread of its own.

use std::fmt;
use std::io::{ErrorKind, PipeReader, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{io, thread};

use tokio::sync::oneshot;

use crate::shuttle::Feeder;

/// As much as a pipe holds by default.
const READ_SIZE: usize = 64 * 1024;

/// How often a pipe is looked at whose command has ended.
const LOOK: Duration = Duration::from_millis(50);

/// Where output is passed on to.
pub struct Sink(Box<dyn Write + Send>);

impl Sink {
    pub(super) fn new(sink: impl Write + Send + 'static) -> Sink {
        Sink(Box::new(sink))
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sink")
    }
}

/// A pipe being read.
pub(super) struct Output {
    state: Arc<Mutex<State>>,
    done: oneshot::Receiver<()>,
}

struct State {
    /// Gone once nothing more is to be read.
    feeder: Option<Feeder>,
    /// Since when the thread waits for more, if that is what it does.
    waiting_since: Option<Instant>,
}

impl Output {
    pub(super) fn start(pipe: PipeReader, feeder: Feeder, tee: Option<Sink>) -> io::Result<Output> {
        let state = Arc::new(Mutex::new(State { feeder: Some(feeder), waiting_since: None }));
        let (tell, done) = oneshot::channel();
        let shared = state.clone();
        thread::Builder::new().name("output".to_owned()).spawn(move || {
            run(pipe, &shared, tee);
            // Nobody listens if the run was abandoned.
            tell.send(()).ok();
        })?;
        Ok(Output { state, done })
    }

    /// Waits for the pipe's end, or for `silence` on it, or for `most`; then nothing more is read.
    pub(super) async fn end(mut self, silence: Duration, most: Duration) {
        let begun = Instant::now();
        while tokio::time::timeout(LOOK, &mut self.done).await.is_err() {
            let now = Instant::now();
            let is_over = begun + most < now;
            // Locked while lines are queued: a thread that waits for room is not silent.
            if let Ok(mut state) = self.state.try_lock() {
                let is_silent = state.waiting_since.is_some_and(|since| since.max(begun) + silence < now);
                if is_over || is_silent {
                    // Queues a last line without a newline. The thread ends at its next read.
                    state.feeder = None;
                    return;
                }
            } else if is_over {
                return;
            }
        }
    }
}

fn run(mut pipe: PipeReader, state: &Mutex<State>, mut tee: Option<Sink>) {
    let lock = || state.lock().unwrap_or_else(PoisonError::into_inner);
    let mut buffer = vec![0; READ_SIZE];
    loop {
        lock().waiting_since = Some(Instant::now());
        let read = pipe.read(&mut buffer);
        let mut state = lock();
        state.waiting_since = None;
        let read = match read {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            // A pipe of our own does not fail; if it does it has ended.
            Ok(0) | Err(_) => {
                // Queues a last line without a newline.
                state.feeder = None;
                return;
            }
            Ok(read) => &buffer[..read],
        };
        let Some(feeder) = &mut state.feeder else { return };
        feeder.feed(read).expect("raw lines cannot be malformed");
        drop(state);
        if let Some(Sink(sink)) = &mut tee
            && sink.write_all(read).and_then(|()| sink.flush()).is_err()
        {
            tee = None;
        }
    }
}
