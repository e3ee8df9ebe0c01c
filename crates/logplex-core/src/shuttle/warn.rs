//! What the shuttle says about itself, through `tracing`: never a line of it per line shipped, and each kind
//! of warning at most every ten seconds, with how many were held back.

use std::time::{Duration, Instant};

use tracing::{debug, warn};

use crate::outlet::{Attempt, GivenUp, Request};
use crate::{Chain, Gap};

const PAUSE: Duration = Duration::from_secs(10);

/// One kind of warning.
#[derive(Debug, Default)]
struct Limit {
    last: Option<Instant>,
    held_back: u64,
}

impl Limit {
    /// How many were held back, if one may be printed now.
    fn pass(&mut self) -> Option<u64> {
        let now = Instant::now();
        if self.last.is_some_and(|last| now < last + PAUSE) {
            self.held_back += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.held_back))
    }
}

#[derive(Debug, Default)]
pub(super) struct Warnings {
    retries: Limit,
    given_up: Limit,
    told: Limit,
}

impl Warnings {
    pub(super) fn attempt(&mut self, request: &Request, attempt: &Attempt<'_>) {
        let request_id = request.frame_id;
        match attempt.outcome {
            Ok(status) => debug!(
                %request_id,
                messages = request.messages,
                bytes = request.body_len(),
                status = status.as_u16(),
                attempt = attempt.number,
                took_ms = attempt.took.as_millis() as u64,
                "posted"
            ),
            Err(error) => debug!(%request_id, attempt = attempt.number, error = %Chain(error), "post failed"),
        }
        if let Some(pause) = attempt.retry_in
            && let Some(held_back) = self.retries.pass()
        {
            let error = match attempt.outcome {
                Ok(status) => format!("the server answered {}", status.as_u16()),
                Err(error) => Chain(error).to_string(),
            };
            let retry_in_ms = pause.as_millis() as u64;
            warn!(%request_id, attempt = attempt.number, error, retry_in_ms, held_back, "will post again");
        }
    }

    pub(super) fn given_up(&mut self, lines: usize, given_up: &GivenUp) {
        if let Some(held_back) = self.given_up.pass() {
            let reason = given_up.reason.as_str();
            warn!(lines, reason, attempts = given_up.attempts, error = %Chain(&given_up.last), held_back, "lines lost");
        }
    }

    pub(super) fn told(&mut self, gap: &Gap) {
        if let Some(held_back) = self.told.pass() {
            let (dropped, lost) = (gap.dropped.count, gap.lost.count);
            warn!(dropped, lost, held_back, "lines dropped or lost; the log says so");
        }
    }
}
