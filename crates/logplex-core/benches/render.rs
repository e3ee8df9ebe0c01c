//! Rendering a batch in another form than it rests in: strict for all who send that, for each syslog drain, and line by
//! line for tails.
//! `cargo bench -p logplex-core --bench render`

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use logplex_core::message::Form;
use logplex_core::{Batch, Chunk, FrameLimit, Frames, Origin};

const MESSAGES: usize = 100;

fn batch(size: usize) -> Batch {
    let head = "<190>1 2026-01-02T03:04:05.678901+00:00 host token web.1 - - ";
    let message = format!("{head}{}", "x".repeat(size - head.len()));
    let origin = Origin {
        token_name: "app",
        token: "t.0f5c7e9a-1111-2222-3333-444444444444",
        form: Form::Any,
        limit: FrameLimit::MAX,
        now: chrono::DateTime::UNIX_EPOCH,
    };
    let body = Frames::from_messages(vec![message; MESSAGES]).wire(0..MESSAGES);
    Batch::decode(&body, &origin).expect("well framed")
}

fn render(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("render");
    for size in [80, 200, 500, 10_000] {
        let batch = batch(size);
        let bytes = batch.size(0..MESSAGES) as u64;
        group.throughput(Throughput::ElementsAndBytes { elements: MESSAGES as u64, bytes });
        // Nobody holds the result, so each call renders anew.
        group
            .bench_function(format!("strict-{size}"), |bencher| bencher.iter(|| batch.strict_form().count()));
        group.bench_function(format!("syslog-{size}"), |bencher| {
            bencher.iter(|| {
                let mut out = Vec::new();
                batch.write_syslog_form(0..MESSAGES, "d.0f5c7e9a-1111-2222-3333-444444444444", &mut out);
                out.len()
            });
        });
        group.bench_function(format!("line-{size}"), |bencher| {
            let write_all = |mut out: String| {
                (0..MESSAGES).for_each(|index| batch.write_line(index, &mut out));
                out
            };
            bencher.iter_batched(
                || String::with_capacity(2 * bytes as usize),
                write_all,
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, render);
criterion_main!(benches);
