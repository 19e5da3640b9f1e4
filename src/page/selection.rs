//! Selects and sorts what a view shows.

use jiff::Timestamp;
use memchr::memchr2_iter;

use crate::ledger::FailingWorkload;
use crate::reason::Reason;

use super::snapshot::{ContainerSnapshot, Row};
use super::text::shown;
use super::view::View;

/// A workload with this many failures within an hour fails repeatedly.
pub(super) const MIN_REPEATED_FAILURES: u64 = 3;

/// What a view shows. The totals and newest ones do not depend on the view.
#[derive(Debug, Default)]
pub(super) struct Selection<'a> {
    /// Containers that are down now.
    pub(super) total_down: usize,
    /// The container that went down last.
    pub(super) newest_down: Option<&'a Row>,
    /// The selected containers that are down, the longest first.
    pub(super) down: Vec<&'a Row>,
    /// Workloads that fail repeatedly.
    pub(super) total_repeated: usize,
    /// The workload with the most failures in the last hour, and their number.
    pub(super) most_repeated: Option<(&'a FailingWorkload, u64)>,
    /// The selected workloads that fail repeatedly, the most failures first.
    pub(super) repeated: Vec<(&'a FailingWorkload, u64)>,
    /// All exits.
    pub(super) total_exits: usize,
    /// The selected exits, the newest first; those without a time last.
    pub(super) history: Vec<&'a Row>,
    /// Exits with the view's search and service, by reason in the order of [`Reason::ALL`].
    pub(super) reasons: [usize; Reason::ALL.len()],
    /// How many of these are down now.
    pub(super) matching_down: usize,
    /// The services of all exits, sorted.
    pub(super) services: Vec<&'a str>,
}

impl<'a> Selection<'a> {
    pub(super) fn new(containers: &'a ContainerSnapshot, view: &View, now: Timestamp) -> Self {
        let mut selection = Self::default();
        for row in containers.shards.iter().flat_map(|shard| shard.iter()) {
            selection.add(row, view);
        }
        selection.services.sort_unstable();
        selection.services.dedup();
        sort(&mut selection.history);
        sort(&mut selection.down);
        let with_time = selection
            .down
            .partition_point(|row| row.stopped_at.is_some());
        selection.down[..with_time].reverse();
        let failing = containers.failing.iter();
        let failing = failing.map(|it| (&**it, it.failures_in_last_hour(now)));
        let mut repeated: Vec<_> = failing
            .filter(|(_, count)| *count >= MIN_REPEATED_FAILURES)
            .collect();
        repeated.sort_unstable_by(|(one, count), (other, others)| {
            let names = (&one.service, &one.image).cmp(&(&other.service, &other.image));
            others.cmp(count).then(names)
        });
        selection.total_repeated = repeated.len();
        selection.most_repeated = repeated.first().copied();
        repeated.retain(|(failing, _)| matches_workload(failing, view));
        selection.repeated = repeated;
        selection
    }

    fn add(&mut self, row: &'a Row, view: &View) {
        let is_down = row.is_down();
        self.total_exits += 1;
        if !row.service.is_empty() {
            self.services.push(&row.service);
        }
        if is_down {
            self.total_down += 1;
            if self
                .newest_down
                .is_none_or(|newest| newest.stopped_at < row.stopped_at)
            {
                self.newest_down = Some(row);
            }
        }
        if !matches_service(&row.service, view) || !matches_search(row, &view.search) {
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
        if (!view.only_failures || row.reason.is_failure()) && (!view.only_down || is_down) {
            self.history.push(row);
        }
    }

    /// Failures with the view's search and service.
    pub(super) fn failures(&self) -> usize {
        let counts = Reason::ALL.iter().zip(self.reasons);
        let failures = counts.filter(|(reason, _)| reason.is_failure());
        failures.map(|(_, count)| count).sum()
    }
}

/// Sorts exits, the newest first; those without a time last.
fn sort(rows: &mut [&Row]) {
    rows.sort_unstable_by(|one, other| {
        let times = other.stopped_at.cmp(&one.stopped_at);
        times.then_with(|| one.id.cmp(&other.id))
    });
}

/// A search matches an id only if it is this long: words such as `db` would match every other id.
const MIN_ID_CHARS: usize = 4;

/// Whether a name contains the search, or the id begins with it.
fn matches_search(row: &Row, search: &str) -> bool {
    let names = [&row.name, &row.service, &row.image];
    let is_id = |start: &str| search.len() >= MIN_ID_CHARS && start.eq_ignore_ascii_case(search);
    names.into_iter().any(|name| contains(name, search))
        || row.id.get(..search.len()).is_some_and(is_id)
}

fn matches_workload(failing: &FailingWorkload, view: &View) -> bool {
    let names = failing.last.iter().map(|failure| &*failure.name);
    let mut names = names.chain([&*failing.service, &*failing.image]);
    let has_reason = |reason| failing.last.iter().any(|it| it.reason == reason);
    matches_service(&failing.service, view)
        && names.any(|name| contains(name, &view.search))
        && view.reason.is_none_or(has_reason)
}

fn matches_service(service: &str, view: &View) -> bool {
    view.service.is_empty() || shown(service).trim() == view.service
}

/// Whether a text contains a part, either as it is or as the page shows it, ignoring ASCII case.
fn contains(text: &str, part: &str) -> bool {
    contains_bytes(text, part) || (part.contains('\\') && contains_bytes(&shown(text), part))
}

fn contains_bytes(text: &str, part: &str) -> bool {
    let (text, part) = (text.as_bytes(), part.as_bytes());
    let Some(first) = part.first() else {
        return true;
    };
    let mut places = memchr2_iter(first.to_ascii_lowercase(), first.to_ascii_uppercase(), text);
    places.any(|at| {
        let here = text.get(at..at + part.len());
        here.is_some_and(|here| here.eq_ignore_ascii_case(part))
    })
}
