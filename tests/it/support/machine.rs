//! Machines for tests: each has a network, mounts and a host name of its own. A switch joins some of them, and leads
//! nowhere else. The namespaces end with the process that keeps them, so nothing of them is left behind.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The first three bytes of every address on a switch. It is no address of this machine.
const SUBNET: &str = "10.47.0";

/// A network that joins machines by a bridge.
pub(crate) struct Switch {
    keeper: Child,
}

impl Switch {
    pub(crate) fn new() -> Self {
        const SCRIPT: &str = "
            busybox ip link set lo up
            busybox ip link add name switch type bridge
            busybox ip addr add $0.1/24 dev switch
            busybox ip link set switch up";
        Self {
            keeper: keep(&["--net"], SCRIPT, &[SUBNET]),
        }
    }

    /// What runs that program in this network. It sees the files of the tests.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        let network = format!("--net={}", network(&self.keeper));
        command.args([&network, "--", program]);
        command
    }

    /// Runs this in a thread that is in this network.
    pub(crate) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let network = File::open(network(&self.keeper)).unwrap();
        let work = || {
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        };
        thread::scope(|scope| scope.spawn(work).join()).expect("the work should not panic")
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        end(&mut self.keeper);
    }
}

/// A machine. Its `/run` is a folder of the test.
pub(crate) struct Machine {
    keeper: Child,
}

impl Machine {
    /// One that is joined to nothing.
    pub(crate) fn alone(run: &Path) -> Self {
        let script = "busybox ip link set lo up; mount --bind \"$0\" /run";
        Self {
            keeper: keep(&["--net", "--mount"], script, &[&run.display().to_string()]),
        }
    }

    /// One that is called `node-<number>`, and has the [`address`] of this number on the switch.
    pub(crate) fn joined(run: &Path, switch: &Switch, number: u8) -> Self {
        // The cable's other end is moved into the switch's network, and plugged in there.
        const SCRIPT: &str = "
            busybox ip link set lo up
            mount --bind $0 /run
            busybox hostname $1
            busybox ip link add name eth0 type veth
            busybox ip link set veth0 name $1
            busybox ip link set $1 netns $2
            busybox ip addr add $3/24 dev eth0
            busybox ip link set eth0 up
            nsenter --net=/proc/$2/ns/net busybox ip link set $1 master switch
            nsenter --net=/proc/$2/ns/net busybox ip link set $1 up";
        let arguments = [
            &run.display().to_string(),
            &hostname(number),
            &switch.keeper.id().to_string(),
            &address(number),
        ];
        Self {
            keeper: keep(
                &["--net", "--mount", "--uts"],
                SCRIPT,
                &arguments.map(String::as_str),
            ),
        }
    }

    /// What runs that program on this machine.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        let target = format!("--target={}", self.keeper.id());
        command.args([&target, "--net", "--mount", "--uts", "--", program]);
        command
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        end(&mut self.keeper);
    }
}

/// What a machine is called.
pub(crate) fn hostname(number: u8) -> String {
    format!("node-{number}")
}

/// The address that a machine has on its switch.
pub(crate) fn address(number: u8) -> String {
    format!("{SUBNET}.1{number}")
}

/// Makes new namespaces of these kinds, runs the script in them, and keeps them until its standard input ends: so they
/// end with the test, however it ends.
fn keep(kinds: &[&str], script: &str, arguments: &[&str]) -> Child {
    let script = format!("set -e; {script}\necho ready; exec cat");
    let mut keeper = Command::new("unshare")
        .args(kinds)
        .args(["--", "sh", "-c", &script])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("there should be an unshare");
    let mut line = String::new();
    BufReader::new(keeper.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "ready\n", "a machine needs root and busybox");
    keeper
}

fn network(keeper: &Child) -> String {
    format!("/proc/{}/ns/net", keeper.id())
}

fn end(keeper: &mut Child) {
    let _ = keeper.kill().and_then(|()| keeper.wait());
}
