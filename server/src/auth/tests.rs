//! Tokens as the RFCs print them, and tokens made here for what the RFCs do not show.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

use super::jwk::{KeysOf, algorithm_of, keys_of_set};
use super::*;
use crate::config::{Config, Machine, SourceFile, Sources};

/// RFC 7515 appendix A.1.
const HS256_JWK: &str = r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#;
const HS256: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// RFC 7515 appendix A.2.
const RS256_JWK: &str = r#"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#;
const RS256: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
/// RFC 7515 appendix A.3.
const ES256_JWK: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
const ES256: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
/// RFC 7515 appendix A.4, whose content is no claims.
const ES512_JWK: &str = r#"{"kty":"EC","crv":"P-521","x":"AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk","y":"ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"}"#;
const ES512: &str = "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn";
/// RFC 7515 appendix A.5: signed by nobody.
const NONE: &str = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.";
/// RFC 8037 appendix A.4, likewise.
const ED25519_JWK: &str =
    r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
const ED25519: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

/// When those of appendix A of RFC 7515 are over.
const RFC_END_MS: u64 = 1_300_819_380_000;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A time of the tests' own, in seconds.
const NOW_S: u64 = 1_800_000_000;

fn config(jwt: &str) -> Config {
    let text = format!("[auth]\nmode = \"jwt\"\n[auth.jwt]\n{jwt}");
    let file = Some(SourceFile { name: "t".into(), text });
    let machine = Machine { cores: 1, open_files_max: 10_000 };
    Config::load(&Sources { file, ..Sources::default() }, machine).unwrap().config
}

fn gate(jwt: &str) -> Gate {
    Gate::new(&Shared::new(&config(jwt)).unwrap())
}

/// A gate that knows the keys of a set alone.
fn gate_with(set: &str) -> Gate {
    let shared = Shared::new(&config(&format!("secret = \"{SECRET}\""))).unwrap();
    shared.keys().replace(keys_of_set(set.as_bytes(), KeysOf::Us).unwrap(), UnixMs(0));
    Gate::new(&shared)
}

fn token_with(header: &str, claims: &str) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes())))
}

fn token(claims: &str) -> String {
    token_with(r#"{"alg":"HS256"}"#, claims)
}

fn admitted(gate: &mut Gate, token: &str, now_ms: u64) -> Result<Grant, Refusal> {
    match gate.admit(Some(token), UnixMs(now_ms)) {
        Verdict::Granted(grant) => Ok(*grant),
        Verdict::Refused(refusal) => Err(refusal),
        other => panic!("{other:?}"),
    }
}

fn judged(claims: &str) -> Result<Grant, Refusal> {
    admitted(&mut gate(&format!("secret = \"{SECRET}\"")), &token(claims), NOW_S * 1000)
}

#[test]
fn tokens_of_the_rfc_are_good_until_they_end_and_the_leeway_with_them() {
    for (jwk, token) in [(HS256_JWK, HS256), (RS256_JWK, RS256), (ES256_JWK, ES256)] {
        let mut gate = gate_with(jwk);
        let grant = admitted(&mut gate, token, RFC_END_MS + 29_999).unwrap();
        assert_eq!((grant.user, grant.expires), (None, Some(UnixMs(RFC_END_MS + 30_000))));
        assert_eq!(admitted(&mut gate, token, RFC_END_MS + 30_000).unwrap_err(), Refusal::Expired);
    }
}

#[test]
fn signatures_of_the_rfcs_are_genuine_and_changed_ones_are_not() {
    let all = [
        (HS256_JWK, HS256),
        (RS256_JWK, RS256),
        (ES256_JWK, ES256),
        (ES512_JWK, ES512),
        (ED25519_JWK, ED25519),
    ];
    for (jwk, token) in all {
        let key = keys_of_set(jwk.as_bytes(), KeysOf::Us).unwrap().remove(0);
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        assert!(key.verifies(signed.as_bytes(), &signature), "{token}");
        for at in [0, signature.len() / 2, signature.len() - 1] {
            let mut changed = signature.clone();
            changed[at] ^= 1;
            assert!(!key.verifies(signed.as_bytes(), &changed), "{token}");
        }
        let changed = signed.replace('.', ".a");
        assert!(!key.verifies(changed.as_bytes(), &signature), "{token}");
        assert!(!key.verifies(signed.as_bytes(), b"") && !key.verifies(signed.as_bytes(), &signature[1..]));
    }
}

#[test]
fn a_token_that_is_signed_by_nobody_is_refused_whatever_the_key() {
    for jwk in [HS256_JWK, RS256_JWK, ES256_JWK, ED25519_JWK] {
        assert_eq!(admitted(&mut gate_with(jwk), NONE, 0).unwrap_err(), Refusal::Algorithm);
    }
    for header in [r#"{"alg":"None"}"#, r#"{"alg":"nOnE"}"#, r#"{"alg":""}"#, r#"{"alg":"HS1"}"#] {
        let token = token_with(header, "{}");
        assert_eq!(
            admitted(&mut gate(&format!("secret = \"{SECRET}\"")), &token, 0).unwrap_err(),
            Refusal::Algorithm
        );
    }
    assert_eq!(algorithm_of("none"), None);
}

#[test]
fn the_key_fixes_the_algorithm() {
    // The classic: a public key of RSA is no secret of HMAC, whatever the token says.
    let header = r#"{"alg":"HS256"}"#;
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode("{}"));
    let shared =
        Shared::new(&config("key_file = \"/nonexistent\"\nsecret = \"0123456789abcdef0123456789abcdef\""));
    assert!(shared.unwrap_err().starts_with("auth.jwt.key_file: /nonexistent: "));
    let key = hmac::Key::new(hmac::HMAC_SHA256, RS256_JWK.as_bytes());
    let forged = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes())));
    let keys = keys_of_set(RS256_JWK.as_bytes(), KeysOf::Us).unwrap();
    assert!(keys.iter().all(|key| key.algorithm == crate::config::JwtAlgorithm::Rs256));
    assert_eq!(admitted(&mut gate_with(RS256_JWK), &forged, 0).unwrap_err(), Refusal::Signature);
    // And a good signature under another name of the same family.
    let jwk = RS256_JWK.replace("\"kty\"", "\"alg\":\"PS256\",\"kty\"");
    assert_eq!(admitted(&mut gate_with(&jwk), RS256, 0).unwrap_err(), Refusal::Algorithm);
}

#[test]
fn what_is_no_token_is_malformed() {
    let gate = &mut gate(&format!("secret = \"{SECRET}\""));
    let good = token("{}");
    assert!(admitted(gate, &good, 0).is_ok());
    let parts: Vec<&str> = good.split('.').collect();
    let cases = [
        "a".to_owned(),
        "..".to_owned(),
        format!("{}.{}", parts[0], parts[1]),
        format!("{good}.a"),
        format!("{good}="),
        format!(" {good}"),
        format!("{}.{}.{}", parts[0].replace('e', "+"), parts[1], parts[2]),
        token_with("[]", "{}"),
        token_with(r#"["HS256"]"#, "{}"),
        token_with(r#"{"alg":1}"#, "{}"),
        token_with(r#"{"alg":"HS256","alg":"HS256"}"#, "{}"),
        token_with(r#"{"alg":"HS256","crit":["exp"],"exp":1}"#, "{}"),
        token_with(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, "{}"),
        token_with(r#"{"alg":"HS256","crit":[]}"#, "{}"),
        token_with(r#"{"alg":"HS256","crit":null}"#, "{}"),
        token_with(r#"{"alg":"HS256","kid":null}"#, "{}"),
        token_with(r#"{"alg":"HS256","kid":7}"#, "{}"),
    ];
    for case in cases {
        assert_eq!(admitted(gate, &case, 0).unwrap_err(), Refusal::Malformed, "{case}");
    }
    assert_eq!(admitted(gate, "", 0).unwrap_err(), Refusal::Missing);
    assert!(matches!(gate.admit(None, UnixMs(0)), Verdict::Refused(Refusal::Missing)));
    assert_eq!(admitted(gate, &"a".repeat(16_385), 0).unwrap_err(), Refusal::TooLong);
}

#[test]
fn dates_count_with_the_leeway_and_have_to_be_dates() {
    let at = |offset: i64| (NOW_S as i64 + offset).to_string();
    for (claim, offset, expected) in [
        ("exp", -29, None),
        ("exp", -30, Some(Refusal::Expired)),
        ("nbf", 30, None),
        ("nbf", 31, Some(Refusal::NotYet)),
        ("iat", 30, None),
        ("iat", 31, Some(Refusal::NotYet)),
    ] {
        let claims = format!("{{\"{claim}\":{}}}", at(offset));
        assert_eq!(judged(&claims).err(), expected, "{claims}");
    }
    let half = format!("{{\"exp\":{}.5}}", at(-30));
    assert_eq!(judged(&half).unwrap().expires, Some(UnixMs(NOW_S * 1000 + 500)));
    for bad in ["\"2000000000\"", "null", "-1", "1e300", "true", "[1]", "999999999999"] {
        for claim in ["exp", "nbf", "iat"] {
            assert_eq!(
                judged(&format!("{{\"{claim}\":{bad}}}")).unwrap_err(),
                Refusal::Claims,
                "{claim} {bad}"
            );
        }
    }
}

#[test]
fn audience_and_issuer_are_checked_where_they_are_configured() {
    let jwt = format!("secret = \"{SECRET}\"\naudience = [\"a\", \"b\"]\nissuer = [\"i\"]");
    let gate = &mut gate(&jwt);
    for (claims, expected) in [
        (r#"{"aud":"a","iss":"i"}"#, None),
        (r#"{"aud":["x","b"],"iss":"i"}"#, None),
        (r#"{"aud":"x","iss":"i"}"#, Some(Refusal::Audience)),
        (r#"{"aud":[],"iss":"i"}"#, Some(Refusal::Audience)),
        (r#"{"iss":"i"}"#, Some(Refusal::Audience)),
        (r#"{"aud":"a","iss":"I"}"#, Some(Refusal::Issuer)),
        (r#"{"aud":"a"}"#, Some(Refusal::Issuer)),
        (r#"{"aud":1,"iss":"i"}"#, Some(Refusal::Claims)),
    ] {
        assert_eq!(admitted(gate, &token(claims), 0).err(), expected, "{claims}");
    }
}

#[test]
fn claims_become_what_a_session_gets() {
    let grant = judged(
        r#"{"sub":"u1","jti":"t1","trunkline":{"permissions":[{"filters":["a/#"],"allow":["subscribe","publish"]}],
        "subscriptions":["a/b"],"info":{"name":"U"},"state":"s","client_id":"c1","namespaces":["/","/chat"]},"other":[1]}"#,
    )
    .unwrap();
    assert_eq!((grant.user.as_deref(), grant.token_id.as_deref()), (Some("u1"), Some("t1")));
    assert_eq!(
        (grant.subscriptions.clone(), grant.info.as_deref()),
        (vec!["a/b".to_owned()], Some(&b"{\"name\":\"U\"}"[..]))
    );
    assert!(grant.has_namespace("/chat") && !grant.has_namespace("/admin"));
    assert!(grant.has_client_id("c1") && !grant.has_client_id("c2"));
    assert_eq!((grant.state.as_deref(), grant.expires), (Some("s"), None));
    let asker = Asker { permissions: grant.permissions.as_deref(), ..Asker::default() };
    let gate = gate(&format!("secret = \"{SECRET}\""));
    assert!(gate.may(asker, Action::Publish, "a/x") && !gate.may(asker, Action::Publish, "b"));
    assert!(!gate.may(asker, Action::History, "a/x"));
}

#[test]
fn claims_of_another_form_are_refused() {
    let long = format!(r#"{{"sub":"{}"}}"#, "u".repeat(513));
    let state = format!(r#"{{"trunkline":{{"state":"{}"}}}}"#, "s".repeat(4097));
    for claims in [
        "[]",
        "1",
        "",
        r#"{"sub":1}"#,
        r#"{"sub":""}"#,
        r#"{"sub":"a","sub":"b"}"#,
        r#"{"sub":null}"#,
        r#"{"jti":null}"#,
        r#"{"iss":null}"#,
        r#"{"trunkline":null}"#,
        r#"{"trunkline":{"state":"a","state":"b"}}"#,
        r#"{"trunkline":{"permision":[]}}"#,
        r##"{"trunkline":[[{"filters":["#"],"allow":["publish"]}]]}"##,
        r##"{"trunkline":{"permissions":[[["#"],["publish"]]]}}"##,
        r#"{"trunkline":{"permissions":[{"filters":["a"],"allow":["write"]}]}}"#,
        r##"{"trunkline":{"permissions":[{"filters":["a/#/b"],"allow":["publish"]}]}}"##,
        r#"{"trunkline":{"subscriptions":["$user/bob"]}}"#,
        r#"{"trunkline":{"subscriptions":[""]}}"#,
        &long,
        &state,
    ] {
        assert_eq!(judged(claims).unwrap_err(), Refusal::Claims, "{claims}");
    }
}

#[test]
fn a_key_that_is_not_known_may_come_with_the_next_set() {
    let set = |id: &str| HS256_JWK.replace("\"kty\"", &format!("\"kid\":\"{id}\",\"kty\""));
    let jwt = "jwks_url = \"https://id.example.com/keys\"\naudience = [\"a\"]";
    let shared = Shared::new(&config(jwt)).unwrap();
    let gate = &mut Gate::new(&shared);
    let token = token_with(r#"{"alg":"HS256","kid":"k2"}"#, r#"{"aud":"a"}"#);
    let later =
        |gate: &mut Gate, now_ms| matches!(gate.admit(Some(&token), UnixMs(now_ms)), Verdict::Later(_));
    assert!(later(gate, 0), "nothing was fetched yet");
    let keys = |id: &str| keys_of_set(set(id).as_bytes(), KeysOf::Us).unwrap();
    shared.keys().replace(keys("k1"), UnixMs(100_000));
    assert_eq!(
        admitted(gate, &token, 100_000).unwrap_err(),
        Refusal::UnknownKey,
        "it was looked for just now"
    );
    assert_eq!(admitted(gate, &token, 109_999).unwrap_err(), Refusal::UnknownKey);
    assert!(later(gate, 110_000), "it may have come since");
    // One that says when it was made is told at once: the set was fetched before that, or after.
    let made = |seconds: u64| {
        token_with(r#"{"alg":"HS256","kid":"k2"}"#, &format!(r#"{{"aud":"a","iat":{seconds}}}"#))
    };
    assert!(matches!(gate.admit(Some(&made(99)), UnixMs(101_000)), Verdict::Later(_)));
    assert_eq!(admitted(gate, &made(70), 101_000).unwrap_err(), Refusal::UnknownKey);
    assert_eq!(admitted(gate, &made(132), 101_000).unwrap_err(), Refusal::NotYet);
    shared.keys().lose();
    assert!(later(gate, 100_000), "whether it has come cannot be known");
    // The key that was known stays.
    let known = token_with(r#"{"alg":"HS256","kid":"k1"}"#, r#"{"aud":"a"}"#);
    assert_eq!(admitted(gate, &known, 100_000).unwrap_err(), Refusal::Signature);
    shared.keys().replace(keys("k2"), UnixMs(111_000));
    assert_eq!(admitted(gate, &token, 111_000).unwrap_err(), Refusal::Signature, "it is known by now");
}

#[test]
fn a_name_that_no_fixed_key_has_is_refused_for_good() {
    let jwk = HS256_JWK.replace("\"kty\"", "\"kid\":\"k1\",\"kty\"");
    let path = std::env::temp_dir().join(format!("trunkline-jwk-{}", std::process::id()));
    std::fs::write(&path, format!("{{\"keys\":[{jwk}]}}")).unwrap();
    let gate = &mut gate(&format!("key_file = \"{}\"", path.display()));
    std::fs::remove_file(path).unwrap();
    let token = token_with(r#"{"alg":"HS256","kid":"k2"}"#, "{}");
    assert_eq!(admitted(gate, &token, 0).unwrap_err(), Refusal::UnknownKey);
}

#[test]
fn sets_leave_out_what_cannot_verify_and_refuse_what_is_broken() {
    let taken = |json: &str| keys_of_set(json.as_bytes(), KeysOf::Us);
    let mixed = format!(
        r#"{{"keys":[{},{},{},{},{RS256_JWK}],"other":1}}"#,
        RS256_JWK.replace("\"kty\"", "\"use\":\"enc\",\"kty\""),
        RS256_JWK.replace("\"kty\"", "\"key_ops\":[\"sign\"],\"kty\""),
        RS256_JWK.replace("\"kty\"", "\"alg\":\"RSA-OAEP\",\"kty\""),
        r#"{"kty":"OKP","crv":"X25519","x":"AA"}"#,
    );
    assert_eq!(taken(&mixed).unwrap().len(), 1);
    assert_eq!(
        keys_of_set(HS256_JWK.as_bytes(), KeysOf::Provider).unwrap_err(),
        "must hold a key that can verify a signature",
        "a secret that everybody can fetch is none"
    );
    for (json, part) in [
        ("", "must be JSON"),
        ("{\"keys\":1}", "must be a JWK set"),
        ("{\"keys\":[]}", "must hold a key"),
        (r#"{"kty":"oct","k":"AAAA"}"#, "at least 32 bytes"),
        (r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#, "at least 2048 bits, got 17"),
        (r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#, "coordinates of 32 bytes"),
        (r#"{"kty":"EC","crv":"P-256","alg":"ES384","x":"AA","y":"AA"}"#, "must be for ES256, got ES384"),
        (r#"{"kty":"RSA","n":"A=","e":"AQAB"}"#, "base64url"),
        (r#"{"kty":"RSA","e":"AQAB"}"#, "must have `n`"),
    ] {
        let told = taken(json).unwrap_err();
        assert!(told.contains(part), "{told}");
    }
}

/// RFC 7517 section 5. A provider with one weak key, or one of a form of its own, kept everybody out.
#[test]
fn a_key_of_a_provider_that_cannot_be_used_does_not_spoil_the_others() {
    let fetched = |json: &str| keys_of_set(json.as_bytes(), KeysOf::Provider);
    let weak = r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#;
    let others = r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"},{"kty":"RSA","e":"AQAB"},{"kid":"x"},7"#;
    assert_eq!(fetched(&format!(r#"{{"keys":[{weak},{others},{RS256_JWK}]}}"#)).unwrap().len(), 1);
    let told = fetched(&format!(r#"{{"keys":[{weak},{others}]}}"#)).unwrap_err();
    assert!(told.contains("keys[0] must have a modulus of at least 2048 bits, got 17"), "{told}");
    // What an operator wrote is a mistake that is told.
    assert!(keys_of_set(format!(r#"{{"keys":[{weak},{RS256_JWK}]}}"#).as_bytes(), KeysOf::Us).is_err());
}

#[test]
fn other_modes_need_no_token() {
    let load = |mode: &str| {
        let text = format!("[auth]\nmode = \"{mode}\"");
        let file = Some(SourceFile { name: "t".into(), text });
        let machine = Machine { cores: 1, open_files_max: 10_000 };
        Gate::new(
            &Shared::new(&Config::load(&Sources { file, ..Sources::default() }, machine).unwrap().config)
                .unwrap(),
        )
    };
    assert!(
        matches!(load("anonymous").admit(None, UnixMs(0)), Verdict::Granted(grant) if grant.user.is_none())
    );
    assert!(matches!(load("back_end").admit(None, UnixMs(0)), Verdict::Ask));
}

#[test]
fn nothing_secret_is_in_debug_output() {
    let shared = Shared::new(&config(&format!("secret = \"{SECRET}\""))).unwrap();
    let told = format!("{shared:?} {:?}", config(&format!("secret = \"{SECRET}\"")));
    assert!(!told.contains(&SECRET[..16]), "{told}");
}

proptest::proptest! {
    #[test]
    fn whatever_is_shown_as_a_token_is_refused(text in ".{0,200}", parts in proptest::array::uniform3("[A-Za-z0-9_-]{0,60}")) {
        let gate = &mut gate(&format!("secret = \"{SECRET}\""));
        proptest::prop_assert!(admitted(gate, &text, 0).is_err());
        proptest::prop_assert!(admitted(gate, &parts.join("."), 0).is_err());
        // Signed, but by whoever writes what he likes into it.
        let _ = admitted(gate, &token(&text), 0);
        let _ = admitted(gate, &token_with(&text, "{}"), 0);
    }

    #[test]
    fn whatever_is_shown_as_a_set_is_no_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200), member in "[a-z]{1,3}", value in ".{0,40}") {
        let _ = keys_of_set(&bytes, KeysOf::Us);
        let value = serde_json::Value::from(value);
        for jwk in [RS256_JWK, ES256_JWK, ES512_JWK, ED25519_JWK, HS256_JWK] {
            let mut jwk: serde_json::Map<String, serde_json::Value> = serde_json::from_str(jwk).unwrap();
            jwk.insert(member.clone(), value.clone());
            let _ = keys_of_set(serde_json::to_string(&jwk).unwrap().as_bytes(), KeysOf::Us);
        }
    }
}
