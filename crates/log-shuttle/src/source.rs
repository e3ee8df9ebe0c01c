//! Reads stdin on a thread of its own, until it ends or is told to stop.
//!
//! Told to stop, it still takes what is in the pipe already, so that lines written before the signal are not
//! left in the kernel; but no more than a pipe can hold, for the writer may go on writing.

use std::fs::File;
use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::thread;

use logplex_core::FrameError;
use logplex_core::shuttle::Feeder;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::oneshot;

/// What one read takes: as much as a pipe holds by default.
const READ_SIZE: usize = 64 * 1024;

/// What is still read once told to stop: the most that a pipe can be made to hold by an ordinary user.
const LAST_READS: usize = 1024 * 1024;

/// Why reading ended before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("cannot read stdin")]
    Input(#[from] io::Error),
    #[error("stdin is not octet-counted after byte {offset}; what came before is shipped")]
    Frames { offset: u64, source: FrameError },
}

/// A reading thread.
#[derive(Debug)]
pub(crate) struct Source {
    /// Dropping it tells the thread to stop.
    stop: Option<PipeWriter>,
    pub(crate) done: oneshot::Receiver<Result<(), ReadError>>,
}

impl Source {
    /// Starts reading `input` into `feeder`, and on to stdout if `tee`.
    pub(crate) fn start(input: OwnedFd, feeder: Feeder, tee: bool) -> io::Result<Source> {
        let (stopped, stop) = io::pipe()?;
        let (tell, done) = oneshot::channel();
        let reader = Reader { input: input.into(), feeder, tee: tee.then(io::stdout), stopped, offset: 0 };
        thread::Builder::new().name("stdin".to_owned()).spawn(move || {
            // Nobody listens any more once the grace is over.
            tell.send(reader.run()).ok();
        })?;
        Ok(Source { stop: Some(stop), done })
    }

    /// Tells the thread to take what is there and end.
    pub(crate) fn stop(&mut self) {
        self.stop = None;
    }
}

struct Reader {
    input: File,
    feeder: Feeder,
    tee: Option<io::Stdout>,
    stopped: PipeReader,
    offset: u64,
}

impl Reader {
    fn run(mut self) -> Result<(), ReadError> {
        let mut buffer = vec![0; READ_SIZE];
        let mut last_reads = None;
        while last_reads != Some(0) {
            if !self.wait(&mut last_reads)? {
                break;
            }
            let read = match self.input.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            last_reads = last_reads.map(|left: usize| left.saturating_sub(read));
            self.pass_on(&buffer[..read]);
            let fed = self.feeder.feed(&buffer[..read]);
            self.offset += read as u64;
            fed.map_err(|source| ReadError::Frames { offset: self.offset - read as u64, source })?;
        }
        let offset = self.offset;
        self.feeder.finish().map_err(|source| ReadError::Frames { offset, source })
    }

    /// Waits for input; `false` if it was told to stop and nothing is there.
    fn wait(&self, last_reads: &mut Option<usize>) -> io::Result<bool> {
        loop {
            let mut fds = [
                PollFd::new(self.input.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.stopped.as_fd(), PollFlags::POLLIN),
            ];
            let timeout = if last_reads.is_some() { PollTimeout::ZERO } else { PollTimeout::NONE };
            match poll(&mut fds, timeout) {
                Ok(_) => {}
                Err(nix::errno::Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let [is_there, is_stopped] = fds.map(|fd| fd.any().unwrap_or(true));
            if is_stopped && last_reads.is_none() {
                *last_reads = Some(LAST_READS);
                continue;
            }
            return Ok(is_there);
        }
    }

    fn pass_on(&mut self, bytes: &[u8]) {
        if let Some(stdout) = &mut self.tee
            && let Err(error) = stdout.write_all(bytes).and_then(|()| stdout.flush())
        {
            // Whoever read it is gone; the log goes on.
            self.tee = None;
            crate::say::warning(format_args!("stdout takes no more of --tee: {error}"));
        }
    }
}
