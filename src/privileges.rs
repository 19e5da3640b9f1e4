//! Giving up root before anything is opened to the network.
//!
//! Root is needed for nothing but to read which group the Docker socket belongs to and to become
//! a member of it. So a process that was started as root becomes uid 65534 (`nobody`) with the
//! socket's group. Linux keeps the ids of each thread, so this happens before there is a second one.
//! Where there is no socket yet, its group is not known: then a child serves as `nobody` without that
//! group, and the process waits for the socket, ends the child, and takes its place. The waiting
//! process itself opens nothing.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;
use std::{env, io, process, thread};

use rustix::io::Errno;
use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};
use signal_hook::iterator::Signals;

use crate::credentials::Ownership;
use crate::engine::Address;

/// The user, and the group where the socket's is of no use: `nobody`.
const NOBODY: u32 = 65534;

/// What it takes to become `nobody`.
const TO_CHANGE: CapabilitySet = CapabilitySet::SETUID.union(CapabilitySet::SETGID);

/// All that root keeps: that, to empty the bounding set, and, where it must stay root, to connect to
/// another user's socket and to listen on a port below 1024.
const KEPT: CapabilitySet = TO_CHANGE
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::NET_BIND_SERVICE);

/// In the environment of the child that serves until there is a socket.
const DO_NOT_WAIT: &str = "DOCKER_EXIT_EXPORTER_DO_NOT_WAIT";

/// How often a process that waits for the socket looks for it, its child and signals.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Debug, PartialEq, Eq)]
enum Plan {
    /// Become `nobody` with this group.
    Drop { gid: u32 },
    /// Stay root, for this reason.
    Stay(String),
}

/// Gives up root if this process has it, and the right to get new privileges in any case. To be
/// called while there is one thread. Where root waits for the socket, `signals` end the process.
///
/// # Errors
/// Why root could not be given up, in one line. Then nothing may be served.
pub fn drop_root(address: &Address, signals: &mut Signals) -> Result<(), String> {
    if let Err(error) = set_no_new_privs(true) {
        log::debug!("no_new_privs cannot be set: {error}");
    }
    if !geteuid().is_root() {
        return Ok(());
    }
    let capabilities = keep_what_is_needed().unwrap_or_else(|error| {
        log::debug!("capabilities cannot be read or reduced: {error}");
        CapabilitySet::all()
    });
    let plan = || plan(capabilities, address);
    let plan = match plan() {
        Some(plan) => plan,
        None if env::var_os(DO_NOT_WAIT).is_some() => Plan::Drop { gid: NOBODY },
        None => serve_by_a_child_until(plan, signals).map_err(|error| {
            format!("cannot start the process that serves until {address} is there: {error}")
        })?,
    };
    match plan {
        Plan::Drop { gid } => become_nobody(gid),
        Plan::Stay(why) => {
            log::warn!("staying root: {why}");
            Ok(())
        }
    }
}

/// The effective capabilities that are left.
fn keep_what_is_needed() -> rustix::io::Result<CapabilitySet> {
    let held = capabilities(None)?;
    let kept = CapabilitySets {
        effective: held.effective & KEPT,
        permitted: held.permitted & KEPT,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, kept)?;
    Ok(kept.effective)
}

/// What to do with root; `None` while there is no socket.
fn plan(capabilities: CapabilitySet, address: &Address) -> Option<Plan> {
    if !capabilities.contains(TO_CHANGE) {
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
    let way = path.ancestors().skip(1).chain(real.ancestors().skip(1));
    let way = way.filter_map(|directory| Some((directory, Ownership::of(directory)?)));
    plan_for(path, socket, way)
}

/// The plan for a socket, with the directories on the way to it.
fn plan_for<'a>(
    path: &Path,
    socket: Ownership,
    mut way: impl Iterator<Item = (&'a Path, Ownership)>,
) -> Option<Plan> {
    let gid = if socket.mode == 0 {
        // dockerd makes it so, and then gives it its group and its mode.
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
    Some(
        match way.find(|(_, directory)| !may_enter(*directory, gid)) {
            None => Plan::Drop { gid },
            Some((directory, _)) => Plan::Stay(format!(
                "uid {NOBODY} with group {gid} cannot enter {}",
                directory.display()
            )),
        },
    )
}

/// Whether `nobody` with this group can enter a directory.
fn may_enter(directory: Ownership, gid: u32) -> bool {
    let bit = if directory.gid == gid { 0o010 } else { 0o001 };
    directory.mode & bit != 0
}

/// Changes user and group for good.
fn become_nobody(gid: u32) -> Result<(), String> {
    match change_ids(Uid::from_raw(NOBODY), Gid::from_raw(gid)) {
        Ok(()) => Ok(()),
        // Root of such a namespace is no other user than the one who made it.
        Err(Errno::INVAL) => {
            log::warn!("staying root: its user namespace has no uid {NOBODY}, or no group {gid}");
            Ok(())
        }
        Err(error) => Err(format!(
            "root cannot be given up ({error}): run it with --user {NOBODY}:{gid}"
        )),
    }
}

fn change_ids(uid: Uid, gid: Gid) -> rustix::io::Result<()> {
    // As far as the kernel knows capabilities, and only with `SETPCAP`.
    let _ = (0..u64::BITS).try_for_each(|bit| {
        remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit))
    });
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_groups(&[])?;
    set_thread_res_uid(uid, uid, uid)?;
    // They are lost with root, but for those that were inheritable, and unless "securebits" keep them.
    let none = CapabilitySet::empty();
    set_capabilities(
        None,
        CapabilitySets {
            effective: none,
            permitted: none,
            inheritable: none,
        },
    )
}

/// Lets a child serve as `nobody` until there is a plan, then ends it. Signals end both, and the
/// child's end is this process's.
fn serve_by_a_child_until(
    plan: impl Fn() -> Option<Plan>,
    signals: &mut Signals,
) -> io::Result<Plan> {
    // This very program, wherever its file is by now. Root may execute it, `nobody` perhaps not.
    let mut command = Command::new("/proc/self/exe");
    let mut arguments = env::args_os();
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    let mut child = command.args(arguments).env(DO_NOT_WAIT, "1").spawn()?;
    loop {
        if signals.pending().next().is_some() {
            end(&mut child);
            process::exit(0);
        }
        if let Some(status) = child.try_wait()? {
            process::exit(status.code().unwrap_or(1));
        }
        if let Some(plan) = plan() {
            end(&mut child);
            return Ok(plan);
        }
        thread::sleep(LOOK);
    }
}

/// The child holds nothing that must be saved.
fn end(child: &mut Child) {
    // Without the capability `KILL`, a process may only end those of its own user.
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
    fn root_waits_for_a_socket_and_for_nothing_else() {
        let plan = |address: &Address| plan(KEPT, address);
        let tcp = "tcp://proxy:2375".parse().unwrap();
        assert_eq!(plan(&tcp), Some(Plan::Drop { gid: NOBODY }));
        let nothing = Address::Unix("/nowhere/docker.sock".into());
        assert_eq!(plan(&nothing), None);
        let directory = Address::Unix("/".into());
        assert_eq!(plan(&directory), Some(Plan::Drop { gid: NOBODY }));
    }

    #[test]
    fn root_that_may_not_change_its_ids_stays_root_and_waits_for_nothing() {
        let nothing = Address::Unix("/nowhere/docker.sock".into());
        for missing in [CapabilitySet::SETUID, CapabilitySet::SETGID] {
            let plan = plan(CapabilitySet::all() - missing, &nothing);
            assert!(matches!(plan, Some(Plan::Stay(_))), "{plan:?}");
        }
    }

    #[test]
    fn root_drops_by_the_mode_of_the_socket_and_of_the_way_to_it() {
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
            let way = [(Path::new("/run"), owned(directory_gid, directory, false))];
            let path = Path::new("/run/docker.sock");
            let plan = match plan_for(path, owned(998, socket, true), way.into_iter()) {
                Some(Plan::Stay(_)) => stay(),
                plan => plan,
            };
            assert_eq!(plan, want, "{socket:o} {directory:o}");
        }
    }
}
