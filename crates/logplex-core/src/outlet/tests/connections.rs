//! When a connection is used again and when it is not.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::peer::{Act, NO_CONTENT, Peer, say};
use super::*;

fn text(answer: &str) -> Act {
    Act::Say(answer.to_owned())
}

#[tokio::test]
async fn requests_share_one_connection_whatever_the_answers_look_like() {
    let long = "x".repeat(60 * 1024);
    let peer = Peer::new([
        text(NO_CONTENT),
        say("200 OK"),
        say("404 No"),
        text("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"),
        text(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{long}", long.len())),
        say("200 OK"),
        text("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ])
    .await;
    let mut outlet = outlet(&peer.url(), config());
    for expected in ["204", "200", "refused", "200", "200", "200", "200", "204"] {
        let told = deliver(&mut outlet, &request()).await;
        assert_eq!(told.summary(), format!("{expected} after 1"));
    }
    assert_eq!((peer.log().requests.len(), peer.log().connections), (8, 1));
}

#[tokio::test]
async fn a_retry_uses_the_connection_that_brought_the_answer() {
    let peer = Peer::new([say("503 Busy"), say("429 Many")]).await;
    assert_eq!(deliver(&mut outlet(&peer.url(), config()), &request()).await.summary(), "204 after 3");
    assert_eq!(peer.log().connections, 1);
}

#[tokio::test]
async fn answers_that_end_their_connection_cost_no_attempt_of_the_next() {
    let long = "x".repeat(1024 * 1024);
    let enders = [
        Act::Say("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi".to_owned()),
        Act::SayAndClose("HTTP/1.1 200 OK\r\n\r\nuntil the end".to_owned()),
        Act::SayAndClose("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_owned()),
        Act::SayAndClose("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi".to_owned()),
        Act::Say(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi{NO_CONTENT}")),
        Act::SayAndClose(format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000\r\n{}",
            &long[..60000]
        )),
    ];
    for ender in enders {
        let mut peer = Peer::new([ender.clone()]).await;
        let mut outlet = outlet(&peer.url(), config());
        for (sent, expected) in [(1, "200 after 1"), (2, "204 after 1")] {
            assert_eq!(deliver(&mut outlet, &request()).await.summary(), expected, "{ender:?}");
            peer.until(|log| log.requests.len() == sent).await;
        }
        let connections: Vec<_> = peer.log().requests.iter().map(|seen| seen.connection).collect();
        assert_eq!(connections, [1, 2], "{ender:?}");
    }
}

#[tokio::test]
async fn a_body_too_long_to_read_is_left_and_its_connection_closed() {
    // Nobody sends these bodies, or their end: waiting for them would take the whole request timeout.
    for head in ["HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"] {
        let peer = Peer::new([text(head)]).await;
        let mut outlet = outlet(&peer.url(), config());
        assert_eq!(deliver(&mut outlet, &request()).await.summary(), "200 after 1", "{head}");
        assert_eq!(deliver(&mut outlet, &request()).await.summary(), "204 after 1", "{head}");
        assert_eq!(peer.log().connections, 2, "{head}");
    }
}

#[tokio::test]
async fn a_body_that_does_not_end_in_time_does_not_unsay_the_answer() {
    let peer = Peer::new([text("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi")]).await;
    let impatient = OutletConfig { request_timeout: Duration::from_millis(50), ..config() };
    let mut outlet = outlet(&peer.url(), impatient);
    assert_eq!(deliver(&mut outlet, &request()).await.summary(), "200 after 1");
    assert_eq!(deliver(&mut outlet, &request()).await.summary(), "204 after 1");
    assert_eq!(peer.log().connections, 2);
}

#[tokio::test]
async fn a_connection_closed_while_idle_costs_no_attempt() {
    // The peer closes when the second request is already on its way: nothing could have been noticed before.
    let peer = Peer::new([say("200 OK"), Act::Close]).await;
    let once = OutletConfig {
        retry: RetryPolicy { max_attempts: NonZeroU32::new(1), ..config().retry },
        ..config()
    };
    let mut outlet = outlet(&peer.url(), once);
    assert_eq!(deliver(&mut outlet, &request()).await.summary(), "200 after 1");
    assert_eq!(deliver(&mut outlet, &request()).await.summary(), "204 after 1");
    let connections: Vec<_> = peer.log().requests.iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [1, 1, 2]);
}

#[tokio::test]
async fn a_request_lost_on_a_used_connection_may_have_been_taken() {
    let peer = Peer::new([say("200 OK"), Act::Close, say("404 No")]).await;
    let mut outlet = outlet(&peer.url(), config());
    assert_eq!(deliver(&mut outlet, &request()).await.summary(), "200 after 1");
    assert_eq!(deliver(&mut outlet, &request()).await.summary(), "unanswered after 1");
}

#[tokio::test]
async fn only_the_first_failure_of_an_attempt_is_free() {
    let peer = Peer::new([say("200 OK"), Act::Close, Act::Close, say("200 OK")]).await;
    let mut outlet = outlet(&peer.url(), config());
    assert_eq!(deliver(&mut outlet, &request()).await.summary(), "200 after 1");
    assert_eq!(deliver(&mut outlet, &request()).await.summary(), "200 after 2");
}

#[tokio::test]
async fn a_hang_on_a_used_connection_costs_an_attempt() {
    let peer = Peer::new([say("200 OK"), Act::Hang]).await;
    let mut outlet =
        outlet(&peer.url(), OutletConfig { request_timeout: Duration::from_millis(50), ..config() });
    assert_eq!(deliver(&mut outlet, &request()).await.summary(), "200 after 1");
    assert_eq!(deliver(&mut outlet, &request()).await.summary(), "204 after 2");
}

#[tokio::test]
async fn an_answer_that_breaks_off_costs_an_attempt() {
    let peer = Peer::new([say("200 OK"), Act::SayAndClose("HTTP/1.1 2".to_owned())]).await;
    let mut outlet = outlet(&peer.url(), config());
    assert_eq!(deliver(&mut outlet, &request()).await.summary(), "200 after 1");
    assert_eq!(deliver(&mut outlet, &request()).await.summary(), "204 after 2");
}

#[tokio::test]
async fn a_close_noticed_while_idle_leaves_no_doubt() {
    let mut peer = Peer::new([Act::SayAndClose(NO_CONTENT.to_owned()), say("404 No")]).await;
    let mut outlet = outlet(&peer.url(), config());
    assert_eq!(deliver(&mut outlet, &request()).await.summary(), "204 after 1");
    peer.until(|log| log.closed == 1).await;
    // The outlet's side learns of it as well before it sends again: had it sent, it would be unanswered.
    let tended = timeout(Duration::from_millis(20), outlet.tend()).await;
    assert!(tended.is_err(), "tend never returns");
    assert!(outlet.idle.is_none(), "the closed connection is gone");
    assert_eq!(deliver(&mut outlet, &request()).await.summary(), "refused after 1");
}

#[tokio::test]
async fn tending_keeps_a_good_connection_and_closes_an_old_one() {
    const IDLE_CLOSE: Duration = Duration::from_millis(300);
    let mut peer = Peer::new([]).await;
    let mut outlet = outlet(&peer.url(), OutletConfig { idle_close: IDLE_CLOSE, ..config() });
    assert_eq!(deliver(&mut outlet, &request()).await.summary(), "204 after 1");
    assert!(timeout(Duration::from_millis(20), outlet.tend()).await.is_err());
    let used_again = Instant::now();
    assert_eq!(deliver(&mut outlet, &request()).await.summary(), "204 after 1");
    assert_eq!(peer.log().connections, 1);

    tokio::select! {
        _never = outlet.tend() => {}
        () = peer.until(|log| log.closed == 1) => {}
    }
    assert!(used_again.elapsed() >= IDLE_CLOSE, "closed {:?} after its last use", used_again.elapsed());
}

#[tokio::test]
async fn a_connection_idle_for_too_long_is_not_used_again() {
    let peer = Peer::new([]).await;
    let mut outlet = outlet(&peer.url(), OutletConfig { idle_close: Duration::ZERO, ..config() });
    for _ in 0..3 {
        assert_eq!(deliver(&mut outlet, &request()).await.summary(), "204 after 1");
    }
    assert_eq!(peer.log().connections, 3);
}

#[tokio::test]
async fn dropping_a_delivery_closes_its_connection() {
    let mut peer = Peer::new([Act::Hang]).await;
    let mut outlet = outlet(&peer.url(), config());
    let (_never, mut stop) = watch::channel(None);
    let request = request();
    tokio::select! {
        _ = outlet.deliver(&request, &mut stop, |_| {}) => panic!("the peer hangs"),
        () = peer.until(|log| log.requests.len() == 1) => {}
    }
    peer.until(|log| log.closed == 1).await;
    assert_eq!(deliver(&mut outlet, &request).await.summary(), "204 after 1");
}

#[tokio::test]
async fn an_ipv6_literal_is_connected_to() {
    let peer = Peer::start("[::1]:0", [], None).await;
    let mut outlet = outlet(&format!("http://[::1]:{}/logs", peer.port), config());
    assert_eq!(deliver(&mut outlet, &request()).await.summary(), "204 after 1");
    assert_eq!(peer.log().requests[0].header("host"), [format!("[::1]:{}", peer.port)]);
}

/// A peer that has answered and reads no more by the time our first write reaches it.
#[derive(Default)]
struct AnsweredEarly {
    write_failed: bool,
    answer: &'static [u8],
    /// Whether its side stays open after that.
    half_open: bool,
    reader: Option<Waker>,
}

impl AsyncRead for AnsweredEarly {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.write_failed || (self.half_open && self.answer.is_empty()) {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        buf.put_slice(std::mem::take(&mut self.answer));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for AnsweredEarly {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        self.write_failed = true;
        self.reader.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_write_that_fails_does_not_hide_the_answer_that_is_already_there() {
    let body = [Bytes::from_static(b"a"), Bytes::from_static(b"b")];
    let answer = b"HTTP/1.1 413 Large\r\nContent-Length: 2\r\n\r\nhi";
    let peer = AnsweredEarly { answer, half_open: true, ..AnsweredEarly::default() };
    let mut connection = Connection::new(Box::new(peer));
    let deadline = Instant::now() + Duration::from_secs(60);
    let head = connection.post(b"head", &body, deadline).await.expect("in time").ok().expect("the answer");
    assert_eq!(head.status, 413);
    assert!(!connection.discard(head, deadline).await, "a connection that failed to write is not used again");

    let mut silent = Connection::new(Box::new(AnsweredEarly::default()));
    let failed = silent.post(b"head", &body, deadline).await.expect("in time").expect_err("no answer");
    assert!(failed.looks_closed_while_idle());
}

#[tokio::test]
async fn limits_without_end_are_no_error() {
    let peer = Peer::new([say("503 Busy")]).await;
    let endless = OutletConfig {
        connect_timeout: Duration::MAX,
        request_timeout: Duration::MAX,
        idle_close: Duration::MAX,
        retry: RetryPolicy { max_age: Duration::MAX, max_retry_after: Duration::MAX, ..config().retry },
        ..config()
    };
    let mut outlet = outlet(&peer.url(), endless);
    assert_eq!(deliver(&mut outlet, &request()).await.summary(), "204 after 2");
    assert!(timeout(Duration::from_millis(1), outlet.tend()).await.is_err());
}
