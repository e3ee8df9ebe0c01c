//! The command's side of the management API: one request, one JSON answer.

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use logplex_core::outlet::{Trust, tls_config};
use serde_json::Value;

use crate::config::{Secret, base_url};

/// The largest answer that is read.
const ANSWER_MAX: usize = 8 * 1024 * 1024;

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

    /// Posts JSON and returns the answer's.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let uri: Uri = format!("{}{path}", self.base).parse().context("the URL is not usable")?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(uri)
            .header("authorization", format!("Bearer {}", self.key.expose()))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.to_string())))
            .context("the key is not usable in a header")?;
        let response = self
            .http
            .request(request)
            .await
            .with_context(|| format!("cannot reach the server at {}", self.base))?;
        let status = response.status();
        let answer = Limited::new(response.into_body(), ANSWER_MAX)
            .collect()
            .await
            .map_err(|error| anyhow::anyhow!("the server's answer was cut short: {error}"))?
            .to_bytes();
        if status == StatusCode::UNAUTHORIZED {
            bail!(
                "the server refused the API key: set LOGPLEX_API_KEY to the key it showed at its first start"
            );
        }
        let answer: Value = serde_json::from_slice(&answer).unwrap_or(Value::Null);
        if !status.is_success() {
            let problem = answer["error"].as_str().unwrap_or("no reason given");
            bail!(Refused { status, problem: problem.to_owned() });
        }
        Ok(answer)
    }
}

/// The server said no; asking again will not help.
#[derive(Debug, thiserror::Error)]
#[error("the server answered {status}: {problem}")]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    pub(crate) problem: String,
}
