//! `/v3/channels/:id/tokens`: the original makes tokens only; here they can be listed, rotated and removed.
//!
//! A rotation makes another token of the same name and leaves the one that was there valid for a grace period, so
//! that senders can be given the new one while none of their requests is refused. Both count as one.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::App;
use super::auth::ApiKey;
use super::management::{Answer, Payload, blocking, check_json, check_name, error, parse, refused};
use crate::hub::{HubError, Which};

/// How many seconds a token that was replaced stays valid unless the request says otherwise: a day, so that
/// senders that were forgotten can be found and given the new one.
const DEFAULT_GRACE: u32 = 24 * 60 * 60;

/// The longest: a token that is never to end is not one to replace.
const GRACE_MAX: u32 = 365 * 24 * 60 * 60;

#[derive(Deserialize)]
struct TokenBody {
    name: String,
}

pub(super) async fn post_token(
    _: ApiKey,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Payload(body): Payload,
) -> Answer {
    check_json(&headers)?;
    let TokenBody { name } = parse(&body)?;
    check_name("token name", &name)?;
    let token = blocking(move || app.hub.add_token(&id, &name)).await.map_err(refused)?;
    Ok(axum::Json(json!({ "token": token.id, "name": token.name })).into_response())
}

/// All tokens by name, the newest of a name first.
pub(super) async fn list_tokens(_: ApiKey, State(app): State<Arc<App>>, Path(id): Path<String>) -> Answer {
    let mut record = app.hub.record(&id).ok_or_else(|| refused(HubError::NotFound))?;
    let now = Utc::now();
    record.tokens.retain(|token| !token.is_over(now));
    record.tokens.reverse();
    record.tokens.sort_by(|a, b| a.name.cmp(&b.name));
    let tokens: Vec<Value> = record
        .tokens
        .iter()
        .map(|token| {
            let mut answer = json!({ "name": token.name, "token": token.id });
            if let Some(until) = token.until {
                answer["valid_until"] = time(until).into();
            }
            answer
        })
        .collect();
    Ok(axum::Json(json!({ "tokens": tokens })).into_response())
}

pub(super) async fn delete_token(
    _: ApiKey,
    State(app): State<Arc<App>>,
    Path((id, name)): Path<(String, String)>,
) -> Answer {
    remove(app, id, name, Which::All).await
}

/// Ends the grace period of what was replaced.
pub(super) async fn delete_replaced(
    _: ApiKey,
    State(app): State<Arc<App>>,
    Path((id, name)): Path<(String, String)>,
) -> Answer {
    remove(app, id, name, Which::Replaced).await
}

async fn remove(app: Arc<App>, id: String, name: String, which: Which) -> Answer {
    let removed = {
        let name = name.clone();
        blocking(move || app.hub.remove_tokens(&id, &name, which)).await
    };
    Ok(axum::Json(json!({ "name": name, "removed": removed.map_err(refused)? })).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RotateBody {
    grace: Option<u32>,
}

pub(super) async fn rotate_token(
    _: ApiKey,
    State(app): State<Arc<App>>,
    Path((id, name)): Path<(String, String)>,
    headers: HeaderMap,
    Payload(body): Payload,
) -> Answer {
    let RotateBody { grace } = if body.is_empty() {
        RotateBody { grace: None }
    } else {
        check_json(&headers)?;
        parse(&body)?
    };
    let grace = grace.unwrap_or(DEFAULT_GRACE);
    if grace > GRACE_MAX {
        let text = format!("'grace' is a number of seconds, at most {GRACE_MAX}");
        return Err(error(StatusCode::BAD_REQUEST, &text));
    }
    let grace = TimeDelta::seconds(grace.into());
    let rotated = blocking(move || app.hub.rotate_token(&id, &name, grace)).await;
    let (token, until) = rotated.map_err(refused)?;
    let answer = json!({ "name": token.name, "token": token.id, "old_valid_until": time(until) });
    Ok(axum::Json(answer).into_response())
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, false)
}
