//! The hub's histories: written down once a second, and kept within what they may take.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use tracing::{error, info};

use super::Hub;
use crate::channel::Channel;
use crate::mailbox::lock;

/// A channel that brought nothing for this long has no history any more; the original's number.
const UNUSED: TimeDelta = TimeDelta::days(7);

impl Hub {
    /// Writes what is new of these channels' histories. What cannot be written stays in memory for the next time.
    pub(super) fn store_histories(&self, channels: &[Arc<Channel>], now: DateTime<Utc>) {
        if !self.shelf.is_on() {
            return;
        }
        let _storing = lock(&self.storing);
        let mut written = Vec::new();
        let mut result = Ok(());
        for channel in channels {
            let Some((mut write, end)) = channel.unstored() else { continue };
            result = self.shelf.write(&mut write);
            if result.is_err() {
                break;
            }
            written.push((channel, write, end));
        }
        result = result.and_then(|()| self.shelf.hand_over());
        if let Err(error) = result {
            error!(
                error = format!("{error:#}"),
                "histories not written; a crash now would cost more of them"
            );
            return;
        }
        for (channel, write, end) in &written {
            channel.set_stored(write, *end, now);
        }
    }

    /// Has the channels that were not used for longest leave memory, if all together take too much of it.
    pub(super) fn free_history_memory(&self) {
        let mut left = self.shelf.to_free();
        if left == 0 {
            return;
        }
        let mut used: Vec<_> =
            self.channels().into_iter().map(|channel| (channel.history_use(), channel)).collect();
        used.retain(|((_, memory, _), _)| *memory > 0);
        used.sort_by_key(|((used_at, ..), _)| *used_at);
        for ((_, memory, _), channel) in used {
            if left == 0 {
                break;
            }
            channel.evict_history();
            left = left.saturating_sub(memory);
        }
    }

    /// Has the channels that had no error code for longest give up the lines of theirs, if all together take too much.
    pub(super) fn free_code_lines(&self) {
        let mut left = self.shelf.code_lines.to_free();
        if left == 0 {
            return;
        }
        let dated = |channel: Arc<Channel>| Some((channel.code_lines_of()?, channel));
        let mut used: Vec<_> = self.channels().into_iter().filter_map(dated).collect();
        used.sort_by_key(|(last, _)| *last);
        for (_, channel) in used {
            if left == 0 {
                break;
            }
            left = left.saturating_sub(channel.forget_code_lines());
        }
    }

    /// Removes stored histories: of channels that were not written to for a week, and of those longest not written
    /// to where all together take too much.
    pub(super) fn free_history_disk(&self, now: DateTime<Utc>) {
        let mut left = self.shelf.to_remove();
        let unused = (now - UNUSED).timestamp_millis();
        let _storing = lock(&self.storing);
        let mut stored: Vec<_> =
            self.channels().into_iter().map(|channel| (channel.history_use().2, channel)).collect();
        stored.retain(|(stored, _)| !stored.is_empty() && (left > 0 || stored.at < unused));
        stored.sort_by_key(|(stored, _)| stored.at);
        let mut removed = 0u64;
        for (stored, channel) in stored {
            if left == 0 && stored.at >= unused {
                break;
            }
            if let Err(error) = channel.forget_history() {
                error!(channel = &*channel.id, error = format!("{error:#}"), "history not removed");
            }
            left = left.saturating_sub(stored.bytes);
            removed += 1;
        }
        if removed > 0 {
            info!(removed, "histories removed: unused for a week, or over the limit");
        }
    }
}
