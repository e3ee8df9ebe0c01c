//! The platform's error codes of one channel: how many of each there were, when, and the newest lines.
//!
//! A channel without codes has nothing of this. One with all of them takes a few KiB, and its lines up to
//! [`LINES_MAX`] of each code; the lines of all channels together stay within [`LINES_BYTES`]: beyond, a channel
//! that keeps another one gives up its oldest, and within the minute those longest without a code give up theirs.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::{DateTime, Utc};
use logplex_core::code::CodeSet;
use logplex_core::{Batch, ErrorCode};

/// How many lines of each code a channel keeps.
pub(crate) const LINES_MAX: usize = 5;

/// The most bytes of a line that are kept.
const LINE_BYTES: usize = 512;

/// What the lines of all channels may take.
const LINES_BYTES: usize = 16 * 1024 * 1024;

/// What a line takes besides its text, about.
const LINE_COST: usize = 64;

/// How unlike a known code may be that is suggested for an unknown one: 1 is equal.
const ALIKE: f64 = 0.7;

/// The most that is repeated of an unknown code.
const SHOWN: usize = 32;

/// A word in a list of codes that stands for none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown code {code:?}; {hint}")]
pub(crate) struct UnknownCode {
    code: String,
    hint: String,
}

/// Adds a list such as `H12,R*` to a set.
pub(crate) fn add_codes(set: &mut CodeSet, list: &str) -> Result<(), UnknownCode> {
    set.add(list).map_err(|unknown| {
        let code: String = unknown.chars().take(SHOWN).collect();
        let hint = match nearest(&code) {
            Some(nearest) => format!("did you mean {nearest}?"),
            None => "write codes such as H12 or R*, joined by commas".to_owned(),
        };
        UnknownCode { code, hint }
    })
}

/// The code most like this one; of several, the nearest by number.
fn nearest(asked: &str) -> Option<ErrorCode> {
    let asked = asked.trim_end_matches('*').trim().to_ascii_uppercase();
    let number = |name: &str| name.get(1..).and_then(|digits| digits.parse::<u16>().ok());
    let rank = |code: &ErrorCode| {
        let away = number(code.as_str()).zip(number(&asked)).map_or(0, |(one, other)| one.abs_diff(other));
        (strsim::jaro_winkler(code.as_str(), &asked), away)
    };
    let ranked =
        ErrorCode::ALL.iter().map(|code| (rank(code), *code)).filter(|((alike, _), _)| *alike >= ALIKE);
    let best = ranked
        .min_by(|((alike, away), _), ((other, further), _)| other.total_cmp(alike).then(away.cmp(further)));
    best.map(|(_, code)| code)
}

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct Codes {
    seen: Vec<Seen>,
    /// The oldest first, whatever their code.
    lines: VecDeque<Line>,
}

/// What there was of one code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) code: ErrorCode,
    /// How many messages since the process started.
    pub(crate) count: u64,
    /// When the first and the last of them came in.
    pub(crate) first: DateTime<Utc>,
    pub(crate) last: DateTime<Utc>,
}

/// A message as a tail shows it, perhaps cut.
#[derive(Debug)]
pub(crate) struct Line {
    code: ErrorCode,
    text: Box<str>,
}

impl Line {
    fn cost(&self) -> usize {
        self.text.len() + LINE_COST
    }
}

/// The newest lines of each code in a batch, oldest first. Costs nothing where there is no code.
pub(crate) fn newest_lines(batch: &Batch) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for (index, code) in batch.codes().rev() {
        if lines.iter().filter(|line| line.code == code).count() < LINES_MAX {
            let mut text = String::new();
            batch.write_line(index, &mut text);
            text.truncate(text.trim_end_matches('\n').len());
            if text.len() > LINE_BYTES {
                text.truncate(text.floor_char_boundary(LINE_BYTES - '…'.len_utf8()));
                text.push('…');
            }
            lines.push(Line { code, text: text.into() });
        }
    }
    lines.reverse();
    lines
}

impl Codes {
    /// Counts the codes of a batch that came at `now`.
    pub(crate) fn count(&mut self, batch: &Batch, now: DateTime<Utc>) {
        for (_, code) in batch.codes() {
            match self.seen.iter_mut().find(|seen| seen.code == code) {
                Some(seen) => (seen.count, seen.last) = (seen.count + 1, now),
                None => self.seen.push(Seen { code, count: 1, first: now, last: now }),
            }
        }
    }

    /// Keeps lines as the newest.
    pub(crate) fn keep(&mut self, lines: Vec<Line>, budget: &LineBudget) {
        for line in lines {
            let same = |other: &&Line| other.code == line.code;
            if self.lines.iter().filter(same).count() >= LINES_MAX
                && let Some(oldest) = self.lines.iter().position(|other| other.code == line.code)
                && let Some(oldest) = self.lines.remove(oldest)
            {
                budget.free(oldest.cost());
            }
            let mut over = budget.take(line.cost());
            self.lines.push_back(line);
            while over > 0
                && let Some(oldest) = self.lines.pop_front()
            {
                budget.free(oldest.cost());
                over = over.saturating_sub(oldest.cost());
            }
        }
    }

    /// Gives up all lines. Returns what they took.
    pub(crate) fn forget_lines(&mut self, budget: &LineBudget) -> usize {
        let freed = std::mem::take(&mut self.lines).iter().map(Line::cost).sum();
        budget.free(freed);
        freed
    }

    pub(crate) fn has_lines(&self) -> bool {
        !self.lines.is_empty()
    }

    /// When the last code came.
    pub(crate) fn last(&self) -> Option<DateTime<Utc>> {
        self.seen.iter().map(|seen| seen.last).max()
    }

    /// What there was, in no order.
    pub(crate) fn seen(&self) -> &[Seen] {
        &self.seen
    }

    /// The newest lines of a code, oldest first.
    pub(crate) fn lines(&self, code: ErrorCode) -> impl Iterator<Item = &str> {
        self.lines.iter().filter(move |line| line.code == code).map(|line| &*line.text)
    }
}

/// What the lines of all channels take.
#[derive(Debug, Default)]
pub(crate) struct LineBudget(AtomicUsize);

impl LineBudget {
    /// Counts what a line takes. Returns by how much all are over the limit.
    fn take(&self, bytes: usize) -> usize {
        (self.0.fetch_add(bytes, Ordering::Relaxed) + bytes).saturating_sub(LINES_BYTES)
    }

    fn free(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// How much is to be freed, so that there is room for a while; nothing as long as a quarter is left.
    pub(crate) fn to_free(&self) -> usize {
        let taken = self.0.load(Ordering::Relaxed);
        if taken > LINES_BYTES / 4 * 3 { taken - LINES_BYTES / 2 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use logplex_core::Frames;

    use super::*;

    fn batch(texts: &[&str]) -> Batch {
        let head = "<158>1 2026-01-02T03:04:05+00:00 h heroku";
        let frames =
            Frames::from_messages(texts.iter().map(|text| format!("{head} {text}")).collect::<Vec<_>>());
        Batch::read_back(&frames.wire(0..texts.len()), DateTime::UNIX_EPOCH).unwrap()
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn take(codes: &mut Codes, texts: &[&str], seconds: i64, budget: &LineBudget) {
        let batch = batch(texts);
        codes.count(&batch, at(seconds));
        codes.keep(newest_lines(&batch), budget);
    }

    const H12: &str = "router - - at=error code=H12";

    #[test]
    fn codes_are_counted_with_their_first_and_last_time_and_newest_lines() {
        let (mut codes, budget) = (Codes::default(), LineBudget::default());
        take(&mut codes, &["router - - at=info status=200", H12, "web.1 - - Error R14 (x)", H12], 1, &budget);
        let many: Vec<String> = (0..7).map(|n| format!("{H12} n={n}")).collect();
        take(&mut codes, &many.iter().map(String::as_str).collect::<Vec<_>>(), 5, &budget);
        let expected = [
            Seen { code: ErrorCode::H12, count: 9, first: at(1), last: at(5) },
            Seen { code: ErrorCode::R14, count: 1, first: at(1), last: at(1) },
        ];
        assert_eq!((codes.seen(), codes.last()), (&expected[..], Some(at(5))));
        let lines: Vec<&str> = codes.lines(ErrorCode::H12).collect();
        let newest = |n| format!("2026-01-02T03:04:05+00:00 heroku[router]: at=error code=H12 n={n}");
        assert_eq!(lines, (2..7).map(newest).collect::<Vec<_>>());
        assert_eq!(codes.lines(ErrorCode::R14).count(), 1);
        // One more pushes out the oldest of its code alone.
        take(&mut codes, &[H12], 6, &budget);
        assert!(codes.lines(ErrorCode::H12).next().unwrap().ends_with("n=3"));
        assert_eq!((codes.lines.len(), codes.lines(ErrorCode::R14).count()), (6, 1));
    }

    #[test]
    fn a_line_is_cut_where_a_character_ends() {
        let long = format!("{H12} {}", "é".repeat(600));
        let lines = newest_lines(&batch(&[&long]));
        assert!((LINE_BYTES - 3..=LINE_BYTES).contains(&lines[0].text.len()), "{}", lines[0].text.len());
        assert!(lines[0].text.ends_with("é…"));
    }

    #[test]
    fn all_lines_together_have_a_bound() {
        let budget = LineBudget::default();
        let (mut one, mut other) = (Codes::default(), Codes::default());
        take(&mut one, &[H12, H12], 1, &budget);
        let both = budget.0.load(Ordering::Relaxed);
        budget.take(LINES_BYTES - both);
        // Full: who adds one gives up his own oldest, and who has none keeps none. Counts go on.
        take(&mut one, &[H12], 2, &budget);
        take(&mut other, &[H12], 2, &budget);
        assert_eq!((one.lines.len(), other.lines.len(), other.seen[0].count), (2, 0, 1));
        assert_eq!(budget.0.load(Ordering::Relaxed), LINES_BYTES);
        assert_eq!(budget.to_free(), LINES_BYTES / 2);
        assert_eq!((one.forget_lines(&budget), one.has_lines()), (both, false));
        assert_eq!(budget.0.load(Ordering::Relaxed), LINES_BYTES - both);
        budget.free(LINES_BYTES - both);
        assert_eq!(budget.to_free(), 0);
    }

    #[test]
    fn an_unknown_code_is_refused_with_the_nearest() {
        let refused = |list: &str| add_codes(&mut CodeSet::default(), list).unwrap_err().to_string();
        assert_eq!(refused("H121"), "unknown code \"H121\"; did you mean H12?");
        assert_eq!(refused("R14,h29"), "unknown code \"h29\"; did you mean H28?");
        assert_eq!(refused("r18*"), "unknown code \"r18*\"; did you mean R17?");
        let hint = "write codes such as H12 or R*, joined by commas";
        assert_eq!(refused("H12,"), format!("unknown code \"\"; {hint}"));
        assert_eq!(refused("timeout"), format!("unknown code \"timeout\"; {hint}"));
        assert!(refused(&"x".repeat(5000)).len() < 100);
    }
}
