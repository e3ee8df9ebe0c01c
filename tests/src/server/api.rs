//! What a test asks of a running server over HTTP.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::{Value, json};

use super::{API_KEY, Server};
use crate::client::{Connection, Response, basic, request};
use crate::frame::numbered_frames;
use crate::metrics::Metrics;
use crate::wait::wait_for;

/// A drain as the server named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    /// Its id in paths.
    pub id: String,
    /// Its token, `d.` and a UUID.
    pub token: String,
}

impl Server {
    /// Asks the management API, with the key; the answer may have any status.
    ///
    /// # Panics
    /// When there is no answer.
    #[track_caller]
    pub fn api(&self, method: &str, path: &str, body: Option<&Value>) -> Response {
        let key = format!("Bearer {API_KEY}");
        let mut headers = vec![("Authorization", key.as_str())];
        if body.is_some() {
            headers.push(("Content-Type", "application/json"));
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        self.call(method, path, &headers, body.as_bytes())
    }

    /// Any request, with these header fields and no others; the answer may have any status.
    ///
    /// # Panics
    /// When there is no answer.
    #[track_caller]
    pub fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        match request(self.address(), method, path, headers, body) {
            Ok(response) => response,
            Err(error) => panic!("no answer to {method} {path}: {error}"),
        }
    }

    /// Makes a channel with one token, called `app`; the token.
    ///
    /// # Panics
    /// When the server refuses.
    #[track_caller]
    pub fn create_app(&self, channel: &str) -> String {
        self.create_channel(channel, &["app"]).remove("app").expect("the token that was asked for")
    }

    /// Makes a channel with tokens of these names (or sets those of one that is there); the tokens by name.
    ///
    /// # Panics
    /// When the server refuses.
    #[track_caller]
    pub fn create_channel(&self, id: &str, names: &[&str]) -> BTreeMap<String, String> {
        let body = json!({ "tokens": names });
        let reply = self.api("PUT", &format!("/v3/channels/{id}"), Some(&body)).expect(&[200, 201]).json();
        let tokens = reply["tokens"].as_object().unwrap_or_else(|| panic!("no tokens: {reply}"));
        let text = |value: &Value| value.as_str().expect("a token is a string").to_owned();
        tokens.iter().map(|(name, token)| (name.clone(), text(token))).collect()
    }

    /// Adds a drain to a channel.
    ///
    /// # Panics
    /// When the server refuses.
    #[track_caller]
    pub fn add_drain(&self, channel: &str, url: &str) -> Drain {
        let path = format!("/v3/channels/{channel}/drains");
        let reply = self.api("POST", &path, Some(&json!({ "url": url }))).expect(&[201]).json();
        // An id is a number in the original and may be a string here: in a path it is the same.
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Drain { id: text(&reply["id"]), token: text(&reply["token"]) }
    }

    /// A drain's status: the answer of `GET /v3/channels/:id/drains/:D`.
    ///
    /// # Panics
    /// When the server refuses.
    #[track_caller]
    pub fn drain_status(&self, channel: &str, drain: &Drain) -> Value {
        self.api("GET", &format!("/v3/channels/{channel}/drains/{}", drain.id), None).expect(&[200]).json()
    }

    /// Pauses or resumes a drain (`order` is the last part of the path); the status that is answered.
    ///
    /// # Panics
    /// When the server refuses.
    #[track_caller]
    pub fn order_drain(&self, channel: &str, drain: &Drain, order: &str) -> Value {
        let path = format!("/v3/channels/{channel}/drains/{}/{order}", drain.id);
        self.api("POST", &path, None).expect(&[200]).json()
    }

    /// Waits until a drain is in a state, and returns its status then.
    ///
    /// # Panics
    /// When that does not come.
    #[track_caller]
    pub fn wait_drain_state(&self, channel: &str, drain: &Drain, state: &str) -> Value {
        wait_for(&format!("a drain that is {state}"), || {
            Some(self.drain_status(channel, drain)).filter(|status| status["state"] == state)
        })
    }

    /// Makes a session of a channel, with further members such as `{"tail": true, "num": "0"}`; its URL.
    ///
    /// # Panics
    /// When the server refuses.
    #[track_caller]
    pub fn create_session(&self, channel: &str, extras: Value) -> String {
        let mut body = json!({ "channel_id": channel });
        if let (Value::Object(body), Value::Object(extras)) = (&mut body, extras) {
            body.extend(extras);
        }
        let reply = self.api("POST", "/v3/sessions", Some(&body)).expect(&[201]).json();
        reply["url"].as_str().unwrap_or_else(|| panic!("no url: {reply}")).to_owned()
    }

    /// Posts a body to `/logs` under a token, as `application/logplex-1` unless `headers` say otherwise; the answer
    /// may have any status.
    ///
    /// # Panics
    /// When there is no answer.
    #[track_caller]
    pub fn post_logs(&self, token: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String) {
        let response = self.post_logs_on(&mut self.connect(), token, headers, body);
        (response.status, response.text())
    }

    /// As [`Server::post_logs`], on a connection that is kept.
    ///
    /// # Panics
    /// When there is no answer.
    #[track_caller]
    pub fn post_logs_on(
        &self,
        connection: &mut Connection,
        token: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        let credentials = basic("token", token);
        let given = |name: &str| headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
        let mut all = headers.to_vec();
        if !given("authorization") {
            all.push(("Authorization", &credentials));
        }
        if !given("content-type") {
            all.push(("Content-Type", "application/logplex-1"));
        }
        match connection.request("POST", "/logs", &all, body) {
            Ok(response) => response,
            Err(error) => panic!("no answer to POST /logs: {error}"),
        }
    }

    /// Posts `n` numbered lines (`line FIRST` and on, from `app[web.1]`) in one request.
    ///
    /// # Panics
    /// When the server does not take them.
    #[track_caller]
    pub fn post_lines(&self, token: &str, first: u64, n: u64) {
        self.post_lines_on(&mut self.connect(), token, first, n);
    }

    /// As [`Server::post_lines`], on a connection that is kept: what comes on one connection keeps its order.
    ///
    /// # Panics
    /// When the server does not take them.
    #[track_caller]
    pub fn post_lines_on(&self, connection: &mut Connection, token: &str, first: u64, n: u64) {
        let (body, count) = (numbered_frames(first..first + n), n.to_string());
        self.post_logs_on(connection, token, &[("Logplex-Msg-Count", &count)], &body).expect(&[204]);
    }

    /// Posts the numbered lines `lines` in requests of at most `batch`, on one connection.
    ///
    /// # Panics
    /// When the server does not take them.
    #[track_caller]
    pub fn post_batches(&self, token: &str, lines: Range<u64>, batch: u64) {
        let mut connection = self.connect();
        let mut first = lines.start;
        while first < lines.end {
            let n = batch.min(lines.end - first);
            self.post_lines_on(&mut connection, token, first, n);
            first += n;
        }
    }

    /// Opens a connection to it.
    ///
    /// # Panics
    /// When it does not listen.
    #[track_caller]
    pub fn connect(&self) -> Connection {
        Connection::open(self.address()).expect("the server listens")
    }

    /// Its counters now.
    ///
    /// # Panics
    /// When the page cannot be had or read.
    #[track_caller]
    pub fn metrics(&self) -> Metrics {
        Metrics::parse(&self.api("GET", "/metrics", None).expect(&[200]).text())
    }
}
