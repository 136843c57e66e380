//! Operating MQTT: what the private port shows and does, limits of rate, bans, figures. Over sockets, against a whole server.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use hub::{Admit, Command, Query, Report, SessionKey, ShardId, Token};
use serde_json::{Value, json};
use support::whole::rest::{ask, ask_text};
use trunkline::Server;
use trunkline::config::{Config, Machine, SourceFile, Sources};
use trunkline::mail::Mail;
use wire::mqtt::{
    Ack, ClientPacket, Connect, Disconnect, Encoder, Level, PacketId, Properties, Property, PropertyBuf,
    Publish, Qos, ReasonCode, RetainHandling, ServerPacket, Subscribe, SubscribeOptions, Subscriptions,
    Value as PropertyValue, Version, decode_server, frame,
};

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(20);

async fn start(settings: &[&str]) -> Server {
    let mut all = vec![
        "auth.mode=anonymous",
        "mqtt.sys_interval_seconds=0",
        "server.shards=2",
        "server.drain_window_ms=0",
    ];
    all.extend(settings);
    Server::start(Config::embedded_with(&all).unwrap()).await.unwrap()
}

/// The only session of a client id.
fn session(server: &Server, client_id: &str) -> Value {
    let (status, page) = ask(server, "GET", &format!("/v1/sessions?client_id={client_id}"), None);
    assert_eq!((status, page["items"].as_array().unwrap().len()), (200, 1), "{page}");
    page["items"][0].clone()
}

/// A client that says what a test tells it.
struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    version: Version,
}

/// How to connect.
#[derive(Clone, Copy)]
struct Opening<'a> {
    level: Level,
    id: &'a str,
    clean: bool,
    user: Option<(&'a str, &'a str)>,
    expiry_seconds: u32,
    receive_maximum: u16,
}

impl<'a> Opening<'a> {
    fn v5(id: &'a str) -> Self {
        let level = Level::V5;
        Self { level, id, clean: true, user: None, expiry_seconds: 0, receive_maximum: 100 }
    }

    fn lasting(self) -> Self {
        Self { clean: false, expiry_seconds: 3600, ..self }
    }

    fn user(self, name: &'a str, password: &'a str) -> Self {
        Self { user: Some((name, password)), ..self }
    }
}

impl Client {
    /// A connection, and what CONNACK said.
    fn open(server: &Server, opening: Opening<'_>) -> (Self, String) {
        Self::open_at(server.public_addr(), opening)
    }

    fn open_at(address: SocketAddr, opening: Opening<'_>) -> (Self, String) {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let version = opening.level.version();
        let mut client = Self { stream, buffer: Vec::new(), version };
        let mut properties = PropertyBuf::new();
        if version == Version::V5 {
            let expiry = PropertyValue::U32(opening.expiry_seconds);
            properties.push(Property::SessionExpiryInterval, expiry).unwrap();
            properties.push(Property::ReceiveMaximum, PropertyValue::U16(opening.receive_maximum)).unwrap();
        }
        client.say(&ClientPacket::Connect(Connect {
            level: opening.level,
            is_bridge: false,
            clean_start: opening.clean,
            keep_alive_seconds: 0,
            client_id: opening.id,
            will: None,
            user_name: opening.user.map(|(name, _)| name),
            password: opening.user.map(|(_, password)| password.as_bytes()),
            properties: properties.as_properties(),
        }));
        let told = client.next();
        (client, told)
    }

    fn connected(server: &Server, opening: Opening<'_>) -> Self {
        let (client, told) = Self::open(server, opening);
        assert!(told.ends_with(" 00"), "{told}");
        client
    }

    fn say(&mut self, packet: &ClientPacket<'_>) {
        let mut out = Vec::new();
        Encoder::new(self.version).client_packet(packet, &mut out).unwrap();
        self.stream.write_all(&out).unwrap();
    }

    fn subscribe(&mut self, filter: &str, qos: Qos) {
        let options = SubscribeOptions {
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Send,
        };
        self.say(&ClientPacket::Subscribe(Subscribe {
            packet_id: PacketId::FIRST,
            properties: Properties::NONE,
            subscriptions: Subscriptions::new(&[(filter, options)]),
        }));
        let told = self.next();
        assert!(told.starts_with("SUBACK"), "{told}");
    }

    fn publish(&mut self, topic: &str, payload: &str, packet_id: u16) {
        let packet_id = PacketId::new(packet_id);
        self.say(&ClientPacket::Publish(Publish {
            dup: false,
            qos: if packet_id.is_some() { Qos::AtLeastOnce } else { Qos::AtMostOnce },
            retain: false,
            topic,
            packet_id,
            properties: Properties::NONE,
            payload: payload.as_bytes(),
        }));
    }

    /// Says goodbye and waits until the server has heard it.
    fn leave(mut self) {
        self.say(&ClientPacket::Disconnect(Disconnect::new(ReasonCode::Success)));
        assert_eq!(self.next(), "END");
    }

    /// What the server says next, as text: `PUBLISH t "x" q1 #7 retain`, `PUBACK #7 00`, `DISCONNECT 98`; `END` when it has
    /// closed the connection.
    fn next(&mut self) -> String {
        loop {
            if let Some(found) = frame(&self.buffer, u32::MAX).unwrap() {
                let text = shown(&decode_server(self.version, &found).unwrap());
                let packet_bytes = found.packet_bytes;
                self.buffer.drain(..packet_bytes);
                return text;
            }
            let mut more = [0; 4096];
            match self.stream.read(&mut more) {
                Ok(0) => return "END".to_owned(),
                Ok(read) => self.buffer.extend_from_slice(&more[..read]),
                Err(error) => panic!("the server says nothing: {error}"),
            }
        }
    }

    /// The first that fulfils a condition.
    fn next_that(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let told = self.next();
            if wanted(&told) {
                return told;
            }
            assert_ne!(told, "END");
        }
        panic!("it does not come");
    }
}

fn shown(packet: &ServerPacket<'_>) -> String {
    let ack = |name: &str, ack: &Ack<'_>| format!("{name} #{} {:02X}", ack.packet_id, ack.reason.byte());
    match packet {
        ServerPacket::ConnAck(connack) => {
            let session = if connack.session_present { "present" } else { "new" };
            format!("CONNACK {session} {:02X}", connack.reason.byte())
        }
        ServerPacket::Publish(publish) => {
            let id =
                publish.packet_id.map(|id| format!(" q{} #{id}", publish.qos.bits())).unwrap_or_default();
            let retain = if publish.retain { " retain" } else { "" };
            let properties = &publish.properties;
            let content_type = properties.content_type().map(|text| format!(" {text}")).unwrap_or_default();
            // The default event of the back end's messages says nothing.
            let told = properties.user_properties().filter(|pair| *pair != ("event", "message"));
            let told: String = told.map(|(name, value)| format!(" {name}={value}")).collect();
            let expires = properties.message_expiry_interval_seconds().map_or("", |_| " expires");
            let payload = publish.payload.escape_ascii();
            format!("PUBLISH {} \"{payload}\"{id}{retain}{content_type}{told}{expires}", publish.topic)
        }
        ServerPacket::PubAck(one) => ack("PUBACK", one),
        ServerPacket::SubAck(_) => "SUBACK".to_owned(),
        ServerPacket::PingResp => "PINGRESP".to_owned(),
        ServerPacket::Disconnect(disconnect) => format!("DISCONNECT {:02X}", disconnect.reason.byte()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_listed_found_by_client_id_and_kicked() {
    let server = start(&[]).await;
    let old = Opening { level: Level::V31, ..Opening::v5("old") };
    let v3 = Opening { level: Level::V311, ..Opening::v5("three") };
    let _old = Client::connected(&server, old);
    let _v3 = Client::connected(&server, v3);
    let mut v5 = Client::connected(&server, Opening::v5("five").lasting());
    v5.subscribe("tea/#", Qos::AtLeastOnce);
    v5.subscribe("$share/workers/jobs/+", Qos::AtLeastOnce);
    for (client_id, protocol) in [("old", "mqtt/3.1"), ("three", "mqtt/3.1.1"), ("five", "mqtt/5")] {
        let item = session(&server, client_id);
        assert_eq!(item["protocol"], protocol);
        assert_eq!(item["transport"], "tcp");
        assert_eq!((&item["client_id"], &item["connected"]), (&json!(client_id), &json!(true)));
    }
    let item = session(&server, "five");
    assert_eq!(item["remote"], v5.stream.local_addr().unwrap().to_string());
    assert_eq!(item["subscriptions"], json!(["tea/#", "$share/workers/jobs/+"]));
    let (_, all) = ask(&server, "GET", "/v1/sessions", None);
    assert_eq!(all["items"].as_array().unwrap().len(), 3, "{all}");

    let id = item["id"].as_str().unwrap();
    let target = format!("/v1/sessions/{id}?reconnect=true");
    assert_eq!(ask(&server, "DELETE", &target, None), (200, json!({ "count": 1 })));
    assert_eq!((v5.next(), v5.next()), ("DISCONNECT 98".to_owned(), "END".to_owned()));
    let (mut again, told) = Client::open(&server, Opening::v5("five").lasting());
    assert_eq!(told, "CONNACK present 00", "only the connection was closed");
    let (status, count) = ask(&server, "DELETE", "/v1/sessions?client_id=five", None);
    assert_eq!((status, count), (200, json!({ "count": 1 })));
    assert_eq!(again.next(), "DISCONNECT 98");
    let (_, told) = Client::open(&server, Opening::v5("five").lasting());
    assert_eq!(told, "CONNACK new 00", "the session was ended");
    let (_, page) = ask(&server, "GET", "/v1/sessions?client_id=nobody", None);
    assert_eq!(page["items"], json!([]));
    assert_eq!(ask(&server, "GET", "/v1/sessions?client_id=five&user=x", None).0, 400);
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_client_is_away_is_shown_with_the_time_it_has_left() {
    let server = start(&[]).await;
    let mut client = Client::connected(&server, Opening::v5("away").lasting());
    client.subscribe("tea", Qos::AtLeastOnce);
    assert!(session(&server, "away").get("expires_in_seconds").is_none());
    client.leave();
    let item = session(&server, "away");
    assert_eq!((&item["connected"], item.get("protocol")), (&json!(false), None));
    let left = item["expires_in_seconds"].as_u64().unwrap();
    assert!((3580..=3600).contains(&left), "{left}");
    assert_eq!(item["subscriptions"], json!(["tea"]));
    let for_ever = Opening { level: Level::V311, clean: false, ..Opening::v5("ever") };
    Client::connected(&server, for_ever).leave();
    assert!(session(&server, "ever").get("expires_in_seconds").is_none());
    assert_eq!(ask(&server, "DELETE", "/v1/sessions?client_id=away", None).1, json!({ "count": 1 }));
    let (_, page) = ask(&server, "GET", "/v1/sessions?client_id=away", None);
    assert_eq!(page["items"], json!([]));
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_back_end_subscribes_clients_by_their_ids_and_sends_to_them() {
    let server = start(&[]).await;
    let mut client = Client::connected(&server, Opening::v5("c1"));
    let request = json!({ "client_id": "c1", "channel": "news" });
    assert_eq!(ask(&server, "PUT", "/v1/subscriptions", Some(request)).1, json!({ "count": 1 }));
    let nobody = json!({ "client_id": "nobody", "channel": "news" });
    assert_eq!(ask(&server, "PUT", "/v1/subscriptions", Some(nobody)).0, 404);
    let publish = json!({ "channel": "news", "data": { "a": 1 } });
    let (_, told) = ask(&server, "POST", "/v1/messages", Some(publish));
    assert_eq!(told["results"][0]["delivered"], 1, "{told}");
    assert_eq!(client.next(), r#"PUBLISH news "{\"a\":1}" q1 #1"#);
    let id = session(&server, "c1")["id"].as_str().unwrap().to_owned();
    let publish = json!({ "channel": format!("$client/{id}"), "data": "hi", "qos": 0 });
    ask(&server, "POST", "/v1/messages", Some(publish));
    assert_eq!(client.next(), format!(r#"PUBLISH $client/{id} "\"hi\"""#));
    server.handle().session(id.parse().unwrap(), "/").close_connection().await.unwrap();
    assert_eq!(client.next(), "DISCONNECT 98");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_back_end_publishes_has_quality_one_and_waits_for_who_is_away() {
    let server = start(&[]).await;
    let mut client = Client::connected(&server, Opening::v5("c1").lasting());
    client.subscribe("tea", Qos::ExactlyOnce);
    for (more, expected) in [
        (json!({}), " q1 #1"),
        (json!({ "volatile": true }), ""),
        (json!({ "qos": 0 }), ""),
        (json!({ "qos": 2 }), " q2 #2"),
    ] {
        let mut publish = json!({ "channel": "tea", "data": 1 });
        publish.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(ask(&server, "POST", "/v1/messages", Some(publish)).0, 200);
        assert_eq!(client.next(), format!("PUBLISH tea \"1\"{expected}"));
    }
    for wrong in
        [json!({ "qos": 3 }), json!({ "expires_in_ms": 0 }), json!({ "retain": true, "volatile": true })]
    {
        let mut publish = json!({ "channel": "tea", "data": 1 });
        publish.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        assert_eq!(ask(&server, "POST", "/v1/messages", Some(publish)).0, 400, "{wrong}");
    }
    client.leave();
    let publish = |more: Value| {
        let mut publish = json!({ "channel": "tea", "data": 2 });
        publish.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ask(&server, "POST", "/v1/messages", Some(publish)).1["results"][0].clone()
    };
    assert_eq!(publish(json!({}))["queued"], 1);
    assert_eq!(publish(json!({ "volatile": true }))["dropped"], 1);
    let (mut client, told) = Client::open(&server, Opening::v5("c1").lasting());
    assert_eq!(told, "CONNACK present 00");
    client.next_that(|told| told == "PUBLISH tea \"2\" q1 #3");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn properties_of_mqtt_5_go_with_what_the_back_end_publishes() {
    let server = start(&[]).await;
    let mut client = Client::connected(&server, Opening::v5("c1"));
    client.subscribe("tea", Qos::AtMostOnce);
    let publish = json!({
        "channel": "tea", "event": "poured", "data_base64": "/wA=", "content_type": "image/x-tea",
        "user_properties": { "a": "1" }, "expires_in_ms": 5000
    });
    assert_eq!(ask(&server, "POST", "/v1/messages", Some(publish)).0, 200);
    let expected = r#"PUBLISH tea "\xff\x00" image/x-tea event=poured a=1 expires"#;
    assert_eq!(client.next(), expected);
    let wrong = json!({ "channel": "tea", "data": 1, "user_properties": { "a": "\u{0}" } });
    assert_eq!(ask(&server, "POST", "/v1/messages", Some(wrong)).0, 400);
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retained_values_are_put_looked_at_and_taken_away() {
    let server = start(&[]).await;
    let value = "/v1/retained?channel=state/door";
    assert_eq!(ask(&server, "GET", value, None).0, 404);
    let request = json!({ "data": { "open": true }, "expires_in_ms": 600_000 });
    assert_eq!(ask(&server, "PUT", value, Some(request)).0, 204);
    let (status, view) = ask(&server, "GET", value, None);
    assert_eq!((status, &view["args"], &view["qos"]), (200, &json!([{ "open": true }]), &json!(1)));
    assert!((1..=600_000).contains(&view["expires_in_ms"].as_u64().unwrap()), "{view}");
    let mut client = Client::connected(&server, Opening::v5("c1"));
    client.subscribe("state/+", Qos::AtMostOnce);
    assert_eq!(client.next(), r#"PUBLISH state/door "{\"open\":true}" retain expires"#);
    let publish = json!({ "channel": "state/lamp", "data": "on", "retain": true });
    assert_eq!(ask(&server, "POST", "/v1/messages", Some(publish)).0, 200);
    assert_eq!(client.next(), r#"PUBLISH state/lamp "\"on\"""#);
    assert_eq!(ask(&server, "GET", "/v1/retained?channel=state/lamp", None).1["args"], json!(["on"]));
    assert_eq!(ask(&server, "DELETE", value, None).0, 204);
    assert_eq!(ask(&server, "DELETE", value, None).0, 404);
    let mut late = Client::connected(&server, Opening::v5("c2"));
    late.subscribe("state/#", Qos::AtMostOnce);
    assert_eq!(late.next(), r#"PUBLISH state/lamp "\"on\"" retain"#);
    for (method, body) in [("PUT", Some(json!({ "data": 1 }))), ("DELETE", None)] {
        for name in ["$SYS/broker/version", "$user/42"] {
            let (status, told) = ask(&server, method, &format!("/v1/retained?channel={name}"), body.clone());
            assert_eq!((status, &told["code"]), (403, &json!("reserved-channel")));
        }
    }
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_messages_refusals_and_sessions_are_counted() {
    let server = start(&["mqtt.client_id_bytes_max=23"]).await;
    let mut client =
        Client::connected(&server, Opening { receive_maximum: 1, ..Opening::v5("c1") }.lasting());
    client.subscribe("tea", Qos::AtLeastOnce);
    client.publish("tea", "a", 1);
    assert_eq!(client.next(), "PUBLISH tea \"a\" q1 #1");
    assert_eq!(client.next(), "PUBACK #1 00");
    client.publish("tea", "b", 2);
    assert_eq!(client.next(), "PUBACK #2 00");
    let (_, told) = Client::open(&server, Opening::v5("an id that is far too long"));
    assert_eq!(told, "CONNACK new 85");
    let (_, _, text) = ask_text(&server, "GET", "/metrics", None);
    let sum = |name: &str| -> u64 {
        let (own, label) = name.split_once('|').unwrap_or((name, ""));
        let own = format!("trunkline_{own}");
        let hits = text.lines().filter(|line| {
            let Some(rest) = line.strip_prefix(&own) else { return false };
            rest.starts_with(['{', ' ']) && rest.contains(label)
        });
        hits.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    };
    assert_eq!(sum("mqtt_connections|protocol=\"5.0\""), 1, "{text}");
    assert_eq!(sum("mqtt_packets_in_total|type=\"connect\""), 2);
    assert_eq!(sum("mqtt_packets_in_total|type=\"publish\""), 2);
    assert_eq!(sum("mqtt_packets_out_total|type=\"puback\""), 2);
    assert_eq!(sum("mqtt_messages_in_total|qos=\"1\""), 2);
    assert_eq!(sum("mqtt_messages_out_total|qos=\"1\""), 1, "the window holds the second back");
    assert_eq!(sum("mqtt_refused_total|reason=\"Client Identifier not valid\""), 1);
    assert_eq!((sum("in_flight_messages"), sum("outbox_messages"), sum("sessions_named")), (1, 1, 1));
    assert!(sum("mqtt_bytes_in_total") > 40 && sum("mqtt_bytes_out_total") > 20);
    let (_, page) = ask(&server, "GET", "/v1/slow-sessions", None);
    let slow = &page["items"][0];
    assert_eq!(
        (&slow["client_id"], &slow["queued"], &slow["in_flight"]),
        (&json!("c1"), &json!(1), &json!(1))
    );
    assert!(slow["behind_ms"].is_u64(), "{slow}");
    client.say(&ClientPacket::PubAck(Ack::new(PacketId::FIRST, ReasonCode::Success)));
    assert_eq!(client.next(), "PUBLISH tea \"b\" q1 #2");
    // Nothing waits any more, but the client has not said that it has the second one.
    let (_, page) = ask(&server, "GET", "/v1/slow-sessions?connected=true&limit=1", None);
    let slow = &page["items"][0];
    assert_eq!((&slow["queued"], &slow["in_flight"]), (&json!(0), &json!(1)));
    let second = Ack::new(PacketId::new(2).unwrap(), ReasonCode::Success);
    client.say(&ClientPacket::PubAck(second));
    // Once this is answered, that has been read.
    client.subscribe("coffee", Qos::AtMostOnce);
    assert_eq!(ask(&server, "GET", "/v1/slow-sessions", None).1["items"], json!([]));
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_are_published_where_dashboards_look_for_them_and_by_nobody_else() {
    let server = start(&["mqtt.sys_interval_seconds=1"]).await;
    let mut client = Client::connected(&server, Opening::v5("c1"));
    client.subscribe("$SYS/#", Qos::AtMostOnce);
    // In whatever order: the client may have come before the figures that count it, or behind them.
    let mut open =
        vec!["PUBLISH $SYS/broker/version \"trunkline ", "PUBLISH $SYS/broker/clients/connected \"1\""];
    while !open.is_empty() {
        let told = client.next_that(|told| open.iter().any(|begin| told.starts_with(begin)));
        open.retain(|begin| !told.starts_with(begin));
    }
    let mut other = Client::connected(&server, Opening::v5("c2"));
    other.subscribe("$sys/uptime", Qos::AtMostOnce);
    other.next_that(|told| told.starts_with("PUBLISH $sys/uptime \"") && told.ends_with(" retain"));
    client.publish("$SYS/broker/version", "mine", 1);
    client.next_that(|told| told == "PUBACK #1 87");
    let publish = json!({ "channel": "$sys/uptime", "data": 1 });
    assert_eq!(ask(&server, "POST", "/v1/messages", Some(publish)).0, 403);
    let (status, view) = ask(&server, "GET", "/v1/retained?channel=$SYS/broker/clients/connected", None);
    assert_eq!(status, 200, "{view}");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_too_much_is_read_from_later() {
    let server = start(&["limits.events_per_second=10", "mqtt.receive_maximum=100"]).await;
    let mut client = Client::connected(&server, Opening::v5("c1"));
    let begin = Instant::now();
    for id in 1..=15 {
        client.publish("tea", "x", id);
    }
    for id in 1..=15 {
        assert_eq!(client.next(), format!("PUBACK #{id} 10"));
    }
    // Ten are free, the eleventh is taken in advance, each of the others waits for a tenth of a second. The server counts whole
    // milliseconds: the first may have come at the end of one.
    assert!(begin.elapsed() > Duration::from_millis(399), "{:?}", begin.elapsed());
    client.say(&ClientPacket::PingReq);
    assert_eq!(client.next(), "PINGRESP");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_on_sending_too_much_is_cut_off() {
    let settings = ["limits.bytes_per_second=1000", "mqtt.rate_breach_seconds=1"];
    let server = start(&settings).await;
    let mut client = Client::connected(&server, Opening::v5("c1"));
    let payload = "x".repeat(500);
    for _ in 0..20 {
        client.publish("tea", &payload, 0);
    }
    assert_eq!((client.next(), client.next()), ("DISCONNECT 96".to_owned(), "END".to_owned()));
    let (_, _, text) = ask_text(&server, "GET", "/metrics", None);
    let cut = text.lines().filter(|line| line.starts_with("trunkline_mqtt_rate_cut_total{"));
    assert!(cut.clone().any(|line| line.ends_with(" 1")), "{:?}", cut.collect::<Vec<_>>());
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_id_that_connects_too_often_is_banned_until_the_ban_is_lifted() {
    let server = start(&["mqtt.flapping_connects_max=2"]).await;
    let told = |opening| Client::open(&server, opening).1;
    assert_eq!(told(Opening::v5("c1")), "CONNACK new 00");
    assert_eq!(told(Opening::v5("c1")), "CONNACK new 00");
    assert_eq!(told(Opening::v5("c1")), "CONNACK new 8A");
    assert_eq!(told(Opening { level: Level::V311, ..Opening::v5("c1") }), "CONNACK new 87", "5 in version 3");
    assert_eq!(told(Opening::v5("c2")), "CONNACK new 00");
    let (_, page) = ask(&server, "GET", "/v1/bans", None);
    let ban = &page["items"][0];
    assert_eq!((&ban["client_id"], &ban["reason"]), (&json!("c1"), &json!("flapping")));
    assert!((290..=300).contains(&ban["seconds"].as_u64().unwrap()), "{ban}");
    assert_eq!(ask(&server, "DELETE", "/v1/bans?client_id=c1", None).0, 204);
    assert_eq!(told(Opening::v5("c1")), "CONNACK new 00");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bans_by_client_id_user_and_address_are_kept_listed_and_lifted() {
    let text = "[auth]\nmode = \"anonymous\"\n[server]\npublic_listen = \"127.0.0.1:0\"\nprivate_listen = \"127.0.0.1:0\"\n\
                shards = 2\ndrain_window_ms = 0\n[mqtt]\nsys_interval_seconds = 0\n[[mqtt.user]]\nname = \"bob\"\npassword = \"pw\"\n";
    let file = Some(SourceFile { name: "t".into(), text: text.into() });
    let config = Config::load(&Sources { file, ..Sources::default() }, Machine::detect()).unwrap().config;
    let server = Server::start(config).await.unwrap();
    let told = |opening| Client::open(&server, opening).1;
    let bob = Opening::v5("c1").user("bob", "pw");
    let put = |ban: Value| ask(&server, "PUT", "/v1/bans", Some(ban)).0;
    assert_eq!(put(json!({ "client_id": "c9", "seconds": 60, "reason": "lost" })), 204);
    assert_eq!(told(Opening::v5("c9")), "CONNACK new 8A");
    assert_eq!(told(bob), "CONNACK new 00");
    assert_eq!(put(json!({ "user": "bob" })), 204);
    assert_eq!(told(bob), "CONNACK new 8A");
    assert_eq!(told(bob.user("bob", "wrong")), "CONNACK new 86", "who is not bob is not told of his ban");
    assert_eq!(told(Opening::v5("c1")), "CONNACK new 00");
    assert_eq!(put(json!({ "address": "127.0.0.1" })), 204);
    assert_eq!(told(Opening::v5("c1")), "CONNACK new 8A");
    let mut listed = Vec::new();
    let mut cursor = String::new();
    loop {
        let (_, page) = ask(&server, "GET", &format!("/v1/bans?limit=1{cursor}"), None);
        listed.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    listed.sort_by_key(Value::to_string);
    let mut expected = [
        json!({ "address": "127.0.0.1" }),
        json!({ "client_id": "c9", "seconds": 60, "reason": "lost" }),
        json!({ "user": "bob" }),
    ];
    expected.sort_by_key(Value::to_string);
    for (own, expected) in listed.iter().zip(&expected) {
        for (name, value) in expected.as_object().unwrap().iter().filter(|(name, _)| *name != "seconds") {
            assert_eq!(&own[name], value);
        }
    }
    assert_eq!(listed.len(), 3, "{listed:?}");
    for target in ["address=127.0.0.1", "user=bob", "client_id=c9"] {
        assert_eq!(ask(&server, "DELETE", &format!("/v1/bans?{target}"), None).0, 204);
        assert_eq!(ask(&server, "DELETE", &format!("/v1/bans?{target}"), None).0, 404);
    }
    assert_eq!((told(bob), told(Opening::v5("c9"))), ("CONNACK new 00".into(), "CONNACK new 00".into()));
    for wrong in [json!({}), json!({ "user": "a", "client_id": "b" }), json!({ "user": "a", "seconds": 0 })] {
        assert_eq!(put(wrong), 400);
    }
    server.drain().await;
}

#[test]
fn what_is_said_to_sessions_of_socket_io_means_nothing_to_those_of_mqtt() {
    let config = Config::embedded_with(&["auth.mode=anonymous", "server.shards=1"]).unwrap();
    let mut node = support::Node::start(config, |_, upcall| panic!("nobody asks: {upcall:?}"));
    let (mut client, told) = Client::open_at(node.address, Opening::v5("c1"));
    assert_eq!(told, "CONNACK new 00");
    let query = Query::Sessions { of: None, after: None, limit: 9 };
    node.office.send(ShardId(0), Mail::Hub(Command::Query { token: Token(1), query }));
    let batch = node.reports.blocking_recv().unwrap();
    let [(_, Report::Sessions(page))] = batch.as_slice() else { panic!("{batch:?}") };
    let session = page.items[0].id;
    node.office.admit(session, &["tea"]);
    node.office.refuse(session, "no", None);
    node.office.to_session(session, Mail::Hold { session });
    node.office.to_session(session, Mail::LetGo { session });
    node.office.answer(session, 7, &support::args("[1]"));
    let (session, subscriptions) = (SessionKey(session.slot()), vec!["tea".to_owned()]);
    let admit = Admit { session, user: None, info: None, subscriptions, keepsake: bytes::Bytes::new() };
    node.office.send(ShardId(0), Mail::Hub(Command::Admit(admit)));
    client.say(&ClientPacket::PingReq);
    assert_eq!(client.next(), "PINGRESP");
    node.stop();
}
