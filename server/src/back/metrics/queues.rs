//! Metrics of each queue, for as many queues as `sqs.metrics_queues_max` says.
//!
//! Owns the families and their labels. How many series there are is bounded by the limit, whatever clients create. Start at
//! [`gather_queues`].

use std::fmt::Write as _;

use hub::queue::QueueView;

use super::{counter, full_name, gauge, head, kind};
use crate::back::Office;
use crate::back::queues;
use crate::shard::Stat;

/// The rows of [`values`].
const FAMILIES: &[Stat] = &[
    gauge("queue_visible_messages", "Messages that can be received, also those whose group is held up."),
    gauge(
        "queue_in_flight_messages",
        "Messages that were received and not deleted, or are on their way to another queue.",
    ),
    gauge("queue_delayed_messages", "Messages whose time has not come."),
    gauge("queue_oldest_seconds", "Since the oldest stored message was sent; 0 if there is none."),
    gauge("queue_waiting_receives", "Receives that wait for messages."),
    counter("queue_sent", "Messages taken, without duplicates."),
    counter("queue_received", "Messages given to receivers, each time that it happened."),
    counter("queue_deleted", "Messages that their receivers deleted."),
];

/// The queues that are told, at about one time.
#[derive(Clone, Debug, Default)]
pub(crate) struct QueuePage {
    views: Vec<QueueView>,
    /// The calendar's time, for ages.
    now_ms: u64,
}

/// Asks every shard. Where one does not answer, no queue is told of: some without others would look like deletions.
pub(crate) async fn gather_queues(office: &Office, queues_max: u32, now_ms: u64) -> QueuePage {
    if queues_max == 0 {
        return QueuePage::default();
    }
    let page = queues::list(office, "", None, queues_max).await;
    QueuePage { views: page.map(|page| page.items).unwrap_or_default(), now_ms }
}

impl QueuePage {
    /// One family after the other; nothing without queues.
    pub(super) fn render(&self, text: &mut String) {
        let all: Vec<(String, [u64; FAMILIES.len()])> =
            self.views.iter().map(|view| (labels(view), values(view, self.now_ms))).collect();
        for (index, family) in FAMILIES.iter().enumerate().filter(|_| !all.is_empty()) {
            let name = full_name(family);
            head(text, &name, kind(family), family.doc);
            for (labels, values) in &all {
                let value = values.get(index).copied().unwrap_or_default();
                let _ = writeln!(text, "trunkline_{name}{{{labels}}} {value}");
            }
        }
    }
}

fn values(view: &QueueView, now_ms: u64) -> [u64; FAMILIES.len()] {
    let oldest_ms = view.oldest.map_or(0, |oldest| now_ms.saturating_sub(oldest.0));
    [
        view.counts.visible,
        view.counts.in_flight,
        view.counts.delayed,
        oldest_ms / 1000,
        u64::from(view.waiting),
        view.flow.sent,
        view.flow.received,
        view.flow.settled,
    ]
}

fn labels(view: &QueueView) -> String {
    let (account, region, name) = queues::parts(&view.name);
    let [account, region, name] = [account, region, name].map(escaped);
    format!("queue=\"{name}\",account=\"{account}\",region=\"{region}\"")
}

/// A program that embeds the server may give queues any name.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The part of the page `docs/metrics.md`, in Markdown.
pub(super) fn reference() -> String {
    let about = "With the labels `queue`, `account` and `region`, for the first `sqs.metrics_queues_max` queues in order of \
                 account, region and name; `queues` counts all of them. Counters begin at 0 when the process starts.";
    let mut page = String::new();
    super::table(&mut page, "Of each queue", about, FAMILIES);
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use hub::Partition;
    use hub::queue::{QueueCounts, QueueFlow, QueueName, Settings, Wall};
    use std::sync::Arc;

    fn view(name: &str) -> QueueView {
        QueueView {
            name: QueueName::new(name),
            partition: Partition(0),
            incarnation: 1,
            revision: 1,
            settings: Arc::new(Settings::default()),
            created: Wall(0),
            modified: Wall(0),
            counts: QueueCounts { visible: 3, in_flight: 2, delayed: 1 },
            flow: QueueFlow { sent: 9, received: 5, settled: 3 },
            oldest: Some(Wall(5_000)),
            waiting: 4,
            groups: 0,
        }
    }

    #[test]
    fn every_queue_has_one_line_in_each_family() {
        let page = QueuePage { views: vec![view("0/eu/a"), view("odd \"name\"")], now_ms: 12_345 };
        let mut text = String::new();
        page.render(&mut text);
        let labels = "queue=\"a\",account=\"0\",region=\"eu\"";
        for line in [
            "# TYPE trunkline_queue_sent_total counter".to_owned(),
            format!("trunkline_queue_visible_messages{{{labels}}} 3"),
            format!("trunkline_queue_in_flight_messages{{{labels}}} 2"),
            format!("trunkline_queue_delayed_messages{{{labels}}} 1"),
            format!("trunkline_queue_oldest_seconds{{{labels}}} 7"),
            format!("trunkline_queue_waiting_receives{{{labels}}} 4"),
            format!("trunkline_queue_sent_total{{{labels}}} 9"),
            format!("trunkline_queue_received_total{{{labels}}} 5"),
            format!("trunkline_queue_deleted_total{{{labels}}} 3"),
            "trunkline_queue_sent_total{queue=\"odd \\\"name\\\"\",account=\"\",region=\"\"} 9".to_owned(),
        ] {
            assert!(text.lines().any(|one| one == line), "{line}\n{text}");
        }
        assert_eq!(text.lines().filter(|line| !line.starts_with('#')).count(), 2 * FAMILIES.len());
        let mut nothing = String::new();
        QueuePage::default().render(&mut nothing);
        assert_eq!(nothing, "");
    }
}
