//! Histories that nobody would think of.

use super::dice::{Dice, MS, SECOND};
use super::history::{Action, Flavour, Going, History, Policy, Setting, Spec, Step};

/// Makes up a history.
pub(crate) fn generate(seed: u64) -> History {
    let mut dice = Dice::new(seed);
    let setting = setting(&mut dice);
    let containers = dice.pick(&[1, 1, 2, 2, 3, 4]);
    let same_slot = dice.one_in(2);
    let specs = (0..containers)
        .map(|_| spec(&mut dice, same_slot))
        .collect();
    let count = dice.between(2, 12);
    let mut at = dice.pick(&[-60, -20, -5, -1, 0, 1, 2]) * SECOND + dice.between(0, SECOND);
    let mut known = vec![false; containers];
    let mut steps = Vec::new();
    let mut container = 0;
    for _ in 0..count {
        // What is interesting happens to one container within moments.
        let goes_on = dice.one_in(3);
        if !goes_on {
            container = usize::try_from(dice.below(containers as u64)).unwrap_or_default();
        }
        let introduced = std::mem::replace(&mut known[container], true);
        let action = if introduced || dice.one_in(12) {
            action(&mut dice)
        } else {
            first(&mut dice)
        };
        let salt = dice.next();
        steps.push(Step {
            at,
            container,
            salt,
            action,
        });
        at += match dice.below(10) {
            _ if goes_on => dice.between(0, 400 * MS),
            0 | 1 => dice.between(0, 50 * MS),
            2..6 => dice.between(0, 2 * SECOND),
            6..9 => dice.between(0, 20 * SECOND),
            _ => dice.between(20 * SECOND, 100 * SECOND),
        };
    }
    let mut history = History {
        seed,
        setting,
        specs,
        steps,
    };
    spoil_answers(&mut history);
    history
}

/// In some histories answers are worse still. This has dice of its own, so that the rest of a history
/// stays what it was before there was this.
fn spoil_answers(history: &mut History) {
    let mut dice = Dice::new(!history.seed);
    let (Some(first), Some(last)) = (history.steps.first(), history.steps.last()) else {
        return;
    };
    let (first, last) = (first.at, last.at.max(1));
    for _ in 0..dice.pick(&[0, 0, 0, 0, 1, 2]) {
        let at = dice.between(first.max(0).min(last - 1), last + 10 * SECOND);
        // What no listing has for longer is gone for all that anybody knows.
        let once = dice.between(SECOND, (history.setting.interval - 1) * SECOND);
        let short = dice.between(100 * MS, 15 * SECOND);
        let step = Step {
            at,
            container: usize::try_from(dice.below(history.specs.len() as u64)).unwrap_or_default(),
            salt: dice.next(),
            action: match dice.below(3) {
                0 => Action::EmptyInspects(short),
                _ => Action::Unlisted(once),
            },
        };
        let place = history.steps.partition_point(|it| it.at <= at);
        history.steps.insert(place, step);
    }
}

fn setting(dice: &mut Dice) -> Setting {
    use Flavour::{Docker, Docker20, Podman};
    let apart = match dice.below(12) {
        0 => dice.between(-2 * SECOND, 2 * SECOND),
        1 => dice.pick(&[-7200, -61, 3600]) * SECOND + dice.between(0, SECOND),
        _ => 0,
    };
    Setting {
        flavour: dice.pick(&[Docker, Docker, Docker, Docker20, Podman]),
        interval: dice.pick(&[15, 15, 15, 5, 30, 60]),
        apart,
        refuses_inspects: dice.one_in(20),
        queue: dice.pick(&[1024, 1024, 2, 5]),
        socket_waits: dice.one_in(3),
    }
}

fn spec(dice: &mut Dice, same_slot: bool) -> Spec {
    let mut labels = Vec::new();
    match dice.below(5) {
        0 => {
            let slot = if same_slot { 1 } else { dice.between(1, 3) };
            let task = format!("web.{slot}.t{:012x}", dice.below(1 << 48));
            labels.push(("com.docker.swarm.service.id", "kz1".to_owned()));
            labels.push(("com.docker.swarm.service.name", "web".to_owned()));
            labels.push(("com.docker.swarm.task.name", task));
        }
        1 => {
            let number = if same_slot { 1 } else { dice.between(1, 2) };
            labels.push(("com.docker.compose.container-number", number.to_string()));
            labels.push(("com.docker.compose.project", "shop".to_owned()));
            labels.push(("com.docker.compose.service", "cart".to_owned()));
        }
        _ => {}
    }
    if dice.one_in(12) {
        labels.push(("exitCode", dice.pick(&["0", "1", "99", "x"]).to_owned()));
    }
    if dice.one_in(12) {
        labels.push(("signal", dice.pick(&["15", "HUP", "9", "x"]).to_owned()));
    }
    labels.sort();
    let policies = [
        Policy::No,
        Policy::No,
        Policy::Always,
        Policy::UnlessStopped,
        Policy::OnFailure(0),
        Policy::OnFailure(2),
    ];
    let policy = dice.pick(&policies);
    Spec {
        image: dice.pick(&["busybox", "shop/cart:1.2", "alpine:3"]),
        tag_moved: dice.one_in(6),
        labels,
        rm: policy == Policy::No && dice.one_in(3),
        policy,
        stop_signal: dice
            .one_in(5)
            .then(|| dice.pick(&[("SIGINT", 2), ("SIGQUIT", 3), ("SIGRTMIN+3", 37)])),
        health: dice.one_in(3),
        attached: dice.one_in(2),
    }
}

fn code(dice: &mut Dice) -> i64 {
    match dice.below(8) {
        0 | 1 => 0,
        2 => 1,
        3 => dice.pick(&[137, 139, 143, 255]),
        _ => dice.between(2, 120),
    }
}

fn first(dice: &mut Dice) -> Action {
    match dice.below(12) {
        0 => Action::Create,
        1 => Action::FailStart,
        2 => Action::RunSlowly(dice.between(SECOND, 20 * SECOND)),
        _ => Action::Run,
    }
}

fn action(dice: &mut Dice) -> Action {
    let short = |dice: &mut Dice| dice.between(100 * MS, 15 * SECOND);
    match dice.below(120) {
        0..24 => Action::Exit {
            code: code(dice),
            again: dice.pick(&[0, 0, 0, 1, 2, 5]),
            after: dice.pick(&[0, 5 * MS, 50 * MS, 500 * MS, 3 * SECOND, 12 * SECOND]),
        },
        24..38 => Action::Stop {
            code: dice.pick(&[143, 143, 0, 3]),
            deaf: dice.one_in(4).then(|| dice.between(SECOND, 10 * SECOND)),
        },
        38..42 => Action::Kill,
        42..45 => Action::Hup,
        45..50 => Action::Oom {
            noticed: !dice.one_in(8),
        },
        50..52 => Action::OomOfChild,
        52..56 => Action::Unhealthy {
            code: dice.pick(&[143, 137, 0]),
            after: dice.between(0, 2 * SECOND),
        },
        56..60 => Action::FailStart,
        60..62 => Action::Rename,
        62..64 => Action::Pause,
        64..66 => Action::Unpause,
        66..75 => Action::Remove,
        75..83 => Action::Start,
        83..87 => Action::Noise(dice.pick(&[3, 100, 260, 300])),
        87..93 => Action::Daemon {
            going: dice.pick(&[Going::Gracefully, Going::Killed]),
            live_restore: dice.one_in(2),
            down: dice.between(200 * MS, 15 * SECOND),
        },
        93..96 => Action::Stall(dice.between(8 * SECOND, 60 * SECOND)),
        96..99 => Action::ProxyGone(short(dice)),
        99..103 => Action::Cut,
        103..106 => Action::Delay {
            lasts: short(dice),
            by: dice.between(0, 2 * SECOND),
        },
        106..111 => Action::Behind {
            lasts: dice.between(SECOND, 40 * SECOND),
            by: dice.pick(&[100, 300, 700, 1500, 3000]) * MS,
        },
        111..113 => Action::SlowListings {
            lasts: dice.between(SECOND, 40 * SECOND),
            takes: dice.between(SECOND, 40 * SECOND),
        },
        113..116 => Action::SlowInspects {
            lasts: short(dice),
            takes: dice.between(300 * MS, 15 * SECOND),
        },
        116..118 => Action::BadListings(dice.between(SECOND, 60 * SECOND)),
        _ => Action::BadInspects(short(dice)),
    }
}
