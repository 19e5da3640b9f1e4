//! The exporter as a process of its own, and what the system says of it.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::{Fallible, PATIENCE, go_on};

/// The package and its binary.
const EXPORTER: &str = "docker-exit-exporter";

/// The program, built from this source tree as it is released.
pub(crate) fn build() -> Fallible<PathBuf> {
    // TARGET/release/examples/load
    let this = std::env::current_exe()?;
    let target = this.ancestors().nth(3).ok_or("no target directory")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "--locked", "--package", EXPORTER])
        .arg("--target-dir")
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .map_err(|error| format!("cargo does not start: {error}"))?;
    if !status.success() {
        return Err("the exporter cannot be built".into());
    }
    Ok(target.join("release").join(EXPORTER))
}

/// A running exporter; it ends when this is dropped.
pub(crate) struct Exporter {
    child: Child,
    log: PathBuf,
    /// The nanoseconds on CPU of each thread, at the last look.
    threads: HashMap<OsString, u64>,
    pub(crate) port: u16,
    pub(crate) started: Instant,
}

impl Exporter {
    /// Starts it, with these flags besides its address and the Engine's.
    pub(crate) fn start(binary: &Path, docker_host: &str, flags: &[&str]) -> Fallible<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = std::env::temp_dir().join(format!("load-{}-{port}.log", std::process::id()));
        let mut command = Command::new(binary);
        command
            .env_clear()
            .args(["--docker-host", docker_host, "--address", "127.0.0.1"])
            .args(["--port", &port.to_string()])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?);
        let started = Instant::now();
        let child = command
            .spawn()
            .map_err(|error| format!("{} does not start: {error}", binary.display()))?;
        Ok(Self {
            child,
            log,
            threads: HashMap::new(),
            port,
            started,
        })
    }

    /// An error with what the exporter said, if it runs no more, or if this program is to end.
    pub(crate) fn check(&mut self) -> Fallible<()> {
        go_on()?;
        if let Some(status) = self.child.try_wait()? {
            let said = fs::read_to_string(&self.log).unwrap_or_default();
            return Err(format!("the exporter ended ({status}); it said:\n{said}").into());
        }
        Ok(())
    }

    /// The time on CPU of all threads, with those that have ended, as far as they were looked at.
    ///
    /// It is exact for threads that sleep.
    pub(crate) fn cpu(&mut self) -> Fallible<Duration> {
        let tasks = format!("/proc/{}/task", self.child.id());
        for task in fs::read_dir(&tasks).map_err(|error| format!("{tasks}: {error}"))? {
            let task = task?;
            // A thread may end meanwhile.
            if let Some(nanos) = on_cpu(&task.path()) {
                self.threads.insert(task.file_name(), nanos);
            }
        }
        let nanos = self.threads.values().sum();
        if nanos == 0 {
            return Err("the system tells no CPU time in /proc/PID/task/TID/schedstat".into());
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Waits until all threads have been asleep for a while, and returns their time on
    /// CPU.
    pub(crate) fn cpu_at_rest(&mut self) -> Fallible<Duration> {
        const LOOKS: u32 = 10;
        let end = Instant::now() + PATIENCE;
        let mut last = self.cpu()?;
        let mut same = 0;
        while same < LOOKS {
            if Instant::now() > end {
                return Err("the exporter is never at rest".into());
            }
            thread::sleep(Duration::from_millis(15));
            let now = self.cpu()?;
            same = if now == last { same + 1 } else { 0 };
            last = now;
        }
        self.check()?;
        Ok(last)
    }

    /// The memory that it has, in bytes: the median of some looks.
    pub(crate) fn resident(&self) -> Fallible<u64> {
        let mut looks = Vec::new();
        for _ in 0..21 {
            looks.push(self.status("VmRSS:")?);
            thread::sleep(Duration::from_millis(10));
        }
        looks.sort_unstable();
        Ok(looks[looks.len() / 2])
    }

    /// The most memory that it ever had, in bytes.
    pub(crate) fn peak(&self) -> Fallible<u64> {
        self.status("VmHWM:")
    }

    fn status(&self, key: &str) -> Fallible<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let number = line.and_then(|line| line.split_whitespace().next());
        let kib: u64 = number.ok_or("no memory in /proc/PID/status")?.parse()?;
        Ok(kib * 1024)
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
        let _ = fs::remove_file(&self.log);
    }
}

/// The time on CPU that this thread spends on some work.
pub(crate) fn cpu_of(work: impl FnOnce()) -> Fallible<Duration> {
    let now = || {
        // What runs is counted when it pauses.
        thread::sleep(Duration::from_millis(1));
        on_cpu(Path::new("/proc/thread-self")).ok_or("no /proc/thread-self/schedstat")
    };
    let before = now()?;
    work();
    Ok(Duration::from_nanos(now()? - before))
}

/// The nanoseconds on CPU of a task.
fn on_cpu(task: &Path) -> Option<u64> {
    let text = fs::read_to_string(task.join("schedstat")).ok()?;
    text.split_whitespace().next()?.parse().ok()
}
