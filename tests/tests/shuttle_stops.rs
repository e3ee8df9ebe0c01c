//! The end: what waits is shipped within the grace, what is not is told exactly, and a second signal ends it at once.

use std::process::ExitStatus;

use logplex_tests::{
    Answer, Code, Shuttle, Signal, Sink, conservation, notices, numbers, told_sum, wait_for,
};

/// A port that nobody listens on and no test is given.
const DEAD: &str = "http://token:t.1@127.0.0.1:1/logs";

/// How a shuttle is told to end.
#[derive(Clone, Copy, Debug)]
enum How {
    EndOfInput,
    Signal(Signal),
}

const ALL: [How; 3] = [How::EndOfInput, How::Signal(Signal::SIGTERM), How::Signal(Signal::SIGINT)];

impl How {
    fn end(self, shuttle: &mut Shuttle) {
        match self {
            How::EndOfInput => shuttle.close_stdin(),
            How::Signal(signal) => shuttle.signal(signal),
        }
    }
}

/// Line 0 is held unanswered, and the others up to `lines` have been read.
#[track_caller]
fn start_held(sink: &Sink, lines: u64, args: &[&str]) -> Shuttle {
    sink.answer(Answer::Hold);
    let args = [&["--stats-interval=10ms", "--timeout=1h"], args].concat();
    let mut shuttle = Shuttle::start(&sink.logs_url("t.1"), &args);
    shuttle.write_lines(0, 1);
    sink.wait_held(1);
    shuttle.write_lines(1, lines - 1);
    shuttle.wait_accepted(lines);
    shuttle
}

fn heal(sink: &Sink) {
    sink.answer(Answer::status(204));
    sink.release(Answer::status(204));
}

#[track_caller]
fn check_report(shuttle: &Shuttle, status: ExitStatus, code: i32, report: &str) {
    assert_eq!(status.code(), Some(code));
    assert_eq!(shuttle.stderr().pop(), Some(format!("log-shuttle: {report}")));
}

#[test]
fn what_is_held_is_shipped_and_input_may_stay_open() {
    for how in ALL {
        let sink = Sink::strict();
        let mut shuttle = start_held(&sink, 3000, &["--fail-on-loss"]);
        shuttle.write(b"line 3000").unwrap();
        how.end(&mut shuttle);
        heal(&sink);
        assert_eq!(shuttle.wait().code(), Some(0), "{how:?}");
        conservation(0..3001, &numbers(&sink.received()), 0);
        assert_eq!(shuttle.ledger().map(|ledger| ledger.delivered), Some(3001));
        assert!(
            shuttle.stderr().iter().all(|line| line.starts_with("log-shuttle: stats ")),
            "nothing to report"
        );
    }
}

#[test]
fn what_is_in_the_pipe_is_shipped_too() {
    for how in ALL {
        let sink = Sink::strict();
        let mut shuttle = start_held(&sink, 1, &["--fail-on-loss"]);
        // As much as a pipe holds, so that the end comes before the last line was read.
        shuttle.write_lines(1, 6000);
        how.end(&mut shuttle);
        heal(&sink);
        assert_eq!(shuttle.wait().code(), Some(0), "{how:?}");
        conservation(0..6001, &numbers(&sink.received()), 0);
    }
}

#[test]
fn a_server_that_recovers_within_the_grace_gets_everything() {
    for how in ALL {
        let sink = Sink::strict();
        sink.answer(Answer::status(503));
        let mut shuttle = Shuttle::start(&sink.logs_url("t.1"), &["--fail-on-loss", "--stats-interval=10ms"]);
        shuttle.write_lines(0, 3000);
        shuttle.wait_accepted(3000);
        how.end(&mut shuttle);
        let before = sink.requests().len();
        wait_for("an attempt", || (sink.requests().len() > before).then_some(()));
        sink.answer(Answer::status(204));
        assert_eq!(shuttle.wait().code(), Some(0), "{how:?}");
        conservation(0..3000, &numbers(&sink.received()), 0);
    }
}

#[test]
fn what_the_grace_does_not_suffice_for_is_told_exactly() {
    for how in ALL {
        for (grace, ring, flag, code, report) in [
            ("200ms", "25000", "--fail-on-loss", 3, "flushed=0 dropped=0 lost=1 unsent=99 untold=100"),
            ("200ms", "25000", "--fail-on-loss=false", 0, "flushed=0 dropped=0 lost=1 unsent=99 untold=100"),
            ("200ms", "40", "-fail-on-loss", 3, "flushed=0 dropped=59 lost=1 unsent=40 untold=100"),
            ("0", "25000", "-fail-on-loss=true", 3, "flushed=0 dropped=0 lost=1 unsent=99 untold=100"),
        ] {
            let sink = Sink::strict();
            let args = ["--grace", grace, "--ring", ring, flag];
            let mut shuttle = start_held(&sink, 100, &args);
            how.end(&mut shuttle);
            let status = shuttle.wait();
            check_report(&shuttle, status, code, report);
            let ledger = shuttle.ledger().expect("counts");
            assert_eq!((ledger.accepted, ledger.delivered, ledger.held), (100, 0, 0), "{how:?}");
            assert_eq!(ledger.lost("unanswered"), 1);
        }
    }
}

#[test]
fn a_server_that_is_dead_for_ever_costs_the_grace_and_no_more() {
    for how in ALL {
        for args in [&["--grace=300ms"][..], &["--grace=300ms", "--max-attempts=2"], &["--grace=0"]] {
            let args = [args, &["--fail-on-loss", "--stats-interval=10ms"]].concat();
            let mut shuttle = Shuttle::start(DEAD, &args);
            shuttle.write_lines(0, 3000);
            shuttle.wait_accepted(3000);
            how.end(&mut shuttle);
            assert_eq!(shuttle.wait().code(), Some(3), "{how:?} {args:?}");
            let ledger = shuttle.ledger().expect("counts");
            assert_eq!((ledger.accepted, ledger.delivered, ledger.held), (3000, 0, 0));
            let (unsent, lost) = (ledger.lost("stopped"), ledger.lost("unreachable"));
            let report = format!("flushed=0 dropped=0 lost={lost} unsent={unsent} untold=3000");
            assert_eq!(shuttle.stderr().pop(), Some(format!("log-shuttle: {report}")));
        }
    }
}

#[test]
fn losses_at_the_end_are_told_in_the_log_if_it_can_be() {
    for (flag, code) in [("--fail-on-loss", 3), ("--fail-on-loss=false", 0)] {
        for how in ALL {
            let sink = Sink::strict();
            let mut shuttle = start_held(&sink, 100, &[flag]);
            how.end(&mut shuttle);
            sink.answer(Answer::status(204));
            sink.release(Answer::status(404));
            let status = shuttle.wait();
            check_report(&shuttle, status, code, "flushed=99 dropped=0 lost=1 unsent=0 untold=0");
            let told = notices(&sink.received());
            assert_eq!((told.len(), told[0].code, told[0].count), (1, Code::L13, 1));
            conservation(0..100, &numbers(&sink.received()), 1);
        }
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for first in ALL {
        let sink = Sink::strict();
        let mut shuttle = start_held(&sink, 100, &["--grace=1h", "--fail-on-loss"]);
        first.end(&mut shuttle);
        // A kernel merges two signals of one kind.
        let second = [Signal::SIGTERM, Signal::SIGINT];
        let second =
            second.into_iter().filter(|signal| !matches!(first, How::Signal(first) if first == *signal));
        for signal in second {
            shuttle.signal(signal);
        }
        assert_eq!(shuttle.wait().code(), Some(3));
        // What is in flight is unsent, or lost if the second signal comes before the input has been left.
        let report = shuttle.stderr().pop().expect("a report");
        let known = ["lost=0 unsent=100", "lost=1 unsent=99"]
            .map(|counts| format!("log-shuttle: flushed=0 dropped=0 {counts} untold=100"));
        assert!(known.contains(&report), "{report}");
    }
}

#[test]
fn a_reader_that_waits_for_room_is_ended_and_counted_too() {
    for grace in ["300ms", "0"] {
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            let sink = Sink::strict();
            let args = ["--drop=false", "--ring=10", "--fail-on-loss", "--grace", grace];
            let mut shuttle = start_held(&sink, 11, &args);
            shuttle.write_lines(11, 6000);
            shuttle.signal(signal);
            let status = shuttle.wait();
            check_report(&shuttle, status, 3, "flushed=0 dropped=0 lost=1 unsent=6010 untold=6011");
        }
    }
}

#[test]
fn a_second_signal_ends_a_reader_that_waits_for_room() {
    let sink = Sink::strict();
    let mut shuttle = start_held(&sink, 11, &["--drop=false", "--ring=10", "--grace=1h"]);
    shuttle.write_lines(11, 1000);
    shuttle.signal(Signal::SIGTERM);
    shuttle.signal(Signal::SIGINT);
    let status = shuttle.wait();
    check_report(&shuttle, status, 0, "flushed=0 dropped=0 lost=1 unsent=1010 untold=1011");
}

#[test]
fn a_writer_that_never_ends_does_not_hold_up_the_end() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let sink = Sink::strict();
        let mut shuttle = Shuttle::start(&sink.logs_url("t.1"), &["--stats-interval=10ms"]);
        shuttle.write_lines(0, 1);
        sink.wait_line(0);
        shuttle.signal(signal);
        let mut line = 1;
        while shuttle.write(format!("line {line}\n").as_bytes()).is_ok() {
            line += 1;
        }
        assert_eq!(shuttle.wait().code(), Some(0));
        let (received, read) = (sink.received(), shuttle.ledger().expect("counts").accepted);
        // After as much as a pipe can hold reading ends, be it within a line.
        let cut = received.last().is_some_and(|message| !message.text.ends_with('\n'));
        let whole = &received[..received.len() - usize::from(cut)];
        let told = told_sum(&notices(whole), &[Code::L12, Code::L13]);
        conservation(0..read - u64::from(cut), &numbers(whole), told);
        assert!(read <= line, "{read} read of {line}");
    }
}
