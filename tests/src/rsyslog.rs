//! Debian's `rsyslogd` as a relay: what it is sent as lines over TCP it forwards as its configuration says.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::process::Process;
use crate::wait::wait_for;

/// A running relay. Dropping it kills it.
#[derive(Debug)]
pub struct Rsyslog {
    _process: Process,
    _folder: TempDir,
    address: SocketAddr,
}

impl Rsyslog {
    /// Starts one with `actions`, in its own language, for all that comes, and waits until it listens.
    ///
    /// # Panics
    /// When it is missing or does not listen.
    #[track_caller]
    pub fn start(actions: &str) -> Rsyslog {
        let folder = TempDir::new().expect("a temporary folder can be made");
        // It cannot say which port it took, so it gets one that was free a moment ago.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.expect("a port is free");
        let config = format!(
            "global(workDirectory=\"{}\" net.enableDNS=\"off\")\n\
             module(load=\"imptcp\")\n\
             input(type=\"imptcp\" address=\"127.0.0.1\" port=\"{}\")\n{actions}\n",
            folder.path().display(),
            address.port()
        );
        let file = folder.path().join("rsyslog.conf");
        std::fs::write(&file, config).expect("it can be written");
        let mut command = Command::new("rsyslogd");
        command.arg("-n").arg("-f").arg(&file).arg("-i").arg(folder.path().join("pid")).stdin(Stdio::null());
        let process = Process::start("rsyslogd", command);
        wait_for("rsyslogd to listen", || TcpStream::connect(address).ok());
        Rsyslog { _process: process, _folder: folder, address }
    }

    /// Where it takes lines.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
