//! The program: command line, privileges, signals and exit codes.

use std::error::Error;
use std::io::Write;
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;
use std::{env, io};

use docker_exit_exporter::collector::Collector;
use docker_exit_exporter::config::{Command, Config, HELP};
use docker_exit_exporter::publication::Publication;
use docker_exit_exporter::telemetry::Telemetry;
use docker_exit_exporter::{exporter, healthcheck, logging, privileges};
use log::LevelFilter;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

const NAME: &str = env!("CARGO_PKG_NAME");
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The exit code for bad arguments or settings. `healthcheck` exits with 1, since Docker reserves 2.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let command = match Command::parse(env::args_os().skip(1), |name| env::var_os(name)) {
        Ok(command) => command,
        Err(error) => {
            print_error(&error);
            let healthcheck = env::args_os().any(|argument| argument == "healthcheck");
            return ExitCode::from(if healthcheck { 1 } else { EXIT_USAGE });
        }
    };
    match run(&command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&*error);
            ExitCode::FAILURE
        }
    }
}

/// Writes an error to standard error. `eprintln!` panics if that is closed.
fn print_error(error: &dyn Error) {
    let _ = writeln!(io::stderr(), "{NAME}: {error}");
}

fn run(command: &Command) -> Result<(), Box<dyn Error>> {
    match command {
        Command::Help => print(HELP)?,
        Command::Version => print(&format!("{NAME} {VERSION}\n"))?,
        Command::Healthcheck(config) => healthcheck::check(config.listen)?,
        Command::Once(config) => {
            // Standard error has one line at most: why there are no metrics.
            logging::init(config.log.as_ref(), LevelFilter::Off);
            once(config)?;
        }
        Command::Serve(config) => {
            logging::init(config.log.as_ref(), LevelFilter::Info);
            serve(config)?;
        }
    }
    Ok(())
}

fn print(text: &str) -> io::Result<()> {
    // `print!` panics if the reader has left, as in `--once | head`.
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

fn once(config: &Config) -> Result<(), Box<dyn Error>> {
    let publication = Arc::new(Publication::default());
    let telemetry = Telemetry::new();
    let mut collector = Collector::new(config, Arc::clone(&publication), telemetry.clone());
    collector.collect()?;
    print(&publication.latest().text.plain())?;
    print(&telemetry.render())?;
    Ok(())
}

fn serve(config: &Config) -> Result<(), Box<dyn Error>> {
    // First of all: as PID 1, the process ignores signals that it does not handle.
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    privileges::drop_root(&config.docker_host, &mut signals)?;
    let listener = TcpListener::bind(config.listen)
        .map_err(|error| format!("cannot listen on {}: {error}", config.listen))?;
    log::info!(
        "{NAME} {VERSION} on http://{}, watching {}",
        config.listen,
        config.docker_host
    );
    exporter::start(config, listener)?;
    if let Some(signal) = signals.forever().next() {
        log::info!("stopping on signal {signal}");
    }
    Ok(())
}
