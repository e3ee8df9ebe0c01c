//! What the server keeps of one HTTP connection from request to request.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::Sleep;
use logplex_core::timer::Timer;
use tokio::time::Instant;

use super::LastToken;
use crate::mailbox::lock;

/// See the module's text.
#[derive(Default)]
pub(crate) struct Caller {
    pub(crate) last_token: LastToken,
    pub(crate) patience: Patience,
}

/// The connection's one timer, for the heads of its requests and for their bodies, which never are waited for at once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Patience(Arc<Mutex<Timer>>);

impl Patience {
    /// Waits for what `future` brings, `None` if that has not come by `deadline`.
    pub(crate) async fn wait<F: Future>(&self, future: F, deadline: Instant) -> Option<F::Output> {
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => lock(&self.0).poll_reached(deadline, cx).map(|()| None),
        })
        .await
    }
}

/// As hyper wants it, for heads.
impl hyper::rt::Timer for Patience {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Wait { patience: self.clone(), deadline: deadline.into() })
    }

    fn now(&self) -> std::time::Instant {
        Instant::now().into()
    }
}

struct Wait {
    patience: Patience,
    deadline: Instant,
}

impl Sleep for Wait {}

impl Future for Wait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        lock(&self.patience.0).poll_reached(self.deadline, cx)
    }
}
