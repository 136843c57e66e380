//! SCRAM-SHA-256 (RFC 5802, RFC 7677): a client proves that it knows a password, and the server that it does, and nobody
//! who listens learns it.
//!
//! Owns the messages of the method and what is kept of passwords. Of a user that does not exist a client sees what it
//! would see of one that does, a salt that is always the same included. Channel binding is not offered: the TLS of the
//! connection may end before this server. Must not know packets or connections. Start at [`Scram::begin`].

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use ring::{hmac, pbkdf2};
use subtle::ConstantTimeEq as _;

use crate::config::{MqttUser, prepared};

/// As in Authentication Method.
pub(super) const METHOD: &str = "SCRAM-SHA-256";

/// The least that RFC 7677 allows, section 4: what is kept of passwords is derived from the configuration, which has them
/// in plain text, so more would protect nothing.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).expect("not 0");

const HASH_BYTES: usize = 32;
const SALT_BYTES: usize = 16;

/// Of the server's part of a nonce, before base64.
pub(super) const NONCE_BYTES: usize = 18;

/// Longest part of a client, which is kept and sent back.
const CLIENT_NONCE_BYTES_MAX: usize = 256;

/// Why a client is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// What it says is not of the method, or demands what is not offered.
    Unfit,
    /// It does not know the password, or there is no such user.
    Unproven,
}

/// All users, in the form that the method needs.
pub(super) struct Scram {
    /// Makes salts; random, so that they are worth nothing elsewhere.
    key: hmac::Key,
    /// By their prepared names.
    users: HashMap<Box<str>, User>,
}

/// One of them.
struct User {
    /// As it is configured.
    name: Arc<str>,
    verifier: Verifier,
}

/// What is kept of a password.
#[derive(Clone, Copy)]
struct Verifier {
    stored_key: [u8; HASH_BYTES],
    server_key: [u8; HASH_BYTES],
}

/// An exchange in which the client has to prove itself. Some 300 bytes.
pub(super) struct Exchange {
    user: Arc<str>,
    /// `None`: there is no such user, which only the end tells.
    verifier: Option<Verifier>,
    /// The client's header as it has to come back, in base64.
    header: String,
    /// Of both sides.
    nonce: String,
    /// What the proof is about so far.
    said: String,
}

/// The end of an exchange that succeeded.
#[derive(Debug)]
pub(super) struct Proven {
    /// Who it is.
    pub(super) user: Arc<str>,
    /// The server's proof, for the client.
    pub(super) data: String,
}

impl Scram {
    /// Takes some milliseconds per user: at the start, because later it would hold up a shard, and tell by its time who is
    /// a user.
    pub(super) fn new(users: &[MqttUser]) -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &ring::rand::SystemRandom::new())
            .expect("the operating system has a random source");
        let known = |user: &MqttUser| {
            let name = prepared(user.name.as_str());
            let password = prepared(user.password.expose());
            let verifier = Verifier::derive(password.as_bytes(), &salt(&key, &name));
            (name.into(), User { name: user.name.as_str().into(), verifier })
        };
        let users = users.iter().map(known).collect();
        Self { key, users }
    }

    /// Takes the client's first message; gives the server's.
    ///
    /// # Errors
    /// [`Failure::Unfit`].
    pub(super) fn begin(
        &self,
        client_first: &[u8],
        random: [u8; NONCE_BYTES],
    ) -> Result<(Exchange, String), Failure> {
        let first = ClientFirst::parse(client_first).ok_or(Failure::Unfit)?;
        let salt = salt(&self.key, &first.user);
        let (user, verifier) = match self.users.get(&*first.user) {
            Some(user) => (Arc::clone(&user.name), Some(user.verifier)),
            None => (first.user.as_str().into(), None),
        };
        let (mut exchange, answer) = Exchange::new(&first, verifier, &salt, &STANDARD.encode(random));
        exchange.user = user;
        Ok((exchange, answer))
    }
}

impl Exchange {
    fn new(
        first: &ClientFirst<'_>,
        verifier: Option<Verifier>,
        salt: &[u8],
        server_nonce: &str,
    ) -> (Self, String) {
        let nonce = format!("{}{server_nonce}", first.nonce);
        let server_first = format!("r={nonce},s={},i={ITERATIONS}", STANDARD.encode(salt));
        let exchange = Self {
            user: first.user.as_str().into(),
            verifier,
            header: STANDARD.encode(first.header),
            nonce,
            said: format!("{},{server_first}", first.bare),
        };
        (exchange, server_first)
    }

    /// Takes the client's last message, its proof.
    ///
    /// # Errors
    /// [`Failure`].
    pub(super) fn finish(self, client_final: &[u8]) -> Result<Proven, Failure> {
        let text = std::str::from_utf8(client_final).map_err(|_| Failure::Unfit)?;
        let (unproven, proof) = text.rsplit_once(",p=").ok_or(Failure::Unfit)?;
        let mut fields = unproven.split(',');
        let header = fields.next().and_then(|field| field.strip_prefix("c="));
        let nonce = fields.next().and_then(|field| field.strip_prefix("r="));
        if header != Some(&*self.header) || nonce != Some(&*self.nonce) {
            return Err(Failure::Unfit);
        }
        let proof = STANDARD.decode(proof).map_err(|_| Failure::Unfit)?;
        let proof: [u8; HASH_BYTES] = proof.try_into().map_err(|_| Failure::Unfit)?;
        let said = format!("{},{unproven}", self.said);
        let verifier = self.verifier.unwrap_or(Verifier::NOBODY);
        let is_proven = verifier.is_proven_by(proof, said.as_bytes());
        if !is_proven || self.verifier.is_none() {
            return Err(Failure::Unproven);
        }
        let data = format!("v={}", STANDARD.encode(sign(&verifier.server_key, said.as_bytes())));
        Ok(Proven { user: self.user, data })
    }
}

impl Verifier {
    /// Of nobody; what is done with it takes the time that it takes with another.
    const NOBODY: Self = Self { stored_key: [0; HASH_BYTES], server_key: [0; HASH_BYTES] };

    fn derive(password: &[u8], salt: &[u8]) -> Self {
        let mut salted = [0; HASH_BYTES];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ITERATIONS, salt, password, &mut salted);
        let client_key = sign(&salted, b"Client Key");
        Self { stored_key: hash(&client_key), server_key: sign(&salted, b"Server Key") }
    }

    /// Whether a proof is of this password and about what was said.
    fn is_proven_by(&self, proof: [u8; HASH_BYTES], said: &[u8]) -> bool {
        let mut client_key = proof;
        let signature = sign(&self.stored_key, said);
        client_key.iter_mut().zip(signature).for_each(|(byte, other)| *byte ^= other);
        hash(&client_key).ct_eq(&self.stored_key).into()
    }
}

/// The first message of a client, in its parts.
struct ClientFirst<'a> {
    /// Whether the client binds to the channel, and as whom it wants to act.
    header: &'a str,
    /// The rest.
    bare: &'a str,
    /// Prepared.
    user: String,
    nonce: &'a str,
}

impl<'a> ClientFirst<'a> {
    fn parse(message: &'a [u8]) -> Option<Self> {
        let message = std::str::from_utf8(message).ok()?;
        let (binding, rest) = message.split_once(',')?;
        let (acting, bare) = rest.split_once(',')?;
        let header = message.strip_suffix(bare)?;
        // A client that demands channel binding would be told a lie by going on.
        if !matches!(binding, "n" | "y") {
            return None;
        }
        let mut fields = bare.split(',');
        // An extension that must be understood (`m=`) would stand before the name.
        let user = name(fields.next()?.strip_prefix("n=")?)?;
        let nonce = fields.next()?.strip_prefix("r=")?;
        let may_act = match acting {
            "" => true,
            acting => name(acting.strip_prefix("a=")?)? == user,
        };
        let is_nonce = (1..=CLIENT_NONCE_BYTES_MAX).contains(&nonce.len())
            && nonce.bytes().all(|byte| byte.is_ascii_graphic());
        (may_act && is_nonce).then_some(Self { header, bare, user, nonce })
    }
}

/// A name, prepared, as it was before `,` and `=` were written in another way; `None` for what is no name.
fn name(text: &str) -> Option<String> {
    let mut parts = text.split('=');
    let mut name = String::from(parts.next()?);
    for part in parts {
        let (written, rest) = part.split_at_checked(2)?;
        name.push(match written {
            "2C" => ',',
            "3D" => '=',
            _ => return None,
        });
        name.push_str(rest);
    }
    // What has nothing but characters that are mapped to nothing is none either.
    let name = prepared(&name).into_owned();
    (!name.is_empty()).then_some(name)
}

fn salt(key: &hmac::Key, user: &str) -> [u8; SALT_BYTES] {
    let mut salt = [0; SALT_BYTES];
    let code = hmac::sign(key, user.as_bytes());
    salt.iter_mut().zip(code.as_ref()).for_each(|(to, from)| *to = *from);
    salt
}

fn sign(key: &[u8], data: &[u8]) -> [u8; HASH_BYTES] {
    let code = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data);
    code.as_ref().try_into().expect("a code of SHA-256 has so many bytes")
}

fn hash(data: &[u8]) -> [u8; HASH_BYTES] {
    digest(&SHA256, data).as_ref().try_into().expect("SHA-256 gives so many bytes")
}

impl std::fmt::Debug for Scram {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Scram({} users)", self.users.len())
    }
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Exchange({})", self.user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Machine, SourceFile, Sources};

    const CLIENT_FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                                p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

    /// The exchange of RFC 7677, section 3.
    fn example() -> (Exchange, String) {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let first = ClientFirst::parse(CLIENT_FIRST.as_bytes()).unwrap();
        let verifier = Some(Verifier::derive(b"pencil", &salt));
        Exchange::new(&first, verifier, &salt, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
    }

    #[test]
    fn the_example_of_the_standard() {
        let (exchange, server_first) = example();
        assert_eq!(
            server_first,
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        let proven = exchange.finish(CLIENT_FINAL.as_bytes()).unwrap();
        assert_eq!(&*proven.user, "user");
        assert_eq!(proven.data, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn whatever_differs_proves_nothing() {
        let cases = [
            (CLIENT_FINAL.replace("p=dH", "p=eH"), Failure::Unproven),
            (CLIENT_FINAL.replace("k0,", "k1,"), Failure::Unfit),
            (CLIENT_FINAL.replace("biws", "eSws"), Failure::Unfit),
            (CLIENT_FINAL.replace("k0,p", "k0,x=1,p"), Failure::Unproven),
            (CLIENT_FINAL.replace(",p=", ",q="), Failure::Unfit),
            (CLIENT_FINAL.replace("dHzb", ""), Failure::Unfit),
            (CLIENT_FINAL.replace("dHzb", "????"), Failure::Unfit),
            (String::new(), Failure::Unfit),
        ];
        for (message, failure) in cases {
            assert_eq!(example().0.finish(message.as_bytes()).unwrap_err(), failure, "{message}");
        }
        assert_eq!(example().0.finish(&[0xff]).unwrap_err(), Failure::Unfit);
    }

    #[test]
    fn first_messages_are_taken_apart_strictly() {
        for (message, user) in [
            ("n,,n=a,r=x", "a"),
            ("y,,n=a,r=x", "a"),
            ("n,a=a,n=a,r=x", "a"),
            ("n,,n=a=2Cb=3D,r=x", "a,b="),
            ("n,,n=é,r=x,e=1", "é"),
            ("n,,n=I\u{ad}X,r=x", "IX"),
            ("n,a=\u{aa},n=a,r=x", "a"),
            ("n,,n=e\u{301},r=x", "é"),
            // Not allowed by SASLprep (a control character): as it is written.
            ("n,,n=\u{7}\u{aa},r=x", "\u{7}\u{aa}"),
        ] {
            assert_eq!(ClientFirst::parse(message.as_bytes()).unwrap().user, user, "{message}");
        }
        let long = format!("n,,n=a,r={}", "x".repeat(CLIENT_NONCE_BYTES_MAX + 1));
        for message in [
            "",
            "n",
            "n,,",
            "n,,n=,r=x",
            "n,,n=\u{ad},r=x",
            "n,,n=a",
            "n,,n=a,r=",
            "n,,n=a,r= ",
            "n,,r=x,n=a",
            "n,,n=a=2c,r=x",
            "n,,n=a=2,r=x",
            "n,,n=a=,r=x",
            "n,,n=a=é,r=x",
            "n,,m=1,n=a,r=x",
            "n,a=b,n=a,r=x",
            "n,b,n=a,r=x",
            "p=tls-unique,,n=a,r=x",
            "x,,n=a,r=x",
            &long,
        ] {
            assert!(ClientFirst::parse(message.as_bytes()).is_none(), "{message}");
        }
        assert!(ClientFirst::parse(&[b'n', b',', b',', 0xff]).is_none());
    }

    /// RFC 5802, section 2.2: however a name and a password were typed, in the configuration or at the client.
    #[test]
    fn names_and_passwords_count_after_saslprep() {
        let scram = Scram::new(&users("[[mqtt.user]]\nname = \"Ren\u{e9}\"\npassword = \"\u{2168}\u{ad}\""));
        let (exchange, server_first) =
            scram.begin("n,,n=Rene\u{301},r=abc".as_bytes(), [1; NONCE_BYTES]).unwrap();
        let salt = STANDARD.decode(server_first.split(',').nth(1).unwrap().trim_start_matches("s=")).unwrap();
        let unproven = format!("c=biws,{}", server_first.split(',').next().unwrap());
        let said = format!("n=Rene\u{301},r=abc,{server_first},{unproven}");
        let proven =
            exchange.finish(format!("{unproven},p={}", proof(b"IX", &salt, &said)).as_bytes()).unwrap();
        assert_eq!(&*proven.user, "Ren\u{e9}");
    }

    fn users(text: &str) -> Vec<MqttUser> {
        let sources = Sources {
            presets: vec![("auth.mode", "anonymous".into())],
            file: Some(SourceFile { name: "trunkline.toml".into(), text: text.into() }),
            ..Sources::default()
        };
        let machine = Machine { cores: 1, open_files_max: 1_000_000 };
        Config::load(&sources, machine).unwrap_or_else(|problems| panic!("{problems}")).config.mqtt_users
    }

    /// What a client of the method sends that knows a password.
    fn proof(password: &[u8], salt: &[u8], said: &str) -> String {
        let mut salted = [0; HASH_BYTES];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ITERATIONS, salt, password, &mut salted);
        let mut client_key = sign(&salted, b"Client Key");
        let signature = sign(&hash(&client_key), said.as_bytes());
        client_key.iter_mut().zip(signature).for_each(|(byte, other)| *byte ^= other);
        STANDARD.encode(client_key)
    }

    #[test]
    fn an_unknown_user_looks_like_a_known_one_until_the_end() {
        let scram = Scram::new(&[]);
        let first = |user: &str, random| {
            let message = format!("n,,n={user},r=abc");
            scram.begin(message.as_bytes(), [random; NONCE_BYTES]).unwrap().1
        };
        let salt = |message: &str| message.split(',').nth(1).unwrap().to_owned();
        assert_eq!(salt(&first("a", 1)), salt(&first("a", 2)));
        assert_ne!(salt(&first("a", 1)), salt(&first("b", 1)));
        assert_ne!(first("a", 1), first("a", 2));
        let (exchange, server_first) = scram.begin(b"n,,n=a,r=abc", [1; NONCE_BYTES]).unwrap();
        let nonce = server_first.split(',').next().unwrap();
        let message = format!("c=biws,{nonce},p={}", STANDARD.encode([0; HASH_BYTES]));
        assert_eq!(exchange.finish(message.as_bytes()).unwrap_err(), Failure::Unproven);
    }
}
