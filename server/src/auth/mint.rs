//! Tokens that this server makes itself, for back ends that have no library for it.
//!
//! They are signed by the secret of the configuration, and say nothing that would be refused of them later. Start at [`mint`].

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::UnixMs;
use super::claims::Claims;
use super::key::Key;
use super::keys::secret_algorithm;
use super::permissions::Pool;
use crate::config::{Config, Text};

/// Why there is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MintError {
    /// The configuration does not want it.
    Off,
    /// Claims that are the server's to say, or that it would refuse.
    Claims(&'static str),
}

/// Makes a token of these claims, which is good from `now` on for so many seconds. `id` is its `jti`, unless the claims have one.
pub(crate) fn mint(
    config: &Config,
    claims: Map<String, Value>,
    id: String,
    (now, lifetime_seconds): (UnixMs, u64),
) -> Result<String, MintError> {
    let jwt = &config.jwt;
    let secret = jwt.secret.as_ref().filter(|_| jwt.sign_tokens).ok_or(MintError::Off)?;
    if ["exp", "nbf", "iat"].into_iter().any(|name| claims.contains_key(name)) {
        return Err(MintError::Claims("exp, nbf and iat follow from lifetime_seconds"));
    }
    let mut all = claims;
    let now_s = now.0 / 1000;
    all.insert("iat".to_owned(), json!(now_s));
    all.insert("exp".to_owned(), json!(now_s.saturating_add(lifetime_seconds)));
    all.entry("jti").or_insert_with(|| Value::from(id));
    for (name, configured) in [("iss", &jwt.issuer), ("aud", &jwt.audience)] {
        if let Some(first) = configured.first().map(Text::as_str) {
            all.entry(name).or_insert_with(|| Value::from(first));
        }
    }
    let payload = Value::Object(all).to_string();
    let wrong = |_| MintError::Claims("claims that a token with them would be refused for");
    Claims::read(payload.as_bytes())
        .and_then(|claims| claims.grant(None, &mut Pool::default()))
        .map_err(wrong)?;
    let algorithm = secret_algorithm(jwt);
    let header = json!({ "alg": algorithm.as_str(), "typ": "JWT" }).to_string();
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let key = Key::secret(None, algorithm, secret.expose()).map_err(|_| MintError::Off)?;
    let signature = key.sign(signed.as_bytes()).ok_or(MintError::Off)?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}
