//! Addresses and blocks of addresses in the configuration.
//!
//! Must not know what they are listed for. Start at [`Network`].

use std::fmt;
use std::net::IpAddr;

use super::table::{Flaw, Kind, Setting, Value};

/// One address, or a block of them in CIDR notation (RFC 4632, RFC 4291 section 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    /// How many bits of an address have to be those of `first`.
    prefix_bits: u8,
}

impl Network {
    /// Parses `10.0.0.0/8`, `2001:db8::/32`, or an address alone.
    ///
    /// # Errors
    /// Says which rule is broken, as a predicate (`must ..`).
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("must be an IP address or a block such as \"10.0.0.0/8\", got \"{text}\"");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let first: IpAddr = address.parse().map_err(|_| wrong())?;
        let width = width(first);
        let is_number =
            |prefix: &&str| !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix_bits = match prefix {
            None => width,
            Some(prefix) => Some(prefix)
                .filter(is_number)
                .and_then(|prefix| prefix.parse().ok())
                .filter(|bits| *bits <= width)
                .ok_or_else(wrong)?,
        };
        let network = Self { first, prefix_bits };
        if network.contains(first) && bits(first) & network.mask() != bits(first) {
            let begin = match first {
                IpAddr::V4(_) => IpAddr::V4(((bits(first) & network.mask()) as u32).into()),
                IpAddr::V6(_) => IpAddr::V6((bits(first) & network.mask()).into()),
            };
            return Err(format!(
                "must begin where the block begins: \"{begin}/{prefix_bits}\", got \"{text}\""
            ));
        }
        Ok(network)
    }

    /// Whether an address belongs to it. An IPv4 address in its IPv6 form, as a socket for both shows it, counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        width(address) == width(self.first) && (bits(address) ^ bits(self.first)) & self.mask() == 0
    }

    /// Whether it is every address of its kind.
    pub fn is_everything(&self) -> bool {
        self.prefix_bits == 0
    }

    /// Ones where an address has to be the same.
    fn mask(&self) -> u128 {
        let width = width(self.first);
        let all = u128::MAX >> (128 - u32::from(width));
        all ^ all.checked_shr(u32::from(self.prefix_bits)).unwrap_or(0)
    }
}

/// Bits of an address of this kind.
fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

impl fmt::Display for Network {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.first, self.prefix_bits)
    }
}

impl Setting for Vec<Network> {
    const KIND: Kind = Kind::List("address or block of addresses");

    fn read(value: &Value) -> Result<Self, Flaw> {
        let read = |item: &Value| Network::parse(item.text()?).map_err(|text| item.flaw(text));
        value.list()?.iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(network: &str, address: &str) -> bool {
        Network::parse(network).unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn a_block_holds_what_shares_its_prefix() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("192.0.2.8/31", "192.0.2.9", "192.0.2.10"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("::/0", "ffff::1", "10.0.0.1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("2001:db8::1", "2001:db8::1", "2001:db8::2"),
        ] {
            assert!(contains(network, inside) && !contains(network, outside), "{network}");
        }
        assert!(contains("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert_eq!(Network::parse("10.0.0.0/8").unwrap().to_string(), "10.0.0.0/8");
    }

    #[test]
    fn what_is_no_block_is_refused() {
        for text in
            ["", "10.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/+8", "::/129", "example.com", "10.0.0.0/8/8"]
        {
            assert!(Network::parse(text).unwrap_err().starts_with("must be an IP address"), "{text}");
        }
        let told = Network::parse("10.1.2.3/8").unwrap_err();
        assert_eq!(told, "must begin where the block begins: \"10.0.0.0/8\", got \"10.1.2.3/8\"");
        assert!(Network::parse("2001:db8::1/32").unwrap_err().contains("\"2001:db8::/32\""));
    }
}
