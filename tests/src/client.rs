//! A blocking HTTP/1.1 client: one request a connection, or many on one that is kept.

use std::io::{self, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use serde_json::Value;

use crate::wait::DEADLINE;
use crate::wire::{Headers, Undeclared, read_body, read_head};

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Its header fields.
    pub headers: Headers,
    /// Its body, as sent.
    pub body: Vec<u8>,
}

impl Response {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not JSON; the message shows the answer.
    #[track_caller]
    pub fn json(&self) -> Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("not JSON ({error}): {} {:?}", self.status, self.text()),
        }
    }

    /// The answer itself, if its status is one of `expected`.
    ///
    /// # Panics
    /// When it is another; the message shows the answer.
    #[track_caller]
    pub fn expect(self, expected: &[u16]) -> Response {
        assert!(
            expected.contains(&self.status),
            "expected {expected:?}, got {} {:?}",
            self.status,
            self.text()
        );
        self
    }
}

/// A connection that is kept between requests.
#[derive(Debug)]
pub struct Connection {
    reader: BufReader<TcpStream>,
    host: String,
}

impl Connection {
    /// Connects. Every later read and write fails after [`DEADLINE`].
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn open(address: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect_timeout(&address, DEADLINE)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        stream.set_nodelay(true)?;
        Ok(Connection { reader: BufReader::new(stream), host: address.to_string() })
    }

    /// Sends a request with its `Content-Length` and reads the answer.
    ///
    /// # Errors
    /// When the connection fails, or ends before the answer does.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Response> {
        let mut message = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.host);
        for (name, value) in headers {
            message.push_str(&format!("{name}: {value}\r\n"));
        }
        message.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        let mut message = message.into_bytes();
        message.extend_from_slice(body);
        let sent = self.send_raw(&message);
        // An answer that came before the whole body was taken (413, say) says more than the broken pipe does.
        self.response().map_err(|error| sent.err().unwrap_or(error))
    }

    /// Sends bytes as they are: for requests that are wrong or end early.
    ///
    /// # Errors
    /// When the connection fails.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// Tells the peer that nothing more will come; its answer can still be read.
    ///
    /// # Errors
    /// When the connection fails.
    pub fn finish_sending(&mut self) -> io::Result<()> {
        self.reader.get_ref().shutdown(Shutdown::Write)
    }

    /// Reads an answer without a body, such as an interim one (1xx); its status.
    ///
    /// # Errors
    /// When the connection fails.
    pub fn interim(&mut self) -> io::Result<u16> {
        let head = read_head(&mut self.reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        head.status()
    }

    /// Reads the next answer; interim ones (1xx) are passed over.
    ///
    /// # Errors
    /// When the connection fails, or ends before the answer does.
    pub fn response(&mut self) -> io::Result<Response> {
        loop {
            let head = read_head(&mut self.reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let status = head.status()?;
            match status {
                100..=199 => continue,
                204 | 304 => return Ok(Response { status, headers: head.headers, body: Vec::new() }),
                _ => {
                    let body = read_body(&mut self.reader, &head.headers, Undeclared::UntilClosed)?;
                    return Ok(Response { status, headers: head.headers, body });
                }
            }
        }
    }
}

/// One request on a connection of its own.
///
/// # Errors
/// As [`Connection::open`] and [`Connection::request`].
pub fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Response> {
    let headers = [&[("Connection", "close")], headers].concat();
    Connection::open(address)?.request(method, path, &headers, body)
}

/// The value of an `Authorization` header with a user and a password.
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64(format!("{user}:{password}").as_bytes()))
}

/// RFC 4648, part 4, with padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = (0..3).fold(0_usize, |group, at| group << 8 | usize::from(*chunk.get(at).unwrap_or(&0)));
        for at in 0..4 {
            let letter = char::from(LETTERS[group >> (18 - 6 * at) & 63]);
            text.push(if at <= chunk.len() { letter } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_encoded_as_rfc_7617_shows() {
        assert_eq!(basic("Aladdin", "open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!([base64(b""), base64(b"f"), base64(b"fo"), base64(b"foo")], ["", "Zg==", "Zm8=", "Zm9v"]);
    }
}
