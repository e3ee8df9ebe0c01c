//! `logplex serve` in a process of its own, with a data folder that outlives restarts.

mod api;
mod ledger;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, ExitStatus};

use nix::sys::signal::Signal;
use tempfile::TempDir;

pub use self::api::Drain;
pub use self::ledger::LedgerSeen;
use crate::binary::command_under;
use crate::process::Process;
use crate::program::Ended;
use crate::wait::wait_for;

/// The key that every server here is started with.
pub const API_KEY: &str = "a-key-for-tests-only-0123456789abcdef";

/// What to start a server with, beside what every server here gets.
#[derive(Clone, Debug, Default)]
pub struct ServerOptions {
    args: Vec<String>,
    env: Vec<(String, String)>,
    wrapper: Vec<String>,
    keyless: bool,
    public_only: bool,
}

impl ServerOptions {
    /// Adds arguments to `logplex serve`.
    pub fn args(mut self, args: &[&str]) -> ServerOptions {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, key: &str, value: &str) -> ServerOptions {
        self.env.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Has another program start the server: its name and its own arguments.
    pub fn under(mut self, wrapper: &[&str]) -> ServerOptions {
        self.wrapper = wrapper.iter().map(|&part| part.to_owned()).collect();
        self
    }

    /// Leaves `LOGPLEX_API_KEY` unset, so that the server makes a key of its own.
    pub fn without_key(mut self) -> ServerOptions {
        self.keyless = true;
        self
    }

    /// Leaves `--allow-private-drains` away.
    pub fn without_private_drains(mut self) -> ServerOptions {
        self.public_only = true;
        self
    }

    /// Starts a server on `data` and `port` that must not come up, and waits for its end.
    ///
    /// # Panics
    /// When the binary is missing, or does not end within the deadline.
    #[track_caller]
    pub fn fail(self, data: &Path, port: u16) -> Ended {
        let mut process = Process::start("logplex serve", self.command(data, port));
        let status = process.wait();
        Ended { status, stdout: process.stdout.get(), stderr: process.stderr.get() }
    }

    /// Starts the server with a fresh data folder and waits until it listens.
    ///
    /// # Panics
    /// When the binary is missing, or ends, or does not say where it listens.
    #[track_caller]
    pub fn start(self) -> Server {
        let data = TempDir::new().expect("a temporary folder can be made");
        let (process, address) = self.launch(data.path(), 0);
        Server { options: self, data, process, address }
    }

    fn command(&self, data: &Path, port: u16) -> Command {
        let mut command = command_under(&self.wrapper, "logplex");
        command.args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--data-dir"]);
        command.arg(data).args(&self.args);
        if !self.public_only {
            command.arg("--allow-private-drains");
        }
        if !self.keyless {
            command.env("LOGPLEX_API_KEY", API_KEY);
        }
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        command.stdin(std::process::Stdio::null());
        command
    }

    #[track_caller]
    fn launch(&self, data: &Path, port: u16) -> (Process, SocketAddr) {
        let mut process = Process::start("logplex serve", self.command(data, port));
        let address = wait_for("`listening on http://…` on stdout", || {
            let address = process.stdout.find_map(|line| {
                let address = line.split_once("listening on http://")?.1;
                address.split_whitespace().next()?.parse().ok()
            });
            if address.is_none() {
                let ended = process.try_wait();
                assert!(ended.is_none(), "the server ended at once: {ended:?} {:?}", process.stderr.get());
            }
            address
        });
        (process, address)
    }
}

/// A running `logplex serve`. Dropping it kills it and removes its data.
#[derive(Debug)]
pub struct Server {
    options: ServerOptions,
    data: TempDir,
    process: Process,
    address: SocketAddr,
}

impl Server {
    /// Starts a server with nothing but the defaults.
    ///
    /// # Panics
    /// As [`ServerOptions::start`] does.
    #[track_caller]
    pub fn start() -> Server {
        Server::options().start()
    }

    /// Options to start one with.
    pub fn options() -> ServerOptions {
        ServerOptions::default()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT/PATH`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{}", self.address, path.trim_start_matches('/'))
    }

    /// `http://token:TOKEN@127.0.0.1:PORT/logs`, for a shuttle.
    pub fn logs_url(&self, token: &str) -> String {
        format!("http://token:{token}@{}/logs", self.address)
    }

    /// Its data folder.
    pub fn data_dir(&self) -> &Path {
        self.data.path()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The lines that it has printed since its last start.
    pub fn stdout(&self) -> Vec<String> {
        self.process.stdout.get()
    }

    /// The lines that it has written to stderr since its last start.
    pub fn stderr(&self) -> Vec<String> {
        self.process.stderr.get()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When the signal cannot be sent.
    pub fn signal(&mut self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Stops it gracefully (SIGTERM) and waits for its end.
    ///
    /// # Panics
    /// When it does not end within the deadline.
    #[track_caller]
    pub fn term(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait()
    }

    /// Ends it on the spot (SIGKILL).
    ///
    /// # Panics
    /// When it does not end within the deadline.
    #[track_caller]
    pub fn kill9(&mut self) {
        self.signal(Signal::SIGKILL);
        self.wait();
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end within the deadline.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        self.process.wait()
    }

    /// What the next starts are started with.
    pub fn set_options(&mut self, options: ServerOptions) {
        self.options = options;
    }

    /// Starts it again on the same data and another port; one that still runs is killed first.
    ///
    /// # Panics
    /// As [`ServerOptions::start`] does.
    #[track_caller]
    pub fn restart(&mut self) {
        self.restart_on(0);
    }

    /// As [`Server::restart`], on the port it had, so that its clients find it again.
    ///
    /// # Panics
    /// As [`ServerOptions::start`] does.
    #[track_caller]
    pub fn restart_same_port(&mut self) {
        self.restart_on(self.address.port());
    }

    #[track_caller]
    fn restart_on(&mut self, port: u16) {
        self.kill9();
        (self.process, self.address) = self.options.launch(self.data.path(), port);
    }
}
