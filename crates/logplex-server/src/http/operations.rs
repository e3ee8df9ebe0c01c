//! What an operator's tools ask: alive, ready, metrics.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::{App, text};
use crate::metrics;

pub(super) async fn live() -> Response {
    text(StatusCode::OK, "OK")
}

/// Ready until the stop begins; what is needed before is loaded before the socket is bound.
pub(super) async fn ready(State(app): State<Arc<App>>) -> Response {
    if app.stopping.load(Ordering::Relaxed) {
        return text(StatusCode::SERVICE_UNAVAILABLE, "stopping");
    }
    text(StatusCode::OK, "OK")
}

pub(super) async fn metrics(State(app): State<Arc<App>>) -> Response {
    match metrics::render(&app) {
        Ok(body) => ([("content-type", metrics::CONTENT_TYPE)], body).into_response(),
        Err(_formatting) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
