//! Where the settings of `logplex serve` come from: a flag, else the environment, else a file, else the default.
//!
//! A setting has one name in all of them: `--data-dir`, `LOGPLEX_DATA_DIR`, `data-dir = "…"`. What the file says
//! becomes the default of the flag, so there is one list of settings, the command line's, and one check of values.

use std::any::TypeId;
use std::fmt::Write;
use std::num::{NonZeroU32, NonZeroUsize};
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches};
use toml::de::{DeTable, DeValue};

use crate::cli::{API_KEY_VARIABLE, Cli};

/// The commands that have these settings.
const COMMANDS: [&str; 2] = ["serve", "check-config"];

/// The setting that names the file, and so cannot be in it.
const FILE_SETTING: &str = "config";

/// The file that holds the API key; the variable with the key itself goes over a file's word for it.
const KEY_FILE_SETTING: &str = "api-key-file";

/// How similar a name must be to be proposed, of 1.
const SIMILAR: f64 = 0.7;

/// Every setting in force, and where it comes from.
#[derive(Debug, Default)]
pub(crate) struct Settings(Vec<Setting>);

#[derive(Debug)]
struct Setting {
    name: String,
    /// As TOML; `None` if it is not set.
    value: Option<String>,
    /// Where from.
    source: String,
}

/// Reads the command line, and the file that it or the environment names. Ends the process where clap does.
///
/// # Errors
/// When the file cannot be read, or holds what is no setting: the error names file, line and key.
pub(crate) fn command_line() -> anyhow::Result<(Cli, Settings)> {
    let mut command = Cli::command();
    let mut matches = command.get_matches_mut();
    let mut settings = Settings::default();
    if let Some((name, given)) = matches.subcommand()
        && COMMANDS.contains(&name)
        && let Some(own) = command.find_subcommand(name)
    {
        let name = name.to_owned();
        let path = given.get_one::<PathBuf>(FILE_SETTING);
        let file = path.map(|path| File::read(path, own)).transpose()?;
        if let Some(file) = &file {
            command = Cli::command().mut_subcommand(&name, |own| file.apply(own));
            matches = command.get_matches_mut();
        }
        if let (Some(given), Some(own)) = (matches.subcommand_matches(&name), command.find_subcommand(&name))
        {
            settings = Settings::gather(own, given, file.as_ref());
        }
    }
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    Ok((cli, settings))
}

impl Settings {
    fn gather(command: &Command, given: &ArgMatches, file: Option<&File>) -> Settings {
        let mut settings = Vec::new();
        for (name, arg) in settings_of(command) {
            let id = arg.get_id().as_str();
            let line = file.and_then(|file| file.line_of(name));
            let source = match (given.value_source(id), line, file) {
                (Some(ValueSource::CommandLine), ..) => "flag".to_owned(),
                (Some(ValueSource::EnvVariable), ..) => {
                    let variable = arg.get_env().unwrap_or_default();
                    format!("environment {}", variable.to_string_lossy())
                }
                (_, Some(line), Some(file)) => format!("file {}, line {line}", file.path.display()),
                _ => "default".to_owned(),
            };
            let kind = Kind::of(arg);
            let value = match kind {
                // In a variable it may be `1` or `yes`, too.
                Kind::Bool => given.get_one::<bool>(id).map(bool::to_string),
                _ => given
                    .get_raw(id)
                    .map(|values| {
                        values.map(|value| value.to_string_lossy().into_owned()).collect::<Vec<_>>()
                    })
                    .filter(|values| !values.is_empty())
                    .map(|values| kind.show(&values)),
            };
            settings.push(Setting { name: name.to_owned(), value, source });
        }
        Settings(settings)
    }

    /// As a file that has the same effect, each setting with where it comes from. Holds no secret: those are in
    /// files of their own, or in a variable that is only named.
    pub(crate) fn show(&self) -> String {
        let mut text = String::new();
        for Setting { name, value, source } in &self.0 {
            // Writing to a string does not fail.
            _ = match value {
                Some(value) => writeln!(text, "{name} = {value}  # {source}"),
                None => writeln!(text, "# {name} is not set"),
            };
        }
        if std::env::var_os(API_KEY_VARIABLE).is_some() {
            _ = writeln!(text, "# the API key is in {API_KEY_VARIABLE}");
        }
        text
    }
}

/// The settings of a command that a file may hold.
fn settings_of(command: &Command) -> impl Iterator<Item = (&str, &Arg)> {
    let named = command.get_arguments().filter_map(|arg| Some((arg.get_long()?, arg)));
    named.filter(|(name, arg)| *name != FILE_SETTING && arg.get_action().takes_values())
}

/// What a setting's value is in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bool,
    Number,
    Text,
    Texts,
}

impl Kind {
    fn of(arg: &Arg) -> Kind {
        let parsed = arg.get_value_parser().type_id();
        let numbers = [
            TypeId::of::<u16>(),
            TypeId::of::<u32>(),
            TypeId::of::<NonZeroU32>(),
            TypeId::of::<NonZeroUsize>(),
        ];
        if matches!(arg.get_action(), ArgAction::Append) {
            Kind::Texts
        } else if parsed == TypeId::of::<bool>() {
            Kind::Bool
        } else if numbers.iter().any(|number| parsed == *number) {
            Kind::Number
        } else {
            Kind::Text
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Kind::Bool => "true or false",
            Kind::Number => "a whole number",
            Kind::Text => "a text in quotes",
            Kind::Texts => "a list of texts in quotes",
        }
    }

    /// The values as the command line would have them, each with its place; `None` if they are not of this kind.
    fn read(self, value: &DeValue<'_>, at: Range<usize>) -> Option<Vec<(String, Range<usize>)>> {
        let one = |text: String| Some(vec![(text, at)]);
        match (self, value) {
            (Kind::Bool, DeValue::Boolean(value)) => one(value.to_string()),
            (Kind::Number, DeValue::Integer(number)) if number.radix() == 10 => {
                one(number.as_str().to_owned())
            }
            (Kind::Text | Kind::Texts, DeValue::String(text)) => one(text.clone().into_owned()),
            (Kind::Texts, DeValue::Array(items)) => {
                items.iter().map(|item| Some((item.get_ref().as_str()?.to_owned(), item.span()))).collect()
            }
            _ => None,
        }
    }

    fn show(self, values: &[String]) -> String {
        // JSON's quotes and escapes are TOML's too.
        let quoted = |text: &String| serde_json::Value::from(text.as_str()).to_string();
        match self {
            Kind::Bool | Kind::Number => values.join(" "),
            Kind::Text => values.iter().map(quoted).collect(),
            Kind::Texts => format!("[{}]", values.iter().map(quoted).collect::<Vec<_>>().join(", ")),
        }
    }
}

/// A file with settings, checked.
#[derive(Debug)]
struct File {
    path: PathBuf,
    settings: Vec<Given>,
}

#[derive(Debug)]
struct Given {
    name: String,
    values: Vec<String>,
    line: usize,
}

impl File {
    fn read(path: &Path, command: &Command) -> anyhow::Result<File> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let settings = parse(&text, &path.display().to_string(), command)?;
        Ok(File { path: path.to_owned(), settings })
    }

    /// The command with what the file says as its defaults.
    fn apply(&self, command: Command) -> Command {
        let key_is_given = std::env::var_os(API_KEY_VARIABLE).is_some();
        command.mut_args(|arg| {
            let named = |given: &&Given| Some(given.name.as_str()) == arg.get_long();
            match self.settings.iter().find(named) {
                Some(given) if !(key_is_given && given.name == KEY_FILE_SETTING) => {
                    arg.default_values(&given.values)
                }
                _ => arg,
            }
        })
    }

    fn line_of(&self, name: &str) -> Option<usize> {
        self.settings.iter().find(|given| given.name == name).map(|given| given.line)
    }
}

/// Reads a file's text; `path` is for errors.
fn parse(text: &str, path: &str, command: &Command) -> anyhow::Result<Vec<Given>> {
    let line = |at: usize| 1 + text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count();
    let table = match DeTable::parse(text) {
        Ok(table) => table.into_inner(),
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start.min(text.len()));
            bail!("{path}, line {}: {}", line(at), error.message());
        }
    };
    let mut settings = Vec::new();
    for (key, value) in &table {
        let name = key.get_ref().as_ref();
        let place = format!("{path}, line {}", line(key.span().start));
        let Some((name, arg)) = settings_of(command).find(|(setting, _)| *setting == name) else {
            bail!("{place}: {name} is not a setting; {}", proposal(name, command));
        };
        let kind = Kind::of(arg);
        let Some(values) = kind.read(value.get_ref(), value.span()) else {
            bail!("{place}: {name} must be {}", kind.expected());
        };
        for (value, at) in &values {
            check(arg, value)
                .with_context(|| format!("{path}, line {}: {name} cannot be {value:?}", line(at.start)))?;
        }
        settings.push(Given {
            name: name.to_owned(),
            values: values.into_iter().map(|(value, _)| value).collect(),
            line: line(key.span().start),
        });
    }
    Ok(settings)
}

/// Has the command line's own parser check a value.
fn check(arg: &Arg, value: &str) -> anyhow::Result<()> {
    let name = arg.get_long().unwrap_or_default();
    // What the environment says of it is not looked at: that may be wrong too.
    let alone = Command::new(name.to_owned()).arg(arg.clone().env(clap::builder::Resettable::Reset));
    let Err(error) = alone.try_get_matches_from([name, &format!("--{name}={value}")]) else { return Ok(()) };
    match std::error::Error::source(&error) {
        Some(cause) => bail!("{cause}"),
        None => bail!("it is not usable"),
    }
}

/// The nearest name, or all of them.
fn proposal(name: &str, command: &Command) -> String {
    let names: Vec<&str> = settings_of(command).map(|(name, _)| name).collect();
    let nearest =
        names.iter().map(|&other| (strsim::jaro(name, other), other)).max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((likeness, other)) if likeness > SIMILAR => format!("did you mean {other}?"),
        _ => format!("there are {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> anyhow::Result<Vec<Given>> {
        let mut command = Cli::command();
        command.build();
        parse(text, "x.toml", command.find_subcommand("serve").expect("a command"))
    }

    #[track_caller]
    fn refuses(text: &str, expected: &str) {
        let error = read(text).expect_err("it must be refused");
        assert_eq!(format!("{error:#}"), expected, "{text}");
    }

    #[test]
    fn every_kind_of_value_is_read() {
        let text = "listen = '[::1]:0'\ngrace = 5\nallow-private-drains = true\n\
                    syslog-listen = [\n  '127.0.0.1:1',\n  '127.0.0.1:2,token-file=/a/b',\n]\n";
        let given = read(text).unwrap();
        let seen = |name: &str| {
            let given = given.iter().find(|given| given.name == name).expect("it is in the file");
            (given.values.join("|"), given.line)
        };
        assert_eq!(seen("listen"), ("[::1]:0".to_owned(), 1));
        assert_eq!(seen("grace"), ("5".to_owned(), 2));
        assert_eq!(seen("allow-private-drains"), ("true".to_owned(), 3));
        assert_eq!(seen("syslog-listen"), ("127.0.0.1:1|127.0.0.1:2,token-file=/a/b".to_owned(), 4));
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_name() {
        refuses("\nlisen = 'x'", "x.toml, line 2: lisen is not a setting; did you mean listen?");
        refuses(
            "syslog_listen = []",
            "x.toml, line 1: syslog_listen is not a setting; did you mean syslog-listen?",
        );
        let error = read("zzz = 1").expect_err("it must be refused").to_string();
        assert!(error.contains("there are listen, data-dir, "), "{error}");
        assert!(read("config = 'other.toml'").is_err());
        assert!(read("[serve]\ngrace = 5").is_err());
    }

    #[test]
    fn a_wrong_value_is_refused_with_key_and_line() {
        refuses("grace = '5'", "x.toml, line 1: grace must be a whole number");
        refuses("\n\nallow-private-drains = 1", "x.toml, line 3: allow-private-drains must be true or false");
        refuses("data-dir = 5", "x.toml, line 1: data-dir must be a text in quotes");
        refuses("syslog-listen = [1]", "x.toml, line 1: syslog-listen must be a list of texts in quotes");
        refuses(
            "listen = 'here'",
            "x.toml, line 1: listen cannot be \"here\": invalid socket address syntax",
        );
        refuses("grace = 70000", "x.toml, line 1: grace cannot be \"70000\": 70000 is not in 0..=65535");
        let error = read("\nsyslog-listen = ['127.0.0.1:1',\n 'there']").expect_err("it must be refused");
        assert!(
            error.to_string().starts_with("x.toml, line 3: syslog-listen cannot be \"there\""),
            "{error}"
        );
        let error = read("grace = \n").expect_err("it must be refused").to_string();
        assert!(error.starts_with("x.toml, line 1: "), "{error}");
    }
}
