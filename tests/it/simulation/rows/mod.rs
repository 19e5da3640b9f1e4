//! A named history for each thing that was found on real Engines and is about counting.

use super::campaign;
use super::dice::{MS, Nanos, SECOND};
use super::history::{Action, Going, History, Policy, Setting, Spec, Step};
use super::subject::{Outcome, Series, Subject};
use super::world::{Kind, World};

mod row_table;

pub(crate) use row_table::all;

/// What must be right beside what always must.
type More = fn(&[Outcome], &Outcome) -> Result<(), String>;

pub(crate) struct Row {
    /// Its number in the table of what was found.
    pub(crate) number: u32,
    pub(crate) name: &'static str,
    pub(crate) history: History,
    pub(crate) more: Option<More>,
}

fn ms(at: i64) -> Nanos {
    at * MS
}

fn history(specs: Vec<Spec>, steps: &[(i64, usize, Action)]) -> History {
    let steps = steps
        .iter()
        .enumerate()
        .map(|(number, (at, container, action))| Step {
            at: ms(*at),
            container: *container,
            salt: number as u64,
            action: action.clone(),
        });
    History {
        seed: 1,
        setting: Setting::default(),
        specs,
        steps: steps.collect(),
    }
}

fn spec(policy: Policy) -> Spec {
    Spec {
        policy,
        ..Spec::default()
    }
}

fn rm() -> Spec {
    Spec {
        rm: true,
        ..Spec::default()
    }
}

fn labelled(key: &'static str, value: &str) -> Spec {
    Spec {
        labels: vec![(key, value.to_owned())],
        ..Spec::default()
    }
}

fn exit(code: i64) -> Action {
    Action::Exit {
        code,
        again: 0,
        after: 0,
    }
}

fn stop() -> Action {
    Action::Stop {
        code: 143,
        deaf: None,
    }
}

fn daemon(going: Going, live_restore: bool) -> Action {
    Action::Daemon {
        going,
        live_restore,
        down: 3 * SECOND,
    }
}

impl History {
    fn with(mut self, change: impl FnOnce(&mut Setting)) -> Self {
        change(&mut self.setting);
        self
    }
}

fn shown(looks: &[Outcome]) -> Option<&Series> {
    looks.first().and_then(|look| look.exits.first())
}

fn an_exit_is_shown(looks: &[Outcome], _: &Outcome) -> Result<(), String> {
    shown(looks)
        .map(|_| ())
        .ok_or_else(|| "its exit is not shown soon".to_owned())
}

fn a_duration_is_known(looks: &[Outcome], end: &Outcome) -> Result<(), String> {
    let (soon, late) = (shown(looks), end.exits.first());
    match soon.zip(late) {
        Some((soon, late)) if soon.finished == late.finished => Ok(()),
        _ => Err(format!("its times are not known soon: {soon:?}")),
    }
}

fn nothing_is_left(looks: &[Outcome], _: &Outcome) -> Result<(), String> {
    let left = looks.first().map(|look| look.workloads.clone());
    match left {
        Some(left) if left.is_empty() => Ok(()),
        left => Err(format!("there are still workloads: {left:?}")),
    }
}

fn a_last_exit_is_shown(_: &[Outcome], end: &Outcome) -> Result<(), String> {
    let last = end.last_exits.first().map(|it| it.code);
    (last == Some(4))
        .then_some(())
        .ok_or_else(|| format!("the last exit is {last:?}"))
}

fn counted_as(reason: &str, end: &Outcome) -> Result<(), String> {
    let reasons: Vec<_> = end.counted.iter().map(|it| it.reason).collect();
    (reasons == [reason])
        .then_some(())
        .ok_or_else(|| format!("counted as {reasons:?}"))
}

/// Five containers that run and end, one after the other, from this time on.
fn five(from: i64, apart: i64) -> Vec<(i64, usize, Action)> {
    let all = (0..5).flat_map(|number| {
        let at = from + apart * number;
        let container = usize::try_from(number).unwrap_or_default() + 1;
        [
            (at, container, Action::Run),
            (at + apart / 2, container, exit(10 + number)),
        ]
    });
    all.collect()
}

fn one_and_five() -> Vec<Spec> {
    let mut specs = vec![Spec::default()];
    specs.extend((0..5).map(|_| rm()));
    specs
}

/// A container starts again, ends and is removed while the stream is cut, and the Engine forgets it:
/// all that before the stream is opened again.
fn before_the_first_event() -> History {
    let steps = [
        (-30_000, 0, Action::Run),
        (-25_000, 0, exit(3)),
        (-20_000, 0, Action::Noise(300)),
        (20_000, 0, Action::Cut),
        (20_001, 0, Action::Start),
        (20_030, 0, exit(3)),
        (20_060, 0, Action::Remove),
        (20_095, 0, Action::Noise(300)),
    ];
    let mut all = history(vec![Spec::default(), Spec::default()], &steps);
    all.steps.push(Step {
        at: ms(-30_000),
        container: 1,
        salt: 0,
        action: Action::Run,
    });
    all.steps.sort_by_key(|step| step.at);
    if let Some(noise) = all.steps.last_mut() {
        noise.container = 1;
    }
    // The small delays must be small enough.
    for salt in 0.. {
        for step in &mut all.steps {
            step.salt = salt;
        }
        let world = World::of(&all);
        let is_quick = world
            .events
            .iter()
            .any(|event| matches!(event.kind, Kind::Destroy(_)) && event.at < ms(20_090));
        if is_quick {
            return all;
        }
    }
    unreachable!("some salt is quick")
}

/// Plays a row and says what is wrong.
pub(crate) fn play<S: Subject>(row: &Row, new: impl Fn(&History) -> S) -> Result<(), String> {
    // ROW plays one of them step by step.
    let traced = std::env::var("ROW").is_ok_and(|name| name == row.name);
    let (played, result) = campaign::play(&row.history, &new, traced);
    let more = |()| {
        let more = row.more;
        more.map_or(Ok(()), |more| more(&played.looks, &played.outcome))
    };
    let result = result.and_then(more);
    if traced {
        println!("{}{result:#?}", row.history);
    }
    result
}
