//! Go's way of writing flags, brought into clap's.

use std::ffi::OsString;

use clap::{Arg, Command};

/// An argument that cannot be placed. It is not repeated where it may hold a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Misplaced {
    #[error(
        "unexpected argument (not shown, it may hold a secret); a URL goes into LOGS_URL or --logs-url=URL"
    )]
    Url,
    #[error("unexpected argument '{0}'; flags begin with a dash, a command to run follows `run --`")]
    Word(String),
    #[error("an argument is not UTF-8")]
    NotText,
}

/// Brings arguments into the one form that clap reads: `--name=value`, all of them ahead of `run -- COMMAND`.
///
/// Go's rules: one dash or two; the word after a flag is its value whatever it looks like; booleans take
/// their value only after `=`.
pub(crate) fn normalise(
    known: &Command,
    argv: impl IntoIterator<Item = OsString>,
) -> Result<Vec<OsString>, Misplaced> {
    let find = |name: &str| known.get_arguments().find(|arg| has_name(arg, name));
    let mut argv = argv.into_iter();
    let mut flags: Vec<OsString> = argv.next().into_iter().collect();
    let mut run: Option<Vec<OsString>> = None;
    while let Some(word) = argv.next() {
        let Some(text) = word.to_str() else {
            match &mut run {
                Some(command) => {
                    command.push(word);
                    command.extend(argv);
                    break;
                }
                None => return Err(Misplaced::NotText),
            }
        };
        let is_flag = text.len() > 1 && text.starts_with('-');
        match (&mut run, is_flag) {
            (Some(command), _) if text == "--" => {
                command.extend(argv);
                break;
            }
            (Some(command), false) => {
                command.push(word);
                command.extend(argv);
                break;
            }
            (None, false) if text == "run" => run = Some(Vec::new()),
            (None, false) if may_be_url(text) => return Err(Misplaced::Url),
            (None, false) => return Err(Misplaced::Word(text.escape_debug().to_string())),
            (None, true) if text == "--" => {}
            (_, true) => {
                let bare = text.trim_start_matches('-');
                let (name, value) = match bare.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (bare, None),
                };
                if may_be_url(name) {
                    return Err(Misplaced::Url);
                }
                let value = match (find(name), value) {
                    // Only the name: the value of a misspelt --logs-url would be printed.
                    (None, _) => None,
                    (Some(arg), None) if !takes_bool(arg) => match argv.next() {
                        None => None,
                        Some(value) => Some(value.into_string().map_err(|_| Misplaced::NotText)?),
                    },
                    (Some(_), value) => value,
                };
                let name = match name {
                    "h" => "help",
                    "V" => "version",
                    name => name,
                };
                flags.push(match value {
                    Some(value) => format!("--{name}={value}").into(),
                    None => format!("--{name}").into(),
                });
            }
        }
    }
    if let Some(command) = run {
        flags.push("run".into());
        if !command.is_empty() {
            flags.push("--".into());
            flags.extend(command);
        }
    }
    Ok(flags)
}

/// Whether a text may hold a URL's password.
pub(crate) fn may_be_url(text: &str) -> bool {
    text.contains("://") || text.contains('@')
}

fn has_name(arg: &Arg, name: &str) -> bool {
    arg.get_long() == Some(name) || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&name))
}

/// Whether a flag's value is a boolean; those flags are named so in the help.
pub(crate) fn takes_bool(arg: &Arg) -> bool {
    arg.get_value_names().is_some_and(|names| names.iter().any(|name| name == "BOOL"))
}

#[cfg(test)]
mod tests;
