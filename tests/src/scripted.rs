//! A server of management requests that answers by a script.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::thread::{self, JoinHandle};

use serde_json::Value;

use crate::wait::{DEADLINE, wait_for};

/// Plays a server that gives these answers, one a connection: its URL, and the request lines and bodies that it got.
///
/// # Panics
/// When loopback has no free port; its thread, when a request does not come or is cut short.
pub fn scripted(answers: Vec<(u16, Value)>) -> (String, JoinHandle<Vec<(String, String)>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let url = format!("http://{}", listener.local_addr().expect("a bound listener has an address"));
    listener.set_nonblocking(true).expect("a listener that can be polled");
    let serve = move || {
        let mut got = Vec::new();
        for (status, answer) in answers {
            let (mut stream, _) = wait_for("a client", || listener.accept().ok());
            stream.set_nonblocking(false).expect("a blocking stream");
            stream.set_read_timeout(Some(DEADLINE)).expect("a deadline can be set");
            let mut reader = BufReader::new(stream.try_clone().expect("a handle"));
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert!(reader.read_line(&mut head).expect("a head") > 0, "cut short: {head}");
            }
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("content-length").then(|| value.parse().expect("a length"))
            });
            let mut body = vec![0; length.unwrap_or(0)];
            reader.read_exact(&mut body).expect("a body");
            let start = head.lines().next().expect("a request line");
            got.push((start.replace(" HTTP/1.1", ""), String::from_utf8(body).expect("text")));
            let answer = answer.to_string();
            let head = format!(
                "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                answer.len()
            );
            stream.write_all((head + &answer).as_bytes()).expect("a client that reads");
        }
        got
    };
    (url, thread::spawn(serve))
}
