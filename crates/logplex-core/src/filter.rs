//! Which messages a reader gets.
//!
//! A filter acts on a batch before the reader's ring, so that noise cannot push out signal: what it leaves out
//! was never accepted by that reader, and no notice of his counts it. A reader's own notices do not pass here.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::batch::Batch;
use crate::chunk::{Chunk, Part};
use crate::code::CodeSet;

/// Names to include and to exclude, a severity, codes, times and texts. All that is said must hold; the default keeps
/// everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only these sources; empty: all.
    pub include_sources: Vec<String>,
    /// None of these sources.
    pub exclude_sources: Vec<String>,
    /// Only these processes; `web` is `web` and `web.1`, not `webx`. Empty: all.
    pub include_ps: Vec<String>,
    /// None of these processes.
    pub exclude_ps: Vec<String>,
    /// Only messages this severe or more, as 0 (emergency) to 7 (debug).
    pub min_severity: Option<u8>,
    /// Only messages with one of these codes; empty: all, also those without a code.
    pub codes: CodeSet,
    /// Only messages whose own time is this or later; where that is no date, the time they were received.
    pub since: Option<DateTime<Utc>>,
    /// Only messages whose own time is before this.
    pub until: Option<DateTime<Utc>>,
    /// Only messages whose text all of these match.
    #[cfg(feature = "grep")]
    pub grep: Vec<Pattern>,
    /// No message whose text one of these matches.
    #[cfg(feature = "grep")]
    pub exclude: Vec<Pattern>,
}

/// A regular expression for texts. It takes time linear in the text, whatever the expression is.
#[cfg(feature = "grep")]
#[derive(Clone, Debug)]
pub struct Pattern(regex::bytes::Regex);

#[cfg(feature = "grep")]
impl Pattern {
    /// The longest expression, in bytes.
    pub const LENGTH_MAX: usize = 1024;

    /// How large an expression may become, and its cache: what one costs a message is bounded by this.
    const SIZE_MAX: usize = 256 * 1024;

    /// # Errors
    /// What is wrong with the expression, on one line, or that it is too large.
    pub fn new(expression: &str) -> Result<Pattern, String> {
        if expression.len() > Pattern::LENGTH_MAX {
            return Err(format!("longer than {} bytes", Pattern::LENGTH_MAX));
        }
        let mut builder = regex::bytes::RegexBuilder::new(expression);
        builder.size_limit(Pattern::SIZE_MAX).dfa_size_limit(Pattern::SIZE_MAX).nest_limit(50);
        match builder.build() {
            Ok(regex) => Ok(Pattern(regex)),
            Err(regex::Error::CompiledTooBig(_)) => Err("too large when compiled".to_owned()),
            // The last line says what is wrong, those ahead of it show where.
            Err(error) => {
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default().trim();
                Err(last.strip_prefix("error: ").unwrap_or(last).to_owned())
            }
        }
    }

    fn matches(&self, text: &[u8]) -> bool {
        self.0.is_match(text)
    }
}

#[cfg(feature = "grep")]
impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

#[cfg(feature = "grep")]
impl Eq for Pattern {}

/// What a filter looks at; messages that agree in it share one verdict.
type Seen<'a> = (u8, &'a [u8], &'a [u8]);

impl Filter {
    /// Whether nothing is left out.
    pub fn keeps_all(&self) -> bool {
        *self == Filter::default()
    }

    /// Whether the message at `index` is kept.
    pub fn keeps(&self, batch: &Batch, index: usize) -> bool {
        self.judge_code(batch, index) && self.judge(seen(batch, index)) && self.judge_own(batch, index)
    }

    /// What is kept of a part: the part itself if that is all of it, else the kept messages in a small buffer
    /// of their own with the sequence numbers they had, and `None` if there are none.
    pub fn apply(&self, part: &Part<Batch>) -> Option<Part<Batch>> {
        if self.keeps_all() {
            return Some(part.clone());
        }
        let (batch, range) = (part.chunk(), part.range());
        if !self.codes.is_empty() && !batch.has_codes() {
            return None;
        }
        // Neighbours mostly come from one process, so most messages cost three comparisons.
        let mut last: Option<(Seen<'_>, bool)> = None;
        let mut keep = |index: usize| {
            if !self.judge_code(batch, index) {
                return false;
            }
            let seen = seen(batch, index);
            let verdict = match last {
                Some((before, verdict)) if before == seen => verdict,
                _ => self.judge(seen),
            };
            last = Some((seen, verdict));
            verdict && self.judge_own(batch, index)
        };
        let Some(first) = range.clone().find(|&index| !keep(index)) else { return Some(part.clone()) };
        // Texts are not matched twice.
        let mut kept = Vec::with_capacity(range.len());
        kept.extend(range.start..first);
        kept.extend((first + 1..range.end).filter(|&index| keep(index)));
        if kept.is_empty() {
            return None;
        }
        let mut rest = kept.iter().peekable();
        let kept = batch.filtered(|index| rest.next_if_eq(&&index).is_some())?;
        (kept.count() > 0).then(|| Part::numbered(Arc::new(kept), part.first_sequence()))
    }

    fn judge_code(&self, batch: &Batch, index: usize) -> bool {
        self.codes.is_empty() || batch.code(index).is_some_and(|code| self.codes.contains(code))
    }

    fn judge(&self, (severity, source, procid): Seen<'_>) -> bool {
        let any = |names: &[String], is: &dyn Fn(&[u8]) -> bool| names.iter().any(|name| is(name.as_bytes()));
        let from = |name: &[u8]| name == source;
        let of = |name: &[u8]| matches!(procid.strip_prefix(name), Some([] | [b'.', ..]));
        self.min_severity.is_none_or(|least| severity <= least)
            && (self.include_sources.is_empty() || any(&self.include_sources, &from))
            && (self.include_ps.is_empty() || any(&self.include_ps, &of))
            && !any(&self.exclude_sources, &from)
            && !any(&self.exclude_ps, &of)
    }

    /// What is each message's own: its time and its text.
    fn judge_own(&self, batch: &Batch, index: usize) -> bool {
        if self.since.is_some() || self.until.is_some() {
            let time = std::str::from_utf8(batch.kept(index)[0]).unwrap_or_default();
            let time = DateTime::parse_from_rfc3339(time).map_or(batch.received(), |time| time.to_utc());
            if self.since.is_some_and(|since| time < since) || self.until.is_some_and(|until| time >= until) {
                return false;
            }
        }
        #[cfg(feature = "grep")]
        if !(self.grep.is_empty() && self.exclude.is_empty()) {
            let text = batch.text(index);
            return self.grep.iter().all(|pattern| pattern.matches(text))
                && !self.exclude.iter().any(|pattern| pattern.matches(text));
        }
        true
    }
}

fn seen(batch: &Batch, index: usize) -> Seen<'_> {
    let [_, source, procid] = batch.kept(index);
    (batch.severity(index), source, procid)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::batch::Origin;
    use crate::frame::{FrameLimit, Frames};

    /// One message for each `PRI SOURCE PROCID`.
    fn part(messages: &[(u8, &str, &str)]) -> Part<Batch> {
        let origin = Origin {
            token_name: "named",
            token: "t.1",
            form: Default::default(),
            limit: FrameLimit::MAX,
            now: DateTime::UNIX_EPOCH,
        };
        let texts = messages.iter().map(|(pri, source, procid)| {
            format!("<{pri}>1 2026-01-02T03:04:05+00:00 host {source} {procid} - - text")
        });
        let frames = Frames::from_messages(texts.collect::<Vec<_>>());
        let batch = Batch::decode(&frames.wire(0..frames.count()), &origin).unwrap();
        Part::numbered(batch.into(), 1000)
    }

    const MESSAGES: [(u8, &str, &str); 6] = [
        (190, "app", "web.1"),
        (190, "app", "web"),
        (187, "app", "webx"),
        (190, "app", "worker.1"),
        (172, "heroku", "router"),
        (134, "t.1", "web.2"),
    ];

    /// The sequence numbers that are kept.
    #[track_caller]
    fn check(filter: Filter, expected: &[u64]) {
        let part = part(&MESSAGES);
        let kept = filter.apply(&part);
        let sequences = kept.iter().flat_map(|kept| {
            kept.range().map(|index| kept.first_sequence() + kept.chunk().ordinal(index) - 1000)
        });
        assert_eq!(sequences.collect::<Vec<_>>(), expected, "{filter:?}");
        let one_by_one = part.range().filter(|&index| filter.keeps(part.chunk(), index));
        assert_eq!(one_by_one.map(|index| index as u64).collect::<Vec<_>>(), expected, "{filter:?}");
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn names_are_included_and_excluded() {
        check(Filter::default(), &[0, 1, 2, 3, 4, 5]);
        check(Filter { include_sources: names(&["heroku", "named"]), ..Filter::default() }, &[4, 5]);
        check(Filter { exclude_sources: names(&["app"]), ..Filter::default() }, &[4, 5]);
        check(Filter { include_ps: names(&["web"]), ..Filter::default() }, &[0, 1, 5]);
        check(Filter { include_ps: names(&["web.1", "router"]), ..Filter::default() }, &[0, 4]);
        check(Filter { exclude_ps: names(&["web", "worker"]), ..Filter::default() }, &[2, 4]);
        // An exclusion goes ahead of an inclusion, and all that is said must hold.
        let both = Filter {
            include_sources: names(&["app"]),
            exclude_sources: names(&["app"]),
            ..Filter::default()
        };
        check(both, &[]);
        let both =
            Filter { include_sources: names(&["app"]), exclude_ps: names(&["web.1"]), ..Filter::default() };
        check(both, &[1, 2, 3]);
    }

    #[test]
    fn a_severity_keeps_what_is_that_severe_or_more() {
        check(Filter { min_severity: Some(3), ..Filter::default() }, &[2]);
        check(Filter { min_severity: Some(4), ..Filter::default() }, &[2, 4]);
        check(Filter { min_severity: Some(7), ..Filter::default() }, &[0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn codes_are_those_that_the_platform_wrote() {
        let texts = [
            ("heroku router", "at=error code=H12 desc=\"Request timeout\" status=503"),
            ("app web.1", "at=error code=H12 status=503"),
            ("heroku web.1", "Error R14 (Memory quota exceeded)"),
            ("heroku router", "at=info status=200"),
            ("heroku router", "at=error code=H10 desc=\"App crashed\" status=503"),
        ];
        let texts = texts.map(|(from, text)| format!("<158>1 2026-01-02T03:04:05+00:00 h {from} - - {text}"));
        let frames = Frames::from_messages(texts);
        let part = |range| {
            let batch = Batch::read_back(&frames.wire(range), DateTime::UNIX_EPOCH).unwrap();
            Part::numbered(batch.into(), 1000)
        };
        let kept = |list: &str, rest: Filter| {
            let mut filter = rest;
            filter.codes.add(list).unwrap();
            assert!(!filter.keeps_all());
            let part = part(0..5);
            let one_by_one: Vec<u64> = (0..5).filter(|&at| filter.keeps(part.chunk(), at as usize)).collect();
            let kept = filter.apply(&part);
            let kept = kept.iter().flat_map(|kept| kept.range().map(|at| kept.chunk().ordinal(at)));
            assert_eq!(kept.collect::<Vec<_>>(), one_by_one, "{list}");
            one_by_one
        };
        assert_eq!(kept("h12", Filter::default()), [0]);
        assert_eq!(kept("H1*", Filter::default()), [0, 4]);
        assert_eq!(kept("*", Filter::default()), [0, 2, 4]);
        assert_eq!(kept("L*", Filter::default()), [] as [u64; 0]);
        let router = || Filter { include_ps: names(&["router"]), ..Filter::default() };
        assert_eq!(kept("R*,H10", router()), [4]);
        // Without a code in it a batch is not looked at.
        let mut any = Filter::default();
        any.codes.add("*").unwrap();
        assert!(any.apply(&part(3..4)).is_none());
    }

    #[test]
    fn a_time_is_the_messages_own() {
        let since = |text: &str| Filter { since: text.parse().ok(), ..Filter::default() };
        let until = |text: &str| Filter { until: text.parse().ok(), ..Filter::default() };
        check(since("2026-01-02T03:04:05Z"), &[0, 1, 2, 3, 4, 5]);
        check(since("2026-01-02T03:04:06Z"), &[]);
        check(until("2026-01-02T03:04:05Z"), &[]);
        check(until("2026-01-02T04:04:06+01:00"), &[0, 1, 2, 3, 4, 5]);
    }

    #[cfg(feature = "grep")]
    #[test]
    fn texts_are_matched_one_by_one() {
        let texts = ["GET /a", "GET /b", "", "get /a", "\u{e9}t\u{e9}"];
        let frames = texts.map(|text| format!("<190>1 2026-01-02T03:04:05+00:00 host app web.1 - - {text}"));
        let frames = Frames::from_messages(frames);
        let batch = Batch::read_back(&frames.wire(0..texts.len()), DateTime::UNIX_EPOCH).unwrap();
        let part = Part::whole(batch.into());
        let kept = |grep: &[&str], exclude: &[&str]| {
            let patterns = |texts: &[&str]| texts.iter().map(|text| Pattern::new(text).unwrap()).collect();
            let filter = Filter { grep: patterns(grep), exclude: patterns(exclude), ..Filter::default() };
            assert!(!filter.keeps_all());
            let kept = filter.apply(&part);
            kept.iter()
                .flat_map(|kept| kept.range().map(|index| kept.chunk().ordinal(index)))
                .collect::<Vec<_>>()
        };
        assert_eq!(kept(&["GET"], &[]), [0, 1]);
        assert_eq!(kept(&["(?i)get", "/a$"], &[]), [0, 3]);
        assert_eq!(kept(&[], &["GET", "^$"]), [3, 4]);
        assert_eq!(kept(&["^.t.$"], &[]), [4]);
        assert_eq!(kept(&["app", "host"], &[]), [] as [u64; 0]);
    }

    #[cfg(feature = "grep")]
    #[test]
    fn an_expression_is_bounded() {
        assert_eq!(Pattern::new("(a").unwrap_err(), "unclosed group");
        assert_eq!(Pattern::new("((a{1000}){1000}){1000}").unwrap_err(), "too large when compiled");
        assert_eq!(Pattern::new(&"x".repeat(1025)).unwrap_err(), "longer than 1024 bytes");
        assert!(Pattern::new(&"(".repeat(60)).is_err());
    }

    #[test]
    fn a_part_of_a_batch_stays_one() {
        let mut part = part(&MESSAGES);
        drop(part.split_to(2));
        let kept = Filter { include_sources: names(&["app"]), ..Filter::default() }.apply(&part).unwrap();
        assert_eq!(
            (kept.messages(), kept.chunk().procid(0), kept.chunk().procid(1)),
            (2, "webx", "worker.1")
        );
        let all = Filter { exclude_ps: names(&["web"]), ..Filter::default() }.apply(&part).unwrap();
        assert_eq!(all.messages(), 3);
    }

    #[test]
    fn what_is_kept_whole_is_shared_and_what_is_not_keeps_no_large_buffer() {
        let part = part(&MESSAGES);
        let whole = Filter { exclude_sources: names(&["none"]), ..Filter::default() }.apply(&part).unwrap();
        assert!(Arc::ptr_eq(whole.chunk(), part.chunk()));
        let one = Filter { include_ps: names(&["router"]), ..Filter::default() }.apply(&part).unwrap();
        assert!(one.chunk().footprint() < part.chunk().footprint() / 4);
    }
}
