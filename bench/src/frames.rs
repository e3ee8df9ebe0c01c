//! The frames of a run: made by the load generator, counted by the sink.

use std::time::{SystemTime, UNIX_EPOCH};

/// The digits of a stamp: nanoseconds since 1970.
const STAMP: usize = 19;

/// The head of every message but the first of a batch, which is of severity debug and carries a stamp.
const PLAIN: &[u8] = b"<190>1";
const STAMPED: &[u8] = b"<191>1";

/// What follows, up to the PROCID.
const FIELDS: &[u8] = b" 2026-01-02T03:04:05.678901+00:00 host app ";

/// The PROCID of most messages, and of those that a filter can tell from them.
pub(crate) const PROCID: &str = "web.1";
pub(crate) const KEPT_PROCID: &str = "keep.1";

/// The size of a message whose text has `text` bytes.
pub(crate) fn message_size(text: usize) -> usize {
    PLAIN.len() + FIELDS.len() + PROCID.len() + " - - ".len() + text
}

/// A line of text that shows when it was made; in a message of severity debug, the sink measures its way.
pub(crate) fn stamped_line() -> String {
    format!("t={:0width$}\n", now(), width = STAMP)
}

/// A batch of frames, and where its stamp goes.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) bytes: Vec<u8>,
    stamp: usize,
}

impl Batch {
    /// `messages` messages of `size` bytes each, not counting the octet count; the first is from `procid`.
    pub(crate) fn new(messages: usize, size: usize, procid: &str) -> Batch {
        let mut bytes = Vec::new();
        let mut stamp = 0;
        for at in 0..messages {
            let (head, procid) = if at == 0 { (STAMPED, procid) } else { (PLAIN, PROCID) };
            let mut message = [head, FIELDS, procid.as_bytes(), b" - - t="].concat();
            if at == 0 {
                stamp = bytes.len() + size.to_string().len() + 1 + message.len();
            }
            message.resize((message.len() + STAMP).max(size), b'x');
            bytes.extend_from_slice(format!("{} ", message.len()).as_bytes());
            bytes.extend_from_slice(&message);
        }
        Batch { bytes, stamp }
    }

    /// Writes the time into the first message.
    pub(crate) fn stamp(&mut self) {
        let text = format!("{:0width$}", now(), width = STAMP);
        self.bytes[self.stamp..self.stamp + STAMP].copy_from_slice(text.as_bytes());
    }
}

/// Nanoseconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// What came in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Messages, without notices.
    pub(crate) messages: u64,
    /// The sum of the notices' counts.
    pub(crate) told: u64,
    /// Microseconds from stamp to sight.
    pub(crate) latencies: Vec<u32>,
}

impl Seen {
    /// Counts the whole frames at the start of `bytes`; returns how many bytes those were.
    pub(crate) fn count(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        loop {
            let mut length = 0;
            let mut start = at;
            loop {
                match bytes.get(start) {
                    Some(digit @ b'0'..=b'9') => length = length * 10 + usize::from(digit - b'0'),
                    Some(b' ') => break,
                    Some(_) => {
                        eprintln!(
                            "not a frame: {:?}",
                            String::from_utf8_lossy(&bytes[at..bytes.len().min(at + 99)])
                        );
                        std::process::exit(1);
                    }
                    None => return at,
                }
                start += 1;
            }
            let Some(frame) = bytes.get(start + 1..start + 1 + length) else { return at };
            at = start + 1 + length;
            if frame.starts_with(PLAIN) {
                self.messages += 1;
            } else if frame.starts_with(STAMPED) {
                self.messages += 1;
                self.latency(frame);
            } else {
                self.told += told(frame);
            }
        }
    }

    fn latency(&mut self, frame: &[u8]) {
        if let Some(at) = memchr::memmem::find(frame, b" t=") {
            self.latency_from(&frame[at + 3..], now());
        }
    }

    /// A stamp is at the start of `text`, if it is all digits.
    fn latency_from(&mut self, text: &[u8], now: u64) {
        let digits = text.get(..STAMP).and_then(|digits| std::str::from_utf8(digits).ok());
        let Some(stamp) = digits.and_then(|digits| digits.parse::<u64>().ok()) else { return };
        self.latencies.push((now.saturating_sub(stamp) / 1000) as u32);
    }

    /// Counts the lines of a tail, all of them whole. Every stamp begins with a 1, and no other text does.
    pub(crate) fn count_lines(&mut self, lines: &[u8], now: u64) {
        self.messages += memchr::memchr_iter(b'\n', lines).count() as u64;
        for at in memchr::memmem::find_iter(lines, b" t=1") {
            self.latency_from(&lines[at + 3..], now);
        }
        for at in memchr::memmem::find_iter(lines, b" heroku[logplex]: L11 ") {
            let notice = &lines[at..];
            let end = memchr::memchr(b'\n', notice).unwrap_or(notice.len());
            self.messages -= 1;
            self.told += told(&notice[..end]);
        }
    }
}

/// The count of a notice, as in `Error L10 (output buffer overflow): 3476 messages dropped since …`.
fn told(frame: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(frame);
    let Some((before, _)) = text.split_once(" messages ") else { return 0 };
    before.rsplit(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_counted() {
        let mut batch = Batch::new(100, 200, KEPT_PROCID);
        batch.stamp();
        assert_eq!(batch.bytes.len(), 100 * 204);
        let kept = memchr::memmem::find_iter(&batch.bytes, b" keep.1 - - t=");
        assert_eq!(kept.count(), 1);
        batch.bytes.extend_from_slice(b"34 <172>1 - L10: 7 messages dropped  ");
        let mut seen = Seen::default();
        let counted = seen.count(&batch.bytes);
        assert_eq!((seen.messages, seen.told, seen.latencies.len()), (100, 7, 1));
        assert_eq!(&batch.bytes[counted..], b"");
        assert_eq!(seen.count(b"9 <190>"), 0, "the rest is still to come");
    }

    #[test]
    fn the_size_of_a_message_is_that_of_its_text_and_its_head() {
        let batch = Batch::new(1, message_size(50), PROCID);
        let text = memchr::memmem::find(&batch.bytes, b"t=").expect("the text begins with its stamp");
        assert_eq!(batch.bytes.len() - text, 50);
    }

    #[test]
    fn a_stamped_line_is_timed_whoever_framed_it() {
        let message =
            format!("<191>1 2026-01-02T03:04:05.678901+00:00 shuttle token shuttle - - {}", stamped_line());
        let mut seen = Seen::default();
        seen.count(format!("{} {message}", message.len()).as_bytes());
        assert_eq!((seen.messages, seen.latencies.len()), (1, 1));
        assert!(seen.latencies[0] < 60_000_000, "the time since the line was made");
    }
}
