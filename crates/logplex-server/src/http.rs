//! The HTTP surfaces: one file each, joined here.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::ALLOW;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, delete, get, post, put};
use tokio::sync::Semaphore;

use crate::hub::Hub;
use crate::metrics::Rejections;
use crate::rate::RateLimit;
use crate::syslog::SyslogCounts;
use crate::tasks::Tasks;

mod auth;
mod caller;
mod codes;
mod drains;
mod heroku;
mod ingest;
mod management;
mod operations;
mod page;
mod sessions;
mod tokens;
pub(crate) mod top;
mod v2;

use auth::LastToken;
pub(crate) use caller::Caller;
pub(crate) use codes::as_json;
pub(crate) use ingest::{LARGE_BODIES, is_posted, post_logs};
pub(crate) use management::encode_segment;

/// What every handler may use.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) hub: Hub,
    /// Tasks that end when tails must: the sessions.
    pub(crate) tails: Tasks,
    /// What is handed out as this server's address, without a final slash.
    pub(crate) public_url: String,
    /// Set once the stop has begun: not ready, and no new work.
    pub(crate) stopping: AtomicBool,
    pub(crate) rejections: Rejections,
    /// What came over syslog.
    pub(crate) syslog: SyslogCounts,
    /// Places for bodies that are large; see `ingest`.
    pub(crate) large_bodies: Semaphore,
    /// Places for those who measure all channels.
    pub(crate) tops: Semaphore,
    /// How long a body may take to arrive.
    pub(crate) body_timeout: Duration,
    pub(crate) rate: Option<RateLimit>,
}

/// All routes but `POST /logs`, which [`ingest`] answers itself: through the router, its extractors and boxes a request
/// of 100 messages costs a twentieth more.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .merge(page::router())
        .route("/logs", any(|| method_not_allowed("POST")))
        .nest("/v3", v3_router())
        .nest("/v2", v2_router())
        .merge(first_router())
        .nest("/apps", heroku::router())
        .route("/sessions/{session}", get(sessions::stream))
        .route("/livez", get(operations::live))
        .route("/healthcheck", get(operations::live))
        .route("/readyz", get(operations::ready))
        .route("/metrics", get(operations::metrics))
        .fallback(not_found)
        .with_state(app)
}

fn v3_router() -> Router<Arc<App>> {
    Router::new()
        .route("/healthcheck", get(operations::live))
        .route("/channels", get(management::list_channels))
        .route(
            "/channels/{channel}",
            put(management::put_channel)
                .get(management::get_channel)
                .delete(management::delete_channel)
                .head(|| method_not_allowed("PUT,GET,DELETE")),
        )
        .route("/channels/{channel}/tokens", get(tokens::list_tokens).post(tokens::post_token))
        .route("/channels/{channel}/tokens/{token}", delete(tokens::delete_token))
        .route("/channels/{channel}/tokens/{token}/old", delete(tokens::delete_replaced))
        .route("/channels/{channel}/tokens/{token}/rotate", post(tokens::rotate_token))
        .route(
            "/channels/{channel}/drains",
            post(management::post_drain).get(drains::list).head(|| method_not_allowed("POST,GET")),
        )
        .route(
            "/channels/{channel}/drains/{drain}",
            put(management::put_drain)
                .delete(management::delete_drain)
                .get(drains::status)
                .head(|| method_not_allowed("PUT,DELETE,GET")),
        )
        .route("/channels/{channel}/drains/{drain}/test", post(drains::test))
        .route("/channels/{channel}/drains/{drain}/pause", post(drains::pause))
        .route("/channels/{channel}/drains/{drain}/resume", post(drains::resume))
        .route("/channels/{channel}/logs", get(management::get_logs).head(|| method_not_allowed("GET")))
        .route("/channels/{channel}/stats", get(management::get_stats).head(|| method_not_allowed("GET")))
        .route("/channels/{channel}/codes", get(management::get_codes).head(|| method_not_allowed("GET")))
        .route("/channels/{channel}/sessions", delete(sessions::delete_sessions))
        .route("/top", get(top::get_top).head(|| method_not_allowed("GET")))
        .route("/sessions", post(sessions::post_session))
        .route("/sessions/{session}", delete(sessions::delete_session))
        .route("/codes/{name}", get(codes::get_code))
        .fallback(not_found)
        .layer(axum::middleware::from_fn(request_id))
}

fn v2_router() -> Router<Arc<App>> {
    Router::new()
        .route("/channels", post(v2::post_channel))
        .route("/channels/{channel}", get(v2::get_channel).delete(v2::delete_channel))
        .route("/channels/{channel}/tokens", post(v2::post_token))
        .route("/channels/{channel}/drains", post(v2::post_drain))
        .route("/channels/{channel}/drains/{drain}", post(v2::post_drain_url).delete(v2::delete_drain))
        .route("/sessions", post(v2::post_session))
        .route("/canary-sessions", post(v2::post_canary_session))
        .route("/canary-fetch/{session}", get(sessions::stream))
        .fallback(not_found)
        .layer(axum::middleware::from_fn(request_id))
}

/// Of the first API what `/v2` never had; the rest says where to go.
fn first_router() -> Router<Arc<App>> {
    Router::new()
        .route("/channels", post(v2::post_channel))
        .route("/channels/{channel}/drains/tokens", post(v2::reserve_drain))
        .layer(axum::middleware::from_fn(request_id))
        .route("/channels/{channel}", any(v2::first_api))
        .route("/channels/{channel}/info", any(v2::first_api))
        .route("/channels/{channel}/token", any(v2::first_api))
        .route("/channels/{channel}/drains", any(v2::first_api))
        .route("/channels/{channel}/drains/{drain}", any(v2::first_api))
        .route("/sessions", any(v2::first_api))
}

async fn not_found() -> Response {
    text(StatusCode::NOT_FOUND, "Not found\n")
}

/// To HEAD, which the original answers so where it answers GET.
async fn method_not_allowed(allowed: &'static str) -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, allowed)]).into_response()
}

fn text(status: StatusCode, body: impl Into<String>) -> Response {
    (status, body.into()).into_response()
}

/// Management answers carry a `request-id` unless the client named its request itself.
async fn request_id(request: axum::extract::Request, next: axum::middleware::Next) -> Response {
    let wanted = !request.headers().contains_key("request-id");
    let mut response = next.run(request).await;
    if wanted && let Ok(id) = uuid::Uuid::new_v4().to_string().parse() {
        response.headers_mut().insert("request-id", id);
    }
    response
}
