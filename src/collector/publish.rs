//! What the collector publishes: the text, and what the page shows.

use std::sync::Arc;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

use crate::engine::EngineInfo;
use crate::page::{Containers, Docker, Host, Snapshot};
use crate::publication::Published;

use super::{Collector, GATHER, RENDERING_SHARE};

/// All that a text is rendered from.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rendered {
    up: bool,
    fresh: bool,
    known: EngineInfo,
    revision: u64,
}

impl Collector {
    /// Publishes what is known; renders only what has changed.
    pub(super) fn publish(&mut self) {
        let start = Instant::now();
        self.shows_containers = self.is_fresh();
        let from = Rendered {
            up: self.last_success.is_some() && self.outage.is_none(),
            fresh: self.shows_containers,
            known: self.known.clone(),
            revision: self.ledger.revision(),
        };
        let before = self.publication.get();
        let (text, containers) = if self.rendered.as_ref() == Some(&from) {
            (before.text, Arc::clone(&before.page.containers))
        } else {
            let renderer = &mut self.renderer;
            let text = renderer.render(from.up, from.fresh, &self.known, &mut self.ledger);
            let containers = from.fresh.then(|| Containers::take(&self.ledger));
            (text, Arc::new(containers.unwrap_or_default()))
        };
        self.rendered = Some(Rendered {
            // Rendering may find out more.
            revision: self.ledger.revision(),
            ..from
        });
        self.publication.set(Published {
            text,
            page: Arc::new(Snapshot::new(self.host(), containers)),
            ready: self.last_success.is_some(),
        });
        self.dirty = false;
        self.publish_at = Instant::now() + (start.elapsed() * RENDERING_SHARE).max(GATHER);
    }

    /// What the page at `/` is to show of the host.
    fn host(&self) -> Host {
        let docker = match (&self.outage, self.last_success) {
            (Some(outage), _) => Docker::Down {
                since: time_of(outage.since),
                why: outage.why.clone(),
            },
            (None, Some(_)) => Docker::Up,
            (None, None) => Docker::NotAsked,
        };
        Host {
            docker,
            version: self.known.version().to_owned(),
            listed_at: self.last_success.map(time_of),
        }
    }
}

/// The time of day at which it was so late.
fn time_of(at: Instant) -> Timestamp {
    let ago = SignedDuration::try_from(at.elapsed()).unwrap_or_default();
    let now = Timestamp::now();
    now.checked_sub(ago).unwrap_or(now)
}
