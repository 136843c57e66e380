//! Tokens that tests sign themselves.

#![allow(unreachable_pub, missing_docs, clippy::unwrap_used, reason = "helpers of tests")]

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

/// Of the key `auth.jwt.secret`.
pub const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Seconds since 1970.
pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Of these claims, by that key.
pub fn token(claims: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","kid":"k"}"#);
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes())))
}

/// With what is allowed on which filters, and perhaps more; good for ten minutes.
pub fn token_for(user: &str, filters: &str, allow: &str, more: &str) -> String {
    let grant = format!(r#"{{"filters":[{filters}],"allow":[{allow}]}}"#);
    token(&format!(
        r#"{{"sub":"{user}","exp":{}{more},"trunkline":{{"permissions":[{grant}]}}}}"#,
        now_s() + 600
    ))
}
