//! Under any interleaving of what a ring can be asked, a naive queue of single messages agrees with it: the
//! same messages in the same order, exactly the oldest dropped, every number and every gap the same.

use std::collections::VecDeque;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use logplex_core::{
    Chunk, DropReason, Frames, Gap, LossReason, Part, Policy, Ring, RingLimits, Taken, Tally, Teller,
};
use proptest::prelude::*;

/// What a part costs a ring beyond its chunk's footprint, at most.
const OVERHEAD: usize = 200;

#[derive(Clone, Debug)]
enum Op {
    /// Messages of these lengths, of which the ring gets those from `skip` on.
    Push {
        lengths: Vec<usize>,
        skip: usize,
    },
    Take(Policy),
    Deliver,
    Lose(LossReason),
    LoseAll,
    MakeRoom(usize),
    TakeGap(Teller),
    RestoreGap,
}

fn op() -> impl Strategy<Value = Op> {
    let teller = prop_oneof![Just(Teller::Reader), Just(Teller::Channel)];
    let reason = prop_oneof![Just(LossReason::Unavailable), Just(LossReason::Refused)];
    let policy = (0..8usize, 0..300usize).prop_map(|(messages, bytes)| Policy { messages, bytes });
    prop_oneof![
        8 => (prop::collection::vec(0..60usize, 0..12), 0..12usize)
            .prop_map(|(lengths, skip)| Op::Push { lengths, skip }),
        4 => policy.prop_map(Op::Take),
        2 => Just(Op::Deliver),
        1 => reason.prop_map(Op::Lose),
        1 => Just(Op::LoseAll),
        1 => (0..20usize).prop_map(Op::MakeRoom),
        2 => teller.prop_map(Op::TakeGap),
        1 => Just(Op::RestoreGap),
    ]
}

/// One message that went and was not told: when, and whether it was dropped or lost.
type Gone = (DateTime<Utc>, Result<DropReason, LossReason>);

#[derive(Default)]
struct Model {
    /// Each message's text and its size, framed.
    resting: VecDeque<(String, usize)>,
    in_flight: VecDeque<Taken<Frames>>,
    accepted: u64,
    delivered: u64,
    gone: Vec<Gone>,
    untold: [Vec<Gone>; 2],
    taken_gaps: Vec<(Teller, Vec<Gone>)>,
}

impl Model {
    fn goes(&mut self, count: usize, now: DateTime<Utc>, why: Result<DropReason, LossReason>) {
        for list in [&mut self.gone].into_iter().chain(&mut self.untold) {
            list.extend(std::iter::repeat_n((now, why), count));
        }
    }

    fn drop_oldest(&mut self, count: usize, now: DateTime<Utc>, why: DropReason) {
        self.resting.drain(..count);
        self.goes(count, now, Ok(why));
    }

    /// As many as the policy allows, at least one if there is any.
    fn take(&mut self, policy: Policy) -> Vec<String> {
        let (mut taken, mut size) = (Vec::new(), 0);
        while let Some((_, next)) = self.resting.front()
            && (taken.is_empty() || (taken.len() < policy.messages && size + next <= policy.bytes))
        {
            size += next;
            taken.extend(self.resting.pop_front().map(|(text, _)| text));
        }
        taken
    }
}

fn tally<R: Copy>(untold: &[Gone], of: impl Fn(&Gone) -> Option<R>) -> Tally<R> {
    let mut mine = untold.iter().filter_map(|gone| Some((gone.0, of(gone)?)));
    let first = mine.next();
    Tally {
        count: (first.iter().len() + mine.count()) as u64,
        since: first.map(|(time, _)| time),
        reason: first.map(|(_, reason)| reason),
    }
}

fn gap(untold: &[Gone]) -> Gap {
    let mut untold = untold.to_vec();
    untold.sort_by_key(|(time, _)| *time);
    Gap {
        dropped: tally(&untold, |gone| gone.1.ok()),
        lost: tally(&untold, |gone| gone.1.err()),
        ..Gap::default()
    }
}

fn texts<'a>(parts: impl Iterator<Item = &'a Part<Frames>>) -> Vec<String> {
    let frames = parts.flat_map(|part| part.range().map(|at| part.chunk().wire(at..at + 1)));
    frames.map(|frame| String::from_utf8_lossy(&frame).into_owned()).collect()
}

fn apply(ring: &mut Ring<Frames>, model: &mut Model, op: Op, now: DateTime<Utc>) {
    let limits = ring.limits();
    match op {
        Op::Push { lengths, skip } => {
            let first = model.accepted;
            let new = lengths.iter().zip(first..).map(|(len, id)| format!("{id} {}", "x".repeat(*len)));
            let new: Vec<String> = new.collect();
            let mut part = Part::whole(Arc::new(Frames::from_messages(&new)));
            let skip = skip.min(new.len());
            part.split_to(skip);
            let framed = new.iter().map(|text| format!("{} {text}", text.len())).skip(skip);
            model.accepted += (new.len() - skip) as u64;
            model.resting.extend(framed.map(|text| (text.clone(), text.len())));
            ring.push(part, now);
            let over = model.resting.len().saturating_sub(limits.messages);
            model.drop_oldest(over, now, DropReason::Full);
            // How many more the bytes cost is the ring's to say, but it must not be without need.
            let cost = model.resting.len() - ring.messages();
            if cost > 0 {
                let needed: usize = model.resting.iter().skip(cost - 1).map(|(_, size)| 2 * (size + 4)).sum();
                assert!(needed + OVERHEAD * (ring.parts().count() + 1) > limits.bytes, "dropped too much");
            }
            model.drop_oldest(cost, now, DropReason::Bytes);
        }
        Op::Take(policy) => {
            let taken = ring.take(&policy);
            let expected = model.take(policy);
            assert_eq!(texts(taken.parts().iter()), expected);
            assert_eq!(taken.messages(), expected.len());
            model.in_flight.push_back(taken);
        }
        Op::Deliver => {
            if let Some(taken) = model.in_flight.pop_front() {
                ring.deliver(taken.parts());
                model.delivered += taken.messages() as u64;
            }
        }
        Op::Lose(reason) => {
            if let Some(taken) = model.in_flight.pop_front() {
                ring.lose(taken.parts(), reason, now);
                model.goes(taken.messages(), now, Err(reason));
            }
        }
        Op::LoseAll => {
            ring.lose_all(LossReason::Closed, now);
            let count = model.resting.drain(..).count();
            model.goes(count, now, Err(LossReason::Closed));
        }
        Op::MakeRoom(messages) => {
            ring.make_room(messages, now);
            let over = (model.resting.len() + messages).saturating_sub(limits.messages);
            model.drop_oldest(over.min(model.resting.len()), now, DropReason::Full);
        }
        Op::TakeGap(teller) => {
            let untold = std::mem::take(&mut model.untold[teller as usize]);
            let expected = Some(gap(&untold)).filter(|gap| !gap.is_empty());
            assert_eq!(ring.ledger_mut().take_gap(teller), expected);
            model.taken_gaps.extend(expected.map(|_| (teller, untold)));
        }
        Op::RestoreGap => {
            if let Some((teller, untold)) = model.taken_gaps.pop() {
                ring.ledger_mut().restore_gap(teller, gap(&untold));
                model.untold[teller as usize].extend(untold);
            }
        }
    }
}

fn agree(ring: &Ring<Frames>, model: &Model) {
    let resting: Vec<&String> = model.resting.iter().map(|(text, _)| text).collect();
    assert_eq!(texts(ring.parts()).iter().collect::<Vec<_>>(), resting);
    assert_eq!(ring.messages(), resting.len());

    let ledger = ring.ledger();
    assert!(ledger.balances(), "{ledger:?}");
    assert_eq!((ledger.accepted(), ledger.delivered()), (model.accepted, model.delivered));
    assert_eq!(
        ledger.held() as usize,
        resting.len() + model.in_flight.iter().map(Taken::messages).sum::<usize>()
    );
    let count = |why| model.gone.iter().filter(|gone| gone.1 == why).count() as u64;
    for &reason in DropReason::ALL {
        assert_eq!(ledger.dropped(reason), count(Ok(reason)), "{reason:?}");
    }
    for &reason in LossReason::ALL {
        assert_eq!(ledger.lost(reason), count(Err(reason)), "{reason:?}");
    }
    for teller in [Teller::Reader, Teller::Channel] {
        assert_eq!(*ledger.gap(teller), gap(&model.untold[teller as usize]));
    }

    let limits = ring.limits();
    let mut chunks: Vec<_> = ring.parts().map(Part::chunk).collect();
    chunks.dedup_by_key(|chunk| Arc::as_ptr(chunk));
    let memory: usize = chunks.iter().map(|chunk| chunk.footprint()).sum();
    assert!(ring.messages() <= limits.messages && ring.bytes() <= limits.bytes && memory <= ring.bytes());
}

fn run(limits: RingLimits, ops: Vec<Op>) {
    let mut ring = Ring::new(limits);
    let mut model = Model::default();
    for (op, second) in ops.into_iter().zip(1..) {
        let now = DateTime::from_timestamp(second, 0).expect("in range");
        apply(&mut ring, &mut model, op, now);
        agree(&ring, &model);
    }
}

proptest! {
    #[test]
    fn a_ring_bounded_by_messages_is_a_queue_that_counts(
        messages in 1..20usize,
        ops in prop::collection::vec(op(), 0..80),
    ) {
        run(RingLimits { messages, ..RingLimits::default() }, ops);
    }

    #[test]
    fn a_ring_bounded_by_bytes_is_a_queue_that_counts(
        messages in 1..40usize,
        bytes in 0..3000usize,
        ops in prop::collection::vec(op(), 0..80),
    ) {
        run(RingLimits { messages, bytes }, ops);
    }
}
