//! The command's side of the management API: one request, one JSON answer.

use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, IF_NONE_MATCH};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use logplex_core::outlet::{Trust, tls_config};
use serde_json::Value;

use crate::config::{Secret, base_url};
use crate::follow::escape;

/// The largest answer that is read.
const ANSWER_MAX: usize = 8 * 1024 * 1024;

/// How long an answer may take: a drain that is tried out may need a resolver, a connection and a request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// A server's management API.
#[derive(Debug)]
pub(crate) struct ApiClient {
    base: String,
    key: Secret,
    http: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl ApiClient {
    pub(crate) fn new(base: &str, key: Secret) -> anyhow::Result<ApiClient> {
        let base = base_url("--url", base)?;
        // Plain http needs no roots, and a machine may have none.
        let trust = if base.starts_with("https:") { Trust::Platform } else { Trust::Insecure };
        let tls = tls_config(trust)?;
        let mut config = (*tls).clone();
        config.alpn_protocols.clear();
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build();
        Ok(ApiClient { base, key, http: Client::builder(TokioExecutor::new()).build(connector) })
    }

    /// The server's address, without a final slash.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Request::get(self.uri(path)?), None).await
    }

    /// Posts JSON and returns the answer's.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.call(Request::post(self.uri(path)?), Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.call(Request::put(self.uri(path)?), Some(body)).await
    }

    /// Puts what must not be there yet.
    pub(crate) async fn put_new(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.call(Request::put(self.uri(path)?).header(IF_NONE_MATCH, "*"), Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Request::builder().method(Method::DELETE).uri(self.uri(path)?), None).await
    }

    fn uri(&self, path: &str) -> anyhow::Result<Uri> {
        format!("{}{path}", self.base).parse().context("the URL is not usable")
    }

    async fn call(&self, request: http::request::Builder, body: Option<&Value>) -> anyhow::Result<Value> {
        let mut request = request.header(AUTHORIZATION, format!("Bearer {}", self.key.expose()));
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let request =
            request.body(Full::new(Bytes::from(body))).context("the key is not usable in a header")?;
        let answered = tokio::time::timeout(ANSWER_TIMEOUT, self.exchange(request)).await;
        let (status, answer) = answered.with_context(|| {
            format!("the server at {} did not answer within {} s", self.base, ANSWER_TIMEOUT.as_secs())
        })??;
        let json: Value = serde_json::from_slice(&answer).unwrap_or(Value::Null);
        if !status.is_success() {
            let mut problem = String::new();
            if status == StatusCode::UNAUTHORIZED {
                problem.push_str(
                    "it refused the API key; set LOGPLEX_API_KEY to the key it showed at its first start",
                );
                bail!(Refused { status, problem, answer: json });
            }
            escape(json["error"].as_str().unwrap_or("no reason given"), &mut problem);
            bail!(Refused { status, problem, answer: json });
        }
        Ok(json)
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> anyhow::Result<(StatusCode, Bytes)> {
        let response = self.http.request(request).await.with_context(|| {
            format!(
                "cannot reach the server at {}; is it running there? --url or LOGPLEX_URL says where it is",
                self.base
            )
        })?;
        let status = response.status();
        let answer = Limited::new(response.into_body(), ANSWER_MAX)
            .collect()
            .await
            .map_err(|error| anyhow::anyhow!("the server's answer was cut short: {error}"))?
            .to_bytes();
        Ok((status, answer))
    }
}

/// The server said no; asking again will not help.
#[derive(Debug, thiserror::Error)]
#[error("the server answered {status}: {problem}")]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    pub(crate) problem: String,
    /// All that it said, if that was JSON.
    pub(crate) answer: Value,
}

impl Refused {
    /// Whether what was named is not there. A session for no channel is refused as the original does it, with 422.
    pub(crate) fn is_not_there(&self) -> bool {
        self.status == StatusCode::NOT_FOUND
            || (self.status == StatusCode::UNPROCESSABLE_ENTITY
                && self.answer["error"] == "channel not found")
    }
}
