//! Clients of MQTT and their back end: who comes in, and what is told of them.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};
use trunkline::Server;
use wire::mqtt::{
    ClientPacket, Connect, Disconnect, Encoder, Level, PacketId, Properties, Property, PropertyBuf, Qos,
    ReasonCode, RetainHandling, ServerPacket, Subscribe, SubscribeOptions, Subscriptions,
    Value as PropertyValue, Version, decode_server, frame,
};

use super::back_end::{Act, BackEnd, Hook, yes};
use super::support::whole::folder::Folder;
use super::told::{ALL, heard, kinds};
use super::{WAIT, client, join, start, until};

/// A client that says what a test wants.
pub(crate) struct Mqtt {
    stream: TcpStream,
    bytes: Vec<u8>,
    version: Version,
}

/// How to connect.
#[derive(Clone, Copy)]
pub(crate) struct Opening<'a> {
    pub(crate) level: Level,
    pub(crate) id: &'a str,
    pub(crate) user: Option<&'a str>,
    pub(crate) password: Option<&'a [u8]>,
    /// 0: a clean start.
    pub(crate) expiry_seconds: u32,
    /// The topic of a will that says `gone`.
    pub(crate) will: Option<&'a str>,
}

pub(crate) const OPENING: Opening<'_> =
    Opening { level: Level::V5, id: "c1", user: None, password: None, expiry_seconds: 0, will: None };

impl Mqtt {
    pub(crate) fn open(address: SocketAddr, opening: &Opening<'_>) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(WAIT)).unwrap();
        let mut properties = PropertyBuf::new();
        if opening.level == Level::V5 {
            let expiry = PropertyValue::U32(opening.expiry_seconds);
            properties.push(Property::SessionExpiryInterval, expiry).unwrap();
            properties.push_user_property("shift", "night").unwrap();
        }
        let mut client = Self { stream, bytes: Vec::new(), version: opening.level.version() };
        client.say(&ClientPacket::Connect(Connect {
            level: opening.level,
            is_bridge: false,
            clean_start: opening.expiry_seconds == 0,
            keep_alive_seconds: 0,
            client_id: opening.id,
            will: opening.will.map(|topic| wire::mqtt::Will {
                topic,
                payload: b"gone",
                qos: Qos::AtLeastOnce,
                retain: false,
                properties: Properties::NONE,
            }),
            user_name: opening.user,
            password: opening.password,
            properties: properties.as_properties(),
        }));
        client
    }

    pub(crate) fn say(&mut self, packet: &ClientPacket<'_>) {
        let mut out = Vec::new();
        Encoder::new(self.version).client_packet(packet, &mut out).unwrap();
        self.stream.write_all(&out).unwrap();
    }

    pub(crate) fn subscribe(&mut self, filter: &str) -> String {
        let options = SubscribeOptions {
            qos: Qos::AtLeastOnce,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Send,
        };
        self.say(&ClientPacket::Subscribe(Subscribe {
            packet_id: PacketId::FIRST,
            properties: Properties::NONE,
            subscriptions: Subscriptions::new(&[(filter, options)]),
        }));
        self.next()
    }

    /// The codes of a SUBACK.
    pub(crate) fn next_codes(&mut self) -> Vec<u8> {
        let text = self.next();
        let codes = text.strip_prefix("SUBACK ").unwrap_or_else(|| panic!("{text}"));
        codes.split(' ').map(|code| u8::from_str_radix(code, 16).unwrap()).collect()
    }

    /// The packet id and the code of the next PUBACK or PUBREC, whose exchange is ended.
    pub(crate) fn next_ack(&mut self) -> (u16, u8) {
        let text = self.next();
        let parts: Vec<&str> = text.split(' ').collect();
        let [kind, packet_id, code] = parts[..] else { panic!("{text}") };
        let (packet_id, code) = (packet_id.parse().unwrap(), u8::from_str_radix(code, 16).unwrap());
        assert!(matches!(kind, "PUBACK" | "PUBREC"), "{text}");
        (packet_id, code)
    }

    /// The next message, which is acknowledged if need be.
    pub(crate) fn next_publish(&mut self) -> String {
        let text = self.next();
        assert!(text.starts_with("PUBLISH "), "{text}");
        text
    }

    /// The connection breaks.
    pub(crate) fn cut(self) {
        self.stream.shutdown(std::net::Shutdown::Both).unwrap();
    }

    pub(crate) fn leave(mut self) {
        self.say(&ClientPacket::Disconnect(Disconnect::new(ReasonCode::Success)));
        assert_eq!(self.next(), "END");
    }

    /// What the server says next, as text; `END` when it has closed the connection.
    pub(crate) fn next(&mut self) -> String {
        loop {
            if let Some(found) = frame(&self.bytes, u32::MAX).unwrap() {
                let bytes = found.packet_bytes;
                let text = shown(&decode_server(self.version, &found).unwrap());
                self.bytes.drain(..bytes);
                return text;
            }
            let mut more = [0; 4096];
            match self.stream.read(&mut more) {
                Ok(0) => return "END".to_owned(),
                Ok(bytes) => self.bytes.extend_from_slice(&more[..bytes]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return "END".to_owned(),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn shown(packet: &ServerPacket<'_>) -> String {
    match packet {
        ServerPacket::ConnAck(connack) => {
            let session = if connack.session_present { "present" } else { "new" };
            let pairs = connack.properties.user_properties().map(|(name, value)| format!(" {name}={value}"));
            format!("CONNACK {session} {:02X}{}", connack.reason.byte(), pairs.collect::<String>())
        }
        ServerPacket::Publish(publish) => {
            format!("PUBLISH {} {}", publish.topic, String::from_utf8_lossy(publish.payload))
        }
        ServerPacket::SubAck(suback) => {
            let codes: Vec<String> = suback.codes.iter().map(|code| format!("{:02X}", code.byte())).collect();
            format!("SUBACK {}", codes.join(" "))
        }
        ServerPacket::PubAck(ack) => format!("PUBACK {} {:02X}", ack.packet_id.value(), ack.reason.byte()),
        ServerPacket::PubRec(ack) => format!("PUBREC {} {:02X}", ack.packet_id.value(), ack.reason.byte()),
        ServerPacket::Disconnect(disconnect) => format!("DISCONNECT {:02X}", disconnect.reason.byte()),
        other => format!("{other:?}"),
    }
}

/// Runs a script beside the back end.
pub(crate) async fn script<T: Send + 'static>(
    server: &Server,
    script: impl FnOnce(SocketAddr) -> T + Send + 'static,
) -> T {
    let address = server.public_addr();
    let script = tokio::task::spawn_blocking(move || script(address));
    tokio::time::timeout(WAIT, script).await.unwrap().unwrap()
}

/// They ran while the session was still on its way to the disk, before it had the subscriptions that came with the same answer.
#[tokio::test(flavor = "multi_thread")]
async fn actions_find_a_session_that_is_stored_first_with_what_it_was_granted() {
    let back_end = BackEnd::start(|_| {
        yes(json!({
            "result": { "subscriptions": ["tea"] },
            "actions": [{ "publish": { "channel": "tea", "data": "hot", "qos": 0 } }],
        }))
    })
    .await;
    let folder = Folder::new("actions");
    let server = start(back_end.address, &format!("[store]\ndir = {:?}\n", folder.path())).await;
    let address = server.public_addr();
    let clients = tokio::task::spawn_blocking(move || {
        for number in 0..40 {
            let id = format!("c{number}");
            let mut client = Mqtt::open(address, &Opening { id: &id, expiry_seconds: 600, ..OPENING });
            assert!(client.next().starts_with("CONNACK"));
            assert!(client.next_publish().contains("tea"), "of {id}");
        }
    });
    tokio::time::timeout(WAIT, clients).await.unwrap().unwrap();
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_what_the_back_end_says_it_is() {
    let back_end = BackEnd::start(|hook| match hook.kind() {
        "session.connect" => yes(json!({
            "result": {
                "user": "ada", "info": { "a": 1 }, "subscriptions": ["tea"],
                "permissions": [{ "filters": ["tea/#", "in/{client}"], "allow": ["subscribe"] }],
                "mqtt": { "user_properties": [["region", "north"], ["region", "west"]] },
            },
            "state": "s1",
            "actions": [
                { "send": { "data": "hello" } },
                { "subscribe": { "channel": "coffee" } },
                { "publish": { "channel": "coffee", "data": 3 } },
            ],
        })),
        _ => Act::Answer(204, String::new()),
    })
    .await;
    let server = start(back_end.address, &format!("{ALL}send_passwords = \"base64\"\n")).await;
    script(&server, |address| {
        let opening = Opening { user: Some("eve"), password: Some(b"\xffhush"), ..OPENING };
        let mut client = Mqtt::open(address, &opening);
        assert_eq!(client.next(), "CONNACK new 00 region=north region=west");
        let hello = client.next();
        assert!(hello.starts_with("PUBLISH $client/") && hello.ends_with(" \"hello\""), "{hello}");
        assert_eq!(client.next(), "PUBLISH coffee 3", "in the order of the actions");
        for (filter, answer) in
            [("tea/+", "SUBACK 01"), ("in/c1", "SUBACK 01"), ("in/c2", "SUBACK 87"), ("#", "SUBACK 87")]
        {
            assert_eq!(client.subscribe(filter), answer, "{filter}");
        }
        client.leave();
    })
    .await;
    until("all is told", || back_end.hooks().len() == 4).await;
    let hooks = back_end.hooks();
    assert_eq!(
        kinds(&hooks),
        ["session.connect", "session.connected", "session.disconnected", "session.ended"]
    );
    is_about_a_client_without_session(&hooks[0].event);
    let session = hooks[1].event["sessionid"].as_str().unwrap();
    for hook in &hooks {
        assert_eq!((&hook.event["protocol"], &hook.event["clientid"]), (&json!("mqtt"), &json!("c1")));
    }
    for hook in &hooks[1..] {
        assert_eq!(hook.event["sessionid"], session);
        assert_eq!((&hook.event["userid"], &hook.event["state"]), (&json!("ada"), &json!("s1")));
        assert_eq!(hook.event["generation"], 1);
    }
    assert_eq!(hooks[1].event["data"]["resumed"], false);
    let left = &hooks[2].event["data"];
    assert_eq!(
        (&left["reason"], &left["cause"], &left["resumable"]),
        (&json!("disconnect"), &json!("client"), &json!(false))
    );
    server.drain().await;
}

fn is_about_a_client_without_session(connect: &Value) {
    for absent in ["sessionid", "generation", "sequence", "userid", "state", "namespace"] {
        assert!(connect.get(absent).is_none(), "{absent}: there is no session yet");
    }
    assert_eq!((&connect["source"], &connect["partitionkey"]), (&json!("/clients/c1"), &json!("c1")));
    let data = &connect["data"];
    assert_eq!(
        (&data["client_id"], &data["user_name"], &data["password"]),
        (&json!("c1"), &json!("eve"), &json!("/2h1c2g="))
    );
    assert_eq!(
        (&data["clean_start"], &data["version"], &data["secure"]),
        (&json!(true), &json!("5"), &json!(false))
    );
    assert_eq!(
        (&data["user_properties"], &data["certificate"]),
        (&json!([["shift", "night"]]), &Value::Null)
    );
    assert!(data["remote"].as_str().unwrap().starts_with("127.0.0.1:"));
}

/// What clients of version 5 and 3 hear whose connect is answered so.
async fn connect_answered(act: Act) -> (String, String) {
    let back_end = BackEnd::start(move |_| act.clone()).await;
    let server = start(back_end.address, "timeout_ms = 300\n").await;
    let heard = script(&server, |address| {
        let heard = |level| Mqtt::open(address, &Opening { level, ..OPENING }).next();
        (heard(Level::V5), heard(Level::V311))
    })
    .await;
    let password = back_end.hooks()[0].event["data"].get("password").cloned();
    assert_eq!(password, None, "nobody has asked for it");
    server.drain().await;
    heard
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_no_is_a_refusal_that_clients_of_mqtt_stay_away_after() {
    for (act, expected) in [
        (Act::Answer(401, String::new()), "CONNACK new 86"),
        (Act::Answer(403, r#"{"error":{"message":"not you"}}"#.into()), "CONNACK new 87"),
        (yes(json!({ "error": { "code": 7, "message": "members only" } })), "CONNACK new 87"),
        (yes(json!({ "disconnect": { "code": 4500, "reason": "banned" } })), "CONNACK new 87"),
        // All that follow mean that the client comes back.
        (yes(json!({ "disconnect": { "code": 4000 } })), "END"),
        (yes(json!({ "error": { "temporary": true } })), "END"),
        (Act::Answer(500, String::new()), "END"),
        (Act::Answer(429, String::new()), "END"),
        (Act::Answer(200, "<html>welcome</html>".into()), "END"),
        (
            yes(json!({ "result": { "permissions": [{ "filters": ["a/#/b"], "allow": ["subscribe"] }] } })),
            "END",
        ),
        (yes(json!({ "result": { "expires_at": "tomorrow" } })), "END"),
        (yes(json!({ "result": { "mqtt": { "user_properties": [["a\u{0}", "b"]] } } })), "END"),
        (Act::Raw(""), "END"),
        (Act::Late(Duration::from_secs(2), 200, "{}".into()), "END"),
        (Act::Silence, "END"),
    ] {
        let said = format!("{act:?}");
        let (new, old) = connect_answered(act).await;
        assert_eq!((new.as_str(), old.as_str()), (expected, expected), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_mqtt_is_told_over_all_its_connections() {
    let back_end = BackEnd::start(|hook| match hook.kind() {
        "session.connect" if hook.event["data"]["user_name"] == "second" => yes(json!({})),
        "session.connect" => yes(json!({ "state": "first" })),
        _ => Act::Answer(204, String::new()),
    })
    .await;
    let server = start(back_end.address, ALL).await;
    script(&server, |address| {
        let lasting = Opening { expiry_seconds: 100, ..OPENING };
        let mut one = Mqtt::open(address, &lasting);
        assert_eq!(one.next(), "CONNACK new 00");
        let mut two = Mqtt::open(address, &Opening { user: Some("second"), ..lasting });
        assert_eq!(two.next(), "CONNACK present 00");
        assert_eq!(one.next(), "DISCONNECT 8E");
        drop(two);
        let mut three = Mqtt::open(address, &OPENING);
        assert_eq!(three.next(), "CONNACK new 00", "a clean start ends the session");
        three.leave();
    })
    .await;
    until("all is told", || back_end.of("session.ended").len() == 2).await;
    let connected = back_end.of("session.connected");
    let of = |hook: &Hook| hook.event["sessionid"].as_str().unwrap().to_owned();
    let (first, second) = (of(&connected[0]), of(&connected[2]));
    assert_ne!(first, second);
    let told = |session: &str| -> Vec<String> {
        let word = |hook: &Hook| {
            let (kind, event) = (hook.kind().strip_prefix("session.").unwrap(), &hook.event);
            let (generation, cause) = (&event["generation"], event["data"]["cause"].as_str().unwrap_or("-"));
            format!("{kind} {generation} {cause} {}", event["data"]["resumed"])
        };
        heard(&back_end, session).iter().map(word).collect()
    };
    let lost = |hooks: &[String]| hooks.iter().filter(|hook| hook.starts_with("disconnected")).count();
    let hooks = told(&first);
    assert_eq!(
        hooks[..3],
        ["connected 1 - false", "disconnected 1 taken_over null", "connected 2 - true"].map(str::to_owned)
    );
    // Its last connection is known to be lost before the clean start, or is displaced by it.
    assert_eq!(
        (hooks.len(), lost(&hooks), hooks.last().unwrap().starts_with("ended 2 ")),
        (5, 2, true),
        "{hooks:?}"
    );
    let expected = ["connected 1 - false", "disconnected 1 client null", "ended 1 client null"];
    assert_eq!(told(&second), expected);
    let states = heard(&back_end, &first);
    assert!(states.iter().all(|hook| hook.event["state"] == "first"), "what it has stays with the session");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_may_take_one_protocol_alone() {
    let mqtt = BackEnd::start(|_| yes(json!({ "result": { "user": "m" } }))).await;
    let socketio = BackEnd::start(|_| yes(json!({ "result": { "user": "s" } }))).await;
    let keys = format!(
        "{ALL}protocols = [\"mqtt\"]\n[[webhook]]\nname = \"b\"\nurl = \"http://{}/\"\nsecrets = [\"{}\"]\n{ALL}\
         protocols = [\"socketio\"]\n",
        socketio.address,
        super::SECRET
    );
    let server = start(mqtt.address, &keys).await;
    script(&server, |address| {
        let mut one = Mqtt::open(address, &OPENING);
        assert_eq!(one.next(), "CONNACK new 00");
        one.leave();
    })
    .await;
    client(&server, |mut socket| {
        join(&mut socket, "").unwrap();
        socket.text("41");
    })
    .await;
    until("both hear the end", || mqtt.of("session.ended").len() + socketio.of("session.ended").len() == 2)
        .await;
    assert!(mqtt.hooks().iter().all(|hook| hook.event["protocol"] == "mqtt"));
    assert!(socketio.hooks().iter().all(|hook| hook.event["protocol"] == "socketio"));
    assert_eq!((mqtt.hooks().len(), socketio.hooks().len()), (4, 4));
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_of_tokens_are_in_what_is_told() {
    let back_end = BackEnd::start(|_| Act::Answer(204, String::new())).await;
    let claims = json!({ "sub": "ada", "trunkline": { "state": "t" } });
    let token = super::support::token::token(&claims.to_string());
    let types = ALL.replace("\"session.connect\", ", "");
    let server = super::start_with_tokens(back_end.address, &types).await;
    let shown = token.clone();
    script(&server, move |address| {
        let opening = Opening { user: Some("x"), password: Some(shown.as_bytes()), ..OPENING };
        let mut one = Mqtt::open(address, &opening);
        assert_eq!(one.next(), "CONNACK new 00");
        one.leave();
    })
    .await;
    client(&server, move |mut socket| {
        join(&mut socket, &format!(r#"{{"token":"{token}"}}"#)).unwrap();
        socket.text("41");
    })
    .await;
    until("all is told", || back_end.of("session.ended").len() == 2).await;
    for hook in back_end.hooks() {
        assert_eq!(
            (&hook.event["userid"], &hook.event["state"]),
            (&json!("ada"), &json!("t")),
            "{}",
            hook.text
        );
    }
    server.drain().await;
}
