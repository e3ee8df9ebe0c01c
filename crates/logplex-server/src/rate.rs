//! A bound on how fast one channel may be written to, so that a noisy one cannot take the machine.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use tokio::time::Instant;

use crate::mailbox::lock;

/// The burst above the rate that always passes: one ring.
const BURST: f64 = 1024.0;

/// Channels remembered between two requests; beyond, those that are full again are forgotten first.
const CHANNELS_MAX: usize = 10_000;

/// Token buckets, one a channel, filled at `per_second`.
#[derive(Debug)]
pub(crate) struct RateLimit {
    per_second: NonZeroU32,
    buckets: Mutex<HashMap<Arc<str>, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    level: f64,
    at: Instant,
}

impl RateLimit {
    pub(crate) fn new(per_second: NonZeroU32) -> RateLimit {
        RateLimit { per_second, buckets: Mutex::default() }
    }

    pub(crate) fn per_second(&self) -> u32 {
        self.per_second.get()
    }

    /// Whether `messages` more may enter `channel` now. A batch larger than the burst passes when the bucket
    /// is full, and is paid for afterwards.
    pub(crate) fn admits(&self, channel: &Arc<str>, messages: usize, now: Instant) -> bool {
        let rate = f64::from(self.per_second.get());
        let full = BURST.max(rate);
        let level =
            |bucket: &Bucket| (bucket.level + now.duration_since(bucket.at).as_secs_f64() * rate).min(full);
        let mut buckets = lock(&self.buckets);
        if buckets.len() >= CHANNELS_MAX {
            buckets.retain(|_, bucket| level(bucket) < full);
        }
        let bucket = buckets.entry(channel.clone()).or_insert(Bucket { level: full, at: now });
        *bucket = Bucket { level: level(bucket), at: now };
        let admitted = bucket.level >= (messages as f64).min(full);
        if admitted {
            bucket.level -= messages as f64;
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate_holds_and_channels_share_nothing() {
        let limit = RateLimit::new(NonZeroU32::new(100).unwrap());
        let (noisy, quiet): (Arc<str>, Arc<str>) = ("noisy".into(), "quiet".into());
        let start = Instant::now();
        assert!(limit.admits(&noisy, 1024, start));
        assert!(!limit.admits(&noisy, 1, start));
        assert!(limit.admits(&quiet, 1, start));
        assert!(limit.admits(&noisy, 100, start + Duration::from_secs(1)));
        assert!(!limit.admits(&noisy, 1, start + Duration::from_secs(1)));
    }

    #[test]
    fn a_batch_over_the_burst_passes_and_is_paid_for() {
        let limit = RateLimit::new(NonZeroU32::new(100).unwrap());
        let channel: Arc<str> = "app".into();
        let start = Instant::now();
        assert!(limit.admits(&channel, 2024, start));
        assert!(!limit.admits(&channel, 1, start + Duration::from_secs(10)));
        assert!(limit.admits(&channel, 1, start + Duration::from_secs(11)));
    }
}
