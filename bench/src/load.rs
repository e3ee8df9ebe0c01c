//! The load generator: a few connections, each sending one batch after the other.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::frames::Batch;

/// Sends messages for a while and prints how many were taken.
#[derive(Debug, clap::Args)]
pub(crate) struct Load {
    /// Where to.
    to: SocketAddr,
    /// Plain TCP with octet-counted frames, no HTTP.
    #[arg(long)]
    tcp: bool,
    /// The token, for Basic authorization.
    #[arg(long, env = "BENCH_TOKEN", default_value = "", hide_env_values = true)]
    token: String,
    #[arg(long, default_value_t = 2)]
    connections: u32,
    /// Messages a request.
    #[arg(long, default_value_t = 100)]
    batch: usize,
    /// Bytes a message.
    #[arg(long, default_value_t = 200)]
    size: usize,
    /// Messages a second of all connections together; as fast as they are taken if absent.
    #[arg(long)]
    rate: Option<u64>,
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

/// What a load generator prints at its end.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sent {
    pub(crate) messages: u64,
    pub(crate) seconds: f64,
}

impl Load {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        let until = begun + Duration::from_secs(self.seconds);
        let interval = self.rate.map(|rate| {
            Duration::from_secs_f64(self.batch as f64 * f64::from(self.connections) / rate as f64)
        });
        let messages = thread::scope(|scope| {
            let producers: Vec<_> = (0..self.connections)
                .map(|number| scope.spawn(move || self.produce(number, interval, until)))
                .collect();
            producers.into_iter().try_fold(0, |sum, producer| match producer.join() {
                Ok(sent) => sent.map(|sent| sum + sent),
                Err(_panicked) => bail!("a producer failed"),
            })
        })?;
        let sent = Sent { messages, seconds: begun.elapsed().as_secs_f64() };
        println!("{}", serde_json::to_string(&sent)?);
        Ok(())
    }

    fn produce(&self, number: u32, interval: Option<Duration>, until: Instant) -> anyhow::Result<u64> {
        let mut stream =
            TcpStream::connect(self.to).with_context(|| format!("cannot connect to {}", self.to))?;
        stream.set_nodelay(true)?;
        let mut batch = Batch::new(self.batch, self.size);
        let authorization = STANDARD.encode(format!("token:{}", self.token));
        let mut request = Vec::new();
        let mut answer = Vec::new();
        let mut requests = 0;
        // The connections take turns.
        let mut due = Instant::now() + interval.unwrap_or_default() * number / self.connections;
        while Instant::now() < until {
            if let Some(interval) = interval {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                due += interval;
            }
            requests += 1;
            batch.stamp();
            if self.tcp {
                stream.write_all(&batch.bytes)?;
                continue;
            }
            request.clear();
            write!(
                request,
                "POST /logs HTTP/1.1\r\nHost: {}\r\nAuthorization: Basic {authorization}\r\n\
                 Content-Type: application/logplex-1\r\nUser-Agent: bench\r\n\
                 Logplex-Msg-Count: {}\r\nLogplex-Frame-Id: {number:08x}{requests:024x}\r\n\
                 Content-Length: {}\r\n\r\n",
                self.to,
                self.batch,
                batch.bytes.len()
            )?;
            request.extend_from_slice(&batch.bytes);
            stream.write_all(&request)?;
            read_answer(&mut stream, &mut answer)?;
        }
        Ok(requests * self.batch as u64)
    }
}

/// Reads an answer without a body; any but 2xx ends the run.
fn read_answer(stream: &mut TcpStream, answer: &mut Vec<u8>) -> anyhow::Result<()> {
    answer.clear();
    let mut buffer = [0; 4096];
    while memchr::memmem::find(answer, b"\r\n\r\n").is_none() {
        match stream.read(&mut buffer)? {
            0 => bail!("the connection was closed"),
            read => answer.extend_from_slice(&buffer[..read]),
        }
    }
    if !answer.starts_with(b"HTTP/1.1 2") {
        bail!("refused: {}", String::from_utf8_lossy(answer));
    }
    Ok(())
}
