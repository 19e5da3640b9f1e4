//! Started as root, it serves as nobody: with the socket's group where the socket lets its group in, and never as
//! root where it need not be. Looked at from outside, in `/proc`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::dockerd::{Engine, IMAGE, SOCKET_GROUP};
use crate::exporter::{BINARY, Exporter, Scraped, is_down, is_up};

/// The user that owns nothing, on Debian, Alpine and in Kubernetes alike.
const NOBODY: u32 = 65_534;

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test engine -- --ignored"]
fn root_becomes_nobody_with_the_group_of_the_socket() {
    let engine = engine_with_an_exit();
    let exporter = Exporter::start(&engine.url());
    exporter.until("the start", is_up);
    for process in listeners(exporter.port()) {
        assert_eq!(
            process,
            nobody_with(SOCKET_GROUP),
            "it said:\n{}",
            exporter.said()
        );
    }
}

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test engine -- --ignored"]
fn root_stays_root_where_only_the_owner_may_connect() {
    let engine = engine_with_an_exit();
    engine.set_socket_mode(0o600);
    let exporter = Exporter::start(&engine.url());
    exporter.until("the start", is_up);
    for process in listeners(exporter.port()) {
        assert_eq!(process.uids, [0; 4], "it said:\n{}", exporter.said());
    }
    let said = exporter.said();
    let told = said.lines().filter(|line| line.contains("root")).count();
    assert_eq!(told, 1, "one line should say that it stays root:\n{said}");
}

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test engine -- --ignored"]
fn without_a_socket_it_serves_as_nobody_and_takes_the_group_once_there_is_one() {
    let mut engine = Engine::absent();
    let mut exporter = Exporter::start(&engine.url());
    exporter.until("the start without a socket", is_down);
    for process in listeners(exporter.port()) {
        assert_eq!(process.uids, [NOBODY; 4], "it said:\n{}", exporter.said());
    }
    engine.start();
    exporter.until("the socket appeared", is_up);
    for process in listeners(exporter.port()) {
        assert_eq!(
            process,
            nobody_with(SOCKET_GROUP),
            "it said:\n{}",
            exporter.said()
        );
    }
    let (status, _) = exporter.end_by("TERM");
    assert!(status.success(), "{status}:\n{}", exporter.said());
}

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test engine -- --ignored"]
fn a_folder_that_only_root_may_enter_does_not_keep_it_from_becoming_nobody() {
    let engine = engine_with_an_exit();
    let folder = engine.folder.join("private");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
    let binary = folder.join("exporter");
    fs::copy(BINARY, &binary).unwrap();
    let exporter = Exporter::start_binary(&binary, &engine.url(), &[]);
    exporter.until("the start", is_up);
    for process in listeners(exporter.port()) {
        assert_eq!(
            process,
            nobody_with(SOCKET_GROUP),
            "it said:\n{}",
            exporter.said()
        );
    }
}

fn engine_with_an_exit() -> Engine {
    let engine = Engine::private();
    engine.run("three", &["--network", "none", IMAGE, "sh", "-c", "exit 3"]);
    engine
}

/// The rights of a process: real, effective, saved and file-system ids, and the groups beside.
#[derive(Debug, PartialEq)]
struct Identity {
    uids: Vec<u32>,
    gids: Vec<u32>,
    groups: Vec<u32>,
}

fn nobody_with(gid: u32) -> Identity {
    Identity {
        uids: vec![NOBODY; 4],
        gids: vec![gid; 4],
        groups: Vec::new(),
    }
}

impl Identity {
    fn of(process: &Path) -> Option<Self> {
        let status = fs::read_to_string(process.join("status")).ok()?;
        let numbers = |key: &str| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix(key))
                .unwrap_or("");
            line.split_whitespace()
                .map(|number| number.parse().unwrap())
                .collect()
        };
        Some(Self {
            uids: numbers("Uid:"),
            gids: numbers("Gid:"),
            groups: numbers("Groups:"),
        })
    }
}

/// Who the processes are that hold the listening socket of a port; there is at least one.
fn listeners(port: u16) -> Vec<Identity> {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let listening = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|columns| {
            columns.len() > 9 && columns[1].ends_with(&format!(":{port:04X}")) && columns[3] == "0A"
        });
    let socket = format!("socket:[{}]", listening.expect("nobody listens")[9]);
    let holds = |process: &Path| {
        let files = fs::read_dir(process.join("fd"))
            .into_iter()
            .flatten()
            .flatten();
        files
            .filter_map(|file| fs::read_link(file.path()).ok())
            .any(|target| target.as_os_str() == socket.as_str())
    };
    let processes = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .map(|entry| entry.path());
    let found: Vec<Identity> = processes
        .filter(|process| holds(process))
        .filter_map(|p| Identity::of(&p))
        .collect();
    assert!(!found.is_empty(), "no process holds {socket}");
    found
}
