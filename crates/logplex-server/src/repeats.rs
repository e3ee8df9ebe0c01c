//! Which requests a token has brought lately, so that a repeat is taken once.
//!
//! The newest 1,024 ids a token for five minutes, and a bound on the ids of all tokens together; a restart
//! forgets them. Whoever looks an id up holds the token's lock until the request is published, so a repeat of
//! one still being processed waits for it.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hashbrown::HashTable;
use tokio::time::Instant;

/// The most ids that one token remembers, and for how long.
const IDS_PER_TOKEN: usize = 1024;
const REMEMBERED_FOR: Duration = Duration::from_secs(5 * 60);

/// The most ids remembered by all tokens together: at most about 16 MiB.
const IDS_IN_ALL: usize = 256 * 1024;

/// The longest id that is remembered, in bytes; a request with a longer one is never taken for a repeat.
const ID_MAX: usize = 128;

/// The ids of one token.
#[derive(Debug)]
pub(crate) struct Repeats {
    /// How many ids all tokens remember together.
    in_all: Arc<AtomicUsize>,
    /// Nothing for most of many tokens, to which no request ever comes.
    ids: Option<Box<Ids>>,
}

/// A request is known by its id, length and count, hashed under a key that nobody outside knows: that another one is
/// taken for it has a chance of one in 2^54 a request.
#[derive(Debug, Default)]
struct Ids {
    key: RandomState,
    /// Numbered in the order they came, from `first` on.
    order: VecDeque<(u64, Instant)>,
    first: u16,
    /// The numbers by what they are numbers of: where it looks, it seldom has to look at `order`, too.
    numbers: HashTable<u16>,
}

impl Repeats {
    pub(crate) fn new(in_all: Arc<AtomicUsize>) -> Repeats {
        Repeats { in_all, ids: None }
    }

    /// Whether such a request came within the last five minutes. If not, it is remembered; one whose id is none to
    /// remember never came.
    pub(crate) fn is_one(&mut self, id: &str, body_len: usize, messages: usize, now: Instant) -> bool {
        if id.is_empty() || id.len() > ID_MAX {
            return false;
        }
        let (ids, in_all) = (self.ids.get_or_insert_default(), &self.in_all);
        let request = ids.key.hash_one((id, body_len, messages));
        while let Some((_, at)) = ids.order.front()
            && now.duration_since(*at) >= REMEMBERED_FOR
        {
            ids.forget_oldest(in_all);
        }
        if ids.has(request) {
            return true;
        }
        while ids.order.len() >= IDS_PER_TOKEN
            || !ids.order.is_empty() && in_all.load(Ordering::Relaxed) >= IDS_IN_ALL
        {
            ids.forget_oldest(in_all);
        }
        if in_all.load(Ordering::Relaxed) < IDS_IN_ALL {
            ids.remember(request, now, in_all);
        }
        false
    }
}

impl Ids {
    fn has(&self, request: u64) -> bool {
        let is_same = |number: &u16| self.order[usize::from(number.wrapping_sub(self.first))].0 == request;
        self.numbers.find(request, is_same).is_some()
    }

    fn remember(&mut self, request: u64, now: Instant, in_all: &AtomicUsize) {
        let Ids { order, first, numbers, .. } = self;
        // Fewer than two to the sixteenth are remembered at once.
        let number = first.wrapping_add(order.len() as u16);
        order.push_back((request, now));
        numbers.insert_unique(request, number, |number| order[usize::from(number.wrapping_sub(*first))].0);
        in_all.fetch_add(1, Ordering::Relaxed);
    }

    fn forget_oldest(&mut self, in_all: &AtomicUsize) {
        let Some((request, _)) = self.order.pop_front() else { return };
        if let Ok(found) = self.numbers.find_entry(request, |number| *number == self.first) {
            found.remove();
        }
        self.first = self.first.wrapping_add(1);
        in_all.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Repeats {
    fn drop(&mut self) {
        let remembered = self.ids.as_ref().map_or(0, |ids| ids.order.len());
        self.in_all.fetch_sub(remembered, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Brings requests whose ids are these numbers; how many were repeats.
    fn bring(repeats: &mut Repeats, ids: impl IntoIterator<Item = usize>, now: Instant) -> usize {
        ids.into_iter().filter(|id| repeats.is_one(&id.to_string(), 10, 1, now)).count()
    }

    #[test]
    fn the_newest_ids_are_remembered_for_as_long_as_they_should() {
        let mut repeats = Repeats::new(Arc::default());
        let begun = Instant::now();
        // More than the numbers' sixteen bits can tell apart.
        assert_eq!(bring(&mut repeats, 0..70_000, begun), 0);
        assert_eq!(bring(&mut repeats, 70_000 - IDS_PER_TOKEN..70_000, begun), IDS_PER_TOKEN);
        assert_eq!(bring(&mut repeats, [70_000 - IDS_PER_TOKEN - 1], begun), 0);
        let other = (repeats.is_one("69999", 11, 1, begun), repeats.is_one("69999", 10, 2, begun));
        assert_eq!(other, (false, false), "of another length or count it is another request");
        let later = begun + REMEMBERED_FOR - Duration::from_millis(1);
        assert_eq!(bring(&mut repeats, [69_999], later), 1);
        let too_late = begun + REMEMBERED_FOR;
        assert_eq!(bring(&mut repeats, [69_999, 69_998, 69_999], too_late), 1);
        assert_eq!(repeats.in_all.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn all_tokens_together_remember_no_more_than_they_may() {
        let in_all = Arc::new(AtomicUsize::new(IDS_IN_ALL - 2));
        let (mut one, mut other) = (Repeats::new(in_all.clone()), Repeats::new(in_all.clone()));
        let now = Instant::now();
        assert_eq!(bring(&mut one, [1, 2, 3, 2, 3, 1], now), 2, "its own oldest makes room");
        assert_eq!(bring(&mut other, [1, 1], now), 0, "there is none left for another");
        assert_eq!(in_all.load(Ordering::Relaxed), IDS_IN_ALL);
        drop(one);
        assert_eq!(bring(&mut other, [1, 1], now), 1);
        assert_eq!(in_all.load(Ordering::Relaxed), IDS_IN_ALL - 1);
        let long = "x".repeat(ID_MAX);
        let is_repeat = |other: &mut Repeats, id: &str| {
            let first = other.is_one(id, 10, 1, now);
            (first, other.is_one(id, 10, 1, now))
        };
        assert_eq!(is_repeat(&mut other, &long), (false, true));
        assert_eq!(is_repeat(&mut other, &(long + "x")), (false, false));
    }
}
