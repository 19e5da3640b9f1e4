//! Events: the lines of the event stream.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::value::RawValue;

use super::{Labels, limits, signal, value};

/// An event of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The container's id.
    pub id: String,
    /// The action.
    pub action: Action,
    /// `timeNano`: when the event was made, by the Engine's clock.
    pub time: Timestamp,
    /// The container's name, image and labels, and the attributes of the action, all in one map. Name
    /// and image replace labels of those names. A label replaces an attribute of the action (moby
    /// `daemon/events.go`).
    pub attributes: BTreeMap<String, String>,
    /// The number of labels beyond the limits.
    pub labels_left_out: usize,
}

/// The actions of interest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The container was created.
    Create,
    /// A client attached to its output. `docker run` does this before the start.
    Attach,
    /// It was connected to a network, as by each start.
    Connect,
    /// It was disconnected from a network, as after each exit and each failed start.
    Disconnect,
    /// Its process was started.
    Start,
    /// It became healthy.
    Healthy,
    /// It became unhealthy.
    Unhealthy,
    /// The kernel's OOM killer hit it.
    Oom,
    /// A signal was sent to it.
    Kill,
    /// Its process exited.
    Die,
    /// It was stopped on request. This comes after `die`.
    Stop,
    /// It was removed. Podman's word is `remove`.
    Destroy,
    /// It was renamed.
    Rename,
    /// It was paused.
    Pause,
    /// It was unpaused.
    Unpause,
}

impl Action {
    /// All actions with Docker's names for them, in the order of their metric.
    pub const ALL: [(Self, &'static str); 15] = [
        (Self::Create, "create"),
        (Self::Attach, "attach"),
        (Self::Connect, "connect"),
        (Self::Disconnect, "disconnect"),
        (Self::Start, "start"),
        (Self::Healthy, "health_status: healthy"),
        (Self::Unhealthy, "health_status: unhealthy"),
        (Self::Oom, "oom"),
        (Self::Kill, "kill"),
        (Self::Die, "die"),
        (Self::Stop, "stop"),
        (Self::Destroy, "destroy"),
        (Self::Rename, "rename"),
        (Self::Pause, "pause"),
        (Self::Unpause, "unpause"),
    ];

    /// Docker's name for the action.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// Parses an action. `connect` and `disconnect` are events of networks, all others of containers.
    fn parse(kind: &str, word: &str) -> Option<Self> {
        let action = match word {
            "died" => Self::Die,
            "remove" => Self::Destroy,
            word => Self::ALL.into_iter().find(|(_, name)| *name == word)?.0,
        };
        let needs_network = matches!(action, Self::Connect | Self::Disconnect);
        let wanted = if needs_network {
            "network"
        } else {
            "container"
        };
        (kind == wanted).then_some(action)
    }
}

/// Attributes that are not labels. The limits of labels do not apply to them.
const OWN_ATTRIBUTES: [&str; 9] = [
    "name",
    "image",
    "podId",
    "exitCode",
    "containerExitCode",
    "execDuration",
    "signal",
    "oldName",
    "health_status",
];

/// Why a line is not an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventError(String);

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for EventError {}

impl From<&str> for EventError {
    fn from(reason: &str) -> Self {
        Self(reason.to_owned())
    }
}

impl From<serde_json::Error> for EventError {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
    }
}

impl Event {
    /// Parses one line. `Ok(None)` is an event of no interest.
    ///
    /// # Errors
    /// If the line is not the JSON of an event.
    pub fn parse(line: &str) -> Result<Option<Self>, EventError> {
        let [kind, action, actor, nanos] =
            value::fields(line, ["Type", "Action", "Actor", "timeNano"])?;
        let kind = kind.and_then(value::text).ok_or("it has no Type")?;
        let word = action.and_then(value::text).ok_or("it has no Action")?;
        let [id, attributes] = value::fields_of(actor, ["ID", "Attributes"]);
        let action = match (&*kind, &*word) {
            ("container", "health_status") => podman_health(attributes),
            (kind, word) => Action::parse(kind, word),
        };
        let Some(action) = action else {
            return Ok(None);
        };
        let [container] = value::fields_of(attributes, ["container"]);
        let of_network = kind == "network";
        let id = if of_network { container } else { id };
        let id = id.and_then(value::text).filter(|id| !id.is_empty());
        let mut own = BTreeMap::new();
        let mut labels = value::BoundedLabels::default();
        // The attributes of a network are not the container's.
        value::for_each_field(attributes.filter(|_| !of_network), |key, value| {
            if !OWN_ATTRIBUTES.contains(&key.as_str()) {
                labels.insert(key, value);
            } else if let Some(value) = value::text(value) {
                own.insert(key, value.into_owned());
            } else if value::is_long_text(value) {
                // It is a label of that name. Its presence matters, even without the value.
                own.insert(key, String::new());
            }
        });
        let mut labels = labels.labels;
        own.append(&mut labels.kept);
        Ok(Some(Self {
            id: id.ok_or("it has no container's id")?.into_owned(),
            action,
            time: nanos.and_then(timestamp).ok_or("it has no timeNano")?,
            attributes: own,
            labels_left_out: labels.left_out,
        }))
    }

    /// The approximate size in memory.
    pub(crate) fn bytes(&self) -> usize {
        let texts = self.attributes.iter();
        let size = |(key, value): (&String, &String)| {
            key.len() + value.len() + limits::LABEL_OVERHEAD_BYTES
        };
        let texts: usize = texts.map(size).sum();
        size_of::<Self>() + self.id.len() + texts
    }

    fn attribute<T: std::str::FromStr>(&self, key: &str) -> Option<T> {
        self.attributes.get(key)?.parse().ok()
    }

    /// The container's name, without the leading `/` of Podman and old Engines.
    #[must_use]
    pub fn name(&self) -> &str {
        let name = self.attributes.get("name").map_or("", String::as_str);
        name.strip_prefix('/').unwrap_or(name)
    }

    /// The name of the container's image.
    #[must_use]
    pub fn image(&self) -> &str {
        self.attributes.get("image").map_or("", String::as_str)
    }

    /// The exit code of a `die` event, and whether it is certain. Docker's `exitCode` may be a label
    /// instead, Podman's `containerExitCode` may not.
    #[must_use]
    pub fn exit_code(&self) -> (Option<i64>, bool) {
        match self.attribute("containerExitCode") {
            Some(code) => (Some(code), true),
            None => (self.attribute("exitCode"), false),
        }
    }

    /// The duration of the run that a `die` event ends, in whole seconds. Docker has it since 24.0.
    #[must_use]
    pub fn exec_duration(&self) -> Option<Duration> {
        self.attribute("execDuration").map(Duration::from_secs)
    }

    /// The signal of a `kill` event.
    #[must_use]
    pub fn signal(&self) -> Option<u8> {
        signal::parse_signal(self.attributes.get("signal")?)
    }

    /// The container's labels: all attributes except those of the action.
    #[must_use]
    pub fn labels(&self) -> Labels {
        let own: &[&str] = match self.action {
            Action::Die => &["exitCode", "containerExitCode", "execDuration"],
            Action::Destroy => &["containerExitCode"],
            Action::Healthy | Action::Unhealthy => &["health_status"],
            Action::Kill => &["signal"],
            Action::Rename => &["oldName"],
            _ => &[],
        };
        let labels = self.attributes.iter().filter(|(key, _)| {
            !matches!(key.as_str(), "name" | "image" | "podId") && !own.contains(&key.as_str())
        });
        Labels {
            kept: labels
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
            left_out: self.labels_left_out,
        }
    }
}

/// The action of Podman's `health_status` event, which has the status in an attribute.
fn podman_health(attributes: Option<&RawValue>) -> Option<Action> {
    let [health] = value::fields_of(attributes, ["health_status"]);
    match &*health.and_then(value::text)? {
        "healthy" => Some(Action::Healthy),
        "unhealthy" => Some(Action::Unhealthy),
        _ => None,
    }
}

/// The time of an event of any type.
pub(super) fn time(line: &str) -> Option<Timestamp> {
    let [nanos] = value::fields(line, ["timeNano"]).ok()?;
    timestamp(nanos?)
}

fn timestamp(nanos: &RawValue) -> Option<Timestamp> {
    let nanos = value::scalar::<i64>(Some(nanos)).filter(|nanos| *nanos > 0)?;
    Timestamp::from_nanosecond(nanos.into()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_action_has_its_own_name() {
        for (action, name) in Action::ALL {
            assert_eq!(action.name(), name);
        }
    }

    #[test]
    fn invalid_lines_fail_and_other_events_are_ignored() {
        let event = |kind: &str, action: &str, rest: &str| {
            Event::parse(&format!(r#"{{"Type":"{kind}","Action":"{action}"{rest}}}"#))
        };
        let rest = r#","Actor":{"ID":"1"},"timeNano":1795336842315241720"#;
        assert!(event("container", "die", rest).unwrap().is_some());
        for (kind, action) in [
            ("network", "create"),
            ("container", "exec_die"),
            ("container", "exec_create: sh"),
            ("container", "connect"),
            ("image", "die"),
            ("container", "health_status: starting"),
        ] {
            assert_eq!(event(kind, action, rest), Ok(None), "{kind} {action}");
        }
        for line in [
            "",
            "garbage",
            "[]",
            "{}",
            r#"{"Type":"container"}"#,
            r#"{"Type":"container","Action":"die","timeNano":1}"#,
            r#"{"Type":"container","Action":"die","Actor":{"ID":"1"}}"#,
            r#"{"Type":"container","Action":"die","Actor":null,"timeNano":1}"#,
            r#"{"Type":"container","Action":"die","Actor":{"ID":"1"},"timeNano":0}"#,
            r#"{"Type":"container","Action":"die","Actor":{"ID":"1"},"timeNano":-1500000000}"#,
        ] {
            assert!(Event::parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_die_event() {
        let line = r#"{"Type":"container","Action":"die","Actor":{"ID":"f00","Attributes":{
            "execDuration":"7","exitCode":"5","image":"busybox","job":"nightly","name":"fx-rm"}},
            "scope":"local","time":1795336842,"timeNano":1795336842315241720}"#;
        let event = Event::parse(line).unwrap().unwrap();
        assert_eq!(event.exit_code(), (Some(5), false));
        assert_eq!(event.exec_duration(), Some(Duration::from_secs(7)));
        assert_eq!((event.name(), event.image()), ("fx-rm", "busybox"));
        let labels = event.labels();
        let labels: Vec<_> = labels.iter().collect();
        assert_eq!(labels, [(&"job".to_owned(), &"nightly".to_owned())]);
        assert_eq!(event.time.as_nanosecond(), 1_795_336_842_315_241_720);
    }

    #[test]
    fn a_long_label_does_not_displace_the_exit_code() {
        let long = "x".repeat(1_000_000);
        let line = format!(
            r#"{{"Type":"container","Action":"die","Actor":{{"ID":"f00","Attributes":{{
            "a":"{long}","b":"c","exitCode":"5","signal":"{long}"}}}},"timeNano":1}}"#
        );
        let event = Event::parse(&line).unwrap().unwrap();
        assert_eq!(event.exit_code(), (Some(5), false));
        let labels = event.labels();
        assert_eq!((labels.len(), labels.left_out()), (2, 1));
        assert_eq!(labels["signal"], "");
    }

    #[test]
    fn podman_has_its_own_names() {
        let line = r#"{"Type":"container","Action":"remove","Actor":{"ID":"f00","Attributes":{
            "containerExitCode":"5","name":"x","podId":""}},"timeNano":1}"#;
        let event = Event::parse(line).unwrap().unwrap();
        assert_eq!(event.action, Action::Destroy);
        assert_eq!(event.exit_code(), (Some(5), true));
        assert!(event.labels().is_empty());
    }

    #[test]
    fn the_event_of_a_network_belongs_to_its_container() {
        let line = r#"{"Type":"network","Action":"disconnect","Actor":{"ID":"n","Attributes":{
            "container":"f00","name":"bridge","type":"bridge"}},"timeNano":1}"#;
        let event = Event::parse(line).unwrap().unwrap();
        assert_eq!((event.id.as_str(), event.name()), ("f00", ""));
        assert_eq!(event.action, Action::Disconnect);
        assert!(event.labels().is_empty());
    }

    #[test]
    fn the_health_status_is_in_the_action_or_in_an_attribute() {
        let health = |kind: &str, action: &str, attributes: &str| {
            let line = format!(
                r#"{{"Type":"{kind}","Action":"{action}","Actor":{{"ID":"1","Attributes":{{{attributes}}}}},"timeNano":1}}"#
            );
            Event::parse(&line).unwrap().map(|event| event.action)
        };
        let unhealthy = Some(Action::Unhealthy);
        let podman = r#""container":"f00","health_status":"unhealthy""#;
        for (kind, action, attributes, want) in [
            ("container", "health_status: unhealthy", "", unhealthy),
            ("container", "health_status", podman, unhealthy),
            ("container", "health_status", "", None),
            ("network", "health_status", podman, None),
            ("image", "health_status", podman, None),
        ] {
            assert_eq!(health(kind, action, attributes), want, "{kind} {action}");
        }
    }

    #[test]
    fn a_kill_event() {
        let line = r#"{"Type":"container","Action":"kill","Actor":{"ID":"1","Attributes":{"signal":"15"}},"timeNano":1}"#;
        let event = Event::parse(line).unwrap().unwrap();
        assert_eq!(event.signal(), Some(15));
        assert!(event.labels().is_empty());
    }
}
