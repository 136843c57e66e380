//! Whether a back end agrees to be sent events, as the HTTP binding of CloudEvents has it (section 4, abuse protection).
//!
//! Asked for by people before they start a server; no delivery waits for it, as its URL is the operator's own. Start at
//! [`webhook_warnings`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::Empty;
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::{HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;

use super::Trust;
use super::line;
use crate::config::{Config, Webhook};

/// How long a back end has for its answer.
const WAIT: Duration = Duration::from_secs(5);

/// Names us in requests.
pub(super) const REQUEST_ORIGIN: &str = "webhook-request-origin";

/// Asks the back end behind each webhook whether it wants events from us, and says which do not say so. Must be called on a
/// tokio runtime.
pub async fn webhook_warnings(config: &Config) -> Vec<String> {
    let trust = match Trust::load(config) {
        Ok(Trust(trust)) => trust,
        Err(error) => return vec![error],
    };
    let asked = config.webhooks.iter().zip(trust).map(|(webhook, tls)| async move {
        let answer = match tokio::time::timeout(WAIT, allowed_origin(webhook, tls)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {} s", WAIT.as_secs())),
        };
        let trouble = match answer {
            Ok(Some(allowed)) if is_allowed(&allowed, webhook.origin.as_str()) => return None,
            Ok(Some(allowed)) => format!("it allows \"{}\"", allowed.escape_debug()),
            Ok(None) => "its answer has no WebHook-Allowed-Origin".to_owned(),
            Err(error) => error,
        };
        let (name, url, origin) = (webhook.name.as_str(), &webhook.url, webhook.origin.as_str());
        Some(format!("webhook {name}: {url} does not say that it takes events of \"{origin}\": {trouble}"))
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// Names have no case, and `*` is everybody (section 4.2.1).
fn is_allowed(allowed: &str, origin: &str) -> bool {
    allowed.split(',').map(str::trim).any(|one| one == "*" || one.eq_ignore_ascii_case(origin))
}

/// The header of that name in the answer to OPTIONS, whatever its status.
async fn allowed_origin(webhook: &Webhook, tls: Option<Arc<ClientConfig>>) -> Result<Option<String>, String> {
    let url = &webhook.url;
    let stream = line::reach(url, tls.as_ref(), WAIT).await.map_err(|error| error.to_string())?;
    let (mut sender, driver) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let driver = tokio::spawn(driver);
    let request = Request::options(url.target.as_str())
        .header(HOST, url.authority.as_str())
        .header(USER_AGENT, concat!("trunkline/", env!("CARGO_PKG_VERSION")))
        .header(REQUEST_ORIGIN, webhook.origin.as_str())
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let allowed = answer.headers().get("webhook-allowed-origin").and_then(|value| value.to_str().ok());
    let allowed = allowed.map(str::to_owned);
    driver.abort();
    Ok(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_back_end_allows_a_name_or_everybody() {
        for allowed in ["*", "eventemitter.example.com", "a.b, EventEmitter.example.com"] {
            assert!(is_allowed(allowed, "eventemitter.example.com"), "{allowed}");
        }
        for allowed in ["", "example.com", "*.example.com"] {
            assert!(!is_allowed(allowed, "eventemitter.example.com"), "{allowed}");
        }
    }
}
