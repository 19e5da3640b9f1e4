//! A ledger with a clock of its own, and what an Engine says of one container.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::engine::{Event, Inspected, listing};
use crate::labels::Filter;
use crate::ledger::{
    Entry, EventFeed, InspectFailure, InspectPlan, Ledger, Now, PendingInspects, RequestTimes,
};

/// The exporter's start, in seconds since 1970.
pub(super) const START: i64 = 1_795_336_800;

/// Time of the Engine, in seconds since the exporter's start.
pub(super) fn at(seconds: i64) -> Timestamp {
    at_millis(1000 * seconds)
}

pub(super) fn at_millis(millis: i64) -> Timestamp {
    Timestamp::from_second(START).unwrap() + SignedDuration::from_millis(millis)
}

pub(super) fn now_at(millis: i64) -> Now {
    Now {
        uptime: Duration::from_millis(millis.unsigned_abs()),
        engine: at_millis(millis),
        error: SignedDuration::ZERO,
    }
}

/// A request that is answered at once.
pub(super) fn times_at(millis: i64) -> RequestTimes {
    RequestTimes {
        asked: now_at(millis),
        answered: now_at(millis),
    }
}

/// A JSON object with some members added or replaced.
pub(super) fn with(object: &Value, more: &Value) -> Value {
    let mut object = object.clone();
    for (key, value) in more.as_object().into_iter().flatten() {
        object[key] = value.clone();
    }
    object
}

/// An event of a container. That of a network has no attributes of the container.
pub(super) fn event(id: &str, action: &str, at: Timestamp, attributes: &Value) -> Event {
    let nanos = i64::try_from(at.as_nanosecond()).unwrap();
    let mut line = json!({"Type": "container", "Action": action, "timeNano": nanos,
                          "Actor": {"ID": id, "Attributes": attributes}});
    if matches!(action, "connect" | "disconnect") {
        line["Type"] = "network".into();
        line["Actor"] = json!({"ID": "n1", "Attributes": {"container": id, "name": "bridge"}});
    }
    Event::parse(&line.to_string()).unwrap().unwrap()
}

/// An event of the container `c1`, which is called `web`.
pub(super) fn web_event(action: &str, second: i64, more: &Value) -> Event {
    let attributes = with(&json!({"name": "web", "image": "nginx"}), more);
    event("c1", action, at(second), &attributes)
}

/// The container `c1` in a listing.
pub(super) fn listed(state: &str, status: &str) -> Value {
    json!({"Id": "c1", "Names": ["/web"], "Image": "nginx", "State": state, "Status": status})
}

/// An inspect of a run from second `started` to second `finished`.
pub(super) fn inspect(state: &str, code: i64, started: i64, finished: i64) -> Value {
    json!({
        "State": {
            "Status": state,
            "ExitCode": code,
            "StartedAt": at(started).to_string(),
            "FinishedAt": at(finished).to_string(),
        },
        "Config": {"Image": "nginx"},
    })
}

/// All ids that are to be inspected.
pub(super) fn ids(pending: PendingInspects) -> Vec<Box<str>> {
    [pending.new, pending.retry, pending.created].concat()
}

/// A ledger and a clock.
pub(super) struct TestHost {
    pub(super) ledger: Ledger,
    /// Seconds since the exporter's start.
    pub(super) now: i64,
    /// Seconds by which the Engine's clock is ahead of where it was at the start.
    pub(super) ahead: i64,
    /// What the next listing has, in the tests of series.
    pub(super) listed: Vec<Value>,
}

impl TestHost {
    pub(super) fn new() -> Self {
        Self::with_retention(300)
    }

    pub(super) fn with_retention(seconds: u64) -> Self {
        Self {
            ledger: Ledger::new(Filter::default(), Duration::from_secs(seconds), at(0)),
            now: 10,
            ahead: 0,
            listed: Vec::new(),
        }
    }

    pub(super) fn time(&self) -> Now {
        Now {
            engine: at(self.now + self.ahead),
            ..now_at(1000 * self.now)
        }
    }

    pub(super) fn times(&self) -> RequestTimes {
        RequestTimes {
            asked: self.time(),
            answered: self.time(),
        }
    }

    /// Lists these containers and returns which are to be inspected. A scrape takes new workloads
    /// at once.
    pub(super) fn list(&mut self, containers: &[Value]) -> Vec<Box<str>> {
        let text = Value::Array(containers.to_vec()).to_string();
        let times = self.times();
        let pending = self.ledger.apply_listing(&listing(&text).unwrap(), &times);
        self.ledger.mark_scraped(u64::MAX);
        ids(pending)
    }

    pub(super) fn inspect(&mut self, id: &str, inspect: &Value) {
        let inspected = Inspected::parse(&inspect.to_string()).unwrap();
        let times = self.times();
        self.ledger.apply_inspect(id, &inspected, &times);
    }

    pub(super) fn inspect_fails(&mut self, id: &str, why: InspectFailure) -> bool {
        let now = self.time();
        self.ledger.inspect_failed(id, why, now)
    }

    /// Lists one container, inspects it if that is due, and returns whether it was.
    pub(super) fn collect(&mut self, listed: &Value, inspect: &Value) -> bool {
        let pending = self.list(std::slice::from_ref(listed));
        for id in &pending {
            self.inspect(id, inspect);
        }
        !pending.is_empty()
    }

    /// Applies an event of a container that is gone before its inspect.
    pub(super) fn apply_event(&mut self, event: &Event) {
        let now = self.time();
        if self.ledger.apply_event(event, now) == InspectPlan::Now {
            self.inspect_fails(&event.id, InspectFailure::Gone);
        }
    }

    pub(super) fn web_event(&mut self, action: &str, second: i64, more: &Value) {
        self.apply_event(&web_event(action, second, more));
    }

    /// Each exit as `name code reason [at time] [after duration]`.
    pub(super) fn exits(&self) -> Vec<String> {
        self.ledger.exits().map(|entry| text(&entry)).collect()
    }

    /// The last exits of containers that run again, in the same form.
    pub(super) fn last_exits(&self) -> Vec<String> {
        self.ledger.last_exits().map(|entry| text(&entry)).collect()
    }

    /// Each exit as `name code reason`.
    pub(super) fn exits_without_times(&self) -> Vec<String> {
        let cut = |text: &String| text.split(" at ").next().unwrap().to_owned();
        self.exits().iter().map(cut).collect()
    }

    /// Labels of the series of each exit.
    pub(super) fn labels(&self) -> Vec<&str> {
        self.ledger.exits().map(|entry| &**entry.labels).collect()
    }

    /// Exit codes of what is reported now.
    pub(super) fn report_codes(&mut self, events: EventFeed) -> Vec<i64> {
        let now = self.time();
        let reports = self.ledger.report(now, events).into_iter();
        reports.map(|report| report.exit.code.unwrap()).collect()
    }

    /// What is reported now, each as `code reason`, in order.
    pub(super) fn reports(&mut self, events: EventFeed) -> Vec<String> {
        let now = self.time();
        let reports = self.ledger.report(now, events).into_iter();
        let mut all: Vec<_> = reports
            .map(|report| {
                let code = report.exit.code.map_or("?".to_owned(), |it| it.to_string());
                format!("{code} {}", report.exit.reason.name())
            })
            .collect();
        all.sort();
        all
    }

    /// Number of counted exits, of all workloads and reasons.
    pub(super) fn counted(&self) -> u64 {
        let workloads = self.ledger.workloads();
        workloads.iter().flat_map(|(_, counts)| counts.exits).sum()
    }
}

fn text(entry: &Entry<'_>) -> String {
    let exit = entry.exit;
    let mut text = match exit.code {
        Some(code) => format!("{} {code} {}", entry.name, exit.reason.name()),
        None => format!("{} ?", entry.name),
    };
    if let Some(time) = exit.finished_at {
        text += &format!(" at {}", time.duration_since(at(0)).as_secs());
    }
    if let Some(time) = exit.duration {
        text += &format!(" after {}", time.as_secs());
    }
    text
}
