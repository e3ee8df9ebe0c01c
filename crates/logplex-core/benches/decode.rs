//! Finding frames and fields and building a batch's index, for strict and for foreign messages.
//! `cargo bench -p logplex-core --bench decode`

use std::hint::black_box;

use bytes::Bytes;
use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use logplex_core::message::Form;
use logplex_core::{Batch, Chunk, FrameLimit, Frames, Origin};

const MESSAGES: usize = 100;

const STRICT: &str = "<190>1 2026-01-02T03:04:05.678901+00:00 host app web.1 - - ";

fn origin() -> Origin<'static> {
    Origin {
        token_name: "app",
        token: "t.0f5c7e9a-1111-2222-3333-444444444444",
        form: Form::Any,
        limit: FrameLimit::MAX,
        now: chrono::DateTime::UNIX_EPOCH,
    }
}

/// A body of messages of `size` bytes, head included.
fn body(head: &str, size: usize) -> Bytes {
    let message = format!("{head}{}", "x".repeat(size - head.len()));
    Frames::from_messages(vec![message; MESSAGES]).wire(0..MESSAGES)
}

fn bench(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, body: &Bytes) {
    let origin = origin();
    let decode = || Batch::decode(black_box(body), &origin).expect("well framed").count();
    group.throughput(Throughput::ElementsAndBytes { elements: MESSAGES as u64, bytes: body.len() as u64 });
    group.bench_function(name, |bencher| bencher.iter(decode));
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for size in [80, 200, 500, 10_000] {
        bench(&mut group, &size.to_string(), &body(STRICT, size));
    }
    let elements = format!("{}[meta sequence=\"29\" id=\"ab\\\"c\"] ", &STRICT[..STRICT.len() - 2]);
    bench(&mut group, "sd-200", &body(&elements, 200));
    group.finish();
}

fn foreign(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("foreign");
    for (name, head) in [
        ("nil-time", "<190>1 - host app web.1 - - "),
        ("rfc3164", "<190>Jan 2 03:04:05 host app[123]: "),
        ("odd-rfc5424", "<190>1 2026-01-02T03:04:05Z  host app web.1 - - "),
        ("bare", ""),
    ] {
        bench(&mut group, name, &body(head, 200));
    }
    group.finish();
}

criterion_group!(benches, decode, foreign);
criterion_main!(benches);
