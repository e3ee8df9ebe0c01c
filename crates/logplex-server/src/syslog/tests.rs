use tokio::io::duplex;

use super::*;
use crate::config::Config;
use crate::serve::Server;

const TOKEN: &str = "t.00000000-0000-4000-8000-000000000000";

/// A server that does not run, and a listener of it whose messages have an unknown token.
async fn listener(data: &tempfile::TempDir) -> SyslogListener {
    let config = Config::passing(data.path().to_owned());
    let app = Server::start(config).await.expect("a server").app();
    let (idle, last_read) = (Duration::from_secs(600), Duration::from_secs(1));
    SyslogListener { app, token: None, tls: None, idle, last_read }
}

/// Sends `bytes` and nothing more; how long the connection lived, and what was rejected for taking too long and in
/// all.
async fn stalled(bytes: &[u8]) -> (Duration, u64, u64) {
    let data = tempfile::tempdir().expect("a folder");
    let listener = listener(&data).await;
    let (mut sender, stream) = duplex(64 * 1024);
    sender.write_all(bytes).await.expect("it is taken");
    let peer = "127.0.0.1:1".parse().expect("an address");
    tokio::time::pause();
    let begun = Instant::now();
    Connection::new(&listener, peer).run(stream, &CancellationToken::new()).await;
    let rejections = &listener.app.syslog.rejections;
    (begun.elapsed(), rejections.count_of(Rejection::Timeout), rejections.total())
}

#[tokio::test]
async fn a_message_has_30_s_to_come_in_whole() {
    let frame = format!("100 <13>1 - - {TOKEN}");
    let (lived, timeouts, all) = stalled(frame.as_bytes()).await;
    assert_eq!((lived.as_secs(), timeouts, all), (30, 1, 1));
}

#[tokio::test]
async fn the_rest_of_a_frame_over_the_limit_has_30_s_too() {
    let (lived, timeouts, all) = stalled(b"999999999 <13>1 - -").await;
    assert_eq!((lived.as_secs(), timeouts, all), (30, 0, 1));
}

#[tokio::test]
async fn a_line_that_does_not_end_is_taken_after_30_s() {
    let (lived, timeouts, all) = stalled(format!("<13>1 - - {TOKEN} - - - x").as_bytes()).await;
    // It was looked at: its token is unknown.
    assert_eq!((lived.as_secs(), timeouts, all), (30, 0, 1));
}

#[tokio::test]
async fn between_messages_the_idle_time_counts() {
    let (lived, timeouts, all) = stalled(format!("<13>1 - - {TOKEN} - - - x\n").as_bytes()).await;
    assert_eq!((lived.as_secs(), timeouts, all), (600, 0, 1));
}

#[tokio::test]
async fn a_buffer_grows_with_what_comes_and_shrinks_when_nothing_does() {
    let data = tempfile::tempdir().expect("a folder");
    let listener = listener(&data).await;
    let mut connection = Connection::new(&listener, "127.0.0.1:1".parse().expect("an address"));
    let (mut sender, mut stream) = duplex(1024 * 1024);
    let line = b"<13>1 - - - - - - x\n".repeat(20_000);
    sender.write_all(&line).await.expect("it is taken");
    let mut largest = 0;
    let mut left = line.len();
    while left > 0 {
        let read = connection.read(&mut stream).await.expect("it can be read");
        left -= read;
        assert!(connection.take(read, Instant::now()));
        largest = largest.max(connection.room);
    }
    assert_eq!(largest, READ_MAX);
    for _ in 0..5 {
        sender.write_all(b"<13>1 - - - - - - x\n").await.expect("it is taken");
        let read = connection.read(&mut stream).await.expect("it can be read");
        assert!(connection.take(read, Instant::now()));
    }
    assert_eq!((connection.room, connection.buffer.capacity() <= READ_MIN), (READ_MIN, true));
    assert_eq!(listener.app.syslog.totals(), (0, 20_005));
}
