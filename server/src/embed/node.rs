//! From the configuration to running shards: listeners, mailboxes, and a hub and a front for each.
//!
//! Owns the translation of configured limits into the hub's. Start at [`spawn`].

use crate::config::Config;
use crate::front::Front;
use crate::mail::Upcalls;
use crate::shard::{HubPort, Seats, Sender, Shard, ShardHandle, ShardSetup, inlet, listeners};
use hub::{ChannelRule, HistoryRule, Hub, Limits, RecoveryLimits, Report, ShardId, Token, Topology};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;

/// What all shards of a node share.
pub(super) struct NodeSetup {
    pub(super) config: Arc<Config>,
    pub(super) topology: Topology,
    /// Zero of the shards' clock.
    pub(super) zero: Instant,
    pub(super) uplink: mpsc::Sender<Upcalls>,
    pub(super) reports: mpsc::UnboundedSender<Vec<(Token, Report)>>,
    pub(super) tls: Option<Arc<rustls::ServerConfig>>,
}

/// Binds the public port once per shard; with port 0 the kernel chooses one port for all.
pub(super) fn bind(
    config: &Config,
    topology: Topology,
) -> io::Result<(Vec<std::net::TcpListener>, SocketAddr)> {
    let listeners = listeners(config.server.public_listen, topology.shards)?;
    let addr = listeners.first().ok_or_else(|| io::Error::other("no shard"))?.local_addr()?;
    Ok((listeners, addr))
}

/// Starts one thread per shard.
pub(super) fn spawn(node: &NodeSetup, bound: Vec<std::net::TcpListener>) -> io::Result<Vec<ShardHandle>> {
    let boxes = bound.iter().map(|_| inlet(&node.config)).collect::<io::Result<Vec<_>>>()?;
    let (peers, inlets): (Vec<Sender>, Vec<_>) = boxes.into_iter().unzip();
    let seats = Arc::new(Seats::new(node.config.limits.connections_max));
    let mut handles = Vec::with_capacity(bound.len());
    for (index, (listener, inlet)) in bound.into_iter().zip(inlets).enumerate() {
        let id = ShardId(u8::try_from(index).map_err(io::Error::other)?);
        let setup = ShardSetup {
            id,
            topology: node.topology,
            config: Arc::clone(&node.config),
            zero: node.zero,
            listeners: vec![listener],
            inlet,
            peers: peers.clone(),
            seats: Arc::clone(&seats),
            uplink: node.uplink.clone(),
            reports: node.reports.clone(),
            tls: node.tls.clone(),
        };
        let (config, topology) = (Arc::clone(&node.config), node.topology);
        let epoch = epoch()?;
        handles.push(Shard::spawn(setup, move || {
            let hub = Hub::new(hub_config(&config, id, topology, epoch));
            (Front::new(config, id, topology), HubPort { hub, effects: hub::Effects::default() })
        })?);
    }
    Ok(handles)
}

/// Names this life of a hub; 53 bits, so that tools which read JSON numbers as floating point keep them apart.
fn epoch() -> io::Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(u64::from_le_bytes(bytes) >> 11)
}

fn hub_config(config: &Config, shard: ShardId, topology: Topology, epoch: u64) -> hub::Config {
    let limits = &config.limits;
    let rules = config.channels.iter().map(|rule| ChannelRule {
        filter: rule.filter.as_str().to_owned(),
        history: (rule.history_messages_max > 0).then(|| HistoryRule {
            messages_max: rule.history_messages_max,
            age_ms_max: match rule.history_age_seconds_max {
                0 => u64::MAX,
                seconds => seconds.saturating_mul(1000),
            },
        }),
        presence: rule.presence,
    });
    hub::Config {
        shard,
        topology,
        epoch,
        limits: Limits {
            sessions_max: limits.sessions_max,
            channels_max: limits.channels_max,
            subscriptions_per_session_max: limits.channels_per_session_max,
            channel_name_bytes_max: limits.channel_name_bytes_max,
            outbox_messages_max: limits.outbox_messages_max,
            outbox_bytes_max: limits.outbox_bytes_max,
            asks_per_session_max: limits.pending_acks_out_max,
            asks_max: limits.asks_max,
            history_bytes_max: limits.history_bytes_max,
            recovery: RecoveryLimits {
                messages_max: config.recovery.messages_max,
                bytes_max: config.recovery.bytes_max,
                window_ms: config.recovery.window_ms,
            },
        },
        rules: rules.collect(),
    }
}
