//! What MQTT clients may use beyond sending and getting messages, each as configured: authentication by a method, switches,
//! topics for answers, where to go when the server stops, delayed messages, subscriptions made for them, checks of contents.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests and their helpers")]

mod support;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};
use support::client::{Said, WebSocket};
use trunkline::Server;
use trunkline::config::{Config, Machine, SourceFile, Sources};
use wire::mqtt::{
    Auth, ClientPacket, Connect, Disconnect, Encoder, Filters, Level, PacketId, Properties, Property,
    PropertyBuf, Publish, Qos, ReasonCode, ServerPacket, Subscribe, SubscribeOptions, Subscriptions,
    Unsubscribe, Value, Version, Will, decode_server, frame,
};

/// How long a read may take.
const PATIENCE: Duration = Duration::from_secs(20);

async fn start(settings: &str) -> Server {
    let text = format!(
        "[server]\nshards = 2\npublic_listen = \"127.0.0.1:0\"\nprivate_listen = \"127.0.0.1:0\"\n\
         drain_window_ms = 0\n[auth]\nmode = \"anonymous\"\n{settings}"
    );
    let file = Some(SourceFile { name: "test.toml".into(), text });
    let loaded = Config::load(&Sources { file, ..Sources::default() }, Machine::detect());
    Server::start(loaded.unwrap_or_else(|problems| panic!("{problems}")).config).await.unwrap()
}

/// A connection that says exactly what a test tells it to.
struct Client {
    stream: TcpStream,
    bytes: Vec<u8>,
    version: Version,
}

fn connect_packet(client_id: &str) -> Connect<'_> {
    Connect {
        level: Level::V5,
        is_bridge: false,
        clean_start: true,
        keep_alive_seconds: 0,
        client_id,
        will: None,
        user_name: None,
        password: None,
        properties: Properties::NONE,
    }
}

fn publish_packet<'a>(topic: &'a str, qos: Qos, payload: &'a str) -> Publish<'a> {
    let packet_id = (qos > Qos::AtMostOnce).then_some(PacketId::FIRST);
    let payload = payload.as_bytes();
    Publish { dup: false, qos, retain: false, topic, packet_id, properties: Properties::NONE, payload }
}

impl Client {
    fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, bytes: Vec::new(), version: Version::V5 }
    }

    /// Connects and is let in.
    fn named(server: &Server, client_id: &str) -> Self {
        let mut client = Self::open(server.public_addr());
        client.connect(&connect_packet(client_id));
        assert_eq!(client.connack(), ReasonCode::Success);
        client
    }

    /// As [`Client::named`], of version 3.
    fn old(server: &Server, client_id: &str) -> Self {
        let mut client = Self::open(server.public_addr());
        client.connect(&Connect { level: Level::V311, ..connect_packet(client_id) });
        assert_eq!(client.connack(), ReasonCode::Success);
        client
    }

    fn connect(&mut self, connect: &Connect<'_>) {
        self.version = connect.level.version();
        self.send(&ClientPacket::Connect(*connect));
    }

    fn send(&mut self, packet: &ClientPacket<'_>) {
        let mut out = Vec::new();
        Encoder::new(self.version).client_packet(packet, &mut out).unwrap();
        self.stream.write_all(&out).unwrap();
    }

    /// What comes next, to be read; `None` at the end.
    fn next_or_end<T>(&mut self, read: impl FnOnce(&ServerPacket<'_>) -> T) -> Option<T> {
        loop {
            if let Some(frame) = frame(&self.bytes, u32::MAX).unwrap() {
                let (bytes, answer) =
                    (frame.packet_bytes, read(&decode_server(self.version, &frame).unwrap()));
                self.bytes.drain(..bytes);
                return Some(answer);
            }
            let mut more = [0; 4096];
            match self.stream.read(&mut more) {
                Ok(0) => return None,
                Ok(count) => self.bytes.extend_from_slice(&more[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing came: {error}"),
            }
        }
    }

    fn next<T>(&mut self, read: impl FnOnce(&ServerPacket<'_>) -> T) -> T {
        self.next_or_end(read).expect("a packet before the end")
    }

    fn connack(&mut self) -> ReasonCode {
        self.next(|packet| match packet {
            ServerPacket::ConnAck(connack) => connack.reason,
            other => panic!("{other:?}"),
        })
    }

    /// The code of DISCONNECT, behind which the connection ends; `None` when it just ends.
    fn ending(&mut self) -> Option<ReasonCode> {
        let code = self.next_or_end(|packet| match packet {
            ServerPacket::Disconnect(disconnect) => disconnect.reason,
            other => panic!("{other:?}"),
        })?;
        assert_eq!(self.next_or_end(|packet| format!("{packet:?}")), None);
        Some(code)
    }

    fn send_subscribe(&mut self, filter: &str, qos: Qos) {
        let subscriptions = [(filter, SubscribeOptions { qos, ..SubscribeOptions::default() })];
        self.send(&ClientPacket::Subscribe(Subscribe {
            packet_id: PacketId::FIRST,
            properties: Properties::NONE,
            subscriptions: Subscriptions::new(&subscriptions),
        }));
    }

    /// Subscribes and gives the code of SUBACK.
    fn subscribe(&mut self, filter: &str, qos: Qos) -> ReasonCode {
        self.send_subscribe(filter, qos);
        self.next(|packet| match packet {
            ServerPacket::SubAck(suback) => suback.codes.iter().next().unwrap(),
            other => panic!("{other:?}"),
        })
    }

    /// Publishes at QoS 1 and gives the code of PUBACK.
    fn publish(&mut self, topic: &str, payload: &str) -> ReasonCode {
        self.send(&ClientPacket::Publish(publish_packet(topic, Qos::AtLeastOnce, payload)));
        self.puback()
    }

    fn puback(&mut self) -> ReasonCode {
        self.next(|packet| match packet {
            ServerPacket::PubAck(ack) => ack.reason,
            other => panic!("{other:?}"),
        })
    }

    /// The next message, as `topic payload`.
    fn message(&mut self) -> String {
        self.next(|packet| match packet {
            ServerPacket::Publish(publish) => {
                format!("{} {}", publish.topic, std::str::from_utf8(publish.payload).unwrap())
            }
            other => panic!("{other:?}"),
        })
    }

    /// Whether nothing is on its way to it that was sent before.
    fn is_silent(&mut self) -> bool {
        self.send(&ClientPacket::PingReq);
        self.next(|packet| *packet == ServerPacket::PingResp)
    }

    fn auth(&mut self, reason: ReasonCode, method: &str, data: &str) {
        let properties = auth_properties(method, data);
        self.send(&ClientPacket::Auth(Auth { reason, properties: properties.as_properties() }));
    }

    /// Reason and data of the next packet, which has the method: AUTH, or CONNACK.
    fn step(&mut self) -> (ReasonCode, String) {
        self.next(|packet| {
            let (reason, properties) = match packet {
                ServerPacket::Auth(auth) => (auth.reason, auth.properties),
                ServerPacket::ConnAck(connack) => (connack.reason, connack.properties),
                other => panic!("{other:?}"),
            };
            assert_eq!(properties.authentication_method(), Some("SCRAM-SHA-256"), "{packet:?}");
            let data = properties.authentication_data().unwrap().to_vec();
            (reason, String::from_utf8(data).unwrap())
        })
    }
}

fn auth_properties(method: &str, data: &str) -> PropertyBuf {
    let mut properties = PropertyBuf::new();
    properties.push(Property::AuthenticationMethod, Value::Text(method)).unwrap();
    properties.push(Property::AuthenticationData, Value::Binary(data.as_bytes())).unwrap();
    properties
}

/// The client's side of SCRAM-SHA-256: its last message, and what the server has to answer.
fn prove(client_first_bare: &str, server_first: &str, password: &str) -> (String, String) {
    let mut fields = server_first.split(',').map(|field| field.split_once('=').unwrap().1);
    let (nonce, salt, iterations) = (fields.next().unwrap(), fields.next().unwrap(), fields.next().unwrap());
    let salt = STANDARD.decode(salt).unwrap();
    let mut salted = [0; 32];
    let iterations = iterations.parse().unwrap();
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, &salt, password.as_bytes(), &mut salted);
    let sign = |key: &[u8], data: &str| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data.as_bytes()).as_ref().to_vec()
    };
    let client_key = sign(&salted, "Client Key");
    let unproven = format!("c=biws,r={nonce}");
    let said = format!("{client_first_bare},{server_first},{unproven}");
    let signature = sign(digest::digest(&digest::SHA256, &client_key).as_ref(), &said);
    let proof: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
    let server = sign(&sign(&salted, "Server Key"), &said);
    (format!("{unproven},p={}", STANDARD.encode(proof)), format!("v={}", STANDARD.encode(server)))
}

const USERS: &str = "[[mqtt.user]]\nname = \"ann\"\npassword = \"pencil\"\n\
                     [[mqtt.user]]\nname = \"bob\"\npassword = \"rubber\"\n";

const METHOD: &str = "SCRAM-SHA-256";

/// Connects with the first message of the method.
fn begin(server: &Server, client_id: &str, user: &str) -> (Client, String) {
    let mut client = Client::open(server.public_addr());
    let properties = auth_properties(METHOD, &format!("n,,n={user},r=abc"));
    client.connect(&Connect { properties: properties.as_properties(), ..connect_packet(client_id) });
    let (reason, server_first) = client.step();
    assert_eq!(reason, ReasonCode::ContinueAuthentication);
    (client, server_first)
}

/// Connects and proves to be a user.
fn prove_in(server: &Server, client_id: &str, (user, password): (&str, &str)) -> Client {
    let (mut client, server_first) = begin(server, client_id, user);
    let (client_final, server_final) = prove(&format!("n={user},r=abc"), &server_first, password);
    client.auth(ReasonCode::ContinueAuthentication, METHOD, &client_final);
    assert_eq!(client.step(), (ReasonCode::Success, server_final));
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_proves_its_user_by_scram() {
    let acl = "[[mqtt.acl]]\nfilter = \"%u/#\"\nallow = [\"publish\"]\n";
    let server = start(&format!("[mqtt]\nacl_default = \"deny\"\n{USERS}{acl}")).await;
    // Names whose homes differ, so that some connections move.
    for name in ["c1", "c2", "c3", "c4", "c5", ""] {
        let mut client = prove_in(&server, name, ("ann", "pencil"));
        assert_eq!(client.publish("ann/x", "1"), ReasonCode::NoMatchingSubscribers);
        assert_eq!(client.publish("bob/x", "1"), ReasonCode::NotAuthorized);
    }
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_proves_nothing_is_refused_alike_for_users_that_do_not_exist() {
    let server = start(USERS).await;
    for (user, password) in [("ann", "pencil!"), ("nobody", "pencil")] {
        let (mut client, server_first) = begin(&server, "c", user);
        let (client_final, _) = prove(&format!("n={user},r=abc"), &server_first, password);
        client.auth(ReasonCode::ContinueAuthentication, METHOD, &client_final);
        assert_eq!(client.connack(), ReasonCode::BadUserNameOrPassword);
        assert_eq!(client.ending(), None);
        let salt = |message: &str| message.split(',').nth(1).unwrap().to_owned();
        assert_eq!(salt(&begin(&server, "c", user).1), salt(&server_first), "{user}");
    }
    let (mut client, _) = begin(&server, "c", "ann");
    client.auth(ReasonCode::ContinueAuthentication, METHOD, "c=biws,r=else,p=AAAA");
    assert_eq!(client.connack(), ReasonCode::NotAuthorized);
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn until_it_is_let_in_a_client_may_only_prove_itself_or_leave() {
    let server = start(USERS).await;
    let ping = |client: &mut Client| client.send(&ClientPacket::PingReq);
    let publish = |client: &mut Client| {
        client.send(&ClientPacket::Publish(publish_packet("a", Qos::AtMostOnce, "x")));
    };
    let again = |client: &mut Client| client.auth(ReasonCode::Reauthenticate, METHOD, "n,,n=ann,r=abc");
    let other = |client: &mut Client| client.auth(ReasonCode::ContinueAuthentication, "OTHER", "x");
    let wrongs: [&dyn Fn(&mut Client); 4] = [&ping, &publish, &again, &other];
    for wrong in wrongs {
        let (mut client, _) = begin(&server, "c", "ann");
        wrong(&mut client);
        assert_eq!(client.connack(), ReasonCode::ProtocolError);
        assert_eq!(client.ending(), None);
    }
    let (mut client, _) = begin(&server, "c", "ann");
    client.send(&ClientPacket::Disconnect(Disconnect::new(ReasonCode::Success)));
    assert_eq!(client.ending(), None);
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_may_come_in_pieces_and_with_what_follows() {
    let server = start(USERS).await;
    let (mut client, server_first) = begin(&server, "c", "ann");
    let (client_final, server_final) = prove("n=ann,r=abc", &server_first, "pencil");
    let properties = auth_properties(METHOD, &client_final);
    let auth = Auth { reason: ReasonCode::ContinueAuthentication, properties: properties.as_properties() };
    let mut out = Vec::new();
    Encoder::new(Version::V5).client_packet(&ClientPacket::Auth(auth), &mut out).unwrap();
    Encoder::new(Version::V5).client_packet(&ClientPacket::PingReq, &mut out).unwrap();
    for byte in out {
        client.stream.write_all(&[byte]).unwrap();
    }
    assert_eq!(client.step(), (ReasonCode::Success, server_final));
    assert!(client.next(|packet| *packet == ServerPacket::PingResp));
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_in_a_websocket_proves_its_user_too() {
    let server = start(USERS).await;
    let protocol = [("sec-websocket-protocol", "mqtt")];
    let mut socket = WebSocket::try_connect(server.public_addr(), "/mqtt", &protocol).ok().unwrap();
    let encoded = |packet: &ClientPacket<'_>| {
        let mut out = Vec::new();
        Encoder::new(Version::V5).client_packet(packet, &mut out).unwrap();
        out
    };
    let data_of_next = |socket: &mut WebSocket| {
        let Said::Binary(bytes) = socket.next() else { panic!("binary frames only") };
        let frame = frame(&bytes, u32::MAX).unwrap().expect("a packet in a frame");
        let properties = match decode_server(Version::V5, &frame).unwrap() {
            ServerPacket::Auth(auth) => auth.properties,
            ServerPacket::ConnAck(connack) => connack.properties,
            other => panic!("{other:?}"),
        };
        String::from_utf8(properties.authentication_data().unwrap().to_vec()).unwrap()
    };
    let first = auth_properties(METHOD, "n,,n=ann,r=abc");
    let connect = Connect { properties: first.as_properties(), ..connect_packet("c") };
    let connect = encoded(&ClientPacket::Connect(connect));
    let (head, tail) = connect.split_at(5);
    socket.binary(head);
    socket.binary(tail);
    let server_first = data_of_next(&mut socket);
    let (client_final, server_final) = prove("n=ann,r=abc", &server_first, "pencil");
    let last = auth_properties(METHOD, &client_final);
    let auth = Auth { reason: ReasonCode::ContinueAuthentication, properties: last.as_properties() };
    let auth = encoded(&ClientPacket::Auth(auth));
    let (head, tail) = auth.split_at(20);
    socket.binary(head);
    socket.binary(tail);
    assert_eq!(data_of_next(&mut socket), server_final);
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_proves_itself_is_closed_in_time() {
    let server = start(&format!("[limits]\nhead_timeout_ms = 1000\n{USERS}")).await;
    let (mut client, _) = begin(&server, "c", "ann");
    assert_eq!(client.ending(), None);
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_that_are_not_offered_are_refused() {
    let server = start(USERS).await;
    let without = start("").await;
    let off = start(&format!("[mqtt]\nscram = false\n{USERS}")).await;
    for (server, method) in [(&server, "SCRAM-SHA-1"), (&without, METHOD), (&off, METHOD)] {
        let mut client = Client::open(server.public_addr());
        let properties = auth_properties(method, "n,,n=ann,r=abc");
        client.connect(&Connect { properties: properties.as_properties(), ..connect_packet("c") });
        assert_eq!(client.connack(), ReasonCode::BadAuthenticationMethod, "{method}");
        assert_eq!(client.ending(), None);
    }
    let mut client = Client::open(server.public_addr());
    let properties = auth_properties(METHOD, "p=tls-unique,,n=ann,r=abc");
    client.connect(&Connect { properties: properties.as_properties(), ..connect_packet("c") });
    assert_eq!(client.connack(), ReasonCode::NotAuthorized);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_proves_its_user_again_while_traffic_goes_on() {
    let server = start(USERS).await;
    let mut client = prove_in(&server, "c", ("ann", "pencil"));
    for _ in 0..2 {
        client.auth(ReasonCode::Reauthenticate, METHOD, "n,,n=ann,r=xyz");
        let (reason, server_first) = client.step();
        assert_eq!(reason, ReasonCode::ContinueAuthentication);
        assert_eq!(client.publish("a", "1"), ReasonCode::NoMatchingSubscribers);
        let (client_final, server_final) = prove("n=ann,r=xyz", &server_first, "pencil");
        client.auth(ReasonCode::ContinueAuthentication, METHOD, &client_final);
        assert_eq!(client.step(), (ReasonCode::Success, server_final));
    }
    assert!(client.is_silent());
    // As somebody else, though with a right password.
    client.auth(ReasonCode::Reauthenticate, METHOD, "n,,n=bob,r=xyz");
    let (_, server_first) = client.step();
    let (client_final, _) = prove("n=bob,r=xyz", &server_first, "rubber");
    client.auth(ReasonCode::ContinueAuthentication, METHOD, &client_final);
    assert_eq!(client.ending(), Some(ReasonCode::NotAuthorized));
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn auth_that_nobody_asked_for_ends_the_connection() {
    let server = start(USERS).await;
    let mut unannounced = Client::named(&server, "c1");
    unannounced.auth(ReasonCode::Reauthenticate, METHOD, "n,,n=ann,r=abc");
    assert_eq!(unannounced.ending(), Some(ReasonCode::ProtocolError));
    let steps = [(ReasonCode::ContinueAuthentication, METHOD), (ReasonCode::Reauthenticate, "SCRAM-SHA-1")];
    for (reason, method) in steps {
        let mut client = prove_in(&server, "c2", ("ann", "pencil"));
        client.auth(reason, method, "n,,n=ann,r=abc");
        assert_eq!(client.ending(), Some(ReasonCode::ProtocolError), "{reason} {method}");
    }
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_id_may_be_bound_to_its_user() {
    let server = start(&format!("[mqtt]\nclient_id_is_user = true\n{USERS}")).await;
    let cases = [
        ("ann", Some("ann"), ReasonCode::Success),
        ("", Some("ann"), ReasonCode::Success),
        ("bob", Some("ann"), ReasonCode::ClientIdentifierNotValid),
        ("ann", None, ReasonCode::ClientIdentifierNotValid),
        ("guest", None, ReasonCode::Success),
    ];
    for (client_id, user_name, expected) in cases {
        let mut client = Client::open(server.public_addr());
        let password = user_name.map(|_| &b"pencil"[..]);
        client.connect(&Connect { user_name, password, ..connect_packet(client_id) });
        let (reason, assigned) = client.next(|packet| match packet {
            ServerPacket::ConnAck(connack) => {
                (connack.reason, connack.properties.assigned_client_identifier().map(str::to_owned))
            }
            other => panic!("{other:?}"),
        });
        assert_eq!(reason, expected, "{client_id} {user_name:?}");
        assert_eq!(assigned.as_deref(), user_name.filter(|_| client_id.is_empty()));
    }
    server.drain().await;
}

/// A client that asks for Response Information, and what it is told.
fn with_replies(server: &Server, client_id: &str) -> (Client, String) {
    let mut client = Client::open(server.public_addr());
    let mut properties = PropertyBuf::new();
    properties.push(Property::RequestResponseInformation, Value::Byte(1)).unwrap();
    client.connect(&Connect { properties: properties.as_properties(), ..connect_packet(client_id) });
    let prefix = client.next(|packet| match packet {
        ServerPacket::ConnAck(connack) => connack.properties.response_information().unwrap().to_owned(),
        other => panic!("{other:?}"),
    });
    (client, prefix)
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_reach_the_session_that_asked_and_nobody_else() {
    let server = start(
        "[mqtt]\nacl_default = \"deny\"\n[[mqtt.acl]]\nfilter = \"#\"\nallow = [\"subscribe\"]\n\
         [[mqtt.acl]]\nfilter = \"marker\"\nallow = [\"publish\"]\n",
    )
    .await;
    let (mut asks, prefix) = with_replies(&server, "asks");
    assert_eq!(asks.subscribe(&format!("{prefix}#"), Qos::AtLeastOnce), ReasonCode::GrantedQos1);
    let mut answers = Client::named(&server, "answers");
    let mut spies =
        [(Client::named(&server, "spy"), Qos::AtMostOnce), (Client::old(&server, "old"), Qos::ExactlyOnce)];
    for (spy, qos) in &mut spies {
        assert_eq!(spy.subscribe("#", *qos), qos.granted());
        assert_eq!(spy.subscribe("reply/+/a", *qos), qos.granted());
        assert!(spy.subscribe(&format!("{prefix}a"), *qos).is_failure());
        assert!(spy.subscribe(&format!("$share/g/{prefix}#"), *qos).is_failure());
    }
    for payload in ["0", "1"] {
        assert_eq!(answers.publish(&format!("{prefix}a"), payload), ReasonCode::Success);
        assert_eq!(asks.message(), format!("{prefix}a {payload}"));
    }
    assert_eq!(answers.publish("marker", "m"), ReasonCode::Success);
    for (spy, _) in &mut spies {
        assert_eq!(spy.message(), "marker m");
    }
    server.drain().await;
}

const ALL_OFF: &str = "[mqtt]\nmaximum_qos = 1\nretain_available = false\nwildcard_subscriptions = false\n\
                       shared_subscriptions = false\nsubscription_identifiers = false\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_switched_off_is_told_and_ends_the_connection_of_who_uses_it() {
    let server = start(ALL_OFF).await;
    let mut client = Client::open(server.public_addr());
    client.connect(&connect_packet("c"));
    client.next(|packet| {
        let ServerPacket::ConnAck(connack) = packet else { panic!("{packet:?}") };
        let told = &connack.properties;
        assert_eq!(told.maximum_qos(), Some(Qos::AtLeastOnce));
        assert_eq!(told.retain_available(), Some(false));
        assert_eq!(told.wildcard_subscription_available(), Some(false));
        assert_eq!(told.shared_subscription_available(), Some(false));
        assert_eq!(told.subscription_identifier_available(), Some(false));
    });
    assert_eq!(client.subscribe("a", Qos::ExactlyOnce), ReasonCode::GrantedQos1);
    assert_eq!(client.publish("b", "x"), ReasonCode::NoMatchingSubscribers);

    let retained = Publish { retain: true, ..publish_packet("a", Qos::AtMostOnce, "x") };
    let mut identifier = PropertyBuf::new();
    identifier.push(Property::SubscriptionIdentifier, Value::Varint(7)).unwrap();
    let subscriptions = [("a", SubscribeOptions::default())];
    let identified = Subscribe {
        packet_id: PacketId::FIRST,
        properties: identifier.as_properties(),
        subscriptions: Subscriptions::new(&subscriptions),
    };
    let qos_2 = ClientPacket::Publish(publish_packet("a", Qos::ExactlyOnce, "x"));
    let cases = [
        (qos_2, ReasonCode::QosNotSupported),
        (ClientPacket::Publish(retained), ReasonCode::RetainNotSupported),
        (ClientPacket::Subscribe(identified), ReasonCode::SubscriptionIdentifiersNotSupported),
    ];
    for (packet, code) in cases {
        let mut client = Client::named(&server, "c");
        client.send(&packet);
        assert_eq!(client.ending(), Some(code));
    }
    for (filter, code) in [
        ("a/+", ReasonCode::WildcardSubscriptionsNotSupported),
        ("$share/g/a", ReasonCode::SharedSubscriptionsNotSupported),
    ] {
        let mut client = Client::named(&server, "c");
        client.send_subscribe(filter, Qos::AtMostOnce);
        assert_eq!(client.ending(), Some(code), "{filter}");
    }
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_3_hears_of_switches_as_far_as_it_can() {
    let server = start(ALL_OFF).await;
    let mut client = Client::old(&server, "c");
    for filter in ["a/+", "$share/g/a"] {
        assert_eq!(client.subscribe(filter, Qos::AtMostOnce), ReasonCode::UnspecifiedError);
    }
    assert_eq!(client.subscribe("a", Qos::ExactlyOnce), ReasonCode::GrantedQos1);
    client.send(&ClientPacket::Publish(publish_packet("a", Qos::ExactlyOnce, "x")));
    assert_eq!(client.ending(), None);
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_will_that_is_switched_off_is_refused() {
    let server = start(ALL_OFF).await;
    let will = |qos, retain| Will { topic: "w", payload: b"x", qos, retain, properties: Properties::NONE };
    for (will, code) in [
        (will(Qos::ExactlyOnce, false), ReasonCode::QosNotSupported),
        (will(Qos::AtMostOnce, true), ReasonCode::RetainNotSupported),
        (will(Qos::AtLeastOnce, false), ReasonCode::Success),
    ] {
        let mut client = Client::open(server.public_addr());
        client.connect(&Connect { will: Some(will), ..connect_packet("c") });
        assert_eq!(client.connack(), code);
        let mut old = Client::open(server.public_addr());
        old.connect(&Connect { level: Level::V311, will: Some(will), ..connect_packet("old") });
        let reason = old.next_or_end(|packet| match packet {
            ServerPacket::ConnAck(connack) => connack.reason,
            other => panic!("{other:?}"),
        });
        assert_eq!(reason, (!code.is_failure()).then_some(ReasonCode::Success));
    }
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_says_where_to_go() {
    let server = start("[mqtt]\nserver_reference = \"a.example:1883 [::1]:1883\"\n").await;
    let mut clients = [Client::named(&server, "c1"), Client::named(&server, "c2")];
    let mut old = Client::old(&server, "old");
    let draining = tokio::spawn(server.drain());
    for client in &mut clients {
        let told = client.next(|packet| match packet {
            ServerPacket::Disconnect(disconnect) => {
                (disconnect.reason, disconnect.properties.server_reference().map(str::to_owned))
            }
            other => panic!("{other:?}"),
        });
        assert_eq!(told, (ReasonCode::UseAnotherServer, Some("a.example:1883 [::1]:1883".into())));
        assert_eq!(client.ending(), None);
    }
    assert_eq!(old.ending(), None);
    draining.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_and_knows_no_other_says_so() {
    let server = start("").await;
    let mut client = Client::named(&server, "c");
    let draining = tokio::spawn(server.drain());
    assert_eq!(client.ending(), Some(ReasonCode::ServerShuttingDown));
    draining.await.unwrap();
}

/// The code for a client that connects while the server stops, which has to have begun; `None` when it is closed.
fn turned_away(address: SocketAddr, level: Level) -> Option<ReasonCode> {
    loop {
        let mut client = Client::open(address);
        client.connect(&Connect { level, ..connect_packet("late") });
        let told = client.next_or_end(|packet| match packet {
            ServerPacket::ConnAck(connack) => {
                (connack.reason, connack.properties.server_reference().map(str::to_owned))
            }
            other => panic!("{other:?}"),
        });
        match told {
            Some((ReasonCode::Success, _)) => {}
            Some((reason, reference)) => {
                assert_eq!(reference.as_deref(), Some("a.example"));
                return Some(reason);
            }
            None => return None,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_connects_while_the_server_stops_is_told_where_to_go() {
    let reference = "server_reference = \"a.example\"\n";
    for (settings, expected) in [(reference, Some(ReasonCode::UseAnotherServer)), ("", None)] {
        let file = format!(
            "[server]\nshards = 1\npublic_listen = \"127.0.0.1:0\"\nprivate_listen = \"127.0.0.1:0\"\n\
             drain_window_ms = 10000\n[auth]\nmode = \"anonymous\"\n[mqtt]\n{settings}"
        );
        let file = Some(SourceFile { name: "test.toml".into(), text: file });
        let loaded = Config::load(&Sources { file, ..Sources::default() }, Machine::detect()).unwrap();
        let server = Server::start(loaded.config).await.unwrap();
        let address = server.public_addr();
        // As long as some of them are there, so is the server.
        let keepers: Vec<Client> =
            (0..8).map(|number| Client::named(&server, &format!("keeper{number}"))).collect();
        let draining = tokio::spawn(server.drain());
        assert_eq!(turned_away(address, Level::V5), expected);
        assert_eq!(turned_away(address, Level::V311), None);
        drop(keepers);
        draining.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_message_comes_later_and_to_its_topic() {
    let server = start("").await;
    let mut subscriber = Client::named(&server, "subscriber");
    assert_eq!(subscriber.subscribe("#", Qos::AtMostOnce), ReasonCode::Success);
    assert!(subscriber.subscribe("$delayed/#", Qos::AtMostOnce).is_failure());
    let mut publisher = Client::named(&server, "publisher");
    let begun = Instant::now();
    assert_eq!(publisher.publish("$delayed/1/a/b", "late"), ReasonCode::Success);
    assert_eq!(publisher.publish("a/b", "now"), ReasonCode::Success);
    assert_eq!(publisher.publish("$delayed/0/a/b", "too"), ReasonCode::Success);
    // On a machine that is slow enough they come in another order.
    let mut expected = vec!["a/b late", "a/b now", "a/b too"];
    while !expected.is_empty() {
        let message = subscriber.message();
        let place = expected.iter().position(|expected| *expected == message);
        expected.remove(place.unwrap_or_else(|| panic!("{message} once more")));
        // The server counts whole milliseconds.
        assert!(message != "a/b late" || begun.elapsed() >= Duration::from_millis(999));
    }
    for (topic, code) in [
        ("$delayed/a/b", ReasonCode::TopicNameInvalid),
        ("$delayed/5/", ReasonCode::TopicNameInvalid),
        ("$delayed/5/$SYS/x", ReasonCode::NotAuthorized),
        ("$delayed/5/$delayed/5/x", ReasonCode::NotAuthorized),
    ] {
        assert_eq!(publisher.publish(topic, "x"), code, "{topic}");
    }
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn delayed_messages_are_bounded_and_can_be_switched_off() {
    let server = start("[limits]\ndelayed_max = 1\n").await;
    let mut client = Client::named(&server, "c");
    assert_eq!(client.publish("$delayed/1000/a", "x"), ReasonCode::Success);
    assert_eq!(client.publish("$delayed/1000/a", "x"), ReasonCode::QuotaExceeded);
    server.drain().await;
    let server = start("[limits]\ndelayed_max = 0\n").await;
    let mut client = Client::named(&server, "c");
    assert_eq!(client.publish("$delayed/1000/a", "x"), ReasonCode::NotAuthorized);
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_session_begins_with_subscriptions_of_the_configuration() {
    let auto = "[[mqtt.auto_subscribe]]\nfilter = \"to/%c\"\nqos = 1\n\
                [[mqtt.auto_subscribe]]\nfilter = \"user/%u\"\n\
                [mqtt]\nacl_default = \"deny\"\n[[mqtt.acl]]\nfilter = \"#\"\nallow = [\"publish\"]\n";
    let server = start(auto).await;
    let mut publisher = Client::named(&server, "publisher");
    publisher.send(&ClientPacket::Publish(Publish {
        retain: true,
        ..publish_packet("to/c", Qos::AtLeastOnce, "kept")
    }));
    publisher.puback();
    let mut client = Client::named(&server, "c");
    assert_eq!(client.message(), "to/c kept");
    assert_eq!(publisher.publish("to/c", "live"), ReasonCode::Success);
    assert_eq!(client.message(), "to/c live");
    assert_eq!(publisher.publish("to/%c", "x"), ReasonCode::NoMatchingSubscribers);
    // Nobody is no user, and a name that is more than one level is subscribed to nothing.
    Client::named(&server, "a/+");
    assert_eq!(publisher.publish("to/a/b", "x"), ReasonCode::NoMatchingSubscribers);
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_goes_on_gets_no_subscription_back_that_it_gave_up() {
    let server = start("[[mqtt.auto_subscribe]]\nfilter = \"to/%c\"\n").await;
    let mut expiry = PropertyBuf::new();
    expiry.push(Property::SessionExpiryInterval, Value::U32(1000)).unwrap();
    let connect = Connect { clean_start: false, properties: expiry.as_properties(), ..connect_packet("c") };
    let mut client = Client::open(server.public_addr());
    client.connect(&connect);
    assert_eq!(client.connack(), ReasonCode::Success);
    let mut publisher = Client::named(&server, "publisher");
    assert_eq!(publisher.publish("to/c", "1"), ReasonCode::Success);
    assert_eq!(client.message(), "to/c 1");
    let filters = ["to/c"];
    client.send(&ClientPacket::Unsubscribe(Unsubscribe {
        packet_id: PacketId::FIRST,
        properties: Properties::NONE,
        filters: Filters::new(&filters),
    }));
    client.next(|packet| assert!(matches!(packet, ServerPacket::UnsubAck(_)), "{packet:?}"));
    let mut again = Client::open(server.public_addr());
    again.connect(&connect);
    again.next(|packet| match packet {
        ServerPacket::ConnAck(connack) => assert!(connack.session_present),
        other => panic!("{other:?}"),
    });
    // The home of the topic hears of it a little after the client was answered.
    let patience = Instant::now() + Duration::from_secs(20);
    while publisher.publish("to/c", "2") != ReasonCode::NoMatchingSubscribers {
        assert!(Instant::now() < patience, "it is subscribed again");
    }
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_to_be_text_must_be_text_where_that_is_checked() {
    let server = start("[[channel]]\nfilter = \"text/#\"\npayload_format_check = true\n").await;
    let mut client = Client::named(&server, "c");
    let mut indicator = PropertyBuf::new();
    indicator.push(Property::PayloadFormatIndicator, Value::Byte(1)).unwrap();
    let cases: [(&str, &[u8], Properties<'_>, bool); 4] = [
        ("text/a", &[0xff], indicator.as_properties(), false),
        ("text/a", "é".as_bytes(), indicator.as_properties(), true),
        ("text/a", &[0xff], Properties::NONE, true),
        ("other", &[0xff], indicator.as_properties(), true),
    ];
    for (topic, payload, properties, is_taken) in cases {
        let publish = Publish { payload, properties, ..publish_packet(topic, Qos::AtLeastOnce, "") };
        client.send(&ClientPacket::Publish(publish));
        let code =
            if is_taken { ReasonCode::NoMatchingSubscribers } else { ReasonCode::PayloadFormatInvalid };
        assert_eq!(client.puback(), code, "{topic} {payload:?}");
    }
    let will = Will {
        topic: "text/a",
        payload: &[0xff],
        qos: Qos::AtMostOnce,
        retain: false,
        properties: indicator.as_properties(),
    };
    let mut client = Client::open(server.public_addr());
    client.connect(&Connect { will: Some(will), ..connect_packet("c") });
    assert_eq!(client.connack(), ReasonCode::PayloadFormatInvalid);
    server.drain().await;
}
