//! Parses and checks flags and environment variables. No other module reads settings.

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use lexopt::Arg;

use crate::engine::Address;
use crate::labels::Filter;
use crate::logging::LogFilter;

/// What `--help` prints.
pub const HELP: &str = include_str!("help.txt");

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Export until SIGTERM or SIGINT.
    Serve(Config),
    /// Collect once and print the metrics.
    Once(Config),
    /// Check that the running exporter is healthy.
    Healthcheck(Config),
    /// Print [`HELP`].
    Help,
    /// Print the version.
    Version,
}

/// All settings, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The address that HTTP is served on.
    pub listen: SocketAddr,
    /// Time between full listings.
    pub interval: Duration,
    /// The Engine's address.
    pub docker_host: Address,
    /// How long an exit is exported after its container is removed.
    pub retention: Duration,
    /// The Docker labels to export.
    pub container_labels: Filter,
    /// Whether to follow the Engine's event stream.
    pub events: bool,
    /// The log filter; `None` means the default of each command.
    pub log: Option<LogFilter>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::UNSPECIFIED, 9090).into(),
            interval: Duration::from_secs(15),
            docker_host: Address::default(),
            retention: Duration::from_secs(300),
            container_labels: Filter::default(),
            events: true,
            log: None,
        }
    }
}

/// Bad arguments or a bad setting, described in one line.
#[derive(Debug)]
pub struct ConfigError {
    text: String,
    cause: Cause,
}

/// Why a value is bad, if more can be said than which values the setting takes.
type Cause = Option<Box<dyn Error + Send + Sync>>;

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for ConfigError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

impl From<lexopt::Error> for ConfigError {
    fn from(error: lexopt::Error) -> Self {
        Self {
            text: format!("{error}; --help lists what there is"),
            cause: Some(error.into()),
        }
    }
}

struct Setting {
    variable: &'static str,
    /// The flag without its dashes.
    flag: Option<&'static str>,
    /// The valid values, for error messages.
    takes: &'static str,
}

const SETTINGS: [Setting; 10] = [
    setting("EXPORTER_PORT", "port", "a port, 1-65535"),
    setting("EXPORTER_ADDRESS", "address", "an IP address, v4 or v6"),
    setting("COLLECTION_INTERVAL", "interval", "whole seconds, 1-86400"),
    setting(
        "DOCKER_HOST",
        "docker-host",
        "unix:///path or tcp://host:port",
    ),
    setting("EXIT_RETENTION", "retention", "whole seconds, 0-4294967295"),
    setting(
        "CONTAINER_LABELS",
        "container-labels",
        "comma-separated patterns of label keys, with * as wildcard and ! to exclude",
    ),
    setting("EVENTS", "events", "on or off"),
    setting(
        "RUST_LOG",
        "",
        "off, error, warn, info, debug or trace, also by module: \
         warn,docker_exit_exporter::collector=debug",
    ),
    setting("DOCKER_TLS_VERIFY", "", "nothing, so leave it unset"),
    setting("DOCKER_CERT_PATH", "", "nothing, so leave it unset"),
];

/// A setting; `flag` is empty if there is none.
const fn setting(variable: &'static str, flag: &'static str, takes: &'static str) -> Setting {
    let flag = if flag.is_empty() { None } else { Some(flag) };
    Setting {
        variable,
        flag,
        takes,
    }
}

impl Command {
    /// Parses the arguments (without the program's name) and the environment, which `variable`
    /// looks up. Flags win over variables. An empty variable counts as unset, since Compose turns
    /// `${UNSET}` into one. An empty `CONTAINER_LABELS` is an exception: it exports no label, so
    /// that labels that should be hidden are not exported.
    ///
    /// # Errors
    /// For a bad flag or a bad value of a flag or variable.
    pub fn parse(
        arguments: impl IntoIterator<Item = OsString>,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, ConfigError> {
        let mut parser = lexopt::Parser::from_args(arguments);
        let (mut once, mut healthcheck) = (false, false);
        let mut flags: [Option<OsString>; SETTINGS.len()] = Default::default();
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Long("help") | Arg::Short('h') => return Ok(Self::Help),
                Arg::Long("version") | Arg::Short('V') => return Ok(Self::Version),
                Arg::Long("once") => once = true,
                Arg::Value(word) if word == "healthcheck" => healthcheck = true,
                Arg::Long(name) => {
                    let Some(at) = SETTINGS.iter().position(|it| it.flag == Some(name)) else {
                        return Err(argument.unexpected().into());
                    };
                    flags[at] = Some(parser.value()?);
                }
                argument => return Err(argument.unexpected().into()),
            }
        }
        let mut config = Config::default();
        for (setting, value) in SETTINGS.iter().zip(flags) {
            if let (Some(flag), Some(value)) = (setting.flag, value) {
                setting.apply(&mut config, &format!("--{flag}"), &value)?;
            } else if let Some(value) = variable(setting.variable) {
                if !value.is_empty() || setting.variable == "CONTAINER_LABELS" {
                    setting.apply(&mut config, setting.variable, &value)?;
                }
            }
        }
        match (once, healthcheck) {
            (false, false) => Ok(Self::Serve(config)),
            (true, false) => Ok(Self::Once(config)),
            (false, true) => Ok(Self::Healthcheck(config)),
            (true, true) => Err(ConfigError {
                text: "--once and healthcheck exclude each other".into(),
                cause: None,
            }),
        }
    }
}

impl Setting {
    /// Parses `value` and stores it in `config`. `source` is the variable or the flag.
    fn apply(&self, config: &mut Config, source: &str, value: &OsStr) -> Result<(), ConfigError> {
        let text = value.to_str().ok_or(None);
        let result = text.and_then(|text| self.parse(config, text));
        result.map_err(|cause| {
            let because = cause.as_ref().map(|cause| format!(" because {cause}"));
            // Debug escapes line breaks in the value.
            let text = format!(
                "{source} cannot be {value:?}{}; it takes {}",
                because.unwrap_or_default(),
                self.takes
            );
            ConfigError { text, cause }
        })
    }

    fn parse(&self, config: &mut Config, text: &str) -> Result<(), Cause> {
        match self.variable {
            "EXPORTER_PORT" => config.listen.set_port(parse_whole(text, 1, 65535)?),
            "EXPORTER_ADDRESS" => config.listen.set_ip(text.parse().map_err(|_| None)?),
            "COLLECTION_INTERVAL" => config.interval = parse_seconds(text, 1, 86400)?,
            "DOCKER_HOST" => config.docker_host = parse_text(text)?,
            "EXIT_RETENTION" => config.retention = parse_seconds(text, 0, u32::MAX.into())?,
            "CONTAINER_LABELS" => config.container_labels = parse_text(text)?,
            "EVENTS" if ["on", "off"].contains(&text) => config.events = text == "on",
            "EVENTS" => return Err(None),
            "RUST_LOG" => config.log = Some(parse_text(text)?),
            // The other variables make Docker's clients use TLS.
            _ => {
                let why = "there is no TLS here, and a plain connection must not take its place";
                return Err(Some(why.into()));
            }
        }
        Ok(())
    }
}

/// Parses a value whose error says why it is bad.
fn parse_text<T: FromStr<Err: Into<Box<dyn Error + Send + Sync>>>>(text: &str) -> Result<T, Cause> {
    text.parse().map_err(|error: T::Err| Some(error.into()))
}

/// Parses a whole number from `min` to `max`: digits only, no sign.
fn parse_whole<T: TryFrom<u64>>(text: &str, min: u64, max: u64) -> Result<T, Cause> {
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok();
    let number = number.filter(|number| is_decimal && (min..=max).contains(number));
    number
        .and_then(|number| T::try_from(number).ok())
        .ok_or(None)
}

/// Parses whole seconds from `min` to `max`.
fn parse_seconds(text: &str, min: u64, max: u64) -> Result<Duration, Cause> {
    parse_whole(text, min, max).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Command, String> {
        let lookup = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| OsString::from(value))
        };
        Command::parse(arguments.iter().map(OsString::from), lookup)
            .map_err(|error| error.to_string())
    }

    fn config(arguments: &[&str], variables: &[(&str, &str)]) -> Config {
        match parse(arguments, variables) {
            Ok(Command::Serve(config)) => config,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn defaults_are_those_that_help_names() {
        let config = config(&[], &[]);
        assert_eq!(config, Config::default());
        for (setting, default) in SETTINGS.iter().zip([
            config.listen.port().to_string(),
            config.listen.ip().to_string(),
            config.interval.as_secs().to_string(),
            config.docker_host.to_string(),
            config.retention.as_secs().to_string(),
            config.container_labels.to_string(),
            if config.events { "on" } else { "off" }.to_string(),
            "info".to_string(),
        ]) {
            let line = HELP.lines().find(|line| line.contains(setting.variable));
            let line = line.unwrap_or_else(|| panic!("{} is not in --help", setting.variable));
            if let Some(flag) = setting.flag {
                assert!(line.contains(&format!("--{flag} ")), "{line}");
            }
            assert!(line.ends_with(&format!(" {default}")), "{line} / {default}");
        }
    }

    #[test]
    fn flags_win_over_variables() {
        let variables = [("EXPORTER_PORT", "1"), ("COLLECTION_INTERVAL", "2")];
        let config = config(
            &["--port=3", "--events", "off", "--address", "::1"],
            &variables,
        );
        assert_eq!(config.listen.to_string(), "[::1]:3");
        assert_eq!(config.interval.as_secs(), 2);
        assert!(!config.events);
    }

    #[test]
    fn a_variable_is_not_read_where_its_flag_is_given() {
        assert!(parse(&["--port", "3"], &[("EXPORTER_PORT", "bad")]).is_ok());
    }

    #[test]
    fn empty_variables() {
        let variables: Vec<_> = SETTINGS.iter().map(|it| (it.variable, "")).collect();
        let config = config(&[], &variables);
        assert!(!config.container_labels.allows("any"));
        let unset = Config {
            container_labels: Filter::default(),
            ..config
        };
        assert_eq!(unset, Config::default());
    }

    #[test]
    fn bad_values() {
        for (variable, value) in [
            ("EXPORTER_PORT", "0"),
            ("EXPORTER_PORT", "65536"),
            ("EXPORTER_PORT", "+80"),
            ("EXPORTER_PORT", "-1"),
            ("EXPORTER_PORT", " 80"),
            ("EXPORTER_PORT", "http"),
            ("EXPORTER_PORT", "99999999999999999999"),
            ("EXPORTER_ADDRESS", "localhost"),
            ("EXPORTER_ADDRESS", "[::]"),
            ("EXPORTER_ADDRESS", "0.0.0.0:80"),
            ("COLLECTION_INTERVAL", "0"),
            ("COLLECTION_INTERVAL", "86401"),
            ("COLLECTION_INTERVAL", "1.5"),
            ("COLLECTION_INTERVAL", "15s"),
            ("DOCKER_HOST", "https://docker:2376"),
            ("DOCKER_HOST", "/var/run/docker.sock"),
            ("EXIT_RETENTION", "-1"),
            ("EXIT_RETENTION", "5m"),
            ("CONTAINER_LABELS", "*,!"),
            ("EVENTS", "yes"),
            ("EVENTS", "ON\n"),
            ("RUST_LOG", "verbose"),
            ("RUST_LOG", "info\nverbose"),
            ("DOCKER_TLS_VERIFY", "1"),
            ("DOCKER_TLS_VERIFY", "0"),
            ("DOCKER_CERT_PATH", "/certs"),
        ] {
            let error = parse(&[], &[(variable, value)]).unwrap_err();
            let setting = SETTINGS.iter().find(|it| it.variable == variable).unwrap();
            assert!(
                error.starts_with(&format!("{variable} cannot be {value:?}")),
                "{error}"
            );
            assert!(error.ends_with(setting.takes), "{error}");
            assert_eq!(error.lines().count(), 1);
            if let Some(flag) = setting.flag {
                let error = parse(&[&format!("--{flag}={value}")], &[]).unwrap_err();
                assert!(error.starts_with(&format!("--{flag} ")), "{error}");
            }
        }
        let error = parse(&[], &[("DOCKER_HOST", "https://docker:2376")]).unwrap_err();
        assert_eq!(
            error,
            "DOCKER_HOST cannot be \"https://docker:2376\" because https is not supported \
             (no TLS, no SSH, no named pipes); it takes unix:///path or tcp://host:port"
        );
        let error = parse(&[], &[("DOCKER_TLS_VERIFY", "1")]).unwrap_err();
        assert_eq!(
            error,
            "DOCKER_TLS_VERIFY cannot be \"1\" because there is no TLS here, and a plain connection \
             must not take its place; it takes nothing, so leave it unset"
        );
    }

    #[test]
    fn an_error_has_its_cause_as_source() {
        let error = |variable, value| {
            let lookup = |name: &str| (name == variable).then(|| OsString::from(value));
            let error = Command::parse([], lookup).unwrap_err();
            error.source().map(ToString::to_string)
        };
        let want = "there is nothing after a `!`";
        assert_eq!(error("CONTAINER_LABELS", "!").as_deref(), Some(want));
        assert_eq!(error("EVENTS", "maybe"), None);
    }

    #[test]
    fn a_value_that_is_not_text() {
        use std::os::unix::ffi::OsStringExt;
        let lookup = |name: &str| (name == "EVENTS").then(|| OsString::from_vec(vec![0xff]));
        let error = Command::parse([], lookup).unwrap_err();
        assert!(
            error.to_string().starts_with("EVENTS cannot be \"\\xFF\""),
            "{error}"
        );
    }

    #[test]
    fn calls() {
        assert!(matches!(parse(&["--once"], &[]), Ok(Command::Once(_))));
        assert!(matches!(
            parse(&["healthcheck"], &[]),
            Ok(Command::Healthcheck(_))
        ));
        assert_eq!(parse(&["-h"], &[]), Ok(Command::Help));
        assert_eq!(parse(&["--help"], &[("EVENTS", "bad")]), Ok(Command::Help));
        assert_eq!(parse(&["-V"], &[]), Ok(Command::Version));
        assert_eq!(
            parse(&["--version"], &[("DOCKER_TLS_VERIFY", "1")]),
            Ok(Command::Version)
        );
        for bad in [
            &["--nonsense"][..],
            &["nonsense"],
            &["-x"],
            &["--port"],
            &["--once=yes"],
            &["--once", "healthcheck"],
        ] {
            let error = parse(bad, &[]).unwrap_err();
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}
