//! The Engine's facts about itself, from the head of each response and from `/info`.

use super::value::{fields, fields_of, text};
use crate::http::Head;

/// The Engine's identity in the head of each response. It changes when another daemon answers.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `Api-Version`; some proxies remove it.
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

/// All that is known of the Engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineInfo {
    /// From the head of the last listing.
    pub identity: Identity,
    /// From `/info`, unless that is refused.
    pub info: Option<Info>,
}

impl Identity {
    /// Whether the Engine is Podman. Its `Server` is `Libpod/5.8.2 (linux)`, for example.
    #[must_use]
    pub fn is_podman(&self) -> bool {
        self.server.starts_with("Libpod")
    }
}

impl EngineInfo {
    /// The kind of Engine: `docker` or `podman`; empty before the first response.
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

    /// The Engine's version, from `/info` or else from `Server`, which passes through a proxy that
    /// refuses `/info`.
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

/// The response to `/info`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Info {
    /// `Name`: the name of the host.
    pub name: String,
    /// `Swarm.NodeID`; empty outside a Swarm.
    pub node_id: String,
    /// `ServerVersion`.
    pub version: String,
    /// `CgroupDriver`: `cgroupfs`, `systemd` or `none`.
    pub cgroup_driver: String,
    /// `CgroupVersion`: `1` or `2`; empty before Docker 20.10.
    pub cgroup_version: String,
    /// `OperatingSystem`.
    pub operating_system: String,
    /// `KernelVersion`.
    pub kernel_version: String,
    /// `Architecture`.
    pub architecture: String,
    /// The Engine is Podman: only its API has `BuildahVersion`.
    pub podman: bool,
    /// The daemon is rootless: `SecurityOptions` has `name=rootless`.
    pub rootless: bool,
}

impl Info {
    /// Parses the response to `/info`.
    ///
    /// # Errors
    /// If the text is not a JSON object.
    pub fn parse(json: &str) -> serde_json::Result<Self> {
        let [swarm, buildah, security] =
            fields(json, ["Swarm", "BuildahVersion", "SecurityOptions"])?;
        let [node_id] = fields_of(swarm, ["NodeID"]);
        let owned = |raw| text(raw).unwrap_or_default().into_owned();
        let field = |key| -> serde_json::Result<String> {
            let [raw] = fields(json, [key])?;
            Ok(raw.map(owned).unwrap_or_default())
        };
        Ok(Self {
            name: field("Name")?,
            node_id: node_id.map(owned).unwrap_or_default(),
            version: field("ServerVersion")?,
            cgroup_driver: field("CgroupDriver")?,
            cgroup_version: field("CgroupVersion")?,
            operating_system: field("OperatingSystem")?,
            kernel_version: field("KernelVersion")?,
            architecture: field("Architecture")?,
            podman: buildah.is_some(),
            rootless: security.is_some_and(|options| options.get().contains("\"name=rootless")),
        })
    }
}
