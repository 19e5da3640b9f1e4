//! The labels of a container's series: cAdvisor's names, Docker's values.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::str::FromStr;

use crate::engine::Labels;

/// Keys of the Docker labels that have a meaning here.
pub mod keys {
    /// The stack of a Swarm service, if it has one.
    pub const STACK: &str = "com.docker.stack.namespace";
    /// The name of a Swarm service, with its stack as prefix.
    pub const SWARM_SERVICE: &str = "com.docker.swarm.service.name";
    /// The id of a Swarm service.
    pub const SWARM_SERVICE_ID: &str = "com.docker.swarm.service.id";
    /// The name of a Swarm task: `service.slot.id`.
    pub const SWARM_TASK: &str = "com.docker.swarm.task.name";
    /// The Compose project.
    pub const COMPOSE_PROJECT: &str = "com.docker.compose.project";
    /// The Compose service, unique within its project.
    pub const COMPOSE_SERVICE: &str = "com.docker.compose.service";
    /// The number of a container of a Compose service.
    pub const COMPOSE_NUMBER: &str = "com.docker.compose.container-number";
    /// `True` for a container of `docker compose run`.
    pub const COMPOSE_ONEOFF: &str = "com.docker.compose.oneoff";
    /// `true` for a container without series, whose exits are not counted.
    pub const IGNORE: &str = "docker-exit-exporter.ignore";
    /// Exit codes that are not failures, separated by commas.
    pub const EXPECTED_CODES: &str = "docker-exit-exporter.expected-codes";

    /// All keys above. They are read however many labels a container has.
    pub const ALL: [&str; 10] = [
        STACK,
        SWARM_SERVICE,
        SWARM_SERVICE_ID,
        SWARM_TASK,
        COMPOSE_PROJECT,
        COMPOSE_SERVICE,
        COMPOSE_NUMBER,
        COMPOSE_ONEOFF,
        IGNORE,
        EXPECTED_CODES,
    ];

    /// Labels with these keys overwrite attributes of events, with any value.
    pub const HIDE_ATTRIBUTES: [&str; 3] = ["exitCode", "signal", "execDuration"];
}

/// The Docker labels of a container in one series, in bytes. An image can have labels of any length,
/// and a container has up to eight series. The text of 300 such containers and its compressed copy
/// stay under 32 MiB, even if the labels do not compress.
pub const MAX_BYTES: usize = 6 * 1024;

/// A label of [`keys::ALL`] has priority over others up to this size. Names of services are far
/// shorter.
const MAX_PRIORITY_BYTES: usize = 600;

const _: () = assert!(keys::ALL.len() * MAX_PRIORITY_BYTES <= MAX_BYTES);

/// The prefix of a Docker label's name in a series, as in cAdvisor.
const PREFIX: &str = "container_label_";

/// Selects the Docker labels that become series labels: the value of `CONTAINER_LABELS`.
///
/// The last pattern that matches a key decides. A key that matches none is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Globs; those that exclude start with `!`.
    patterns: Vec<String>,
}

impl Filter {
    /// Whether the label with this key is exported.
    #[must_use]
    pub fn allows(&self, key: &str) -> bool {
        let is_match = |pattern: &&String| {
            let glob = pattern.strip_prefix('!').unwrap_or(pattern);
            glob_matches(glob, key)
        };
        let last_match = self.patterns.iter().rfind(is_match);
        last_match.is_some_and(|pattern| !pattern.starts_with('!'))
    }
}

impl Default for Filter {
    /// Allows every label.
    fn default() -> Self {
        Self {
            patterns: vec!["*".into()],
        }
    }
}

/// A pattern that is only a `!`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilterError;

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is nothing after a `!`")
    }
}

impl Error for FilterError {}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let patterns = text.split(',').map(str::trim);
        let patterns = patterns.filter(|pattern| !pattern.is_empty());
        let patterns: Vec<_> = patterns.map(str::to_owned).collect();
        if patterns.iter().any(|pattern| pattern == "!") {
            return Err(FilterError);
        }
        Ok(Self { patterns })
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.patterns.join(","))
    }
}

/// Whether `text` matches `glob`, in which `*` stands for any text. The worst case takes time
/// proportional to the product of both lengths.
fn glob_matches(glob: &str, text: &str) -> bool {
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

/// The Docker labels of a container, rendered for the label block of its series.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct DockerLabels {
    /// The rendered labels, separated by commas.
    pub text: String,
    /// The number of labels left out because they are too many or too long.
    pub left_out: usize,
}

impl DockerLabels {
    /// Renders the labels that the filter allows, sorted by name. Labels with an empty value are
    /// skipped, since Prometheus treats them as absent. The text has at most [`MAX_BYTES`]:
    /// [`keys::ALL`] have priority, and the others follow in order of their names.
    #[must_use]
    pub fn new(labels: &Labels, filter: &Filter) -> Self {
        let mut named = BTreeMap::new();
        // Labels are sorted by key, so the same one of two that collide always wins.
        for (key, value) in labels.iter() {
            if !value.is_empty() && filter.allows(key) {
                named.entry(series_label(key)).or_insert_with(|| {
                    let bytes = sample_bytes(key, value);
                    let is_key = keys::ALL.contains(&key.as_str());
                    (bytes, is_key && bytes <= MAX_PRIORITY_BYTES, value)
                });
            }
        }
        let priority = named.values().filter(|(_, has_priority, _)| *has_priority);
        let mut bytes_left = MAX_BYTES - priority.map(|(bytes, ..)| bytes).sum::<usize>();
        let mut rendered = Self {
            text: String::new(),
            left_out: labels.left_out(),
        };
        for (name, (bytes, has_priority, value)) in &named {
            if !has_priority {
                if *bytes > bytes_left {
                    rendered.left_out += 1;
                    continue;
                }
                bytes_left -= bytes;
            }
            push_label(&mut rendered.text, name, value);
        }
        rendered
    }

    /// The label block of a container's series, without braces. `docker` is the text of its Docker
    /// labels.
    #[must_use]
    pub fn block(docker: &str, id: &str, image: &str, name: &str) -> String {
        let mut text = docker.to_owned();
        for (label, value) in [("id", id), ("image", image), ("name", name)] {
            push_label(&mut text, label, value);
        }
        text
    }
}

/// The bytes of a Docker label in a series, with its comma.
fn sample_bytes(key: &str, value: &str) -> usize {
    let escapes = value.matches(['\\', '"', '\n']).count();
    PREFIX.len() + key.len() + value.len() + escapes + r#",="""#.len()
}

/// Appends `name="value"` to a label block, after a comma if the block is not empty. Escapes the
/// value, and skips an empty one.
pub fn push_label(block: &mut String, name: &str, value: &str) {
    if value.is_empty() {
        return;
    }
    if !block.is_empty() {
        block.push(',');
    }
    block.push_str(name);
    block.push_str("=\"");
    for char in value.chars() {
        match char {
            '\\' | '"' => block.extend(['\\', char]),
            '\n' => block.push_str("\\n"),
            char => block.push(char),
        }
    }
    block.push('"');
}

/// The name that cAdvisor gives to a Docker label in a series.
pub(crate) fn series_label(key: &str) -> String {
    let mut name = String::with_capacity(PREFIX.len() + key.len());
    name.push_str(PREFIX);
    name.extend(key.chars().map(|char| match char {
        'a'..='z' | 'A'..='Z' | '0'..='9' => char,
        _ => '_',
    }));
    name
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
            assert_eq!(filter.allows(key), want, "{filter} {key}");
        }
        assert_eq!("*,!".parse::<Filter>(), Err(FilterError));
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
            let docker = DockerLabels::new(&labels(pairs), &all);
            let block = DockerLabels::block(&docker.text, "/docker/1", "busybox", "web");
            let rest = r#"id="/docker/1",image="busybox",name="web""#;
            assert_eq!(block, format!("{want}{rest}"), "{pairs:?}");
            assert_eq!(docker.left_out, 0);
        }
    }

    #[test]
    fn a_label_that_is_not_let_through_does_not_collide() {
        let filter = "a.b".parse().unwrap();
        let docker = DockerLabels::new(&labels(&[("a-b", "1"), ("a.b", "2")]), &filter);
        assert_eq!(docker.text, r#"container_label_a_b="2""#);
        let block = DockerLabels::block(&docker.text, "/1", "", "");
        assert_eq!(block, r#"container_label_a_b="2",id="/1""#);
    }

    #[test]
    fn labels_have_so_much_room_and_no_more() {
        let (long, half) = ("x".repeat(1450), "x".repeat(725));
        let all: Vec<_> = (0..1000).map(|it| format!("k{it:03}")).collect();
        let all = || all.iter().map(|key| (key.as_str(), "x".repeat(80)));
        let text = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let named = |it: (&str, String)| (it.0.to_owned(), it.1);
        let service = text(keys::SWARM_SERVICE, "web");
        let filter = |text: &str| text.parse::<Filter>().unwrap();
        for (labels, filter, left_out, has) in [
            // 59 labels of 104 bytes fit into 6,144 bytes, or 58 and the service with 52.
            (
                all().map(named).collect::<Vec<_>>(),
                filter("*"),
                941,
                "_k058=\"",
            ),
            (all().map(named).collect(), filter("k9*"), 41, "_k958=\""),
            (
                all().map(named).chain([service.clone()]).collect(),
                filter("*"),
                942,
                "_k057=\"",
            ),
            (
                all().map(named).chain([service]).collect(),
                filter("*"),
                942,
                "service_name=\"web\"",
            ),
            // A label that does not fit does not displace shorter ones after it.
            (
                ["a", "b", "c", "d", "e"]
                    .map(|key| text(key, &long))
                    .into_iter()
                    .chain([text("f", "x")])
                    .collect(),
                filter("*"),
                1,
                "_f=\"x\"",
            ),
            // A service's label that is too long has no priority.
            (
                [
                    (keys::SWARM_TASK, &long),
                    ("a", &long),
                    ("b", &long),
                    ("c", &long),
                    ("d", &long),
                ]
                .map(|(key, value)| text(key, value))
                .into_iter()
                .collect(),
                filter("*"),
                1,
                "_c=\"",
            ),
            // Keys count like values, and an escape takes two bytes.
            (vec![text(&"k".repeat(9000), "x")], filter("*"), 1, ""),
            (
                ["a", "b", "c", "d", "e"]
                    .map(|key| text(key, &half.replace('x', "\n")))
                    .into_iter()
                    .collect(),
                filter("*"),
                1,
                "_d=\"",
            ),
        ] {
            let docker = DockerLabels::new(&labels.into_iter().collect(), &filter);
            assert_eq!(docker.left_out, left_out, "{has}");
            assert!(docker.text.contains(has), "{has}: {}", docker.text);
            assert!(docker.text.len() < MAX_BYTES);
        }
    }
}
