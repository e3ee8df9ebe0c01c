//! The original's `/v3` management routes: its paths, bodies and codes; authentication goes first.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use logplex_core::{Batch, Chain, Part};
use serde::Deserialize;
use serde_json::{Value, json};

use super::App;
use super::auth::check_key;
use crate::hub::HubError;
use crate::metrics::ledger_json;
use crate::store::{ChannelRecord, DrainRecord};

/// The longest channel id and token name, in bytes.
const NAME_MAX: usize = 200;

/// The most names in one request.
const TOKENS_MAX: usize = 1000;

type Answer = Result<Response, Response>;

#[derive(Deserialize)]
#[serde(untagged)]
enum ChannelBody {
    Object {
        #[serde(default)]
        tokens: Vec<String>,
    },
}

pub(super) async fn put_channel(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    check_key(&app, &headers)?;
    check_json(&headers)?;
    check_name("channel id", &id)?;
    let ChannelBody::Object { tokens } = parse(if body.is_empty() { b"{}" } else { &body })?;
    if tokens.len() > TOKENS_MAX {
        return Err(error(StatusCode::BAD_REQUEST, &format!("at most {TOKENS_MAX} tokens")));
    }
    for name in &tokens {
        check_name("token name", name)?;
    }
    let put = {
        let id = id.clone();
        blocking(move || app.hub.put_channel(&id, &tokens)).await
    };
    let (record, created) = put.map_err(refused)?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, axum::Json(channel_json(&id, &record))).into_response())
}

pub(super) async fn get_channel(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    check_key(&app, &headers)?;
    let record = app.hub.record(&id).ok_or_else(|| refused(HubError::NotFound))?;
    Ok(axum::Json(channel_json(&id, &record)).into_response())
}

pub(super) async fn delete_channel(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    check_key(&app, &headers)?;
    blocking(move || app.hub.remove_channel(&id)).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
struct TokenBody {
    name: String,
}

pub(super) async fn post_token(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    check_key(&app, &headers)?;
    check_json(&headers)?;
    let TokenBody { name } = parse(&body)?;
    check_name("token name", &name)?;
    let token = blocking(move || app.hub.add_token(&id, &name)).await.map_err(refused)?;
    Ok(axum::Json(json!({ "token": token.id, "name": token.name })).into_response())
}

#[derive(Deserialize)]
struct DrainBody {
    url: Option<String>,
}

pub(super) async fn post_drain(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    check_key(&app, &headers)?;
    check_json(&headers)?;
    let DrainBody { url } = parse(&body)?;
    let (app_, id_) = (app.clone(), id.clone());
    let drain = blocking(move || app_.hub.add_drain(&id_, url.as_deref())).await.map_err(refused)?;
    let location = format!("{}/v3/channels/{}/drains/{}", app.public_url, encode_segment(&id), drain.id);
    Ok((StatusCode::CREATED, [(LOCATION, location)], axum::Json(drain_json(&drain))).into_response())
}

pub(super) async fn put_drain(
    State(app): State<Arc<App>>,
    Path((id, drain)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    check_key(&app, &headers)?;
    check_json(&headers)?;
    let DrainBody { url } = parse(&body)?;
    let url = url.ok_or_else(|| error(StatusCode::BAD_REQUEST, "'url' is missing"))?;
    let drain = drain_id(&drain)?;
    let drain = blocking(move || app.hub.set_drain(&id, drain, &url)).await.map_err(refused)?;
    Ok(axum::Json(drain_json(&drain)).into_response())
}

pub(super) async fn delete_drain(
    State(app): State<Arc<App>>,
    Path((id, drain)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    check_key(&app, &headers)?;
    let drain = drain_id(&drain)?;
    blocking(move || app.hub.remove_drain(&id, drain)).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
pub(super) struct LogsQuery {
    num: Option<String>,
}

/// The newest messages as octet-counted frames in the form of an HTTP drain, oldest first.
pub(super) async fn get_logs(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(query): Query<LogsQuery>,
    headers: HeaderMap,
) -> Answer {
    check_key(&app, &headers)?;
    let channel = app.hub.channel(&id).ok_or_else(|| refused(HubError::NotFound))?;
    // As the original: what is no number is the default.
    let count = query.num.and_then(|num| num.parse().ok()).unwrap_or(100);
    let parts = channel.history(count, |_, _| true);
    let messages: usize = parts.iter().map(Part::messages).sum();
    let wire = |part: &Part<Batch>| part.chunk().drain_form().wire(part.range());
    let body: Vec<u8> = parts.iter().map(wire).fold(Vec::new(), |mut body, piece| {
        body.extend_from_slice(&piece);
        body
    });
    let headers =
        [("content-type", "application/logplex-1".to_owned()), ("logplex-msg-count", messages.to_string())];
    Ok((headers, body).into_response())
}

/// The ledgers of a channel: its tokens, drains and tails. The numbers of notices and metrics.
pub(super) async fn get_stats(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    check_key(&app, &headers)?;
    let channel = app.hub.channel(&id).ok_or_else(|| refused(HubError::NotFound))?;
    let tokens: Vec<Value> = app
        .hub
        .tokens()
        .iter()
        .filter(|token| Arc::ptr_eq(&token.channel, &channel))
        .map(|token| {
            let counts = token.counts();
            json!({
                "name": &*token.name,
                "accepted": counts.accepted,
                "repeated": counts.repeated,
                "rejected_requests": counts.rejected_requests,
                "rejected_messages": counts.rejected_messages,
                "upstream_dropped": counts.upstream_dropped,
                "upstream_lost": counts.upstream_lost,
            })
        })
        .collect();
    let drains: Vec<Value> = channel
        .drains()
        .iter()
        .map(|drain| {
            let mut stats = ledger_json(&drain.mailbox.ledger());
            stats["id"] = drain.id.into();
            stats["token"] = drain.token.as_str().into();
            stats["to"] = drain.destination().endpoint.to_string().into();
            stats
        })
        .collect();
    let (ledger, open) = channel.tails();
    let mut tails = ledger_json(&ledger);
    tails["open"] = open.into();
    Ok(axum::Json(json!({ "channel": id, "tokens": tokens, "drains": drains, "tails": tails }))
        .into_response())
}

// === Bodies, names, errors ===

fn channel_json(id: &str, record: &ChannelRecord) -> Value {
    let mut answer = json!({ "channel": id });
    if !record.tokens.is_empty() {
        let tokens: BTreeMap<_, _> =
            record.tokens.iter().map(|token| (token.name.clone(), token.id.clone())).collect();
        answer["tokens"] = json!(tokens);
    }
    let drains: Vec<_> = record.drains.iter().filter(|drain| drain.url.is_some()).map(drain_json).collect();
    if !drains.is_empty() {
        answer["drains"] = drains.into();
    }
    answer
}

fn drain_json(drain: &DrainRecord) -> Value {
    let mut answer = json!({ "id": drain.id, "token": drain.token });
    if let Some(url) = &drain.url {
        answer["url"] = url.as_str().into();
    }
    answer
}

pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Response> {
    serde_json::from_slice(body).map_err(|problem| {
        let answer = json!({ "error": "invalid payload", "detail": problem.to_string() });
        (StatusCode::BAD_REQUEST, axum::Json(answer)).into_response()
    })
}

/// A body must say that it is JSON.
pub(super) fn check_json(headers: &HeaderMap) -> Result<(), Response> {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send Content-Type: application/json"))
}

fn check_name(what: &str, name: &str) -> Result<(), Response> {
    if !name.is_empty() && name.len() <= NAME_MAX && name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    let text = format!("a {what} has 1 to {NAME_MAX} printable ASCII characters without blanks");
    Err(error(StatusCode::BAD_REQUEST, &text))
}

fn drain_id(text: &str) -> Result<u64, Response> {
    text.parse().map_err(|_| refused(HubError::NotFound))
}

fn encode_segment(segment: &str) -> String {
    percent_encoding::utf8_percent_encode(segment, percent_encoding::NON_ALPHANUMERIC).to_string()
}

pub(super) fn error(status: StatusCode, text: &str) -> Response {
    (status, axum::Json(json!({ "error": text }))).into_response()
}

pub(super) fn refused(problem: HubError) -> Response {
    let status = match &problem {
        HubError::NotFound => StatusCode::NOT_FOUND,
        HubError::Exists => StatusCode::CONFLICT,
        HubError::TooManyDrains => StatusCode::UNPROCESSABLE_ENTITY,
        HubError::TooManySessions => StatusCode::SERVICE_UNAVAILABLE,
        HubError::Destination(_) => StatusCode::BAD_REQUEST,
        HubError::Store(problem) => {
            tracing::error!(error = format!("{problem:#}"), "the store failed");
            return error(StatusCode::INTERNAL_SERVER_ERROR, "the store failed; the server's log says why");
        }
    };
    error(status, &Chain(&problem).to_string())
}

/// Runs what blocks on the disk where it may.
pub(super) async fn blocking<T, F>(work: F) -> Result<T, HubError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, HubError> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(panicked) => Err(HubError::Store(panicked.into())),
    }
}
