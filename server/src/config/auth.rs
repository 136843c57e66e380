//! The keys of tokens: by what they are verified, and what they have to say; and the keys of the private port that have scopes.
//!
//! Must not know how a token is read (`auth/`). Start at [`Jwt`].

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use axum::http::Uri;
use axum::http::uri::Scheme;
use subtle::ConstantTimeEq as _;

use super::mqtt::Text;
use super::names::CookieName;
use super::table::{Flaw, Kind, Setting, Value, section, words};
use super::webhook::{is_near, without_query};

section! {
    /// Tokens, for `auth.mode = "jwt"`: JSON Web Tokens (RFC 7519), signed by a key that is named here. `sub` is the user; `exp`,
    /// `nbf` and `iat` count with `leeway_seconds`; the claim `trunkline` is an object of `permissions`, `subscriptions`, `info`,
    /// `state`, `client_id` and `namespaces`, each of which may be left out. A client shows its token as `auth.token`
    /// (Socket.IO), as password (MQTT, with any user name) or by the method `JWT` (MQTT 5), as `Authorization: Bearer`, as query
    /// parameter `access_token`, or in a cookie; the first of them that is there counts.
    ///
    /// At least one of `secret`, `key_file` and `jwks_url` has to be set; of several all keys count. A key is good for one
    /// algorithm: a JWK for its `alg`, else as its kind says (RSA: RS256, P-256: ES256, P-384: ES384, P-521: ES512, Ed25519:
    /// EdDSA); a token that names another one is refused.
    pub struct Jwt at Once "auth.jwt" {
        /// A key for HS256, HS384 or HS512, of at least 32, 48 or 64 bytes.
        secret: Option<JwtSecret> = none, example "replace-by-the-output-of-openssl-rand-hex-32";
        /// File with public keys: PEM (`PUBLIC KEY` or `CERTIFICATE`, one or more), or a JWK or JWK set (RFC 7517). It is read
        /// at the start, and again at SIGHUP: when it cannot be read, or holds what is no key, the old keys stay and the log says why.
        key_file: Option<PathBuf> = none, example "/etc/trunkline/tokens.pem";
        /// Whether `POST /v1/tokens` makes tokens for clients, signed by `secret`. Whoever may use it (scope `admin`) may be anybody.
        sign_tokens: bool = false;
        /// The algorithm of `secret`, and of the RSA keys in a PEM file; without it HS256 and RS256.
        algorithm: Option<JwtAlgorithm> = none, example "HS512";
        /// Where an identity provider has its JWK set. It is fetched at the start, then as its `Cache-Control` says, and when a
        /// token names a key that is not known, but not more often than every 10 s. While it cannot be fetched the keys of before
        /// stay, and clients whose key is not known are closed, not refused, so that they come back. Keys in it that cannot be
        /// used here are left out. Redirects are not followed.
        /// Plain `http` is for this machine and private networks only. It needs `audience`.
        jwks_url: Option<JwksUrl> = none, example "https://id.example.com/.well-known/jwks.json";
        /// How long a set is good that says nothing of that.
        jwks_refresh_seconds: u32 = 300, 10..=86_400 "seconds";
        /// PEM file with the authorities that the certificate of `jwks_url` has to come from; without it those of the system.
        jwks_ca_file: Option<PathBuf> = none, example "/etc/trunkline/tls/idp.pem";
        /// Who a token has to be for: one of these has to be in its `aud`. Empty: `aud` is not looked at.
        audience: Vec<Text> = [], example ["https://chat.example.com"];
        /// Who a token has to come from: its `iss` has to be one of these. Empty: `iss` is not looked at.
        issuer: Vec<Text> = [], example ["https://id.example.com/"];
        /// How far the clocks of those who make tokens may be off. A connection is closed so long after its token's `exp`.
        leeway_seconds: u16 = 30, 0..=300 "seconds";
        /// Name of a cookie that may hold the token. Web pages of other origins send it too where the browser lets them, so list
        /// those that may connect in `socketio.cors_origins`.
        cookie: Option<CookieName> = none, example "session";
    }
}

words! {
    /// An algorithm of signatures (RFC 7518 section 3.1, RFC 8037).
    pub enum JwtAlgorithm {
        /// HMAC with SHA-256
        Hs256 = "HS256",
        /// HMAC with SHA-384
        Hs384 = "HS384",
        /// HMAC with SHA-512
        Hs512 = "HS512",
        /// RSASSA-PKCS1-v1_5 with SHA-256
        Rs256 = "RS256",
        /// RSASSA-PKCS1-v1_5 with SHA-384
        Rs384 = "RS384",
        /// RSASSA-PKCS1-v1_5 with SHA-512
        Rs512 = "RS512",
        /// RSASSA-PSS with SHA-256
        Ps256 = "PS256",
        /// RSASSA-PSS with SHA-384
        Ps384 = "PS384",
        /// RSASSA-PSS with SHA-512
        Ps512 = "PS512",
        /// ECDSA on P-256 with SHA-256
        Es256 = "ES256",
        /// ECDSA on P-384 with SHA-384
        Es384 = "ES384",
        /// ECDSA on P-521 with SHA-512
        Es512 = "ES512",
        /// EdDSA on Ed25519
        EdDsa = "EdDSA",
    }
}

words! {
    /// Who may do something with a channel.
    pub enum Who {
        /// no client; the back end may
        Nobody = "nobody",
        /// clients whose token grants it
        Token = "token",
        /// the user, or the client, whose id stands where the filter has `{user}` or `{client}`
        Own = "own",
        /// whom the back end lets, which is asked each time: a `[[webhook]]` with `channel.subscribe` or `channel.publish` among its
        /// types, or the Rust program with Trunkline inside
        Webhook = "webhook",
        /// everybody who is let in
        Anyone = "anyone",
    }
}

section! {
    /// A key of the private port that may do a part of what there is. What is written here is its hash, so whoever reads the
    /// configuration cannot use it: make a key with `openssl rand -hex 32`, and its hash with `printf %s KEY | sha256sum`. The keys
    /// of `private.keys` may do everything.
    pub struct PrivateKey at Many "private.key" {
        /// For people, and in the log.
        name: Text = required, example "billing";
        /// SHA-256 of the key, as 64 hexadecimal digits. The key has to be random: a hash of words can be guessed.
        sha256: KeyHash = required, example "f4b1bbac8d2bd69ff2fbe9fe0a1c20d2b5ff1ad8c46f4d0bbf8d1e4b2f0f7d11";
        /// What it may do.
        scopes: Vec<Scope> = required, example ["read", "publish"];
    }
}

words! {
    /// What a key of the private port may do.
    pub enum Scope {
        /// look: lists, histories, metrics, what is published
        Read = "read",
        /// publish, and set and remove retained values
        Publish = "publish",
        /// everything
        Admin = "admin",
    }
}

impl Setting for Vec<Scope> {
    const KIND: Kind = Kind::List("`read`, `publish` or `admin`");

    fn read(value: &Value) -> Result<Self, Flaw> {
        let scopes: Self = value.list()?.iter().map(Scope::read).collect::<Result<_, _>>()?;
        if scopes.is_empty() { Err(value.flaw("must name at least one scope")) } else { Ok(scopes) }
    }
}

/// The hash of a key. Its text appears in no log and no message.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// Whether it is the hash of a presented key, in a time that tells nothing.
    pub fn is_of(&self, presented: &[u8]) -> bool {
        let hash = ring::digest::digest(&ring::digest::SHA256, presented);
        self.0.ct_eq(hash.as_ref()).into()
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("KeyHash(..)")
    }
}

impl Setting for KeyHash {
    const KIND: Kind = Kind::Text("64 hexadecimal digits");

    fn read(value: &Value) -> Result<Self, Flaw> {
        let text = value.text()?;
        let digit = |at: usize| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let mut hash = [0; 32];
        let is_hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let wrong =
            || value.flaw("must be a SHA-256, 64 hexadecimal digits; the key itself does not belong here");
        for (at, byte) in hash.iter_mut().enumerate() {
            *byte = digit(2 * at).filter(|_| is_hex).ok_or_else(wrong)?;
        }
        Ok(Self(hash))
    }
}

/// A key of HMAC. Its text appears in no log and no message.
#[derive(Clone, PartialEq, Eq)]
pub struct JwtSecret(Box<str>);

impl JwtSecret {
    /// The shortest key, which is HS256's (RFC 7518 section 3.2).
    pub const BYTES_MIN: usize = 32;

    /// The bytes.
    pub fn expose(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for JwtSecret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JwtSecret(..)")
    }
}

impl Setting for JwtSecret {
    const KIND: Kind = Kind::Text("secret text");

    fn read(value: &Value) -> Result<Self, Flaw> {
        let text = value.text()?;
        if text.len() < Self::BYTES_MIN {
            let text = format!("must be at least {} bytes long, got {}", Self::BYTES_MIN, text.len());
            return Err(value.flaw(text));
        }
        Ok(Self(text.into()))
    }
}

/// Where a JWK set is.
#[derive(Clone, PartialEq, Eq)]
pub struct JwksUrl {
    text: Box<str>,
    url: Uri,
}

impl fmt::Debug for JwksUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "JwksUrl({self})")
    }
}

/// Without its query, which may hold a secret.
impl fmt::Display for JwksUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(without_query(&self.text))
    }
}

impl JwksUrl {
    /// All of it; it has no user information.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is asked for by TLS.
    pub fn is_secure(&self) -> bool {
        self.url.scheme() == Some(&Scheme::HTTPS)
    }

    /// Host and port.
    pub fn authority(&self) -> String {
        let usual = if self.is_secure() { 443 } else { 80 };
        format!("{}:{}", self.url.host().unwrap_or_default(), self.url.port_u16().unwrap_or(usual))
    }

    /// One that was not looked at.
    #[cfg(test)]
    pub(crate) fn at(text: &str) -> Self {
        Self { text: text.into(), url: text.parse().unwrap() }
    }
}

impl Setting for JwksUrl {
    const KIND: Kind = Kind::Text("URL");

    fn read(value: &Value) -> Result<Self, Flaw> {
        let text = value.text()?;
        let wrong = || {
            value.flaw("must be a URL such as \"https://id.example.com/jwks.json\", without a user and `#`")
        };
        let url: Uri = text.parse().map_err(|_| wrong())?;
        let host = url.host().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
        let is_plain = !text.contains(['@', '#']);
        match url.scheme_str().filter(|_| is_plain) {
            Some("https") => Ok(Self { text: text.into(), url }),
            Some("http") if may_be_near(host) => Ok(Self { text: text.into(), url }),
            Some("http") => Err(value
                .flaw(format!("must be https, since {host} is not on this machine or a private network"))),
            _ => Err(wrong()),
        }
    }
}

/// Whether a host can be reached without crossing the internet: a loopback or private address, or a name without dots, whose
/// addresses are looked at when it is asked.
fn may_be_near(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(address) => is_near(address),
        Err(_) => !host.contains('.') || host.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_stays_near() {
        for near in ["localhost", "keycloak", "127.0.0.1", "10.1.2.3", "192.168.0.1", "[::1]", "[fd00::1]"] {
            assert!(may_be_near(near), "{near}");
        }
        for far in [
            "id.example.com",
            "8.8.8.8",
            "[2001:db8::1]",
            "localhost.example.com",
            "172.32.0.1",
            "169.254.169.254",
        ] {
            assert!(!may_be_near(far), "{far}");
        }
    }

    #[test]
    fn the_query_of_a_set_is_shown_nowhere() {
        let url = JwksUrl::at("https://id.example.com/keys?token=hush");
        assert_eq!(
            format!("{url} {url:?}"),
            "https://id.example.com/keys JwksUrl(https://id.example.com/keys)"
        );
        assert!(url.as_str().ends_with("hush"));
    }

    #[test]
    fn a_key_is_known_by_its_hash() {
        let hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        let value = |text: &str| Value {
            written: super::super::table::Written::Text(text.into()),
            place: super::super::Place::Default,
        };
        let read = KeyHash::read(&value(hash)).unwrap();
        assert!(read.is_of(b"test") && !read.is_of(b"Test") && !read.is_of(b""));
        assert_eq!(format!("{read:?}"), "KeyHash(..)");
        for bad in ["", "test", &hash[1..], &format!("{hash}0"), &hash.replace('9', "+")] {
            assert!(KeyHash::read(&value(bad)).is_err(), "{bad}");
        }
    }
}
