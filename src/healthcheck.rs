//! `docker-exit-exporter healthcheck`: asks the running exporter whether it is well.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::http::{Connection, Error};

/// Connecting and answering together; Docker is promised an end within 3 s.
const WITHIN: Duration = Duration::from_millis(2500);

/// Asks the exporter that listens on `listen`.
///
/// # Errors
/// What kept it from answering 200, in one line.
pub fn ask(listen: SocketAddr) -> Result<(), String> {
    let address = reachable(listen);
    let why = match status(address) {
        Ok(200) => return Ok(()),
        Ok(status) => format!("it answers {status}"),
        Err(error) => error.to_string(),
    };
    Err(format!("http://{address}/-/healthy: {why}"))
}

fn status(address: SocketAddr) -> Result<u16, Error> {
    let deadline = Instant::now() + WITHIN;
    let stream = TcpStream::connect_timeout(&address, WITHIN)?;
    let mut connection = Connection::new(stream);
    let (head, _) = connection.get(&address.to_string(), "/-/healthy", Some(deadline))?;
    Ok(head.status)
}

/// An address that listens everywhere is asked on the loopback one.
fn reachable(mut listen: SocketAddr) -> SocketAddr {
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
    fn whom_to_ask() {
        for (listen, want) in [
            ("0.0.0.0:9090", "127.0.0.1:9090"),
            ("[::]:9090", "[::1]:9090"),
            ("192.0.2.1:1", "192.0.2.1:1"),
            ("[2001:db8::1]:1", "[2001:db8::1]:1"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), want);
        }
    }
}
