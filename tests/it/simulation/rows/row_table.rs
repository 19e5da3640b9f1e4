//! The rows themselves.

use crate::simulation::dice::{MS, SECOND};
use crate::simulation::history::{Action, Flavour, Going, Policy, Setting, Spec};

use super::{
    More, Row, a_duration_is_known, a_last_exit_is_shown, an_exit_is_shown, before_the_first_event,
    counted_as, daemon, exit, five, history, labelled, nothing_is_left, one_and_five, rm, spec,
    stop,
};

/// All rows.
#[allow(clippy::too_many_lines)] // It is a table.
pub(crate) fn all() -> Vec<Row> {
    let mut rows = Vec::new();
    let mut row = |number, name, history, more| {
        rows.push(Row {
            number,
            name,
            history,
            more,
        });
    };
    let crash_loop = Action::Exit {
        code: 7,
        again: 5,
        after: 0,
    };
    let called_off = [
        (1_000, 0, Action::Run),
        (24_200, 0, crash_loop),
        (30_500, 0, stop()),
    ];
    let always = || vec![spec(Policy::Always)];
    row(
        1,
        "a restart that is called off",
        history(always(), &called_off),
        None,
    );
    for (name, going, live_restore) in [
        ("ends while a killed daemon is away", Going::Killed, false),
        (
            "ends while a daemon with live-restore is away",
            Going::Gracefully,
            true,
        ),
    ] {
        let steps = [
            (1_000, 0, Action::Run),
            (20_000, 0, daemon(going, live_restore)),
            (21_500, 0, exit(4)),
        ];
        row(2, name, history(always(), &steps), None);
    }
    let gone = |noise| {
        let mut steps = vec![
            (1_000, 0, Action::Run),
            (20_000, 0, Action::ProxyGone(8 * SECOND)),
        ];
        steps.extend(five(20_500, 1_000));
        if noise {
            steps.push((26_000, 0, Action::Noise(300)));
        }
        history(one_and_five(), &steps)
    };
    row(
        3,
        "a proxy is gone, and all is remembered",
        gone(false),
        None,
    );
    row(
        3,
        "a proxy is gone, and nothing is remembered",
        gone(true),
        None,
    );
    row(
        4,
        "a cut before the first event",
        before_the_first_event(),
        None,
    );
    let stalled = |noise| {
        let mut steps = vec![
            (1_000, 0, Action::Run),
            (20_000, 0, Action::Stall(30 * SECOND)),
        ];
        steps.extend(five(21_000, 2_000));
        if noise {
            steps.push((40_000, 0, Action::Noise(300)));
        }
        history(one_and_five(), &steps).with(|it| it.queue = 5)
    };
    row(
        5,
        "a reader is stopped, and all is remembered",
        stalled(false),
        None,
    );
    row(
        5,
        "a reader is stopped, and nothing is remembered",
        stalled(true),
        None,
    );
    let behind = [
        (1_000, 0, Action::Run),
        (
            25_000,
            0,
            Action::Behind {
                lasts: 10 * SECOND,
                by: 4 * SECOND,
            },
        ),
        (28_600, 0, exit(3)),
    ];
    row(
        6,
        "a listing that is behind",
        history(vec![rm()], &behind),
        None,
    );
    let kept = [
        (1_000, 0, Action::Run),
        (
            25_000,
            0,
            Action::Behind {
                lasts: 10 * SECOND,
                by: 4 * SECOND,
            },
        ),
        (28_600, 0, exit(3)),
        (29_000, 0, Action::Start),
    ];
    row(
        6,
        "a listing that is behind a restart",
        history(vec![Spec::default()], &kept),
        None,
    );
    let health = [
        (1_000, 0, Action::Run),
        (30_000, 0, Action::Noise(300)),
        (40_000, 0, Action::Cut),
        (60_000, 0, Action::Noise(300)),
        (70_000, 0, Action::Cut),
    ];
    row(
        7,
        "health checks, and a proxy that cuts",
        history(vec![Spec::default()], &health),
        None,
    );
    for (name, waits) in [
        ("a daemon is started anew", false),
        ("a daemon is started anew, and the socket waits", true),
    ] {
        let steps = [
            (1_000, 0, Action::Run),
            (20_000, 0, daemon(Going::Gracefully, false)),
        ];
        let history = history(always(), &steps).with(|it| it.socket_waits = waits);
        row(7, name, history, None);
    }
    let around = [(-70, 0, Action::Run), (15_000, 0, Action::Cut)];
    row(
        7,
        "a cut after a start around the exporter's",
        history(vec![Spec::default()], &around),
        None,
    );
    let slow_create = [
        (1_000, 1, Action::Run),
        (5_000, 0, Action::RunSlowly(60 * SECOND)),
        (20_500, 1, exit(3)),
        (21_000, 1, Action::Look),
    ];
    let two = || vec![Spec::default(), Spec::default()];
    row(
        8,
        "runc create hangs",
        history(two(), &slow_create),
        Some(an_exit_is_shown),
    );
    let slow = Action::SlowListings {
        lasts: 4 * SECOND,
        takes: 20 * SECOND,
    };
    let hangs = [
        (1_000, 0, Action::Run),
        (14_000, 0, slow),
        (20_000, 0, exit(3)),
        (20_500, 0, Action::Look),
    ];
    row(
        9,
        "a listing hangs",
        history(vec![Spec::default()], &hangs),
        Some(an_exit_is_shown),
    );
    let fails = [(5_000, 0, Action::FailStart), (7_500, 0, Action::Look)];
    let seldom = |it: &mut Setting| it.interval = 3600;
    let failed = history(vec![Spec::default()], &fails).with(seldom);
    row(10, "a start that fails", failed, Some(an_exit_is_shown));
    let vanishes = [(5_000, 0, Action::FailStart)];
    let counted: More = |_, end| counted_as("start_failed", end);
    row(
        10,
        "a start that fails with --rm",
        history(vec![rm()], &vanishes),
        Some(counted),
    );
    let slow = Action::SlowInspects {
        lasts: SECOND,
        takes: 600 * MS,
    };
    let late = |action| {
        let steps = [
            (1_000, 0, Action::Run),
            (10_000, 0, action),
            (9_900, 0, slow.clone()),
            (30_000, 0, Action::Look),
        ];
        let mut history = history(vec![Spec::default()], &steps).with(seldom);
        history.steps.sort_by_key(|step| step.at);
        history
    };
    row(
        11,
        "an inspect that takes longer",
        late(exit(3)),
        Some(a_duration_is_known),
    );
    let stopped = [(-60_000, 0, Action::Run), (-20_000, 0, stop())];
    let is_stopped: More = |_, end| match end.exits.first().map(|it| it.reason) {
        Some("stopped") => Ok(()),
        other => Err(format!("it is shown as {other:?}")),
    };
    row(
        12,
        "stopped before the start",
        history(vec![Spec::default()], &stopped),
        Some(is_stopped),
    );
    let ended = Action::Exit {
        code: 4,
        again: 0,
        after: 0,
    };
    let again = [(-60_000, 0, Action::Run), (-20_000, 0, ended)];
    row(
        12,
        "started again before the start",
        history(always(), &again),
        Some(a_last_exit_is_shown),
    );
    let stops = [(1_000, 0, Action::Run), (20_000, 0, stop())];
    let as_stopped: More = |_, end| counted_as("stopped", end);
    let hidden = history(vec![labelled("signal", "HUP")], &stops);
    row(
        13,
        "a label hides the signal of a stop",
        hidden,
        Some(as_stopped),
    );
    let hup = [
        (1_000, 0, Action::Run),
        (19_000, 0, Action::Hup),
        (20_000, 0, exit(1)),
    ];
    let as_error: More = |_, end| counted_as("error", end);
    let hidden = history(vec![labelled("signal", "15")], &hup);
    row(
        13,
        "a label makes a signal of another",
        hidden,
        Some(as_error),
    );
    let short = [
        (1_000, 0, Action::Run),
        (2_000, 0, exit(3)),
        (26 * 3_600_000, 0, Action::Look),
    ];
    let forgotten = history(vec![rm()], &short).with(seldom);
    row(
        14,
        "a workload without containers for a day",
        forgotten,
        Some(nothing_is_left),
    );
    let moved = Spec {
        tag_moved: true,
        ..Spec::default()
    };
    let before = [(-60_000, 0, Action::Run), (20_000, 0, exit(3))];
    row(
        14,
        "a workload whose tag has moved",
        history(vec![moved], &before),
        None,
    );
    let podman = |it: &mut Setting| it.flavour = Flavour::Podman;
    let slow_for_long = Action::SlowInspects {
        lasts: 5 * SECOND,
        takes: 600 * MS,
    };
    let quick = [
        (1_000, 0, Action::Run),
        (4_900, 0, slow_for_long),
        (5_000, 0, exit(3)),
    ];
    row(
        15,
        "Podman removes a container",
        history(vec![rm()], &quick).with(podman),
        None,
    );
    let oom = late(Action::Oom { noticed: true }).with(podman);
    let as_oom: More = |_, end| counted_as("oom_killed", end);
    row(15, "Podman's inspect is late", oom, Some(as_oom));
    rows
}
