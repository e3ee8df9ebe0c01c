//! The catalogue of the platform's error codes, for who shows lines that have them.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use logplex_core::ErrorCode;
use logplex_core::code::Entry;
use serde_json::{Value, json};

use super::auth::ApiKey;
use super::management::{Answer, error};

/// What is known of one code, page or failed deployment.
pub(super) async fn get_code(_: ApiKey, Path(name): Path<String>) -> Answer {
    let entry = Entry::find(&name).ok_or_else(|| error(StatusCode::NOT_FOUND, "there is no such code"))?;
    Ok(axum::Json(as_json(entry)).into_response())
}

/// An entry of the catalogue, as `logplex explain --json` and the API say it.
pub(crate) fn as_json(entry: &Entry) -> Value {
    json!({
        "name": entry.name,
        "code": ErrorCode::from_name(entry.name.as_bytes()).map(ErrorCode::as_str),
        "title": entry.title,
        "severity": entry.severity.as_str(),
        "fault": entry.fault.as_str(),
        "state": entry.state.as_str(),
        "statuses": entry.statuses,
        "meaning": entry.meaning,
        "checks": entry.checks,
        "tail": entry.tail,
        "example": entry.example,
    })
}
