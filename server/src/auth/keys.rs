//! The keys that tokens may be signed with: those of the configuration, and those that an identity provider shows.
//!
//! Owns which key is meant and whether one that is not known may come. Must not know how a set is fetched. Start at
//! [`Keys`].

use std::sync::Arc;

use arc_swap::ArcSwap;
use smallvec::SmallVec;
use tokio::sync::Notify;

use super::UnixMs;
use super::jwk::{KeysOf, keys_of_set};
use super::key::{Key, keys_of_pem};
use crate::config::{Config, Jwt, JwtAlgorithm};

/// So often a set is fetched for keys that are not known, at most. Milliseconds.
pub(crate) const ASK_PAUSE_MS: u64 = 10_000;

/// What the secret of the configuration is good for.
pub(super) fn secret_algorithm(jwt: &Jwt) -> JwtAlgorithm {
    let is_hmac = |algorithm: &JwtAlgorithm| {
        matches!(algorithm, JwtAlgorithm::Hs256 | JwtAlgorithm::Hs384 | JwtAlgorithm::Hs512)
    };
    jwt.algorithm.filter(is_hmac).unwrap_or(JwtAlgorithm::Hs256)
}

/// The keys of a node. Shards read the present set without a lock; the back office puts another in its place.
#[derive(Debug)]
pub struct Keys {
    set: ArcSwap<KeySet>,
    /// Somebody has shown a token whose key is not known.
    wanted: Notify,
}

/// The keys at one time.
#[derive(Debug)]
pub(crate) struct KeySet {
    /// Of the configuration.
    own: Arc<[Key]>,
    /// Of the identity provider.
    fetched: Arc<[Key]>,
    freshness: Freshness,
}

/// What is known of the identity provider's set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Freshness {
    /// There is none to fetch.
    Fixed,
    /// It cannot be fetched, or was not yet.
    Lost,
    /// It was fetched then.
    Since(UnixMs),
}

/// Which keys may have signed a token.
pub(super) enum Found<'a> {
    Keys(SmallVec<[&'a Key; 2]>),
    /// The key of that name is for another algorithm.
    OtherAlgorithm,
    Unknown,
}

impl Keys {
    /// Those of the configuration. Reads the key file.
    ///
    /// # Errors
    /// The key of the configuration, and what is wrong with its value.
    pub(crate) fn of_config(config: &Config) -> Result<Self, String> {
        let own = own_keys(&config.jwt)?;
        let freshness = if config.jwt.jwks_url.is_some() { Freshness::Lost } else { Freshness::Fixed };
        let set = KeySet { own: own.into(), fetched: Arc::new([]), freshness };
        Ok(Self { set: ArcSwap::from_pointee(set), wanted: Notify::new() })
    }

    /// Reads the key file again; how many keys there are now. With an error the keys of before stay.
    ///
    /// # Errors
    /// As [`Keys::of_config`].
    pub(crate) fn read_again(&self, config: &Config) -> Result<usize, String> {
        let own: Arc<[Key]> = own_keys(&config.jwt)?.into();
        let count = own.len();
        self.change(|set| KeySet { own: Arc::clone(&own), fetched: Arc::clone(&set.fetched), ..*set });
        Ok(count)
    }

    /// Several may do this at a time.
    fn change(&self, change: impl Fn(&KeySet) -> KeySet) {
        self.set.rcu(|set| Arc::new(change(set)));
    }

    /// The present set.
    pub(super) fn now(&self) -> arc_swap::Guard<Arc<KeySet>> {
        self.set.load()
    }

    /// A set was fetched.
    pub(crate) fn replace(&self, fetched: Vec<Key>, now: UnixMs) {
        let fetched: Arc<[Key]> = fetched.into();
        let freshness = Freshness::Since(now);
        self.change(|set| KeySet { own: Arc::clone(&set.own), fetched: Arc::clone(&fetched), freshness });
    }

    /// It could not be fetched: the keys of before stay, and another one may be good.
    pub(crate) fn lose(&self) {
        let freshness = Freshness::Lost;
        self.change(|set| KeySet { own: Arc::clone(&set.own), fetched: Arc::clone(&set.fetched), freshness });
    }

    /// Waits until somebody shows a token whose key is not known.
    pub(crate) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Whether a key that is not known now may be known soon; asks for it, then. A set that was fetched after the token was
    /// made has the key, if anybody has.
    pub(super) fn may_come(&self, set: &KeySet, (made, now): (Option<UnixMs>, UnixMs)) -> bool {
        let may_come = match (set.freshness, made) {
            (Freshness::Fixed, _) => false,
            (Freshness::Lost, _) => true,
            (Freshness::Since(since), Some(made)) => since < made,
            (Freshness::Since(since), None) => now.0.saturating_sub(since.0) >= ASK_PAUSE_MS,
        };
        if may_come {
            self.wanted.notify_one();
        }
        may_come
    }
}

/// Those of the configuration. Reads the key file.
fn own_keys(jwt: &Jwt) -> Result<Vec<Key>, String> {
    let mut own = Vec::new();
    if let Some(secret) = &jwt.secret {
        let key = Key::secret(None, secret_algorithm(jwt), secret.expose());
        own.push(key.map_err(|text| format!("auth.jwt.secret: {text}"))?);
    }
    if let Some(path) = &jwt.key_file {
        let wrong = |text: String| format!("auth.jwt.key_file: {}: {text}", path.display());
        let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        let is_json = bytes.trim_ascii_start().starts_with(b"{");
        let keys = match is_json {
            true => keys_of_set(&bytes, KeysOf::Us),
            false => keys_of_pem(&bytes, jwt.algorithm),
        };
        own.extend(keys.map_err(wrong)?);
    }
    Ok(own)
}

impl KeySet {
    /// A token that names no key may be signed by any of its algorithm (RFC 7515 section 4.1.4: the name is a hint).
    pub(super) fn find(&self, id: Option<&str>, algorithm: JwtAlgorithm) -> Found<'_> {
        let all = || self.own.iter().chain(&*self.fetched);
        let is_named = |key: &&Key| match (id, key.id.as_deref()) {
            (Some(id), Some(own)) => id == own,
            // Keys without a name, as in a PEM file, are meant by every name.
            (_, None) | (None, Some(_)) => true,
        };
        let mut named = all().filter(is_named).peekable();
        if named.peek().is_none() {
            return Found::Unknown;
        }
        let keys: SmallVec<[&Key; 2]> = named.filter(|key| key.algorithm == algorithm).collect();
        match keys.is_empty() {
            false => Found::Keys(keys),
            true if self.may_be_elsewhere(id) => Found::Unknown,
            true => Found::OtherAlgorithm,
        }
    }

    /// Whether a token may be signed by a key of the provider that is not known yet: that name is not known.
    pub(super) fn may_be_elsewhere(&self, id: Option<&str>) -> bool {
        let mut all = self.own.iter().chain(&*self.fetched);
        self.freshness != Freshness::Fixed && id.is_some() && !all.any(|key| key.id.as_deref() == id)
    }
}
