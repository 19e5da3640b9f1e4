//! What a view shows of all that is known.

use jiff::Timestamp;
use memchr::memchr2_iter;

use crate::ledger::FailingWorkload;
use crate::reason::Reason;

use super::snapshot::{Containers, Row};
use super::text::shown;
use super::view::View;

/// A workload fails again and again if it has failed so often within an hour.
pub(super) const OFTEN: u64 = 3;

/// What a view shows, in its order.
#[derive(Debug, Default)]
pub(super) struct Selection<'a> {
    /// How many are down now, whatever the view.
    pub(super) all_down: usize,
    /// What went down last, whatever the view.
    pub(super) newest_down: Option<&'a Row>,
    /// What is down now, the longest first.
    pub(super) down: Vec<&'a Row>,
    /// How many workloads fail again and again, whatever the view.
    pub(super) all_again: usize,
    /// The one that fails the most often, whatever the view.
    pub(super) most_often: Option<(&'a FailingWorkload, u64)>,
    /// What fails again and again, with how often in the last hour, the most often first.
    pub(super) again: Vec<(&'a FailingWorkload, u64)>,
    /// How many exits there are, whatever the view.
    pub(super) all_exits: usize,
    /// The exits, the newest first; those of unknown age last.
    pub(super) history: Vec<&'a Row>,
    /// How many exits of each reason there are, in the order of [`Reason::ALL`], with this text and
    /// service.
    pub(super) reasons: [usize; Reason::ALL.len()],
    /// How many of these are down now.
    pub(super) matching_down: usize,
    /// The services that have exits, in their order.
    pub(super) services: Vec<&'a str>,
}

impl<'a> Selection<'a> {
    pub(super) fn of(containers: &'a Containers, view: &View, now: Timestamp) -> Self {
        let mut it = Self::default();
        for row in containers.slots.iter().flat_map(|slot| slot.iter()) {
            it.take(row, view);
        }
        it.services.sort_unstable();
        it.services.dedup();
        sort(&mut it.history);
        sort(&mut it.down);
        let known = it.down.partition_point(|row| row.at.is_some());
        it.down[..known].reverse();
        let often = containers.failing.iter();
        let often = often.map(|failing| (&**failing, failing.failures_in_last_hour(now)));
        it.again = often.filter(|(_, count)| *count >= OFTEN).collect();
        it.again.sort_unstable_by(|(one, count), (other, others)| {
            let names = (&one.service, &one.image).cmp(&(&other.service, &other.image));
            others.cmp(count).then(names)
        });
        it.all_again = it.again.len();
        it.most_often = it.again.first().copied();
        it.again.retain(|(failing, _)| fails_so(failing, view));
        it
    }

    fn take(&mut self, row: &'a Row, view: &View) {
        let is_down = row.is_down();
        self.all_exits += 1;
        if !row.service.is_empty() {
            self.services.push(&row.service);
        }
        if is_down {
            self.all_down += 1;
            if self.newest_down.is_none_or(|newest| newest.at < row.at) {
                self.newest_down = Some(row);
            }
        }
        if !is_of_service(&row.service, view) || !has_text(row, &view.text) {
            return;
        }
        self.reasons[row.reason as usize] += 1;
        self.matching_down += usize::from(is_down);
        if view.reason.is_some_and(|reason| reason != row.reason) {
            return;
        }
        if is_down {
            self.down.push(row);
        }
        if (!view.failures || row.reason.is_failure()) && (!view.down || is_down) {
            self.history.push(row);
        }
    }

    /// How many exits of this text and service are failures.
    pub(super) fn failures(&self) -> usize {
        let counts = Reason::ALL.iter().zip(self.reasons);
        let failures = counts.filter(|(reason, _)| reason.is_failure());
        failures.map(|(_, count)| count).sum()
    }
}

/// Sorts exits, the newest first; those of unknown age come last.
fn sort(rows: &mut [&Row]) {
    rows.sort_unstable_by(|one, other| other.at.cmp(&one.at).then_with(|| one.id.cmp(&other.id)));
}

/// An id is looked for by so many digits at least: words such as `db` would find every other container.
const ID_DIGITS: usize = 4;

/// Whether an exit has this text somewhere, or an id that begins with it.
fn has_text(row: &Row, text: &str) -> bool {
    let names = [&row.name, &row.service, &row.image];
    let is_id = |start: &str| text.len() >= ID_DIGITS && start.eq_ignore_ascii_case(text);
    names.into_iter().any(|name| has(name, text)) || row.id.get(..text.len()).is_some_and(is_id)
}

/// Whether a workload has failed as a view wants it.
fn fails_so(failing: &FailingWorkload, view: &View) -> bool {
    let mut last = failing.last.iter();
    let names = failing.last.iter().map(|failure| &*failure.name);
    let mut texts = names.chain([&*failing.service, &*failing.image]);
    is_of_service(&failing.service, view)
        && texts.any(|text| has(text, &view.text))
        && view
            .reason
            .is_none_or(|reason| last.any(|it| it.reason == reason))
}

fn is_of_service(service: &str, view: &View) -> bool {
    view.service.is_empty() || shown(service).trim() == view.service
}

/// Whether a text has another one in it, as it is or as it is shown; capital letters of English are as
/// good as small ones.
fn has(text: &str, part: &str) -> bool {
    is_in(part, text) || (part.contains('\\') && is_in(part, &shown(text)))
}

fn is_in(part: &str, text: &str) -> bool {
    let (part, text) = (part.as_bytes(), text.as_bytes());
    let Some(first) = part.first() else {
        return true;
    };
    let mut places = memchr2_iter(first.to_ascii_lowercase(), first.to_ascii_uppercase(), text);
    places.any(|at| {
        let here = text.get(at..at + part.len());
        here.is_some_and(|here| here.eq_ignore_ascii_case(part))
    })
}
