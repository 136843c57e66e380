//! What the back end is asked about channels whose rule says so: clients of MQTT.

use std::time::Duration;

use serde_json::{Value, json};
use trunkline::Server;
use wire::mqtt::{
    ClientPacket, Disconnect, Level, PacketId, Properties, Publish, Qos, ReasonCode, RetainHandling,
    Subscribe, SubscribeOptions, Subscriptions,
};

use super::back_end::{Act, BackEnd, Hook, yes};
use super::mqtt::{Mqtt, OPENING, Opening, script};
use super::{start_with, until};

const TYPES: &str = "types = [\"channel.subscribe\", \"channel.publish\"]\nbreaker_failures = 1000\n";

const RULE: &str = "[[channel]]\nfilter = \"ask/#\"\nsubscribe = \"webhook\"\npublish = \"webhook\"\n";

/// Everybody may come in, and below `ask` the back end says who may what; `keys` are of the webhook.
pub(crate) async fn start(back_end: &BackEnd, keys: &str) -> Server {
    start_with(back_end.address, "mode = \"anonymous\"", &format!("{TYPES}{keys}\n{RULE}")).await
}

/// What a channel's last level tells the back end to answer.
pub(crate) fn as_named(hook: &Hook) -> Act {
    let channel = hook.event["data"]["channel"].as_str().unwrap();
    match channel.rsplit('/').next().unwrap() {
        "low" | "blank" if hook.kind() == "channel.publish" => yes(json!({})),
        "low" => yes(json!({ "result": { "qos": 0 } })),
        "blank" => yes(json!({ "result": { "recover": false } })),
        "error" => yes(json!({ "error": { "message": "not you" } })),
        "403" => Act::Answer(403, String::new()),
        "401" => Act::Answer(401, "who?".into()),
        "drop" => yes(json!({ "result": { "drop": true } })),
        "other" => yes(json!({ "result": { "data": "else", "event": "say" } })),
        "json" => yes(json!({ "result": { "data": { "a": 1 } } })),
        "bytes" => yes(json!({ "result": { "data_base64": "/wA=" } })),
        "leave" => yes(json!({ "disconnect": { "reason": "enough" } })),
        "slow" => Act::Late(Duration::from_millis(300), 204, String::new()),
        "none" => Act::Answer(500, String::new()),
        "garbage" => yes(json!({ "result": { "qos": 9, "drop": 1 } })),
        "silent" => Act::Silence,
        _ => Act::Answer(204, String::new()),
    }
}

/// A client that is let in.
fn joined(address: std::net::SocketAddr, id: &str, level: Level) -> Mqtt {
    let mut client = Mqtt::open(address, &Opening { id, level, ..OPENING });
    assert!(client.next().starts_with("CONNACK new 00"));
    client
}

fn subscribe(client: &mut Mqtt, packet: u16, filters: &[&str]) {
    let options = SubscribeOptions {
        qos: Qos::AtLeastOnce,
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::Send,
    };
    let list: Vec<(&str, SubscribeOptions)> = filters.iter().map(|filter| (*filter, options)).collect();
    client.say(&ClientPacket::Subscribe(Subscribe {
        packet_id: PacketId::new(packet).unwrap(),
        properties: Properties::NONE,
        subscriptions: Subscriptions::new(&list),
    }));
}

fn publish(client: &mut Mqtt, packet: u16, topic: &str, (qos, payload): (Qos, &[u8])) {
    client.say(&ClientPacket::Publish(Publish {
        dup: false,
        qos,
        retain: false,
        topic,
        packet_id: PacketId::new(packet),
        properties: Properties::NONE,
        payload,
    }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_waits_for_the_back_end_and_is_what_it_says() {
    let back_end = BackEnd::start(as_named).await;
    let server = start(&back_end, "").await;
    script(&server, |address| {
        let mut writer = joined(address, "writer", Level::V5);
        publish(&mut writer, 1, "ask/kept", (Qos::AtLeastOnce, b"x"));
        assert!(writer.next().starts_with("PUBACK"));
        let filters = [
            "free",
            "ask/a",
            "ask/low",
            "ask/error",
            "ask/403",
            "ask/401",
            "ask/+",
            "$share/g/ask/s",
            "ask/#",
        ];
        for (level, no) in [(Level::V5, 0x87), (Level::V311, 0x80)] {
            let mut client = joined(address, "reader", level);
            subscribe(&mut client, 7, &filters);
            let answer = client.next_codes();
            assert_eq!(answer, [1, 1, 0, no, no, no, 1, 1, 1]);
            client.leave();
        }
    })
    .await;
    let hooks = back_end.of("channel.subscribe");
    let asked: Vec<&str> = hooks.iter().map(|hook| hook.event["data"]["channel"].as_str().unwrap()).collect();
    let once = ["ask/a", "ask/low", "ask/error", "ask/403", "ask/401", "ask/+", "ask/s", "ask/#"];
    assert_eq!(asked, [once, once].concat());
    let event = &hooks[6].event;
    assert_eq!((&event["data"]["group"], &event["data"]["qos"]), (&json!("g"), &json!(1)));
    assert_eq!((&event["subject"], &event["clientid"]), (&json!("ask/s"), &json!("reader")));
    assert_eq!(event["source"], format!("/sessions/{}", event["sessionid"].as_str().unwrap()));
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_from_before_comes_unless_the_back_end_says_otherwise() {
    let back_end = BackEnd::start(as_named).await;
    let server = start(&back_end, "").await;
    script(&server, |address| {
        let mut writer = joined(address, "writer", Level::V311);
        for topic in ["ask/a", "ask/blank"] {
            writer.say(&ClientPacket::Publish(Publish {
                dup: false,
                qos: Qos::AtLeastOnce,
                retain: true,
                topic,
                packet_id: PacketId::new(1),
                properties: Properties::NONE,
                payload: b"kept",
            }));
            assert!(writer.next().starts_with("PUBACK"));
        }
        let mut client = joined(address, "reader", Level::V311);
        subscribe(&mut client, 7, &["ask/blank"]);
        assert_eq!(client.next(), "SUBACK 01");
        subscribe(&mut client, 8, &["ask/a"]);
        let both = [client.next(), client.next()];
        assert!(both.contains(&"SUBACK 01".to_owned()) && both.contains(&"PUBLISH ask/a kept".to_owned()));
    })
    .await;
    let published = back_end.of("channel.publish");
    assert_eq!(published[0].event["data"]["retain"], true);
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_waits_for_the_back_end_and_is_what_it_says() {
    let back_end = BackEnd::start(as_named).await;
    let server = start(&back_end, "").await;
    script(&server, |address| {
        let mut reader = joined(address, "reader", Level::V5);
        subscribe(&mut reader, 1, &["ask/#"]);
        assert_eq!(reader.next(), "SUBACK 01");
        let mut client = joined(address, "writer", Level::V5);
        let cases = [
            ("ask/a", Some("PUBLISH ask/a x"), 0),
            ("ask/drop", None, 0),
            ("ask/other", Some("PUBLISH ask/other else"), 0),
            ("ask/json", Some("PUBLISH ask/json {\"a\":1}"), 0),
            ("ask/bytes", Some("PUBLISH ask/bytes \u{fffd}\0"), 0),
            ("ask/error", None, 0x87),
            ("ask/403", None, 0x87),
        ];
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            for (number, (topic, expected, code)) in (1..).zip(cases) {
                publish(&mut client, if qos == Qos::AtMostOnce { 0 } else { number }, topic, (qos, b"x"));
                if qos != Qos::AtMostOnce {
                    assert_eq!(client.next_ack(), (number, code), "{topic}");
                }
                if let Some(expected) = expected {
                    assert_eq!(reader.next_publish(), expected);
                }
            }
        }
        client.leave();
        // Version 3 has no word for a no.
        let mut client = joined(address, "writer", Level::V311);
        publish(&mut client, 3, "ask/error", (Qos::AtLeastOnce, b"x"));
        assert_eq!(client.next_ack(), (3, 0));
        publish(&mut client, 4, "ask/a", (Qos::AtLeastOnce, b"y"));
        assert_eq!(client.next_ack(), (4, 0));
        assert_eq!(reader.next_publish(), "PUBLISH ask/a y");
    })
    .await;
    let event = &back_end.of("channel.publish")[0].event;
    assert_eq!((&event["data"]["payload"], &event["data"]["qos"]), (&json!("x"), &json!(0)));
    assert_eq!((&event["data"]["will"], &event["subject"]), (&json!(false), &json!("ask/a")));
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_says_keeps_its_order_and_outlives_its_goodbye() {
    let back_end = BackEnd::start(as_named).await;
    let server = start(&back_end, "").await;
    script(&server, |address| {
        let mut reader = joined(address, "reader", Level::V5);
        subscribe(&mut reader, 1, &["ask/#", "free"]);
        assert_eq!(reader.next_codes(), [1, 1]);
        let mut client = joined(address, "writer", Level::V5);
        let begun = std::time::Instant::now();
        publish(&mut client, 1, "ask/slow", (Qos::AtLeastOnce, b"1"));
        publish(&mut client, 0, "free", (Qos::AtMostOnce, b"2"));
        publish(&mut client, 0, "ask/slow", (Qos::AtMostOnce, b"3"));
        publish(&mut client, 2, "free", (Qos::AtLeastOnce, b"4"));
        client.say(&ClientPacket::Disconnect(Disconnect::new(ReasonCode::Success)));
        // Homes of channels do not wait for each other, but each was told in order, and nothing before the first answer.
        let mut came: Vec<String> = (0..2).map(|_| reader.next_publish()).collect();
        assert!(begun.elapsed() >= Duration::from_millis(300));
        came.extend((0..2).map(|_| reader.next_publish()));
        assert!(begun.elapsed() >= Duration::from_millis(600));
        came.sort_by_key(|text| text.contains("free"));
        assert_eq!(came, ["PUBLISH ask/slow 1", "PUBLISH ask/slow 3", "PUBLISH free 2", "PUBLISH free 4"]);
        assert_eq!((client.next_ack(), client.next_ack()), ((1, 0), (2, 0)));
        assert_eq!(client.next(), "END");
    })
    .await;
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_answer_a_client_comes_back() {
    let back_end = BackEnd::start(as_named).await;
    let server = start(&back_end, "timeout_ms = 700").await;
    script(&server, |address| {
        for topic in ["ask/none", "ask/garbage", "ask/silent"] {
            let mut client = joined(address, "c", Level::V5);
            publish(&mut client, 1, topic, (Qos::AtLeastOnce, b"1"));
            assert_eq!(client.next(), "DISCONNECT 89", "{topic}");
            assert_eq!(client.next(), "END");
            let mut client = joined(address, "c", Level::V311);
            subscribe(&mut client, 1, &[topic, "free"]);
            assert_eq!(client.next(), "END", "{topic}");
        }
        let mut client = joined(address, "c", Level::V5);
        publish(&mut client, 1, "ask/leave", (Qos::AtLeastOnce, b"1"));
        assert_eq!(client.next_ack(), (1, 0x87));
        assert_eq!(client.next(), "DISCONNECT 98", "the back end has ended it");
    })
    .await;
    let none = back_end.of("channel.publish").into_iter();
    let ids: Vec<Value> = none
        .filter(|hook| hook.event["subject"] == "ask/none")
        .map(|hook| hook.event["id"].clone())
        .collect();
    assert_eq!(ids.len(), 3, "it is asked again");
    assert!(ids.iter().all(|id| *id == ids[0]), "about the same");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_may_what_nobody_answers_where_that_is_wanted() {
    let back_end = BackEnd::start(as_named).await;
    let server = start(&back_end, "channel_without_answer = \"allow\"\n").await;
    script(&server, |address| {
        let mut client = joined(address, "c", Level::V5);
        subscribe(&mut client, 1, &["ask/none"]);
        assert_eq!(client.next(), "SUBACK 01");
        publish(&mut client, 2, "ask/none", (Qos::AtMostOnce, b"1"));
        assert_eq!(client.next_publish(), "PUBLISH ask/none 1");
    })
    .await;
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_for_the_connection_that_asked() {
    let back_end = BackEnd::start(as_named).await;
    let server = start(&back_end, "").await;
    let held = back_end.of("channel.publish").len();
    assert_eq!(held, 0);
    script(&server, |address| {
        let mut reader = joined(address, "reader", Level::V5);
        subscribe(&mut reader, 1, &["ask/#"]);
        assert_eq!(reader.next(), "SUBACK 01");
        let opening = Opening { expiry_seconds: 60, ..OPENING };
        let mut first = Mqtt::open(address, &opening);
        assert!(first.next().starts_with("CONNACK new"));
        publish(&mut first, 1, "ask/slow", (Qos::ExactlyOnce, b"lost"));
        // Another connection takes the session meanwhile, and sends it again.
        let mut second = Mqtt::open(address, &opening);
        assert_eq!(first.next(), "DISCONNECT 8E");
        assert!(second.next().starts_with("CONNACK present"));
        publish(&mut second, 1, "ask/slow", (Qos::ExactlyOnce, b"again"));
        assert_eq!(second.next_ack(), (1, 0));
        assert_eq!(reader.next_publish(), "PUBLISH ask/slow again");
        // What is taken is not asked about again.
        publish(&mut second, 1, "ask/slow", (Qos::ExactlyOnce, b"again"));
        assert_eq!(second.next_ack(), (1, 0));
        publish(&mut second, 0, "ask/a", (Qos::AtMostOnce, b"end"));
        assert_eq!(reader.next_publish(), "PUBLISH ask/a end");
    })
    .await;
    let payloads: Vec<Value> = back_end
        .of("channel.publish")
        .into_iter()
        .map(|hook| hook.event["data"]["payload"].clone())
        .collect();
    let count = payloads.iter().filter(|payload| **payload == "again").count();
    assert_eq!(count, 1, "{payloads:?}");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_asked_of_nobody_is_refused_and_the_webhook_that_takes_it_is_asked() {
    let back_end = BackEnd::start(as_named).await;
    let server = start(&back_end, "filters = [\"ask/mine/#\"]\nprotocols = [\"mqtt\"]").await;
    script(&server, |address| {
        let mut client = joined(address, "c", Level::V5);
        subscribe(&mut client, 1, &["ask/mine/+", "ask/yours", "ask/#"]);
        assert_eq!(client.next_codes(), [1, 0x87, 0x87]);
    })
    .await;
    until("one was asked about", || back_end.hooks().len() == 1).await;
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_will_is_asked_about_before_its_client_is_let_in() {
    let back_end = BackEnd::start(as_named).await;
    let server = start(&back_end, "timeout_ms = 700").await;
    script(&server, |address| {
        let mut reader = joined(address, "reader", Level::V5);
        subscribe(&mut reader, 1, &["ask/#"]);
        assert_eq!(reader.next(), "SUBACK 01");
        let open =
            |id, level, topic| Mqtt::open(address, &Opening { id, level, will: Some(topic), ..OPENING });
        for (topic, expected) in [
            ("ask/a", Some("PUBLISH ask/a gone")),
            ("ask/drop", None),
            ("ask/other", Some("PUBLISH ask/other else")),
            ("free", None),
        ] {
            let mut client = open("c", Level::V5, topic);
            // What it says meanwhile waits.
            publish(&mut client, 0, "ask/first", (Qos::AtMostOnce, b"1"));
            assert_eq!(client.next(), "CONNACK new 00", "{topic}");
            assert_eq!(reader.next_publish(), "PUBLISH ask/first 1");
            client.cut();
            if let Some(expected) = expected {
                assert_eq!(reader.next_publish(), expected);
            }
        }
        assert_eq!(open("c", Level::V5, "ask/error").next(), "CONNACK new 87");
        assert_eq!(open("c", Level::V311, "ask/403").next(), "CONNACK new 87", "code 5 of version 3");
        assert_eq!(open("c", Level::V5, "ask/none").next(), "END");
    })
    .await;
    // Who comes later has the session, whoever is answered first.
    let will = Some("ask/slow");
    let mut early =
        script(&server, move |address| Mqtt::open(address, &Opening { id: "c", will, ..OPENING })).await;
    until("it is asked about", || back_end.hooks().iter().any(|hook| hook.event["subject"] == "ask/slow"))
        .await;
    script(&server, move |address| {
        let mut late = joined(address, "c", Level::V5);
        assert_eq!(early.next(), "END");
        publish(&mut late, 1, "ask/a", (Qos::AtLeastOnce, b"2"));
        assert_eq!(late.next_ack(), (1, 0x10), "nobody listens any more");
    })
    .await;
    let wills: Vec<Hook> = back_end
        .of("channel.publish")
        .into_iter()
        .filter(|hook| hook.event["data"]["will"] == true)
        .collect();
    let event = &wills[0].event;
    assert_eq!((&event["source"], &event["clientid"]), (&json!("/clients/c"), &json!("c")));
    assert!(event["sessionid"].is_null(), "it has none yet");
    server.drain().await;
}
