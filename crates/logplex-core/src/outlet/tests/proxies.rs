//! What becomes of a request when the proxy does not do what it is asked.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Delivers to an https endpoint through a proxy that answers so; what it was asked, and the error.
async fn through(answer: &'static str) -> (String, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://user:secret@{}", listener.local_addr().unwrap());
    let proxies = Proxies::from_variables(|name| (name == "all_proxy").then(|| proxy.clone())).unwrap();
    let mut config = OutletConfig { tls: Some(tls_config(Trust::Insecure).unwrap()), ..config() };
    config.proxies = proxies.into();
    config.retry.max_attempts = NonZeroU32::new(1);
    let mut outlet = outlet("https://secret@logs.example/secret", config);
    let peer = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = vec![0; 1024];
        let read = stream.read(&mut asked).await.unwrap();
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8_lossy(&asked[..read]).into_owned()
    };
    let request = request();
    let (asked, told) = tokio::join!(peer, deliver(&mut outlet, &request));
    assert_eq!(told.summary(), "unreachable after 1");
    let given_up = told.result.unwrap_err();
    let shown = format!("{} {outlet:?} {given_up:?}", Chain(&given_up));
    assert!(!shown.contains("secret"), "{shown}");
    (asked, Chain(&given_up).to_string())
}

#[tokio::test]
async fn a_tunnel_that_is_refused_is_no_connection() {
    let (asked, error) = through("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await;
    assert!(asked.starts_with("CONNECT logs.example:443 HTTP/1.1\r\nHost: logs.example:443\r\n"), "{asked}");
    assert!(!asked.contains("/secret"), "the proxy learns nothing but host and port: {asked}");
    assert!(
        error.ends_with("no connection: the proxy answered 407 Proxy Authentication Required"),
        "{error}"
    );
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_no_connection() {
    for answer in ["SSH-2.0-x\r\n\r\n", "HTTP/1.1 2", ""] {
        let (_, error) = through(answer).await;
        assert!(error.contains("the proxy gave no answer that can be understood: "), "{error}");
    }
}
