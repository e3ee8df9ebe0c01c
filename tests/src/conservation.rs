//! The law of the pipeline: what was sent was received or told.

use std::ops::Range;

/// Asserts that the numbered lines `sent` were received in order, none twice, and that `told` accounts for exactly
/// the others. Call it once traffic rests.
///
/// # Panics
/// When the sum is wrong, or a number came twice, out of order, or was never sent.
#[track_caller]
pub fn conservation(sent: Range<u64>, received: &[u64], told: u64) {
    conservation_within(sent, received, told, 0);
}

/// As [`conservation`], but `told` may exceed the missing lines by up to `unanswered`: the messages of requests that
/// were taken and got no answer. It may never fall short.
///
/// # Panics
/// As [`conservation`] does.
#[track_caller]
pub fn conservation_within(sent: Range<u64>, received: &[u64], told: u64, unanswered: u64) {
    for pair in received.windows(2) {
        assert!(pair[0] < pair[1], "line {} came after line {}", pair[1], pair[0]);
    }
    if let Some(stranger) = received.iter().find(|number| !sent.contains(number)) {
        panic!("line {stranger} came and was never sent: {sent:?}");
    }
    let missing = (sent.end - sent.start) - received.len() as u64;
    let least = format!("{} sent, {} received, {missing} missing", sent.end - sent.start, received.len());
    assert!(told >= missing, "{least}, but only {told} told; {}", gaps(&sent, received));
    assert!(
        told <= missing + unanswered,
        "{least}, but {told} told and at most {unanswered} unanswered; {}",
        gaps(&sent, received)
    );
}

/// The first few gaps, for whoever has to find out.
fn gaps(sent: &Range<u64>, received: &[u64]) -> String {
    let mut gaps = Vec::new();
    let mut next = sent.start;
    for number in received.iter().copied().chain([sent.end]) {
        if number > next {
            gaps.push(format!("{next}..{number}"));
        }
        next = number + 1;
    }
    let more = if gaps.len() > 8 { ", …" } else { "" };
    gaps.truncate(8);
    format!("gaps: [{}{more}]", gaps.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_balances_passes() {
        conservation(0..5, &[0, 1, 2, 3, 4], 0);
        conservation(0..5, &[3, 4], 3);
        conservation_within(0..5, &[3, 4], 4, 1);
    }

    #[test]
    #[should_panic(expected = "5 sent, 2 received, 3 missing, but only 2 told; gaps: [0..1, 2..4]")]
    fn a_silent_loss_fails() {
        conservation(0..5, &[1, 4], 2);
    }

    #[test]
    #[should_panic(expected = "but 4 told and at most 0 unanswered")]
    fn telling_too_much_fails() {
        conservation(0..5, &[1, 4], 4);
    }

    #[test]
    #[should_panic(expected = "line 1 came after line 1")]
    fn a_repeat_fails() {
        conservation(0..5, &[1, 1], 3);
    }
}
