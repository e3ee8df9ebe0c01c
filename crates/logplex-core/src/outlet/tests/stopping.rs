//! The stop instant: nothing goes on past it, and what it cut off is told truthfully.

use super::peer::{Act, Peer, say};
use super::*;

/// Retries without end, so that only the stop can end them.
fn slow() -> OutletConfig {
    let retry = RetryPolicy { max_attempts: None, ..RetryPolicy::default() };
    OutletConfig { retry, ..config() }
}

fn busy() -> Act {
    Act::Say("HTTP/1.1 503 Busy\r\nRetry-After: 20\r\nContent-Length: 0\r\n\r\n".to_owned())
}

#[tokio::test]
async fn a_stop_before_the_first_attempt_makes_none() {
    let peer = Peer::new([]).await;
    let (_tx, mut stop) = watch::channel(Some(Instant::now()));
    let told = deliver_until(&mut outlet(&peer.url(), config()), &request(), &mut stop).await;
    assert_eq!(told.summary(), "stopped after 0");
    assert_eq!(peer.log().connections, 0);
}

#[tokio::test]
async fn a_stop_during_the_back_off_ends_it_at_once() {
    let peer = Peer::new([busy()]).await;
    let (stop_tx, mut stop) = watch::channel(None);
    let mut outlet = outlet(&peer.url(), slow());
    let request = request();
    let announced = tokio::sync::Notify::new();
    let observe = |attempt: Attempt<'_>| {
        assert!(attempt.retry_in.is_some());
        announced.notify_one();
    };
    // The stop is not yet due, but the pause would end after it.
    let stop_when_announced = async {
        announced.notified().await;
        stop_tx.send(Some(Instant::now() + Duration::from_secs(15))).unwrap();
    };
    let delivered = timeout(PATIENCE, outlet.deliver(&request, &mut stop, observe));
    let (delivered, ()) = tokio::join!(delivered, stop_when_announced);
    let given_up = delivered.expect("ends long before the pause").unwrap_err();
    assert_eq!((given_up.reason, given_up.attempts), (LossReason::Unavailable, 1));
}

#[tokio::test]
async fn a_retry_after_the_known_stop_is_not_announced() {
    let peer = Peer::new([busy()]).await;
    let (_tx, mut stop) = watch::channel(Some(Instant::now() + PATIENCE));
    let told = deliver_until(&mut outlet(&peer.url(), slow()), &request(), &mut stop).await;
    assert_eq!(told.summary(), "unavailable after 1");
    assert!(told.pauses.is_empty(), "{told:?}");
}

#[tokio::test]
async fn a_stop_during_a_hang_leaves_the_request_unanswered() {
    let mut peer = Peer::new([Act::Hang]).await;
    let (stop_tx, mut stop) = watch::channel(None);
    let mut outlet = outlet(&peer.url(), config());
    let request = request();
    let stop_when_seen = async {
        peer.until(|log| log.requests.len() == 1).await;
        // First far away, then nearer: the newest counts.
        stop_tx.send(Some(Instant::now() + Duration::from_secs(3600))).unwrap();
        tokio::task::yield_now().await;
        stop_tx.send(Some(Instant::now())).unwrap();
    };
    let (told, ()) = tokio::join!(deliver_until(&mut outlet, &request, &mut stop), stop_when_seen);
    assert_eq!(told.summary(), "unanswered after 1");
    assert_eq!(told.attempts, [(1, "told to stop".to_owned())]);
    peer.until(|log| log.closed == 1).await;
}

#[tokio::test]
async fn a_stop_while_connecting_sent_nothing() {
    // A listener that accepts and never shakes hands.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://127.0.0.1:{}", listener.local_addr().unwrap().port());
    let tls = Some(tls_config(Trust::Insecure).unwrap());
    let mut outlet = outlet(&url, OutletConfig { tls, ..config() });
    let (stop_tx, mut stop) = watch::channel(None);
    let request = request();
    let stop_when_connected = async {
        let connected = listener.accept().await.unwrap();
        stop_tx.send(Some(Instant::now())).unwrap();
        connected
    };
    let (told, _connected) =
        tokio::join!(deliver_until(&mut outlet, &request, &mut stop), stop_when_connected);
    assert_eq!(told.summary(), "stopped after 1");
}

#[tokio::test]
async fn a_stop_keeps_an_answer_whose_body_is_still_coming() {
    let mut peer = Peer::new([Act::Say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi".to_owned())]).await;
    let (stop_tx, mut stop) = watch::channel(None);
    let mut outlet = outlet(&peer.url(), config());
    let request = request();
    let stop_when_seen = async {
        peer.until(|log| log.requests.len() == 1).await;
        stop_tx.send(Some(Instant::now() + Duration::from_millis(100))).unwrap();
    };
    let (told, ()) = tokio::join!(deliver_until(&mut outlet, &request, &mut stop), stop_when_seen);
    assert_eq!(told.summary(), "200 after 1");
}

#[tokio::test]
async fn a_dropped_sender_stops_nothing() {
    let peer = Peer::new([say("503 Busy")]).await;
    let (stop_tx, mut stop) = watch::channel(None);
    drop(stop_tx);
    let told = deliver_until(&mut outlet(&peer.url(), config()), &request(), &mut stop).await;
    assert_eq!(told.summary(), "204 after 2");

    // What it said last still holds.
    let hanging = Peer::new([Act::Hang]).await;
    let (stop_tx, mut stop) = watch::channel(Some(Instant::now() + Duration::from_millis(100)));
    drop(stop_tx);
    let told = deliver_until(&mut outlet(&hanging.url(), config()), &request(), &mut stop).await;
    assert_eq!(told.summary(), "unanswered after 1");
}
