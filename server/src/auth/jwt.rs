//! Tokens: compact JWS (RFC 7515) with claims (RFC 7519).
//!
//! Owns the order of the checks: form, key, algorithm, signature, and only then what is in it. The key fixes the algorithm: a
//! token that names another one, or `none`, is refused before anything is computed. Must not know where keys come from.
//! Start at [`Rules::verify`].

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::UnixMs;
use super::claims::Claims;
use super::jwk::algorithm_of;
use super::keys::{Found, KeySet};
use crate::config::Config;
use crate::objects::{self, present};

/// Why a token is no good. The texts are for clients and logs, and tell nothing of what is in the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is none.
    Missing,
    /// Longer than `limits.token_bytes_max`.
    TooLong,
    /// Not three parts of base64url, or a header that cannot be read or wants what is not known here.
    Malformed,
    /// Not the algorithm of its key.
    Algorithm,
    /// No key of that name.
    UnknownKey,
    /// Not made by that key.
    Signature,
    /// `exp` is over.
    Expired,
    /// `nbf` or `iat` is to come.
    NotYet,
    /// Not for this server.
    Audience,
    /// Not from somebody who makes tokens for it.
    Issuer,
    /// Its claims have not the form they should have.
    Claims,
    /// Its `jti` is on the list.
    Revoked,
}

impl Refusal {
    /// For clients and logs.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Missing => "a token is needed",
            Self::TooLong => "the token is too long",
            Self::Malformed => "the token is malformed",
            Self::Algorithm => "the token is not signed by the algorithm of its key",
            Self::UnknownKey => "the token's key is not known",
            Self::Signature => "the token's signature is wrong",
            Self::Expired => "the token has expired",
            Self::NotYet => "the token is not valid yet",
            Self::Audience => "the token is for another audience",
            Self::Issuer => "the token is from another issuer",
            Self::Claims => "the token's claims are malformed",
            Self::Revoked => "the token is revoked",
        }
    }
}

/// What a token has to be, from the configuration.
#[derive(Debug)]
pub(super) struct Rules {
    bytes_max: usize,
    audience: Vec<String>,
    issuer: Vec<String>,
    leeway_ms: u64,
}

/// What came of looking at a token.
#[derive(Debug)]
pub(super) enum Looked {
    /// It is good; when its session is to be closed.
    Good(Box<Claims>, Option<UnixMs>),
    /// It is not.
    Refused(Refusal),
    /// Its key is not known, which may change; when it says that it was made, and the leeway.
    UnknownKey(Option<UnixMs>),
}

/// What came of looking at a signature.
enum Signed {
    /// By one of the keys; the content.
    Known(Vec<u8>),
    /// By none of them, but perhaps by one that is not known; what it says.
    Unknown(Vec<u8>),
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default, deserialize_with = "present")]
    kid: Option<String>,
    /// What has to be understood (RFC 7515 section 4.1.11): nothing is, whatever it says.
    #[serde(default, deserialize_with = "present")]
    crit: Option<IgnoredAny>,
}

impl Rules {
    pub(super) fn new(config: &Config) -> Self {
        let texts = |list: &[crate::config::Text]| list.iter().map(|text| text.as_str().to_owned()).collect();
        Self {
            bytes_max: config.limits.token_bytes_max,
            audience: texts(&config.jwt.audience),
            issuer: texts(&config.jwt.issuer),
            leeway_ms: u64::from(config.jwt.leeway_seconds) * 1000,
        }
    }

    /// Looks at a token.
    pub(super) fn verify(&self, token: &str, keys: &KeySet, now: UnixMs) -> Looked {
        let claims = match self.authentic(token, keys) {
            Ok(Signed::Known(claims)) => claims,
            // Whoever lies here is looked at once more, and no more than that.
            Ok(Signed::Unknown(claims)) => match Claims::read(&claims) {
                Ok(claims) if claims.iat.is_some_and(|made| made > self.later(now)) => {
                    return Looked::Refused(Refusal::NotYet);
                }
                Ok(claims) => return Looked::UnknownKey(claims.iat.map(|made| self.later(made))),
                Err(refusal) => return Looked::Refused(refusal),
            },
            Err(refusal) => return Looked::Refused(refusal),
        };
        match Claims::read(&claims).and_then(|claims| self.judge(claims, now)) {
            Ok((claims, expires)) => Looked::Good(Box::new(claims), expires),
            Err(refusal) => Looked::Refused(refusal),
        }
    }

    /// A time and the leeway.
    fn later(&self, date: UnixMs) -> UnixMs {
        UnixMs(date.0.saturating_add(self.leeway_ms))
    }

    /// The content of a token, and whether one of the keys has signed it.
    fn authentic(&self, token: &str, keys: &KeySet) -> Result<Signed, Refusal> {
        if token.is_empty() {
            return Err(Refusal::Missing);
        }
        if token.len() > self.bytes_max {
            return Err(Refusal::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Refusal::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(Refusal::Malformed)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::Malformed);
        let (header, claims, signature) = (decode(header)?, decode(claims)?, decode(signature)?);
        let header: Header = objects::from_slice(&header).map_err(|_| Refusal::Malformed)?;
        if header.crit.is_some() {
            return Err(Refusal::Malformed);
        }
        let algorithm = algorithm_of(&header.alg).ok_or(Refusal::Algorithm)?;
        let candidates = match keys.find(header.kid.as_deref(), algorithm) {
            Found::Keys(keys) => keys,
            Found::OtherAlgorithm => return Err(Refusal::Algorithm),
            Found::Unknown => return Ok(Signed::Unknown(claims)),
        };
        let is_signed = candidates.iter().any(|key| key.verifies(signed.as_bytes(), &signature));
        match is_signed {
            true => Ok(Signed::Known(claims)),
            false if keys.may_be_elsewhere(header.kid.as_deref()) => Ok(Signed::Unknown(claims)),
            false => Err(Refusal::Signature),
        }
    }

    /// Whether claims hold now, and until when.
    fn judge(&self, claims: Claims, now: UnixMs) -> Result<(Claims, Option<UnixMs>), Refusal> {
        let expires = claims.exp.map(|end| self.later(end));
        if expires.is_some_and(|expires| expires <= now) {
            return Err(Refusal::Expired);
        }
        if [claims.nbf, claims.iat].into_iter().flatten().any(|start| start > self.later(now)) {
            return Err(Refusal::NotYet);
        }
        if !self.audience.is_empty() && !self.audience.iter().any(|own| claims.aud.has(own)) {
            return Err(Refusal::Audience);
        }
        let is_issuer = |issuer: &String| self.issuer.contains(issuer);
        if !self.issuer.is_empty() && !claims.iss.as_ref().is_some_and(is_issuer) {
            return Err(Refusal::Issuer);
        }
        Ok((claims, expires))
    }
}
