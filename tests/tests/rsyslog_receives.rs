//! A syslog drain into Debian's rsyslog: nothing is missing, nothing is doubled, and what it costs when that is
//! stopped, or killed, in mid-stream is told.

use std::time::{Duration, Instant};

use logplex_tests::{
    Code, Drain, LedgerSeen, Received, Rsyslog, Server, Signal, conservation, conservation_within, notices,
    numbers, told_sum, wait_for,
};

/// How many lines are posted at once; two such steps are under way at the most, which fit a drain's ring.
const STEP: u64 = 500;

/// What was acknowledged for so long counts as delivered, whatever becomes of the connection.
const DOUBT: Duration = Duration::from_millis(100);

struct Walk {
    server: Server,
    token: String,
    drain: Drain,
    rsyslog: Rsyslog,
    posted: u64,
}

impl Walk {
    fn start() -> Walk {
        let (server, rsyslog) = (Server::start(), Rsyslog::receiver());
        let token = server.create_app("app");
        let drain = server.add_drain("app", &rsyslog.url());
        Walk { server, token, drain, rsyslog, posted: 0 }
    }

    /// Posts the next lines, one request.
    fn post(&mut self, lines: u64) {
        self.server.post_lines(&self.token, self.posted, lines);
        self.posted += lines;
    }

    /// Posts lines in steps, each when all but the newest step before it is settled: 10,000 a second at the most,
    /// because a step is settled 100 ms after it was acknowledged.
    fn stream(&mut self, lines: u64) {
        for _ in 0..lines / STEP {
            let least = self.posted.saturating_sub(STEP);
            wait_for("the lines before the last ones", || {
                let ledger = self.server.drain_ledger("app", &self.drain);
                (ledger.delivered + ledger.gone() >= least).then_some(())
            });
            self.post(STEP);
        }
    }

    /// All that was posted arrived or was told, in order and none twice; how much was told beyond what is missing, and
    /// the ledger. Where nothing was told, nothing is missing.
    #[track_caller]
    fn judge(&self, endings: u64) -> (u64, LedgerSeen) {
        let ledger = self.server.rested("app", &self.drain);
        let told = |received: &[Received]| told_sum(&notices(received), &[Code::L10]);
        let received = wait_for("the last notice", || {
            Some(self.rsyslog.taken()).filter(|received| told(received) >= ledger.gone())
        });
        assert!(ledger.lost.keys().all(|reason| reason == "unanswered"), "{ledger:?}");
        assert!(ledger.dropped.is_empty(), "{ledger:?}");
        let (numbers, told) = (numbers(&received), told(&received));
        // Each ending may leave a notice in doubt, which is then told again.
        conservation_within(0..self.posted, &numbers, told, ledger.lost("unanswered") * endings);
        (told + numbers.len() as u64 - self.posted, ledger)
    }
}

#[test]
fn a_hundred_thousand_messages_arrive_once() {
    let mut walk = Walk::start();
    walk.stream(100_000);
    let received = walk.rsyslog.wait_line(99_999);
    assert_eq!(received.len(), 100_000);
    conservation(0..100_000, &numbers(&received), 0);
    let ledger = walk.server.rested("app", &walk.drain);
    assert_eq!((ledger.accepted, ledger.delivered, ledger.gone()), (100_000, 100_000, 0));
    // As rsyslog understood the fields.
    let (first, token) = (&received[0], &walk.drain.token);
    assert_eq!(
        (first.pri, &first.host, first.app.as_str(), first.procid.as_str()),
        (190, token, "app", "web.1")
    );
    assert_eq!(
        (first.time.as_str(), first.rest.as_str()),
        ("2026-01-02T03:04:05.678901+00:00", "- - line 0")
    );
}

#[test]
fn a_receiver_that_is_stopped_and_restarted_in_mid_stream_costs_only_what_is_told() {
    const ENDINGS: u64 = 4;
    let mut walk = Walk::start();
    for _ in 0..ENDINGS {
        walk.stream(5 * STEP);
        walk.rsyslog.signal(Signal::SIGTERM);
        // While it ends; few enough for the ring, with what is under way.
        walk.post(20);
        walk.rsyslog.end(Signal::SIGTERM);
        walk.rsyslog.start_again();
    }
    walk.stream(STEP);
    let (excess, ledger) = walk.judge(ENDINGS);
    eprintln!("{excess} of {} were told and yet taken: {ledger:?}", walk.posted);
}

/// Kills it with lines that only its kernel has taken; how many were told, and how many of those it had taken.
/// `None` if that was too slow to say something about.
#[track_caller]
fn kill_in_mid_stream() -> Option<(u64, u64)> {
    let mut walk = Walk::start();
    walk.stream(4 * STEP);
    let last = walk.posted - 1;
    walk.rsyslog.wait_line(last);
    // It has read and written down all there is. What it gets now dies with it.
    walk.rsyslog.freeze();
    let mut begun = Instant::now();
    walk.post(100);
    wait_for("unread bytes", || {
        let now = Instant::now();
        let nothing = walk.rsyslog.unread_bytes() == 0;
        // Whatever comes was acknowledged later than this.
        begun = if nothing { now } else { begun };
        (!nothing).then_some(())
    });
    walk.rsyslog.end(Signal::SIGKILL);
    // Acknowledged for longer they would count as delivered: the one loss that nobody can tell.
    if begun.elapsed() >= DOUBT {
        return None;
    }
    walk.post(STEP);
    walk.rsyslog.start_again();
    let (excess, ledger) = walk.judge(1);
    Some((ledger.gone(), excess))
}

#[test]
fn a_receiver_that_is_killed_in_mid_stream_costs_only_what_is_told() {
    for _ in 0..3 {
        let (told, excess) = wait_for("a kill that is quick enough", kill_in_mid_stream);
        assert!(told > 0, "what was unread died with the receiver");
        eprintln!("{told} told, {excess} of them taken");
    }
}
