//! The two secrets a client holds: the Engine.IO `sid` and the recovery `pid`.
//!
//! Owns their bytes and their verification. Neither costs memory beyond the 16 random bytes of a sid: a pid is
//! derived from the session id with a key of the node. Both name a place, so that any shard can route a request
//! without a map, and both give the connection away: they are never logged and never leave for the back end.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hub::{SessionId, ShardId};
use ring::hmac;
use subtle::ConstantTimeEq as _;

/// Bytes of a sid: node 2, shard 1, slot 4, secret 16.
const SID_BYTES: usize = 23;
/// Bytes of a session id and of the truncated code behind it in a pid (RFC 2104 section 5 allows half of SHA-256).
const ID_BYTES: usize = 15;
const CODE_BYTES: usize = 15;
/// Bytes of the key of pids: as many as SHA-256 gives (RFC 2104 section 3).
const KEY_BYTES: usize = 32;

/// The unguessable part of a sid.
#[derive(Clone, Copy)]
pub struct Secret(pub(super) [u8; 16]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Secret {
    /// A number that is as random as the secret, for spreading sessions over time without memory.
    pub(super) fn spread(&self) -> u64 {
        let Self([a, b, c, d, ..]) = *self;
        u64::from(u32::from_be_bytes([a, b, c, d]))
    }

    /// Compares all bytes whatever the outcome, so that the time tells nothing.
    pub(super) fn matches(&self, other: &Self) -> bool {
        same_bytes(&self.0, &other.0)
    }
}

/// An Engine.IO session's name.
#[derive(Clone, Copy)]
pub(super) struct Sid {
    pub(super) node: u16,
    pub(super) shard: ShardId,
    pub(super) slot: u32,
    pub(super) secret: Secret,
}

impl Sid {
    /// Reads the 31 characters of base64url; `None` for anything else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; SID_BYTES + 1];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        if length != SID_BYTES {
            return None;
        }
        let (node, rest) = bytes.split_first_chunk::<2>()?;
        let (&[shard], rest) = rest.split_first_chunk::<1>()?;
        let (slot, rest) = rest.split_first_chunk::<4>()?;
        let (secret, _) = rest.split_first_chunk::<16>()?;
        let (node, slot) = (u16::from_be_bytes(*node), u32::from_be_bytes(*slot));
        Some(Self { node, shard: ShardId(shard), slot, secret: Secret(*secret) })
    }

    /// The text form, 31 characters.
    pub(super) fn text(&self) -> String {
        let mut bytes = Vec::with_capacity(SID_BYTES);
        bytes.extend_from_slice(&self.node.to_be_bytes());
        bytes.push(self.shard.0);
        bytes.extend_from_slice(&self.slot.to_be_bytes());
        bytes.extend_from_slice(&self.secret.0);
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

/// The key of pids: one for all shards of a node, because a pid of one shard is presented to any other. Whoever has it
/// can name any session as his own, so it is never shown.
#[derive(Clone)]
pub struct PidKey {
    bytes: [u8; KEY_BYTES],
    key: Arc<hmac::Key>,
}

impl PidKey {
    /// A new one: no pid that was made before is genuine.
    #[must_use]
    pub fn generate() -> Self {
        let mut bytes = [0; KEY_BYTES];
        getrandom::fill(&mut bytes).expect("the operating system has a random source");
        Self::from_bytes(bytes)
    }

    /// The one that an earlier process had, whose sessions go on.
    #[must_use]
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self { bytes, key: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &bytes)) }
    }

    /// For the process after this one, as secret as the key.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; KEY_BYTES] {
        self.bytes
    }

    /// The pid of a session: 40 characters of base64url over the session id and its code.
    pub(super) fn pid(&self, session: SessionId) -> String {
        let code = hmac::sign(&self.key, &session.0);
        let mut bytes = Vec::with_capacity(ID_BYTES + CODE_BYTES);
        bytes.extend_from_slice(&session.0);
        bytes.extend(code.as_ref().iter().take(CODE_BYTES));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The session a pid names; `None` when it was not made with this key.
    pub(super) fn verify(&self, text: &str) -> Option<SessionId> {
        let mut bytes = [0; ID_BYTES + CODE_BYTES + 1];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        let (id, rest) = bytes.split_first_chunk::<ID_BYTES>()?;
        let (shown, _) = rest.split_first_chunk::<CODE_BYTES>()?;
        let code = hmac::sign(&self.key, id);
        let genuine = same_bytes(shown, code.as_ref().get(..CODE_BYTES)?);
        (length == ID_BYTES + CODE_BYTES && genuine).then_some(SessionId(*id))
    }
}

impl std::fmt::Debug for PidKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PidKey(..)")
    }
}

fn same_bytes(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sid_survives_its_text_form() {
        let sid = Sid { node: 513, shard: ShardId(7), slot: 70_000, secret: Secret([0xa5; 16]) };
        let text = sid.text();
        assert_eq!(text.len(), 31);
        let back = Sid::parse(&text).unwrap();
        assert_eq!((back.node, back.shard, back.slot), (513, ShardId(7), 70_000));
        assert!(back.secret.matches(&sid.secret));
        assert!(!back.secret.matches(&Secret([0xa4; 16])));
    }

    #[test]
    fn foreign_texts_are_no_sids() {
        for text in ["", "abc", "lv_VI97HAXpY6yYWAAAC", &"A".repeat(32), &"A".repeat(300), "ä"] {
            assert!(Sid::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_pid_is_verified_and_bound_to_its_session() {
        let (key, session) = (PidKey::generate(), SessionId([3; 15]));
        let text = key.pid(session);
        assert_eq!(text.len(), 40);
        assert_eq!(key.verify(&text), Some(session));
        let other = key.pid(SessionId([4; 15]));
        let forged = format!("{}{}", &other[..20], &text[20..]);
        assert_eq!(key.verify(&forged), None);
        assert_eq!(key.verify(&text[..39]), None);
        assert_eq!(key.verify(&format!("{text}AAAA")), None);
    }

    #[test]
    fn a_pid_is_good_for_whoever_has_the_key_and_nobody_else() {
        let (key, session) = (PidKey::generate(), SessionId([3; 15]));
        let text = key.pid(session);
        assert_eq!(PidKey::from_bytes(key.to_bytes()).verify(&text), Some(session));
        assert_eq!(PidKey::generate().verify(&text), None);
        assert_eq!(format!("{key:?}"), "PidKey(..)");
    }
}
