//! Prometheus metrics: the shards' counters, declared in [`crate::shard::Stats`], and the hubs' totals.
//!
//! No label holds a session, user, channel or address: their number has no bound.

use super::office::Office;
use crate::mail::Mail;
use crate::shard::{STATS, StatKind, Stats};
use hub::{Command, Query, Report, ShardId};
use std::fmt::Write as _;
use std::time::Duration;

/// Totals of all hubs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Attached or detached.
    pub sessions: u64,
    /// Waiting to be resumed.
    pub detached: u64,
    /// Per shard, added up.
    pub channels: u64,
    /// Records.
    pub subscriptions: u64,
    /// Messages in outboxes.
    pub queued: u64,
}

/// All numbers at about one time. A shard that did not answer is left out.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// By shard.
    pub shards: Vec<(ShardId, Stats)>,
    /// Added up.
    pub totals: Totals,
}

/// Asks every shard; waits at most half a second for each.
pub async fn gather(office: &Office) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for shard in office.shards() {
        let (reply, stats) = tokio::sync::oneshot::channel();
        if office.tell(shard, Mail::Stats { reply }).await.is_ok() {
            if let Ok(Ok(stats)) = tokio::time::timeout(Duration::from_millis(500), stats).await {
                snapshot.shards.push((shard, stats));
            }
        }
        let ask = |token| Command::Query { token, query: Query::Totals };
        if let Ok(Report::Totals { sessions, detached, channels, subscriptions, queued }) =
            office.ask(shard, ask).await
        {
            snapshot.totals.sessions += u64::from(sessions);
            snapshot.totals.detached += u64::from(detached);
            snapshot.totals.channels += u64::from(channels);
            snapshot.totals.subscriptions += subscriptions;
            snapshot.totals.queued += queued;
        }
    }
    snapshot
}

impl Snapshot {
    /// Open connections.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.shards.iter().map(|(_, stats)| stats.connections).sum()
    }
}

/// Prometheus text format 0.0.4.
#[must_use]
pub fn render(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    for (index, field) in STATS.iter().enumerate() {
        let kind = match field.kind {
            StatKind::Counter => "counter",
            StatKind::Gauge => "gauge",
        };
        head(&mut text, field.name, kind, field.doc);
        for (shard, stats) in &snapshot.shards {
            let value = stats.values().get(index).copied().unwrap_or_default();
            let _ = writeln!(text, "trunkline_{}{{shard=\"{}\"}} {value}", field.name, shard.0);
        }
    }
    let Totals { sessions, detached, channels, subscriptions, queued } = snapshot.totals;
    for (name, doc, value) in [
        ("sessions", "Sessions, attached or waiting to be resumed.", sessions),
        ("sessions_detached", "Sessions waiting to be resumed.", detached),
        ("channels", "Channels with subscribers or history, added up over shards.", channels),
        ("subscriptions", "Subscription records.", subscriptions),
        ("outbox_messages", "Messages waiting in outboxes.", queued),
    ] {
        head(&mut text, name, "gauge", doc);
        let _ = writeln!(text, "trunkline_{name} {value}");
    }
    if let Some(bytes) = resident_bytes() {
        head(&mut text, "resident_bytes", "gauge", "Resident memory of the process.");
        let _ = writeln!(text, "trunkline_resident_bytes {bytes}");
    }
    text
}

fn head(text: &mut String, name: &str, kind: &str, doc: &str) {
    let _ = writeln!(text, "# HELP trunkline_{name} {doc}\n# TYPE trunkline_{name} {kind}");
}

/// Resident memory of this process, from the kernel.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}
