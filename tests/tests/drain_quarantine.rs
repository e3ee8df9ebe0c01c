//! A drain that refuses everything is left alone but for probes that risk no message, and its channel is told when
//! that begins and when it ends.

use logplex_tests::{
    Answer, Code, Drain, Server, Sink, Tail, conservation, notices, numbers, told_sum, wait_for,
};
use serde_json::json;

const CHANNEL: &str = "app";
const RING: u64 = 1024;
const REFUSALS: u64 = 8;

struct Walk {
    server: Server,
    sink: Sink,
    tail: Tail,
    token: String,
    drain: Drain,
}

impl Walk {
    /// The first probe goes after `probe_after` seconds.
    fn start(probe_after: &str) -> Walk {
        let (server, sink) = (Server::options().args(&["--probe-after", probe_after]).start(), Sink::start());
        let token = server.create_app(CHANNEL);
        let drain = server.add_drain(CHANNEL, &sink.url("in"));
        let session = json!({ "tail": true, "num": "0", "source": "heroku" });
        let tail = Tail::open(&server.create_session(CHANNEL, session));
        Walk { server, sink, tail, token, drain }
    }

    /// Lines are posted one by one and refused until that is enough; how many were lost, and how many posted. The
    /// drain's notices are refused too, and count.
    fn quarantine(&self) -> (u64, u64) {
        self.sink.answer(Answer::status(403));
        let mut posted = 0;
        let seen = || self.server.drain_ledger(CHANNEL, &self.drain);
        let quarantined = || self.server.drain_status(CHANNEL, &self.drain)["state"] == "quarantined";
        while !quarantined() {
            self.server.post_lines(&self.token, posted, 1);
            posted += 1;
            wait_for("a refusal", || (seen().lost("refused") == posted || quarantined()).then_some(()));
        }
        assert_eq!(self.sink.requests().len() as u64, REFUSALS);
        let ledger = seen();
        assert_eq!(ledger.held + ledger.lost("refused"), posted);
        (ledger.lost("refused"), posted)
    }

    /// The texts of this drain's quarantine lines on the channel.
    fn lines(&self) -> Vec<String> {
        let start = format!("Drain {} ", self.drain.token);
        let own = |line: logplex_tests::TailLine| (line.procid == "logplex").then_some(line.text);
        self.tail.parsed().into_iter().filter_map(own).filter(|text| text.starts_with(&start)).collect()
    }

    #[track_caller]
    fn wait_lines(&self, n: usize) -> Vec<String> {
        wait_for(&format!("{n} lines of quarantine"), || Some(self.lines()).filter(|lines| lines.len() >= n))
    }

    /// All lines up to `last` add up; `lost` of them were refused and `dropped` pushed out.
    #[track_caller]
    fn check(&self, last: u64, lost: u64, dropped: u64) {
        let received = self.sink.wait_line(last);
        let ledger = self.server.rested(CHANNEL, &self.drain);
        assert_eq!((ledger.lost("refused"), ledger.dropped("full")), (lost, dropped));
        conservation(0..last + 1, &numbers(&received), told_sum(&notices(&received), &[Code::L10]));
    }
}

#[test]
fn a_probe_risks_no_message_and_the_first_delivery_ends_a_quarantine() {
    let walk = Walk::start("1");
    let (lost, posted) = walk.quarantine();
    let at_the_start = walk.sink.requests().len();
    let last = lost + RING + 8;
    walk.server.post_batches(&walk.token, posted..last + 1, 100);
    wait_for("a second probe", || (walk.sink.requests().len() >= at_the_start + 2).then_some(()));
    for probe in &walk.sink.requests()[at_the_start..] {
        let [notice] = probe.messages() else {
            panic!("a notice alone, not {} messages", probe.messages().len())
        };
        assert!(notice.text.starts_with("Error L10"), "{notice:?}");
    }
    let ledger = walk.server.drain_ledger(CHANNEL, &walk.drain);
    assert_eq!((ledger.held, ledger.dropped("full"), ledger.lost("refused")), (RING, 9, lost));

    walk.sink.answer(Answer::status(204));
    walk.check(last, lost, 9);
    let lines = walk.wait_lines(2);
    let [start, end] = lines.as_slice() else {
        panic!("one line at the start and one at the end, not {lines:?}")
    };
    let token = &walk.drain.token;
    let expected = format!(
        "Drain {token} quarantined: 8 requests in a row were refused, last 403 Forbidden; next probe in 1 s"
    );
    assert_eq!(*start, expected);
    assert!(end.starts_with(&format!("Drain {token} out of quarantine after ")), "{end}");
    assert!(end.ends_with(" s: it delivers again"), "{end}");
    // The lines are for the channel, not for its drains, and count as the router's own.
    assert!(walk.sink.received().iter().all(|message| !message.text.contains("quarantine")));
    assert!(walk.server.tails_ledger(CHANNEL).generated >= 2);
    let logs = walk.server.api("GET", "/v3/channels/app/logs?num=1500", None).expect(&[200]).text();
    assert!(logs.contains("out of quarantine"));
}

#[test]
fn the_order_to_resume_ends_a_quarantine_at_once() {
    let walk = Walk::start("3600");
    let (lost, posted) = walk.quarantine();
    walk.server.post_lines(&walk.token, posted, 5);
    let status = walk.server.drain_status(CHANNEL, &walk.drain);
    assert_eq!(
        (status["held"].as_u64(), status["last_status"].as_u64()),
        (Some(posted - lost + 5), Some(403))
    );
    assert_eq!(status["last_error"], "the peer answered 403 Forbidden");
    assert!(status["next_try_at"].is_string(), "{status}");

    walk.sink.answer(Answer::status(204));
    walk.server.order_drain(CHANNEL, &walk.drain, "resume");
    walk.check(posted + 4, lost, 0);
    let lines = walk.wait_lines(2);
    assert!(lines[1].ends_with("s: it was resumed"), "{lines:?}");
}

#[test]
fn another_url_ends_a_quarantine_at_once() {
    let (walk, other) = (Walk::start("3600"), Sink::start());
    let (_, posted) = walk.quarantine();
    walk.server.post_lines(&walk.token, posted, 5);
    let path = format!("/v3/channels/app/drains/{}", walk.drain.id);
    walk.server.api("PUT", &path, Some(&json!({ "url": other.url("") }))).expect(&[200]);
    let received = other.wait_line(posted + 4);
    conservation(0..posted + 5, &numbers(&received), told_sum(&notices(&received), &[Code::L10]));
    let lines = walk.wait_lines(2);
    assert!(lines[1].ends_with("s: its URL was set"), "{lines:?}");
}

#[test]
fn answers_that_pass_do_not_lead_to_quarantine() {
    let walk = Walk::start("3600");
    walk.sink.answer(Answer::status(503));
    walk.server.post_lines(&walk.token, 0, 5);
    wait_for("as many attempts as would do", || (walk.sink.requests().len() > 8).then_some(()));
    assert_eq!(walk.server.drain_status(CHANNEL, &walk.drain)["state"], "retrying");
    walk.sink.answer(Answer::status(204));
    walk.sink.wait_line(4);
    walk.server.wait_drain_state(CHANNEL, &walk.drain, "idle");
    assert_eq!(walk.lines(), Vec::<String>::new());
}

#[test]
fn a_stop_in_quarantine_is_told_by_the_next_start() {
    let mut walk = Walk::start("3600");
    let (_, posted) = walk.quarantine();
    walk.server.post_lines(&walk.token, posted, 5);
    let seen = walk.sink.requests().len();
    assert_eq!(walk.server.term().code(), Some(0));
    assert_eq!(walk.sink.requests().len(), seen, "a stop sends nothing to who takes nothing");
    walk.sink.answer(Answer::status(204));
    walk.server.restart();
    let told = walk.sink.wait_received("the notice", |received| {
        let told = notices(received);
        (!told.is_empty()).then_some(told)
    });
    assert_eq!((told.len(), told[0].count), (1, posted + 5));
}
