//! What a sink remembers of each request, and what its requests amount to.

use std::collections::{HashMap, HashSet};
use std::io::Read as _;
use std::sync::Arc;
use std::time::Instant;

use flate2::read::MultiGzDecoder;

use crate::frame::{Form, Received, split_frames};
use crate::wire::Headers;

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its place in the order of arrival over all connections, from 0.
    pub number: usize,
    /// Which connection it came on, from 1.
    pub connection: u64,
    /// When it was read to its end.
    pub arrived: Instant,
    /// Its method.
    pub method: String,
    /// Its path and query.
    pub path: String,
    /// Its header fields.
    pub headers: Headers,
    /// Its body, unpacked.
    pub body: Arc<Vec<u8>>,
    /// What became of it.
    pub outcome: Outcome,
    /// Its messages, or what is wrong with it.
    pub messages: Result<Arc<Vec<Received>>, String>,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It waits for its answer.
    Pending,
    /// It was answered with this status.
    Answered(u16),
    /// It was never answered.
    Unanswered,
}

impl Request {
    /// Takes in a request that was read whole.
    pub(super) fn new(connection: u64, form: Form, start: &str, headers: Headers, body: Vec<u8>) -> Request {
        let mut parts = start.split(' ').map(str::to_owned);
        let (method, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let unpacked = unpack(&headers, body);
        let messages = unpacked.as_ref().map_err(Clone::clone).and_then(|body| decode(&headers, body, form));
        Request {
            number: 0,
            connection,
            arrived: Instant::now(),
            method,
            path,
            headers,
            body: Arc::new(unpacked.unwrap_or_default()),
            outcome: Outcome::Pending,
            messages: messages.map(Arc::new),
        }
    }

    /// Whether its answer was 2xx.
    pub fn is_received(&self) -> bool {
        matches!(self.outcome, Outcome::Answered(200..=299))
    }

    /// Its `Logplex-Frame-Id`.
    pub fn frame_id(&self) -> Option<&str> {
        self.headers.get("logplex-frame-id")
    }

    /// Its messages.
    ///
    /// # Panics
    /// When it breaks the framing or miscounts.
    pub fn messages(&self) -> &[Received] {
        match &self.messages {
            Ok(messages) => messages,
            Err(why) => panic!("request {} is wrong: {why}; {:?}", self.number, self.headers),
        }
    }
}

/// The messages of every request answered 2xx.
pub(super) fn all(requests: &[Request]) -> Vec<Received> {
    // Each is looked at, so that a broken one does not hide behind a 503.
    let messages = requests.iter().map(|request| (request, request.messages()));
    messages
        .filter(|(request, _)| request.is_received())
        .flat_map(|(_, messages)| messages.to_vec())
        .collect()
}

/// The messages of the first request answered 2xx with each frame id.
pub(super) fn deduplicated(requests: &[Request]) -> Vec<Received> {
    let mut bodies = HashMap::new();
    let mut taken = HashSet::new();
    let mut received = Vec::new();
    for request in requests {
        let messages = request.messages();
        if let Some(id) = request.frame_id() {
            let first: &Request = bodies.entry(id).or_insert(request);
            let same = first.body == request.body;
            assert!(same, "requests {} and {} differ under one frame id {id}", first.number, request.number);
        }
        if request.is_received() && request.frame_id().is_none_or(|id| taken.insert(id)) {
            received.extend_from_slice(messages);
        }
    }
    received
}

fn unpack(headers: &Headers, body: Vec<u8>) -> Result<Vec<u8>, String> {
    match headers.get("content-encoding") {
        None => Ok(body),
        Some("gzip") => {
            let mut unpacked = Vec::new();
            let read = MultiGzDecoder::new(body.as_slice()).read_to_end(&mut unpacked);
            read.map(|_| unpacked).map_err(|error| format!("bad gzip: {error}"))
        }
        Some(other) => Err(format!("content-encoding {other}")),
    }
}

fn decode(headers: &Headers, body: &[u8], form: Form) -> Result<Vec<Received>, String> {
    match headers.get("content-type") {
        Some("application/logplex-1") => {}
        other => return Err(format!("content-type {other:?}")),
    }
    let messages: Result<Vec<Received>, String> =
        split_frames(body)?.into_iter().map(|raw| Received::parse(raw, form)).collect();
    let messages = messages?;
    let count = headers.get("logplex-msg-count").ok_or("no Logplex-Msg-Count")?;
    if count.parse() != Ok(messages.len()) {
        return Err(format!("Logplex-Msg-Count {count} for {} frames", messages.len()));
    }
    Ok(messages)
}
