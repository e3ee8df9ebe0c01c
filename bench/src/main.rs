//! The parts of `cargo xtask bench`, each a process of its own, and the run that puts them together.

mod api;
mod channels;
mod frames;
mod layout;
mod load;
mod program;
mod proxy;
mod readers;
mod report;
mod rows;
mod run;
mod shuttle;
mod sink;
mod stalled;
mod tails;

use clap::Parser;

#[derive(Debug, Parser)]
#[command(name = "logplex-bench")]
enum Part {
    Load(load::Load),
    Sink(sink::Sink),
    Readers(readers::Readers),
    Proxy(proxy::Proxy),
    Run(rows::Run),
    Layout,
}

fn main() -> anyhow::Result<()> {
    program::raise_file_limit()?;
    match Part::parse() {
        Part::Load(load) => load.run(),
        Part::Sink(sink) => sink.run(),
        Part::Readers(readers) => readers.run(),
        Part::Proxy(proxy) => proxy.run(),
        Part::Run(run) => run.run(),
        Part::Layout => layout::record(),
    }
}
