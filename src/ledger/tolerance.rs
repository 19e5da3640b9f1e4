//! The few spans of time that Engines force upon the ledger, and their order. All else is decided by
//! the order of the Engine's own times.

use std::time::Duration;

use jiff::SignedDuration;

/// `FinishedAt` may lie so long after the `die` event of the same run: it is set before the event is
/// made, but not always by the same reading of the clock.
pub(super) const OUT_OF_ORDER: SignedDuration = SignedDuration::from_millis(50);

/// A `die` event may be made so long after the end that a listing tells: the Engine first unmounts
/// and disconnects the container. Measured were 0.3 s on Docker and 1.3 s on Podman.
pub(super) const DIE_AFTER_END: SignedDuration = SignedDuration::from_secs(10);

/// A listing may show a run so long before its `start` event is made: it does not wait for the
/// container's lock.
pub(super) const START_AFTER_LISTING: SignedDuration = SignedDuration::from_secs(1);

/// A listing may be behind an event by so long on a busy host. What it says against a younger event
/// is passed over; the next listing tells again.
pub(super) const LISTING_BEHIND: SignedDuration = SignedDuration::from_secs(10);

/// An exit is counted without its inspect after so long. By then an event has told the reason.
pub(super) const INSPECT_COMES: Duration = Duration::from_millis(250);

/// The same on Podman, where only the inspect tells of the OOM killer, and may take a second.
pub(super) const PODMAN_INSPECT_COMES: Duration = Duration::from_secs(3);

/// The same where only the inspect can tell the code, or why it ended, or whether a container that
/// listings lack is removed: several attempts have failed by then.
pub(super) const LAST_INSPECT_COMES: Duration = Duration::from_secs(120);

/// While events are followed, what is known to have ended waits so long for its `die` event.
pub(super) const DIE_EVENT_COMES: Duration = Duration::from_secs(3);

/// The same while the stream of events is about to be opened, or has just been: longer than most
/// outages, and than the longest pause between two attempts.
pub(super) const STREAM_COMES: Duration = Duration::from_secs(30);

/// The same for a run that ended unseen: it is lost if not even a stream that is opened after an outage
/// tells of it.
pub(super) const LOST_STREAM_COMES: Duration = Duration::from_secs(300);

const _: () = {
    assert!(OUT_OF_ORDER.unsigned_abs().as_millis() < INSPECT_COMES.as_millis());
    assert!(START_AFTER_LISTING.as_millis() < LISTING_BEHIND.as_millis());
    assert!(INSPECT_COMES.as_millis() < DIE_EVENT_COMES.as_millis());
    assert!(PODMAN_INSPECT_COMES.as_millis() <= DIE_EVENT_COMES.as_millis());
    assert!(DIE_EVENT_COMES.as_millis() < STREAM_COMES.as_millis());
    assert!(STREAM_COMES.as_millis() < LOST_STREAM_COMES.as_millis());
    assert!(DIE_AFTER_END.as_millis() <= LISTING_BEHIND.as_millis());
};
