//! Waiting for other processes without guessing how long they take, and ending them.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take that normally takes a second or two: only a broken run ever waits that long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Sends a signal to one process; that it may be gone already is no error.
pub(crate) fn signal(pid: u32, name: &str) {
    let script = format!("kill -s {name} {pid} 2>/dev/null || :");
    Command::new("sh")
        .args(["-c", &script])
        .status()
        .expect("there should be a shell");
}

/// Tries again, some times a second, until it succeeds or the time is over: then it is the last failure.
pub(crate) fn eventually<T>(
    limit: Duration,
    mut attempt: impl FnMut() -> Result<T, String>,
) -> Result<T, String> {
    let end = Instant::now() + limit;
    loop {
        match attempt() {
            Err(_) if Instant::now() < end => thread::sleep(Duration::from_millis(50)),
            result => return result,
        }
    }
}
