use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use super::*;

/// The head of a request with a body of `length` bytes, and those.
fn request(token: &str, length: usize, body: &str) -> String {
    format!(
        "POST /logs HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Type: text/plain\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
}

/// Sends pieces, each so many seconds after the one before; the statuses that came back, and for how many seconds the
/// connection lived after the last.
async fn talk(pieces: impl Fn(&str) -> Vec<(u64, String)>) -> (Vec<String>, u64) {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(Config::passing(data.path().to_owned())).await.expect("a server");
    let app = server.app();
    let token = app.hub.put_channel("c", &["app".to_owned()]).expect("a channel").0.tokens[0].id.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut peer =
        TcpStream::connect(listener.local_addr().expect("an address")).await.expect("a connection");
    let stream = listener.accept().await.expect("a connection").0;
    tokio::time::pause();
    let at_work = AtWork::new(&server.requests);
    let served =
        serve_connection(stream, app.clone(), router(app.clone()), at_work, CancellationToken::new());
    let asked = async {
        for (pause, piece) in pieces(&token) {
            sleep(Duration::from_secs(pause)).await;
            peer.write_all(piece.as_bytes()).await.expect("it is taken");
        }
        let begun = Instant::now();
        let mut answers = String::new();
        let read = timeout(Duration::from_secs(600), peer.read_to_string(&mut answers)).await;
        read.expect("it ends").expect("it can be read");
        let statuses = answers.lines().filter_map(|line| line.strip_prefix("HTTP/1.1 "));
        (
            statuses.map(|status| status[..3].to_owned()).collect(),
            begun.elapsed().as_secs_f64().round() as u64,
        )
    };
    tokio::join!(served, asked).1
}

#[tokio::test]
async fn a_head_has_75_s() {
    let (statuses, lived) = talk(|_| vec![(0, "POST /lo".into())]).await;
    assert_eq!((statuses, lived), (vec![], 75));
}

#[tokio::test]
async fn the_next_head_has_75_s_too_after_the_answer() {
    let pieces = |token: &str| vec![(0, request(token, 2, "hi")), (70, "POST /lo".into())];
    assert_eq!(talk(pieces).await, (vec!["204".to_owned()], 5));
}

#[tokio::test]
async fn a_body_has_15_s() {
    let pieces = |token: &str| vec![(0, request(token, 9, "hi")), (10, " you".into())];
    let (statuses, lived) = talk(pieces).await;
    assert_eq!((statuses, lived), (vec!["408".to_owned()], 5));
}

#[tokio::test]
async fn each_body_of_a_connection_has_15_s() {
    let pieces = |token: &str| {
        vec![(0, request(token, 2, "hi")), (14, request(token, 2, "ho")), (60, request(token, 9, "hi"))]
    };
    let (statuses, lived) = talk(pieces).await;
    assert_eq!((statuses, lived), (["204", "204", "408"].map(str::to_owned).to_vec(), 15));
}
