//! `cargo xtask bench`: builds release and measures the binaries against the limit and against peers.

use std::process::{Command, ExitCode};

use anyhow::Context as _;

use crate::step::{Step, root, target};

/// Builds, and runs the bench with `args`.
pub(crate) fn run(args: &[String]) -> anyhow::Result<ExitCode> {
    if !Step::cargo("build --release -p logplex-server -p log-shuttle -p logplex-bench").run()? {
        return Ok(ExitCode::FAILURE);
    }
    let status = Command::new(target().join("release/logplex-bench"))
        .arg("run")
        .args(args)
        .current_dir(root())
        .status()
        .context("cannot start the bench")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
