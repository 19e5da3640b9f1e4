//! One line of the event stream.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{signal, value};
use jiff::Timestamp;

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
}

/// What happened to a container, as far as it is of interest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It was made.
    Create,
    /// Its process was started.
    Start,
    /// Its process ended.
    Die,
    /// The kernel's OOM killer came.
    Oom,
    /// A signal was sent to it.
    Kill,
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
    pub const ALL: [Self; 9] = [
        Self::Create,
        Self::Start,
        Self::Die,
        Self::Oom,
        Self::Kill,
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
            Self::Start => "start",
            Self::Die => "die",
            Self::Oom => "oom",
            Self::Kill => "kill",
            Self::Destroy => "destroy",
            Self::Rename => "rename",
            Self::Pause => "pause",
            Self::Unpause => "unpause",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        match word {
            "died" => Some(Self::Die),
            "remove" => Some(Self::Destroy),
            word => Self::ALL.into_iter().find(|action| action.name() == word),
        }
    }
}

/// Attributes that are not labels, which are kept whatever room the labels take.
const OWN: [&str; 8] = [
    "name",
    "image",
    "podId",
    "exitCode",
    "containerExitCode",
    "execDuration",
    "signal",
    "oldName",
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
        let action = action.and_then(value::text).ok_or("it has no Action")?;
        let (true, Some(action)) = (kind == "container", Action::parse(&action)) else {
            return Ok(None);
        };
        let [id, attributes] = value::fields_of(actor, ["ID", "Attributes"]);
        let id = id.and_then(value::text).filter(|id| !id.is_empty());
        let nanos = value::scalar::<i64>(nanos).filter(|nanos| *nanos > 0);
        let time = nanos.and_then(|nanos| Timestamp::from_nanosecond(nanos.into()).ok());
        let mut own = BTreeMap::new();
        let mut labels = value::Bounded::default();
        value::for_each_value(attributes, |key, value| {
            if !OWN.contains(&key.as_str()) {
                labels.insert(key, value);
            } else if let Some(value) = value::text(value) {
                own.insert(key, value.into_owned());
            }
        });
        own.append(&mut labels.labels);
        Ok(Some(Self {
            id: id.ok_or("it has no Actor.ID")?.into_owned(),
            action,
            time: time.ok_or("it has no timeNano")?,
            attributes: own,
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
    pub fn labels(&self) -> BTreeMap<String, String> {
        let own: &[&str] = match self.action {
            Action::Die => &["exitCode", "containerExitCode", "execDuration"],
            Action::Kill => &["signal"],
            Action::Rename => &["oldName"],
            _ => &[],
        };
        let labels = self.attributes.iter().filter(|(key, _)| {
            !matches!(key.as_str(), "name" | "image" | "podId") && !own.contains(&key.as_str())
        });
        labels
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }
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
            ("container", "attach"),
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
        let labels: Vec<_> = event.labels().into_iter().collect();
        assert_eq!(labels, [("job".to_owned(), "nightly".to_owned())]);
        assert_eq!(event.time.as_nanosecond(), 1_795_336_842_315_241_720);
    }

    #[test]
    fn labels_leave_room_for_the_code() {
        let long = "x".repeat(1_000_000);
        let line = format!(
            r#"{{"Type":"container","Action":"die","Actor":{{"ID":"f00","Attributes":{{
            "a":"{long}","b":"c","exitCode":"5"}}}},"timeNano":1}}"#
        );
        let event = Event::parse(&line).unwrap().unwrap();
        assert_eq!(event.exit_code(), (Some(5), false));
        assert_eq!(event.labels().len(), 1);
    }

    #[test]
    fn podman_has_its_own_words() {
        let line = r#"{"Type":"container","Action":"remove","Actor":{"ID":"f00","Attributes":{
            "containerExitCode":"5","exitCode":"0","name":"x","podId":""}},"timeNano":1}"#;
        let event = Event::parse(line).unwrap().unwrap();
        assert_eq!(event.action, Action::Destroy);
        assert_eq!(event.exit_code(), (Some(5), true));
        assert!(!event.labels().contains_key("podId"));
    }

    #[test]
    fn a_kill_event() {
        let line = r#"{"Type":"container","Action":"kill","Actor":{"ID":"1","Attributes":{"signal":"15"}},"timeNano":1}"#;
        let event = Event::parse(line).unwrap().unwrap();
        assert_eq!(event.signal(), Some(15));
        assert!(event.labels().is_empty());
    }
}
