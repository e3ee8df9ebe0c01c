//! The official Heroku CLI, as npm installs it, set up to talk to a server here and to nobody else.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::process::Process;
use crate::program::{Ended, Program};
use crate::server::{API_KEY, Server};

/// The folder that `cargo xtask test` installs it into, beside what cargo builds.
const FOLDER: &str = "heroku@11.10.0";

/// Switches without which it would report its use, update itself or ask for newer versions.
const QUIET: [(&str, &str); 4] = [
    ("DISABLE_TELEMETRY", "true"),
    ("HEROKU_DISABLE_AUTOUPDATE", "1"),
    ("HEROKU_SKIP_NEW_VERSION_CHECK", "1"),
    ("HEROKU_SKIP_ANALYTICS", "1"),
];

/// The CLI with a home of its own and a server that it takes for Heroku.
#[derive(Debug)]
pub struct Heroku {
    home: TempDir,
    env: Vec<(String, String)>,
}

impl Heroku {
    /// The CLI for a server.
    pub fn new(server: &Server) -> Heroku {
        let home = TempDir::new().expect("a temporary folder can be made");
        // Any other address it would take for a mistake, and ask the real service.
        assert!(server.address().ip().to_string() == "127.0.0.1", "{}", server.address());
        let heroku = Heroku { home, env: Vec::new() };
        heroku.env("HEROKU_HOST", server.url("").trim_end_matches('/')).env("HEROKU_API_KEY", API_KEY)
    }

    /// Sets an environment variable; the last value of each counts.
    pub fn env(mut self, key: &str, value: &str) -> Heroku {
        self.env.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Starts `heroku ARGS…`.
    ///
    /// # Panics
    /// When it is not installed.
    #[track_caller]
    pub fn start(&self, args: &[&str]) -> Program {
        let packages = packages();
        let node = packages.join(format!("node-linux-{}/bin/node", node_arch()));
        let mut command = Command::new(node);
        // Nothing of the caller's: no account, no proxy, no settings of Node.
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", self.home.path());
        command.envs(QUIET).envs(self.env.iter().map(|(key, value)| (key, value)));
        command.arg(packages.join("heroku/bin/run.js")).args(args).stdin(Stdio::null());
        Program::of(Process::start(&format!("heroku {}", args.join(" ")), command))
    }

    /// Runs `heroku ARGS…` to its end.
    ///
    /// # Panics
    /// When it is not installed, or does not end within the deadline.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Ended {
        self.start(args).wait()
    }
}

fn packages() -> PathBuf {
    let test = std::env::current_exe().expect("a running test has an executable");
    let installed = test.ancestors().map(|folder| folder.join(FOLDER).join("node_modules"));
    let found = installed.into_iter().find(|folder| folder.is_dir());
    found.unwrap_or_else(|| panic!("{FOLDER} is missing: run `cargo xtask test`, which installs it first"))
}

fn node_arch() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" }
}
