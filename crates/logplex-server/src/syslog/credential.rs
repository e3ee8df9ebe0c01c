//! A token in a message's structured data: a parameter `token` whose value begins with `t.`, in any element. It is
//! a secret between sender and router, so no reader gets to see it.

/// What every token begins with.
const PREFIX: &[u8] = b"t.";

/// The first token in `data`, which is well-formed structured data, and `data` without any; `None` if there is none.
pub(super) fn take_token(data: &[u8]) -> Option<(&str, Vec<u8>)> {
    memchr::memmem::find(data, b" token=\"t.")?;
    let mut token = None;
    let mut kept = Vec::with_capacity(data.len());
    let mut rest = data;
    while let Some(element) = rest.strip_prefix(b"[") {
        let id_len = element.iter().position(|byte| matches!(byte, b' ' | b']'))?;
        let start = kept.len();
        kept.push(b'[');
        kept.extend_from_slice(&element[..id_len]);
        let (mut parameters, mut removed) = (0, 0);
        rest = &element[id_len..];
        while let Some(parameter) = rest.strip_prefix(b" ") {
            let name_len = parameter.iter().position(|byte| *byte == b'=')?;
            let value = &parameter[name_len + 2..];
            let value_len = value_len(value)?;
            let end = name_len + 2 + value_len + 1;
            if &parameter[..name_len] == b"token" && value.starts_with(PREFIX) {
                token = token.or(std::str::from_utf8(&value[..value_len]).ok());
                removed += 1;
            } else {
                kept.push(b' ');
                kept.extend_from_slice(&parameter[..end]);
                parameters += 1;
            }
            rest = &parameter[end..];
        }
        rest = rest.strip_prefix(b"]")?;
        kept.push(b']');
        if parameters == 0 && removed > 0 {
            // Nothing but the token was in it.
            kept.truncate(start);
        }
    }
    if kept.is_empty() {
        kept.push(b'-');
    }
    token.map(|token| (token, kept))
}

/// Where the quote is that ends a value.
fn value_len(value: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match value.get(at)? {
            b'\\' => at += 2,
            b'"' => return Some(at),
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(data: &str, expected: Option<(&str, &str)>) {
        let taken = take_token(data.as_bytes());
        let taken = taken.map(|(token, kept)| (token, String::from_utf8(kept).expect("UTF-8 in, UTF-8 out")));
        assert_eq!(taken, expected.map(|(token, kept)| (token, kept.to_owned())), "{data}");
    }

    #[test]
    fn a_token_is_found_and_taken_out() {
        check("[logplex@1 token=\"t.1\"]", Some(("t.1", "-")));
        check("[a token=\"t.1\" b=\"c\"]", Some(("t.1", "[a b=\"c\"]")));
        check("[a b=\"c\" token=\"t.1\"]", Some(("t.1", "[a b=\"c\"]")));
        check("[x][a token=\"t.1\"][y z=\"\"]", Some(("t.1", "[x][y z=\"\"]")));
        check("[a token=\"t.1\" token=\"t.2\"][b token=\"t.3\"]", Some(("t.1", "-")));
        check("[a b=\"\\\" token=\\\"\\]\" token=\"t.1\"]", Some(("t.1", "[a b=\"\\\" token=\\\"\\]\"]")));
    }

    #[test]
    fn what_is_no_token_stays() {
        for data in [
            "-",
            "[token]",
            "[a token=\"\"]",
            "[a token=\"secret\"]",
            "[a xtoken=\"t.1\"]",
            "[a b=\" token=\\\"t.1\\\"\"]",
            "[token=\"t.1\"]",
        ] {
            check(data, None);
        }
    }
}
