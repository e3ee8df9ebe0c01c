//! Every task of the server: cancelled and waited for.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

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
        self.cancel.cancel();
        self.wait(grace).await
    }

    /// Waits for all tasks to end by themselves.
    pub(crate) async fn wait(&self, grace: Duration) -> bool {
        self.tracker.close();
        tokio::time::timeout(grace, self.tracker.wait()).await.is_ok()
    }
}
