//! Whatever the server does: once the shuttle has ended, what it read was received once and in order, or told.

use logplex_tests::{
    Answer, Code, LedgerSeen, Shuttle, Sink, conservation_within, notices, numbers, told_sum, wait_for,
};

const LINES: u64 = 5000;

/// Writes the lines in writes of 50 while the sink acts as its script says, heals it, ends the input and judges.
/// What the shuttle's own counts say is what the log tells: L12 what was dropped, L13 what was lost; but for what
/// its last line on stderr calls untold.
#[track_caller]
fn judge(
    args: &[&str],
    script: impl FnOnce(&Sink),
    heal: impl FnOnce(&Sink, &Shuttle),
) -> (Sink, LedgerSeen, u64) {
    let sink = Sink::strict();
    script(&sink);
    let args = [&["--ring=1024", "--stats-interval=10ms", "--timeout=1s"], args].concat();
    let mut shuttle = Shuttle::start(&sink.logs_url("t.1"), &args);
    for first in (0..LINES).step_by(50) {
        shuttle.write_lines(first, 50);
    }
    heal(&sink, &shuttle);
    assert!(shuttle.finish().success());

    let ledger = shuttle.ledger().expect("counts at the end");
    let untold = untold(&shuttle);
    let (received, told) = (sink.received(), notices(&sink.received()));
    assert_eq!((ledger.accepted, ledger.held), (LINES, 0));
    let (dropped, lost) = (told_sum(&told, &[Code::L12]), told_sum(&told, &[Code::L13]));
    assert!(
        lost <= ledger.lost.values().sum() && dropped <= ledger.dropped.values().sum(),
        "{ledger:?} {told:?}"
    );
    assert_eq!(dropped + lost + untold, ledger.gone(), "{ledger:?} {told:?}");
    assert!(
        told.iter().all(|notice| notice.fact("reason").is_some() == (notice.code == Code::L13)),
        "{told:?}"
    );
    conservation_within(0..LINES, &numbers(&received), ledger.gone(), ledger.lost("unanswered"));
    (sink, ledger, untold)
}

/// What the report on stderr says that the log does not; there is none if all arrived.
#[track_caller]
fn untold(shuttle: &Shuttle) -> u64 {
    let last = shuttle.stderr().pop().expect("counts at the end");
    match last.split_once(" untold=") {
        Some((report, untold)) => {
            assert!(report.starts_with("log-shuttle: flushed=") && report.ends_with(" unsent=0"), "{last}");
            untold.parse().expect("a number")
        }
        None => 0,
    }
}

/// As [`judge`], where the log tells everything.
#[track_caller]
fn check(
    args: &[&str],
    script: impl FnOnce(&Sink),
    heal: impl FnOnce(&Sink, &Shuttle),
) -> (Sink, LedgerSeen) {
    let (sink, ledger, untold) = judge(args, script, heal);
    assert_eq!(untold, 0, "{ledger:?}");
    (sink, ledger)
}

/// As [`check`], where nothing may be given up.
#[track_caller]
fn check_retried(
    args: &[&str],
    script: impl FnOnce(&Sink),
    heal: impl FnOnce(&Sink, &Shuttle),
) -> LedgerSeen {
    let (_, ledger) = check(args, script, heal);
    assert!(ledger.lost.is_empty(), "{ledger:?}");
    ledger
}

fn well(_: &Sink, _: &Shuttle) {}

fn attempts(sink: &Sink, n: usize) {
    wait_for(&format!("{n} attempts"), || (sink.requests().len() >= n).then_some(()));
}

#[test]
fn nothing_goes_where_the_server_keeps_up() {
    let (sink, ledger) = check(&["--ring=25000"], |_| (), well);
    assert_eq!((ledger.delivered, sink.connections()), (LINES, 1));
}

#[test]
fn a_stall_is_told() {
    let heal = |sink: &Sink, shuttle: &Shuttle| {
        shuttle.wait_accepted(LINES);
        sink.answer(Answer::status(204));
        sink.release(Answer::status(204));
    };
    let ledger = check_retried(&["--timeout=30s"], |sink| sink.answer(Answer::Hold), heal);
    assert!(ledger.dropped("full") >= LINES - 1024 - 500, "{ledger:?}");
}

#[test]
fn answers_of_503_are_retried() {
    let heal = |sink: &Sink, _: &Shuttle| {
        attempts(sink, 3);
        sink.answer(Answer::status(204));
    };
    check_retried(&[], |sink| sink.answer(Answer::status(503)), heal);
}

#[test]
fn a_429_is_obeyed() {
    let busy = Answer::with(429, &[("Retry-After", "1")]);
    let heal = |sink: &Sink, _: &Shuttle| {
        attempts(sink, 2);
        let arrived = |number: usize| sink.requests()[number].arrived;
        assert!((arrived(1) - arrived(0)).as_secs_f64() >= 1.0, "retried before a second was over");
    };
    check_retried(&[], |sink| sink.answer_next([busy]), heal);
}

#[test]
fn requests_that_hang_are_retried() {
    let script = |sink: &Sink| sink.answer_next([Answer::Hang, Answer::status(204), Answer::Hang]);
    check_retried(&["--timeout=200ms"], script, well);
}

#[test]
fn resets_are_retried() {
    let faults = [Answer::Reset, Answer::status(204), Answer::Reset, Answer::Reset];
    check_retried(&[], |sink| sink.answer_next(faults), well);
}

#[test]
fn connections_closed_ahead_of_the_request_are_opened_anew() {
    check_retried(&[], |sink| sink.answer_next([const { Answer::CloseBeforeRead }; 3]), well);
}

#[test]
fn a_connection_that_its_peer_closes_after_each_answer_is_opened_anew() {
    let closing = Answer::with(200, &[("Connection", "close")]);
    let (sink, _) = check(&["--ring=25000"], |sink| sink.answer(closing), well);
    assert_eq!(sink.connections(), sink.requests().len() as u64);
}

#[test]
fn a_server_that_dies_and_returns_gets_what_was_held() {
    let heal = |sink: &Sink, shuttle: &Shuttle| {
        sink.wait_held(1);
        sink.stop();
        shuttle.wait_accepted(LINES);
        sink.answer(Answer::status(204));
        sink.start_again();
    };
    let ledger = check_retried(&[], |sink| sink.answer(Answer::Hold), heal);
    assert!(ledger.gone() > 0, "{ledger:?}");
}

#[test]
fn what_was_taken_and_not_acknowledged_comes_again_under_its_id() {
    let lost_answers = [Answer::Lose(204), Answer::status(204), Answer::Lose(200), Answer::Lose(204)];
    let (sink, ledger) = check(&["--ring=25000"], |sink| sink.answer_next(lost_answers), well);
    assert_eq!(ledger.gone(), 0);
    assert!(sink.all().len() > sink.deduplicated().len(), "the repeats were received");
}

#[test]
fn what_was_taken_and_never_acknowledged_is_told_as_unanswered() {
    let lost_answers = [Answer::Lose(204), Answer::status(204), Answer::Lose(204)];
    let args = ["--max-attempts=1", "--ring=25000"];
    let (_, ledger) = check(&args, |sink| sink.answer_next(lost_answers), well);
    assert_eq!(ledger.lost.keys().collect::<Vec<_>>(), ["unanswered"]);
    assert_eq!(ledger.delivered + ledger.gone(), LINES);
}

#[test]
fn a_notice_that_may_not_have_arrived_is_told_again() {
    let sink = Sink::strict();
    let args = ["--ring=10", "--max-attempts=1", "--stats-interval=10ms"];
    let mut shuttle = Shuttle::start(&sink.logs_url("t.1"), &args);
    sink.answer_next([Answer::Hold, Answer::Lose(204)]);
    shuttle.write_lines(0, 1);
    sink.wait_held(1);
    shuttle.write_lines(1, 15);
    shuttle.wait_accepted(16);
    // On a connection that was kept, the loss of an answer is not counted as an attempt.
    sink.release(Answer::with(204, &[("Connection", "close")]));
    assert!(shuttle.finish().success());
    let told = notices(&sink.received());
    let counts: Vec<_> = told.iter().map(|notice| (notice.code, notice.count)).collect();
    assert_eq!(counts, [(Code::L12, 5), (Code::L12, 5), (Code::L13, 10)]);
    assert_eq!((&told[0].since, told[2].fact("reason")), (&told[1].since, Some("unanswered")));
}

#[test]
fn final_refusals_are_told_with_their_reason() {
    for (status, reason) in [(400, "refused"), (404, "refused"), (301, "redirected"), (307, "redirected")] {
        let faults = [status, 204, status].map(Answer::status);
        let (_, ledger) = check(&["--batch-size=100"], |sink| sink.answer_next(faults), well);
        assert_eq!(ledger.lost.keys().collect::<Vec<_>>(), [reason], "{status}");
    }
}

#[test]
fn what_is_given_up_is_told_with_its_reason() {
    for (fault, reason) in [
        (Answer::status(503), "unavailable"),
        (Answer::status(429), "unavailable"),
        (Answer::Reset, "unanswered"),
        (Answer::Hang, "unanswered"),
    ] {
        let script = |sink: &Sink| sink.answer_next([fault.clone(), fault.clone()]);
        let (_, ledger) = check(&["--max-attempts=2", "--timeout=100ms"], script, well);
        assert_eq!(ledger.lost.keys().collect::<Vec<_>>(), [reason], "{fault:?}");
    }
}

#[test]
fn one_fault_after_the_other_is_survived_with_any_settings() {
    let closing = Answer::with(503, &[("Connection", "close")]);
    let faults = [
        Answer::status(503),
        Answer::Reset,
        Answer::status(204),
        Answer::CloseBeforeRead,
        Answer::status(429),
        Answer::status(404),
        closing,
        Answer::Reset,
        Answer::Hang,
        Answer::status(413),
        Answer::status(200),
        Answer::status(500),
        Answer::status(403),
    ];
    for args in [
        &["--ring=1024"][..],
        &["--gzip", "--batch-size=37"],
        &["--max-attempts=2", "--ring=100"],
        &["--drop=false", "--wait=0"],
    ] {
        let args = [&["--timeout=200ms"], args].concat();
        // The faults may last longer than the lines, and take the last notice too.
        let (_, ledger, _) = judge(&args, |sink| sink.answer_next(faults.clone()), well);
        assert!(!args.contains(&"--drop=false") || ledger.dropped.is_empty(), "{ledger:?}");
    }
}
