//! Addresses to listen on.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use tokio::net::TcpListener;

use crate::error::{ErrorKind, FsError, Result};

/// Attempts to find a port that is free in both families of addresses.
const FREE_PORT_ATTEMPTS: usize = 16;

/// A host and a port; port 0 is any free one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// A name or an address; `localhost` is both loopback addresses.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Listen {
    /// Any free port of the loopback addresses.
    #[must_use]
    pub fn anywhere_local() -> Self {
        Self { host: "localhost".to_owned(), port: 0 }
    }

    /// Binds all addresses of the host to one port. The sockets' queues are open when this
    /// returns.
    ///
    /// # Errors
    /// What the system says, with the address.
    pub async fn bind(&self) -> Result<Vec<TcpListener>> {
        let mut result = self.bind_once().await;
        for _ in 1..FREE_PORT_ATTEMPTS {
            if self.port != 0 || result.is_ok() {
                break;
            }
            result = self.bind_once().await;
        }
        result.map_err(|error| FsError::from(error).context(format!("cannot listen on {self}")))
    }

    async fn bind_once(&self) -> std::io::Result<Vec<TcpListener>> {
        let addresses = self.addresses().await?;
        let mut listeners: Vec<TcpListener> = Vec::new();
        for mut address in addresses {
            if let Some(first) = listeners.first() {
                address.set_port(first.local_addr()?.port());
            }
            match TcpListener::bind(address).await {
                Ok(listener) => listeners.push(listener),
                // A machine without IPv6 has no ::1; that is no reason not to serve.
                Err(error) if !listeners.is_empty() && is_no_such_address(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(listeners)
    }

    async fn addresses(&self) -> std::io::Result<Vec<SocketAddr>> {
        if self.host == "localhost" {
            let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
            return Ok(vec![v4, SocketAddr::from((Ipv6Addr::LOCALHOST, self.port))]);
        }
        let mut addresses: Vec<SocketAddr> =
            tokio::net::lookup_host((self.host.as_str(), self.port)).await?.collect();
        addresses.sort();
        addresses.dedup();
        Ok(addresses)
    }

    /// The port that listeners got.
    ///
    /// # Errors
    /// What the system says.
    pub fn port_of(listeners: &[TcpListener]) -> Result<u16> {
        let none = || FsError::new(ErrorKind::InvalidArgument, "there is no address to listen on");
        Ok(listeners.first().ok_or_else(none)?.local_addr()?.port())
    }

    /// The URL of a server on this host and the port that it got.
    #[must_use]
    pub fn url(&self, port: u16) -> String {
        format!("https://{}", Self { host: self.host.clone(), port })
    }
}

fn is_no_such_address(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(libc::EAFNOSUPPORT)
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Listen {
    type Err = FsError;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            FsError::new(
                ErrorKind::InvalidArgument,
                "it must look like localhost:8443 or [::]:8443",
            )
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bare.unwrap_or(host);
        if host.is_empty() || (bare.is_none() && host.contains(':')) {
            return Err(wrong());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

#[cfg(test)]
mod tests {
    use super::Listen;

    #[test]
    fn addresses_are_read_and_written() {
        for good in ["localhost:8443", "0.0.0.0:1", "[::1]:0"] {
            assert_eq!(good.parse::<Listen>().unwrap().to_string(), good);
        }
        for bad in ["", "localhost", ":1", "a:b", "::1:1", "a:70000"] {
            assert!(bad.parse::<Listen>().is_err(), "{bad:?} was taken");
        }
    }

    #[tokio::test]
    async fn localhost_is_one_port_of_all_loopback_addresses() {
        let listeners = Listen::anywhere_local().bind().await.unwrap();
        let ports: Vec<u16> = listeners.iter().map(|l| l.local_addr().unwrap().port()).collect();
        assert!(ports.iter().all(|port| *port == ports[0] && *port != 0));
    }
}
