//! Whether each run is counted, once, and what is lost.

use crate::simulation::dice::SECOND;
use crate::simulation::subject::Counted;
use crate::simulation::truth::Run;

use super::{Check, Demand};

impl Check<'_> {
    pub(super) fn counts(&self) -> Result<(), String> {
        let outcome = &self.played.outcome;
        let counted = outcome.counted.iter().filter(|it| !it.before_start);
        let sum = counted.clone().count() as u64;
        // A workload without containers is dropped after a day, with its counters.
        let dropped = self.played.end > 24 * 3600 * SECOND && sum > outcome.total;
        if sum != outcome.total && !dropped {
            let total = outcome.total;
            return Err(format!("{sum} exits are reported, and {total} counted"));
        }
        let refused = self.history.setting.refuses_inspects;
        let odd = outcome.workloads.iter().find(|it| it.contains("sha256:"));
        if let Some(image) = odd.filter(|_| !refused) {
            return Err(format!("a workload is called by an image's id: {image}"));
        }
        let (mut unseen, mut doubtful) = (0, 0);
        for number in 0..self.world.containers.len() {
            let (one, two) = self.counts_of(number)?;
            (unseen, doubtful) = (unseen + one, doubtful + two);
        }
        let known: Vec<_> = self.world.containers.iter().map(|it| &it.id).collect();
        if let Some(odd) = counted.clone().find(|it| !known.contains(&&it.id)) {
            return Err(format!(
                "an exit of an unknown container is counted: {odd:?}"
            ));
        }
        let lost = outcome.lost;
        let gaps = self.played.gaps;
        if unseen > 0 && lost == 0 && !self.played.unprovable {
            return Err(format!("{unseen} runs are neither counted nor lost"));
        }
        if gaps == 0 && lost < unseen {
            return Err(format!("{unseen} runs are not counted, and {lost} lost"));
        }
        if lost > unseen + doubtful + gaps {
            return Err(format!(
                "{lost} are lost, but {unseen} runs were not counted, and {gaps} gaps not closed"
            ));
        }
        Ok(())
    }

    /// How many runs of a container were not counted, and how many more may be told to be lost.
    pub(super) fn counts_of(&self, number: usize) -> Result<(u64, u64), String> {
        let seen = &self.world.containers[number];
        let runs: Vec<_> = self
            .world
            .runs
            .iter()
            .filter(|it| it.container == number)
            .collect();
        let demands: Vec<_> = runs.iter().map(|run| self.demand(run)).collect();
        let reported = &self.played.outcome.counted;
        let counted: Vec<_> = reported.iter().filter(|it| it.id == seen.id).collect();
        let fits = |run: &Run, demand: Demand, counted: &Counted| {
            let code = run.end.map(|end| end.code);
            let may = match demand {
                Demand::None => false,
                Demand::Before => counted.before_start,
                Demand::Free => true,
                Demand::Counted | Demand::CountedOrLost => !counted.before_start,
            };
            // Of a container that only its `die` event told of, nobody knows that a label hid the code;
            // and where inspects are refused, nobody knows which run a listing's code is of.
            let hidden = (counted.before_start || self.history.setting.refuses_inspects)
                && self.history.specs[number].label("exitCode").is_some();
            may && (hidden
                || counted.code == code
                || (counted.code.is_none() && run.failed.is_some()))
        };
        let describe = |what: &str| {
            let runs: Vec<_> = runs.iter().zip(&demands).collect();
            format!("#{number}: {what}; it had {runs:#?}; counted were {counted:#?}")
        };
        // Each exit that is counted is of a run of its own.
        let of_counted: Vec<Vec<usize>> = counted
            .iter()
            .map(|it| {
                (0..runs.len())
                    .filter(|at| fits(runs[*at], demands[*at], it))
                    .collect()
            })
            .collect();
        let matched = matching(&of_counted, runs.len());
        if let Some(at) = matched.iter().position(Option::is_none) {
            let odd = counted[at];
            return Err(describe(&format!(
                "an exit is counted once too often: {odd:?}"
            )));
        }
        // Each run that is known for sure is counted.
        let of_runs = |wanted: &[Demand]| -> Vec<Option<usize>> {
            let all = (0..runs.len()).filter(|at| wanted.contains(&demands[*at]));
            let edges: Vec<Vec<usize>> = all
                .map(|at| {
                    let all = counted.iter().enumerate();
                    let fit = all.filter(|(_, it)| fits(runs[at], demands[at], it));
                    fit.map(|(at, _)| at).collect()
                })
                .collect();
            matching(&edges, counted.len())
        };
        if of_runs(&[Demand::Counted]).contains(&None) {
            return Err(describe("a run is not counted"));
        }
        let both = of_runs(&[Demand::Counted, Demand::CountedOrLost]);
        let unseen = both.iter().filter(|it| it.is_none()).count() as u64;
        // Where no inspect tells that what ended unseen did so before the start, it may be told as lost.
        let no_inspect = [&self.network.bad_inspects, &self.network.empty_inspects];
        let no_inspect = no_inspect.iter().any(|spans| !spans.is_empty());
        let is_free = |run: &Run, demand: Demand| match demand {
            Demand::Free => true,
            Demand::Before => no_inspect && run.end.is_some_and(|end| end.die.is_none()),
            _ => false,
        };
        let all = runs.iter().zip(&demands);
        let free = all.filter(|(run, demand)| is_free(run, **demand)).count() as u64;
        // The reason must be right of one of the runs that it can be of.
        for (it, may) in counted
            .iter()
            .zip(&of_counted)
            .filter(|(it, _)| !it.before_start)
        {
            // Where listings alone tell that a label hides what an event says, and they lack the container
            // for once, nobody knows.
            let spec = &self.history.specs[number];
            let hides = spec.label("exitCode").or(spec.label("signal")).is_some();
            let unlisted = self.network.unlisted.iter();
            let unlisted = unlisted.filter(|span| span.container == number).count() > 0;
            if self.history.setting.refuses_inspects && hides && unlisted {
                continue;
            }
            let mut allowed = may.iter().map(|at| self.reasons(runs[*at]));
            if !allowed.any(|reasons| reasons.contains(&it.reason)) {
                let allowed: Vec<_> = may.iter().map(|at| self.reasons(runs[*at])).collect();
                return Err(describe(&format!(
                    "the reason counted is wrong: [{it:?} should be one of {allowed:?}]"
                )));
            }
        }
        Ok((unseen, free))
    }
}

/// The largest matching: for each on the left its partner on the right.
fn matching(edges: &[Vec<usize>], right: usize) -> Vec<Option<usize>> {
    fn find(
        edges: &[Vec<usize>],
        left: usize,
        taken: &mut [Option<usize>],
        tried: &mut [bool],
    ) -> bool {
        for &to in &edges[left] {
            if std::mem::replace(&mut tried[to], true) {
                continue;
            }
            if taken[to].is_none_or(|other| find(edges, other, taken, tried)) {
                taken[to] = Some(left);
                return true;
            }
        }
        false
    }
    let mut taken = vec![None; right];
    for left in 0..edges.len() {
        find(edges, left, &mut taken, &mut vec![false; right]);
    }
    let mut partners = vec![None; edges.len()];
    for (to, left) in taken.into_iter().enumerate() {
        if let Some(left) = left {
            partners[left] = Some(to);
        }
    }
    partners
}
