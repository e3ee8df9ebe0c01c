//! A push and what goes with it, per message: into a ring that its reader keeps empty, and into a full one,
//! which drops as many as come. `cargo bench -p logplex-core --bench ring`

use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use logplex_core::message::Form;
use logplex_core::{Batch, FrameLimit, Frames, Origin, Part, Policy, Ring, RingLimits};

/// A batch of messages of 200 bytes.
fn batch(messages: usize) -> Arc<Batch> {
    let head = "<190>1 2026-01-02T03:04:05.678901+00:00 host app web.1 - - ";
    let message = format!("{head}{}", "x".repeat(200 - head.len()));
    let origin = Origin {
        token_name: "app",
        token: "t.0f5c7e9a-1111-2222-3333-444444444444",
        form: Form::Any,
        limit: FrameLimit::MAX,
        now: chrono::DateTime::UNIX_EPOCH,
    };
    let body = Frames::from_messages(vec![message; messages]).wire(0..messages);
    Batch::decode(&body, &origin).expect("well framed").into()
}

fn ring(criterion: &mut Criterion) {
    let now = chrono::DateTime::UNIX_EPOCH;
    let mut group = criterion.benchmark_group("ring");
    for messages in [1, 100] {
        let batch = batch(messages);
        group.throughput(Throughput::Elements(messages as u64));
        group.bench_function(format!("empty-{messages}"), |bencher| {
            let mut ring = Ring::new(RingLimits::default());
            bencher.iter(|| {
                ring.push(Part::whole(batch.clone()), now);
                let taken = ring.take(&Policy::default());
                ring.deliver(taken.parts());
                taken.messages()
            });
        });
        group.bench_function(format!("full-{messages}"), |bencher| {
            let mut ring = Ring::new(RingLimits::default());
            while ring.ledger().dropped_total() == 0 {
                ring.push(Part::whole(batch.clone()), now);
            }
            bencher.iter(|| ring.push(Part::whole(batch.clone()), now));
        });
        group.bench_function(format!("full-take-{messages}"), |bencher| {
            let mut ring = Ring::new(RingLimits::default());
            while ring.ledger().dropped_total() == 0 {
                ring.push(Part::whole(batch.clone()), now);
            }
            bencher.iter(|| {
                ring.push(Part::whole(batch.clone()), now);
                let taken = ring.take(&Policy { messages, ..Policy::default() });
                ring.deliver(taken.parts());
                ring.push(Part::whole(batch.clone()), now);
                taken.messages()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, ring);
criterion_main!(benches);
