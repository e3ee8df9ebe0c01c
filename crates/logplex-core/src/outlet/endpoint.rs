//! Where requests go: a URL, checked once, so that nothing after it can fail on it.
//!
//! A URL holds secrets: its userinfo, often its path and query. `Debug` and `Display` print
//! `scheme://host:port`, and no error repeats any part of what was given.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::HeaderValue;
use http::uri::{PathAndQuery, Uri};
use rustls::pki_types::ServerName;
use url::{Host, Url};

/// How an endpoint is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// HTTP/1.1: requests that are answered. For [`Outlet`](super::Outlet).
    Http,
    /// Octet-counted frames over TCP (RFC 6587, 3.4.1) or TLS (RFC 5425). For
    /// [`SyslogOutlet`](super::SyslogOutlet).
    Syslog,
}

/// An `http`, `https`, `syslog` or `syslog+tls` URL, to which messages can be sent.
#[derive(Clone)]
pub struct Endpoint {
    pub(super) protocol: Protocol,
    pub(super) host: Host<String>,
    pub(super) port: u16,
    /// The name that the certificate must have; `None` without TLS.
    pub(super) server_name: Option<ServerName<'static>>,
    /// The request target in origin form: path and query.
    pub(super) target: Uri,
    pub(super) host_header: HeaderValue,
    pub(super) authorization: Option<HeaderValue>,
}

/// Why nothing can be sent to a URL. Says how to mend it and repeats nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// It is not a URL.
    #[error("not a URL; write it as https://user:password@host:port/path")]
    Malformed(#[source] url::ParseError),
    /// Its scheme is another.
    #[error(
        "not a URL that logs can be sent to; begin it with https://, http://, syslog+tls:// or syslog://"
    )]
    Scheme,
    /// Its scheme is syslog's where requests need answers.
    #[error("not an http or https URL; begin it with https:// or http://")]
    NotHttp,
    /// Its host cannot be the name of a certificate.
    #[error("the host is not a name that a certificate can have; use a DNS name or an IP address")]
    Host,
    /// Its port is 0.
    #[error("port 0 cannot be connected to; name the port or leave it out")]
    Port,
    /// Its path or query cannot be sent as they are.
    #[error("the path or query cannot be sent; percent-encode what is not a letter, digit or punctuation")]
    Target,
}

impl Endpoint {
    /// Checks a URL.
    ///
    /// Userinfo is percent-decoded into an `Authorization: Basic` header. An empty path becomes `/`, the
    /// query stays as it was written, the fragment is never sent. Of a syslog URL only host and port count; the
    /// port is 601 unless it is given, under TLS 6514.
    ///
    /// # Errors
    ///
    /// When nothing could be sent to it. The error repeats nothing of the URL, which may hold secrets.
    ///
    /// # Examples
    ///
    /// ```
    /// use logplex_core::outlet::Endpoint;
    ///
    /// let endpoint = Endpoint::parse("https://token:t.123@logs.example/logs?code=k#insecure")?;
    /// assert_eq!(endpoint.to_string(), "https://logs.example:443");
    /// # Ok::<(), logplex_core::outlet::EndpointError>(())
    /// ```
    pub fn parse(text: &str) -> Result<Endpoint, EndpointError> {
        let url = Url::parse(text).map_err(EndpointError::Malformed)?;
        let (protocol, tls, port) = match url.scheme() {
            "http" => (Protocol::Http, false, 80),
            "https" => (Protocol::Http, true, 443),
            "syslog" => (Protocol::Syslog, false, 601),
            "syslog+tls" => (Protocol::Syslog, true, 6514),
            _ => return Err(EndpointError::Scheme),
        };
        // Of a scheme that it does not know, `Url` leaves the host as it was written.
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(EndpointError::Host)?;
        let host = Host::parse(host).map_err(|_| EndpointError::Host)?;
        let port = url.port().unwrap_or(port);
        if port == 0 {
            return Err(EndpointError::Port);
        }
        let server_name = if tls { Some(server_name(&host)?) } else { None };

        // The port only where the URL has one other than the scheme's own, as every client sends it.
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_string(),
        };
        let host_header = HeaderValue::try_from(authority).map_err(|_| EndpointError::Host)?;
        let target = match protocol {
            Protocol::Http => target(&url, text)?,
            Protocol::Syslog => Uri::default(),
        };
        Ok(Endpoint { protocol, host, port, server_name, target, host_header, authorization: basic(&url) })
    }

    /// Sends this `Authorization` instead of what the URL's userinfo says.
    #[must_use]
    pub fn with_authorization(mut self, mut value: HeaderValue) -> Endpoint {
        value.set_sensitive(true);
        self.authorization = Some(value);
        self
    }

    /// Whether an `Authorization` is sent, from the URL's userinfo or from
    /// [`with_authorization`](Endpoint::with_authorization).
    pub fn has_authorization(&self) -> bool {
        self.authorization.is_some()
    }

    /// How it is spoken to.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Whether messages travel under TLS.
    pub fn is_tls(&self) -> bool {
        self.server_name.is_some()
    }

    /// The request target as a proxy needs it: the URL without its credentials.
    pub(super) fn absolute_target(&self) -> Uri {
        let authority = format!("{}:{}", self.host, self.port);
        let path = self.target.path_and_query().map_or("/", PathAndQuery::as_str);
        let absolute = Uri::builder().scheme("http").authority(authority).path_and_query(path).build();
        // A host and a path that were checked make a URI; should they not, the proxy will say what it lacks.
        absolute.unwrap_or_else(|_| self.target.clone())
    }

    /// The address, where the host is one and not a name.
    pub(super) fn address(&self) -> Option<IpAddr> {
        match &self.host {
            Host::Ipv4(address) => Some(IpAddr::V4(*address)),
            Host::Ipv6(address) => Some(IpAddr::V6(*address)),
            Host::Domain(_) => None,
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Endpoint, EndpointError> {
        Endpoint::parse(text)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match (self.protocol, self.is_tls()) {
            (Protocol::Http, false) => "http",
            (Protocol::Http, true) => "https",
            (Protocol::Syslog, false) => "syslog",
            (Protocol::Syslog, true) => "syslog+tls",
        };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

/// An `Authorization: Basic` value (RFC 7617), marked so that it is never printed.
pub fn basic_authorization(user: &[u8], password: &[u8]) -> HeaderValue {
    let value = format!("Basic {}", STANDARD.encode([user, b":", password].concat()));
    let mut value = HeaderValue::try_from(value).expect("base64 is visible ASCII");
    value.set_sensitive(true);
    value
}

fn basic(url: &Url) -> Option<HeaderValue> {
    let password = url.password();
    if url.username().is_empty() && password.is_none() {
        return None;
    }
    let decode = |text: &str| percent_encoding::percent_decode_str(text).collect::<Vec<u8>>();
    Some(basic_authorization(&decode(url.username()), &decode(password.unwrap_or_default())))
}

fn server_name(host: &Host<String>) -> Result<ServerName<'static>, EndpointError> {
    match host {
        Host::Domain(name) => ServerName::try_from(name.clone()).map_err(|_| EndpointError::Host),
        Host::Ipv4(address) => Ok(IpAddr::V4(*address).into()),
        Host::Ipv6(address) => Ok(IpAddr::V6(*address).into()),
    }
}

fn target(url: &Url, text: &str) -> Result<Uri, EndpointError> {
    // `Url` rewrites a query (`'` becomes `%27`); some destinations compare or sign it byte by byte, so it
    // is taken as it was written wherever HTTP can carry that.
    let written = text.split('#').next().and_then(|text| text.split_once('?'));
    let as_written = written.and_then(|(_, query)| parse_target(url.path(), Some(query)));
    as_written.or_else(|| parse_target(url.path(), url.query())).map(Uri::from).ok_or(EndpointError::Target)
}

fn parse_target(path: &str, query: Option<&str>) -> Option<PathAndQuery> {
    match query {
        Some(query) => PathAndQuery::try_from(format!("{path}?{query}")).ok(),
        None => PathAndQuery::try_from(path).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_becomes_host_target_and_credentials() {
        type Row = (&'static str, &'static str, &'static str, &'static str, Option<&'static [u8]>);
        let table: [Row; 15] = [
            ("http://h", "http://h:80", "h", "/", None),
            ("https://h", "https://h:443", "h", "/", None),
            ("https://h:443/logs", "https://h:443", "h", "/logs", None),
            ("http://h:8601/logs", "http://h:8601", "h:8601", "/logs", None),
            ("http://[::1]:8601/", "http://[::1]:8601", "[::1]:8601", "/", None),
            ("https://[2001:db8::7]/", "https://[2001:db8::7]:443", "[2001:db8::7]", "/", None),
            ("http://h/a/b?c=d'e&x=%2F|#insecure&a?b", "http://h:80", "h", "/a/b?c=d'e&x=%2F|", None),
            ("http://h?k=a b", "http://h:80", "h", "/?k=a%20b", None),
            ("http://u:p@h/", "http://h:80", "h", "/", Some(b"u:p")),
            ("http://u%40x:p%3A%2F%FF%25@h/", "http://h:80", "h", "/", Some(b"u@x:p:/\xff%")),
            ("http://only@h/", "http://h:80", "h", "/", Some(b"only:")),
            ("syslog://h", "syslog://h:601", "h", "/", None),
            ("syslog+tls://h/x?y#insecure", "syslog+tls://h:6514", "h", "/", None),
            ("syslog://127.0.0.1:514", "syslog://127.0.0.1:514", "127.0.0.1:514", "/", None),
            ("syslog+tls://[::1]", "syslog+tls://[::1]:6514", "[::1]", "/", None),
        ];
        for (text, shown, host, target, userinfo) in table {
            let endpoint = Endpoint::parse(text).unwrap();
            assert_eq!(endpoint.to_string(), shown, "{text}");
            assert_eq!(endpoint.host_header, host, "{text}");
            assert_eq!(endpoint.target, target, "{text}");
            let expected = userinfo.map(|bytes| format!("Basic {}", STANDARD.encode(bytes)));
            let sent = endpoint.authorization.as_ref().map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(sent, expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_sent_to_is_refused_without_repeating_it() {
        const OTHER: &str =
            "not a URL that logs can be sent to; begin it with https://, http://, syslog+tls:// or syslog://";
        let table = [
            ("secret", "not a URL; write it as https://user:password@host:port/path"),
            ("http://u:secret@", "not a URL; write it as https://user:password@host:port/path"),
            ("http://u:secret@h:99999/", "not a URL; write it as https://user:password@host:port/path"),
            ("ftp://u:secret@h/", OTHER),
            ("syslog+tcp://u:secret@h/", OTHER),
            ("secret:x", OTHER),
            (
                "syslog://",
                "the host is not a name that a certificate can have; use a DNS name or an IP address",
            ),
            ("syslog://secret@h:0", "port 0 cannot be connected to; name the port or leave it out"),
            ("http://u:secret@h:0/", "port 0 cannot be connected to; name the port or leave it out"),
        ];
        for (text, expected) in table {
            let error = Endpoint::parse(text).unwrap_err();
            assert_eq!(error.to_string(), expected, "{text}");
            assert!(!format!("{error:?}").contains("secret"), "{text}");
        }
    }

    /// What decides where a connection goes: an address is one under every scheme.
    #[test]
    fn a_syslog_host_that_is_an_address_is_one() {
        for (text, address) in
            [("syslog://127.1", "127.0.0.1"), ("syslog+tls://[::ffff:7f00:1]", "::ffff:127.0.0.1")]
        {
            assert_eq!(Endpoint::parse(text).unwrap().address(), Some(address.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn nothing_prints_a_secret() {
        let endpoint = Endpoint::parse("https://secret:secret@h/secret?secret#secret").unwrap();
        assert_eq!(format!("{endpoint:?} {endpoint}"), "Endpoint(https://h:443) https://h:443");
        assert!(!format!("{:?}", endpoint.authorization).contains("Basic"));

        let replaced = endpoint.with_authorization(HeaderValue::from_static("Bearer secret"));
        assert_eq!(replaced.authorization.as_ref().unwrap(), "Bearer secret");
        assert_eq!(format!("{:?}", replaced.authorization), "Some(Sensitive)");
    }
}
