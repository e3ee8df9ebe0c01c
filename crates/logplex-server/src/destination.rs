//! A drain's URL, checked once: where it sends, and our options in its fragment.
//!
//! The fragment is never sent, and the original already keeps `#insecure` there; the query belongs to the
//! destination, untouched. Options are `key=value` pairs joined by `&`, values percent-encoded where needed:
//! `https://host/path#insecure&exclude-source=heroku,router&min-severity=warning`.

use std::num::NonZeroUsize;

use logplex_core::Filter;
use logplex_core::outlet::{Endpoint, EndpointError};
use percent_encoding::percent_decode_str;

use crate::codes::{UnknownCode, add_codes};

/// The option keys that a fragment may have.
const OPTIONS: [&str; 11] = [
    "format",
    "include-source",
    "exclude-source",
    "include-ps",
    "exclude-ps",
    "min-severity",
    "code",
    "batch",
    "gzip",
    "ca",
    "insecure",
];

/// RFC 5424, 6.2.1; a severity may also be given as its number.
const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/// Names that people use as well.
const OTHER_SEVERITIES: [(&str, u8); 5] =
    [("emergency", 0), ("critical", 2), ("error", 3), ("warn", 4), ("information", 6)];

/// The most messages that `batch` may ask for: a ring.
const BATCH_MAX: usize = 1024;

/// The longest fragment and the most names in a list: filters are asked for every batch.
const FRAGMENT_MAX: usize = 4096;
const NAMES_MAX: usize = 64;

/// How unlike a known key may be that is suggested for an unknown one: 1 is equal.
const ALIKE: f64 = 0.7;

/// Why a URL is no destination. Repeats options, which hold no secrets, and nothing else of the URL.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DestinationError {
    #[error("the URL has no usable address")]
    Endpoint(#[source] EndpointError),
    #[error("unknown drain option {option:?} in the URL's fragment; {hint}")]
    UnknownOption { option: String, hint: String },
    #[error("the drain option {option:?} takes {allowed}, not {value:?}")]
    BadValue { option: &'static str, value: String, allowed: String },
    #[error("the drain option \"code\" takes codes")]
    Code(#[source] UnknownCode),
    #[error("the drain option {option:?} is given twice")]
    Twice { option: &'static str },
    #[error("the drain options {one:?} and {other:?} contradict each other")]
    Contradiction { one: &'static str, other: &'static str },
    #[error("the drain option {option:?} is for {only} drains")]
    NotHere { option: &'static str, only: &'static str },
    #[error("no bundle of certificates is named {name:?}; {}", known_cas(.known))]
    UnknownCa { name: String, known: Vec<String> },
    #[error("the URL's fragment is longer than {FRAGMENT_MAX} bytes")]
    TooLong,
}

fn known_cas(known: &[String]) -> String {
    match known {
        [] => "the server was started without --drain-ca".to_owned(),
        known => format!("known: {}", known.join(", ")),
    }
}

/// What a message looks like on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// As the original's drains send it.
    #[default]
    Original,
    /// Strict RFC 5424 with MSGID and structured data.
    Rfc5424,
}

/// See the module's text. `Debug` shows no secrets: the endpoint's own does not.
#[derive(Debug)]
pub(crate) struct Destination {
    pub(crate) endpoint: Endpoint,
    /// Whether the certificate goes unverified.
    pub(crate) insecure: bool,
    /// The name of a bundle of certificates that the operator configured, trusted besides the platform's.
    pub(crate) ca: Option<String>,
    pub(crate) format: Format,
    /// Whether bodies are compressed.
    pub(crate) gzip: bool,
    /// The most messages in a request, a notice among them.
    pub(crate) batch: Option<NonZeroUsize>,
    pub(crate) filter: Filter,
    /// The options as they were given, decoded.
    pub(crate) options: Vec<String>,
}

impl Destination {
    /// Checks a URL. Whether there is a bundle named `ca` is for the caller to say.
    pub(crate) fn parse(url: &str) -> Result<Destination, DestinationError> {
        let endpoint = Endpoint::parse(url).map_err(DestinationError::Endpoint)?;
        let fragment = url.split_once('#').map_or("", |(_, fragment)| fragment);
        if fragment.len() > FRAGMENT_MAX {
            return Err(DestinationError::TooLong);
        }
        let mut destination = Destination {
            endpoint,
            insecure: false,
            ca: None,
            format: Format::default(),
            gzip: false,
            batch: None,
            filter: Filter::default(),
            options: Vec::new(),
        };
        for option in fragment.split('&').filter(|option| !option.is_empty()) {
            destination.set(option)?;
        }
        destination.check(url)?;
        Ok(destination)
    }

    fn set(&mut self, option: &str) -> Result<(), DestinationError> {
        let (key, value) = match option.split_once('=') {
            Some((key, value)) => (decode(key), Some(decode(value))),
            None => (decode(option), None),
        };
        let Some(&name) = OPTIONS.iter().find(|name| **name == key) else {
            return Err(unknown(key));
        };
        self.options.push(value.as_ref().map_or_else(|| key.clone(), |value| format!("{key}={value}")));
        let given = value.unwrap_or_default();
        let bad = |allowed: &str| DestinationError::BadValue {
            option: name,
            value: given.clone(),
            allowed: allowed.to_owned(),
        };
        let filter = &mut self.filter;
        match name {
            "include-source" => add_names(&mut filter.include_sources, &given).map_err(bad),
            "exclude-source" => add_names(&mut filter.exclude_sources, &given).map_err(bad),
            "include-ps" => add_names(&mut filter.include_ps, &given).map_err(bad),
            "exclude-ps" => add_names(&mut filter.exclude_ps, &given).map_err(bad),
            "code" => add_codes(&mut filter.codes, &given).map_err(DestinationError::Code),
            // A repetition of what follows can only be a mistake.
            _ if self.options.iter().filter(|other| other.split('=').next() == Some(name)).count() > 1 => {
                Err(DestinationError::Twice { option: name })
            }
            "min-severity" => {
                let allowed = || bad(&format!("{} or 0 to 7", SEVERITIES.join(", ")));
                filter.min_severity = Some(severity(&given).ok_or_else(allowed)?);
                Ok(())
            }
            "batch" => {
                let batch = given.parse().ok().filter(|batch: &NonZeroUsize| batch.get() <= BATCH_MAX);
                self.batch = Some(batch.ok_or_else(|| bad(&format!("1 to {BATCH_MAX}")))?);
                Ok(())
            }
            "format" => {
                let rfc5424 = given == "rfc5424";
                self.format = if rfc5424 { Format::Rfc5424 } else { return Err(bad("rfc5424")) };
                Ok(())
            }
            "ca" => {
                let allowed = !given.is_empty() && is_name(&given);
                self.ca = if allowed { Some(given) } else { return Err(bad("the name of a bundle")) };
                Ok(())
            }
            "gzip" => set_flag(&mut self.gzip, &given).map_err(bad),
            _insecure => set_flag(&mut self.insecure, &given).map_err(bad),
        }
    }

    fn check(&self, url: &str) -> Result<(), DestinationError> {
        if self.insecure && self.ca.is_some() {
            return Err(DestinationError::Contradiction { one: "insecure", other: "ca" });
        }
        if self.ca.is_some() && !self.endpoint.is_tls() {
            return Err(DestinationError::NotHere { option: "ca", only: "https and syslog+tls" });
        }
        // Schemes are read in any case, like all of them.
        let is_syslog = url.trim_start().get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("syslog"));
        if self.gzip && is_syslog {
            return Err(DestinationError::NotHere { option: "gzip", only: "http and https" });
        }
        Ok(())
    }
}

/// Whether `name` can be that of a bundle of certificates.
pub(crate) fn is_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn unknown(option: String) -> DestinationError {
    let alike = OPTIONS.iter().map(|known| (strsim::jaro_winkler(known, &option), known));
    let nearest = alike.max_by(|(one, _), (other, _)| one.total_cmp(other));
    let hint = match nearest {
        Some((likeness, known)) if likeness >= ALIKE => format!("did you mean {known:?}?"),
        _ => format!("known: {}", OPTIONS.join(", ")),
    };
    DestinationError::UnknownOption { option, hint }
}

/// Appends the names of a comma list; a repeated option adds to the list.
fn add_names(names: &mut Vec<String>, list: &str) -> Result<(), &'static str> {
    for name in list.split(',') {
        if name.is_empty() || names.len() >= NAMES_MAX || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("up to 64 names without blanks, joined by commas");
        }
        names.push(name.to_owned());
    }
    Ok(())
}

/// The number of a severity that is given by name or as a number.
pub(crate) fn severity(text: &str) -> Option<u8> {
    let number = text.parse().ok().filter(|number| usize::from(*number) < SEVERITIES.len());
    let place = || SEVERITIES.iter().position(|name| *name == text).map(|place| place as u8);
    let other = || OTHER_SEVERITIES.iter().find(|(name, _)| *name == text).map(|(_, number)| *number);
    number.or_else(place).or_else(other)
}

/// A flag alone is set, as the original's `insecure`; it may also be said with a value.
fn set_flag(flag: &mut bool, value: &str) -> Result<(), &'static str> {
    match value {
        "" | "true" => *flag = true,
        "false" => *flag = false,
        _ => return Err("no value, or true or false"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use logplex_core::ErrorCode;

    use super::*;

    fn options(fragment: &str) -> Destination {
        let url = format!("https://u:p@h.example/x?code=1#{fragment}");
        Destination::parse(&url).unwrap_or_else(|error| panic!("{fragment}: {error}"))
    }

    #[track_caller]
    fn refused(url: &str) -> String {
        let error = Destination::parse(url).expect_err("must be refused");
        logplex_core::Chain(&error).to_string()
    }

    #[track_caller]
    fn check_refused(fragment: &str, expected: &str) {
        assert_eq!(refused(&format!("https://h.example/#{fragment}")), expected, "{fragment}");
    }

    #[test]
    fn flags_stand_alone_or_with_a_value() {
        assert!(!options("").insecure);
        for (fragment, insecure, gzip) in [
            ("insecure", true, false),
            ("insecure=true&gzip", true, true),
            ("insecure=false&gzip=true", false, true),
            ("&gzip&", false, true),
        ] {
            let destination = options(fragment);
            assert_eq!((destination.insecure, destination.gzip), (insecure, gzip), "{fragment}");
        }
    }

    #[test]
    fn every_option_is_read_and_shown_again() {
        let destination = options(
            "format=rfc5424&include-source=app,api&include-source=jobs&exclude-ps=web.1%2Cworker&min-severity=warning\
             &batch=50&ca=internal",
        );
        assert_eq!(destination.filter.include_sources, ["app", "api", "jobs"]);
        assert_eq!(destination.filter.exclude_ps, ["web.1", "worker"]);
        assert_eq!(destination.filter.min_severity, Some(4));
        assert_eq!(
            (destination.format, destination.batch.map(NonZeroUsize::get)),
            (Format::Rfc5424, Some(50))
        );
        assert_eq!(destination.ca.as_deref(), Some("internal"));
        assert_eq!(destination.options[3], "exclude-ps=web.1,worker");
        let destination = options("code=h12,R*&code=%2A&min-severity=4");
        assert_eq!(destination.options, ["code=h12,R*", "code=*", "min-severity=4"]);
        assert!(destination.filter.codes.contains(ErrorCode::L10));
        let codes = options("code=h12,R*").filter.codes;
        assert_eq!((codes.contains(ErrorCode::H12), codes.contains(ErrorCode::H10)), (true, false));
        let destination = options("exclude-source=heroku&include-ps=a%2Bb&min-severity=0");
        assert_eq!(destination.filter.exclude_sources, ["heroku"]);
        assert_eq!(destination.filter.include_ps, ["a+b"]);
        assert_eq!(destination.filter.min_severity, Some(0));
    }

    #[test]
    fn a_severity_is_a_name_or_a_number() {
        for (text, expected) in [("emerg", 0), ("error", 3), ("err", 3), ("warn", 4), ("7", 7), ("debug", 7)]
        {
            assert_eq!(severity(text), Some(expected), "{text}");
        }
        for text in ["8", "-1", "", "loud", "Warning "] {
            assert_eq!(severity(text), None, "{text}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_one() {
        let refusal = |option: &str, nearest: &str| {
            check_refused(
                option,
                &format!(
                    "unknown drain option {:?} in the URL's fragment; did you mean {nearest:?}?",
                    option.split('=').next().unwrap()
                ),
            );
        };
        refusal("insecur", "insecure");
        refusal("exclude-sources=a", "exclude-source");
        refusal("min-sev=3", "min-severity");
        refusal("Gzip", "gzip");
        check_refused(
            "xyz=1",
            "unknown drain option \"xyz\" in the URL's fragment; known: format, include-source, exclude-source, \
             include-ps, exclude-ps, min-severity, code, batch, gzip, ca, insecure",
        );
    }

    #[test]
    fn a_bad_value_is_refused_with_what_is_allowed() {
        check_refused(
            "insecure=1",
            "the drain option \"insecure\" takes no value, or true or false, not \"1\"",
        );
        check_refused("format=json", "the drain option \"format\" takes rfc5424, not \"json\"");
        for batch in ["0", "1025", "many", ""] {
            let expected = format!("the drain option \"batch\" takes 1 to 1024, not {batch:?}");
            check_refused(&format!("batch={batch}"), &expected);
        }
        check_refused(
            "min-severity=loud",
            "the drain option \"min-severity\" takes emerg, alert, crit, err, warning, notice, info, debug or 0 to 7, \
             not \"loud\"",
        );
        for list in ["", "a,", "a%20b", &vec!["x"; 65].join(",")] {
            let refusal = refused(&format!("https://h.example/#include-ps={list}"));
            assert!(refusal.contains("takes up to 64 names"), "{refusal}");
        }
        let unknown =
            |code, hint| format!("the drain option \"code\" takes codes: unknown code {code}; {hint}");
        check_refused("code=R14,H121", &unknown("\"H121\"", "did you mean H12?"));
        check_refused("code", &unknown("\"\"", "write codes such as H12 or R*, joined by commas"));
        check_refused("batch=1&batch=2", "the drain option \"batch\" is given twice");
        check_refused("ca", "the drain option \"ca\" takes the name of a bundle, not \"\"");
    }

    #[test]
    fn contradictions_are_refused() {
        check_refused("insecure&ca=x", "the drain options \"insecure\" and \"ca\" contradict each other");
        let plain = refused("http://h.example/#ca=x");
        assert_eq!(plain, "the drain option \"ca\" is for https and syslog+tls drains");
        let long = refused(&format!("http://h.example/#include-ps={}", "x".repeat(5000)));
        assert_eq!(long, "the URL's fragment is longer than 4096 bytes");
    }

    #[test]
    fn refusals_and_debug_hold_no_secrets() {
        let debug =
            format!("{:?}", Destination::parse("https://user:hunter2@h.example/k3y?code=s3cret").unwrap());
        let wrong = "https://user:hunter2@h.example/k3y?code=s3cret#insecur";
        for text in [debug, refused("ftp://user:hunter2@h.example/k3y?code=s3cret"), refused(wrong)] {
            for secret in ["hunter2", "s3cret", "k3y"] {
                assert!(!text.contains(secret), "{text}");
            }
        }
    }
}
