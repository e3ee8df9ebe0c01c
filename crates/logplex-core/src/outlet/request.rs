//! One request: what is posted, the same at every attempt.

use std::fmt;
use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue,
    PROXY_AUTHORIZATION, TRANSFER_ENCODING, USER_AGENT,
};
use uuid::Uuid;

use super::endpoint::Endpoint;

const MSG_COUNT: HeaderName = HeaderName::from_static("logplex-msg-count");
const FRAME_ID: HeaderName = HeaderName::from_static("logplex-frame-id");

/// Headers that are the outlet's to set.
static OURS: [HeaderName; 10] = [
    HOST,
    CONTENT_TYPE,
    CONTENT_LENGTH,
    MSG_COUNT,
    FRAME_ID,
    USER_AGENT,
    AUTHORIZATION,
    PROXY_AUTHORIZATION,
    TRANSFER_ENCODING,
    CONNECTION,
];

/// One request body with what its receiver is told about it.
///
/// `Debug` prints sizes and the frame id, no line and no header value.
#[derive(Clone)]
pub struct Request {
    /// The body: octet-counted frames, cut anywhere. Sent without being copied or joined.
    pub body: Vec<Bytes>,
    /// How many messages the body holds, notices included (`Logplex-Msg-Count`).
    pub messages: u32,
    /// Names these bytes for a receiver that has seen them before (`Logplex-Frame-Id`, sent as 32 uppercase
    /// hexadecimal digits, as the original does).
    pub frame_id: Uuid,
    /// Headers to send besides the outlet's own, in this order. An outlet's own header among them is ignored.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Request {
    /// A request with a new frame id and no further headers.
    pub fn new(body: Vec<Bytes>, messages: u32) -> Request {
        // An id need not be a secret, so it need not come from the operating system.
        let frame_id = uuid::Builder::from_random_bytes(fastrand::u128(..).to_ne_bytes()).into_uuid();
        Request { body, messages, frame_id, headers: Vec::new() }
    }

    /// The length of the body in bytes.
    pub fn body_len(&self) -> usize {
        self.body.iter().map(Bytes::len).sum()
    }

    /// Packs the body with gzip and says so in the head. Its bytes stay the same at every attempt.
    pub fn compress(&mut self) {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        for piece in &self.body {
            encoder.write_all(piece).expect("a vector takes all that is written");
        }
        self.body = vec![encoder.finish().expect("a vector takes all that is written").into()];
        self.headers.push((CONTENT_ENCODING, HeaderValue::from_static("gzip")));
    }

    /// Writes the request's head, `same` ahead.
    pub(super) fn write_head(&self, same: &SameHead, head: &mut Vec<u8>) {
        head.clear();
        head.extend_from_slice(&same.0);
        let mut digits = itoa::Buffer::new();
        put_header(head, &CONTENT_LENGTH, digits.format(self.body_len()).as_bytes());
        put_header(head, &MSG_COUNT, digits.format(self.messages).as_bytes());
        let mut digits = Uuid::encode_buffer();
        put_header(head, &FRAME_ID, self.frame_id.simple().encode_upper(&mut digits).as_bytes());
        for (name, value) in self.headers.iter().filter(|(name, _)| !OURS.contains(name)) {
            put_header(head, name, value.as_bytes());
        }
        head.extend_from_slice(b"\r\n");
    }
}

fn put_header(head: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    for piece in [name.as_str().as_bytes(), b": ", value, b"\r\n"] {
        head.extend_from_slice(piece);
    }
}

/// What the heads of all of an outlet's requests begin with.
pub(super) struct SameHead(Vec<u8>);

impl SameHead {
    /// Of requests to an endpoint, through a proxy if there is one: that has to know all of the URL.
    pub(super) fn new(endpoint: &Endpoint, proxy: Option<&Endpoint>, user_agent: &HeaderValue) -> SameHead {
        let target = if proxy.is_some() { endpoint.absolute_target() } else { endpoint.target.clone() };
        let mut head = format!("POST {target} HTTP/1.1\r\n").into_bytes();
        put_header(&mut head, &HOST, endpoint.host_header.as_bytes());
        put_header(&mut head, &CONTENT_TYPE, b"application/logplex-1");
        put_header(&mut head, &USER_AGENT, user_agent.as_bytes());
        if let Some(value) = &endpoint.authorization {
            put_header(&mut head, &AUTHORIZATION, value.as_bytes());
        }
        if let Some(value) = proxy.and_then(|proxy| proxy.authorization.as_ref()) {
            put_header(&mut head, &PROXY_AUTHORIZATION, value.as_bytes());
        }
        SameHead(head)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("messages", &self.messages)
            .field("bytes", &self.body_len())
            .field("frame_id", &self.frame_id)
            .finish_non_exhaustive()
    }
}
