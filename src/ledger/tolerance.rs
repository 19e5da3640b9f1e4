//! The time spans that Engines force upon the ledger, and their order. Everything else depends on
//! the order of the Engine's own times.

use std::time::Duration;

use jiff::SignedDuration;

/// How long after the `die` event `FinishedAt` may be. It is set before the event, but not from the
/// same reading of the clock.
pub(super) const FINISHED_AT_WINDOW: SignedDuration = SignedDuration::from_millis(50);

/// How long after the listed end a `die` event may come: the Engine unmounts and disconnects the
/// container first. Measured: 0.3 s on Docker, 1.3 s on Podman.
pub(super) const DIE_EVENT_DELAY: SignedDuration = SignedDuration::from_secs(10);

/// How long before its `start` event a listing may show a run. Listings do not take the container's
/// lock.
pub(super) const START_EVENT_DELAY: SignedDuration = SignedDuration::from_secs(1);

/// How old a listing may be on a busy host. If it contradicts a newer event it is ignored. The next
/// listing shows the same.
pub(super) const LISTING_DELAY: SignedDuration = SignedDuration::from_secs(10);

/// How long to wait for an inspect before an exit is counted without it. An event has shown the
/// reason by then.
pub(super) const INSPECT_TIMEOUT: Duration = Duration::from_millis(250);

/// [`INSPECT_TIMEOUT`] on Podman, where only the inspect reports the OOM killer, and may take a second.
pub(super) const PODMAN_INSPECT_TIMEOUT: Duration = Duration::from_secs(3);

/// [`INSPECT_TIMEOUT`] where only the inspect can show the code, the reason, or whether a missing container is
/// removed. Several attempts have failed by then.
pub(super) const FINAL_INSPECT_TIMEOUT: Duration = Duration::from_secs(120);

/// How long to wait for the `die` event of an exit while events are followed.
pub(super) const DIE_EVENT_TIMEOUT: Duration = Duration::from_secs(3);

/// [`DIE_EVENT_TIMEOUT`] while the event stream is about to be opened or replays events. Longer than most
/// outages and than the longest backoff.
pub(super) const REPLAY_TIMEOUT: Duration = Duration::from_secs(30);

/// [`REPLAY_TIMEOUT`] for a run whose exit was not seen. The run is lost if even a stream opened after an outage
/// does not show it.
pub(super) const UNSEEN_RUN_TIMEOUT: Duration = Duration::from_secs(300);

const _: () = {
    assert!(FINISHED_AT_WINDOW.unsigned_abs().as_millis() < INSPECT_TIMEOUT.as_millis());
    assert!(START_EVENT_DELAY.as_millis() < LISTING_DELAY.as_millis());
    assert!(INSPECT_TIMEOUT.as_millis() < DIE_EVENT_TIMEOUT.as_millis());
    assert!(PODMAN_INSPECT_TIMEOUT.as_millis() <= DIE_EVENT_TIMEOUT.as_millis());
    assert!(DIE_EVENT_TIMEOUT.as_millis() < REPLAY_TIMEOUT.as_millis());
    assert!(REPLAY_TIMEOUT.as_millis() < UNSEEN_RUN_TIMEOUT.as_millis());
    assert!(DIE_EVENT_DELAY.as_millis() <= LISTING_DELAY.as_millis());
};
