//! What a developer runs: `cargo xtask test` does all set-up and runs every test, `cargo xtask lint` holds the
//! house rules; `.ci/run` is the two together. `cargo xtask bench` measures.

mod bench;
mod count;
mod guard;
mod heroku;
mod lint;
mod needs;
mod step;
mod test;

use std::process::ExitCode;

use clap::Parser;

/// Tasks of this workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
enum Task {
    /// Install what the tests need, build the binaries, run every test, and close with the count.
    Test,
    /// Check formatting, clippy and documentation; warnings are errors.
    Lint,
    /// Build release and measure it against its peers; writes BENCHMARKS.md. `-- --help` shows the options.
    Bench {
        /// Count the instructions of the core's work instead, and fail where they are more than was accepted.
        #[arg(long)]
        guard: bool,
        /// Accept the counts as they are now.
        #[arg(long, requires = "guard")]
        accept: bool,
        /// Count instead which functions a request takes, for the linker to lay them side by side, and write them
        /// down.
        #[arg(long, conflicts_with = "guard")]
        layout: bool,
        /// For the bench.
        #[arg(last = true, conflicts_with_all = ["guard", "layout"])]
        args: Vec<String>,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    match Task::parse() {
        Task::Test => test::run(),
        Task::Lint => lint::run(),
        Task::Bench { guard: true, accept, .. } => guard::run(accept),
        Task::Bench { layout: true, .. } => bench::layout(),
        Task::Bench { args, .. } => bench::run(&args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Task::command().debug_assert();
    }
}
