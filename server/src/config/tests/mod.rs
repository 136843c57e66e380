//! Tests of the configuration; each file is a table of cases.

use super::*;

#[test]
fn the_defaults_are_valid() {
    let config = Config::loopback();
    assert_eq!(config.socketio.ping_interval_ms, 25_000);
    assert_eq!(config.server.shards, 1);
    assert!(config.namespace("/").is_some());
    assert!(config.namespace("/chat").is_none());
}
