//! Random histories of services, seen through late or missing events and listings at any time. In
//! the end exactly the replaced containers are superseded, even if their successor is removed.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::json;

use super::replicas::{Millis, Replica, ServiceHost, compose, task};
use crate::engine::{Action, Event};

prop_compose! {
    /// Containers of three replicas and of none, one after the other in each. Their ids tell
    /// nothing about their age.
    fn histories()(
        parts in prop::collection::vec(
            (0..4_usize, 5..1_500_i64, 1..3_000_i64, any::<u32>(), prop::option::of(1..5_000_i64)),
            1..14,
        ),
        stays in any::<[bool; 4]>(),
    ) -> Vec<Replica> {
        let places = [task("web", "1", "t"), task("web", "2", "t"), compose("shop", "web", "1", "False"), json!({})];
        let mut free_at = [0; 4];
        let mut all: BTreeMap<String, Replica> = BTreeMap::new();
        for (place, pause, length, number, removed) in parts {
            let created = free_at[place] + pause;
            let died = created + 5 + length;
            free_at[place] = died;
            let mut replica = Replica::new(&format!("{number:08x}"), &places[place], created).died(died);
            replica.removed = removed.map(|after| died + after);
            all.insert(replica.id.clone(), replica);
        }
        let mut all: Vec<Replica> = all.into_values().collect();
        for (labels, stays) in places.iter().zip(stays) {
            let of_it = all.iter_mut().filter(|it| it.labels == *labels);
            if let Some(last) = of_it.max_by_key(|it| it.created).filter(|_| stays) {
                (last.died, last.removed) = (None, None);
            }
        }
        all
    }
}

/// The expected exits: superseded are those with a newer container of the same replica, if the
/// ledger knows when that was created.
fn truth(all: &[Replica], told: &BTreeSet<String>, shown: &str) -> String {
    let one = |id: &str| {
        let it = all.iter().find(|it| it.id == id).unwrap();
        let has_place = it.labels != json!({});
        let newer = |other: &Replica| other.labels == it.labels && other.created > it.created;
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

/// Ids of the superseded exits.
fn superseded(shown: &str) -> BTreeSet<String> {
    let ids = shown.split_whitespace().filter(|id| id.starts_with('('));
    ids.map(|id| id.trim_matches(['(', ')']).to_owned())
        .collect()
}

fn existing(all: &[Replica], now: Millis) -> impl Iterator<Item = String> {
    let existing = all.iter().filter(move |it| it.exists(now));
    existing.map(|it| it.id.clone())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn replaced_containers_are_superseded(
        all in histories(),
        listings in prop::collection::vec(0..40_000_i64, 0..8),
        events in any::<bool>(),
        delay in 0..2_000_i64,
        cut in prop::option::of((0..20_000_i64, 0..20_000_i64)),
        no_inspects in any::<bool>(),
    ) {
        // Without inspects, listings and events together give no exact order.
        let no_inspects = no_inspects && !events;
        let mut host = ServiceHost::new();
        host.no_inspects = no_inspects;
        let mut told = BTreeSet::new();
        let mut steps: Vec<(Millis, Option<Event>)> = Vec::new();
        for replica in all.iter().filter(|_| events) {
            let seen = replica.events().into_iter().filter(|(time, _)| {
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
                host.apply_event(&event);
            } else {
                told.extend(existing(&all, now));
                host.list(&all);
            }
            let shown = host.exits();
            // A superseded exit stays superseded.
            prop_assert!(before.is_subset(&superseded(&shown)), "{before:?} → {shown}");
            before = superseded(&shown);
        }
        host.now = 600_000;
        told.extend(existing(&all, host.now));
        host.list(&all);
        let shown = host.exits();
        prop_assert_eq!(&shown, &truth(&all, &told, &shown));
        for replica in all.iter().filter(|it| it.exists(host.now) && it.ended(host.now)) {
            prop_assert!(shown.contains(&replica.id), "{shown} lacks {}", replica.id);
        }
    }
}
