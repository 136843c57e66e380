//! The metrics of webhooks, declared once for the page and for the reference.
//!
//! Must not know how requests are made. Start at [`render_webhooks`].

use std::fmt::Write as _;

use super::{Stat, counter, full_name, gauge, head, kind, table};
use crate::back::webhook::{Outcome, View};

/// Rows with values by type.
const BY_TYPE: &[Stat] = &[
    counter(
        "webhook_requests",
        "Requests that are over, by `type` (as in `types`, or `other`) and `outcome`: `success` (status 200 to 299), `refused` (400 to \
         499), `error` (any other), `failed` (no answer). Types of which there was none are left out.",
    ),
    counter(
        "webhook_request_seconds",
        "What they took in all, by `type`, without the time in which they waited for their turn.",
    ),
];

/// The other rows.
const WEBHOOKS: &[Stat] = &[
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
    if views.is_empty() {
        return text;
    }
    by_type(views, &mut text);
    for (index, row) in WEBHOOKS.iter().enumerate() {
        let name = full_name(row);
        head(&mut text, &name, kind(row), row.doc);
        for view in views {
            let webhook = view.config.name.as_str();
            // Or it is not known now.
            if let Some(Some(value)) = values(view).get(index) {
                let _ = writeln!(text, "trunkline_{name}{{webhook=\"{webhook}\"}} {value}");
            }
        }
    }
    text
}

/// At most a dozen types for each webhook, whatever is sent.
fn by_type(views: &[View], text: &mut String) {
    let kinds = || {
        let of = |view: &View| {
            view.standing.kinds.into_iter().filter(|kind| kind.outcomes.iter().any(|count| *count > 0))
        };
        views.iter().flat_map(move |view| of(view).map(|kind| (view.config.name.as_str(), kind)))
    };
    let [requests, seconds] = BY_TYPE else { return };
    let name = full_name(requests);
    head(text, &name, kind(requests), requests.doc);
    for (webhook, of) in kinds() {
        for ((_, outcome), count) in Outcome::ALL.iter().zip(of.outcomes) {
            let labels = format!("webhook=\"{webhook}\",type=\"{}\",outcome=\"{outcome}\"", of.name);
            let _ = writeln!(text, "trunkline_{name}{{{labels}}} {count}");
        }
    }
    let name = full_name(seconds);
    head(text, &name, kind(seconds), seconds.doc);
    for (webhook, of) in kinds() {
        let took = of.took.as_secs_f64();
        let _ = writeln!(text, "trunkline_{name}{{webhook=\"{webhook}\",type=\"{}\"}} {took}", of.name);
    }
}

fn values(view: &View) -> [Option<u64>; WEBHOOKS.len()] {
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
    table(&mut page, "Of webhooks", about, &[BY_TYPE, WEBHOOKS].concat());
    page
}
