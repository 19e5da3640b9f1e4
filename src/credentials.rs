//! The ids of this process, its user namespace, and the access that a file's mode grants.

use std::fmt;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::process::{Gid, getegid, geteuid, getgroups};

/// The effective ids of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

impl Credentials {
    /// The credentials of this process.
    #[must_use]
    pub fn current() -> Self {
        let groups = getgroups().unwrap_or_default();
        Self {
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
            groups: groups.into_iter().map(Gid::as_raw).collect(),
        }
    }

    /// Whether `gid` is the effective group or a supplementary one.
    #[must_use]
    pub fn has_group(&self, gid: u32) -> bool {
        self.gid == gid || self.groups.contains(&gid)
    }
}

impl fmt::Display for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid {}, gid {}", self.uid, self.gid)?;
        for (at, group) in self.groups.iter().enumerate() {
            write!(f, "{} {group}", if at == 0 { ", groups" } else { "" })?;
        }
        Ok(())
    }
}

/// A user namespace (`user_namespaces(7)`). Ids without a mapping appear as the overflow ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserNamespace {
    /// The host's own, which maps all ids.
    Host,
    /// A namespace that maps some ids, as with Docker's `userns-remap`.
    Remapped {
        /// Replaces every unmapped user.
        overflow_uid: u32,
        /// Replaces every unmapped group.
        overflow_gid: u32,
    },
}

impl UserNamespace {
    /// The namespace of this process, or [`Self::Host`] if `/proc` cannot be read.
    #[must_use]
    pub fn current() -> Self {
        match fs::read_to_string("/proc/self/uid_map") {
            Ok(map) if !is_identity(&map) => Self::Remapped {
                overflow_uid: overflow_id("/proc/sys/kernel/overflowuid"),
                overflow_gid: overflow_id("/proc/sys/kernel/overflowgid"),
            },
            _ => Self::Host,
        }
    }

    /// Whether neither the owner nor the group of this file is mapped.
    #[must_use]
    pub fn is_unmapped(self, file: Ownership) -> bool {
        let unmapped = Self::Remapped {
            overflow_uid: file.uid,
            overflow_gid: file.gid,
        };
        self == unmapped
    }
}

/// Whether a `uid_map` maps every id to itself.
fn is_identity(map: &str) -> bool {
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

fn overflow_id(path: &str) -> u32 {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.trim().parse().unwrap_or(65534)
}

/// Owner, group and mode of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ownership {
    /// The owner's user id.
    pub uid: u32,
    /// The group's id.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
    /// Whether the file is a socket.
    pub is_socket: bool,
}

impl Ownership {
    /// Reads the file at `path`; `None` if it does not exist or is not accessible.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            uid: metadata.uid(),
            gid: metadata.gid(),
            mode: metadata.mode() & 0o7777,
            is_socket: metadata.file_type().is_socket(),
        })
    }

    /// Whether the mode lets a process connect. The kernel checks only one of owner, group and
    /// others.
    #[must_use]
    pub fn allows(self, process: &Credentials) -> bool {
        if process.uid == self.uid {
            self.mode & 0o200 != 0
        } else if process.has_group(self.gid) {
            self.group_may_connect()
        } else {
            self.others_may_connect()
        }
    }

    /// Whether the group may connect, which requires write permission.
    #[must_use]
    pub fn group_may_connect(self) -> bool {
        self.mode & 0o020 != 0
    }

    /// Whether others may connect, which requires write permission.
    #[must_use]
    pub fn others_may_connect(self) -> bool {
        self.mode & 0o002 != 0
    }
}

impl fmt::Display for Ownership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "owner {}, group {}, mode {:04o}",
            self.uid, self.gid, self.mode
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_shown_with_the_groups_that_there_are() {
        let mut credentials = Credentials {
            uid: 65534,
            gid: 998,
            groups: vec![27, 998],
        };
        assert_eq!(credentials.to_string(), "uid 65534, gid 998, groups 27 998");
        credentials.groups.clear();
        assert_eq!(credentials.to_string(), "uid 65534, gid 998");
    }

    #[test]
    fn the_host_maps_every_id_to_itself() {
        assert!(is_identity("         0          0 4294967295\n"));
        for map in [
            "0 100000 65536\n",
            "0 0 65536\n",
            "0 1000 1\n1 100000 65536\n",
            "",
        ] {
            assert!(!is_identity(map), "{map}");
        }
    }

    #[test]
    fn a_mode_says_who_may_connect() {
        let of = |mode| Ownership {
            uid: 0,
            gid: 998,
            mode,
            is_socket: true,
        };
        assert!(of(0o660).group_may_connect());
        assert!(!of(0o640).group_may_connect());
        assert!(!of(0o660).others_may_connect());
        assert!(of(0o666).others_may_connect());
        assert_eq!(of(0o660).to_string(), "owner 0, group 998, mode 0660");
    }

    #[test]
    fn one_of_owner_group_and_others_decides() {
        let process = |uid, gid, groups: &[u32]| Credentials {
            uid,
            gid,
            groups: groups.to_vec(),
        };
        for (mode, process, want) in [
            (0o660, process(1, 998, &[]), true),
            (0o660, process(1, 1, &[27, 998]), true),
            (0o660, process(1, 1, &[27]), false),
            (0o660, process(0, 0, &[]), true),
            (0o066, process(0, 998, &[]), false),
            (0o606, process(1, 998, &[]), false),
            (0o606, process(1, 1, &[]), true),
            (0, process(0, 998, &[]), false),
        ] {
            let socket = Ownership {
                uid: 0,
                gid: 998,
                mode,
                is_socket: true,
            };
            assert_eq!(socket.allows(&process), want, "{mode:o} {process}");
        }
    }
}
