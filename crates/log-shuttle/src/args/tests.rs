//! Help and errors as users see them.

use expect_test::{Expect, expect, expect_file};

use super::*;

fn read(words: &[&str]) -> Result<Args, clap::Error> {
    Args::read(["log-shuttle"].iter().chain(words).map(OsString::from))
}

fn check(words: &[&str], expected: Expect) {
    let error = read(words).expect_err("an error");
    assert_eq!(error.exit_code(), 2);
    expected.assert_eq(&error.to_string());
}

#[test]
fn the_command_is_consistent() {
    command().debug_assert();
}

#[test]
fn help() {
    let help =
        command().term_width(100).try_get_matches_from(["log-shuttle", "--help"]).unwrap_err().to_string();
    expect_file!["help.txt"].assert_eq(&help);
}

#[test]
fn every_flag_of_the_original_is_taken() {
    let args = read(&[
        "-logs-url=http://h/",
        "-input-format=rfc5424",
        "-batch-size=100",
        "-wait=250ms",
        "-back-buff=50",
        "-num-outlets=4",
        "-drop=false",
        "-max-attempts=3",
        "-timeout=5s",
        "-max-line-length=10000",
        "-gzip",
        "-bearer-token=x",
        "-skip-verify=true",
        "-prival=191",
        "-syslog-version=1",
        "-hostname=h",
        "-appname=a",
        "-logplex-token=t.1",
        "-procid=p",
        "-msgid=- -",
        "-kinesis-shards=2",
        "-stats-interval=10s",
        "-stats-source=s",
        "-verbose",
        "-log-to-syslog",
        "-skip-headers",
        "-front-buff=1",
        "-num-batchers=1",
        "-stats-addr=x",
    ]);
    let args = args.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(args.header.appname, "t.1", "the last of two names for one thing wins");
    assert!(!args.queue.drop && args.destination.gzip && args.diagnostics.verbose);
    assert_eq!(args.queue.wait, Duration::from_millis(250));
}

#[test]
fn a_command_is_taken_as_it_is() {
    let args = read(&["run", "-split", "--", "sh", "-c", "echo --tee"]).unwrap();
    assert!(args.input.split && !args.input.tee);
    let Some(Mode::Run { command }) = args.command else { panic!("no command") };
    assert_eq!(command, ["sh", "-c", "echo --tee"]);
}

#[test]
fn bad_values_name_flag_value_and_accepted_form() {
    check(
        &["-batch-size", "-1"],
        expect![[r#"
        error: invalid value '-1' for '--batch-size <LINES>': expected a whole number from 1 to 1000000

        For more information, try '--help'.
    "#]],
    );
    check(
        &["-max-line-length=0"],
        expect![[r#"
        error: invalid value '0' for '--max-line-length <BYTES>': expected a whole number from 4 to 64000

        For more information, try '--help'.
    "#]],
    );
    check(
        &["-prival=local7"],
        expect![[r#"
        error: invalid value 'local7' for '--prival <NUMBER>': expected a whole number from 0 to 191

        For more information, try '--help'.
    "#]],
    );
    check(
        &["-wait=5"],
        expect![[r#"
        error: invalid value '5' for '--wait <DURATION>': expected a duration such as 250ms, 5s, 1m30s or 0 (units: ns, us, ms, s, m, h)

        For more information, try '--help'.
    "#]],
    );
    check(
        &["-drop=maybe"],
        expect![[r#"
        error: invalid value 'maybe' for '--drop[=<BOOL>]': expected true or false

        For more information, try '--help'.
    "#]],
    );
    check(
        &["-max-attempts=0"],
        expect![[r#"
        error: invalid value '0' for '--max-attempts <NUMBER>': expected a whole number of at least 1

        For more information, try '--help'.
    "#]],
    );
    check(
        &["-input-format=rfc3164"],
        expect![[r#"
        error: invalid value 'rfc3164' for '--input-format <FORMAT>'
          [possible values: raw, rfc5424, lprfc5424]

          tip: a similar value exists: 'rfc5424'

        For more information, try '--help'.
    "#]],
    );
    check(
        &["-syslog-version=2"],
        expect![[r#"
        error: invalid value '2' for '--syslog-version <NUMBER>': expected a whole number from 1 to 1

        For more information, try '--help'.
    "#]],
    );
    check(
        &["-log-url=http://u:hunter2@h/"],
        expect![[r#"
        error: unexpected argument '--log-url' found

          tip: a similar argument exists: '--logs-url'

        Usage: log-shuttle --logs-url <URL>

        For more information, try '--help'.
    "#]],
    );
    check(
        &["http://u:hunter2@h/"],
        expect![[r#"
        error: unexpected argument (not shown, it may hold a secret); a URL goes into LOGS_URL or --logs-url=URL

        Usage: log-shuttle [OPTIONS] [COMMAND]

        For more information, try '--help'.
    "#]],
    );
    check(
        &["run"],
        expect![[r#"
        error: the following required arguments were not provided:
          <COMMAND>...

        Usage: log-shuttle run <COMMAND>...

        For more information, try '--help'.
    "#]],
    );
    check(
        &["-wait"],
        expect![[r#"
        error: a value is required for '--wait <DURATION>' but none was supplied

        For more information, try '--help'.
    "#]],
    );
}
