//! Loss notices, read by hand: the sentences of L10 to L13, to the letter, and the facts behind them.

use std::ops::Range;

use crate::frame::Received;

/// Which notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// A drain fell behind.
    L10,
    /// A tail session fell behind.
    L11,
    /// A shuttle's ring was full.
    L12,
    /// A shuttle could not deliver.
    L13,
}

/// What one notice tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Which notice.
    pub code: Code,
    /// How many messages it tells of.
    pub count: u64,
    /// The time of the first of them, as written.
    pub since: String,
    /// The ` key=value` facts behind the sentence, in order.
    pub facts: Vec<(String, String)>,
}

/// The sentences: what stands ahead of the count, between count and time, and behind the time.
const SENTENCES: &[(Code, &str, &str, &str)] = &[
    (Code::L10, "Error L10 (output buffer overflow): ", " messages dropped since ", "."),
    (Code::L11, "L11 (Tail buffer overflow) -> This tail session dropped ", " messages since ", ""),
    (Code::L12, "Error L12: ", " messages dropped since ", "."),
    (Code::L13, "Error L13: ", " messages lost since ", "."),
];

impl Told {
    /// Reads a message's text; `None` when it is not a notice that keeps the form to the letter.
    pub fn parse(text: &str) -> Option<Told> {
        let text = text.strip_suffix('\n').unwrap_or(text);
        SENTENCES.iter().find_map(|(code, ahead, between, behind)| {
            let (count, rest) = text.strip_prefix(ahead)?.split_once(between)?;
            let whole_seconds = matches!(code, Code::L10 | Code::L11);
            let length = if whole_seconds { SECONDS.len() } else { MICROSECONDS.len() };
            let (since, rest) = rest.split_at_checked(length)?;
            let facts = rest.strip_prefix(behind)?;
            let plain = count.bytes().all(|byte| byte.is_ascii_digit()) && !count.starts_with('0');
            Some(Told {
                code: *code,
                count: if plain { count.parse().ok()? } else { return None },
                since: is_time(since).then(|| since.to_owned())?,
                facts: parse_facts(facts)?,
            })
        })
    }

    /// Reads a text that is a notice if it begins as one.
    ///
    /// # Panics
    /// When it begins as a notice and does not keep the form.
    pub fn parse_strictly(text: &str) -> Option<Told> {
        let told = Told::parse(text);
        let begins =
            SENTENCES.iter().any(|(_, ahead, ..)| text.starts_with(ahead.split(' ').next().unwrap_or("")));
        let coded = ["L10", "L11", "L12", "L13"].iter().any(|code| text.contains(code));
        assert!(told.is_some() || !(begins && coded), "a notice that breaks its form: {text:?}");
        told
    }

    /// [`Told::since`] in whole seconds since 1970.
    pub fn since_seconds(&self) -> u64 {
        let field = |range: Range<usize>| -> u64 { self.since[range].parse().expect("a time has digits") };
        let (year, month, day) = (field(0..4), field(5..7), field(8..10));
        // Days before a date of the Gregorian calendar, the year beginning in March.
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469;
        ((days * 24 + field(11..13)) * 60 + field(14..16)) * 60 + field(17..19)
    }

    /// The value of a fact.
    pub fn fact(&self, key: &str) -> Option<&str> {
        self.facts.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

/// The notices among `received`, in order.
///
/// # Panics
/// When a notice breaks its form.
pub fn notices(received: &[Received]) -> Vec<Told> {
    received.iter().filter_map(|message| Told::parse_strictly(&message.text)).collect()
}

/// How many messages the notices with one of `codes` tell of together.
pub fn told_sum(told: &[Told], codes: &[Code]) -> u64 {
    told.iter().filter(|notice| codes.contains(&notice.code)).map(|notice| notice.count).sum()
}

const SECONDS: &str = "dddd-dd-ddTdd:dd:dd+00:00";
const MICROSECONDS: &str = "dddd-dd-ddTdd:dd:dd.dddddd+00:00";

/// Whether `text` has one of the two shapes; never `Z`, always UTC.
fn is_time(text: &str) -> bool {
    [SECONDS, MICROSECONDS].into_iter().any(|shape| {
        shape.len() == text.len()
            && shape
                .bytes()
                .zip(text.bytes())
                .all(|(want, got)| if want == b'd' { got.is_ascii_digit() } else { want == got })
    })
}

/// ` key=value key=value…` to the end of the text.
fn parse_facts(text: &str) -> Option<Vec<(String, String)>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let facts = text.strip_prefix(' ')?.split(' ').map(|fact| {
        let (key, value) = fact.split_once('=')?;
        let named = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        (named && !value.is_empty()).then(|| (key.to_owned(), value.to_owned()))
    });
    facts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const L10: &str =
        "Error L10 (output buffer overflow): 500 messages dropped since 2013-04-17T19:04:46+00:00.";

    #[track_caller]
    fn check(text: &str, code: Code, count: u64, since: &str) {
        let facts = Vec::new();
        assert_eq!(Told::parse(text), Some(Told { code, count, since: since.to_owned(), facts }), "{text}");
    }

    #[test]
    fn the_published_lines_are_read() {
        check(L10, Code::L10, 500, "2013-04-17T19:04:46+00:00");
        let l11 = "L11 (Tail buffer overflow) -> This tail session dropped 1101 messages since 2011-05-03T17:35:00+00:00";
        check(l11, Code::L11, 1101, "2011-05-03T17:35:00+00:00");
        let l12 = "Error L12: 222 messages dropped since 2013-11-04T21:31:32.125756+00:00.";
        check(l12, Code::L12, 222, "2013-11-04T21:31:32.125756+00:00");
        let l13 = "Error L13: 111 messages lost since 2013-11-04T21:31:32.125756+00:00.";
        check(l13, Code::L13, 111, "2013-11-04T21:31:32.125756+00:00");
    }

    #[test]
    fn facts_follow_the_sentence() {
        let told = Told::parse(&format!("{L10} lost=3 reason=crash at_most=9")).unwrap();
        assert_eq!(
            (told.fact("lost"), told.fact("reason"), told.fact("no")),
            (Some("3"), Some("crash"), None)
        );
        for wrong in ["  lost=3", " lost", " =3", " lost=", "lost=3", " Lost=3"] {
            assert_eq!(Told::parse(&format!("{L10}{wrong}")), None, "{wrong}");
        }
    }

    #[test]
    fn the_form_is_kept_to_the_letter() {
        for (from, to) in
            [("+00:00", "Z"), ("500", "0500"), ("500", "-5"), ("46+", "46.1+"), ("00.", "00"), ("out", "Out")]
        {
            assert_eq!(Told::parse(&L10.replacen(from, to, 1)), None, "{to}");
        }
        assert_eq!(Told::parse_strictly("line 17 of L10"), None);
    }

    #[test]
    #[should_panic(expected = "breaks its form")]
    fn a_notice_that_breaks_its_form_is_not_passed_over() {
        Told::parse_strictly("Error L10: 5 messages dropped");
    }

    #[test]
    fn times_are_read_as_seconds() {
        // `date -u -d … +%s` says so.
        for (since, seconds) in [
            ("2013-04-17T19:04:46+00:00", 1_366_225_486),
            ("2000-02-29T00:00:00+00:00", 951_782_400),
            ("1970-01-01T00:00:01+00:00", 1),
        ] {
            let told = Told::parse(&L10.replace("2013-04-17T19:04:46+00:00", since)).unwrap();
            assert_eq!(told.since_seconds(), seconds, "{since}");
        }
    }

    #[test]
    fn counts_are_summed_by_code() {
        let told = [Told::parse(L10).unwrap(), Told::parse(L10).unwrap()];
        assert_eq!((told_sum(&told, &[Code::L10]), told_sum(&told, &[Code::L12, Code::L13])), (1000, 0));
    }
}
