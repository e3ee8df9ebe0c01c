//! Tail sessions: made with an API key, streamed by whoever has the URL.

use std::sync::Arc;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Path, Query, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::Utc;
use logplex_core::{Filter, RingLimits};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::auth::ApiKey;
use super::management::{Answer, Payload, blocking, check_json, error, parse, refused};
use super::{App, text};
use crate::store::SessionRecord;
use crate::tail::{self, Format, Seat};

/// How many messages of history a session gets if it does not say.
pub(super) const DEFAULT_NUM: u32 = 100;

/// What a client may send us in one websocket message; it has nothing to say but pongs.
const FROM_CLIENT_MAX: usize = 4 * 1024;

/// Numbers and booleans come as such or as strings, as clients of the original send them.
#[derive(Deserialize)]
struct SessionBody {
    channel_id: Option<Value>,
    num: Option<Value>,
    tail: Option<Value>,
    source: Option<String>,
    ps: Option<String>,
}

pub(super) async fn post_session(
    _: ApiKey,
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Payload(body): Payload,
) -> Answer {
    check_json(&headers)?;
    let url = format!("{}/sessions/{}", app.public_url, make_session(&app, &body).await?);
    Ok((StatusCode::CREATED, [(LOCATION, url.clone())], axum::Json(json!({ "url": url }))).into_response())
}

/// Makes the session that a body asks for.
pub(super) async fn make_session(app: &Arc<App>, body: &[u8]) -> Result<Uuid, Response> {
    let body: SessionBody = parse(body)?;
    let Some(Value::String(channel)) = body.channel_id else {
        return Err(error(StatusCode::BAD_REQUEST, "'channel_id' must be a string"));
    };
    if app.hub.channel(&channel).is_none() {
        return Err(error(StatusCode::UNPROCESSABLE_ENTITY, "channel not found"));
    }
    let session = SessionRecord {
        channel,
        expires: Utc::now(),
        num: num(body.num.as_ref())?,
        tail: is_true(body.tail.as_ref()),
        source: body.source,
        ps: body.ps,
    };
    let app = app.clone();
    blocking(move || app.hub.add_session(session)).await.map_err(refused)
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
}

pub(super) async fn stream(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(query): Query<StreamQuery>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let format = match query.format.as_deref() {
        None | Some("text") => Format::Text,
        Some("json") => Format::Json,
        Some(_) => return text(StatusCode::BAD_REQUEST, "format is text or json\n"),
    };
    let session = Uuid::parse_str(&id).ok().and_then(|id| app.hub.session(id, Utc::now()));
    let Some(session) = session else {
        return text(StatusCode::NOT_FOUND, "Not found\n");
    };
    let Some(channel) = app.hub.channel(&session.channel) else {
        return text(StatusCode::NOT_FOUND, "Not found\n");
    };
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(_not_websocket) => {
            let headers = [("upgrade", "websocket"), ("connection", "upgrade")];
            let help = "this stream is a websocket: use `logplex tail` or any websocket client\n";
            return (StatusCode::UPGRADE_REQUIRED, headers, help).into_response();
        }
    };
    let filter = Filter {
        include_sources: session.source.into_iter().collect(),
        include_ps: session.ps.into_iter().collect(),
        ..Filter::default()
    };
    let seat = Seat::take(channel, filter, session.num as usize, session.tail, RingLimits::default());
    let (tracked, stopped) = app.tails.adopt();
    upgrade.max_message_size(FROM_CLIENT_MAX).max_frame_size(FROM_CLIENT_MAX).on_upgrade(
        move |socket| async move {
            tail::serve(socket, seat, format, stopped).await;
            drop(tracked);
        },
    )
}
