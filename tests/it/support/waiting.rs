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

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// Tries again, some times a second, until it succeeds or the time is over: then it is the last failure.
///
/// The time is not over before a quarter of the attempts that fit into it were made: on a machine that has little time
/// for the tests it has little for what they wait for, too.
pub(crate) fn eventually<T>(
    limit: Duration,
    mut attempt: impl FnMut() -> Result<T, String>,
) -> Result<T, String> {
    let end = Instant::now() + limit;
    let mut left = limit.as_millis() / PAUSE.as_millis() / 4;
    loop {
        match attempt() {
            Err(_) if left > 0 || Instant::now() < end => thread::sleep(PAUSE),
            result => return result,
        }
        left = left.saturating_sub(1);
    }
}

/// Times something until it took no longer than `limit` once, and for [`PATIENCE`] at most; returns the quickest.
///
/// What waits for something takes as long each time, but what waits for its turn on a busy machine does not.
pub(crate) fn quickest(limit: Duration, mut once: impl FnMut() -> Duration) -> Duration {
    let mut quickest = Duration::MAX;
    let _ = eventually(PATIENCE, || {
        quickest = quickest.min(once());
        if quickest <= limit {
            Ok(())
        } else {
            Err(String::new())
        }
    });
    quickest
}
