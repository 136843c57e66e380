//! Resident bytes of a session that does nothing: `trunkline bench idle` against `trunkline dev`.
//!
//! As many sessions as make what allocator and kernel leave over small beside them, a large warm-up and the median of
//! three servers for the same reason. Start at [`bytes_per_session`].

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::product::Product;
use crate::process::{output, program};

/// Sessions of a run.
const CONNECTIONS: u32 = 8000;

/// Sessions that come and go before.
const WARMUP_CONNECTIONS: u32 = 1000;

/// Sessions with a connection, as a protocol of `bench idle`.
pub(super) const WEBSOCKET: &str = "socketio";

/// Sessions between two polls.
pub(super) const POLLING: &str = "socketio-poll";

/// The report's figure for it.
const FIGURE: &str = "/figures/rss_per_session_bytes";

const PING_INTERVAL: &str = "socketio.ping_interval_ms=300000";

/// Measures with three runs.
pub(super) fn bytes_per_session(product: &Product, protocol: &str) -> Result<f64> {
    let (a, b, c) = (run(product, protocol)?, run(product, protocol)?, run(product, protocol)?);
    Ok(a.max(b).min(a.min(b).max(c)))
}

/// One server; every session is in a room of about a hundred.
fn run(product: &Product, protocol: &str) -> Result<f64> {
    let mut dev = program(&product.binary, &["dev", "--shards", "2"], &product.folder);
    // No pings within a run: on a busy machine they would begin before everybody is there.
    dev.args(["--public", "127.0.0.1:0", "--private", "127.0.0.1:0", "--set", PING_INTERVAL]);
    let server = product.start(dev)?;
    let mut bench = program(&product.binary, &["bench", "idle", "--json", "--hold", "1s"], &product.folder);
    bench.args(["--protocol", protocol, "--room-event", "join"]);
    bench.arg("--room").arg(format!("room-%{{i%{}}}", CONNECTIONS / 100));
    bench.arg("--connections").arg(CONNECTIONS.to_string());
    bench.arg("--warmup-connections").arg(WARMUP_CONNECTIONS.to_string());
    bench.arg("--server-pid").arg(server.pid().to_string());
    bench.arg("--target").arg(format!("http://{}", server.public));
    let report: Value = serde_json::from_str(&output(&mut bench)?).context("the report of bench idle")?;
    report.pointer(FIGURE).and_then(Value::as_f64).with_context(|| format!("no {FIGURE} in {report}"))
}
