//! What a daemon that goes, and the next one, do to a container.

use crate::simulation::dice::{Dice, MS, Nanos};
use crate::simulation::history::Going;
use crate::simulation::truth::{End, FailedStart, Run};
use crate::simulation::world::{Down, State};

use super::{Life, Timer};

impl Life<'_> {
    pub(super) fn note_end_while_away(&mut self, until: Nanos) {
        if let Some((at, Timer::End(code) | Timer::Kill { code, .. })) = self.timer {
            if at <= until && self.view.runs() {
                self.timer = None;
                self.end_while_away(at, code);
            }
        }
    }

    pub(super) fn end_while_away(&mut self, at: Nanos, code: i64) {
        if let Some((_, ended @ None)) = &mut self.away {
            *ended = Some((at, code));
        }
    }

    /// The daemon goes.
    pub(super) fn go_down(&mut self, down: Down) {
        self.advance(down.told);
        self.dice = Dice::new(down.told.unsigned_abs() ^ (self.number as u64 + 7));
        self.away = Some((down, None));
        self.starts_at_boot = false;
        if let Some((_, Timer::Begin)) = self.timer {
            // The start that hung is never finished.
            self.timer = None;
            if let Some((_, end)) = self.seen.hangs.last_mut() {
                *end = (*end).min(down.from);
            }
            self.run = Some(self.world.runs.len());
            self.world.runs.push(Run {
                failed: Some(FailedStart::Interrupted),
                end: Some(End {
                    code: 0,
                    finished: down.from,
                    shown: down.from,
                    hidden: None,
                    die: None,
                }),
                ..Run::of(self.number, down.from)
            });
        }
        let waits = self.view.state == State::Restarting;
        let dies = self.view.runs() && down.going == Going::Gracefully && !down.live_restore;
        if waits {
            self.timer = None;
            self.starts_at_boot = true;
        }
        if dies {
            let at = down.told.max(self.busy + 1000);
            let policy = self.restarts(1);
            let signal = self.stop_signal();
            self.kill(at, signal);
            let code = self.dice.pick(&[143, 0, 137]);
            let busy = self.busy.max(at);
            let takes = self.dice.between(1, 20) * MS;
            self.end(busy + takes, code, false);
            self.stopped = false;
            self.starts_at_boot = policy && !self.gone;
        }
    }

    /// A new daemon is there.
    pub(super) fn boot(&mut self) {
        let Some((down, ended)) = self.away.take() else {
            return;
        };
        if self.gone || self.view.state == State::Absent {
            return;
        }
        (self.view.restarts, self.backoff) = (0, 0);
        let early = (150 * MS).min(down.to - down.from);
        let at = (down.to - early / 2 + self.dice.between(0, 400) * MS).max(self.busy + MS);
        let mut starts = self.starts_at_boot;
        if let (true, Some((finished, code))) = (self.view.runs(), ended) {
            starts = self.restarts(code);
            self.end_unseen(finished, code, down.to, starts);
        } else if self.view.runs() && !down.live_restore && down.going == Going::Killed {
            // What an older daemon left behind is stopped.
            let code = self.dice.pick(&[137, 143, 0]);
            starts = self.restarts(1);
            self.end(at, code, false);
        } else {
            self.show(down.to, down.to);
        }
        if self.gone {
            return;
        }
        if starts {
            let at = at.max(self.busy) + self.dice.between(20, 600) * MS;
            self.start(at);
        } else if ended.is_some() && self.spec.rm {
            self.remove(at.max(down.to) + 10 * MS);
        }
    }

    /// Its run ended while there was no daemon, so there is no event.
    pub(super) fn end_unseen(&mut self, finished: Nanos, code: i64, shown: Nanos, starts: bool) {
        (self.view.code, self.view.finished) = (code, Some(finished));
        self.view.state = State::Exited;
        if !starts {
            self.show(shown, shown);
        }
        if let Some(run) = self.run() {
            run.end = Some(End {
                code,
                finished,
                shown,
                hidden: starts.then_some(shown),
                die: None,
            });
        }
        self.timer = None;
        self.busy = self.busy.max(shown);
    }
}
