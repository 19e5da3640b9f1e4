//! A real Docker Engine for tests: a `dockerd` of their own, which shares nothing with any other one on this machine
//! (data, sockets, containerd, and no bridge, addresses or firewall rules at all) and leaves nothing behind.
//!
//! `DOCKER_EXIT_EXPORTER_TEST_ENGINE=unix:///path/to/docker.sock` names an Engine to use instead, for the tests that
//! neither stop it nor change its socket.

use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use super::machine::{Machine, Switch};
use super::waiting::{PATIENCE, eventually, signal};

/// The image that every container of the tests is made of, except the exporter's own.
pub(crate) const IMAGE: &str = "docker-exit-exporter-test-busybox";

/// So many events an Engine remembers, of all types.
const REMEMBERED: usize = 256;

/// The group of a private daemon's socket: one that no machine has.
pub(crate) const SOCKET_GROUP: u32 = 47_110;

/// Debian's client first: it has `BuildKit` built in, where other ones want a plugin for it.
const CLIENTS: [&str; 2] = ["/usr/bin/docker", "docker"];

/// An Engine, and the containers that one test made in it.
pub(crate) struct Engine {
    /// Scratch space of this test, readable for every user, gone at the end.
    pub(crate) folder: PathBuf,
    socket: PathBuf,
    prefix: String,
    daemon: Option<Child>,
    /// Options of this daemon alone.
    options: &'static [&'static str],
    /// Where the daemon runs, if not on this machine.
    machine: Option<Machine>,
    /// Whether the daemon left containers behind that run without one.
    orphans: bool,
}

impl Engine {
    /// The Engine that the environment names, or a private one.
    pub(crate) fn new() -> Self {
        match std::env::var("DOCKER_EXIT_EXPORTER_TEST_ENGINE") {
            Ok(url) => {
                let path = url
                    .strip_prefix("unix://")
                    .expect("DOCKER_EXIT_EXPORTER_TEST_ENGINE takes unix:///path");
                let mut engine = Self::absent();
                engine.socket = PathBuf::from(path);
                engine.until_it_answers();
                engine.import_image();
                engine
            }
            Err(_) => Self::private(),
        }
    }

    /// A private one, running.
    pub(crate) fn private() -> Self {
        Self::private_with(&[])
    }

    /// A private one, running with these options.
    pub(crate) fn private_with(options: &'static [&'static str]) -> Self {
        let mut engine = Self::absent();
        engine.options = options;
        engine.start();
        engine.import_image();
        engine
    }

    /// A private one in a network of its own, running: to form a Swarm takes fixed ports and makes a bridge. Its containers
    /// find its socket where any other one's is, in `/var/run`.
    pub(crate) fn private_with_network() -> Self {
        let mut engine = Self::absent();
        engine.machine = Some(Machine::alone(&engine.folder));
        engine.start();
        engine.import_image();
        engine
    }

    /// A private one on a machine of this number, running. Its containers find its socket in `/var/run`.
    pub(crate) fn private_on(switch: &Switch, number: u8) -> Self {
        let mut engine = Self::absent();
        engine.machine = Some(Machine::joined(&engine.folder, switch, number));
        engine.start();
        engine.import_image();
        engine
    }

    /// A private one that does not run yet: there is not even a socket.
    pub(crate) fn absent() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let prefix = format!(
            "dee-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let folder = std::env::temp_dir().join(&prefix);
        fs::create_dir(&folder).expect("the temporary folder should be writable");
        fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
        Self {
            socket: folder.join("docker.sock"),
            folder,
            prefix,
            daemon: None,
            options: &[],
            machine: None,
            orphans: false,
        }
    }

    /// Starts the private daemon and waits until it answers.
    pub(crate) fn start(&mut self) {
        assert!(self.daemon.is_none(), "it runs already");
        assert_eq!(
            fs::metadata("/proc/self").unwrap().uid(),
            0,
            "a Docker daemon of one's own needs root"
        );
        let path = |name: &str| self.folder.join(name).display().to_string();
        let log = File::options()
            .create(true)
            .append(true)
            .open(path("dockerd.log"))
            .unwrap();
        let mut command = match &self.machine {
            Some(machine) => machine.command("dockerd"),
            None => Command::new("dockerd"),
        };
        let daemon = command
            .args([
                "--host",
                &self.url(),
                "--group",
                &SOCKET_GROUP.to_string(),
                "--pidfile",
                &path("pid"),
            ])
            .args(["--data-root", &path("data"), "--exec-root", &path("exec")])
            .args(["--exec-opt", "native.cgroupdriver=cgroupfs"])
            .args([
                "--bridge=none",
                "--iptables=false",
                "--ip6tables=false",
                "--ip-masq=false",
                "--ip-forward=false",
            ])
            .args(self.options)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|e| {
                panic!(
                    "dockerd did not start ({e}): is Docker's Engine installed (Debian: docker.io)?"
                )
            });
        self.daemon = Some(daemon);
        self.orphans = false;
        self.until_it_answers();
    }

    /// Ends the private daemon with no chance to tell anybody. Its containers go on, and it is to be started again.
    pub(crate) fn kill(&mut self) {
        let mut daemon = self.daemon.take().expect("it does not run");
        let containerd = fs::read_to_string(self.folder.join("exec/containerd/containerd.pid"));
        self.orphans = true;
        daemon.kill().and_then(|()| daemon.wait()).unwrap();
        // That one ends with its parent, but not at the same moment, and a new daemon would rely on it.
        until_gone(containerd.unwrap().trim());
    }

    /// Stops the private daemon where it stands: it answers nobody, and its containers go on.
    pub(crate) fn freeze(&self) {
        signal(self.daemon.as_ref().expect("it does not run").id(), "STOP");
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        signal(self.daemon.as_ref().expect("it does not run").id(), "CONT");
    }

    /// Ends the private daemon the way the system does, and with it its containers, but for `--live-restore`.
    pub(crate) fn stop(&mut self) {
        let Some(mut daemon) = self.daemon.take() else {
            return;
        };
        self.orphans = self.options.contains(&"--live-restore");
        signal(daemon.id(), "TERM");
        let ended = eventually(PATIENCE, || match daemon.try_wait() {
            Ok(Some(_)) => Ok(()),
            other => Err(format!("dockerd does not end: {other:?}")),
        });
        if let Err(why) = ended {
            let containerd = fs::read_to_string(self.folder.join("exec/containerd/containerd.pid"));
            let _ = daemon.kill().and_then(|()| daemon.wait());
            if let Some(pid) = containerd.ok().and_then(|pid| pid.trim().parse().ok()) {
                signal(pid, "KILL");
            }
            eprintln!("{why}");
        }
    }

    /// What `--docker-host` takes.
    pub(crate) fn url(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// The socket's path.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// The group that may use the socket.
    pub(crate) fn socket_group(&self) -> u32 {
        fs::metadata(&self.socket).unwrap().gid()
    }

    /// Changes who may use the socket of the private daemon.
    pub(crate) fn set_socket_mode(&self, mode: u32) {
        assert!(self.daemon.is_some(), "the socket is not this test's own");
        fs::set_permissions(&self.socket, Permissions::from_mode(mode)).unwrap();
    }

    /// The full name of a container of this test.
    pub(crate) fn name(&self, short: &str) -> String {
        format!("{}-{short}", self.prefix)
    }

    /// `docker run` under that name with these options, image and command; what it printed, whatever its status.
    pub(crate) fn run(&self, short: &str, arguments: &[&str]) -> String {
        let name = self.name(short);
        let mut all = vec!["run", "--name", &name];
        all.extend(arguments);
        self.try_docker(&all).unwrap_or_else(|failed| failed)
    }

    /// Runs a command of the Docker client; what it printed.
    ///
    /// # Panics
    ///
    /// If it failed.
    pub(crate) fn docker(&self, arguments: &[&str]) -> String {
        self.try_docker(arguments)
            .unwrap_or_else(|failed| panic!("docker {arguments:?}: {failed}"))
    }

    /// Runs a command of the Docker client; what it printed.
    ///
    /// # Errors
    ///
    /// What it printed, if it failed.
    pub(crate) fn try_docker(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self.client(arguments);
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        } else {
            Err(both(&output))
        }
    }

    /// Runs a text as an operator does who is logged in where this Engine is.
    ///
    /// # Panics
    ///
    /// If it failed.
    pub(crate) fn shell(&self, text: &str) -> String {
        let output = Command::new("sh")
            .args(["-c", text])
            .env("DOCKER_HOST", self.url())
            .stdin(Stdio::null())
            .output()
            .expect("there should be a shell");
        let said = both(&output);
        assert!(output.status.success(), "{text}: {said}");
        said
    }

    /// Sends one POST without a body, which is far cheaper than the client.
    ///
    /// # Panics
    ///
    /// If the Engine refuses it.
    pub(crate) fn post(&self, target: &str) {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        let request = format!("POST {target} HTTP/1.0\r\nHost: docker\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(status.starts_with('2'), "POST {target}: {answer}");
    }

    /// Makes so many events that no exporter asks for that the Engine remembers none of before.
    pub(crate) fn forget_events(&self) {
        for _ in 0..REMEMBERED + REMEMBERED / 8 {
            self.post(&format!("/images/{IMAGE}/tag?repo={IMAGE}&tag=again"));
        }
    }

    /// What a container wrote, to standard output and to standard error.
    pub(crate) fn logs(&self, short: &str) -> String {
        both(&self.client(&["logs", &self.name(short)]))
    }

    fn client(&self, arguments: &[&str]) -> Output {
        let client = CLIENTS
            .iter()
            .find(|client| Path::new(client).exists())
            .unwrap_or(&CLIENTS[1]);
        Command::new(client)
            .args(arguments)
            .env_remove("DOCKER_CONTEXT")
            .env("DOCKER_HOST", self.url())
            .env("DOCKER_CONFIG", self.folder.join("client"))
            .env("DOCKER_BUILDKIT", "1")
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|e| {
                panic!("no Docker client ({e}): is it installed (Debian: docker.io)?")
            })
    }

    /// What a port answers in the network of a private one that has its own: the body of a 200.
    ///
    /// # Errors
    ///
    /// What came instead.
    pub(crate) fn get(&self, port: u16, path: &str) -> Result<String, String> {
        let daemon = self.daemon.as_ref().expect("it does not run").id();
        let mut client = Command::new("nsenter")
            .arg(format!("--net=/proc/{daemon}/ns/net"))
            .args(["busybox", "nc", "-w", "5", "127.0.0.1", &port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("there should be an nsenter");
        let mut request = client.stdin.take().unwrap();
        let sent = request.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes());
        let output = client.wait_with_output().unwrap();
        drop(request);
        let text = String::from_utf8_lossy(&output.stdout);
        match text.split_once("\r\n\r\n") {
            Some((head, body)) if head.starts_with("HTTP/1.0 200 ") => Ok(body.to_owned()),
            _ => Err(format!("no answer of {port}{path}: {sent:?}, {output:?}")),
        }
    }

    /// What `docker inspect` says of every container in the Engine, other people's too.
    ///
    /// # Errors
    ///
    /// If one vanished meanwhile.
    pub(crate) fn inspect_all(&self) -> Result<Vec<Value>, String> {
        let ids = self.docker(&["ps", "--all", "--quiet", "--no-trunc"]);
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut arguments = vec!["inspect", "--type", "container"];
        arguments.extend(ids.lines());
        serde_json::from_str(&self.try_docker(&arguments)?).map_err(|e| e.to_string())
    }

    /// What `docker inspect` says of one container of this test.
    pub(crate) fn inspect(&self, short: &str) -> Value {
        let text = self.docker(&["inspect", "--type", "container", &self.name(short)]);
        serde_json::from_str::<Value>(&text).unwrap()[0].take()
    }

    /// Whether systemd makes the containers' cgroups; a private Engine makes them itself.
    pub(crate) fn has_systemd_cgroups(&self) -> bool {
        self.docker(&["info", "--format", "{{.CgroupDriver}}"]) == "systemd"
    }

    fn until_it_answers(&mut self) {
        let answered = eventually(PATIENCE, || {
            if let Some(Ok(Some(status))) = self.daemon.as_mut().map(Child::try_wait) {
                return Ok(Err(format!("it ended: {status}")));
            }
            self.try_docker(&["version", "--format", "{{.Server.Version}}"])
                .map(Ok)
        });
        if let Err(why) = answered.and_then(|ended| ended) {
            let log = fs::read_to_string(self.folder.join("dockerd.log")).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(15).collect();
            panic!(
                "no Docker Engine at {}: {why}\n{}",
                self.url(),
                tail.into_iter().rev().collect::<Vec<_>>().join("\n")
            );
        }
    }

    /// Makes the image of one static busybox, since nothing can be pulled here.
    fn import_image(&self) {
        if self.try_docker(&["image", "inspect", IMAGE]).is_ok() {
            return; // Another test made it, in an Engine that stays.
        }
        let archive = busybox_archive(&self.folder);
        self.docker(&["import", &archive.display().to_string(), IMAGE]);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if self.daemon.is_some() {
            self.thaw(); // A test that failed may have left it frozen.
        }
        if self.orphans {
            let _ = catch_unwind(AssertUnwindSafe(|| self.start()));
        }
        // Killing them is faster than the ten seconds that the daemon would give each of them.
        let filter = format!("name=^/{}-", self.prefix);
        if let Ok(ids) = self.try_docker(&["ps", "--all", "--quiet", "--filter", &filter]) {
            let mut arguments = vec!["rm", "--force", "--volumes"];
            arguments.extend(ids.lines());
            if arguments.len() > 3 {
                let _ = self.try_docker(&arguments);
            }
        }
        self.stop();
        self.machine = None;
        unmount_below(&self.folder);
        if let Err(why) = fs::remove_dir_all(&self.folder) {
            eprintln!("{} stays behind: {why}", self.folder.display());
        }
    }
}

/// Waits for the end of a process that is not a child.
pub(crate) fn until_gone(pid: &str) {
    let process = Path::new("/proc").join(pid);
    let gone = eventually(PATIENCE, || {
        if process.exists() {
            return Err(format!("process {pid} does not end"));
        }
        Ok(())
    });
    gone.unwrap_or_else(|why| panic!("{why}"));
}

/// Packs a root folder of one static busybox to make an image of, in that folder.
pub(crate) fn busybox_archive(folder: &Path) -> PathBuf {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .iter()
        .find(|path| Path::new(path).exists());
    let busybox =
        busybox.expect("there is no busybox to make an image of (Debian: busybox-static)");
    let root = folder.join("busybox");
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::copy(busybox, root.join("bin/busybox")).unwrap();
    for applet in ["sh", "sleep", "true", "cat", "tail"] {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    let archive = folder.join("busybox.tar");
    let made = Command::new("tar")
        .arg("-C")
        .arg(&root)
        .arg("-cf")
        .arg(&archive)
        .arg(".")
        .status();
    assert!(
        made.expect("tar should be installed").success(),
        "tar failed"
    );
    archive
}

/// Everything that a command wrote.
pub(crate) fn both(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|text| String::from_utf8_lossy(text).trim().to_owned())
        .join("\n")
}

/// Removes the mounts that a daemon left in that folder, the innermost first.
pub(crate) fn unmount_below(folder: &Path) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .map(Path::new);
    for point in points
        .filter(|point| point.starts_with(folder))
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
    {
        let _ = Command::new("umount").arg("--lazy").arg(point).status();
    }
}
