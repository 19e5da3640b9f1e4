//! The cgroup path of a container: cAdvisor's label `id`.

use crate::engine::Info;

/// Where the Engine puts its containers in the cgroup tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Layout {
    driver: Driver,
    is_podman: bool,
    /// The user of a rootless daemon: its systemd manages the containers.
    rootless_uid: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Driver {
    #[default]
    Cgroupfs,
    Systemd,
}

impl Layout {
    /// The layout of an Engine, from its `/info` and the owner of its socket. `None` if they do not
    /// determine it: a rootless daemon must use systemd, and the driver `none` makes no cgroups.
    #[must_use]
    pub fn of(info: &Info, socket_owner: Option<u32>) -> Option<Self> {
        let (driver, rootless_uid) = match (info.cgroup_driver.as_str(), info.rootless) {
            ("systemd", true) => (Driver::Systemd, Some(socket_owner?)),
            ("none", _) | (_, true) => return None,
            ("systemd", false) => (Driver::Systemd, None),
            (_, false) => (Driver::Cgroupfs, None),
        };
        Some(Self {
            driver,
            is_podman: info.podman,
            rootless_uid,
        })
    }

    /// The path of the container `id`, as cAdvisor reports it. `parent` is its
    /// `HostConfig.CgroupParent`, empty for the default.
    ///
    /// Sources: moby `daemon/oci_linux.go` (`WithCgroups`), runc `libcontainer/cgroups/systemd`
    /// (`ExpandSlice`), podman `libpod/container_internal_linux.go` and `libpod/container.go`.
    #[must_use]
    pub fn path(self, parent: &str, id: &str) -> String {
        let (default, prefix) = match (self.driver, self.is_podman) {
            (Driver::Cgroupfs, false) => ("docker", ""),
            (Driver::Cgroupfs, true) => ("libpod_parent", "libpod-"),
            (Driver::Systemd, false) => ("system.slice", "docker-"),
            (Driver::Systemd, true) => ("machine.slice", "libpod-"),
        };
        let (root, default) = match self.rootless_uid {
            Some(uid) => {
                let root = format!("/user.slice/user-{uid}.slice/user@{uid}.service");
                (root, "user.slice")
            }
            None => (String::new(), default),
        };
        let parent = match parent.trim_matches('/') {
            "" if parent.is_empty() || self.driver == Driver::Systemd => default,
            parent => parent,
        };
        match self.driver {
            Driver::Cgroupfs if parent.is_empty() => format!("/{prefix}{id}"),
            Driver::Cgroupfs => format!("/{parent}/{prefix}{id}"),
            Driver::Systemd => format!("{root}{}/{prefix}{id}.scope", expand_slice(parent)),
        }
    }
}

/// The path of a slice. Its name contains the names of its parents: `a-b.slice` is at
/// `/a.slice/a-b.slice`.
fn expand_slice(slice: &str) -> String {
    // `-.slice` is the root.
    if slice == "-.slice" {
        return String::new();
    }
    if let Some(parent) = slice.strip_suffix("/-.slice") {
        return format!("/{parent}");
    }
    let mut path = String::new();
    // Podman sets some parents as whole paths.
    if !slice.contains('/') {
        if let Some(name) = slice.strip_suffix(".slice") {
            for (at, _) in name.match_indices('-') {
                path += &format!("/{}.slice", &name[..at]);
            }
        }
    }
    path + "/" + slice
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (driver, podman, parent, want) in [
            ("cgroupfs", false, "", "/docker/ID"),
            ("cgroupfs", false, "/custom", "/custom/ID"),
            ("cgroupfs", false, "/custom/deep/", "/custom/deep/ID"),
            ("cgroupfs", false, "relative", "/relative/ID"),
            ("cgroupfs", false, "/", "/ID"),
            ("", false, "", "/docker/ID"),
            ("systemd", false, "", "/system.slice/docker-ID.scope"),
            (
                "systemd",
                false,
                "user.slice",
                "/user.slice/docker-ID.scope",
            ),
            (
                "systemd",
                false,
                "a-b.slice",
                "/a.slice/a-b.slice/docker-ID.scope",
            ),
            (
                "systemd",
                false,
                "a-b-c.slice",
                "/a.slice/a-b.slice/a-b-c.slice/docker-ID.scope",
            ),
            ("systemd", false, "-.slice", "/docker-ID.scope"),
            ("systemd", true, "", "/machine.slice/libpod-ID.scope"),
            (
                "systemd",
                true,
                "/user.slice/user-1000.slice",
                "/user.slice/user-1000.slice/libpod-ID.scope",
            ),
            ("cgroupfs", true, "", "/libpod_parent/libpod-ID"),
            ("cgroupfs", true, "/custom", "/custom/libpod-ID"),
        ] {
            let info = Info {
                cgroup_driver: driver.into(),
                podman,
                ..Info::default()
            };
            let path = Layout::of(&info, None).map(|layout| layout.path(parent, "ID"));
            assert_eq!(path.as_deref(), Some(want), "{driver} {podman} {parent}");
        }
    }

    #[test]
    fn without_root_the_users_systemd_has_the_containers() {
        let rootless = |driver: &str| Info {
            cgroup_driver: driver.into(),
            rootless: true,
            ..Info::default()
        };
        let layout = Layout::of(&rootless("systemd"), Some(1000)).unwrap();
        let user = "/user.slice/user-1000.slice/user@1000.service";
        let path = layout.path("", "ID");
        assert_eq!(path, format!("{user}/user.slice/docker-ID.scope"));
        let path = layout.path("app.slice", "ID");
        assert_eq!(path, format!("{user}/app.slice/docker-ID.scope"));
        for (driver, owner) in [
            ("systemd", None),
            ("cgroupfs", Some(1000)),
            ("none", Some(0)),
        ] {
            assert_eq!(Layout::of(&rootless(driver), owner), None, "{driver}");
        }
    }
}
