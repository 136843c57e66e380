//! How often one address may begin a session (`limits.handshakes_per_address_per_second`), or publish by a request
//! (`limits.publishes_per_address_per_second`).
//!
//! Must not know what a handshake is. Start at [`Handshakes::allow`]. An address is an IPv4 address or an IPv6 /64,
//! the least a client is given.

use hub::Millis;
use std::collections::HashMap;
use std::net::IpAddr;

/// Addresses that are remembered; at the limit those that may begin a full burst again are forgotten, and when none
/// is, all are.
const ADDRESSES_MAX: usize = 16_384;

/// Recent handshakes by address: for each the time at which it would have its full allowance again, so an address is
/// one number (the generic cell rate algorithm, ITU-T I.371).
#[derive(Debug)]
pub(super) struct Handshakes {
    /// Milliseconds that one handshake costs; 0 = no limit.
    cost_ms: f64,
    full_at: HashMap<IpAddr, f64>,
}

impl Handshakes {
    /// A burst is what is allowed in one second. The limit is the node's, spread over its shards.
    pub(super) fn new(per_second: u32, shards: u8) -> Self {
        let cost_ms = if per_second == 0 { 0.0 } else { 1000.0 * f64::from(shards) / f64::from(per_second) };
        Self { cost_ms, full_at: HashMap::new() }
    }

    /// Counts one handshake unless it is too many.
    pub(super) fn allow(&mut self, address: IpAddr, now: Millis) -> bool {
        if self.cost_ms == 0.0 {
            return true;
        }
        let now = now.0 as f64;
        if self.full_at.len() >= ADDRESSES_MAX {
            self.full_at.retain(|_, full_at| *full_at > now);
            if self.full_at.len() >= ADDRESSES_MAX {
                self.full_at = HashMap::new();
            }
        }
        let full_at = self.full_at.entry(network(address)).or_insert(now);
        let after = full_at.max(now) + self.cost_ms;
        // One handshake is always allowed, however small the share of a shard.
        let allowed = after - now <= self.cost_ms.max(1000.0);
        if allowed {
            *full_at = after;
        }
        allowed
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(limit: &mut Handshakes, address: &str, now: u64, tries: usize) -> usize {
        let address = address.parse().unwrap();
        (0..tries).filter(|_| limit.allow(address, Millis(now))).count()
    }

    #[test]
    fn a_burst_then_the_rate_and_each_address_for_itself() {
        let mut limit = Handshakes::new(10, 1);
        assert_eq!(allowed(&mut limit, "10.0.0.1", 5000, 30), 10);
        assert_eq!(allowed(&mut limit, "10.0.0.2", 5000, 30), 10);
        assert_eq!(allowed(&mut limit, "10.0.0.1", 5200, 30), 2);
        assert_eq!(allowed(&mut limit, "10.0.0.1", 9000, 30), 10);
    }

    #[test]
    fn neighbours_in_one_v6_network_share_and_zero_means_no_limit() {
        let mut limit = Handshakes::new(4, 2);
        assert_eq!(allowed(&mut limit, "2001:db8::1", 0, 9), 2);
        assert_eq!(allowed(&mut limit, "2001:db8::2", 0, 9), 0);
        assert_eq!(allowed(&mut limit, "2001:db8:0:1::2", 0, 9), 2);
        assert_eq!(allowed(&mut Handshakes::new(0, 2), "10.0.0.1", 0, 500), 500);
    }

    #[test]
    fn memory_is_bounded() {
        let mut limit = Handshakes::new(1, 1);
        for n in 0..100_000_u32 {
            limit.allow(IpAddr::V4(n.into()), Millis(0));
        }
        assert!(limit.full_at.len() <= ADDRESSES_MAX);
    }
}
