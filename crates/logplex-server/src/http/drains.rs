//! A channel's drains at work: how each fares, and the orders to pause and to resume.
//!
//! No full URL is shown here: it may hold secrets. Who made a drain gets it from the channel itself.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};

use super::App;
use super::auth::check_key;
use super::management::{blocking, refused};
use crate::drain::{Drain, DrainStatus};
use crate::hub::HubError;

type Answer = Result<Response, Response>;

/// All drains with a URL, in the order they were added.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Path(channel): Path<String>,
    headers: HeaderMap,
) -> Answer {
    check_key(&app, &headers)?;
    let channel = app.hub.channel(&channel).ok_or_else(|| refused(HubError::NotFound))?;
    let drains: Vec<DrainStatus> = channel.drains().iter().map(|drain| drain.status()).collect();
    Ok(axum::Json(drains).into_response())
}

pub(super) async fn status(
    State(app): State<Arc<App>>,
    Path((channel, drain)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    check_key(&app, &headers)?;
    let channel = app.hub.channel(&channel).ok_or_else(|| refused(HubError::NotFound))?;
    let drain = channel.drain(drain_id(&drain)?).ok_or_else(|| refused(HubError::NotFound))?;
    Ok(answer(&drain))
}

pub(super) async fn pause(
    State(app): State<Arc<App>>,
    Path((channel, drain)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    set_paused(app, channel, &drain, &headers, true).await
}

pub(super) async fn resume(
    State(app): State<Arc<App>>,
    Path((channel, drain)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    set_paused(app, channel, &drain, &headers, false).await
}

async fn set_paused(
    app: Arc<App>,
    channel: String,
    drain: &str,
    headers: &HeaderMap,
    paused: bool,
) -> Answer {
    check_key(&app, headers)?;
    let drain = drain_id(drain)?;
    let drain = blocking(move || app.hub.pause_drain(&channel, drain, paused)).await.map_err(refused)?;
    Ok(answer(&drain))
}

fn answer(drain: &Drain) -> Response {
    axum::Json(drain.status()).into_response()
}

fn drain_id(text: &str) -> Result<u64, Response> {
    text.parse().map_err(|_| refused(HubError::NotFound))
}
