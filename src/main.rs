//! The program: settings, privileges, threads, signals, and what it ends with.

use std::process::ExitCode;
use std::sync::Arc;
use std::{env, io, process, thread};

use docker_exit_exporter::collector::Collector;
use docker_exit_exporter::config::{Command, Config, HELP};
use docker_exit_exporter::publication::Publication;
use docker_exit_exporter::telemetry::Telemetry;
use docker_exit_exporter::{healthcheck, privileges, server};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// The call, or a setting, is bad. Not of `healthcheck`: Docker keeps 2 for itself there.
const BAD_CALL: u8 = 2;

fn main() -> ExitCode {
    let command = match Command::read(env::args_os().skip(1), |name| env::var_os(name)) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("docker-exit-exporter: {error}");
            let healthcheck = env::args_os().any(|argument| argument == "healthcheck");
            return ExitCode::from(if healthcheck { 1 } else { BAD_CALL });
        }
    };
    let result = match command {
        Command::Help => print(HELP),
        Command::Version => print(concat!(
            env!("CARGO_PKG_NAME"),
            " ",
            env!("CARGO_PKG_VERSION"),
            "\n"
        )),
        Command::Healthcheck(config) => healthcheck::ask(config.listen),
        Command::Once(config) => {
            // Standard error is for the one line that says why there are no metrics.
            start_log("off");
            once(&config)
        }
        Command::Serve(config) => {
            start_log("info");
            serve(&config)
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("docker-exit-exporter: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start_log(level: &str) {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(level)).init();
}

fn print(text: &str) -> Result<(), String> {
    use io::Write;
    // Not `print!`: it panics where the reader has left, as in `--once | head`.
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.to_string()),
        _ => Ok(()),
    }
}

fn once(config: &Config) -> Result<(), String> {
    let publication = Arc::new(Publication::default());
    let telemetry = Telemetry::new();
    let mut collector = Collector::new(config, Arc::clone(&publication), telemetry.clone());
    collector.collect().map_err(|error| error.to_string())?;
    print(&publication.get().text)?;
    print(&telemetry.render())
}

fn serve(config: &Config) -> Result<(), String> {
    privileges::drop_root(&config.docker_host);
    // Before anything else, since PID 1 ignores what it does not handle.
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(|error| error.to_string())?;
    let publication = Arc::new(Publication::default());
    let telemetry = Telemetry::new();
    let collector = Collector::new(config, Arc::clone(&publication), telemetry.clone());
    let listener = server::bind(config.listen)
        .map_err(|error| format!("cannot listen on {}: {error}", config.listen))?;
    log::info!(
        "{} {} on http://{}, watching {}",
        env!("CARGO_PKG_NAME"),
        env!("CARGO_PKG_VERSION"),
        config.listen,
        config.docker_host
    );
    server::start(listener, &publication, &telemetry).map_err(|error| error.to_string())?;
    thread::Builder::new()
        .name("collector".into())
        .spawn(move || {
            let _end = EndProcess;
            collector.run()
        })
        .map_err(|error| error.to_string())?;
    if let Some(signal) = signals.forever().next() {
        log::info!("stopping on signal {signal}");
    }
    Ok(())
}

/// Ends the process with its thread: an exporter that no longer collects must not look alive.
struct EndProcess;

impl Drop for EndProcess {
    fn drop(&mut self) {
        log::error!("the collector has failed");
        process::exit(1);
    }
}
