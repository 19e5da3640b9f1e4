//! Who this process is, and what a socket file's mode grants to whom.

use std::fmt;
use std::fs::{self, Metadata};
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
    /// Those of this process.
    #[must_use]
    pub fn of_this_process() -> Self {
        let groups = getgroups().unwrap_or_default();
        Self {
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
            groups: groups.into_iter().map(Gid::as_raw).collect(),
        }
    }

    /// Whether it is a member of this group.
    #[must_use]
    pub fn has_group(&self, gid: u32) -> bool {
        self.gid == gid || self.groups.contains(&gid)
    }
}

impl fmt::Display for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid {}, gid {}", self.uid, self.gid)?;
        if !self.groups.is_empty() {
            let groups: Vec<_> = self.groups.iter().map(u32::to_string).collect();
            write!(f, ", groups {}", groups.join(" "))?;
        }
        Ok(())
    }
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
    /// It is a socket, not a file or a directory in its place.
    pub is_socket: bool,
}

impl Ownership {
    /// That of the file at `path`; `None` if there is none or it cannot be seen.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        fs::metadata(path)
            .ok()
            .map(|metadata| Self::from(&metadata))
    }

    /// Whether its group may connect, which takes the right to write.
    #[must_use]
    pub fn group_may_connect(self) -> bool {
        self.mode & 0o020 != 0
    }

    /// Whether everyone may connect.
    #[must_use]
    pub fn others_may_connect(self) -> bool {
        self.mode & 0o002 != 0
    }
}

impl From<&Metadata> for Ownership {
    fn from(metadata: &Metadata) -> Self {
        Self {
            uid: metadata.uid(),
            gid: metadata.gid(),
            mode: metadata.mode() & 0o7777,
            is_socket: metadata.file_type().is_socket(),
        }
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
}
