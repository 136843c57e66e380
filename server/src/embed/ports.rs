//! The ports that clients come by: which there are, and their listeners for each shard.
//!
//! Must not know what happens on them. Start at [`bind`].

use super::server::StartError;
use crate::config::Config;
use crate::shard::{Listener, Takes, listeners};
use hub::Topology;
use std::io;
use std::net::SocketAddr;

/// All ports, bound.
pub(super) struct Ports {
    /// By shard.
    pub(super) listeners: Vec<Vec<Listener>>,
    pub(super) addrs: Addrs,
}

/// Where clients come, ports resolved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addrs {
    pub(super) public: SocketAddr,
    pub(super) mqtt: Option<SocketAddr>,
    pub(super) mqtt_tls: Option<SocketAddr>,
}

/// Binds each port once per shard; with port 0 the kernel chooses one port for all.
pub(super) fn bind(config: &Config, topology: Topology) -> Result<Ports, StartError> {
    let mut by_shard: Vec<Vec<Listener>> = (0..topology.shards).map(|_| Vec::new()).collect();
    let mut open = |port, addr, takes| {
        let bound = listeners(addr, topology.shards, takes)
            .and_then(|bound| {
                let first = bound.first().ok_or_else(|| io::Error::other("no shard"))?;
                first.socket.local_addr().map(|addr| (bound, addr))
            })
            .map_err(|error| StartError::Listen { port, addr, error });
        bound.map(|(bound, addr)| {
            by_shard.iter_mut().zip(bound).for_each(|(shard, listener)| shard.push(listener));
            addr
        })
    };
    let public = open("public", config.server.public_listen, Takes::Anything)?;
    let mqtt = config.mqtt.listen.filter(|_| config.mqtt.enabled);
    let mqtt = mqtt.map(|addr| open("MQTT", addr, Takes::Streams)).transpose()?;
    let mqtt_tls = config.mqtt.tls_listen.filter(|_| config.mqtt.enabled);
    let mqtt_tls = mqtt_tls.map(|addr| open("MQTT TLS", addr, Takes::StreamsOverTls)).transpose()?;
    Ok(Ports { listeners: by_shard, addrs: Addrs { public, mqtt, mqtt_tls } })
}
