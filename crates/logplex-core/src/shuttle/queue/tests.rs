//! The queue against a model that keeps every line.

use std::collections::VecDeque;

use crossbeam_channel::bounded;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::frame::put_frame;

#[derive(Clone, Debug)]
enum Op {
    Append(usize),
    Push(usize),
    Take(usize),
    Deliver,
    Lose,
    Tell,
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (1usize..4).prop_map(Op::Append),
        (0usize..40).prop_map(Op::Push),
        (1usize..20).prop_map(Op::Take),
        Just(Op::Deliver),
        Just(Op::Lose),
        Just(Op::Tell),
    ]
}

fn render(out: &mut FramesBuilder, numbers: std::ops::Range<u64>) {
    for number in numbers {
        put_frame(&mut out.bytes, [number.to_string().as_bytes()]);
        out.end_frame();
    }
}

/// The numbers in what was taken.
fn numbers(taken: &Taken<Frames>) -> Vec<u64> {
    let mut numbers = Vec::new();
    for part in taken.parts() {
        for index in part.range() {
            let wire = part.chunk().wire(index..index + 1);
            let text = std::str::from_utf8(&wire).unwrap().split_once(' ').unwrap().1;
            numbers.push(text.parse().unwrap());
        }
    }
    numbers
}

proptest! {
    #[test]
    fn exactly_the_oldest_go_and_every_line_is_counted(limit in 1usize..30, ops in vec(any_op(), 0..60)) {
        let (wake, _woken) = bounded(1);
        let limits = RingLimits { messages: limit, bytes: 1 << 20 };
        let queue = Queue::new(limits, Policy::default(), Overflow::DropOldest, wake);
        let (mut model, mut next, mut dropped, mut told) = (VecDeque::new(), 0u64, 0u64, 0u64);
        let mut in_flight: Option<Taken<Frames>> = None;
        let (mut delivered, mut lost) = (0u64, 0u64);
        for op in ops {
            match op {
                Op::Append(count) | Op::Push(count) => {
                    let lines = next..next + count as u64;
                    next = lines.end;
                    model.extend(lines.clone());
                    while model.len() > limit {
                        model.pop_front();
                        dropped += 1;
                    }
                    if let Op::Append(_) = op {
                        queue.append(Utc::now(), |open| render(open, lines));
                    } else {
                        let mut chunk = FramesBuilder::default();
                        render(&mut chunk, lines);
                        queue.push(chunk, Utc::now());
                    }
                }
                Op::Take(most) if in_flight.is_none() => {
                    let policy = Policy { messages: most, bytes: usize::MAX };
                    let taken = queue.take(&policy, false, Utc::now()).taken;
                    let expected: Vec<u64> = model.drain(..most.min(model.len())).collect();
                    prop_assert_eq!(numbers(&taken), expected);
                    in_flight = Some(taken);
                }
                Op::Deliver => {
                    if let Some(taken) = in_flight.take() {
                        delivered += taken.messages() as u64;
                        queue.delivered(taken.parts());
                    }
                }
                Op::Lose => {
                    if let Some(taken) = in_flight.take() {
                        lost += taken.messages() as u64;
                        queue.lost(taken.parts(), LossReason::Refused, None, Utc::now());
                    }
                }
                Op::Tell => told += queue.take_gap().map_or(0, |gap| gap.total()),
                Op::Take(_) => {}
            }
            let ledger = queue.ledger();
            prop_assert!(ledger.balances());
            prop_assert_eq!(ledger.accepted(), next);
            prop_assert_eq!(ledger.delivered(), delivered);
            prop_assert_eq!(ledger.dropped_total(), dropped);
            prop_assert_eq!(ledger.lost_total(), lost);
            let flying = in_flight.as_ref().map_or(0, Taken::messages);
            prop_assert_eq!(ledger.held() as usize, model.len() + flying);
            prop_assert_eq!(told + ledger.gap(Teller::Reader).total(), dropped + lost);
            prop_assert_eq!(queue.progress(), (next, next - model.len() as u64));
        }
    }
}
