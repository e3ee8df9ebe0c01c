//! Who is asking: Basic or Bearer, the scheme's name in any case.

use std::sync::{Arc, Mutex};

use axum::extract::FromRequestParts;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;

use super::App;
use crate::channel::Token;
use crate::hub::Hub;
use crate::mailbox::lock;

/// The longest value that is looked at; far above any secret of ours.
const HEADER_MAX: usize = 4096;

/// What an `Authorization` header holds.
enum Credentials {
    Bearer(String),
    Basic { user: String, password: String },
}

fn credentials(headers: &HeaderMap) -> Option<Credentials> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok().filter(|value| value.len() <= HEADER_MAX)?;
    let (scheme, rest) = value.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Credentials::Bearer(rest.to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let mut user = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
    let password = user.split_off(user.find(':')? + 1);
    user.pop();
    Some(Credentials::Basic { user, password })
}

/// The token that came last over one connection. Most have but one, and to compare its header costs less than to
/// decode, hash and look it up each time.
#[derive(Default)]
pub(crate) struct LastToken(Mutex<Option<Known>>);

struct Known {
    header: Box<[u8]>,
    token: Arc<Token>,
}

impl LastToken {
    /// The token of an ingest request, if it may be used: Basic's password or Bearer.
    pub(super) fn of(&self, hub: &Hub, headers: &HeaderMap) -> Option<Arc<Token>> {
        let header = headers.get(AUTHORIZATION)?.as_bytes();
        let mut last = lock(&self.0);
        if let Some(known) = &*last
            && bool::from(known.header.ct_eq(header))
            && known.token.is_valid()
        {
            return Some(known.token.clone());
        }
        let token = credentials(headers).and_then(|credentials| {
            hub.token(&match credentials {
                Credentials::Bearer(token) => token,
                // `curl -u t.…:` is what people type; the documented form has the token as password.
                Credentials::Basic { user, password } if password.is_empty() => user,
                Credentials::Basic { password, .. } => password,
            })
        });
        *last = token.clone().map(|token| Known { header: header.into(), token });
        token
    }
}

/// Whether the request carries an API key: Bearer, or Basic's password with any user.
pub(super) fn check_key(app: &App, headers: &HeaderMap) -> Result<(), Response> {
    let key = match credentials(headers) {
        Some(Credentials::Bearer(key)) => Some(key),
        Some(Credentials::Basic { password, .. }) => Some(password),
        None => None,
    };
    match key {
        Some(key) if app.hub.knows_key(&key) => Ok(()),
        _ => Err(unauthorized("give an API key as Bearer, or as Basic password\n")),
    }
}

/// Proof that the request carries an API key. Named first among a handler's arguments it goes first: nothing else
/// of the request is looked at before, its body least of all.
#[derive(Debug)]
pub(super) struct ApiKey;

impl FromRequestParts<Arc<App>> for ApiKey {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<ApiKey, Response> {
        check_key(app, &parts.headers)?;
        Ok(ApiKey)
    }
}

pub(super) fn unauthorized(help: &'static str) -> Response {
    (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Basic realm=Logplex")], help).into_response()
}
