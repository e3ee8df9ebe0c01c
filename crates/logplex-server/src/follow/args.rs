//! The arguments of `logplex tail`, and what they ask for once they are checked.

use std::io::{self, IsTerminal};

use anyhow::ensure;
use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use logplex_core::code::CodeSet;
use regex::Regex;
use serde_json::{Value, json};

use super::look::{Look, column, has_colour};
use super::time::{Moment, Timestamps, Zone};
use crate::codes::{UnknownCode, add_codes};
use crate::command::ApiArgs;
use crate::destination::severity;

/// How much history is asked for where it is not the number of lines that bounds it: as much as the server keeps.
pub(super) const HISTORY: u32 = 1500;

/// How much history is shown unless something is said.
const DEFAULT_NUM: u32 = 100;

/// What the help closes with.
const EXAMPLES: &str = "\
Examples:
  logplex tail shop                                    the newest 100 lines, then what comes
  logplex tail shop billing --exclude-source heroku    two channels, without the platform's lines
  logplex tail shop --ps web --level warning           what the web processes warn of, or worse
  logplex tail shop --code 'H12,R*' --no-follow        timeouts, and what the runtime said
  logplex tail shop --since 15m --grep 'status=5\\d\\d' --no-follow
  logplex tail shop -n 0 -o json | jq -r .message      only what comes, as JSON, one object a line
  logplex tail shop --color always | less -R           colours through a pipe

A filter acts in the server, ahead of this reader's buffer: what it leaves out cannot push out what it keeps.
Where this reader was too slow, a line says how many messages it missed (L11); no filter hides that.

Exit codes: 0 done, or stdout was closed; 1 failed or refused; 2 wrong usage; 3 no such channel; 130 interrupted.";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TailArgs {
    /// The channels to follow; with several, each line begins with its channel
    #[arg(required = true, num_args = 1..=64, value_name = "CHANNEL")]
    channels: Vec<String>,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
    /// The API key; better given as LOGPLEX_API_KEY, where other users cannot see it
    #[arg(long, env = "LOGPLEX_API_KEY", value_name = "KEY", hide_env_values = true)]
    pub(crate) key: Option<String>,
    /// Only this source, such as app or heroku; may be given again
    #[arg(short = 's', long, value_name = "NAME", help_heading = "Which lines")]
    source: Vec<String>,
    /// Not this source; may be given again
    #[arg(long, value_name = "NAME", help_heading = "Which lines")]
    exclude_source: Vec<String>,
    /// Only this process, such as web.1, or web for all of that kind; may be given again
    #[arg(short = 'p', long, value_name = "NAME", help_heading = "Which lines")]
    ps: Vec<String>,
    /// Not this process; may be given again
    #[arg(long, value_name = "NAME", help_heading = "Which lines")]
    exclude_ps: Vec<String>,
    /// Only messages in which this regular expression matches; given again, all must. (?i) ignores case
    #[arg(short = 'g', long, value_name = "REGEX", help_heading = "Which lines")]
    grep: Vec<Regex>,
    /// No messages in which this regular expression matches; given again, none may
    #[arg(short = 'e', long, value_name = "REGEX", help_heading = "Which lines")]
    exclude: Vec<Regex>,
    /// Only messages that severe or more: emerg, alert, crit, err, warning, notice, info, debug or 0 to 7
    #[arg(long, value_name = "SEVERITY", value_parser = level, help_heading = "Which lines")]
    level: Option<u8>,
    /// Only lines with these error codes of the platform, such as H12,R* (see `logplex explain`); may be given again
    #[arg(long, value_name = "CODES", value_parser = codes, help_heading = "Which lines")]
    code: Vec<String>,
    /// Only lines that are not older: 90s, 15m, 2h, 1h30m, 7d, or a time such as 2026-01-02T03:04:05Z
    #[arg(long, value_name = "TIME", help_heading = "Which lines")]
    since: Option<Moment>,
    /// Only lines until then, written as for --since; it ends when that time has come
    #[arg(long, value_name = "TIME", help_heading = "Which lines")]
    until: Option<Moment>,
    /// How many lines of each channel's history to show first, up to 1,500; 100, with --since as many as there are
    #[arg(short = 'n', long = "num", value_name = "LINES", help_heading = "Which lines")]
    num: Option<u32>,
    /// Show the history and end
    #[arg(long, help_heading = "Which lines")]
    no_follow: bool,
    /// How to write lines
    #[arg(short = 'o', long, value_enum, default_value_t, help_heading = "How they look")]
    output: Output,
    /// Colours: by source and process, and by severity. Auto heeds NO_COLOR, FORCE_COLOR and CLICOLOR_FORCE
    #[arg(
        long,
        alias = "colour",
        value_enum,
        value_name = "WHEN",
        default_value_t,
        help_heading = "How they look"
    )]
    color: Color,
    /// Make this stand out where there are colours, as what --grep found does; may be given again
    #[arg(short = 'H', long, value_name = "REGEX", help_heading = "How they look")]
    highlight: Vec<Regex>,
    /// Show times as a clock there does: local, utc, +HH:MM or Area/City; as they were sent if absent
    #[arg(
        long,
        env = "LOGPLEX_TIMEZONE",
        value_name = "ZONE",
        allow_hyphen_values = true,
        help_heading = "How they look"
    )]
    timezone: Option<Zone>,
    /// How to show times
    #[arg(
        long,
        env = "LOGPLEX_TIMESTAMPS",
        value_enum,
        value_name = "FORM",
        default_value_t,
        help_heading = "How they look"
    )]
    timestamps: Timestamps,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// `TIME SOURCE[PROCID]: MSG`
    #[default]
    Text,
    /// One JSON object a line
    Json,
    /// Only the message
    Raw,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Color {
    /// On a terminal
    #[default]
    Auto,
    Always,
    Never,
}

/// What to ask the server for.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(super) channels: Vec<String>,
    pub(super) num: u32,
    pub(super) follow: bool,
    /// When to end.
    pub(super) until: Option<DateTime<Utc>>,
    /// The filters, as members of a session's body.
    pub(super) filters: Value,
}

impl Request {
    /// What comes from now on to one channel, all of it.
    pub(crate) fn live(channel: &str) -> Request {
        Request { channels: vec![channel.to_owned()], num: 0, follow: true, until: None, filters: json!({}) }
    }
}

impl Look {
    /// As text that suits our stdout.
    pub(crate) fn of_stdout(color: Color) -> Look {
        let terminal = io::stdout().is_terminal();
        let colour = has_colour(color, terminal, std::env::var_os);
        Look { terminal: terminal || colour, colour, ..Look::default() }
    }
}

impl TailArgs {
    /// What is asked for.
    ///
    /// # Errors
    /// When two arguments contradict each other.
    pub(crate) fn check(&self, now: DateTime<Utc>) -> anyhow::Result<(Request, Look)> {
        let mut channels: Vec<String> = Vec::new();
        for channel in &self.channels {
            if !channels.contains(channel) {
                channels.push(channel.clone());
            }
        }
        let since = self.since.map(|since| since.at(now));
        let until = self.until.map(|until| until.at(now));
        if let (Some(since), Some(until)) = (since, until) {
            ensure!(since <= until, "--until must not be ahead of --since");
        }
        let look = Look {
            output: self.output,
            timestamps: self.timestamps,
            zone: self.timezone.clone(),
            highlight: self.grep.iter().chain(&self.highlight).cloned().collect(),
            column: column(&channels),
            ..Look::of_stdout(self.color)
        };
        let request = Request {
            channels,
            num: self.num.unwrap_or(if since.is_some() { HISTORY } else { DEFAULT_NUM }),
            follow: !self.no_follow && until.is_none_or(|until| until > now),
            until,
            filters: self.filters(since, until),
        };
        Ok((request, look))
    }

    fn filters(&self, since: Option<DateTime<Utc>>, until: Option<DateTime<Utc>>) -> Value {
        let mut filters = json!({});
        // One name goes under the key that the original has for it, so that its servers filter too.
        for (one, several, names) in [("source", "sources", &self.source), ("ps", "processes", &self.ps)] {
            match names.as_slice() {
                [] => {}
                [name] => filters[one] = json!(name),
                names => filters[several] = json!(names),
            }
        }
        for (key, names) in
            [("exclude_sources", &self.exclude_source), ("exclude_processes", &self.exclude_ps)]
        {
            if !names.is_empty() {
                filters[key] = json!(names);
            }
        }
        for (key, patterns) in [("grep", &self.grep), ("exclude", &self.exclude)] {
            if !patterns.is_empty() {
                filters[key] = patterns.iter().map(Regex::as_str).collect();
            }
        }
        match self.code.as_slice() {
            [] => {}
            [list] => filters["code"] = json!(list),
            lists => filters["code"] = json!(lists),
        }
        if let Some(level) = self.level {
            filters["min_severity"] = json!(level);
        }
        for (key, time) in [("since", since), ("until", until)] {
            if let Some(time) = time {
                filters[key] = json!(time.to_rfc3339_opts(SecondsFormat::Micros, true));
            }
        }
        filters
    }
}

fn codes(list: &str) -> Result<String, UnknownCode> {
    add_codes(&mut CodeSet::default(), list).map(|()| list.to_owned())
}

fn level(text: &str) -> Result<u8, &'static str> {
    severity(text).ok_or("write emerg, alert, crit, err, warning, notice, info, debug or 0 to 7")
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn now() -> DateTime<Utc> {
        "2026-07-02T03:06:06Z".parse().unwrap()
    }

    #[track_caller]
    fn check(args: &[&str]) -> anyhow::Result<(Request, Look)> {
        let cli = Cli::try_parse_from([&["logplex", "tail"], args].concat())?;
        let Command::Tail(args) = cli.command else { panic!("it is a tail") };
        args.check(now())
    }

    fn request(args: &[&str]) -> Request {
        check(args).unwrap().0
    }

    #[test]
    fn filters_are_the_members_of_a_session() {
        assert_eq!(request(&["app"]).filters, json!({}));
        assert_eq!(
            request(&["app", "--source", "app", "--ps", "web"]).filters,
            json!({ "source": "app", "ps": "web" })
        );
        assert_eq!(request(&["app", "--code", "h12,R*"]).filters, json!({ "code": "h12,R*" }));
        let several = request(&["app", "--code", "H12", "--code", "R*"]).filters;
        assert_eq!(several, json!({ "code": ["H12", "R*"] }));
        let all = [
            "app",
            "-s",
            "app",
            "-s",
            "api",
            "-p",
            "web",
            "-p",
            "worker.1",
            "--exclude-source",
            "heroku",
            "--exclude-ps",
            "web.2",
            "--exclude-ps",
            "cron",
            "-g",
            "a+",
            "-g",
            "b",
            "-e",
            "c",
            "--level",
            "warn",
            "--since",
            "15m",
            "--until",
            "2026-07-02T06:00:00+02:00",
        ];
        let expected = json!({
            "sources": ["app", "api"], "processes": ["web", "worker.1"], "exclude_sources": ["heroku"],
            "exclude_processes": ["web.2", "cron"], "grep": ["a+", "b"], "exclude": ["c"], "min_severity": 4,
            "since": "2026-07-02T02:51:06.000000Z", "until": "2026-07-02T04:00:00.000000Z",
        });
        assert_eq!(request(&all).filters, expected);
    }

    #[test]
    fn the_history_is_bounded_by_number_or_by_time() {
        assert_eq!(request(&["app"]).num, 100);
        assert_eq!(request(&["app", "--since", "1h"]).num, 1500);
        assert_eq!(request(&["app", "--since", "1h", "-n", "5"]).num, 5);
    }

    #[test]
    fn nothing_is_followed_beyond_until() {
        let asked = |args: &[&str]| {
            let request = request(args);
            (request.follow, request.until)
        };
        assert_eq!(asked(&["app"]), (true, None));
        assert_eq!(asked(&["app", "--no-follow"]), (false, None));
        assert_eq!(asked(&["app", "--until", "1m"]), (false, Some(now() - TimeDelta::minutes(1))));
        let later = now() + TimeDelta::hours(1);
        assert_eq!(asked(&["app", "--until", &later.to_rfc3339()]), (true, Some(later)));
        let error = check(&["app", "--since", "1m", "--until", "1h"]).unwrap_err();
        assert_eq!(error.to_string(), "--until must not be ahead of --since");
    }

    #[test]
    fn a_channel_is_followed_once() {
        let (request, look) = check(&["a", "bb", "a"]).unwrap();
        assert_eq!((request.channels, look.column), (vec!["a".to_owned(), "bb".to_owned()], 2));
        assert_eq!(check(&["a", "a"]).unwrap().1.column, 0);
    }

    #[test]
    fn wrong_arguments_are_refused_before_anything_is_asked() {
        for wrong in [
            &["--grep", "("][..],
            &["--exclude", "["],
            &["--highlight", "*"],
            &["--level", "loud"],
            &["--code", "H29"],
            &["--code", ""],
            &["--since", "yesterday"],
            &["--until", "5"],
            &["--timezone", "Nowhere/City"],
            &["--timestamps", "long"],
            &["--color", "maybe"],
            &["-o", "xml"],
            &["-n", "-1"],
        ] {
            assert!(check(&[&["app"], wrong].concat()).is_err(), "{wrong:?}");
        }
        assert!(check(&[]).is_err());
        assert!(check(&["app", "--timezone", "-03:30"]).is_ok());
    }
}
