//! The server as the command line sees it: the only file here that knows the library's way to start one.
//!
//! Must not know signals or arguments. Start at [`start`].

use std::future::Future;

use trunkline::Server;
use trunkline::config::Config;

use super::dev_back_end;

/// A running server.
pub(super) trait Service {
    /// Reads the files of TLS again; the old ones stay when that fails.
    fn reload_tls(&self) -> impl Future<Output = Result<bool, String>>;
    /// Reads the file with the keys of tokens again, likewise; how many there are.
    fn reload_keys(&self) -> impl Future<Output = Result<Option<usize>, String>>;
    /// Ends with the reason when the server cannot go on: nothing is acknowledged any more.
    fn failed(&mut self) -> impl Future<Output = String>;
    /// Refuses handshakes, closes connections over the configured time, and ends.
    fn drain(self) -> impl Future<Output = ()>;
}

/// Who answers what clients ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BackEnd {
    /// The one `trunkline dev` brings along.
    Dev,
    /// Nobody in this process.
    None,
}

/// What a start would find wrong with a configuration.
pub(super) fn check(config: &Config) -> Result<(), String> {
    Server::check(config).map_err(|error| error.to_string())
}

/// Starts the server.
pub(super) async fn start(config: Config, back_end: BackEnd) -> Result<Server, String> {
    let is_heard = !config.webhooks.is_empty();
    let mut server = Server::start(config).await.map_err(|error| error.to_string())?;
    if is_heard {
        // They take what clients do.
        return Ok(server);
    }
    let events = match server.events() {
        Ok(events) => events,
        Err(error) => {
            server.drain().await;
            return Err(error.to_string());
        }
    };
    match back_end {
        BackEnd::Dev => drop(tokio::spawn(dev_back_end::run(events))),
        // Nobody reads them: the shards drop what clients send instead of letting it wait.
        BackEnd::None => drop(events),
    }
    Ok(server)
}

impl Service for Server {
    async fn reload_tls(&self) -> Result<bool, String> {
        Self::reload_tls(self).await.map_err(|error| error.to_string())
    }

    async fn reload_keys(&self) -> Result<Option<usize>, String> {
        Self::reload_keys(self).await.map_err(|error| error.to_string())
    }

    async fn failed(&mut self) -> String {
        self.store_failed().await
    }

    async fn drain(self) {
        Self::drain(self).await;
    }
}
