//! The labels of a container's series: cAdvisor's names, Docker's values.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::engine::Labels;

/// The keys of the Docker labels by which Swarm and Compose tell whose container it is.
pub mod keys {
    /// The stack of a Swarm service, if it is of one.
    pub const STACK: &str = "com.docker.stack.namespace";
    /// The name of a Swarm service, its stack included.
    pub const SWARM_SERVICE: &str = "com.docker.swarm.service.name";
    /// The id of a Swarm service.
    pub const SWARM_SERVICE_ID: &str = "com.docker.swarm.service.id";
    /// The name of a Swarm task: `service.slot.id`.
    pub const SWARM_TASK: &str = "com.docker.swarm.task.name";
    /// The Compose project.
    pub const COMPOSE_PROJECT: &str = "com.docker.compose.project";
    /// The Compose service, which is unique in its project alone.
    pub const COMPOSE_SERVICE: &str = "com.docker.compose.service";
    /// The number of a container of a Compose service.
    pub const COMPOSE_NUMBER: &str = "com.docker.compose.container-number";
    /// `True` of a container of `docker compose run`.
    pub const COMPOSE_ONEOFF: &str = "com.docker.compose.oneoff";
    /// `true` of a container that is to have no series, and whose exits are not to be counted.
    pub const IGNORE: &str = "docker-exit-exporter.ignore";
    /// The codes, separated by commas, with which a container ends when all is well.
    pub const EXPECTED_CODES: &str = "docker-exit-exporter.expected-codes";
}

/// Which Docker labels become series labels: the value of `CONTAINER_LABELS`.
///
/// The last pattern that matches a key decides; a key that none matches is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    exclude: bool,
    glob: String,
}

impl Filter {
    /// Whether the label with this key is exported.
    #[must_use]
    pub fn lets_through(&self, key: &str) -> bool {
        let decisive = self.patterns.iter().rev();
        decisive
            .into_iter()
            .find(|pattern| matches(&pattern.glob, key))
            .is_some_and(|pattern| !pattern.exclude)
    }
}

impl Default for Filter {
    /// Every label.
    fn default() -> Self {
        Self {
            patterns: vec![Pattern {
                exclude: false,
                glob: "*".into(),
            }],
        }
    }
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let patterns = text.split(',').map(str::trim);
        let patterns = patterns.filter(|pattern| !pattern.is_empty());
        let patterns: Vec<_> = patterns
            .map(|pattern| match pattern.strip_prefix('!') {
                Some(glob) => Pattern {
                    exclude: true,
                    glob: glob.to_owned(),
                },
                None => Pattern {
                    exclude: false,
                    glob: pattern.to_owned(),
                },
            })
            .collect();
        if patterns.iter().any(|pattern| pattern.glob.is_empty()) {
            return Err("there is nothing after a `!`".into());
        }
        Ok(Self { patterns })
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, pattern) in self.patterns.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let not = if pattern.exclude { "!" } else { "" };
            write!(f, "{comma}{not}{}", pattern.glob)?;
        }
        Ok(())
    }
}

/// Whether `text` has the form of `glob`, in which `*` stands for any text. Takes time in
/// proportion to the product of the two lengths at worst.
fn matches(glob: &str, text: &str) -> bool {
    let mut parts = glob.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// The label block of a container, without braces: what stands in each of its series. Labels are
/// sorted by name; those with an empty value are left out, since that is what Prometheus does.
#[must_use]
pub fn block(id: &str, image: &str, name: &str, labels: &Labels, filter: &Filter) -> String {
    let mut named = BTreeMap::new();
    // Sorted by the bytes of their keys, so that of two that collide the first wins, every time.
    for (key, value) in labels {
        if !value.is_empty() && filter.lets_through(key) {
            named
                .entry(series_label(key))
                .or_insert_with(|| value.as_str());
        }
    }
    let mut text = String::new();
    let fixed = [("id", id), ("image", image), ("name", name)];
    let named = named.iter().map(|(name, value)| (name.as_str(), *value));
    for (name, value) in named.chain(fixed) {
        push_label(&mut text, name, value);
    }
    text
}

/// Appends `,name="value"` to a label block, without the comma at its start; nothing if the value
/// is empty.
pub fn push_label(block: &mut String, name: &str, value: &str) {
    if value.is_empty() {
        return;
    }
    if !block.is_empty() {
        block.push(',');
    }
    block.push_str(name);
    block.push_str("=\"");
    escape_into(block, value);
    block.push('"');
}

/// A Docker label's key as cAdvisor names it.
pub(crate) fn series_label(key: &str) -> String {
    let mut name = String::with_capacity("container_label_".len() + key.len());
    name.push_str("container_label_");
    let sanitised = key.chars().map(|letter| match letter {
        'a'..='z' | 'A'..='Z' | '0'..='9' => letter,
        _ => '_',
    });
    name.extend(sanitised);
    name
}

/// Appends a label's value, escaped as the text format wants it.
fn escape_into(text: &mut String, value: &str) {
    for letter in value.chars() {
        match letter {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            letter => text.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn filters() {
        for (filter, key, want) in [
            ("*", "a", true),
            ("", "a", false),
            (",", "a", false),
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "ab", true),
            ("*b", "ab", true),
            ("*b", "abc", false),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("ab*bc", "abc", false),
            ("a*b*c", "a1b2b3c", true),
            ("a**c", "abc", true),
            ("*.*", "ab", false),
            ("com.docker.*", "com.docker.swarm.node.id", true),
            ("com.docker.*", "com-docker.x", false),
            ("*,!secret*", "secret.key", false),
            ("*,!secret*", "open", true),
            ("*,!secret*,secret.public", "secret.public", true),
            ("!a", "b", false),
            ("!a,*", "a", true),
            (" a , b ", "b", true),
            ("A", "a", false),
        ] {
            let filter: Filter = filter.parse().unwrap();
            assert_eq!(filter.lets_through(key), want, "{filter} {key}");
        }
        assert!("*,!".parse::<Filter>().is_err());
    }

    #[test]
    fn blocks() {
        let all = Filter::default();
        for (pairs, want) in [
            (&[][..], ""),
            (&[("a.b-c/d", "1")], r#"container_label_a_b_c_d="1","#),
            (&[("Case", "Kept")], r#"container_label_Case="Kept","#),
            (&[("0digit", "x")], r#"container_label_0digit="x","#),
            (&[("uni.cødé", "é😀")], r#"container_label_uni_c_d_="é😀","#),
            (&[("empty", "")], ""),
            (
                &[("a.b", "dot"), ("a-b", "dash")],
                r#"container_label_a_b="dash","#,
            ),
            (
                &[("a-b", ""), ("a.b", "dot")],
                r#"container_label_a_b="dot","#,
            ),
            (
                &[("q", "\"\\\n\r\t")],
                "container_label_q=\"\\\"\\\\\\n\r\t\",",
            ),
            (&[("name", "evil")], r#"container_label_name="evil","#),
            (
                &[("a", "1"), ("A", "2")],
                r#"container_label_A="2",container_label_a="1","#,
            ),
        ] {
            let block = block("/docker/1", "busybox", "web", &labels(pairs), &all);
            let rest = r#"id="/docker/1",image="busybox",name="web""#;
            assert_eq!(block, format!("{want}{rest}"), "{pairs:?}");
        }
    }

    #[test]
    fn a_label_that_is_not_let_through_does_not_collide() {
        let filter = "a.b".parse().unwrap();
        let block = block(
            "/1",
            "",
            "",
            &labels(&[("a-b", "1"), ("a.b", "2")]),
            &filter,
        );
        assert_eq!(block, r#"container_label_a_b="2",id="/1""#);
    }
}
