//! `logplex-core` in an app: its `tracing` layer and its writer, as an app uses them.

use std::io::Write;
use std::thread;
use std::time::Duration;

use logplex_core::layer::Layer;
use logplex_core::shuttle::{Builder, Guard, Report};
use logplex_tests::{
    Answer, Code, DEADLINE, Received, Server, Sink, conservation, notices, numbers, told_sum, wait_for,
};
use tracing::{Subscriber, debug, error, info, info_span, trace, warn};
use tracing_subscriber::prelude::*;

/// What a shutdown may take that is not expected to succeed.
const SHORT: Duration = Duration::from_millis(300);

fn start(sink: &Sink) -> Guard {
    logplex_core::init(sink.logs_url("t.1")).expect("a shuttle starts")
}

fn subscriber(guard: &Guard) -> impl Subscriber + Send + Sync + use<> {
    tracing_subscriber::registry().with(Layer::new(guard.shuttle()))
}

/// Writes the numbered lines from `first` on.
fn write_lines(guard: &Guard, first: u64, n: u64) {
    let mut writer = guard.writer();
    for line in first..first + n {
        writeln!(writer, "line {line}").expect("a shuttle takes all");
    }
}

/// `(PRI, text)` of each message.
fn lines(received: &[Received]) -> Vec<(u8, &str)> {
    received.iter().map(|line| (line.pri, line.text.trim_end_matches('\n'))).collect()
}

// === what an app logs ===

#[test]
fn events_arrive_as_lines_with_their_fields() {
    let sink = Sink::strict();
    let guard = start(&sink);
    tracing::subscriber::with_default(subscriber(&guard), || {
        error!(code = 7, error = "two words", "it failed");
        warn!("mind this");
        let _request = info_span!("request", id = 3).entered();
        info!(user = "ann", "signed in");
        debug!(rows = ?[1, 2], "asked");
        trace!(target: "other", "one\ntwo");
    });
    assert!(guard.shutdown(DEADLINE).is_clean());
    let expected = [
        (187, "ERROR core_layer: it failed code=7 error=\"two words\""),
        (188, "WARN core_layer: mind this"),
        (190, "INFO core_layer: signed in user=ann id=3"),
        (191, "DEBUG core_layer: asked rows=\"[1, 2]\" id=3"),
        (191, "TRACE other: one\ntwo id=3"),
    ];
    assert_eq!(lines(&sink.received()), expected);
}

#[test]
fn a_server_takes_them_under_the_apps_name() {
    let (server, sink) = (Server::start(), Sink::start());
    let token = server.create_app("app");
    server.add_drain("app", &sink.url(""));
    let guard = Builder::new(server.logs_url(&token)).app("shop").procid("web.1").start().unwrap();
    tracing::subscriber::with_default(subscriber(&guard), || info!(cart = 5, "line 0"));
    writeln!(guard.writer(), "line 1").unwrap();
    assert!(guard.flush(DEADLINE));
    let received = sink.wait_line(1);
    let head = |line: &Received| (line.app.clone(), line.procid.clone(), line.text.clone());
    let lines: Vec<_> = received.iter().map(head).collect();
    let from = |text: &str| ("shop".to_owned(), "web.1".to_owned(), text.to_owned());
    assert_eq!(lines, [from("INFO core_layer: line 0 cart=5\n"), from("line 1\n")]);
    let Report { accepted, delivered, .. } = guard.shutdown(DEADLINE);
    assert_eq!((accepted, delivered), (2, 2));
}

#[test]
fn threads_share_one_shuttle_and_each_keeps_its_order() {
    const LINES: u64 = 2000;
    let sink = Sink::strict();
    let guard = start(&sink);
    let dispatch = tracing::Dispatch::new(subscriber(&guard));
    thread::scope(|scope| {
        for thread in 0..4 {
            let dispatch = dispatch.clone();
            scope.spawn(move || {
                let _default = tracing::dispatcher::set_default(&dispatch);
                (0..LINES).for_each(|line| info!(target: "t", thread, "line {line}"));
            });
        }
    });
    assert!(guard.shutdown(DEADLINE).is_clean());
    let received = sink.received();
    assert_eq!(received.len() as u64, 4 * LINES);
    for thread in 0..4 {
        let own = received.iter().filter(|line| line.text.ends_with(&format!(" thread={thread}\n")));
        let seen: Vec<&str> = own.map(|line| line.text.as_str()).collect();
        let expected: Vec<_> = (0..LINES).map(|n| format!("INFO t: line {n} thread={thread}\n")).collect();
        assert_eq!(seen, expected);
    }
}

/// Every request has the shuttle log something; if that were shipped, it would never rest.
#[test]
fn what_the_shuttle_itself_logs_is_not_shipped() {
    const LINES: u64 = 50;
    let sink = Sink::strict();
    // Retries, a refusal and a notice, which it warns of.
    sink.answer_next([Answer::status(503), Answer::status(404)]);
    let guard = start(&sink);
    let heard = Heard::default();
    // For every thread of the process and every level.
    tracing::subscriber::set_global_default(subscriber(&guard).with(heard.clone())).unwrap();
    for line in 0..LINES {
        info!(target: "mine", "line {line}");
        assert!(guard.flush(DEADLINE));
    }
    let stats = guard.stats();
    assert_eq!((stats.ledger.accepted(), stats.ledger.delivered()), (LINES, LINES - 1));
    let own = heard.0.lock().unwrap().iter().filter(|target| target.starts_with("logplex_core")).count();
    assert!(own > LINES as usize, "the shuttle logs what it does: {own}");

    assert_eq!(guard.shutdown(DEADLINE).untold.total(), 0);
    let received = sink.received();
    let others: Vec<_> = received.iter().filter(|line| !line.text.starts_with("INFO mine: ")).collect();
    assert_eq!((others.len(), told_sum(&notices(&received), &[Code::L13])), (1, 1), "{others:?}");
    assert_eq!(received.len() as u64, LINES);
}

/// The targets of all events.
#[derive(Clone, Default)]
struct Heard(std::sync::Arc<std::sync::Mutex<Vec<String>>>);

impl<S: Subscriber> tracing_subscriber::Layer<S> for Heard {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        self.0.lock().expect("no test panics with it").push(event.metadata().target().to_owned());
    }
}

// === where it runs ===

#[test]
fn it_minds_no_runtime() {
    let current = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let many = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    for runtime in [current(), many()] {
        let sink = Sink::strict();
        runtime.block_on(async {
            let guard = start(&sink);
            let dispatch = tracing::Dispatch::new(subscriber(&guard));
            let log = async move { tracing::dispatcher::with_default(&dispatch, || info!("line 0")) };
            runtime.spawn(log).await.unwrap();
            // Dropped inside it: ships what waits.
            drop(guard);
        });
        assert_eq!(lines(&sink.received()), [(190, "INFO core_layer: line 0")]);
    }
}

#[test]
fn dropping_the_guard_ships_what_waits() {
    let sink = Sink::strict();
    let gate = sink.gate();
    let guard = start(&sink);
    write_lines(&guard, 0, 1);
    sink.wait_held(1);
    write_lines(&guard, 1, 2999);
    thread::scope(|scope| {
        scope.spawn(|| drop(guard));
        gate.open();
    });
    conservation(0..3000, &numbers(&sink.received()), 0);
}

#[test]
fn what_comes_after_the_end_is_counted() {
    let sink = Sink::strict();
    let guard = start(&sink);
    let shuttle = guard.shuttle().clone();
    write_lines(&guard, 0, 5);
    assert!(guard.shutdown(DEADLINE).is_clean());
    writeln!(shuttle.writer(), "line 5").unwrap();
    assert!(!shuttle.flush(DEADLINE));
    let report = shuttle.report();
    assert_eq!((report.accepted, report.delivered, report.unsent, report.untold.total()), (6, 5, 1, 1));
}

// === who does not take it ===

/// `accepted, delivered, dropped, lost, unsent`, which balance, and how many of those the log tells.
#[track_caller]
fn check(report: &Report, expected: [u64; 5], untold: u64) {
    let Report { accepted, delivered, dropped, lost, unsent, .. } = *report;
    assert_eq!([accepted, delivered, dropped, lost, unsent], expected, "{report:?}");
    assert_eq!(accepted, delivered + dropped + lost + unsent);
    assert_eq!(report.untold.total(), untold, "{report:?}");
}

#[test]
fn a_sink_that_does_not_answer_makes_nobody_wait_and_the_report_exact() {
    let sink = Sink::strict();
    let _gate = sink.gate();
    let guard = Builder::new(sink.logs_url("t.1")).ring_lines(10).start().unwrap();
    write_lines(&guard, 0, 1);
    sink.wait_held(1);
    write_lines(&guard, 1, 100);
    assert!(!guard.flush(SHORT));
    let ledger = guard.stats().ledger;
    assert_eq!((ledger.accepted(), ledger.dropped_total(), ledger.held()), (101, 90, 11));
    // The request under way may have arrived; the others were not sent.
    let report = guard.shutdown(SHORT);
    check(&report, [101, 0, 90, report.lost, 11 - report.lost], 101);
    assert!(report.lost <= 1, "{report:?}");
}

#[test]
fn a_dead_sink_makes_the_report_exact() {
    let sink = Sink::strict();
    let guard = start(&sink);
    write_lines(&guard, 0, 7);
    assert!(guard.flush(DEADLINE));
    sink.stop();
    write_lines(&guard, 7, 20);
    assert!(!guard.flush(SHORT));
    let report = guard.shutdown(SHORT);
    check(&report, [27, 7, 0, report.lost, 20 - report.lost], 20);
    conservation(0..27, &numbers(&sink.received()), report.untold.total());
}

#[test]
fn a_sink_that_comes_back_is_told_what_it_missed() {
    let sink = Sink::strict();
    let guard = Builder::new(sink.logs_url("t.1")).ring_lines(10).start().unwrap();
    write_lines(&guard, 0, 1);
    assert!(guard.flush(DEADLINE));
    sink.stop();
    write_lines(&guard, 1, 1);
    wait_for("an attempt in vain", || (guard.stats().attempts >= 2).then_some(()));
    write_lines(&guard, 2, 50);
    sink.start_again();
    let report = guard.shutdown(DEADLINE);
    check(&report, [52, 12, 40, 0, 0], 0);
    let received = sink.received();
    conservation(0..52, &numbers(&received), told_sum(&notices(&received), &[Code::L12]));
}
