//! Who a client is and what it may do, for every protocol: tokens, their keys, and permissions on channels.
//!
//! Must not know protocols, sessions or sockets; it does no I/O but reading key files at the start. Doors ask a [`Gate`]:
//!
//! ```text
//! token of a client --Gate::admit--> Granted(Grant)  let in; keep `permissions` (shared) and close at `expires`
//!                                    Refused(why)    it is not let in, and should not come back with this token (401)
//!                                    Later(why)      it should come back: nothing is known yet (503, close)
//!                                    Ask             `auth.mode` = "back_end": the back end decides
//! what it asks for  --Gate::weigh--> Yes, No (403) or Ask (the back end, each time), for a channel or a whole filter
//! ```
//!
//! A door of plain HTTP finds the token with [`token_in`], calls [`Gate::admit`] with it and [`unix_now`], keeps of the
//! [`Grant`] its `user`, `permissions` and `expires`, and asks [`Gate::weigh`] per channel or filter with an [`Asker`] made of
//! those. A grant without permissions still asks: rules of the configuration may let anyone. Verification is arithmetic on
//! the caller's thread; keys are behind an `Arc` that the back office swaps ([`Keys`]), so nothing waits.
//!
//! `jwt` reads tokens, `claims` what is in them, `revoked` those that are good no more, `key` and `jwk` the keys, `permissions` and `filters` who may what, `rules`
//! what the configuration says of channels, `mint` makes tokens. Start at [`Gate`].

mod claims;
mod filters;
mod gate;
mod jwk;
mod jwt;
mod key;
mod keys;
mod mint;
mod permissions;
mod revoked;
mod rules;
mod source;

#[cfg(test)]
mod tests;

use std::time::{SystemTime, UNIX_EPOCH};

pub use claims::Grant;
pub(crate) use filters::covers;
pub use gate::{Gate, Later, Shared, Verdict};
pub(crate) use jwk::{KeysOf, keys_of_set};
pub use jwt::Refusal;
pub(crate) use key::Key;
pub(crate) use keys::ASK_PAUSE_MS;
pub use keys::Keys;
pub(crate) use mint::{MintError, mint};
pub(crate) use permissions::PermissionEntry;
pub use permissions::{Action, Asker, Permissions};
pub use revoked::{Revocation, Revoked};
pub use rules::May;
pub(crate) use rules::{is_reserved, why_reserved};
pub(crate) use source::PARAMETER;
pub use source::token_in;

/// The calendar's time in milliseconds since 1970, which tokens count by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMs(pub u64);

/// Now. Shards have a clock of their own for deadlines; that of tokens is the calendar's.
#[must_use]
pub fn unix_now() -> UnixMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
