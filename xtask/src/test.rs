//! `cargo xtask test`: set-up, binaries, every test, every feature alone, benches; and the count at the end.

use std::path::Path;
use std::process::ExitCode;

use crate::count::Count;
use crate::needs::{self, Need};
use crate::step::{Step, root};

/// Each must build without the others: they are additive, and a user takes only one.
const CORE_FEATURES: &[&str] = &["client", "tracing", "child"];

/// Runs everything and prints the count of tests alone on the last line.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let tests = root().join("tests/tests");
    let left_out = needs::unmet(&tests);
    let mut count = Count::default();
    let mut failed_steps = 0;

    // The tests of whole binaries look for them beside the test executables, so they are built first.
    if Step::cargo("build -p logplex-server -p log-shuttle --bins").run()? {
        let mut counted = test_steps(&tests, &left_out);
        counted.push(Step::cargo("test --doc --workspace --all-features --no-fail-fast"));
        for step in counted {
            failed_steps += u64::from(!step.run_counted(&mut count)?);
        }
        for step in check_steps() {
            failed_steps += u64::from(!step.run()?);
        }
    } else {
        failed_steps += 1;
    }
    if needs::is_ci() && (!left_out.is_empty() || count.skipped > 0) {
        eprintln!("xtask: failed: CI=true allows nothing to be left out, and {}", what_was(&left_out, count));
        failed_steps += 1;
    }

    // A step that failed without a failed test (it did not build) must not close with "0 failed".
    if count.failed < failed_steps {
        count.failed = failed_steps;
    }
    println!("{count}");
    Ok(if count.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The commands that run all tests but doctests and those of `left_out`.
fn test_steps(tests: &Path, left_out: &[&Need]) -> Vec<Step> {
    if needs::present("cargo-nextest") {
        let run =
            Step::cargo("nextest run --workspace --all-features --retries 0 --no-fail-fast --no-tests pass");
        // One expression: nextest would run the union of several.
        let without: Vec<String> = left_out
            .iter()
            .map(|need| format!("not (package(logplex-tests) & binary(/^{}/))", need.used_by))
            .collect();
        return vec![if without.is_empty() { run } else { run.arg("-E").arg(without.join(" & ")) }];
    }
    eprintln!(
        "xtask: cargo-nextest is missing (cargo install --locked cargo-nextest): falling back to cargo test,"
    );
    eprintln!("xtask: which runs the same tests without nextest's time limit on a test that hangs");
    let all = "test --workspace --all-features --no-fail-fast";
    if left_out.is_empty() {
        return vec![Step::cargo(all).arg("--tests")];
    }
    // `cargo test` leaves out a file only by naming the others.
    let kept = needs::test_files(tests);
    let kept = kept.iter().filter(|file| !left_out.iter().any(|need| file.starts_with(need.used_by)));
    let judged = kept
        .fold(Step::cargo("test -p logplex-tests --all-features --no-fail-fast --lib"), |step, file| {
            step.arg("--test").arg(file)
        });
    vec![Step::cargo(all).arg("--tests").arg("--exclude").arg("logplex-tests"), judged]
}

/// What must build though no test runs it.
fn check_steps() -> Vec<Step> {
    let alone = "check -p logplex-core --no-default-features";
    let mut steps = vec![Step::cargo(alone)];
    steps.extend(CORE_FEATURES.iter().map(|feature| Step::cargo(alone).arg("--features").arg(*feature)));
    if has_benches() {
        steps.push(Step::cargo("check --workspace --all-features --benches"));
    }
    steps
}

fn has_benches() -> bool {
    let crates = std::fs::read_dir(root().join("crates")).into_iter().flatten().flatten();
    crates.into_iter().any(|folder| folder.path().join("benches").is_dir())
}

fn what_was(left_out: &[&Need], count: Count) -> String {
    let tools: Vec<&str> = left_out.iter().map(|need| need.tool).collect();
    if tools.is_empty() {
        format!("{} tests were skipped", count.skipped)
    } else {
        format!("these are missing: {}", tools.join(", "))
    }
}
