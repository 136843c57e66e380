//! The records of bans. Owns their form in a state file, which `format` puts together.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::SavedBan;
use crate::front::Banned;

#[derive(Serialize, Deserialize)]
pub(super) struct BanRecord<'a> {
    #[serde(borrow)]
    of: BannedRecord<'a>,
    left_ms: Option<u64>,
    reason: Option<&'a str>,
}

#[derive(Serialize, Deserialize)]
enum BannedRecord<'a> {
    Client(&'a str),
    User(&'a str),
    V4([u8; 4]),
    V6([u8; 16]),
}

impl<'a> BanRecord<'a> {
    pub(super) fn of(saved: &'a SavedBan) -> Self {
        let SavedBan { of, left_ms, reason } = saved;
        let of = match of {
            Banned::Client(name) => BannedRecord::Client(name),
            Banned::User(name) => BannedRecord::User(name),
            Banned::Address(std::net::IpAddr::V4(address)) => BannedRecord::V4(address.octets()),
            Banned::Address(std::net::IpAddr::V6(address)) => BannedRecord::V6(address.octets()),
        };
        Self { of, left_ms: *left_ms, reason: reason.as_deref() }
    }

    pub(super) fn saved(self) -> SavedBan {
        let of = match self.of {
            BannedRecord::Client(name) => Banned::Client(Arc::from(name)),
            BannedRecord::User(name) => Banned::User(Arc::from(name)),
            BannedRecord::V4(octets) => Banned::Address(octets.into()),
            BannedRecord::V6(octets) => Banned::Address(octets.into()),
        };
        SavedBan { of, left_ms: self.left_ms, reason: self.reason.map(Arc::from) }
    }
}
