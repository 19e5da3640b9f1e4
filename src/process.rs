//! The standard `process_*` metrics, from `/proc/self`.
//!
//! The `prometheus` crate has a collector of its own, which counts whole seconds of CPU: of a
//! program that takes a few milliseconds a minute it would show nothing for hours.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, IntGauge};

/// Clock ticks in a second as `/proc` counts them: `USER_HZ`, fixed at 100 on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// Reads `/proc/self` at each scrape. What cannot be read keeps its last value.
///
/// When the process started is not read from there: `ProcSubset=pid` hides the uptime of the host
/// that this would take, and lxcfs shows another one. It is the time at which this was made.
#[derive(Debug)]
pub(crate) struct Process {
    cpu_seconds: Counter,
    open_fds: IntGauge,
    max_fds: IntGauge,
    virtual_bytes: IntGauge,
    resident_bytes: IntGauge,
    start_seconds: IntGauge,
    threads: IntGauge,
}

impl Process {
    /// Those of a process that has just started.
    pub(crate) fn new() -> prometheus::Result<Self> {
        let start_seconds = IntGauge::new(
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
        )?;
        start_seconds.set(now());
        Ok(Self {
            cpu_seconds: Counter::new(
                "process_cpu_seconds_total",
                "Total user and system CPU time spent in seconds.",
            )?,
            open_fds: IntGauge::new("process_open_fds", "Number of open file descriptors.")?,
            max_fds: IntGauge::new(
                "process_max_fds",
                "Maximum number of open file descriptors.",
            )?,
            virtual_bytes: IntGauge::new(
                "process_virtual_memory_bytes",
                "Virtual memory size in bytes.",
            )?,
            resident_bytes: IntGauge::new(
                "process_resident_memory_bytes",
                "Resident memory size in bytes.",
            )?,
            start_seconds,
            threads: IntGauge::new("process_threads", "Number of OS threads in the process.")?,
        })
    }

    fn parts(&self) -> [&dyn Collector; 7] {
        [
            &self.cpu_seconds,
            &self.open_fds,
            &self.max_fds,
            &self.virtual_bytes,
            &self.resident_bytes,
            &self.start_seconds,
            &self.threads,
        ]
    }

    fn read(&self) {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        if let Some(ticks) = cpu_ticks(&read("/proc/self/stat")) {
            let seconds = ticks / TICKS_PER_SECOND;
            // Two scrapes at a time must not make it go back.
            self.cpu_seconds
                .inc_by((seconds - self.cpu_seconds.get()).max(0.0));
        }
        // The clock was set back since: a start in the future would be wrong for sure.
        let start = self.start_seconds.get().min(now());
        self.start_seconds.set(start);
        let status = read("/proc/self/status");
        for (name, gauge, factor) in [
            ("VmSize:", &self.virtual_bytes, 1024),
            ("VmRSS:", &self.resident_bytes, 1024),
            ("Threads:", &self.threads, 1),
        ] {
            if let Some(number) = number_after(&status, name) {
                gauge.set(number * factor);
            }
        }
        if let Some(limit) = max_descriptors() {
            self.max_fds.set(i64::try_from(limit).unwrap_or(i64::MAX));
        }
        if let Ok(entries) = fs::read_dir("/proc/self/fd") {
            // One is open for this look itself.
            let count = entries.count().saturating_sub(1);
            self.open_fds.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        let parts = self.parts().into_iter();
        parts.flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.read();
        let parts = self.parts().into_iter();
        parts.flat_map(Collector::collect).collect()
    }
}

/// How many files this process may have open.
pub(crate) fn max_descriptors() -> Option<usize> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let limit = number_after(&limits, "Max open files")?;
    usize::try_from(limit).ok()
}

/// How many threads there may be in this process, as far as a limit on them is known: that of its
/// cgroup, as seen in a container of its own, or that of its user.
pub(crate) fn max_threads() -> Option<usize> {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let of_user = number_after(&limits, "Max processes").and_then(|it| usize::try_from(it).ok());
    let files = ["/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"];
    let of_cgroup = files.iter().filter_map(|path| {
        let text = fs::read_to_string(path).ok()?;
        text.trim().parse().ok()
    });
    of_cgroup.chain(of_user).min()
}

/// CPU time in ticks, from the text of `/proc/PID/stat` (proc(5)).
fn cpu_ticks(stat: &str) -> Option<f64> {
    // The second field is the program's name in parentheses and may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    Some(field(14)? + field(15)?)
}

/// Seconds since 1970.
fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX))
}

/// The first number after `name` at the start of a line.
fn number_after(text: &str, name: &str) -> Option<i64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_stat_with_a_hostile_name() {
        let stat = "7 (a) R (b c) S 1 7 7 0 -1 4194560 98 0 0 0 250 50 0 0 20 0 3 0 4711 8892416 1";
        assert_eq!(cpu_ticks(stat), Some(300.0));
        assert_eq!(cpu_ticks("7 (a"), None);
        assert_eq!(cpu_ticks("7 (a) S 1"), None);
    }

    #[test]
    fn numbers_of_proc_files() {
        let text = "VmSize:\t    8684 kB\nThreads:\t3\n";
        assert_eq!(number_after(text, "VmSize:"), Some(8684));
        assert_eq!(number_after(text, "Threads:"), Some(3));
        assert_eq!(number_after(text, "VmRSS:"), None);
        let limits = "Max open files            20000                20000                files\n";
        assert_eq!(number_after(limits, "Max open files"), Some(20000));
        assert_eq!(
            number_after("Max open files unlimited", "Max open files"),
            None
        );
    }

    #[test]
    fn this_process_has_all_seven() {
        let process = Process::new().unwrap();
        let families = process.collect();
        assert_eq!(families.len(), 7);
        assert!(process.resident_bytes.get() > 0);
        assert!(process.open_fds.get() > 0);
        let age = now() - process.start_seconds.get();
        assert!((0..3600).contains(&age), "it started {age} s ago");
    }

    #[test]
    fn the_start_is_never_in_the_future() {
        let process = Process::new().unwrap();
        process.start_seconds.set(now() + 3600);
        process.collect();
        assert!(process.start_seconds.get() <= now());
        process.start_seconds.set(7);
        process.collect();
        assert_eq!(process.start_seconds.get(), 7, "it stays what it was");
    }
}
