//! Every task of the server: cancelled and waited for.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::mailbox::lock;

/// Owns the tasks of one stage; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tasks {
    cancel: CancellationToken,
    tracker: TaskTracker,
}

impl Tasks {
    /// Spawns a task that watches its token and ends soon after it is cancelled.
    pub(crate) fn spawn<F>(&self, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tracker.spawn(task(self.cancel.child_token()));
    }

    /// What a future that someone else spawned must hold to be waited for, and the token it must watch.
    pub(crate) fn adopt(&self) -> (TaskTrackerToken, CancellationToken) {
        (self.tracker.token(), self.cancel.child_token())
    }

    /// Tells all tasks to end and waits. Returns false if `grace` ran out before every one had.
    pub(crate) async fn shut_down(&self, grace: Duration) -> bool {
        self.cancel();
        self.wait(grace).await
    }

    /// Tells all tasks to end.
    pub(crate) fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Waits for all tasks to end by themselves.
    pub(crate) async fn wait(&self, grace: Duration) -> bool {
        self.tracker.close();
        tokio::time::timeout(grace, self.tracker.wait()).await.is_ok()
    }
}

/// Waits until this instant, if ever.
pub(crate) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Held by a connection while a stop waits for it in the stage of requests; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct AtWork {
    stage: Tasks,
    held: Arc<Mutex<Option<TaskTrackerToken>>>,
}

impl AtWork {
    /// Held from here on for `stage`.
    pub(crate) fn new(stage: &Tasks) -> AtWork {
        let held = Arc::new(Mutex::new(Some(stage.tracker.token())));
        AtWork { stage: stage.clone(), held }
    }

    /// What the connection does from here on is waited for in another stage.
    pub(crate) fn rest(&self) {
        drop(lock(&self.held).take());
    }

    /// The connection has brought another request: held again if it rested.
    pub(crate) fn begin(&self) {
        lock(&self.held).get_or_insert_with(|| self.stage.tracker.token());
    }
}
