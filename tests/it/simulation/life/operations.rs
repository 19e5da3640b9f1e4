//! What steps do to a container.

use crate::simulation::dice::MS;
use crate::simulation::dice::Nanos;
use crate::simulation::history::{Action, Step};
use crate::simulation::truth::{End, FailedStart, Run};
use crate::simulation::world::{Kind, State};

use super::{Life, SIGKILL, SIGTERM, Timer};

const REFUSED: &str = "failed to create task for container: exec: nosuchcommand: not found";

impl Life<'_> {
    #[allow(clippy::too_many_lines)] // One arm for each kind of step.
    pub(super) fn apply(&mut self, step: &Step) {
        if self.gone {
            return;
        }
        if self.away.is_some() {
            let code = match step.action {
                Action::Exit { code, .. } => code,
                Action::Oom { .. } => 137,
                _ => return,
            };
            if self.view.runs() {
                self.timer = None;
                self.end_while_away(step.at, code);
            }
            return;
        }
        let at = step.at.max(self.busy + 1000);
        if self.goes_down_soon(at).is_some() || matches!(self.timer, Some((_, Timer::Begin))) {
            return;
        }
        let state = self.view.state;
        let runs = self.view.runs();
        match step.action {
            Action::Create if state == State::Absent => self.make(at),
            Action::Run if state == State::Absent => {
                self.make(at);
                self.connect_and_start(at + 2 * MS);
            }
            Action::RunSlowly(takes) if state == State::Absent => {
                self.make(at);
                self.event(at + 2 * MS, Kind::Connect);
                self.seen.hangs.push((at + 3 * MS, at + takes));
                self.timer = Some((at + takes, Timer::Begin));
                self.busy = at + 3 * MS;
            }
            Action::Start if matches!(state, State::Created | State::Exited) => {
                self.connect_and_start(at);
            }
            Action::FailStart => self.fail_start(at),
            Action::Exit { code, again, after } if runs => {
                self.plan = (code, after, again);
                self.end(at, code, true);
            }
            Action::Stop { code, deaf } if runs => {
                let signal = self.stop_signal();
                self.kill(at, signal);
                if let Some(run) = self.run() {
                    run.stop_event = true;
                }
                if let Some(patience) = deaf {
                    let (signal, code) = (SIGKILL, 137);
                    self.timer = Some((at + patience, Timer::Kill { signal, code }));
                } else {
                    let takes = self.dice.between(1, 300) * MS;
                    self.end(at + takes, code, false);
                }
            }
            Action::Stop { .. } if state == State::Restarting => self.call_off(at),
            Action::Kill if runs => {
                self.kill(at, SIGKILL);
                self.end(at + 2 * MS, 137, false);
            }
            Action::Hup if runs => {
                self.event(at, Kind::Kill(1));
                if let Some(run) = self.run() {
                    run.other_signals = true;
                }
            }
            Action::Oom { noticed } if runs => {
                if noticed {
                    self.oom(at);
                }
                self.end(at + MS, 137, true);
            }
            Action::OomOfChild if runs => self.oom(at),
            Action::Unhealthy { code, after } if runs && self.spec.health => {
                let number = self.event(at, Kind::Unhealthy);
                self.view.unhealthy = true;
                self.show(at, at);
                if let Some(run) = self.run() {
                    run.unhealthy = Some(number);
                }
                let signal = self.stop_signal();
                self.timer = Some((at + after + MS, Timer::Kill { signal, code }));
            }
            Action::Rename if state != State::Absent => {
                self.view.renamed += 1;
                self.event(at, Kind::Rename);
                self.show(at, at);
            }
            Action::Pause if state == State::Running => {
                self.view.state = State::Paused;
                self.event(at, Kind::Pause);
                self.show(at, at);
            }
            Action::Unpause if state == State::Paused => {
                self.view.state = State::Running;
                self.event(at, Kind::Unpause);
                self.show(at, at);
            }
            Action::Remove if state != State::Absent => {
                if runs {
                    self.kill(at, SIGKILL);
                    self.end(at + 2 * MS, 137, false);
                }
                if !self.gone {
                    let at = (at + 5 * MS).max(self.busy + MS);
                    self.remove(at);
                }
            }
            Action::Noise(count) if state != State::Absent => {
                self.events(at, Kind::Exec, count);
            }
            _ => {}
        }
    }

    pub(super) fn stop_signal(&self) -> u8 {
        self.spec.stop_signal.map_or(SIGTERM, |(_, number)| number)
    }

    /// `docker stop` of a container that waits for its restart: the Engine writes its end anew.
    pub(super) fn call_off(&mut self, at: Nanos) {
        let back = self.dice.between(1, 150) * MS;
        self.view.state = State::Exited;
        self.view.finished = self.view.finished.map(|finished| finished - back);
        let finished = self.view.finished;
        self.show(at, at);
        if self.dice.one_in(2) {
            self.event(at + MS, Kind::Stop);
        }
        if let Some(end) = self.run().and_then(|run| run.end.as_mut()) {
            end.finished = finished.unwrap_or(end.finished);
        }
        self.busy = at + 2 * MS;
        (self.stopped, self.timer) = (true, None);
    }

    /// The runtime refuses to start it.
    pub(super) fn fail_start(&mut self, at: Nanos) {
        let podman = self.podman();
        let is_first = match self.view.state {
            State::Absent => {
                self.make(at);
                true
            }
            State::Created => self.view.error.is_empty(),
            State::Exited if !podman => false,
            _ => return,
        };
        let repeated = !self.view.error.is_empty();
        let (tried, done) = (at + 10 * MS, at + 80 * MS);
        let tried = self.event(tried, Kind::Connect);
        self.event(done, Kind::Disconnect);
        self.hide_end(done);
        (self.view.code, self.view.error) = (if podman { 0 } else { 127 }, REFUSED);
        self.show(done, done);
        let create = self.create;
        let failed = if is_first {
            FailedStart::First { create, tried }
        } else {
            FailedStart::Again { repeated }
        };
        self.run = Some(self.world.runs.len());
        self.world.runs.push(Run {
            failed: Some(failed),
            end: Some(End {
                code: self.view.code,
                finished: done,
                shown: done,
                hidden: None,
                die: None,
            }),
            ..Run::of(self.number, at)
        });
        self.busy = done;
        if self.spec.rm {
            self.remove(done + 20 * MS);
        }
    }
}
