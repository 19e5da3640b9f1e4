//! One container: its labels, whether it still exists, and its runs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use crate::cgroup::Layout;
use crate::engine::{Action, Event, Inspected, Labels, Listed, RestartPolicy};
use crate::labels::{DockerLabels, Filter};
use crate::reason::Reason;

use super::exit::Exit;
use super::interner::Interner;
use super::label_options::LabelOptions;
use super::replica::{CreationTime, ReplicaId};
use super::run::Runs;
use super::workloads::{self, WorkloadKey, Workloads};
use super::{ContainerStatus, Entry, Now};

/// Everything known about one container.
#[derive(Debug, Default)]
pub(super) struct Container {
    pub(super) name: Arc<str>,
    image: Image,
    /// Swarm service, or Compose project and service. Empty without a service.
    pub(super) service: Arc<str>,
    /// Whether `service` is a Swarm service.
    is_swarm: bool,
    cgroup_parent: Box<str>,
    labels: Rendered,
    /// Docker labels left out of the series.
    dropped_labels: usize,
    /// Those of them that the exporter's counter lacks.
    pub(super) new_dropped_labels: u64,
    workload: Workload,
    /// Its place in a service. `None` without a service.
    replica: Option<ReplicaId>,
    pub(super) creation: CreationTime,
    restart_policy: Option<RestartPolicy>,
    options: Option<Box<LabelOptions>>,
    /// Whether its Docker labels are known.
    pub(super) has_labels: bool,
    /// Whether a newer container replaces this one, or did.
    pub(super) is_superseded: bool,
    hidden_attributes: HiddenAttributes,
    presence: Presence,
    pub(super) runs: Runs,
}

/// Whether a container exists, and how that is known.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// Known from events or an inspect only.
    #[default]
    Unlisted,
    /// In the listing with this number.
    Listed(u64),
    /// Missing from listings since this uptime. An inspect must show whether it is removed.
    Missing(Duration),
    /// Missing from listings, but an inspect found it at this uptime.
    Hidden(Duration),
    /// Removed at this uptime, which is negative if that was before the exporter's start.
    Removed(SignedDuration),
    /// Removed and no longer shown. Kept for late events.
    Expired,
}

/// Name of the image the container was created from.
#[derive(Debug, Default)]
struct Image {
    name: Arc<str>,
    /// Whether the name comes from the container's configuration, which is final.
    is_configured: bool,
}

/// Labels of the series, without braces.
#[derive(Debug, Default)]
struct Rendered {
    text: Arc<str>,
    /// Length of the part made from Docker labels, in bytes.
    docker_len: usize,
    /// Whether the text is up to date.
    is_current: bool,
}

/// The workload that counts its exits.
#[derive(Debug, Default)]
enum Workload {
    /// Its labels or its image name are not known yet.
    #[default]
    Unknown,
    Counted(WorkloadKey),
    /// There are too many workloads.
    OverLimit,
}

/// Docker labels that hide an event attribute of the same name.
#[derive(Debug, Default, Clone, Copy)]
struct HiddenAttributes {
    code: bool,
    signal: bool,
    duration: bool,
}

impl Container {
    pub(super) fn presence(&self) -> Presence {
        self.presence
    }

    /// Uptime of its removal, if it is removed and still shown.
    pub(super) fn removed_at(&self) -> Option<SignedDuration> {
        match self.presence {
            Presence::Removed(since) => Some(since),
            _ => None,
        }
    }

    /// Whether it exists, as far as known.
    pub(super) fn is_present(&self) -> bool {
        !matches!(self.presence, Presence::Removed(_) | Presence::Expired)
    }

    pub(super) fn set_presence(&mut self, presence: Presence) {
        self.presence = presence;
        if presence == Presence::Expired {
            self.labels = Rendered::default();
        }
    }

    pub(super) fn workload(&self) -> Option<&WorkloadKey> {
        match &self.workload {
            Workload::Counted(key) => Some(key),
            Workload::Unknown | Workload::OverLimit => None,
        }
    }

    /// Whether its workload is not known yet.
    pub(super) fn needs_workload(&self) -> bool {
        matches!(self.workload, Workload::Unknown)
    }

    /// Whether a Docker label excludes it from metrics and counters.
    pub(super) fn is_ignored(&self) -> bool {
        self.options.as_ref().is_some_and(|options| options.ignore)
    }

    /// Reason shown for an exit. If someone cancelled the restart, the container is stopped.
    fn shown_reason(&self, exit: &Exit) -> Reason {
        match self.reason_of(exit) {
            Reason::OomKilled | Reason::Completed | Reason::Signaled | Reason::Error
                if self.runs.is_restart_cancelled() =>
            {
                Reason::Stopped
            }
            reason => reason,
        }
    }

    /// Reason of an exit, with expected codes taken into account.
    pub(super) fn reason_of(&self, exit: &Exit) -> Reason {
        let is_expected = exit.code.is_some_and(|code| self.expects(code));
        match exit.reason {
            Reason::OomKilled | Reason::Signaled | Reason::Error if is_expected => {
                Reason::Completed
            }
            reason => reason,
        }
    }

    /// Whether an exit counts as a failure. An unexpected exit with code 0 does if Docker restarts
    /// the container every time: that is a loop. Swarm tasks may end with 0.
    pub(super) fn is_failure(&self, exit: &Exit) -> bool {
        let restarts = matches!(
            self.restart_policy,
            Some(RestartPolicy::Always | RestartPolicy::UnlessStopped)
        );
        match self.reason_of(exit) {
            Reason::Unhealthy => true,
            Reason::Completed => {
                exit.code == Some(0) && restarts && !self.is_swarm && !self.expects(0)
            }
            reason => reason.is_failure(),
        }
    }

    /// Whether its labels declare this code as expected.
    fn expects(&self, code: i64) -> bool {
        let mut expected = self.options.iter().flat_map(|it| &it.expected_codes);
        expected.any(|it| *it == code)
    }

    /// Assigns it to a workload, once and for good. `certain` means that no better image name will
    /// be known.
    pub(super) fn join_workload(
        &mut self,
        workloads: &mut Workloads,
        labels: &Labels,
        certain: bool,
    ) {
        // A listing shows the image's id after the tag has moved.
        let named = self.image.is_configured || !self.image.name.starts_with("sha256:");
        let is_known = named || certain || workloads::has_service(labels);
        if self.needs_workload() && is_known && !self.is_ignored() {
            let key = workloads::workload_key(labels, &self.image.name);
            self.join(workloads, &key);
        }
    }

    fn join(&mut self, workloads: &mut Workloads, key: &str) {
        let joined = workloads.join(key);
        self.workload = joined.map_or(Workload::OverLimit, Workload::Counted);
    }

    /// Adds it to its workload again after it had expired.
    pub(super) fn rejoin_workload(&mut self, workloads: &mut Workloads) {
        if let Some(key) = self.workload().cloned() {
            self.join(workloads, &key);
        }
    }

    /// Whether there is no exit to show or to report.
    pub(super) fn is_empty(&self) -> bool {
        let has_exit = self.runs.exit().is_some_and(|exit| !exit.is_doubtful());
        let shown = has_exit && !self.runs.is_running() && !self.is_ignored();
        !shown && !self.runs.has_unreported()
    }

    /// Applies the Docker labels of a new container.
    pub(super) fn apply_labels(&mut self, labels: &Labels, interner: &mut Interner) {
        self.has_labels = true;
        self.service = interner.intern(&workloads::service_name(labels));
        self.is_swarm = workloads::is_swarm(labels);
        self.replica = ReplicaId::of(labels);
        self.options = LabelOptions::of(labels);
    }

    /// Its replica, unless nothing of it is shown.
    pub(super) fn replica(&self) -> Option<ReplicaId> {
        let hidden = self.presence == Presence::Expired || self.is_ignored();
        self.replica.filter(|_| !hidden)
    }

    /// Records which event attributes are hidden by Docker labels.
    pub(super) fn set_hidden_attributes(&mut self, labels: &Labels) {
        if labels.contains_key("signal") && !self.hidden_attributes.signal {
            self.runs.distrust_signals();
        }
        if labels.contains_key("exitCode") && !self.hidden_attributes.code {
            self.runs.distrust_code();
        }
        self.hidden_attributes = HiddenAttributes {
            code: labels.contains_key("exitCode"),
            signal: labels.contains_key("signal"),
            duration: labels.contains_key("execDuration"),
        };
    }

    /// Its replica and creation time, if it may supersede others. A container known only from some
    /// later event may not: a hidden failure is worse than a visible one.
    pub(super) fn replica_and_creation(&self) -> Option<(ReplicaId, &CreationTime)> {
        let replica = self.replica.filter(|_| self.creation.is_known());
        replica.map(|replica| (replica, &self.creation))
    }

    /// Whether the newest container of its replica supersedes it for the first time.
    pub(super) fn is_newly_superseded(&self, newest: &HashMap<ReplicaId, &CreationTime>) -> bool {
        let newest = self.replica.and_then(|replica| newest.get(&replica));
        !self.is_superseded && newest.is_some_and(|newest| newest.compare(&self.creation).is_gt())
    }

    /// Applies name, image and creation time from a listing. The first listing sets its sequence
    /// number.
    pub(super) fn describe_from_listing(
        &mut self,
        listed: &Listed<'_>,
        sequence: u64,
        interner: &mut Interner,
    ) {
        self.rename(&listed.name);
        self.set_image(&listed.image, false, interner);
        if self.creation.listed_second.is_none() {
            self.creation.listed_second = listed.created();
            self.creation.sequence = sequence;
        }
    }

    fn rename(&mut self, name: &str) {
        if !name.is_empty() && *name != *self.name {
            self.name = name.into();
            self.labels.is_current = false;
        }
    }

    fn set_image(&mut self, name: &str, configured: bool, interner: &mut Interner) {
        if (configured || !self.image.is_configured) && !name.is_empty() {
            if *name != *self.image.name {
                self.image.name = interner.intern(name);
                self.labels.is_current = false;
            }
            self.image.is_configured = configured;
        }
    }

    /// Renders the labels again for another cgroup layout.
    pub(super) fn relabel(&mut self, id: &str, layout: Option<Layout>) {
        if self.labels.is_current || !self.labels.text.is_empty() {
            let docker = &self.labels.text[..self.labels.docker_len];
            self.labels.text = self.labels_text(docker, id, layout).into();
        }
    }

    /// Labels of its series. `docker` is the part made from Docker labels.
    fn labels_text(&self, docker: &str, id: &str, layout: Option<Layout>) -> String {
        let path = layout.map(|layout| layout.path(&self.cgroup_parent, id));
        let path = path.unwrap_or_default();
        DockerLabels::block(docker, &path, &self.image.name, &self.name)
    }

    /// Renders the labels if they are needed and out of date. Labels from an event are not
    /// `certain`: the event's attributes may hide some. Returns whether they were rendered.
    pub(super) fn render_labels(
        &mut self,
        id: &str,
        labels: impl FnOnce() -> Labels,
        certain: bool,
        layout: Option<Layout>,
        filter: &Filter,
    ) -> bool {
        let is_shown = self.runs.has_something_to_show() && !self.is_ignored();
        let is_due = is_shown && !self.labels.is_current;
        if is_due {
            let docker = DockerLabels::new(&labels(), filter);
            self.labels = Rendered {
                text: self.labels_text(&docker.text, id, layout).into(),
                docker_len: docker.text.len(),
                is_current: certain,
            };
            let new = docker.left_out.saturating_sub(self.dropped_labels);
            self.dropped_labels += new;
            self.new_dropped_labels += new as u64;
        }
        is_due
    }

    /// Size of its labels in bytes, if it was never listed.
    pub(super) fn unlisted_label_bytes(&self) -> usize {
        match self.presence {
            Presence::Unlisted => self.labels.text.len(),
            _ => 0,
        }
    }

    /// The part of the output, besides labels, that a listing can change.
    pub(super) fn shown_state(&self) -> impl PartialEq + use<> {
        let shown = self.runs.exit().filter(|exit| !exit.is_doubtful());
        (self.runs.is_running(), shown.map(|exit| exit.code))
    }

    /// Applies an event. Returns an exit to report that is no longer the last.
    pub(super) fn apply_event(&mut self, event: &Event, now: Now) -> Option<Exit> {
        let (at, uptime) = (event.time, now.uptime);
        let runs = &mut self.runs;
        let mut unreported = None;
        match event.action {
            Action::Create => {
                self.creation.create_event = Some(at);
                runs.apply_create(uptime);
            }
            Action::Attach | Action::Connect => runs.apply_start_attempt(at),
            Action::Start => unreported = runs.apply_start(at, uptime),
            Action::Healthy => runs.events_at(at).unhealthy = false,
            Action::Unhealthy => runs.events_at(at).unhealthy = true,
            Action::Oom => runs.events_at(at).oom_killed = true,
            Action::Kill => {
                // Podman's `kill` has no signal. A signal that does not parse is a Docker label
                // that hides it.
                if event.attributes.contains_key("signal") {
                    let signal = event.signal().filter(|_| !self.hidden_attributes.signal);
                    runs.events_at(at).kill(signal);
                }
            }
            Action::Die => {
                let (code, certain) = event.exit_code();
                let doubtful = self.hidden_attributes.code && !certain;
                let duration = event
                    .exec_duration()
                    .filter(|_| !self.hidden_attributes.duration);
                let duration = duration.and_then(|it| SignedDuration::try_from(it).ok());
                unreported = runs.apply_die(at, code, doubtful, duration, uptime);
            }
            Action::Stop => runs.apply_stop(at),
            Action::Destroy => unreported = runs.apply_removal(at, uptime, true),
            Action::Disconnect | Action::Rename | Action::Pause | Action::Unpause => {}
        }
        self.runs.note_event(at, uptime);
        unreported
    }

    /// Applies the name and the image from an event. Only `create` and `start` have the image for
    /// certain: attributes of other events may hide it.
    pub(super) fn describe_from_event(&mut self, event: &Event, interner: &mut Interner) {
        if matches!(event.action, Action::Connect | Action::Disconnect) {
            return; // Their attributes belong to the network.
        }
        self.rename(event.name());
        if self.needs_workload() || matches!(event.action, Action::Create | Action::Start) {
            self.set_image(event.image(), true, interner);
        }
    }

    /// Applies the fields of an inspect that are not about its runs.
    pub(super) fn describe_from_inspect(&mut self, inspected: &Inspected, interner: &mut Interner) {
        if let Some(image) = &inspected.image {
            self.set_image(image, true, interner);
        }
        // Rendering long labels is expensive.
        if inspected.cgroup_parent != *self.cgroup_parent {
            self.cgroup_parent = inspected.cgroup_parent.as_str().into();
            self.labels.is_current = false;
        }
        self.restart_policy = inspected.restart_policy;
        self.creation.inspected = inspected.created.or(self.creation.inspected);
        self.set_hidden_attributes(&inspected.labels);
    }

    /// What is shown of it, if it has an exit to show.
    pub(super) fn entry<'a>(&'a self, id: &'a Arc<str>) -> Option<Entry<'a>> {
        let exit = self.runs.exit().filter(|it| it.is_shown())?;
        let status = match (self.runs.is_running(), self.removed_at()) {
            (true, None) => ContainerStatus::RunsAgain,
            (true, Some(_)) => return None,
            (false, Some(_)) => ContainerStatus::Removed,
            (false, None) => ContainerStatus::Stopped,
        };
        // A run without a seen exit may have no labels until the next listing.
        let hidden =
            self.presence == Presence::Expired || self.is_ignored() || self.labels.text.is_empty();
        (!hidden).then_some(Entry {
            id,
            name: &self.name,
            image: &self.image.name,
            labels: &self.labels.text,
            service: &self.service,
            is_swarm: self.is_swarm,
            created: self.creation.time(),
            status,
            is_superseded: self.is_superseded,
            restart_policy: self.restart_policy,
            last_event: self.runs.last_event_at(),
            reason: self.shown_reason(exit),
            exit,
        })
    }

    pub(super) fn image(&self) -> &Arc<str> {
        &self.image.name
    }
}
