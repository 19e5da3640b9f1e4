//! What is between the Engine and the exporter, and when: outages, delays, failures.

use super::dice::{Nanos, SECOND};
use super::history::{Action, History};
use super::world::World;

/// A time that something lasts, with how much of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) from: Nanos,
    pub(crate) to: Nanos,
    pub(crate) by: Nanos,
    pub(crate) container: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Network {
    /// When the Engine cannot be reached: a proxy is gone, or there is no daemon.
    pub(crate) outages: Vec<Span>,
    /// When there is no daemon, but connections can be made all the same.
    pub(crate) waits: Vec<Span>,
    /// When the exporter's process is stopped.
    pub(crate) stalls: Vec<Span>,
    /// When the stream breaks, in order; those of outages, too.
    pub(crate) cuts: Vec<Nanos>,
    pub(crate) delays: Vec<Span>,
    pub(crate) behind: Vec<Span>,
    pub(crate) slow_listings: Vec<Span>,
    pub(crate) slow_inspects: Vec<Span>,
    pub(crate) bad_listings: Vec<Span>,
    pub(crate) bad_inspects: Vec<Span>,
    pub(crate) empty_inspects: Vec<Span>,
    /// When listings lack a container.
    pub(crate) unlisted: Vec<Span>,
}

pub(crate) fn at(spans: &[Span], now: Nanos) -> Option<&Span> {
    spans.iter().rfind(|it| (it.from..it.to).contains(&now))
}

impl Network {
    pub(crate) fn of(history: &History, world: &World) -> Self {
        let mut all = Self::default();
        for step in &history.steps {
            let span = |lasts, by| Span {
                from: step.at,
                to: step.at + lasts,
                by,
                container: step.container,
            };
            match step.action {
                Action::Stall(lasts) if step.at > 0 => all.stalls.push(span(lasts, 0)),
                Action::ProxyGone(lasts) => all.outages.push(span(lasts, 0)),
                Action::Cut => all.cuts.push(step.at),
                Action::Delay { lasts, by } => all.delays.push(span(lasts, by)),
                Action::Behind { lasts, by } => all.behind.push(span(lasts, by)),
                Action::SlowListings { lasts, takes } => {
                    all.slow_listings.push(span(lasts, takes));
                }
                Action::SlowInspects { lasts, takes } => {
                    all.slow_inspects.push(span(lasts, takes));
                }
                Action::BadListings(lasts) => all.bad_listings.push(span(lasts, 0)),
                Action::BadInspects(lasts) => all.bad_inspects.push(span(lasts, 0)),
                Action::EmptyInspects(lasts) => all.empty_inspects.push(span(lasts, 0)),
                Action::Unlisted(lasts) => all.unlisted.push(span(lasts, 0)),
                _ => {}
            }
        }
        let down = world.down.iter().map(|down| Span {
            from: down.from,
            to: down.to,
            by: 0,
            container: 0,
        });
        if history.setting.socket_waits {
            all.waits.extend(down);
        } else {
            all.outages.extend(down);
        }
        let ends = all.outages.iter().chain(&all.waits).map(|it| it.from);
        all.cuts.extend(ends);
        all.cuts.sort_unstable();
        all
    }

    pub(crate) fn is_out(&self, now: Nanos) -> bool {
        at(&self.outages, now).is_some()
    }

    /// When a process that may be stopped gets what comes now.
    pub(crate) fn awake(&self, mut now: Nanos) -> Nanos {
        while let Some(stall) = at(&self.stalls, now) {
            now = stall.to;
        }
        now
    }

    /// The next moment at which the stream breaks, after this one.
    pub(crate) fn next_cut(&self, now: Nanos) -> Option<Nanos> {
        self.cuts.iter().copied().find(|cut| *cut > now)
    }

    /// Whether there is a time of at least `length` in these bounds in which all is well.
    pub(crate) fn is_well_for(&self, from: Nanos, to: Nanos, length: Nanos) -> bool {
        let mut start = from.max(0);
        let all = || self.outages.iter().chain(&self.waits).chain(&self.stalls);
        while start + length <= to {
            let troubles = all().filter(|it| it.from < start + length && it.to > start);
            match troubles.map(|it| it.to).max() {
                None => return true,
                Some(end) => start = end,
            }
        }
        false
    }

    /// The end of the last trouble.
    pub(crate) fn end(&self) -> Nanos {
        let all = [
            &self.outages,
            &self.waits,
            &self.stalls,
            &self.delays,
            &self.behind,
            &self.slow_listings,
            &self.slow_inspects,
            &self.bad_listings,
            &self.bad_inspects,
            &self.empty_inspects,
            &self.unlisted,
        ];
        let ends = all.into_iter().flatten().map(|it| it.to + SECOND);
        ends.max().unwrap_or_default()
    }
}
