//! The instant at which an outlet has to end, which may be set, or changed, while it works.

use std::future;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// When to stop: once it holds an instant, nothing goes on past it. A sender that is dropped leaves what it
/// said last; if that was `None`, nothing stops the outlet.
pub type Stop = watch::Receiver<Option<Instant>>;

/// Whether nothing may go on at `at`.
pub(super) fn is_due(stop: &Stop, at: Instant) -> bool {
    stop.borrow().is_some_and(|stop| stop <= at)
}

/// Waits for the stop instant, whatever it is set to meanwhile. Waits for ever if it is never set.
pub(super) async fn stopped(stop: &mut Stop) {
    loop {
        let at = *stop.borrow_and_update();
        tokio::select! {
            () = reached(at) => return,
            changed = stop.changed() => if changed.is_err() { break },
        }
    }
    // Nobody can change it any more.
    let last = *stop.borrow();
    reached(last).await;
}

async fn reached(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => future::pending().await,
    }
}

/// Waits until `at`. Returns false at once when the stop instant would come first: nothing could be sent.
pub(super) async fn rest_until(at: Instant, stop: &mut Stop) -> bool {
    let wake = sleep_until(at);
    tokio::pin!(wake);
    let mut heard = true;
    loop {
        if is_due(stop, at) {
            return false;
        }
        tokio::select! {
            () = &mut wake => return true,
            changed = stop.changed(), if heard => heard = changed.is_ok(),
        }
    }
}
