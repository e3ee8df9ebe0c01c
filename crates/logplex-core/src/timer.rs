//! One timer for deadlines that mostly move on before they come.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer for all that one task waits for with one thing, as with a connection: a deadline after the other. While
/// that moves on from request to request the timer is left alone, for setting it costs more than to look again when
/// it rings.
#[derive(Debug)]
pub struct Timer(Pin<Box<Sleep>>);

impl Timer {
    /// A timer that waits for nothing.
    ///
    /// # Panics
    /// Outside a tokio runtime with its timers enabled.
    pub fn new() -> Timer {
        Timer(Box::pin(sleep_until(Instant::now())))
    }

    /// Ready once `at` has come. Until then the current task is woken at that instant at the latest, and perhaps before,
    /// for a deadline that was asked for earlier.
    pub fn poll_reached(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if at < self.0.deadline() {
            self.0.as_mut().reset(at);
        }
        loop {
            ready!(self.0.as_mut().poll(cx));
            if at <= Instant::now() {
                return Poll::Ready(());
            }
            self.0.as_mut().reset(at);
        }
    }
}

impl Default for Timer {
    fn default() -> Timer {
        Timer::new()
    }
}

#[cfg(test)]
mod tests {
    use std::future;
    use std::task::Waker;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_timer_rings_at_the_instant_that_is_asked_for_last() {
        let mut timer = Timer::new();
        for seconds in [5, 3, 60, 0, 1] {
            let at = Instant::now() + Duration::from_secs(seconds);
            future::poll_fn(|cx| timer.poll_reached(at, cx)).await;
            assert_eq!(Instant::now(), at);
        }
        let begun = Instant::now();
        // Later, sooner, and later again than what it is set to.
        for seconds in [10, 20, 5] {
            let at = begun + Duration::from_secs(seconds);
            let mut once = Context::from_waker(Waker::noop());
            assert!(timer.poll_reached(at, &mut once).is_pending());
        }
        future::poll_fn(|cx| timer.poll_reached(begun + Duration::from_secs(15), cx)).await;
        assert_eq!(begun.elapsed().as_secs(), 15);
    }
}
