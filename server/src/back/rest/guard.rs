//! Who may use the private port: bearer keys compared in constant time; without keys only this machine.

use super::Desk;
use super::problem::{FORBIDDEN, Problem, UNAUTHENTICATED};
use crate::config::Secret;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;

/// Lets a request through or answers 401 or 403.
pub(super) async fn check(
    State(desk): State<Desk>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let keys = &desk.config.private.keys;
    if keys.is_empty() {
        loopback_host(request.headers())?;
    } else if !is_open(request.uri().path()) && !bears_key(request.headers(), keys) {
        return Err(Problem::new(&UNAUTHENTICATED, "no key, or not one of private.keys"));
    }
    Ok(next.run(request).await)
}

/// Whether a request has one of the keys as its bearer token. Every key is compared, so that the time tells nothing about which
/// one came close.
pub(crate) fn bears_key(headers: &HeaderMap, keys: &[Secret]) -> bool {
    let given = bearer(headers).unwrap_or_default();
    keys.iter().fold(false, |known, key| known | key.matches(given.as_bytes()))
}

/// Probes of a supervisor carry no key and learn nothing; the live page asks for one itself.
fn is_open(path: &str) -> bool {
    path == "/" || path.starts_with("/health/") || path.starts_with("/v1/problems/")
}

/// Without keys the port is bound to loopback. A web page could still reach it through a name of its own that resolves
/// to 127.0.0.1, so the Host must be a loopback one.
fn loopback_host(headers: &HeaderMap) -> Result<(), Problem> {
    if is_loopback_host(headers) {
        return Ok(());
    }
    Err(Problem::new(
        &FORBIDDEN,
        "without private.keys the Host header must be localhost or a loopback address",
    ))
}

/// Whether the Host names this machine.
pub(crate) fn is_loopback_host(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let is_address = name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    is_address || name.eq_ignore_ascii_case("localhost")
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_host(host: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        headers
    }

    #[test]
    fn only_loopback_hosts_pass_without_keys() {
        for host in ["localhost", "LOCALHOST:9000", "127.0.0.1:9000", "127.9.9.9", "[::1]:9000"] {
            assert!(loopback_host(&with_host(host)).is_ok(), "{host}");
        }
        for host in ["evil.example", "evil.example:9000", "10.0.0.1", "localhost.evil.example", ""] {
            assert!(loopback_host(&with_host(host)).is_err(), "{host}");
        }
        assert!(loopback_host(&HeaderMap::new()).is_err());
    }

    #[test]
    fn the_scheme_of_the_key_is_case_insensitive() {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, "bEaReR abc".parse().unwrap());
        assert_eq!(bearer(&headers), Some("abc"));
        headers.insert(header::AUTHORIZATION, "Basic abc".parse().unwrap());
        assert_eq!(bearer(&headers), None);
    }
}
