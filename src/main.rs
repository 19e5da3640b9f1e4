//! The program: settings, privileges, threads, signals, and what it ends with.

use std::io::Write;
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;
use std::{env, io};

use docker_exit_exporter::collector::Collector;
use docker_exit_exporter::config::{Command, Config, HELP};
use docker_exit_exporter::one_line::OneLine;
use docker_exit_exporter::publication::Publication;
use docker_exit_exporter::telemetry::Telemetry;
use docker_exit_exporter::{exporter, healthcheck, privileges};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// The call, or a setting, is bad. Not of `healthcheck`: Docker keeps 2 for itself there.
const BAD_CALL: u8 = 2;

fn main() -> ExitCode {
    let command = match Command::read(env::args_os().skip(1), |name| env::var_os(name)) {
        Ok(command) => command,
        Err(error) => {
            complain(&error.to_string());
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
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// `RUST_LOG` decides what is logged; as with the other variables, an empty one is not set.
fn start_log(level: &str) {
    let filter = env::var("RUST_LOG").ok().filter(|it| !it.trim().is_empty());
    env_logger::Builder::new()
        .parse_filters(filter.as_deref().unwrap_or(level))
        .format(|line, record| {
            // One record is one line, whatever is in it.
            let (time, level, target) = (line.timestamp(), record.level(), record.target());
            let text = record.args().to_string();
            writeln!(
                line,
                "[{time} {level:<5} {target}] {}",
                OneLine::record(&text)
            )
        })
        .init();
}

/// Not `eprintln!`: it panics where nobody can be told.
fn complain(error: &str) {
    let _ = writeln!(io::stderr(), "docker-exit-exporter: {error}");
}

fn print(text: &str) -> Result<(), String> {
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
    collector.collect()?;
    print(&publication.get().text.plain())?;
    print(&telemetry.render())
}

fn serve(config: &Config) -> Result<(), String> {
    privileges::drop_root(&config.docker_host);
    // Before anything can take long, since PID 1 ignores what it does not handle.
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(|error| error.to_string())?;
    let listener = TcpListener::bind(config.listen)
        .map_err(|error| format!("cannot listen on {}: {error}", config.listen))?;
    log::info!(
        "{} {} on http://{}, watching {}",
        env!("CARGO_PKG_NAME"),
        env!("CARGO_PKG_VERSION"),
        config.listen,
        config.docker_host
    );
    exporter::start(config, listener).map_err(|error| error.to_string())?;
    if let Some(signal) = signals.forever().next() {
        log::info!("stopping on signal {signal}");
    }
    Ok(())
}
