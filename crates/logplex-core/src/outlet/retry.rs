//! What an answer means, and when a request is tried again.

use std::num::NonZeroU32;
use std::time::{Duration, SystemTime};

use http::status::StatusCode;
use tokio::time::Instant;

use super::error::AttemptError;
use super::stop::{Stop, is_due};
use crate::ledger::LossReason;

/// When a request is tried again and when it is given up.
///
/// The pause before the attempt after the `n`th is random between zero and `base` × 2ⁿ⁻¹, at most `cap`, so
/// that many outlets of one broken peer do not come back in step. A `Retry-After` lengthens it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The most attempts; `None`: as many as fit into `max_age`. Default `None`.
    pub max_attempts: Option<NonZeroU32>,
    /// No attempt starts later than this after the first. Default 60 s.
    pub max_age: Duration,
    /// The longest pause after the first attempt. Default 100 ms.
    pub base: Duration,
    /// The longest pause after any attempt. Default 5 s, as the original's.
    pub cap: Duration,
    /// The longest pause that a `Retry-After` can ask for. Default 30 s.
    pub max_retry_after: Duration,
}

impl Default for RetryPolicy {
    fn default() -> RetryPolicy {
        RetryPolicy {
            max_attempts: None,
            max_age: Duration::from_secs(60),
            base: Duration::from_millis(100),
            cap: Duration::from_secs(5),
            max_retry_after: Duration::from_secs(30),
        }
    }
}

impl RetryPolicy {
    /// Whether there may be an attempt after this many.
    fn allows_another(&self, attempts: u32) -> bool {
        self.max_attempts.is_none_or(|most| attempts < most.get())
    }

    /// How long to wait after the `attempts`th attempt.
    pub(super) fn pause(&self, attempts: u32, retry_after: Option<Duration>) -> Duration {
        let longest = u64::try_from(self.longest_pause(attempts).as_nanos()).unwrap_or(u64::MAX);
        let pause = Duration::from_nanos(fastrand::u64(0..=longest));
        // The longer of both: a peer that keeps answering `Retry-After: 0` must not be hammered.
        pause.max(retry_after.unwrap_or_default().min(self.max_retry_after))
    }

    /// When the attempt after the `attempts`th starts; `None` if there is none, for want of attempts, of time
    /// since the first one `started`, or because of `stop`.
    pub(super) fn retry_at(
        &self,
        attempts: u32,
        started: Instant,
        retry_after: Option<Duration>,
        stop: &Stop,
    ) -> Option<Instant> {
        if !self.allows_another(attempts) {
            return None;
        }
        let at = Instant::now().checked_add(self.pause(attempts, retry_after))?;
        let in_time = at.saturating_duration_since(started) <= self.max_age;
        (in_time && !is_due(stop, at)).then_some(at)
    }

    fn longest_pause(&self, attempts: u32) -> Duration {
        let doublings = attempts.saturating_sub(1).min(31);
        self.base.saturating_mul(1 << doublings).min(self.cap)
    }
}

/// What an answer means for the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Delivered(StatusCode),
    /// Try again; when that is not possible, this is why it was given up.
    Again(LossReason),
    Final(LossReason),
}

/// Judges an attempt; `so_far` is why the request would be given up without it.
pub(super) fn judge(outcome: &Result<StatusCode, AttemptError>, so_far: LossReason) -> Verdict {
    outcome.as_ref().map_or_else(|error| judge_error(error, so_far), |status| judge_status(*status))
}

/// As [`judge`], of an attempt without an answer.
pub(super) fn judge_error(error: &AttemptError, so_far: LossReason) -> Verdict {
    match error {
        AttemptError::Connect(_) | AttemptError::Closed => Verdict::Again(LossReason::Unreachable),
        AttemptError::Broken(_)
        | AttemptError::TimedOut(_)
        | AttemptError::Reset(_)
        | AttemptError::Stalled(_) => Verdict::Again(LossReason::Unanswered),
        // Cut off: the request fared as the attempts before it did.
        AttemptError::Stopped => Verdict::Final(so_far),
    }
}

fn judge_status(status: StatusCode) -> Verdict {
    match status.as_u16() {
        200..=299 => Verdict::Delivered(status),
        // A redirect followed is a body sent to whom nobody named, or lost: a POST becomes a GET.
        300..=399 => Verdict::Final(LossReason::Redirected),
        // Too slow, too early, too many: the peer asks for the same request later.
        408 | 425 | 429 | 500..=599 => Verdict::Again(LossReason::Unavailable),
        413 => Verdict::Final(LossReason::TooLarge),
        _ => Verdict::Final(LossReason::Refused),
    }
}

/// How long the peer asks to be left alone (RFC 9110, 10.2.3): seconds or a date. Zero for a date gone by,
/// `None` for what cannot be read.
pub(super) fn retry_after(value: &[u8], now: impl FnOnce() -> SystemTime) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are a long time, which the caller caps.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_meaning() {
        use LossReason::{Redirected, Refused, TooLarge, Unavailable};
        for number in 100..=999 {
            let status = StatusCode::from_u16(number).unwrap();
            let expected = match number {
                200..=299 => Verdict::Delivered(status),
                300..=399 => Verdict::Final(Redirected),
                413 => Verdict::Final(TooLarge),
                408 | 425 | 429 => Verdict::Again(Unavailable),
                500..=599 => Verdict::Again(Unavailable),
                _ => Verdict::Final(Refused),
            };
            assert_eq!(judge_status(status), expected, "{number}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Wed, 21 Oct 2015 07:28:00 GMT").unwrap();
        let table = [
            ("0", Some(0)),
            ("120", Some(120)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Wed, 21 Oct 2015 07:28:30 GMT", Some(30)),
            ("Wednesday, 21-Oct-15 07:28:30 GMT", Some(30)),
            ("Wed Oct 21 07:28:30 2015", Some(30)),
            ("Wed, 21 Oct 2015 07:27:00 GMT", Some(0)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(retry_after(text.as_bytes(), || now), expected.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn pauses_double_up_to_the_cap_and_are_spread() {
        let policy = RetryPolicy {
            base: Duration::from_millis(100),
            cap: Duration::from_secs(1),
            ..RetryPolicy::default()
        };
        let longest = |attempts| policy.longest_pause(attempts).as_millis();
        assert_eq!([1, 2, 3, 4, 5, 99, u32::MAX].map(longest), [100, 200, 400, 800, 1000, 1000, 1000]);

        let pauses: Vec<_> = (0..100).map(|_| policy.pause(9, None)).collect();
        assert!(pauses.iter().all(|pause| *pause <= policy.cap));
        assert!(pauses.iter().any(|pause| *pause < policy.cap / 2));
        assert!(pauses.iter().any(|pause| *pause > policy.cap / 2));
    }

    #[test]
    fn retry_after_lengthens_a_pause_up_to_its_own_cap() {
        let policy = RetryPolicy { max_retry_after: Duration::from_secs(20), ..RetryPolicy::default() };
        assert_eq!(policy.pause(1, Some(Duration::from_secs(7))), Duration::from_secs(7));
        assert_eq!(policy.pause(1, Some(Duration::MAX)), Duration::from_secs(20));
        assert!(policy.pause(1, Some(Duration::ZERO)) <= policy.base);
    }
}
