//! The load generator: a few connections, each sending one batch after the other.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::frames::{Batch, KEPT_PROCID, PROCID};

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
    /// A file with tokens, one a line, for Basic authorization: each request has the next one's.
    #[arg(long)]
    tokens: Option<PathBuf>,
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
    /// End after so many messages, rounded up to whole requests, and not after some seconds.
    #[arg(long)]
    messages: Option<u64>,
    /// On each connection the first of so many messages is from keep.1, all others from web.1; a multiple of the
    /// messages a request.
    #[arg(long)]
    keep_every: Option<u64>,
}

/// What a load generator prints at its end.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sent {
    pub(crate) messages: u64,
    /// Those of them that are from `keep.1`.
    pub(crate) kept: u64,
    pub(crate) seconds: f64,
}

impl Load {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let whole_requests = self.keep_every.is_none_or(|every| every > 0 && every % self.batch as u64 == 0);
        ensure!(whole_requests, "--keep-every must be a multiple of --batch");
        let authorizations = self.authorizations()?;
        let begun = Instant::now();
        let until = begun + Duration::from_secs(self.seconds);
        let interval = self.rate.map(|rate| {
            Duration::from_secs_f64(self.batch as f64 * f64::from(self.connections) / rate as f64)
        });
        let (messages, kept) = thread::scope(|scope| {
            let producers: Vec<_> = (0..self.connections)
                .map(|number| {
                    let authorizations = &authorizations;
                    scope.spawn(move || self.produce(number, authorizations, interval, until))
                })
                .collect();
            producers.into_iter().try_fold((0, 0), |(messages, kept), producer| match producer.join() {
                Ok(sent) => sent.map(|sent| (messages + sent.0, kept + sent.1)),
                Err(_panicked) => bail!("a producer failed"),
            })
        })?;
        let sent = Sent { messages, kept, seconds: begun.elapsed().as_secs_f64() };
        println!("{}", serde_json::to_string(&sent)?);
        Ok(())
    }

    /// What goes into the header of requests, in turns.
    fn authorizations(&self) -> anyhow::Result<Vec<String>> {
        let basic = |token: &str| STANDARD.encode(format!("token:{token}"));
        let Some(file) = &self.tokens else { return Ok(vec![basic(&self.token)]) };
        let tokens: Vec<String> =
            std::fs::read_to_string(file).context("the tokens")?.lines().map(basic).collect();
        ensure!(!tokens.is_empty(), "no tokens in {}", file.display());
        Ok(tokens)
    }

    /// Returns how many messages it sent, and how many of them are from `keep.1`.
    fn produce(
        &self,
        number: u32,
        authorizations: &[String],
        interval: Option<Duration>,
        until: Instant,
    ) -> anyhow::Result<(u64, u64)> {
        let mut stream =
            TcpStream::connect(self.to).with_context(|| format!("cannot connect to {}", self.to))?;
        stream.set_nodelay(true)?;
        let mut plain = Batch::new(self.batch, self.size, PROCID);
        let mut keeping = Batch::new(self.batch, self.size, KEPT_PROCID);
        // Each connection begins elsewhere, so that no two are with one token at a time.
        let first = number as usize * authorizations.len() / self.connections as usize;
        let mut authorizations = authorizations.iter().cycle().skip(first);
        let mut request = Vec::new();
        let mut answer = Vec::new();
        let mut requests = 0;
        let mut kept = 0;
        let messages = self.batch as u64;
        let is_over = |sent: u64| match self.messages {
            Some(all) => sent >= all.div_ceil(self.connections.into()),
            None => Instant::now() >= until,
        };
        // The connections take turns.
        let mut due = Instant::now() + interval.unwrap_or_default() * number / self.connections;
        while !is_over(requests * messages) {
            if let Some(interval) = interval {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                due += interval;
            }
            let keeps = self.keep_every.is_some_and(|every| (requests * messages).is_multiple_of(every));
            let batch = if keeps { &mut keeping } else { &mut plain };
            kept += u64::from(keeps);
            requests += 1;
            batch.stamp();
            if self.tcp {
                stream.write_all(&batch.bytes)?;
                continue;
            }
            request.clear();
            let authorization = authorizations.next().map_or("", String::as_str);
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
        Ok((requests * messages, kept))
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Args {
        #[command(flatten)]
        load: Load,
    }

    #[test]
    fn so_many_messages_are_sent_and_so_many_of_them_are_kept() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let to = listener.local_addr().expect("it is bound").to_string();
        let options = ["--tcp", "--connections", "1", "--messages", "450", "--keep-every", "200"];
        let args = Args::parse_from([&["load", &to][..], &options[..]].concat());
        let reader = thread::spawn(move || {
            let mut bytes = Vec::new();
            let (mut stream, _peer) = listener.accept().expect("the load connects");
            stream.read_to_end(&mut bytes).expect("the load ends");
            bytes
        });
        let sent =
            args.load.produce(0, &[String::new()], None, Instant::now()).expect("the listener takes all");
        let bytes = reader.join().expect("the reader ends");
        let count = |procid: &str| memchr::memmem::find_iter(&bytes, procid).count();
        assert_eq!(sent, (500, 3), "whole requests of 100; the first, the 201st and the 401st message");
        assert_eq!((count(" web.1 "), count(" keep.1 ")), (497, 3));
    }
}
