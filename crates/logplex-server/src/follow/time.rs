//! Times: what `--since` and `--until` take, and how a line's time is shown.

use std::borrow::Cow;
use std::str::FromStr;

use chrono::{DateTime, FixedOffset, Local, Offset, SecondsFormat, TimeDelta, TimeZone, Utc};

/// How the time of a line is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Timestamps {
    /// Date, time and offset: 2026-01-02T03:04:05.678901+00:00
    #[default]
    Full,
    /// The time of day: 03:04:05.678
    Short,
    /// How old the line is when it is shown: 12s ago
    Relative,
    /// No time
    None,
}

/// Where times are shown as a clock there shows them.
#[derive(Clone, Debug)]
pub(crate) enum Zone {
    /// As the machine is set, or the variable `TZ` says.
    Local,
    Fixed(FixedOffset),
    /// One of the machine's time zone database.
    Named(tz::TimeZone),
}

impl FromStr for Zone {
    type Err = String;

    fn from_str(text: &str) -> Result<Zone, String> {
        if text.eq_ignore_ascii_case("local") {
            return Ok(Zone::Local);
        }
        if text.eq_ignore_ascii_case("utc") || text == "Z" {
            return Ok(Zone::Fixed(Utc.fix()));
        }
        if text.starts_with(['+', '-']) {
            // The parser of chrono is laxer than what is promised here.
            let offset = FixedOffset::from_str(text).ok().filter(|_| text.len() == "+HH:MM".len());
            return offset.map(Zone::Fixed).ok_or_else(|| "an offset is written +HH:MM".to_owned());
        }
        let name = |char: char| char.is_ascii_alphanumeric() || matches!(char, '/' | '_' | '-' | '+');
        if !text.starts_with(|first: char| first.is_ascii_alphabetic()) || !text.chars().all(name) {
            return Err("write local, utc, +HH:MM or Area/City".to_owned());
        }
        // The colon: a name, not a rule in POSIX's notation.
        tz::TimeZone::from_posix_tz(&format!(":{text}")).map(Zone::Named).map_err(|_| {
            "this machine's time zone database (/usr/share/zoneinfo) has no such zone; there are local, utc \
             and +HH:MM, too"
                .to_owned()
        })
    }
}

impl Zone {
    fn offset_at(&self, time: DateTime<Utc>) -> FixedOffset {
        match self {
            Zone::Local => Local.offset_from_utc_datetime(&time.naive_utc()).fix(),
            Zone::Fixed(offset) => *offset,
            Zone::Named(zone) => {
                // Beyond what the database tells, UTC is the honest answer: the offset is shown with the time.
                let seconds = zone.find_local_time_type(time.timestamp()).map_or(0, |kind| kind.ut_offset());
                FixedOffset::east_opt(seconds).unwrap_or(Utc.fix())
            }
        }
    }
}

/// A line's time as it is to be shown, empty for none. What is no time stays as it is.
pub(super) fn show<'a>(
    time: &'a str,
    timestamps: Timestamps,
    zone: Option<&Zone>,
    now: DateTime<Utc>,
) -> Cow<'a, str> {
    if timestamps == Timestamps::None {
        return "".into();
    }
    if timestamps == Timestamps::Full && zone.is_none() {
        return time.into();
    }
    let Ok(mut parsed) = DateTime::parse_from_rfc3339(time) else { return time.into() };
    if let Some(zone) = zone {
        parsed = parsed.with_timezone(&zone.offset_at(parsed.to_utc()));
    }
    match timestamps {
        Timestamps::Full => parsed.to_rfc3339_opts(digits(time), false).into(),
        Timestamps::Short => parsed.format("%H:%M:%S%.3f").to_string().into(),
        Timestamps::Relative => format!("{:>3} ago", age(now.signed_duration_since(parsed))).into(),
        Timestamps::None => "".into(),
    }
}

/// As many digits of a second as were sent.
fn digits(time: &str) -> SecondsFormat {
    let fraction = time.split_once('.').map_or("", |(_, rest)| rest);
    match fraction.bytes().take_while(u8::is_ascii_digit).count() {
        0 => SecondsFormat::Secs,
        1..=3 => SecondsFormat::Millis,
        4..=6 => SecondsFormat::Micros,
        _ => SecondsFormat::Nanos,
    }
}

/// `12s`, `3m`, `5h`, `2d`; what is yet to come is 0 s old.
fn age(age: TimeDelta) -> String {
    let seconds = age.num_seconds().max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A point in time, or how long ago that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    At(DateTime<Utc>),
    Ago(TimeDelta),
}

impl Moment {
    pub(super) fn at(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Moment::At(time) => time,
            Moment::Ago(age) => now.checked_sub_signed(age).unwrap_or(DateTime::UNIX_EPOCH),
        }
    }
}

impl FromStr for Moment {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Moment, &'static str> {
        if let Ok(time) = DateTime::parse_from_rfc3339(text) {
            return Ok(Moment::At(time.to_utc()));
        }
        duration(text).map(Moment::Ago).ok_or(
            "write how long ago, such as 90s, 15m, 2h, 1h30m or 7d, or a time such as 2026-01-02T03:04:05Z",
        )
    }
}

/// `90s`, `15m`, `1h30m`, `2d`, `1w`: whole numbers, each with its unit.
fn duration(text: &str) -> Option<TimeDelta> {
    let mut sum = TimeDelta::zero();
    let mut rest = text;
    while !rest.is_empty() {
        let (number, behind) = rest.split_at(rest.find(|char: char| !char.is_ascii_digit())?);
        let seconds = match behind.as_bytes()[0] {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            b'w' => 604_800,
            _ => return None,
        };
        let seconds = number.parse::<i64>().ok()?.checked_mul(seconds)?;
        sum = sum.checked_add(&TimeDelta::try_seconds(seconds)?)?;
        rest = &behind[1..];
    }
    (!text.is_empty()).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "2026-07-02T03:04:05.678901+00:00";

    fn now() -> DateTime<Utc> {
        "2026-07-02T03:06:06Z".parse().unwrap()
    }

    #[track_caller]
    fn shown(timestamps: Timestamps, zone: &str, expected: &str) {
        let zone = (!zone.is_empty()).then(|| zone.parse::<Zone>().unwrap());
        assert_eq!(show(TIME, timestamps, zone.as_ref(), now()), expected);
    }

    #[test]
    fn a_time_is_shown_as_asked() {
        shown(Timestamps::Full, "", TIME);
        shown(Timestamps::Full, "utc", TIME);
        shown(Timestamps::Full, "+05:30", "2026-07-02T08:34:05.678901+05:30");
        shown(Timestamps::Full, "-02:00", "2026-07-02T01:04:05.678901-02:00");
        shown(Timestamps::Short, "", "03:04:05.678");
        shown(Timestamps::Short, "+05:30", "08:34:05.678");
        shown(Timestamps::Relative, "", " 2m ago");
        shown(Timestamps::None, "", "");
    }

    #[test]
    fn a_named_zone_knows_summer_and_winter() {
        // By its rule, because a machine need not have the database.
        let zone = Zone::Named(tz::TimeZone::from_posix_tz("CET-1CEST,M3.5.0,M10.5.0/3").unwrap());
        for (time, expected) in [
            (TIME, "2026-07-02T05:04:05.678901+02:00"),
            ("2026-01-02T03:04:05+00:00", "2026-01-02T04:04:05+01:00"),
            ("2026-03-29T00:59:59.5Z", "2026-03-29T01:59:59.500+01:00"),
            ("2026-03-29T01:00:00.5Z", "2026-03-29T03:00:00.500+02:00"),
        ] {
            assert_eq!(show(time, Timestamps::Full, Some(&zone), now()), expected);
        }
    }

    #[test]
    fn what_is_no_zone_is_refused() {
        for wrong in [
            "",
            "Nowhere/City",
            "../etc/passwd",
            "/etc/passwd",
            "+5",
            "+25:00",
            "05:30",
            "EST5EDT,M3.2.0,M11.1.0",
        ] {
            assert!(wrong.parse::<Zone>().is_err(), "{wrong:?}");
        }
        for right in ["local", "LOCAL", "UTC", "Z"] {
            assert!(right.parse::<Zone>().is_ok(), "{right:?}");
        }
    }

    #[test]
    fn what_is_no_time_stays_as_it_is() {
        let zone = Zone::Fixed(Utc.fix());
        for timestamps in [Timestamps::Full, Timestamps::Short, Timestamps::Relative] {
            assert_eq!(show("-", timestamps, Some(&zone), now()), "-");
        }
    }

    #[test]
    fn an_age_is_one_number() {
        for (seconds, expected) in
            [(-5, "0s"), (0, "0s"), (59, "59s"), (60, "1m"), (3599, "59m"), (86_399, "23h"), (200_000, "2d")]
        {
            assert_eq!(age(TimeDelta::seconds(seconds)), expected);
        }
    }

    #[test]
    fn a_moment_is_a_time_or_an_age() {
        for (text, seconds) in
            [("90s", 90), ("15m", 900), ("1h30m", 5400), ("2d", 172_800), ("1w", 604_800), ("0s", 0)]
        {
            assert_eq!(text.parse(), Ok(Moment::Ago(TimeDelta::seconds(seconds))), "{text}");
            assert_eq!(text.parse::<Moment>().unwrap().at(now()), now() - TimeDelta::seconds(seconds));
        }
        let time: Moment = "2026-07-02T05:06:06+02:00".parse().unwrap();
        assert_eq!(time, Moment::At(now()));
        for wrong in [
            "",
            "15",
            "m",
            "-5m",
            "5 m",
            "5y",
            "1h30",
            "2026-07-02",
            "99999999999999999999s",
            "9999999999999999w",
        ] {
            assert!(wrong.parse::<Moment>().is_err(), "{wrong:?}");
        }
    }
}
