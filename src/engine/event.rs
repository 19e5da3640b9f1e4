//! One line of the event stream.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::value::RawValue;

use super::{Labels, signal, value};

/// Something that happened to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The container's id.
    pub id: String,
    /// What happened.
    pub action: Action,
    /// When the Engine made the event (`timeNano`), by its clock.
    pub time: Timestamp,
    /// The container's name, image and labels, and what belongs to the action, all in one map: a
    /// label can hide what belongs to the action, and is hidden itself by name and image (moby
    /// `daemon/events.go`).
    pub attributes: BTreeMap<String, String>,
    /// How many labels more there are, which are not taken.
    pub labels_left_out: usize,
}

/// What happened to a container, as far as it is of interest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It was made.
    Create,
    /// Someone reads its output; `docker run` does so before the start.
    Attach,
    /// It was connected to a network, as at each start.
    Connect,
    /// It was disconnected from a network, as after each end, and after a start that failed.
    Disconnect,
    /// Its process was started.
    Start,
    /// Its health check succeeds.
    Healthy,
    /// Its health check fails.
    Unhealthy,
    /// The kernel's OOM killer came.
    Oom,
    /// A signal was sent to it.
    Kill,
    /// Its process ended.
    Die,
    /// It was stopped on request; comes after `die`.
    Stop,
    /// It was removed; Podman says `remove`.
    Destroy,
    /// It has a new name.
    Rename,
    /// Its process was frozen.
    Pause,
    /// Its process goes on.
    Unpause,
}

impl Action {
    /// All of them, in the order of their metric.
    pub const ALL: [Self; 15] = [
        Self::Create,
        Self::Attach,
        Self::Connect,
        Self::Disconnect,
        Self::Start,
        Self::Healthy,
        Self::Unhealthy,
        Self::Oom,
        Self::Kill,
        Self::Die,
        Self::Stop,
        Self::Destroy,
        Self::Rename,
        Self::Pause,
        Self::Unpause,
    ];

    /// Docker's word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Attach => "attach",
            Self::Connect => "connect",
            Self::Disconnect => "disconnect",
            Self::Start => "start",
            Self::Healthy => "health_status: healthy",
            Self::Unhealthy => "health_status: unhealthy",
            Self::Oom => "oom",
            Self::Kill => "kill",
            Self::Die => "die",
            Self::Stop => "stop",
            Self::Destroy => "destroy",
            Self::Rename => "rename",
            Self::Pause => "pause",
            Self::Unpause => "unpause",
        }
    }

    /// Reads an event's action. Those of networks are connecting and disconnecting, and no others.
    fn parse(kind: &str, word: &str) -> Option<Self> {
        let action = match word {
            "died" => Self::Die,
            "remove" => Self::Destroy,
            word => Self::ALL.into_iter().find(|action| action.name() == word)?,
        };
        let of_network = matches!(action, Self::Connect | Self::Disconnect);
        let is_of_kind = match kind {
            "container" => !of_network,
            "network" => of_network,
            _ => false,
        };
        is_of_kind.then_some(action)
    }
}

/// Attributes that are not labels, which are kept whatever room the labels take.
const OWN: [&str; 9] = [
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

impl Event {
    /// Reads one line. `Ok(None)` is an event of no interest.
    ///
    /// # Errors
    /// If it is not the JSON of an event, with the reason.
    pub fn parse(line: &str) -> Result<Option<Self>, String> {
        let [kind, action, actor, nanos] =
            value::fields(line, ["Type", "Action", "Actor", "timeNano"])
                .map_err(|error| error.to_string())?;
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
        let mut labels = value::Bounded::default();
        // Those of a network are not the container's.
        value::for_each_value(attributes.filter(|_| !of_network), |key, value| {
            if !OWN.contains(&key.as_str()) {
                labels.insert(key, value);
            } else if let Some(value) = value::text(value) {
                own.insert(key, value.into_owned());
            } else if value::is_long_text(value) {
                // A label of that name: that there is one must be known.
                own.insert(key, String::new());
            }
        });
        let mut labels = labels.labels;
        own.append(&mut labels.taken);
        Ok(Some(Self {
            id: id.ok_or("it has no container's id")?.into_owned(),
            action,
            time: nanos.and_then(timestamp).ok_or("it has no timeNano")?,
            attributes: own,
            labels_left_out: labels.left_out,
        }))
    }

    /// About what it takes in memory.
    pub(crate) fn bytes(&self) -> usize {
        let texts = self.attributes.iter();
        // Each text has a place of its own, with what the allocator needs.
        let texts: usize = texts.map(|(key, value)| key.len() + value.len() + 96).sum();
        size_of::<Self>() + self.id.len() + texts
    }

    fn attribute<T: std::str::FromStr>(&self, key: &str) -> Option<T> {
        self.attributes.get(key)?.parse().ok()
    }

    /// The container's name; Podman and old Engines may write it with a `/` in front.
    #[must_use]
    pub fn name(&self) -> &str {
        let name = self.attributes.get("name").map_or("", String::as_str);
        name.strip_prefix('/').unwrap_or(name)
    }

    /// The name of the image that it was created from.
    #[must_use]
    pub fn image(&self) -> &str {
        self.attributes.get("image").map_or("", String::as_str)
    }

    /// The exit code of a `die` event, and whether it is beyond doubt: Podman says it twice, by a
    /// name that no label has.
    #[must_use]
    pub fn exit_code(&self) -> (Option<i64>, bool) {
        match self.attribute("containerExitCode") {
            Some(code) => (Some(code), true),
            None => (self.attribute("exitCode"), false),
        }
    }

    /// How long the run took that a `die` event ends, in whole seconds; since Docker 24.0.
    #[must_use]
    pub fn exec_duration(&self) -> Option<Duration> {
        self.attribute("execDuration").map(Duration::from_secs)
    }

    /// The signal of a `kill` event.
    #[must_use]
    pub fn signal(&self) -> Option<u8> {
        signal::number(self.attributes.get("signal")?)
    }

    /// The attributes that are not this action's own, so labels, most likely.
    #[must_use]
    pub fn labels(&self) -> Labels {
        let own: &[&str] = match self.action {
            Action::Die => &["exitCode", "containerExitCode", "execDuration"],
            // Podman's.
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
            taken: labels
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
            left_out: self.labels_left_out,
        }
    }
}

/// Podman has the health in an attribute.
fn podman_health(attributes: Option<&RawValue>) -> Option<Action> {
    let [health] = value::fields_of(attributes, ["health_status"]);
    match &*health.and_then(value::text)? {
        "healthy" => Some(Action::Healthy),
        "unhealthy" => Some(Action::Unhealthy),
        _ => None,
    }
}

/// When an event of any type was made.
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
    fn what_is_no_event_and_what_is_of_no_interest() {
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
    fn labels_leave_room_for_the_code() {
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
    fn podman_has_its_own_words() {
        let line = r#"{"Type":"container","Action":"remove","Actor":{"ID":"f00","Attributes":{
            "containerExitCode":"5","name":"x","podId":""}},"timeNano":1}"#;
        let event = Event::parse(line).unwrap().unwrap();
        assert_eq!(event.action, Action::Destroy);
        assert_eq!(event.exit_code(), (Some(5), true));
        assert!(event.labels().is_empty());
    }

    #[test]
    fn a_networks_event_is_of_its_container() {
        let line = r#"{"Type":"network","Action":"disconnect","Actor":{"ID":"n","Attributes":{
            "container":"f00","name":"bridge","type":"bridge"}},"timeNano":1}"#;
        let event = Event::parse(line).unwrap().unwrap();
        assert_eq!((event.id.as_str(), event.name()), ("f00", ""));
        assert_eq!(event.action, Action::Disconnect);
        assert!(event.labels().is_empty());
    }

    #[test]
    fn health_comes_in_two_ways_of_containers_alone() {
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
