//! The server's settings, checked: the rest of the program sees only these.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use logplex_core::RingLimits;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

use crate::history::ShelfLimits;

/// The most drains a channel unless the operator says otherwise: the original's number.
pub(crate) const DEFAULT_MAX_DRAINS: NonZeroUsize = NonZeroUsize::new(6).expect("6 is not 0");

/// A secret; `Debug` shows nothing of it.
#[derive(Clone)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(secret: String) -> Secret {
        Secret(secret)
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// The key given in a variable or in a file, never as an argument.
    pub(crate) fn from_variable_or_file(
        variable: Option<String>,
        file: Option<&PathBuf>,
    ) -> anyhow::Result<Option<Secret>> {
        let key = match (variable, file) {
            (Some(_), Some(_)) => {
                bail!("both LOGPLEX_API_KEY and LOGPLEX_API_KEY_FILE are set; keep one of them")
            }
            (Some(key), None) => key,
            (None, Some(file)) => std::fs::read_to_string(file)
                .with_context(|| format!("cannot read the API key from {}", file.display()))?,
            (None, None) => return Ok(None),
        };
        let key = key.trim();
        if key.len() < 8 {
            bail!("the API key has fewer than 8 characters; use a longer one");
        }
        Ok(Some(Secret(key.to_owned())))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The pause before a quarantined drain's first probe, unless the operator says otherwise.
pub(crate) const PROBE_AFTER_SECONDS: u16 = 60;

/// What the histories of all channels may take in memory and on the disk, unless the operator says otherwise: a
/// thousand busy channels' newest 1,500 messages of 170 bytes, and ten times that.
pub(crate) const HISTORY_MEMORY_MIB: u32 = 256;
pub(crate) const HISTORY_DISK_MIB: u32 = 2560;

/// How long a stop of a passing server may take: nothing there is worth waiting for longer.
pub(crate) const PASSING_GRACE: Duration = Duration::from_secs(5);

/// A syslog listener as it is typed: `ADDR` or `ADDR,token-file=FILE`.
#[derive(Clone, Debug)]
pub(crate) struct SyslogListen {
    address: SocketAddr,
    token_file: Option<PathBuf>,
}

impl FromStr for SyslogListen {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<SyslogListen> {
        let (address, option) =
            text.split_once(',').map_or((text, None), |(address, option)| (address, Some(option)));
        let address = address.parse().with_context(|| format!("{address:?} is not like 127.0.0.1:6514"))?;
        let token_file = match option.map(|option| option.split_once('=')) {
            None => None,
            Some(Some(("token-file", file))) if !file.is_empty() => Some(file.into()),
            // Never shown: it may be a token that should have been in a file.
            Some(_) => bail!("after the address only ,token-file=FILE may follow"),
        };
        Ok(SyslogListen { address, token_file })
    }
}

/// A syslog listener, checked.
#[derive(Debug)]
pub(crate) struct SyslogConfig {
    pub(crate) address: SocketAddr,
    /// The token of all that comes.
    pub(crate) token: Option<Secret>,
    pub(crate) tls: Option<Arc<ServerConfig>>,
}

impl SyslogConfig {
    pub(crate) fn new(listen: &SyslogListen, tls: Option<Arc<ServerConfig>>) -> anyhow::Result<SyslogConfig> {
        let token = listen.token_file.as_deref().map(|file| {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("cannot read a token from {}", file.display()))?;
            let token = text.trim();
            if !token.starts_with("t.") || token.contains(char::is_whitespace) {
                bail!("{} holds no token: expected t.… and nothing else", file.display());
            }
            Ok(Secret::new(token.to_owned()))
        });
        Ok(SyslogConfig { address: listen.address, token: token.transpose()?, tls })
    }
}

/// What a TLS listener shows its peers, read from PEM files.
pub(crate) fn server_tls(certificate: &Path, key: &Path) -> anyhow::Result<Arc<ServerConfig>> {
    let read = |file: &Path| CertificateDer::pem_file_iter(file)?.collect::<Result<Vec<_>, _>>();
    let chain = read(certificate)
        .with_context(|| format!("cannot read a certificate from {}", certificate.display()))?;
    if chain.is_empty() {
        bail!("{} holds no certificate: expected -----BEGIN CERTIFICATE-----", certificate.display());
    }
    let private = PrivateKeyDer::from_pem_file(key)
        .with_context(|| format!("cannot read a private key from {}", key.display()))?;
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .with_context(|| {
            format!(
                "the key in {} and the certificate in {} are no pair",
                key.display(),
                certificate.display()
            )
        })?;
    Ok(Arc::new(config))
}

/// What `logplex serve` runs with.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) listen: SocketAddr,
    pub(crate) data_dir: PathBuf,
    /// Without a final slash; `None` means the address that was bound.
    pub(crate) public_url: Option<String>,
    pub(crate) api_key: Option<Secret>,
    pub(crate) allow_private_drains: bool,
    /// Bundles of certificates that drains may name with `ca=NAME`, and their PEM files.
    pub(crate) drain_cas: Vec<(String, PathBuf)>,
    /// The pause before a quarantined drain's first probe.
    pub(crate) probe_after: Duration,
    /// Messages a second that one channel may bring.
    pub(crate) channel_rate: Option<NonZeroU32>,
    /// The most drains with a URL that one channel may have.
    pub(crate) max_drains: NonZeroUsize,
    /// Where syslog comes in.
    pub(crate) syslog: Vec<SyslogConfig>,
    /// A syslog connection that brings nothing for this long is closed.
    pub(crate) syslog_idle: Duration,
    /// How long a stop may take.
    pub(crate) grace: Duration,
    pub(crate) ring: RingLimits,
    /// What the histories of all channels may take.
    pub(crate) history: ShelfLimits,
}

impl Config {
    /// For a server that does not outlive its purpose: on loopback, with a port of its own and nothing set.
    pub(crate) fn passing(data_dir: PathBuf) -> Config {
        Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            data_dir,
            public_url: None,
            api_key: None,
            allow_private_drains: true,
            drain_cas: Vec::new(),
            probe_after: Duration::from_secs(PROBE_AFTER_SECONDS.into()),
            channel_rate: None,
            max_drains: DEFAULT_MAX_DRAINS,
            syslog: Vec::new(),
            syslog_idle: Duration::ZERO,
            grace: PASSING_GRACE,
            ring: RingLimits::default(),
            history: ShelfLimits::mebibytes(HISTORY_MEMORY_MIB, HISTORY_DISK_MIB),
        }
    }
}

/// Checks a server's address, given as `option`; the result has no final slash.
pub(crate) fn base_url(option: &str, text: &str) -> anyhow::Result<String> {
    let url = url::Url::parse(text).with_context(|| format!("{option} is not a URL"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        bail!("{option} must be like https://logs.example.com");
    }
    if url.query().is_some()
        || url.fragment().is_some()
        || !url.username().is_empty()
        || url.password().is_some()
    {
        bail!("{option} must have no user, query or fragment");
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}
