//! A connection's bytes, plain or under TLS.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection};

/// What a TLS sink shows its peers.
#[derive(Clone)]
pub(crate) struct Identity {
    /// The certificate in PEM: for 127.0.0.1, signed by itself.
    pub(crate) pem: String,
    config: Arc<ServerConfig>,
}

impl Identity {
    pub(crate) fn new() -> Identity {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider knows TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("the key belongs to the certificate");
        Identity { pem: made.cert.pem(), config: Arc::new(config) }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

pub(crate) struct Stream {
    pub(crate) tcp: Arc<TcpStream>,
    tls: Option<Mutex<ServerConnection>>,
}

impl Stream {
    pub(crate) fn new(tcp: Arc<TcpStream>, identity: Option<&Identity>) -> Stream {
        let tls = identity.map(|identity| {
            let connection = ServerConnection::new(Arc::clone(&identity.config));
            Mutex::new(connection.expect("the configuration was checked when it was made"))
        });
        Stream { tcp, tls }
    }
}

impl Read for &Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.tls {
            None => (&*self.tcp).read(buffer),
            Some(tls) => {
                let mut connection = tls.lock().unwrap_or_else(PoisonError::into_inner);
                rustls::Stream::new(&mut *connection, &mut &*self.tcp).read(buffer)
            }
        }
    }
}

impl Write for &Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &self.tls {
            None => (&*self.tcp).write(bytes),
            Some(tls) => {
                let mut connection = tls.lock().unwrap_or_else(PoisonError::into_inner);
                rustls::Stream::new(&mut *connection, &mut &*self.tcp).write(bytes)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
