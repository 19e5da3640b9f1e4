//! Why a run ended.

/// Reason of an exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The runtime could not start the container.
    StartFailed,
    /// Stopped on request while the health check failed, as Swarm does.
    Unhealthy,
    /// Stopped on request: SIGKILL or the container's stop signal was sent.
    Stopped,
    /// The kernel's OOM killer killed the main process or a child of it.
    OomKilled,
    /// Exit code 0.
    Completed,
    /// Exit code 129–192: 128 plus the number of a signal.
    Signaled,
    /// Any other exit code.
    Error,
}

impl Reason {
    /// All reasons, in the order in which they are checked.
    pub const ALL: [Self; 7] = [
        Self::StartFailed,
        Self::Unhealthy,
        Self::Stopped,
        Self::OomKilled,
        Self::Completed,
        Self::Signaled,
        Self::Error,
    ];

    /// Value of the label `reason`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::StartFailed => "start_failed",
            Self::Unhealthy => "unhealthy",
            Self::Stopped => "stopped",
            Self::OomKilled => "oom_killed",
            Self::Completed => "completed",
            Self::Signaled => "signaled",
            Self::Error => "error",
        }
    }

    /// Whether it is a failure: not requested and not successful.
    #[must_use]
    pub fn is_failure(self) -> bool {
        match self {
            Self::StartFailed | Self::OomKilled | Self::Signaled | Self::Error => true,
            Self::Unhealthy | Self::Stopped | Self::Completed => false,
        }
    }

    /// Returns the first reason that applies. `oom_killed` means that the OOM killer was active
    /// during the run. With code 0 the main process survived it.
    #[must_use]
    pub fn classify(code: i64, stop_request: StopRequest, oom_killed: bool) -> Self {
        match (stop_request, code) {
            (StopRequest::WhileUnhealthy, _) => Self::Unhealthy,
            (StopRequest::WhileHealthy, _) => Self::Stopped,
            (StopRequest::None, 0) => Self::Completed,
            _ if oom_killed => Self::OomKilled,
            (StopRequest::None, 129..=192) => Self::Signaled,
            (StopRequest::None, _) => Self::Error,
        }
    }
}

/// Whether the end of a run was requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopRequest {
    /// Not requested, as far as known.
    None,
    /// Requested.
    WhileHealthy,
    /// Requested while the health check failed.
    WhileUnhealthy,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons() {
        use StopRequest::{None as No, WhileHealthy as Yes, WhileUnhealthy};
        for (code, asked, oom_killed, want) in [
            (0, No, false, "completed"),
            (0, No, true, "completed"),
            (0, Yes, false, "stopped"),
            (137, Yes, true, "stopped"),
            (143, Yes, false, "stopped"),
            (137, WhileUnhealthy, false, "unhealthy"),
            (0, WhileUnhealthy, true, "unhealthy"),
            (1, No, false, "error"),
            (1, No, true, "oom_killed"),
            (125, No, false, "error"),
            (127, No, false, "error"),
            (128, No, false, "error"),
            (129, No, false, "signaled"),
            (137, No, false, "signaled"),
            (137, No, true, "oom_killed"),
            (143, No, false, "signaled"),
            (192, No, false, "signaled"),
            (193, No, false, "error"),
            (255, No, false, "error"),
            (-1, No, false, "error"),
            (3_221_225_786, No, false, "error"),
        ] {
            let reason = Reason::classify(code, asked, oom_killed).name();
            assert_eq!(reason, want, "{code} {asked:?} {oom_killed}");
        }
    }
}
