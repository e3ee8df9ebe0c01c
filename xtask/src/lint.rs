//! `cargo xtask lint`: formatting, clippy and documentation.

use std::process::ExitCode;

use crate::step::Step;

/// Runs every check, also after one has failed, so that one run shows all there is to mend.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let steps = [
        Step::cargo("fmt --all --check"),
        Step::cargo("clippy --workspace --all-targets --all-features -- -D warnings"),
        Step::cargo("doc --no-deps --workspace --all-features").env("RUSTDOCFLAGS", "-D warnings"),
    ];
    let mut ok = true;
    for step in &steps {
        ok &= step.run()?;
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
