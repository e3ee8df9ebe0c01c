//! `POST /logs`: the door for messages. All of a request is taken, or nothing and the answer says why.

use std::io::Read;
use std::sync::Arc;

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use chrono::Utc;
use flate2::read::MultiGzDecoder;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use logplex_core::buffer::Buffer;
use logplex_core::message::Form;
use logplex_core::{Batch, Chain, Chunk, FrameError, FrameLimit, Origin};
use tokio::time::Instant;

use super::{App, Caller, auth};
use crate::channel::{Producer, Token};
use crate::mailbox::lock;
use crate::metrics::Rejection;

/// The largest body, unpacked.
pub(super) const BODY_MAX: usize = 8 * 1024 * 1024;

/// A body larger than this needs one of the places for large ones, so that many slow senders together cannot
/// hold more memory than places × [`BODY_MAX`] + connections × this.
const BODY_LARGE: usize = 256 * 1024;

/// A packed body that may unpack to much more.
const GZIP_LARGE: usize = 8 * 1024;

/// How many large bodies may be read at once.
pub(crate) const LARGE_BODIES: usize = 16;

/// The PROCID of lines that came as plain text.
const PLAIN_PROCID: &str = "http";

/// Why a request was refused: its status, the label it is counted under, and the text.
struct Refusal {
    status: StatusCode,
    rejection: Rejection,
    text: String,
}

impl Refusal {
    fn new(status: StatusCode, rejection: Rejection, text: impl Into<String>) -> Refusal {
        Refusal { status, rejection, text: text.into() }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Frames,
    Lines,
}

/// The headers that say something of a body of messages; of one that comes twice, the first.
#[derive(Default)]
struct Head<'a> {
    content_type: Option<&'a HeaderValue>,
    content_encoding: Option<&'a HeaderValue>,
    content_length: Option<&'a HeaderValue>,
    msg_count: Option<&'a HeaderValue>,
    frame_id: Option<&'a HeaderValue>,
    request_id: Option<&'a HeaderValue>,
    drain_token: Option<&'a HeaderValue>,
    format: Option<&'a HeaderValue>,
    drop_count: Option<&'a HeaderValue>,
    lost_count: Option<&'a HeaderValue>,
}

impl<'a> From<&'a HeaderMap> for Head<'a> {
    fn from(headers: &'a HeaderMap) -> Head<'a> {
        let mut head = Head::default();
        // All in one go: to look each up costs more.
        for (name, value) in headers {
            let place = match name.as_str() {
                "content-type" => &mut head.content_type,
                "content-encoding" => &mut head.content_encoding,
                "content-length" => &mut head.content_length,
                "logplex-msg-count" => &mut head.msg_count,
                "logplex-frame-id" => &mut head.frame_id,
                "x-request-id" => &mut head.request_id,
                "logplex-drain-token" => &mut head.drain_token,
                "logplex-format" => &mut head.format,
                "logplex-drop-count" => &mut head.drop_count,
                "logplex-lost-count" => &mut head.lost_count,
                _ => continue,
            };
            place.get_or_insert(value);
        }
        head
    }
}

/// Whether [`post_logs`] is to answer this.
pub(crate) fn is_posted<B>(request: &Request<B>) -> bool {
    request.method() == Method::POST && request.uri().path() == "/logs"
}

/// Answers a request that brings messages.
pub(crate) async fn post_logs(app: &App, caller: &Caller, mut request: Request<Incoming>) -> Response {
    let mut headers = std::mem::take(request.headers_mut());
    let body = request.into_body();
    let Some(token) = caller.last_token.of(&app.hub, &headers) else {
        app.rejections.count(Rejection::Unauthorized);
        return auth::unauthorized("the token is missing or unknown: use Basic token:t.… or Bearer t.…\n");
    };
    match take(app, caller, &token, &Head::from(&headers), body).await {
        Ok(()) => {
            let mut response = StatusCode::NO_CONTENT.into_response();
            // The next request's headers take what memory these had.
            headers.clear();
            *response.headers_mut() = headers;
            response
        }
        Err(refusal) => {
            app.rejections.count(refusal.rejection);
            token.count_rejected();
            let mut response = (refusal.status, refusal.text + "\n").into_response();
            if refusal.rejection == Rejection::OverRate {
                response.headers_mut().insert(RETRY_AFTER, 1.into());
            }
            response
        }
    }
}

async fn take(
    app: &App,
    caller: &Caller,
    token: &Arc<Token>,
    head: &Head<'_>,
    body: Incoming,
) -> Result<(), Refusal> {
    let kind = kind(head)?;
    let gzip = is_gzip(head)?;
    let length = number(head.content_length).flatten().unwrap_or(0);
    let body = read_body(app, caller, body, length).await?;
    let now = Utc::now();
    let forwarded = head.drain_token.is_some();
    let origin = Origin {
        token_name: &token.name,
        token: &token.id,
        form: match head.format.map(HeaderValue::as_bytes) {
            Some(b"rfc5424") => Form::Strict,
            _ if forwarded => Form::Drain,
            _ => Form::Any,
        },
        limit: if forwarded { FrameLimit::FORWARDED } else { FrameLimit::MAX },
        now,
    };
    let is_large = body.len() > if gzip { GZIP_LARGE } else { BODY_LARGE };
    let decode = || decode(body, gzip, kind, &origin);
    // A large body takes milliseconds, in which the other connections of this thread need not wait.
    let (batch, body_len) = if is_large { tokio::task::block_in_place(decode)? } else { decode()? };
    check_count(head, batch.count())?;
    if let Some(rate) = &app.rate
        && !rate.admits(&token.channel.id, batch.count(), Instant::now())
    {
        let text = format!("over the channel's rate of {} messages a second", rate.per_second());
        return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, Rejection::OverRate, text));
    }
    publish(app, token, head, batch, body_len, now);
    Ok(())
}

/// The batch, and the body's length unpacked.
fn decode(body: Bytes, gzip: bool, kind: Kind, origin: &Origin<'_>) -> Result<(Batch, usize), Refusal> {
    let unpacked = if gzip { Some(unpack(&body)?) } else { None };
    let body = unpacked.as_deref().unwrap_or(&body);
    let batch = match kind {
        Kind::Frames => Batch::decode(body, origin),
        Kind::Lines => Batch::from_text(body, PLAIN_PROCID, origin),
    };
    let batch = batch.map_err(|error| match error.source {
        FrameError::TooMany { .. } => {
            Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, Rejection::TooLarge, Chain(&error).to_string())
        }
        _ => {
            let text = format!("Malformed log messages: {}", Chain(&error));
            Refusal::new(StatusCode::BAD_REQUEST, Rejection::Malformed, text)
        }
    })?;
    Ok((batch, body.len()))
}

/// Hands the batch over, unless it is a repeat. The token's lock is held until then, so that a repeat of a
/// request under way waits for it.
fn publish(
    app: &App,
    token: &Arc<Token>,
    head: &Head<'_>,
    batch: Batch,
    body_len: usize,
    now: chrono::DateTime<Utc>,
) {
    let messages = batch.count();
    let id = [head.frame_id, head.request_id].into_iter().find_map(|id| id?.to_str().ok());
    let mut state = lock(&token.state);
    if id.is_some_and(|id| state.repeats.is_one(id, body_len, messages, Instant::now())) {
        state.counts.repeated += messages as u64;
        return;
    }
    state.counts.accepted += messages as u64;
    state.counts.upstream_dropped += number(head.drop_count).flatten().unwrap_or(0);
    state.counts.upstream_lost += number(head.lost_count).flatten().unwrap_or(0);
    app.hub.publish(&token.channel, Arc::new(batch), Producer::Token, now);
}

/// A header as a number: `None` if it is absent, `Some(None)` if it is none.
#[inline(never)]
fn number(value: Option<&HeaderValue>) -> Option<Option<u64>> {
    value.map(|value| value.to_str().ok()?.trim_ascii().parse().ok())
}

fn check_count(head: &Head<'_>, messages: usize) -> Result<(), Refusal> {
    let problem = match number(head.msg_count) {
        None => return Ok(()),
        Some(Some(declared)) if declared == messages as u64 => return Ok(()),
        Some(Some(declared)) => format!("the header says {declared}, the body has {messages}"),
        Some(None) => "the header is not a number".to_owned(),
    };
    let text = format!("Message count mismatch: {problem}");
    Err(Refusal::new(StatusCode::BAD_REQUEST, Rejection::CountMismatch, text))
}

fn kind(head: &Head<'_>) -> Result<Kind, Refusal> {
    if head.content_type.is_some_and(|value| value == "application/logplex-1") {
        return Ok(Kind::Frames);
    }
    let value = head.content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split_once(';').map_or(value, |(essence, _)| essence).trim_ascii();
    let is = |kind: &str| essence.eq_ignore_ascii_case(kind);
    if is("application/logplex-1") || is("application/x-logplex-1") {
        return Ok(Kind::Frames);
    }
    if is("text/plain") {
        return Ok(Kind::Lines);
    }
    let text = "Unsupported media type: send application/logplex-1 (octet-counted frames) or text/plain (one message a \
                line)";
    Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Rejection::MediaType, text))
}

fn is_gzip(head: &Head<'_>) -> Result<bool, Refusal> {
    let Some(value) = head.content_encoding else { return Ok(false) };
    match value.to_str().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "gzip" | "x-gzip" => Ok(true),
        "identity" | "" => Ok(false),
        _ => {
            let text = "Unsupported content encoding: send gzip or none";
            Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Rejection::MediaType, text))
        }
    }
}

fn too_large() -> Refusal {
    let text = format!("The body is over the limit of {BODY_MAX} bytes, unpacked: send smaller batches");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, Rejection::TooLarge, text)
}

/// Reads a body. A small one stays in the connection's buffer, where the next would come.
async fn read_body(app: &App, caller: &Caller, mut body: Incoming, declared: u64) -> Result<Bytes, Refusal> {
    if declared > BODY_MAX as u64 {
        return Err(too_large());
    }
    let declared = declared as usize;
    let read = async {
        let mut place = None;
        // What comes in more than one piece.
        let mut joined: Option<Buffer> = None;
        loop {
            let len = joined.as_ref().map_or(0, Buffer::len);
            let known = declared.max(len);
            if known > BODY_LARGE && place.is_none() {
                place = app.large_bodies.acquire().await.ok();
            }
            let Some(frame) = body.frame().await else { break };
            let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
            if len == 0 && data.len() == declared {
                // All of it in one piece, as small bodies come.
                return Ok(data);
            }
            if len + data.len() > BODY_MAX {
                return Err(too_large());
            }
            joined.get_or_insert_with(|| Buffer::with_capacity(declared)).extend_from_slice(&data);
        }
        Ok(joined.map_or_else(Bytes::new, Buffer::build))
    };
    caller.patience.wait(read, Instant::now() + app.body_timeout).await.unwrap_or_else(|| {
        let text = format!("The body did not arrive within {} s", app.body_timeout.as_secs());
        Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, Rejection::Timeout, text))
    })
}

fn broken(error: hyper::Error) -> Refusal {
    let text = format!("Bad request: the body was cut short: {error}");
    Refusal::new(StatusCode::BAD_REQUEST, Rejection::Truncated, text)
}

fn unpack(body: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut unpacked = Vec::new();
    let mut decoder = MultiGzDecoder::new(body).take(BODY_MAX as u64 + 1);
    if let Err(error) = decoder.read_to_end(&mut unpacked) {
        let text = format!("Bad request: the body is not gzip as its Content-Encoding says: {error}");
        return Err(Refusal::new(StatusCode::BAD_REQUEST, Rejection::Gzip, text));
    }
    if unpacked.len() > BODY_MAX {
        return Err(too_large());
    }
    Ok(unpacked)
}
