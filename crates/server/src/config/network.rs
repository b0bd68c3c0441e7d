//! IP networks, and whose word about a client's address is taken.

use std::net::IpAddr;
use std::str::FromStr;

/// An address, or all addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u32,
}

/// The text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkError;

impl FromStr for Network {
    type Err = NetworkError;

    /// Reads `10.1.2.3`, `10.0.0.0/8`, `::1` or `fd00::/8`.
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_no_address| NetworkError)?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        // Digits only: a number may also be written with a sign.
        let read =
            |prefix: &str| prefix.bytes().all(|byte| byte.is_ascii_digit()).then(|| prefix.parse().ok())?;
        let prefix_bits = prefix.map_or(Some(bits_max), read).filter(|bits| *bits <= bits_max);
        Ok(Self { address, prefix_bits: prefix_bits.ok_or(NetworkError)? })
    }
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differing = own.to_bits() ^ other.to_bits();
                differing.leading_zeros() >= self.prefix_bits
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differing = own.to_bits() ^ other.to_bits();
                differing.leading_zeros() >= self.prefix_bits
            }
            _ => false,
        }
    }
}

/// The proxies that may say who the client is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<Network>);

impl TrustedProxies {
    /// Whether the peer at `address` is one of them. An IPv4 address counts as such in its IPv6 form too, which is how
    /// a socket that listens on both shows it.
    #[must_use]
    pub fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address.to_canonical()))
    }

    /// The client's address: that of the peer, or, while the one who speaks is a trusted proxy, whom it says it speaks for in
    /// `X-Forwarded-For`.
    #[must_use]
    pub fn client(&self, peer: IpAddr, forwarded_for: &str) -> IpAddr {
        let mut client = peer;
        for said in forwarded_for.rsplit(',').map(str::trim) {
            if !self.contain(client) {
                break;
            }
            let Ok(address) = said.parse() else { break };
            client = address;
        }
        client
    }

    /// Whether nobody is trusted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Network> for TrustedProxies {
    fn from_iter<T: IntoIterator<Item = Network>>(networks: T) -> Self {
        Self(networks.into_iter().collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::net::IpAddr;

    use super::{Network, NetworkError, TrustedProxies};

    #[test]
    fn a_network_holds_its_addresses() {
        let proxies: TrustedProxies = ["10.0.0.0/8", "192.168.1.7", "fd00::/8", "::1"]
            .into_iter()
            .map(|text| text.parse::<Network>().unwrap())
            .collect();
        for (address, expected) in [
            ("10.255.0.1", true),
            ("11.0.0.1", false),
            ("192.168.1.7", true),
            ("192.168.1.6", false),
            ("::ffff:10.0.0.1", true),
            ("fdff::1", true),
            ("fe00::1", false),
            ("::1", true),
            ("::2", false),
        ] {
            assert_eq!(proxies.contain(address.parse().unwrap()), expected, "{address}");
        }
        assert!("0.0.0.0/0".parse::<Network>().unwrap().contains("1.2.3.4".parse().unwrap()));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in
            ["", "localhost", "10.0.0", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "::1/129", "10.0.0.1:80"]
        {
            assert_eq!(text.parse::<Network>(), Err(NetworkError), "{text:?}");
        }
    }

    #[test]
    fn forwarded_for_is_believed_from_trusted_proxies_only() {
        let address = |text: &str| -> IpAddr { text.parse().unwrap() };
        let trusted: TrustedProxies =
            ["10.0.0.0/8"].into_iter().map(|network| network.parse().unwrap()).collect();
        let check = |peer: &str, forwarded_for: &str, expected: &str| {
            let client = trusted.client(address(peer), forwarded_for);
            assert_eq!(client, address(expected), "{peer} {forwarded_for}");
        };
        check("198.51.100.1", "203.0.113.7", "198.51.100.1");
        check("10.0.0.1", "", "10.0.0.1");
        check("10.0.0.1", "203.0.113.7", "203.0.113.7");
        check("10.0.0.1", "6.6.6.6, 203.0.113.7, 10.2.2.2", "203.0.113.7");
        check("10.0.0.1", "nonsense", "10.0.0.1");
    }
}
