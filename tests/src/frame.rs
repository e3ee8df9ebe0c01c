//! Octet-counted frames, written and read strictly: `LEN <PRI>1 TIME HOST APP PROCID …`.

use std::ops::Range;

/// How a message continues after its PROCID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `- MSG`: what an http drain sends. There is no structured data.
    Routed,
    /// `- - MSG` and one newline: what a syslog drain sends.
    Syslog,
    /// `MSGID SD MSG`: RFC 5424, what a shuttle sends, and a drain with `format=rfc5424`.
    Strict,
}

/// One message as a peer received it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Facility and severity.
    pub pri: u8,
    /// The time, as sent.
    pub time: String,
    /// The host; the literal `host` from an http drain.
    pub host: String,
    /// The source.
    pub app: String,
    /// The process.
    pub procid: String,
    /// All that follows the process.
    pub rest: String,
    /// The message's own text.
    pub text: String,
    /// The frame without its octet count.
    pub raw: Vec<u8>,
}

impl Received {
    /// Reads one frame. Bytes that are no UTF-8 are replaced in the fields and kept in `raw`.
    ///
    /// # Errors
    /// Says what is wrong with the frame.
    pub fn parse(raw: &[u8], form: Form) -> Result<Received, String> {
        let message = String::from_utf8_lossy(raw);
        let fail = |why: &str| format!("{why}: {message:?}");
        let after = message.strip_prefix('<').ok_or_else(|| fail("no PRI"))?;
        let (pri, after) = after.split_once(">1 ").ok_or_else(|| fail("no version 1"))?;
        let pri = number(pri).filter(|pri| *pri <= 191).ok_or_else(|| fail("bad PRI"))?;
        let parts: Vec<&str> = after.splitn(5, ' ').collect();
        let [time, host, app, procid, rest] = parts[..] else { return Err(fail("fields are missing")) };
        if [time, host, app, procid].contains(&"") {
            return Err(fail("a field is empty"));
        }
        let text = match form {
            Form::Routed => rest.strip_prefix("- ").ok_or_else(|| fail("no `- ` ahead of the text"))?,
            Form::Syslog => rest
                .strip_prefix("- - ")
                .and_then(|text| text.strip_suffix('\n'))
                .ok_or_else(|| fail("no `- - ` ahead of the text, or no newline at its end"))?,
            Form::Strict => strict_text(rest).ok_or_else(|| fail("bad MSGID or structured data"))?,
        };
        let [time, host, app, procid, rest, text] = [time, host, app, procid, rest, text].map(str::to_owned);
        let pri = u8::try_from(pri).map_err(|_| fail("bad PRI"))?;
        Ok(Received { pri, time, host, app, procid, rest, text, raw: raw.to_vec() })
    }

    /// The number of a line made by [`numbered_frames`]: `line 17` and `line 17 …` are 17.
    pub fn number(&self) -> Option<u64> {
        line_number(&self.text)
    }
}

/// Splits a body into frames. A count is digits without a leading zero and one space; nothing may be left over.
///
/// # Errors
/// Says what is wrong, and at which byte.
pub fn split_frames(body: &[u8]) -> Result<Vec<&[u8]>, String> {
    let mut frames = Vec::new();
    let mut at = 0;
    while at < body.len() {
        let digits = body[at..].iter().take(8).position(|byte| *byte == b' ');
        let digits = digits.ok_or_else(|| format!("no octet count at byte {at}"))?;
        let count = std::str::from_utf8(&body[at..at + digits]).ok().and_then(number);
        let count =
            count.filter(|count| *count > 0).ok_or_else(|| format!("bad octet count at byte {at}"))?;
        let start = at + digits + 1;
        let end = start + count as usize;
        frames.push(body.get(start..end).ok_or_else(|| format!("the frame at byte {at} is cut short"))?);
        at = end;
    }
    Ok(frames)
}

/// Puts an octet count ahead of `message`.
pub fn encode(message: &[u8]) -> Vec<u8> {
    [format!("{} ", message.len()).as_bytes(), message].concat()
}

/// An octet-counted strict RFC 5424 frame from `app[web.1]`.
pub fn frame(app: &str, text: &str) -> Vec<u8> {
    encode(format!("<190>1 2026-01-02T03:04:05.678901+00:00 host {app} web.1 - - {text}").as_bytes())
}

/// The frame of a shuttle's notice that `count` lines were dropped since 2026-01-02T03:04:05Z.
pub fn shuttles_notice(count: u64) -> Vec<u8> {
    let head = "<172>1 2026-01-02T03:04:06.000000+00:00 heroku app log-shuttle - -";
    let text = format!("Error L12: {count} messages dropped since 2026-01-02T03:04:05.000000+00:00.");
    encode(format!("{head} {text}").as_bytes())
}

/// Frames with the texts `line FIRST` … from `app[web.1]`.
pub fn numbered_frames(lines: Range<u64>) -> Vec<u8> {
    lines.flat_map(|line| frame("app", &format!("line {line}"))).collect()
}

/// As [`numbered_frames`], each text followed by a space and `padding` bytes more.
pub fn padded_frames(lines: Range<u64>, padding: usize) -> Vec<u8> {
    let padding = "x".repeat(padding);
    lines.flat_map(|line| frame("app", &format!("line {line} {padding}"))).collect()
}

/// The numbers of the numbered lines among `received`, in order; notices and other lines are passed over.
pub fn numbers(received: &[Received]) -> Vec<u64> {
    received.iter().filter_map(Received::number).collect()
}

/// The number in `line 17` or `line 17 …`.
pub(crate) fn line_number(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("line ")?;
    number(digits.split([' ', '\n']).next()?)
}

/// Digits without a sign or a leading zero.
fn number(digits: &str) -> Option<u64> {
    let plain =
        digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits.len() == 1 || !digits.starts_with('0'));
    if plain { digits.parse().ok() } else { None }
}

/// The text behind `MSGID SD`, with RFC 5424's own rule that the space ahead of an absent text is absent too.
fn strict_text(rest: &str) -> Option<&str> {
    let (msgid, after) = rest.split_once(' ')?;
    let after = if msgid.is_empty() { None } else { skip_structured_data(after) }?;
    if after.is_empty() { Some("") } else { after.strip_prefix(' ') }
}

/// What follows `-` or one or more `[…]`; a `]` inside quotes does not end an element.
fn skip_structured_data(text: &str) -> Option<&str> {
    if let Some(after) = text.strip_prefix('-') {
        return Some(after);
    }
    let mut rest = text;
    while let Some(element) = rest.strip_prefix('[') {
        let (mut quoted, mut escaped) = (false, false);
        let end = element.find(|letter| {
            let ends = letter == ']' && !quoted;
            quoted ^= letter == '"' && !escaped;
            escaped = letter == '\\' && !escaped && quoted;
            ends
        })?;
        rest = &element[end + 1..];
    }
    (rest.len() < text.len()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        let body = numbered_frames(8..12);
        let received: Vec<Received> = split_frames(&body)
            .unwrap()
            .into_iter()
            .map(|raw| Received::parse(raw, Form::Strict).unwrap())
            .collect();
        assert_eq!(numbers(&received), [8, 9, 10, 11]);
        assert_eq!((received[0].pri, received[0].app.as_str()), (190, "app"));
    }

    #[test]
    fn framing_is_strict() {
        assert_eq!(split_frames(b"").unwrap(), [b""; 0]);
        assert_eq!(split_frames(b"5 hello3 a b").unwrap(), [&b"hello"[..], b"a b"]);
        for wrong in [
            "05 hello",
            "6 hello",
            "5 hello\n",
            "5  hello",
            "0 5 hello",
            "+5 hello",
            " 5 hello",
            "hello",
            "5",
        ] {
            assert!(split_frames(wrong.as_bytes()).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_two_forms_are_told_apart() {
        let routed = |raw: &str| Received::parse(raw.as_bytes(), Form::Routed).map(|received| received.text);
        let strict = |raw: &str| Received::parse(raw.as_bytes(), Form::Strict).map(|received| received.text);
        let heroku = "<174>1 2012-07-22T00:06:26+00:00 host erlang console - Hi from erlang";
        assert_eq!(routed(heroku).unwrap(), "Hi from erlang");
        assert!(strict(heroku).is_err());
        assert_eq!(routed("<40>1 T host a p -  two spaces").unwrap(), " two spaces");
        assert_eq!(strict("<40>1 T h a p ID - text").unwrap(), "text");
        assert_eq!(strict("<40>1 T h a p - -").unwrap(), "");
        assert_eq!(strict(r#"<40>1 T h a p - [x y="\"]"][z] [text]"#).unwrap(), "[text]");
        for wrong in [
            "<192>1 T h a p - - x",
            "<040>1 T h a p - - x",
            "<40>2 T h a p - - x",
            "<40>1 T  a p - - x",
            "<40>1 T h a p - [x",
        ] {
            assert!(strict(wrong).is_err(), "{wrong:?}");
        }
    }
}
