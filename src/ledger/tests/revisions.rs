//! As long as the revision is the same, so is the output. And nothing stays past its time.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::support::{at_millis, event, now_at, times_at, with};
use crate::cgroup::Layout;
use crate::engine::{EngineInfo, Event, Inspected, listing};
use crate::exposition::Renderer;
use crate::labels::Filter;
use crate::ledger::{EventFeed, InspectFailure, InspectPlan, Ledger};
use crate::page::{ContainerSnapshot, Row, RowCache};

const FEEDS: [EventFeed; 3] = [EventFeed::Off, EventFeed::CatchingUp, EventFeed::Live];

/// Actions of events. The ends are more frequent than the others.
const ACTIONS: [&str; 12] = [
    "create",
    "attach",
    "connect",
    "disconnect",
    "start",
    "kill",
    "health_status: unhealthy",
    "die",
    "die",
    "die",
    "stop",
    "destroy",
];

const RETENTION: Duration = Duration::from_secs(20);

/// What a listing, an event or an inspect shows of one container.
#[derive(Debug, Clone)]
struct Observation {
    container: usize,
    state: usize,
    action: usize,
    code: i64,
    name: usize,
    /// Age of the event, in milliseconds.
    age: i64,
    inspect: usize,
}

#[derive(Debug, Clone)]
enum Step {
    List(Vec<Observation>),
    Event(Observation),
    Inspect(Observation),
    Report(EventFeed),
    Layout(bool),
    Expire,
    /// A scrape takes the text.
    Scrape,
}

fn observations() -> impl Strategy<Value = Observation> {
    let parts = (
        0..4_usize,
        0..6_usize,
        0..ACTIONS.len(),
        0..3_i64,
        0..8_usize,
    );
    let more = (prop_oneof![0..50_i64, 0..9_000_i64], 0..5_usize);
    (parts, more).prop_map(
        |((container, state, action, code, name), (age, inspect))| Observation {
            container,
            state,
            action,
            code,
            name,
            age,
            inspect,
        },
    )
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => prop::collection::vec(observations(), 0..5).prop_map(Step::List),
        4 => observations().prop_map(Step::Event),
        2 => observations().prop_map(Step::Inspect),
        2 => prop::sample::select(&FEEDS[..]).prop_map(Step::Report),
        1 => any::<bool>().prop_map(Step::Layout),
        1 => Just(Step::Expire),
        1 => Just(Step::Scrape),
    ]
}

impl Observation {
    fn id(&self) -> String {
        format!("c{}", self.container)
    }

    /// Rarely another one.
    fn name(&self) -> String {
        format!("{}{}", self.id(), if self.name == 0 { "-old" } else { "" })
    }

    fn labels(&self) -> Value {
        match self.container {
            0 | 1 => {
                json!({"com.docker.compose.project": "p", "com.docker.compose.service": "s",
                       "com.docker.compose.container-number": "1"})
            }
            2 => {
                json!({"com.docker.swarm.service.name": "w", "com.docker.swarm.task.name": "w.1.t"})
            }
            _ => json!({}),
        }
    }

    fn listed(&self, now: i64) -> Value {
        let age = format!("{} seconds ago", self.age / 1000 + 1);
        let (state, status) = [
            ("created", "Created".to_owned()),
            ("running", format!("Up {age}")),
            ("restarting", format!("Restarting ({}) {age}", self.code)),
            ("exited", format!("Exited ({}) {age}", self.code)),
            ("exited", format!("Exited ({}) {age}", self.code)),
            ("dead", "Dead".to_owned()),
        ][self.state]
            .clone();
        json!({"Id": self.id(), "Names": [format!("/{}", self.name())], "Image": "i", "State": state,
               "Status": status, "Labels": self.labels(), "Created": at_millis(now - 10_000).as_second()})
    }

    fn event(&self, now: i64) -> Event {
        let names = json!({"name": self.name(), "image": "i"});
        let mut attributes = with(&self.labels(), &names);
        let action = ACTIONS[self.action];
        match action {
            "die" => attributes["exitCode"] = self.code.to_string().into(),
            "kill" => attributes["signal"] = "15".into(),
            _ => {}
        }
        event(&self.id(), action, at_millis(now - self.age), &attributes)
    }

    fn inspect(&self, now: i64, ledger: &mut Ledger) {
        let fail = match self.inspect {
            0 | 1 => None,
            2 => Some(InspectFailure::Gone),
            3 => Some(InspectFailure::Failed),
            _ => Some(InspectFailure::Refused),
        };
        if let Some(why) = fail {
            ledger.inspect_failed(&self.id(), why, now_at(now));
            return;
        }
        let state = ["exited", "running"][self.inspect];
        let began = at_millis(now - self.age - 1_000).to_string();
        let ended = at_millis(now - self.age).to_string();
        let inspected = json!({
            "Created": at_millis(now - 10_000).to_string(),
            "State": {"Status": state, "ExitCode": self.code, "StartedAt": began, "FinishedAt": ended},
            "Config": {"Image": "i", "Labels": self.labels()},
        });
        let inspected = Inspected::parse(&inspected.to_string()).unwrap();
        ledger.apply_inspect(&self.id(), &inspected, &times_at(now));
    }
}

/// Renders text and page, and keeps what has not changed.
#[derive(Default)]
struct Outputs {
    renderer: Renderer,
    rows: RowCache,
}

/// Everything clients can see, and its revision.
#[derive(Debug, Clone, PartialEq)]
struct Output {
    revision: u64,
    text: String,
    page: ContainerSnapshot,
}

impl Outputs {
    fn shown(&mut self, ledger: &mut Ledger) -> Output {
        ledger.find_superseded();
        let engine = EngineInfo::default();
        let text = self.renderer.render(true, true, &engine, ledger);
        Output {
            revision: ledger.revision(),
            text: text.plain(),
            page: self.rows.update(ledger),
        }
    }
}

/// Revision of each shard.
fn revisions(ledger: &Ledger) -> Vec<u64> {
    let slots = 0..Ledger::SHARDS;
    slots.map(|at| ledger.revision_of(at..at + 1)).collect()
}

/// Which slots are the same as before, and not only equal.
fn kept<'a>(
    before: &'a ContainerSnapshot,
    after: &'a ContainerSnapshot,
) -> impl Iterator<Item = bool> + 'a {
    let slots = before.shards.iter().zip(&after.shards);
    slots.map(|(one, other): (&Arc<[Row]>, _)| Arc::ptr_eq(one, other))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_output_changes_only_with_the_revision(
        all in prop::collection::vec((0..4_000_i64, steps()), 1..40),
    ) {
        let mut ledger = Ledger::new(Filter::default(), RETENTION, at_millis(0));
        ledger.set_podman(false);
        let mut now = 0;
        let mut outputs = Outputs::default();
        let mut before = outputs.shown(&mut ledger);
        let mut revisions_before = revisions(&ledger);
        let mut failing = ledger.failing_revision();
        for (pause, step) in all {
            now += pause;
            let uptime = Duration::from_millis(now.unsigned_abs());
            match &step {
                Step::List(observations) => {
                    let text = Value::Array(observations.iter().map(|it| it.listed(now)).collect());
                    let text = text.to_string();
                    ledger.apply_listing(&listing(&text).unwrap(), &times_at(now));
                }
                Step::Event(observation) => {
                    ledger.apply_event(&observation.event(now), now_at(now));
                }
                Step::Inspect(observation) => observation.inspect(now, &mut ledger),
                Step::Report(events) => {
                    ledger.report(now_at(now), *events);
                }
                Step::Layout(known) => ledger.set_layout(known.then(Layout::default)),
                Step::Scrape => {
                    let unshown = ledger.workloads().unscraped_revision();
                    ledger.mark_scraped(unshown.unwrap_or_default());
                    prop_assert_eq!(ledger.workloads().unscraped_revision(), None);
                }
                Step::Expire => {
                    ledger.expire(uptime);
                    let next = ledger.next_expiry();
                    prop_assert!(next.is_none_or(|next| next > uptime), "{next:?} at {uptime:?}");
                }
            }
            // Output that reuses parts does not differ from fresh output.
            let fresh = Outputs::default().shown(&mut ledger);
            let after = outputs.shown(&mut ledger);
            prop_assert_eq!(&after, &fresh, "{:?}", step);
            prop_assert!(after.revision != before.revision || after == before, "{step:?}: {before:?} → {after:?}");
            // The rows of a shard are rendered again if and only if its revision changed.
            let revisions = revisions(&ledger);
            let same = revisions.iter().zip(&revisions_before).map(|(one, other)| one == other);
            prop_assert!(kept(&before.page, &after.page).eq(same), "{step:?}");
            let same = Arc::ptr_eq(&after.page.failing, &before.page.failing);
            prop_assert_eq!(same, failing == ledger.failing_revision(), "{:?}", step);
            failing = ledger.failing_revision();
            (before, revisions_before) = (after, revisions);
        }
        // In the end everything is reported, and nothing that is removed is shown.
        now += 60_000;
        let uptime = Duration::from_millis(now.unsigned_abs());
        ledger.apply_listing(&[], &times_at(now));
        for number in 0..4 {
            ledger.inspect_failed(&format!("c{number}"), InspectFailure::Gone, now_at(now));
        }
        ledger.report(now_at(now), EventFeed::Off);
        prop_assert!(ledger.report_at().is_none());
        ledger.expire(uptime + RETENTION);
        ledger.mark_scraped(u64::MAX);
        prop_assert_eq!(ledger.exits().count() + ledger.last_exits().count(), 0);
        ledger.find_superseded();
        prop_assert_eq!(ledger.swarm_slots().count(), 0);
        prop_assert_eq!(ledger.next_expiry(), None);
    }
}

/// The text gets many pieces, and then fewer again.
#[test]
fn the_pieces_of_a_large_host_are_like_fresh_ones() {
    let mut ledger = Ledger::new(Filter::default(), Duration::ZERO, at_millis(0));
    let mut outputs = Outputs::default();
    let mut ids: Vec<String> = Vec::new();
    let mut random = 1_u64;
    let mut below = |limit: usize| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).unwrap() % limit
    };
    let mut lengths = Vec::new();
    for step in 0..240_i64 {
        let mut apply = |id: &str, action: &str, now: i64| {
            // Few replicas, so that one container replaces another.
            let mut attributes = json!({"name": id, "image": "i",
                "com.docker.compose.project": "p", "com.docker.compose.service": &id[..1],
                "com.docker.compose.container-number": &id[1..2]});
            if action == "die" {
                attributes["exitCode"] = "3".into();
            }
            let event = event(id, action, at_millis(now), &attributes);
            if ledger.apply_event(&event, now_at(step)) == InspectPlan::Now {
                ledger.inspect_failed(id, InspectFailure::Gone, now_at(step));
            }
        };
        let (come, go) = if step < 120 { (12, 1) } else { (1, 13) };
        for _ in 0..come {
            let id = format!("{:02x}{:08x}", below(256), below(1 << 30));
            for action in ["create", "start", "die"] {
                apply(&id, action, step);
            }
            ids.push(id);
        }
        for _ in 0..go.min(ids.len()) {
            let id = ids.swap_remove(below(ids.len()));
            apply(&id, "destroy", step);
        }
        if !ids.is_empty() {
            apply(&ids[below(ids.len())], "start", step + 1);
        }
        ledger.report(now_at(step), EventFeed::Off);
        ledger.expire(now_at(step).uptime);
        let shown = outputs.shown(&mut ledger);
        // A stale piece stays until its shard changes, so that not each step needs a check.
        if step % 4 == 3 {
            let fresh = Outputs::default().shown(&mut ledger);
            assert!(shown == fresh, "after step {step}");
        }
        lengths.push(ledger.exits().count());
    }
    assert!(lengths.iter().max() > Some(&1_000), "{lengths:?}");
    assert!(lengths.last() < Some(&64), "{lengths:?}");
}
