//! Where connections come from, as far as it says who shares what a server has.

use std::net::{IpAddr, Ipv6Addr};

/// One address, or all those that one machine commonly has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Peer {
    /// Not known, or no connection at all.
    #[default]
    Unknown,
    /// This machine, under any of its loopback addresses: a program may take whichever it likes.
    Loopback,
    /// An IPv4 address.
    V4([u8; 4]),
    /// The network part of an IPv6 address: the other half is the machine's own to choose.
    V6([u8; 8]),
}

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        let address = address.to_canonical();
        match address {
            _ if address.is_loopback() => Self::Loopback,
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => Self::V6(network(address)),
        }
    }
}

fn network(address: Ipv6Addr) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = address.octets();
    [a, b, c, d, e, f, g, h]
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::Peer;

    #[test]
    fn what_one_machine_can_choose_makes_no_other_peer() {
        let peer = |text: &str| Peer::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(peer("127.0.0.1"), peer("127.9.9.9"));
        assert_eq!(peer("127.0.0.1"), peer("::1"));
        assert_eq!(peer("10.0.0.1"), peer("::ffff:10.0.0.1"));
        assert_ne!(peer("10.0.0.1"), peer("10.0.0.2"));
        assert_eq!(peer("2001:db8::1"), peer("2001:db8::ffff:1:2:3"));
        assert_ne!(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
    }
}
