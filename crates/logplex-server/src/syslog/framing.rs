//! Where one message ends and the next begins in a stream of bytes (RFC 6587, 3.4).
//!
//! The first bytes of a connection decide for all of it: digits without a leading zero and a space are the octet
//! count of counted frames; anything else begins a line, ended by LF, CR LF or NUL. Some senders count and end lines
//! as well: line ends between counted frames are passed over. What is incomplete stays in the caller's buffer, which
//! therefore never needs to hold more than [`BUFFER_MAX`] bytes.

use logplex_core::frame::next_frame;
use logplex_core::{FrameError, FrameLimit, cut_point};

/// The largest counted frame: what another router was sent may have grown a little on its way here.
pub(super) const FRAME_MAX: FrameLimit = FrameLimit::FORWARDED;

/// A line above this is cut into several messages.
const LINE_MAX: usize = 64 * 1024;

/// The pieces of a long line after its first are shorter, because they get a head like the first one's.
const CONTINUED_MAX: usize = LINE_MAX - HEAD_ROOM;

/// The most bytes of a head that may be put ahead of a piece of a long line.
pub(super) const HEAD_ROOM: usize = 1024;

/// A frame that is too long is passed over if its count has no more digits than this; a longer one is taken for
/// no count at all.
const DIGITS_MAX: usize = 9;

/// The most bytes that may be left over when [`Framing::next`] asks for more.
pub(super) const BUFFER_MAX: usize = FRAME_MAX.get() as usize + DIGITS_MAX + 1;

/// What is next in the stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// A message: a frame's content, or a line without its end; never an empty line.
    Message(&'a [u8]),
    /// The front of a line that is too long for one message.
    Front(&'a [u8]),
    /// More of that line.
    More(&'a [u8]),
    /// A frame over the limit. Its content is passed over.
    TooLong,
    /// The stream ended inside a frame.
    CutShort,
}

impl<'a> Piece<'a> {
    /// The end of a line, of which there was more before or not.
    fn last_of_line(line: &'a [u8], more: bool) -> Piece<'a> {
        if more { Piece::More(line) } else { Piece::Message(line) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Unknown,
    Counted,
    Lines,
}

/// The state between two reads of one connection.
#[derive(Debug)]
pub(super) struct Framing {
    mode: Mode,
    /// How many bytes of a frame over the limit are still to come.
    passing: usize,
    /// Whether the front of the line at hand was taken already.
    cut: bool,
    /// How many bytes of the input's front hold no line end.
    searched: usize,
}

impl Framing {
    pub(super) fn new() -> Framing {
        Framing { mode: Mode::Unknown, passing: 0, cut: false, searched: 0 }
    }

    /// Takes the next piece off the front of `input`; `None` if that needs more bytes. What is left must be the
    /// front of the next call's input.
    ///
    /// # Errors
    /// [`FrameError`] if a count is malformed: nothing that follows can be trusted.
    pub(super) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Piece<'a>>, FrameError> {
        if self.mode == Mode::Unknown {
            let Some(mode) = detect(input) else { return Ok(None) };
            self.mode = mode;
        }
        match self.mode {
            Mode::Counted => self.next_counted(input),
            Mode::Lines | Mode::Unknown => Ok(self.next_line(input)),
        }
    }

    /// What `rest` is now that nothing follows: the last line needs no end, a frame does.
    pub(super) fn finish<'a>(&mut self, rest: &'a [u8]) -> Option<Piece<'a>> {
        match self.mode {
            Mode::Counted => (!rest.is_empty()).then_some(Piece::CutShort),
            Mode::Lines | Mode::Unknown => {
                let line = rest.strip_suffix(b"\r").unwrap_or(rest);
                (!line.is_empty()).then_some(Piece::last_of_line(line, self.cut))
            }
        }
    }

    /// Whether a frame is being passed over.
    pub(super) fn is_passing(&self) -> bool {
        self.passing > 0
    }

    fn next_counted<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Piece<'a>>, FrameError> {
        let passed = self.passing.min(input.len());
        *input = &input[passed..];
        self.passing -= passed;
        let ends = input.iter().take_while(|byte| matches!(byte, b'\n' | b'\r' | 0)).count();
        *input = &input[ends..];
        match next_frame(input, FRAME_MAX) {
            Ok(Some(content)) => {
                let (front, rest) = input.split_at(content.end);
                *input = rest;
                Ok(Some(Piece::Message(&front[content.start..])))
            }
            Ok(None) => Ok(None),
            Err(FrameError::TooLong { .. }) => {
                let Some((count_len, declared)) = long_count(input)? else { return Ok(None) };
                *input = &input[count_len..];
                self.passing = declared;
                Ok(Some(Piece::TooLong))
            }
            Err(error) => Err(error),
        }
    }

    fn next_line<'a>(&mut self, input: &mut &'a [u8]) -> Option<Piece<'a>> {
        loop {
            let most = if self.cut { CONTINUED_MAX } else { LINE_MAX };
            let window = &input[..input.len().min(most + 1)];
            let found = memchr::memchr2(b'\n', 0, &window[self.searched.min(window.len())..]);
            if let Some(at) = found {
                let end = self.searched + at;
                let line = &input[..end];
                let line = if input[end] == 0 { line } else { line.strip_suffix(b"\r").unwrap_or(line) };
                *input = &input[end + 1..];
                self.searched = 0;
                let more = std::mem::take(&mut self.cut);
                if !line.is_empty() {
                    return Some(Piece::last_of_line(line, more));
                }
            } else if input.len() > most {
                let (piece, rest) = input.split_at(cut_point(input, most));
                *input = rest;
                self.searched = 0;
                let more = std::mem::replace(&mut self.cut, true);
                return Some(if more { Piece::More(piece) } else { Piece::Front(piece) });
            } else {
                self.searched = input.len();
                return None;
            }
        }
    }
}

/// How the stream is framed, once its first bytes tell.
fn detect(input: &[u8]) -> Option<Mode> {
    match input.first()? {
        b'1'..=b'9' => match input.get(digits(input)) {
            None if input.len() <= DIGITS_MAX => None,
            Some(b' ') if digits(input) <= DIGITS_MAX => Some(Mode::Counted),
            _ => Some(Mode::Lines),
        },
        _ => Some(Mode::Lines),
    }
}

/// How long the count ahead of a frame over the limit is, with its space, and what it says.
fn long_count(input: &[u8]) -> Result<Option<(usize, usize)>, FrameError> {
    let len = digits(input);
    if len > DIGITS_MAX {
        return Err(FrameError::NotACount { found: input[DIGITS_MAX] });
    }
    match input.get(len) {
        None => Ok(None),
        Some(b' ') => {
            let declared = input[..len].iter().fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
            Ok(Some((len + 1, declared)))
        }
        Some(&found) => Err(FrameError::NotACount { found }),
    }
}

/// How many digits `input` begins with, as far as it matters.
fn digits(input: &[u8]) -> usize {
    input.iter().take(DIGITS_MAX + 1).take_while(|byte| byte.is_ascii_digit()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All pieces of a stream that comes in reads of `size` bytes, as text, each with its kind ahead.
    fn pieces(stream: &[u8], size: usize) -> Vec<String> {
        let (mut framing, mut held, mut found) = (Framing::new(), Vec::new(), Vec::new());
        for read in stream.chunks(size) {
            held.extend_from_slice(read);
            let mut rest = &held[..];
            loop {
                match framing.next(&mut rest) {
                    Ok(Some(piece)) => found.push(show(&piece)),
                    Ok(None) => break,
                    Err(error) => {
                        found.push(error.to_string());
                        return found;
                    }
                }
            }
            assert!(rest.len() <= BUFFER_MAX, "{} bytes are left over", rest.len());
            held = rest.to_vec();
        }
        found.extend(framing.finish(&held).iter().map(show));
        found
    }

    fn show(piece: &Piece<'_>) -> String {
        match piece {
            Piece::Message(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Piece::Front(bytes) => format!("front {}", bytes.len()),
            Piece::More(bytes) => format!("more {}", bytes.len()),
            Piece::TooLong => "too long".to_owned(),
            Piece::CutShort => "cut short".to_owned(),
        }
    }

    #[test]
    fn any_split_gives_the_same_messages() {
        let not_a_count = |found: &str| format!("expected an octet count, found byte 0x{found}");
        let cases: [(&[u8], Vec<String>); 18] = [
            (b"", vec![]),
            (b"5 hello3 abc", vec!["hello".into(), "abc".into()]),
            (b"5 hello9 abc", vec!["hello".into(), "cut short".into()]),
            (b"7 a\nb\r\n\0c1 d", vec!["a\nb\r\n\0c".into(), "d".into()]),
            (b"5 hello\n5 hello", vec!["hello".into(), "hello".into()]),
            (b"5 \nello\r\n\0\n5 hello\n", vec!["\nello".into(), "hello".into()]),
            (b"5 hello 5 hello", vec!["hello".into(), not_a_count("20")]),
            (b"5 hello05 hello", vec!["hello".into(), not_a_count("30")]),
            (b"1 a1234567890 x", vec!["a".into(), not_a_count("30")]),
            (b"1 a99999x", vec!["a".into(), not_a_count("78")]),
            (b"<1>a\n<2>b\r\n<3>c", vec!["<1>a".into(), "<2>b".into(), "<3>c".into()]),
            (b"<1>a\0<2>b\r\0\n\r\n\n<3>c\r", vec!["<1>a".into(), "<2>b\r".into(), "<3>c".into()]),
            // Only the first bytes decide.
            (b"<1>a\n5 hello\n", vec!["<1>a".into(), "5 hello".into()]),
            (b"hello\n", vec!["hello".into()]),
            (b"05 hello", vec!["05 hello".into()]),
            (b"12:34 up\n", vec!["12:34 up".into()]),
            (b"1234567890 x", vec!["1234567890 x".into()]),
            (b"12", vec!["12".into()]),
        ];
        for (stream, expected) in cases {
            for size in 1..=stream.len().max(1) {
                let seen = pieces(stream, size);
                assert_eq!(seen, expected, "{:?} in reads of {size}", String::from_utf8_lossy(stream));
            }
        }
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let line = ["<1>".as_bytes(), &"ä".repeat(LINE_MAX).into_bytes(), b"\n<2>next\n"].concat();
        for size in [1000, 64 * 1024, line.len()] {
            let rest = 2 * LINE_MAX + 3 - (LINE_MAX - 1) - CONTINUED_MAX;
            let expected = [
                format!("front {}", LINE_MAX - 1),
                format!("more {CONTINUED_MAX}"),
                format!("more {rest}"),
                "<2>next".to_owned(),
            ];
            assert_eq!(pieces(&line, size), expected, "in reads of {size}");
        }
    }

    #[test]
    fn a_line_of_just_the_limit_is_one_message() {
        for end in [&b"\n"[..], b"\r\n", b"\0", b""] {
            let stream = ["x".repeat(LINE_MAX).as_bytes(), end, b"y\n"].concat();
            let seen = pieces(&stream, 4096);
            match end {
                b"\n" | b"\0" => assert_eq!((seen.len(), seen[0].len()), (2, LINE_MAX)),
                // One byte over; a CR alone is no message.
                b"\r\n" => assert_eq!(seen, [format!("front {LINE_MAX}"), "y".to_owned()]),
                _ => assert_eq!(seen, [format!("front {LINE_MAX}"), "more 1".to_owned()]),
            }
        }
    }

    #[test]
    fn a_frame_over_the_limit_is_passed_over() {
        let limit = FRAME_MAX.get() as usize;
        let long = [format!("{} ", limit + 1).as_bytes(), "x".repeat(limit + 1).as_bytes()].concat();
        let stream = [b"1 a", &long[..], b"1 b"].concat();
        for size in [999, 70_000, stream.len()] {
            assert_eq!(pieces(&stream, size), ["a", "too long", "b"]);
        }
        let just = [format!("{limit} ").as_bytes(), "x".repeat(limit).as_bytes()].concat();
        assert_eq!(pieces(&just, 1000)[0].len(), limit);
        // It is counted once, also where it is cut short.
        assert_eq!(pieces(&long[..5000], 1000), ["too long"]);
    }
}
