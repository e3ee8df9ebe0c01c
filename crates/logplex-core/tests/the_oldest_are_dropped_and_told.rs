//! With one message unanswered in flight, 1,024 + k more lose exactly the oldest k, and what follows the
//! notice is contiguous to the last message sent.

use std::ops::Range;

use chrono::{DateTime, Utc};
use logplex_core::message::Form;
use logplex_core::{
    Batch, Chunk, DropReason, FrameLimit, Frames, Notice, Origin, Part, Policy, Ring, RingLimits, Teller,
};

fn at(second: u64) -> DateTime<Utc> {
    DateTime::from_timestamp(second as i64, 0).expect("in range")
}

fn batch(numbers: Range<u64>, text_len: usize) -> Batch {
    let messages = numbers.map(|number| {
        format!("<190>1 2026-01-02T03:04:05.678901+00:00 host app web.1 - - {number:0text_len$}")
    });
    let frames = Frames::from_messages(messages);
    let origin =
        Origin { token_name: "app", token: "t.1", form: Form::Any, limit: FrameLimit::MAX, now: at(0) };
    Batch::decode(&frames.wire(0..frames.count()), &origin).expect("well framed")
}

/// Pushes messages `numbers` in batches; message n is sent at second n, as is its batch's last.
fn push(ring: &mut Ring<Batch>, numbers: Range<u64>, batch_size: u64, text_len: usize) {
    for first in numbers.clone().step_by(batch_size as usize) {
        let last = (first + batch_size).min(numbers.end);
        ring.push(Part::numbered(batch(first..last, text_len).into(), first), at(last - 1));
    }
}

/// The sequence numbers of all that rests, which must be those in the texts.
fn drain(ring: &mut Ring<Batch>) -> Vec<u64> {
    let mut sequence = Vec::new();
    loop {
        let taken = ring.take(&Policy::default());
        if taken.is_empty() {
            return sequence;
        }
        for part in taken.parts() {
            for index in part.range() {
                let number = part.first_sequence() + part.chunk().ordinal(index);
                let text = part.chunk().message(index).text;
                assert_eq!(std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()), Some(number));
                sequence.push(number);
            }
        }
        ring.deliver(taken.parts());
    }
}

#[test]
fn exactly_the_oldest_are_lost_to_a_reader_that_does_not_answer() {
    for batch_size in [1, 7, 100, 700, 1024, 3000] {
        for over in [0, 1, 99, 100, 1024, 2500] {
            let mut ring = Ring::new(RingLimits::default());
            push(&mut ring, 0..1, 1, 1);
            let in_flight = ring.take(&Policy::default());
            assert_eq!(in_flight.messages(), 1);

            let sent = 1 + 1024 + over;
            push(&mut ring, 1..sent, batch_size, 1);
            let gap = ring.ledger_mut().take_gap(Teller::Reader);
            ring.deliver(in_flight.parts());

            let case = format!("{over} over in batches of {batch_size}");
            let notice = gap.and_then(|gap| Notice::l10(&gap));
            assert_eq!(notice.as_ref().map_or(0, |notice| notice.count), over, "{case}");
            // The first was dropped when the batch came that was too many.
            let first = (1 + 1024..sent).next().map(|first| {
                let its_batch_ends = ((first - 1) / batch_size + 1) * batch_size;
                at(its_batch_ends.min(sent - 1))
            });
            assert_eq!(notice.map(|notice| notice.since), first, "{case}");
            assert_eq!(drain(&mut ring), (1 + over..sent).collect::<Vec<_>>(), "{case}");
            assert_eq!((ring.ledger().delivered(), ring.ledger().held()), (1 + 1024, 0), "{case}");
            assert!(ring.ledger().balances() && ring.bytes() == 0, "{case}");
        }
    }
}

#[test]
fn a_default_ring_holds_1024_messages_of_10_kb() {
    for batch_size in [1, 100, 700] {
        let mut ring = Ring::new(RingLimits::default());
        push(&mut ring, 0..2 * 1024 + 300, batch_size, 10_000);
        assert_eq!(ring.messages(), 1024, "in batches of {batch_size}");
        assert_eq!(ring.ledger().dropped(DropReason::Bytes), 0, "in batches of {batch_size}");
        assert!(ring.bytes() <= ring.limits().bytes);
    }
}

#[test]
fn larger_messages_are_bounded_by_bytes_and_the_notice_says_so() {
    let mut ring = Ring::new(RingLimits::default());
    push(&mut ring, 0..600, 10, 60_000);
    let gap = ring.ledger_mut().take_gap(Teller::Reader).expect("60 KB × 600 do not fit 16 MiB");
    let notice = Notice::l10(&gap).expect("a gap is told").to_string();
    assert!(notice.ends_with(" reason=bytes"), "{notice}");
    assert_eq!(drain(&mut ring), (gap.total()..600).collect::<Vec<_>>());
}

#[test]
fn a_batch_of_nothing_is_nothing() {
    let mut ring = Ring::new(RingLimits::default());
    let origin =
        Origin { token_name: "app", token: "t.1", form: Form::Any, limit: FrameLimit::MAX, now: at(0) };
    ring.push(Part::whole(Batch::decode(b"", &origin).expect("empty").into()), at(0));
    assert_eq!((ring.messages(), ring.parts().count()), (0, 0));
}
