use super::*;

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(second, 0).expect("in range")
}

fn ledger_with(accepted: u64) -> Ledger {
    let mut ledger = Ledger::default();
    ledger.accept(accepted);
    ledger
}

#[test]
fn a_message_is_counted_where_it_went() {
    let mut ledger = ledger_with(10);
    ledger.deliver(3);
    ledger.drop(2, DropReason::Full, at(1));
    ledger.lose(1, LossReason::Refused, at(2));
    assert_eq!((ledger.accepted(), ledger.delivered(), ledger.held()), (10, 3, 4));
    assert_eq!((ledger.dropped(DropReason::Full), ledger.dropped_total()), (2, 2));
    assert_eq!((ledger.lost(LossReason::Refused), ledger.lost_total()), (1, 1));
    assert!(ledger.balances());
}

#[test]
fn a_notice_of_our_own_is_not_a_producers() {
    let mut ledger = ledger_with(3);
    ledger.count_as_generated(1);
    assert_eq!((ledger.accepted(), ledger.generated(), ledger.held()), (2, 1, 3));
    assert!(ledger.balances());
}

#[test]
fn a_gap_has_the_time_and_the_reason_of_its_first_message() {
    let mut ledger = ledger_with(10);
    ledger.drop(0, DropReason::Crash, at(0));
    ledger.drop(2, DropReason::Bytes, at(1));
    ledger.drop(3, DropReason::Full, at(2));
    let dropped = Tally { count: 5, since: Some(at(1)), reason: Some(DropReason::Bytes) };
    assert_eq!(ledger.gap(Teller::Reader).dropped, dropped);
    ledger.lose(1, LossReason::Stopped, at(3));
    assert_eq!(ledger.gap(Teller::Reader).total(), 6);
    assert_eq!(ledger.gap(Teller::Reader).since(), Some(at(1)));
}

#[test]
fn each_teller_has_a_position_of_its_own() {
    let mut ledger = ledger_with(10);
    assert_eq!(ledger.take_gap(Teller::Reader), None);
    ledger.drop(2, DropReason::Full, at(1));
    assert_eq!(ledger.take_gap(Teller::Reader).map(|gap| gap.total()), Some(2));
    assert_eq!(ledger.take_gap(Teller::Reader), None);
    ledger.drop(3, DropReason::Full, at(2));
    assert_eq!(ledger.gap(Teller::Reader).total(), 3);
    assert_eq!(ledger.take_gap(Teller::Channel).map(|gap| gap.total()), Some(5));
}

#[test]
fn a_gap_that_was_put_back_comes_first() {
    let mut ledger = ledger_with(10);
    ledger.drop(2, DropReason::Bytes, at(1));
    let gap = ledger.take_gap(Teller::Reader).expect("two were dropped");
    // In the same instant, so that the times alone do not say which was first.
    ledger.drop(3, DropReason::Full, at(1));
    ledger.restore_gap(Teller::Reader, gap);
    let dropped = Tally { count: 5, since: Some(at(1)), reason: Some(DropReason::Bytes) };
    assert_eq!(ledger.gap(Teller::Reader).dropped, dropped);
}

#[test]
fn what_an_earlier_process_left_untold_is_told_here() {
    let mut ledger = ledger_with(1);
    let gap = Gap {
        dropped: Tally { count: 7, since: Some(at(1)), reason: Some(DropReason::Crash) },
        lost: Tally { count: 2, since: Some(at(2)), reason: Some(LossReason::Stopped) },
        upstream: Tally { count: 4, since: Some(at(2)), reason: Some(()) },
    };
    let told_later = Gap { lost: Tally::default(), ..gap };
    ledger.inherit(gap, told_later);
    assert_eq!((ledger.accepted(), ledger.held()), (10, 1));
    assert_eq!((ledger.dropped(DropReason::Crash), ledger.lost(LossReason::Stopped)), (7, 2));
    assert_eq!(ledger.take_gap(Teller::Reader), Some(gap));
    assert_eq!(ledger.take_gap(Teller::Channel), Some(told_later));
    assert!(ledger.balances());
}

#[test]
fn the_numbers_of_one_that_is_gone_are_kept() {
    let mut gone = ledger_with(10);
    gone.count_as_generated(1);
    gone.deliver(3);
    gone.drop(2, DropReason::Full, at(1));
    gone.lose(5, LossReason::Closed, at(2));
    let mut sum = ledger_with(1);
    sum.absorb(&gone);
    assert_eq!((sum.accepted(), sum.generated(), sum.delivered(), sum.held()), (10, 1, 3, 1));
    assert_eq!((sum.dropped(DropReason::Full), sum.lost(LossReason::Closed)), (2, 5));
    assert!(sum.balances() && sum.gap(Teller::Reader).is_empty());
}

#[test]
fn a_gap_that_is_not_due_goes_on_growing() {
    let mut ledger = ledger_with(10);
    ledger.drop(2, DropReason::Full, at(1));
    assert_eq!(ledger.take_gap_if(Teller::Reader, false), None);
    ledger.drop(1, DropReason::Full, at(2));
    assert_eq!(ledger.take_gap_if(Teller::Reader, true).map(|gap| gap.total()), Some(3));
}

#[test]
fn a_reason_reads_back() {
    for &reason in DropReason::ALL {
        assert_eq!(DropReason::from_name(reason.as_str()), Some(reason));
    }
    for &reason in LossReason::ALL {
        assert_eq!(LossReason::from_name(reason.as_str()), Some(reason));
    }
    assert_eq!(DropReason::from_name("refused"), None);
}
