//! One measurement: a load, a program under test, sinks; started, run until traffic rests, and read off.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use logplex_tests::{Server, binary};
use tempfile::TempDir;

use crate::load::Sent;
use crate::program::{Program, cpu_of_ended_children, cpu_seconds, peak_rss};
use crate::sink::Received;

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Subject {
    /// What stands between a load generator and sinks.
    Router(Router),
    /// `log-shuttle`, which reads lines from a file, or from a pipe.
    Shuttle { pipe: bool },
}

/// What stands between load and sinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Router {
    /// The unread-body proxy.
    Proxy,
    /// `logplex serve` with so many drains.
    Logplex { drains: u32 },
    /// `rsyslogd`, octet-counted TCP in and out.
    Rsyslog,
}

/// What one measurement gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measure {
    /// Messages received by one sink a second.
    pub(crate) rate: f64,
    /// CPU-seconds of the subject a million messages that one sink received.
    pub(crate) cpu: f64,
    pub(crate) rss: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Percent of the messages sent that were dropped, and told.
    pub(crate) dropped: f64,
}

/// How long traffic may take to come to rest after the load has ended.
const REST: Duration = Duration::from_secs(60);

impl Subject {
    pub(crate) fn name(self) -> String {
        match self {
            Subject::Router(Router::Proxy) => "unread-body proxy".to_owned(),
            Subject::Router(Router::Logplex { drains: 1 }) => "logplex".to_owned(),
            Subject::Router(Router::Logplex { drains }) => format!("logplex, {drains} drains"),
            Subject::Router(Router::Rsyslog) => "rsyslog, TCP to TCP".to_owned(),
            Subject::Shuttle { pipe: false } => "log-shuttle, from a file".to_owned(),
            Subject::Shuttle { pipe: true } => "log-shuttle, from a pipe".to_owned(),
        }
    }

    /// Measures once; `load` is for the load generator of a router.
    pub(crate) fn measure(self, load: &[&str]) -> anyhow::Result<Measure> {
        match self {
            Subject::Router(router) => router.measure(load),
            Subject::Shuttle { pipe } => measure_shuttle(pipe),
        }
    }
}

impl Router {
    /// Sends a load of these arguments through the router.
    fn measure(self, load: &[&str]) -> anyhow::Result<Measure> {
        let tcp = self == Router::Rsyslog;
        let sink_args: &[&str] = if tcp { &["sink", "--tcp"] } else { &["sink"] };
        let drains = if let Router::Logplex { drains } = self { drains } else { 1 };
        let mut sinks = Vec::new();
        let mut addresses = Vec::new();
        for _ in 0..drains {
            let mut sink = Program::part(sink_args, &[])?;
            addresses.push(sink.address()?);
            sinks.push(sink);
        }
        let running = Running::start(self, &addresses)?;
        let before = cpu_seconds(running.id)?;
        let to = running.address.to_string();
        let mut args = vec!["load", to.as_str()];
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
        })
    }
}

/// Waits until all that was sent was received or told.
fn settled(sink: &mut Program, sent: u64) -> anyhow::Result<Received> {
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

/// The lines that a shuttle ships in one measurement, and how long each is.
const LINES: u64 = 1_000_000;
const LINE: usize = 220;

/// Ships lines with nothing dropped. The cost is the whole process's, start and end included.
fn measure_shuttle(pipe: bool) -> anyhow::Result<Measure> {
    let mut sink = Program::part(&["sink"], &[])?;
    let url = format!("http://token:t@{}/logs", sink.address()?);
    let folder = TempDir::new()?;
    let path = folder.path().join("lines");
    let mut lines = BufWriter::new(File::create(&path)?);
    let line = format!("{}\n", "x".repeat(LINE - 1));
    for _ in 0..LINES {
        lines.write_all(line.as_bytes())?;
    }
    lines.flush()?;
    let mut file = File::open(&path)?;
    let before = cpu_of_ended_children()?;
    let mut command = Command::new(binary("log-shuttle"));
    command.arg("--drop=false").env("LOGS_URL", url);
    command.stdin(if pipe { Stdio::piped() } else { Stdio::from(file.try_clone()?) });
    let mut shuttle = command.spawn().context("cannot start log-shuttle")?;
    let writer = shuttle.stdin.take().map(|mut stdin| thread::spawn(move || io::copy(&mut file, &mut stdin)));
    let mut rss = 0.0;
    while shuttle.try_wait()?.is_none() {
        // It may end between the two looks.
        rss = peak_rss(shuttle.id()).unwrap_or(rss);
        thread::sleep(Duration::from_millis(5));
    }
    if let Some(writer) = writer {
        let copied = writer.join().map_err(|_panicked| anyhow!("the writer failed"))?;
        ensure!(copied? == LINES * LINE as u64, "not all lines were read");
    }
    let cpu = cpu_of_ended_children()? - before;
    let received = settled(&mut sink, LINES)?;
    Ok(Measure {
        rate: received.messages as f64 / received.seconds,
        cpu: cpu * 1e6 / LINES as f64,
        rss,
        p50_us: 0.0,
        p99_us: 0.0,
        dropped: received.told as f64 * 100.0 / LINES as f64,
    })
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
            Router::Logplex { .. } => {
                let server = Server::start();
                let token = server.create_app("bench");
                for sink in sinks {
                    server.add_drain("bench", &format!("http://{sink}/"));
                }
                let (id, address) = (server.id(), server.address());
                Ok(Running { id, address, token, _server: Some(server), _program: None, _folder: None })
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
