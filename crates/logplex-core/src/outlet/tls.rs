//! Whom an outlet trusts.
//!
//! Build one configuration and share it between outlets: it holds the session cache, and reading the
//! platform's roots costs some 300 KB of files. They are read once a process.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{self, CryptoProvider};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// Which certificates are accepted.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trust<'a> {
    /// Those that the platform's roots vouch for.
    Platform,
    /// Those, and those that the certificates in this PEM text vouch for.
    PlatformAnd(&'a [u8]),
    /// Any. Whoever can sit between reads and forges everything.
    Insecure,
}

/// Why there is no TLS configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// Nobody would be trusted.
    #[error("no trusted certificates on this machine; install ca-certificates or set SSL_CERT_FILE")]
    NoRoots,
    /// The extra certificates cannot be read.
    #[error("the extra certificates are not PEM")]
    Pem(#[source] pem::Error),
    /// The extra certificates hold none.
    #[error("no certificate among the extra ones; expected -----BEGIN CERTIFICATE-----")]
    NoCertificate,
    /// An extra certificate is broken, or the TLS library takes no such configuration.
    #[error("the TLS configuration is not usable")]
    Unusable(#[source] rustls::Error),
}

/// Builds a configuration that speaks HTTP/1.1 and verifies the peer as `trust` says.
///
/// # Errors
///
/// When there would be nobody to trust, or the extra certificates are not readable.
pub fn tls_config(trust: Trust<'_>) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Unusable)?;
    let mut config = match trust {
        Trust::Platform => builder.with_root_certificates(roots(None)?),
        Trust::PlatformAnd(extra) => builder.with_root_certificates(roots(Some(extra))?),
        Trust::Insecure => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(TrustAnyone(provider)))
        }
    }
    .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

impl fmt::Debug for Trust<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Trust::Platform => "Platform",
            Trust::PlatformAnd(_) => "PlatformAnd(..)",
            Trust::Insecure => "Insecure",
        })
    }
}

fn roots(extra: Option<&[u8]>) -> Result<Arc<RootCertStore>, TlsError> {
    let platform = platform_roots();
    let roots = match extra {
        None => Arc::clone(platform),
        Some(pem) => {
            let mut roots = RootCertStore::clone(platform);
            let before = roots.len();
            for certificate in CertificateDer::pem_slice_iter(pem) {
                roots.add(certificate.map_err(TlsError::Pem)?).map_err(TlsError::Unusable)?;
            }
            if roots.len() == before {
                return Err(TlsError::NoCertificate);
            }
            Arc::new(roots)
        }
    };
    if roots.is_empty() { Err(TlsError::NoRoots) } else { Ok(roots) }
}

/// The platform's roots. One that cannot be read is left out: a store of a hundred often holds an odd one.
fn platform_roots() -> &'static Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    })
}

/// Accepts every certificate. Signatures are still checked: a peer must hold the key it shows.
#[derive(Debug)]
struct TrustAnyone(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustAnyone {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        crypto::verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        crypto::verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extra_certificates_must_hold_one() {
        assert!(matches!(tls_config(Trust::PlatformAnd(b"")), Err(TlsError::NoCertificate)));
        let broken = b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n";
        assert!(matches!(tls_config(Trust::PlatformAnd(broken)), Err(TlsError::Pem(_))));
    }

    #[test]
    fn the_connection_is_for_http_1_only() {
        let config = tls_config(Trust::Insecure).unwrap();
        assert_eq!(config.alpn_protocols, [b"http/1.1".to_vec()]);
    }
}
