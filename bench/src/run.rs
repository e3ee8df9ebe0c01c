//! One measurement: a load, a program under test, sinks; started, run until traffic rests, and read off.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use logplex_tests::{Server, ServerOptions};
use tempfile::TempDir;

use crate::load::Sent;
use crate::program::{Program, cpu_seconds, peak_rss, stolen_seconds};
use crate::sink::Received;
use crate::stalled::Stalled;
use crate::{channels, shuttle, stalled, tails};

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Subject {
    /// What stands between a load generator and sinks.
    Router(Router),
    /// `log-shuttle`, which reads lines from a file, or from a pipe.
    Shuttle { pipe: bool },
    /// `log-shuttle`, which reads a line now and then from a pipe.
    LoneLine,
    /// The memory of `logplex serve` whose only drain stands still.
    Stalled(Stalled),
    /// Many tails of `logplex serve`, which all get what one channel is sent.
    BusyTails,
    /// The memory of many tails that nothing is sent to.
    IdleTails,
    /// `logplex serve` with so many channels, of which the same 1,000 are active.
    Channels(usize),
}

/// What stands between load and sinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Router {
    /// The unread-body proxy.
    Proxy,
    /// `logplex serve` with so many drains, and with or without history.
    Logplex { drains: u32, history: bool },
    /// `logplex serve` with a syslog listener and a syslog drain, octet-counted TCP in and out.
    LogplexSyslog,
    /// `rsyslogd`, octet-counted TCP in and out.
    Rsyslog,
}

/// What one measurement gave. What a subject does not have stays zero, and has no column in its table.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Measure {
    /// Messages received by one sink a second.
    pub(crate) rate: f64,
    /// CPU-seconds of the subject a million messages that one sink received.
    pub(crate) cpu: f64,
    /// MiB at the most.
    pub(crate) rss: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Percent of the messages sent that were dropped, and told.
    pub(crate) dropped: f64,
    /// Messages that a drain which stands still holds.
    pub(crate) held: f64,
    /// MiB at the most over those of the idle server.
    pub(crate) memory: f64,
    /// MiB that `memory` should not pass.
    pub(crate) bound: f64,
    /// KiB of memory each, where there are many of something.
    pub(crate) each: f64,
    /// CPU-seconds of the subject a second.
    pub(crate) cores: f64,
    /// Percent of the machine's time that a hypervisor took.
    pub(crate) stolen: f64,
    /// Seconds until all channels were made, and until a server with all of them listens.
    pub(crate) made: f64,
    pub(crate) start: f64,
}

/// How long traffic may take to come to rest after the load has ended.
const REST: Duration = Duration::from_secs(60);

impl Subject {
    pub(crate) fn name(self) -> String {
        match self {
            Subject::Router(Router::Proxy) => "unread-body proxy".to_owned(),
            Subject::Router(Router::Logplex { history: true, .. }) => "logplex with history".to_owned(),
            Subject::Router(Router::Logplex { drains: 1, .. }) => "logplex".to_owned(),
            Subject::Router(Router::Logplex { drains, .. }) => format!("logplex, {drains} drains"),
            Subject::Router(Router::LogplexSyslog) => "logplex, TCP to TCP".to_owned(),
            Subject::Router(Router::Rsyslog) => "rsyslog, TCP to TCP".to_owned(),
            Subject::Shuttle { pipe: false } => "log-shuttle, from a file".to_owned(),
            Subject::Shuttle { pipe: true } => "log-shuttle, from a pipe".to_owned(),
            Subject::LoneLine => "log-shuttle, from a pipe".to_owned(),
            Subject::Stalled(stalled) => stalled.name(),
            Subject::BusyTails => "logplex, 1,000 tails".to_owned(),
            Subject::IdleTails => "logplex, 10,000 tails".to_owned(),
            Subject::Channels(channels) => format!("logplex, {channels} channels"),
        }
    }

    /// Measures once, for about so many seconds where time matters; `load` is for the load generator of a router.
    pub(crate) fn measure(self, load: &[&str], seconds: u64) -> anyhow::Result<Measure> {
        let (begun, before) = (Instant::now(), stolen_seconds()?);
        let measure = self.measure_once(load, seconds)?;
        let time = begun.elapsed().as_secs_f64() * thread::available_parallelism()?.get() as f64;
        Ok(Measure { stolen: (stolen_seconds()? - before) * 100.0 / time, ..measure })
    }

    fn measure_once(self, load: &[&str], seconds: u64) -> anyhow::Result<Measure> {
        match self {
            Subject::Router(router) => router.measure(load, seconds),
            Subject::Shuttle { pipe } => shuttle::many_lines(pipe),
            Subject::LoneLine => shuttle::lone_lines(seconds),
            Subject::Stalled(stalled) => stalled::measure(stalled),
            Subject::BusyTails => tails::busy(seconds),
            Subject::IdleTails => tails::idle(),
            Subject::Channels(channels) => channels::measure(channels, seconds),
        }
    }
}

impl Router {
    /// Sends a load of these arguments through the router.
    fn measure(self, load: &[&str], seconds: u64) -> anyhow::Result<Measure> {
        let tcp = matches!(self, Router::LogplexSyslog | Router::Rsyslog);
        let sink_args: &[&str] = if tcp { &["sink", "--tcp"] } else { &["sink"] };
        let drains = if let Router::Logplex { drains, .. } = self { drains } else { 1 };
        let mut sinks = Vec::new();
        let mut addresses = Vec::new();
        for _ in 0..drains {
            let mut sink = Program::part(sink_args, &[])?;
            addresses.push(sink.address()?);
            sinks.push(sink);
        }
        let running = Running::start(self, &addresses)?;
        let before = cpu_seconds(running.id)?;
        let (to, seconds) = (running.address.to_string(), seconds.to_string());
        let mut args = vec!["load", to.as_str(), "--seconds", seconds.as_str()];
        args.extend(tcp.then_some("--tcp"));
        args.extend(load);
        let sent: Sent = Program::part(&args, &[("BENCH_TOKEN", &running.token)])?.report()?;
        let mut received = Vec::new();
        for sink in &mut sinks {
            received.push(settled(sink, sent.messages)?);
        }
        let first = received[0];
        Ok(Measure {
            rate: first.messages as f64 / first.seconds,
            cpu: (cpu_seconds(running.id)? - before) * 1e6 / first.messages as f64,
            rss: peak_rss(running.id)?,
            p50_us: first.p50_us.into(),
            p99_us: first.p99_us.into(),
            dropped: first.told as f64 * 100.0 / sent.messages as f64,
            ..Measure::default()
        })
    }
}

/// Waits until all that was sent was received or told.
pub(crate) fn settled(sink: &mut Program, sent: u64) -> anyhow::Result<Received> {
    let until = Instant::now() + REST;
    loop {
        let received: Received = sink.ask()?;
        let sum = received.messages + received.told;
        if sum == sent {
            return Ok(received);
        }
        ensure!(sum < sent && Instant::now() < until, "{sent} sent, but {received:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A server that keeps no history.
pub(crate) fn without_history() -> ServerOptions {
    Server::options().env("LOGPLEX_HISTORY_MEMORY", "0")
}

/// A running router.
struct Running {
    id: u32,
    address: SocketAddr,
    token: String,
    _server: Option<Server>,
    _program: Option<Program>,
    _folder: Option<TempDir>,
}

impl Running {
    fn start(router: Router, sinks: &[SocketAddr]) -> anyhow::Result<Running> {
        match router {
            Router::Proxy => {
                let mut program = Program::part(&["proxy", &sinks[0].to_string()], &[])?;
                let address = program.address()?;
                let id = program.id();
                let token = String::new();
                Ok(Running { id, address, token, _server: None, _program: Some(program), _folder: None })
            }
            Router::Logplex { drains, history } => {
                // By default a channel may not have as many drains as some rows need.
                let options = if history { Server::options() } else { without_history() };
                let server = options.env("LOGPLEX_MAX_DRAINS", &drains.to_string()).start();
                let token = server.create_app("bench");
                for sink in sinks {
                    server.add_drain("bench", &format!("http://{sink}/"));
                }
                let (id, address) = (server.id(), server.address());
                Ok(Running { id, address, token, _server: Some(server), _program: None, _folder: None })
            }
            Router::LogplexSyslog => {
                let mut server = without_history().start();
                let folder = TempDir::new()?;
                let token = server.create_app("bench");
                server.add_drain("bench", &format!("syslog://{}", sinks[0]));
                // What comes on the listener comes under this token, which there is only now.
                let file = folder.path().join("token");
                std::fs::write(&file, &token).context("the token's file")?;
                let listen = format!("127.0.0.1:0,token-file={}", file.display());
                server.term();
                server.set_options(without_history().args(&["--syslog-listen", &listen]));
                server.restart();
                let (id, address) = (server.id(), server.syslog_addresses()[0]);
                Ok(Running {
                    id,
                    address,
                    token,
                    _server: Some(server),
                    _program: None,
                    _folder: Some(folder),
                })
            }
            Router::Rsyslog => {
                let folder = TempDir::new()?;
                let address = free_address()?;
                let program = Program::start(&mut rsyslogd(folder.path(), address, sinks[0])?)?;
                let until = Instant::now() + REST;
                while std::net::TcpStream::connect(address).is_err() {
                    ensure!(Instant::now() < until, "rsyslogd does not listen on {address}");
                    thread::sleep(Duration::from_millis(20));
                }
                let id = program.id();
                let token = String::new();
                Ok(Running {
                    id,
                    address,
                    token,
                    _server: None,
                    _program: Some(program),
                    _folder: Some(folder),
                })
            }
        }
    }
}

/// rsyslog cannot say which port it took, so it gets one that was free a moment ago.
fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn rsyslogd(folder: &Path, listen: SocketAddr, to: SocketAddr) -> anyhow::Result<Command> {
    let config = format!(
        "module(load=\"imptcp\" threads=\"2\")\n\
         main_queue(queue.size=\"100000\" queue.dequeueBatchSize=\"1024\")\n\
         input(type=\"imptcp\" address=\"127.0.0.1\" port=\"{}\" supportOctetCountedFraming=\"on\")\n\
         action(type=\"omfwd\" target=\"127.0.0.1\" port=\"{}\" protocol=\"tcp\" \
         TCP_Framing=\"octet-counted\" template=\"RSYSLOG_SyslogProtocol23Format\")\n",
        listen.port(),
        to.port()
    );
    let file = folder.join("rsyslog.conf");
    std::fs::write(&file, config).context("rsyslog's configuration")?;
    let mut command = Command::new("rsyslogd");
    command.arg("-n").arg("-f").arg(&file).arg("-i").arg(folder.join("pid"));
    Ok(command)
}
