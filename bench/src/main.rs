//! The parts of `cargo xtask bench`, each a process of its own, and the run that puts them together.

mod frames;
mod load;
mod program;
mod proxy;
mod report;
mod rows;
mod run;
mod shuttle;
mod sink;
mod stalled;

use clap::Parser;

#[derive(Debug, Parser)]
#[command(name = "logplex-bench")]
enum Part {
    Load(load::Load),
    Sink(sink::Sink),
    Proxy(proxy::Proxy),
    Run(rows::Run),
}

fn main() -> anyhow::Result<()> {
    match Part::parse() {
        Part::Load(load) => load.run(),
        Part::Sink(sink) => sink.run(),
        Part::Proxy(proxy) => proxy.run(),
        Part::Run(run) => run.run(),
    }
}
