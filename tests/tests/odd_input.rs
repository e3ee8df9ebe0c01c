//! What looks odd and is right: it is taken, and read as its sender meant it.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use logplex_tests::{Received, Server, Sink, basic, encode, numbered_frames, numbers};

const FRAMES: (&str, &str) = ("Content-Type", "application/logplex-1");

struct Door {
    server: Server,
    sink: Sink,
    token: String,
}

impl Door {
    fn start() -> Door {
        let (server, sink) = (Server::start(), Sink::start());
        let token = server.create_app("app");
        server.add_drain("app", &sink.url(""));
        Door { server, sink, token }
    }

    /// The message that the drain gets when `frame` is posted.
    #[track_caller]
    fn through(&self, frame: &[u8]) -> Received {
        let before = self.sink.received().len();
        assert_eq!(self.server.post_logs(&self.token, &[], &encode(frame)).0, 204);
        self.sink.wait_received("the message", |received| received.get(before).cloned())
    }

    /// Its fields are `PRI HOST SOURCE PROCID` and its text, as the drain gets them.
    #[track_caller]
    fn reads(&self, frame: &str, expected: (u8, &str, &str, &str)) {
        let got = self.through(frame.as_bytes());
        assert_eq!(
            (got.pri, got.app.as_str(), got.procid.as_str(), got.text.as_str()),
            expected,
            "{frame:?}"
        );
    }
}

#[test]
fn media_types_with_parameters_are_taken() {
    let door = Door::start();
    let kinds =
        ["application/logplex-1; charset=utf-8", "Application/Logplex-1", "application/x-logplex-1 ;a=b"];
    for (line, kind) in (0..).zip(kinds) {
        let body = numbered_frames(line..line + 1);
        assert_eq!(door.server.post_logs(&door.token, &[("Content-Type", kind)], &body).0, 204, "{kind}");
    }
    assert_eq!(numbers(&door.sink.wait_line(2)), [0, 1, 2]);
}

#[test]
fn an_empty_body_is_taken() {
    let door = Door::start();
    assert_eq!(door.server.post_logs(&door.token, &[], b"").0, 204);
    assert_eq!(door.server.post_logs(&door.token, &[("Logplex-Msg-Count", "0")], b"").0, 204);
    assert_eq!(door.server.post_logs(&door.token, &[("Content-Type", "text/plain")], b"\n\n").0, 204);
    assert_eq!(door.server.stats("app")["tokens"][0]["accepted"], 0);
}

#[test]
fn a_packed_body_is_taken() {
    let door = Door::start();
    let pack = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).expect("memory can be written to");
        encoder.finish().expect("memory can be written to")
    };
    // Two members are one body (RFC 1952, 2.2).
    let body = [pack(&numbered_frames(0..500)), pack(&numbered_frames(500..1000))].concat();
    let headers = [("Content-Encoding", "GZIP"), ("Logplex-Msg-Count", "1000")];
    assert_eq!(door.server.post_logs(&door.token, &headers, &body).0, 204);
    assert_eq!(numbers(&door.sink.wait_line(999)), (0..1000).collect::<Vec<_>>());
}

#[test]
fn a_chunked_body_is_taken() {
    let door = Door::start();
    let mut connection = door.server.connect();
    let (kind, authorization) = (FRAMES.1, basic("token", &door.token));
    let head = format!(
        "POST /logs HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\nContent-Type: {kind}\r\n\
         Transfer-Encoding: chunked\r\n\r\n"
    );
    connection.send_raw(head.as_bytes()).unwrap();
    for piece in numbered_frames(0..20).chunks(7) {
        connection.send_raw(&[format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()).unwrap();
    }
    connection.send_raw(b"0\r\n\r\n").unwrap();
    assert_eq!(connection.response().unwrap().status, 204);
    assert_eq!(numbers(&door.sink.wait_line(19)), (0..20).collect::<Vec<_>>());
}

#[test]
fn a_client_that_asks_first_is_told_to_go_on() {
    let door = Door::start();
    let mut connection = door.server.connect();
    let body = numbered_frames(0..1);
    let (kind, authorization) = (FRAMES.1, basic("token", &door.token));
    let head = format!(
        "POST /logs HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\nContent-Type: {kind}\r\n\
         Content-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        body.len()
    );
    connection.send_raw(head.as_bytes()).unwrap();
    // Reading past the interim answer would wait for the final one, which waits for the body.
    assert_eq!(connection.interim().unwrap(), 100);
    connection.send_raw(&body).unwrap();
    assert_eq!(connection.response().unwrap().status, 204);
}

#[test]
fn a_stranger_that_asks_first_is_refused_without_its_body() {
    let door = Door::start();
    let mut connection = door.server.connect();
    let head = "POST /logs HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n";
    connection.send_raw(head.as_bytes()).unwrap();
    assert_eq!(connection.response().unwrap().status, 401);
}

#[test]
fn credentials_are_taken_in_each_usual_form() {
    let door = Door::start();
    let token = door.token.clone();
    let forms = [
        basic("token", &token),
        basic("anyone", &token),
        basic("", &token),
        basic(&token, ""),
        format!("Bearer {token}"),
        format!("bearer {token}"),
        basic("token", &token).replacen("Basic", "BASIC", 1),
    ];
    for (line, form) in (0..).zip(&forms) {
        let body = numbered_frames(line..line + 1);
        assert_eq!(door.server.post_logs(&token, &[("Authorization", form)], &body).0, 204, "{form}");
    }
    assert_eq!(numbers(&door.sink.wait_line(6)), (0..7).collect::<Vec<_>>());
}

#[test]
fn the_token_as_app_name_becomes_its_name() {
    let door = Door::start();
    door.reads("<190>1 2026-01-02T03:04:05+00:00 h token web.1 - - a", (190, "app", "web.1", "a"));
    let own = format!("<190>1 2026-01-02T03:04:05+00:00 h {} web.1 - - b", door.token);
    door.reads(&own, (190, "app", "web.1", "b"));
    door.reads("<190>1 2026-01-02T03:04:05+00:00 h heroku router - - c", (190, "heroku", "router", "c"));
    door.reads("<190>1 2026-01-02T03:04:05+00:00 h tokens x - - d", (190, "tokens", "x", "d"));
}

#[test]
fn foreign_lines_are_understood() {
    let door = Door::start();
    door.reads(
        "<13>Oct 11 22:14:15 mymachine su[17]: 'su root' failed",
        (13, "su", "17", "'su root' failed"),
    );
    door.reads(
        "<40>1 2012-11-30T06:45:29+00:00 host app web.3 - State changed",
        (40, "app", "web.3", "State changed"),
    );
    door.reads("<40>1 2012-11-30T06:45:29Z h app p ID [a b=\"c\"] text", (40, "app", "p", "text"));
    door.reads("no head at all", (13, "app", "-", "no head at all"));
    door.reads("<999>1 - - - - - - x", (13, "app", "-", "<999>1 - - - - - - x"));
    let odd_time = door.through(b"<14>1 - h app p - - no time");
    assert!(odd_time.time.ends_with("+00:00") && odd_time.text == "no time", "{odd_time:?}");
}

#[test]
fn bytes_that_are_no_text_pass_unchanged() {
    let door = Door::start();
    let message = [b"<14>1 2026-01-02T03:04:05+00:00 h app p - - a\xff\x00\xfe\r\nb\n".as_slice()].concat();
    let got = door.through(&message);
    assert!(got.raw.ends_with(b" - a\xff\x00\xfe\r\nb\n"), "{got:?}");
}

#[test]
fn requests_on_one_connection_are_taken_in_order() {
    let door = Door::start();
    door.server.post_batches(&door.token, 0..300, 1);
    assert_eq!(numbers(&door.sink.wait_line(299)), (0..300).collect::<Vec<_>>());
}
