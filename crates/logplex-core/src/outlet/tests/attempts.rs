//! What becomes of a request: one row a status or failure.

use super::peer::{Act, NO_CONTENT, Peer, say};
use super::*;

fn close() -> Act {
    Act::Close
}

fn raw(text: &str) -> Act {
    Act::SayAndClose(text.to_owned())
}

#[tokio::test]
async fn every_answer_and_every_failure_has_its_end() {
    let go_on = "HTTP/1.1 100 Continue\r\n\r\n";
    let table: Vec<(Vec<Act>, &str)> = vec![
        (vec![Act::Say(NO_CONTENT.to_owned())], "204 after 1"),
        (vec![say("200 OK")], "200 after 1"),
        (vec![say("299 Odd")], "299 after 1"),
        // Asked to come again: delivered in the end, or given up as unavailable.
        (vec![say("408 Slow"), say("425 Early"), say("200 OK")], "200 after 3"),
        (vec![say("429 Many"), say("500 Broken"), say("200 OK")], "200 after 3"),
        (vec![say("503 Busy"), say("599 Odd"), say("408 Slow")], "unavailable after 3"),
        // Final answers.
        (vec![say("301 Moved")], "redirected after 1"),
        (vec![say("304 Same")], "redirected after 1"),
        (vec![say("307 There")], "redirected after 1"),
        (vec![say("413 Large")], "too-large after 1"),
        (vec![say("400 Bad")], "refused after 1"),
        (vec![say("401 Who")], "refused after 1"),
        (vec![say("404 Gone")], "refused after 1"),
        (vec![say("499 Odd")], "refused after 1"),
        (vec![say("600 Odd")], "refused after 1"),
        (vec![raw("HTTP/1.1 101 Switching Protocols\r\n\r\n")], "refused after 1"),
        (vec![say("503 Busy"), say("403 No")], "refused after 2"),
        // An interim answer is not the answer.
        (vec![Act::Say(format!("{go_on}{NO_CONTENT}"))], "204 after 1"),
        (vec![Act::Say(go_on.repeat(4000) + NO_CONTENT), say("200 OK")], "200 after 2"),
        // No answer: tried again, and remembered whatever comes later.
        (vec![close(), say("200 OK")], "200 after 2"),
        (vec![close(), close(), close()], "unanswered after 3"),
        (vec![close(), say("503 Busy"), say("503 Busy")], "unanswered after 3"),
        (vec![close(), say("404 Gone")], "unanswered after 2"),
        (vec![say("503 Busy"), raw("x"), say("413 Large")], "unanswered after 3"),
        (vec![raw("SSH-2.0-OpenSSH_9.6\r\n"), raw("HTTP/1.1 2"), raw("\r\n\r\n\r\n")], "unanswered after 3"),
        (vec![raw("HTTP/1.1 200 OK\r\nbroken"), raw(NO_CONTENT)], "204 after 2"),
        // The head is the answer: a body that breaks off changes nothing.
        (vec![raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi")], "200 after 1"),
        (vec![raw("HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\nzz")], "refused after 1"),
    ];
    for (script, expected) in table {
        let peer = Peer::new(script.clone()).await;
        let told = deliver(&mut outlet(&peer.url(), config()), &request()).await;
        assert_eq!(told.summary(), expected, "{script:?}: {told:?}");
    }
}

#[tokio::test]
async fn a_peer_that_is_not_there_is_unreachable_and_nothing_was_sent() {
    let told = deliver(&mut outlet(&format!("http://{NOBODY}"), config()), &request()).await;
    assert_eq!(told.summary(), "unreachable after 3");

    // RFC 6761: no look-up of this name succeeds.
    let told = deliver(&mut outlet("http://nowhere.invalid", config()), &request()).await;
    assert_eq!(told.summary(), "unreachable after 3");
}

#[tokio::test]
async fn a_forbidden_address_is_not_connected_to() {
    let peer = Peer::new([]).await;
    let guarded = OutletConfig { addresses: AddressGuard::PublicOnly, ..config() };
    for host in ["127.0.0.1", "localhost", "0x7f.1", "[::ffff:127.0.0.1]"] {
        let url = format!("http://{host}:{}", peer.port);
        let told = deliver(&mut outlet(&url, guarded.clone()), &request()).await;
        assert_eq!(told.summary(), "unreachable after 3", "{host}");
        let LastOutcome::Failed(AttemptError::Connect(ConnectError::Forbidden(_))) =
            told.result.unwrap_err().last
        else {
            panic!("{host} is refused for its address");
        };
    }
    assert_eq!(peer.log().connections, 0);
}

#[tokio::test]
async fn a_peer_that_hangs_is_given_up_as_unanswered() {
    let peer = Peer::new([Act::Hang, Act::Hang, Act::Hang]).await;
    let impatient = OutletConfig { request_timeout: Duration::from_millis(50), ..config() };
    let told = deliver(&mut outlet(&peer.url(), impatient), &request()).await;
    assert_eq!(told.summary(), "unanswered after 3");
    assert_eq!(told.attempts[2].1, "no answer within 50ms");
    assert_eq!(peer.log().connections, 3);
}

#[tokio::test]
async fn a_request_is_the_same_at_every_attempt() {
    let peer = Peer::new([say("503 Busy"), Act::Close, say("200 OK")]).await;
    let url = format!("http://us%65r:p%3Aw@127.0.0.1:{}/a/b?c=d'e#insecure", peer.port);
    let mut request = request();
    request.frame_id = uuid::Uuid::from_u128(0xabcd);
    let mut add = |name, value| {
        request.headers.push((HeaderName::from_static(name), HeaderValue::from_static(value)));
    };
    add("logplex-drain-token", "d.1");
    add("x-twice", "1");
    add("x-twice", "2");
    // Not for others to set.
    add("content-length", "7");
    add("transfer-encoding", "chunked");
    add("host", "elsewhere");

    let told = deliver(&mut outlet(&url, config()), &request).await;
    // The second attempt used the first one's connection, so its failure was free.
    assert_eq!(told.summary(), "200 after 2");
    let requests = peer.log().requests;
    assert_eq!(requests.len(), 3);
    for seen in &requests {
        assert_eq!((&seen.head, &seen.body), (&requests[0].head, &requests[0].body));
    }
    let seen = &requests[0];
    assert_eq!(seen.body, b"9 <190>1 - a");
    assert!(seen.head.starts_with("POST /a/b?c=d'e HTTP/1.1\r\n"), "{}", seen.head);
    let host = format!("127.0.0.1:{}", peer.port);
    for (name, values) in [
        ("host", vec![host.as_str()]),
        ("authorization", vec!["Basic dXNlcjpwOnc="]),
        ("content-type", vec!["application/logplex-1"]),
        ("content-length", vec!["12"]),
        ("transfer-encoding", vec![]),
        ("logplex-msg-count", vec!["1"]),
        ("logplex-frame-id", vec!["0000000000000000000000000000ABCD"]),
        ("logplex-drain-token", vec!["d.1"]),
        ("user-agent", vec!["Logplex/test"]),
        ("x-twice", vec!["1", "2"]),
    ] {
        assert_eq!(seen.header(name), values, "{name}");
    }
}

#[tokio::test]
async fn a_body_of_many_chunks_arrives_whole() {
    let peer = Peer::new([]).await;
    let chunks: Vec<Bytes> = (0..1000_usize).map(|n| Bytes::from(vec![n as u8; n])).collect();
    let request = Request::new(chunks.clone(), 1000);
    assert_eq!(deliver(&mut outlet(&peer.url(), config()), &request).await.summary(), "204 after 1");
    assert_eq!(peer.log().requests[0].body, chunks.concat());

    let empty = Request::new(vec![], 0);
    assert_eq!(deliver(&mut outlet(&peer.url(), config()), &empty).await.summary(), "204 after 1");
}

#[tokio::test]
async fn retry_after_is_obeyed_in_both_forms_up_to_its_cap() {
    let busy = |value: &str| {
        Act::Say(format!("HTTP/1.1 429 Many\r\nRetry-After: {value}\r\nContent-Length: 0\r\n\r\n"))
    };
    let later = httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(3600));
    let cap = Duration::from_millis(40);
    for value in ["3600", &later] {
        let peer = Peer::new([busy(value)]).await;
        let mut config = config();
        config.retry.max_retry_after = cap;
        let begun = Instant::now();
        let told = deliver(&mut outlet(&peer.url(), config), &request()).await;
        assert_eq!(told.summary(), "204 after 2", "{value}");
        assert!(begun.elapsed() >= cap, "{value}");
        assert!(told.pauses[0] > cap / 2 && told.pauses[0] <= cap, "{value}: {:?}", told.pauses);
    }
}

#[tokio::test]
async fn a_retry_that_would_start_too_late_is_not_waited_for() {
    let busy = "HTTP/1.1 503 Busy\r\nRetry-After: 20\r\nContent-Length: 0\r\n\r\n";
    let peer = Peer::new([Act::Say(busy.to_owned())]).await;
    let mut config = config();
    config.retry.max_age = Duration::from_secs(19);
    let told = deliver(&mut outlet(&peer.url(), config), &request()).await;
    assert_eq!(told.summary(), "unavailable after 1");
    assert!(told.pauses.is_empty(), "{told:?}");
}

/// More than the buffers of both sides hold.
fn large() -> Request {
    Request::new(vec![Bytes::from(vec![b'x'; 8 * 1024 * 1024]); 4], 1)
}

#[tokio::test]
async fn an_answer_that_comes_before_the_request_is_read_counts() {
    let too_large = "HTTP/1.1 413 Large\r\nContent-Length: 0\r\n\r\n";
    let peer = Peer::new([Act::Interrupt(too_large.to_owned())]).await;
    let told = deliver(&mut outlet(&peer.url(), config()), &large()).await;
    assert_eq!(told.summary(), "too-large after 1", "{told:?}");
}

#[tokio::test]
async fn a_peer_that_says_yes_before_it_has_read_all_gets_the_rest() {
    let long = format!("HTTP/1.1 200 OK\r\nContent-Length: 33554432\r\n\r\n{}", "x".repeat(32 * 1024 * 1024));
    for (answer, expected, connections) in [(NO_CONTENT, "204 after 1", 1), (long.as_str(), "200 after 1", 2)]
    {
        let mut peer = Peer::new([Act::SayEarly(answer.to_owned())]).await;
        let mut outlet = outlet(&peer.url(), config());
        assert_eq!(deliver(&mut outlet, &large()).await.summary(), expected);
        peer.until(|log| log.requests.len() == 1).await;
        assert_eq!(deliver(&mut outlet, &request()).await.summary(), "204 after 1");
        let log = peer.log();
        let lengths: Vec<_> = log.requests.iter().map(|seen| seen.body.len()).collect();
        assert_eq!((lengths, log.connections), (vec![large().body_len(), 12], connections));
    }
}
