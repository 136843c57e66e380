//! `trunkline serve`: the server in production.
//!
//! Must not know how a server runs (`run.rs`). Start at [`Serve::run`].

use std::path::PathBuf;

use trunkline::config::{AuthMode, Config, EventRoute, Loaded, NamespaceRule, Sources, WebhookType, Who};

use super::Failure;
use super::load::{Overrides, check, environment, read_file};
use super::run::{self, Addresses};
use super::service::BackEnd;

/// Run the server as a configuration file says
#[derive(Debug, clap::Args)]
#[command(after_help = "Signals:
  SIGTERM, SIGINT  close connections over server.drain_window_ms, then end; a second one at once
  SIGHUP           read the files of [tls] and auth.jwt.key_file again

Examples:
  trunkline serve --config /etc/trunkline/trunkline.toml
  TRUNKLINE_PRIVATE__KEYS=$(cat key) trunkline serve --config trunkline.toml
  trunkline serve --config trunkline.toml --set server.shards=8 --set log.format=json")]
pub(super) struct Serve {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Write all addresses to this file as JSON, once connections are accepted
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Keep everything in memory, whatever store.dir says; queues, sessions and retained messages end with the process
    #[arg(long)]
    memory: bool,
    #[command(flatten)]
    overrides: Overrides,
}

impl Serve {
    /// Runs until a signal.
    pub(super) fn run(self) -> Result<(), Failure> {
        let sources = Sources {
            // What was acknowledged survives, unless somebody wants it otherwise.
            presets: vec![("store.dir", "trunkline-data".into())],
            file: Some(read_file(&self.config)?),
            environment: environment(),
            arguments: self.overrides.arguments(),
        };
        let Loaded { mut config, warnings } = check(&sources)?;
        if self.memory {
            config.store.dir = None;
        }
        let unheard = without_back_end(&config)?;
        run::until_signal((config, BackEnd::None), self.ready_file.as_deref(), move |addresses| {
            for warning in &warnings {
                tracing::warn!("{warning}");
            }
            for warning in &unheard {
                tracing::warn!("{warning}");
            }
            let Addresses { public, private, mqtt, mqtt_tls, sqs } = addresses;
            let (mqtt, mqtt_tls) = (mqtt.map(tracing::field::display), mqtt_tls.map(tracing::field::display));
            let sqs = sqs.map(tracing::field::display);
            tracing::info!(%public, %private, mqtt, mqtt_tls, sqs, "ready");
            Ok(())
        })
    }
}

/// What a configuration asks of a back end that it does not name: a refusal to start, or warnings.
pub(super) fn without_back_end(config: &Config) -> Result<Vec<String>, Failure> {
    let takes = |kind| config.webhooks.iter().any(|webhook| webhook.types.contains(&kind));
    if config.auth.mode == AuthMode::BackEnd && !takes(WebhookType::SessionConnect) {
        return Err(Failure(
            "auth.mode: \"back_end\" needs a [[webhook]] with \"session.connect\" among its types, or a Rust program with \
             Trunkline inside: nobody could connect."
                .into(),
        ));
    }
    for (index, rule) in config.channels.iter().enumerate() {
        let asked = [
            ("subscribe", rule.subscribe, WebhookType::ChannelSubscribe),
            ("publish", rule.publish, WebhookType::ChannelPublish),
        ];
        let unasked = |(_, who, kind): &(_, _, _)| *who == Some(Who::Webhook) && !takes(*kind);
        if let Some((key, _, kind)) = asked.into_iter().find(unasked) {
            return Err(Failure(format!(
                "channel[{index}].{key}: \"webhook\" needs a [[webhook]] with \"{}\" among its types, or a Rust program with \
                 Trunkline inside: nobody could be let",
                kind.as_str()
            )));
        }
    }
    let heard = |rule: &&NamespaceRule| rule.events == EventRoute::BackEnd;
    let warning = |rule: &NamespaceRule| {
        format!(
            "socketio.namespace {}: events that clients send are dropped, because no [[webhook]] has \"session.event\" among \
             its types; with events = \"relay\" they go to the other clients",
            rule.names
        )
    };
    if takes(WebhookType::SessionEvent) {
        return Ok(Vec::new());
    }
    Ok(config.namespaces.iter().filter(heard).map(warning).collect())
}
