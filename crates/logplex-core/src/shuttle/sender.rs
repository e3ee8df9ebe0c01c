//! One line at a time, from any thread: for who has whole lines and no stream.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::Utc;

use super::head::Head;
use super::queue::Queue;
use crate::batch::cut_point;

/// Queues whole lines under one head.
#[derive(Debug)]
pub(crate) struct LineSender {
    queue: Arc<Queue>,
    head: Mutex<Head>,
    most: usize,
}

impl LineSender {
    pub(super) fn new(queue: Arc<Queue>, head: Head, most: usize) -> LineSender {
        LineSender { queue, head: Mutex::new(head), most }
    }

    /// Queues one line, newlines inside it included; one that is too long is cut. Never blocks but with
    /// [`Overflow::Block`](super::Overflow::Block).
    pub(crate) fn send(&self, line: &[u8]) {
        let now = Utc::now();
        let mut head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
        head.stamp(now);
        self.queue.append(now, |open| {
            let mut rest = line;
            // A newline at the end is not worth a piece of its own.
            while rest.len() > self.most + 1 {
                let (piece, more) = rest.split_at(cut_point(rest, self.most));
                head.frame(open, piece);
                rest = more;
            }
            head.frame(open, rest);
        });
    }
}
