//! `docker-exit-exporter healthcheck`: asks the running exporter whether it is well.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Connecting and answering together; Docker is promised an end within 3 s.
const WITHIN: Duration = Duration::from_millis(2500);

/// Asks the exporter that listens on `listen`.
///
/// # Errors
/// What kept it from answering 200, in one line.
pub fn ask(listen: SocketAddr) -> Result<(), String> {
    let url = format!("http://{}/-/healthy", reachable(listen));
    let agent = ureq::Agent::config_builder()
        .proxy(None) // It would take http_proxy from the environment.
        .timeout_global(Some(WITHIN))
        .build()
        .new_agent();
    match agent.get(&url).call() {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{url}: {error}")),
    }
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
