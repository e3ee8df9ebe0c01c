//! Tail sessions: made with an API key, streamed by whoever has the URL.

use std::sync::Arc;

use axum::Extension;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Path, Query, State};
use axum::http::header::{ACCEPT, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use logplex_core::code::CodeSet;
use logplex_core::{Filter, Pattern};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::auth::ApiKey;
use super::management::{Answer, NAME_MAX, Payload, blocking, check_json, error, parse, refused};
use super::{App, text};
use crate::channel::Channel;
use crate::codes::add_codes;
use crate::destination::severity;
use crate::history::Begin;
use crate::hub::HubError;
use crate::store::SessionRecord;
use crate::tail::{self, Feed, Form, Format, Seat};
use crate::tasks::AtWork;

/// What a client may send us in one websocket message; it has nothing to say but pongs.
const FROM_CLIENT_MAX: usize = 4 * 1024;

/// What is read of that at once.
const FROM_CLIENT_BUFFER: usize = 512;

/// How many messages of history a session gets if it does not say.
pub(super) const DEFAULT_NUM: u32 = 100;

/// The most expressions of a session: each costs its part of every message of the channel.
const PATTERNS_MAX: usize = 16;

/// The most names in one list.
const NAMES_MAX: usize = 64;

/// Numbers and booleans come as such or as strings, as clients of the original send them.
#[derive(Deserialize)]
struct SessionBody {
    channel_id: Option<Value>,
    num: Option<Value>,
    tail: Option<Value>,
    source: Option<String>,
    ps: Option<String>,
    #[serde(default)]
    sources: Vec<String>,
    #[serde(default)]
    exclude_sources: Vec<String>,
    #[serde(default)]
    processes: Vec<String>,
    #[serde(default)]
    exclude_processes: Vec<String>,
    min_severity: Option<Value>,
    code: Option<Value>,
    #[serde(default)]
    grep: Vec<String>,
    #[serde(default)]
    exclude: Vec<String>,
    since: Option<String>,
    until: Option<String>,
}

pub(super) async fn post_session(
    _: ApiKey,
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Payload(body): Payload,
) -> Answer {
    check_json(&headers)?;
    let session = session_of(&body)?;
    let url = format!("{}/sessions/{}", app.public_url, make_session(&app, session).await?);
    Ok((StatusCode::CREATED, [(LOCATION, url.clone())], axum::Json(json!({ "url": url }))).into_response())
}

/// The session that a body asks for.
pub(super) fn session_of(body: &[u8]) -> Result<SessionRecord, Response> {
    let body: SessionBody = parse(body)?;
    let Some(Value::String(channel)) = body.channel_id else {
        return Err(error(StatusCode::BAD_REQUEST, "'channel_id' must be a string"));
    };
    let now = Utc::now();
    Ok(SessionRecord {
        channel,
        expires: now,
        num: num(body.num.as_ref())?,
        tail: is_true(body.tail.as_ref()),
        source: body.source,
        ps: body.ps,
        sources: body.sources,
        exclude_sources: body.exclude_sources,
        processes: body.processes,
        exclude_processes: body.exclude_processes,
        min_severity: severity_of(body.min_severity.as_ref())?,
        codes: codes_of(body.code)?,
        grep: body.grep,
        exclude: body.exclude,
        since: time("since", body.since.as_deref(), now)?,
        until: time("until", body.until.as_deref(), now)?,
    })
}

/// Makes a session, if what it asks for can be had. Its id is the secret part of its URL.
pub(super) async fn make_session(app: &Arc<App>, session: SessionRecord) -> Result<Uuid, Response> {
    if app.hub.channel(&session.channel).is_none() {
        return Err(error(StatusCode::UNPROCESSABLE_ENTITY, "channel not found"));
    }
    filter(&session).map_err(|problem| error(StatusCode::BAD_REQUEST, &problem))?;
    let app = app.clone();
    blocking(move || app.hub.add_session(session)).await.map_err(refused)
}

/// Ends a session, and the streams of who uses it.
pub(super) async fn delete_session(_: ApiKey, State(app): State<Arc<App>>, Path(id): Path<String>) -> Answer {
    let id = Uuid::parse_str(&id).map_err(|_| refused(HubError::NotFound))?;
    blocking(move || app.hub.revoke_session(id)).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Ends all sessions of a channel.
pub(super) async fn delete_sessions(
    _: ApiKey,
    State(app): State<Arc<App>>,
    Path(channel): Path<String>,
) -> Answer {
    app.hub.channel(&channel).ok_or_else(|| refused(HubError::NotFound))?;
    let removed = blocking(move || app.hub.revoke_sessions(&channel)).await.map_err(refused)?;
    Ok(axum::Json(json!({ "removed": removed })).into_response())
}

/// What a session's words mean, or what is wrong with them.
fn filter(session: &SessionRecord) -> Result<Filter, String> {
    let names = |one: &Option<String>, many: &[String]| [one.as_slice(), many].concat();
    let mut filter = Filter {
        include_sources: names(&session.source, &session.sources),
        exclude_sources: session.exclude_sources.clone(),
        include_ps: names(&session.ps, &session.processes),
        exclude_ps: session.exclude_processes.clone(),
        min_severity: session.min_severity,
        codes: CodeSet::default(),
        since: session.since,
        until: session.until,
        grep: patterns(&session.grep)?,
        exclude: patterns(&session.exclude)?,
    };
    if filter.grep.len() + filter.exclude.len() > PATTERNS_MAX {
        return Err(format!("at most {PATTERNS_MAX} expressions in 'grep' and 'exclude'"));
    }
    let [sources, no_sources] = [&filter.include_sources, &filter.exclude_sources];
    let lists = [sources, no_sources, &filter.include_ps, &filter.exclude_ps, &session.codes];
    if lists.iter().any(|list| list.len() > NAMES_MAX || list.iter().any(|name| name.len() > NAME_MAX)) {
        return Err(format!("at most {NAMES_MAX} names in a list, each of at most {NAME_MAX} bytes"));
    }
    for list in &session.codes {
        add_codes(&mut filter.codes, list).map_err(|problem| problem.to_string())?;
    }
    Ok(filter)
}

fn patterns(expressions: &[String]) -> Result<Vec<Pattern>, String> {
    let pattern = |expression: &String| {
        let shown: String = expression.chars().take(100).collect();
        Pattern::new(expression).map_err(|problem| format!("not a regular expression: {shown:?}: {problem}"))
    };
    expressions.iter().take(PATTERNS_MAX + 1).map(pattern).collect()
}

fn severity_of(value: Option<&Value>) -> Result<Option<u8>, Response> {
    let parsed = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => severity(&number.to_string()),
        Some(Value::String(name)) => severity(name),
        Some(_) => None,
    };
    let wanted = "'min_severity' must be emerg, alert, crit, err, warning, notice, info, debug or 0 to 7";
    parsed.map(Some).ok_or_else(|| error(StatusCode::BAD_REQUEST, wanted))
}

/// One list of codes, or several.
fn codes_of(value: Option<Value>) -> Result<Vec<String>, Response> {
    let lists = match value {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::String(list)) => Some(vec![list]),
        Some(value) => serde_json::from_value(value).ok(),
    };
    let wanted = "'code' must be codes such as \"H12,R*\", or a list of such";
    lists.ok_or_else(|| error(StatusCode::BAD_REQUEST, wanted))
}

/// A point in time, or how long ago it was.
fn time(name: &str, text: Option<&str>, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, Response> {
    let Some(text) = text else { return Ok(None) };
    let parsed = match DateTime::parse_from_rfc3339(text) {
        Ok(time) => Some(time.to_utc()),
        Err(_) => duration(text).and_then(|ago| now.checked_sub_signed(ago)),
    };
    let wanted = || {
        let text =
            format!("'{name}' must be a time such as 2026-01-02T03:04:05Z, or such as 15m for that long ago");
        error(StatusCode::BAD_REQUEST, &text)
    };
    parsed.map(Some).ok_or_else(wanted)
}

/// A number of seconds, minutes, hours or days: `90s`, `15m`, `2h`, `7d`, or several: `1h30m`.
fn duration(text: &str) -> Option<TimeDelta> {
    let mut sum = None;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: i64 = rest[..digits].parse().ok()?;
        let unit = match rest.as_bytes().get(digits)? {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            _ => return None,
        };
        let part = TimeDelta::try_seconds(number.checked_mul(unit)?)?;
        sum = Some(sum.unwrap_or(TimeDelta::zero()).checked_add(&part)?);
        rest = &rest[digits + 1..];
    }
    sum
}

fn num(value: Option<&Value>) -> Result<u32, Response> {
    let parsed = match value {
        None | Some(Value::Null) => Some(DEFAULT_NUM),
        Some(Value::Number(number)) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(_) => None,
    };
    parsed.ok_or_else(|| error(StatusCode::BAD_REQUEST, "'num' must be a number of messages, 0 or more"))
}

/// `false`, `null`, `0` and their strings mean no tail; the original went by the key alone.
pub(super) fn is_true(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::String(text)) => !matches!(text.as_str(), "" | "0" | "false" | "no"),
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(_) => true,
    }
}

#[derive(Deserialize)]
pub(super) struct StreamQuery {
    format: Option<String>,
    after: Option<String>,
    before: Option<String>,
}

/// The stream of a session: a websocket if that is asked for, else events if those are, else lines.
pub(super) async fn stream(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(query): Query<StreamQuery>,
    headers: HeaderMap,
    connection: Option<Extension<AtWork>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let format = match query.format.as_deref() {
        None | Some("text") => Format::Text,
        Some("json") => Format::Json,
        Some(_) => return text(StatusCode::BAD_REQUEST, "format is text or json\n"),
    };
    let now = Utc::now();
    let session = Uuid::parse_str(&id).ok().and_then(|id| app.hub.use_session(id, now));
    let found = session.and_then(|(session, used)| Some((app.hub.channel(&session.channel)?, session, used)));
    let Some((channel, session, used)) = found else {
        return text(StatusCode::NOT_FOUND, "Not found\n");
    };
    let filter = match filter(&session) {
        Ok(filter) => filter,
        // It was fine when the session was made.
        Err(problem) => return text(StatusCode::INTERNAL_SERVER_ERROR, problem + "\n"),
    };
    let Some(begin) = begin(&channel, &query, &headers, session.num as usize) else {
        return text(StatusCode::BAD_REQUEST, "that is no cursor of a message\n");
    };
    let events = upgrade.is_err() && accepts_events(&headers);
    let tail = session.tail && query.before.is_none();
    let live = tail && session.until.is_none_or(|until| until > now);
    let seat = Seat::take(channel, used, filter, begin, live).await;
    let (tracked, stopped) = app.tails.adopt();
    let feed = Feed::new(seat, Form { format, events }, stopped.clone());
    if let Ok(upgrade) = upgrade {
        let upgrade = upgrade.max_message_size(FROM_CLIENT_MAX).max_frame_size(FROM_CLIENT_MAX);
        // Nothing is gained by collecting what is one piece already, and an idle tail should cost little.
        return upgrade.read_buffer_size(FROM_CLIENT_BUFFER).write_buffer_size(0).on_upgrade(
            move |socket| async move {
                tail::serve(socket, feed, stopped).await;
                drop(tracked);
            },
        );
    }
    // From here on it is a tail, and no request that a stop would wait for.
    if let Some(Extension(at_work)) = connection {
        at_work.rest();
    }
    let content_type = match (events, format) {
        (true, _) => "text/event-stream",
        (false, Format::Text) => "text/plain; charset=utf-8",
        (false, Format::Json) => "application/x-ndjson",
    };
    // Who asked for the past alone has it all when the body ends, and need not come back in a while.
    let first = if events && !tail { "retry: 0\n\n" } else { "" };
    // What stands between us and the client is to keep and to collect nothing.
    let headers =
        [("content-type", content_type), ("cache-control", "no-cache"), ("x-accel-buffering", "no")];
    (headers, tail::body(feed, events, first, tracked)).into_response()
}

/// Where a stream begins: as its query says, else behind what its reader says to have seen, else with the newest `num`
/// messages. `None` if that is no cursor.
fn begin(channel: &Channel, query: &StreamQuery, headers: &HeaderMap, num: usize) -> Option<Begin> {
    let seen = headers.get("last-event-id").map(|id| id.to_str().unwrap_or_default());
    match (&query.before, query.after.as_deref().or(seen).filter(|cursor| !cursor.is_empty())) {
        (Some(cursor), _) => channel.before(cursor, num),
        (None, Some(cursor)) => channel.after(cursor),
        (None, None) => Some(Begin::Newest(num)),
    }
}

/// Whether a client wants Server-Sent Events.
fn accepts_events(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|item| {
        item.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/event-stream"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_numbers_with_units() {
        for (text, seconds) in
            [("90s", 90), ("15m", 900), ("2h", 7200), ("7d", 604_800), ("1h30m", 5400), ("0s", 0)]
        {
            assert_eq!(duration(text), TimeDelta::try_seconds(seconds), "{text}");
        }
        for wrong in
            ["", "15", "m", "-5m", "1.5h", "5 m", "5w", "99999999999999999999s", "9223372036854775807d"]
        {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }
}
