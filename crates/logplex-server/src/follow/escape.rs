//! Text from outside, made harmless for a terminal.

/// Adds text without anything that a terminal would obey.
pub(crate) fn escape(text: &str, out: &mut String) {
    for char in text.chars() {
        match char {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push('\t'),
            char if char.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(char))),
            char if turns_text(char) => out.extend(char.escape_unicode()),
            char => out.push(char),
        }
    }
}

/// Adds JSON in which what a terminal would obey has another spelling: inside its strings, where alone such
/// characters can be, but for the line breaks between its members.
pub(crate) fn escape_json(json: &str, out: &mut String) {
    for char in json.chars() {
        if (char.is_control() && char != '\n') || turns_text(char) {
            out.push_str(&format!("\\u{:04x}", u32::from(char)));
        } else {
            out.push(char);
        }
    }
}

/// Adds text as it is but for line breaks, so that a message stays one line and cannot forge another.
pub(super) fn escape_breaks(text: &str, out: &mut String) {
    for char in text.chars() {
        match char {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            char => out.push(char),
        }
    }
}

/// Whether a character changes the direction of the text around it, so that a line could show another order
/// than it has (CVE-2021-42574).
fn turns_text(char: char) -> bool {
    matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
