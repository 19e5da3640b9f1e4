//! What the Engine says of itself: in the head of each answer, and by `/info`.

use serde_json::value::RawValue;

use super::value::fields;
use crate::http::Head;

/// What the Engine says of itself in the head of each answer. When it changes, another daemon
/// answers than before.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `Api-Version`; empty behind some proxies.
    pub api_version: String,
    /// `Server`, as in `Docker/28.5.2 (linux)`.
    pub server: String,
}

impl From<&Head> for Identity {
    fn from(head: &Head) -> Self {
        let header = |name| head.header(name).unwrap_or_default().to_owned();
        Self {
            api_version: header("api-version"),
            server: header("server"),
        }
    }
}

/// The Engine, as far as it is known: what it says in each answer, and its `/info` if it gives it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineInfo {
    /// From the last answer's head.
    pub identity: Identity,
    /// From `/info`.
    pub info: Option<Info>,
}

impl Identity {
    /// Whether it is Podman, which says `Libpod/5.8.2 (linux)` in each answer.
    #[must_use]
    pub fn is_podman(&self) -> bool {
        self.server.starts_with("Libpod")
    }
}

impl EngineInfo {
    /// What kind of Engine it is: `docker` or `podman`; empty if it has not answered yet.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        let podman = self.info.as_ref().is_some_and(|info| info.podman);
        if podman || self.identity.is_podman() {
            "podman"
        } else if self.info.is_some() || !self.identity.server.is_empty() {
            "docker"
        } else {
            ""
        }
    }

    /// The Engine's version: by `/info`, or else by the head of its answers
    /// (`Docker/28.5.2 (linux)`), which passes through a proxy that refuses `/info`.
    #[must_use]
    pub fn version(&self) -> &str {
        if let Some(info) = &self.info {
            return &info.version;
        }
        let product = self.identity.server.split_whitespace().next();
        let version = product.and_then(|product| product.split_once('/'));
        version.map_or("", |(_, version)| version)
    }
}

/// What `/info` says of the Engine as a whole.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Info {
    /// `Name`: the host's name.
    pub name: String,
    /// `Swarm.NodeID`; empty if the host is in no Swarm.
    pub node_id: String,
    /// `ServerVersion`.
    pub version: String,
    /// `CgroupDriver`: `cgroupfs`, `systemd` or `none`.
    pub cgroup_driver: String,
    /// `CgroupVersion`: `1` or `2`; Engines before 20.10 do not say.
    pub cgroup_version: String,
    /// `OperatingSystem`.
    pub operating_system: String,
    /// `KernelVersion`.
    pub kernel_version: String,
    /// `Architecture`.
    pub architecture: String,
    /// It is Podman's compatible API (which alone has `BuildahVersion`).
    pub podman: bool,
    /// The daemon runs without root (`SecurityOptions` has `name=rootless`).
    pub rootless: bool,
}

impl Info {
    /// Reads the answer to `/info`.
    ///
    /// # Errors
    /// If it is not a JSON object.
    pub fn parse(text: &str) -> serde_json::Result<Self> {
        let [
            name,
            swarm,
            version,
            driver,
            cgroup_version,
            system,
            kernel,
            architecture,
            buildah,
            security,
        ] = fields(
            text,
            [
                "Name",
                "Swarm",
                "ServerVersion",
                "CgroupDriver",
                "CgroupVersion",
                "OperatingSystem",
                "KernelVersion",
                "Architecture",
                "BuildahVersion",
                "SecurityOptions",
            ],
        )?;
        let text = |raw: Option<&RawValue>| {
            let text = raw.and_then(super::value::text);
            text.unwrap_or_default().into_owned()
        };
        let [node_id] = super::value::fields_of(swarm, ["NodeID"]);
        Ok(Self {
            name: text(name),
            node_id: text(node_id),
            version: text(version),
            cgroup_driver: text(driver),
            cgroup_version: text(cgroup_version),
            operating_system: text(system),
            kernel_version: text(kernel),
            architecture: text(architecture),
            podman: buildah.is_some(),
            rootless: security.is_some_and(|options| options.get().contains("\"name=rootless")),
        })
    }
}
