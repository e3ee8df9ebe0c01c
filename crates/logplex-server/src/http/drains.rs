//! A channel's drains at work: how each fares, and the orders to pause and to resume.
//!
//! No full URL is shown here: it may hold secrets. Who made a drain gets it from the channel itself.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use logplex_core::outlet::ProbeStep;
use serde_json::{Value, json};

use super::App;
use super::auth::ApiKey;
use super::management::{Answer, blocking, drain_id, refused};
use crate::drain::{Drain, DrainStatus};
use crate::hub::HubError;

/// All drains with a URL, in the order they were added.
pub(super) async fn list(_: ApiKey, State(app): State<Arc<App>>, Path(channel): Path<String>) -> Answer {
    let channel = app.hub.channel(&channel).ok_or_else(|| refused(HubError::NotFound))?;
    let drains: Vec<DrainStatus> = channel.drains().iter().map(|drain| drain.status()).collect();
    Ok(axum::Json(drains).into_response())
}

pub(super) async fn status(
    _: ApiKey,
    State(app): State<Arc<App>>,
    Path((channel, drain)): Path<(String, String)>,
) -> Answer {
    let drain = find(&app, &channel, &drain)?;
    Ok(answer(&drain))
}

pub(super) async fn pause(
    _: ApiKey,
    State(app): State<Arc<App>>,
    Path((channel, drain)): Path<(String, String)>,
) -> Answer {
    set_paused(app, channel, &drain, true).await
}

pub(super) async fn resume(
    _: ApiKey,
    State(app): State<Arc<App>>,
    Path((channel, drain)): Path<(String, String)>,
) -> Answer {
    set_paused(app, channel, &drain, false).await
}

/// Sends one marked line; the answer says how far it came.
pub(super) async fn test(
    _: ApiKey,
    State(app): State<Arc<App>>,
    Path((channel, drain)): Path<(String, String)>,
) -> Answer {
    let steps = find(&app, &channel, &drain)?.test().await;
    Ok(axum::Json(json!({ "ok": is_fine(&steps), "report": report(&steps) })).into_response())
}

pub(super) fn is_fine(steps: &[ProbeStep]) -> bool {
    !steps.is_empty() && steps.iter().all(|step| step.outcome.is_ok())
}

/// What a probe found, step by step.
pub(super) fn report(steps: &[ProbeStep]) -> Value {
    let shown = |step: &ProbeStep| {
        let (Ok(detail) | Err(detail)) = &step.outcome;
        let milliseconds = step.took.as_millis() as u64;
        json!({ "step": step.name, "ok": step.outcome.is_ok(), "detail": detail, "ms": milliseconds })
    };
    json!({ "steps": steps.iter().map(shown).collect::<Vec<_>>() })
}

async fn set_paused(app: Arc<App>, channel: String, drain: &str, paused: bool) -> Answer {
    let drain = drain_id(drain)?;
    let drain = blocking(move || app.hub.pause_drain(&channel, drain, paused)).await.map_err(refused)?;
    Ok(answer(&drain))
}

/// The drain of that channel, and of no other.
fn find(app: &App, channel: &str, drain: &str) -> Result<Arc<Drain>, Response> {
    let id = drain_id(drain)?;
    let found = app.hub.channel(channel).and_then(|channel| channel.drain(id));
    found.ok_or_else(|| refused(HubError::NotFound))
}

fn answer(drain: &Drain) -> Response {
    axum::Json(drain.status()).into_response()
}
