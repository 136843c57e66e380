//! The server as the command line sees it: the only file here that knows the library's way to start one.
//!
//! Must not know signals or arguments. Start at [`start`].

use std::future::Future;
use std::net::SocketAddr;

use trunkline::config::Config;

/// A running server.
pub(super) trait Service {
    /// The address clients connect to, with the port that the kernel chose.
    fn public_addr(&self) -> SocketAddr;
    /// The address of the private port, likewise.
    fn private_addr(&self) -> SocketAddr;
    /// Reads the files of TLS again; the old ones stay when that fails.
    fn reload_tls(&self) -> Result<(), String>;
    /// Stops accepting, closes connections over the configured time, and ends.
    fn drain(self) -> impl Future<Output = ()>;
}

/// Starts the server.
pub(super) async fn start(_config: Config) -> Result<std::convert::Infallible, String> {
    Err("this build has no server in it yet".into())
}

impl Service for std::convert::Infallible {
    fn public_addr(&self) -> SocketAddr {
        match *self {}
    }

    fn private_addr(&self) -> SocketAddr {
        match *self {}
    }

    fn reload_tls(&self) -> Result<(), String> {
        match *self {}
    }

    async fn drain(self) {
        match self {}
    }
}
