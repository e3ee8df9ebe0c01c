//! A sample as a page: a line with the totals, and a table that fits.

use anyhow::Context;
use serde::Deserialize;
use serde_json::Value;

use crate::command::counted;
use crate::follow::escape;

const HEADINGS: [&str; 9] =
    ["CHANNEL", "IN/S", "OUT/S", "DROPPED", "LOST", "HELD", "DRAINS", "TAILS", "CODES"];

/// The numbers among the columns.
const NUMBERS: std::ops::Range<usize> = 1..8;

/// What stands between two columns.
const GAP: &str = "  ";

/// The least room for the name of a channel, and for its codes, if there are any.
const NAME_MIN: usize = 12;
const CODES_MIN: usize = 9;

/// The totals, the headings and a last line that stays free for trouble.
const OTHER_LINES: usize = 3;

/// How many channels a page of so many lines has room for.
pub(super) fn rows_in(lines: usize) -> usize {
    lines.saturating_sub(OTHER_LINES).max(1)
}

/// What the server answered.
#[derive(Debug, Deserialize)]
pub(super) struct Sample {
    at: String,
    total: Total,
    channels: Vec<Channel>,
}

#[derive(Debug, Deserialize)]
struct Total {
    channels: u64,
    #[serde(flatten)]
    figures: Figures,
}

#[derive(Debug, Deserialize)]
struct Channel {
    channel: String,
    codes: Vec<Code>,
    #[serde(flatten)]
    figures: Figures,
}

#[derive(Debug, Deserialize)]
struct Figures {
    in_per_second: f64,
    out_per_second: f64,
    dropped: u64,
    lost: u64,
    held: u64,
    drains: u64,
    tails: u64,
}

#[derive(Debug, Deserialize)]
struct Code {
    code: String,
    count: u64,
}

impl Sample {
    pub(super) fn of(answer: &Value) -> anyhow::Result<Sample> {
        Sample::deserialize(answer).context("it is no sample of channels")
    }
}

/// Where a sample is shown.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Page<'a> {
    /// The width and height; all that is needed if absent.
    pub(super) columns: Option<usize>,
    pub(super) lines: Option<usize>,
    pub(super) colour: bool,
    /// Why there is no newer sample.
    pub(super) trouble: Option<&'a str>,
}

impl Page<'_> {
    /// The page's lines, each with its end.
    pub(super) fn render(&self, sample: &Sample) -> String {
        let shown = self.lines.map_or(usize::MAX, rows_in).min(sample.channels.len());
        let rows: Vec<Vec<String>> = sample.channels[..shown].iter().map(cells).collect();
        let mut text = String::new();
        self.line(&mut text, &totals(sample, shown), "");
        let [name, codes] = self.widths(&rows);
        let headings = HEADINGS.map(str::to_owned).to_vec();
        let widths: Vec<usize> = (0..HEADINGS.len())
            .map(|at| match at {
                0 => name,
                at if NUMBERS.contains(&at) => widest(&headings, &rows, at),
                _ => codes,
            })
            .collect();
        for (row, style) in std::iter::once((&headings, "\x1b[1m")).chain(rows.iter().map(|row| (row, ""))) {
            let mut line = String::new();
            for (at, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                let cell = shortened(cell, width);
                let blanks = " ".repeat(width - cell.chars().count());
                line.push_str(if at > 0 { GAP } else { "" });
                line.push_str(&if NUMBERS.contains(&at) { blanks + &cell } else { cell + &blanks });
            }
            self.line(&mut text, &line, style);
        }
        if let Some(trouble) = self.trouble {
            self.line(&mut text, trouble, "\x1b[2m");
        }
        // On a terminal the cursor rests behind the last line, or the page would be scrolled by one.
        if self.lines.is_some() {
            text.pop();
        }
        text
    }

    /// How wide the columns of names and of codes are, so that all of them fit.
    fn widths(&self, rows: &[Vec<String>]) -> [usize; 2] {
        let headings = HEADINGS.map(str::to_owned);
        let [names, codes] = [0, HEADINGS.len() - 1].map(|at| widest(&headings, rows, at));
        let Some(columns) = self.columns else { return [names, codes] };
        let numbers: usize = NUMBERS.map(|at| widest(&headings, rows, at) + GAP.len()).sum();
        let room = columns.saturating_sub(numbers + GAP.len());
        let name = names.min(room.saturating_sub(codes.min(CODES_MIN)).max(NAME_MIN));
        [name, codes.min(room.saturating_sub(name))]
    }

    /// Adds a line, cut to the page's width.
    fn line(&self, text: &mut String, line: &str, style: &str) {
        let line = shortened(line.trim_end(), self.columns.unwrap_or(usize::MAX));
        match self.colour && !style.is_empty() {
            true => *text += &format!("{style}{line}\x1b[0m\n"),
            false => *text += &format!("{line}\n"),
        }
    }
}

fn widest(headings: &[String], rows: &[Vec<String>], at: usize) -> usize {
    let cells = rows.iter().map(|row| &row[at]).chain([&headings[at]]);
    cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
}

/// A text in at most `width` characters; what does not fit is said by the last of them.
fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain((width > 0).then_some('…')).collect()
}

fn totals(sample: &Sample, shown: usize) -> String {
    let Total { channels, figures } = &sample.total;
    let mut at = String::new();
    escape(sample.at.get(..19).unwrap_or_default(), &mut at);
    let of = if *channels == shown as u64 { String::new() } else { format!("{shown} of ") };
    format!(
        "{at}Z  {of}{}: {} in/s, {} out/s, {} dropped, {} lost, {} held, {}, {}",
        counted(*channels as usize, "channel"),
        rate(figures.in_per_second),
        rate(figures.out_per_second),
        figures.dropped,
        figures.lost,
        figures.held,
        counted(figures.drains as usize, "drain"),
        counted(figures.tails as usize, "tail"),
    )
}

fn cells(channel: &Channel) -> Vec<String> {
    let Channel { channel, codes, figures } = channel;
    let (mut name, mut named) = (String::new(), String::new());
    escape(channel, &mut name);
    for Code { code, count } in codes {
        named.push_str(if named.is_empty() { "" } else { " " });
        escape(code, &mut named);
        named.push_str(&format!("\u{d7}{count}"));
    }
    let numbers = [figures.dropped, figures.lost, figures.held, figures.drains, figures.tails];
    let mut cells = vec![name, rate(figures.in_per_second), rate(figures.out_per_second)];
    cells.extend(numbers.iter().map(u64::to_string));
    cells.push(named);
    cells
}

/// Messages a second; small rates with a tenth.
fn rate(rate: f64) -> String {
    if rate > 0.0 && rate < 9.95 { format!("{rate:.1}") } else { format!("{rate:.0}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample(names: &[&str], channels: u64) -> Sample {
        let figures = json!({
            "in_per_second": 120.04, "out_per_second": 3.25, "dropped": 7, "lost": 0, "held": 12345, "drains": 2,
            "tails": 1,
        });
        let with = |more: Value| {
            let (mut all, more) = (figures.clone(), more.as_object().unwrap().clone());
            all.as_object_mut().unwrap().extend(more);
            all
        };
        let codes = json!([{ "code": "H12", "count": 31 }, { "code": "R14", "count": 2 }]);
        let rows = names.iter().map(|name| with(json!({ "channel": name, "codes": codes })));
        Sample::of(&json!({
            "at": "2026-01-02T03:04:05.678Z",
            "seconds": 2.0,
            "total": with(json!({ "channels": channels })),
            "channels": rows.collect::<Value>(),
        }))
        .unwrap()
    }

    #[test]
    fn a_page_has_totals_and_a_table() {
        let expected = "\
2026-01-02T03:04:05Z  2 of 9 channels: 120 in/s, 3.2 out/s, 7 dropped, 0 lost, 12345 held, 2 drains, 1 tail
CHANNEL  IN/S  OUT/S  DROPPED  LOST   HELD  DRAINS  TAILS  CODES
shop      120    3.2        7     0  12345       2      1  H12×31 R14×2
a\\x1b[m   120    3.2        7     0  12345       2      1  H12×31 R14×2
";
        assert_eq!(Page::default().render(&sample(&["shop", "a\x1b[m"], 9)), expected);
        let none = Page::default().render(&sample(&[], 0));
        assert!(
            none.starts_with("2026-01-02T03:04:05Z  0 channels: ") && none.lines().count() == 2,
            "{none}"
        );
    }

    #[test]
    fn a_page_fits_its_terminal() {
        let long = "a-name-that-is-much-too-long-for-a-terminal";
        let sample = sample(&[long, "b", "c", "d"], 4);
        for columns in [1, 20, 60, 80, 100, 300] {
            for lines in [1, 4, 6, 30] {
                let trouble = Some("logplex: cannot reach the server; asking again");
                let page = Page { columns: Some(columns), lines: Some(lines), colour: false, trouble };
                let text = page.render(&sample);
                assert!(text.lines().all(|line| line.chars().count() <= columns), "{columns}: {text}");
                assert!(text.lines().count() <= lines.max(4), "{lines}: {text}");
            }
        }
        let wide = Page { columns: Some(80), lines: Some(24), ..Page::default() }.render(&sample);
        let row = wide.lines().nth(2).unwrap();
        assert!(
            row.starts_with("a-name-that-is-") && row.contains("…  ") && row.contains("  H12×"),
            "{wide}"
        );
    }

    #[test]
    fn colours_are_for_who_wants_them() {
        let page = Page { colour: true, trouble: Some("gone"), ..Page::default() };
        let text = page.render(&sample(&["shop"], 1));
        assert!(text.contains("\x1b[1mCHANNEL") && text.ends_with("\x1b[2mgone\x1b[0m\n"), "{text}");
        assert!(!Page { colour: false, ..page }.render(&sample(&["shop"], 1)).contains('\x1b'));
    }

    #[test]
    fn small_rates_have_a_tenth() {
        let texts = [0.0, 0.04, 0.5, 9.94, 9.96, 1234.5].map(rate);
        assert_eq!(texts, ["0", "0.0", "0.5", "9.9", "10", "1234"]);
    }
}
