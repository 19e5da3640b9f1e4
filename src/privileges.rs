//! Giving up root before anything is opened to the network.
//!
//! Root is needed for nothing but to read which group the Docker socket belongs to and to become
//! a member of it. So a process that was started as root executes itself again as uid 65534
//! (`nobody`) with the socket's group. Where there is no socket yet, its group is not known: then
//! the process starts an exporter as `nobody` without that group, waits for the socket, and takes
//! that exporter's place once the socket is there. The waiting process itself opens nothing.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;
use std::{env, io, process, thread};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::credentials::{Credentials, Ownership};
use crate::engine::Address;

/// The user, and the group where the socket's is of no use: `nobody`.
const NOBODY: u32 = 65534;

/// How often a process that waits for the socket looks for it, its child and signals.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Debug, PartialEq, Eq)]
enum Plan {
    /// There is no root to give up.
    GoOn,
    /// Become `nobody` with this group.
    Drop { gid: u32 },
    /// Stay root, for this reason.
    Stay(String),
    /// There is no socket yet.
    Wait,
}

/// Gives up root if this process has it. Returns as whoever is to serve: in most cases it does not
/// return in a process that was root.
pub fn drop_root(address: &Address) {
    loop {
        let Some(credentials) = Credentials::of_this_process() else {
            log::debug!("no /proc/self/status, so nothing is known of root");
            return;
        };
        let refused = match plan(&credentials, address) {
            Plan::GoOn => return,
            Plan::Stay(why) => {
                log::warn!("staying root: {why}");
                return;
            }
            Plan::Drop { gid } => become_nobody(gid),
            Plan::Wait => match serve_until_there_is_a_socket(address) {
                Ok(()) => continue,
                Err(error) => error,
            },
        };
        // The system may have taken root and still not run the program anew.
        let is_root = Credentials::of_this_process().is_none_or(|it| it.uid == 0);
        if is_root {
            log::warn!(
                "staying root: becoming uid {NOBODY} is refused ({refused}); \
                 it takes the capabilities SETUID and SETGID, or --user"
            );
        }
        return;
    }
}

fn plan(credentials: &Credentials, address: &Address) -> Plan {
    if credentials.uid != 0 {
        return Plan::GoOn;
    }
    let Address::Unix(path) = address else {
        return Plan::Drop { gid: NOBODY };
    };
    let Some(socket) = Ownership::of(path) else {
        return Plan::Wait;
    };
    if !socket.is_socket {
        return Plan::Drop { gid: NOBODY };
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
) -> Plan {
    let gid = if socket.mode == 0 {
        // dockerd makes it so, and then gives it its group and its mode.
        return Plan::Wait;
    } else if socket.group_may_connect() {
        socket.gid
    } else if socket.others_may_connect() {
        NOBODY
    } else {
        return Plan::Stay(format!(
            "{} gives its group nothing ({socket})",
            path.display()
        ));
    };
    match way.find(|(_, directory)| !may_enter(*directory, gid)) {
        None => Plan::Drop { gid },
        Some((directory, _)) => Plan::Stay(format!(
            "uid {NOBODY} with group {gid} cannot enter {}",
            directory.display()
        )),
    }
}

/// Whether `nobody` with this group can enter a directory.
fn may_enter(directory: Ownership, gid: u32) -> bool {
    let bit = if directory.gid == gid { 0o010 } else { 0o001 };
    directory.mode & bit != 0
}

/// This program with its arguments, as `nobody`. The standard library clears the supplementary
/// groups when it changes the user.
fn this_program(path: &Path, gid: u32) -> Command {
    let mut arguments = env::args_os();
    let mut command = Command::new(path);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command.args(arguments).gid(gid).uid(NOBODY);
    command
}

/// Executes this program anew; returns only if that fails.
fn become_nobody(gid: u32) -> io::Error {
    let error = match env::current_exe() {
        Ok(path) => this_program(&path, gid).exec(),
        Err(error) => error,
    };
    if Credentials::of_this_process().is_some_and(|it| it.uid == 0) {
        return error;
    }
    // Already nobody, who may not see the directory that the program is in.
    this_program(Path::new("/proc/self/exe"), gid).exec()
}

/// Lets a child serve as `nobody` until there is a socket, then ends it. Signals end both, and the
/// child's end is this process's.
fn serve_until_there_is_a_socket(address: &Address) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let mut child = this_program(&env::current_exe()?, NOBODY)
        .spawn()
        .or_else(|_| this_program(Path::new("/proc/self/exe"), NOBODY).spawn())?;
    let root = Credentials::of_this_process().unwrap_or(Credentials {
        uid: 0,
        gid: 0,
        groups: Vec::new(),
    });
    loop {
        if signals.pending().next().is_some() {
            end(&mut child);
            process::exit(0);
        }
        if let Some(status) = child.try_wait()? {
            process::exit(status.code().unwrap_or(1));
        }
        if plan(&root, address) != Plan::Wait {
            end(&mut child);
            return Ok(());
        }
        thread::sleep(LOOK);
    }
}

/// The child holds nothing that must be saved.
fn end(child: &mut Child) {
    if let Err(error) = child.kill().and_then(|()| child.wait()) {
        log::debug!("cannot end the process that serves: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> Credentials {
        Credentials {
            uid: 0,
            gid: 0,
            groups: vec![],
        }
    }

    #[test]
    fn who_is_not_root_goes_on() {
        let credentials = Credentials {
            uid: 1000,
            ..root()
        };
        assert_eq!(plan(&credentials, &Address::default()), Plan::GoOn);
    }

    #[test]
    fn root_waits_for_a_socket_and_for_nothing_else() {
        let tcp = "tcp://proxy:2375".parse().unwrap();
        assert_eq!(plan(&root(), &tcp), Plan::Drop { gid: NOBODY });
        let nothing = Address::Unix("/nowhere/docker.sock".into());
        assert_eq!(plan(&root(), &nothing), Plan::Wait);
        let directory = Address::Unix("/".into());
        assert_eq!(plan(&root(), &directory), Plan::Drop { gid: NOBODY });
    }

    #[test]
    fn root_drops_by_the_mode_of_the_socket_and_of_the_way_to_it() {
        let owned = |gid, mode, is_socket| Ownership {
            uid: 0,
            gid,
            mode,
            is_socket,
        };
        let stay = || Plan::Stay(String::new());
        for (socket, directory_gid, directory, want) in [
            (0o660, 0, 0o755, Plan::Drop { gid: 998 }),
            (0o666, 0, 0o755, Plan::Drop { gid: 998 }),
            (0o606, 0, 0o755, Plan::Drop { gid: NOBODY }),
            (0o600, 0, 0o755, stay()),
            (0o640, 0, 0o755, stay()),
            (0o660, 0, 0o750, stay()),
            (0o660, 998, 0o750, Plan::Drop { gid: 998 }),
            (0o660, 998, 0o705, stay()),
            (0o606, 0, 0o711, Plan::Drop { gid: NOBODY }),
            (0, 0, 0o755, Plan::Wait),
        ] {
            let way = [(Path::new("/run"), owned(directory_gid, directory, false))];
            let path = Path::new("/run/docker.sock");
            let plan = match plan_for(path, owned(998, socket, true), way.into_iter()) {
                Plan::Stay(_) => stay(),
                plan => plan,
            };
            assert_eq!(plan, want, "{socket:o} {directory:o}");
        }
    }
}
