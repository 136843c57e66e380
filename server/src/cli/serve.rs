//! `trunkline serve`: the server in production.
//!
//! Must not know how a server runs (`run.rs`). Start at [`Serve::run`].

use std::path::PathBuf;

use trunkline::config::{Loaded, Sources};

use super::Failure;
use super::load::{Overrides, check, environment, read_file};
use super::run;
use super::service::BackEnd;

/// Run the server as a configuration file says
#[derive(Debug, clap::Args)]
#[command(after_help = "Signals:
  SIGTERM, SIGINT  close connections over server.drain_window_ms, then end; a second one ends at once
  SIGHUP           read the files of [tls] again

Examples:
  trunkline serve --config /etc/trunkline/trunkline.toml
  TRUNKLINE_PRIVATE__KEYS=$(cat key) trunkline serve --config trunkline.toml
  trunkline serve --config trunkline.toml --set server.shards=8 --set log.format=json")]
pub(super) struct Serve {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Write both addresses to this file as JSON, once connections are accepted
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
}

impl Serve {
    /// Runs until a signal.
    pub(super) fn run(self) -> Result<(), Failure> {
        let sources = Sources {
            presets: Vec::new(),
            file: Some(read_file(&self.config)?),
            environment: environment(),
            arguments: self.overrides.arguments(),
        };
        let Loaded { config, warnings } = check(&sources)?;
        run::until_signal((config, BackEnd::None), self.ready_file.as_deref(), move |addresses| {
            for warning in &warnings {
                tracing::warn!("{warning}");
            }
            tracing::info!(public = %addresses.public, private = %addresses.private, "ready");
            Ok(())
        })
    }
}
