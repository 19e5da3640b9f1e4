//! Replicas of a service, created one after the other, and a ledger that sees them.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::{at_millis, event, ids, now_at, times_at, with};
use crate::engine::{Event, Inspected, listing};
use crate::ledger::{InspectFailure, InspectPlan, Ledger, Now};

/// Time since the exporter's start, in milliseconds.
pub(super) type Millis = i64;

/// Labels of a Swarm task, in a slot or on a node.
pub(super) fn task(service: &str, slot: &str, task: &str) -> Value {
    json!({
        "com.docker.swarm.node.id": "t7tw",
        "com.docker.swarm.service.id": format!("id-of-{service}"),
        "com.docker.swarm.service.name": service,
        "com.docker.swarm.task": "",
        "com.docker.swarm.task.id": task,
        "com.docker.swarm.task.name": format!("{service}.{slot}.{task}"),
    })
}

/// Labels of a container of a Compose service.
pub(super) fn compose(project: &str, service: &str, number: &str, oneoff: &str) -> Value {
    json!({
        "com.docker.compose.project": project,
        "com.docker.compose.service": service,
        "com.docker.compose.container-number": number,
        "com.docker.compose.oneoff": oneoff,
    })
}

/// A container and its times.
#[derive(Debug, Clone)]
pub(super) struct Replica {
    pub(super) id: String,
    pub(super) labels: Value,
    pub(super) created: Millis,
    /// It runs from its creation until then.
    pub(super) died: Option<Millis>,
    pub(super) removed: Option<Millis>,
}

impl Replica {
    pub(super) fn new(id: &str, labels: &Value, created: Millis) -> Self {
        Self {
            id: id.to_owned(),
            labels: labels.clone(),
            created,
            died: None,
            removed: None,
        }
    }

    pub(super) fn died(mut self, at: Millis) -> Self {
        self.died = Some(at);
        self
    }

    pub(super) fn exists(&self, now: Millis) -> bool {
        self.created <= now && self.removed.is_none_or(|removed| now < removed)
    }

    pub(super) fn ended(&self, now: Millis) -> bool {
        self.died.is_some_and(|died| died <= now)
    }

    pub(super) fn listed(&self, now: Millis) -> Value {
        let (state, status) = if self.ended(now) {
            ("exited", "Exited (3) 2 minutes ago")
        } else {
            ("running", "Up 2 minutes")
        };
        json!({"Id": self.id, "Names": [format!("/{}", self.id)], "Image": "i", "Labels": self.labels,
               "Created": at_millis(self.created).as_second(), "State": state, "Status": status})
    }

    pub(super) fn inspect(&self, now: Millis) -> Inspected {
        let state = if self.ended(now) { "exited" } else { "running" };
        let ended = at_millis(self.died.unwrap_or_default()).to_string();
        let text = json!({
            "Created": at_millis(self.created).to_string(),
            "State": {"Status": state, "ExitCode": 3, "StartedAt": at_millis(self.created).to_string(), "FinishedAt": ended},
            "Config": {"Image": "i", "Labels": self.labels},
        });
        Inspected::parse(&text.to_string()).unwrap()
    }

    pub(super) fn event(&self, action: &str, time: Millis) -> Event {
        let mut attributes = with(&self.labels, &json!({"name": self.id, "image": "i"}));
        if action == "die" {
            attributes["exitCode"] = "3".into();
        }
        event(&self.id, action, at_millis(time), &attributes)
    }

    /// Its events. `create` comes slightly after the creation.
    pub(super) fn events(&self) -> Vec<(Millis, Event)> {
        let all = [
            ("create", Some(self.created + 2)),
            ("start", Some(self.created + 3)),
            ("die", self.died),
            ("destroy", self.removed),
        ];
        let replica = all
            .into_iter()
            .filter_map(|(action, time)| Some((action, time?)));
        replica
            .map(|(action, time)| (time, self.event(action, time)))
            .collect()
    }
}

/// A ledger and a clock.
pub(super) struct ServiceHost {
    pub(super) ledger: Ledger,
    pub(super) now: Millis,
    /// Whether a proxy refuses inspects.
    pub(super) no_inspects: bool,
}

impl ServiceHost {
    pub(super) fn new() -> Self {
        Self::with_filter("*")
    }

    pub(super) fn with_filter(filter: &str) -> Self {
        let retention = Duration::from_secs(3600);
        Self {
            ledger: Ledger::new(filter.parse().unwrap(), retention, at_millis(0)),
            now: 600_000,
            no_inspects: false,
        }
    }

    pub(super) fn time(&self) -> Now {
        now_at(self.now)
    }

    /// Lists these containers and returns which are to be inspected.
    pub(super) fn apply_listing(&mut self, listed: Vec<Value>) -> Vec<Box<str>> {
        let text = Value::Array(listed).to_string();
        let times = times_at(self.now);
        ids(self.ledger.apply_listing(&listing(&text).unwrap(), &times))
    }

    pub(super) fn apply_inspect(&mut self, id: &str, inspected: &Inspected) {
        self.ledger
            .apply_inspect(id, inspected, &times_at(self.now));
    }

    /// Lists those that exist, newest first as Docker does, and inspects those that are due.
    pub(super) fn list(&mut self, all: &[Replica]) {
        let mut existing: Vec<_> = all.iter().filter(|it| it.exists(self.now)).collect();
        existing.sort_by_key(|it| -it.created);
        self.list_in_order(&existing);
    }

    pub(super) fn list_in_order(&mut self, all: &[&Replica]) {
        let listed = all.iter().map(|it| it.listed(self.now)).collect();
        for id in self.apply_listing(listed) {
            let replica = all.iter().find(|it| *it.id == *id);
            let why = match replica {
                Some(replica) if !self.no_inspects => {
                    self.apply_inspect(&id, &replica.inspect(self.now));
                    continue;
                }
                _ if self.no_inspects => InspectFailure::Refused,
                _ => InspectFailure::Gone,
            };
            let now = self.time();
            self.ledger.inspect_failed(&id, why, now);
        }
    }

    /// Applies an event of a container that is gone before its inspect.
    pub(super) fn apply_event(&mut self, event: &Event) {
        let now = self.time();
        if self.ledger.apply_event(event, now) == InspectPlan::Now {
            self.ledger
                .inspect_failed(&event.id, InspectFailure::Gone, now);
        }
    }

    /// The exits as `id` or, if superseded, `(id)`.
    pub(super) fn exits(&mut self) -> String {
        self.ledger.find_superseded();
        let ids = self.ledger.exits().map(|entry| {
            if entry.is_superseded {
                format!("({})", entry.id)
            } else {
                entry.id.to_string()
            }
        });
        ids.collect::<Vec<_>>().join(" ")
    }
}
