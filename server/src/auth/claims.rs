//! What is in a token, and what of it a session gets.
//!
//! Owns the form of the claims (RFC 7519 section 4) and of our own, the object `trunkline`. Must not know signatures. Start at
//! [`Claims::read`].

use std::sync::Arc;

use bytes::Bytes;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::permissions::{PermissionEntry, Permissions, Pool};
use super::{Refusal, UnixMs};
use crate::config::ChannelFilter;
use crate::objects::{self, present};

/// Longest user id: percent-encoded it still is a channel of `$user`.
const USER_BYTES_MAX: usize = 512;

/// What the back end may keep with a session.
const STATE_BYTES_MAX: usize = 4096;

/// What a token lets its client be and do.
#[derive(Clone, Debug, Default)]
pub struct Grant {
    /// `sub`: whose session it is.
    pub user: Option<Arc<str>>,
    /// What it may do with channels; the same for all whose tokens say the same.
    pub permissions: Option<Arc<Permissions>>,
    /// Channels and filters it is subscribed to from the start, whatever the permissions say.
    pub subscriptions: Vec<String>,
    /// JSON for presence.
    pub info: Option<Bytes>,
    /// For the back end, which gets it back with every event.
    pub state: Option<Box<str>>,
    /// The only client id that it may use, where a protocol has one.
    pub client_id: Option<Box<str>>,
    /// The only namespaces that it may join, where a protocol has some.
    pub namespaces: Option<Vec<String>>,
    /// `jti`: by which it is revoked.
    pub token_id: Option<Box<str>>,
    /// When its session is to be closed: `exp` and the leeway. It comes back with a new token.
    pub expires: Option<UnixMs>,
}

impl Grant {
    /// Whether it may join a namespace.
    #[must_use]
    pub fn has_namespace(&self, name: &str) -> bool {
        self.namespaces.as_ref().is_none_or(|namespaces| namespaces.iter().any(|one| one == name))
    }

    /// Whether it may be a client of this id.
    #[must_use]
    pub fn has_client_id(&self, id: &str) -> bool {
        self.client_id.as_ref().is_none_or(|own| **own == *id)
    }
}

/// The claims of a token as they are written. A name that comes twice is refused (RFC 7519 section 4), and so is `null`: who wrote
/// it meant a user, an end, a name to revoke it by.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    #[serde(default, deserialize_with = "present")]
    sub: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub(super) iss: Option<String>,
    #[serde(default)]
    pub(super) aud: Audience,
    #[serde(default, deserialize_with = "date")]
    pub(super) exp: Option<UnixMs>,
    #[serde(default, deserialize_with = "date")]
    pub(super) nbf: Option<UnixMs>,
    #[serde(default, deserialize_with = "date")]
    pub(super) iat: Option<UnixMs>,
    #[serde(default, deserialize_with = "present")]
    pub(super) jti: Option<String>,
    #[serde(default)]
    trunkline: Own,
}

/// Our claim. A member that is not one of these is refused: whoever wrote it meant something.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Own {
    permissions: Vec<PermissionEntry>,
    subscriptions: Vec<String>,
    info: Option<Box<RawValue>>,
    state: Option<Box<str>>,
    client_id: Option<Box<str>>,
    namespaces: Option<Vec<String>>,
}

/// One or several (RFC 7519 section 4.1.3).
#[derive(Debug, Default, Deserialize)]
#[serde(untagged)]
pub(super) enum Audience {
    #[default]
    None,
    One(String),
    Several(Vec<String>),
}

impl Audience {
    pub(super) fn has(&self, name: &str) -> bool {
        match self {
            Self::None => false,
            Self::One(one) => one == name,
            Self::Several(all) => all.iter().any(|one| one == name),
        }
    }
}

impl Claims {
    /// Reads the content of a token whose signature is good.
    pub(super) fn read(json: &[u8]) -> Result<Self, Refusal> {
        objects::from_slice(json).map_err(|error| {
            // The text may hold what is in the token.
            tracing::debug!(line = error.line(), column = error.column(), "claims of a token cannot be read");
            Refusal::Claims
        })
    }

    /// What they grant; `expires` was worked out with the leeway.
    pub(super) fn grant(self, expires: Option<UnixMs>, pool: &mut Pool) -> Result<Grant, Refusal> {
        let Own { permissions, subscriptions, info, state, client_id, namespaces } = self.trunkline;
        let is_filter = |filter: &String| ChannelFilter::parse(filter).is_ok();
        let is_joinable = |filter: &String| is_filter(filter) && !filter.starts_with('$');
        let is_user = |user: &str| !user.is_empty() && user.len() <= USER_BYTES_MAX;
        let is_good = self.sub.as_deref().is_none_or(is_user)
            && state.as_ref().is_none_or(|state| state.len() <= STATE_BYTES_MAX)
            && subscriptions.iter().all(is_joinable);
        if !is_good {
            return Err(Refusal::Claims);
        }
        let permissions = Permissions::of_entries(permissions).map_err(|_| Refusal::Claims)?;
        Ok(Grant {
            user: self.sub.map(Arc::from),
            permissions: Some(pool.intern(permissions)),
            subscriptions,
            info: info.map(|info| Bytes::from(String::from(Box::<str>::from(info)))),
            state,
            client_id,
            namespaces,
            token_id: self.jti.map(Box::from),
            expires,
        })
    }
}

/// Seconds since 1970, perhaps with a fraction (RFC 7519 section 2). Anything else is refused.
fn date<'de, D: Deserializer<'de>>(from: D) -> Result<Option<UnixMs>, D::Error> {
    let seconds = f64::deserialize(from)?;
    // Up to the year 9999: who means never leaves it out.
    let is_date = (0.0..=253_402_300_800.0).contains(&seconds);
    if is_date { Ok(Some(UnixMs((seconds * 1000.0) as u64))) } else { Err(D::Error::custom("no date")) }
}
