//! From what is known to the text that Prometheus reads, format 0.0.4.
//!
//! The container families are written here, straight into one text and from label blocks that
//! were rendered once; the exporter's own metrics are the [`telemetry`](crate::telemetry)'s.

use std::fmt::{Display, Write};

use jiff::{SignedDuration, Timestamp};

use crate::engine::{Identity, Info};
use crate::labels::push_label;
use crate::ledger::{Entry, Exit, Ledger};

/// The Engine, as far as it is known: what it says in each answer, and its `/info` if it gives it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineInfo {
    /// From the last answer's head.
    pub identity: Identity,
    /// From `/info`.
    pub info: Option<Info>,
}

/// Renders the families of the host and of its containers.
///
/// `up`: the last listing worked. `known` is what is known of the Engine and its containers;
/// `None` before the first listing, and when the last good one is too old to be shown.
#[must_use]
pub fn render(up: bool, known: Option<(&EngineInfo, &Ledger)>) -> String {
    let mut text = String::new();
    let mut up_family = Family::new(
        &mut text,
        "docker_up",
        "gauge",
        "Whether the last listing of the containers worked.",
    );
    up_family.sample("", u8::from(up));
    let Some((engine, ledger)) = known else {
        return text;
    };
    Family::new(
        &mut text,
        "docker_engine_info",
        "gauge",
        "The Docker Engine that is watched; always 1.",
    )
    .sample(&engine_labels(engine), 1);
    let mut states = Family::new(
        &mut text,
        "docker_containers",
        "gauge",
        "Containers on this host by state.",
    );
    for (state, count) in ledger.states() {
        let mut labels = String::new();
        push_label(&mut labels, "state", state.name());
        states.sample(&labels, count);
    }
    containers(&mut text, ledger);
    text
}

fn containers(text: &mut String, ledger: &Ledger) {
    per_exit(
        text,
        ledger,
        "container_exit_code",
        "gauge",
        "Exit code of the container's last run, which is over.",
        |exit| Some(exit.code),
    );
    per_exit(
        text,
        ledger,
        "container_exit_timestamp_seconds",
        "gauge",
        "When the container's last run ended, in seconds since 1970.",
        |exit| {
            Some(Seconds(
                exit.finished_at?.duration_since(Timestamp::UNIX_EPOCH),
            ))
        },
    );
    per_exit(
        text,
        ledger,
        "container_exit_duration_seconds",
        "gauge",
        "How long the container's last run took.",
        |exit| exit.duration.map(Seconds),
    );
    let mut reason = Family::new(
        text,
        "container_exit_reason",
        "gauge",
        "Why the container's last run ended; always 1.",
    );
    for Entry { labels, exit, .. } in ledger.exits() {
        let mut labels = labels.to_owned();
        push_label(&mut labels, "reason", exit.reason.name());
        reason.sample(&labels, 1);
    }
    per_exit(
        text,
        ledger,
        "container_restart_count",
        // It is a gauge, but promtool takes a gauge's `_count` for part of a histogram.
        "untyped",
        "Restarts of the container by its restart policy.",
        |exit| exit.restart_count,
    );
}

/// A family with one sample per exit that has the value.
fn per_exit<V: Display>(
    text: &mut String,
    ledger: &Ledger,
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    value: impl Fn(&Exit) -> Option<V>,
) {
    let mut family = Family::new(text, name, kind, help);
    for Entry { labels, exit, .. } in ledger.exits() {
        if let Some(value) = value(exit) {
            family.sample(labels, value);
        }
    }
}

fn engine_labels(EngineInfo { identity, info }: &EngineInfo) -> String {
    // `Docker/28.5.2 (linux)`: behind a proxy that refuses /info this is all there is.
    let product = identity.server.split_whitespace().next();
    let version = product.and_then(|product| product.split_once('/'));
    let version = version.map_or("", |(_, version)| version);
    let mut labels = String::new();
    let info = info.clone().unwrap_or_else(|| Info {
        version: version.to_owned(),
        ..Info::default()
    });
    for (name, value) in [
        ("api_version", &identity.api_version),
        ("architecture", &info.architecture),
        ("cgroup_driver", &info.cgroup_driver),
        ("cgroup_version", &info.cgroup_version),
        ("kernel_version", &info.kernel_version),
        ("operating_system", &info.operating_system),
        ("version", &info.version),
    ] {
        push_label(&mut labels, name, value);
    }
    labels
}

/// One metric family; its head is written with its first sample, so that none stands alone.
struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    empty: bool,
}

impl<'a> Family<'a> {
    fn new(
        text: &'a mut String,
        name: &'static str,
        kind: &'static str,
        help: &'static str,
    ) -> Self {
        Self {
            text,
            name,
            kind,
            help,
            empty: true,
        }
    }

    fn sample(&mut self, labels: &str, value: impl Display) {
        let Self {
            text,
            name,
            kind,
            help,
            ..
        } = self;
        let head = std::mem::replace(&mut self.empty, false);
        let written = if head {
            write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n")
        } else {
            Ok(())
        };
        let written = written.and_then(|()| {
            if labels.is_empty() {
                writeln!(text, "{name} {value}")
            } else {
                writeln!(text, "{name}{{{labels}}} {value}")
            }
        });
        written.expect("writing to a String does not fail");
    }
}

/// Seconds with as many decimals as are needed, six at most: a float of the size of today's time
/// has no more.
struct Seconds(SignedDuration);

impl Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let micros = self.0.subsec_micros();
        if micros == 0 {
            return write!(f, "{}", self.0.as_secs());
        }
        let text = format!("{}.{micros:06}", self.0.as_secs());
        f.write_str(text.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_as_short_as_they_can_be() {
        for (seconds, nanos, want) in [
            (0, 0, "0"),
            (0, 999, "0"),
            (0, 9_278_443, "0.009278"),
            (3, 500_000_000, "3.5"),
            (10, 0, "10"),
            (1_795_336_863, 295_093_763, "1795336863.295093"),
        ] {
            let duration = SignedDuration::new(seconds, nanos);
            assert_eq!(Seconds(duration).to_string(), want);
        }
    }

    #[test]
    fn without_anything_known_there_is_only_docker_up() {
        let text = render(false, None);
        let want = "# HELP docker_up Whether the last listing of the containers worked.\n\
                    # TYPE docker_up gauge\ndocker_up 0\n";
        assert_eq!(text, want);
    }

    #[test]
    fn the_version_is_that_of_the_head_where_info_is_refused() {
        let engine = EngineInfo {
            identity: Identity {
                api_version: "1.51".into(),
                server: "Docker/28.5.2+dfsg4 (linux)".into(),
            },
            info: None,
        };
        let want = r#"api_version="1.51",version="28.5.2+dfsg4""#;
        assert_eq!(engine_labels(&engine), want);
        assert_eq!(engine_labels(&EngineInfo::default()), "");
    }
}
