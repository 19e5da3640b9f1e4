//! The Engine's JSON, read with patience: what is missing, `null`, of another type or too long is
//! absent, and does not touch the other containers. What is no JSON, or no UTF-8, spoils the whole
//! answer. What is not needed is skipped, however much or deep it is.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::status::{State, Status};
use super::value::{Labels, fields, fields_of, labels, refuse_string, scalar, text, text_within};
use super::{limits, signal};

/// One element of `/containers/json`, borrowed from the answer's bytes.
#[derive(Debug)]
pub struct Listed<'a> {
    /// The container's id, 64 hexadecimal digits.
    pub id: Cow<'a, str>,
    /// Its own name, without the leading `/`; empty if unknown.
    pub name: Cow<'a, str>,
    /// The name of its image, or the image's id once the name has moved on.
    pub image: Cow<'a, str>,
    /// What it does, and how its last run ended.
    pub status: Status,
    created: Option<&'a RawValue>,
    labels: Option<&'a RawValue>,
}

impl Listed<'_> {
    /// Its Docker labels. They are parsed at each call: of a known container they are not needed.
    #[must_use]
    pub fn labels(&self) -> Labels {
        labels(self.labels)
    }

    /// When it was made, in seconds since 1970.
    #[must_use]
    pub fn created(&self) -> Option<i64> {
        let is_time = |second: &i64| *second > 0 && Timestamp::from_second(*second).is_ok();
        scalar(self.created).filter(is_time)
    }
}

/// Reads the answer to `/containers/json`. Elements without an id are left out.
///
/// # Errors
/// If it is not a JSON array (or `null`, which is how Go may write an empty one), or has more than
/// [`limits::CONTAINERS`].
pub fn listing(text: &str) -> serde_json::Result<Vec<Listed<'_>>> {
    refuse_string(text)?;
    let elements: Option<Elements<'_>> = serde_json::from_str(text)?;
    Ok(elements.map_or_else(Vec::new, |Elements(listed)| listed))
}

struct Elements<'a>(Vec<Listed<'a>>);

impl<'de> Deserialize<'de> for Elements<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ElementsVisitor)
    }
}

struct ElementsVisitor;

impl<'de> Visitor<'de> for ElementsVisitor {
    type Value = Elements<'de>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an array of containers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut listed = Vec::new();
        while let Some(Element(element)) = seq.next_element()? {
            listed.extend(element);
            if listed.len() > limits::CONTAINERS {
                let most = limits::CONTAINERS;
                return Err(A::Error::custom(format!("more than {most} containers")));
            }
        }
        Ok(Elements(listed))
    }
}

/// An element of the listing's array, whatever its type.
struct Element<'a>(Option<Listed<'a>>);

impl<'de> Deserialize<'de> for Element<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ElementVisitor)
    }
}

struct ElementVisitor;

/// The keys that are read; all others are skipped.
#[derive(serde::Deserialize)]
#[serde(field_identifier)]
enum Key {
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

impl<'de> Visitor<'de> for ElementVisitor {
    type Value = Element<'de>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a container")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut id, mut names, mut image, mut created) = (None, None, None, None);
        let (mut state, mut status, mut labels) = (None, None, None);
        while let Some(key) = map.next_key()? {
            let place: &mut Option<&'de RawValue> = match key {
                Key::Id => &mut id,
                Key::Names => &mut names,
                Key::Image => &mut image,
                Key::Created => &mut created,
                Key::State => &mut state,
                Key::Status => &mut status,
                Key::Labels => &mut labels,
                Key::Other => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *place = Some(map.next_value()?);
        }
        let text = |raw: Option<&'de RawValue>| raw.and_then(text);
        let Some(id) = text(id).filter(|id| !id.is_empty()) else {
            return Ok(Element(None));
        };
        Ok(Element(Some(Listed {
            id,
            name: own_name(names).unwrap_or_default(),
            image: text(image).unwrap_or_default(),
            status: Status::parse(text(state).as_deref(), &text(status).unwrap_or_default()),
            created,
            labels,
        })))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Element(None))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Element(None))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Element(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Element(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Element(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Element(None))
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Element(None))
    }
}

/// The container's own name among `Names`, which also has link aliases (`/other/alias`).
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

/// What `/containers/{id}/json` says of a container and its last run.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// `Id`.
    pub id: Option<String>,
    /// `Created`: when it was made.
    pub created: Option<Timestamp>,
    /// `State.Status`.
    pub state: Option<State>,
    /// `State.ExitCode`; 0 while it runs, or was never started.
    pub code: i64,
    /// `State.Error`: why the last start failed; empty if it did not.
    pub error: String,
    /// `State.Health.Status` is `unhealthy`; kept when the run ends.
    pub unhealthy: bool,
    /// `State.OOMKilled`: the kernel killed the main process or a child of it in this run.
    pub oom_killed: bool,
    /// `State.StartedAt`: when the last run began; absent if there was none.
    pub started_at: Option<Timestamp>,
    /// `State.FinishedAt`: when a run ended; after a start still that of the run before.
    pub finished_at: Option<Timestamp>,
    /// `RestartCount`: restarts by the restart policy since the daemon started.
    pub restart_count: Option<u64>,
    /// `Config.Image`: the image's name as it was given when the container was made.
    pub image: Option<String>,
    /// `Config.Labels`.
    pub labels: Labels,
    /// `Config.StopSignal`: the number of the signal that asks it to stop; absent for SIGTERM.
    pub stop_signal: Option<u8>,
    /// `HostConfig.CgroupParent`; empty for the default.
    pub cgroup_parent: String,
    /// `HostConfig.RestartPolicy.Name`; absent for `no`.
    pub restart_policy: Option<RestartPolicy>,
}

/// When the Engine starts a container again that has ended (moby `container/restart_policy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Whatever its code is, and when the daemon starts.
    Always,
    /// The same, unless someone has stopped it.
    UnlessStopped,
    /// If its code is not 0, up to a number of times.
    OnFailure,
}

impl RestartPolicy {
    /// The Engine's word for it, which is the value of the label `policy`.
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
    /// Whether its process is there.
    #[must_use]
    pub fn runs(&self) -> bool {
        matches!(self.state, Some(State::Running | State::Paused))
    }

    /// Reads the answer to `/containers/{id}/json`.
    ///
    /// # Errors
    /// If it is not a JSON object, or tells no `State.Status` and `State.ExitCode`, as every Engine
    /// does.
    pub fn parse(text: &str) -> serde_json::Result<Self> {
        let [id, created, state, restarts, config, host_config] = fields(
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
        let [
            status,
            code,
            error,
            oom_killed,
            health,
            started_at,
            finished_at,
        ] = fields_of(
            state,
            [
                "Status",
                "ExitCode",
                "Error",
                "OOMKilled",
                "Health",
                "StartedAt",
                "FinishedAt",
            ],
        );
        let [image, docker_labels, stop_signal] =
            fields_of(config, ["Image", "Labels", "StopSignal"]);
        let [health] = fields_of(health, ["Status"]);
        let [cgroup_parent, policy] = fields_of(host_config, ["CgroupParent", "RestartPolicy"]);
        let [policy] = fields_of(policy, ["Name"]);
        let text = |raw: Option<&'_ RawValue>| Some(super::value::text(raw?)?.into_owned());
        let time = |raw| timestamp(&text(raw)?);
        let error = error.and_then(|raw| text_within(raw, limits::ERROR_BYTES));
        let (Some(status), Some(code)) = (text(status), scalar(code)) else {
            return Err(serde_json::Error::custom("it tells no state"));
        };
        Ok(Self {
            id: text(id),
            created: time(created),
            state: State::parse(&status),
            code,
            error: error.unwrap_or_default().into_owned(),
            unhealthy: text(health).is_some_and(|word| word == "unhealthy"),
            oom_killed: scalar(oom_killed) == Some(true),
            started_at: time(started_at),
            finished_at: time(finished_at),
            restart_count: scalar(restarts),
            image: text(image),
            labels: labels(docker_labels),
            stop_signal: text(stop_signal).and_then(|name| signal::number(&name)),
            cgroup_parent: text(cgroup_parent).unwrap_or_default(),
            restart_policy: text(policy).and_then(|word| RestartPolicy::parse(&word)),
        })
    }
}

/// An RFC 3339 time; absent for `0001-01-01T00:00:00Z` and other times before 1970, which mean
/// never.
fn timestamp(text: &str) -> Option<Timestamp> {
    let time: Timestamp = text.parse().ok()?;
    (time > Timestamp::UNIX_EPOCH).then_some(time)
}

#[cfg(test)]
mod tests;
