//! Whatever the destination does: once traffic rests, what was sent was received once and in order, or told.

use logplex_tests::{
    Answer, Code, LedgerSeen, Received, Server, Sink, conservation, notices, numbers, told_sum, wait_for,
};

const CHANNEL: &str = "app";

/// Posts 3,000 lines in batches of 50 while the sink acts as its script says, heals it, and judges. Nothing that the
/// drain retries is lost: `lost` lists the reasons for which the sink's answers may cost messages.
#[track_caller]
fn check(script: impl FnOnce(&Sink), heal: impl FnOnce(&Sink), lost: &[&str]) -> (LedgerSeen, Vec<Received>) {
    const LINES: u64 = 3000;
    let (server, sink) = (Server::start(), Sink::start());
    let token = server.create_app(CHANNEL);
    let drain = server.add_drain(CHANNEL, &sink.url(""));
    script(&sink);
    server.post_batches(&token, 0..LINES, 50);
    heal(&sink);
    let ledger = server.rested(CHANNEL, &drain);
    let received = wait_told(&sink, &ledger);
    conservation(0..LINES, &numbers(&received), ledger.gone());
    assert_eq!((ledger.accepted, ledger.delivered), (LINES, numbers(&received).len() as u64));
    assert!(ledger.lost.keys().all(|reason| lost.contains(&reason.as_str())), "{ledger:?}");
    let stats = server.stats(CHANNEL);
    assert_eq!(stats["tokens"][0]["accepted"], LINES);
    (ledger, received)
}

/// Waits until the sink was told of all that is gone. The last notice may go alone, up to a second after the one
/// before it.
#[track_caller]
fn wait_told(sink: &Sink, ledger: &LedgerSeen) -> Vec<Received> {
    wait_for("the last notice", || {
        let received = sink.received();
        let told = told_sum(&notices(&received), &[Code::L10]);
        assert!(told <= ledger.gone(), "{told} told, {ledger:?}");
        (told == ledger.gone()).then_some(received)
    })
}

fn well(_: &Sink) {}

#[test]
fn nothing_is_dropped_where_the_drain_keeps_up() {
    let (server, sink) = (Server::start(), Sink::start());
    let token = server.create_app(CHANNEL);
    let drain = server.add_drain(CHANNEL, &sink.url(""));
    for first in (0..2000).step_by(500) {
        server.post_lines(&token, first, 500);
        sink.wait_line(first + 499);
    }
    conservation(0..2000, &numbers(&sink.received()), 0);
    assert_eq!(server.rested(CHANNEL, &drain).delivered, 2000);
}

#[test]
fn a_stall_is_told() {
    let heal = |sink: &Sink| {
        sink.wait_held(1);
        sink.answer(Answer::status(204));
        sink.release(Answer::status(204));
    };
    let (ledger, _) = check(|sink| sink.answer(Answer::Hold), heal, &[]);
    assert!(ledger.gone() > 0, "{ledger:?}");
}

#[test]
fn answers_of_503_are_retried() {
    let script = |sink: &Sink| sink.answer(Answer::status(503));
    let heal = |sink: &Sink| {
        wait_for("three attempts", || (sink.requests().len() >= 3).then_some(()));
        sink.answer(Answer::status(204));
    };
    check(script, heal, &[]);
}

#[test]
fn a_429_is_obeyed() {
    let busy = Answer::with(429, &[("Retry-After", "1")]);
    let sink_pause = |sink: &Sink| {
        let arrived: Vec<_> = sink.requests().iter().map(|request| request.arrived).collect();
        assert!((arrived[1] - arrived[0]).as_secs_f64() >= 1.0, "retried before a second was over");
    };
    let script = |sink: &Sink| sink.answer_next([busy]);
    let heal = |sink: &Sink| {
        wait_for("the retry", || (sink.requests().len() >= 2).then_some(()));
        sink_pause(sink);
    };
    check(script, heal, &[]);
}

#[test]
fn a_hanging_request_is_retried() {
    let (ledger, _) = check(|sink| sink.answer_next([Answer::Hang]), well, &[]);
    assert!(ledger.gone() > 0, "{ledger:?}");
}

#[test]
fn resets_are_retried() {
    check(
        |sink| sink.answer_next([Answer::Reset, Answer::status(204), Answer::Reset, Answer::Reset]),
        well,
        &[],
    );
}

#[test]
fn connections_closed_ahead_of_the_request_are_opened_anew() {
    let script = |sink: &Sink| {
        sink.answer_next([Answer::CloseBeforeRead, Answer::CloseBeforeRead, Answer::CloseBeforeRead]);
    };
    check(script, well, &[]);
}

#[test]
fn a_connection_that_its_peer_closes_after_each_answer_is_opened_anew() {
    check(|sink| sink.answer(Answer::with(200, &[("Connection", "close")])), well, &[]);
}

#[test]
fn a_destination_that_dies_and_returns_gets_what_was_held() {
    let script = |sink: &Sink| {
        sink.answer(Answer::Hold);
    };
    let heal = |sink: &Sink| {
        sink.wait_held(1);
        sink.stop();
        sink.answer(Answer::status(204));
        sink.start_again();
    };
    let (ledger, _) = check(script, heal, &[]);
    assert!(ledger.gone() > 0, "{ledger:?}");
}

#[test]
fn final_refusals_are_told_with_their_reason() {
    let (server, sink) = (Server::start(), Sink::start());
    let token = server.create_app(CHANNEL);
    let drain = server.add_drain(CHANNEL, &sink.url(""));
    let mut sent = 0;
    for (status, reason) in [(404, "refused"), (413, "too-large"), (301, "redirected"), (400, "refused")] {
        let lost = || server.drain_ledger(CHANNEL, &drain).lost(reason);
        let before = lost();
        // A notice that goes alone may take the answer that was meant for the lines.
        while lost() == before {
            sink.answer_next([Answer::status(status)]);
            server.post_lines(&token, sent, 5);
            sent += 5;
            server.rested(CHANNEL, &drain);
        }
    }
    let received = wait_told(&sink, &server.rested(CHANNEL, &drain));
    conservation(0..sent, &numbers(&received), told_sum(&notices(&received), &[Code::L10]));
    let lost_facts = notices(&received).iter().all(|notice| {
        notice.fact("lost") == Some(notice.count.to_string().as_str()) && notice.fact("reason").is_some()
    });
    assert!(lost_facts, "{:?}", notices(&received));
}

#[test]
fn a_request_refused_after_one_without_an_answer_is_told_as_unanswered() {
    let script = |sink: &Sink| sink.answer_next([Answer::Reset, Answer::status(404)]);
    let (_, received) = check(script, well, &["unanswered"]);
    let told = notices(&received);
    assert_eq!(told[0].fact("reason"), Some("unanswered"), "{told:?}");
}

#[test]
fn one_fault_after_the_other_is_survived() {
    let closing = Answer::with(503, &[("Connection", "close")]);
    let faults = [
        Answer::status(503),
        Answer::Reset,
        Answer::status(204),
        Answer::CloseBeforeRead,
        Answer::status(429),
        Answer::status(404),
        Answer::status(204),
        closing,
        Answer::Reset,
        Answer::status(200),
        Answer::status(500),
        Answer::status(403),
    ];
    check(|sink| sink.answer_next(faults), well, &["refused", "unanswered"]);
}
