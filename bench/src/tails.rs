//! Many tails of one channel: what they cost while it is busy, and while nothing comes.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use logplex_tests::{LedgerSeen, Response, Server};
use serde_json::json;
use tempfile::TempDir;

use crate::api::call_api;
use crate::load::Sent;
use crate::program::{Program, cpu_seconds_of_all, rss};
use crate::run::{Measure, settled};
use crate::sink::Received;

/// Tails that all get what one channel is sent.
const BUSY: usize = 1_000;

/// Posts of so many messages, each second so many.
const MESSAGES: u64 = 10;
const POSTS: u64 = 100;

/// Tails of a channel that nothing is sent to.
const IDLE: usize = 10_000;

/// How long it takes until nothing of the tails' beginnings is under way any more.
const REST: Duration = Duration::from_secs(1);

/// Makes a session each for so many tails, and starts a program that reads them all.
fn start_readers(server: &Server, channel: &str, tails: usize, folder: &Path) -> anyhow::Result<Program> {
    let body = json!({ "channel_id": channel, "tail": true, "num": "0" }).to_string();
    let made = call_api(server, tails, |_| ("POST", "/v3/sessions".to_owned(), body.clone()))?;
    let path = |answer: &Response| {
        let answer = answer.json();
        let url = answer["url"].as_str().context("a session's URL")?;
        Ok(url.strip_prefix(&server.url("")).map_or_else(|| url.to_owned(), |path| format!("/{path}")))
    };
    let paths = made.iter().map(path).collect::<anyhow::Result<Vec<String>>>()?;
    let file = folder.join("sessions");
    std::fs::write(&file, paths.join("\n")).context("the sessions' file")?;
    let (to, file) = (server.address().to_string(), file.display().to_string());
    let mut readers = Program::part(&["readers", &to, &file], &[])?;
    let connected: Received = readers.report()?;
    ensure!(connected.messages == 0, "nothing was sent: {connected:?}");
    Ok(readers)
}

/// Sends for so many seconds, and checks that every tail got all of it.
pub(crate) fn busy(seconds: u64) -> anyhow::Result<Measure> {
    let server = Server::start();
    let folder = TempDir::new()?;
    let token = server.create_app("bench");
    let mut readers = start_readers(&server, "bench", BUSY, folder.path())?;
    thread::sleep(REST);
    let (to, seconds) = (server.address().to_string(), seconds.to_string());
    let (batch, rate) = (MESSAGES.to_string(), (MESSAGES * POSTS).to_string());
    #[rustfmt::skip]
    let args = [
        "load", &to, "--seconds", &seconds, "--batch", &batch, "--rate", &rate, "--connections", "1",
    ];
    let (cpu, begun) = (cpu_seconds_of_all(server.id())?, Instant::now());
    let sent: Sent = Program::part(&args, &[("BENCH_TOKEN", &token)])?.report()?;
    let received = settled(&mut readers, sent.messages * BUSY as u64)?;
    let cores = (cpu_seconds_of_all(server.id())? - cpu) / begun.elapsed().as_secs_f64();
    check_ledger(&server.tails_ledger("bench"), &received, sent.messages * BUSY as u64)?;
    Ok(Measure {
        rate: received.messages as f64 / received.seconds,
        cores,
        rss: rss(server.id())?,
        p50_us: received.p50_us.into(),
        p99_us: received.p99_us.into(),
        dropped: received.told as f64 * 100.0 / (sent.messages * BUSY as u64) as f64,
        ..Measure::default()
    })
}

/// The tails' ledgers must say what the tails saw.
fn check_ledger(ledger: &LedgerSeen, received: &Received, expected: u64) -> anyhow::Result<()> {
    let agrees = ledger.accepted == expected
        && ledger.gone() == received.told
        && ledger.delivered + ledger.held == received.messages;
    ensure!(agrees, "{expected} for all tails, {received:?}, but {ledger:?}");
    Ok(())
}

/// The memory of tails that nothing was sent to; then a line to all of them shows that each is one.
pub(crate) fn idle() -> anyhow::Result<Measure> {
    let server = Server::start();
    let folder = TempDir::new()?;
    let token = server.create_app("bench");
    // The code that a tail runs is in memory from the first on.
    let _first = start_readers(&server, "bench", 1, folder.path())?;
    thread::sleep(REST);
    let before = rss(server.id())?;
    let mut readers = start_readers(&server, "bench", IDLE, folder.path())?;
    thread::sleep(REST);
    let with_tails = rss(server.id())?;
    let to = server.address().to_string();
    let args = ["load", &to, "--messages", "1", "--batch", "1", "--connections", "1"];
    let _sent: Sent = Program::part(&args, &[("BENCH_TOKEN", &token)])?.report()?;
    settled(&mut readers, IDLE as u64)?;
    Ok(Measure {
        rss: with_tails,
        memory: with_tails - before,
        each: (with_tails - before) * 1024.0 / IDLE as f64,
        ..Measure::default()
    })
}
