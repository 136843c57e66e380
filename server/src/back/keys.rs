//! The keys of an identity provider: its JWK set is fetched when it is stale and when somebody shows a token of another key.
//!
//! Must not know tokens. Start at [`watch`].

use std::io;
use std::net::ToSocketAddrs as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tokio::task::AbortHandle;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

use crate::auth::{ASK_PAUSE_MS, KeysOf, Shared, keys_of_set, unix_now};
use crate::config::{Config, JwksUrl, is_near};
use crate::tls::known_authorities;

/// A set is fetched so often at most, and again so soon when it could not be.
const PAUSE: Duration = Duration::from_millis(ASK_PAUSE_MS);

/// However long a provider says that its set is good.
const GOOD_FOR_MAX: Duration = Duration::from_secs(86_400);

/// All of a fetch.
const FETCH_WAIT: Duration = Duration::from_secs(10);

/// A set of a thousand keys is smaller.
const SET_BYTES_MAX: u64 = 1_048_576;

/// Where a set is, and how it is asked for.
#[derive(Clone)]
struct Source {
    url: JwksUrl,
    ca_file: Option<PathBuf>,
    /// How long a set is good that says nothing of that.
    good_for: Duration,
}

/// A set, as it came.
struct Fetched {
    json: Vec<u8>,
    good_for: Duration,
}

/// Looks after the keys until it is ended; `None`: there is nothing to fetch.
pub(crate) fn watch(shared: &Arc<Shared>, config: &Config) -> Option<AbortHandle> {
    let source = Source {
        url: config.jwt.jwks_url.clone()?,
        ca_file: config.jwt.jwks_ca_file.clone(),
        good_for: Duration::from_secs(u64::from(config.jwt.jwks_refresh_seconds)),
    };
    Some(tokio::spawn(watch_for_ever(Arc::clone(shared), source)).abort_handle())
}

async fn watch_for_ever(shared: Arc<Shared>, source: Source) {
    let keys = shared.keys();
    loop {
        let good_for = match fetch(source.clone()).await {
            Ok((fetched, good_for)) => {
                tracing::info!(url = %source.url, keys = fetched.len(), "the keys of tokens were fetched");
                keys.replace(fetched, unix_now());
                good_for
            }
            Err(error) => {
                tracing::warn!(
                    url = %source.url,
                    error,
                    "the keys of tokens cannot be fetched; those of before stay"
                );
                keys.lose();
                PAUSE
            }
        };
        // Whoever asks meanwhile has waited long enough when the pause is over.
        tokio::time::sleep(PAUSE).await;
        let rest = tokio::time::sleep(good_for.saturating_sub(PAUSE));
        tokio::select! {
            () = rest => {}
            () = keys.wanted() => {}
        }
    }
}

async fn fetch(source: Source) -> Result<(Vec<crate::auth::Key>, Duration), String> {
    let fetched = tokio::task::spawn_blocking(move || get(&source)).await;
    let Fetched { json, good_for } = fetched.map_err(|error| error.to_string())??;
    let keys = keys_of_set(&json, KeysOf::Provider).map_err(|text| format!("what is there {text}"))?;
    Ok((keys, good_for))
}

fn get(source: &Source) -> Result<Fetched, String> {
    let agent = agent(source)?;
    let failed = |error: ureq::Error| error.to_string();
    let mut response =
        agent.get(source.url.as_str()).header("accept", "application/json").call().map_err(failed)?;
    if response.status() != 200 {
        return Err(format!("it is answered with status {}", response.status().as_u16()));
    }
    let fields = response.headers().get_all("cache-control").iter();
    let told = fields.filter_map(|field| field.to_str().ok()).flat_map(|field| field.split(','));
    let good_for = good_for(told).unwrap_or(source.good_for).clamp(PAUSE, GOOD_FOR_MAX);
    let body = response.body_mut().with_config().limit(SET_BYTES_MAX);
    Ok(Fetched { json: body.read_to_vec().map_err(failed)?, good_for })
}

fn agent(source: &Source) -> Result<ureq::Agent, String> {
    let mut config = ureq::Agent::config_builder()
        .timeout_global(Some(FETCH_WAIT))
        .max_redirects(0)
        .http_status_as_error(false)
        .user_agent(concat!("trunkline/", env!("CARGO_PKG_VERSION")));
    if source.url.is_secure() {
        config = config.tls_config(tls(source.ca_file.as_deref()).map_err(|error| error.to_string())?);
    } else {
        // What is near is not asked for through others.
        check_near(&source.url)?;
        config = config.proxy(None);
    }
    Ok(config.build().into())
}

/// Without TLS a set is fetched from this machine and private networks only, whatever the name of its host resolves to.
fn check_near(url: &JwksUrl) -> Result<(), String> {
    let authority = url.authority();
    let addresses = authority.to_socket_addrs().map_err(|error| format!("{authority}: {error}"))?;
    match addresses.map(|address| address.ip()).all(is_near) {
        true => Ok(()),
        false => {
            Err(format!("{authority} is not on this machine or a private network, so the URL must be https"))
        }
    }
}

fn tls(ca_file: Option<&Path>) -> io::Result<TlsConfig> {
    let known = known_authorities(ca_file).map_err(io::Error::other)?;
    let owned = |der: &CertificateDer<'_>| Certificate::from_der(der).to_owned();
    let roots: Vec<Certificate<'static>> = known.iter().map(owned).collect();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(provider)
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .build())
}

/// What `Cache-Control` says (RFC 9111 section 5.2.2); nothing of an answer that should not be kept is kept longer than it
/// has to be.
fn good_for<'a>(directives: impl Iterator<Item = &'a str>) -> Option<Duration> {
    let mut good_for = None;
    for directive in directives {
        let (name, value) = directive.trim().split_once('=').unwrap_or((directive.trim(), ""));
        match name.to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => return Some(Duration::ZERO),
            "max-age" => good_for = value.trim_matches('"').parse().ok().map(Duration::from_secs),
            _ => {}
        }
    }
    good_for
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_tls_the_addresses_of_a_host_are_near() {
        let at = |text: &str| check_near(&JwksUrl::at(text));
        at("http://localhost:80/keys").unwrap();
        at("http://[::1]/keys").unwrap();
        assert!(
            at("http://169.254.169.254/keys")
                .unwrap_err()
                .starts_with("169.254.169.254:80 is not on this machine")
        );
        assert!(at("http://8.8.8.8:8080/keys").is_err());
    }

    #[test]
    fn cache_control_says_how_long_a_set_is_good() {
        let read = |field: &str| good_for(field.split(',')).map(|good_for| good_for.as_secs());
        assert_eq!(read("public, Max-Age=600, must-revalidate"), Some(600));
        assert_eq!(read("max-age=\"60\""), Some(60));
        assert_eq!(read("max-age=600, no-cache"), Some(0));
        assert_eq!(read("no-store"), Some(0));
        assert_eq!((read("public"), read("max-age=x"), read("")), (None, None, None));
    }
}
