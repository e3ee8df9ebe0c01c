//! A notice may be dropped like any other message; what it told goes on in the notice of whoever dropped it.

use chrono::{DateTime, Utc};
use logplex_core::message::Form;
use logplex_core::{
    Batch, FrameLimit, Frames, Gap, LossReason, Notice, Origin, Part, Policy, Ring, RingLimits, Teller,
};

const L12: &str = "Error L12: 38500 messages dropped since 2026-01-02T03:04:05.000000+00:00.";

fn now() -> DateTime<Utc> {
    "2026-01-02T03:04:30Z".parse().expect("a time")
}

fn push(ring: &mut Ring<Batch>, procid: &str, texts: &[&str]) {
    let message =
        |text: &&str| format!("<190>1 2026-01-02T03:04:05.678901+00:00 host app {procid} - - {text}");
    let frames = Frames::from_messages(texts.iter().map(message));
    let origin =
        Origin { token_name: "app", token: "t.1", form: Form::Any, limit: FrameLimit::MAX, now: now() };
    let batch = Batch::decode(&frames.wire(0..texts.len()), &origin).expect("well framed");
    ring.push(Part::whole(batch.into()), now());
    assert!(ring.ledger().balances());
}

fn ring(messages: usize) -> Ring<Batch> {
    Ring::new(RingLimits { messages, ..RingLimits::default() })
}

fn gap(ring: &mut Ring<Batch>) -> Gap {
    ring.ledger_mut().take_gap(Teller::Reader).expect("something was dropped")
}

#[test]
fn what_a_dropped_notice_told_is_in_the_sum_and_in_a_fact() {
    let mut ring = ring(2);
    push(&mut ring, "log-shuttle", &["a", L12, "b", "c"]);
    assert_eq!((ring.ledger().dropped_total(), ring.ledger().upstream_held()), (2, 0));
    let notice = Notice::l10(&gap(&mut ring)).expect("a gap").to_string();
    assert_eq!(
        notice,
        "Error L10 (output buffer overflow): 38502 messages dropped since 2026-01-02T03:04:05+00:00. upstream=38500"
    );
}

#[test]
fn a_notice_that_arrives_has_told_it() {
    let mut ring = ring(2);
    push(&mut ring, "log-shuttle", &["a", L12]);
    assert_eq!(ring.ledger().upstream_held(), 38_500);
    let taken = ring.take(&Policy::default());
    ring.deliver(taken.parts());
    assert_eq!((ring.ledger().upstream_held(), ring.ledger().gap(Teller::Reader).total()), (0, 0));
}

#[test]
fn a_notice_cut_out_of_its_batch_is_still_one() {
    let mut ring = ring(3);
    push(&mut ring, "log-shuttle", &["long enough that the rest is copied out of the batch", "b", L12]);
    push(&mut ring, "web.1", &["c", "d"]);
    assert_eq!((ring.ledger().gap(Teller::Reader).total(), ring.ledger().upstream_held()), (2, 38_500));
    push(&mut ring, "web.1", &["e"]);
    assert_eq!(gap(&mut ring).total(), 3 + 38_500);
}

#[test]
fn what_is_given_up_is_told_too() {
    let mut ring = ring(5);
    push(&mut ring, "log-shuttle", &["a", L12]);
    ring.lose_all(LossReason::Stopped, now());
    let gap = gap(&mut ring);
    assert_eq!((gap.lost.count, gap.upstream.count), (2, 38_500));
}

#[test]
fn only_notices_about_this_stream_count() {
    let rows: [(&str, &str, u64); 8] = [
        ("log-shuttle", L12, 38_500),
        (
            "log-shuttle",
            "Error L13: 7 messages lost since 2026-01-02T03:04:05.000000+00:00. reason=refused",
            7,
        ),
        // A server whose drain feeds this one.
        (
            "logplex",
            "Error L10 (output buffer overflow): 9 messages dropped since 2026-01-02T03:04:05+00:00.",
            9,
        ),
        // The copy of what another drain was told.
        (
            "logplex",
            "Error L10 (output buffer overflow): 9 messages dropped since 2026-01-02T03:04:05+00:00. drain=d.1",
            0,
        ),
        ("web.1", L12, 0),
        ("log-shuttle", "Error L12: many messages dropped since 2026-01-02T03:04:05.000000+00:00.", 0),
        ("log-shuttle", "Error L12", 0),
        // Anyone may write one; the sum stays a number.
        (
            "log-shuttle",
            "Error L12: 18446744073709551615 messages dropped since 2026-01-02T03:04:05.000000+00:00.",
            u32::MAX as u64,
        ),
    ];
    for (procid, text, told) in rows {
        let mut ring = ring(1);
        push(&mut ring, procid, &[text, text, "last"]);
        assert_eq!(gap(&mut ring).upstream.count, 2 * told, "{procid}: {text}");
    }
}
