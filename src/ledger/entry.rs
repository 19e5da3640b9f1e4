//! What the metrics and the page show of one container.

use std::sync::Arc;

use jiff::Timestamp;

use crate::engine::RestartPolicy;
use crate::reason::Reason;

use super::Exit;

/// What has happened to a container since its last exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerStatus {
    /// Still stopped.
    Stopped,
    /// Running again.
    RunsAgain,
    /// Removed.
    Removed,
}

/// The last exit of a container.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Container id.
    pub id: &'a Arc<str>,
    /// Container name.
    pub name: &'a Arc<str>,
    /// Image name.
    pub image: &'a Arc<str>,
    /// Labels of the series, without braces.
    pub labels: &'a Arc<str>,
    /// Swarm service, or Compose project and service. Empty without a service.
    pub service: &'a Arc<str>,
    /// Whether the service is a Swarm service.
    pub is_swarm: bool,
    /// Creation time of the container.
    pub created: Option<Timestamp>,
    /// What has happened since the exit.
    pub status: ContainerStatus,
    /// Whether a newer container replaces this one, or did.
    pub is_superseded: bool,
    /// Restart policy. `None` for the policy `no` and before the first inspect.
    pub restart_policy: Option<RestartPolicy>,
    /// Time of its last event.
    pub last_event: Option<Timestamp>,
    /// Reason of the exit. Expected codes count as `completed`, and a cancelled restart as
    /// `stopped`.
    pub reason: Reason,
    /// The exit itself.
    pub exit: &'a Exit,
}

impl Entry<'_> {
    /// Whether the container is running again.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.status == ContainerStatus::RunsAgain
    }
}
