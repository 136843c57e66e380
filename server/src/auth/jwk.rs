//! JWK sets (RFC 7517): the keys in one that can verify a token.
//!
//! Must not know where a set comes from. Start at [`keys_of_set`].

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::key::Key;
use crate::config::JwtAlgorithm as Algorithm;

/// Of one set; more is not a set of keys.
const KEYS_MAX: usize = 1000;

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

/// One key. Members that are not known here say nothing (RFC 7517 section 4).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    k: Option<String>,
}

/// Whose set it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeysOf {
    /// A file of ours: secrets are taken, and what is broken is a mistake that is told.
    Us,
    /// It came from afar, where it is for everybody to see, and may have keys of new kinds: secrets are left out, and so is what
    /// cannot be used.
    Provider,
}

/// The keys of a set, or one key, in JSON. Keys for other uses, or of kinds that are not known here, are left out
/// (RFC 7517 section 5).
///
/// # Errors
/// What is wrong, as a predicate: it is no set, none of its keys is left, or one of our own that should be of use is broken.
pub(crate) fn keys_of_set(json: &[u8], of: KeysOf) -> Result<Vec<Key>, String> {
    let value: serde_json::Value =
        serde_json::from_slice(json).map_err(|error| format!("must be JSON: {error}"))?;
    let members = if value.get("keys").is_some() {
        serde_json::from_value::<Set>(value).map_err(|error| format!("must be a JWK set: {error}"))?.keys
    } else {
        vec![value]
    };
    if members.len() > KEYS_MAX {
        return Err(format!("must hold at most {KEYS_MAX} keys, got {}", members.len()));
    }
    let (mut keys, mut broken) = (Vec::new(), None);
    for (index, member) in members.into_iter().enumerate() {
        let jwk = serde_json::from_value::<Jwk>(member).map_err(|error| error.to_string());
        match jwk.and_then(|jwk| jwk.key(of)) {
            Ok(key) => keys.extend(key),
            Err(text) => {
                let text = format!("has a key that cannot be used: keys[{index}] {text}");
                if of == KeysOf::Us {
                    return Err(text);
                }
                tracing::info!("the set of keys of tokens {text}");
                broken.get_or_insert(text);
            }
        }
    }
    let nothing = || broken.unwrap_or_else(|| "must hold a key that can verify a signature".into());
    if keys.is_empty() { Err(nothing()) } else { Ok(keys) }
}

impl Jwk {
    /// `None`: it is for something else.
    fn key(&self, of: KeysOf) -> Result<Option<Key>, String> {
        let is_signing = self.purpose.as_deref().is_none_or(|purpose| purpose == "sig");
        let may_verify = self.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        let algorithm = match self.alg.as_deref().map(algorithm_of) {
            None => None,
            Some(Some(algorithm)) => Some(algorithm),
            Some(None) => return Ok(None),
        };
        if !is_signing || !may_verify {
            return Ok(None);
        }
        let id = self.kid.as_deref();
        match (self.kty.as_str(), self.crv.as_deref()) {
            ("oct", _) if of == KeysOf::Provider => Ok(None),
            ("oct", _) => {
                Key::secret(id, algorithm.unwrap_or(Algorithm::Hs256), &number("k", &self.k)?).map(Some)
            }
            ("RSA", _) => {
                let numbers = (number("n", &self.n)?, number("e", &self.e)?);
                Key::rsa(id, algorithm, (&numbers.0, &numbers.1)).map(Some)
            }
            ("EC", Some("P-256")) => self.elliptic((Algorithm::Es256, 32), algorithm).map(Some),
            ("EC", Some("P-384")) => self.elliptic((Algorithm::Es384, 48), algorithm).map(Some),
            ("EC", Some("P-521")) => self.elliptic((Algorithm::Es512, 66), algorithm).map(Some),
            ("OKP", Some("Ed25519")) => {
                only(Algorithm::EdDsa, algorithm)?;
                Key::point(id, Algorithm::EdDsa, &number("x", &self.x)?).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Both coordinates have the length of the field (RFC 7518 section 6.2.1.2).
    fn elliptic(&self, (own, bytes): (Algorithm, usize), named: Option<Algorithm>) -> Result<Key, String> {
        only(own, named)?;
        let (x, y) = (number("x", &self.x)?, number("y", &self.y)?);
        if x.len() != bytes || y.len() != bytes {
            return Err(format!("must have coordinates of {bytes} bytes"));
        }
        Key::point(self.kid.as_deref(), own, &[&[4], &*x, &*y].concat())
    }
}

fn only(own: Algorithm, named: Option<Algorithm>) -> Result<(), String> {
    match named.filter(|named| *named != own) {
        Some(named) => Err(format!("must be for {}, got {}", own.as_str(), named.as_str())),
        None => Ok(()),
    }
}

fn number(name: &str, text: &Option<String>) -> Result<Vec<u8>, String> {
    let text = text.as_deref().ok_or_else(|| format!("must have `{name}`"))?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| format!("must have `{name}` in base64url without padding"))
}

/// By its name in a header or JWK; `none` is not among them.
pub(super) fn algorithm_of(name: &str) -> Option<Algorithm> {
    Algorithm::ALL.iter().copied().find(|algorithm| algorithm.as_str() == name)
}
