//! Where values come from, which source wins, what is resolved, and what is warned about.

use super::*;

#[test]
fn the_defaults_are_those_of_the_protocol() {
    let config = Config::loopback();
    assert_eq!(config.socketio.ping_interval_ms, 25_000);
    assert_eq!(config.socketio.ping_timeout_ms, 20_000);
    assert_eq!(config.socketio.max_payload_bytes, 1_000_000);
    assert_eq!(config.socketio.paths[0].as_str(), "/socket.io/");
    assert!(config.socketio.transports.allow_upgrade());
    assert_eq!(config.socketio.cors_origins, Origins::Unlisted);
    assert_eq!(config.namespaces.len(), 1);
    assert!(config.namespace("/").is_some() && config.namespace("/chat").is_none());
}

#[test]
fn later_sources_win() {
    let text = "[socketio]\nping_interval_ms = 1000\nping_timeout_ms = 1000\nconnect_timeout_ms = 1000";
    let mut sources = file(text);
    sources.presets.push(("socketio.ping_interval_ms", "500".into()));
    sources.presets.push(("socketio.upgrade_timeout_ms", "500".into()));
    for key in ["PING_TIMEOUT_MS", "CONNECT_TIMEOUT_MS"] {
        sources.environment.push((format!("TRUNKLINE_SOCKETIO__{key}"), "2000".into()));
    }
    let key = "socketio.connect_timeout_ms".to_owned();
    sources.arguments.push(Argument { shown: "--set".into(), key, value: "3_000".into() });
    let socketio = Config::load(&sources, MACHINE).unwrap().config.socketio;
    assert_eq!(socketio.upgrade_timeout_ms, 500, "preset over default");
    assert_eq!(socketio.ping_interval_ms, 1000, "file over preset");
    assert_eq!(socketio.ping_timeout_ms, 2000, "environment over file");
    assert_eq!(socketio.connect_timeout_ms, 3000, "argument over environment");
}

#[test]
fn variables_that_are_not_keys_are_left_alone() {
    let environment =
        ["TRUNKLINE_KEY", "TRUNKLINE_LOG", "PATH", "OTHER__SERVER"].map(|name| (name.into(), "x".into()));
    let sources = Sources { environment: environment.into(), ..file("") };
    assert_eq!(problems(&sources), "no problem");
}

#[test]
fn lists_outside_of_files_are_split_at_commas_or_toml() {
    for value in ["https://a.example,https://b.example", r#"["https://a.example", "https://b.example"]"#] {
        let environment = vec![("TRUNKLINE_SOCKETIO__CORS_ORIGINS".into(), value.into())];
        let config = Config::load(&Sources { environment, ..file("") }, MACHINE).unwrap().config;
        assert!(config.socketio.cors_origins.allow("https://b.example"));
        assert!(!config.socketio.cors_origins.allow("https://c.example"));
    }
}

#[test]
fn numbers_that_depend_on_the_machine_are_resolved() {
    let config = load("").config;
    assert_eq!(config.server.shards, 4);
    assert_eq!(config.limits.connections_max, 1_000_000 - 256);
    let tiny = Machine { cores: 1, open_files_max: 10 };
    assert_eq!(Config::load(&file(""), tiny).unwrap().config.limits.connections_max, 16);
    let boundless = Machine { cores: 500, open_files_max: u64::MAX };
    let config = Config::load(&file(""), boundless).unwrap().config;
    assert_eq!(
        (config.server.shards, config.limits.connections_max),
        (64, 100_000_000),
        "a start would not make more of them"
    );
}

#[test]
fn exact_namespaces_come_before_patterns_and_patterns_in_order() {
    let text = r#"
        [[socketio.namespace]]
        pattern = "/team-*"
        events = "relay"
        [[socketio.namespace]]
        pattern = "/team-a*"
        events = "drop"
        [[socketio.namespace]]
        name = "/team-x"
        recovery = "always"
    "#;
    let config = load(text).config;
    assert_eq!(config.namespace("/team-x").unwrap().recovery, RecoveryMode::Always);
    assert_eq!(config.namespace("/team-x").unwrap().events, EventRoute::BackEnd);
    assert_eq!(config.namespace("/team-ab").unwrap().events, EventRoute::Relay);
    assert!(config.namespace("/").is_none(), "a list without the root has no root");
}

/// File text and the exact warnings.
const WARNINGS: &[(&str, &[&str])] = &[
    ("[server]\npublic_listen = \"127.0.0.1:8000\"", &[]),
    (
        "",
        &[
            "trunkline.toml: tls.certificate: is not set: clients connect without encryption unless a proxy adds it",
        ],
    ),
    (
        "[server]\npublic_listen = \"127.0.0.1:8000\"\nproxy_protocol_from = [\"10.0.0.0/8\", \"::/0\"]",
        &[
            "trunkline.toml:3:23: server.proxy_protocol_from: lists ::/0: then every client can claim any address",
        ],
    ),
    (
        "[server]\npublic_listen = \"127.0.0.1:8000\"\nshards = 9\n[limits]\nconnections_max = 2000000",
        &[
            "trunkline.toml:5:19: limits.connections_max: is 2000000, but the process may open only 999744; raise it with `ulimit -Hn`",
            "trunkline.toml:3:10: server.shards: is 9, more than the 4 cores",
        ],
    ),
    (
        "[server]\npublic_listen = \"127.0.0.1:8000\"\n[[socketio.namespace]]\nname = \"/chat\"\n\
         [[socketio.namespace]]\nname = \"/\"\n[[socketio.namespace]]\npattern = \"/ch*/vip\"\n\
         [[socketio.namespace]]\nname = \"/chats\"",
        &[
            "trunkline.toml: socketio.namespace: /ch*/vip lies inside /chat: rooms of /chat with its name are refused",
            "trunkline.toml: socketio.namespace: /ch*/vip lies inside /chats: rooms of /chats with its name are refused",
        ],
    ),
];

#[test]
fn doubtful_configurations_work_with_a_warning() {
    for (text, expected) in WARNINGS {
        let warnings: Vec<String> = load(text).warnings.iter().map(ToString::to_string).collect();
        assert_eq!(warnings, *expected, "for the file\n{text}");
    }
}

#[test]
fn secrets_are_in_no_debug_output() {
    let config = load("[private]\nkeys = [\"0123456789abcdef\"]").config;
    assert!(!format!("{config:?}").contains("0123456789abcdef"));
    assert!(config.private.keys[0].matches(b"0123456789abcdef"));
    assert!(!config.private.keys[0].matches(b"0123456789abcdeF"));
    assert!(!config.private.keys[0].matches(b"0123456789abcde"));
    let bridge = "[[bridge]]\nname = \"a\"\nurl = \"mqtt://a\"\npassword = \"sesame\"\n[[bridge.rule]]\n\
                  direction = \"out\"\nfilter = \"a\"";
    assert!(!format!("{:?}", load(bridge).config).contains("sesame"));
    let tokens = "[auth.jwt]\nsecret = \"0123456789abcdef0123456789abcdef\"\n[[private.key]]\nname = \"a\"\nscopes = [\"read\"]\n\
                  sha256 = \"f4b1bbac8d2bd69ff2fbe9fe0a1c20d2b5ff1ad8c46f4d0bbf8d1e4b2f0f7d11\"";
    let told = format!("{:?}", load(tokens).config);
    assert!(!told.contains("0123456789abcdef") && !told.contains("f4b1bbac"));
}
