//! Durations as Go writes them: `250ms`, `5s`, `1m30s`, `1.5h`, `0`.

use std::time::Duration;

/// What a duration may look like, for error texts.
const EXPECTED: &str = "expected a duration such as 250ms, 5s, 1m30s or 0 (units: ns, us, ms, s, m, h)";

/// The most that is taken: a year. Longer waits are mistakes.
const MOST_SECONDS: f64 = 366.0 * 24.0 * 3600.0;

/// Reads a duration; never negative.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let refuse = || EXPECTED.to_owned();
    let (mut rest, mut seconds) = (text, 0.0);
    if rest.is_empty() {
        return Err(refuse());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(refuse)?;
        let (number, unit) = rest.split_at(digits);
        let unit_len = unit.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(unit.len());
        let scale = match &unit[..unit_len] {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(refuse()),
        };
        seconds += number.parse::<f64>().map_err(|_| refuse())? * scale;
        rest = &unit[unit_len..];
    }
    if seconds > MOST_SECONDS {
        return Err("a duration is at most a year".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        let table = [
            ("0", Some(0)),
            ("0s", Some(0)),
            ("250ms", Some(250_000)),
            ("5s", Some(5_000_000)),
            ("1m30s", Some(90_000_000)),
            ("1.5s", Some(1_500_000)),
            (".5s", Some(500_000)),
            ("1h2m3s4ms5us", Some(3_723_004_005)),
            ("7µs", Some(7)),
            ("", None),
            ("5", None),
            ("s", None),
            ("-5s", None),
            ("5 s", None),
            ("1.2.3s", None),
            ("5d", None),
            ("99999999999999999999h", None),
            ("five", None),
        ];
        for (text, micros) in table {
            assert_eq!(parse(text).ok(), micros.map(Duration::from_micros), "{text}");
        }
    }
}
