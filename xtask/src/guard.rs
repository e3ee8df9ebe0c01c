//! `cargo xtask bench --guard`: counts the instructions of fixed work of the core and compares them with the counts
//! that were accepted last.
//!
//! Times move with whatever else the machine does; instructions do not. They are those of one compiler (pinned by
//! `rust-toolchain.toml`), one libc, one valgrind, and the processor that valgrind shows to the program, by which libc
//! and `memchr` choose their code: it is the same on every x86-64 machine with AVX2. Elsewhere the counts mean
//! nothing, so nothing is judged.
//!
//! Each piece of work is run twice, once twice as long: the difference is free of what start and end cost.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, ensure};

use crate::needs;
use crate::step::{Step, root, target};

/// A piece of work, and how many times the shorter run does it.
const WORK: &[(&str, u64)] = &[("decode", 500), ("render", 500), ("ring", 5000), ("feed", 100)];

/// How many percent over the accepted count are let pass.
const TOLERANCE: u64 = 5;

/// The accepted counts, one `name = count` a line.
const ACCEPTED: &str = "bench/guard/instructions.toml";

const HEAD: &str = "\
# Instructions of each piece of the work in src/main.rs, done once.
# Written by `cargo xtask bench --guard --accept`; `cargo xtask bench --guard` holds the code to it.
";

/// Counts and compares, or with `accept` writes the counts down.
pub(crate) fn run(accept: bool) -> anyhow::Result<ExitCode> {
    if !is_comparable() {
        eprintln!("xtask: left out: the guard, whose counts are those of an x86-64 processor with AVX2");
        return Ok(ExitCode::SUCCESS);
    }
    if !needs::met("valgrind", "valgrind", "the guard, which counts instructions") {
        return Ok(if needs::is_ci() { ExitCode::FAILURE } else { ExitCode::SUCCESS });
    }
    if !Step::cargo("build --profile guard -p logplex-guard").run()? {
        return Ok(ExitCode::FAILURE);
    }
    let program = target().join("guard/logplex-guard");
    let mut counts = Vec::new();
    for &(work, times) in WORK {
        let (once, twice) = (instructions(&program, work, times)?, instructions(&program, work, 2 * times)?);
        counts.push((work.to_owned(), twice.saturating_sub(once) / times));
    }
    let path = root().join(ACCEPTED);
    if accept {
        fs::write(&path, written(&counts)).with_context(|| format!("cannot write {ACCEPTED}"))?;
        println!("{ACCEPTED} now holds:\n{}", written(&counts));
        return Ok(ExitCode::SUCCESS);
    }
    let accepted = fs::read_to_string(&path).with_context(|| format!("cannot read {ACCEPTED}"))?;
    let accepted = read(&accepted)?;
    let mut ok = true;
    for (work, count) in &counts {
        let of = accepted.iter().find(|(name, _)| name == work).map(|(_, count)| *count);
        ok &= Verdict::of(*count, of).passes();
        println!("{}", line(work, *count, of));
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(target_arch = "x86_64")]
fn is_comparable() -> bool {
    std::arch::is_x86_feature_detected!("avx2")
}

#[cfg(not(target_arch = "x86_64"))]
fn is_comparable() -> bool {
    false
}

/// The instructions of a whole run.
fn instructions(program: &Path, work: &str, times: u64) -> anyhow::Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([work, &times.to_string()])
        // No variable of the caller's may tune libc.
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .output()
        .context("cannot start valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{work} failed under valgrind:\n{said}");
    collected(&said).with_context(|| format!("valgrind gave no count of {work}:\n{said}"))
}

/// The count in `==123== Collected : 456`.
fn collected(said: &str) -> Option<u64> {
    let count = said.lines().find_map(|line| line.split_once("Collected :"))?.1;
    count.trim().parse().ok()
}

/// What a count means; it passes unless it is over the accepted one, or none is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Within,
    Over,
    Under,
    New,
}

impl Verdict {
    fn of(count: u64, accepted: Option<u64>) -> Verdict {
        match accepted {
            None => Verdict::New,
            Some(accepted) if count * 100 > accepted * (100 + TOLERANCE) => Verdict::Over,
            Some(accepted) if count * 100 < accepted * (100 - TOLERANCE) => Verdict::Under,
            Some(_) => Verdict::Within,
        }
    }

    fn passes(self) -> bool {
        matches!(self, Verdict::Within | Verdict::Under)
    }
}

/// What is said of a piece of work.
fn line(work: &str, count: u64, accepted: Option<u64>) -> String {
    let accept = "`cargo xtask bench --guard --accept`";
    let Some(of) = accepted else {
        return format!("FAILED {work}: {count} instructions, none accepted yet: {accept}");
    };
    let percent = (count as f64 / of as f64 - 1.0) * 100.0;
    let counts = format!("{work}: {count} instructions, {of} accepted ({percent:+.1} %)");
    match Verdict::of(count, accepted) {
        Verdict::Over => format!(
            "FAILED {counts}, more than {TOLERANCE} % over; if it is worth that, run {accept} and say in the commit why"
        ),
        Verdict::Under => format!("ok     {counts}; keep the gain with {accept}"),
        Verdict::Within | Verdict::New => format!("ok     {counts}"),
    }
}

/// The file of accepted counts.
fn written(counts: &[(String, u64)]) -> String {
    let lines: String = counts.iter().map(|(work, count)| format!("{work} = {count}\n")).collect();
    format!("{HEAD}\n{lines}")
}

/// Reads what [`written`] wrote.
fn read(text: &str) -> anyhow::Result<Vec<(String, u64)>> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let read = |line: &str| {
        let (work, count) = line.split_once(" = ")?;
        Some((work.to_owned(), count.parse().ok()?))
    };
    lines.map(|line| read(line).with_context(|| format!("{ACCEPTED}: not a count: {line:?}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_more_instructions_than_the_tolerance_allows_fail() {
        for (count, accepted, verdict, passes) in [
            (1000, Some(1000), Verdict::Within, true),
            (1050, Some(1000), Verdict::Within, true),
            (1051, Some(1000), Verdict::Over, false),
            (949, Some(1000), Verdict::Under, true),
            (1000, None, Verdict::New, false),
        ] {
            assert_eq!(Verdict::of(count, accepted), verdict, "{count} of {accepted:?}");
            assert_eq!(verdict.passes(), passes, "{verdict:?}");
        }
    }

    #[test]
    fn a_failure_names_the_work_both_counts_and_the_way_out() {
        let line = line("decode", 1200, Some(1000));
        for part in ["FAILED", "decode", "1200", "1000 accepted", "+20.0 %", "bench --guard --accept"] {
            assert!(line.contains(part), "{part} is not in {line:?}");
        }
    }

    #[test]
    fn what_is_accepted_is_read_back() {
        let counts = vec![("decode".to_owned(), 12), ("ring".to_owned(), 34)];
        assert_eq!(read(&written(&counts)).expect("well formed"), counts);
        let error = read("decode = many").expect_err("not a number");
        assert!(error.to_string().contains("decode = many"), "{error}");
    }

    #[test]
    fn the_count_is_taken_from_what_valgrind_says() {
        let said = "==7== Events    : Ir\n==7== Collected : 4213387\n==7== \n";
        assert_eq!(collected(said), Some(4_213_387));
        assert_eq!(collected("==7== Process terminating"), None);
    }
}
