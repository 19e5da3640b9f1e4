//! The address of the Engine: the value of `DOCKER_HOST`.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::one_line::OneLine;

/// The path in `sockaddr_un` without its final zero byte (unix(7)).
const MAX_PATH_BYTES: usize = 107;

/// An Engine's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// The absolute path of a Unix socket.
    Unix(PathBuf),
    /// `host:port` of a socket proxy. IPv6 addresses are in brackets.
    Tcp(String),
}

impl Default for Address {
    fn default() -> Self {
        Self::Unix("/var/run/docker.sock".into())
    }
}

/// Why a text is not an [`Address`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressError(Cow<'static, str>);

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for AddressError {}

impl<T: Into<Cow<'static, str>>> From<T> for AddressError {
    fn from(reason: T) -> Self {
        Self(reason.into())
    }
}

impl FromStr for Address {
    type Err = AddressError;

    /// Parses `unix:///path` or `tcp://host:port`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err("it has no unix:// or tcp:// in front".into());
        };
        match scheme {
            "unix" if rest.len() > MAX_PATH_BYTES => {
                Err(format!("a socket's path has {MAX_PATH_BYTES} bytes at most").into())
            }
            "unix" if rest.starts_with('/') && !rest.contains('\0') => Ok(Self::Unix(rest.into())),
            "unix" => Err("the path is not absolute".into()),
            "tcp" => host_and_port(rest.strip_suffix('/').unwrap_or(rest)).map(Self::Tcp),
            "http" => Err("write it as tcp://host:port".into()),
            "https" | "ssh" | "npipe" | "fd" => {
                Err(format!("{scheme} is not supported (no TLS, no SSH, no named pipes)").into())
            }
            _ => Err(format!("{scheme:?} is not a known scheme").into()),
        }
    }
}

fn host_and_port(text: &str) -> Result<String, AddressError> {
    let (host, port) = text.rsplit_once(':').ok_or("the port is missing")?;
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit())
        && port.parse::<u16>().is_ok_and(|port| port > 0);
    if !is_port {
        return Err(format!("{port:?} is not a port").into());
    }
    let inner = match host.strip_prefix('[').map(|host| host.strip_suffix(']')) {
        None => host,
        Some(Some(inner)) if inner.parse::<std::net::Ipv6Addr>().is_ok() => inner,
        Some(_) => return Err(format!("{host:?} is not an IPv6 address").into()),
    };
    let is_host = !inner.is_empty()
        && inner
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        || inner != host;
    if !is_host {
        return Err(format!("{host:?} is not a host").into());
    }
    Ok(text.to_owned())
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", OneLine::new(&path.to_string_lossy())),
            Self::Tcp(host_and_port) => write!(f, "tcp://{host_and_port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, want) in [
            (
                "unix:///var/run/docker.sock",
                Ok("unix:///var/run/docker.sock"),
            ),
            ("unix:///a b", Ok("unix:///a b")),
            ("tcp://proxy:2375", Ok("tcp://proxy:2375")),
            (
                "tcp://docker_proxy.local:2375/",
                Ok("tcp://docker_proxy.local:2375"),
            ),
            ("tcp://[::1]:2375", Ok("tcp://[::1]:2375")),
            ("unix://docker.sock", Err("not absolute")),
            ("unix://", Err("not absolute")),
            ("/var/run/docker.sock", Err("no unix:// or tcp://")),
            ("", Err("no unix:// or tcp://")),
            ("tcp://proxy", Err("port is missing")),
            ("tcp://proxy:", Err("not a port")),
            ("tcp://proxy:0", Err("not a port")),
            ("tcp://proxy:+1", Err("not a port")),
            ("tcp://proxy:65536", Err("not a port")),
            ("tcp://:2375", Err("not a host")),
            ("tcp://a b:2375", Err("not a host")),
            ("tcp://a\r\nb:2375", Err("not a host")),
            ("tcp://::1:2375", Err("not a host")),
            ("tcp://[x]:2375", Err("not an IPv6")),
            ("tcp://host:2375/path", Err("not a port")),
            ("https://host:2376", Err("no TLS")),
            ("ssh://host", Err("no SSH")),
            ("http://host:2375", Err("tcp://host:port")),
            ("ftp://host", Err("not a known scheme")),
        ] {
            match (text.parse::<Address>(), want) {
                (Ok(address), Ok(want)) => assert_eq!(address.to_string(), want),
                (Err(error), Err(want)) => assert!(error.0.contains(want), "{text}: {error}"),
                (got, want) => panic!("{text}: {got:?}, not {want:?}"),
            }
        }
    }
}
