//! One key by which signatures are verified, and where it comes from: a secret, PEM, or the numbers of a JWK.
//!
//! Owns which algorithm goes with which kind of key. The mathematics are `ring`'s; P-521, which it does not have, is `p521`'s.
//! Must not know tokens. Start at [`Key::verifies`].

use p521::ecdsa::signature::Verifier as _;
use ring::hmac;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use x509_cert::der::asn1::{ObjectIdentifier, UintRef};
use x509_cert::der::{Decode as _, Encode as _, Reader as _, SliceReader};
use x509_cert::spki::SubjectPublicKeyInfoRef;

use crate::config::JwtAlgorithm as Algorithm;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const ELLIPTIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// Shorter moduli can be factored, and `ring` takes none.
const RSA_BITS_MIN: usize = 2048;

/// A key and the one algorithm it is good for.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its name in a set.
    pub(super) id: Option<Box<str>>,
    pub(super) algorithm: Algorithm,
    material: Material,
}

enum Material {
    Secret(hmac::Key),
    /// Modulus and exponent, big-endian.
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
    /// An uncompressed point of P-256 or P-384, or the bytes of Ed25519.
    Point(Box<[u8]>),
    P521(Box<p521::ecdsa::VerifyingKey>),
}

impl std::fmt::Debug for Material {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("..")
    }
}

impl Key {
    /// Whether this key, by its algorithm, made the signature of a message.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Secret(key) => hmac::verify(key, message, signature).is_ok(),
            Material::Rsa(key) => rsa_parameters(self.algorithm)
                .is_some_and(|parameters| key.verify(parameters, message, signature).is_ok()),
            Material::Point(point) => {
                let Some(algorithm) = curve(self.algorithm) else { return false };
                UnparsedPublicKey::new(algorithm, point).verify(message, signature).is_ok()
            }
            Material::P521(key) => p521::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
        }
    }

    /// The signature of a message by a shared secret; others are not here to sign.
    pub(super) fn sign(&self, message: &[u8]) -> Option<hmac::Tag> {
        match &self.material {
            Material::Secret(key) => Some(hmac::sign(key, message)),
            Material::Rsa(_) | Material::Point(_) | Material::P521(_) => None,
        }
    }

    /// A shared secret.
    ///
    /// # Errors
    /// What is wrong, as a predicate (`must ..`).
    pub(super) fn secret(id: Option<&str>, algorithm: Algorithm, secret: &[u8]) -> Result<Self, String> {
        let (hash, bytes_min) = match algorithm {
            Algorithm::Hs256 => (hmac::HMAC_SHA256, 32),
            Algorithm::Hs384 => (hmac::HMAC_SHA384, 48),
            Algorithm::Hs512 => (hmac::HMAC_SHA512, 64),
            other => return Err(format!("must be for HS256, HS384 or HS512, got {}", other.as_str())),
        };
        if secret.len() < bytes_min {
            let name = algorithm.as_str();
            return Err(format!("must be at least {bytes_min} bytes long for {name}, got {}", secret.len()));
        }
        Ok(Self::new(id, algorithm, Material::Secret(hmac::Key::new(hash, secret))))
    }

    /// An RSA key by its numbers.
    ///
    /// # Errors
    /// As [`Key::secret`].
    pub(super) fn rsa(
        id: Option<&str>,
        algorithm: Option<Algorithm>,
        (modulus, exponent): (&[u8], &[u8]),
    ) -> Result<Self, String> {
        let algorithm = algorithm.unwrap_or(Algorithm::Rs256);
        if rsa_parameters(algorithm).is_none() {
            return Err(format!("must be for an RSA algorithm, got {}", algorithm.as_str()));
        }
        let plain =
            |number: &[u8]| -> Vec<u8> { number.iter().copied().skip_while(|byte| *byte == 0).collect() };
        let (n, e) = (plain(modulus), plain(exponent));
        let bits = n.first().map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
        if bits < RSA_BITS_MIN || e.is_empty() {
            return Err(format!("must have a modulus of at least {RSA_BITS_MIN} bits, got {bits}"));
        }
        Ok(Self::new(id, algorithm, Material::Rsa(RsaPublicKeyComponents { n, e })))
    }

    /// A point of the curve that goes with an algorithm: uncompressed, or the bytes of Ed25519.
    ///
    /// # Errors
    /// As [`Key::secret`].
    pub(super) fn point(id: Option<&str>, algorithm: Algorithm, point: &[u8]) -> Result<Self, String> {
        let is_long = |bytes: usize| point.len() == bytes;
        let is_plain = |bytes: usize| is_long(1 + 2 * bytes) && point.first() == Some(&4);
        let wrong = || format!("must be a point of the curve of {}", algorithm.as_str());
        let is_point = match algorithm {
            Algorithm::EdDsa => is_long(32),
            Algorithm::Es256 => is_plain(32),
            Algorithm::Es384 => is_plain(48),
            Algorithm::Es512 => {
                let key = p521::ecdsa::VerifyingKey::from_sec1_bytes(point).map_err(|_| wrong())?;
                return Ok(Self::new(id, algorithm, Material::P521(Box::new(key))));
            }
            _ => false,
        };
        if is_point { Ok(Self::new(id, algorithm, Material::Point(point.into()))) } else { Err(wrong()) }
    }

    fn new(id: Option<&str>, algorithm: Algorithm, material: Material) -> Self {
        Self { id: id.map(Box::from), algorithm, material }
    }
}

/// The keys of a PEM file: `PUBLIC KEY` and `CERTIFICATE`. `rsa` is the algorithm of its RSA keys.
///
/// # Errors
/// What is wrong, as a predicate of the file.
pub(super) fn keys_of_pem(pem: &[u8], rsa: Option<Algorithm>) -> Result<Vec<Key>, String> {
    let broken = |error: rustls::pki_types::pem::Error| format!("must be PEM: {error}");
    let mut keys = Vec::new();
    for key in SubjectPublicKeyInfoDer::pem_slice_iter(pem) {
        keys.push(key_of_der(&key.map_err(broken)?, rsa)?);
    }
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(broken)?;
        let parsed = x509_cert::Certificate::from_der(&certificate);
        let parsed = parsed.map_err(|error| format!("must hold certificates that can be read: {error}"))?;
        let key = parsed.tbs_certificate().subject_public_key_info().to_der();
        keys.push(key_of_der(&key.map_err(|error| error.to_string())?, rsa)?);
    }
    if keys.is_empty() {
        return Err("must hold a `PUBLIC KEY` or `CERTIFICATE`, or be a JWK or JWK set".into());
    }
    Ok(keys)
}

fn key_of_der(der: &[u8], rsa: Option<Algorithm>) -> Result<Key, String> {
    let wrong = |error: x509_cert::der::Error| format!("must hold public keys that can be read: {error}");
    let info = SubjectPublicKeyInfoRef::from_der(der).map_err(wrong)?;
    let bytes = info.subject_public_key.raw_bytes();
    match info.algorithm.oid {
        RSA | RSA_PSS => {
            let is_pss = info.algorithm.oid == RSA_PSS;
            let (modulus, exponent) = rsa_numbers(bytes).map_err(wrong)?;
            let algorithm = rsa.filter(|algorithm| rsa_parameters(*algorithm).is_some());
            Key::rsa(None, algorithm.or(is_pss.then_some(Algorithm::Ps256)), (modulus, exponent))
        }
        ED25519 => Key::point(None, Algorithm::EdDsa, bytes),
        ELLIPTIC => match info.algorithm.parameters_oid().map_err(|error| error.to_string())? {
            P256 => Key::point(None, Algorithm::Es256, bytes),
            P384 => Key::point(None, Algorithm::Es384, bytes),
            P521 => Key::point(None, Algorithm::Es512, bytes),
            other => Err(format!("must be of P-256, P-384 or P-521, got curve {other}")),
        },
        other => Err(format!("must hold RSA, EC or Ed25519 keys, got algorithm {other}")),
    }
}

/// `RSAPublicKey` of RFC 8017 appendix A.1.1.
fn rsa_numbers(der: &[u8]) -> Result<(&[u8], &[u8]), x509_cert::der::Error> {
    SliceReader::new(der)?.sequence(|reader| {
        let modulus = UintRef::decode(reader)?;
        let exponent = UintRef::decode(reader)?;
        Ok((modulus.as_bytes(), exponent.as_bytes()))
    })
}

fn rsa_parameters(algorithm: Algorithm) -> Option<&'static signature::RsaParameters> {
    match algorithm {
        Algorithm::Rs256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::Rs384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::Rs512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::Ps256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::Ps384 => Some(&signature::RSA_PSS_2048_8192_SHA384),
        Algorithm::Ps512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
        _ => None,
    }
}

fn curve(algorithm: Algorithm) -> Option<&'static dyn signature::VerificationAlgorithm> {
    match algorithm {
        Algorithm::Es256 => Some(&signature::ECDSA_P256_SHA256_FIXED),
        Algorithm::Es384 => Some(&signature::ECDSA_P384_SHA384_FIXED),
        Algorithm::EdDsa => Some(&signature::ED25519),
        _ => None,
    }
}
