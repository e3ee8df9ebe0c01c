//! Many calls of the management API at once.

use std::thread;

use anyhow::{Context, anyhow, ensure};
use logplex_tests::{API_KEY, Connection, Response, Server};

/// Clients of the management API at work at once: what waits for the disk is written down together.
const CLIENTS: usize = 64;

/// Calls the management API for each number up to `count`, on several connections; the answers in the order of the
/// numbers.
///
/// # Errors
/// When a request fails, or is not answered with 2xx.
pub(crate) fn call_api(
    server: &Server,
    count: usize,
    request: impl Fn(usize) -> (&'static str, String, String) + Sync,
) -> anyhow::Result<Vec<Response>> {
    let key = format!("Bearer {API_KEY}");
    let headers = [("Authorization", key.as_str()), ("Content-Type", "application/json")];
    let client = |number: usize| {
        let mut connection = Connection::open(server.address())?;
        let mut answers = Vec::new();
        for at in (number..count).step_by(CLIENTS) {
            let (method, path, body) = request(at);
            let answer = connection.request(method, &path, &headers, body.as_bytes())?;
            ensure!(answer.status / 100 == 2, "{method} {path}: {} {}", answer.status, answer.text());
            answers.push(answer);
        }
        Ok(answers)
    };
    let mut answers = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(move || client(number))).collect();
        let joined =
            clients.into_iter().map(|client| client.join().map_err(|_| anyhow!("a client failed"))?);
        joined.map(|answers| Ok(answers?.into_iter())).collect::<anyhow::Result<Vec<_>>>()
    })?;
    (0..count).map(|at| answers[at % CLIENTS].next().context("an answer each")).collect()
}
