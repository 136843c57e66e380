//! Bridges between whole servers: nothing acknowledged is lost while they are apart, nothing goes in circles, and what is told.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests and their helpers")]

#[path = "support/pem.rs"]
mod pem;
mod support;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use load::mqtt::{Connection, Login, Message, Properties, Qos, Retained, Session, Trust, Version};
use pem::pem;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use support::client::get;
use trunkline::Server;
use trunkline::config::{Config, Machine, SourceFile, Sources};
use wire::mqtt::{
    Connect, Encoder, Level, PacketId, Property, PropertyBuf, Publish, Value as PropertyValue, frame,
};

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory that goes with everything in it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("trunkline-bridge-{}-{name}", std::process::id()));
        let _not_there = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _already_gone = std::fs::remove_dir_all(&self.0);
    }
}

/// Two shards on loopback; `text` is the rest of the configuration.
async fn start(text: &str) -> Server {
    let settings = [
        ("auth.mode", "anonymous"),
        ("server.shards", "2"),
        ("server.public_listen", "127.0.0.1:0"),
        ("server.private_listen", "127.0.0.1:0"),
        ("server.drain_window_ms", "0"),
        ("mqtt.sys_interval_seconds", "0"),
    ];
    let sources = Sources {
        presets: settings.map(|(key, value)| (key, value.to_owned())).into(),
        file: Some(SourceFile { name: "trunkline.toml".into(), text: text.into() }),
        ..Sources::default()
    };
    let machine = Machine { cores: 2, open_files_max: 1_000_000 };
    let loaded = Config::load(&sources, machine).unwrap_or_else(|problems| panic!("{problems}"));
    Server::start(loaded.config).await.unwrap()
}

fn bridge(url: &str, more: &str, rules: &[(&str, &str)]) -> String {
    let rules = rules
        .iter()
        .map(|(direction, rest)| format!("[[bridge.rule]]\ndirection = \"{direction}\"\n{rest}\n"));
    format!(
        "[[bridge]]\nname = \"b\"\nurl = \"{url}\"\nbackoff_min_ms = 10\nbackoff_max_ms = 50\n{more}\n{}",
        rules.collect::<String>()
    )
}

/// Of this id with a session that lasts, or without both.
fn client(server: &Server, id: &str) -> Connection {
    try_client(server, id).unwrap_or_else(|error| panic!("{error}"))
}

fn try_client(server: &Server, id: &str) -> Result<Connection, String> {
    let login = Login {
        version: Version::V5,
        client_id: id.to_owned(),
        user: None,
        password: None,
        session: if id.is_empty() { Session::New } else { Session::Lasting(3600) },
        keep_alive_seconds: 0,
        will: None,
        user_properties: Vec::new(),
    };
    let address = format!("mqtt://{}", server.public_addr()).parse().unwrap();
    Connection::open(&address, &Trust::default(), &login, PATIENCE).map_err(|error| error.to_string())
}

fn subscriber(server: &Server, filter: &str) -> Connection {
    let mut client = client(server, "");
    let granted = client.subscribe(&[filter.to_owned()], (Qos::ExactlyOnce, Retained::Wanted), PATIENCE);
    assert_eq!(granted.unwrap(), [Qos::ExactlyOnce]);
    client
}

fn message(topic: &str, payload: &str, qos: Qos) -> Message {
    let payload = payload.as_bytes().to_vec();
    Message { topic: topic.to_owned(), payload, qos, retain: false, properties: Properties::default() }
}

fn publish(client: &mut Connection, topic: &str, payload: &str) {
    client.publish(&message(topic, payload, Qos::AtLeastOnce)).unwrap();
    client.wait_published(0, PATIENCE).unwrap();
}

fn next(client: &mut Connection) -> Message {
    client.receive(Some(Instant::now() + PATIENCE)).unwrap().expect("a message").message
}

/// Topics and payloads up to the one with this payload.
fn up_to(client: &mut Connection, last: &str) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let message = next(client);
        let payload = String::from_utf8(message.payload).unwrap();
        all.push(format!("{} {payload}", message.topic));
        if payload == last {
            return all;
        }
    }
}

/// One request to the private port. It blocks; the server has threads of its own.
fn ask(server: &Server, target: &str) -> String {
    let answer = get(server.private_addr(), target);
    assert_eq!(answer.status, 200, "{target}: {}", answer.text());
    answer.text().to_owned()
}

/// Its only bridge.
fn view(server: &Server) -> Value {
    let page: Value = serde_json::from_str(&ask(server, "/v1/bridges")).unwrap();
    assert_eq!(page["items"].as_array().unwrap().len(), 1, "{page}");
    page["items"][0].clone()
}

/// Asks until it is so.
fn wait_for(server: &Server, is_so: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + PATIENCE;
    loop {
        let view = view(server);
        if is_so(&view) {
            return view;
        }
        assert!(Instant::now() < until, "{view}");
    }
}

fn wait_connected(server: &Server) -> Value {
    wait_for(server, |view| view["state"] == "connected")
}

/// The session here has its subscriptions, and the broker is not there.
fn wait_apart(server: &Server) -> Value {
    let is_apart = |view: &Value| {
        view["state"] == "waiting" && view["last_error"].as_str().is_some_and(|text| text.contains("broker"))
    };
    wait_for(server, is_apart)
}

/// A way to a server that can be cut.
#[derive(Clone)]
struct Wire {
    address: SocketAddr,
    state: Arc<Mutex<WireState>>,
}

#[derive(Default)]
struct WireState {
    target: Option<SocketAddr>,
    is_cut: bool,
    /// Bytes that the next connections carry before they break.
    budgets: Vec<usize>,
    open: Vec<TcpStream>,
}

impl Wire {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let wire = Self { address: listener.local_addr().unwrap(), state: Arc::default() };
        let state = Arc::clone(&wire.state);
        // Ends with the process of the tests.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                carry(&state, &stream);
            }
        });
        wire
    }

    fn to(&self, server: &Server) {
        self.state.lock().unwrap().target = Some(server.public_addr());
    }

    fn cut(&self) {
        let mut state = self.state.lock().unwrap();
        state.is_cut = true;
        state.open.drain(..).for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
    }

    fn mend(&self) {
        self.state.lock().unwrap().is_cut = false;
    }

    fn url(&self) -> String {
        format!("mqtt://{}", self.address)
    }
}

fn carry(state: &Mutex<WireState>, stream: &TcpStream) {
    let mut state = state.lock().unwrap();
    let (Some(target), false) = (state.target, state.is_cut) else { return };
    let Ok(other) = TcpStream::connect(target) else { return };
    let budget = Arc::new(Mutex::new(state.budgets.pop()));
    for (from, to) in [(stream, &other), (&other, stream)] {
        state.open.push(from.try_clone().unwrap());
        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        let budget = Arc::clone(&budget);
        std::thread::spawn(move || {
            let mut chunk = [0; 512];
            while let Ok(count @ 1..) = from.read(&mut chunk) {
                let allowed = {
                    let mut budget = budget.lock().unwrap();
                    let allowed = budget.map_or(count, |left| left.min(count));
                    *budget = budget.map(|left| left - allowed);
                    allowed
                };
                if to.write_all(&chunk[..allowed]).is_err() || allowed < count {
                    break;
                }
            }
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_go_both_ways_under_their_names_and_do_not_come_back() {
    let far = start("").await;
    let rules = [
        ("both", "filter = \"x/#\""),
        ("out", "filter = \"up/#\"\nremote_prefix = \"plant/\""),
        ("in", "filter = \"down/+\"\nlocal_prefix = \"hq/\"\nqos = 0"),
    ];
    let near = start(&bridge(&format!("mqtt://{}", far.public_addr()), "", &rules)).await;
    wait_connected(&near);
    let (mut here, mut there) = (subscriber(&near, "#"), subscriber(&far, "#"));
    let (mut near_end, mut far_end) = (client(&near, ""), client(&far, ""));
    // Channels have no order among each other, so each is waited for on both sides where it comes.
    publish(&mut near_end, "up/1", "a");
    assert_eq!(up_to(&mut there, "a"), ["plant/up/1 a"]);
    assert_eq!(up_to(&mut here, "a"), ["up/1 a"]);
    publish(&mut far_end, "down/1", "b");
    assert_eq!(up_to(&mut here, "b"), ["hq/down/1 b"]);
    assert_eq!(up_to(&mut there, "b"), ["down/1 b"]);
    publish(&mut near_end, "x/1", "c");
    assert_eq!(up_to(&mut there, "c"), ["x/1 c"]);
    assert_eq!(up_to(&mut here, "c"), ["x/1 c"]);
    publish(&mut far_end, "x/2", "d");
    assert_eq!(up_to(&mut here, "d"), ["x/2 d"]);
    assert_eq!(up_to(&mut there, "d"), ["x/2 d"]);
    publish(&mut far_end, "up/no", "e");
    assert_eq!(up_to(&mut there, "e"), ["up/no e"]);
    publish(&mut far_end, "x/3", "f");
    assert_eq!(up_to(&mut here, "f"), ["x/3 f"]);
    assert_eq!(up_to(&mut there, "f"), ["x/3 f"]);
    let view = view(&near);
    assert_eq!(json!([view["messages_out"], view["messages_in"], view["connects"]]), json!([2, 3, 1]));
    assert_eq!(view["rules"][1]["remote_filter"], "plant/up/#");
    let metrics = ask(&near, "/metrics");
    for line in
        ["trunkline_bridge_connected{bridge=\"b\"} 1", "trunkline_bridge_messages_out_total{bridge=\"b\"} 2"]
    {
        assert!(metrics.lines().any(|one| one == line), "{line}\n{metrics}");
    }
    near.drain().await;
    far.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_retained_is_retained_on_the_other_side_with_its_properties() {
    let far = start("").await;
    let wire = Wire::new();
    let near = start(&bridge(&wire.url(), "", &[("both", "filter = \"x/#\"")])).await;
    let mut publisher = client(&near, "");
    let properties = Properties {
        is_text: true,
        expiry_seconds: Some(1000),
        content_type: Some("text/plain".into()),
        response_topic: Some("answer".into()),
        correlation_data: Some(vec![7]),
        user: vec![("k".into(), "v".into())],
    };
    let kept =
        Message { retain: true, properties: properties.clone(), ..message("x/1", "kept", Qos::AtLeastOnce) };
    publisher.publish(&kept).unwrap();
    publisher.wait_published(0, PATIENCE).unwrap();
    wire.to(&far);
    wait_for(&near, |view| view["messages_out"] != 0 && view["in_flight"] == 0 && view["queued"] == 0);
    let found = next(&mut subscriber(&far, "x/1"));
    assert!(found.retain);
    let user: Vec<&str> = found.properties.user.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(user, ["k", "trunkline-path"]);
    assert!(found.properties.expiry_seconds.is_some_and(|seconds| seconds <= 1000));
    let rest = Properties { user: properties.user.clone(), expiry_seconds: Some(1000), ..found.properties };
    assert_eq!(rest, properties);
    near.drain().await;
    far.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_while_they_are_apart() {
    let far = start("").await;
    let wire = Wire::new();
    let near = start(&bridge(&wire.url(), "", &[("both", "filter = \"x/#\"")])).await;
    // The broker has never been there, and what is published waits for it.
    assert_eq!(wait_apart(&near)["queued"], 0);
    let (mut near_end, mut far_end) = (client(&near, ""), client(&far, ""));
    publish(&mut near_end, "x/1", "first");
    let mut there = subscriber(&far, "x/#");
    wire.to(&far);
    wait_connected(&near);
    publish(&mut near_end, "x/1", "second");
    assert_eq!(up_to(&mut there, "second"), ["x/1 first", "x/1 second"]);
    wire.cut();
    wait_apart(&near);
    let mut here = subscriber(&near, "x/#");
    for number in 0..300 {
        publish(&mut near_end, "x/near", &format!("near {number}"));
        publish(&mut far_end, "x/far", &format!("far {number}"));
    }
    wait_for(&near, |view| view["queued"] == 300);
    wire.mend();
    let expected = |side: &str| -> Vec<String> { (0..300).map(|n| format!("x/{side} {side} {n}")).collect() };
    let of = |all: Vec<String>, side: &str| -> Vec<String> {
        all.into_iter().filter(|text| text.starts_with(&format!("x/{side}"))).collect()
    };
    assert_eq!(of(up_to(&mut there, "near 299"), "near"), expected("near"));
    assert_eq!(of(up_to(&mut here, "far 299"), "far"), expected("far"));
    let view = wait_connected(&near);
    assert_eq!(json!([view["connects"], view["dropped"]["unmatched"]]), json!([2, 0]));
    near.drain().await;
    far.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quality_2_is_exactly_once_over_connections_that_break() {
    const COUNT: usize = 400;
    let far = start("").await;
    let wire = Wire::new();
    wire.to(&far);
    // Each carries its CONNECT and some messages, and breaks anywhere in a packet of the exchange.
    let budgets = (0..40_usize).map(|n| 700 + (n * 7919) % 5000).collect();
    wire.state.lock().unwrap().budgets = budgets;
    let near = start(&bridge(&wire.url(), "", &[("both", "filter = \"x/#\"\nqos = 2")])).await;
    wait_for(&near, |view| view["connects"] != 0);
    let (mut here, mut there) = (subscriber(&near, "x/far"), subscriber(&far, "x/near"));
    let (mut near_end, mut far_end) = (client(&near, ""), client(&far, ""));
    for number in 0..COUNT {
        for (end, topic) in [(&mut near_end, "x/near"), (&mut far_end, "x/far")] {
            end.publish(&message(topic, &number.to_string(), Qos::ExactlyOnce)).unwrap();
        }
    }
    near_end.wait_published(0, PATIENCE).unwrap();
    far_end.wait_published(0, PATIENCE).unwrap();
    let last = (COUNT - 1).to_string();
    let expected = |topic: &str| -> Vec<String> { (0..COUNT).map(|n| format!("{topic} {n}")).collect() };
    assert_eq!(up_to(&mut there, &last), expected("x/near"));
    assert_eq!(up_to(&mut here, &last), expected("x/far"));
    let view = view(&near);
    assert!(view["connects"].as_u64().unwrap() > 5, "{view}");
    near.drain().await;
    far.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_the_broker_survives_a_restart() {
    let folder = Folder::new("restart");
    let far = start("").await;
    let wire = Wire::new();
    let rules = [("out", "filter = \"x/#\""), ("out", "filter = \"old/#\"")];
    let text = |rules: &[(&str, &str)]| {
        format!("[store]\ndir = \"{}\"\n{}", folder.0.join("store").display(), bridge(&wire.url(), "", rules))
    };
    let near = start(&text(&rules)).await;
    wait_apart(&near);
    let mut publisher = client(&near, "");
    for number in 0..1500 {
        publisher.publish(&message("x/1", &number.to_string(), Qos::AtLeastOnce)).unwrap();
    }
    publisher.wait_published(0, PATIENCE).unwrap();
    drop(publisher);
    near.drain().await;
    let near = start(&text(&rules[..1])).await;
    let waits = |view: &Value| view["queued"].as_u64().unwrap_or(0) + view["in_flight"].as_u64().unwrap_or(0);
    // Until it has been asked what it is subscribed to, it may be to more.
    wait_apart(&near);
    wait_for(&near, |view| waits(view) == 1500);
    // What no rule is about any more is not subscribed to.
    publish(&mut client(&near, ""), "old/1", "gone");
    let mut there = subscriber(&far, "#");
    wire.to(&far);
    let all = up_to(&mut there, "1499");
    assert_eq!(all, (0..1500).map(|n| format!("x/1 {n}")).collect::<Vec<_>>());
    assert_eq!(view(&near)["dropped"]["unmatched"], 0);
    near.drain().await;
    far.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_as_long_as_its_bridge_says() {
    let wire = Wire::new();
    let text = bridge(&wire.url(), "queue_messages_max = 3", &[("out", "filter = \"x/#\"")]);
    let near = start(&text).await;
    wait_apart(&near);
    let mut publisher = client(&near, "");
    (0..5).for_each(|number| publish(&mut publisher, "x/1", &number.to_string()));
    let view = view(&near);
    assert_eq!(json!([view["queued"], view["dropped"]["overflow"]]), json!([3, 2]));
    let metrics = ask(&near, "/metrics");
    let line = "trunkline_bridge_dropped_total{bridge=\"b\",reason=\"overflow\"} 2";
    assert!(metrics.lines().any(|one| one == line), "{metrics}");
    near.drain().await;
}

/// What came of these bytes up to a packet with this first byte.
fn say(stream: &mut TcpStream, bytes: &[u8], last: u8) {
    stream.write_all(bytes).unwrap();
    let mut heard = Vec::new();
    loop {
        while let Some(found) = frame(&heard, u32::MAX).unwrap() {
            let (first, used) = (found.first, found.packet_bytes);
            if first == last {
                return;
            }
            heard.drain(..used);
        }
        let mut chunk = [0; 1024];
        let count = stream.read(&mut chunk).unwrap();
        assert_ne!(count, 0, "closed");
        heard.extend_from_slice(&chunk[..count]);
    }
}

/// Leaves a session at a server that has published under this packet id with QoS 2 and has not released it.
fn leave_unreleased(server: &Server, client_id: &str, packet_id: PacketId) {
    let mut properties = PropertyBuf::new();
    properties.push(Property::SessionExpiryInterval, PropertyValue::U32(3600)).unwrap();
    let encoder = Encoder::new(wire::mqtt::Version::V5);
    let connect = Connect {
        level: Level::V5,
        is_bridge: false,
        clean_start: false,
        keep_alive_seconds: 0,
        client_id,
        will: None,
        user_name: None,
        password: None,
        properties: properties.as_properties(),
    };
    let publish = Publish {
        dup: false,
        qos: wire::mqtt::Qos::ExactlyOnce,
        retain: false,
        topic: "x/before",
        packet_id: Some(packet_id),
        properties: wire::mqtt::Properties::NONE,
        payload: b"before",
    };
    let mut stream = TcpStream::connect(server.public_addr()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut out = Vec::new();
    encoder.connect(&connect, &mut out).unwrap();
    say(&mut stream, &out, 0x20);
    out.clear();
    encoder.publish(&publish, &mut out).unwrap();
    say(&mut stream, &out, 0x50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_not_taken_for_one_of_a_session_that_is_gone() {
    let far = start("").await;
    leave_unreleased(&far, "c", PacketId::FIRST);
    let mut there = subscriber(&far, "x/#");
    let rules = [("out", "filter = \"x/#\"\nqos = 2")];
    let near = start(&bridge(&format!("mqtt://{}", far.public_addr()), "client_id = \"c\"", &rules)).await;
    wait_connected(&near);
    let mut publisher = client(&near, "");
    for number in 0..3 {
        publisher.publish(&message("x/1", &number.to_string(), Qos::ExactlyOnce)).unwrap();
    }
    publisher.wait_published(0, PATIENCE).unwrap();
    assert_eq!(up_to(&mut there, "2"), ["x/1 0", "x/1 1", "x/1 2"]);
    near.drain().await;
    far.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_passed_on_though_the_server_restarts_before_the_broker_is_there() {
    let folder = Folder::new("values");
    let (far, wire) = (start("").await, Wire::new());
    let store = format!("[store]\ndir = \"{}\"\n", folder.0.join("store").display());
    let near = start(&store).await;
    let mut publisher = client(&near, "");
    publisher.publish(&Message { retain: true, ..message("x/1", "kept", Qos::AtLeastOnce) }).unwrap();
    publisher.wait_published(0, PATIENCE).unwrap();
    drop(publisher);
    near.drain().await;
    let bridged = format!("{store}{}", bridge(&wire.url(), "", &[("out", "filter = \"x/#\"")]));
    let near = start(&bridged).await;
    assert_eq!(wait_apart(&near)["queued"], 0);
    near.drain().await;
    let mut there = subscriber(&far, "x/#");
    wire.to(&far);
    let near = start(&bridged).await;
    assert_eq!(up_to(&mut there, "kept"), ["x/1 kept"]);
    near.drain().await;
    far.drain().await;
}

/// Two servers with a bridge to each other.
async fn facing(direction: &str) -> (Server, Server) {
    let (to_a, to_b) = (Wire::new(), Wire::new());
    let rule = [(direction, "filter = \"x/#\"")];
    let a = start(&bridge(&to_b.url(), "", &rule)).await;
    let b = start(&bridge(&to_a.url(), "", &rule)).await;
    to_a.to(&a);
    to_b.to(&b);
    wait_connected(&a);
    wait_connected(&b);
    (a, b)
}

/// Each message comes to each server once, whoever publishes it.
async fn each_once((a, b): (Server, Server)) {
    let everything = |server: &Server| {
        let mut client = client(server, "");
        let filters = ["x/a", "x/b", "x/end", "after"].map(str::to_owned);
        client.subscribe(&filters, (Qos::AtLeastOnce, Retained::Wanted), PATIENCE).unwrap();
        client
    };
    let (mut at_a, mut at_b) = (everything(&a), everything(&b));
    let (mut from_a, mut from_b) = (client(&a, ""), client(&b, ""));
    let mut expected = Vec::new();
    for number in 0..50 {
        publish(&mut from_a, "x/a", &format!("a{number}"));
        publish(&mut from_b, "x/b", &format!("b{number}"));
        expected.extend([format!("x/a a{number}"), format!("x/b b{number}")]);
    }
    for end in [&mut from_a, &mut from_b] {
        publish(end, "x/end", "end");
    }
    expected.extend(["x/end end".to_owned(), "x/end end".to_owned()]);
    expected.sort();
    for (side, end) in [(&a, &mut at_a), (&b, &mut at_b)] {
        let mut all = up_to(end, "end");
        all.extend(up_to(end, "end"));
        // Whatever else was on its way is here before this.
        publish(&mut client(side, ""), "after", "after");
        all.extend(up_to(end, "after"));
        assert_eq!(all.pop().as_deref(), Some("after after"));
        all.sort();
        assert_eq!(all, expected);
    }
    a.drain().await;
    b.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bridges_that_send_to_each_other_do_not_send_back() {
    let (a, b) = facing("out").await;
    // Who they face is known once they have heard of it; before, a message might come back once.
    for (one, other) in [(&a, &b), (&b, &a)] {
        let mut publisher = client(one, "");
        let until = Instant::now() + PATIENCE;
        while view(other)["dropped"]["loop"] == 0 {
            publish(&mut publisher, "x/probe", "probe");
            assert!(Instant::now() < until, "{}", view(other));
        }
    }
    each_once((a, b)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bridges_both_ways_that_face_each_other_do_not_multiply_messages() {
    let (a, b) = facing("both").await;
    for server in [&a, &b] {
        wait_for(server, |view| view["resting_filters"].as_array().is_some_and(|all| all.len() == 1));
    }
    each_once((a, b)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_of_version_3_is_told_that_it_is_a_bridge() {
    let far = start("").await;
    let url = format!("mqtt://{}", far.public_addr());
    let near = start(&bridge(&url, "version = \"3.1.1\"", &[("both", "filter = \"x/#\"\nqos = 2")])).await;
    wait_connected(&near);
    let (mut here, mut there) = (subscriber(&near, "#"), subscriber(&far, "#"));
    let (mut near_end, mut far_end) = (client(&near, ""), client(&far, ""));
    near_end.publish(&message("x/1", "a", Qos::ExactlyOnce)).unwrap();
    assert_eq!(up_to(&mut there, "a"), ["x/1 a"]);
    far_end.publish(&message("x/2", "b", Qos::ExactlyOnce)).unwrap();
    assert_eq!(up_to(&mut here, "b"), ["x/1 a", "x/2 b"]);
    publish(&mut far_end, "x/3", "c");
    assert_eq!(up_to(&mut there, "c"), ["x/2 b", "x/3 c"]);
    near.drain().await;
    far.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_is_a_bridge() {
    let near = start(&bridge("mqtt://127.0.0.1:9", "", &[("out", "filter = \"x\"")])).await;
    let refused = try_client(&near, "$bridge/b").err().unwrap();
    assert!(refused.contains("0x85"), "{refused}");
    let mut client = client(&near, "");
    client.publish(&message("$bridge/id", "mine", Qos::AtLeastOnce)).unwrap();
    let refused = client.wait_published(0, PATIENCE).unwrap_err().to_string();
    assert!(refused.contains("0x87"), "{refused}");
    near.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_tls_a_bridge_knows_its_broker_and_the_broker_knows_it() {
    let folder = Folder::new("tls");
    let authority = |name: &str| {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        (folder.file(name, &pem("CERTIFICATE", certificate.der())), Issuer::new(params, key))
    };
    let ((good, issuer), (other, _)) = (authority("ca.pem"), authority("other.pem"));
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let certificate = folder.file("cert.pem", &pem("CERTIFICATE", own.der()));
    let key = folder.file("key.pem", &pem("PRIVATE KEY", &key.serialize_der()));
    let far = start(&format!(
        "[tls]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n[mqtt]\ntls_listen = \"127.0.0.1:0\"\n\
         acl_default = \"deny\"\n[[mqtt.user]]\nname = \"u\"\npassword = \"p w\"\n\
         [[mqtt.acl]]\nfilter = \"x/%u\"\nallow = [\"subscribe\"]"
    ))
    .await;
    let url = format!("mqtts://localhost:{}", far.mqtt_tls_addr().unwrap().port());
    let rules = [("in", "filter = \"x/u\""), ("in", "filter = \"y\"")];
    let password = folder.file("password", "p w\n");
    let more = |ca: &str, password: &str| format!("ca_file = \"{ca}\"\nuser = \"u\"\n{password}");
    let file = format!("password_file = \"{password}\"");
    for (text, wrong) in [
        (bridge(&url, &more(&other, &file), &rules), "TLS: "),
        (bridge(&url, &more(&good, "password = \"no\""), &rules), "0x86 Bad User Name or Password"),
    ] {
        let near = start(&text).await;
        let view = wait_for(&near, |view| !view["last_error"].is_null());
        assert!(view["last_error"].as_str().unwrap().contains(wrong), "{view}");
        near.drain().await;
    }
    let near = start(&bridge(&url, &more(&good, &file), &rules)).await;
    let view = wait_for(&near, |view| view["refused_filters"].as_array().is_some_and(|all| !all.is_empty()));
    assert_eq!((view["state"].as_str(), view["refused_filters"][0].as_str()), (Some("connected"), Some("y")));
    near.drain().await;
    far.drain().await;
}
