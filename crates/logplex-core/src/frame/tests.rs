use super::*;

fn frames(input: &str) -> Result<Vec<&str>, FrameError> {
    let limit = FrameLimit::new(1000).expect("in range");
    let whole = WholeInput { rest: input.as_bytes(), limit };
    let mut frames = Vec::new();
    for frame in whole {
        frames.push(std::str::from_utf8(frame?).expect("a test's frames are text"));
    }
    Ok(frames)
}

#[test]
fn frames_stand_back_to_back() {
    assert_eq!(frames(""), Ok(vec![]));
    assert_eq!(frames("5 hello3 abc"), Ok(vec!["hello", "abc"]));
    assert_eq!(frames("1  2 \n\n"), Ok(vec![" ", "\n\n"]));
    assert_eq!(frames(&format!("1000 {}", "x".repeat(1000))), Ok(vec![&*"x".repeat(1000)]));
}

#[test]
fn a_count_is_a_number_without_leading_zeros() {
    let not_a_count = |found| Err(FrameError::NotACount { found });
    assert_eq!(frames("05 hello"), not_a_count(b'0'));
    assert_eq!(frames("0 "), not_a_count(b'0'));
    assert_eq!(frames("+5 hello"), not_a_count(b'+'));
    assert_eq!(frames("-5 hello"), not_a_count(b'-'));
    assert_eq!(frames("5x hello"), not_a_count(b'x'));
    assert_eq!(frames("5\thello"), not_a_count(b'\t'));
    assert_eq!(frames(" 5 hello"), not_a_count(b' '));
    assert_eq!(frames("5 hello\n"), not_a_count(b'\n'));
    assert_eq!(frames("<13>1 - a"), not_a_count(b'<'));
}

#[test]
fn a_count_is_bounded_while_it_is_read() {
    let too_long = |declared| Err(FrameError::TooLong { declared, limit: 1000 });
    assert_eq!(frames("1001 x"), too_long(1001));
    assert_eq!(frames("1001"), too_long(1001));
    assert_eq!(frames("99999999999999999999999999999999999999 x"), too_long(9999));
    assert_eq!(frames("4294967296 x"), too_long(4294));
    assert_eq!(frames(&"1".repeat(100_000)), too_long(1111));
}

#[test]
fn a_whole_input_that_ends_inside_a_frame_is_cut_short() {
    let truncated = |missing| Err(FrameError::Truncated { missing });
    assert_eq!(frames("5 hell"), truncated(1));
    assert_eq!(frames("5 hello3 a"), truncated(2));
    assert_eq!(frames("5 "), truncated(5));
    assert_eq!(frames("5"), truncated(5));
}

#[test]
fn a_growing_input_waits_for_the_rest() {
    for part in ["", "1", "12", "12 ", "12 abc"] {
        assert_eq!(next_frame(part.as_bytes(), FrameLimit::MAX), Ok(None), "{part:?}");
    }
}

#[test]
fn a_declared_length_reserves_nothing() {
    let mut buf = BytesMut::with_capacity(16);
    buf.extend_from_slice(b"65536 x");
    let capacity = buf.capacity();
    assert_eq!(take_frame(&mut buf, FrameLimit::MAX), Ok(None));
    assert_eq!((buf.capacity(), &buf[..]), (capacity, &b"65536 x"[..]));
}

#[test]
fn a_bad_count_leaves_the_buffer_as_it_was() {
    let mut buf = BytesMut::from("x5 hello");
    assert!(take_frame(&mut buf, FrameLimit::MAX).is_err());
    assert_eq!(&buf[..], b"x5 hello");
}

#[test]
fn a_limit_is_above_zero_and_at_most_64_kib() {
    let limit = |bytes| FrameLimit::new(bytes).map(FrameLimit::get);
    assert_eq!([limit(0), limit(1), limit(65_536), limit(65_537)], [None, Some(1), Some(65_536), None]);
}

#[test]
fn parts_of_frames_are_what_goes_on_the_wire() {
    let frames = Frames::from_messages(["hello", "abc", "0123456789"]);
    assert_eq!(frames.wire(0..3), "5 hello3 abc10 0123456789");
    assert_eq!((frames.wire(1..2), frames.size(1..2)), (Bytes::from("3 abc"), 5));
    assert_eq!((frames.wire(3..3), frames.size(3..3)), (Bytes::new(), 0));
    let copy = frames.copy_out(1..3);
    assert_eq!((copy.count(), copy.wire(1..2)), (2, Bytes::from("10 0123456789")));
    assert!(copy.footprint() < frames.footprint());
}

#[test]
fn what_a_builder_leaves_keeps_no_spare_room() {
    let mut builder = FramesBuilder::with_capacity(64 * 1024, 10);
    assert!(builder.is_empty());
    builder.bytes.extend_from_slice(b"3 abc");
    builder.end_frame();
    assert_eq!(builder.count(), 1);
    let bytes = builder.build().bytes;
    assert_eq!(bytes.try_into_mut().expect("the only reference").capacity(), 5);
}
