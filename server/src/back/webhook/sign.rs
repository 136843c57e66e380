//! Signatures of requests, as Standard Webhooks 1.0.0 has them: whoever has the secret knows that nobody else wrote this body
//! under this id at this time.
//!
//! Must not know what is signed. Start at [`Signer`].

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use crate::config::WebhookSecret;

/// Signs with every secret of a webhook.
pub(super) struct Signer(Vec<hmac::Key>);

impl Signer {
    pub(super) fn new(secrets: &[WebhookSecret]) -> Self {
        Self(secrets.iter().map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret.expose())).collect())
    }

    /// The value of `webhook-signature`: `v1,<base64>`, of each secret, with spaces between them. `timestamp` is seconds since
    /// 1970, of this attempt; `id` has no dot.
    pub(super) fn header(&self, id: &str, timestamp: &str, body: &[u8]) -> String {
        let mut header = String::with_capacity(self.0.len() * 48);
        for key in &self.0 {
            let mut signing = hmac::Context::with_key(key);
            [id.as_bytes(), b".", timestamp.as_bytes(), b".", body]
                .iter()
                .for_each(|part| signing.update(part));
            if !header.is_empty() {
                header.push(' ');
            }
            header.push_str("v1,");
            STANDARD.encode_string(signing.sign().as_ref(), &mut header);
        }
        header
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> WebhookSecret {
        WebhookSecret::parse(text).unwrap()
    }

    /// Vectors of the reference libraries of Standard Webhooks.
    #[test]
    fn signatures_are_those_of_the_standard() {
        let signer = Signer::new(&[secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]);
        let body = br#"{"test": 2432232314}"#;
        let header = signer.header("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body);
        assert_eq!(header, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn old_and_new_secret_sign_together() {
        let (old, new) = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_ZXhhbXBsZS1vZi0yNC1ieXRlcy1sb25n");
        let alone = |text: &str| Signer::new(&[secret(text)]).header("id", "1", b"{}");
        let both = Signer::new(&[secret(old), secret(new)]).header("id", "1", b"{}");
        assert_eq!(both, format!("{} {}", alone(old), alone(new)));
        assert_ne!(alone(old), alone(new));
        assert_ne!(alone(old), Signer::new(&[secret(old)]).header("id", "2", b"{}"), "the time is signed");
        assert_ne!(alone(old), Signer::new(&[secret(old)]).header("ie", "1", b"{}"), "the id is signed");
    }
}
