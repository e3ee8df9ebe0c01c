//! `logplex explain`: the catalogue of codes, offline.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Args;
use logplex_core::ErrorCode;
use logplex_core::code::{Entry, PAGES, State};
use serde_json::Value;

use super::table::{facts, table};
use super::{NOT_THERE, print};
use crate::follow::escape;
use crate::http::as_json;

/// How wide a text is set.
const WIDTH: usize = 80;

/// How many names are proposed in place of an unknown one.
const PROPOSALS: usize = 3;

/// How unlike a name may be that is proposed: 1 is equal.
const ALIKE: f64 = 0.7;

/// How long a name may be; what is longer is a line.
const NAME_MAX: usize = 32;

const EXAMPLES: &str = "\
Examples:
  logplex explain                       every code and page
  logplex explain H12
  logplex explain 502                   what a status may stand for
  logplex explain 'heroku[router]: at=error code=H12 desc=\"Request timeout\" …'

Exit codes: 0 explained, 2 wrong usage, 3 no such code, or none in the line.";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ExplainArgs {
    /// Codes, HTTP statuses, or a line from a log; without any, all there is
    #[arg(value_name = "CODE|STATUS|LINE")]
    what: Vec<String>,
    /// Take the first code in a line, also where it is not the platform that says it
    #[arg(long)]
    loose: bool,
    /// Write JSON: a list
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    if args.what.is_empty() {
        let all = Entry::all().collect::<Vec<_>>();
        return show(args, &all, list);
    }
    match find(&args.what, args.loose) {
        Ok(found) => show(args, &found, explain),
        Err(why) => {
            eprintln!("logplex: {why}");
            Ok(ExitCode::from(NOT_THERE))
        }
    }
}

fn show(
    args: &ExplainArgs,
    entries: &[&'static Entry],
    text: impl FnOnce(&[&'static Entry]) -> String,
) -> anyhow::Result<ExitCode> {
    if args.json {
        let entries: Vec<Value> = entries.iter().map(|entry| as_json(entry)).collect();
        print(&format!("{:#}\n", Value::Array(entries)))?;
    } else {
        print(&text(entries))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What is meant by the arguments: each a name or a status, or all of them one line.
fn find(what: &[String], loose: bool) -> Result<Vec<&'static Entry>, String> {
    let each: Option<Vec<Vec<&Entry>>> = what.iter().map(|one| named(one.trim())).collect();
    if let Some(each) = each {
        let mut found: Vec<&Entry> = Vec::new();
        for entry in each.into_iter().flatten() {
            if !found.contains(&entry) {
                found.push(entry);
            }
        }
        return Ok(found);
    }
    let line = what.join(" ");
    let anywhere = ErrorCode::from_words(&line);
    let found = if loose { anywhere } else { ErrorCode::from_line(&line) };
    match (found, anywhere) {
        (Some(code), _) => Ok(vec![code.entry()]),
        (None, Some(code)) => Err(format!(
            "the line holds {code}, but it is not the platform that says so; `logplex explain {code}` or --loose \
             explains it all the same"
        )),
        (None, None) => Err(unknown(&line)),
    }
}

/// The entry with this name, or those with this status: what stands for nothing else first.
fn named(name: &str) -> Option<Vec<&'static Entry>> {
    if let Some(entry) = Entry::find(name) {
        return Some(vec![entry]);
    }
    let status: u16 = name.parse().ok()?;
    let has = |entry: &&'static Entry| entry.statuses.contains(&status);
    let codes = ErrorCode::ALL.iter().map(|code| code.entry());
    let found: Vec<&Entry> = PAGES.iter().filter(has).chain(codes.filter(has)).collect();
    (!found.is_empty()).then_some(found)
}

/// Why there is nothing to explain, with the names that are most like what was asked for.
fn unknown(asked: &str) -> String {
    let mut shown = String::new();
    escape(asked, &mut shown);
    if asked.contains(char::is_whitespace) || asked.len() > NAME_MAX {
        return "there is no code in that line; `logplex explain` lists those there are".to_owned();
    }
    let nearest = nearest(asked);
    if nearest.is_empty() {
        return format!("{shown} is not known; `logplex explain` lists what is");
    }
    format!("{shown} is not known; the nearest: {}", nearest.join(", "))
}

/// The names most like this one, the likeliest first. Codes of one letter are near by number, statuses too.
fn nearest(asked: &str) -> Vec<String> {
    let number = |name: &str| name.get(1..).and_then(|digits| digits.parse::<u16>().ok());
    let letter = |name: &str| name.chars().next().map(|first| first.to_ascii_uppercase());
    let mut names: Vec<String> = Entry::all().map(|entry| entry.name.to_owned()).collect();
    if let Ok(wanted) = asked.parse::<u16>() {
        let mut known: Vec<u16> = Entry::all().flat_map(|entry| entry.statuses).copied().collect();
        known.sort_unstable();
        known.dedup();
        known.sort_by_key(|status| status.abs_diff(wanted));
        names = known.iter().map(u16::to_string).collect();
    } else if let Some(wanted) = number(asked).filter(|_| matches!(letter(asked), Some('H' | 'L' | 'R'))) {
        names.retain(|name| letter(name) == letter(asked) && number(name).is_some());
        names.sort_by_key(|name| number(name).map(|number| number.abs_diff(wanted)));
    } else {
        let asked = asked.to_lowercase();
        let likeness = |name: &str| strsim::jaro_winkler(&name.to_lowercase(), &asked);
        names.retain(|name| likeness(name) >= ALIKE);
        names.sort_by(|one, other| likeness(other).total_cmp(&likeness(one)));
    }
    names.truncate(PROPOSALS);
    names
}

/// All entries under the headings of their families.
fn list(entries: &[&'static Entry]) -> String {
    const FAMILIES: [(&str, char); 3] =
        [("Requests (router)", 'H'), ("Processes (runtime)", 'R'), ("Logs", 'L')];
    let mut text = String::new();
    let mut add = |heading: &str, entries: Vec<&&Entry>| {
        let rows: Vec<Vec<String>> = entries.into_iter().map(|entry| row(entry)).collect();
        text.push_str(&format!("{heading}\n{}\n", table(&["CODE", "SEVERITY", "STATUS", "TITLE"], &rows)));
    };
    let is_code = |entry: &&&Entry| ErrorCode::from_name(entry.name.as_bytes()).is_some();
    for (heading, letter) in FAMILIES {
        add(heading, entries.iter().filter(is_code).filter(|entry| entry.name.starts_with(letter)).collect());
    }
    add("Pages and deployments", entries.iter().filter(|entry| !is_code(entry)).collect());
    text + "`logplex explain CODE` tells more.\n"
}

fn row(entry: &Entry) -> Vec<String> {
    let title = match entry.state {
        State::Present => entry.title.to_owned(),
        gone => format!("{} ({})", entry.title, gone.as_str()),
    };
    vec![entry.name.to_owned(), entry.severity.as_str().to_owned(), statuses(entry), title]
}

fn statuses(entry: &Entry) -> String {
    entry.statuses.iter().map(u16::to_string).collect::<Vec<_>>().join(" ")
}

/// Entries in full; of many, the codes among them by a row each.
fn explain(entries: &[&'static Entry]) -> String {
    /// So many are read at once.
    const FULL: usize = 5;
    let (full, short): (Vec<_>, Vec<_>) = entries
        .iter()
        .partition(|entry| entries.len() <= FULL || ErrorCode::from_name(entry.name.as_bytes()).is_none());
    let mut parts: Vec<String> = full.into_iter().map(explain_one).collect();
    if !short.is_empty() {
        let rows: Vec<Vec<String>> = short.into_iter().map(row).collect();
        let table = table(&["CODE", "SEVERITY", "STATUS", "TITLE"], &rows);
        parts.push(format!("Codes that may stand behind it; `logplex explain CODE` tells more\n\n{table}"));
    }
    parts.join("\n\n")
}

fn explain_one(entry: &Entry) -> String {
    let bold = |text: &str| match std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        true => format!("\x1b[1m{text}\x1b[0m"),
        false => text.to_owned(),
    };
    let state = match entry.state {
        State::Present => String::new(),
        State::Retired => "retired: no longer written".to_owned(),
        _ => "legacy: only old logs have it".to_owned(),
    };
    let facts = facts(&[
        ("severity", entry.severity.as_str().to_owned()),
        ("fault", entry.fault.as_str().to_owned()),
        ("status", statuses(entry)),
        ("state", state),
    ]);
    let checks: String =
        entry.checks.iter().enumerate().map(|(at, check)| wrap(check, &format!("{}. ", at + 1))).collect();
    format!(
        "{}\n{facts}\n{}\nWhat to do\n{checks}\nEvidence\n   {}\n\nExample\n   {}\n",
        bold(&format!("{}  {}", entry.name, entry.title)),
        wrap(entry.meaning, ""),
        entry.tail,
        entry.example,
    )
}

/// Sets a text in lines of at most [`WIDTH`] characters behind `mark`; what follows is indented as far.
fn wrap(text: &str, mark: &str) -> String {
    let mut set = String::from(mark);
    let mut width = mark.len();
    let mut is_first = true;
    for word in text.split(' ') {
        let length = word.chars().count();
        if !is_first && width + 1 + length > WIDTH {
            set.push('\n');
            set.push_str(&" ".repeat(mark.len()));
            width = mark.len();
        } else if !is_first {
            set.push(' ');
            width += 1;
        }
        set.push_str(word);
        width += length;
        is_first = false;
    }
    set + "\n"
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn every_tail_command_of_the_catalogue_is_one() {
        for entry in Entry::all() {
            let parsed = Cli::try_parse_from(entry.tail.split(' '));
            assert!(parsed.is_ok(), "{}: {}", entry.name, entry.tail);
        }
    }

    #[test]
    fn the_nearest_names_are_those_of_the_same_letter_or_spelt_alike() {
        assert_eq!(nearest("H29"), ["H28", "H27", "H31"]);
        assert_eq!(nearest("r18"), ["R17", "R16", "R15"]);
        assert_eq!(nearest("l9"), ["L10", "L11", "L12"]);
        assert_eq!(nearest("prot")[0], "port");
        assert_eq!(nearest("boottimeout")[0], "boot-timeout");
        assert_eq!(nearest("505"), ["504", "503", "502"]);
        assert_eq!(nearest("zzz"), [""; 0]);
    }

    #[test]
    fn a_text_is_set_in_lines_behind_its_mark() {
        let text = "word ".repeat(30);
        let set = wrap(text.trim(), "1. ");
        let lines: Vec<&str> = set.lines().collect();
        assert!(lines[0].starts_with("1. word") && lines[1].starts_with("   word"), "{set}");
        assert!(lines.iter().all(|line| line.len() <= WIDTH) && lines.len() == 2, "{set}");
        assert_eq!(wrap(&"x".repeat(200), ""), "x".repeat(200) + "\n");
    }
}
