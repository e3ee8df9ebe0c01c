//! Who is trusted: a peer with a certificate that only an extra root, or nobody, vouches for.

use std::sync::Arc;

use rcgen::CertifiedKey;
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::PrivateKeyDer;

use super::peer::Peer;
use super::*;
use crate::Chain;

/// A TLS peer on 127.0.0.1 with a certificate for these names, and that as PEM.
async fn tls_peer(names: &[&str]) -> (Peer, String) {
    let (mut server, pem) = tls_server(names);
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (Peer::start("127.0.0.1:0", [], Some(Arc::new(server))).await, pem)
}

/// What a TLS server with a certificate for these names needs, and that as PEM.
pub(super) fn tls_server(names: &[&str]) -> (ServerConfig, String) {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let server = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    (server, cert.pem())
}

fn trusting(trust: Trust<'_>) -> OutletConfig {
    OutletConfig { tls: Some(tls_config(trust).unwrap()), ..config() }
}

#[tokio::test]
async fn an_unknown_certificate_is_refused_and_nothing_is_sent() {
    let (peer, _) = tls_peer(&["localhost", "127.0.0.1"]).await;
    // A root of somebody else, so that this holds on a machine without any.
    let (_, other) = tls_peer(&["localhost", "127.0.0.1"]).await;
    let mut outlet =
        outlet(&format!("https://localhost:{}", peer.port), trusting(Trust::PlatformAnd(other.as_bytes())));
    let told = deliver(&mut outlet, &request()).await;
    assert_eq!(told.summary(), "unreachable after 3");
    let given_up = told.result.unwrap_err();
    assert!(given_up.certificate().is_some(), "{}", Chain(&given_up));
    assert!(peer.log().requests.is_empty());
}

#[tokio::test]
async fn an_extra_root_is_trusted() {
    let (peer, pem) = tls_peer(&["localhost", "127.0.0.1"]).await;
    for host in ["localhost", "127.0.0.1"] {
        let url = format!("https://{host}:{}/logs", peer.port);
        let mut outlet = outlet(&url, trusting(Trust::PlatformAnd(pem.as_bytes())));
        for _ in 0..2 {
            assert_eq!(deliver(&mut outlet, &request()).await.summary(), "204 after 1", "{host}");
        }
    }
    assert_eq!(
        (peer.log().requests.len(), peer.log().connections),
        (4, 2),
        "TLS connections are kept as well"
    );
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let (peer, pem) = tls_peer(&["localhost"]).await;
    let url = format!("https://127.0.0.1:{}", peer.port);
    let told = deliver(&mut outlet(&url, trusting(Trust::PlatformAnd(pem.as_bytes()))), &request()).await;
    assert_eq!(told.summary(), "unreachable after 3");
    assert!(told.result.unwrap_err().certificate().is_some());
}

#[tokio::test]
async fn insecure_accepts_any_certificate() {
    let (peer, _) = tls_peer(&["localhost", "127.0.0.1"]).await;
    let mut outlet = outlet(&format!("https://127.0.0.1:{}", peer.port), trusting(Trust::Insecure));
    let request = Request::new(vec![Bytes::from(vec![b'x'; 100_000]); 3], 3);
    assert_eq!(deliver(&mut outlet, &request).await.summary(), "204 after 1");
    assert_eq!(peer.log().requests[0].body.len(), 300_000);
}

#[tokio::test]
async fn https_without_a_tls_configuration_is_unreachable() {
    let (peer, _) = tls_peer(&["localhost", "127.0.0.1"]).await;
    let told = deliver(&mut outlet(&format!("https://127.0.0.1:{}", peer.port), config()), &request()).await;
    assert_eq!(told.summary(), "unreachable after 3");
    assert!(peer.log().requests.is_empty());
}

#[tokio::test]
async fn a_peer_that_never_shakes_hands_is_unreachable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://127.0.0.1:{}", listener.local_addr().unwrap().port());
    let impatient = OutletConfig { connect_timeout: Duration::from_millis(20), ..trusting(Trust::Insecure) };
    let told = deliver(&mut outlet(&url, impatient), &request()).await;
    assert_eq!(told.summary(), "unreachable after 3");
    let shown = "given up (unreachable), attempts: 3: no connection: timed out in the TLS handshake";
    assert_eq!(Chain(&told.result.unwrap_err()).to_string(), shown);
}
