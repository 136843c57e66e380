//! What is measured of streams, for plain HTTP clients and in WebSockets.
//!
//! Owns their two sections; a part of the table in `sections.rs`, and must not know more than that. Start at [`IDLE`].

use super::sections::{BYTES, DELIVERED, P99, RUN, figure};
use super::{Better, Run, Section, Who};

use Better::{Higher, Lower};

/// What an idle stream costs.
pub(super) const IDLE: Section = Section {
    name: "streams-idle",
    title: "Idle streams",
    about: "Streams for plain HTTP clients and in WebSockets, each of a channel of its own, that hear nothing: what one costs in the server.",
    figures: &[
        BYTES,
        figure("pss_per_session_bytes", "PSS, bytes each", Lower),
        figure("kernel_slab_per_session_bytes", "kernel slab, bytes each", Lower),
    ],
    runs: &[
        Run {
            name: "sse",
            title: "10,000 of server-sent events",
            command: "idle --connections 10000|200 {target} {own} {pids}",
            who: Who::Events,
            ..RUN
        },
        Run {
            name: "ndjson",
            title: "10,000 of lines of JSON",
            command: "idle --connections 10000|200 {target} {own} {pids}",
            who: Who::Lines,
            ..RUN
        },
        Run {
            name: "cloudevents",
            title: "10,000 of CloudEvents in WebSockets",
            command: "idle --connections 10000|200 {target} {own} {pids}",
            who: Who::CloudEvents,
            ..RUN
        },
    ],
};

/// Whether memory stays flat under messages to streams picked at random.
pub(super) const COMET: Section = Section {
    name: "streams-comet",
    title: "Messages to random streams",
    about: "1,000 messages a second to streams picked at random, each of a channel of its own, while all stay connected.",
    figures: &[
        figure("memory_flat", "flat (1) or not (0)", Higher),
        figure("rss_slope_bytes_per_minute", "RSS slope, bytes/minute", Lower),
        figure("rss_end_bytes", "RSS at the end, bytes", Lower),
        figure("latency_p50_ms", "p50, ms", Lower),
        P99,
        DELIVERED,
    ],
    runs: &[
        Run {
            name: "sse",
            title: "10,000 of server-sent events for 2 minutes",
            command: "comet --connections 10000|200 --duration 2m|2s --stats-every 5s|500ms {target} {own} {publish} {pids}",
            who: Who::Events,
            minutes_max: 5,
            ..RUN
        },
        Run {
            name: "ndjson",
            title: "10,000 of lines of JSON for 2 minutes",
            command: "comet --connections 10000|200 --duration 2m|2s --stats-every 5s|500ms {target} {own} {publish} {pids}",
            who: Who::Lines,
            minutes_max: 5,
            ..RUN
        },
        Run {
            name: "cloudevents",
            title: "10,000 of CloudEvents in WebSockets for 2 minutes",
            command: "comet --connections 10000|200 --duration 2m|2s --stats-every 5s|500ms {target} {own} {publish} {pids}",
            who: Who::CloudEvents,
            minutes_max: 5,
            ..RUN
        },
    ],
};
