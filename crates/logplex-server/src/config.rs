//! The server's settings, checked: the rest of the program sees only these.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use logplex_core::RingLimits;

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
    /// How long a stop may take.
    pub(crate) grace: Duration,
    pub(crate) ring: RingLimits,
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
