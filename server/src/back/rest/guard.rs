//! Who may use the private port for what: bearer keys compared in constant time, and the scope that each operation needs;
//! without keys only this machine.
//!
//! Owns which key may do what. What an operation needs stands beside its handler and in the OpenAPI document, from which
//! [`Needs`] is read, so that both say the same. Start at [`check`].

use super::Desk;
use super::problem::{FORBIDDEN, Problem, UNAUTHENTICATED};
use crate::config::{Config, Scope};
use crate::front::is_of_other_page;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use serde_json::Value;
use std::collections::HashMap;
use utoipa::openapi::OpenApi;

/// What operations need, by method and path as in the document. What is not in it is for `admin`.
#[derive(Debug)]
pub(super) struct Needs(HashMap<(String, String), Need>);

/// What one operation needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// No key: probes of a supervisor have none and learn nothing.
    Nothing,
    /// A key with this scope.
    Scope(Scope),
}

/// What a key may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rights {
    /// Of the key, if it has one.
    name: Option<String>,
    scopes: Vec<Scope>,
}

impl Rights {
    fn have(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin)
    }
}

impl Needs {
    /// As the document says: `security` of an operation is empty, or names a scope of `key`.
    pub(super) fn of(document: &OpenApi) -> Self {
        let document = serde_json::to_value(document).unwrap_or_default();
        let mut needs = HashMap::new();
        let paths = document.get("paths").and_then(Value::as_object).into_iter().flatten();
        for (path, item) in paths {
            for (method, operation) in item.as_object().into_iter().flatten() {
                let key = (method.to_ascii_uppercase(), path.clone());
                needs.insert(key, need(operation.get("security")));
            }
        }
        // They are beside the document: what it describes, and a page that asks for a key itself.
        needs.insert(("GET".into(), "/v1/openapi.json".into()), Need::Scope(Scope::Read));
        needs.insert(("GET".into(), "/".into()), Need::Nothing);
        Self(needs)
    }

    fn find(&self, method: &Method, path: Option<&MatchedPath>) -> Need {
        let method = if method == Method::HEAD { Method::GET } else { method.clone() };
        let found = path.and_then(|path| self.0.get(&(method.to_string(), path.as_str().to_owned())));
        match (found, path) {
            (Some(need), _) => *need,
            // To be told that there is no such thing takes any key.
            (None, None) => Need::Scope(Scope::Read),
            (None, Some(_)) => Need::Scope(Scope::Admin),
        }
    }
}

fn need(security: Option<&Value>) -> Need {
    let Some(ways) = security.and_then(Value::as_array) else { return Need::Scope(Scope::Admin) };
    let scopes = ways.iter().find_map(|way| way.get("key")?.as_array());
    let Some(scopes) = scopes else { return Need::Nothing };
    match scopes.first().and_then(Value::as_str) {
        Some("read") => Need::Scope(Scope::Read),
        Some("publish") => Need::Scope(Scope::Publish),
        _ => Need::Scope(Scope::Admin),
    }
}

/// Lets a request through or answers 401 or 403.
pub(super) async fn check(
    State(desk): State<Desk>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if !desk.config.has_private_keys() {
        check_without_keys(request.headers())
            .map_err(|wrong| Problem::new(&FORBIDDEN, format!("without private.keys {wrong}")))?;
        return Ok(next.run(request).await);
    }
    let need = desk.needs.find(request.method(), request.extensions().get::<MatchedPath>());
    if let Need::Scope(scope) = need {
        let rights = rights_of(request.headers(), &desk.config);
        let rights = rights.ok_or_else(|| {
            Problem::new(&UNAUTHENTICATED, "no key, or not one of private.keys or of a [[private.key]]")
        })?;
        // What is not there can be told to every key.
        let is_there = request.extensions().get::<MatchedPath>().is_some();
        if is_there && !rights.have(scope) {
            let (name, scope) = (rights.name.unwrap_or_default(), scope.as_str());
            return Err(Problem::new(
                &FORBIDDEN,
                format!("this needs the scope `{scope}`, which the key `{name}` has not"),
            ));
        }
    }
    Ok(next.run(request).await)
}

/// Whether a request has a key that may do everything as its bearer token.
pub(crate) fn bears_admin_key(headers: &HeaderMap, config: &Config) -> bool {
    rights_of(headers, config).is_some_and(|rights| rights.have(Scope::Admin))
}

/// What the key of a request may do. Every key is compared, so that the time tells nothing about which one came close.
fn rights_of(headers: &HeaderMap, config: &Config) -> Option<Rights> {
    let given = bearer(headers).unwrap_or_default().as_bytes();
    let is_plain = config.private.keys.iter().fold(false, |known, key| known | key.matches(given));
    let hashed = config.private_keys.iter().fold(None, |known, key| {
        let is_it = key.sha256.is_of(given);
        if is_it { Some(key) } else { known }
    });
    match (is_plain, hashed) {
        (true, _) => Some(Rights { name: None, scopes: vec![Scope::Admin] }),
        (false, Some(key)) => {
            Some(Rights { name: Some(key.name.as_str().to_owned()), scopes: key.scopes.clone() })
        }
        (false, None) => None,
    }
}

/// Without keys a port is bound to loopback, and who reaches it may do everything. A web page could reach it through a name of
/// its own that resolves to 127.0.0.1, so the Host must be a loopback one, or by what it may send without a preflight.
///
/// # Errors
/// What is wrong.
pub(crate) fn check_without_keys(headers: &HeaderMap) -> Result<(), &'static str> {
    if is_of_foreign_page(headers) {
        return Err("no page of another origin is served");
    }
    if is_loopback_host(headers) {
        return Ok(());
    }
    Err("the Host header must be localhost or a loopback address")
}

fn is_of_foreign_page(headers: &HeaderMap) -> bool {
    // What is no text is of no origin that is known.
    is_of_other_page(|name| headers.get(name).map(|value| value.to_str().unwrap_or_default()))
}

/// Whether the Host names this machine.
fn is_loopback_host(headers: &HeaderMap) -> bool {
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
    use crate::config::{Machine, SourceFile, Sources};

    fn with(name: header::HeaderName, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn only_loopback_hosts_pass_without_keys() {
        for host in ["localhost", "LOCALHOST:9000", "127.0.0.1:9000", "127.9.9.9", "[::1]:9000"] {
            assert!(check_without_keys(&with(header::HOST, host)).is_ok(), "{host}");
        }
        for host in ["evil.example", "evil.example:9000", "10.0.0.1", "localhost.evil.example", ""] {
            assert!(check_without_keys(&with(header::HOST, host)).is_err(), "{host}");
        }
        assert!(check_without_keys(&HeaderMap::new()).is_err());
    }

    #[test]
    fn pages_of_other_origins_are_told_apart() {
        let said = |fields: &[(&'static str, &str)]| {
            let named = |(name, value): &(&'static str, &str)| {
                (header::HeaderName::from_static(name), value.parse().unwrap())
            };
            is_of_foreign_page(&fields.iter().map(named).collect())
        };
        let host = ("host", "localhost:9000");
        assert!(!said(&[host]), "no browser");
        assert!(!said(&[host, ("origin", "http://LOCALHOST:9000")]));
        assert!(!said(&[host, ("origin", "http://localhost:9000"), ("sec-fetch-site", "same-origin")]));
        assert!(!said(&[host, ("sec-fetch-site", "none")]), "typed by a person");
        for origin in ["http://evil.example", "http://localhost:9001", "null", ""] {
            assert!(said(&[host, ("origin", origin)]), "{origin}");
        }
        assert!(said(&[host, ("sec-fetch-site", "cross-site")]), "an image has no origin");
        assert!(said(&[host, ("sec-fetch-site", "same-site")]));
    }

    #[test]
    fn the_scheme_of_the_key_is_case_insensitive() {
        assert_eq!(bearer(&with(header::AUTHORIZATION, "bEaReR abc")), Some("abc"));
        assert_eq!(bearer(&with(header::AUTHORIZATION, "Basic abc")), None);
    }

    #[test]
    fn every_operation_says_which_scope_it_needs() {
        let document = super::super::described().into_openapi();
        let value = serde_json::to_value(&document).unwrap();
        for (path, item) in value["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let security = operation.get("security");
                assert!(security.is_some_and(Value::is_array), "{method} {path} has no `security(..)`");
                let is_open = need(security) == Need::Nothing;
                assert_eq!(
                    is_open,
                    path.starts_with("/health/") || path.starts_with("/v1/problems/"),
                    "{path}"
                );
                let changes = !matches!(method.as_str(), "get");
                assert!(!changes || need(security) != Need::Scope(Scope::Read), "{method} {path}");
            }
        }
        let needs = Needs::of(&document);
        assert_eq!(needs.0[&("POST".into(), "/v1/messages".into())], Need::Scope(Scope::Publish));
        assert_eq!(needs.0[&("DELETE".into(), "/v1/sessions/{id}".into())], Need::Scope(Scope::Admin));
    }

    #[test]
    fn a_key_has_the_scopes_of_its_hash() {
        // Of `reading-key-of-tests`.
        let hash = ring::digest::digest(&ring::digest::SHA256, b"reading-key-of-tests");
        let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
        let text = format!(
            "[auth]\nmode = \"anonymous\"\n[private]\nkeys = [\"0123456789abcdef\"]\n\
             [[private.key]]\nname = \"r\"\nsha256 = \"{hash}\"\nscopes = [\"read\"]"
        );
        let file = Some(SourceFile { name: "t".into(), text });
        let machine = Machine { cores: 1, open_files_max: 10_000 };
        let config = Config::load(&Sources { file, ..Sources::default() }, machine).unwrap().config;
        let rights = |key: &str| rights_of(&with(header::AUTHORIZATION, &format!("Bearer {key}")), &config);
        let reading = rights("reading-key-of-tests").unwrap();
        assert!(reading.have(Scope::Read) && !reading.have(Scope::Publish) && !reading.have(Scope::Admin));
        let plain = rights("0123456789abcdef").unwrap();
        assert!(plain.have(Scope::Read) && plain.have(Scope::Publish) && plain.have(Scope::Admin));
        assert_eq!((rights("reading-key-of-test"), rights(&hash), rights("")), (None, None, None));
        assert_eq!(rights_of(&HeaderMap::new(), &config), None);
    }
}
