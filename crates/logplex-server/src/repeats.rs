//! Which requests a token has brought lately, so that a repeat is taken once.
//!
//! The newest 1,024 ids a token for five minutes, and a bound on the ids of all tokens together; a restart
//! forgets them. Whoever looks an id up holds the token's lock until the request is published, so a repeat of
//! one still being processed waits for it.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The most ids that one token remembers, and for how long.
const IDS_PER_TOKEN: usize = 1024;
const REMEMBERED_FOR: Duration = Duration::from_secs(5 * 60);

/// The most ids remembered by all tokens together: at most about 16 MiB.
const IDS_IN_ALL: usize = 256 * 1024;

/// The longest id that is remembered, in bytes; a request with a longer one is never taken for a repeat.
const ID_MAX: usize = 128;

/// What makes two requests of one token the same: their id, length and count, hashed to 128 bits under keys that
/// nobody outside knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint(u64, u64);

/// The ids of one token.
#[derive(Debug)]
pub(crate) struct Repeats {
    /// How many ids all tokens remember together.
    in_all: Arc<AtomicUsize>,
    /// Nothing for most of many tokens, to which no request ever comes.
    ids: Option<Box<Ids>>,
}

#[derive(Debug, Default)]
struct Ids {
    keys: [RandomState; 2],
    seen: HashMap<Fingerprint, Instant>,
    order: VecDeque<Fingerprint>,
}

impl Repeats {
    pub(crate) fn new(in_all: Arc<AtomicUsize>) -> Repeats {
        Repeats { in_all, ids: None }
    }

    /// What to know a request by; `None` if its id is not one to remember.
    pub(crate) fn fingerprint(&mut self, id: &str, body_len: usize, messages: usize) -> Option<Fingerprint> {
        if id.is_empty() || id.len() > ID_MAX {
            return None;
        }
        let request = (id, body_len, messages);
        let [one, other] = &self.ids.get_or_insert_default().keys;
        Some(Fingerprint(one.hash_one(request), other.hash_one(request)))
    }

    /// Whether this request was remembered within the last five minutes.
    pub(crate) fn contains(&self, fingerprint: Fingerprint, now: Instant) -> bool {
        let at = self.ids.as_ref().and_then(|ids| ids.seen.get(&fingerprint));
        at.is_some_and(|at| now.duration_since(*at) < REMEMBERED_FOR)
    }

    /// Remembers a request that was taken.
    pub(crate) fn insert(&mut self, fingerprint: Fingerprint, now: Instant) {
        let (ids, in_all) = (self.ids.get_or_insert_default(), &self.in_all);
        while let Some(oldest) = ids.order.front() {
            let expired = ids.seen.get(oldest).is_none_or(|at| now.duration_since(*at) >= REMEMBERED_FOR);
            let full = ids.order.len() >= IDS_PER_TOKEN || in_all.load(Ordering::Relaxed) >= IDS_IN_ALL;
            if !expired && !full {
                break;
            }
            ids.forget_oldest(in_all);
        }
        if in_all.load(Ordering::Relaxed) >= IDS_IN_ALL {
            return;
        }
        if ids.seen.insert(fingerprint, now).is_none() {
            ids.order.push_back(fingerprint);
            in_all.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Ids {
    fn forget_oldest(&mut self, in_all: &AtomicUsize) {
        if let Some(oldest) = self.order.pop_front() {
            self.seen.remove(&oldest);
            in_all.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Repeats {
    fn drop(&mut self) {
        let remembered = self.ids.as_ref().map_or(0, |ids| ids.order.len());
        self.in_all.fetch_sub(remembered, Ordering::Relaxed);
    }
}
