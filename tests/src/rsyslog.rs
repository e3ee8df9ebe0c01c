//! Debian's `rsyslogd`: as a relay that forwards what it is sent, and as the receiver of a syslog drain.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::frame::{Form, Received};
use crate::process::Process;
use crate::wait::wait_for;

/// Where a receiver writes what it took.
const TAKEN: &str = "taken";

const CERTIFICATE: &str = "cert.pem";

/// A running rsyslog. Dropping it kills it.
#[derive(Debug)]
pub struct Rsyslog {
    process: Process,
    folder: TempDir,
    address: SocketAddr,
    tls: bool,
}

impl Rsyslog {
    /// Starts one with `actions`, in its own language, for all that comes as lines over TCP, and waits until it
    /// listens.
    ///
    /// # Panics
    /// When it is missing or does not listen.
    #[track_caller]
    pub fn start(actions: &str) -> Rsyslog {
        Rsyslog::listening("imptcp", false, |_| format!("module(load=\"imptcp\")\n{actions}"))
    }

    /// Starts one that takes syslog over TCP; [`Rsyslog::taken`] is what it took.
    ///
    /// # Panics
    /// As [`Rsyslog::start`].
    #[track_caller]
    pub fn receiver() -> Rsyslog {
        Rsyslog::listening("imtcp", false, |folder| format!("module(load=\"imtcp\")\n{}", write_down(folder)))
    }

    /// As [`Rsyslog::receiver`], under TLS with a self-signed certificate for 127.0.0.1.
    ///
    /// # Panics
    /// As [`Rsyslog::start`]; Debian's package `rsyslog-gnutls` is needed too.
    #[track_caller]
    pub fn tls_receiver() -> Rsyslog {
        Rsyslog::listening("imtcp", true, |folder| {
            let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
            let (certificate, key) = (folder.join(CERTIFICATE), folder.join("key.pem"));
            fs::write(&certificate, made.cert.pem()).expect("the folder is ours");
            fs::write(&key, made.signing_key.serialize_pem()).expect("the folder is ours");
            format!(
                "global(defaultNetstreamDriverCAFile=\"{0}\" defaultNetstreamDriverCertFile=\"{0}\" \
                 defaultNetstreamDriverKeyFile=\"{1}\")\n\
                 module(load=\"imtcp\" streamDriver.name=\"gtls\" streamDriver.mode=\"1\" \
                 streamDriver.authMode=\"anon\")\n{2}",
                certificate.display(),
                key.display(),
                write_down(folder)
            )
        })
    }

    /// One with this input; the rest of its configuration may be about its folder.
    #[track_caller]
    fn listening(input: &str, tls: bool, rest: impl FnOnce(&Path) -> String) -> Rsyslog {
        let folder = TempDir::new().expect("a temporary folder can be made");
        // It cannot say which port it took, so it gets one that was free a moment ago.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.expect("a port is free");
        let config = format!(
            "global(workDirectory=\"{}\" net.enableDNS=\"off\")\n{}\n\
             input(type=\"{input}\" address=\"127.0.0.1\" port=\"{}\")\n",
            folder.path().display(),
            rest(folder.path()),
            address.port()
        );
        fs::write(folder.path().join("rsyslog.conf"), config).expect("it can be written");
        let process = launch(folder.path(), address);
        Rsyslog { process, folder, address, tls }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `syslog://127.0.0.1:PORT`, for a drain; with `syslog+tls` if it speaks TLS.
    pub fn url(&self) -> String {
        let scheme = if self.tls { "syslog+tls" } else { "syslog" };
        format!("{scheme}://{}", self.address)
    }

    /// Its certificate in PEM, as a file that a server may be told to trust.
    ///
    /// # Panics
    /// When it speaks no TLS.
    pub fn certificate(&self) -> PathBuf {
        assert!(self.tls, "only Rsyslog::tls_receiver has one");
        self.folder.path().join(CERTIFICATE)
    }

    /// What a receiver took and has written down, in that order, over all its lives. It has read the messages: these
    /// are their fields as it understood them, in the order of RFC 5424.
    ///
    /// # Panics
    /// When a line it wrote is not such a message.
    #[track_caller]
    pub fn taken(&self) -> Vec<Received> {
        let parse = |line: &[u8]| {
            Received::parse(line, Form::Strict).unwrap_or_else(|why| panic!("rsyslog wrote {why}"))
        };
        whole_lines(&self.written()).map(parse).collect()
    }

    fn written(&self) -> Vec<u8> {
        // Before the first message there is no file.
        fs::read(self.folder.path().join(TAKEN)).unwrap_or_default()
    }

    /// Waits until the numbered line `number` is written down.
    ///
    /// # Panics
    /// When that does not come.
    #[track_caller]
    pub fn wait_line(&self, number: u64) -> Vec<Received> {
        let end = format!(" line {number}");
        let mut seen = 0;
        wait_for(&format!("line {number} in rsyslog's file"), || {
            let written = self.written();
            let there = whole_lines(&written[seen..]).any(|line| line.ends_with(end.as_bytes()));
            seen += whole_lines(&written[seen..]).map(|line| line.len() + 1).sum::<usize>();
            there.then(|| self.taken())
        })
    }

    /// How many bytes it was sent and has not read, as the system counts.
    ///
    /// # Panics
    /// When the system does not tell.
    pub fn unread_bytes(&self) -> u64 {
        let table = fs::read_to_string("/proc/net/tcp").expect("Linux has the table");
        let port = format!(":{:04X}", self.address.port());
        let unread = |line: &str| {
            // `sl local remote state tx:rx`, open connections only.
            let fields: Vec<&str> = line.split_whitespace().take(5).collect();
            let [_, local, _, "01", queues] = fields[..] else { return None };
            u64::from_str_radix(queues.split_once(':')?.1, 16).ok().filter(|_| local.ends_with(&port))
        };
        table.lines().filter_map(unread).sum()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When the signal cannot be sent.
    pub fn signal(&mut self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Stops all of it on the spot (SIGSTOP): what it is sent from now on stays with its kernel.
    ///
    /// # Panics
    /// When it cannot be stopped.
    #[track_caller]
    pub fn freeze(&mut self) {
        self.process.signal(Signal::SIGSTOP);
        // The signal is sent before the threads have taken it.
        let tasks = format!("/proc/{}/task", self.process.id());
        wait_for("every thread to stop", || {
            let is_stopped = |task: fs::DirEntry| {
                let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
                stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('T'))
            };
            fs::read_dir(&tasks).ok()?.flatten().all(is_stopped).then_some(())
        });
    }

    /// Ends it by `signal` and waits for its end.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn end(&mut self, signal: Signal) {
        self.process.signal(signal);
        self.process.wait();
    }

    /// Starts it again as it was, on its port, after [`Rsyslog::end`].
    ///
    /// # Panics
    /// As [`Rsyslog::start`].
    #[track_caller]
    pub fn start_again(&mut self) {
        // One that was killed leaves it behind and would be taken for running.
        fs::remove_file(self.folder.path().join("pid")).ok();
        self.process = launch(self.folder.path(), self.address);
    }
}

/// What a receiver does with what it reads: it writes it down before it reads more, so that one that dies has
/// nothing in queues of its own.
fn write_down(folder: &Path) -> String {
    format!(
        "main_queue(queue.type=\"Direct\")\n\
         template(name=\"fields\" type=\"string\" string=\"<%pri%>1 %timereported:::date-rfc3339% %hostname% \
         %app-name% %procid% %msgid% %structured-data% %msg%\\n\")\n\
         action(type=\"omfile\" file=\"{}\" template=\"fields\")",
        folder.join(TAKEN).display()
    )
}

/// The last line may be only half written.
fn whole_lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split_inclusive(|byte| *byte == b'\n').filter_map(|line| line.strip_suffix(b"\n"))
}

#[track_caller]
fn launch(folder: &Path, address: SocketAddr) -> Process {
    // Debian keeps servers where an ordinary user's PATH does not lead.
    let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("rsyslogd");
    command.env("PATH", path).arg("-n").arg("-f").arg(folder.join("rsyslog.conf"));
    command.arg("-i").arg(folder.join("pid")).stdin(Stdio::null());
    let mut process = Process::start("rsyslogd", command);
    wait_for("rsyslogd to listen", || {
        let ended = process.try_wait();
        assert!(ended.is_none(), "rsyslogd ended at once: {ended:?} {:?}", process.stderr.get());
        TcpStream::connect(address).ok()
    });
    process
}
