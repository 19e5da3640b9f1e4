//! Made-up histories of services, seen through events that come late or never and listings at any
//! moment: in the end what is superseded is what was replaced, even if that is removed since.

use std::collections::{BTreeMap, BTreeSet};

use docker_exit_exporter::engine::{Action, Event};
use proptest::prelude::*;
use serde_json::json;

#[allow(dead_code)] // Shared with other tests, which use other parts of it.
#[path = "support/succession.rs"]
mod succession;

use succession::{Host, Made, Millis, compose, task};

prop_compose! {
    /// Containers of three places and of none, one after the other in each, with ids that tell
    /// nothing of their age.
    fn histories()(
        parts in prop::collection::vec(
            (0..4_usize, 5..1_500_i64, 1..3_000_i64, any::<u32>(), prop::option::of(1..5_000_i64)),
            1..14,
        ),
        stays in any::<[bool; 4]>(),
    ) -> Vec<Made> {
        let places = [task("web", "1", "t"), task("web", "2", "t"), compose("shop", "web", "1", "False"), json!({})];
        let mut free_at = [0; 4];
        let mut all: BTreeMap<String, Made> = BTreeMap::new();
        for (place, pause, length, number, removed) in parts {
            let created = free_at[place] + pause;
            let died = created + 5 + length;
            free_at[place] = died;
            let mut made = Made::new(&format!("{number:08x}"), &places[place], created).died(died);
            made.removed = removed.map(|after| died + after);
            all.insert(made.id.clone(), made);
        }
        let mut all: Vec<Made> = all.into_values().collect();
        for (labels, stays) in places.iter().zip(stays) {
            let of_it = all.iter_mut().filter(|it| it.labels == *labels);
            if let Some(last) = of_it.max_by_key(|it| it.created).filter(|_| stays) {
                (last.died, last.removed) = (None, None);
            }
        }
        all
    }
}

/// Of each exit that is shown, whether it should be superseded when all is over: a newer one of its
/// place stands, or has stood, among those of which the ledger was told when they were made.
fn truth(all: &[Made], told: &BTreeSet<String>, shown: &str) -> String {
    let one = |id: &str| {
        let it = all.iter().find(|it| it.id == id).unwrap();
        let has_place = it.labels != json!({});
        let newer = |other: &Made| other.labels == it.labels && other.created > it.created;
        let is_superseded = has_place && all.iter().any(|it| newer(it) && told.contains(&it.id));
        if is_superseded {
            format!("({id})")
        } else {
            id.to_owned()
        }
    };
    let ids = shown
        .split_whitespace()
        .map(|id| one(id.trim_matches(['(', ')'])));
    ids.collect::<Vec<_>>().join(" ")
}

/// The ids that are shown as superseded.
fn superseded(shown: &str) -> BTreeSet<String> {
    let ids = shown.split_whitespace().filter(|id| id.starts_with('('));
    ids.map(|id| id.trim_matches(['(', ')']).to_owned())
        .collect()
}

fn standing(all: &[Made], now: Millis) -> impl Iterator<Item = String> {
    let standing = all.iter().filter(move |it| it.stands(now));
    standing.map(|it| it.id.clone())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn however_it_is_seen(
        all in histories(),
        listings in prop::collection::vec(0..40_000_i64, 0..8),
        events in any::<bool>(),
        delay in 0..2_000_i64,
        cut in prop::option::of((0..20_000_i64, 0..20_000_i64)),
        no_inspects in any::<bool>(),
    ) {
        // Without inspects, what is known by its listing and its event in turn is in no exact order.
        let no_inspects = no_inspects && !events;
        let mut host = Host::new();
        host.no_inspects = no_inspects;
        let mut told = BTreeSet::new();
        let mut steps: Vec<(Millis, Option<Event>)> = Vec::new();
        for made in all.iter().filter(|_| events) {
            let seen = made.events().into_iter().filter(|(time, _)| {
                !cut.is_some_and(|(from, length)| (from..from + length).contains(time))
            });
            steps.extend(seen.map(|(time, event)| (time + delay, Some(event))));
        }
        steps.extend(listings.iter().map(|time| (*time, None)));
        steps.sort_by_key(|(time, _)| *time);
        let mut before = BTreeSet::new();
        for (now, event) in steps {
            host.now = now;
            if let Some(event) = event {
                if event.action == Action::Create {
                    told.insert(event.id.clone());
                }
                host.happened(&event);
            } else {
                told.extend(standing(&all, now));
                host.list(&all);
            }
            let shown = host.exits();
            // What is superseded once stays so.
            prop_assert!(before.is_subset(&superseded(&shown)), "{before:?} → {shown}");
            before = superseded(&shown);
        }
        host.now = 600_000;
        told.extend(standing(&all, host.now));
        host.list(&all);
        let shown = host.exits();
        prop_assert_eq!(&shown, &truth(&all, &told, &shown));
        for made in all.iter().filter(|it| it.stands(host.now) && it.ended(host.now)) {
            prop_assert!(shown.contains(&made.id), "{shown} lacks {}", made.id);
        }
    }
}
