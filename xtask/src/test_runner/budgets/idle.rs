//! Resident bytes of a session that does nothing: `trunkline bench idle` against `trunkline dev`.
//!
//! As many sessions as make what allocator and kernel leave over small beside them, and a large warm-up for the same
//! reason. Start at [`bytes_per_session`].

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::product::Product;
use crate::process::{output, program};

/// A run; the numbers are arguments.
pub(super) struct Scenario {
    protocol: &'static str,
    connections: &'static str,
    warmup_connections: &'static str,
}

/// Sessions with a connection.
pub(super) const WEBSOCKET: Scenario =
    Scenario { protocol: "socketio", connections: "8000", warmup_connections: "1000" };

/// Sessions between two polls.
pub(super) const POLLING: Scenario =
    Scenario { protocol: "socketio-poll", connections: "4000", warmup_connections: "1000" };

/// The report's figure for it.
const FIGURE: &str = "/figures/rss_per_session_bytes";

const PING_INTERVAL: &str = "socketio.ping_interval_ms=300000";

/// Measures with one run; every session is in a room of about a hundred.
pub(super) fn bytes_per_session(product: &Product, scenario: &Scenario) -> Result<f64> {
    let mut dev = program(&product.binary, &["dev", "--shards", "2"], &product.folder);
    // No pings within a run: on a busy machine they would begin before everybody is there.
    dev.args(["--public", "127.0.0.1:0", "--private", "127.0.0.1:0", "--set", PING_INTERVAL]);
    let server = product.start(dev)?;
    let Scenario { protocol, connections, warmup_connections } = scenario;
    let mut bench = program(&product.binary, &["bench", "idle", "--json"], &product.folder);
    bench.args(["--protocol", protocol, "--connections", connections, "--hold", "1s"]);
    bench.args(["--warmup-connections", warmup_connections]);
    let rooms = connections.parse::<u32>()? / 100;
    bench.args(["--room-event", "join", "--room", &format!("room-%{{i%{rooms}}}")]);
    bench.args(["--server-pid", &server.pid().to_string(), "--target", &format!("http://{}", server.public)]);
    let report: Value = serde_json::from_str(&output(&mut bench)?).context("the report of bench idle")?;
    report.pointer(FIGURE).and_then(Value::as_f64).with_context(|| format!("no {FIGURE} in {report}"))
}
