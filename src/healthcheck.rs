//! `docker-exit-exporter healthcheck`: checks that the running exporter is healthy.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::http::{Connection, HttpError};

/// Time for connecting and the response. The healthcheck must end within 3 s.
const TIMEOUT: Duration = Duration::from_millis(2500);

/// The exporter at this address did not respond with status 200.
#[derive(Debug)]
pub struct HealthcheckError {
    address: SocketAddr,
    status: Result<u16, HttpError>,
}

impl fmt::Display for HealthcheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}/-/healthy: ", self.address)?;
        match &self.status {
            Ok(status) => write!(f, "it answers {status}"),
            Err(error) => error.fmt(f),
        }
    }
}

impl Error for HealthcheckError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.status.as_ref().err().map(|error| error as _)
    }
}

/// Requests `/-/healthy` from the exporter that listens on `listen`.
///
/// # Errors
/// If there is no response, or its status is not 200.
pub fn check(listen: SocketAddr) -> Result<(), HealthcheckError> {
    let address = loopback_if_unspecified(listen);
    match request_status(address) {
        Ok(200) => Ok(()),
        status => Err(HealthcheckError { address, status }),
    }
}

fn request_status(address: SocketAddr) -> Result<u16, HttpError> {
    let deadline = Instant::now() + TIMEOUT;
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    let mut connection = Connection::new(stream);
    let (head, _) = connection.get(&address.to_string(), "/-/healthy", Some(deadline))?;
    Ok(head.status)
}

/// The address to connect to: loopback if the exporter listens on all addresses.
fn loopback_if_unspecified(mut listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() {
        listen.set_ip(match listen {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    listen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unspecified_addresses_are_checked_on_loopback() {
        for (listen, want) in [
            ("0.0.0.0:9090", "127.0.0.1:9090"),
            ("[::]:9090", "[::1]:9090"),
            ("192.0.2.1:1", "192.0.2.1:1"),
            ("[2001:db8::1]:1", "[2001:db8::1]:1"),
        ] {
            assert_eq!(
                loopback_if_unspecified(listen.parse().unwrap()).to_string(),
                want
            );
        }
    }
}
