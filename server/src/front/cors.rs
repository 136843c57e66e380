//! Web pages of other origins: which of them may read an answer (Fetch standard, CORS protocol), by what the configuration lists.
//!
//! Must not know what is answered. Start at [`Cors`].

use wire::http::Head;

use crate::config::{Origins, SocketIo, Streams};
use crate::shard::Response;

/// The origins that one part of the public port is open to.
#[derive(Clone, Debug)]
pub(super) struct Cors {
    origins: Origins,
    credentials: bool,
}

impl Cors {
    /// Those of Socket.IO.
    pub(super) fn of_socketio(config: &SocketIo) -> Self {
        Self { origins: config.cors_origins.clone(), credentials: config.cors_credentials }
    }

    /// Those of streams.
    pub(super) fn of_streams(config: &Streams) -> Self {
        Self { origins: config.cors_origins.clone(), credentials: config.cors_credentials }
    }

    /// Whether a WebSocket of this origin may be opened. Browsers do not apply CORS to WebSockets, so the list is
    /// applied here; a client without an origin is no browser.
    pub(super) fn allows(&self, origin: Option<&str>) -> bool {
        origin.is_none_or(|origin| self.origins.allow(origin))
    }

    /// Whether the page that opens a WebSocket may: one of the server's own host, or of an origin that is listed. Without a list
    /// that keeps pages of others from what their visitors' cookies would open.
    pub(super) fn allows_socket(&self, head: &Head<'_>) -> bool {
        let Some(origin) = head.header("origin") else { return true };
        let is_listed = self.origins != Origins::Unlisted && self.origins.allow(origin);
        is_listed || is_own(origin, head.header("host"))
    }

    /// Whether a page of another site sends a request that changes something, as any page may without being asked first, although
    /// it is not listed.
    pub(super) fn is_foreign(&self, head: &Head<'_>) -> bool {
        let is_listed = match &self.origins {
            Origins::Unlisted => false,
            Origins::Any => true,
            Origins::Listed(_) => head.header("origin").is_some_and(|origin| self.origins.allow(origin)),
        };
        !is_listed && is_of_other_page(|name| head.header(name))
    }

    /// The answer to a preflight request (Fetch standard, CORS-preflight); `None` if this is none or CORS is off.
    pub(super) fn preflight(&self, head: &Head<'_>) -> Option<Response> {
        if head.method != "OPTIONS" || self.origins == Origins::Unlisted {
            return None;
        }
        let mut response = Response::new(204).header("access-control-allow-methods", "GET, POST");
        if let Some(headers) = head.header("access-control-request-headers") {
            response = response.header("access-control-allow-headers", headers.to_owned());
        }
        Some(self.open(response.header("access-control-max-age", "600"), head.header("origin")))
    }

    /// Adds the CORS fields; on errors too, or the page's script could not read them.
    pub(super) fn open(&self, response: Response, origin: Option<&str>) -> Response {
        let response = match &self.origins {
            Origins::Unlisted => return response,
            Origins::Any => return response.header("access-control-allow-origin", "*"),
            Origins::Listed(_) => response.header("vary", "Origin"),
        };
        let Some(origin) = origin.filter(|origin| self.origins.allow(origin)) else { return response };
        let response = response.header("access-control-allow-origin", origin.to_owned());
        if self.credentials { response.header("access-control-allow-credentials", "true") } else { response }
    }
}

/// Whether a web page of another origin sends a request with these fields. Browsers say where a request comes from
/// (`Sec-Fetch-Site`), or at sites without TLS only of which origin.
pub(crate) fn is_of_other_page<'h>(field: impl Fn(&str) -> Option<&'h str>) -> bool {
    match field("sec-fetch-site") {
        Some(site) => matches!(site, "cross-site" | "same-site"),
        None => field("origin").is_some_and(|origin| !is_own(origin, field("host"))),
    }
}

/// Whether an origin is of the host that is asked.
fn is_own(origin: &str, host: Option<&str>) -> bool {
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    authority.zip(host).is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host))
}
