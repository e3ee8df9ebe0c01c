//! `cargo xtask bench --layout`: writes down which functions a request takes, so that the linker lays them side by side.
//!
//! At low rates most of what a request costs is to fetch code that other programs have pushed out of the caches since
//! the last one, and its translation from pages: what is scattered over a binary of many megabytes costs more than
//! what stands together. Which functions are called for each request is counted under valgrind, as requests come over
//! HTTP and leave to an HTTP drain.

use std::collections::{BTreeSet, HashMap};
use std::fs;

use anyhow::{Context, ensure};
use logplex_tests::binary;
use regex::Regex;
use tempfile::TempDir;

use crate::load::Sent;
use crate::program::Program;
use crate::run::{settled, without_history};

/// The linker script, which `crates/logplex-server/build.rs` hands to the linker.
const SCRIPT: &str = "crates/logplex-server/request-path.ld";

const HEAD: &str = "\
/* The functions that a request takes, side by side in the binary and not scattered over it.
   Written by `cargo xtask bench --layout`. A star stands for what differs from build to build; a name that matches nothing
   does nothing. */
";

const REQUESTS: u64 = 1_000;
/// Messages a request.
const BATCH: u64 = 100;

/// Counts calls and writes the script.
pub(crate) fn record() -> anyhow::Result<()> {
    let folder = TempDir::new()?;
    let file = folder.path().join("calls");
    let out = format!("--callgrind-out-file={}", file.display());
    let valgrind = ["valgrind", "--tool=callgrind", "--demangle=no", &out];
    let mut server = without_history().under(&valgrind).start();
    let mut sink = Program::part(&["sink"], &[])?;
    let token = server.create_app("bench");
    server.add_drain("bench", &format!("http://{}/", sink.address()?));
    let (to, messages, rate) =
        (server.address().to_string(), (REQUESTS * BATCH).to_string(), (BATCH * 100).to_string());
    let args = ["load", &to, "--messages", &messages, "--batch", &BATCH.to_string(), "--rate", &rate];
    let sent: Sent = Program::part(&args, &[("BENCH_TOKEN", &token)])?.report()?;
    settled(&mut sink, sent.messages)?;
    ensure!(server.term().success(), "the server failed under valgrind");
    let calls = fs::read_to_string(&file).context("the calls that valgrind counted")?;
    let program = binary("logplex").display().to_string();
    // A function that most requests do not take is not on their path.
    let names = called(&calls, &program, REQUESTS / 2);
    ensure!(!names.is_empty(), "valgrind counted no calls of {program}");
    let patterns = patterns(&names)?;
    fs::write(SCRIPT, script(&patterns)).with_context(|| format!("cannot write {SCRIPT}"))?;
    println!("{SCRIPT} now names {} functions", patterns.len());
    Ok(())
}

/// The symbols of `program` that were called so often, from a file of callgrind (its manual, "Callgrind Format
/// Specification"): a name is written out once, with a number that stands for it from then on.
fn called<'a>(calls: &'a str, program: &str, least: u64) -> Vec<&'a str> {
    let (mut objects, mut names) = (HashMap::new(), HashMap::new());
    let mut counts: HashMap<&str, u64> = HashMap::new();
    let (mut caller_object, mut object, mut callee) = ("", "", "");
    for line in calls.lines() {
        let Some((field, value)) = line.split_once('=') else { continue };
        match field {
            // What is called is in the caller's object where no other is named.
            "ob" => {
                caller_object = name(&mut objects, value);
                object = caller_object;
            }
            "cob" => object = name(&mut objects, value),
            "fn" | "cfn" => callee = name(&mut names, value),
            "calls" => {
                let count = value.split_whitespace().next().and_then(|count| count.parse::<u64>().ok());
                if object == program {
                    *counts.entry(callee).or_default() += count.unwrap_or_default();
                }
                object = caller_object;
            }
            _ => {}
        }
    }
    counts.into_iter().filter_map(|(name, count)| (count >= least).then_some(name)).collect()
}

/// What `(1) name`, or `(1)` later on, stands for.
fn name<'a>(known: &mut HashMap<&'a str, &'a str>, value: &'a str) -> &'a str {
    match value.split_once(' ') {
        Some((number, name)) => {
            // The depth of a recursion.
            let name = name.split_once('\'').map_or(name, |(name, _)| name);
            known.insert(number, name);
            name
        }
        None => known.get(value).copied().unwrap_or_default(),
    }
}

/// Symbols (<https://doc.rust-lang.org/rustc/symbol-mangling/v0.html>) without what differs from build to build: the
/// hashes of crates (`Cs…_`), references to earlier parts by where these begin (`B…_`), and suffixes.
fn patterns(symbols: &[&str]) -> anyhow::Result<BTreeSet<String>> {
    let differs = Regex::new("(Cs|B)[0-9A-Za-z]+_|[.].*")?;
    let pattern = |symbol: &&str| differs.replace_all(symbol, "$1*").into_owned();
    Ok(symbols.iter().map(pattern).collect())
}

/// Each function is a section of its own, named after it. All go into the one section that debuggers and profilers
/// look for functions in.
fn script(patterns: &BTreeSet<String>) -> String {
    let first: String = patterns.iter().map(|pattern| format!("    *(.text.{pattern})\n")).collect();
    format!(
        "{HEAD}SECTIONS\n{{\n  .text :\n  {{\n{first}    *(.text .text.*)\n  }}\n}}\nINSERT AFTER .init;\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_program_calls_often_is_found() {
        let calls = "\
ob=(1) /bin/logplex
fn=(1) main
1 5
cfn=(2) twice
calls=400 3
1 20
cob=(2) /lib/libc.so.6
cfn=(3) malloc
calls=1000 3
1 20
cfn=(4) seldom
calls=499 3
1 20

fn=(4)
cfn=(5) recursive'2
calls=500 3
1 9
ob=(2)
fn=(3)
cob=(1)
cfn=(2)
calls=100 3
1 9
";
        let mut often = called(calls, "/bin/logplex", 500);
        often.sort_unstable();
        assert_eq!(often, ["recursive", "twice"]);
    }

    #[test]
    fn a_name_loses_what_differs_from_build_to_build() {
        for (symbol, expected) in [
            ("_RNvNtNtCsgEmfK2I1SDS_4core3fmt5write", "_RNvNtNtCs*4core3fmt5write"),
            ("_RNvXsu_CsgEm_4itoayNtB5_8Unsigned3fmt", "_RNvXsu_Cs*4itoayNtB*8Unsigned3fmt"),
            ("_RNvMNtCsK2I_4http6headerNtB4_9HeaderMap.10192", "_RNvMNtCs*4http6headerNtB*9HeaderMap*"),
            ("__floattidf", "__floattidf"),
        ] {
            assert_eq!(patterns(&[symbol]).unwrap(), BTreeSet::from([expected.to_owned()]));
        }
    }
}
