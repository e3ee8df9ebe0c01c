//! Rows under headings, every column as wide as its widest cell.

/// Aligns rows under their headings; columns of numbers to the right. Two blanks stand between columns, none at
/// the end of a line.
pub(super) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let cell = |row: &[String], at: usize| row.get(at).cloned().unwrap_or_default();
    let width = |text: &str| text.chars().count();
    let is_number = |cell: &str| cell == "-" || cell.bytes().all(|byte| byte.is_ascii_digit());
    let columns: Vec<(usize, bool)> = (0..headings.len())
        .map(|at| {
            let cells = || rows.iter().map(|row| cell(row, at));
            let widest = cells().map(|cell| width(&cell)).max().unwrap_or(0).max(width(headings[at]));
            (widest, !rows.is_empty() && cells().all(|cell| is_number(&cell)))
        })
        .collect();
    let headings: Vec<String> = headings.iter().map(|&heading| heading.to_owned()).collect();
    let mut text = String::new();
    for row in std::iter::once(&headings).chain(rows) {
        let mut line = String::new();
        for (at, (widest, number)) in columns.iter().enumerate() {
            let cell = cell(row, at);
            let blanks = " ".repeat(widest - width(&cell));
            if at > 0 {
                line.push_str("  ");
            }
            line.push_str(&if *number { blanks + &cell } else { cell + &blanks });
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// One thing's facts, a line each; facts that are empty are left out.
pub(super) fn facts(facts: &[(&str, String)]) -> String {
    let known = || facts.iter().filter(|(_, fact)| !fact.is_empty());
    let widest = known().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    known().map(|(name, fact)| format!("{name:<widest$}  {fact}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_numbers_stand_to_the_right() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows = [row(["ä", "7", ""]), row(["longer", "1234", "x y"]), row(["b", "-", "z"])];
        let expected = "\
NAME    HELD  URL
ä          7
longer  1234  x y
b          -  z
";
        assert_eq!(table(&["NAME", "HELD", "URL"], &rows), expected);
        assert_eq!(table(&["NAME", "HELD"], &[]), "NAME  HELD\n");
    }

    #[test]
    fn facts_that_are_unknown_are_left_out() {
        let known = [("state", "idle".to_owned()), ("last error", String::new()), ("held", "3".to_owned())];
        assert_eq!(facts(&known), "state  idle\nheld   3\n");
    }
}
