//! The threads of the running exporter: the server's, the collector's and the watcher's.

use std::net::TcpListener;
use std::sync::Arc;
use std::{io, process, thread};

use jiff::Timestamp;

use crate::collector::Collector;
use crate::config::Config;
use crate::engine::Engine;
use crate::publication::Publication;
use crate::queue::Queue;
use crate::telemetry::Telemetry;
use crate::{server, watcher};

/// Starts everything; it runs until the process ends. If the collector or the watcher fails, the
/// process ends with status 1: an exporter that no longer collects must not look alive.
///
/// # Errors
/// If a thread cannot be started.
pub fn start(config: &Config, listener: TcpListener) -> io::Result<()> {
    let publication = Arc::new(Publication::default());
    let telemetry = Telemetry::new();
    let collector = Collector::new(config, Arc::clone(&publication), telemetry.clone());
    server::start(listener, &publication, &telemetry, spawn)?;
    let messages = Arc::new(Queue::new(watcher::QUEUE));
    if config.events {
        let requests = telemetry.engine_requests.clone();
        let mut engine = Engine::new(config.docker_host.clone(), requests);
        let started = Timestamp::now();
        let messages = Arc::clone(&messages);
        spawn("watcher", move || {
            watcher::run(&mut engine, started, &messages)
        })?;
    }
    spawn("collector", move || collector.run(&messages))
}

fn spawn(name: &'static str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = thread::Builder::new().name(name.into());
    let run = move || {
        let _end = EndProcess(name);
        run();
    };
    thread.spawn(run).map(drop)
}

/// Ends the process when its thread does.
struct EndProcess(&'static str);

impl Drop for EndProcess {
    fn drop(&mut self) {
        log::error!("the {} has failed", self.0);
        process::exit(1);
    }
}
