//! What one server sends to a drain, another that knows the sender for a drain sends on byte for byte.

use bytes::Bytes;
use chrono::DateTime;
use logplex_core::message::Form;
use logplex_core::{Batch, Chunk, FrameLimit, Frames, Origin};
use proptest::collection::vec;
use proptest::prelude::*;

fn batch(body: Bytes, form: Form) -> Batch {
    let origin = Origin {
        token_name: "app",
        token: "t.1",
        form,
        limit: FrameLimit::MAX,
        now: DateTime::from_timestamp(1_700_000_000, 0).expect("in range"),
    };
    Batch::decode(&body, &origin).expect("well framed")
}

fn drain_form(batch: &Batch) -> Bytes {
    batch.drain_form(0..batch.count())
}

fn wire(frames: &Frames) -> Bytes {
    frames.wire(0..frames.count())
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    let field = || {
        prop_oneof!["[!-~]{1,12}", Just("-".to_owned()), Just("token".to_owned()), Just("host".to_owned())]
    };
    let time = prop::sample::select(&["2012-07-22T00:06:26.123456+00:00", "2012-07-22T00:06:26Z", "-"][..]);
    let structured_data = prop::sample::select(&["- ", "-", "", "[a] ", "[a b=\"c\"] "][..]);
    let text = prop_oneof![
        vec(any::<u8>(), 0..60),
        "(- |\\[INFO\\] |\\[a b=\"c\"\\] |-| ){0,3}[a-z]{0,5}\n?".prop_map(String::into_bytes),
    ];
    let strict = (0..=191u8, time, (field(), field(), field(), field()), structured_data, text.clone())
        .prop_map(|(pri, time, (host, app, procid, msgid), structured_data, text)| {
            let head = format!("<{pri}>1 {time} {host} {app} {procid} {msgid} {structured_data}");
            [head.as_bytes(), &text].concat()
        });
    let foreign = text.prop_map(|text| [b"<34>Oct 11 22:14:15 m su[1]: ", &text[..]].concat());
    prop_oneof![4 => strict, 1 => foreign]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn a_drains_body_passes_unchanged(messages in vec(message(), 0..8)) {
        let first = drain_form(&batch(wire(&Frames::from_messages(&messages)), Form::Any));
        prop_assert_eq!(drain_form(&batch(first.clone(), Form::Drain)), first);
    }

    #[test]
    fn a_strict_drains_body_passes_unchanged(messages in vec(message(), 0..8)) {
        let first = wire(&batch(wire(&Frames::from_messages(&messages)), Form::Any).strict_form());
        prop_assert_eq!(wire(&batch(first.clone(), Form::Strict).strict_form()), first);
    }
}
