//! Finding the platform's codes in messages: what lines without one cost, and lines with one.
//! `cargo bench -p logplex-core --bench code`

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use logplex_core::ErrorCode;

const ROUTER: &str = "method=GET path=\"/some/path?with=query\" host=demo.example.com \
    request_id=5f0c8f5e-1111-4222-8333-444444444444 fwd=\"198.51.100.7\" dyno=web.1 connect=1ms service=18ms \
    status=200 bytes=1234 protocol=https";

fn code(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("code");
    let info = format!("at=info {ROUTER}");
    let error = format!("at=error code=H12 desc=\"Request timeout\" {ROUTER}");
    let long = format!("at=info {}", "x".repeat(10_000));
    let keys = " code=".repeat(1000);
    for (name, source, procid, text) in [
        ("other-source", "app", "web.1", info.as_str()),
        ("process-without", "heroku", "web.1", "State changed from starting to up"),
        ("router-without", "heroku", "router", &info),
        ("router-with", "heroku", "router", &error),
        ("process-with", "heroku", "web.1", "Error R14 (Memory quota exceeded)"),
        ("long-without", "heroku", "router", &long),
        ("many-keys", "heroku", "router", &keys),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                ErrorCode::from_message(black_box(source), black_box(procid), black_box(text.as_bytes()))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, code);
criterion_main!(benches);
