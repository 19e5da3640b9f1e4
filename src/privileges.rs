//! Drops root before the exporter opens anything to the network.
//!
//! A process started as root becomes uid 65534 (`nobody`) with the group of the Docker socket. Ids
//! belong to threads in Linux, so this happens while there is only one.
//!
//! Before the socket exists, its group is unknown. A child process then serves as `nobody` without
//! the group. The parent opens nothing: it waits for the socket, ends the child and takes its place.

use std::error::Error;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;
use std::{env, fmt, io, process, thread};

use rustix::io::Errno;
use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};
use signal_hook::iterator::Signals;

use crate::credentials::Ownership;
use crate::engine::Address;

/// The uid of `nobody`. It is also the gid if the socket's group is not needed or unknown.
const NOBODY: u32 = 65534;

/// The capabilities needed to become `nobody`.
const CHANGE_IDS: CapabilitySet = CapabilitySet::SETUID.union(CapabilitySet::SETGID);

/// The capabilities that root keeps: to change ids, to empty the bounding set and, if it must stay
/// root, to connect to another user's socket and to listen on a port below 1024.
const KEPT: CapabilitySet = CHANGE_IDS
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::NET_BIND_SERVICE);

/// An environment variable that is set for the child process.
const CHILD_VARIABLE: &str = "DOCKER_EXIT_EXPORTER_DO_NOT_WAIT";

/// How often the parent looks for the socket, the end of its child, and signals.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

#[derive(Debug, PartialEq, Eq)]
enum Plan {
    /// Become `nobody` with this group.
    Drop { gid: u32 },
    /// Stay root for this reason.
    Stay(String),
}

/// Why root could not be dropped.
#[derive(Debug)]
pub enum DropRootError {
    /// The child process that serves until the socket at this address exists failed to start.
    StartChild(Address, io::Error),
    /// The ids could not be changed to `nobody` and this group.
    ChangeIds(u32, io::Error),
}

impl fmt::Display for DropRootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StartChild(address, error) => write!(
                f,
                "cannot start the process that serves until {address} is there: {error}"
            ),
            Self::ChangeIds(gid, error) => write!(
                f,
                "root cannot be given up ({error}): run it with --user {NOBODY}:{gid}"
            ),
        }
    }
}

impl Error for DropRootError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::StartChild(_, error) | Self::ChangeIds(_, error) => Some(error),
        }
    }
}

/// Drops root if this process has it, and sets `no_new_privs` in any case. Call it while there is
/// one thread. `signals` end the process while it waits for the socket.
///
/// # Errors
/// If root could not be dropped. The exporter must not serve then.
pub fn drop_root(address: &Address, signals: &mut Signals) -> Result<(), DropRootError> {
    if let Err(error) = set_no_new_privs(true) {
        log::debug!("no_new_privs cannot be set: {error}");
    }
    if !geteuid().is_root() {
        return Ok(());
    }
    let capabilities = reduce_capabilities().unwrap_or_else(|error| {
        log::debug!("capabilities cannot be read or reduced: {error}");
        CapabilitySet::all()
    });
    let plan = match plan(capabilities, address) {
        Some(plan) => plan,
        None if env::var_os(CHILD_VARIABLE).is_some() => Plan::Drop { gid: NOBODY },
        None => serve_with_child_until(|| plan(capabilities, address), signals)
            .map_err(|error| DropRootError::StartChild(address.clone(), error))?,
    };
    match plan {
        Plan::Drop { gid } => become_nobody(gid),
        Plan::Stay(why) => {
            log::warn!("staying root: {why}");
            Ok(())
        }
    }
}

/// Drops all capabilities but [`KEPT`] and returns the effective ones.
fn reduce_capabilities() -> rustix::io::Result<CapabilitySet> {
    let held = capabilities(None)?;
    let kept = CapabilitySets {
        effective: held.effective & KEPT,
        permitted: held.permitted & KEPT,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, kept)?;
    Ok(kept.effective)
}

/// Decides whether to drop root; `None` while there is no socket.
fn plan(capabilities: CapabilitySet, address: &Address) -> Option<Plan> {
    if !capabilities.contains(CHANGE_IDS) {
        return Some(Plan::Stay(format!(
            "becoming uid {NOBODY} takes the capabilities SETUID and SETGID; add them, or run it with --user"
        )));
    }
    let Address::Unix(path) = address else {
        return Some(Plan::Drop { gid: NOBODY });
    };
    let socket = Ownership::of(path)?;
    if !socket.is_socket {
        return Some(Plan::Drop { gid: NOBODY });
    }
    // /var/run is a link to /run on most systems.
    let real = path.canonicalize().unwrap_or_else(|_| path.clone());
    let parents = path.ancestors().skip(1).chain(real.ancestors().skip(1));
    let parents = parents.filter_map(|directory| Some((directory, Ownership::of(directory)?)));
    plan_for(path, socket, parents)
}

/// The plan for a socket and its parent directories.
fn plan_for<'a>(
    path: &Path,
    socket: Ownership,
    mut parents: impl Iterator<Item = (&'a Path, Ownership)>,
) -> Option<Plan> {
    let gid = if socket.mode == 0 {
        // dockerd creates the socket with mode 0, then sets its group and mode.
        return None;
    } else if socket.group_may_connect() {
        socket.gid
    } else if socket.others_may_connect() {
        NOBODY
    } else {
        return Some(Plan::Stay(format!(
            "{} gives its group nothing ({socket})",
            path.display()
        )));
    };
    let closed = parents.find(|(_, directory)| !can_enter(*directory, gid));
    Some(closed.map_or(Plan::Drop { gid }, |(directory, _)| {
        let directory = directory.display();
        Plan::Stay(format!(
            "uid {NOBODY} with group {gid} cannot enter {directory}"
        ))
    }))
}

/// Whether `nobody` with this group can enter a directory.
fn can_enter(directory: Ownership, gid: u32) -> bool {
    let bit = if directory.gid == gid { 0o010 } else { 0o001 };
    directory.mode & bit != 0
}

/// Changes user and group permanently.
fn become_nobody(gid: u32) -> Result<(), DropRootError> {
    match change_ids(Uid::from_raw(NOBODY), Gid::from_raw(gid)) {
        Ok(()) => Ok(()),
        // Such a namespace usually maps only root, to the user who created it.
        Err(Errno::INVAL) => {
            log::warn!("staying root: its user namespace has no uid {NOBODY}, or no group {gid}");
            Ok(())
        }
        Err(error) => Err(DropRootError::ChangeIds(gid, error.into())),
    }
}

fn change_ids(uid: Uid, gid: Gid) -> rustix::io::Result<()> {
    // Empty the bounding set. This fails without `SETPCAP`, or after the last capability.
    let _ = (0..u64::BITS).try_for_each(|bit| {
        remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit))
    });
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_groups(&[])?;
    set_thread_res_uid(uid, uid, uid)?;
    // Inheritable capabilities, and all with some "securebits", survive the change of the uid.
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, none)
}

/// Lets a child process serve as `nobody` until there is a plan, then ends it. A signal ends both
/// processes. If the child ends, this process exits with its status.
fn serve_with_child_until(
    plan: impl Fn() -> Option<Plan>,
    signals: &mut Signals,
) -> io::Result<Plan> {
    // This path works even if the file has moved. Root may execute it; `nobody` perhaps not.
    let mut command = Command::new("/proc/self/exe");
    let mut arguments = env::args_os();
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    let mut child = command.args(arguments).env(CHILD_VARIABLE, "1").spawn()?;
    loop {
        if signals.pending().next().is_some() {
            kill(&mut child);
            process::exit(0);
        }
        if let Some(status) = child.try_wait()? {
            process::exit(status.code().unwrap_or(1));
        }
        if let Some(plan) = plan() {
            kill(&mut child);
            return Ok(plan);
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// Kills the child. It has no state to save.
fn kill(child: &mut Child) {
    // Without the capability `KILL`, a process can only kill processes of its own user.
    let _ = set_thread_res_uid(Uid::from_raw(NOBODY), None, None);
    if let Err(error) = child.kill().and_then(|()| child.wait()) {
        log::debug!("cannot end the process that serves: {error}");
    }
    let _ = set_thread_res_uid(Uid::ROOT, None, None);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_waits_for_a_socket_only() {
        let plan = |address: &Address| plan(KEPT, address);
        let tcp = "tcp://proxy:2375".parse().unwrap();
        assert_eq!(plan(&tcp), Some(Plan::Drop { gid: NOBODY }));
        let nothing = Address::Unix("/nowhere/docker.sock".into());
        assert_eq!(plan(&nothing), None);
        let directory = Address::Unix("/".into());
        assert_eq!(plan(&directory), Some(Plan::Drop { gid: NOBODY }));
    }

    #[test]
    fn root_without_the_capabilities_stays_root_and_does_not_wait() {
        let nothing = Address::Unix("/nowhere/docker.sock".into());
        for missing in [CapabilitySet::SETUID, CapabilitySet::SETGID] {
            let plan = plan(CapabilitySet::all() - missing, &nothing);
            assert!(matches!(plan, Some(Plan::Stay(_))), "{plan:?}");
        }
    }

    #[test]
    fn root_drops_by_the_modes_of_the_socket_and_its_parents() {
        let owned = |gid, mode, is_socket| Ownership {
            uid: 0,
            gid,
            mode,
            is_socket,
        };
        let stay = || Some(Plan::Stay(String::new()));
        let drop = |gid| Some(Plan::Drop { gid });
        for (socket, directory_gid, directory, want) in [
            (0o660, 0, 0o755, drop(998)),
            (0o666, 0, 0o755, drop(998)),
            (0o606, 0, 0o755, drop(NOBODY)),
            (0o600, 0, 0o755, stay()),
            (0o640, 0, 0o755, stay()),
            (0o660, 0, 0o750, stay()),
            (0o660, 998, 0o750, drop(998)),
            (0o660, 998, 0o705, stay()),
            (0o606, 0, 0o711, drop(NOBODY)),
            (0, 0, 0o755, None),
        ] {
            let parents = [(Path::new("/run"), owned(directory_gid, directory, false))];
            let path = Path::new("/run/docker.sock");
            let plan = match plan_for(path, owned(998, socket, true), parents.into_iter()) {
                Some(Plan::Stay(_)) => stay(),
                plan => plan,
            };
            assert_eq!(plan, want, "{socket:o} {directory:o}");
        }
    }
}
