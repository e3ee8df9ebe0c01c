//! A syslog sender over TCP or TLS, and the two formats of messages, written by hand.

use std::io::{self, Read as _, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::server::Server;
use crate::wait::DEADLINE;

/// A connection to a syslog listener. It never gets an answer.
#[derive(Debug)]
pub struct SyslogSender {
    stream: Stream,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl SyslogSender {
    /// Connects.
    ///
    /// # Panics
    /// When nobody listens.
    #[track_caller]
    pub fn connect(address: SocketAddr) -> SyslogSender {
        SyslogSender { stream: Stream::Plain(open(address)) }
    }

    /// Connects with TLS and trusts nothing but `certificate`, which must be for 127.0.0.1.
    ///
    /// # Panics
    /// When nobody listens, or the certificate cannot be used.
    #[track_caller]
    pub fn connect_tls(address: SocketAddr, certificate: &CertificateDer<'static>) -> SyslogSender {
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider knows TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = address.ip().into();
        let connection = ClientConnection::new(Arc::new(config), name).expect("a connection");
        SyslogSender { stream: Stream::Tls(Box::new(StreamOwned::new(connection, open(address)))) }
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the peer has closed the connection.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(tcp) => tcp.write_all(bytes),
            Stream::Tls(tls) => tls.write_all(bytes).and_then(|()| tls.flush()),
        }
    }

    /// Says that nothing follows, and waits for the peer to close as well, which it does when it has taken everything.
    ///
    /// # Panics
    /// When it does not close.
    #[track_caller]
    pub fn finish(mut self) {
        match &mut self.stream {
            Stream::Plain(tcp) => {
                // The peer may have closed already.
                tcp.shutdown(Shutdown::Write).ok();
            }
            Stream::Tls(tls) => {
                tls.conn.send_close_notify();
                tls.flush().ok();
            }
        }
        self.wait_closed();
    }

    /// Waits for the peer to close.
    ///
    /// # Panics
    /// When it does not close.
    #[track_caller]
    pub fn wait_closed(&mut self) {
        let mut byte = [0];
        let read = match &mut self.stream {
            Stream::Plain(tcp) => tcp.read(&mut byte),
            Stream::Tls(tls) => tls.read(&mut byte),
        };
        match read {
            Ok(0) => {}
            Ok(_) => panic!("a syslog listener has nothing to say"),
            Err(error) => {
                let waited = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
                assert!(!waited, "not closed within {DEADLINE:?}");
            }
        }
    }
}

#[track_caller]
fn open(address: SocketAddr) -> TcpStream {
    let tcp = TcpStream::connect(address).expect("the server listens");
    tcp.set_read_timeout(Some(DEADLINE)).expect("a timeout can be set");
    tcp.set_nodelay(true).expect("nodelay can be set");
    tcp
}

impl Server {
    /// Where it listens for syslog, in the order of its options: plain ones first.
    ///
    /// # Panics
    /// When it printed something else.
    pub fn syslog_addresses(&self) -> Vec<SocketAddr> {
        let stdout = self.stdout();
        let addresses = stdout.iter().filter_map(|line| line.strip_prefix("listening for syslog on "));
        let parse = |url: &str| url.split_once("://")?.1.parse().ok();
        addresses.map(|url| parse(url).unwrap_or_else(|| panic!("not an address: {url}"))).collect()
    }
}

/// An RFC 5424 message from `app[web.1]` with this structured data, without framing.
pub fn rfc5424(app: &str, data: &str, text: &str) -> String {
    format!("<190>1 2026-01-02T03:04:05.678901+00:00 host {app} web.1 - {data} {text}")
}

/// An RFC 3164 message from `app[web.1]`, without framing.
pub fn rfc3164(app: &str, text: &str) -> String {
    format!("<190>Jan  2 03:04:05 host {app}[web.1]: {text}")
}
