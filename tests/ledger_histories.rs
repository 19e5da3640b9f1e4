//! Every exit exactly once: made-up histories of a container, seen through events that come late,
//! listings and inspects at any moment, and streams that break, against what really happened.

use std::time::Duration;

use docker_exit_exporter::engine::{Event, Inspected, listing};
use docker_exit_exporter::labels::Filter;
use docker_exit_exporter::ledger::{Ledger, NotInspected, Taken};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A moment, in milliseconds since the exporter's start.
type Millis = i64;

fn at(millis: Millis) -> Timestamp {
    let start = Timestamp::from_second(1_795_336_800).unwrap();
    start + SignedDuration::from_millis(millis)
}

/// One run of the container.
#[derive(Debug, Clone)]
struct Run {
    /// `StartedAt`; the `start` event is made a little later.
    began: Millis,
    start_event: Millis,
    /// `FinishedAt`; the `die` event is made later, and only then an inspect shows it.
    ended: Millis,
    die_event: Millis,
    code: i64,
    killed: bool,
    oom: bool,
}

impl Run {
    fn reason(&self) -> &'static str {
        match self.code {
            _ if self.killed => "stopped",
            0 => "completed",
            _ if self.oom => "oom_killed",
            129..=192 => "signaled",
            _ => "error",
        }
    }
}

#[derive(Debug, Clone)]
struct History {
    created: Millis,
    runs: Vec<Run>,
    removed: Option<Millis>,
    /// How long after an event a listing still does not show what it tells.
    listing_lag: Millis,
}

impl History {
    /// The runs that were begun by then, as an inspect shows them.
    fn current(&self, now: Millis) -> Option<(&Run, bool)> {
        let run = self.runs.iter().rfind(|run| run.start_event <= now)?;
        Some((run, run.die_event > now))
    }

    fn exists(&self, now: Millis) -> bool {
        self.created <= now && self.removed.is_none_or(|removed| now < removed)
    }

    fn listed(&self, now: Millis) -> Vec<Value> {
        if !self.exists(now) {
            return Vec::new();
        }
        let (state, status) = match self.current(now - self.listing_lag) {
            None => ("created", "Created".to_owned()),
            Some((run, true)) => ("running", format!("Up {}", human(now - run.began))),
            Some((run, false)) => {
                let age = human(now - run.ended);
                ("exited", format!("Exited ({}) {age} ago", run.code))
            }
        };
        vec![json!({"Id": "c", "Names": ["/c"], "Image": "i", "State": state, "Status": status})]
    }

    fn inspect(&self, now: Millis) -> Option<Inspected> {
        if !self.exists(now) {
            return None;
        }
        let never = || "0001-01-01T00:00:00Z".to_owned();
        let (state, code, oom, began, ended) = match self.current(now) {
            None => ("created", 0, false, never(), never()),
            Some((run, true)) => {
                let before = self.runs.iter().rfind(|it| it.die_event < run.began);
                let before = before.map_or_else(never, |run| at(run.ended).to_string());
                ("running", 0, false, at(run.began).to_string(), before)
            }
            Some((run, false)) => {
                let began = at(run.began).to_string();
                (
                    "exited",
                    run.code,
                    run.oom,
                    began,
                    at(run.ended).to_string(),
                )
            }
        };
        let inspect = json!({
            "State": {"Status": state, "ExitCode": code, "OOMKilled": oom,
                      "StartedAt": began, "FinishedAt": ended},
            "Config": {"Image": "i"},
        });
        Some(Inspected::parse(&inspect.to_string()).unwrap())
    }

    /// All events, in the order in which they are made.
    fn events(&self) -> Vec<(Millis, Event)> {
        let mut events = vec![(self.created, event("create", self.created, &[]))];
        for run in &self.runs {
            events.push((run.start_event, event("start", run.start_event, &[])));
            let before = run.die_event - 1;
            if run.killed {
                events.push((before, event("kill", before, &[("signal", "15")])));
            }
            if run.oom {
                events.push((before, event("oom", before, &[])));
            }
            let code = run.code.to_string();
            events.push((
                run.die_event,
                event("die", run.die_event, &[("exitCode", &code)]),
            ));
        }
        if let Some(removed) = self.removed {
            events.push((removed, event("destroy", removed, &[])));
        }
        events
    }
}

fn event(action: &str, time: Millis, more: &[(&str, &str)]) -> Event {
    let mut attributes = json!({"name": "c", "image": "i"});
    for (key, value) in more {
        attributes[key] = (*value).into();
    }
    let nanos = i64::try_from(at(time).as_nanosecond()).unwrap();
    let line = json!({
        "Type": "container", "Action": action, "timeNano": nanos,
        "Actor": {"ID": "c", "Attributes": attributes},
    });
    Event::parse(&line.to_string()).unwrap().unwrap()
}

/// As docker/go-units writes it.
fn human(millis: Millis) -> String {
    match millis.max(0) / 1000 {
        0 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        seconds @ 2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".to_owned(),
        seconds => format!("{} minutes", seconds / 60),
    }
}

/// What the exporter sees of a history.
#[derive(Debug, Clone)]
struct View {
    /// When each event comes, after it was made.
    delays: Vec<Millis>,
    listings: Vec<Millis>,
    /// Between these no event comes; the stream opened later repeats them.
    cut: Option<(Millis, Millis)>,
    /// What was made while it was cut is forgotten, and not repeated.
    forgotten: bool,
    events: bool,
    /// Inspects are refused by a proxy.
    no_inspects: bool,
}

/// Exits as they were told: code and reason.
type Told = Vec<(i64, &'static str)>;

struct Outcome {
    told: Told,
    counted: u64,
    exits: Told,
    last_exits: Told,
    lost: u64,
}

/// Plays a history to the ledger, as the collector would.
fn play(history: &History, view: &View) -> Outcome {
    enum Step {
        Event(Event),
        List,
    }
    let mut steps: Vec<(Millis, usize, Step)> = Vec::new();
    let mut latest = 0;
    let delays = view.delays.iter().cycle();
    if view.events {
        for ((made, event), delay) in history.events().into_iter().zip(delays) {
            let mut comes = (made + delay).max(latest);
            if let Some((from, to)) = view.cut {
                if (from..to).contains(&made) && view.forgotten {
                    continue;
                }
                if (from..to).contains(&comes) {
                    comes = to;
                }
            }
            latest = comes;
            steps.push((comes, steps.len(), Step::Event(event)));
        }
    }
    // At the end a listing that leaves things to events, and those after it.
    let end = history
        .runs
        .last()
        .map_or(0, |run| run.die_event)
        .max(latest);
    let after = [
        end + 1,
        end + 4_000,
        end + 8_000,
        end + 15_000,
        end + 120_000,
    ];
    let reopened = view.cut.map(|(_, to)| to);
    let all = view.listings.iter().copied().chain(reopened).chain(after);
    for listing in [0].into_iter().chain(all) {
        steps.push((listing, steps.len(), Step::List));
    }
    steps.sort_by_key(|(time, order, _)| (*time, *order));

    let retention = Duration::from_secs(3600);
    let mut ledger = Ledger::new(Filter::default(), retention, at(0));
    let mut told = Told::new();
    for (now, _, step) in steps {
        let uptime = Duration::from_millis(now.unsigned_abs());
        let is_cut = view.cut.is_some_and(|(from, to)| (from..to).contains(&now));
        let followed = view.events && !is_cut;
        let pending = match step {
            Step::Event(event) => {
                let inspect = ledger.happened(&event, uptime);
                if inspect {
                    vec!["c".to_owned()]
                } else {
                    vec![]
                }
            }
            Step::List => {
                let text = Value::Array(history.listed(now)).to_string();
                let taken = Taken {
                    asked: at(now),
                    answered: at(now),
                    uptime,
                    events_followed: followed,
                };
                ledger.listed(&listing(&text).unwrap(), taken)
            }
        };
        for id in pending {
            match history.inspect(now) {
                _ if view.no_inspects => ledger.not_inspected(&id, NotInspected::Failed),
                Some(inspected) => ledger.inspected(&id, &inspected, at(now), followed),
                None => ledger.not_inspected(&id, NotInspected::Gone),
            }
        }
        let news = ledger.tell(uptime, view.events && is_cut).into_iter();
        told.extend(news.map(|news| (news.exit.code, news.exit.reason.name())));
    }
    let codes = |entry: docker_exit_exporter::ledger::Entry<'_>| {
        (entry.exit.code, entry.exit.reason.name())
    };
    Outcome {
        counted: ledger.workloads().iter().flat_map(|(_, it)| it).sum(),
        exits: ledger.exits().map(codes).collect(),
        last_exits: ledger.last_exits().map(codes).collect(),
        lost: ledger.lost(),
        told,
    }
}

prop_compose! {
    /// Runs that differ in their codes, so that none can be taken for another.
    fn histories(most: usize)(
        created in 0..5_000_i64,
        parts in prop::collection::vec(
            (100..4_000_i64, 0..200_i64, -20..6_000_i64, 1..400_i64, any::<bool>(), any::<bool>()),
            0..most,
        ),
        removed in prop::option::of(0..3_000_i64),
        listing_lag in prop_oneof![Just(0), Just(175)],
        same_code in any::<bool>(),
    ) -> History {
        let mut now = created;
        let mut runs = Vec::new();
        for (number, (pause, start_lag, length, die_lag, killed, oom)) in (1..).zip(parts) {
            let began = now + pause;
            let start_event = began + start_lag;
            let ended = began + length;
            // A kill and an oom event stand a millisecond before the die event.
            let die_event = ended.max(start_event) + die_lag + 1;
            let code = if same_code { 7 } else { number };
            runs.push(Run { began, start_event, ended, die_event, code, killed, oom });
            now = die_event;
        }
        History { created, runs, removed: removed.map(|after| now + after + 1), listing_lag }
    }
}

prop_compose! {
    fn views()(
        delays in prop::collection::vec(prop_oneof![0..20_i64, 0..2_500_i64], 1..8),
        listings in prop::collection::vec(0..40_000_i64, 0..12),
        cut in prop::option::of((0..30_000_i64, 100..20_000_i64)),
        forgotten in any::<bool>(),
    ) -> View {
        View {
            delays,
            listings,
            cut: cut.map(|(from, length)| (from, from + length)),
            forgotten,
            events: true,
            no_inspects: false,
        }
    }
}

fn truth(history: &History) -> Told {
    let runs = history.runs.iter();
    runs.map(|run| (run.code, run.reason())).collect()
}

fn sorted(mut told: Told) -> Told {
    told.sort_unstable();
    told
}

/// `PROPTEST_CASES` has another number of histories made up.
fn config() -> ProptestConfig {
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    let default = ProptestConfig::default();
    ProptestConfig {
        cases: if asked { default.cases } else { 2_000 },
        failure_persistence: None,
        ..default
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn with_all_events_each_exit_is_told_once_with_its_reason(
        history in histories(7), mut view in views(),
    ) {
        view.forgotten = false;
        let mut outcome = play(&history, &view);
        let mut truth = truth(&history);
        if view.cut.is_some() {
            // What a listing saw first, it could not know to have been asked for.
            for told in [&mut truth, &mut outcome.told, &mut outcome.exits] {
                for (_, reason) in told.iter_mut() {
                    *reason = "any";
                }
            }
        }
        prop_assert_eq!(sorted(outcome.told), sorted(truth.clone()));
        prop_assert_eq!(outcome.counted, truth.len() as u64);
        prop_assert_eq!(outcome.exits, Vec::from_iter(truth.last().copied()));
        prop_assert!(outcome.last_exits.is_empty());
        prop_assert_eq!(outcome.lost, 0);
    }

    #[test]
    fn what_is_forgotten_is_never_told_twice_and_the_last_exit_is_found(
        history in histories(7), mut view in views(),
    ) {
        view.forgotten = true;
        let outcome = play(&history, &view);
        let mut left = truth(&history).into_iter().map(|(code, _)| code).collect::<Vec<_>>();
        for (code, _) in &outcome.told {
            let place = left.iter().position(|it| it == code);
            prop_assert!(place.is_some(), "{code} is told too often: {:?}", outcome.told);
            left.swap_remove(place.unwrap());
        }
        prop_assert_eq!(outcome.counted, outcome.told.len() as u64);
        if history.removed.is_none() {
            if let Some(last) = history.runs.last() {
                let codes: Vec<_> = outcome.exits.iter().map(|(code, _)| *code).collect();
                prop_assert_eq!(codes, [last.code]);
            }
        }
    }

    #[test]
    fn by_listing_alone_nothing_is_told_twice_and_the_last_exit_is_found(
        history in histories(7), mut view in views(), no_inspects in any::<bool>(),
    ) {
        view.events = false;
        view.no_inspects = no_inspects;
        let outcome = play(&history, &view);
        prop_assert!(outcome.told.len() <= history.runs.len(), "{:?}", outcome.told);
        if history.removed.is_none() {
            if let Some(last) = history.runs.last() {
                let codes: Vec<_> = outcome.exits.iter().map(|(code, _)| *code).collect();
                prop_assert_eq!(codes, [last.code]);
            }
        }
    }

    #[test]
    fn without_inspects_events_still_tell_each_exit_once(
        history in histories(7), mut view in views(),
    ) {
        view.forgotten = false;
        view.no_inspects = true;
        let outcome = play(&history, &view);
        prop_assert_eq!(outcome.told.len(), history.runs.len());
        prop_assert_eq!(outcome.counted, history.runs.len() as u64);
    }
}

/// Found by the histories above, once in 50,000: what was left to its event a second time was taken
/// for known already.
#[test]
fn what_is_left_to_its_event_is_not_known_yet() {
    let run = |began, start_event, ended, die_event, code| Run {
        began,
        start_event,
        ended,
        die_event,
        code,
        killed: false,
        oom: false,
    };
    let history = History {
        created: 906,
        runs: vec![
            run(1297, 1297, 1740, 2136, 1),
            run(4741, 4741, 7481, 7810, 2),
            run(10016, 10185, 10016, 10187, 3),
        ],
        removed: None,
        listing_lag: 0,
    };
    // The create event, both of the first run, none of the second, and the third's start.
    let view = View {
        delays: vec![2099, 0, 0, 0, 0, 2099, 0],
        listings: vec![12043],
        cut: Some((4535, 7811)),
        forgotten: true,
        events: true,
        no_inspects: false,
    };
    let told: Vec<_> = play(&history, &view).told.into_iter().collect();
    assert_eq!(
        told.iter().filter(|(code, _)| *code == 3).count(),
        1,
        "{told:?}"
    );
}
