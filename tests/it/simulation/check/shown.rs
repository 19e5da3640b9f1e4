//! Whether what is shown of each container is right.

use crate::simulation::dice::{Nanos, SECOND};
use crate::simulation::render;
use crate::simulation::subject::Series;
use crate::simulation::truth::Run;
use crate::simulation::world::State;

use super::{Check, Demand};

/// The exit of a container that was removed less than this ago is shown.
const RETAINED: Nanos = 3_000 * SECOND;

impl Check<'_> {
    /// What is shown of containers whose last run is over.
    pub(super) fn series(&self) -> Result<(), String> {
        let outcome = &self.played.outcome;
        for (number, seen) in self.world.containers.iter().enumerate() {
            let view = seen.last();
            let shown: Vec<_> = outcome.exits.iter().filter(|it| it.id == seen.id).collect();
            let wrong =
                |what: &str| Err(format!("#{number}: {what}: {view:#?}, shown: {shown:#?}"));
            if shown.len() > 1 {
                return wrong("two exits are shown");
            }
            let run = self.world.runs.iter().rfind(|it| it.container == number);
            let has_failed = !view.error.is_empty();
            let refused = self.history.setting.refuses_inspects;
            match (view.state, shown.first()) {
                (State::Running | State::Paused, Some(_)) => return wrong("it runs"),
                (State::Running | State::Paused, None) => {}
                (State::Created, Some(_)) if !has_failed => return wrong("it never ran"),
                (State::Created, None) if !has_failed || refused => {}
                (State::Absent, None) => {
                    let demand = run.map_or(Demand::None, |run| self.demand(run));
                    let is_real = run.is_some_and(|run| run.failed.is_none());
                    let removed = seen.turns.last().map_or(0, |turn| turn.inspected);
                    let is_kept = self.played.end - removed < RETAINED;
                    if demand == Demand::Counted && is_real && is_kept {
                        return wrong("it was removed a moment ago, and nothing is shown");
                    }
                }
                (_, None) => return wrong("nothing is shown"),
                (_, Some(shown)) => {
                    let Some(run) = run else {
                        return wrong("it never ran");
                    };
                    if let Err(why) = self.is_right(run, shown, view.state != State::Absent) {
                        return wrong(&why);
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether a series tells of a run what its inspect does.
    pub(super) fn is_right(&self, run: &Run, shown: &Series, exists: bool) -> Result<(), String> {
        let Some(end) = run.end else {
            return Err("its run went on when it was last seen".to_owned());
        };
        let known = exists || self.demand(run) == Demand::Counted;
        if !known {
            return Ok(());
        }
        if shown.code != end.code {
            return Err(format!("the code should be {}", end.code));
        }
        let view = self.world.containers[run.container].last();
        let name = render::name(run.container, view.renamed);
        if exists && shown.name != name {
            return Err(format!("its name should be {name}"));
        }
        let reasons = self.reasons(run);
        if !reasons.contains(&shown.reason) {
            return Err(format!("the reason should be one of {reasons:?}"));
        }
        if shown.labels.contains("containerExitCode") {
            return Err("what is an event's own is shown as a label".to_owned());
        }
        if !exists || run.failed.is_some() || self.history.setting.refuses_inspects {
            return Ok(());
        }
        let finished = Some(render::timestamp(end.finished));
        if shown.finished != finished {
            return Err(format!("the time should be {finished:?}"));
        }
        let duration = jiff::SignedDuration::from_nanos((end.finished - run.started).max(0));
        if shown.duration != Some(duration) {
            return Err(format!("the duration should be {duration:?}"));
        }
        Ok(())
    }

    /// Whether a newer container of its place is known to everybody. One that was removed may have
    /// been seen or not.
    pub(super) fn superseded(&self) -> Result<(), String> {
        let all = || self.world.containers.iter().zip(&self.history.specs);
        for (number, (seen, spec)) in all().enumerate() {
            let Some(is) = self.played.superseded.get(&seen.id) else {
                continue;
            };
            let newer = all().filter(|(other, it)| {
                let same = spec.place().is_some() && it.place() == spec.place();
                same && !other.turns.is_empty() && other.created > seen.created
            });
            let newer: Vec<_> = newer.map(|(other, _)| other.last().state).collect();
            // When one was made that was gone before it could be asked for, nobody may know.
            let is_gone = seen.last().state == State::Absent;
            let unknown = is_gone && seen.created <= self.first_answer();
            let stands = !unknown && newer.iter().any(|state| *state != State::Absent);
            // Of two of one second their `create` events tell, or the order in one listing.
            let gap = self.played.gaps > 0;
            let second = |at: Nanos| at.div_euclid(SECOND);
            let twins = gap
                && all().any(|(other, it)| {
                    let same = spec.place().is_some() && it.place() == spec.place();
                    same && other.id != seen.id && second(other.created) == second(seen.created)
                });
            if !twins && ((*is && newer.is_empty()) || (!is && stands)) {
                return Err(format!(
                    "superseded is wrong: {is} of #{number}, newer are {newer:?}"
                ));
            }
        }
        Ok(())
    }

    /// What is shown of containers that run again.
    pub(super) fn last_exits(&self) -> Result<(), String> {
        let outcome = &self.played.outcome;
        for (number, seen) in self.world.containers.iter().enumerate() {
            let shown: Vec<_> = outcome
                .last_exits
                .iter()
                .filter(|it| it.id == seen.id)
                .collect();
            let view = seen.last();
            let wrong =
                |what: &str| Err(format!("#{number}: {what}: {view:#?}, shown: {shown:#?}"));
            if !view.runs() {
                if !shown.is_empty() {
                    return wrong("a last exit is shown, and it does not run");
                }
                continue;
            }
            let all = self.world.runs.iter();
            let ended: Vec<_> = all
                .filter(|it| it.container == number && it.end.is_some())
                .collect();
            let code = |run: &Run| run.end.map(|end| end.code);
            if let Some(odd) = shown
                .iter()
                .find(|it| ended.iter().all(|run| code(run) != Some(it.code)))
            {
                return wrong(&format!("no run ended with {}", odd.code));
            }
            let last = ended
                .last()
                .filter(|run| self.demand(run) == Demand::Counted);
            // What is shown of a start that was interrupted is nobody's business.
            if let Some(last) = last.filter(|run| run.failed.is_none()) {
                if shown.first().map(|it| it.code) != code(last) {
                    return wrong("the last exit should be shown");
                }
            }
        }
        Ok(())
    }
}
