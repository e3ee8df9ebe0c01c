//! What the shipping thread logs about its own work is never shipped: as many lines as events, and rest.

#![cfg(feature = "tracing")]

use std::fmt;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use logplex_core::layer::Layer;
use tracing_subscriber::prelude::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// A peer that answers 503 once a connection, which makes the outlet warn, then 204.
fn peer() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback works");
    let url = format!("http://{}/logs", listener.local_addr().expect("loopback works"));
    thread::spawn(move || {
        for (index, stream) in listener.incoming().enumerate() {
            let mut stream = stream.expect("loopback works");
            let mut head = [0; 64 * 1024];
            // Small requests on loopback come in one piece or two; what is left is dropped with the stream.
            let _read = stream.read(&mut head).expect("loopback works");
            let status = if index == 0 { "503 Service Unavailable" } else { "204 No Content" };
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .expect("loopback works");
        }
    });
    url
}

/// A value whose `Debug` logs, which must neither be lost nor trip over the line that is being rendered.
struct Chatty;

impl fmt::Debug for Chatty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        tracing::info!("from inside");
        f.write_str("chatty")
    }
}

#[test]
fn the_layer_settles() {
    let guard = logplex_core::init(peer()).unwrap();
    // Every event of every target and level, on every thread: nothing else keeps the loop from closing.
    tracing_subscriber::registry().with(Layer::new(guard.shuttle())).init();
    tracing::info!("one");
    tracing::info!(value = ?Chatty, "two");
    assert!(guard.flush(PATIENCE));
    let stats = guard.stats();
    assert!(stats.attempts >= 2, "the outlet had something to warn of");
    assert_eq!(stats.ledger.accepted(), 3);
    assert!(guard.flush(PATIENCE));
    assert_eq!(guard.stats().posts, stats.posts);
    assert!(guard.shutdown(PATIENCE).is_clean());
}
