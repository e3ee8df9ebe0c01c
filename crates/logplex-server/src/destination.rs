//! A drain's URL, checked once: where it sends, and our options in its fragment.
//!
//! The fragment is never sent, and the original already keeps `#insecure` there; the query belongs to the
//! destination, untouched.

use logplex_core::outlet::{Endpoint, EndpointError};

/// The option keys that a fragment may have.
const OPTIONS: &[&str] = &["insecure", "format", "gzip"];

/// Why a URL is no destination.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DestinationError {
    #[error("the URL has no usable address")]
    Endpoint(#[source] EndpointError),
    #[error("unknown drain option {option:?} in the URL's fragment; known: {}", OPTIONS.join(", "))]
    UnknownOption { option: String },
    #[error("the drain option {option:?} takes no value")]
    UnexpectedValue { option: String },
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
    pub(crate) format: Format,
    /// Whether bodies are compressed.
    pub(crate) gzip: bool,
}

impl Destination {
    pub(crate) fn parse(url: &str) -> Result<Destination, DestinationError> {
        let endpoint = Endpoint::parse(url).map_err(DestinationError::Endpoint)?;
        let fragment = url.split_once('#').map_or("", |(_, fragment)| fragment);
        let (mut insecure, mut gzip, mut format) = (false, false, Format::default());
        for option in fragment.split('&').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                None if option == "insecure" => insecure = true,
                None if option == "gzip" => gzip = true,
                Some(("format", "rfc5424")) => format = Format::Rfc5424,
                Some((key, _)) if key == "insecure" => {
                    return Err(DestinationError::UnexpectedValue { option: key.to_owned() });
                }
                other => {
                    let option = other.map_or(option, |(key, _)| key).to_owned();
                    return Err(DestinationError::UnknownOption { option });
                }
            }
        }
        Ok(Destination { endpoint, insecure, format, gzip })
    }
}

#[cfg(test)]
mod tests {
    use super::Destination;

    fn refused(url: &str) -> String {
        let error = Destination::parse(url).expect_err("must be refused");
        logplex_core::Chain(&error).to_string()
    }

    #[test]
    fn the_fragment_holds_options_and_unknown_ones_are_refused() {
        assert!(!Destination::parse("https://u:p@h.example/x?code=1").unwrap().insecure);
        assert!(Destination::parse("https://u:p@h.example/x?code=1#insecure").unwrap().insecure);
        let destination = Destination::parse("syslog+tls://h.example#format=rfc5424&gzip").unwrap();
        assert_eq!((destination.format, destination.gzip), (super::Format::Rfc5424, true));
        assert!(refused("https://h.example/#insecur").contains("unknown drain option \"insecur\""));
        assert!(refused("https://h.example/#insecure=1").contains("takes no value"));
    }

    #[test]
    fn refusals_and_debug_hold_no_secrets() {
        let debug =
            format!("{:?}", Destination::parse("https://user:hunter2@h.example/k3y?code=s3cret").unwrap());
        for text in [debug, refused("ftp://user:hunter2@h.example/k3y?code=s3cret")] {
            for secret in ["hunter2", "s3cret", "k3y"] {
                assert!(!text.contains(secret), "{text}");
            }
        }
    }
}
