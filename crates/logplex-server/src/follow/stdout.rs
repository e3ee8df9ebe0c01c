//! Our stdout: written beside the runtime, so that a reader who stands still keeps nobody from ending us.

use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::Context;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::io::AsyncWriteExt;
use tokio::sync::Mutex;
use tokio::time::MissedTickBehavior;

/// Nobody reads what we write any more: a quiet end.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads stdout any more")]
pub(crate) struct NobodyReads;

/// Stdout, shared by the channels that are followed. What is written at once is not mixed with others' lines.
#[derive(Debug)]
pub(crate) struct Stdout(Mutex<tokio::io::Stdout>);

impl Stdout {
    pub(crate) fn new() -> Stdout {
        Stdout(Mutex::new(tokio::io::stdout()))
    }

    /// Writes whole lines, and keeps none of them back.
    ///
    /// # Errors
    /// [`NobodyReads`] in the chain, or what the system says.
    pub(crate) async fn write(&self, lines: &str) -> anyhow::Result<()> {
        let mut stdout = self.0.lock().await;
        let written = async {
            stdout.write_all(lines.as_bytes()).await?;
            stdout.flush().await
        };
        match written.await {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(NobodyReads.into()),
            written => written.context("cannot write"),
        }
    }
}

/// How often we look whether anybody still reads.
const LOOK: Duration = Duration::from_millis(200);

/// Comes back soon after the reader of stdout has gone, which a writer with nothing to write would not notice.
pub(crate) async fn reader_gone() {
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        let stdout = io::stdout();
        // Asked for nothing, it still tells of an end that is closed.
        let mut asked = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
        if matches!(poll(&mut asked, PollTimeout::ZERO), Ok(1..)) {
            return;
        }
    }
}
