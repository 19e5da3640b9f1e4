//! The standard `process_*` metrics, from `/proc/self`.
//!
//! The collector of the `prometheus` crate counts whole seconds of CPU. This program uses a few
//! milliseconds a minute, so it would show nothing for hours.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, IntGauge};

/// Clock ticks per second in `/proc`: `USER_HZ`, fixed at 100 on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// Reads `/proc/self` at each scrape. A value that cannot be read keeps its last state.
///
/// The start time is the time of [`ProcessMetrics::new`]. Computing it from `/proc` needs the
/// host's uptime, which `ProcSubset=pid` hides and lxcfs changes.
#[derive(Debug)]
pub(crate) struct ProcessMetrics {
    cpu_seconds: Counter,
    open_fds: IntGauge,
    max_fds: IntGauge,
    virtual_bytes: IntGauge,
    resident_bytes: IntGauge,
    start_seconds: IntGauge,
    threads: IntGauge,
}

impl ProcessMetrics {
    /// The metrics of a process that starts now.
    pub(crate) fn new() -> prometheus::Result<Self> {
        let metrics = Self {
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
            start_seconds: IntGauge::new(
                "process_start_time_seconds",
                "Start time of the process since unix epoch in seconds.",
            )?,
            threads: IntGauge::new("process_threads", "Number of OS threads in the process.")?,
        };
        metrics.start_seconds.set(now());
        Ok(metrics)
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
            // Concurrent scrapes must not decrease the counter.
            self.cpu_seconds
                .inc_by((seconds - self.cpu_seconds.get()).max(0.0));
        }
        // The clock may have been set back. The start must not be in the future.
        self.start_seconds.set(self.start_seconds.get().min(now()));
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
            // Reading the directory opens one more.
            let count = entries.count().saturating_sub(1);
            self.open_fds.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}

impl Collector for ProcessMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.parts().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.read();
        let parts = self.parts();
        parts.into_iter().flat_map(Collector::collect).collect()
    }
}

/// The limit of open files of this process.
pub(crate) fn max_descriptors() -> Option<usize> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let limit = number_after(&limits, "Max open files")?;
    usize::try_from(limit).ok()
}

/// The known limit of threads of this process: the lower of its cgroup's (as seen inside a
/// container) and its user's.
pub(crate) fn max_threads() -> Option<usize> {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let of_user = number_after(&limits, "Max processes").and_then(|it| usize::try_from(it).ok());
    let files = ["/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"];
    let of_cgroup = files
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok());
    of_cgroup.chain(of_user).min()
}

/// CPU time in ticks, from the text of `/proc/PID/stat` (proc(5)).
fn cpu_ticks(stat: &str) -> Option<f64> {
    // The second field is the program's name in parentheses, with any characters.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    Some(field(14)? + field(15)?)
}

/// The Unix time in seconds.
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
        let process = ProcessMetrics::new().unwrap();
        let families = process.collect();
        assert_eq!(families.len(), 7);
        assert!(process.resident_bytes.get() > 0);
        assert!(process.open_fds.get() > 0);
        let age = now() - process.start_seconds.get();
        assert!((0..3600).contains(&age), "it started {age} s ago");
    }

    #[test]
    fn the_start_is_never_in_the_future() {
        let process = ProcessMetrics::new().unwrap();
        process.start_seconds.set(now() + 3600);
        process.collect();
        assert!(process.start_seconds.get() <= now());
        process.start_seconds.set(7);
        process.collect();
        assert_eq!(process.start_seconds.get(), 7, "it stays what it was");
    }
}
