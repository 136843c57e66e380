//! `trunkline check-config`: tells all errors and warnings of a configuration without starting anything.
//!
//! Must not know any key but those that name files. Start at [`CheckConfig::run`].

use std::path::{Path, PathBuf};

use trunkline::config::{Config, Loaded, Sources};

use super::load::{Overrides, check, environment, read_file};
use super::serve::without_back_end;
use super::{Failure, print, service};

/// Check a configuration file as `serve` would read it, environment included
#[derive(Debug, clap::Args)]
#[command(after_help = "Prints every error with line, column and key. Exit status: 0 usable, 1 not.
Each webhook is asked by OPTIONS whether it takes events from here (CloudEvents, HTTP binding,
section 4): one that does not say so is a warning.

Examples:
  trunkline check-config trunkline.toml
  trunkline check-config trunkline.toml --offline
  trunkline check-config trunkline.toml --set server.shards=8")]
pub(super) struct CheckConfig {
    /// Configuration file
    file: PathBuf,
    /// Ask no webhook
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    overrides: Overrides,
}

impl CheckConfig {
    /// Prints the verdict.
    pub(super) fn run(self) -> Result<(), Failure> {
        let file = read_file(&self.file)?;
        let name = file.name.clone();
        let sources = Sources {
            presets: Vec::new(),
            file: Some(file),
            environment: environment(),
            arguments: self.overrides.arguments(),
        };
        let Loaded { config, warnings } = check(&sources)?;
        service::check(&config)?;
        unreadable_files(&config)?;
        let unheard = without_back_end(&config)?;
        let unwanted =
            if self.offline || config.webhooks.is_empty() { Vec::new() } else { unwanted(&config)? };
        let warnings = warnings.iter().map(ToString::to_string).chain(unheard).chain(unwanted);
        let warnings: String = warnings.map(|warning| format!("warning: {warning}\n")).collect();
        print(&format!("{warnings}{name}: OK\n"))
    }
}

/// Webhooks that do not say that they want events.
fn unwanted(config: &Config) -> Result<Vec<String>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure(format!("no webhook can be asked: {error}")))?;
    Ok(runtime.block_on(trunkline::back::webhook_warnings(config)))
}

/// Files that the server would fail to read at its start.
fn unreadable_files(config: &Config) -> Result<(), Failure> {
    let Some(tls) = &config.tls else { return Ok(()) };
    let unreadable = |key: &str, path: &Path| {
        let error = std::fs::File::open(path).err()?;
        Some(format!("{key}: cannot read {}: {error}", path.display()))
    };
    let authorities = config.mqtt.tls_client_ca.as_deref();
    let problems = [
        unreadable("tls.certificate", &tls.certificate),
        unreadable("tls.key", &tls.key),
        authorities.and_then(|path| unreadable("mqtt.tls_client_ca", path)),
    ];
    let problems: Vec<String> = problems.into_iter().flatten().collect();
    if problems.is_empty() { Ok(()) } else { Err(Failure(problems.join("\n"))) }
}
