//! Waiting: a state is polled until it holds or a deadline passes.

use std::thread;
use std::time::{Duration, Instant};

/// Long enough for a loaded machine, short enough that a hang is told before the test runner kills the test.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Between two looks at a state. Short, because tests are many; not zero, because the watched have two cores.
const PAUSE: Duration = Duration::from_millis(5);

/// Looks at `state` until it gives something, and returns that.
///
/// # Panics
/// When `deadline` passes first; the message names `what`.
#[track_caller]
pub fn wait_until<T>(deadline: Duration, what: &str, state: impl FnMut() -> Option<T>) -> T {
    match poll_until(deadline, state) {
        Some(value) => value,
        None => panic!("waited {deadline:?} in vain for: {what}"),
    }
}

/// [`wait_until`] with the usual [`DEADLINE`].
///
/// # Panics
/// As [`wait_until`] does.
#[track_caller]
pub fn wait_for<T>(what: &str, state: impl FnMut() -> Option<T>) -> T {
    wait_until(DEADLINE, what, state)
}

/// Looks at `state` until it gives something; `None` when `deadline` passes first. It looks at least once.
pub fn poll_until<T>(deadline: Duration, mut state: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = state() {
            return Some(value);
        }
        if start.elapsed() >= deadline {
            return None;
        }
        thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_comes_is_returned() {
        let mut looks = 0;
        let looked = wait_for("three looks", || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(looked, 3);
    }

    #[test]
    #[should_panic(expected = "in vain for: a day that never comes")]
    fn a_state_that_does_not_come_is_named() {
        wait_until(Duration::from_millis(1), "a day that never comes", || None::<()>);
    }
}
