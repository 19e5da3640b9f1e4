//! Starts the threads of the exporter: the server's and the collector's.

use std::net::TcpListener;
use std::sync::Arc;
use std::{io, process, thread};

use crate::collector::Collector;
use crate::config::Config;
use crate::publication::Publication;
use crate::server;
use crate::telemetry::Telemetry;

/// Starts all threads and returns. They run until the process ends. If one of them ends, the
/// process exits with status 1: an exporter that no longer collects must not look healthy.
///
/// # Errors
/// If a thread cannot be started.
pub fn start(config: &Config, listener: TcpListener) -> io::Result<()> {
    let publication = Arc::new(Publication::default());
    let telemetry = Telemetry::new();
    let collector = Collector::new(config, Arc::clone(&publication), telemetry.clone());
    server::start(listener, &publication, &telemetry, spawn)?;
    spawn("collector", move || {
        if let Err(error) = collector.run(|follow| spawn("watcher", follow)) {
            log::error!("no thread can be started to follow events: {error}");
        }
    })
}

fn spawn(name: &'static str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = thread::Builder::new().name(name.into());
    let guarded = move || {
        let _guard = ExitOnDrop(name);
        run();
    };
    thread.spawn(guarded).map(drop)
}

/// Ends the process when it is dropped, also by a panic.
struct ExitOnDrop(&'static str);

impl Drop for ExitOnDrop {
    fn drop(&mut self) {
        log::error!("the {} has failed", self.0);
        process::exit(1);
    }
}
