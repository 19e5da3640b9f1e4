//! Reads the Prometheus text format 0.0.4, strictly: what Prometheus would reject or silently drop is a panic here,
//! with the line that caused it.

use std::collections::{BTreeMap, HashSet};

/// The labels of a series.
pub(crate) type Labels = BTreeMap<String, String>;

/// One line of the text that is not a comment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: Labels,
    pub(crate) value: f64,
}

/// One answer of `/metrics`, in its order.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) samples: Vec<Sample>,
}

impl Metrics {
    /// Reads a whole answer.
    ///
    /// # Panics
    ///
    /// On a line that is not of the format, a family without HELP and TYPE or with its samples scattered, a series that
    /// occurs twice, and a text that does not end with a newline.
    pub(crate) fn parse(text: &str) -> Self {
        assert!(
            text.is_empty() || text.ends_with('\n'),
            "the last line has no end: {text:?}"
        );
        let mut families = Families::default();
        let mut series = HashSet::new();
        let mut samples = Vec::new();
        for line in text.lines() {
            if let Some(comment) = line.strip_prefix('#') {
                families.comment(comment, line);
            } else if !line.is_empty() {
                let sample = parse_sample(line).unwrap_or_else(|why| panic!("{why}: {line}"));
                families.sample(&sample.name, line);
                assert!(
                    series.insert((sample.name.clone(), sample.labels.clone())),
                    "this series occurs twice: {line}"
                );
                samples.push(sample);
            }
        }
        Self { samples }
    }

    /// The samples of that name.
    pub(crate) fn named(&self, name: &str) -> impl Iterator<Item = &Sample> {
        self.samples
            .iter()
            .filter(move |sample| sample.name == name)
    }

    /// The one sample of that name that has at least these labels.
    ///
    /// # Panics
    ///
    /// If several have them.
    pub(crate) fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<&Sample> {
        let mut found = self.named(name).filter(|sample| {
            labels
                .iter()
                .all(|(label, value)| sample.labels.get(*label).is_some_and(|has| has == value))
        });
        let first = found.next();
        let second = found.next();
        assert!(
            second.is_none(),
            "several {name} have {labels:?}: {first:?}, {second:?}"
        );
        first
    }

    /// The value of the one sample of that name that has at least these labels.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.find(name, labels).map(|sample| sample.value)
    }
}

/// Watches that every family is announced once, by HELP and TYPE, and that its samples follow at once.
#[derive(Default)]
struct Families {
    seen: HashSet<String>,
    name: String,
    kind: String,
}

impl Families {
    /// HELP, then TYPE, which opens a family; any other comment is of no account.
    fn comment(&mut self, comment: &str, line: &str) {
        let mut words = comment.trim_start().splitn(3, ' ');
        let (keyword, name, rest) = (
            words.next(),
            words.next().unwrap_or(""),
            words.next().unwrap_or(""),
        );
        match keyword {
            Some("HELP") => {
                assert!(is_name(name, true), "not a family's name: {line}");
                assert!(!rest.is_empty(), "a help without text: {line}");
                assert!(
                    self.seen.insert(name.to_owned()),
                    "this family was announced before: {line}"
                );
                name.clone_into(&mut self.name);
                self.kind.clear();
            }
            Some("TYPE") => {
                assert!(
                    self.name == name && self.kind.is_empty(),
                    "a TYPE that follows no HELP of its family: {line}"
                );
                let known = ["counter", "gauge", "histogram", "summary", "untyped"];
                assert!(known.contains(&rest), "no such type: {line}");
                rest.clone_into(&mut self.kind);
            }
            _ => {}
        }
    }

    fn sample(&mut self, name: &str, line: &str) {
        let suffixes: &[&str] = match self.kind.as_str() {
            "histogram" => &["_bucket", "_sum", "_count"],
            "summary" => &["", "_sum", "_count"],
            _ => &[""],
        };
        let belongs = name
            .strip_prefix(self.name.as_str())
            .is_some_and(|rest| suffixes.contains(&rest));
        assert!(
            belongs && !self.kind.is_empty(),
            "outside its family (this one is {:?}): {line}",
            self.name
        );
    }
}

fn parse_sample(line: &str) -> Result<Sample, String> {
    let end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, mut rest) = line.split_at(end);
    if !is_name(name, true) {
        return Err("not a metric's name".to_owned());
    }
    let mut labels = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = parse_labels(inside, &mut labels)?;
    }
    let mut words = rest
        .strip_prefix(' ')
        .ok_or("no space before the value")?
        .split(' ');
    let value = match words.next().unwrap_or("") {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        "NaN" => f64::NAN,
        number if number.starts_with(|c: char| c.is_ascii_digit() || c == '-') => {
            number.parse().map_err(|_| "not a number")?
        }
        _ => return Err("not a number".to_owned()),
    };
    if words.next().is_some() {
        return Err("something follows the value".to_owned()); // a time stamp is of the format, but not of this exporter
    }
    Ok(Sample {
        name: name.to_owned(),
        labels,
        value,
    })
}

/// Reads `name="value",…}` and returns what follows the brace.
fn parse_labels<'a>(mut rest: &'a str, labels: &mut Labels) -> Result<&'a str, String> {
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Ok(after);
        }
        let (name, after) = rest.split_once("=\"").ok_or("a label without a value")?;
        if !is_name(name, false) {
            return Err(format!("not a label's name ({name:?})"));
        }
        let (value, after) = parse_value(after)?;
        if labels.insert(name.to_owned(), value).is_some() {
            return Err(format!("the label {name} occurs twice"));
        }
        rest = match after.strip_prefix(',') {
            Some(more) => more,
            None if after.starts_with('}') => after,
            None => return Err("neither a comma nor a brace after a label".to_owned()),
        };
    }
}

/// Reads a label's value up to and with its closing quote.
fn parse_value(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => value.push(match chars.next() {
                Some((_, '\\')) => '\\',
                Some((_, '"')) => '"',
                Some((_, 'n')) => '\n',
                _ => return Err("an unknown escape".to_owned()),
            }),
            _ => value.push(char),
        }
    }
    Err("a label's value without an end".to_owned())
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`, for metrics also with colons.
fn is_name(name: &str, colons: bool) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':');
    name.chars().all(fits) && name.starts_with(|c: char| !c.is_ascii_digit())
}

mod tests {
    use super::Metrics;

    #[test]
    fn reads_what_an_exporter_writes() {
        let metrics = Metrics::parse(concat!(
            "# HELP a Text.\n# TYPE a gauge\na{x=\"1\",y=\"q\\\"b\\\\n\\nü,}\"} -2.5\na{x=\"2\"} 1e3\n",
            "# HELP b Text.\n# TYPE b counter\nb 0\n"
        ));
        assert_eq!(metrics.named("a").count(), 2);
        assert_eq!(metrics.value("a", &[("x", "2")]), Some(1000.0));
        let first = metrics.find("a", &[("x", "1")]).unwrap();
        assert_eq!(
            (first.labels["y"].as_str(), first.value),
            ("q\"b\\n\nü,}", -2.5)
        );
        assert_eq!(metrics.value("b", &[]), Some(0.0));
        assert_eq!(metrics.value("b", &[("x", "1")]), None);
    }

    /// The strictness is what the other tests lean on, so it is tested too.
    #[test]
    fn refuses_what_prometheus_would() {
        let head = "# HELP a T.\n# TYPE a gauge\n";
        for bad in [
            "a 1\n",
            "# TYPE a gauge\na 1\n",
            "# HELP a T.\na 1\n",
            "# HELP a T.\n# TYPE a gouge\na 1\n",
            "# HELP a T.\n# HELP b T.\n# TYPE b gauge\na 1\n",
            &format!("{head}a 1\na 2\n"),
            &format!("{head}a{{x=\"1\",y=\"2\"}} 1\na{{y=\"2\",x=\"1\"}} 1\n"),
            &format!("{head}a 1\n# HELP b T.\n# TYPE b gauge\nb 1\na{{x=\"1\"}} 2\n"),
            &format!("{head}a 1\n{head}a{{x=\"1\"}} 2\n"),
            &format!("{head}a 1"),
            &format!("{head}a\n"),
            &format!("{head}a one\n"),
            &format!("{head}a inf\n"),
            &format!("{head}a 1 2 3\n"),
            &format!("{head}a{{x=\"1\"}}1\n"),
            &format!("{head}a{{x=\"1}} 1\n"),
            &format!("{head}a{{x=\"\\t\"}} 1\n"),
            &format!("{head}a{{x=\"1\"y=\"2\"}} 1\n"),
            &format!("{head}a{{x=\"1\",x=\"2\"}} 1\n"),
            &format!("{head}a{{0x=\"1\"}} 1\n"),
            &format!("{head}a{{x-y=\"1\"}} 1\n"),
            &format!("{head}a_sum 1\n"),
        ] {
            assert!(
                std::panic::catch_unwind(|| Metrics::parse(bad)).is_err(),
                "it took {bad:?}"
            );
        }
    }
}
