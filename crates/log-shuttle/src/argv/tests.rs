//! From Go's flags to clap's.

use super::*;
use crate::args;

/// The normalised words after the program's name, or the error.
fn check(words: &[&str]) -> String {
    let argv = ["log-shuttle"].iter().chain(words).map(OsString::from);
    match normalise(&args::command(), argv) {
        Ok(words) => {
            let words: Vec<_> = words[1..].iter().map(|word| word.to_string_lossy()).collect();
            words.join(" | ")
        }
        Err(error) => format!("error: {error}"),
    }
}

#[test]
fn flags_are_read_as_go_reads_them() {
    let table: &[(&[&str], &str)] = &[
        (&["-logs-url=http://h/", "-drop=false"], "--logs-url=http://h/ | --drop=false"),
        (&["--logs-url", "http://h/", "-gzip"], "--logs-url=http://h/ | --gzip"),
        (&["-batch-size", "-1"], "--batch-size=-1"),
        (&["-msgid", "- -", "-appname", "-gzip"], "--msgid=- - | --appname=-gzip"),
        (&["-logplex-token=t.1"], "--logplex-token=t.1"),
        (&["-wait"], "--wait"),
        (&["-version"], "--version"),
        (&["-h"], "--help"),
        // The value of an unknown flag may be a secret.
        (&["-log-url=http://u:hunter2@h/"], "--log-url"),
        (&["run", "app", "-gzip", "--", "x"], "run | -- | app | -gzip | -- | x"),
        (
            &["-gzip", "run", "-split", "-procid", "web.1", "--", "app"],
            "--gzip | --split | --procid=web.1 | run | -- | app",
        ),
        (&["run", "--", "run", "--help"], "run | -- | run | --help"),
        (&["run", "--help"], "--help | run"),
        (&["run"], "run"),
    ];
    for (words, expected) in table {
        assert_eq!(check(words), *expected, "{words:?}");
    }
}

#[test]
fn a_stray_word_is_an_error_that_shows_no_url() {
    let url = check(&["http://token:hunter2@h/"]);
    assert!(url.starts_with("error: unexpected argument (not shown") && !url.contains("hunter2"), "{url}");
    let bool_value = check(&["-drop", "false"]);
    assert!(bool_value.starts_with("error: unexpected argument 'false'"), "{bool_value}");
}
