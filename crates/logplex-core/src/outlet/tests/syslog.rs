//! The syslog outlet against peers that read, close, reset and stand still.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::trust::tls_server;
use super::*;
use crate::ledger::LossReason::{Stopped, Unanswered, Unreachable};

const FRAMES: &[u8] = b"5 <1>1 5 <2>1 5 <3>1 ";

fn request() -> Request {
    Request::new(vec![Bytes::from_static(&FRAMES[..10]), Bytes::from_static(&FRAMES[10..])], 3)
}

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("syslog://{}", listener.local_addr().unwrap());
    (listener, url)
}

fn outlet(url: &str, config: OutletConfig) -> SyslogOutlet {
    SyslogOutlet::new(Endpoint::parse(url).unwrap(), config)
}

async fn deliver(outlet: &mut SyslogOutlet) -> Result<(), GivenUp> {
    let (_never, mut stop) = watch::channel(None);
    outlet.push(&request());
    timeout(PATIENCE, outlet.flush(&mut stop, |_| {})).await.expect("flush ends")
}

/// What became of messages, waiting until all of them are settled.
async fn settled(outlet: &mut SyslogOutlet, messages: u32) -> Vec<Settled> {
    let all = async {
        let mut found: Vec<Settled> = Vec::new();
        while found.iter().map(|settled| settled.messages).sum::<u32>() < messages {
            match outlet.settled() {
                Some(settled) => found.push(settled),
                None => outlet.tend().await,
            }
        }
        found
    };
    let found = timeout(PATIENCE, all).await.expect("all is settled");
    assert_eq!(outlet.settled(), None, "nothing is settled twice");
    found
}

/// Resets the next connection once something has come over it.
async fn reset(listener: &TcpListener) {
    let (peer, _) = listener.accept().await.unwrap();
    peer.readable().await.unwrap();
    // Unread bytes make this a reset; on loopback it is there when this returns.
    drop(peer);
}

async fn read_frames(peer: &mut TcpStream) -> Vec<u8> {
    let mut read = vec![0; FRAMES.len()];
    peer.read_exact(&mut read).await.unwrap();
    read
}

fn all_of(messages: u32, outcome: Result<(), LossReason>) -> Vec<Settled> {
    vec![Settled { messages, outcome }]
}

#[tokio::test]
async fn what_was_acknowledged_is_delivered_once_its_connection_has_stood() {
    let (listener, url) = listener().await;
    let mut outlet = outlet(&url, config());
    outlet.doubt.time = PATIENCE;
    for _ in 0..2 {
        deliver(&mut outlet).await.unwrap();
    }
    // Nobody has even accepted yet: the kernel acknowledges.
    assert_eq!(outlet.settled(), None);
    outlet.doubt.time = Duration::from_millis(20);
    assert_eq!(settled(&mut outlet, 6).await, [Settled { messages: 3, outcome: Ok(()) }; 2]);
    let (mut peer, _) = listener.accept().await.unwrap();
    assert_eq!(read_frames(&mut peer).await, FRAMES);
    assert_eq!(read_frames(&mut peer).await, FRAMES);
}

#[tokio::test]
async fn a_peer_that_closes_has_read_what_it_acknowledged() {
    let (listener, url) = listener().await;
    let mut outlet = outlet(&url, config());
    deliver(&mut outlet).await.unwrap();
    let (mut peer, _) = listener.accept().await.unwrap();
    read_frames(&mut peer).await;
    drop(peer);
    // The next goes over a new connection, at once, and is the first attempt that fails or succeeds.
    deliver(&mut outlet).await.unwrap();
    assert_eq!(outlet.settled(), Some(Settled { messages: 3, outcome: Ok(()) }));
    let (mut peer, _) = listener.accept().await.unwrap();
    assert_eq!(read_frames(&mut peer).await, FRAMES);
    assert_eq!(settled(&mut outlet, 3).await, all_of(3, Ok(())));
}

#[tokio::test]
async fn a_reset_that_nobody_has_read_is_no_delivery_however_late_one_looks() {
    let (listener, url) = listener().await;
    let mut outlet = outlet(&url, config());
    outlet.doubt.time = Duration::ZERO;
    deliver(&mut outlet).await.unwrap();
    reset(&listener).await;
    assert_eq!(outlet.settled(), Some(Settled { messages: 3, outcome: Err(Unanswered) }));
}

#[tokio::test]
async fn what_a_reset_leaves_in_doubt_is_lost_and_not_sent_again() {
    let (listener, url) = listener().await;
    let mut outlet = outlet(&url, config());
    break_one(&mut outlet, &listener).await;
    outlet.doubt.time = Duration::from_millis(20);
    deliver(&mut outlet).await.unwrap();
    let (mut peer, _) = listener.accept().await.unwrap();
    assert_eq!(read_frames(&mut peer).await, FRAMES);
    outlet.leave();
    let mut rest = Vec::new();
    peer.read_to_end(&mut rest).await.unwrap();
    assert_eq!((rest.as_slice(), outlet.settled().map(|settled| settled.outcome)), (&b""[..], Some(Ok(()))));
}

#[tokio::test]
async fn the_end_waits_for_the_peer_to_have_read_all() {
    let (listener, url) = listener().await;
    let mut outlet = outlet(&url, config());
    outlet.doubt.time = PATIENCE;
    deliver(&mut outlet).await.unwrap();
    let peer = async {
        let (mut peer, _) = listener.accept().await.unwrap();
        // Said by a syslog peer, and thrown away.
        peer.write_all(b"hello").await.unwrap();
        let mut read = Vec::new();
        peer.read_to_end(&mut read).await.unwrap();
        read
    };
    let (_never, mut stop) = watch::channel(None);
    let began = Instant::now();
    let (read, ()) = tokio::join!(peer, outlet.finish(&mut stop, |_| {}));
    assert_eq!((read.as_slice(), outlet.settled()), (FRAMES, Some(all_of(3, Ok(()))[0])));
    assert!(began.elapsed() < PATIENCE, "the peer's close ends the doubt");
}

#[tokio::test]
async fn who_is_not_there_is_tried_again_and_given_up() {
    let mut outlet = outlet(&format!("syslog://{NOBODY}"), config());
    let given_up = deliver(&mut outlet).await.unwrap_err();
    assert_eq!((given_up.reason, given_up.attempts), (Unreachable, 3));
    assert_eq!(settled(&mut outlet, 3).await, all_of(3, Err(Unreachable)));
}

#[tokio::test]
async fn the_next_is_written_while_the_one_before_is_in_flight_and_both_again_if_they_must() {
    let (listener, url) = listener().await;
    let mut outlet = outlet(&url, config());
    let (_never, mut stop) = watch::channel(None);
    // The first is more than the kernel of a peer that does not read acknowledges.
    let text = Bytes::from([b"65000 ".as_slice(), &[b'x'; 65_000]].concat());
    outlet.push(&Request::new(vec![text.clone(); 100], 100));
    let mut first = Vec::new();
    let peer = async {
        let (mut peer, _) = listener.accept().await.unwrap();
        let mut some = vec![0; 3 * text.len()];
        peer.read_exact(&mut some).await.unwrap();
        first.extend_from_slice(&some);
        // What is unread makes this a reset.
        drop(peer);
        let (mut peer, _) = listener.accept().await.unwrap();
        let mut read = Vec::new();
        while !read.ends_with(FRAMES) {
            let mut space = [0; 65_536];
            let count = peer.read(&mut space).await.unwrap();
            read.extend_from_slice(&space[..count]);
        }
        (peer, read)
    };
    let sent = async {
        outlet.write(&mut stop, |_| {}).await.unwrap();
        outlet.push(&request());
        outlet.flush(&mut stop, |_| {}).await.unwrap();
        settled(&mut outlet, 103).await
    };
    let ((_peer, read), settled) = timeout(PATIENCE, async { tokio::join!(peer, sent) }).await.unwrap();
    let lost: u32 = settled.iter().filter(|settled| settled.outcome.is_err()).map(|of| of.messages).sum();
    // What the first connection acknowledged is lost with it; the rest comes whole, in order, over the next.
    let again = (100 - lost) as usize * text.len();
    assert!((3..100).contains(&lost), "{lost}");
    assert_eq!((read.len(), &read[again..]), (again + FRAMES.len(), FRAMES));
    assert_eq!(settled.last(), Some(&Settled { messages: 3, outcome: Ok(()) }));
}

/// Has a connection break that was sent one request.
async fn break_one(outlet: &mut SyslogOutlet, listener: &TcpListener) {
    outlet.doubt.time = PATIENCE;
    deliver(outlet).await.unwrap();
    reset(listener).await;
    assert_eq!(settled(outlet, 3).await, all_of(3, Err(Unanswered)));
}

#[tokio::test]
async fn after_a_connection_that_delivered_nothing_there_is_a_pause() {
    let (listener, url) = listener().await;
    let retry = RetryPolicy { base: PATIENCE * 1000, cap: PATIENCE * 1000, ..RetryPolicy::default() };
    let mut outlet = outlet(&url, OutletConfig { retry, ..config() });
    break_one(&mut outlet, &listener).await;
    // The next waits, and so it is not lost like the one before: it is there to be kept.
    let (stop_tx, mut stop) = watch::channel(None);
    stop_tx.send(Some(Instant::now() + Duration::from_millis(200))).unwrap();
    outlet.push(&request());
    outlet.write(&mut stop, |_| {}).await.unwrap_err();
    assert_eq!(settled(&mut outlet, 3).await, all_of(3, Err(Stopped)));
}

#[tokio::test]
async fn a_connection_after_that_gets_no_second_request_before_the_first_is_delivered() {
    let (listener, url) = listener().await;
    let mut outlet = outlet(&url, config());
    break_one(&mut outlet, &listener).await;
    let peer = async {
        let (mut peer, _) = listener.accept().await.unwrap();
        assert_eq!(read_frames(&mut peer).await, FRAMES);
        let more = timeout(Duration::from_millis(200), peer.read_u8()).await;
        assert!(more.is_err(), "the first is in doubt, but {more:?} came");
        // It has read all there is, so this says that the first was delivered.
        drop(peer);
        let (mut peer, _) = listener.accept().await.unwrap();
        assert_eq!(read_frames(&mut peer).await, FRAMES);
    };
    let (_never, mut stop) = watch::channel(None);
    outlet.push(&request());
    outlet.push(&request());
    let sent = async {
        outlet.flush(&mut stop, |_| {}).await.unwrap();
        settled(&mut outlet, 6).await
    };
    let ((), settled) = timeout(PATIENCE, async { tokio::join!(peer, sent) }).await.unwrap();
    assert_eq!(settled, [all_of(3, Ok(())), all_of(3, Ok(()))].concat());
}

#[tokio::test]
async fn a_peer_that_takes_nothing_is_left_at_the_stop_instant() {
    let (_listener, url) = listener().await;
    let mut outlet = outlet(&url, config());
    // More than the kernels on both sides hold.
    let text = Bytes::from([b"65000 ".as_slice(), &[b'x'; 65_000]].concat());
    let large = Request::new(vec![text; 300], 300);
    let (stop_tx, mut stop) = watch::channel(None);
    stop_tx.send(Some(Instant::now() + Duration::from_millis(200))).unwrap();
    outlet.push(&large);
    let written = timeout(PATIENCE, outlet.write(&mut stop, |_| {}));
    let given_up = written.await.expect("write ends").unwrap_err();
    assert_eq!(given_up.reason, Unanswered, "some of the rest may have arrived");
    outlet.finish(&mut stop, |_| {}).await;
    let settled = settled(&mut outlet, 300).await;
    let [taken, rest] = settled.as_slice() else { panic!("two parts, not {settled:?}") };
    assert_eq!((taken.outcome, rest.outcome, taken.messages + rest.messages), (Ok(()), Err(Unanswered), 300));

    // Past it nothing is begun.
    outlet.push(&large);
    let given_up = outlet.write(&mut stop, |_| {}).await.unwrap_err();
    assert_eq!((given_up.reason, given_up.attempts), (Stopped, 0));
}

#[tokio::test]
async fn a_private_address_is_refused_where_strangers_choose() {
    let (_listener, url) = listener().await;
    let mut outlet = outlet(&url, OutletConfig { addresses: AddressGuard::PublicOnly, ..config() });
    let given_up = deliver(&mut outlet).await.unwrap_err();
    assert!(Chain(&given_up).to_string().ends_with("127.0.0.1 is loopback and may not be connected to"));
}

#[tokio::test]
async fn tls_is_verified() {
    let (server, pem) = tls_server(&["127.0.0.1"]);
    let (listener, url) = listener().await;
    let url = url.replace("syslog:", "syslog+tls:");
    let trusting = |trust: Trust<'_>| OutletConfig { tls: Some(tls_config(trust).unwrap()), ..config() };
    let (_, other) = tls_server(&["127.0.0.1"]);
    let mut stranger = outlet(&url, trusting(Trust::PlatformAnd(other.as_bytes())));
    let mut friend = outlet(&url, trusting(Trust::PlatformAnd(pem.as_bytes())));
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let peer = async {
        let mut read = Vec::new();
        while read.is_empty() {
            let (tcp, _) = listener.accept().await.unwrap();
            let Ok(mut tls) = acceptor.accept(tcp).await else { continue };
            read = vec![0; FRAMES.len()];
            // The stranger may say why only after the handshake, as TLS 1.3 has it.
            if tls.read_exact(&mut read).await.is_err() {
                read.clear();
            }
        }
        read
    };
    let both = async {
        let given_up = deliver(&mut stranger).await.unwrap_err();
        assert!(given_up.certificate().is_some(), "{}", Chain(&given_up));
        deliver(&mut friend).await.unwrap();
        settled(&mut friend, 3).await
    };
    let (read, settled) = timeout(PATIENCE, async { tokio::join!(peer, both) }).await.expect("TLS works");
    assert_eq!((read.as_slice(), settled), (FRAMES, all_of(3, Ok(()))));
}

#[tokio::test]
async fn a_reset_that_nobody_has_read_is_no_delivery_at_the_end_either() {
    for finishes in [true, false] {
        let (listener, url) = listener().await;
        let mut outlet = outlet(&url, config());
        outlet.doubt.time = Duration::ZERO;
        deliver(&mut outlet).await.unwrap();
        reset(&listener).await;
        let (_never, mut stop) = watch::channel(None);
        match finishes {
            true => outlet.finish(&mut stop, |_| {}).await,
            false => outlet.leave(),
        }
        let settled = outlet.settled();
        assert_eq!(settled, Some(Settled { messages: 3, outcome: Err(Unanswered) }), "{finishes}");
    }
}

#[tokio::test]
async fn a_connection_that_is_old_is_looked_at_no_more_often_while_something_is_in_flight() {
    // The kernel of a peer that does not read acknowledges some of it.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("syslog://{}", socket.local_addr().unwrap());
    let _listener = socket.listen(1).unwrap();
    let mut outlet = outlet(&url, OutletConfig { idle_close: Duration::ZERO, ..config() });
    let (_never, mut stop) = watch::channel(None);
    let text = Bytes::from([b"65000 ".as_slice(), &[b'x'; 65_000]].concat());
    outlet.push(&Request::new(vec![text; 5], 5));
    timeout(PATIENCE, outlet.write(&mut stop, |_| {})).await.expect("it is written").unwrap();
    let mut looks = 0;
    let looked = async {
        loop {
            outlet.tend().await;
            looks += 1;
        }
    };
    timeout(Duration::from_millis(200), looked).await.unwrap_err();
    assert!((1..20).contains(&looks), "{looks} looks");
}

#[tokio::test]
async fn what_was_handed_over_together_is_given_up_together() {
    let (listener, url) = listener().await;
    drop(listener);
    let retry = RetryPolicy { max_age: Duration::from_millis(100), ..RetryPolicy::default() };
    let mut outlet = outlet(&url, OutletConfig { retry, ..config() });
    let (_never, mut stop) = watch::channel(None);
    for _ in 0..50 {
        outlet.push(&request());
    }
    let given_up = timeout(PATIENCE, outlet.write(&mut stop, |_| {})).await.unwrap().unwrap_err();
    assert_eq!((given_up.reason, outlet.must_write()), (Unreachable, false));
    assert_eq!(settled(&mut outlet, 150).await, [Settled { messages: 3, outcome: Err(Unreachable) }; 50]);
}

#[tokio::test]
async fn the_pause_after_a_connection_that_delivered_nothing_is_told() {
    let (listener, url) = listener().await;
    let retry = RetryPolicy { base: PATIENCE * 1000, cap: PATIENCE * 1000, ..RetryPolicy::default() };
    let mut outlet = outlet(&url, OutletConfig { retry, ..config() });
    outlet.doubt.time = PATIENCE;
    // More than the kernel of a peer that does not read acknowledges.
    let text = Bytes::from([b"65000 ".as_slice(), &[b'x'; 65_000]].concat());
    outlet.push(&Request::new(vec![text.clone(); 100], 100));
    let peer = async {
        let (mut peer, _) = listener.accept().await.unwrap();
        // The rest is unread, so this is a reset.
        peer.read_exact(&mut vec![0; 3 * text.len()]).await.unwrap();
    };
    // It ends within the pause, so nothing is waited for.
    let (_stop_tx, mut stop) = watch::channel(Some(Instant::now() + PATIENCE));
    let mut pauses = Vec::new();
    let written = outlet.write(&mut stop, |attempt| pauses.push(attempt.retry_in.unwrap_or_default()));
    let ((), written) = timeout(PATIENCE / 2, async { tokio::join!(peer, written) }).await.expect("it ends");
    assert_eq!(written.unwrap_err().reason, Unanswered);
    assert!(pauses.len() == 1 && pauses[0] > PATIENCE / 2, "{pauses:?}");
}
