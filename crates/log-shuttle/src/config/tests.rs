//! Where settings come from, and what is refused.

use std::collections::HashMap;

use expect_test::{Expect, expect};
use logplex_core::Chain;

use super::*;

#[derive(Default)]
struct Fake {
    vars: HashMap<&'static str, &'static str>,
    files: HashMap<&'static str, &'static str>,
}

impl Environment for Fake {
    fn var(&self, name: &str) -> Option<String> {
        self.vars.get(name).map(|value| (*value).to_owned())
    }

    fn file(&self, path: &Path) -> std::io::Result<String> {
        let text = path.to_str().and_then(|path| self.files.get(path));
        text.map(|text| (*text).to_owned()).ok_or(std::io::ErrorKind::NotFound.into())
    }
}

fn config(words: &[&str], environment: &Fake) -> Result<Config, ConfigError> {
    let argv = ["log-shuttle"].iter().chain(words).map(OsString::from);
    Config::new(Args::read(argv).expect("arguments that can be read"), environment)
}

/// Warnings, or the error; never a secret.
fn check(words: &[&str], environment: &Fake, expected: Expect) {
    let shown = match config(words, environment) {
        Ok(config) => {
            assert!(!format!("{config:?}").contains("hunter2"));
            config.warnings.join("\n")
        }
        Err(error) => format!("error: {}", Chain(&error)),
    };
    assert!(!shown.contains("hunter2"), "{shown}");
    expected.assert_eq(&shown);
}

const URL: &str = "--logs-url=http://u:hunter2@h/";

#[test]
fn the_destination_comes_from_flag_file_or_environment() {
    let mut environment = Fake::default();
    check(
        &[],
        &environment,
        expect!["error: no destination; set LOGS_URL, or give --logs-url=URL or --logs-url-file=PATH"],
    );
    environment.vars.insert("LOGPLEX_URL", "http://u:hunter2@old/");
    check(&[], &environment, expect!["LOGPLEX_URL is deprecated; use LOGS_URL"]);
    environment.vars.insert("LOGS_URL", "http://u:hunter2@new/");
    check(
        &[],
        &environment,
        expect![[r#"
        LOGPLEX_URL is deprecated; use LOGS_URL
        both LOGS_URL and LOGPLEX_URL are set; LOGS_URL is used"#]],
    );
    environment.files.insert("/url", " https://u:hunter2@file/ \n");
    check(
        &["--logs-url-file=/url"],
        &environment,
        expect![[r#"
        LOGPLEX_URL is deprecated; use LOGS_URL
        both --logs-url-file and LOGS_URL are set; --logs-url-file is used
        both --logs-url-file and LOGPLEX_URL are set; --logs-url-file is used"#]],
    );
    check(&[URL], &Fake::default(), expect![[""]]);
    check(
        &[URL, "--logs-url-file=/url"],
        &environment,
        expect![[r#"
        LOGPLEX_URL is deprecated; use LOGS_URL
        both --logs-url and --logs-url-file are set; --logs-url is used
        both --logs-url and LOGS_URL are set; --logs-url is used
        both --logs-url and LOGPLEX_URL are set; --logs-url is used"#]],
    );
    check(
        &["--logs-url-file=/none"],
        &environment,
        expect!["error: cannot read --logs-url-file=/none: entity not found"],
    );
    environment.files.insert("/empty", "\n");
    check(&["--logs-url-file=/empty"], &environment, expect!["error: --logs-url-file=/empty is empty"]);
}

#[test]
fn a_destination_that_cannot_be_used_is_refused_without_being_shown() {
    let check = |url: &str, expected| check(&[&format!("--logs-url={url}")], &Fake::default(), expected);
    check(
        "ftp://u:hunter2@h/",
        expect![
            "error: the destination in --logs-url cannot be used: not an http or https URL; begin it with https:// or http://"
        ],
    );
    check(
        "hunter2",
        expect![
            "error: the destination in --logs-url cannot be used: not a URL; write it as https://user:password@host:port/path: relative URL without a base"
        ],
    );
    check(
        "http://u:hunter2@/",
        expect![
            "error: the destination in --logs-url cannot be used: not a URL; write it as https://user:password@host:port/path: empty host"
        ],
    );
    check(
        "http://u:hunter2@h:port/",
        expect![
            "error: the destination in --logs-url cannot be used: not a URL; write it as https://user:password@host:port/path: invalid port number"
        ],
    );
    check("http://[::1]:8601/logs", expect![[""]]);
    check(
        "https://hunter2:hunter2@kinesis.us-east-1.amazonaws.com/stream",
        expect![
            "error: the destination in --logs-url is Amazon's Kinesis; this program posts to log routers only"
        ],
    );
    check(
        "https://logs.cn-north-1.amazonaws.com.cn/group/stream",
        expect![
            "error: the destination in --logs-url is Amazon's CloudWatch Logs; this program posts to log routers only"
        ],
    );
    check("https://my.us-east-1.elb.amazonaws.com/logs", expect![[""]]);
}

#[test]
fn settings_that_cannot_be_combined_or_used_are_refused() {
    let check = |words: &[&str], expected| check(&[&[URL], words].concat(), &Fake::default(), expected);
    check(
        &["-skip-headers", "-input-format=lprfc5424"],
        expect!["error: --skip-headers cannot be combined with --input-format=lprfc5424"],
    );
    check(&["-split"], expect!["error: --split needs a command to run: log-shuttle run --split -- COMMAND"]);
    check(
        &["-input-format=rfc5424", "run", "app"],
        expect!["error: --input-format=rfc5424 is for stdin; what a command prints is raw"],
    );
    check(
        &["-hostname=two words"],
        expect![[
            r#"error: --hostname="two words" cannot be used: the host name must be 1 to 255 printable ASCII characters without a space"#
        ]],
    );
    check(
        &["-procid="],
        expect![[
            r#"error: --procid="" cannot be used: the procid must be 1 to 128 printable ASCII characters without a space"#
        ]],
    );
    check(
        &["-msgid=-"],
        expect![[
            r#"error: --msgid="-" cannot be used: the msgid must be a MSGID and structured data, such as `- -` or `- [id key="value"]`"#
        ]],
    );
    check(
        &["-appname=hunter2 with spaces"],
        expect![[
            r#"error: --appname="…" cannot be used: the app name must be 1 to 48 printable ASCII characters without a space"#
        ]],
    );
    check(&["-bearer-token=hunter2\n"], expect!["error: the bearer token must be printable ASCII"]);
    check(
        &["-bearer-token-file=/none"],
        expect!["error: cannot read --bearer-token-file=/none: entity not found"],
    );
}

#[test]
fn flags_without_effect_are_warned_about() {
    let words = [
        URL,
        "-num-outlets=4",
        "-front-buff=1",
        "-num-batchers=2",
        "-stats-addr=x",
        "-kinesis-shards=2",
        "-log-to-syslog",
        "-skip-headers",
        "-bearer-token=hunter2",
        "-ring=10",
        "-back-buff=50",
    ];
    check(
        &words,
        &Fake::default(),
        expect![[r#"
        --skip-headers is deprecated; use --input-format=rfc5424
        --num-outlets is without effect: one request is under way at a time, so that order is kept
        --front-buff is without effect: there is no front buffer
        --num-batchers is without effect: there is one reader
        --stats-addr is without effect: use --stats-interval
        --kinesis-shards is without effect: there is no Kinesis output
        --log-to-syslog is without effect: diagnostics go to stderr
        --back-buff is without effect: --ring is given too
        --bearer-token is visible to all users of this machine; prefer LOG_SHUTTLE_BEARER_TOKEN"#]],
    );
    check(
        &[URL, "-back-buff=50", "-bearer-token-file=/t"],
        &Fake { files: [("/t", "hunter2")].into(), ..Fake::default() },
        expect![[""]],
    );
}
