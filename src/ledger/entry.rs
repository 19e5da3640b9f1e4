//! What is shown of a container: its last exit, with all that stands beside it.

use std::sync::Arc;

use jiff::Timestamp;

use crate::engine::RestartPolicy;
use crate::reason::Reason;

use super::Exit;

/// What became of a container after its exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Became {
    /// It is there.
    Stopped,
    /// It runs again.
    RunsAgain,
    /// It is removed.
    Removed,
}

/// An exit, with the container that it belongs to.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The container's id.
    pub id: &'a Arc<str>,
    /// The container's name.
    pub name: &'a Arc<str>,
    /// The name of its image.
    pub image: &'a Arc<str>,
    /// The labels of its series, without braces.
    pub labels: &'a Arc<str>,
    /// Its Swarm service, or its Compose project and service; empty if it is of none.
    pub service: &'a Arc<str>,
    /// The service is one of Swarm.
    pub of_swarm: bool,
    /// When the container was made.
    pub created: Option<Timestamp>,
    /// What became of the container.
    pub became: Became,
    /// A newer container holds its place in a service, or has held it.
    pub superseded: bool,
    /// Its restart policy; absent for `no`, and until it is inspected.
    pub restart_policy: Option<RestartPolicy>,
    /// When it did something last, by its events.
    pub last_event: Option<Timestamp>,
    /// Why its last run ended, with the codes in mind that its labels expect; or `stopped`, if someone
    /// has called off its restart.
    pub reason: Reason,
    /// How its last run ended.
    pub exit: &'a Exit,
}

impl Entry<'_> {
    /// Whether its container runs again.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.became == Became::RunsAgain
    }
}
