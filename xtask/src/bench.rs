//! `cargo xtask bench`: builds release and measures the binaries against the limit and against peers, or with
//! `--layout` counts what they call.

use std::process::{Command, ExitCode};

use anyhow::Context as _;

use crate::needs;
use crate::step::{Step, root, target};

/// Builds, and runs the bench with `args`.
pub(crate) fn run(args: &[String]) -> anyhow::Result<ExitCode> {
    part("run", args)
}

/// Builds, and writes the server's linker script.
pub(crate) fn layout() -> anyhow::Result<ExitCode> {
    if !needs::met("valgrind", "valgrind", "the layout, for which calls are counted") {
        return Ok(ExitCode::FAILURE);
    }
    part("layout", &[])
}

fn part(name: &str, args: &[String]) -> anyhow::Result<ExitCode> {
    if !Step::cargo("build --release -p logplex-server -p log-shuttle -p logplex-bench").run()? {
        return Ok(ExitCode::FAILURE);
    }
    let status = Command::new(target().join("release/logplex-bench"))
        .arg(name)
        .args(args)
        .current_dir(root())
        .status()
        .context("cannot start the bench")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
