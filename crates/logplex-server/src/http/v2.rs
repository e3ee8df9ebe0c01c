//! The original's `/v2` management routes, and of its first API the two that have no successor there. Its texts
//! and codes are kept, as JSON where it had a bare text; ids of channels are strings here.
//!
//! Bodies are JSON whatever their Content-Type says, as they were: `curl -d` says that it sends a form.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use logplex_core::Chain;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::auth::ApiKey;
use super::management::{
    Answer, Payload, blocking, check_name, check_token_names, current_tokens, drain_id, drain_json, error,
    is_name, parse, refused,
};
use super::sessions::{make_session, session_of};
use super::{App, text};
use crate::hub::HubError;
use crate::store::{DrainRecord, TokenRecord};

/// Where syslog goes if only a host is given; the original's.
const SYSLOG_PORT: u16 = 514;

#[derive(Default, Deserialize)]
struct ChannelBody {
    #[serde(default)]
    name: String,
    #[serde(default)]
    tokens: Vec<String>,
}

/// Makes a channel. Its id is the name where that can be one and is free; names need not be unique in the
/// original, so another channel of that name gets a generated id, as one without a name does.
pub(super) async fn post_channel(_: ApiKey, State(app): State<Arc<App>>, Payload(body): Payload) -> Answer {
    let body: ChannelBody = if body.is_empty() { ChannelBody::default() } else { parse(&body)? };
    check_token_names(&body.tokens)?;
    let made = blocking(move || {
        if is_name(&body.name) {
            match app.hub.create_channel(&body.name, &body.tokens) {
                Err(HubError::Exists) => {}
                made => return made.map(|record| (body.name, record)),
            }
        }
        let id = Uuid::new_v4().to_string();
        app.hub.create_channel(&id, &body.tokens).map(|record| (id, record))
    });
    let (id, record) = made.await.map_err(refused)?;
    let tokens: Map<String, Value> =
        record.tokens.into_iter().map(|token| (token.name.to_string(), token.id.as_ref().into())).collect();
    Ok(created(json!({ "channel_id": id, "tokens": tokens })))
}

pub(super) async fn get_channel(_: ApiKey, State(app): State<Arc<App>>, Path(id): Path<String>) -> Answer {
    let record = app.hub.record(&id).ok_or_else(not_found)?;
    let token = |token: &TokenRecord| json!({ "name": token.name, "token": token.id });
    let tokens: Vec<Value> = current_tokens(&record).map(token).collect();
    let drains: Vec<Value> =
        record.drains.iter().filter(|drain| drain.url.is_some()).map(drain_json).collect();
    Ok(axum::Json(json!({ "channel_id": id, "tokens": tokens, "drains": drains })).into_response())
}

pub(super) async fn delete_channel(_: ApiKey, State(app): State<Arc<App>>, Path(id): Path<String>) -> Answer {
    match blocking(move || app.hub.remove_channel(&id)).await {
        Err(HubError::NotFound) => Err(not_found()),
        removed => removed.map(|()| StatusCode::OK.into_response()).map_err(refused),
    }
}

#[derive(Deserialize)]
struct TokenBody {
    name: Option<Value>,
}

pub(super) async fn post_token(
    _: ApiKey,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Payload(body): Payload,
) -> Answer {
    let TokenBody { name: Some(Value::String(name)) } = parse(&body)? else {
        return Err(error(StatusCode::UNPROCESSABLE_ENTITY, "NAME is a required field"));
    };
    check_name("token name", &name)?;
    match blocking(move || app.hub.add_token(&id, &name)).await {
        Err(HubError::NotFound) => Err(not_found()),
        made => {
            let token = made.map_err(refused)?;
            Ok(created(json!({ "name": token.name, "token": token.id })))
        }
    }
}

#[derive(Deserialize)]
struct DrainBody {
    url: Option<String>,
    host: Option<String>,
    port: Option<Value>,
}

impl DrainBody {
    /// The URL that was given, or the one that a host and a port stand for.
    fn into_url(self) -> Result<String, Response> {
        let invalid =
            |why: &str| error(StatusCode::UNPROCESSABLE_ENTITY, &format!("Invalid drain destination: {why}"));
        let host = match (self.url, self.host) {
            (Some(url), _) => return Ok(url),
            (None, Some(host)) => host,
            (None, None) => return Err(invalid("give a url, or a host and a port")),
        };
        let port = match &self.port {
            None | Some(Value::Null) => Some(SYSLOG_PORT),
            Some(Value::Number(port)) => port.as_u64().and_then(|port| u16::try_from(port).ok()),
            Some(Value::String(port)) => port.parse().ok(),
            Some(_) => None,
        };
        let port = port.ok_or_else(|| invalid("the port is not a number from 1 to 65535"))?;
        // An IPv6 address has its brackets in a URL only.
        Ok(if host.contains(':') && !host.starts_with('[') {
            format!("syslog://[{host}]:{port}")
        } else {
            format!("syslog://{host}:{port}")
        })
    }
}

pub(super) async fn post_drain(
    _: ApiKey,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Payload(body): Payload,
) -> Answer {
    let url = parse::<DrainBody>(&body)?.into_url()?;
    let drain = blocking(move || app.hub.add_drain(&id, Some(&url))).await;
    drain_answer(drain, "No such channel")
}

/// Gives a drain its URL, or another one.
pub(super) async fn post_drain_url(
    _: ApiKey,
    State(app): State<Arc<App>>,
    Path((id, drain)): Path<(String, String)>,
    Payload(body): Payload,
) -> Answer {
    let url = parse::<DrainBody>(&body)?.into_url()?;
    let drain = match drain_id(&drain) {
        Ok(drain) => blocking(move || app.hub.set_drain(&id, drain, &url)).await,
        Err(_no_id) => Err(HubError::NotFound),
    };
    drain_answer(drain, "Unknown drain.")
}

pub(super) async fn delete_drain(
    _: ApiKey,
    State(app): State<Arc<App>>,
    Path((id, drain)): Path<(String, String)>,
) -> Answer {
    let removed = match drain_id(&drain) {
        Ok(drain) => blocking(move || app.hub.remove_drain(&id, drain)).await,
        Err(_no_id) => Err(HubError::NotFound),
    };
    match removed {
        Err(HubError::NotFound) => Err(error(StatusCode::NOT_FOUND, "Not found")),
        removed => removed.map(|()| StatusCode::OK.into_response()).map_err(refused),
    }
}

/// Makes a drain without a URL; its token can be told to who runs the destination.
pub(super) async fn reserve_drain(_: ApiKey, State(app): State<Arc<App>>, Path(id): Path<String>) -> Answer {
    match blocking(move || app.hub.add_drain(&id, None)).await {
        Err(HubError::NotFound) => Err(error(StatusCode::NOT_FOUND, "No such channel")),
        made => {
            let mut answer = drain_json(&made.map_err(refused)?);
            answer["msg"] = "Successfully reserved drain token".into();
            Ok(created(answer))
        }
    }
}

pub(super) async fn post_session(_: ApiKey, State(app): State<Arc<App>>, Payload(body): Payload) -> Answer {
    let url = format!("{}/sessions/{}", app.public_url, make_session(&app, session_of(&body)?).await?);
    Ok(created(json!({ "url": url })))
}

/// A session whose URL has no host: for a probe that stays with the machine it asked.
pub(super) async fn post_canary_session(
    _: ApiKey,
    State(app): State<Arc<App>>,
    Payload(body): Payload,
) -> Answer {
    let url = format!("/v2/canary-fetch/{}", make_session(&app, session_of(&body)?).await?);
    Ok(created(json!({ "url": url })))
}

/// The routes of the first API, which the original itself calls deprecated.
pub(super) async fn first_api() -> Response {
    let help = "This route of the first API is not served; use the one under /v2 or /v3 that does the same\n";
    text(StatusCode::NOT_IMPLEMENTED, help)
}

fn drain_answer(drain: Result<DrainRecord, HubError>, not_found: &str) -> Answer {
    match drain {
        Ok(drain) => Ok(created(drain_json(&drain))),
        Err(HubError::NotFound) => Err(error(StatusCode::NOT_FOUND, not_found)),
        Err(HubError::Exists) => Err(error(StatusCode::CONFLICT, "Already exists")),
        Err(HubError::TooManyDrains) => {
            let text = "You have already added the maximum number of drains allowed";
            Err(error(StatusCode::UNPROCESSABLE_ENTITY, text))
        }
        Err(HubError::Destination(problem)) => {
            let text = format!("Invalid drain destination: {}", Chain(&problem));
            Err(error(StatusCode::UNPROCESSABLE_ENTITY, &text))
        }
        Err(problem) => Err(refused(problem)),
    }
}

fn created(answer: Value) -> Response {
    (StatusCode::CREATED, axum::Json(answer)).into_response()
}

fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, "Not Found")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::DrainBody;

    fn url(body: Value) -> Option<String> {
        serde_json::from_value::<DrainBody>(body).expect("an object").into_url().ok()
    }

    #[test]
    fn a_host_and_a_port_stand_for_a_syslog_url() {
        for (body, expected) in [
            (json!({ "host": "h.example" }), Some("syslog://h.example:514")),
            (json!({ "host": "h.example", "port": 601 }), Some("syslog://h.example:601")),
            (json!({ "host": "h.example", "port": "601" }), Some("syslog://h.example:601")),
            (json!({ "host": "2001:db8::1", "port": null }), Some("syslog://[2001:db8::1]:514")),
            (json!({ "host": "[2001:db8::1]" }), Some("syslog://[2001:db8::1]:514")),
            (json!({ "host": "h.example", "url": "https://h.example/" }), Some("https://h.example/")),
            (json!({ "host": "h.example", "port": 65536 }), None),
            (json!({ "host": "h.example", "port": "x" }), None),
            (json!({ "host": "h.example", "port": [] }), None),
            (json!({ "port": 514 }), None),
            (json!({}), None),
        ] {
            assert_eq!(url(body.clone()).as_deref(), expected, "{body}");
        }
    }
}
