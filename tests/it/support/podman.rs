//! A real Podman for tests: a service and containers of their own, which share nothing with any other ones on this
//! machine (images, locks, events, settings) and leave nothing behind.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use super::dockerd::{both, busybox_archive, unmount_below};
use super::waiting::{PATIENCE, eventually, signal};

/// The image that every container is made of, by its full name, as Podman tells it.
pub(crate) const IMAGE: &str = "localhost/docker-exit-exporter-test-busybox:latest";

/// What the machine's own settings are replaced by. Limits that are lower than those of any machine, since a sandbox may
/// not raise them; and no network, since none may be there.
const SETTINGS: &str = r#"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
netns = "none"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
"#;

/// A Podman and its service.
pub(crate) struct Podman {
    folder: PathBuf,
    prefix: String,
    service: Option<Child>,
}

impl Podman {
    /// A new one with an image, whose service runs.
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        is_installed();
        let prefix = format!(
            "dee-podman-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let folder = std::env::temp_dir().join(&prefix);
        fs::create_dir(&folder).expect("the temporary folder should be writable");
        fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
        let settings = format!("{SETTINGS}tmp_dir = \"{}/tmp\"\n", folder.display());
        fs::write(folder.join("containers.conf"), settings).unwrap();
        let mut podman = Self {
            folder,
            prefix,
            service: None,
        };
        let runtime = podman.podman(&["info", "--format", "{{.Host.OCIRuntime.Name}}"]);
        assert_eq!(runtime, "runc", "these should be its settings");
        let archive = busybox_archive(&podman.folder);
        podman.podman(&["import", &archive.display().to_string(), IMAGE]);
        podman.start();
        podman
    }

    /// Starts the service and waits until it answers.
    pub(crate) fn start(&mut self) {
        assert!(self.service.is_none(), "it runs already");
        let log = self.folder.join("service.log");
        let open = || File::options().create(true).append(true).open(&log);
        let (log, socket) = (open().unwrap(), self.folder.join("podman.sock"));
        let service = self
            .command(&["system", "service", "--time=0", &self.url()])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.service = Some(service);
        let answers = eventually(PATIENCE, || {
            UnixStream::connect(&socket).map_err(|e| e.to_string())
        });
        answers.unwrap_or_else(|why| {
            let log = fs::read_to_string(self.folder.join("service.log"));
            panic!("Podman's service does not answer: {why}\n{log:?}")
        });
    }

    /// Ends the service with this signal. Containers go on, and new ones can be run.
    pub(crate) fn end_by(&mut self, name: &str) {
        let mut service = self.service.take().expect("it does not run");
        signal(service.id(), name);
        service.wait().unwrap();
    }

    /// What `--docker-host` takes.
    pub(crate) fn url(&self) -> String {
        format!("unix://{}", self.folder.join("podman.sock").display())
    }

    /// The full name of a container of this test.
    pub(crate) fn name(&self, short: &str) -> String {
        format!("{}-{short}", self.prefix)
    }

    /// Runs a container of this Compose service, in the background, whose name is the service's.
    pub(crate) fn run(&self, service: &str, options: &[&str], command: &[&str]) {
        self.make(&["run", "--detach"], service, options, command);
    }

    /// Makes such a container, and does not start it.
    pub(crate) fn create(&self, service: &str, options: &[&str], command: &[&str]) {
        self.make(&["create"], service, options, command);
    }

    fn make(&self, how: &[&str], service: &str, options: &[&str], command: &[&str]) {
        let name = self.name(service);
        let project = format!(
            "--label=com.docker.compose.project={}",
            crate::engine::workloads::PROJECT
        );
        let label = format!("--label=com.docker.compose.service={service}");
        let named = ["--name", &name, &project, &label];
        self.podman(&[how, &named[..], options, &[IMAGE], command].concat());
    }

    /// Runs a command, with the service or without; what it printed.
    ///
    /// # Panics
    ///
    /// If it failed.
    pub(crate) fn podman(&self, arguments: &[&str]) -> String {
        self.try_podman(arguments)
            .unwrap_or_else(|failed| panic!("podman {arguments:?}: {failed}"))
    }

    /// Runs a command, with the service or without; what it printed.
    ///
    /// # Errors
    ///
    /// What it printed, if it failed.
    pub(crate) fn try_podman(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self.command(arguments).output().unwrap();
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        } else {
            Err(both(&output))
        }
    }

    /// What `podman inspect` says of a container.
    pub(crate) fn inspect(&self, short: &str) -> Value {
        let text = self.podman(&["inspect", "--type", "container", &self.name(short)]);
        serde_json::from_str::<Value>(&text).unwrap()[0].take()
    }

    /// Starts a container that was created, so that it is told whether the OOM killer came: before 5.0 Podman finds
    /// conmon's note of it only if the container was started from its own folder.
    pub(crate) fn start_with_notes(&self, short: &str) {
        let folder = self.inspect(short)["StaticDir"].take();
        let started = self
            .command(&["start", &self.name(short)])
            .current_dir(folder.as_str().unwrap())
            .output();
        let output = started.unwrap();
        assert!(output.status.success(), "podman start: {}", both(&output));
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("podman");
        command
            // conmon leaves a note in it when the OOM killer comes.
            .current_dir(&self.folder)
            .env("CONTAINERS_CONF", self.folder.join("containers.conf"))
            .arg("--root")
            .arg(self.folder.join("root"))
            .arg("--runroot")
            .arg(self.folder.join("runroot"))
            .args(["--storage-driver", "vfs"])
            .args(arguments)
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = self.try_podman(&["rm", "--all", "--force", "--time", "0"]);
        if self.service.is_some() {
            self.end_by("KILL");
        }
        unmount_below(&self.folder);
        if let Err(why) = fs::remove_dir_all(&self.folder) {
            eprintln!("{} stays behind: {why}", self.folder.display());
        }
    }
}

/// Says what is missing, if something is.
fn is_installed() {
    for program in ["podman", "runc"] {
        let output = Command::new(program).arg("--version").output();
        let output = output.unwrap_or_else(|e| {
            panic!("{program} did not start ({e}): is it installed (Debian: {program})?")
        });
        assert!(output.status.success(), "{program}: {}", both(&output));
    }
}
