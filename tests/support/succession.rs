//! Containers of one service, one after the other, and a ledger that is told of them.

use std::time::Duration;

use docker_exit_exporter::engine::{Event, Inspected, listing};
use docker_exit_exporter::labels::Filter;
use docker_exit_exporter::ledger::{Asking, Ledger, Next, NotInspected, Now};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// A moment, in milliseconds since the exporter's start.
pub(crate) type Millis = i64;

pub(crate) fn at(millis: Millis) -> Timestamp {
    let start = Timestamp::from_second(1_795_336_800).unwrap();
    start + SignedDuration::from_millis(millis)
}

/// The labels of a task of a Swarm service, in this slot or on this node.
pub(crate) fn task(service: &str, slot: &str, task: &str) -> Value {
    json!({
        "com.docker.swarm.node.id": "t7tw",
        "com.docker.swarm.service.id": format!("id-of-{service}"),
        "com.docker.swarm.service.name": service,
        "com.docker.swarm.task": "",
        "com.docker.swarm.task.id": task,
        "com.docker.swarm.task.name": format!("{service}.{slot}.{task}"),
    })
}

/// The labels of a container of a Compose service.
pub(crate) fn compose(project: &str, service: &str, number: &str, oneoff: &str) -> Value {
    json!({
        "com.docker.compose.project": project,
        "com.docker.compose.service": service,
        "com.docker.compose.container-number": number,
        "com.docker.compose.oneoff": oneoff,
    })
}

/// A container, and when what became of it.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) id: String,
    pub(crate) labels: Value,
    pub(crate) created: Millis,
    /// It ran from its creation to then.
    pub(crate) died: Option<Millis>,
    pub(crate) removed: Option<Millis>,
}

impl Made {
    pub(crate) fn new(id: &str, labels: &Value, created: Millis) -> Self {
        Self {
            id: id.to_owned(),
            labels: labels.clone(),
            created,
            died: None,
            removed: None,
        }
    }

    pub(crate) fn died(mut self, at: Millis) -> Self {
        self.died = Some(at);
        self
    }

    pub(crate) fn stands(&self, now: Millis) -> bool {
        self.created <= now && self.removed.is_none_or(|removed| now < removed)
    }

    pub(crate) fn ended(&self, now: Millis) -> bool {
        self.died.is_some_and(|died| died <= now)
    }

    pub(crate) fn listed(&self, now: Millis) -> Value {
        let (state, status) = if self.ended(now) {
            ("exited", "Exited (3) 2 minutes ago")
        } else {
            ("running", "Up 2 minutes")
        };
        json!({"Id": self.id, "Names": [format!("/{}", self.id)], "Image": "i", "Labels": self.labels,
               "Created": at(self.created).as_second(), "State": state, "Status": status})
    }

    pub(crate) fn inspect(&self, now: Millis) -> Inspected {
        let state = if self.ended(now) { "exited" } else { "running" };
        let ended = at(self.died.unwrap_or_default()).to_string();
        let text = json!({
            "Created": at(self.created).to_string(),
            "State": {"Status": state, "ExitCode": 3, "StartedAt": at(self.created).to_string(), "FinishedAt": ended},
            "Config": {"Image": "i", "Labels": self.labels},
        });
        Inspected::parse(&text.to_string()).unwrap()
    }

    pub(crate) fn event(&self, action: &str, time: Millis) -> Event {
        let mut attributes = self.labels.clone();
        attributes["name"] = self.id.as_str().into();
        attributes["image"] = "i".into();
        if action == "die" {
            attributes["exitCode"] = "3".into();
        }
        let line = json!({
            "Type": "container", "Action": action,
            "timeNano": i64::try_from(at(time).as_nanosecond()).unwrap(),
            "Actor": {"ID": self.id, "Attributes": attributes},
        });
        Event::parse(&line.to_string()).unwrap().unwrap()
    }

    /// Its events, the `create` event a little after its creation.
    pub(crate) fn events(&self) -> Vec<(Millis, Event)> {
        let all = [
            ("create", Some(self.created + 2)),
            ("start", Some(self.created + 3)),
            ("die", self.died),
            ("destroy", self.removed),
        ];
        let made = all
            .into_iter()
            .filter_map(|(action, time)| Some((action, time?)));
        made.map(|(action, time)| (time, self.event(action, time)))
            .collect()
    }
}

/// A ledger with a clock of its own.
pub(crate) struct Host {
    pub(crate) ledger: Ledger,
    pub(crate) now: Millis,
    /// A proxy lets no inspect through.
    pub(crate) no_inspects: bool,
}

impl Host {
    pub(crate) fn new() -> Self {
        Self::with_filter("*")
    }

    pub(crate) fn with_filter(filter: &str) -> Self {
        let retention = Duration::from_secs(3600);
        Self {
            ledger: Ledger::new(filter.parse::<Filter>().unwrap(), retention, at(0)),
            now: 600_000,
            no_inspects: false,
        }
    }

    pub(crate) fn time(&self) -> Now {
        Now {
            uptime: Duration::from_millis(self.now.unsigned_abs()),
            engine: at(self.now),
            error: SignedDuration::ZERO,
        }
    }

    /// Lists these elements and returns which are to be inspected.
    pub(crate) fn take_listing(&mut self, listed: Vec<Value>) -> Vec<Box<str>> {
        let times = Asking {
            asked: self.time(),
            answered: self.time(),
        };
        let text = Value::Array(listed).to_string();
        let pending = self.ledger.apply_listing(&listing(&text).unwrap(), &times);
        [pending.new, pending.unexplained, pending.created].concat()
    }

    pub(crate) fn take_inspect(&mut self, id: &str, inspected: &Inspected) {
        let times = Asking {
            asked: self.time(),
            answered: self.time(),
        };
        self.ledger.apply_inspect(id, inspected, &times);
    }

    /// Lists those that stand, the newest first as Docker does, and inspects what is to be.
    pub(crate) fn list(&mut self, all: &[Made]) {
        let mut standing: Vec<_> = all.iter().filter(|it| it.stands(self.now)).collect();
        standing.sort_by_key(|it| -it.created);
        self.list_in_order(&standing);
    }

    pub(crate) fn list_in_order(&mut self, all: &[&Made]) {
        let listed = all.iter().map(|it| it.listed(self.now)).collect();
        for id in self.take_listing(listed) {
            let made = all.iter().find(|it| *it.id == *id);
            let why = match made {
                Some(made) if !self.no_inspects => {
                    self.take_inspect(&id, &made.inspect(self.now));
                    continue;
                }
                _ if self.no_inspects => NotInspected::Refused,
                _ => NotInspected::Gone,
            };
            let now = self.time();
            self.ledger.inspect_failed(&id, why, now);
        }
    }

    /// Takes in an event; nobody can be inspected.
    pub(crate) fn happened(&mut self, event: &Event) {
        let now = self.time();
        if self.ledger.apply_event(event, now) == Next::Inspect {
            self.ledger
                .inspect_failed(&event.id, NotInspected::Gone, now);
        }
    }

    /// The exits as `id` or, of what is superseded, `(id)`.
    pub(crate) fn exits(&mut self) -> String {
        self.ledger.find_superseded();
        let ids = self.ledger.exits().map(|entry| {
            if entry.superseded {
                format!("({})", entry.id)
            } else {
                entry.id.to_string()
            }
        });
        ids.collect::<Vec<_>>().join(" ")
    }
}
