//! Many channels, of which some are active: made over the API, read back at a start, and written to.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use logplex_tests::Response;
use serde_json::json;
use tempfile::TempDir;

use crate::api::call_api;
use crate::load::Sent;
use crate::program::{Program, cpu_seconds_of_all, rss};
use crate::run::{Measure, settled, without_history};

/// The channels that are written to, each with a drain.
const ACTIVE: usize = 1_000;

/// How long it takes until nothing of a start is under way any more.
const REST: Duration = Duration::from_secs(1);

/// Makes so many channels, starts anew, and sends to the active ones.
pub(crate) fn measure(channels: usize, seconds: u64) -> anyhow::Result<Measure> {
    let mut sink = Program::part(&["sink"], &[])?;
    let to = sink.address()?;
    let mut server = without_history().start();
    let begun = Instant::now();
    let body = json!({ "tokens": ["app"] }).to_string();
    call_api(&server, channels, |at| ("PUT", format!("/v3/channels/app-{at}"), body.clone()))?;
    let made = begun.elapsed().as_secs_f64();
    ensure!(server.term().success(), "the server did not stop: {:?}", server.stderr());
    let begun = Instant::now();
    server.restart();
    let start = begun.elapsed().as_secs_f64();
    thread::sleep(REST);
    let idle = rss(server.id())?;
    // The active ones are spread over all.
    let id = |at: usize| at * (channels / ACTIVE);
    let drain = json!({ "url": format!("http://{to}/") }).to_string();
    call_api(&server, ACTIVE, |at| ("POST", format!("/v3/channels/app-{}/drains", id(at)), drain.clone()))?;
    let found =
        call_api(&server, ACTIVE, |at| ("GET", format!("/v3/channels/app-{}", id(at)), String::new()))?;
    let token =
        |answer: &Response| answer.json()["tokens"]["app"].as_str().map(str::to_owned).context("a token");
    let tokens = found.iter().map(token).collect::<anyhow::Result<Vec<String>>>()?;
    let folder = TempDir::new()?;
    let file = folder.path().join("tokens");
    std::fs::write(&file, tokens.join("\n")).context("the tokens' file")?;
    let (to, file, seconds) = (server.address().to_string(), file.display().to_string(), seconds.to_string());
    let cpu = cpu_seconds_of_all(server.id())?;
    let sent: Sent =
        Program::part(&["load", &to, "--tokens", &file, "--seconds", &seconds], &[])?.report()?;
    let received = settled(&mut sink, sent.messages)?;
    Ok(Measure {
        rate: received.messages as f64 / received.seconds,
        cpu: (cpu_seconds_of_all(server.id())? - cpu) * 1e6 / received.messages as f64,
        dropped: received.told as f64 * 100.0 / sent.messages as f64,
        made,
        start,
        rss: idle,
        ..Measure::default()
    })
}
