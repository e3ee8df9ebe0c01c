//! What the bytes of an HTTP/1.1 answer say (RFC 9112): its status, when to come again, and where it ends.

use std::io;
use std::mem::MaybeUninit;
use std::time::{Duration, SystemTime};

use http::StatusCode;
use httparse::{InvalidChunkSize, ParserConfig, Response, Status};

use super::retry::retry_after;

/// The most headers that an answer may have.
const MOST_HEADERS: usize = 100;

/// The head of an answer to a POST.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Body,
    /// Whether the connection may carry another request once the body was read.
    pub(super) keeps_alive: bool,
}

/// What is left of an answer's body (section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// So many bytes; none are left: it is over.
    Bytes(u64),
    /// Chunks; of the one at hand so many bytes, with the end of its line.
    Chunks(u64),
    /// Lines up to an empty one.
    Trailers,
    /// All that comes until the peer closes.
    UntilClose,
}

impl Head {
    /// Reads the head at the beginning of `bytes`, and how many of them it is; `None` if it goes on behind them.
    ///
    /// # Errors
    /// `InvalidData`, with what is wrong, if this is no HTTP/1 or does not say where it ends.
    pub(super) fn read(bytes: &[u8]) -> io::Result<Option<(Head, usize)>> {
        let mut headers = [const { MaybeUninit::uninit() }; MOST_HEADERS];
        let mut answer = Response::new(&mut []);
        let parsed =
            ParserConfig::default().parse_response_with_uninit_headers(&mut answer, bytes, &mut headers);
        let Status::Complete(len) = parsed.map_err(invalid)? else { return Ok(None) };
        let status = answer.code.and_then(|code| StatusCode::from_u16(code).ok());
        let status = status.ok_or_else(|| invalid("the status is none"))?;

        let (mut length, mut is_chunked, mut retry) = (None, None, None);
        let (mut closes, mut stays) = (false, false);
        for header in &*answer.headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            if is("content-length") {
                length = Some(content_length(header.value, length));
            } else if is("transfer-encoding") {
                // Of several codings the last one says where the body ends.
                is_chunked = list(header.value).last().map(|coding| coding.eq_ignore_ascii_case(b"chunked"));
            } else if is("connection") {
                closes |= list(header.value).any(|option| option.eq_ignore_ascii_case(b"close"));
                stays |= list(header.value).any(|option| option.eq_ignore_ascii_case(b"keep-alive"));
            } else if is("retry-after") && retry.is_none() {
                retry = Some(header.value);
            }
        }
        let body = match (is_chunked, length) {
            _ if status.is_informational() || matches!(status.as_u16(), 204 | 304) => Body::Bytes(0),
            (Some(true), _) => Body::Chunks(0),
            (Some(false), _) | (None, None) => Body::UntilClose,
            (None, Some(length)) => Body::Bytes(length.ok_or_else(|| invalid("the Content-Length is none"))?),
        };
        let is_newest = answer.version == Some(1);
        // A length and chunks contradict each other, HTTP/1.0 has no chunks, and after 101 the connection is for
        // something else.
        let is_clear = is_chunked.is_none() || is_newest && length.is_none();
        let keeps_alive =
            !closes && (is_newest || stays) && is_clear && status != StatusCode::SWITCHING_PROTOCOLS;
        let retry_after = retry.and_then(|value| retry_after(value, SystemTime::now));
        Ok(Some((Head { status, retry_after, body, keeps_alive }, len)))
    }

    /// Whether the answer proper is still to come.
    pub(super) fn is_interim(&self) -> bool {
        self.status.is_informational() && self.status != StatusCode::SWITCHING_PROTOCOLS
    }
}

impl Body {
    /// Whether nothing is left.
    pub(super) fn is_over(&self) -> bool {
        *self == Body::Bytes(0)
    }

    /// Reads on in what came; how many of these bytes are done with. If it is not over then, more must come.
    ///
    /// # Errors
    /// If there is no chunk where one must begin.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<usize, InvalidChunkSize> {
        let mut read = 0;
        loop {
            let rest = &bytes[read..];
            match self {
                Body::UntilClose => return Ok(bytes.len()),
                Body::Chunks(0) => match httparse::parse_chunk_size(rest)? {
                    Status::Partial => return Ok(read),
                    Status::Complete((len, size)) => {
                        read += len;
                        *self = if size == 0 { Body::Trailers } else { Body::Chunks(size.saturating_add(2)) };
                    }
                },
                Body::Bytes(left) | Body::Chunks(left) => {
                    let taken = rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= taken as u64;
                    read += taken;
                    if *self != Body::Chunks(0) {
                        return Ok(read);
                    }
                }
                Body::Trailers => {
                    let Some(end) = memchr::memchr(b'\n', rest) else { return Ok(read) };
                    read += end + 1;
                    if rest[..end].trim_ascii().is_empty() {
                        *self = Body::Bytes(0);
                        return Ok(read);
                    }
                }
            }
        }
    }
}

/// A Content-Length, after what was said before: it may come several times if it is the same (RFC 9110, 8.6). `None` if it
/// is no length.
fn content_length(value: &[u8], before: Option<Option<u64>>) -> Option<u64> {
    let digits = |said: &[u8]| {
        let text = std::str::from_utf8(said).ok()?;
        text.bytes().all(|byte| byte.is_ascii_digit()).then_some(text)?.parse().ok()
    };
    let mut said = before.into_iter().chain(list(value).map(digits));
    let first = said.next()?;
    if said.all(|length| length == first) { first } else { None }
}

/// The elements of a header that is a list.
fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

fn invalid(problem: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Head {
        let (head, len) = Head::read(text.as_bytes()).unwrap().expect("whole");
        assert_eq!(len, text.len());
        head
    }

    #[test]
    fn a_head_says_where_its_answer_ends_and_whether_another_may_follow() {
        use Body::{Bytes, Chunks, UntilClose};
        let table = [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Bytes(5), true),
            ("HTTP/1.1 200 OK\r\ncontent-length:5\r\nCONTENT-LENGTH: 5, 5\r\n\r\n", Bytes(5), true),
            ("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", Bytes(0), true),
            ("HTTP/1.1 200 OK\r\n\r\n", UntilClose, true),
            ("HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", Bytes(0), true),
            ("HTTP/1.1 204 No\r\nContent-Length: -1\r\n\r\n", Bytes(0), true),
            ("HTTP/1.1 304 No\r\nTransfer-Encoding: chunked\r\n\r\n", Bytes(0), true),
            ("HTTP/1.1 100 Go on\r\n\r\n", Bytes(0), true),
            ("HTTP/1.1 101 Else\r\n\r\n", Bytes(0), false),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", Chunks(0), true),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", Chunks(0), true),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", UntilClose, true),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", Chunks(0), false),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: x\r\n\r\n", Chunks(0), false),
            (
                "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n",
                Chunks(0),
                false,
            ),
            (
                "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: close, keep-alive\r\n\r\n",
                Bytes(5),
                false,
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: x, Close\r\n\r\n", Bytes(5), false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", Bytes(5), false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: Keep-Alive\r\n\r\n", Bytes(5), true),
        ];
        for (text, body, keeps_alive) in table {
            let head = head(text);
            assert_eq!((head.body, head.keeps_alive), (body, keeps_alive), "{text}");
            for end in 0..text.len() {
                assert!(Head::read(&text.as_bytes()[..end]).unwrap().is_none(), "{text} up to {end}");
            }
        }
        assert_eq!(
            head("HTTP/1.1 429 Many\r\nRetry-After: 7\r\nRetry-After: 9\r\n\r\n").retry_after,
            Some(Duration::from_secs(7))
        );
    }

    #[test]
    fn what_does_not_say_its_end_is_no_answer() {
        for text in [
            "SSH-2.0-OpenSSH_9.6\r\n",
            "HTTP/2 200\r\n\r\n",
            "HTTP/1.1 20 Short\r\n\r\n",
            "HTTP/1.1 000 None\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        ] {
            assert_eq!(Head::read(text.as_bytes()).unwrap_err().kind(), io::ErrorKind::InvalidData, "{text}");
        }
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(MOST_HEADERS + 1));
        assert!(Head::read(many.as_bytes()).is_err());
    }

    #[test]
    fn a_body_ends_at_the_same_place_however_it_comes() {
        let table = [
            (Body::Bytes(5), "hello"),
            (Body::Chunks(0), "5\r\nhello\r\n0\r\n\r\n"),
            (Body::Chunks(0), "1;a=b\r\nh\r\n4\r\nello\r\n0\r\nA: b\r\nC: d\r\n\r\n"),
            (Body::Chunks(0), "0\r\n\r\n"),
        ];
        for (body, text) in table {
            let with_next = format!("{text}HTTP/1.1");
            for piece in 1..=with_next.len() {
                let (mut body, mut came, mut done) = (body, Vec::new(), 0);
                for bytes in with_next.as_bytes().chunks(piece) {
                    came.extend_from_slice(bytes);
                    let read = body.read(&came).unwrap();
                    came.drain(..read);
                    done += read;
                }
                assert!(body.is_over(), "{text} by {piece}");
                assert_eq!(done, text.len(), "{text} by {piece}");
            }
        }
        let mut endless = Body::UntilClose;
        assert_eq!((endless.read(b"hello"), endless), (Ok(5), Body::UntilClose));
        assert!(Body::Chunks(0).read(b"zz").is_err());
        let mut largest = Body::Chunks(0);
        assert_eq!(largest.read(b"ffffffffffffffff\r\nhello"), Ok(23));
        assert!(!largest.is_over());
    }
}
