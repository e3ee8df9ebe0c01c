//! Whatever is wrong with a request to `/logs`: it has its status and text, takes nothing, and is counted.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use logplex_tests::{Connection, Response, Server, Sink, basic, encode, frame, numbered_frames, numbers};

const FRAMES: (&str, &str) = ("Content-Type", "application/logplex-1");

/// The largest body and the largest frame.
const BODY_MAX: usize = 8 * 1024 * 1024;
const FRAME_MAX: usize = 64 * 1024;

struct Door {
    server: Server,
    sink: Sink,
    authorization: String,
}

impl Door {
    fn start() -> Door {
        let (server, sink) = (Server::start(), Sink::start());
        let token = server.create_app("app");
        server.add_drain("app", &sink.url(""));
        let authorization = basic("token", &token);
        Door { server, sink, authorization }
    }

    fn post(&self, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let headers = [&[("Authorization", self.authorization.as_str())], headers].concat();
        self.server.call("POST", "/logs", &headers, body)
    }

    fn rejected(&self, reason: &str) -> f64 {
        self.server.metrics().sum("logplex_ingest_rejected_requests_total", &[("reason", reason)])
    }

    fn accepted(&self) -> u64 {
        self.server.stats("app")["tokens"][0]["accepted"].as_u64().expect("a number")
    }

    /// What `request` does is refused with this status and text, and counted under `reason` alone.
    #[track_caller]
    fn refuses(&self, what: &str, status: u16, text: &str, reason: &str, request: impl FnOnce() -> Response) {
        let total = |door: &Door| door.server.metrics().sum("logplex_ingest_rejected_requests_total", &[]);
        let before = (total(self), self.rejected(reason), self.accepted());
        let answer = request();
        assert_eq!(answer.status, status, "{what}: {:?}", answer.text());
        assert!(answer.text().starts_with(text), "{what}: {:?}", answer.text());
        assert!(answer.text().len() < 500, "{what}: {} bytes", answer.text().len());
        let after = (total(self), self.rejected(reason), self.accepted());
        assert_eq!(after, (before.0 + 1.0, before.1 + 1.0, before.2), "{what}");
    }

    /// Only a line that is posted now reaches the drain.
    #[track_caller]
    fn took_nothing(&self) {
        assert_eq!(self.post(&[FRAMES], &numbered_frames(77..78)).status, 204);
        assert_eq!(numbers(&self.sink.wait_line(77)), [77]);
        assert_eq!(self.sink.received().len(), 1);
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory can be written to");
    encoder.finish().expect("memory can be written to")
}

#[test]
fn malformed_frames_are_refused_whole() {
    let door = Door::start();
    let good = numbered_frames(0..2);
    let long = encode(&vec![b'x'; FRAME_MAX + 1]);
    let rows: &[(&str, &[u8], &str)] = &[
        ("text", b"hello", "frame 1 at byte 0"),
        ("no count", b" <190>1 - - - - - - x", "frame 1 at byte 0"),
        ("a leading zero", b"05 hello", "frame 1 at byte 0"),
        ("a count of zero", b"0 ", "frame 1 at byte 0"),
        ("a sign", b"+5 hello", "frame 1 at byte 0"),
        ("a negative count", b"-5 hello", "frame 1 at byte 0"),
        ("a count without a space", b"5hello", "frame 1 at byte 0"),
        ("a count alone", b"5", "frame 1 at byte 0"),
        ("a count and a space", b"5 ", "frame 1 at byte 0"),
        ("hexadecimal", b"0x5 hello", "frame 1 at byte 0"),
        ("a newline between frames", b"5 hello\n5 hello", "frame 2 at byte 7"),
        ("a count that fits no integer", b"99999999999999999999999999 x", "frame 1 at byte 0"),
        ("a count of 32 bits and more", b"4294967301 hello", "frame 1 at byte 0"),
        ("cut short", b"10 hello", "frame 1 at byte 0"),
        ("over 64 KiB", &long, "frame 1 at byte 0"),
        ("NUL", b"\0", "frame 1 at byte 0"),
        ("not UTF-8", b"\xff\xfe", "frame 1 at byte 0"),
    ];
    for (what, body, place) in rows {
        let text = format!("Malformed log messages: {place}");
        door.refuses(what, 400, &text, "malformed", || door.post(&[FRAMES], body));
        // One bad frame behind good ones takes them with it.
        if *what != "a newline between frames" {
            let text = format!("Malformed log messages: frame 3 at byte {}", good.len());
            let body = [&good, *body].concat();
            door.refuses(what, 400, &text, "malformed", || door.post(&[FRAMES], &body));
        }
    }
    door.took_nothing();
}

#[test]
fn wrong_counts_are_refused() {
    let door = Door::start();
    let body = numbered_frames(0..2);
    for count in ["0", "1", "3", "18446744073709551616", "-2", "2.0", "two", "", "0x2", "2, 2"] {
        let headers = [FRAMES, ("Logplex-Msg-Count", count)];
        door.refuses(count, 400, "Message count mismatch", "count-mismatch", || door.post(&headers, &body));
    }
    let headers = [FRAMES, ("Logplex-Msg-Count", "1")];
    door.refuses("empty", 400, "Message count mismatch", "count-mismatch", || door.post(&headers, b""));
    door.took_nothing();
}

#[test]
fn bad_gzip_and_other_encodings_are_refused() {
    let door = Door::start();
    let packed = gzip(&numbered_frames(0..100));
    let encoded = [FRAMES, ("Content-Encoding", "gzip")];
    let corrupt: Vec<u8> = packed
        .iter()
        .enumerate()
        .map(|(at, byte)| if at == packed.len() - 6 { !byte } else { *byte })
        .collect();
    let bodies: [(&str, &[u8]); 4] = [
        ("not packed", b"5 hello"),
        ("cut short", &packed[..packed.len() / 2]),
        ("a wrong checksum", &corrupt),
        ("the head alone", &packed[..10]),
    ];
    for (what, body) in bodies {
        door.refuses(what, 400, "Bad request", "gzip", || door.post(&encoded, body));
    }
    let malformed = gzip(b"hello");
    let text = "Malformed log messages";
    door.refuses("packed text", 400, text, "malformed", || door.post(&encoded, &malformed));
    for encoding in ["deflate", "br", "gzip, gzip"] {
        let headers = [FRAMES, ("Content-Encoding", encoding)];
        let text = "Unsupported content encoding";
        door.refuses(encoding, 415, text, "media-type", || door.post(&headers, &packed));
    }
    door.took_nothing();
}

#[test]
fn bodies_over_8_mib_are_refused_however_they_come() {
    let door = Door::start();
    let line = frame("app", &"x".repeat(1000));
    let large = line.repeat(BODY_MAX / line.len() + 1);
    let text = "The body is over the limit of 8388608 bytes";
    door.refuses("declared", 413, text, "too-large", || door.post(&[FRAMES], &large));

    let bomb = gzip(&vec![b'0'; 64 * 1024 * 1024]);
    let encoded = [FRAMES, ("Content-Encoding", "gzip")];
    door.refuses("a bomb", 413, text, "too-large", || door.post(&encoded, &bomb));

    door.refuses("chunked", 413, text, "too-large", || {
        let mut connection = door.server.connect();
        connection.send_raw(&door.head("Transfer-Encoding: chunked")).expect("the head is taken");
        for piece in large.chunks(64 * 1024) {
            // The server may answer and close before it has read everything.
            let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
            if connection.send_raw(&chunk).is_err() {
                break;
            }
        }
        connection.response().expect("an answer")
    });
    door.refuses("declared, nothing sent", 413, text, "too-large", || {
        let mut connection = door.server.connect();
        connection.send_raw(&door.head("Content-Length: 99999999999")).expect("the head is taken");
        connection.response().expect("an answer")
    });
    door.took_nothing();
}

#[test]
fn a_body_of_8_mib_is_taken() {
    let door = Door::start();
    let line = frame("app", &"x".repeat(60_000));
    let whole = line.repeat(BODY_MAX / line.len());
    assert_eq!(door.post(&[FRAMES], &whole).status, 204);
    let largest = encode(format!("<190>1 - h app web.1 - - {:x<65507}", "").as_bytes());
    assert_eq!(largest.len(), FRAME_MAX + "65536 ".len() - 4);
    assert_eq!(door.post(&[FRAMES], &largest).status, 204);
    assert_eq!(door.accepted(), (whole.len() / line.len()) as u64 + 1);
}

#[test]
fn other_media_types_are_refused() {
    let door = Door::start();
    let body = numbered_frames(0..1);
    let form = "application/x-www-form-urlencoded";
    for kind in ["application/json", form, "text/html", "", "logplex-1", "text/plain; name=\u{e9}"] {
        let headers = [("Content-Type", kind)];
        let text = "Unsupported media type";
        door.refuses(kind, 415, text, "media-type", || door.post(&headers, &body));
    }
    door.refuses("none", 415, "Unsupported media type", "media-type", || door.post(&[], &body));
    door.took_nothing();
}

#[test]
fn strangers_are_refused() {
    let door = Door::start();
    let body = numbered_frames(0..1);
    let unknown = "t.00000000-0000-4000-8000-000000000000";
    let rows = [
        ("none", None),
        ("an unknown token", Some(basic("token", unknown))),
        ("an unknown bearer", Some(format!("Bearer {unknown}"))),
        ("an API key", Some(format!("Bearer {}", logplex_tests::API_KEY))),
        ("no base64", Some("Basic !!!".to_owned())),
        ("no colon", Some("Basic dG9rZW4=".to_owned())),
        ("not UTF-8", Some("Basic //79".to_owned())),
        ("no scheme", Some(unknown.to_owned())),
        ("another scheme", Some("Digest username=\"token\"".to_owned())),
        ("empty", Some(String::new())),
        ("endless", Some(format!("Basic {}", "A".repeat(8000)))),
        ("nothing but the scheme", Some("Bearer ".to_owned())),
        ("an empty password", Some(basic("token", ""))),
    ];
    for (what, authorization) in &rows {
        let mut headers = vec![FRAMES];
        headers.extend(authorization.iter().map(|value| ("Authorization", value.as_str())));
        let answer = door.server.call("POST", "/logs", &headers, &body);
        assert_eq!(answer.headers.get("www-authenticate"), Some("Basic realm=Logplex"), "{what}");
        door.refuses(what, 401, "the token is missing or unknown", "unauthorized", || {
            door.server.call("POST", "/logs", &headers, &body)
        });
    }
    door.took_nothing();
}

#[test]
fn other_methods_are_refused() {
    let door = Door::start();
    for method in ["GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"] {
        let headers = [("Authorization", door.authorization.as_str()), FRAMES];
        let mut connection = door.server.connect();
        let body: &[u8] = if method == "HEAD" { b"" } else { b"5 hello" };
        let head = format!("{method} /logs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
        let rest: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = format!("Content-Length: {}\r\n\r\n", body.len());
        connection.send_raw(&[(head + &rest + &length).as_bytes(), body].concat()).expect("it is taken");
        assert_eq!(connection.response().expect("an answer").status, 405, "{method}");
    }
    door.took_nothing();
}

#[test]
fn a_body_that_its_sender_cuts_short_takes_nothing() {
    let door = Door::start();
    let body = numbered_frames(0..10);
    let length = format!("Content-Length: {}", body.len());
    door.refuses("half closed", 400, "Bad request", "truncated", || {
        let mut connection = door.server.connect();
        connection.send_raw(&[door.head(&length), body[..100].to_vec()].concat()).expect("it is taken");
        connection.finish_sending().expect("it can be half closed");
        connection.response().expect("an answer")
    });
    door.gone("closed", &[door.head(&length), body[..100].to_vec()].concat());
    door.gone(
        "chunked and closed",
        &[door.head("Transfer-Encoding: chunked"), b"7\r\n5 hello\r\n".to_vec()].concat(),
    );
    door.gone(
        "a broken chunk",
        &[door.head("Transfer-Encoding: chunked"), b"zz\r\n5 hello\r\n".to_vec()].concat(),
    );
    door.took_nothing();
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    let door = Door::start();
    let mut connection = door.server.connect();
    connection
        .send_raw(&[door.head("Content-Length: 100"), b"5 hel".to_vec()].concat())
        .expect("it is taken");
    door.refuses("slow", 408, "The body did not arrive within 15 s", "timeout", || {
        connection.response().expect("an answer")
    });
    door.took_nothing();
}

#[test]
fn who_is_over_the_rate_is_told_when_to_come_back() {
    let server = Server::options().args(&["--channel-rate", "1"]).start();
    let (busy, quiet) = (server.create_app("busy"), server.create_app("quiet"));
    server.post_lines(&busy, 0, 1024);
    let credentials = basic("token", &busy);
    let headers = [("Authorization", credentials.as_str()), FRAMES];
    let answer = server.call("POST", "/logs", &headers, &numbered_frames(0..1024));
    assert_eq!((answer.status, answer.headers.get("retry-after")), (429, Some("1")));
    assert_eq!(
        server.metrics().sum("logplex_ingest_rejected_requests_total", &[("reason", "over-rate")]),
        1.0
    );
    assert_eq!(server.stats("busy")["tokens"][0]["accepted"], 1024);
    server.post_lines(&quiet, 0, 1024);
}

impl Door {
    /// The head of a POST with this header line about its body.
    fn head(&self, body: &str) -> Vec<u8> {
        let (kind, authorization) = (FRAMES.1, &self.authorization);
        format!(
            "POST /logs HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\nContent-Type: {kind}\r\n{body}\r\n\r\n"
        )
        .into_bytes()
    }

    /// Sends `bytes` and goes: nobody is left to be answered, but it is counted.
    #[track_caller]
    fn gone(&self, what: &str, bytes: &[u8]) {
        let before = self.rejected("truncated");
        let mut connection: Connection = self.server.connect();
        connection.send_raw(bytes).expect("it is taken");
        drop(connection);
        logplex_tests::wait_for(what, || (self.rejected("truncated") == before + 1.0).then_some(()));
    }
}
