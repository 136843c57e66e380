//! Sets up the log of the process as `[log]` says.
//!
//! Must not know who logs. Start at [`start`].

use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use trunkline::config::{Log, LogFormat};

/// Starts logging to standard error; to be called once.
pub(super) fn start(log: &Log) {
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = match log.format {
        LogFormat::Text => {
            let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
            lines.with_ansi(colour).with_filter(log.filter.targets()).boxed()
        }
        LogFormat::Json => lines.json().flatten_event(true).with_filter(log.filter.targets()).boxed(),
    };
    tracing_subscriber::registry().with(layer).init();
}
