//! Whatever happens to a few containers: as long as the ledger's revision is the same, so is what is
//! shown, and nothing whose time is over stays.

use std::sync::Arc;
use std::time::Duration;

use docker_exit_exporter::cgroup::Layout;
use docker_exit_exporter::engine::{EngineInfo, Event, Inspected, listing};
use docker_exit_exporter::exposition::Renderer;
use docker_exit_exporter::labels::Filter;
use docker_exit_exporter::ledger::{Asking, EventsCome, Ledger, Next, NotInspected, Now};
use docker_exit_exporter::page::{Containers, Row, Rows};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

const COME: [EventsCome; 3] = [EventsCome::Never, EventsCome::Soon, EventsCome::Now];

/// All actions, the ends more often than the others.
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

fn at(millis: i64) -> Timestamp {
    let start = Timestamp::from_second(1_795_336_800).unwrap();
    start + SignedDuration::from_millis(millis)
}

fn time(millis: i64) -> Now {
    Now {
        uptime: Duration::from_millis(millis.unsigned_abs()),
        engine: at(millis),
        error: SignedDuration::ZERO,
    }
}

fn asking(millis: i64) -> Asking {
    Asking {
        asked: time(millis),
        answered: time(millis),
    }
}

/// What is said of one container, by a listing, an event or an inspect.
#[derive(Debug, Clone)]
struct Word {
    container: usize,
    state: usize,
    action: usize,
    code: i64,
    name: usize,
    /// Before now, in milliseconds.
    age: i64,
    inspect: usize,
}

#[derive(Debug, Clone)]
enum Step {
    List(Vec<Word>),
    Event(Word),
    Inspect(Word),
    Report(EventsCome),
    Layout(bool),
    Expire,
    /// A scrape takes what is shown.
    Scrape,
}

fn words() -> impl Strategy<Value = Word> {
    let parts = (
        0..4_usize,
        0..6_usize,
        0..ACTIONS.len(),
        0..3_i64,
        0..8_usize,
    );
    let more = (prop_oneof![0..50_i64, 0..9_000_i64], 0..5_usize);
    (parts, more).prop_map(
        |((container, state, action, code, name), (age, inspect))| Word {
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
        3 => prop::collection::vec(words(), 0..5).prop_map(Step::List),
        4 => words().prop_map(Step::Event),
        2 => words().prop_map(Step::Inspect),
        2 => prop::sample::select(&COME[..]).prop_map(Step::Report),
        1 => any::<bool>().prop_map(Step::Layout),
        1 => Just(Step::Expire),
        1 => Just(Step::Scrape),
    ]
}

impl Word {
    fn id(&self) -> String {
        format!("c{}", self.container)
    }

    /// Mostly the same, so that it is seldom that a container gets another.
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
               "Status": status, "Labels": self.labels(), "Created": at(now - 10_000).as_second()})
    }

    fn event(&self, now: i64) -> Event {
        let mut attributes = self.labels();
        attributes["name"] = self.name().into();
        attributes["image"] = "i".into();
        let action = ACTIONS[self.action];
        match action {
            "die" => attributes["exitCode"] = self.code.to_string().into(),
            "kill" => attributes["signal"] = "15".into(),
            _ => {}
        }
        let nanos = at(now - self.age).as_nanosecond();
        let mut line = json!({"Type": "container", "Action": action, "timeNano": i64::try_from(nanos).unwrap(),
                              "Actor": {"ID": self.id(), "Attributes": attributes}});
        if matches!(action, "connect" | "disconnect") {
            line["Type"] = "network".into();
            line["Actor"] =
                json!({"ID": "n", "Attributes": {"container": self.id(), "name": "bridge"}});
        }
        Event::parse(&line.to_string()).unwrap().unwrap()
    }

    fn inspect(&self, now: i64, ledger: &mut Ledger) {
        let fail = match self.inspect {
            0 | 1 => None,
            2 => Some(NotInspected::Gone),
            3 => Some(NotInspected::Failed),
            _ => Some(NotInspected::Refused),
        };
        if let Some(why) = fail {
            ledger.inspect_failed(&self.id(), why, time(now));
            return;
        }
        let state = ["exited", "running"][self.inspect];
        let began = at(now - self.age - 1_000).to_string();
        let ended = at(now - self.age).to_string();
        let inspected = json!({
            "Created": at(now - 10_000).to_string(),
            "State": {"Status": state, "ExitCode": self.code, "StartedAt": began, "FinishedAt": ended},
            "Config": {"Image": "i", "Labels": self.labels()},
        });
        let inspected = Inspected::parse(&inspected.to_string()).unwrap();
        ledger.apply_inspect(&self.id(), &inspected, &asking(now));
    }
}

/// What makes what clients are shown, and keeps it where nothing has changed.
#[derive(Default)]
struct Makers {
    renderer: Renderer,
    rows: Rows,
}

/// All that clients can be shown, and the revision that it is of.
#[derive(Debug, Clone, PartialEq)]
struct Shown {
    revision: u64,
    text: String,
    page: Containers,
}

impl Makers {
    fn shown(&mut self, ledger: &mut Ledger) -> Shown {
        ledger.find_superseded();
        let engine = EngineInfo::default();
        let text = self.renderer.render(true, true, &engine, ledger);
        Shown {
            revision: ledger.revision(),
            text: text.plain(),
            page: self.rows.update(ledger),
        }
    }
}

/// The revision of each slot.
fn revisions(ledger: &Ledger) -> Vec<u64> {
    let slots = 0..Ledger::SLOTS;
    slots.map(|at| ledger.revision_of(at..at + 1)).collect()
}

/// Which slots are the same as before, and not only equal.
fn kept<'a>(before: &'a Containers, after: &'a Containers) -> impl Iterator<Item = bool> + 'a {
    let slots = before.slots.iter().zip(&after.slots);
    slots.map(|(one, other): (&Arc<[Row]>, _)| Arc::ptr_eq(one, other))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_shown_changes_with_the_revision_only(
        all in prop::collection::vec((0..4_000_i64, steps()), 1..40),
    ) {
        let mut ledger = Ledger::new(Filter::default(), RETENTION, at(0));
        ledger.set_podman(false);
        let mut now = 0;
        let mut makers = Makers::default();
        let mut before = makers.shown(&mut ledger);
        let mut revisions_before = revisions(&ledger);
        let mut failing = ledger.failing_revision();
        for (pause, step) in all {
            now += pause;
            let uptime = Duration::from_millis(now.unsigned_abs());
            match &step {
                Step::List(words) => {
                    let text = Value::Array(words.iter().map(|it| it.listed(now)).collect());
                    let text = text.to_string();
                    ledger.apply_listing(&listing(&text).unwrap(), &asking(now));
                }
                Step::Event(word) => {
                    ledger.apply_event(&word.event(now), time(now));
                }
                Step::Inspect(word) => word.inspect(now, &mut ledger),
                Step::Report(events) => {
                    ledger.report(time(now), *events);
                }
                Step::Layout(known) => ledger.set_layout(known.then(Layout::default)),
                Step::Scrape => {
                    let unshown = ledger.workloads().unshown();
                    ledger.shown(unshown.unwrap_or_default());
                    prop_assert_eq!(ledger.workloads().unshown(), None);
                }
                Step::Expire => {
                    ledger.expire(uptime);
                    let next = ledger.next_expiry();
                    prop_assert!(next.is_none_or(|next| next > uptime), "{next:?} at {uptime:?}");
                }
            }
            // What is left of the text before does not differ from one that is made anew.
            let anew = Makers::default().shown(&mut ledger);
            let after = makers.shown(&mut ledger);
            prop_assert_eq!(&after, &anew, "{:?}", step);
            prop_assert!(after.revision != before.revision || after == before, "{step:?}: {before:?} → {after:?}");
            // The rows of a slot are made anew if and only if its revision is another.
            let revisions = revisions(&ledger);
            let same = revisions.iter().zip(&revisions_before).map(|(one, other)| one == other);
            prop_assert!(kept(&before.page, &after.page).eq(same), "{step:?}");
            let same = Arc::ptr_eq(&after.page.failing, &before.page.failing);
            prop_assert_eq!(same, failing == ledger.failing_revision(), "{:?}", step);
            failing = ledger.failing_revision();
            (before, revisions_before) = (after, revisions);
        }
        // In the end all is reported, and what is removed is shown no more.
        now += 60_000;
        let uptime = Duration::from_millis(now.unsigned_abs());
        ledger.apply_listing(&[], &asking(now));
        for number in 0..4 {
            ledger.inspect_failed(&format!("c{number}"), NotInspected::Gone, time(now));
        }
        ledger.report(time(now), EventsCome::Never);
        prop_assert!(ledger.report_at().is_none());
        ledger.expire(uptime + RETENTION);
        ledger.shown(u64::MAX);
        prop_assert_eq!(ledger.exits().count() + ledger.last_exits().count(), 0);
        ledger.find_superseded();
        prop_assert_eq!(ledger.slots().count(), 0);
        prop_assert_eq!(ledger.next_expiry(), None);
    }
}

/// So many containers that the text has many pieces, and then fewer again.
#[test]
fn pieces_of_a_large_host_are_as_if_made_anew() {
    let mut ledger = Ledger::new(Filter::default(), Duration::ZERO, at(0));
    let mut makers = Makers::default();
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
        let mut happen = |id: &str, action: &str, now: i64| {
            // Every other one is of a service with one place, so that one replaces another.
            let mut attributes = json!({"name": id, "image": "i",
                "com.docker.compose.project": "p", "com.docker.compose.service": &id[..1],
                "com.docker.compose.container-number": &id[1..2]});
            if action == "die" {
                attributes["exitCode"] = "3".into();
            }
            let nanos = i64::try_from(at(now).as_nanosecond()).unwrap();
            let line = json!({"Type": "container", "Action": action, "timeNano": nanos,
                              "Actor": {"ID": id, "Attributes": attributes}});
            let event = Event::parse(&line.to_string()).unwrap().unwrap();
            if ledger.apply_event(&event, time(step)) == Next::Inspect {
                ledger.inspect_failed(id, NotInspected::Gone, time(step));
            }
        };
        let (come, go) = if step < 120 { (12, 1) } else { (1, 13) };
        for _ in 0..come {
            let id = format!("{:02x}{:08x}", below(256), below(1 << 30));
            for action in ["create", "start", "die"] {
                happen(&id, action, step);
            }
            ids.push(id);
        }
        for _ in 0..go.min(ids.len()) {
            let id = ids.swap_remove(below(ids.len()));
            happen(&id, "destroy", step);
        }
        if !ids.is_empty() {
            happen(&ids[below(ids.len())], "start", step + 1);
        }
        ledger.report(time(step), EventsCome::Never);
        ledger.expire(time(step).uptime);
        let anew = Makers::default().shown(&mut ledger);
        let shown = makers.shown(&mut ledger);
        assert!(shown == anew, "after step {step}");
        lengths.push(ledger.exits().count());
    }
    assert!(lengths.iter().max() > Some(&1_000), "{lengths:?}");
    assert!(lengths.last() < Some(&64), "{lengths:?}");
}
