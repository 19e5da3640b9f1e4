//! Parses listings and inspects. A value that is missing, `null`, of the wrong type or too long is
//! absent, and does not affect other containers. Only a body that is not JSON or UTF-8 fails as a
//! whole. Other values are skipped, however large or deep.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;

use super::status::{State, Status};
use super::value::{Labels, fields, fields_of, labels, refuse_string, scalar, text, text_up_to};
use super::{limits, signal};

/// A container in a response to `/containers/json`, borrowed from the body.
#[derive(Debug)]
pub struct Listed<'a> {
    /// The container's id, 64 hexadecimal digits.
    pub id: Cow<'a, str>,
    /// The container's name, without the leading `/`; empty if unknown.
    pub name: Cow<'a, str>,
    /// The name of its image, or the id if the name now belongs to another image.
    pub image: Cow<'a, str>,
    /// Its state, and the exit code of its last run.
    pub status: Status,
    created: Option<&'a RawValue>,
    labels: Option<&'a RawValue>,
}

impl Listed<'_> {
    /// Parses its Docker labels. A known container does not need them.
    #[must_use]
    pub fn labels(&self) -> Labels {
        labels(self.labels)
    }

    /// When it was created, in seconds since 1970.
    #[must_use]
    pub fn created(&self) -> Option<i64> {
        let is_time = |second: &i64| *second > 0 && Timestamp::from_second(*second).is_ok();
        scalar(self.created).filter(is_time)
    }
}

/// Parses a response to `/containers/json`. Elements without an id are left out.
///
/// # Errors
/// If the text is not a JSON array (or `null`, Go's empty array), or has more than
/// [`limits::MAX_CONTAINERS`] containers.
pub fn listing(text: &str) -> serde_json::Result<Vec<Listed<'_>>> {
    refuse_string(text)?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let listed = deserializer.deserialize_any(ListingVisitor)?;
    deserializer.end()?;
    Ok(listed)
}

struct ListingVisitor;

impl<'de> Visitor<'de> for ListingVisitor {
    type Value = Vec<Listed<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an array of containers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut listed = Vec::new();
        while let Some(element) = seq.next_element_seed(ListedVisitor)? {
            listed.extend(element);
            if listed.len() > limits::MAX_CONTAINERS {
                let max = limits::MAX_CONTAINERS;
                return Err(A::Error::custom(format!("more than {max} containers")));
            }
        }
        Ok(listed)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }
}

/// Reads an element of the listing. It is `None` if it is not a container.
struct ListedVisitor;

impl<'de> DeserializeSeed<'de> for ListedVisitor {
    type Value = Option<Listed<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// The keys of a container that are read.
#[derive(serde::Deserialize)]
#[serde(field_identifier)]
enum ListingKey {
    Id,
    Names,
    Image,
    Created,
    State,
    Status,
    Labels,
    #[serde(other)]
    Other,
}

macro_rules! not_a_container {
    ($($visit:ident($($value:ty)?)),*) => {
        $(fn $visit<E>(self, $(_: $value)?) -> Result<Self::Value, E> {
            Ok(None)
        })*
    };
}

impl<'de> Visitor<'de> for ListedVisitor {
    type Value = Option<Listed<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a container")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut id, mut names, mut image, mut created) = (None, None, None, None);
        let (mut state, mut status, mut labels) = (None, None, None);
        while let Some(key) = map.next_key()? {
            let field: &mut Option<&'de RawValue> = match key {
                ListingKey::Id => &mut id,
                ListingKey::Names => &mut names,
                ListingKey::Image => &mut image,
                ListingKey::Created => &mut created,
                ListingKey::State => &mut state,
                ListingKey::Status => &mut status,
                ListingKey::Labels => &mut labels,
                ListingKey::Other => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *field = Some(map.next_value()?);
        }
        let text = |raw: Option<&'de RawValue>| raw.and_then(text);
        let Some(id) = text(id).filter(|id| !id.is_empty()) else {
            return Ok(None);
        };
        Ok(Some(Listed {
            id,
            name: own_name(names).unwrap_or_default(),
            image: text(image).unwrap_or_default(),
            status: Status::parse(text(state).as_deref(), &text(status).unwrap_or_default()),
            created,
            labels,
        }))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    not_a_container!(visit_bool(bool), visit_i64(i64), visit_u64(u64));
    not_a_container!(visit_f64(f64), visit_str(&str), visit_unit());
}

/// The container's name among `Names`, which also has link aliases (`/other/alias`).
fn own_name(names: Option<&RawValue>) -> Option<Cow<'_, str>> {
    let names = names.filter(|raw| raw.get().len() <= limits::LABELS_BYTES)?;
    let names: Vec<&RawValue> = serde_json::from_str(names.get()).ok()?;
    names.into_iter().filter_map(text).find_map(|name| {
        let start = usize::from(name.starts_with('/'));
        (!name[start..].contains('/')).then(|| match name {
            Cow::Borrowed(name) => Cow::Borrowed(&name[start..]),
            Cow::Owned(name) => Cow::Owned(name[start..].to_owned()),
        })
    })
}

/// A response to `/containers/{id}/json`: a container and its last run.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// `Id`.
    pub id: Option<String>,
    /// `Created`: when it was created.
    pub created: Option<Timestamp>,
    /// `State.Status`.
    pub state: Option<State>,
    /// `State.ExitCode`; 0 while it runs, and before its first start.
    pub code: i64,
    /// `State.Error`: why the last start failed; empty if it succeeded.
    pub error: String,
    /// Whether its health checks failed, also of a container that has exited.
    pub unhealthy: bool,
    /// `State.OOMKilled`: the kernel killed the main process or one of its children in this run.
    pub oom_killed: bool,
    /// `State.StartedAt`: when the last run began; absent before the first start.
    pub started_at: Option<Timestamp>,
    /// `State.FinishedAt`: when the last completed run ended.
    pub finished_at: Option<Timestamp>,
    /// `RestartCount`: restarts by the restart policy since the daemon started.
    pub restart_count: Option<u64>,
    /// `Config.Image`: the image name that the container was created from.
    pub image: Option<String>,
    /// `Config.Labels`.
    pub labels: Labels,
    /// `Config.StopSignal`, as a number; absent for SIGTERM.
    pub stop_signal: Option<u8>,
    /// `HostConfig.CgroupParent`; empty for the default.
    pub cgroup_parent: String,
    /// `HostConfig.RestartPolicy.Name`; absent for `no`.
    pub restart_policy: Option<RestartPolicy>,
}

/// When the Engine restarts an exited container (moby `container/restart_policy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartPolicy {
    /// After every exit, and when the daemon starts.
    Always,
    /// The same, unless the container was stopped on request.
    UnlessStopped,
    /// After an exit with a code other than 0, up to a number of times.
    OnFailure,
}

impl RestartPolicy {
    /// The Engine's name for the policy, which is the value of the label `policy`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::UnlessStopped => "unless-stopped",
            Self::OnFailure => "on-failure",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        let all = [Self::Always, Self::UnlessStopped, Self::OnFailure];
        all.into_iter().find(|policy| policy.name() == word)
    }
}

impl Inspected {
    /// Whether it runs, or is paused.
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self.state, Some(State::Running | State::Paused))
    }

    /// Parses a response to `/containers/{id}/json`.
    ///
    /// # Errors
    /// If the text is not a JSON object, or lacks `State.Status` or `State.ExitCode`.
    pub fn parse(text: &str) -> serde_json::Result<Self> {
        let [id, created, state, restarts, config, host] = fields(
            text,
            [
                "Id",
                "Created",
                "State",
                "RestartCount",
                "Config",
                "HostConfig",
            ],
        )?;
        let [status, code, error, oom_killed] =
            fields_of(state, ["Status", "ExitCode", "Error", "OOMKilled"]);
        let [health, started_at, finished_at] =
            fields_of(state, ["Health", "StartedAt", "FinishedAt"]);
        let [image, docker_labels, stop_signal, healthcheck] =
            fields_of(config, ["Image", "Labels", "StopSignal", "Healthcheck"]);
        let [failed_checks] = fields_of(health, ["FailingStreak"]);
        let [retries] = fields_of(healthcheck, ["Retries"]);
        let [cgroup_parent, policy] = fields_of(host, ["CgroupParent", "RestartPolicy"]);
        let [policy] = fields_of(policy, ["Name"]);
        let text = |raw: Option<&'_ RawValue>| Some(super::value::text(raw?)?.into_owned());
        let time = |raw| timestamp(&text(raw)?);
        let error = error.and_then(|raw| text_up_to(raw, limits::ERROR_BYTES));
        let (Some(status), Some(code)) = (text(status), scalar(code)) else {
            return Err(serde_json::Error::custom("its state is missing"));
        };
        Ok(Self {
            id: text(id),
            created: time(created),
            state: State::parse(&status),
            code,
            error: error.unwrap_or_default().into_owned(),
            unhealthy: is_unhealthy(scalar(failed_checks), scalar(retries)),
            oom_killed: scalar(oom_killed) == Some(true),
            started_at: time(started_at),
            finished_at: time(finished_at),
            restart_count: scalar(restarts),
            image: text(image),
            labels: labels(docker_labels),
            stop_signal: text(stop_signal).and_then(|name| signal::parse_signal(&name)),
            cgroup_parent: text(cgroup_parent).unwrap_or_default(),
            restart_policy: text(policy).and_then(|word| RestartPolicy::parse(&word)),
        })
    }
}

/// Whether so many checks failed in a row that a container is unhealthy. `Health.Status` does not
/// show that: Docker sets it to `unhealthy` whenever it ends the checks, because the container stops
/// (moby `container/health.go`).
fn is_unhealthy(failed_checks: Option<u64>, retries: Option<u64>) -> bool {
    // moby `daemon/health.go`
    const DEFAULT_RETRIES: u64 = 3;
    let retries = retries.filter(|&it| it > 0).unwrap_or(DEFAULT_RETRIES);
    failed_checks.is_some_and(|failed| failed >= retries)
}

/// Parses an RFC 3339 time. Times before 1970 mean never: the Engine writes `0001-01-01T00:00:00Z`.
fn timestamp(text: &str) -> Option<Timestamp> {
    let time: Timestamp = text.parse().ok()?;
    (time > Timestamp::UNIX_EPOCH).then_some(time)
}

#[cfg(test)]
mod tests;
