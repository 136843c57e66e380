//! The rows. Each section says in its text how its figures are to be read. Start at [`SECTIONS`].

use super::Better::{Higher, Lower};
use super::{Better, Figure, Floor, Mode, Run, Section, Who};

/// What most rows have.
const RUN: Run = Run {
    name: "",
    title: "",
    command: "",
    floor: None,
    who: Who::All,
    mode: Mode::Plain,
    processes: 1,
    rounds: 3,
    minutes_max: 5,
};

const fn figure(name: &'static str, title: &'static str, better: Better) -> Figure {
    Figure { name, title, better }
}

const DELIVERIES: Figure = figure("deliveries_per_second", "deliveries/s", Higher);
const CPU_US: Figure = figure("cpu_us_per_delivery", "CPU us each", Lower);
const BYTES: Figure = figure("rss_per_session_bytes", "RSS, bytes each", Lower);
const DELIVERED: Figure = figure("delivered_percent", "delivered, %", Higher);
const LOST: Figure = figure("lost", "lost", Lower);
const TWICE: Figure = figure("twice", "twice", Lower);
const RECOVERED: Figure = figure("recovered_percent", "recovered, %", Higher);

/// Every section in the order of the page.
pub(crate) const SECTIONS: &[Section] = &[
    Section {
        name: "idle",
        title: "Memory of an idle session",
        about: "Clients connect over WebSocket, join one of 100 rooms and say nothing. Resident memory of all processes of the \
                server, after a warm-up of 200 clients, divided by the sessions. The kernel's part is that of both ends of a \
                connection, since the generator is on the same machine.",
        figures: &[
            BYTES,
            figure("pss_per_session_bytes", "PSS, bytes each", Lower),
            figure("rss_per_session_without_warmup_bytes", "RSS without warm-up, bytes each", Lower),
            figure("kernel_slab_per_session_bytes", "kernel slab, bytes each", Lower),
            figure("sessions_per_second", "sessions/s while they connect", Higher),
        ],
        runs: &[
            Run {
                name: "15000",
                title: "15,000",
                command: "idle --connections 15000|500 --hold 5s|1s {target} {room} {pids}",
                who: Who::Ours,
                rounds: 2,
                ..RUN
            },
            Run {
                name: "60000",
                title: "60,000 over 4 server processes",
                command: "idle --connections 60000|1000 --hold 5s|1s {target} {room} {pids}",
                who: Who::Ours,
                processes: 4,
                rounds: 1,
                ..RUN
            },
            Run {
                name: "5000",
                title: "5,000",
                command: "idle --connections 5000|200 --hold 5s|1s {target} {room} {pids}",
                rounds: 2,
                ..RUN
            },
        ],
    },
    Section {
        name: "broadcast",
        title: "One message to very many",
        about: "One message of 200 characters to all subscribers, the next when it has reached everybody. The figure that counts is \
                the median time until the last one has it. The floor is measured in turns with the server.",
        figures: &[
            figure("last_delivery_ms", "last one, ms", Lower),
            figure("floor_last_delivery_ms", "the floor's last one, ms", Lower),
            figure("ratio_last_delivery", "ratio", Lower),
            figure("latency_p50_ms", "p50, ms", Lower),
            figure("latency_p99_ms", "p99, ms", Lower),
            figure("bad", "later than 5 s", Lower),
        ],
        runs: &[
            Run {
                name: "10000",
                title: "10,000",
                command: "broadcast --connections 10000|200 --repeat 10|2 --with-floor {target} {publish} {pids}",
                who: Who::SocketIo,
                ..RUN
            },
            Run {
                name: "20000",
                title: "20,000 over 2 server processes",
                command: "broadcast --connections 20000|400 --repeat 10|2 --with-floor {target} {publish} {pids}",
                who: Who::Ours,
                processes: 2,
                ..RUN
            },
        ],
    },
    Section {
        name: "fanout",
        title: "Sustained fan-out",
        about: "Messages of 200 characters, published by the back end's door of each server to all subscribers, as fast as they \
                are delivered: the next batch leaves when the last message of the one before has reached everybody. Messages of a \
                batch are published at the same moment. The floor writes a batch to each socket in one call.",
        figures: &[
            DELIVERIES,
            CPU_US,
            figure("latency_p50_ms", "p50, ms", Lower),
            figure("latency_p99_ms", "p99, ms", Lower),
            DELIVERED,
        ],
        runs: &[
            Run {
                name: "batch",
                title: "1,000, flat out, batches of 32",
                command: "fanout --connections 1000|100 --messages 3200|320 --batch 32 --payload-bytes 200 {target} {publish} {pids}",
                floor: Some(Floor {
                    command: "floor --connections 1000|100 --messages 3200|320 --frames-per-write 32 --payload-bytes 200",
                    figure: "deliveries_per_second",
                }),
                ..RUN
            },
            Run {
                name: "single",
                title: "10,000, one by one",
                command: "fanout --connections 10000|200 --messages 60|20 --payload-bytes 200 {target} {publish} {pids}",
                floor: Some(Floor {
                    command: "floor --connections 10000|200 --messages 60|20 --payload-bytes 200",
                    figure: "deliveries_per_second",
                }),
                ..RUN
            },
        ],
    },
    Section {
        name: "echo",
        title: "Echo: the highest rate that is held",
        about: "An event of each client that the server's application returns to it: for Trunkline the back end that \
                `trunkline dev` brings along, for the others a handler. Send times are fixed beforehand; a rate is held while 99 of \
                100 events are back within 100 ms. Latencies are those at the rate that was held.",
        figures: &[
            figure("sustained_rate", "held, events/s", Higher),
            figure("latency_p50_ms", "p50, ms", Lower),
            figure("latency_p99_ms", "p99, ms", Lower),
            figure("cpu_us_per_message", "CPU us each", Lower),
            DELIVERED,
        ],
        runs: &[Run {
            name: "2000",
            title: "2,000",
            command: "echo --connections 2000|100 --last 0 --hold 20s|2s --hold-p99-ms 100 {target} {pids}",
            who: Who::SocketIo,
            rounds: 2,
            minutes_max: 10,
            ..RUN
        }],
    },
    Section {
        name: "echo-bursts",
        title: "Echo: bursts",
        about: "The ladder of 2014: every client says its share at once, the next burst is larger by 5,000, and the first that is not \
                back within 5 s, or 200,000, is the last.",
        figures: &[
            figure("burst_messages", "largest burst back in 5 s", Higher),
            figure("burst_per_second", "events/s of it", Higher),
            figure("burst_mean_ms", "mean, ms", Lower),
            figure("burst_p99_ms", "p99, ms", Lower),
        ],
        runs: &[Run {
            name: "2000",
            title: "2,000",
            command: "echo --connections 2000|100 --first 5000|500 --step 5000|500 --last 200000|1000 --hold 0s {target} {pids}",
            who: Who::SocketIo,
            rounds: 1,
            minutes_max: 10,
            ..RUN
        }],
    },
    Section {
        name: "pairs",
        title: "Point to point",
        about: "Clients in pairs, each with a room of its own, answer each other: one message is on its way in each pair, and the next \
                leaves when it has arrived.",
        figures: &[
            figure("messages_per_second", "messages/s", Higher),
            figure("latency_p50_ms", "p50, ms", Lower),
            figure("latency_p99_ms", "p99, ms", Lower),
            figure("cpu_us_per_message", "CPU us each", Lower),
            DELIVERED,
        ],
        runs: &[Run {
            name: "1000",
            title: "1,000 pairs",
            command: "pairs --pairs 1000|50 --outstanding 1 --duration 10s|2s {target} {pids}",
            who: Who::SocketIo,
            ..RUN
        }],
    },
    Section {
        name: "comet",
        title: "Messages to random users",
        about: "The C10K soak of 2008: 1,000 messages a second to users picked at random, while everybody stays connected. Memory \
                must not grow with time: the slope is that of the samples after the first quarter.",
        figures: &[
            figure("rss_slope_bytes_per_minute", "RSS slope, bytes/minute", Lower),
            figure("rss_slope_standard_error", "its standard error", Lower),
            figure("memory_flat", "flat (1) or not (0)", Higher),
            figure("rss_end_bytes", "RSS at the end, bytes", Lower),
            figure("latency_p99_ms", "p99, ms", Lower),
            DELIVERED,
        ],
        runs: &[Run {
            name: "10000",
            title: "10,000 for 20 minutes",
            command: "comet --connections 10000|200 --duration 20m|5s --stats-every 10s|1s {target} {publish} {pids}",
            who: Who::Ours,
            rounds: 1,
            minutes_max: 30,
            ..RUN
        }],
    },
    Section {
        name: "churn",
        title: "Coming and going",
        about: "Visits at a steady rate: a client connects, joins a room, hears one message and leaves. No session may be left behind; \
                only a server that counts its own can tell.",
        figures: &[
            figure("visits_per_second", "visits/s", Higher),
            figure("refused_or_lost", "refused or lost", Lower),
            figure("sessions_left", "sessions left", Lower),
            figure("cycle_p50_ms", "visit p50, ms", Lower),
            figure("cycle_p99_ms", "p99, ms", Lower),
            figure("rss_before_bytes", "RSS before, bytes", Lower),
            figure("rss_after_bytes", "RSS after, bytes", Lower),
        ],
        runs: &[Run {
            name: "500",
            title: "500 a second",
            command: "churn --rate 500|50 --duration 30s|3s {target} {metrics} {pids}",
            who: Who::SocketIo,
            rounds: 2,
            ..RUN
        }],
    },
    Section {
        name: "cuts",
        title: "Connections cut at random while messages flow",
        about: "Numbered messages to everybody, while every client's connection is destroyed again and again and comes back after \
                2 to 3 s. Without recovery a client misses what was sent while it was away: that is what at most once means, and \
                no fault of a server.",
        figures: &[
            figure("delivered_exactly_once_percent", "exactly once, %", Higher),
            LOST,
            TWICE,
            RECOVERED,
            figure("latency_p99_ms", "p99, ms", Lower),
        ],
        runs: &[
            Run {
                name: "recovery",
                title: "10,000, with connection state recovery",
                command: "cuts --connections 10000|100 --messages 120|20 --interval 500ms|100ms --cut-first 5s..20s|100ms..400ms \
                          --cut-every 15s..20s|200ms..400ms --offline-min 2s|50ms --recovery on {target} {publish} {pids}",
                who: Who::Recovering,
                mode: Mode::Recovery,
                rounds: 1,
                ..RUN
            },
            Run {
                name: "without",
                title: "10,000, without",
                command: "cuts --connections 10000|100 --messages 120|20 --interval 500ms|100ms --cut-first 5s..20s|100ms..400ms \
                          --cut-every 15s..20s|200ms..400ms --offline-min 2s|50ms --recovery off {target} {publish} {pids}",
                who: Who::SocketIo,
                rounds: 1,
                ..RUN
            },
        ],
    },
    Section {
        name: "avalanche",
        title: "A restart under very many clients",
        about: "The server is restarted while everybody is connected and messages flow; clients come back after 500 ms to 5 s. \
                Peers are not run: none of them keeps a session over its own restart.",
        figures: &[
            figure("back_100_percent_seconds", "all back, s", Lower),
            RECOVERED,
            figure("never_back", "never back", Lower),
            LOST,
            TWICE,
            figure("server_down_seconds", "server down, s", Lower),
        ],
        runs: &[Run {
            name: "15000",
            title: "15,000",
            command: "avalanche --connections 15000|200",
            who: Who::Ours,
            processes: 0,
            rounds: 2,
            minutes_max: 10,
            ..RUN
        }],
    },
    Section {
        name: "growth-fanout",
        title: "Growth: cost of a delivery",
        about: "As many deliveries each time, one message at a time, to more and more subscribers.",
        figures: &[CPU_US, DELIVERIES, DELIVERED],
        runs: &[
            Run {
                name: "100",
                title: "100",
                command: "fanout --connections 100|20 --messages 6000|200 {target} {publish} {pids}",
                who: Who::Ours,
                ..RUN
            },
            Run {
                name: "1000",
                title: "1,000",
                command: "fanout --connections 1000|100 --messages 600|40 {target} {publish} {pids}",
                who: Who::Ours,
                ..RUN
            },
            Run {
                name: "10000",
                title: "10,000",
                command: "fanout --connections 10000|200 --messages 60|20 {target} {publish} {pids}",
                who: Who::Ours,
                ..RUN
            },
        ],
    },
    Section {
        name: "growth-idle",
        title: "Growth: memory of a session",
        about: "As under \"Memory of an idle session\", with more and more sessions.",
        figures: &[BYTES, figure("pss_per_session_bytes", "PSS, bytes each", Lower)],
        runs: &[
            Run {
                name: "1000",
                title: "1,000",
                command: "idle --connections 1000|200 --hold 2s|1s {target} {room} {pids}",
                who: Who::Ours,
                ..RUN
            },
            Run {
                name: "5000",
                title: "5,000",
                command: "idle --connections 5000|300 --hold 2s|1s {target} {room} {pids}",
                who: Who::Ours,
                ..RUN
            },
            Run {
                name: "15000",
                title: "15,000",
                command: "idle --connections 15000|400 --hold 2s|1s {target} {room} {pids}",
                who: Who::Ours,
                ..RUN
            },
        ],
    },
];
