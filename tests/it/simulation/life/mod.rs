//! The life of one container, as moby and podman live it.

use super::dice::{Dice, MS, Nanos, SECOND};
use super::history::{Flavour, History, Policy, Spec};
use super::truth::{End, Run};
use super::world::{Down, Event, Kind, Seen, State, Turn, View, World};

mod downtime;
mod operations;

/// So long before a daemon goes nothing begins that it would have to finish.
const BEFORE_DOWN: Nanos = 1000 * MS;
const SIGKILL: u8 = 9;
const SIGTERM: u8 = 15;

/// What will happen by itself.
#[derive(Debug, Clone, Copy)]
enum Timer {
    Restart,
    /// `runc create` is done at last.
    Begin,
    End(i64),
    Kill {
        signal: u8,
        code: i64,
    },
}

pub(super) struct Life<'a> {
    number: usize,
    spec: &'a Spec,
    history: &'a History,
    world: &'a mut World,
    dice: Dice,
    seen: Seen,
    view: View,
    /// Until then someone holds its lock.
    busy: Nanos,
    timer: Option<(Nanos, Timer)>,
    /// The run that it is in, or was in last.
    run: Option<usize>,
    /// How the next runs end, after how long, and how many there are.
    plan: (i64, Nanos, u32),
    backoff: Nanos,
    /// Somebody stopped it, so its policy does not start it again.
    stopped: bool,
    /// The number of its `create` event.
    create: usize,
    gone: bool,
    /// The daemon that it waits for, and how it ended meanwhile.
    away: Option<(Down, Option<(Nanos, i64)>)>,
    starts_at_boot: bool,
}

impl<'a> Life<'a> {
    pub(super) fn new(
        number: usize,
        spec: &'a Spec,
        history: &'a History,
        world: &'a mut World,
    ) -> Self {
        let mut dice = Dice::new(history.seed ^ (number as u64 + 1));
        let mut seen = Seen::default();
        for _ in 0..4 {
            seen.id += &format!("{:016x}", dice.next());
        }
        Self {
            number,
            spec,
            history,
            world,
            dice,
            seen,
            view: View::ABSENT,
            busy: Nanos::MIN / 2,
            timer: None,
            run: None,
            plan: (0, 0, 0),
            backoff: 0,
            stopped: false,
            create: 0,
            gone: false,
            away: None,
            starts_at_boot: false,
        }
    }

    fn podman(&self) -> bool {
        self.history.setting.flavour == Flavour::Podman
    }

    /// Lives through all steps.
    pub(super) fn live(mut self) -> Seen {
        let mut goings = self.world.down.clone().into_iter().peekable();
        if self.podman() {
            goings = Vec::new().into_iter().peekable();
        }
        let history = self.history;
        let number = self.number;
        for step in history.steps.iter().filter(|it| it.container == number) {
            while let Some(down) = goings.next_if(|down| down.told <= step.at) {
                self.go_down(down);
            }
            self.advance(step.at);
            self.dice = Dice::new(step.salt);
            self.apply(step);
        }
        for down in goings {
            self.go_down(down);
        }
        self.advance(Nanos::MAX);
        self.seen
    }

    /// Lets happen by itself what happens up to then.
    fn advance(&mut self, until: Nanos) {
        loop {
            if let Some((down, _)) = self.away {
                if down.to > until {
                    self.note_end_while_away(until);
                    return;
                }
                self.note_end_while_away(down.to);
                self.boot();
                continue;
            }
            let Some((at, timer)) = self.timer.filter(|(at, _)| *at <= until) else {
                return;
            };
            if let Some(down) = self.goes_down_soon(at) {
                // It falls into the time without a daemon.
                self.timer = Some((down.told.max(at) + MS, timer));
                return;
            }
            self.timer = None;
            let at = at.max(self.busy + 1000);
            match timer {
                Timer::Restart | Timer::Begin => self.start(at),
                Timer::End(code) => self.end(at, code, true),
                Timer::Kill { signal, code } => {
                    self.kill(at, signal);
                    self.end(at + 5 * MS, code, false);
                }
            }
        }
    }

    /// The daemon that goes while something that begins now is not finished.
    fn goes_down_soon(&self, at: Nanos) -> Option<Down> {
        if self.podman() {
            return None;
        }
        let mut all = self.world.down.iter();
        all.find(|it| it.told - BEFORE_DOWN < at && at < it.to)
            .copied()
    }

    fn event(&mut self, at: Nanos, kind: Kind) -> usize {
        self.events(at, kind, 1)
    }

    fn events(&mut self, at: Nanos, kind: Kind, count: u32) -> usize {
        let number = self.world.events.len();
        self.world.events.push(Event {
            at,
            container: self.number,
            kind,
            renamed: self.view.renamed,
            count,
            number,
        });
        number
    }

    /// From then on listings and inspects show what is known now.
    fn show(&mut self, listed: Nanos, inspected: Nanos) {
        let last = self.seen.turns.last();
        let (listed, inspected) = last.map_or((listed, inspected), |last| {
            (listed.max(last.listed), inspected.max(last.inspected))
        });
        self.seen.turns.push(Turn {
            listed,
            inspected,
            view: self.view,
        });
    }

    fn run(&mut self) -> Option<&mut Run> {
        self.run.map(|run| &mut self.world.runs[run])
    }

    /// Inspects no longer show how its last run ended.
    fn hide_end(&mut self, at: Nanos) {
        if let Some(end) = self.run().and_then(|run| run.end.as_mut()) {
            end.hidden.get_or_insert(at);
        }
    }

    fn make(&mut self, at: Nanos) {
        self.view.state = State::Created;
        self.seen.created = at - 2 * MS;
        self.create = self.event(at, Kind::Create);
        self.show(at - MS, at - MS);
        self.busy = at + MS;
    }

    fn connect_and_start(&mut self, at: Nanos) {
        self.stopped = false;
        self.plan.2 = 0;
        (self.backoff, self.view.restarts) = (0, 0);
        if self.spec.attached {
            self.event(at - MS / 2, Kind::Attach);
        }
        self.event(at, Kind::Connect);
        let takes = self.dice.between(10, 200) * MS;
        self.start(at + takes);
    }

    fn start(&mut self, at: Nanos) {
        let longest = self.dice.pick(&[1, 5, 150]);
        let lag = self.dice.between(0, longest * MS);
        let event = at + lag;
        self.hide_end(event);
        self.view = View {
            state: State::Running,
            code: 0,
            error: "",
            oom: false,
            started: Some(at),
            unhealthy: false,
            ..self.view
        };
        self.event(event, Kind::Start);
        self.show(at + lag / 2, event);
        self.run = Some(self.world.runs.len());
        self.world.runs.push(Run::of(self.number, at));
        self.busy = event;
        self.timer = None;
        let (code, after, left) = self.plan;
        if left > 0 {
            self.plan.2 -= 1;
            self.timer = Some(((at + after).max(event + 1000), Timer::End(code)));
        }
    }

    fn kill(&mut self, at: Nanos, signal: u8) {
        let number = self.event(at, Kind::Kill(signal));
        self.stopped = true;
        if let Some(run) = self.run() {
            run.kills.push(number);
        }
    }

    fn oom(&mut self, at: Nanos) {
        let number = self.event(at, Kind::Oom);
        let podman = self.podman();
        self.view.oom = true;
        self.show(at, at);
        if let Some(run) = self.run() {
            run.oom = true;
            if !podman {
                run.ooms.push(number);
            }
        }
    }

    fn restarts(&self, code: i64) -> bool {
        !self.stopped
            && match self.spec.policy {
                Policy::No => false,
                Policy::Always | Policy::UnlessStopped => true,
                Policy::OnFailure(most) => code != 0 && (most == 0 || self.view.restarts < most),
            }
    }

    /// Its process ends.
    fn end(&mut self, at: Nanos, code: i64, may_restart: bool) {
        let started = self.view.started.unwrap_or(at);
        let mut finished = at;
        if at - started < 30 * MS && self.dice.one_in(2) {
            finished = started - self.dice.between(0, 3 * MS);
        }
        let longest = match (self.podman(), self.dice.below(8)) {
            (true, 0..4) => 1500,
            (false, 0) => 300,
            _ => 50,
        };
        let lag = self.dice.between(MS, longest * MS);
        let die = at.max(self.busy) + lag;
        let restarts = may_restart && self.restarts(code);
        self.view.state = if restarts {
            State::Restarting
        } else {
            State::Exited
        };
        (self.view.code, self.view.finished) = (code, Some(finished));
        let (listed, inspected) = match self.history.setting.flavour {
            Flavour::Podman => (at.max(self.busy) + MS / 2, at.max(self.busy) + MS / 2),
            Flavour::Docker => (die - lag / 4, die),
            Flavour::Docker20 => (die + self.dice.between(48, 175) * MS, die),
        };
        self.show(listed, inspected);
        let ran = (die - started) / SECOND;
        let number = self.event(die, Kind::Die(code, ran));
        self.event(die + MS / 2, Kind::Disconnect);
        if let Some(run) = self.run() {
            run.end = Some(End {
                code,
                finished,
                shown: inspected,
                hidden: None,
                die: Some((die, number)),
            });
            if run.stop_event {
                self.event(die + MS, Kind::Stop);
            }
        }
        self.busy = die + MS;
        self.timer = None;
        if restarts {
            self.view.restarts += 1;
            let reset = self.backoff == 0 || at - started >= 10 * SECOND;
            self.backoff = if reset { 100 * MS } else { self.backoff * 2 };
            self.timer = Some((die + self.backoff, Timer::Restart));
        } else if self.spec.rm {
            let takes = self.dice.between(5, 150) * MS;
            self.remove(die + takes);
        }
    }

    fn remove(&mut self, at: Nanos) {
        self.event(at, Kind::Destroy(self.view.code));
        self.hide_end(at);
        self.view.state = State::Absent;
        self.show(at - MS, at - MS);
        (self.gone, self.timer) = (true, None);
    }
}
