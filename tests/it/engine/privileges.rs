//! Started as root, it serves as nobody: with the socket's group where the socket lets its group in, and never as
//! root where it need not be. Looked at from outside, in `/proc`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::thread::CapabilitySet;

use crate::support::dockerd::{Engine, IMAGE, SOCKET_GROUP};
use crate::support::exporter::{BINARY, Exporter, Scraped, free_port, is_down, is_up};
use crate::support::waiting::{PATIENCE, eventually};

/// The user that owns nothing, on Debian, Alpine and in Kubernetes alike.
const NOBODY: u32 = 65_534;

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn root_becomes_nobody_with_the_group_of_the_socket() {
    let engine = engine_with_an_exit();
    let exporter = Exporter::start(&engine.url());
    exporter.until("the start", |metrics| {
        is_up(metrics)?;
        for name in ["process_open_fds", "process_max_fds", "process_threads"] {
            assert!(metrics.value(name, &[]) > Some(0.0), "{name}");
        }
        Ok(())
    });
    every_thread_is(&exporter, &nobody_with(SOCKET_GROUP));
}

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn root_stays_root_where_only_the_owner_may_connect() {
    let engine = engine_with_an_exit();
    engine.set_socket_mode(0o600);
    let exporter = Exporter::start(&engine.url());
    exporter.until("the start", is_up);
    for thread in threads_that_listen(exporter.port()) {
        assert_eq!(thread.uids, [0; 4], "it said:\n{}", exporter.said());
        assert!(thread.no_new_privs);
        let powers = CapabilitySet::SYS_ADMIN | CapabilitySet::SYS_PTRACE;
        assert!(!thread.permitted.intersects(powers), "{thread:?}");
    }
    let said = exporter.said();
    let told = said.lines().filter(|line| line.contains("root")).count();
    assert_eq!(told, 1, "one line should say that it stays root:\n{said}");
}

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn without_a_socket_it_serves_as_nobody_and_takes_the_group_once_there_is_one() {
    let mut engine = Engine::absent();
    let mut exporter = Exporter::start(&engine.url());
    exporter.until("the start without a socket", is_down);
    every_thread_is(&exporter, &nobody_with(NOBODY));
    let waiting = Identity::of(Path::new(&format!("/proc/{}", exporter.pid()))).unwrap();
    assert!(waiting.no_new_privs, "{waiting:?}");
    engine.start();
    exporter.until("the socket appeared", is_up);
    every_thread_is(&exporter, &nobody_with(SOCKET_GROUP));
    let (status, _) = exporter.end_by("TERM");
    assert!(status.success(), "{status}:\n{}", exporter.said());
}

/// Nobody else can enter its folder or execute its file, and both are gone by the time the socket appears.
#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn a_program_that_only_root_may_execute_becomes_nobody_all_the_same() {
    let mut engine = Engine::absent();
    let folder = engine.folder.join("private");
    fs::create_dir(&folder).unwrap();
    let binary = folder.join("exporter");
    fs::copy(BINARY, &binary).unwrap();
    for path in [&folder, &binary] {
        fs::set_permissions(path, Permissions::from_mode(0o700)).unwrap();
    }
    let exporter = Exporter::start_binary(&binary, &engine.url(), &[]);
    exporter.until("the start without a socket", is_down);
    every_thread_is(&exporter, &nobody_with(NOBODY));
    fs::remove_dir_all(&folder).unwrap();
    engine.start();
    exporter.until("the socket appeared", is_up);
    every_thread_is(&exporter, &nobody_with(SOCKET_GROUP));
}

/// As with `docker-compose.yml`: without `KILL`, root may not end a process of another user.
#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn two_capabilities_are_enough_to_wait_for_the_socket() {
    let mut engine = Engine::absent();
    let mut exporter = start_with_capabilities(&engine, "setuid,+setgid");
    let (status, _) = exporter.end_by("TERM");
    assert!(status.success(), "{status}:\n{}", exporter.said());
    assert_eq!(threads_that_listen(exporter.port()), []);

    let exporter = start_with_capabilities(&engine, "setuid,+setgid");
    engine.start();
    exporter.until("the socket appeared", is_up);
    every_thread_is(
        &exporter,
        &Identity {
            // To take something out of this set takes `SETPCAP`.
            bounding: CapabilitySet::SETUID | CapabilitySet::SETGID,
            ..nobody_with(SOCKET_GROUP)
        },
    );
}

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn it_ends_where_it_can_neither_know_the_group_nor_start_who_serves_without() {
    let engine = Engine::absent();
    let port = free_port();
    let mut command = Command::new("unshare");
    command
        // Without /proc it does not find its own file.
        .args(["--mount", "sh", "-c"])
        .arg("mount -t tmpfs none /proc && exec \"$0\" \"$@\"")
        .args([BINARY, "--address=127.0.0.1"])
        .arg(format!("--port={port}"))
        .arg(format!("--docker-host={}", engine.url()));
    let exporter = Exporter::spawn_on(command, port);
    let ended = eventually(PATIENCE, || {
        let ended = exporter.has_ended();
        ended.then_some(()).ok_or_else(|| exporter.said())
    });
    ended.unwrap();
    let said = exporter.said();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.contains("cannot start the process that serves until"),
        "{said}"
    );
}

/// As in a container under `userns-remap`: the socket's owner and group are not among the ids that there are.
#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn a_socket_of_another_user_namespace_is_said_to_take_that_one() {
    const FIRST: u32 = 100_000;
    let engine = Engine::private();
    // It ends with the pipe.
    let mut keeper = Command::new("unshare")
        .args(["--user", "cat"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mapped = ["uid_map", "gid_map"].map(|file| {
        let path = format!("/proc/{}/{file}", keeper.id());
        // Refused until it has a namespace of its own.
        let map = || fs::write(&path, format!("0 {FIRST} 65536")).map_err(|e| e.to_string());
        eventually(PATIENCE, map)
    });
    let port = free_port();
    let mut command = Command::new("nsenter");
    command
        .args(["--user", "--setuid=0", "--setgid=0"])
        .arg(format!("--target={}", keeper.id()))
        .args([BINARY, "--address=127.0.0.1", "--interval=1"])
        .arg(format!("--port={port}"))
        .arg(format!("--docker-host={}", engine.url()));
    let exporter = Exporter::spawn_on(command, port);
    exporter.until("the start", is_down);
    keeper.wait().unwrap();
    assert_eq!(mapped, [Ok(()), Ok(())]);
    let said = exporter.said();
    assert!(said.contains("run it with --userns host"), "{said}");
    for thread in threads_that_listen(port) {
        assert_eq!(thread.uids, [FIRST + NOBODY; 4], "{said}");
    }
}

/// Starts it as root with these capabilities alone, without a socket.
fn start_with_capabilities(engine: &Engine, capabilities: &str) -> Exporter {
    let port = free_port();
    let mut command = Command::new("setpriv");
    command
        .arg(format!("--bounding-set=-all,+{capabilities}"))
        .args([BINARY, "--address=127.0.0.1", "--interval=1"])
        .arg(format!("--port={port}"))
        .arg(format!("--docker-host={}", engine.url()));
    let exporter = Exporter::spawn_on(command, port);
    exporter.until("the start without a socket", is_down);
    exporter
}

fn engine_with_an_exit() -> Engine {
    let engine = Engine::private();
    engine.run("three", &["--network", "none", IMAGE, "sh", "-c", "exit 3"]);
    engine
}

/// The rights of a thread: real, effective, saved and file-system ids, the groups beside, and what it could get.
#[derive(Debug, PartialEq)]
struct Identity {
    uids: Vec<u32>,
    gids: Vec<u32>,
    groups: Vec<u32>,
    /// Effective and inheritable ones are no more than these.
    permitted: CapabilitySet,
    inheritable: CapabilitySet,
    bounding: CapabilitySet,
    no_new_privs: bool,
}

fn nobody_with(gid: u32) -> Identity {
    Identity {
        uids: vec![NOBODY; 4],
        gids: vec![gid; 4],
        groups: Vec::new(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
        bounding: CapabilitySet::empty(),
        no_new_privs: true,
    }
}

impl Identity {
    fn of(thread: &Path) -> Option<Self> {
        let status = fs::read_to_string(thread.join("status")).ok()?;
        let words = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.unwrap_or_default().split_whitespace()
        };
        let numbers = |key| words(key).map(|word| word.parse().unwrap()).collect();
        let capabilities = |key| {
            let bits = words(key).next().unwrap();
            CapabilitySet::from_bits_retain(u64::from_str_radix(bits, 16).unwrap())
        };
        Some(Self {
            uids: numbers("Uid:"),
            gids: numbers("Gid:"),
            groups: numbers("Groups:"),
            permitted: capabilities("CapPrm:"),
            inheritable: capabilities("CapInh:"),
            bounding: capabilities("CapBnd:"),
            no_new_privs: words("NoNewPrivs:").next() == Some("1"),
        })
    }
}

/// Checks all threads of whoever serves; there is at least one.
fn every_thread_is(exporter: &Exporter, expected: &Identity) {
    let threads = threads_that_listen(exporter.port());
    assert!(!threads.is_empty(), "nobody listens");
    for thread in threads {
        assert_eq!(thread, *expected, "it said:\n{}", exporter.said());
    }
}

/// Who the threads are of the processes that hold the listening socket of a port.
fn threads_that_listen(port: u16) -> Vec<Identity> {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let listening = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|columns| {
            columns.len() > 9 && columns[1].ends_with(&format!(":{port:04X}")) && columns[3] == "0A"
        });
    let Some(listening) = listening else {
        return Vec::new();
    };
    let socket = format!("socket:[{}]", listening[9]);
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    let holds = |process: &Path| {
        entries(&process.join("fd"))
            .filter_map(|file| fs::read_link(file.path()).ok())
            .any(|target| target.as_os_str() == socket.as_str())
    };
    entries(Path::new("/proc"))
        .filter(|process| holds(&process.path()))
        .flat_map(|process| entries(&process.path().join("task")))
        .filter_map(|thread| Identity::of(&thread.path()))
        .collect()
}
