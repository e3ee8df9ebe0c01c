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
    keys: [RandomState; 2],
    seen: HashMap<Fingerprint, Instant>,
    order: VecDeque<Fingerprint>,
}

impl Repeats {
    pub(crate) fn new(in_all: Arc<AtomicUsize>) -> Repeats {
        let keys = [RandomState::new(), RandomState::new()];
        Repeats { in_all, keys, seen: HashMap::new(), order: VecDeque::new() }
    }

    /// What to know a request by; `None` if its id is not one to remember.
    pub(crate) fn fingerprint(&self, id: &str, body_len: usize, messages: usize) -> Option<Fingerprint> {
        let request = (id, body_len, messages);
        let [one, other] = &self.keys;
        (!id.is_empty() && id.len() <= ID_MAX)
            .then(|| Fingerprint(one.hash_one(request), other.hash_one(request)))
    }

    /// Whether this request was remembered within the last five minutes.
    pub(crate) fn contains(&self, fingerprint: Fingerprint, now: Instant) -> bool {
        self.seen.get(&fingerprint).is_some_and(|at| now.duration_since(*at) < REMEMBERED_FOR)
    }

    /// Remembers a request that was taken.
    pub(crate) fn insert(&mut self, fingerprint: Fingerprint, now: Instant) {
        while let Some(oldest) = self.order.front() {
            let expired = self.seen.get(oldest).is_none_or(|at| now.duration_since(*at) >= REMEMBERED_FOR);
            let full = self.order.len() >= IDS_PER_TOKEN || self.in_all.load(Ordering::Relaxed) >= IDS_IN_ALL;
            if !expired && !full {
                break;
            }
            self.forget_oldest();
        }
        if self.in_all.load(Ordering::Relaxed) >= IDS_IN_ALL {
            return;
        }
        if self.seen.insert(fingerprint, now).is_none() {
            self.order.push_back(fingerprint);
            self.in_all.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.order.pop_front() {
            self.seen.remove(&oldest);
            self.in_all.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Repeats {
    fn drop(&mut self) {
        self.in_all.fetch_sub(self.order.len(), Ordering::Relaxed);
    }
}
