//! Prometheus' text format, as far as our own `/metrics` uses it.

use std::collections::{BTreeMap, BTreeSet};

/// The samples of one reading.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    samples: Vec<Sample>,
}

#[derive(Clone, Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Metrics {
    /// Reads a page.
    ///
    /// # Panics
    /// At a line that is neither a comment nor a sample.
    pub fn parse(page: &str) -> Metrics {
        let lines = page.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let sample = |line: &str| Sample::parse(line).unwrap_or_else(|| panic!("not a sample: {line:?}"));
        Metrics { samples: lines.map(sample).collect() }
    }

    /// The sum of the samples called `name` that carry all of `labels`; zero when there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).map(|sample| sample.value).sum()
    }

    /// Whether there is a sample called `name` that carries all of `labels`.
    pub fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.matching(name, labels).next().is_some()
    }

    /// The values that `label` has in samples called `name`, each once.
    pub fn values(&self, name: &str, label: &str) -> BTreeSet<String> {
        self.matching(name, &[]).filter_map(|sample| sample.labels.get(label).cloned()).collect()
    }

    fn matching<'a>(&'a self, name: &'a str, labels: &'a [(&str, &str)]) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| {
            let carries =
                |(key, value): &(&str, &str)| sample.labels.get(*key).is_some_and(|own| own == value);
            sample.name == name && labels.iter().all(carries)
        })
    }
}

impl Sample {
    /// `name 1`, `name{key="value",…} 1`, either followed by a time.
    fn parse(line: &str) -> Option<Sample> {
        let end = line.find(['{', ' '])?;
        let (name, mut rest) = line.split_at(end);
        let mut labels = BTreeMap::new();
        if let Some(inside) = rest.strip_prefix('{') {
            rest = inside;
            while !rest.starts_with('}') {
                let (key, after) = rest.split_once("=\"")?;
                let (value, after) = quoted(after)?;
                labels.insert(key.to_owned(), value);
                rest = after.strip_prefix(',').unwrap_or(after);
            }
            rest = &rest[1..];
        }
        let value = rest.split_whitespace().next()?.parse().ok()?;
        Some(Sample { name: name.to_owned(), labels, value })
    }
}

/// A label's value up to its closing quote, unescaped, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    loop {
        match letters.next()? {
            (at, '"') => return Some((value, &text[at + 1..])),
            (_, '\\') => value.push(match letters.next()?.1 {
                'n' => '\n',
                letter => letter,
            }),
            (_, letter) => value.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_found_by_name_and_labels() {
        let page = "# HELP a Lines.\n# TYPE a counter\na_total{drain=\"d.1\",reason=\"x\\\"}\"} 3\n\
                    a_total{drain=\"d.2\",} 4 1700000000\nup 1e3\n# EOF\n";
        let metrics = Metrics::parse(page);
        assert_eq!(metrics.sum("a_total", &[]), 7.0);
        assert_eq!(metrics.sum("a_total", &[("drain", "d.1"), ("reason", "x\"}")]), 3.0);
        assert_eq!(metrics.sum("up", &[]), 1000.0);
        assert!(!metrics.has("a_total", &[("drain", "d.3")]));
        assert_eq!(metrics.values("a_total", "drain"), ["d.1", "d.2"].map(str::to_owned).into());
    }
}
