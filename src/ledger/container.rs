//! One container: what its series are labelled with, where it stands, and its runs.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::cgroup::Layout;
use crate::engine::{Action, Event, Inspected, Labels, Listed, RestartPolicy};
use crate::labels::{DockerLabels, Filter};
use crate::reason::Reason;

use super::exit::Exit;
use super::label_options::LabelOptions;
use super::place::{Birth, Place};
use super::run::Runs;
use super::texts::Texts;
use super::workloads::{self, Key, Workloads};
use super::{Became, Entry, Now};

/// What is known of one container.
#[derive(Debug, Default)]
pub(super) struct Container {
    name: Arc<str>,
    image: Image,
    /// Its Swarm service, or its Compose project and service; empty if it is of none.
    service: Arc<str>,
    /// That is one of Swarm.
    of_swarm: bool,
    cgroup_parent: Box<str>,
    labels: Rendered,
    left_out: LabelsLeftOut,
    workload: Workload,
    /// What it holds of a service; `None` if it is of none.
    place: Option<Place>,
    birth: Birth,
    restart_policy: Option<RestartPolicy>,
    options: Option<Box<LabelOptions>>,
    /// Its Docker labels were seen.
    introduced: bool,
    /// A newer container holds its place, or has held it.
    superseded: bool,
    hides: Hides,
    presence: Presence,
    pub(super) runs: Runs,
}

/// Where a container is known from.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// From events or an inspect alone.
    #[default]
    Unlisted,
    /// From the listing with this number, and others before.
    Listed(u64),
    /// Listings lack it since this uptime. Whether it is removed is for its inspect to tell.
    Missing(Duration),
    /// Listings lack it, but its inspect has told at this uptime that it is there.
    Hidden(Duration),
    /// It is removed since this uptime, which may be before the exporter's start.
    Removed(SignedDuration),
    /// It is removed, shown no more, and only kept for late events.
    Buried,
}

impl Presence {
    /// It is there, as far as is known.
    pub(super) fn stands(self) -> bool {
        !matches!(self, Self::Removed(_) | Self::Buried)
    }
}

/// The name of the image that it was created from.
#[derive(Debug, Default)]
struct Image {
    name: Arc<str>,
    /// It is that of the container's configuration, which no other replaces.
    configured: bool,
}

/// The labels of its series, without braces.
#[derive(Debug, Default)]
struct Rendered {
    text: Arc<str>,
    /// So many bytes at its start are made of Docker labels.
    docker: usize,
    /// They are up to date.
    current: bool,
}

/// Docker labels that its series lack, since there are too many or they are too long.
#[derive(Debug, Default)]
struct LabelsLeftOut {
    /// How many there are.
    count: usize,
    /// How many of them are not reported.
    new: usize,
}

/// The workload that its exits are counted for.
#[derive(Debug, Default)]
enum Workload {
    /// Its labels, or the name of its image, are not known yet.
    #[default]
    Unknown,
    Joined(Key),
    /// There are too many.
    Refused,
}

/// Docker labels with the names of an event's own attributes, which they hide.
#[derive(Debug, Default, Clone, Copy)]
struct Hides {
    code: bool,
    signal: bool,
    duration: bool,
}

impl Container {
    pub(super) fn presence(&self) -> Presence {
        self.presence
    }

    /// The uptime since which it is removed, if it is removed and not buried.
    pub(super) fn removed(&self) -> Option<SignedDuration> {
        match self.presence {
            Presence::Removed(since) => Some(since),
            _ => None,
        }
    }

    /// Whether it is there, as far as is known.
    pub(super) fn stands(&self) -> bool {
        self.presence.stands()
    }

    pub(super) fn set_presence(&mut self, presence: Presence) {
        self.presence = presence;
        if presence == Presence::Buried {
            self.labels = Rendered::default();
        }
    }

    /// The workload that its exits are counted for.
    pub(super) fn workload(&self) -> Option<&Key> {
        match &self.workload {
            Workload::Joined(key) => Some(key),
            Workload::Unknown | Workload::Refused => None,
        }
    }

    /// Whether an inspect must tell the name of its image before its workload is known.
    pub(super) fn lacks_workload(&self) -> bool {
        matches!(self.workload, Workload::Unknown)
    }

    /// Whether a Docker label wants it neither shown nor counted.
    pub(super) fn is_ignored(&self) -> bool {
        self.options.as_ref().is_some_and(|options| options.ignore)
    }

    /// Why it is down: its last exit's reason, unless someone has called off its restart since.
    fn shown_reason(&self, exit: &Exit) -> Reason {
        match self.reason_of(exit) {
            Reason::OomKilled | Reason::Completed | Reason::Signaled | Reason::Error
                if self.runs.is_called_off() =>
            {
                Reason::Stopped
            }
            reason => reason,
        }
    }

    /// Why a run of it ended, with the codes in mind that its labels expect.
    pub(super) fn reason_of(&self, exit: &Exit) -> Reason {
        let is_expected = exit.code.is_some_and(|code| self.expects(code));
        match exit.reason {
            Reason::OomKilled | Reason::Signaled | Reason::Error if is_expected => {
                Reason::Completed
            }
            reason => reason,
        }
    }

    /// Whether a run that ended so is a failure, or one of a loop: Docker starts it again although its code
    /// is 0, which is not expected. Swarm's tasks may end with it.
    pub(super) fn has_failed_by(&self, exit: &Exit) -> bool {
        let restarts = matches!(
            self.restart_policy,
            Some(RestartPolicy::Always | RestartPolicy::UnlessStopped)
        );
        match self.reason_of(exit) {
            Reason::Unhealthy => true,
            Reason::Completed => {
                exit.code == Some(0) && restarts && !self.of_swarm && !self.expects(0)
            }
            reason => reason.is_failure(),
        }
    }

    /// Whether its labels say that it ends with this code when all is well.
    fn expects(&self, code: i64) -> bool {
        let mut expected = self.options.iter().flat_map(|it| &it.expected_codes);
        expected.any(|it| *it == code)
    }

    /// Counts it to its workload, from which it does not part, as soon as that is known. The name of
    /// its image is `certain` if nobody will ever know a better one.
    pub(super) fn join(&mut self, workloads: &mut Workloads, labels: &Labels, certain: bool) {
        // A listing shows the image's id once the tag has moved on.
        let named = self.image.configured || !self.image.name.starts_with("sha256:");
        let known = named || certain || workloads::is_of_service(labels);
        if self.lacks_workload() && known && !self.is_ignored() {
            let key = workloads::key(labels, &self.image.name);
            let joined = workloads.join(&key);
            self.workload = joined.map_or(Workload::Refused, Workload::Joined);
        }
    }

    /// Counts it to its workload once more, which it has left when it was buried.
    pub(super) fn rejoin(&mut self, workloads: &mut Workloads) {
        if let Workload::Joined(key) = &self.workload {
            let joined = workloads.join(key);
            self.workload = joined.map_or(Workload::Refused, Workload::Joined);
        }
    }

    /// Whether it has no exit to show, and none to report.
    pub(super) fn has_nothing_to_show(&self) -> bool {
        let has_exit = self.runs.exit().is_some_and(|exit| !exit.is_doubtful());
        let shown = has_exit && !self.runs.is_running() && !self.is_ignored();
        !shown && !self.runs.is_open()
    }

    /// Takes in the Docker labels of one that is new.
    pub(super) fn introduce(&mut self, labels: &Labels, texts: &mut Texts) {
        self.introduced = true;
        self.service = texts.share(&workloads::service(labels));
        self.of_swarm = workloads::is_of_swarm(labels);
        self.place = Place::of(labels);
        self.options = LabelOptions::of(labels);
    }

    /// Its place, if it is there or its exit may be shown.
    pub(super) fn place(&self) -> Option<Place> {
        let hidden = self.presence == Presence::Buried || self.is_ignored();
        self.place.filter(|_| !hidden)
    }

    /// When it was made, as far as it is known.
    pub(super) fn created(&self) -> Option<Timestamp> {
        self.birth.time()
    }

    /// Whether its Docker labels were seen.
    pub(super) fn is_introduced(&self) -> bool {
        self.introduced
    }

    /// Takes in which attributes of events its Docker labels hide.
    pub(super) fn hide(&mut self, labels: &Labels) {
        if labels.contains_key("signal") && !self.hides.signal {
            self.runs.distrust_signals();
        }
        if labels.contains_key("exitCode") && !self.hides.code {
            self.runs.distrust_code();
        }
        self.hides = Hides {
            code: labels.contains_key("exitCode"),
            signal: labels.contains_key("signal"),
            duration: labels.contains_key("execDuration"),
        };
    }

    /// Numbers it in the order of age, as it is known by its first event, or by its first listing.
    pub(super) fn number(&mut self, seen: u64) {
        self.birth.seen = seen;
    }

    /// Takes in its first event.
    pub(super) fn appear(&mut self, at: Timestamp) {
        self.birth.before = Some(at);
    }

    /// Whether it was made before this time, for all that is known.
    pub(super) fn is_older_than(&self, time: Timestamp) -> bool {
        self.birth.is_before(time)
    }

    /// Its place, and when it was made, if it may be after another there: of when it was made must be
    /// known more than what came before, since a failure that is hidden is worse than one that is
    /// shown.
    pub(super) fn successor(&self) -> Option<(Place, &Birth)> {
        let place = self.place.filter(|_| self.birth.is_known());
        place.map(|place| (place, &self.birth))
    }

    /// Whether the newest container in its place supersedes it, and that is news.
    pub(super) fn is_newly_superseded<'a>(
        &self,
        newest: impl Fn(&Place) -> Option<&'a Birth>,
    ) -> bool {
        let place = self.place.filter(|_| !self.superseded);
        let newest = place.and_then(|it| newest(&it));
        newest.is_some_and(|newest| *newest > self.birth)
    }

    /// Takes in that it is superseded, and stays so.
    pub(super) fn supersede(&mut self) {
        self.superseded = true;
    }

    /// Takes in what a listing says of its names and age. The first listing that has it
    /// gives it its number.
    pub(super) fn describe(&mut self, listed: &Listed<'_>, seen: u64, texts: &mut Texts) {
        self.rename(&listed.name);
        self.set_image(&listed.image, false, texts);
        if self.birth.second.is_none() {
            self.birth.second = listed.created();
            self.birth.seen = seen;
        }
    }

    /// Takes in a name, if there is one.
    fn rename(&mut self, name: &str) {
        if !name.is_empty() && *name != *self.name {
            self.name = name.into();
            self.labels.current = false;
        }
    }

    fn set_image(&mut self, name: &str, configured: bool, texts: &mut Texts) {
        if (configured || !self.image.configured) && !name.is_empty() {
            if *name != *self.image.name {
                self.image.name = texts.share(name);
                self.labels.current = false;
            }
            self.image.configured = configured;
        }
    }

    /// Takes in another layout of cgroups, if its labels were rendered.
    pub(super) fn relabel(&mut self, id: &str, layout: Option<Layout>) {
        if self.labels.current || !self.labels.text.is_empty() {
            let docker = &self.labels.text[..self.labels.docker];
            self.labels.text = self.block(docker, id, layout).into();
        }
    }

    /// The labels of its series; `docker` is what its Docker labels make of them.
    fn block(&self, docker: &str, id: &str, layout: Option<Layout>) -> String {
        let path = layout.map(|layout| layout.path(&self.cgroup_parent, id));
        let path = path.unwrap_or_default();
        DockerLabels::block(docker, &path, &self.image.name, &self.name)
    }

    /// Renders its labels if they are needed and not up to date. Those of an event are not `certain`:
    /// what else it tells can hide some. Returns whether they were rendered.
    pub(super) fn label(
        &mut self,
        id: &str,
        labels: impl FnOnce() -> Labels,
        certain: bool,
        layout: Option<Layout>,
        filter: &Filter,
    ) -> bool {
        let is_shown = self.runs.has_something_to_show() && !self.is_ignored();
        let is_due = !self.labels.current && is_shown;
        if is_due {
            let docker = DockerLabels::new(&labels(), filter);
            self.labels = Rendered {
                text: self.block(&docker.text, id, layout).into(),
                docker: docker.text.len(),
                current: certain,
            };
            let new = docker.left_out.saturating_sub(self.left_out.count);
            self.left_out.count += new;
            self.left_out.new += new;
        }
        is_due
    }

    /// How many of its Docker labels its series lack since this was asked last.
    pub(super) fn take_left_out(&mut self) -> usize {
        std::mem::take(&mut self.left_out.new)
    }

    /// The bytes of its labels, if no listing has had it.
    pub(super) fn labels_for_unlisted(&self) -> usize {
        match self.presence {
            Presence::Unlisted => self.labels.text.len(),
            _ => 0,
        }
    }

    /// What a listing can change of what is shown of one that it had before, but for its labels.
    pub(super) fn outline(&self) -> impl PartialEq + use<> {
        let shown = self.runs.exit().filter(|exit| !exit.is_doubtful());
        (self.runs.is_running(), shown.map(|exit| exit.code))
    }

    /// Takes in an event; returns an exit that is to be reported and is not, or no longer, the last.
    pub(super) fn apply_event(&mut self, event: &Event, now: Now) -> Option<Exit> {
        let (at, uptime) = (event.time, now.uptime);
        let runs = &mut self.runs;
        let mut open = None;
        match event.action {
            Action::Create => {
                self.birth.event = Some(at);
                runs.create(uptime);
            }
            Action::Attach | Action::Connect => runs.try_start(at),
            Action::Start => open = runs.start(at, uptime),
            Action::Healthy => runs.course_at(at).unhealthy = false,
            Action::Unhealthy => runs.course_at(at).unhealthy = true,
            Action::Oom => runs.course_at(at).oom_killed = true,
            Action::Kill => {
                // Podman's has none. What is no signal is a Docker label that hides it.
                if event.attributes.contains_key("signal") {
                    let signal = event.signal().filter(|_| !self.hides.signal);
                    runs.course_at(at).kill(signal);
                }
            }
            Action::Die => {
                let (code, certain) = event.exit_code();
                let doubtful = self.hides.code && !certain;
                let ran = event.exec_duration().filter(|_| !self.hides.duration);
                let ran = ran.and_then(|ran| SignedDuration::try_from(ran).ok());
                open = runs.die(at, code, doubtful, ran, uptime);
            }
            Action::Stop => runs.stop(at),
            Action::Destroy => open = runs.remove(at, uptime, true),
            Action::Disconnect | Action::Rename | Action::Pause | Action::Unpause => {}
        }
        self.runs.note_event(at, uptime);
        open
    }

    /// Takes in the names that an event tells. Only some have all labels, since what else they tell
    /// can hide some.
    pub(super) fn describe_by_event(&mut self, event: &Event, texts: &mut Texts) {
        if matches!(event.action, Action::Connect | Action::Disconnect) {
            return; // They have the network's.
        }
        self.rename(event.name());
        if self.lacks_workload() || matches!(event.action, Action::Create | Action::Start) {
            self.set_image(event.image(), true, texts);
        }
    }

    /// Takes in what an inspect tells besides the runs.
    pub(super) fn describe_by_inspect(&mut self, inspected: &Inspected, texts: &mut Texts) {
        if let Some(image) = &inspected.image {
            self.set_image(image, true, texts);
        }
        // Labels are long: they are not made anew for nothing.
        if inspected.cgroup_parent != *self.cgroup_parent {
            self.cgroup_parent = inspected.cgroup_parent.as_str().into();
            self.labels.current = false;
        }
        self.restart_policy = inspected.restart_policy;
        self.birth.exact = inspected.created.or(self.birth.exact);
        self.hide(&inspected.labels);
    }

    /// What is shown of it: its exit, with its labels.
    pub(super) fn entry<'a>(&'a self, id: &'a Arc<str>) -> Option<Entry<'a>> {
        let exit = self.runs.exit().filter(|it| it.can_be_shown())?;
        let became = match (self.runs.is_running(), self.removed()) {
            (true, None) => Became::RunsAgain,
            (true, Some(_)) => return None,
            (false, Some(_)) => Became::Removed,
            (false, None) => Became::Stopped,
        };
        // One that ended unseen is found without labels: the next listing tells them.
        let hidden =
            self.presence == Presence::Buried || self.is_ignored() || self.labels.text.is_empty();
        (!hidden).then_some(Entry {
            id,
            name: &self.name,
            image: &self.image.name,
            labels: &self.labels.text,
            service: &self.service,
            of_swarm: self.of_swarm,
            created: self.created(),
            became,
            superseded: self.superseded,
            restart_policy: self.restart_policy,
            last_event: self.runs.newest(),
            reason: self.shown_reason(exit),
            exit,
        })
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) fn image(&self) -> &Arc<str> {
        &self.image.name
    }

    pub(super) fn service(&self) -> &Arc<str> {
        &self.service
    }
}
