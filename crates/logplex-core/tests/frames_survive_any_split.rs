//! However a stream of frames is cut into pieces, the same frames come out of it.

use bytes::BytesMut;
use logplex_core::frame::take_frame;
use logplex_core::{Chunk, FrameError, FrameLimit, Frames};
use proptest::collection::vec;
use proptest::prelude::*;

/// All frames of a stream that comes in pieces, without their counts; ends at the first error.
fn read(pieces: &[&[u8]], limit: FrameLimit) -> (Vec<Vec<u8>>, Option<FrameError>) {
    let (mut buf, mut frames) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        buf.extend_from_slice(piece);
        loop {
            match take_frame(&mut buf, limit) {
                Ok(Some(frame)) => {
                    let space = frame.iter().position(|&byte| byte == b' ').expect("a count");
                    frames.push(frame[space + 1..].to_vec());
                }
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
        assert!(buf.len() <= limit.get() as usize + "65536 ".len(), "more was needed than a frame");
    }
    (frames, None)
}

fn split<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

proptest! {
    #[test]
    fn what_was_framed_comes_out_of_any_split(
        messages in vec(vec(any::<u8>(), 1..300), 0..12),
        cuts in vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let frames = Frames::from_messages(&messages);
        let wire = frames.wire(0..frames.count());
        let singles: Vec<&[u8]> = wire.chunks(1).collect();
        prop_assert_eq!(&read(&split(&wire, &cuts), FrameLimit::MAX), &(messages.clone(), None));
        prop_assert_eq!(&read(&singles, FrameLimit::MAX), &(messages, None));
    }

    #[test]
    fn hostile_bytes_fare_the_same_in_any_split(
        bytes in "([0-9]{1,3} [a-z]{0,12}|[0-9 x]{0,5}){0,8}",
        cuts in vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let limit = FrameLimit::new(20).expect("in range");
        prop_assert_eq!(read(&split(bytes.as_bytes(), &cuts), limit), read(&[bytes.as_bytes()], limit));
    }
}
