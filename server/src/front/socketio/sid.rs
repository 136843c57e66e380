//! The two secrets a client holds: the Engine.IO `sid` and the recovery `pid`.
//!
//! Owns their bytes and their verification. Neither costs memory beyond the 16 random bytes of a sid: a pid is
//! derived from the session id with a key of the node. Only for a session of an earlier process, whose key is gone, an
//! [`OldPid`] is kept. Both name a place, so that any shard can route a request without a map, and both give the
//! connection away: they are never logged and never leave for the back end.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hub::{SessionId, ShardId};
use ring::digest::{Context, SHA256};
use ring::hmac;
use subtle::ConstantTimeEq as _;

/// Bytes of a sid: node 2, shard 1, slot 4, secret 16.
const SID_BYTES: usize = 23;
/// Bytes of a session id and of the truncated code behind it in a pid (RFC 2104 section 5 allows half of SHA-256).
const ID_BYTES: usize = 15;
const CODE_BYTES: usize = 15;

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
/// can name any session as his own, so it is never shown and ends with the process.
#[derive(Clone)]
pub struct PidKey(Arc<hmac::Key>);

/// By what a pid of an earlier process is known: a digest of it, so that whoever reads it cannot name the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PidProof(pub [u8; 16]);

impl PidProof {
    fn of(session: SessionId, code: Code) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(b"trunkline pid");
        context.update(&session.0);
        context.update(&code.0);
        let digest = context.finish();
        let mut proof = [0; 16];
        proof.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
        Self(proof)
    }
}

/// The part of a pid that proves that it is genuine.
#[derive(Clone, Copy)]
pub(super) struct Code([u8; CODE_BYTES]);

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Code(..)")
    }
}

/// The pid of a session that an earlier process made. Clients take a session for recovered only when its pid stays.
#[derive(Clone, Copy, Debug)]
pub(super) struct OldPid {
    session: SessionId,
    proof: PidProof,
    /// Known once the client has shown it.
    code: Option<Code>,
}

impl OldPid {
    pub(super) fn new(session: SessionId, proof: PidProof) -> Self {
        Self { session, proof, code: None }
    }

    pub(super) fn is_of(&self, session: SessionId) -> bool {
        self.session == session
    }

    pub(super) fn proof(&self) -> PidProof {
        self.proof
    }

    /// Whether this is it.
    pub(super) fn matches(&self, shown: &ShownPid) -> bool {
        self.is_of(shown.session) && same_bytes(&PidProof::of(shown.session, shown.code).0, &self.proof.0)
    }

    /// The client has shown it.
    pub(super) fn learn(&mut self, shown: &ShownPid) {
        self.code = Some(shown.code);
    }

    /// Its text, once it is known.
    pub(super) fn text(&self) -> Option<String> {
        self.code.map(|code| pid_text(self.session, code))
    }
}

/// What a client presents as a pid, genuine or not.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShownPid {
    pub(super) session: SessionId,
    code: Code,
}

impl ShownPid {
    /// Reads the 40 characters of base64url; `None` for anything else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; ID_BYTES + CODE_BYTES + 1];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        let (id, rest) = bytes.split_first_chunk::<ID_BYTES>()?;
        let (code, _) = rest.split_first_chunk::<CODE_BYTES>()?;
        (length == ID_BYTES + CODE_BYTES).then_some(Self { session: SessionId(*id), code: Code(*code) })
    }
}

impl PidKey {
    /// A new one: no pid that was made before is genuine.
    #[must_use]
    pub fn generate() -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &ring::rand::SystemRandom::new());
        Self(Arc::new(key.expect("the operating system has a random source")))
    }

    fn code(&self, session: SessionId) -> Code {
        let mac = hmac::sign(&self.0, &session.0);
        let mut code = [0; CODE_BYTES];
        code.iter_mut().zip(mac.as_ref()).for_each(|(to, from)| *to = *from);
        Code(code)
    }

    /// The pid of a session: 40 characters of base64url over the session id and its code.
    pub(super) fn pid(&self, session: SessionId) -> String {
        pid_text(session, self.code(session))
    }

    /// By what the next process will know that pid.
    pub(super) fn proof(&self, session: SessionId) -> PidProof {
        PidProof::of(session, self.code(session))
    }

    /// Whether a pid was made with this key.
    pub(super) fn is_genuine(&self, shown: &ShownPid) -> bool {
        same_bytes(&shown.code.0, &self.code(shown.session).0)
    }
}

impl std::fmt::Debug for PidKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PidKey(..)")
    }
}

fn pid_text(session: SessionId, code: Code) -> String {
    let mut bytes = Vec::with_capacity(ID_BYTES + CODE_BYTES);
    bytes.extend_from_slice(&session.0);
    bytes.extend_from_slice(&code.0);
    URL_SAFE_NO_PAD.encode(bytes)
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
        let verified = |key: &PidKey, text: &str| {
            ShownPid::parse(text).filter(|shown| key.is_genuine(shown)).map(|shown| shown.session)
        };
        assert_eq!(verified(&key, &text), Some(session));
        let other = key.pid(SessionId([4; 15]));
        let forged = format!("{}{}", &other[..20], &text[20..]);
        assert_eq!(verified(&key, &forged), None);
        assert_eq!(verified(&key, &text[..39]), None);
        assert_eq!(verified(&key, &format!("{text}AAAA")), None);
        assert_eq!(verified(&PidKey::generate(), &text), None);
        assert_eq!(format!("{key:?}"), "PidKey(..)");
    }

    #[test]
    fn a_pid_of_an_earlier_process_is_known_by_its_proof_and_given_out_only_after_it_was_shown() {
        let (key, session) = (PidKey::generate(), SessionId([3; 15]));
        let mut old = OldPid::new(session, key.proof(session));
        assert_eq!(old.text(), None);
        let shown = ShownPid::parse(&key.pid(session)).unwrap();
        let (other, forged) = (key.pid(SessionId([4; 15])), PidKey::generate().pid(session));
        for wrong in [other, forged] {
            assert!(!old.matches(&ShownPid::parse(&wrong).unwrap()));
        }
        assert!(old.matches(&shown));
        old.learn(&shown);
        assert_eq!(old.text(), Some(key.pid(session)));
        assert!(!format!("{old:?}{shown:?}").contains("Code(["), "a code is never shown");
    }
}
