//! The rows. Each section says in its text how its figures are to be read. Start at [`SECTIONS`].

use super::Better::{Higher, Lower};
use super::{Better, Figure, Floor, Mode, Run, Section, Who};

/// Turns of rows by whose figures a promise is judged, so that there is a median. Fewer have those whose figure is a yes or no
/// that every turn must give, those that take turns with the floor three times by themselves, and those of which one turn is long.
const JUDGED: u16 = 3;

/// What most rows have.
pub(super) const RUN: Run = Run {
    name: "",
    title: "",
    command: "",
    floor: None,
    who: Who::All,
    mode: Mode::Plain,
    processes: 1,
    rounds: 1,
    minutes_max: 5,
};

pub(super) const fn figure(name: &'static str, title: &'static str, better: Better) -> Figure {
    Figure { name, title, better }
}

const DELIVERIES: Figure = figure("deliveries_per_second", "deliveries/s", Higher);
pub(super) const P99: Figure = figure("latency_p99_ms", "p99, ms", Lower);
const CPU_US: Figure = figure("cpu_us_per_delivery", "CPU us each", Lower);
pub(super) const BYTES: Figure = figure("rss_per_session_bytes", "RSS, bytes each", Lower);
const COLD_BYTES: Figure =
    figure("rss_per_session_without_warmup_bytes", "RSS over a server without warm-up, bytes each", Lower);
pub(super) const DELIVERED: Figure = figure("delivered_percent", "delivered, %", Higher);
const LOST: Figure = figure("lost", "lost", Lower);
const TWICE: Figure = figure("twice", "twice", Lower);
const RECOVERED: Figure = figure("recovered_percent", "recovered, %", Higher);

const QOS_1: &str = "cuts --connections 2000|100 --messages 60|40 --interval 500ms|50ms --cut-first 5s..10s|100ms..400ms --cut-every \
                     10s..15s|200ms..400ms --offline-min 2s|50ms --patience 45s|20s --qos 1 {target} {publish} {pids}";
const QOS_2: &str = "cuts --connections 2000|100 --messages 60|40 --interval 500ms|50ms --cut-first 5s..10s|100ms..400ms --cut-every \
                     10s..15s|200ms..400ms --offline-min 2s|50ms --patience 45s|20s --qos 2 {target} {publish} {pids}";

const fn cuts_of_mqtt(name: &'static str, title: &'static str, command: &'static str) -> Run {
    Run { name, title, command, who: Who::Mqtt, ..RUN }
}

/// Every section in the order of the page.
pub(crate) const SECTIONS: &[Section] = &[
    Section {
        name: "idle",
        title: "Memory of an idle session",
        about: "Clients connect over WebSocket, join a room and say nothing. Resident memory (RSS) of all processes of the server, \
                divided by the sessions: what it grew by since a warm-up of 200 clients, and, without warm-up, since it was started, \
                which charges code and buffers of any first use to the sessions. Promises are judged by the larger of the two. \
                Where everybody is idle for 55 s, each client was pinged twice before memory was read (every 25 s). PSS counts \
                memory that processes share in proportion. The kernel's part is that of both ends of a connection, since the \
                generator is on the same machine.",
        figures: &[
            BYTES,
            COLD_BYTES,
            figure("pss_per_session_bytes", "PSS, bytes each", Lower),
            figure("kernel_slab_per_session_bytes", "kernel slab, bytes each", Lower),
            figure("sessions_per_second", "sessions/s while they connect", Higher),
        ],
        runs: &[
            Run {
                name: "15000",
                title: "15,000, one of 100 rooms each, 55 s",
                command: "idle --connections 15000|500 --hold 55s|1s {target} {room} {pids}",
                who: Who::Ours,
                rounds: JUDGED,
                ..RUN
            },
            Run {
                name: "15000-own-room",
                title: "15,000, a room of its own each, 55 s",
                command: "idle --connections 15000|500 --hold 55s|1s {target} --room-event join --room room-%{i} {pids}",
                who: Who::Ours,
                ..RUN
            },
            // Four processes in one turn are four samples of the memory of one.
            Run {
                name: "60000",
                title: "60,000 over 4 server processes, one of 100 rooms each, 55 s",
                command: "idle --connections 60000|1000 --hold 55s|1s {target} {room} {pids}",
                who: Who::Ours,
                processes: 4,
                ..RUN
            },
            Run {
                name: "5000",
                title: "5,000, one of 100 rooms each, 5 s",
                command: "idle --connections 5000|200 --hold 5s|1s {target} {room} {pids}",
                ..RUN
            },
        ],
    },
    Section {
        name: "broadcast",
        title: "One message to very many",
        about: "One message of 200 characters to all subscribers, the next when it has reached everybody. The figure that counts is \
                the median time until the last one has it. Within each turn, server and floor are measured in turns three times, and \
                the ratio is that of both times.",
        figures: &[
            figure("last_delivery_ms", "last one, ms", Lower),
            figure("floor_last_delivery_ms", "the floor's last one, ms", Lower),
            figure("ratio_last_delivery", "ratio", Lower),
            figure("latency_p50_ms", "p50, ms", Lower),
            P99,
            figure("bad", "later than 5 s", Lower),
        ],
        runs: &[
            Run {
                name: "10000",
                title: "10,000",
                command: "broadcast --connections 10000|200 --repeat 10|2 --with-floor {target} {publish} {pids}",
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
                are delivered. Messages of a batch are published at the same moment; with several batches on their way, the next \
                leaves when the oldest has reached everybody. The floor writes a batch to each socket in one call.",
        figures: &[DELIVERIES, CPU_US, figure("latency_p50_ms", "p50, ms", Lower), P99, DELIVERED],
        runs: &[
            Run {
                name: "batch",
                title: "1,000, flat out: batches of 32, 4 on their way",
                command: "fanout --connections 1000|100 --messages 1600|320 --batch 32 --in-flight 4 --payload-bytes 200 {target} \
                          {publish} {pids}",
                floor: Some(Floor {
                    command: "floor --connections 1000|100 --messages 1600|320 --frames-per-write 32 --in-flight 4 --payload-bytes 200",
                    figure: "deliveries_per_second",
                }),
                rounds: JUDGED,
                ..RUN
            },
            Run {
                name: "one-batch",
                title: "1,000, batches of 32, one on its way",
                command: "fanout --connections 1000|100 --messages 1600|320 --batch 32 --payload-bytes 200 {target} {publish} {pids}",
                floor: Some(Floor {
                    command: "floor --connections 1000|100 --messages 1600|320 --frames-per-write 32 --payload-bytes 200",
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
        name: "echo-burst",
        title: "Echo: a burst",
        about: "An event of each client that the server's application returns to it: for Trunkline the back end that \
                `trunkline dev` brings along, for the others a handler. 2,000 clients say 200,000 events at once, 100 each. Events/s \
                are those until the last one is back; a latency counts from the moment of the burst.",
        figures: &[
            figure("burst_per_second", "events/s", Higher),
            figure("burst_mean_ms", "mean, ms", Lower),
            figure("burst_p99_ms", "p99, ms", Lower),
        ],
        runs: &[Run {
            name: "2000",
            title: "2,000",
            command: "echo --connections 2000|100 --first 200000|1000 --last 200000|1000 --step 1 --limit 60s --hold 0s {target} {pids}",
            who: Who::SocketIo,
            rounds: JUDGED,
            ..RUN
        }],
    },
    Section {
        name: "echo-closed",
        title: "Echo: each event when another one is back",
        about: "The same event; each of 2,000 clients has a fixed number of events on their way and says the next one when one is back. \
                A server that is slower is asked less, so that rate and latency say the same thing twice.",
        figures: &[
            figure("echoes_per_second", "events/s", Higher),
            figure("latency_p50_ms", "p50, ms", Lower),
            P99,
            figure("cpu_us_per_message", "CPU us each", Lower),
            DELIVERED,
        ],
        runs: &[
            Run {
                name: "1",
                title: "2,000, 1 on its way for each",
                command: "echo --connections 2000|100 --outstanding 1 --duration 3s|1s {target} {pids}",
                who: Who::SocketIo,
                rounds: JUDGED,
                ..RUN
            },
            Run {
                name: "8",
                title: "2,000, 8 on their way for each",
                command: "echo --connections 2000|100 --outstanding 8 --duration 3s|1s {target} {pids}",
                who: Who::SocketIo,
                rounds: JUDGED,
                ..RUN
            },
        ],
    },
    Section {
        name: "echo-held",
        title: "Echo: the highest rate that is held",
        about: "The same event at times that are fixed beforehand, whether or not earlier ones are back. A rate is held while 99 of 100 \
                events are back within 100 ms, and all of them in the end, for 20 s. Latencies are those at the rate that was held.",
        figures: &[
            figure("sustained_rate", "held, events/s", Higher),
            figure("latency_p50_ms", "p50, ms", Lower),
            P99,
            figure("cpu_us_per_message", "CPU us each", Lower),
            DELIVERED,
        ],
        runs: &[Run {
            name: "2000",
            title: "2,000",
            command: "echo --connections 2000|100 --last 0 --hold 20s|1s --hold-from 4000|1000 --hold-p99-ms 100 {target} {pids}",
            who: Who::SocketIo,
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
            P99,
            figure("cpu_us_per_message", "CPU us each", Lower),
            DELIVERED,
        ],
        runs: &[Run {
            name: "1000",
            title: "1,000 pairs",
            command: "pairs --pairs 1000|50 --outstanding 1 --duration 3s|1s {target} {pids}",
            who: Who::SocketIo,
            ..RUN
        }],
    },
    Section {
        name: "comet",
        title: "Messages to random users",
        about: "The C10K soak of 2008: 1,000 messages a second to users picked at random, while everybody stays connected. Memory \
                must not grow with time: the slope is that of the samples after the first quarter, and flat is one that cannot be told \
                from noise.",
        figures: &[
            figure("rss_slope_bytes_per_minute", "RSS slope, bytes/minute", Lower),
            figure("rss_slope_standard_error", "its standard error", Lower),
            figure("memory_flat", "flat (1) or not (0)", Higher),
            figure("rss_end_bytes", "RSS at the end, bytes", Lower),
            P99,
            DELIVERED,
        ],
        runs: &[Run {
            name: "10000",
            title: "10,000 for 20 minutes",
            command: "comet --connections 10000|200 --duration 20m|10s --stats-every 10s|500ms {target} {publish} {pids}",
            who: Who::Ours,
            minutes_max: 30,
            ..RUN
        }],
    },
    Section {
        name: "comet-users",
        title: "Messages to random users, with the peers",
        about: "The same for a short time with every server; it says nothing of growth.",
        figures: &[
            P99,
            figure("latency_p50_ms", "p50, ms", Lower),
            figure("rss_end_bytes", "RSS at the end, bytes", Lower),
            DELIVERED,
        ],
        runs: &[Run {
            name: "10000",
            title: "10,000 for 30 s",
            // Too few samples are left for a slope, which would fail a server that still warms up.
            command: "comet --connections 10000|200 --duration 30s|2s --stats-every 10s|1s --warm-up-percent 90 {target} {publish} {pids}",
            who: Who::SocketIo,
            ..RUN
        }],
    },
    super::streams::IDLE,
    super::streams::COMET,
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
            command: "churn --rate 500|50 --duration 10s|2s {target} {metrics} {pids}",
            who: Who::SocketIo,
            ..RUN
        }],
    },
    Section {
        name: "cuts",
        title: "Connections cut at random while messages flow",
        about: "Numbered messages to everybody, while every client's connection is destroyed again and again and comes back after \
                2 to 3 s. Without recovery a client misses what was sent while it was away: that is what at most once means, and \
                no fault of a server. Trunkline has recovery where its configuration says `recovery = \"always\"` for the namespace `/`, \
                npm socket.io where its server is started with `--recovery 120000`.",
        figures: &[
            figure("delivered_exactly_once_percent", "exactly once, %", Higher),
            LOST,
            TWICE,
            RECOVERED,
            P99,
        ],
        runs: &[
            Run {
                name: "recovery",
                title: "10,000, with connection state recovery",
                command: "cuts --connections 10000|100 --messages 120|20 --interval 500ms|100ms --cut-first 5s..20s|100ms..400ms \
                          --cut-every 15s..20s|200ms..400ms --offline-min 2s|50ms --recovery on {target} {publish} {pids}",
                who: Who::Recovering,
                mode: Mode::Recovery,
                ..RUN
            },
            Run {
                name: "without",
                title: "2,000, without, a third of the time",
                command: "cuts --connections 2000|100 --messages 40|20 --interval 500ms|100ms --cut-first 5s..10s|100ms..400ms \
                          --cut-every 15s..20s|200ms..400ms --offline-min 2s|50ms --recovery off {target} {publish} {pids}",
                who: Who::SocketIo,
                ..RUN
            },
        ],
    },
    Section {
        name: "avalanche",
        title: "A restart under very many clients",
        about: "The server is restarted while everybody is connected and messages flow; clients come back after 500 ms to 5 s. \
                In \
                the first rows the generator starts and restarts the server. In the last one every server is restarted by the same \
                script (`./restart.sh`), which sends SIGTERM and starts it again at the same ports; servers that have connection state recovery have \
                it on, and clients ask for the session they had. \"Recovered\" is how many of them were given it.",
        figures: &[
            figure("back_100_percent_seconds", "all back, s", Lower),
            RECOVERED,
            figure("never_back", "never back", Lower),
            LOST,
            TWICE,
            figure("server_down_seconds", "server down, s", Lower),
        ],
        runs: &[
            Run {
                name: "15000",
                title: "15,000",
                command: "avalanche --connections 15000|200",
                who: Who::Ours,
                processes: 0,
                minutes_max: 10,
                ..RUN
            },
            Run {
                name: "mqtt-15000",
                title: "15,000 of MQTT, QoS 1",
                command: "avalanche --connections 15000|200 --protocol mqtt --qos 1",
                who: Who::Ours,
                processes: 0,
                minutes_max: 10,
                ..RUN
            },
            Run {
                name: "script",
                title: "5,000, restarted by a script",
                command: "avalanche --connections 5000|200 --patience 60s {target} {publish} {restart}",
                who: Who::SocketIo,
                mode: Mode::Restart,
                ..RUN
            },
        ],
    },
    Section {
        name: "mqtt-idle",
        title: "MQTT: memory of an idle client",
        about: "Clients connect, subscribe at QoS 1 to one of 100 filters and say nothing but a ping every 50 s. Memory as under \
                \"Memory of an idle session\". In every section of MQTT clients speak 3.1.1, since that is what every peer knows, and \
                whoever publishes is a client of the generator, the same for all servers.",
        figures: &[
            BYTES,
            COLD_BYTES,
            figure("pss_per_session_bytes", "PSS, bytes each", Lower),
            figure("kernel_slab_per_session_bytes", "kernel slab, bytes each", Lower),
            figure("sessions_per_second", "sessions/s while they connect", Higher),
        ],
        runs: &[Run {
            name: "15000",
            title: "15,000, a subscription at QoS 1 each, 55 s",
            command: "idle --connections 15000|500 --hold 55s|1s --qos 1 {target} {room} {pids}",
            who: Who::Mqtt,
            ..RUN
        }],
    },
    Section {
        name: "mqtt-broadcast",
        title: "MQTT: one message to very many",
        about: "As under \"One message to very many\", at QoS 0. Every server has two processes with 10,000 clients each, since one may \
                not have enough open files. The floor writes frames of WebSocket, which have some ten bytes more each.",
        figures: &[
            figure("last_delivery_ms", "last one, ms", Lower),
            figure("floor_last_delivery_ms", "the floor's last one, ms", Lower),
            figure("ratio_last_delivery", "ratio", Lower),
            figure("latency_p50_ms", "p50, ms", Lower),
            P99,
            figure("bad", "later than 5 s", Lower),
        ],
        runs: &[Run {
            name: "20000",
            title: "20,000 over 2 server processes",
            command: "broadcast --connections 20000|400 --repeat 10|2 --with-floor {target} {publish} {pids}",
            who: Who::Mqtt,
            processes: 2,
            ..RUN
        }],
    },
    Section {
        name: "mqtt-fanout",
        title: "MQTT: sustained fan-out",
        about: "Messages of 200 characters, said by one client and delivered to 1,000, as fast as they are delivered: batches of 32, 4 on \
                their way. At QoS 1 every delivery is acknowledged.",
        figures: &[DELIVERIES, CPU_US, figure("latency_p50_ms", "p50, ms", Lower), P99, DELIVERED],
        runs: &[
            Run {
                name: "qos-0",
                title: "1,000, QoS 0, flat out",
                command: "fanout --connections 1000|100 --messages 1600|320 --batch 32 --in-flight 4 --payload-bytes 200 {target} \
                          {publish} {pids}",
                floor: Some(Floor {
                    command: "floor --connections 1000|100 --messages 1600|320 --frames-per-write 32 --in-flight 4 --payload-bytes 200",
                    figure: "deliveries_per_second",
                }),
                who: Who::Mqtt,
                rounds: JUDGED,
                ..RUN
            },
            Run {
                name: "qos-1",
                title: "1,000, QoS 1, flat out",
                command: "fanout --connections 1000|100 --messages 640|320 --batch 32 --in-flight 2 --payload-bytes 200 --qos 1 {target} \
                          {publish} {pids}",
                who: Who::Mqtt,
                ..RUN
            },
        ],
    },
    Section {
        name: "mqtt-pairs",
        title: "MQTT: point to point",
        about: "As under \"Point to point\", at QoS 1 in both directions; each client has a topic of its own, to which its partner \
                publishes.",
        figures: &[
            figure("messages_per_second", "messages/s", Higher),
            figure("latency_p50_ms", "p50, ms", Lower),
            P99,
            figure("cpu_us_per_message", "CPU us each", Lower),
            DELIVERED,
        ],
        runs: &[Run {
            name: "1000",
            title: "1,000 pairs, QoS 1",
            command: "pairs --pairs 1000|50 --outstanding 1 --duration 3s|1s --qos 1 {target} {pids}",
            who: Who::Mqtt,
            ..RUN
        }],
    },
    Section {
        name: "mqtt-cuts",
        title: "MQTT: connections cut at random while messages flow",
        about: "As under \"Connections cut at random while messages flow\", for sessions that last. The publisher is cut as well, and \
                sends again what was not acknowledged. At QoS 1 a message may come again, at QoS 2 never; at neither may one be lost. What \
                does not come for 45 s is taken for lost, since nats-server waits 30 s before it sends again.",
        figures: &[
            figure("delivered_exactly_once_percent", "exactly once, %", Higher),
            LOST,
            TWICE,
            RECOVERED,
            P99,
        ],
        runs: &[cuts_of_mqtt("qos-1", "2,000, QoS 1", QOS_1), cuts_of_mqtt("qos-2", "2,000, QoS 2", QOS_2)],
    },
    Section {
        name: "growth-fanout",
        title: "Growth: cost of a delivery",
        about: "As many deliveries each time, in batches of 32 messages, 4 on their way, to more and more subscribers. The processor time \
                of a delivery holds its share of receiving the message, of which there are more where subscribers are fewer.",
        figures: &[CPU_US, DELIVERIES, DELIVERED],
        runs: &[
            Run {
                name: "100",
                title: "100",
                command: "fanout --connections 100|20 --messages 25600|640 --batch 32 --in-flight 4 {target} {publish} {pids}",
                who: Who::Ours,
                rounds: JUDGED,
                ..RUN
            },
            Run {
                name: "1000",
                title: "1,000",
                command: "fanout --connections 1000|100 --messages 2560|320 --batch 32 --in-flight 4 {target} {publish} {pids}",
                who: Who::Ours,
                rounds: JUDGED,
                ..RUN
            },
            Run {
                name: "10000",
                title: "10,000",
                command: "fanout --connections 10000|200 --messages 256|160 --batch 32 --in-flight 4 {target} {publish} {pids}",
                who: Who::Ours,
                rounds: JUDGED,
                ..RUN
            },
        ],
    },
    Section {
        name: "growth-idle",
        title: "Growth: memory of a session",
        about: "As under \"Memory of an idle session\", with more and more sessions on servers of the same warm-up. It is judged by what \
                a further session takes: by how much resident memory grew more with 5,000 than with 1,000 sessions, divided by the \
                4,000 between them, and the same from 5,000 to 15,000. The figure of 1,000 sessions alone has whole buffers and \
                pages in it that the next thousands use as well.",
        figures: &[BYTES, COLD_BYTES, figure("pss_per_session_bytes", "PSS, bytes each", Lower)],
        runs: &[
            Run {
                name: "1000",
                title: "1,000",
                command: "idle --connections 1000|200 --hold 2s|1s {target} {room} {pids}",
                who: Who::Ours,
                rounds: JUDGED,
                ..RUN
            },
            Run {
                name: "5000",
                title: "5,000",
                command: "idle --connections 5000|300 --hold 2s|1s {target} {room} {pids}",
                who: Who::Ours,
                rounds: JUDGED,
                ..RUN
            },
            Run {
                name: "15000",
                title: "15,000",
                command: "idle --connections 15000|400 --hold 2s|1s {target} {room} {pids}",
                who: Who::Ours,
                rounds: JUDGED,
                ..RUN
            },
        ],
    },
];
