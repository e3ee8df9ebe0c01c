//! The part of Heroku's Platform API that `heroku logs` and `heroku drains` use, so that the unmodified CLI and other
//! clients of that API work here: `HEROKU_HOST` is this server, `HEROKU_API_KEY` one of its keys.
//!
//! An app is a channel. Both apps and drains also have ids there, UUIDs, which are computed and stored nowhere: an
//! app's is made of its name, a drain's is the one in its token. Nothing here knows when something was made, so only
//! a session has times. What is refused is answered as `{"id","message"}`, which the CLI shows.

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request, State};
use axum::http::header::{RANGE, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use chrono::{SecondsFormat, Utc};
use logplex_core::Chain;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::App;
use super::auth::check_key;
use super::management::{Answer, NAME_MAX, PAGE_MAX, blocking, encode_segment, read_body, told};
use super::sessions::{DEFAULT_NUM, is_true};
use crate::channel::Channel;
use crate::hub::{HubError, hash};
use crate::store::{DrainRecord, SessionRecord};

/// The routes below `/apps`.
pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(list_apps))
        .route("/{app}", get(get_app))
        .route("/{app}/log-sessions", post(post_session))
        .route("/{app}/log-drains", get(list_drains).post(post_drain))
        .route("/{app}/log-drains/{drain}", get(get_drain).delete(delete_drain))
        .route("/{app}/addons/{addon}", get(get_addon))
        .fallback(no_route)
        .method_not_allowed_fallback(no_route)
        .layer(axum::middleware::map_response(request_id))
}

async fn no_route() -> Response {
    error(StatusCode::NOT_FOUND, "not_found", "There is no such route; see docs/api.md for those that are.")
}

/// The CLI gathers these over the requests of one command.
async fn request_id(mut response: Response) -> Response {
    if let Ok(id) = Uuid::new_v4().to_string().parse() {
        response.headers_mut().insert("request-id", id);
    }
    response
}

// === Apps ===

/// All apps in the order of their names, by pages: where there are more, 206 and in `Next-Range` what to send as
/// `Range` for the next page.
async fn list_apps(_: Key, State(app): State<Arc<App>>, headers: HeaderMap) -> Answer {
    let range = headers.get(RANGE).and_then(|range| range.to_str().ok()).unwrap_or_default();
    let (after, limit) = page(range);
    let (channels, more) = app.hub.list_channels(&after, limit);
    let apps: Vec<Value> = channels.iter().map(|(name, _)| app_json(name)).collect();
    match channels.last().filter(|_| more) {
        Some((last, _)) => {
            let next = [("next-range", format!("name ]{}..; max={limit}", encode_segment(last)))];
            Ok((StatusCode::PARTIAL_CONTENT, next, axum::Json(apps)).into_response())
        }
        None => Ok(axum::Json(apps).into_response()),
    }
}

/// Which page a `Range` asks for: that after an app's name, and of how many apps. Ours is `name ]NAME..; max=N`;
/// of others, such as `id ..; max=1000`, only the number counts.
fn page(range: &str) -> (String, usize) {
    let (from, options) = range.split_once(';').unwrap_or((range, ""));
    let after =
        from.trim().strip_prefix("name ]").and_then(|from| from.split_once("..")).unwrap_or_default().0;
    let max = options.split([',', ';']).find_map(|option| option.trim().strip_prefix("max=")?.parse().ok());
    let after = percent_decode_str(after).decode_utf8_lossy().into_owned();
    (after, max.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX))
}

async fn get_app(_: Key, State(app): State<Arc<App>>, Path(name): Path<String>) -> Answer {
    let channel = channel(&app, &name).await?;
    Ok(axum::Json(app_json(&channel.id)).into_response())
}

/// There are no add-ons, and no drain has one.
async fn get_addon(_: Key, State(app): State<Arc<App>>, Path((name, _)): Path<(String, String)>) -> Answer {
    channel(&app, &name).await?;
    Err(not_found("add-on"))
}

/// An app's channel, by its name or its id.
async fn channel(app: &Arc<App>, name: &str) -> Result<Arc<Channel>, Response> {
    if let Some(channel) = app.hub.channel(name) {
        return Ok(channel);
    }
    let id = Uuid::parse_str(name).map_err(|_| not_found("app"))?;
    let app = app.clone();
    // Where there are very many channels this takes milliseconds.
    let found = blocking(move || {
        let mut channels = app.hub.channels().into_iter();
        channels.find(|channel| app_id(&channel.id) == id).ok_or(HubError::NotFound)
    });
    found.await.map_err(|problem| refused(problem, "app"))
}

/// A name-based UUID of version 8, made as in RFC 9562, B.2.
fn app_id(name: &str) -> Uuid {
    let mut id = [0; 16];
    id.copy_from_slice(&hash(&format!("logplex app {name}"))[..16]);
    uuid::Builder::from_custom_bytes(id).into_uuid()
}

/// Without `generation` the CLI would go by the app's name.
fn app_json(name: &str) -> Value {
    json!({ "id": app_id(name).to_string(), "name": name, "generation": { "name": "cedar" } })
}

// === Sessions ===

/// Numbers and booleans come as such or as strings.
#[derive(Deserialize)]
struct SessionBody {
    lines: Option<Value>,
    tail: Option<Value>,
    source: Option<String>,
    /// One process such as `web.1`, or a type: the CLI's `--process-type` comes here as well.
    dyno: Option<String>,
    /// A type, from those who think that the app is of the generation `fir`.
    r#type: Option<String>,
}

async fn post_session(
    _: Key,
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Body(body): Body,
) -> Answer {
    let channel = channel(&app, &name).await?;
    let body: SessionBody = parse(&body)?;
    let num = match body.lines {
        None | Some(Value::Null) => Some(DEFAULT_NUM),
        Some(Value::Number(lines)) => lines.as_u64().and_then(|lines| u32::try_from(lines).ok()),
        Some(Value::String(lines)) => lines.trim().parse().ok(),
        Some(_) => None,
    };
    let num = num.ok_or_else(|| invalid("Lines must be a number, 0 or more"))?;
    let ps = body.dyno.or(body.r#type);
    if [&body.source, &ps].into_iter().flatten().any(|name| name.len() > NAME_MAX) {
        return Err(invalid(&format!("Source and dyno have at most {NAME_MAX} bytes")));
    }
    let tail = is_true(body.tail.as_ref());
    let now = Utc::now();
    let session = SessionRecord {
        channel: channel.id.as_ref().to_owned(),
        expires: now,
        num,
        tail,
        source: body.source,
        ps,
        ..SessionRecord::default()
    };
    let public_url = app.public_url.clone();
    let id = blocking(move || app.hub.add_session(session)).await;
    let id = id.map_err(|problem| refused(problem, "app"))?;
    // Old CLIs come back to a tail that was ended only if its URL says that it is one.
    let url = format!("{public_url}/sessions/{id}{}", if tail { "?tail=true" } else { "" });
    let at = now.to_rfc3339_opts(SecondsFormat::Secs, true);
    let answer = json!({ "id": id.to_string(), "created_at": at, "updated_at": at, "logplex_url": url });
    Ok((StatusCode::CREATED, axum::Json(answer)).into_response())
}

// === Drains ===

#[derive(Deserialize)]
struct DrainsQuery {
    extended: Option<String>,
}

async fn list_drains(
    _: Key,
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(query): Query<DrainsQuery>,
) -> Answer {
    let extended = query.extended.is_some_and(|extended| extended == "true");
    let drains = drains(&app, &*channel(&app, &name).await?)?;
    let drains: Vec<Value> = drains
        .iter()
        .map(|drain| {
            let mut answer = drain_json(drain);
            if extended {
                answer["extended"] = json!({ "drain_id": drain.id });
            }
            answer
        })
        .collect();
    Ok(axum::Json(drains).into_response())
}

#[derive(Deserialize)]
struct DrainBody {
    url: Option<String>,
}

async fn post_drain(
    _: Key,
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Body(body): Body,
) -> Answer {
    let channel = channel(&app, &name).await?;
    let DrainBody { url: Some(url) } = parse(&body)? else {
        return Err(invalid("Url is missing"));
    };
    let drain = blocking(move || app.hub.add_drain(&channel.id, Some(&url))).await;
    let drain = drain.map_err(|problem| refused(problem, "app"))?;
    Ok((StatusCode::CREATED, axum::Json(drain_json(&drain))).into_response())
}

async fn get_drain(
    _: Key,
    State(app): State<Arc<App>>,
    Path((name, drain)): Path<(String, String)>,
) -> Answer {
    let drains = drains(&app, &*channel(&app, &name).await?)?;
    Ok(axum::Json(drain_json(named(&drains, &drain)?)).into_response())
}

async fn delete_drain(
    _: Key,
    State(app): State<Arc<App>>,
    Path((name, drain)): Path<(String, String)>,
) -> Answer {
    let channel = channel(&app, &name).await?;
    let drains = drains(&app, &channel)?;
    let drain = named(&drains, &drain)?;
    let id = drain.id;
    let removed = blocking(move || app.hub.remove_drain(&channel.id, id)).await;
    removed.map_err(|problem| refused(problem, "log drain"))?;
    Ok(axum::Json(drain_json(drain)).into_response())
}

/// A channel's drains that have a URL; the others are only reserved.
fn drains(app: &App, channel: &Channel) -> Result<Vec<DrainRecord>, Response> {
    let mut drains = app.hub.record(&channel.id).ok_or_else(|| not_found("app"))?.drains;
    drains.retain(|drain| drain.url.is_some());
    Ok(drains)
}

/// The drain of that id, token or URL.
fn named<'a>(drains: &'a [DrainRecord], name: &str) -> Result<&'a DrainRecord, Response> {
    let url = |drain: &'a DrainRecord| drain.url.as_deref().unwrap_or_default();
    let is = |drain: &&'a DrainRecord| [drain_id(drain), &drain.token, url(drain)].contains(&name);
    if let Some(drain) = drains.iter().find(is) {
        return Ok(drain);
    }
    // The CLI puts the URL into a path as it is, so that its fragment, which holds the options, is not sent.
    let mut alike = drains.iter().filter(|drain| url(drain).split('#').next() == Some(name));
    match (alike.next(), alike.next()) {
        (Some(drain), None) => Ok(drain),
        (Some(_), Some(_)) => Err(invalid("Several drains have that URL with other options; use the token")),
        (None, _) => Err(not_found("log drain")),
    }
}

fn drain_id(drain: &DrainRecord) -> &str {
    drain.token.strip_prefix("d.").unwrap_or(&drain.token)
}

fn drain_json(drain: &DrainRecord) -> Value {
    json!({ "id": drain_id(drain), "token": drain.token, "url": drain.url, "addon": null })
}

// === Keys, bodies, errors ===

/// Proof that the request carries an API key; it goes first among a handler's arguments.
#[derive(Debug)]
struct Key;

impl FromRequestParts<Arc<App>> for Key {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Key, Response> {
        if check_key(app, &parts.headers).is_ok() {
            return Ok(Key);
        }
        let text = "Give one of this server's API keys as Bearer, or as Basic's password.";
        let answer = error(StatusCode::UNAUTHORIZED, "unauthorized", text);
        Err(([(WWW_AUTHENTICATE, "Basic realm=Logplex")], answer).into_response())
    }
}

/// A request's body, bounded in size and time.
#[derive(Debug)]
struct Body(Bytes);

impl FromRequest<Arc<App>> for Body {
    type Rejection = Response;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Body, Response> {
        read_body(request, app).await.map(Body).map_err(|(status, text)| error(status, "bad_request", &text))
    }
}

/// Reads a body that must be a JSON object, or nothing, whatever its type says: as strict as the CLI needs.
fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Response> {
    let bad = |why: &str| error(StatusCode::BAD_REQUEST, "bad_request", why);
    match body.trim_ascii_start() {
        [] => serde_json::from_slice(b"{}").map_err(|problem| bad(&problem.to_string())),
        [b'{', ..] => serde_json::from_slice(body).map_err(|problem| bad(&problem.to_string())),
        _ => Err(bad("The body is not a JSON object.")),
    }
}

fn error(status: StatusCode, id: &str, message: &str) -> Response {
    (status, axum::Json(json!({ "id": id, "message": message }))).into_response()
}

fn invalid(message: &str) -> Response {
    error(StatusCode::UNPROCESSABLE_ENTITY, "invalid_params", message)
}

fn not_found(what: &str) -> Response {
    error(StatusCode::NOT_FOUND, "not_found", &format!("Couldn't find that {what}."))
}

fn refused(problem: HubError, what: &str) -> Response {
    match problem {
        HubError::NotFound => not_found(what),
        HubError::Exists => invalid("Url has already been taken"),
        HubError::TooManyDrains => invalid("You have already added the maximum number of drains allowed"),
        HubError::Destination(problem) => invalid(&format!("Url is not usable: {}", Chain(&problem))),
        problem => {
            let (status, text) = told(&problem);
            let id = if status.is_server_error() { "internal_server_error" } else { "invalid_params" };
            error(status, id, &text)
        }
    }
}
