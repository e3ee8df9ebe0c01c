//! One request: what is posted, the same at every attempt.

use std::fmt;
use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName,
    HeaderValue, PROXY_AUTHORIZATION, TRANSFER_ENCODING, USER_AGENT,
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

    /// Adds everything that goes into the request's head, of which there is nothing yet.
    pub(super) fn add_headers(&self, same: &SameHeaders, headers: &mut HeaderMap) {
        for (name, value) in &same.0 {
            headers.append(name.clone(), value.clone());
        }
        headers.append(CONTENT_LENGTH, number(self.body_len() as u64));
        headers.append(MSG_COUNT, number(self.messages.into()));
        let mut digits = Uuid::encode_buffer();
        let frame_id = HeaderValue::from_str(self.frame_id.simple().encode_upper(&mut digits));
        headers.append(FRAME_ID, frame_id.expect("hexadecimal digits are a value"));
        for (name, value) in self.headers.iter().filter(|(name, _)| !OURS.contains(name)) {
            headers.append(name.clone(), value.clone());
        }
    }
}

/// A number as a value, in one allocation where `HeaderValue::from` takes two.
fn number(number: u64) -> HeaderValue {
    HeaderValue::from_str(itoa::Buffer::new().format(number)).expect("digits are a value")
}

/// The headers that all of an outlet's requests have.
pub(super) struct SameHeaders(Vec<(HeaderName, HeaderValue)>);

impl SameHeaders {
    pub(super) fn new(
        endpoint: &Endpoint,
        user_agent: &HeaderValue,
        proxy_authorization: Option<&HeaderValue>,
    ) -> SameHeaders {
        let mut headers = vec![
            (HOST, endpoint.host_header.clone()),
            (CONTENT_TYPE, HeaderValue::from_static("application/logplex-1")),
            (USER_AGENT, user_agent.clone()),
        ];
        headers.extend(endpoint.authorization.clone().map(|value| (AUTHORIZATION, value)));
        headers.extend(proxy_authorization.cloned().map(|value| (PROXY_AUTHORIZATION, value)));
        SameHeaders(headers)
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
