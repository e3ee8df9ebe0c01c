use std::net::TcpListener;

use super::*;

const L11: &str =
    "L11 (Tail buffer overflow) -> This tail session dropped 2 messages since 2011-05-03T17:35:00+00:00";

/// A peer that sends what it is told to, on a websocket at `url`.
struct Peer {
    url: String,
    accepted: JoinHandle<WebSocket<TcpStream>>,
}

fn peer() -> Peer {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/sessions/x?a=b", listener.local_addr().unwrap());
    let accepted = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        tungstenite::accept(stream).unwrap()
    });
    Peer { url, accepted }
}

#[test]
fn lines_numbers_and_notices_are_read() {
    let peer = peer();
    let tail = Tail::open(&peer.url);
    let mut socket = peer.accepted.join().unwrap();
    socket.send(Message::text("T app[web.1]: line 4\nT app[web.1]: line 5\n")).unwrap();
    socket.send(Message::Ping("x".into())).unwrap();
    socket.send(Message::text(format!("T heroku[logplex]: {L11}\nT app[web.1]: line 8\n"))).unwrap();
    tail.wait_number(8);
    assert_eq!(tail.numbers(), [4, 5, 8]);
    assert_eq!(tail.told(), [Told::parse(L11).unwrap()]);
    assert_eq!((tail.frames(), tail.pings()), (2, 1));
    assert!(matches!(socket.read(), Ok(Message::Pong(_))));
    socket.close(None).unwrap();
    tail.wait_ended();
}

#[test]
fn a_paused_tail_reads_nothing() {
    let peer = peer();
    let tail = Tail::narrow(&peer.url);
    let mut socket = peer.accepted.join().unwrap();
    tail.pause();
    socket.send(Message::text("T app[web.1]: line 1\n")).unwrap();
    assert_eq!(tail.lines(), [""; 0]);
    tail.resume();
    tail.wait_number(1);
}

#[test]
#[should_panic(expected = "a tail's frame is wrong")]
fn a_line_without_an_end_is_not_passed_over() {
    let peer = peer();
    let tail = Tail::open(&peer.url);
    peer.accepted.join().unwrap().send(Message::text("T app[web.1]: line 1")).unwrap();
    tail.wait_number(1);
}

#[test]
fn a_refusal_has_its_status() {
    let sink = crate::Sink::start();
    sink.answer(crate::Answer::status(404));
    assert_eq!(Tail::try_open(&sink.url("/sessions/none")).unwrap_err(), 404);
}
