//! What is typed wrongly is refused at the start with the way to mend it, and no text shows a secret.

use std::fs;

use logplex_tests::{Answer, Ended, Program, Shuttle, Sink, wait_for};

/// In every URL and token below.
const SECRET: &str = "hunter2";

/// A port that nobody listens on and no test is given.
const DEAD: &str = "http://u:hunter2@127.0.0.1:1/logs";

/// Runs it on an empty input; its code, and what it says.
#[track_caller]
fn run(args: &[&str], env: &[(&str, &str)]) -> (i32, Vec<String>) {
    let Ended { status, stdout, stderr } = Program::start("log-shuttle", args, env).wait();
    for line in stdout.iter().chain(&stderr) {
        assert!(!line.contains(SECRET), "{args:?} {env:?}: {line}");
        assert!(!line.contains("panicked"), "{args:?}: {line}");
    }
    assert!(stdout.is_empty() || status.success(), "{args:?}: {stdout:?}");
    (status.code().expect("it was not killed"), if stdout.is_empty() { stderr } else { stdout })
}

/// Refused by the reader of the arguments, whose first line is what matters.
#[track_caller]
fn check_usage(args: &[&str], expected: &str) {
    let (code, said) = run(args, &[("LOGS_URL", DEAD)]);
    assert_eq!((code, said[0].as_str()), (2, expected), "{args:?}");
    assert_eq!(said.last().map(String::as_str), Some("For more information, try '--help'."));
}

/// Refused in one line.
#[track_caller]
fn check_refused(args: &[&str], env: &[(&str, &str)], expected: &str) {
    let (code, said) = run(args, env);
    assert_eq!((code, said), (2, vec![format!("log-shuttle: error: {expected}")]), "{args:?} {env:?}");
}

/// Taken, with these words.
#[track_caller]
fn check_taken(args: &[&str], env: &[(&str, &str)], warnings: &[&str]) {
    let warnings =
        warnings.iter().map(|warning| format!("log-shuttle: warning: {warning}")).collect::<Vec<_>>();
    assert_eq!(run(args, env), (0, warnings), "{args:?} {env:?}");
}

#[test]
fn bad_values_are_refused_with_the_form_that_is_accepted() {
    let whole = |flag: &str, value: &str, accepted: &str, from_to: &str| {
        let dashes = [format!("-{flag}={value}"), format!("--{flag}={value}")];
        let expected = format!("error: invalid value '{value}' for '--{flag} <{accepted}>': {from_to}");
        for arg in &dashes {
            check_usage(&[arg], &expected);
        }
        check_usage(&[&format!("-{flag}"), value], &expected);
        check_usage(&[&format!("--{flag}"), value], &expected);
    };
    for value in ["0", "-1", "x", "1.5", "99999999999999999999"] {
        whole("batch-size", value, "LINES", "expected a whole number from 1 to 1000000");
        whole("max-attempts", value, "NUMBER", "expected a whole number of at least 1");
    }
    whole("ring", "0", "LINES", "expected a whole number from 1 to 100000000");
    whole("back-buff", "0", "BATCHES", "expected a whole number from 1 to 1000000");
    whole("max-line-length", "3", "BYTES", "expected a whole number from 4 to 64000");
    whole("max-line-length", "64001", "BYTES", "expected a whole number from 4 to 64000");
    whole("prival", "192", "NUMBER", "expected a whole number from 0 to 191");
    whole("syslog-version", "2", "NUMBER", "expected a whole number from 1 to 1");
    for flag in ["wait", "timeout", "grace", "stats-interval"] {
        for value in ["5", "-5s", "5d", "soon"] {
            let form = "expected a duration such as 250ms, 5s, 1m30s or 0 (units: ns, us, ms, s, m, h)";
            whole(flag, value, "DURATION", form);
        }
    }
}

#[test]
fn booleans_take_their_value_only_behind_an_equals_sign() {
    for flag in ["drop", "gzip", "skip-verify", "tee", "split", "fail-on-loss", "verbose", "skip-headers"] {
        let expected =
            format!("error: invalid value 'maybe' for '--{flag}[=<BOOL>]': expected true or false");
        check_usage(&[&format!("-{flag}=maybe")], &expected);
    }
    let word =
        "error: unexpected argument 'false'; flags begin with a dash, a command to run follows `run --`";
    check_usage(&["-drop", "false"], word);
    for value in ["true", "false", "1", "0", "t", "F"] {
        check_taken(&[&format!("-gzip={value}"), &format!("--drop={value}")], &[("LOGS_URL", DEAD)], &[]);
    }
}

#[test]
fn unknown_words_are_refused_and_the_nearest_is_named() {
    for arg in ["-log-url=http://u:hunter2@h/", "--log-url=http://u:hunter2@h/", "--logs-ur"] {
        let name = arg.trim_start_matches('-').split('=').next().unwrap();
        check_usage(&[arg], &format!("error: unexpected argument '--{name}' found"));
        let (_, said) = run(&[arg], &[]);
        assert!(said.contains(&"  tip: a similar argument exists: '--logs-url'".to_owned()), "{said:?}");
    }
    check_usage(&["-input-format=rfc3164"], "error: invalid value 'rfc3164' for '--input-format <FORMAT>'");
    check_usage(&["-ring"], "error: a value is required for '--ring <LINES>' but none was supplied");
    check_usage(&["run"], "error: the following required arguments were not provided:");
}

#[test]
fn a_url_in_the_wrong_place_is_not_shown() {
    let misplaced = "error: unexpected argument (not shown, it may hold a secret); a URL goes into LOGS_URL or --logs-url=URL";
    let url = "http://u:hunter2@h/";
    for args in [
        &[url][..],
        &["-verbose", url],
        &["u:hunter2@h"],
        &["-http://u:hunter2@h/"],
        &["--logs-url:hunter2@h"],
    ] {
        check_usage(args, misplaced);
    }
    for args in [&["-ring", "-logs-url=http://u:hunter2@h/"][..], &["--ring", url]] {
        check_usage(
            args,
            "error: invalid value '(not shown, it may hold a secret)' for '--ring <LINES>': \
             expected a whole number from 1 to 100000000",
        );
    }
    check_refused(&["-logs-url-file", url], &[], "--logs-url-file takes the path of a file, not a URL");
}

#[test]
fn a_destination_is_needed_and_must_be_one() {
    let missing = "no destination; set LOGS_URL, or give --logs-url=URL or --logs-url-file=PATH";
    check_refused(&[], &[], missing);
    check_refused(&["--logs-url="], &[("LOGS_URL", ""), ("LOGPLEX_URL", "")], missing);
    let form = "not a URL; write it as https://user:password@host:port/path";
    for (url, why) in [
        ("hunter2", format!("{form}: relative URL without a base")),
        ("http://u:hunter2@/", format!("{form}: empty host")),
        ("http://u:hunter2@h:port/", format!("{form}: invalid port number")),
        ("http://u:hunter2@h:70000/", format!("{form}: invalid port number")),
        ("http://u:hunter2@[::1/", format!("{form}: invalid IPv6 address")),
        ("ftp://u:hunter2@h/", "not an http or https URL; begin it with https:// or http://".to_owned()),
        ("u:hunter2@h/", "not an http or https URL; begin it with https:// or http://".to_owned()),
        ("http://u:hunter2@h:0/", "port 0 cannot be connected to; name the port or leave it out".to_owned()),
    ] {
        let expected = |origin: &str| format!("the destination in {origin} cannot be used: {why}");
        check_refused(&["-logs-url", url], &[], &expected("--logs-url"));
        check_refused(&[], &[("LOGS_URL", url)], &expected("LOGS_URL"));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("url");
        fs::write(&file, format!("{url}\n")).unwrap();
        check_refused(&["--logs-url-file", file.to_str().unwrap()], &[], &expected("--logs-url-file"));
    }
    let amazon = "https://AKIA:hunter2@kinesis.us-east-1.amazonaws.com/stream";
    let expected = "the destination in LOGS_URL is Amazon's Kinesis; this program posts to log routers only";
    check_refused(&[], &[("LOGS_URL", amazon)], expected);
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("empty"), " \n").unwrap();
    let (none, empty, directory) = (path("none"), path("empty"), path(""));
    for flag in ["--logs-url-file", "--bearer-token-file"] {
        let check = |path: &str, expected: String| {
            check_refused(&[&format!("{flag}={path}")], &[("LOGS_URL", DEAD)], &expected);
        };
        check(&none, format!("cannot read {flag}={none}: No such file or directory (os error 2)"));
        check(&directory, format!("cannot read {flag}={directory}: Is a directory (os error 21)"));
        check(&empty, format!("{flag}={empty} is empty"));
    }
}

#[test]
fn settings_that_cannot_be_used_name_their_flag() {
    let name = |most: u32| format!("1 to {most} printable ASCII characters without a space");
    for (args, expected) in [
        (
            &["-hostname=a b"][..],
            format!("--hostname=\"a b\" cannot be used: the host name must be {}", name(255)),
        ),
        (&["-procid="], format!("--procid=\"\" cannot be used: the procid must be {}", name(128))),
        (
            &["-appname=hunter2 "],
            format!("--appname=\"…\" cannot be used: the app name must be {}", name(48)),
        ),
        (
            &["-logplex-token=hunter2 "],
            format!("--appname=\"…\" cannot be used: the app name must be {}", name(48)),
        ),
        (&["--split"], "--split needs a command to run: log-shuttle run --split -- COMMAND".to_owned()),
        (
            &["-skip-headers", "-input-format=lprfc5424"],
            "--skip-headers cannot be combined with --input-format=lprfc5424".to_owned(),
        ),
    ] {
        check_refused(args, &[("LOGS_URL", DEAD)], &expected);
    }
    let token = ("LOG_SHUTTLE_BEARER_TOKEN", "hunter2\n");
    check_refused(&[], &[("LOGS_URL", DEAD), token], "the bearer token must be printable ASCII");
}

#[test]
fn the_destination_is_looked_for_in_an_order_and_what_is_passed_over_is_said() {
    let old = ("LOGPLEX_URL", DEAD);
    let deprecated = "LOGPLEX_URL is deprecated; use LOGS_URL";
    check_taken(&[], &[old], &[deprecated]);
    check_taken(&[], &[("LOGS_URL", ""), old], &[deprecated]);
    let both = |used: &str, unused: &str| format!("both {used} and {unused} are set; {used} is used");
    let env = [("LOGS_URL", DEAD), old];
    check_taken(&[], &env, &[deprecated, &both("LOGS_URL", "LOGPLEX_URL")]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("url");
    fs::write(&file, DEAD).unwrap();
    let file = ["--logs-url-file", file.to_str().unwrap()];
    check_taken(&file, &[], &[]);
    check_taken(&file, &env[..1], &[&both("--logs-url-file", "LOGS_URL")]);
    for flag in ["-logs-url", "--logs-url"] {
        let args = [&[flag, DEAD], &file[..]].concat();
        let passed_over =
            ["--logs-url-file", "LOGS_URL", "LOGPLEX_URL"].map(|unused| both("--logs-url", unused));
        let [file, new, old] = &passed_over;
        check_taken(&args, &env, &[deprecated, file, new, old]);
    }
}

#[test]
fn the_destination_that_is_used_is_the_first_of_that_order() {
    let sinks: Vec<Sink> = (0..4).map(|_| Sink::strict()).collect();
    let urls: Vec<String> = sinks.iter().map(|sink| sink.logs_url(SECRET)).collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("url");
    fs::write(&file, &urls[1]).unwrap();
    for first in 0..4 {
        let mut options = Shuttle::options();
        if first == 0 {
            options = options.args(&["-logs-url", &urls[0]]);
        }
        if first <= 1 {
            options = options.args(&["-logs-url-file", file.to_str().unwrap()]);
        }
        if first <= 2 {
            options = options.env("LOGS_URL", &urls[2]);
        }
        let mut shuttle = options.env("LOGPLEX_URL", &urls[3]).start();
        shuttle.write_lines(0, 1);
        assert!(shuttle.finish().success());
        let used: Vec<usize> = sinks.iter().map(|sink| sink.requests().len()).collect();
        assert_eq!(used, (0..4).map(|sink| usize::from(sink <= first)).collect::<Vec<_>>());
    }
}

#[test]
fn flags_without_effect_are_taken_with_a_word() {
    check_taken(
        &["-num-outlets=4", "-front-buff", "1", "-num-batchers=2", "-stats-addr=x", "-kinesis-shards=2"],
        &[("LOGS_URL", DEAD)],
        &[
            "--num-outlets is without effect: one request is under way at a time, so that order is kept",
            "--front-buff is without effect: there is no front buffer",
            "--num-batchers is without effect: there is one reader",
            "--stats-addr is without effect: use --stats-interval",
            "--kinesis-shards is without effect: there is no Kinesis output",
        ],
    );
    check_taken(
        &["-log-to-syslog", "-skip-headers", "-bearer-token", SECRET],
        &[("LOGS_URL", DEAD)],
        &[
            "--skip-headers is deprecated; use --input-format=rfc5424",
            "--log-to-syslog is without effect: diagnostics go to stderr",
            "--bearer-token is visible to all users of this machine; prefer LOG_SHUTTLE_BEARER_TOKEN",
        ],
    );
}

#[test]
fn help_and_version_are_printed_without_a_destination() {
    for (dashes, first) in [("-", "h"), ("--", "help"), ("-", "help")] {
        let (code, said) = run(&[&format!("{dashes}{first}")], &[]);
        assert!(code == 0 && said.iter().any(|line| line.starts_with("Usage: log-shuttle")), "{said:?}");
    }
    for flag in ["-V", "--version", "-version"] {
        assert_eq!(run(&[flag], &[]).1, [concat!("log-shuttle ", env!("CARGO_PKG_VERSION"))]);
    }
}

#[test]
fn nothing_that_is_said_on_the_way_shows_a_secret() {
    let (sink, https) = (Sink::strict(), Sink::strict_https());
    let refusing = Answer::with(401, &[("WWW-Authenticate", "Basic realm=\"hunter2\"")]);
    let redirecting = Answer::with(301, &[("Location", "http://u:hunter2@h/")]);
    sink.answer_next([
        Answer::status(503),
        Answer::Reset,
        Answer::Hang,
        Answer::status(204),
        refusing,
        redirecting,
    ]);
    let nowhere = "http://u:hunter2@no-such-host.invalid/hunter2?hunter2";
    let urls = [DEAD.to_owned(), nowhere.to_owned(), sink.logs_url(SECRET), https.logs_url(SECRET)];
    for url in &urls {
        for token in ["", SECRET] {
            let mut shuttle = Shuttle::options()
                .env("LOGS_URL", url)
                .env("LOG_SHUTTLE_BEARER_TOKEN", token)
                .env("RUST_LOG", "trace")
                .args(&[
                    "-verbose",
                    "-stats-interval=10ms",
                    "-timeout=100ms",
                    "-grace=200ms",
                    "-stats-source=s",
                ])
                .start();
            for line in 0..3 {
                shuttle.write_lines(line, 1);
                wait_for("a line read", || shuttle.ledger().filter(|ledger| ledger.accepted == line + 1));
            }
            assert_eq!(shuttle.finish().code(), Some(0));
            let said = [shuttle.stdout(), shuttle.stderr()].concat();
            assert!(said.iter().any(|line| line.contains("post")), "{said:?}");
            for line in said {
                assert!(!line.contains(SECRET) && line.starts_with("log-shuttle: "), "{line}");
            }
        }
    }
}
