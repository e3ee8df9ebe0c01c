//! What a batch costs in allocations on its way from a request to a drain does not depend on how many messages it has.

use allocation_counter::{AllocationInfo, measure};
use bytes::Bytes;
use chrono::DateTime;
use logplex_core::message::Form;
use logplex_core::{Batch, Filter, FrameLimit, Frames, Origin, Part, Policy, Ring, RingLimits};

/// Half of the messages are from one process, half from another.
fn body(messages: usize) -> Bytes {
    let message = |at| {
        format!(
            "<190>1 2026-01-02T03:04:05.678901+00:00 host app web.{} - - a line as processes write them",
            at % 2
        )
    };
    Frames::from_messages((0..messages).map(message)).wire(0..messages)
}

/// Decode, filter, ring, take, render in each form: the way of a request's messages through the server.
fn walk(messages: usize) -> AllocationInfo {
    let origin = Origin {
        token_name: "app",
        token: "t.1",
        form: Form::Any,
        limit: FrameLimit::MAX,
        now: DateTime::UNIX_EPOCH,
    };
    let body = body(messages);
    let filter = Filter { exclude_ps: vec!["web.1".to_owned()], ..Filter::default() };
    let mut ring = Ring::new(RingLimits::default());
    measure(|| {
        let batch = Batch::decode(&body, &origin).expect("well framed");
        let part = Part::whole(batch.into());
        let half = filter.apply(&part).expect("half of them");
        assert_eq!(half.messages(), messages / 2);
        ring.push(part, origin.now);
        let taken = ring.take(&Policy { messages: usize::MAX, bytes: usize::MAX });
        assert_eq!(taken.messages(), messages);
        let parts = taken.parts().iter();
        let sent: usize = parts
            .map(|part| {
                let (batch, mut syslog) = (part.chunk(), Vec::new());
                batch.write_syslog_form(part.range(), "d.1", &mut syslog);
                let forms = [batch.drain_form(part.range()), batch.strict_form().wire(part.range())];
                forms.map(|form| form.len()).iter().sum::<usize>() + syslog.len()
            })
            .sum();
        assert!(sent > 3 * messages * 80);
        ring.deliver(taken.parts());
    })
}

#[test]
fn a_batch_of_1000_costs_as_many_allocations_as_one_of_100() {
    let (hundred, thousand) = (walk(100), walk(1000));
    assert!(hundred.count_total > 0, "the counter counts");
    assert_eq!(thousand.count_total, hundred.count_total);
}
