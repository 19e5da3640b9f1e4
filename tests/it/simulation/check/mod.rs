//! Compares what a subject has made of a history with the truth.

use super::dice::{Nanos, SECOND};
use super::driver::Played;
use super::history::{Flavour, History};
use super::network::Network;
use super::reasons;
use super::truth::{FailedStart, Run};
use super::world::{State, World};

mod counts;
mod shown;

/// Within so long of a healthy Engine a listening exporter has found what is to be found.
const FOUND_WITHIN: Nanos = 20 * SECOND;

/// What is demanded of the count of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Demand {
    /// It is counted, once.
    Counted,
    /// It is counted once, or lost.
    CountedOrLost,
    /// It may be counted once. Nobody can be sure that it was.
    Free,
    /// It is from before the start, so it is not counted.
    Before,
    /// It goes on.
    None,
}

pub(crate) struct Check<'a> {
    pub(crate) history: &'a History,
    pub(crate) world: &'a World,
    pub(crate) network: &'a Network,
    pub(crate) played: &'a Played,
}

impl Check<'_> {
    /// The first thing that is wrong.
    pub(crate) fn run(&self) -> Result<(), String> {
        if let Some(wrong) = &self.played.wrong {
            return Err(wrong.clone());
        }
        self.counts()?;
        self.series()?;
        self.last_exits()?;
        self.superseded()?;
        self.requests()
    }

    fn came(&self, event: usize) -> bool {
        self.played.came.get(event) == Some(&true)
    }

    /// Whether an exporter that does all it can has had an event that was made then.
    fn could_come(&self, at: Nanos, event: usize) -> bool {
        if self.came(event) {
            return true;
        }
        let flavour = self.history.setting.flavour;
        if flavour == Flavour::Podman {
            return self.network.is_well_for(at, self.played.end, FOUND_WITHIN);
        }
        let next = self
            .world
            .events
            .partition_point(|it| (it.at, it.number) <= (at, event));
        let mut left = super::world::REMEMBERED;
        let pushed_out = self.world.events[next..].iter().find(|it| {
            let count = it.count as usize;
            let is_out = count >= left;
            left = left.saturating_sub(count);
            is_out
        });
        let gone = self.world.down.iter().find(|it| it.from > at);
        let until = [pushed_out.map(|it| it.at), gone.map(|it| it.from)];
        let until = until.into_iter().flatten().min().unwrap_or(self.played.end);
        self.network.is_well_for(at, until, FOUND_WITHIN)
    }

    /// How sure an exporter can be of the time of its start, by the Engine's clock.
    fn doubt(&self) -> Nanos {
        if self.history.setting.apart == 0 {
            // What was over before the Engine could be asked at all, nobody may know of.
            self.first_answer()
        } else {
            // The header `Date` has whole seconds, and what is less than three is taken for none.
            4 * SECOND + self.first_answer()
        }
    }

    /// Until then the exporter could not know what there was.
    pub(crate) fn first_answer(&self) -> Nanos {
        self.played.first_listed.unwrap_or(self.played.end)
    }

    fn created(&self, run: &Run) -> Nanos {
        self.world.containers[run.container].created
    }

    pub(crate) fn demand(&self, run: &Run) -> Demand {
        let Some(end) = run.end else {
            return Demand::None;
        };
        let refused = self.history.setting.refuses_inspects;
        let is_last = end.hidden.is_none();
        let doubt = self.doubt();
        let latest = end.die.map_or(end.finished, |(at, _)| at);
        let earliest = end.finished.min(latest);
        let podman = self.history.setting.flavour == Flavour::Podman;
        if let Some(failed) = run.failed {
            let at = end.shown;
            if at < -doubt - 10 * SECOND {
                return Demand::Before;
            }
            if at < -doubt {
                return Demand::Free; // It has no time, and may be told late.
            }
            if at <= doubt || refused {
                return Demand::Free;
            }
            return match failed {
                // When it failed only some events tell, and those from before the start come late.
                FailedStart::First { .. } if self.created(run) <= doubt => Demand::Free,
                FailedStart::First { .. } | FailedStart::Again { repeated: false } if is_last => {
                    Demand::Counted
                }
                FailedStart::First { create, tried } => {
                    let runs = self.world.runs.iter();
                    let starts_again = runs.filter(|it| it.container == run.container).count() > 1;
                    let may_be_lost = self.played.gaps > 0;
                    let lenient = podman || starts_again || may_be_lost;
                    if lenient || !self.came(create) || !self.came(tried) {
                        Demand::Free
                    } else {
                        Demand::Counted
                    }
                }
                FailedStart::Again { .. } | FailedStart::Interrupted => Demand::Free,
            };
        }
        if latest < -doubt && refused && end.hidden.is_some_and(|at| at > 0) {
            // The next run's start is all that is seen of it.
            return Demand::Free;
        }
        if latest < -doubt {
            return Demand::Before;
        }
        // A listing tells a time only as well as it is known when that was made, and the clock.
        let apart = self.history.setting.apart != 0;
        let listed_alone = refused && apart && end.die.is_none();
        if earliest <= doubt + Nanos::from(listed_alone) * 10 * SECOND {
            return Demand::Free;
        }
        let spec = &self.history.specs[run.container];
        let podman = self.history.setting.flavour == Flavour::Podman;
        let hides_code = !podman && spec.label("exitCode").is_some();
        let known_by_event = end
            .die
            .is_some_and(|(at, event)| !hides_code && self.could_come(at, event));
        let dropped = &self.played.dropped_silently;
        if hides_code && self.history.setting.refuses_inspects {
            // A listing has the code, but of the start that failed afterwards.
            return Demand::Free;
        }
        let is_dropped = end.die.is_some_and(|(_, event)| dropped.contains(&event));
        if is_last || (known_by_event && !is_dropped) {
            Demand::Counted
        } else if is_dropped {
            Demand::Free
        } else {
            Demand::CountedOrLost
        }
    }

    fn reasons(&self, run: &Run) -> Vec<&'static str> {
        // What was made before the start is remembered, if it is not too long ago.
        let came = |event: usize| {
            let made = self.world.events.iter().find(|it| it.number == event);
            made.is_some_and(|it| match it.at {
                0.. => self.came(event),
                at => self.could_come(at, event),
            })
        };
        let mut allowed = reasons::allowed(run, self.history, &came);
        // Beside a gap nobody can tell whether what came before it was of this run or of the last.
        let gap = self.played.gaps > 0;
        let older = |it: &&Run| it.container == run.container && it.started < run.started;
        if let Some(before) = self.world.runs.iter().rfind(older).filter(|_| gap) {
            let of_before = Run {
                end: run.end,
                failed: run.failed,
                ..before.clone()
            };
            allowed.extend(reasons::allowed(&of_before, self.history, &came));
        }
        allowed
    }

    /// The number of requests.
    fn requests(&self) -> Result<(), String> {
        let played = self.played;
        let seconds = played.end / SECOND;
        let lists = u64::try_from(seconds / self.history.setting.interval).unwrap_or(0);
        // A new stream takes one, and one more if something was too young.
        let most = lists + 3 + 3 * played.follows;
        if played.lists > most {
            return Err(format!("{} listings, and {most} would do", played.lists));
        }
        let exits = self
            .world
            .runs
            .iter()
            .filter(|run| run.end.is_some())
            .count() as u64;
        let minutes = u64::try_from(seconds / 60).unwrap_or(0);
        let created = self.world.containers.iter();
        let created =
            created.filter(|it| it.turns.iter().any(|it| it.view.state == State::Created));
        let count = self.world.containers.len() as u64;
        let refused = 6 * u64::from(self.history.setting.refuses_inspects);
        let most = 4 * exits + (minutes + 4) * created.count() as u64 + (4 + refused) * count;
        if played.inspects > most {
            return Err(format!("{} inspects, and {most} would do", played.inspects));
        }
        let most = 3 + 2 * played.follows;
        if played.proofs > most || played.infos > most + u64::try_from(seconds / 10).unwrap_or(0) {
            let (proofs, infos) = (played.proofs, played.infos);
            return Err(format!("{proofs} proofs and {infos} infos are too many"));
        }
        Ok(())
    }
}
