//! Finding a code in what the platform writes.
//!
//! The shapes that it has had, each at the beginning of a message's text:
//!
//! ```text
//! at=error code=H12 desc="Request timeout" …                 the router's pairs: any order, values quoted or bare
//! Error H10 (App crashed) -> GET demo.example.com/ …         the router's before 2013
//! Error R14 (Memory quota exceeded)[ -> …]                   a process's runtime
//! Error L10 (output buffer overflow): 500 messages …         notices; L11 also without the word Error
//! Error L12: 222 messages …                                  the shuttle's have no title
//! ```
//!
//! The prose is never looked at: it changed over the years, and some of it is wrong. Nothing here allocates, and
//! the time is proportional to the text's length, whatever it holds.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::ErrorCode;
use crate::message::structured_data_len;

/// The sources whose every line is the platform's own.
const SOURCES: [&[u8]; 3] = [b"heroku", b"logplex", b"log-shuttle"];

/// Under this PROCID a shuttle writes its own notices, among the lines of its app's source.
const SHUTTLE: &[u8] = b"log-shuttle";

/// A code has one letter and two digits.
const CODE_LEN: usize = 3;

const KEY: &str = "code=";

// Built once: to build it costs as much as to search a whole line.
static FIND_KEY: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(KEY));

/// Who writes a message, as far as its codes go: known once for all messages of one source and PROCID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaker {
    /// The platform: any code.
    Platform,
    /// A shuttle under its app's source: what a shuttle loses.
    Shuttle,
    /// Anyone else: none.
    Other,
}

impl Speaker {
    #[inline]
    pub(crate) fn of(source: &[u8], procid: &[u8]) -> Speaker {
        if SOURCES.contains(&source) {
            Speaker::Platform
        } else if procid == SHUTTLE {
            Speaker::Shuttle
        } else {
            Speaker::Other
        }
    }

    /// The code in what he writes. Kept out of the loop that reads a batch, where it is seldom called.
    #[inline(never)]
    pub(crate) fn code(self, text: &[u8]) -> Option<ErrorCode> {
        let is_shuttles = |code: &ErrorCode| matches!(code, ErrorCode::L12 | ErrorCode::L13);
        match self {
            Speaker::Platform => ErrorCode::from_text(text),
            Speaker::Shuttle => ErrorCode::from_text(text).filter(is_shuttles),
            Speaker::Other => None,
        }
    }
}

impl ErrorCode {
    /// The code that a message is about: its source, its PROCID, and its text.
    ///
    /// Only the platform's own sources (`heroku`, `logplex`, `log-shuttle`) are believed, and a shuttle's notices
    /// (L12, L13) under the source of its app. Of other sources nothing but the names is looked at.
    #[inline]
    pub fn from_message(source: &str, procid: &str, text: &[u8]) -> Option<ErrorCode> {
        match Speaker::of(source.as_bytes(), procid.as_bytes()) {
            Speaker::Other => None,
            speaker => speaker.code(text),
        }
    }

    /// The code that a text is about which is known to be the platform's own.
    pub fn from_text(text: &[u8]) -> Option<ErrorCode> {
        let text = text.trim_ascii_start();
        match text.first()? {
            b'E' => after_code(text.strip_prefix(b"Error ")?, true),
            b'H' | b'R' | b'L' => after_code(text, false),
            _ => from_pairs(text),
        }
    }

    /// The code that a line is about, as a tail, a drain or another log service shows it:
    ///
    /// ```text
    /// TIME heroku[router]: TEXT
    /// [LEN ]<PRI>1 TIME HOST heroku PROCID - [- ]TEXT
    /// TIME HOST heroku PROCID - [- ]TEXT
    /// TIME APP heroku/router: TEXT
    /// TEXT
    /// ```
    ///
    /// Where a line names its source, that is judged as by [`ErrorCode::from_message`]. A bare text is believed.
    pub fn from_line(line: &str) -> Option<ErrorCode> {
        let line = line.trim();
        match signed(line) {
            Some((source, procid, text)) => ErrorCode::from_message(source, procid, text.as_bytes()),
            None => ErrorCode::from_text(line.as_bytes()),
        }
    }

    /// The code of a line, and where the platform names none the first word in it that is a code, whoever wrote
    /// it. For who asks about a line, not for counting.
    pub fn from_words(line: &str) -> Option<ErrorCode> {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let first = || {
            let words = line.as_bytes().split(|&byte| !is_word(byte));
            words.filter(|word| word.len() == CODE_LEN).find_map(ErrorCode::from_name)
        };
        ErrorCode::from_line(line).or_else(first)
    }
}

/// `CODE (…`, `CODE: …`, and after the word Error also `CODE` alone.
fn after_code(text: &[u8], alone: bool) -> Option<ErrorCode> {
    let (code, rest) = text.split_at_checked(CODE_LEN)?;
    let ended = match rest {
        [b' ', b'(', ..] | [b':', ..] => true,
        rest => alone && rest.trim_ascii().is_empty(),
    };
    ErrorCode::from_name(code).filter(|_| ended)
}

/// The first pair `code=…` outside quotes that has a code, of a text that begins with a pair.
fn from_pairs(text: &[u8]) -> Option<ErrorCode> {
    if !begins_with_pair(text) {
        return None;
    }
    let mut quoted = false;
    let (mut from, mut next) = (0, FIND_KEY.find(text));
    while let Some(at) = next {
        // Each byte is looked at once, however often the key occurs.
        let mut between = text[from..at].iter();
        while let Some(byte) = between.next() {
            match byte {
                b'\\' if quoted => _ = between.next(),
                b'"' => quoted = !quoted,
                _ => {}
            }
        }
        let value = &text[at + KEY.len()..];
        let begins = at == 0 || text[at - 1].is_ascii_whitespace();
        if let Some(code) = code_of(value).filter(|_| begins && !quoted) {
            return Some(code);
        }
        from = at + KEY.len();
        next = FIND_KEY.find(value).map(|further| from + further);
    }
    None
}

/// The code that a value is, quoted or bare.
fn code_of(value: &[u8]) -> Option<ErrorCode> {
    let (value, is_quoted) = value.strip_prefix(b"\"").map_or((value, false), |value| (value, true));
    let (code, rest) = value.split_at_checked(CODE_LEN)?;
    let rest = if is_quoted { rest.strip_prefix(b"\"")? } else { rest };
    ErrorCode::from_name(code).filter(|_| rest.first().is_none_or(u8::is_ascii_whitespace))
}

/// Whether a text begins with `key=`. What a process was started with is quoted in the middle of a sentence, and
/// may well hold a pair.
fn begins_with_pair(text: &[u8]) -> bool {
    let key = text.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"_-.#".contains(byte)).count();
    key > 0 && text.get(key) == Some(&b'=')
}

/// Source, PROCID and text of a line that says whose it is.
fn signed(line: &str) -> Option<(&str, &str, &str)> {
    /// How many words may stand ahead of `heroku[router]:`.
    const AHEAD: usize = 6;
    let mut rest = line;
    // LEN and PRI tell nothing that is needed here.
    let unframed = line.trim_start_matches(|first: char| first.is_ascii_digit()).trim_start();
    if unframed.starts_with('<') {
        rest = unframed.split_once('>')?.1.trim_start_matches("1 ");
    }
    let (first, after_first) = word(rest)?;
    let (second, after_second) = word(after_first)?;
    for (source, after) in [(first, after_first), (second, after_second)] {
        if let Some((source, procid)) = bracketed(source) {
            return Some((source, procid, after));
        }
    }
    // As syslog has it: `first` is the time and `second` the host.
    let (source, after) = word(after_second)?;
    if let Some((procid, after)) = word(after)
        && let Some(("-", after)) = word(after)
    {
        let structured_data = structured_data_len(after.as_bytes(), false);
        return Some((source, procid, after.get(structured_data..)?.trim_start()));
    }
    for _ in 0..AHEAD {
        let (next, after) = word(rest)?;
        if let Some((source, procid)) = bracketed(next) {
            return Some((source, procid, after));
        }
        rest = after;
    }
    None
}

/// The first word of a text, and what follows it.
fn word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end)).map(|(word, rest)| (word, rest.trim_start()))
}

/// `SOURCE[PROCID]:` or `SOURCE/PROCID:`.
fn bracketed(word: &str) -> Option<(&str, &str)> {
    let word = word.strip_suffix(':')?;
    let named = match word.strip_suffix(']') {
        Some(word) => word.split_once('[')?,
        None => word.split_once('/')?,
    };
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    Some(named).filter(|(source, procid)| is_name(source) && is_name(procid))
}
