//! The servers that are compared: which ones there are, how they are set up, what a generator is told to reach them.
//!
//! Owns the table [`SERVERS`]; a new peer is a line there and, if it is no program of `xtask/peers`, a way to start it in
//! `running`. Must not know scenarios. Start at [`SERVERS`].

/// What clients of a server speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// Socket.IO with the events `join`, `leave`, `echo`, `say`, and `POST /v1/messages` for the back end.
    SocketIo,
    /// Bare WebSocket at `/sub/<channel>`, and a POST of the data to `/pub/<channel>`.
    WebSocket,
    /// Server-sent events at `/sse?channel=`, and `POST /v1/messages` for the back end.
    Events,
    /// The same as lines of JSON at `/ndjson?channel=`.
    Lines,
    /// The same as CloudEvents in a WebSocket at `/ws?channel=`.
    CloudEvents,
    /// Server-sent events at `/events/<channel>`, and a POST of the data to `/pub/<channel>`.
    EventsByPath,
    /// MQTT 3.1.1, which all of them know; the back end is a client as well.
    Mqtt,
}

/// How a server is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// `trunkline dev`.
    Ours,
    /// `xtask/peers/socketio` with these arguments.
    Node(&'static [&'static str]),
    /// `xtask/peers/socketioxide`.
    Socketioxide,
    /// Debian's nginx with nchan and a configuration of our own.
    Nchan,
    /// Debian's mosquitto and a configuration of our own.
    Mosquitto,
    /// `xtask/peers/rumqttd`.
    Rumqttd,
    /// `xtask/peers/rmqtt`.
    Rmqtt,
    /// nats-server as `xtask/peers/nats` names it, and a configuration of our own.
    Nats,
}

/// One server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// On the command line and in names of files.
    pub(crate) name: &'static str,
    /// On the page.
    pub(crate) title: &'static str,
    /// How it is set up, for the page.
    pub(crate) setup: &'static str,
    pub(crate) program: Program,
    /// First what it is for.
    pub(crate) speaks: &'static [Speaks],
    /// Whether it can replay what a client missed.
    pub(crate) recovery: Recovery,
}

/// See [`Server::recovery`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// It has connection state recovery.
    Has,
    /// It has none.
    Lacks,
}

/// The one that all others are compared with.
pub(crate) const OURS: &str = "trunkline";

/// Every server, ours first.
pub(crate) const SERVERS: [Server; 9] = [
    Server {
        name: OURS,
        title: "Trunkline",
        setup: "`trunkline dev` with its defaults: one shard per core, ping every 25 s, its built-in back end; for MQTT `auth.mode = \
                \"anonymous\"`",
        program: Program::Ours,
        speaks: &[Speaks::SocketIo, Speaks::Mqtt, Speaks::Events, Speaks::Lines, Speaks::CloudEvents],
        recovery: Recovery::Has,
    },
    Server {
        name: "socketio",
        title: "npm socket.io",
        setup: "one process with ws and bufferutil, no compression, first request of a client not kept",
        program: Program::Node(&[]),
        speaks: &[Speaks::SocketIo],
        recovery: Recovery::Has,
    },
    Server {
        name: "socketio-2",
        title: "npm socket.io, 2 workers",
        setup: "the same in two workers with @socket.io/sticky and @socket.io/cluster-adapter; the process that balances \
                is counted",
        program: Program::Node(&["--processes", "2"]),
        speaks: &[Speaks::SocketIo],
        recovery: Recovery::Lacks,
    },
    Server {
        name: "socketioxide",
        title: "socketioxide",
        setup: "release build on axum with tokio's defaults, one thread per core; up to 4,096 packets may wait for a client \
                (its default of 128 loses messages of a burst); handlers answer before they \
                give their future, which keeps the order",
        program: Program::Socketioxide,
        speaks: &[Speaks::SocketIo],
        recovery: Recovery::Lacks,
    },
    Server {
        name: "nchan",
        title: "nginx with nchan",
        setup: "one worker per core, no access log, subscribers by WebSocket or server-sent events from the newest message on, 64 messages kept \
                for 10 s per channel so that a slow subscriber of a burst loses none",
        program: Program::Nchan,
        speaks: &[Speaks::WebSocket, Speaks::EventsByPath],
        recovery: Recovery::Lacks,
    },
    Server {
        name: "mosquitto",
        title: "mosquitto",
        setup: "everybody may come, no persistence, up to 100 messages of QoS 1 and 2 on their way to a client, which is what Trunkline \
                has for MQTT 3.1.1, any number waiting",
        program: Program::Mosquitto,
        speaks: &[Speaks::Mqtt],
        recovery: Recovery::Lacks,
    },
    Server {
        name: "rumqttd",
        title: "rumqttd",
        setup: "release build, MQTT 3.1.1 alone, the segments and turns of the file it brings along, up to 100 messages on their way to a \
                client, no pause between two connections",
        program: Program::Rumqttd,
        speaks: &[Speaks::Mqtt],
        recovery: Recovery::Lacks,
    },
    Server {
        name: "rmqtt",
        title: "rmqtt",
        setup: "release build of the library with tokio's defaults, up to 100 messages on their way to a client and 100,000 waiting (its \
                default of 1,000 loses messages of a burst), clients are not refused while the machine is busy",
        program: Program::Rmqtt,
        speaks: &[Speaks::Mqtt],
        recovery: Recovery::Lacks,
    },
    Server {
        name: "nats",
        title: "nats-server, MQTT",
        setup: "one server with JetStream in a folder of its own, which its MQTT needs; up to 100 messages on their way to a client",
        program: Program::Nats,
        speaks: &[Speaks::Mqtt],
        recovery: Recovery::Lacks,
    },
];

impl Server {
    /// Whether clients of that protocol can be connected.
    pub(crate) fn does_speak(&self, what: Speaks) -> bool {
        self.speaks.contains(&what)
    }
}

/// A server by its name.
pub(crate) fn by_name(name: &str) -> Option<&'static Server> {
    SERVERS.iter().find(|server| server.name == name)
}

/// Where a started server can be reached: what fills the placeholders of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    /// `host:port` of clients, of each process.
    pub(crate) public: Vec<String>,
    /// `host:port` of the back end, of each process.
    pub(crate) private: Vec<String>,
    /// All its processes.
    pub(crate) pids: Vec<String>,
    /// What restarts it, for a shell; empty if nothing does.
    pub(crate) restart: String,
}

impl Reach {
    /// What a reader types: default ports, processes by a variable of the shell.
    pub(crate) fn nominal(processes: u16) -> Self {
        let on = |port: u16| (0..processes).map(move |n| format!("127.0.0.1:{}", port + n)).collect();
        Self {
            public: on(8000),
            private: on(9000),
            pids: vec!["$P".to_owned()],
            restart: "./restart.sh".into(),
        }
    }

    /// The arguments that `command` means for a server which speaks `speaks`. Placeholders: `{target}` where clients connect,
    /// `{room}` that each of them is in one of 100 rooms besides, `{own}` that each stream has a channel of its own, `{publish}` where messages are published, `{metrics}` where
    /// counters may be, `{pids}`, `{restart}` what restarts the server.
    pub(crate) fn fill(&self, command: &[String], speaks: Speaks) -> Vec<String> {
        let in_rooms = command.iter().any(|word| word == "{room}");
        let words = command.iter().flat_map(|word| match (word.as_str(), speaks) {
            ("{target}", Speaks::SocketIo) => option("--target", &urls("http", &self.public, "")),
            ("{target}", Speaks::WebSocket) => {
                let path = if in_rooms { "/sub/room-%{i%100}" } else { "/sub/main" };
                let protocol = ["--protocol".to_owned(), "websocket".to_owned()];
                [protocol.to_vec(), option("--target", &urls("http", &self.public, path))].concat()
            }
            ("{target}", Speaks::Events | Speaks::Lines | Speaks::CloudEvents) => {
                let name = match speaks {
                    Speaks::Lines => "ndjson",
                    Speaks::CloudEvents => "cloudevents",
                    _ => "sse",
                };
                [option("--protocol", name), option("--target", &urls("http", &self.public, ""))].concat()
            }
            ("{target}", Speaks::EventsByPath) => {
                let target = urls("http", &self.public, "/events/comet/%{i}");
                [option("--protocol", "sse"), option("--target", &target)].concat()
            }
            ("{own}", Speaks::Events | Speaks::Lines | Speaks::CloudEvents) => {
                option("--topic", "comet/%{i}")
            }
            ("{own}", _) => Vec::new(),
            ("{target}", Speaks::Mqtt) => {
                let protocol = ["--protocol".to_owned(), "mqtt".to_owned()];
                [protocol.to_vec(), option("--target", &urls("mqtt", &self.public, ""))].concat()
            }
            ("{room}", Speaks::Mqtt) => option("--topic", "room-%{i%100}"),
            // Publishers are clients, too.
            ("{publish}", Speaks::Mqtt) => Vec::new(),
            ("{room}", Speaks::SocketIo) => option("--room-event", "join"),
            ("{room}", Speaks::WebSocket | Speaks::EventsByPath) => Vec::new(),
            ("{room}", Speaks::Events | Speaks::Lines | Speaks::CloudEvents) => {
                option("--topic", "room-%{i%100}")
            }
            ("{publish}", Speaks::EventsByPath) => {
                let raw = option("--publish-body", "raw");
                [option("--publish-url", &urls("http", &self.private, "/pub/{channel}")), raw].concat()
            }
            ("{publish}", Speaks::SocketIo | Speaks::Events | Speaks::Lines | Speaks::CloudEvents) => {
                option("--publish-url", &urls("http", &self.private, ""))
            }
            ("{publish}", Speaks::WebSocket) => {
                let raw = option("--publish-body", "raw");
                [option("--publish-url", &urls("http", &self.private, "/pub/main")), raw].concat()
            }
            ("{metrics}", _) => option("--metrics-url", &urls("http", &self.private, "")),
            ("{restart}", _) => option("--restart-command", &self.restart),
            ("{pids}", _) => option("--server-pid", &self.pids.join(",")),
            (word, _) => vec![word.to_owned()],
        });
        words.collect()
    }
}

fn option(name: &str, value: &str) -> Vec<String> {
    vec![name.to_owned(), value.to_owned()]
}

fn urls(scheme: &str, addresses: &[String], path: &str) -> String {
    addresses.iter().map(|address| format!("{scheme}://{address}{path}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(command: &str, speaks: Speaks, processes: u16) -> String {
        let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
        Reach::nominal(processes).fill(&words, speaks).join(" ")
    }

    #[test]
    fn names_are_there_once_and_ours_is_first() {
        assert_eq!(SERVERS[0].name, OURS);
        for server in &SERVERS {
            assert_eq!(by_name(server.name), Some(server), "{} is a name of two", server.name);
        }
    }

    #[test]
    fn a_command_says_the_same_to_servers_of_every_protocol() {
        let idle = "idle --connections 5 {target} {room} {pids}";
        assert_eq!(
            filled(idle, Speaks::SocketIo, 2),
            "idle --connections 5 --target http://127.0.0.1:8000,http://127.0.0.1:8001 --room-event join --server-pid $P"
        );
        assert_eq!(
            filled(idle, Speaks::WebSocket, 1),
            "idle --connections 5 --protocol websocket --target http://127.0.0.1:8000/sub/room-%{i%100} --server-pid $P"
        );
        assert_eq!(
            filled("fanout {target} {publish}", Speaks::WebSocket, 1),
            "fanout --protocol websocket --target http://127.0.0.1:8000/sub/main --publish-url \
             http://127.0.0.1:9000/pub/main --publish-body raw"
        );
        assert_eq!(
            filled("fanout {target} {publish}", Speaks::SocketIo, 1),
            "fanout --target http://127.0.0.1:8000 --publish-url http://127.0.0.1:9000"
        );
        assert_eq!(
            filled("fanout --qos 1 {target} {publish}", Speaks::Mqtt, 2),
            "fanout --qos 1 --protocol mqtt --target mqtt://127.0.0.1:8000,mqtt://127.0.0.1:8001"
        );
        let comet = "comet {target} {own} {publish}";
        assert_eq!(
            filled(comet, Speaks::Lines, 1),
            "comet --protocol ndjson --target http://127.0.0.1:8000 --topic comet/%{i} --publish-url http://127.0.0.1:9000"
        );
        assert_eq!(
            filled("idle {target} {own}", Speaks::CloudEvents, 1),
            "idle --protocol cloudevents --target http://127.0.0.1:8000 --topic comet/%{i}"
        );
        assert_eq!(
            filled(comet, Speaks::EventsByPath, 1),
            "comet --protocol sse --target http://127.0.0.1:8000/events/comet/%{i} --publish-url \
             http://127.0.0.1:9000/pub/{channel} --publish-body raw"
        );
        assert_eq!(
            filled("idle {target} {room}", Speaks::Mqtt, 1),
            "idle --protocol mqtt --target mqtt://127.0.0.1:8000 --topic room-%{i%100}"
        );
    }
}
