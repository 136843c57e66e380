//! One channel, several protocols: what a client of one publishes, as clients of the others get it.

use super::rig::{Client, Post, Site, config_of};
use hub::{Body, ChannelName, Command, MessageId, Publish, SessionId, Target, Token, Traits};
use wire::mqtt::{Property, Value};
use wire::websocket::Opcode;

/// Clients of Socket.IO send to each other, and a room that one of them is in.
fn site() -> (Site, Client, SessionId) {
    let site = Site::start(config_of(2, "[[socketio.namespace]]\nname = \"/\"\nevents = \"relay\"\n"));
    let (client, id) = site.socketio(0);
    (site, client, id)
}

#[test]
fn an_mqtt_message_is_an_event_with_one_argument() {
    let (site, mut socket, id) = site();
    site.join(id, "room/1");
    let mut client = site.v5("s");
    for topic in ["main", "room/1"] {
        let mut says = |payload: &[u8], event: Option<&str>| {
            let mut post = Post { payload, ..Post::new(topic, "") };
            if let Some(event) = event {
                post = post.with(Property::UserProperty, Value::Pair("event", event));
            }
            client.publish(&post);
            socket.texts()
        };
        assert_eq!(says(br#"{"a":[1, 2]}"#, None), [r#"42["message",{"a":[1, 2]}]"#]);
        assert_eq!(says(b"7", Some("news")), [r#"42["news",7]"#]);
        assert_eq!(says(b"\"x\"", None), [r#"42["message","x"]"#]);
        assert_eq!(says(b"plain \"text\"", None), [r#"42["message","plain \"text\""]"#]);
        assert_eq!(says(b"", None), [r#"42["message",""]"#]);
        assert_eq!(says(b"{\"a\":", None), [r#"42["message","{\"a\":"]"#]);
        assert_eq!(says(&[0xff, 0], Some("raw")), [r#"451-["raw",{"_placeholder":true,"num":0}]"#]);
        assert_eq!(socket.binary(), [0xff, 0]);
    }
    assert!(!socket.has_ended());
}

#[test]
fn no_mqtt_message_is_an_event_at_which_clients_close_their_connection() {
    let (site, mut socket, _) = site();
    let mut client = site.v5("s");
    let mut reader = site.v5("reader");
    reader.subscribe(1, &[("#", 0)]);
    for event in ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"]
    {
        client.publish(&Post::new("main", "1").with(Property::UserProperty, Value::Pair("event", event)));
        assert_eq!(socket.texts(), [r#"42["message",1]"#], "{event}");
        reader.expect(&[&format!("PUBLISH main \"1\" user:event={event}")]);
    }
}

#[test]
fn an_event_is_a_payload_and_says_its_name() {
    let (site, mut socket, _) = site();
    let (mut v5, mut v3) = (site.v5("v5"), site.v3("v3"));
    v5.subscribe(1, &[("main", 1)]);
    v3.subscribe(1, &[("+", 0)]);
    let cases = [
        (r#"42["news",{"a":1}]"#, r#"{\"a\":1}"#),
        (r#"42["news","x"]"#, r#"\"x\""#),
        (r#"42["news"]"#, "[]"),
        (r#"42["news",1,[2]]"#, "[1,[2]]"),
        (r#"42["news",null]"#, "null"),
    ];
    for (event, payload) in cases {
        socket.text(event);
        v5.expect(&[&format!("PUBLISH main \"{payload}\" user:event=news")]);
        v3.expect(&[&format!("PUBLISH main \"{payload}\"")]);
    }
    socket.text(r#"451-["news",{"_placeholder":true,"num":0}]"#);
    socket.frame(Opcode::Binary, &[0, 255]);
    v5.expect(&["PUBLISH main \"\\x00\\xff\" user:event=news"]);
    socket.text(r#"451-["news",{"_placeholder":true,"num":0},1]"#);
    socket.frame(Opcode::Binary, &[1, 2]);
    v3.expect(&["PUBLISH main \"\\x00\\xff\"", "PUBLISH main \"[{\\\"$binary\\\":\\\"AQI=\\\"},1]\""]);
    assert!(!socket.has_ended());
}

#[test]
fn the_back_end_reaches_everybody_on_a_channel_by_its_name() {
    let (site, mut socket, id) = site();
    site.join(id, "room/1");
    let mut mqtt = site.v5("s");
    mqtt.subscribe(1, &[("room/+", 1)]);
    let publish = |name: &str, traits: Traits| {
        let channel = ChannelName::parse(name, 2048).unwrap();
        let publish = Publish {
            id: MessageId(1),
            target: Target::Channel(channel),
            event: Some("news".into()),
            body: Body::Values { json: br#"[{"a":1}]"#[..].into(), attachments: Vec::new() },
            volatile: false,
            except: None,
            reply_within_ms: None,
            token: Some(Token(5)),
            traits,
            receipt: None,
        };
        site.command(site.home_of_topic(name), Command::Publish(Box::new(publish)));
    };
    publish("room/1", Traits { quality: hub::Quality::AtLeastOnce, ..Traits::default() });
    mqtt.expect(&["PUBLISH room/1 \"{\\\"a\\\":1}\" q1 #1 user:event=news"]);
    assert_eq!(socket.texts(), [r#"42["news",{"a":1}]"#]);
    publish("room/2", Traits { retain: true, ..Traits::default() });
    mqtt.expect(&["PUBLISH room/2 \"{\\\"a\\\":1}\" user:event=news"]);
    let mut late = site.v3("late");
    late.send_subscribe(1, &[("room/2", 0)], None);
    late.expect(&["SUBACK #1 [00]", "PUBLISH room/2 \"{\\\"a\\\":1}\" retain"]);
}

#[test]
fn a_reader_that_stalls_is_nothing_to_the_other_protocol() {
    let (site, mut socket, _) = site();
    let mut stalled = site.v5("stalled");
    stalled.subscribe(1, &[("#", 0)]);
    let mut client = site.v5("s");
    let payload = format!("\"{}\"", "x".repeat(1000));
    for _ in 0..3_000 {
        client.publish(&Post::new("main", &payload));
        assert_eq!(socket.texts().len(), 1);
    }
    assert_eq!(site.stats().blocked, 1);
    assert!(client.is_alive());
}

#[test]
fn nothing_is_left_when_all_have_gone() {
    let (site, mut socket, id) = site();
    site.join(id, "room/1");
    let mut mqtt = site.lasting("s");
    mqtt.subscribe(1, &[("room/#", 2), ("main", 1)]);
    socket.text(r#"42["news",1]"#);
    mqtt.publish(&Post::new("room/1", "x").q2(1));
    mqtt.cut();
    socket.cut();
    site.pass(3_600_010);
    assert!(site.is_idle());
}
