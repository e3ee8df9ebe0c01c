//! The `/v3` management routes: the original's paths, bodies and codes, and a list of all channels. What all
//! management routes share is here too. Authentication goes first.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{FromRequest, Path, Query, Request, State};
use axum::http::header::{CONTENT_TYPE, IF_NONE_MATCH, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use logplex_core::{Chain, Filter, Part};
use serde::Deserialize;
use serde_json::{Value, json};

use super::App;
use super::auth::ApiKey;
use super::drains;
use crate::codes::add_codes;
use crate::hub::{HubError, TOKENS_MAX};
use crate::metrics::ledger_json;
use crate::store::{ChannelRecord, DrainRecord, TokenRecord};

/// The longest channel id and token name, in bytes.
pub(super) const NAME_MAX: usize = 200;

/// The largest body, far above what the most tokens need.
const BODY_MAX: usize = 1024 * 1024;

/// The most channels in one answer.
pub(super) const PAGE_MAX: usize = 1000;

pub(super) type Answer = Result<Response, Response>;

#[derive(Deserialize)]
struct ChannelBody {
    #[serde(default)]
    tokens: Vec<String>,
}

pub(super) async fn put_channel(
    _: ApiKey,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Payload(body): Payload,
) -> Answer {
    check_json(&headers)?;
    check_name("channel id", &id)?;
    let ChannelBody { tokens } = parse(if body.is_empty() { b"{}" } else { &body })?;
    check_token_names(&tokens)?;
    let only_new = headers.get(IF_NONE_MATCH).is_some_and(|value| value == "*");
    let put = {
        let id = id.clone();
        blocking(move || match only_new {
            true => Ok((app.hub.create_channel(&id, &tokens)?, true)),
            false => app.hub.put_channel(&id, &tokens),
        })
        .await
    };
    let (record, created) = match put {
        Err(HubError::Exists) => return Err(error(StatusCode::PRECONDITION_FAILED, "already exists")),
        put => put.map_err(refused)?,
    };
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, axum::Json(channel_json(&id, &record))).into_response())
}

#[derive(Deserialize)]
pub(super) struct ListQuery {
    after: Option<String>,
    limit: Option<String>,
}

/// All channels in the order of their ids, by pages: `next`, where there is one, is the next page's `after`.
pub(super) async fn list_channels(
    _: ApiKey,
    State(app): State<Arc<App>>,
    Query(query): Query<ListQuery>,
) -> Answer {
    let limit = match query.limit.as_deref().map(str::parse) {
        None => PAGE_MAX,
        Some(Ok(limit @ 1..=PAGE_MAX)) => limit,
        Some(_) => {
            let text = format!("'limit' must be a number from 1 to {PAGE_MAX}");
            return Err(error(StatusCode::BAD_REQUEST, &text));
        }
    };
    let (channels, more) = app.hub.list_channels(query.after.as_deref().unwrap_or_default(), limit);
    let next = channels.last().filter(|_| more).map(|(id, _)| id.to_string());
    let channels: Vec<Value> = channels
        .iter()
        .map(|(id, record)| {
            json!({
                "channel": &**id,
                "tokens": current_tokens(record).count(),
                "drains": record.drains.iter().filter(|drain| drain.url.is_some()).count(),
            })
        })
        .collect();
    let mut answer = json!({ "channels": channels });
    if let Some(next) = next {
        answer["next"] = next.into();
    }
    Ok(axum::Json(answer).into_response())
}

pub(super) async fn get_channel(_: ApiKey, State(app): State<Arc<App>>, Path(id): Path<String>) -> Answer {
    let record = app.hub.record(&id).ok_or_else(|| refused(HubError::NotFound))?;
    Ok(axum::Json(channel_json(&id, &record)).into_response())
}

pub(super) async fn delete_channel(_: ApiKey, State(app): State<Arc<App>>, Path(id): Path<String>) -> Answer {
    blocking(move || app.hub.remove_channel(&id)).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
struct DrainBody {
    url: Option<String>,
    /// Whether to look first whether the destination is there.
    #[serde(default)]
    verify: bool,
}

pub(super) async fn post_drain(
    _: ApiKey,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Payload(body): Payload,
) -> Answer {
    check_json(&headers)?;
    let DrainBody { url, verify } = parse(&body)?;
    let mut steps = None;
    if let Some(url) = url.as_deref().filter(|_| verify) {
        // No channel, no look at what a stranger names.
        app.hub.channel(&id).ok_or_else(|| refused(HubError::NotFound))?;
        let found = app.hub.verify_drain(url).await.map_err(refused)?;
        if !drains::is_fine(&found) {
            let body = json!({ "error": "the drain cannot be reached", "report": drains::report(&found) });
            return Err((StatusCode::UNPROCESSABLE_ENTITY, axum::Json(body)).into_response());
        }
        steps = Some(found);
    }
    let (app_, id_) = (app.clone(), id.clone());
    let drain = blocking(move || app_.hub.add_drain(&id_, url.as_deref())).await.map_err(refused)?;
    let location = format!("{}/v3/channels/{}/drains/{}", app.public_url, encode_segment(&id), drain.id);
    let mut made = drain_json(&drain);
    if let Some(steps) = steps {
        made["report"] = drains::report(&steps);
    }
    Ok((StatusCode::CREATED, [(LOCATION, location)], axum::Json(made)).into_response())
}

pub(super) async fn put_drain(
    _: ApiKey,
    State(app): State<Arc<App>>,
    Path((id, drain)): Path<(String, String)>,
    headers: HeaderMap,
    Payload(body): Payload,
) -> Answer {
    check_json(&headers)?;
    let DrainBody { url, .. } = parse(&body)?;
    let url = url.ok_or_else(|| error(StatusCode::BAD_REQUEST, "'url' is missing"))?;
    let drain = drain_id(&drain)?;
    let drain = blocking(move || app.hub.set_drain(&id, drain, &url)).await.map_err(refused)?;
    Ok(axum::Json(drain_json(&drain)).into_response())
}

pub(super) async fn delete_drain(
    _: ApiKey,
    State(app): State<Arc<App>>,
    Path((id, drain)): Path<(String, String)>,
) -> Answer {
    let drain = drain_id(&drain)?;
    blocking(move || app.hub.remove_drain(&id, drain)).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
pub(super) struct LogsQuery {
    num: Option<String>,
    code: Option<String>,
}

/// The newest messages, of certain codes if these are named, as octet-counted frames in the form of an HTTP drain, oldest first.
pub(super) async fn get_logs(
    _: ApiKey,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(query): Query<LogsQuery>,
) -> Answer {
    let channel = app.hub.channel(&id).ok_or_else(|| refused(HubError::NotFound))?;
    // As the original: what is no number is the default.
    let count = query.num.and_then(|num| num.parse().ok()).unwrap_or(100);
    let mut filter = Filter::default();
    if let Some(codes) = &query.code {
        add_codes(&mut filter.codes, codes)
            .map_err(|problem| error(StatusCode::BAD_REQUEST, &problem.to_string()))?;
    }
    let Some(parts) = channel.newest(count, &filter).await else {
        return Err(error(StatusCode::INTERNAL_SERVER_ERROR, "failed to fetch channel logs"));
    };
    let messages: usize = parts.iter().map(Part::messages).sum();
    let mut body = Vec::with_capacity(parts.iter().map(Part::size).sum());
    for part in &parts {
        body.extend_from_slice(&part.chunk().drain_form(part.range()));
    }
    let headers =
        [("content-type", "application/logplex-1".to_owned()), ("logplex-msg-count", messages.to_string())];
    Ok((headers, body).into_response())
}

/// The ledgers of a channel: its tokens, drains and tails. The numbers of notices and metrics.
pub(super) async fn get_stats(_: ApiKey, State(app): State<Arc<App>>, Path(id): Path<String>) -> Answer {
    let channel = app.hub.channel(&id).ok_or_else(|| refused(HubError::NotFound))?;
    let tokens: Vec<Value> = app
        .hub
        .tokens_of(&id)
        .iter()
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

/// The error codes of a channel since the server started, the one that came last first.
pub(super) async fn get_codes(_: ApiKey, State(app): State<Arc<App>>, Path(id): Path<String>) -> Answer {
    let channel = app.hub.channel(&id).ok_or_else(|| refused(HubError::NotFound))?;
    let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Millis, true);
    let codes: Vec<Value> = channel
        .codes()
        .iter()
        .map(|(seen, lines)| {
            let entry = seen.code.entry();
            json!({
                "code": entry.name,
                "title": entry.title,
                "severity": entry.severity.as_str(),
                "count": seen.count,
                "first_at": time(seen.first),
                "last_at": time(seen.last),
                "lines": lines,
            })
        })
        .collect();
    Ok(axum::Json(json!({ "channel": id, "codes": codes })).into_response())
}

// === Bodies, names, errors ===

/// The tokens of which no other has taken the place.
pub(super) fn current_tokens(record: &ChannelRecord) -> impl Iterator<Item = &TokenRecord> {
    record.tokens.iter().filter(|token| token.until.is_none())
}

fn channel_json(id: &str, record: &ChannelRecord) -> Value {
    let mut answer = json!({ "channel": id });
    if !record.tokens.is_empty() {
        let tokens: BTreeMap<_, _> = current_tokens(record).map(|token| (&token.name, &token.id)).collect();
        answer["tokens"] = json!(tokens);
    }
    let drains: Vec<_> = record.drains.iter().filter(|drain| drain.url.is_some()).map(drain_json).collect();
    if !drains.is_empty() {
        answer["drains"] = drains.into();
    }
    answer
}

pub(super) fn drain_json(drain: &DrainRecord) -> Value {
    let mut answer = json!({ "id": drain.id, "token": drain.token });
    if let Some(url) = &drain.url {
        answer["url"] = url.as_str().into();
    }
    answer
}

/// A request's body, bounded in size and time.
#[derive(Debug)]
pub(super) struct Payload(pub(super) Bytes);

impl FromRequest<Arc<App>> for Payload {
    type Rejection = Response;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Payload, Response> {
        read_body(request, app).await.map(Payload).map_err(|(status, text)| error(status, &text))
    }
}

/// Reads a body, bounded in size and time; else the status and the text to refuse the request with.
pub(super) async fn read_body(request: Request, app: &App) -> Result<Bytes, (StatusCode, String)> {
    let read = Limited::new(request.into_body(), BODY_MAX).collect();
    match tokio::time::timeout(app.body_timeout, read).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(problem)) if problem.is::<LengthLimitError>() => {
            Err((StatusCode::PAYLOAD_TOO_LARGE, format!("the body is over the limit of {BODY_MAX} bytes")))
        }
        Ok(Err(_cut_short)) => Err((StatusCode::BAD_REQUEST, "the body was cut short".to_owned())),
        Err(_elapsed) => {
            let text = format!("the body did not arrive within {} s", app.body_timeout.as_secs());
            Err((StatusCode::REQUEST_TIMEOUT, text))
        }
    }
}

/// Reads a body that must be a JSON object; a list would do for a struct, too.
pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Response> {
    let invalid = |detail: &str| {
        let answer = json!({ "error": "invalid payload", "detail": detail });
        (StatusCode::BAD_REQUEST, axum::Json(answer)).into_response()
    };
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(invalid("the body is not a JSON object"));
    }
    serde_json::from_slice(body).map_err(|problem| invalid(&problem.to_string()))
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

pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_MAX && name.bytes().all(|byte| byte.is_ascii_graphic())
}

pub(super) fn check_name(what: &str, name: &str) -> Result<(), Response> {
    if is_name(name) {
        return Ok(());
    }
    let text = format!("a {what} has 1 to {NAME_MAX} printable ASCII characters without blanks");
    Err(error(StatusCode::BAD_REQUEST, &text))
}

pub(super) fn check_token_names(names: &[String]) -> Result<(), Response> {
    if names.len() > TOKENS_MAX {
        return Err(error(StatusCode::BAD_REQUEST, &format!("at most {TOKENS_MAX} tokens")));
    }
    names.iter().try_for_each(|name| check_name("token name", name))
}

pub(super) fn drain_id(text: &str) -> Result<u64, Response> {
    text.parse().map_err(|_| refused(HubError::NotFound))
}

/// What a path needs so that the segment is read as it is.
pub(crate) fn encode_segment(segment: &str) -> String {
    percent_encoding::utf8_percent_encode(segment, percent_encoding::NON_ALPHANUMERIC).to_string()
}

pub(super) fn error(status: StatusCode, text: &str) -> Response {
    (status, axum::Json(json!({ "error": text }))).into_response()
}

pub(super) fn refused(problem: HubError) -> Response {
    let (status, text) = told(&problem);
    error(status, &text)
}

/// The status and the text that tell a client what went wrong; what it need not know goes to the log.
pub(super) fn told(problem: &HubError) -> (StatusCode, String) {
    let status = match problem {
        HubError::NotFound => StatusCode::NOT_FOUND,
        HubError::Exists => StatusCode::CONFLICT,
        HubError::TooManyDrains | HubError::TooManyTokens => StatusCode::UNPROCESSABLE_ENTITY,
        HubError::TooManySessions => StatusCode::SERVICE_UNAVAILABLE,
        HubError::Destination(_) => StatusCode::BAD_REQUEST,
        HubError::Store(problem) => {
            tracing::error!(error = format!("{problem:#}"), "the store failed");
            let text = "the store failed; the server's log says why";
            return (StatusCode::INTERNAL_SERVER_ERROR, text.to_owned());
        }
    };
    (status, Chain(problem).to_string())
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
