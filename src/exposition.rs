//! From what is known to the text that Prometheus reads, format 0.0.4.
//!
//! The container families are written here, straight into one text and from label blocks that
//! were rendered once; the exporter's own metrics are the [`telemetry`](crate::telemetry)'s.

use std::fmt::{Display, Write};

use jiff::{SignedDuration, Timestamp};

use crate::engine::{Identity, Info};
use crate::labels::push_label;
use crate::ledger::{Entry, Exit, Ledger};
use crate::reason::Reason;

/// The Engine, as far as it is known: what it says in each answer, and its `/info` if it gives it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineInfo {
    /// From the last answer's head.
    pub identity: Identity,
    /// From `/info`.
    pub info: Option<Info>,
}

/// All families' heads and the samples of the host, in bytes, roughly.
const HEADS_BYTES: usize = 8 * 1024;

/// A sample without its container's labels, in bytes: most have less. `container_exit_timestamp_seconds{} 1795336863.295093`
const SAMPLE_BYTES: usize = 64;

/// Renders the families of the host, its containers and their workloads.
///
/// `up`: the last listing worked. `fresh`: what is known of the Engine and its containers is not
/// too old to be shown; the counters always are.
#[must_use]
pub fn render(up: bool, fresh: bool, engine: &EngineInfo, ledger: &Ledger) -> String {
    let mut text = String::with_capacity(HEADS_BYTES + most_bytes(fresh, ledger));
    Family::new(
        &mut text,
        "docker_up",
        "gauge",
        "Whether the last listing of the containers worked.",
    )
    .sample("", u8::from(up));
    if fresh {
        host(&mut text, engine, ledger);
        exits(&mut text, ledger);
        last_exits(&mut text, ledger);
    }
    workloads(&mut text, ledger);
    text
}

/// So many bytes the samples of containers and workloads take at most.
fn most_bytes(containers: bool, ledger: &Ledger) -> usize {
    let workloads = ledger.workloads().iter();
    let bytes = workloads.map(|(labels, _)| Reason::ALL.len() * (labels.len() + SAMPLE_BYTES));
    let mut bytes: usize = bytes.sum();
    if containers {
        let of = |families, entry: Entry<'_>| families * (entry.labels.len() + SAMPLE_BYTES);
        bytes += ledger.exits().map(|entry| of(6, entry)).sum::<usize>();
        bytes += ledger.last_exits().map(|entry| of(3, entry)).sum::<usize>();
    }
    bytes
}

fn host(text: &mut String, engine: &EngineInfo, ledger: &Ledger) {
    Family::new(
        text,
        "docker_engine_info",
        "gauge",
        "The Docker Engine that is watched; always 1.",
    )
    .sample(&engine_labels(engine), 1);
    let mut states = Family::new(
        text,
        "docker_containers",
        "gauge",
        "Containers on this host by state.",
    );
    for (state, count) in ledger.states() {
        let mut labels = String::new();
        push_label(&mut labels, "state", state.name());
        states.sample(&labels, count);
    }
}

fn exits(text: &mut String, ledger: &Ledger) {
    let help = "Exit code of the container's last run, which is over.";
    Family::new(text, "container_exit_code", "gauge", help)
        .samples(ledger.exits(), |exit| Some(exit.code));
    let help = "When the container's last run ended, in seconds since 1970.";
    Family::new(text, "container_exit_timestamp_seconds", "gauge", help)
        .samples(ledger.exits(), |exit| exit.finished_at.map(seconds));
    let help = "How long the container's last run took.";
    Family::new(text, "container_exit_duration_seconds", "gauge", help)
        .samples(ledger.exits(), |exit| exit.duration.map(Seconds));
    let help = "Why the container's last run ended; always 1.";
    let mut reason = Family::new(text, "container_exit_reason", "gauge", help);
    for Entry { labels, exit, .. } in ledger.exits() {
        reason.sample_with_reason(labels, exit.reason, 1);
    }
    let help =
        "Whether a newer container of the same service and slot or number stands on this host.";
    let mut superseded = Family::new(text, "container_exit_superseded", "gauge", help);
    for (Entry { labels, .. }, value) in ledger.exits_superseded() {
        superseded.sample(labels, u8::from(value));
    }
    // It is a gauge, but promtool takes a gauge's `_count` for part of a histogram.
    let help = "Restarts of the container by its restart policy.";
    Family::new(text, "container_restart_count", "untyped", help)
        .samples(ledger.exits(), |exit| exit.restart_count);
}

fn last_exits(text: &mut String, ledger: &Ledger) {
    let help = "Exit code of the run before of a container that runs again.";
    Family::new(text, "container_last_exit_code", "gauge", help)
        .samples(ledger.last_exits(), |exit| Some(exit.code));
    let help = "When the run before of a container that runs again ended, in seconds since 1970.";
    Family::new(text, "container_last_exit_timestamp_seconds", "gauge", help)
        .samples(ledger.last_exits(), |exit| exit.finished_at.map(seconds));
    let help = "Why the run before of a container that runs again ended; always 1.";
    let mut reason = Family::new(text, "container_last_exit_reason", "gauge", help);
    for Entry { labels, exit, .. } in ledger.last_exits() {
        reason.sample_with_reason(labels, exit.reason, 1);
    }
}

fn workloads(text: &mut String, ledger: &Ledger) {
    let help = "Exits of a workload's containers since the exporter started, by reason.";
    let mut exits = Family::new(text, "container_exits_total", "counter", help);
    for (labels, counts) in ledger.workloads().iter() {
        for (reason, count) in Reason::ALL.into_iter().zip(counts) {
            exits.sample_with_reason(labels, reason, *count);
        }
    }
}

fn seconds(time: Timestamp) -> Seconds {
    Seconds(time.duration_since(Timestamp::UNIX_EPOCH))
}

impl EngineInfo {
    /// The Engine's version: by `/info`, or else by the head of its answers
    /// (`Docker/28.5.2 (linux)`), which passes through a proxy that refuses `/info`.
    #[must_use]
    pub fn version(&self) -> &str {
        if let Some(info) = &self.info {
            return &info.version;
        }
        let product = self.identity.server.split_whitespace().next();
        let version = product.and_then(|product| product.split_once('/'));
        version.map_or("", |(_, version)| version)
    }
}

fn engine_labels(engine: &EngineInfo) -> String {
    let info = engine.info.clone().unwrap_or_default();
    let mut labels = String::new();
    for (name, value) in [
        ("api_version", engine.identity.api_version.as_str()),
        ("architecture", &info.architecture),
        ("cgroup_driver", &info.cgroup_driver),
        ("cgroup_version", &info.cgroup_version),
        ("kernel_version", &info.kernel_version),
        ("operating_system", &info.operating_system),
        ("version", engine.version()),
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

    /// One sample for each exit that has the value.
    fn samples<'e, V: Display>(
        &mut self,
        entries: impl Iterator<Item = Entry<'e>>,
        value: impl Fn(&Exit) -> Option<V>,
    ) {
        for Entry { labels, exit, .. } in entries {
            if let Some(value) = value(exit) {
                self.sample(labels, value);
            }
        }
    }

    fn sample(&mut self, labels: &str, value: impl Display) {
        self.begin();
        if !labels.is_empty() {
            for part in ["{", labels, "}"] {
                self.text.push_str(part);
            }
        }
        self.end(value);
    }

    fn sample_with_reason(&mut self, labels: &str, reason: Reason, value: u64) {
        self.begin();
        let comma = if labels.is_empty() { "" } else { "," };
        for part in ["{", labels, comma, "reason=\"", reason.name(), "\"}"] {
            self.text.push_str(part);
        }
        self.end(value);
    }

    fn begin(&mut self) {
        if std::mem::take(&mut self.empty) {
            let Self {
                name, kind, help, ..
            } = self;
            *self.text += &format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
        }
        self.text.push_str(self.name);
    }

    fn end(&mut self, value: impl Display) {
        writeln!(self.text, " {value}").expect("writing to a String does not fail");
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
        let (mut digits, mut decimals) = (micros, 6);
        while digits % 10 == 0 {
            digits /= 10;
            decimals -= 1;
        }
        write!(f, "{}.{digits:0decimals$}", self.0.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::labels::Filter;

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
        let ledger = Ledger::new(Filter::default(), Duration::ZERO, Timestamp::UNIX_EPOCH);
        let text = render(false, false, &EngineInfo::default(), &ledger);
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
