use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::client::{Connection, Response, request};
use crate::frame::{frame, numbered_frames, numbers};

const TYPE: (&str, &str) = ("Content-Type", "application/logplex-1");

fn post(sink: &Sink, id: &str, first: u64, n: u64) -> std::io::Result<Response> {
    let (body, count) = (numbered_frames(first..first + n), n.to_string());
    let headers = [TYPE, ("Logplex-Msg-Count", &count), ("Logplex-Frame-Id", id)];
    request(sink.address(), "POST", "/logs", &headers, &body)
}

fn status(sink: &Sink, id: &str, first: u64) -> u16 {
    post(sink, id, first, 1).expect("the sink answers").status
}

#[test]
fn answers_follow_the_script_and_only_2xx_is_received() {
    let sink = Sink::strict();
    sink.answer_next([Answer::status(503), Answer::with(429, &[("Retry-After", "7")])]);
    assert_eq!(status(&sink, "a", 0), 503);
    let limited = post(&sink, "a", 0, 1).unwrap();
    assert_eq!((limited.status, limited.headers.number("retry-after")), (429, Some(7)));
    assert_eq!(sink.received(), []);
    assert_eq!(status(&sink, "a", 0), 204);
    sink.answer(Answer::status(200));
    assert_eq!(status(&sink, "a", 0), 200);
    assert_eq!(status(&sink, "b", 1), 200);
    assert_eq!(numbers(&sink.all()), [0, 0, 1]);
    assert_eq!(numbers(&sink.received()), [0, 1]);
    let outcomes: Vec<Outcome> = sink.requests().iter().map(|request| request.outcome).collect();
    assert_eq!(outcomes, [503, 429, 204, 200, 200].map(Outcome::Answered));
}

#[test]
fn a_connection_is_kept_and_a_packed_body_is_read() {
    let sink = Sink::strict();
    let mut connection = Connection::open(sink.address()).unwrap();
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(&numbered_frames(0..3)).unwrap();
    let packed = packed.finish().unwrap();
    let headers = [TYPE, ("Logplex-Msg-Count", "3"), ("Content-Encoding", "gzip")];
    for _ in 0..2 {
        assert_eq!(connection.request("POST", "/logs?a=b", &headers, &packed).unwrap().status, 204);
    }
    assert_eq!((sink.connections(), sink.requests()[1].path.as_str()), (1, "/logs?a=b"));
    assert_eq!(numbers(&sink.received()), [0, 1, 2, 0, 1, 2]);
}

#[test]
fn a_gate_holds_requests_until_it_opens() {
    let sink = Sink::strict();
    let gate = sink.gate();
    thread::scope(|scope| {
        let posts = [0, 1].map(|line| {
            scope.spawn({
                let sink = &sink;
                move || status(sink, &line.to_string(), line)
            })
        });
        sink.wait_held(2);
        assert!(sink.requests().iter().all(|request| request.outcome == Outcome::Pending));
        gate.open();
        for post in posts {
            assert_eq!(post.join().unwrap(), 204);
        }
    });
    assert_eq!((sink.held(), status(&sink, "2", 2)), (0, 204));
    assert_eq!(sink.received().len(), 3);
}

#[test]
fn faults_leave_the_sender_without_an_answer() {
    let sink = Sink::strict();
    sink.answer_next([Answer::Reset, Answer::CloseBeforeRead]);
    let reset = post(&sink, "a", 0, 1).unwrap_err();
    assert_eq!(reset.kind(), std::io::ErrorKind::ConnectionReset);
    assert!(post(&sink, "a", 0, 1).is_err());
    assert_eq!(sink.requests().len(), 1, "the second was not read");
    assert_eq!(sink.requests()[0].outcome, Outcome::Unanswered);
    // Half a request is no request.
    let mut connection = Connection::open(sink.address()).unwrap();
    connection.send_raw(b"POST /logs HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf").unwrap();
    drop(connection);
    wait_for("the request that was cut short", || (sink.cut_short() == 1).then_some(()));
    assert_eq!(sink.received(), []);
}

#[test]
fn a_hanging_request_ends_with_its_sender_and_no_release_frees_it() {
    let sink = Sink::strict();
    sink.answer(Answer::Hang);
    let mut connection = Connection::open(sink.address()).unwrap();
    connection.send_raw(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n").unwrap();
    wait_for("the request", || (sink.requests().len() == 1).then_some(()));
    sink.release(Answer::status(204));
    assert_eq!((sink.held(), sink.requests()[0].outcome), (0, Outcome::Pending));
    drop(connection);
    wait_for("its end", || (sink.requests()[0].outcome == Outcome::Unanswered).then_some(()));
}

#[test]
fn a_peer_that_died_returns_on_its_port() {
    let sink = Sink::strict();
    assert_eq!(status(&sink, "a", 0), 204);
    let _gate = sink.gate();
    thread::scope(|scope| {
        let post = scope.spawn(|| post(&sink, "b", 1, 1));
        sink.wait_held(1);
        sink.stop();
        assert!(post.join().unwrap().is_err());
    });
    assert!(post(&sink, "b", 1, 1).is_err());
    sink.start_again();
    sink.answer(Answer::status(204));
    assert_eq!(status(&sink, "b", 1), 204);
    assert_eq!(numbers(&sink.received()), [0, 1]);
}

#[test]
#[should_panic(expected = "Logplex-Msg-Count 2 for 1 frames")]
fn a_wrong_count_is_not_passed_over() {
    let sink = Sink::strict();
    let headers = [TYPE, ("Logplex-Msg-Count", "2")];
    request(sink.address(), "POST", "/", &headers, &frame("app", "x")).unwrap();
    sink.received();
}

#[test]
#[should_panic(expected = "requests 0 and 1 differ under one frame id a")]
fn a_retry_with_other_bytes_is_not_passed_over() {
    let sink = Sink::strict();
    sink.answer_next([Answer::status(503)]);
    status(&sink, "a", 0);
    status(&sink, "a", 1);
    sink.received();
}
