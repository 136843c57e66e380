//! `trunkline check-config`: tells all errors and warnings of a configuration without starting anything.
//!
//! Must not know any key but those that name files. Start at [`CheckConfig::run`].

use std::path::{Path, PathBuf};

use trunkline::config::{BridgePassword, Config, Loaded, Sources};

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
        unreadable_files(&config)?;
        service::check(&config)?;
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

/// Files that the server would fail to read, at its start or when it needs them: all of them, each with its key.
fn unreadable_files(config: &Config) -> Result<(), Failure> {
    let mut files: Vec<(String, &Path)> = Vec::new();
    if let Some(tls) = &config.tls {
        files.push(("tls.certificate".into(), &tls.certificate));
        files.push(("tls.key".into(), &tls.key));
    }
    let others = [
        ("mqtt.tls_client_ca", &config.mqtt.tls_client_ca),
        ("auth.jwt.key_file", &config.jwt.key_file),
        ("auth.jwt.jwks_ca_file", &config.jwt.jwks_ca_file),
    ];
    files.extend(others.into_iter().filter_map(|(key, path)| Some((key.into(), path.as_deref()?))));
    for (index, webhook) in config.webhooks.iter().enumerate() {
        files.extend(webhook.ca_file.as_deref().map(|path| (format!("webhook[{index}].ca_file"), path)));
    }
    for (index, bridge) in config.bridges.iter().enumerate() {
        files.extend(bridge.ca_file.as_deref().map(|path| (format!("bridge[{index}].ca_file"), path)));
        if let Some(BridgePassword::File(path)) = &bridge.password {
            files.push((format!("bridge[{index}].password_file"), path));
        }
    }
    let unreadable = |(key, path): (String, &Path)| {
        let error = std::fs::File::open(path).err()?;
        Some(format!("{key}: cannot read {}: {error}", path.display()))
    };
    let problems: Vec<String> = files.into_iter().filter_map(unreadable).collect();
    if problems.is_empty() { Ok(()) } else { Err(Failure(problems.join("\n"))) }
}
