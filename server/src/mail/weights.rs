//! What connections hold in memory, by protocol.

use crate::shard::ConnKey;

/// Of one protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// Without its revision; `None`: of connections without a session.
    pub protocol: Option<&'static str>,
    /// Connections.
    pub connections: u64,
    /// Bytes of all of them in this process.
    pub bytes: u64,
}

/// Of some connections.
#[derive(Clone, Debug, Default)]
pub struct Weights {
    /// Each protocol once, in no order.
    pub all: Vec<Weight>,
    /// There are more behind this one.
    pub next: Option<ConnKey>,
}

impl Weights {
    /// Adds some connections.
    pub fn add(&mut self, weight: Weight) {
        match self.all.iter_mut().find(|one| one.protocol == weight.protocol) {
            Some(one) => {
                one.connections += weight.connections;
                one.bytes += weight.bytes;
            }
            None => self.all.push(weight),
        }
    }
}
