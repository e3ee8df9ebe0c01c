//! HTTP/1.1 messages as bytes, for both ends: what the client reads and what the sink reads.

use std::io::{self, BufRead, Read};

/// More than any header of ours; an endless line ends the read instead of the memory.
const MAX_LINE: u64 = 64 * 1024;
/// More than any body of ours.
const MAX_BODY: u64 = 64 * 1024 * 1024;

/// Header fields in the order they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// The first value of `name`, in any case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The value of `name` as a number.
    ///
    /// # Panics
    /// When the header is there and not a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        let value = self.get(name)?;
        Some(value.parse().unwrap_or_else(|_| panic!("header {name} is not a number: {value:?}")))
    }

    /// Whether the list `name` contains `token`.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.get(name).is_some_and(|list| list.split(',').any(|item| item.trim().eq_ignore_ascii_case(token)))
    }
}

/// The first line and the header fields of a message.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) start: String,
    pub(crate) headers: Headers,
}

impl Head {
    /// An answer's status.
    pub(crate) fn status(&self) -> io::Result<u16> {
        let code = self.start.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
        code.and_then(|code| code.parse().ok()).ok_or_else(|| broken("no status"))
    }
}

/// What a body without a declared length means.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Undeclared {
    /// There is no body: the rule for requests.
    Empty,
    /// It ends with the connection: the rule for answers.
    UntilClosed,
}

/// Reads a message's head; `None` when the peer closed before its first byte.
pub(crate) fn read_head(reader: &mut impl BufRead) -> io::Result<Option<Head>> {
    let Some(start) = read_line(reader)? else { return Ok(None) };
    let mut headers = Headers::default();
    loop {
        let line = read_line(reader)?.ok_or_else(|| broken("the head ends early"))?;
        if line.is_empty() {
            return Ok(Some(Head { start, headers }));
        }
        let (name, value) = line.split_once(':').ok_or_else(|| broken("a header without a colon"))?;
        headers.0.push((name.to_owned(), value.trim().to_owned()));
    }
}

/// Reads the body that `headers` declare.
pub(crate) fn read_body(
    reader: &mut impl BufRead,
    headers: &Headers,
    undeclared: Undeclared,
) -> io::Result<Vec<u8>> {
    if headers.has_token("transfer-encoding", "chunked") {
        return read_chunks(reader);
    }
    let mut body = Vec::new();
    match (headers.get("content-length"), undeclared) {
        (Some(length), _) => {
            let length: u64 = length.parse().map_err(|_| broken("content-length is not a number"))?;
            read_exactly(reader, length, &mut body)?;
        }
        (None, Undeclared::Empty) => {}
        (None, Undeclared::UntilClosed) => {
            reader.take(MAX_BODY).read_to_end(&mut body)?;
        }
    }
    Ok(body)
}

fn read_chunks(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = read_line(reader)?.ok_or_else(|| broken("the chunks end early"))?;
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(|_| broken("a chunk size is not a number"))?;
        if size == 0 {
            // Trailers, which nobody here reads, end with an empty line.
            while read_line(reader)?.is_some_and(|line| !line.is_empty()) {}
            return Ok(body);
        }
        read_exactly(reader, size, &mut body)?;
        if read_line(reader)?.is_none_or(|line| !line.is_empty()) {
            return Err(broken("a chunk is longer than its size"));
        }
    }
}

fn read_exactly(reader: &mut impl BufRead, length: u64, body: &mut Vec<u8>) -> io::Result<()> {
    if body.len() as u64 + length > MAX_BODY {
        return Err(broken("the body is larger than any of ours"));
    }
    if reader.take(length).read_to_end(body)? as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// A line without its end; `None` at the end of input.
pub(crate) fn read_line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    reader.take(MAX_LINE).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    let Some(text) = line.strip_suffix(b"\n") else { return Err(broken("a line of the head ends early")) };
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    Ok(Some(String::from_utf8_lossy(text).into_owned()))
}

fn broken(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(wire: &str, undeclared: Undeclared) -> io::Result<String> {
        let mut reader = wire.as_bytes();
        let head = read_head(&mut reader)?.expect("the test sends a head");
        read_body(&mut reader, &head.headers, undeclared).map(|body| String::from_utf8(body).unwrap())
    }

    #[test]
    fn a_body_ends_where_its_head_says() {
        let declared = body("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhello", Undeclared::UntilClosed);
        assert_eq!(declared.unwrap(), "he");
        let chunked = "x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\nmore";
        assert_eq!(body(chunked, Undeclared::Empty).unwrap(), "hello");
        assert_eq!(body("x\r\n\r\nhello", Undeclared::UntilClosed).unwrap(), "hello");
        assert_eq!(body("x\r\n\r\nhello", Undeclared::Empty).unwrap(), "");
    }

    #[test]
    fn a_body_that_ends_early_is_an_error() {
        assert!(body("x\r\nContent-Length: 9\r\n\r\nhello", Undeclared::Empty).is_err());
        assert!(body("x\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello", Undeclared::Empty).is_err());
        assert!(read_head(&mut "x\r\nA: b\r\n".as_bytes()).is_err());
        assert!(read_head(&mut "".as_bytes()).unwrap().is_none());
    }
}
