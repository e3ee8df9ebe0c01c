use super::*;
use crate::frame::Frames;
use crate::ledger::Teller;

fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH
}

/// A ring of `messages`, without a bound on bytes that would bind.
fn ring(messages: usize) -> Ring<Frames> {
    Ring::new(RingLimits { messages, ..RingLimits::default() })
}

fn part(texts: &[&str]) -> Part<Frames> {
    Part::whole(Frames::from_messages(texts).into())
}

fn wire(taken: &Taken<Frames>) -> String {
    let parts = taken.parts().iter().map(|part| part.chunk().wire(part.range()));
    parts.map(|bytes| String::from_utf8(bytes.to_vec()).expect("a test's frames are text")).collect()
}

#[test]
fn a_limit_of_no_messages_is_one() {
    let mut ring = ring(0);
    ring.push(part(&["a", "b"]), now());
    assert_eq!((ring.limits().messages, wire(&ring.take(&Policy::default())).as_str()), (1, "1 b"));
}

#[test]
fn an_empty_part_is_not_kept() {
    let mut ring = ring(4);
    ring.push(part(&[]), now());
    assert_eq!((ring.parts.len(), ring.bytes(), ring.ledger().accepted()), (0, 0, 0));
    assert!(ring.take(&Policy::default()).is_empty());
}

#[test]
fn a_reader_takes_up_to_its_policy() {
    let mut ring = ring(100);
    for texts in [&["a", "b", "c"][..], &["d"], &["long enough", "e"]] {
        ring.push(part(texts), now());
    }
    let mut take = |messages, bytes| wire(&ring.take(&Policy { messages, bytes }));
    assert_eq!(take(2, 1000), "1 a1 b");
    assert_eq!(take(2, 1000), "1 c1 d");
    // A message over the size goes alone, and one is always taken.
    assert_eq!(take(usize::MAX, 5), "11 long enough");
    assert_eq!(take(0, 0), "1 e");
    assert_eq!(take(1, 1), "");
}

#[test]
fn a_size_is_not_passed_across_parts() {
    let mut ring = ring(100);
    for _ in 0..4 {
        ring.push(part(&["a", "b"]), now());
    }
    let policy = Policy { bytes: 16, ..Policy::default() };
    assert_eq!([ring.take(&policy).messages(), ring.take(&policy).messages()], [5, 3]);
}

#[test]
fn room_is_made_before_it_is_needed() {
    let mut ring = ring(4);
    ring.push(part(&["a", "b", "c"]), now());
    ring.make_room(1, now());
    assert_eq!(ring.messages(), 3);
    ring.make_room(3, now());
    assert_eq!((ring.messages(), ring.ledger().dropped(DropReason::Full)), (1, 2));
    ring.make_room(100, now());
    assert_eq!((ring.messages(), ring.ledger().dropped(DropReason::Full)), (0, 3));
}

#[test]
fn bytes_that_bind_first_are_the_reason() {
    let big = "x".repeat(1000);
    let mut ring = Ring::new(RingLimits { messages: 100, bytes: 2500 });
    for _ in 0..5 {
        ring.push(part(&[&big]), now());
    }
    assert_eq!((ring.messages(), ring.ledger().dropped(DropReason::Bytes)), (2, 3));
    let gap = ring.ledger_mut().take_gap(Teller::Reader).expect("three were dropped");
    assert_eq!(gap.dropped.reason, Some(DropReason::Bytes));
}

#[test]
fn a_message_that_never_fits_is_dropped_and_counted() {
    let mut ring = Ring::new(RingLimits { messages: 100, bytes: 500 });
    ring.push(part(&[&"x".repeat(1000)]), now());
    assert_eq!((ring.messages(), ring.bytes(), ring.ledger().dropped(DropReason::Bytes)), (0, 0, 1));
}

#[test]
fn a_small_part_does_not_keep_a_large_buffer_alive() {
    let chunk = Arc::new(Frames::from_messages(["x"; 1000]));
    let mut rest = Part::whole(chunk.clone());
    let small = rest.split_to(400);
    let mut ring = ring(1024);
    ring.push(small, now());
    ring.push(rest, now());
    // The first was copied out when it came, the second is when its head is cut.
    assert_eq!(Arc::strong_count(&chunk), 2);
    ring.make_room(1024 - 400, now());
    assert_eq!((ring.messages(), Arc::strong_count(&chunk)), (400, 1));
}

#[test]
fn all_that_rests_can_be_given_up_but_not_what_is_in_flight() {
    let mut ring = ring(10);
    ring.push(part(&["a", "b", "c"]), now());
    let taken = ring.take(&Policy { messages: 1, ..Policy::default() });
    ring.lose_all(LossReason::Closed, now());
    assert_eq!((ring.ledger().lost(LossReason::Closed), ring.ledger().held(), ring.bytes()), (2, 1, 0));
    ring.deliver(taken.parts());
    assert_eq!((ring.ledger().delivered(), ring.ledger().held()), (1, 0));
}
