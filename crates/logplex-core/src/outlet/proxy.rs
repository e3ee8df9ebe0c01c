//! Proxies for http and https endpoints, named as `curl` and others have it: `http_proxy`, `https_proxy`, `all_proxy`
//! and `no_proxy`, each also in upper case.
//!
//! An http request goes to the proxy whole (absolute form); for https the proxy is asked for a tunnel (CONNECT),
//! through which TLS goes to the endpoint itself. `localhost` and loopback addresses are never asked of a proxy. A
//! proxy is the operator's choice, so the [`AddressGuard`](super::AddressGuard) does not judge its address; of the
//! endpoint's it can judge only one that is written as a number, for it is the proxy that looks names up.

use std::net::IpAddr;

use http::header::HeaderValue;
use http::status::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::Host;

use super::endpoint::{Endpoint, Protocol};
use super::error::ConnectError;

/// The longest head of a proxy's answer.
const MOST_HEAD: usize = 8 * 1024;

/// Why a variable names no proxy. Repeats nothing of its value, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable} names no proxy that can be used; write it as http://user:password@host:port")]
pub struct ProxyError {
    /// The variable.
    pub variable: &'static str,
}

/// Which proxies there are, and for what. `Debug` shows no credentials.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    http: Option<Endpoint>,
    https: Option<Endpoint>,
    exceptions: Vec<Exception>,
}

/// An entry of `no_proxy`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Exception {
    /// A name, without a leading dot; an address; or `*`.
    host: String,
    port: Option<u16>,
}

impl Proxies {
    /// Reads the variables with `read`, which gives the value of one that is set.
    ///
    /// # Errors
    /// When one names something other than an http proxy.
    pub fn from_variables(read: impl Fn(&str) -> Option<String>) -> Result<Proxies, ProxyError> {
        let proxy = |names: [&'static str; 4]| {
            let given = |name: &&'static str| Some((*name, read(name).filter(|value| !value.is_empty())?));
            names.iter().find_map(given).map(|(variable, value)| parse(variable, &value)).transpose()
        };
        let exceptions = ["no_proxy", "NO_PROXY"].into_iter().find_map(&read).unwrap_or_default();
        Ok(Proxies {
            http: proxy(["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])?,
            https: proxy(["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])?,
            exceptions: exceptions.split([',', ' ']).filter_map(Exception::parse).collect(),
        })
    }

    /// The proxy for an endpoint, if there is one.
    pub(super) fn of(&self, endpoint: &Endpoint) -> Option<&Endpoint> {
        let proxy = if endpoint.is_tls() { &self.https } else { &self.http };
        let local = match endpoint.address() {
            Some(address) => address.is_loopback(),
            None => matches!(&endpoint.host, Host::Domain(name) if name == "localhost"),
        };
        let excepted = local || self.exceptions.iter().any(|exception| exception.holds(endpoint));
        proxy.as_ref().filter(|_| endpoint.protocol == Protocol::Http && !excepted)
    }
}

fn parse(variable: &'static str, value: &str) -> Result<Endpoint, ProxyError> {
    let url = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
    let proxy = Endpoint::parse(&url).map_err(|_| ProxyError { variable })?;
    let plain = proxy.protocol == Protocol::Http && !proxy.is_tls();
    if plain { Ok(proxy) } else { Err(ProxyError { variable }) }
}

impl Exception {
    fn parse(text: &str) -> Option<Exception> {
        let text = text.trim().trim_start_matches('.').to_ascii_lowercase();
        let (host, port) = match text.rsplit_once(':') {
            // More than one colon is an IPv6 address, unless it is in brackets.
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse().ok()),
            _ => (text.as_str(), None),
        };
        let host = host.trim_matches(['[', ']']).to_owned();
        (!host.is_empty()).then_some(Exception { host, port })
    }

    fn holds(&self, endpoint: &Endpoint) -> bool {
        let same_host = match &endpoint.host {
            _ if self.host == "*" => true,
            Host::Domain(name) => {
                let ahead = name.strip_suffix(self.host.as_str());
                ahead.is_some_and(|ahead| ahead.is_empty() || ahead.ends_with('.'))
            }
            _ => endpoint.address() == self.host.parse::<IpAddr>().ok(),
        };
        same_host && self.port.is_none_or(|port| port == endpoint.port)
    }
}

/// Asks a proxy for a tunnel to the endpoint.
pub(super) async fn tunnel(
    stream: &mut TcpStream,
    proxy: &Endpoint,
    endpoint: &Endpoint,
) -> Result<(), ConnectError> {
    let authority = format!("{}:{}", endpoint.host, endpoint.port);
    let mut head = Vec::from(format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n"));
    if let Some(credentials) = &proxy.authorization {
        head.extend_from_slice(b"Proxy-Authorization: ");
        head.extend_from_slice(HeaderValue::as_bytes(credentials));
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    stream.write_all(&head).await.map_err(ConnectError::Proxy)?;
    match read_status(stream).await.map_err(ConnectError::Proxy)? {
        Some(status) if status.is_success() => Ok(()),
        Some(status) => Err(ConnectError::NoTunnel(status)),
        None => Err(ConnectError::Proxy(std::io::ErrorKind::InvalidData.into())),
    }
}

/// Reads the head of an answer, and not a byte of what follows it.
async fn read_status(stream: &mut TcpStream) -> std::io::Result<Option<StatusCode>> {
    let mut head = Vec::with_capacity(256);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= MOST_HEAD {
            return Ok(None);
        }
        head.push(stream.read_u8().await?);
    }
    let status = head.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(2..5));
    Ok(status.and_then(|status| StatusCode::from_bytes(status).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Result<Proxies, ProxyError> {
        let read =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Proxies::from_variables(read)
    }

    fn chosen(variables: &[(&str, &str)], url: &str) -> Option<String> {
        let proxies = proxies(variables).unwrap();
        proxies.of(&Endpoint::parse(url).unwrap()).map(Endpoint::to_string)
    }

    #[test]
    fn each_scheme_has_its_variable() {
        let all = [("all_proxy", "a:1"), ("HTTP_PROXY", "http://b:2"), ("http_proxy", "c:3")];
        assert_eq!(chosen(&all, "http://h").unwrap(), "http://c:3");
        assert_eq!(chosen(&all, "https://h").unwrap(), "http://a:1");
        assert_eq!(chosen(&all[..2], "http://h").unwrap(), "http://b:2");
        assert_eq!(
            chosen(&[("https_proxy", ""), ("HTTPS_PROXY", "b:2")], "https://h").unwrap(),
            "http://b:2"
        );
        for url in ["syslog://h", "syslog+tls://h", "http://localhost", "https://127.0.0.1", "http://[::1]:9"]
        {
            assert_eq!(chosen(&all, url), None, "{url}");
        }
        assert_eq!(chosen(&[], "http://h"), None);
    }

    #[test]
    fn no_proxy_names_hosts_domains_and_ports() {
        let none = "one.example, .two.example,10.0.0.1,three.example:8080,[2001:db8::1]:443,2001:db8::2";
        let through = |url: &str| chosen(&[("all_proxy", "p:1"), ("no_proxy", none)], url).is_some();
        for direct in [
            "http://one.example",
            "http://a.one.example",
            "http://two.example",
            "http://10.0.0.1:99",
            "http://three.example:8080",
            "https://[2001:db8::1]",
            "https://[2001:db8::2]:9",
        ] {
            assert!(!through(direct), "{direct}");
        }
        for proxied in
            ["http://none.example", "http://10.0.0.2", "http://three.example", "http://notone.example"]
        {
            assert!(through(proxied), "{proxied}");
        }
        assert_eq!(chosen(&[("all_proxy", "p:1"), ("NO_PROXY", "*")], "http://h"), None);
    }

    #[test]
    fn what_is_no_http_proxy_is_refused_and_nothing_shows_its_password() {
        for value in ["https://u:secret@h", "socks5://u:secret@h", "http://u:secret@h:0", "http://"] {
            let error = proxies(&[("all_proxy", value)]).unwrap_err();
            assert_eq!(error.variable, "all_proxy");
            assert!(!format!("{error} {error:?}").contains("secret"));
        }
        let proxies = proxies(&[("http_proxy", "http://u:secret@h")]).unwrap();
        assert!(proxies.http.is_some() && !format!("{proxies:?}").contains("secret"));
    }
}
