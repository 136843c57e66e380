//! The metrics of webhooks, declared once for the page and for the reference.
//!
//! Must not know how requests are made. Start at [`render_webhooks`].

use std::fmt::Write as _;

use super::{Stat, counter, full_name, gauge, head, kind, table};
use crate::back::webhook::{Outcome, View};

/// The rows; the first has a value for each [`Outcome`].
const WEBHOOKS: &[Stat] = &[
    counter(
        "webhook_requests",
        "Requests that are over, by `outcome`: `success` (status 200 to 299), `refused` (400 to 499), `error` (any other), \
         `failed` (no answer).",
    ),
    counter("webhook_connections", "Connections made for requests, each of which serves many."),
    gauge("webhook_busy", "Requests under way."),
    gauge("webhook_waiting", "Requests that wait for their turn."),
    gauge("webhook_open", "1 while requests leave as they come, 0 after failures in a row."),
    counter("webhook_events_delivered", "Events that the back end was told."),
    counter("webhook_events_retried", "Attempts to tell it that were not the last one."),
    counter("webhook_events_dead", "Events that became dead letters."),
    gauge("webhook_events_queued", "Events that wait to be told."),
    gauge("webhook_dead_letters", "Dead letters."),
    gauge(
        "webhook_enabled",
        "0 while events stay here, since the back end answered 410 or somebody said so.",
    ),
];

/// In Prometheus' format, one value for each webhook by `webhook`; nothing where there is none.
#[must_use]
pub(crate) fn render_webhooks(views: &[View]) -> String {
    let mut text = String::new();
    for (index, row) in WEBHOOKS.iter().enumerate().filter(|_| !views.is_empty()) {
        let name = full_name(row);
        head(&mut text, &name, kind(row), row.doc);
        for view in views {
            let webhook = view.config.name.as_str();
            match index.checked_sub(1).and_then(|at| values(view).get(at).copied()) {
                Some(Some(value)) => {
                    let _ = writeln!(text, "trunkline_{name}{{webhook=\"{webhook}\"}} {value}");
                }
                // Not known now.
                Some(None) => {}
                None => {
                    for ((_, outcome), count) in Outcome::ALL.iter().zip(view.standing.outcomes) {
                        let labels = format!("webhook=\"{webhook}\",outcome=\"{outcome}\"");
                        let _ = writeln!(text, "trunkline_{name}{{{labels}}} {count}");
                    }
                }
            }
        }
    }
    text
}

fn values(view: &View) -> [Option<u64>; WEBHOOKS.len() - 1] {
    let standing = &view.standing;
    let [delivered, retried, dead] = view.told;
    [
        Some(standing.connections),
        Some(standing.busy as u64),
        Some(standing.waiting as u64),
        Some(u64::from(standing.is_closed)),
        Some(delivered),
        Some(retried),
        Some(dead),
        view.queued,
        view.dead,
        Some(u64::from(view.is_enabled)),
    ]
}

/// The part of `docs/metrics.md`.
pub(super) fn reference() -> String {
    let mut page = String::new();
    let about = "With the label `webhook`, its name; only with a `[[webhook]]`. Counters begin at 0 when the process starts.";
    table(&mut page, "Of webhooks", about, WEBHOOKS);
    page
}
