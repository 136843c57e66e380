//! Prometheus metrics: the shards' counters, declared in [`crate::shard::Stats`], those of MQTT clients, declared in
//! [`crate::front::Figures`], the hubs' totals, queues (`metrics/queues.rs`), webhooks
//! (`metrics/webhooks.rs`), and the store.
//!
//! No label holds a session, user, channel or address: their number has no bound. Queues have labels up to a limit.

mod queues;
mod webhooks;

use super::bridge::{Loss, Standing, View};
use super::office::Office;
use crate::front::{FAMILIES, Figures, STREAM_FAMILIES, StreamFigures};
use crate::mail::Mail;
use crate::shard::{STATS, Stat, StatKind, Stats};
use hub::{Command, Query, Report, ShardId};
use std::fmt::Write as _;
use std::time::Duration;
use store::disk;

pub(crate) use queues::{QueuePage, gather_queues};
pub(crate) use webhooks::render_webhooks;

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
    /// For which an outbox had no place.
    pub dropped: u64,
    /// Too old when their turn came.
    pub expired: u64,
    /// Exchanges that are not over.
    pub in_flight: u64,
    /// Sessions with a client's own name.
    pub named: u64,
    /// Values that channels retain.
    pub retained: u64,
    /// Bytes of those.
    pub retained_bytes: u64,
    /// Queues.
    pub queues: u64,
    /// Users of whom subscriptions are stored.
    pub stored_users: u64,
    /// Those.
    pub stored_subscriptions: u64,
    /// Their bytes in memory.
    pub stored_bytes: u64,
    /// Those that sessions did not get.
    pub unjoined: u64,
}

/// The rows of [`Totals::values`].
const TOTALS: &[Stat] = &[
    gauge("sessions", "Sessions, attached or waiting to be resumed."),
    gauge("sessions_detached", "Sessions waiting to be resumed."),
    gauge("channels", "Channels with subscribers or history, added up over shards."),
    gauge("subscriptions", "Subscription records."),
    gauge("outbox_messages", "Messages waiting in outboxes."),
    Stat {
        name: "outbox_dropped",
        kind: StatKind::Counter,
        doc: "Messages that a session did not get because its outbox was full, and lived on.",
    },
    Stat {
        name: "outbox_expired",
        kind: StatKind::Counter,
        doc: "Messages that were too old when their turn came.",
    },
    gauge(
        "in_flight_messages",
        "Messages of QoS 1 and 2 that were sent to MQTT clients and are not acknowledged.",
    ),
    gauge("sessions_named", "MQTT sessions, attached or waiting to be resumed."),
    gauge("retained_values", "Values that channels retain."),
    gauge("retained_bytes", "Bytes of values that channels retain."),
    gauge("queues", "Queues."),
    gauge("stored_users", "Users of whom subscriptions are stored."),
    gauge("stored_subscriptions", "Stored subscriptions of users."),
    gauge("stored_bytes", "Bytes in memory of the names and stored subscriptions of users."),
    Stat {
        name: "stored_unjoined",
        kind: StatKind::Counter,
        doc: "Stored subscriptions that a session did not get because of a limit.",
    },
];

const RESIDENT: Stat = gauge("resident_bytes", "Resident memory of the process.");

/// The rows of [`stored`].
const STORE: &[Stat] = &[
    gauge("store_records", "Pieces of state that are kept: sessions, messages that wait, values."),
    gauge("store_rows", "Rows of tables."),
    gauge("store_database_bytes", "Bytes of the database, without its write-ahead log."),
    gauge("store_free_bytes", "Bytes of the database that nothing uses."),
    gauge("store_wal_bytes", "Bytes of the write-ahead log that are not in the database yet."),
    counter("store_appended", "Records that were written."),
    counter("store_removed", "Records that went."),
    counter("store_checkpoints", "Times that the write-ahead log was copied into the database."),
    gauge("store_waiting_entries", "Changes that wait to be written."),
    gauge("store_waiting_bytes", "Bytes of changes that wait to be written."),
    gauge(
        "store_failed",
        "1 after writing or syncing failed: nothing that rests on a change is acknowledged.",
    ),
];

const COMMIT_SECONDS: (&str, &str) = (
    "store_commit_seconds",
    "How long groups of changes took to be written and, with fsync `always`, synced; their count is that of the commits.",
);
const CHECKPOINT_SECONDS: Stat =
    counter("store_checkpoint_seconds", "Time spent copying the write-ahead log into the database.");

const fn counter(name: &'static str, doc: &'static str) -> Stat {
    Stat { name, kind: StatKind::Counter, doc }
}

const fn gauge(name: &'static str, doc: &'static str) -> Stat {
    Stat { name, kind: StatKind::Gauge, doc }
}

impl Totals {
    fn values(&self) -> [u64; TOTALS.len()] {
        [
            self.sessions,
            self.detached,
            self.channels,
            self.subscriptions,
            self.queued,
            self.dropped,
            self.expired,
            self.in_flight,
            self.named,
            self.retained,
            self.retained_bytes,
            self.queues,
            self.stored_users,
            self.stored_subscriptions,
            self.stored_bytes,
            self.unjoined,
        ]
    }

    /// Adds what one hub reports.
    fn add(&mut self, report: &Report) {
        let Report::Totals {
            sessions,
            detached,
            channels,
            subscriptions,
            queued,
            named,
            in_flight,
            retained,
            retained_bytes,
            dropped,
            expired,
            queues,
            stored_users,
            stored_subscriptions,
            stored_bytes,
            unjoined,
        } = report
        else {
            return;
        };
        self.sessions += u64::from(*sessions);
        self.detached += u64::from(*detached);
        self.channels += u64::from(*channels);
        self.subscriptions += subscriptions;
        self.queued += queued;
        self.named += u64::from(*named);
        self.in_flight += in_flight;
        self.retained += retained;
        self.retained_bytes += retained_bytes;
        self.dropped += dropped;
        self.expired += expired;
        self.queues += u64::from(*queues);
        self.stored_users += u64::from(*stored_users);
        self.stored_subscriptions += stored_subscriptions;
        self.stored_bytes += stored_bytes;
        self.unjoined += unjoined;
    }
}

/// All numbers at about one time. A shard that did not answer is left out.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// By shard.
    pub shards: Vec<(ShardId, Stats)>,
    /// Of MQTT clients, by shard.
    pub figures: Vec<(ShardId, Figures)>,
    /// Of clients of streams, by shard.
    pub streams: Vec<(ShardId, StreamFigures)>,
    /// Added up.
    pub totals: Totals,
}

/// Asks one shard; waits at most half a second once it was asked.
pub async fn stats_of(office: &Office, shard: ShardId) -> Option<Stats> {
    let (reply, stats) = tokio::sync::oneshot::channel();
    office.tell(shard, Mail::Stats { reply }).await.ok()?;
    tokio::time::timeout(Duration::from_millis(500), stats).await.ok()?.ok()
}

async fn figures_of(office: &Office, shard: ShardId) -> Option<(Figures, StreamFigures)> {
    let (reply, figures) = tokio::sync::oneshot::channel();
    office.tell(shard, Mail::Figures { reply }).await.ok()?;
    tokio::time::timeout(Duration::from_millis(500), figures).await.ok()?.ok()
}

/// Asks every shard; waits at most half a second for each.
pub async fn gather(office: &Office) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for shard in office.shards() {
        snapshot.shards.extend(stats_of(office, shard).await.map(|stats| (shard, stats)));
        if let Some((mqtt, streams)) = figures_of(office, shard).await {
            snapshot.figures.push((shard, mqtt));
            snapshot.streams.push((shard, streams));
        }
        let ask = |token| Command::Query { token, query: Query::Totals };
        if let Ok(report) = office.ask(shard, ask).await {
            snapshot.totals.add(&report);
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

    /// Figures of MQTT clients, added up.
    #[must_use]
    pub fn mqtt(&self) -> Figures {
        let mut sum = Figures::default();
        self.figures.iter().for_each(|(_, figures)| sum.add(figures));
        sum
    }
}

/// Prometheus text format 0.0.4; without a store nothing is said of one.
#[must_use]
pub(crate) fn render(snapshot: &Snapshot, page: &QueuePage, store: Option<&disk::Stats>) -> String {
    let mut text = String::new();
    for (index, field) in STATS.iter().enumerate() {
        let name = full_name(field);
        head(&mut text, &name, kind(field), field.doc);
        for (shard, stats) in &snapshot.shards {
            let value = stats.values().get(index).copied().unwrap_or_default();
            let _ = writeln!(text, "trunkline_{name}{{shard=\"{}\"}} {value}", shard.0);
        }
    }
    for family in FAMILIES {
        render_family(&mut text, (&family.stat, family.label), &valued(&snapshot.figures, family.values));
    }
    for family in STREAM_FAMILIES {
        render_family(&mut text, (&family.stat, family.label), &valued(&snapshot.streams, family.values));
    }
    for (row, value) in TOTALS.iter().zip(snapshot.totals.values()) {
        let name = full_name(row);
        head(&mut text, &name, kind(row), row.doc);
        let _ = writeln!(text, "trunkline_{name} {value}");
    }
    page.render(&mut text);
    if let Some(store) = store {
        render_store(&mut text, store);
    }
    if let Some(bytes) = resident_bytes() {
        head(&mut text, RESIDENT.name, "gauge", RESIDENT.doc);
        let _ = writeln!(text, "trunkline_resident_bytes {bytes}");
    }
    text
}

/// Values of a label, each with its figure.
type Labelled = Vec<(&'static str, u64)>;

/// The values of a family, by shard.
fn valued<F>(figures: &[(ShardId, F)], values: fn(&F) -> Labelled) -> Vec<(ShardId, Labelled)> {
    figures.iter().map(|(shard, figures)| (*shard, values(figures))).collect()
}

fn render_family(
    text: &mut String,
    (stat, label): (&Stat, Option<(&str, &str)>),
    by_shard: &[(ShardId, Labelled)],
) {
    let name = full_name(stat);
    head(text, &name, kind(stat), stat.doc);
    for (shard, values) in by_shard {
        for (value_of_label, value) in values {
            let own = label.map_or_else(String::new, |(key, _)| format!(",{key}=\"{value_of_label}\""));
            let _ = writeln!(text, "trunkline_{name}{{shard=\"{}\"{own}}} {value}", shard.0);
        }
    }
}

fn render_store(text: &mut String, store: &disk::Stats) {
    for (row, value) in STORE.iter().zip(stored(store)) {
        let name = full_name(row);
        head(text, &name, kind(row), row.doc);
        let _ = writeln!(text, "trunkline_{name} {value}");
    }
    let name = full_name(&CHECKPOINT_SECONDS);
    head(text, &name, kind(&CHECKPOINT_SECONDS), CHECKPOINT_SECONDS.doc);
    let _ = writeln!(text, "trunkline_{name} {}", store.checkpoint_time.as_secs_f64());
    let (name, doc) = COMMIT_SECONDS;
    head(text, name, "histogram", doc);
    let mut count = 0;
    for (bound, bucket) in disk::commit_bounds().zip(store.commit_buckets) {
        count += bucket;
        let _ = writeln!(text, "trunkline_{name}_bucket{{le=\"{}\"}} {count}", bound.as_secs_f64());
    }
    // Counted where they are counted by duration, so that the last bucket has all of them.
    let count: u64 = store.commit_buckets.iter().sum();
    let _ = writeln!(text, "trunkline_{name}_bucket{{le=\"+Inf\"}} {count}");
    let _ = writeln!(text, "trunkline_{name}_sum {}", store.commit_time.as_secs_f64());
    let _ = writeln!(text, "trunkline_{name}_count {count}");
}

/// A table of the reference page.
fn families<'a>(
    page: &mut String,
    title: &str,
    rows: impl Iterator<Item = (&'a Stat, Option<(&'a str, &'a str)>)>,
) {
    let _ = write!(
        page,
        "\n## {title}\n\nWith the label `shard` and the one that is named.\n\n\
         | metric | kind | label | what it is |\n|---|---|---|---|\n"
    );
    for (stat, label) in rows {
        let label = label.map_or_else(String::new, |(key, values)| format!("`{key}`: {values}"));
        let _ = writeln!(page, "| `{}` | {} | {label} | {} |", full_name(stat), kind(stat), stat.doc);
    }
}

/// The rows of [`render_bridges`]; the last one has a value for each [`Loss`].
const BRIDGES: &[Stat] = &[
    gauge("bridge_connected", "1 while the bridge is connected, else 0."),
    counter("bridge_connects", "Connections of the bridge to its broker."),
    counter("bridge_messages_out", "Messages sent to the broker, those that were sent again too."),
    counter("bridge_messages_in", "Messages taken in from the broker, likewise."),
    gauge("bridge_queued", "Messages that wait here for the broker."),
    gauge("bridge_in_flight", "Messages of QoS 1 and 2 that the broker has not acknowledged."),
    counter(
        "bridge_dropped",
        "Messages that did not pass, by `reason`: `loop` (they have been there), `unmatched` (no rule is about them), \
         `too_large`, `refused` (by the other side), `overflow` (too many waited for the broker).",
    ),
];

/// In the same format, one value for each bridge by `bridge`; nothing where there is none.
#[must_use]
pub(crate) fn render_bridges(views: &[View<'_>]) -> String {
    let mut text = String::new();
    for (index, row) in BRIDGES.iter().enumerate().filter(|_| !views.is_empty()) {
        let name = full_name(row);
        head(&mut text, &name, kind(row), row.doc);
        for view in views {
            let label = view.config.name.as_str();
            match bridged(view).get(index) {
                Some(Some(value)) => {
                    let _ = writeln!(text, "trunkline_{name}{{bridge=\"{label}\"}} {value}");
                }
                Some(None) => {}
                None => {
                    let lost = Loss::ALL.iter().map(|(_, reason)| *reason).zip(view.counts.lost);
                    for (reason, count) in lost.chain(view.overflow.map(|count| ("overflow", count))) {
                        let _ = writeln!(
                            text,
                            "trunkline_{name}{{bridge=\"{label}\",reason=\"{reason}\"}} {count}"
                        );
                    }
                }
            }
        }
    }
    text
}

/// What is not known is left out.
fn bridged(view: &View<'_>) -> [Option<u64>; BRIDGES.len() - 1] {
    let counts = &view.counts;
    [
        Some(u64::from(view.story.standing == Standing::Connected)),
        Some(counts.connects),
        Some(counts.messages_out),
        Some(counts.messages_in),
        view.queued.map(u64::from),
        view.in_flight.map(u64::from),
    ]
}

fn stored(store: &disk::Stats) -> [u64; STORE.len()] {
    [
        store.records,
        store.rows,
        store.database_bytes,
        store.free_bytes,
        store.wal_bytes,
        store.appended,
        store.removed,
        store.checkpoints,
        store.waiting_entries as u64,
        store.waiting_bytes as u64,
        u64::from(store.is_failed),
    ]
}

/// The page `docs/metrics.md`, in Markdown.
#[must_use]
pub fn reference() -> String {
    let mut page = "# Metrics\n\nGenerated by `trunkline reference metrics`.\n\n`GET /metrics` of the private port answers in \
                    the Prometheus text format. Every name begins with `trunkline_`.\n"
        .to_owned();
    table(
        &mut page,
        "By shard",
        "With the label `shard`. Counters begin at 0 when the process starts.",
        STATS,
    );
    families(&mut page, "Of MQTT clients", FAMILIES.iter().map(|family| (&family.stat, family.label)));
    let streams = STREAM_FAMILIES.iter().map(|family| (&family.stat, family.label));
    families(&mut page, "Of streams", streams);
    table(&mut page, "Of the node", "Shards that do not answer in time are left out.", TOTALS);
    page.push_str(&queues::reference());
    table(
        &mut page,
        "Of the store",
        "Only with `store.dir`. Counters begin at 0 when the process starts.",
        STORE,
    );
    let seconds = full_name(&CHECKPOINT_SECONDS);
    let _ = writeln!(page, "| `{seconds}` | {} | {} |", kind(&CHECKPOINT_SECONDS), CHECKPOINT_SECONDS.doc);
    let _ = writeln!(page, "| `{}` | histogram | {} |", COMMIT_SECONDS.0, COMMIT_SECONDS.1);
    table(
        &mut page,
        "Of bridges",
        "With the label `bridge`, its name; only with a `[[bridge]]`. Counters begin at 0 when the process starts.",
        BRIDGES,
    );
    page.push_str(&webhooks::reference());
    table(&mut page, "Of the process", "From the kernel.", &[RESIDENT]);
    page.push_str(&super::sys::reference());
    page
}

fn table(page: &mut String, title: &str, about: &str, rows: &[Stat]) {
    let _ = write!(page, "\n## {title}\n\n{about}\n\n| metric | kind | what it is |\n|---|---|---|\n");
    for row in rows {
        let _ = writeln!(page, "| `{}` | {} | {} |", full_name(row), kind(row), row.doc);
    }
}

/// Counters end in `_total`, as Prometheus' rules for names and OpenMetrics have it.
fn full_name(row: &Stat) -> String {
    match row.kind {
        StatKind::Counter => format!("{}_total", row.name),
        StatKind::Gauge => row.name.to_owned(),
    }
}

fn kind(row: &Stat) -> &'static str {
    match row.kind {
        StatKind::Counter => "counter",
        StatKind::Gauge => "gauge",
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_and_nothing_else_end_in_total() {
        let snapshot = Snapshot { shards: vec![(ShardId(0), Stats::default())], ..Snapshot::default() };
        let text = render(&snapshot, &QueuePage::default(), None);
        let types: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        assert!(types.contains(&"trunkline_writes_total counter"), "{text}");
        assert!(types.iter().all(|line| line.ends_with(" counter") == line.contains("_total ")), "{types:?}");
        assert!(text.contains("\ntrunkline_writes_total{shard=\"0\"} 0\n"), "{text}");
    }

    #[test]
    fn the_buckets_of_a_histogram_grow_to_its_count() {
        let mut store =
            disk::Stats { commits: 7, commit_time: Duration::from_millis(1_500), ..disk::Stats::default() };
        store.commit_buckets[0] = 2;
        store.commit_buckets[6] = 4;
        store.commit_buckets[disk::COMMIT_BUCKETS - 1] = 1;
        store.is_failed = true;
        let page = QueuePage::default();
        let text = render(&Snapshot::default(), &page, Some(&store));
        let name = "trunkline_store_commit_seconds";
        for line in [
            format!("# TYPE {name} histogram"),
            format!("{name}_bucket{{le=\"0.000016\"}} 2"),
            format!("{name}_bucket{{le=\"0.000512\"}} 2"),
            format!("{name}_bucket{{le=\"0.001024\"}} 6"),
            format!("{name}_bucket{{le=\"1.048576\"}} 6"),
            format!("{name}_bucket{{le=\"+Inf\"}} 7"),
            format!("{name}_sum 1.5"),
            format!("{name}_count 7"),
            "trunkline_store_failed 1".to_owned(),
        ] {
            assert!(text.lines().any(|one| one == line), "{line}\n{text}");
        }
        assert!(!render(&Snapshot::default(), &page, None).contains("trunkline_store_"));
    }
}
