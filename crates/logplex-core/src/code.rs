//! The error codes of the platform (H10, R14, L10, …): what they are called, what they mean, what to do, and how
//! to find them in what the platform writes.
//!
//! There is one catalogue. `H` codes come from the router, `R` codes from the runtime of one process, `L` codes
//! from the log pipeline itself, ours included ([`crate::Notice`]). Next to them stand a few entries without a code
//! ([`PAGES`]): error pages and failed deployments, as users of several platforms see them.
//!
//! A code counts only where the platform says it: an app may write `H12` as it likes. See
//! [`ErrorCode::from_message`] for a message's parts, [`ErrorCode::from_line`] for a line as a tail shows it.
//!
//! ```
//! use logplex_core::ErrorCode;
//!
//! let line = "2026-01-02T03:04:05+00:00 heroku[router]: at=error code=H12 desc=\"Request timeout\" status=503";
//! let code = ErrorCode::from_line(line).expect("the router names a code");
//! assert_eq!((code, code.entry().title), (ErrorCode::H12, "Request timeout"));
//! assert_eq!(ErrorCode::from_line("2026-01-02T03:04:05+00:00 app[web.1]: saw code=H12"), None);
//! ```

use std::fmt;

mod dyno;
mod logs;
mod pages;
mod recogniser;
mod requests;
mod router;
mod set;

pub use pages::PAGES;
pub(crate) use recogniser::Speaker;
pub use set::CodeSet;

/// What is known of one code, or of one error page or failed deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The code, such as `H12`, or what an entry without a code is called here, such as `proxy-502`.
    pub name: &'static str,
    /// The title that the platform gives it today.
    pub title: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Who can mend it.
    pub fault: Fault,
    /// Whether it is still written.
    pub state: State,
    /// The HTTP statuses that clients see with it; often none.
    pub statuses: &'static [u16],
    /// What has happened.
    pub meaning: &'static str,
    /// What to look at and to do, the likeliest first.
    pub checks: &'static [&'static str],
    /// The command that shows the evidence; `CHANNEL` stands for the channel.
    pub tail: &'static str,
    /// A line as it is written where this happens.
    pub example: &'static str,
}

/// How bad a code is by itself, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// Users are turned away, or lines are lost.
    Critical,
    /// Something failed.
    Error,
    /// Something is about to fail, or is worse than it should be.
    Warning,
    /// For information.
    Info,
}

impl Severity {
    /// The name in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Critical => "critical",
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        }
    }
}

/// Whose doing a code is, as far as it tells; with whom to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The app's code, or the load that it cannot bear.
    App,
    /// Whoever sent the request.
    Client,
    /// The code does not tell which of the two.
    AppOrClient,
    /// How the app is set up: its scale, domains, add-ons, commands.
    Setup,
    /// Whoever reads the logs: a drain's destination or a tail.
    Reader,
    /// The way of the logs: the network, or the log router.
    Pipeline,
    /// The platform.
    Platform,
    /// Nobody: it is as somebody wanted it.
    Nobody,
}

impl Fault {
    /// In words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Fault::App => "the app",
            Fault::Client => "the client",
            Fault::AppOrClient => "the app or the client",
            Fault::Setup => "how the app is set up",
            Fault::Reader => "who reads the logs",
            Fault::Pipeline => "the way of the logs",
            Fault::Platform => "the platform",
            Fault::Nobody => "nobody",
        }
    }
}

/// Whether a code is still written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// It is.
    Present,
    /// No more, though the platform's list still names it.
    Retired,
    /// No more, and no list names it; old logs have it.
    Legacy,
}

impl State {
    /// The name in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Present => "present",
            State::Retired => "retired",
            State::Legacy => "legacy",
        }
    }
}

macro_rules! codes {
    ($($file:ident: $($code:ident)+;)+) => {
        /// A code of the platform, present, retired or legacy.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(
                #[doc = concat!("`", stringify!($code), "`; [`ErrorCode::entry`] tells the rest.")]
                $code,
            )+)+
        }

        impl ErrorCode {
            /// All of them: H, R, L, each by number.
            pub const ALL: &[ErrorCode] = &[$($(ErrorCode::$code,)+)+];

            /// What is known of it.
            pub const fn entry(self) -> &'static Entry {
                match self {
                    $($(ErrorCode::$code => &$file::$code,)+)+
                }
            }

            /// The code, such as `H12`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($(ErrorCode::$code => stringify!($code),)+)+
                }
            }

            /// The code with exactly this name.
            pub const fn from_name(name: &[u8]) -> Option<ErrorCode> {
                $($(
                    const $code: &[u8] = stringify!($code).as_bytes();
                )+)+
                match name {
                    $($($code => Some(ErrorCode::$code),)+)+
                    _ => None,
                }
            }
        }
    };
}

codes! {
    router: H10 H11 H12 H13 H14 H15 H16 H17 H18 H19 H20 H21 H22 H23;
    requests: H24 H25 H26 H27 H28 H31 H32 H33 H34 H70 H80 H81 H82 H83 H99;
    dyno: R10 R11 R12 R13 R14 R15 R16 R17 R99;
    logs: L10 L11 L12 L13 L14 L15;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Entry {
    /// The code or the entry without one that is called `name`, in whatever case.
    pub fn find(name: &str) -> Option<&'static Entry> {
        Entry::all().find(|entry| entry.name.eq_ignore_ascii_case(name))
    }

    /// The whole catalogue: [`ErrorCode::ALL`], then [`PAGES`].
    pub fn all() -> impl Iterator<Item = &'static Entry> {
        ErrorCode::ALL.iter().map(|code| code.entry()).chain(PAGES)
    }
}

/// What most of the router's entries have in common.
const ROUTER: Entry = Entry {
    name: "",
    title: "",
    severity: Severity::Critical,
    fault: Fault::App,
    state: State::Present,
    statuses: &[503],
    meaning: "",
    checks: &[],
    tail: "logplex tail CHANNEL --source heroku --ps router -n 1500",
    example: "",
};

#[cfg(test)]
mod tests;
