//! Every answer and every failure of an http drain's destination: what becomes of the messages, what the drain's
//! status says meanwhile, and what the next notice tells.

use std::thread;
use std::time::{Duration, SystemTime};

use logplex_tests::{Answer, Drain, Request, Server, Sink, Told, notices, numbers};
use serde_json::{Value, json};

/// What becomes of the messages.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Delivered,
    /// Sent again with the same bytes, this many milliseconds later at the earliest.
    Retried(u64),
    /// Given up, for this reason.
    Lost(&'static str),
    /// Sent again in two halves.
    Halved,
}

/// The drain's first request carries `lines` lines and meets this.
struct Row {
    name: String,
    lines: u64,
    answers: Vec<Answer>,
    fate: Fate,
    /// What its status says then: how its error begins, and the last answer.
    error: String,
    status: Option<u16>,
}

impl Row {
    fn answered(status: u16, fate: Fate) -> Row {
        Row {
            name: status.to_string(),
            lines: 4,
            answers: vec![Answer::status(status)],
            fate,
            error: format!("the peer answered {status} "),
            status: Some(status),
        }
    }

    fn retry_after(status: u16, after: &str, fate: Fate) -> Row {
        let answers = vec![Answer::with(status, &[("Retry-After", after)])];
        Row { name: format!("{status} after {after}"), answers, ..Row::answered(status, fate) }
    }

    fn failed(name: &str, answer: Answer, error: &str) -> Row {
        let fate = Fate::Retried(0);
        Row {
            name: name.to_owned(),
            lines: 4,
            answers: vec![answer],
            fate,
            error: error.to_owned(),
            status: None,
        }
    }
}

fn rows() -> Vec<Row> {
    use Fate::{Delivered, Halved, Lost, Retried};
    let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3));
    let mut rows: Vec<Row> = [
        (&[200, 201, 202, 204][..], Delivered),
        (&[300, 301, 302, 303, 304, 307, 308], Lost("redirected")),
        (&[400, 401, 402, 403, 404, 405, 410, 411, 415, 422, 431, 451], Lost("refused")),
        (&[408, 425, 429, 500, 501, 502, 503, 504, 507], Retried(0)),
        (&[413], Halved),
    ]
    .into_iter()
    .flat_map(|(statuses, fate)| statuses.iter().map(move |status| Row::answered(*status, fate)))
    .collect();
    let broken = "the connection broke before an answer came";
    rows.extend([
        Row { name: "413, one message".to_owned(), lines: 1, ..Row::answered(413, Lost("too-large")) },
        Row::retry_after(429, "1", Retried(1000)),
        // Written a moment ago, in whole seconds.
        Row::retry_after(429, &soon, Retried(1000)),
        Row::retry_after(503, "1", Retried(1000)),
        Row::retry_after(503, "soon", Retried(0)),
        Row::failed("reset before the answer", Answer::Reset, broken),
        Row::failed("closed ahead of the request", Answer::CloseBeforeRead, "the connection "),
        Row::failed("no answer", Answer::Hang, "no answer within 5s"),
        // It may have been taken, whatever the second answer says.
        Row {
            name: "404 after a reset".to_owned(),
            answers: vec![Answer::Reset, Answer::status(404)],
            ..Row::answered(404, Lost("unanswered"))
        },
        Row {
            name: "404 after a 503".to_owned(),
            answers: vec![Answer::status(503), Answer::status(404)],
            ..Row::answered(404, Lost("refused"))
        },
    ]);
    rows
}

/// A channel and a drain for one row.
struct Walk<'a> {
    server: &'a Server,
    channel: String,
    token: String,
    drain: Drain,
    sink: Sink,
}

impl<'a> Walk<'a> {
    fn start(server: &'a Server, number: usize, url: impl FnOnce(&Sink) -> String) -> Walk<'a> {
        let (channel, sink) = (format!("row-{number}"), Sink::start());
        let token = server.create_app(&channel);
        let drain = server.add_drain(&channel, &url(&sink));
        Walk { server, channel, token, drain, sink }
    }

    fn post(&self, first: u64, lines: u64) {
        self.server.post_lines(&self.token, first, lines);
    }

    /// State, last answer and counts, as the drain's own route tells them, and the error.
    fn status(&self) -> (Value, String) {
        let mut status = self.server.drain_status(&self.channel, &self.drain);
        let error = status["last_error"].as_str().unwrap_or_default().to_owned();
        let shown = ["state", "last_status", "accepted", "delivered", "dropped", "lost", "held"];
        let shown: serde_json::Map<_, _> =
            shown.iter().map(|key| ((*key).to_owned(), status[*key].take())).collect();
        (shown.into(), error)
    }

    /// Waits until the drain's status is this, with an error that begins so.
    #[track_caller]
    fn wait_status(&self, expected: &Value, error: &str) {
        let mut seen = None;
        let met = logplex_tests::poll_until(logplex_tests::DEADLINE, || {
            let now = seen.insert(self.status());
            (now.0 == *expected && now.1.starts_with(error) && now.1.is_empty() == error.is_empty())
                .then_some(())
        });
        assert!(met.is_some(), "expected {expected} {error:?}, not {seen:?}");
    }

    /// The first try failed and another is under way, unanswered: all is held.
    #[track_caller]
    fn wait_retrying(&self, row: &Row) {
        let expected = json!({
            "state": "retrying", "last_status": row.status, "accepted": row.lines, "delivered": 0,
            "dropped": {}, "lost": {}, "held": row.lines,
        });
        self.wait_status(&expected, &row.error);
    }

    /// Nothing is held any more: `delivered` messages arrived of those accepted, and these are lost.
    #[track_caller]
    fn wait_idle(&self, last_status: u16, accepted: u64, delivered: u64, lost: &Value) {
        let expected = json!({
            "state": "idle", "last_status": last_status, "accepted": accepted, "delivered": delivered,
            "dropped": {}, "lost": lost, "held": 0,
        });
        self.wait_status(&expected, "");
        // The stats route and the metrics say the same.
        let ledger = self.server.rested(&self.channel, &self.drain);
        assert_eq!((ledger.accepted, ledger.delivered, ledger.dropped.len()), (accepted, delivered, 0));
        assert_eq!(json!(ledger.lost), *lost);
    }

    /// All lines came, and the sink was told of no loss.
    #[track_caller]
    fn all_came(&self, lines: u64, last_status: u16) {
        self.wait_idle(last_status, lines, lines, &json!({}));
        let received = self.sink.received();
        assert_eq!((numbers(&received), notices(&received)), (Vec::from_iter(0..lines), vec![]));
    }
}

#[track_caller]
fn check(walk: &Walk<'_>, row: &Row) {
    let sink = &walk.sink;
    sink.answer_next(row.answers.iter().cloned());
    let sizes = || sink.requests().iter().map(|request| request.messages().len()).collect::<Vec<_>>();
    match row.fate {
        Fate::Delivered => {
            walk.post(0, row.lines);
            walk.all_came(row.lines, row.status.expect("an answer"));
            assert_eq!(sizes(), [4]);
        }
        Fate::Retried(pause) => {
            sink.answer_next([Answer::Hold]);
            walk.post(0, row.lines);
            sink.wait_held(1);
            walk.wait_retrying(row);
            sink.release(Answer::status(204));
            walk.all_came(row.lines, 204);
            // One that was closed before it was read is not among them.
            if let [first, again] = sink.requests().as_slice() {
                assert_same(first, again);
                let paused = again.arrived - first.arrived;
                assert!(paused >= Duration::from_millis(pause), "{paused:?}");
            } else {
                assert_eq!((sizes().len(), &row.answers[..]), (1, &[Answer::CloseBeforeRead][..]));
            }
        }
        Fate::Lost(reason) => {
            // The notice goes at once, alone, and is held while the status is looked at.
            sink.answer_next([Answer::Hold]);
            walk.post(0, row.lines);
            sink.wait_held(1);
            let lost = json!({ reason: row.lines });
            let expected = json!({
                "state": "delivering", "last_status": row.status, "accepted": row.lines, "delivered": 0,
                "dropped": {}, "lost": lost, "held": 0,
            });
            walk.wait_status(&expected, &row.error);
            sink.release(Answer::status(204));
            walk.wait_idle(204, row.lines, 0, &lost);
            walk.post(row.lines, 2);
            walk.wait_idle(204, row.lines + 2, 2, &lost);
            let requests = sink.requests();
            assert_eq!(requests.len(), row.answers.len() + 2, "tries, the notice, what came after");
            requests[..row.answers.len()].windows(2).for_each(|tries| assert_same(&tries[0], &tries[1]));
            let received = sink.received();
            let told = Told::parse_strictly(&received[0].text).expect("a notice ahead of all");
            assert_eq!((told.count, told.fact("reason")), (row.lines, Some(reason)));
            assert_eq!((told.facts.len(), told.fact("lost")), (2, Some(row.lines.to_string().as_str())));
            assert_eq!((received.len(), numbers(&received)), (3, vec![row.lines, row.lines + 1]));
        }
        Fate::Halved => {
            walk.post(0, row.lines);
            walk.all_came(row.lines, 204);
            assert_eq!(sizes(), [4, 2, 2]);
        }
    }
}

/// A retry has the bytes and the id of the first try.
#[track_caller]
fn assert_same(first: &Request, again: &Request) {
    assert_eq!((&first.body, first.frame_id()), (&again.body, again.frame_id()));
    assert!(first.frame_id().is_some());
}

#[test]
fn every_answer_and_every_failure_has_its_outcome() {
    // Some take seconds, so the rows run beside each other, each on a channel of its own.
    let (server, rows) = (Server::start(), rows());
    thread::scope(|scope| {
        let each = rows.iter().enumerate().map(|(number, row)| {
            let server = &server;
            let run = move || check(&Walk::start(server, number, |sink| sink.url("in")), row);
            (row.name.as_str(), thread::Builder::new().name(row.name.clone()).spawn_scoped(scope, run))
        });
        let each: Vec<_> = each.collect();
        let failed = each
            .into_iter()
            .filter_map(|(name, thread)| thread.expect("a thread").join().is_err().then_some(name));
        assert_eq!(failed.collect::<Vec<_>>(), [""; 0]);
    });
}

#[test]
fn a_destination_that_cannot_be_reached_gets_it_later() {
    // A proxy of this machine's would do the look-up.
    let server = Server::options().env("no_proxy", "*").start();
    let refused = Row::failed("refused", Answer::Hold, "no connection: cannot connect to 127.0.0.1:");
    let walk = Walk::start(&server, 0, |sink| {
        sink.stop();
        sink.url("in")
    });
    walk.post(0, refused.lines);
    walk.wait_retrying(&refused);
    walk.sink.start_again();
    walk.all_came(refused.lines, 204);

    let unknown = Row::failed("unknown", Answer::Hold, "no connection: ");
    let walk = Walk::start(&server, 1, |_| "http://nowhere.invalid/in".to_owned());
    walk.post(0, unknown.lines);
    walk.wait_retrying(&unknown);
    let (_, error) = walk.status();
    assert!(["looked up", "looking up", "no address"].iter().any(|why| error.contains(why)), "{error}");
    let path = format!("/v3/channels/{}/drains/{}", walk.channel, walk.drain.id);
    let url = walk.sink.url("in");
    server.api("PUT", &path, Some(&json!({ "url": url }))).expect(&[200]);
    walk.all_came(unknown.lines, 204);
}
