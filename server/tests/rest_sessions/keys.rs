//! Keys of tokens in a file that is read again.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::support::token::{SECRET, token};
use super::support::whole::folder::Folder;
use super::{socket, start};

fn jwk(secret: &str) -> String {
    format!(r#"{{"kty":"oct","alg":"HS256","k":"{}"}}"#, URL_SAFE_NO_PAD.encode(secret))
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_read_again_and_stay_when_they_cannot_be() {
    let folder = Folder::new("keys");
    let path = folder.file("keys.json", &jwk("another-secret-of-at-least-32-bytes!"));
    let server = start(&[("auth.mode", "jwt"), ("auth.jwt.key_file", &path)]).await;
    let is_let_in = || socket(server.public_addr(), &token("{\"sub\":\"u1\"}")).1.starts_with("40{");
    assert!(!is_let_in());
    folder.file("keys.json", &jwk(SECRET));
    assert_eq!(server.reload_keys().await.unwrap(), Some(1));
    assert!(is_let_in());
    for bad in ["{\"kty\":\"oct\"}", "no key", ""] {
        folder.file("keys.json", bad);
        let error = server.reload_keys().await.unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("auth.jwt.key_file: {path}: ")) && error.len() > path.len() + 25,
            "{error}"
        );
        assert!(is_let_in(), "{bad}");
    }
    std::fs::remove_file(&path).unwrap();
    let error = server.reload_keys().await.unwrap_err().to_string();
    assert!(error.contains("No such file"), "{error}");
    assert!(is_let_in());
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_file_there_is_nothing_to_read() {
    let server = start(&[("auth.mode", "jwt"), ("auth.jwt.secret", SECRET)]).await;
    assert_eq!(server.reload_keys().await.unwrap(), None);
    server.drain().await;
}
