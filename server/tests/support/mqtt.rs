//! MQTT clients that say exactly what a test tells them, against a node that the test turns by hand on time of its own.
//!
//! Start at [`Site`]. Nothing runs by itself: what a client sends has its whole effect before the call returns, so what
//! has not come then never comes. What the server says is shown as text, see [`shown`].

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use hub::{ChannelName, Command, SessionId, ShardId, Token, claim_home};
use trunkline::config::{Config, Machine, SourceFile, Sources};
use trunkline::embed::ByHand;
use trunkline::mail::{Mail, Upcall};
use trunkline::shard::Stats;
use trunkline::state::Place;
use wire::http::{HeadLimits, parse_response_head};
use wire::mqtt::{
    Ack, ClientPacket, Connect, Disconnect, Encoder, Filters, Level, PacketId, Properties, Property,
    PropertyBuf, Publish, Qos, ReasonCode, ReasonCodes, RetainHandling, ServerPacket, Subscribe,
    SubscribeOptions, Subscriptions, Unsubscribe, Value, Version, Will, decode_server, frame,
};
use wire::websocket::{
    Decoded, Decoder, Event, Opcode, Role, UpgradeRequest, client_key, masked_frame, write_upgrade_request,
};

/// More turns than anything takes.
const TURNS_MAX: usize = 100_000;

/// A node that stands still between two calls.
#[derive(Clone)]
pub struct Site(Rc<RefCell<ByHand>>);

impl Site {
    pub fn new(shards: u8) -> Self {
        Self::with(shards, &[])
    }

    /// With settings as on the command line.
    pub fn with(shards: u8, settings: &[&str]) -> Self {
        Self::start(config(shards, settings))
    }

    pub fn start(config: Config) -> Self {
        Self(Rc::new(RefCell::new(ByHand::start(config, None).unwrap())))
    }

    /// Ends it in order and starts the next one so many milliseconds later, which goes on with what was left in a file.
    /// Clients that are still there are told.
    pub fn restart(self, config: Config, away_ms: u64) -> Self {
        self.0.borrow_mut().drain(0);
        self.run();
        let mut node = self.0.borrow_mut();
        let mut state = (0..1000).find_map(|_| {
            let state = node.state();
            if state.is_none() {
                node.advance(10);
                node.turn();
            }
            state
        });
        let mut state = state.take().expect("the node ends");
        state.saved_at_ms -= away_ms;
        let folder =
            std::env::temp_dir().join(format!("trunkline-{}-{:p}", std::process::id(), self.0.as_ptr()));
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("state");
        let (place, found) = Place::open(&path, state.topology).unwrap();
        assert!(found.is_none());
        place.save(&state).unwrap();
        drop(place);
        let (place, found) = Place::open(&path, state.topology).unwrap();
        let (state, taken) = found.expect("what was saved is sound");
        taken.used();
        drop((place, node));
        std::fs::remove_dir_all(&folder).unwrap();
        Self(Rc::new(RefCell::new(ByHand::start(config, Some(state)).unwrap())))
    }

    /// Turns the shards until nothing moves any more.
    pub fn run(&self) {
        let mut node = self.0.borrow_mut();
        // Mail between shards is taken in the turn after the one that sent it.
        let mut still = 0;
        for _ in 0..TURNS_MAX {
            still = if node.turn() { 0 } else { still + 1 };
            if still > 1 {
                return;
            }
        }
        panic!("it never comes to rest: {:?}", node.stats());
    }

    pub fn turn(&self) {
        self.0.borrow_mut().turn();
    }

    /// Lets time pass, with everything that becomes due, one after the other.
    pub fn pass(&self, ms: u64) {
        let until = self.0.borrow().now().0 + ms;
        loop {
            let (now, next) = {
                let node = self.0.borrow();
                (node.now().0, node.next_deadline().map_or(until, |at| at.0.min(until)))
            };
            self.0.borrow_mut().advance(next.saturating_sub(now).max(u64::from(now < until)));
            self.run();
            if self.0.borrow().now().0 >= until {
                return;
            }
        }
    }

    pub fn now(&self) -> u64 {
        self.0.borrow().now().0
    }

    pub fn stats(&self) -> Stats {
        self.0.borrow().stats()
    }

    pub fn upcalls(&self) -> Vec<Upcall> {
        self.0.borrow_mut().upcalls()
    }

    /// Sessions on all shards.
    pub fn sessions(&self) -> usize {
        self.0.borrow().hubs().map(hub::Hub::len).sum()
    }

    /// Whether nothing at all is left in any hub.
    pub fn is_idle(&self) -> bool {
        self.0.borrow().hubs().all(|hub| hub.is_idle() && hub.capacity() == 0)
    }

    pub fn drain(&self, window_ms: u64) {
        self.0.borrow_mut().drain(window_ms);
        self.run();
    }

    /// To the hub of a channel's home, or of any shard for other commands.
    pub fn command(&self, shard: u8, command: Command) {
        assert!(self.0.borrow_mut().send(ShardId(shard), Mail::Hub(command)));
        self.run();
    }

    pub fn mail(&self, shard: u8, mail: Mail) {
        assert!(self.0.borrow_mut().send(ShardId(shard), mail));
        self.run();
    }

    /// A name that begins so, of a client whose session lives on this shard.
    pub fn client_at(&self, shard: u8, begin: &str) -> String {
        let topology = self.0.borrow().topology();
        let mut names = (0..).map(|n| format!("{begin}{n}"));
        names.find(|name| claim_home(name, &topology) == ShardId(shard)).unwrap()
    }

    /// A topic that begins so, whose home is this shard.
    pub fn topic_at(&self, shard: u8, begin: &str) -> String {
        let topology = self.0.borrow().topology();
        let home = |name: &String| ChannelName::parse(name, 2048).unwrap().home(&topology);
        (0..).map(|n| format!("{begin}{n}")).find(|name| home(name) == ShardId(shard)).unwrap()
    }

    pub fn home_of_topic(&self, name: &str) -> u8 {
        ChannelName::parse(name, 2048).unwrap().home(&self.0.borrow().topology()).0
    }

    /// A connection to this shard that has said nothing.
    pub fn open(&self, shard: u8) -> Client {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        // The shard reads, writes and polls; what kind of socket it is makes no difference to it.
        self.0.borrow_mut().take(ShardId(shard), TcpStream::from(OwnedFd::from(theirs)));
        Client {
            site: self.clone(),
            stream: Some(ours),
            buffer: Vec::new(),
            version: Version::V5,
            frames: None,
            has_ended: false,
            received: 0,
            texts: Vec::new(),
            noted: Vec::new(),
        }
    }

    /// A client of version 5 on the first shard, connected.
    pub fn v5(&self, id: &str) -> Client {
        let mut client = self.open(0);
        assert_eq!(client.connect(&Opening::v5(id)), "CONNACK new 00");
        client
    }

    /// A client of version 3.1.1 on the first shard, connected with a clean session.
    pub fn v3(&self, id: &str) -> Client {
        let mut client = self.open(0);
        assert_eq!(client.connect(&Opening::v3(id)), "CONNACK new 00");
        client
    }

    /// A session of version 5 that stays for an hour: a new one or the same again.
    pub fn lasting(&self, id: &str) -> Client {
        let mut client = self.open(0);
        assert!(client.connect(&Opening::v5(id).lasting(3600)).ends_with(" 00"));
        client
    }

    /// A request to open a WebSocket, and its answer.
    pub fn upgrade(
        &self,
        shard: u8,
        target: &str,
        headers: &[(&str, &str)],
    ) -> (Client, u16, Option<String>) {
        let mut client = self.open(shard);
        let key = client_key([7; 16]);
        let mut out = Vec::new();
        write_upgrade_request(&mut out, &UpgradeRequest { target, host: "localhost", key: &key, headers });
        client.send(&out);
        client.fill();
        let head = parse_response_head(&client.buffer, &HeadLimits::default()).unwrap().expect("an answer");
        let offered = head.fields.iter().find(|f| f.name.eq_ignore_ascii_case("sec-websocket-protocol"));
        let (status, length) = (head.status, head.len);
        let protocol = offered.map(|field| String::from_utf8(field.value.to_vec()).unwrap());
        client.buffer.drain(..length);
        if status == 101 {
            let raw = std::mem::take(&mut client.buffer);
            client.frames = Some(Frames { decoder: Decoder::new(Role::Client, 1 << 26), raw });
            client.unframe();
        }
        (client, status, protocol)
    }

    /// A connection inside a WebSocket that has said nothing.
    pub fn websocket(&self, shard: u8) -> Client {
        let (client, status, protocol) = self.upgrade(shard, "/mqtt", &[("sec-websocket-protocol", "mqtt")]);
        assert_eq!((status, protocol.as_deref()), (101, Some("mqtt")));
        client
    }

    /// A client of Socket.IO in the namespace `/`, and the name of its session.
    pub fn socketio(&self, shard: u8) -> (Client, SessionId) {
        let (mut client, status, _) = self.upgrade(shard, "/socket.io/?EIO=4&transport=websocket", &[]);
        assert_eq!(status, 101);
        client.text("40");
        let texts = client.texts();
        let packet = texts.last().unwrap();
        assert!(packet.starts_with("40{"), "{texts:?}");
        let id = packet.split("\"sid\":\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap();
        (client, id)
    }

    /// Puts a session into a channel.
    pub fn join(&self, session: SessionId, channel: &str) {
        let shard = self.0.borrow().topology().owner(session.partition());
        let of = hub::Members::Session(session);
        self.command(shard.0, Command::Subscribe { of, filter: channel.to_owned(), token: Token(77) });
    }
}

/// A configuration from a file's text, with so many shards.
pub fn config_of(shards: u16, text: &str) -> Config {
    let sources = Sources {
        presets: vec![("auth.mode", "anonymous".into()), ("server.shards", shards.to_string())],
        file: Some(SourceFile { name: "trunkline.toml".into(), text: text.into() }),
        ..Sources::default()
    };
    Config::load(&sources, Machine { cores: 1, open_files_max: 1_000_000 }).unwrap().config
}

/// A configuration with so many shards, and settings as on the command line.
pub fn config(shards: u8, settings: &[&str]) -> Config {
    let shards = format!("server.shards={shards}");
    let mut all = vec![shards.as_str(), "auth.mode=anonymous", "limits.handshakes_per_address_per_second=0"];
    all.extend(settings);
    Config::embedded_with(&all).unwrap()
}

/// One connection.
pub struct Client {
    pub site: Site,
    stream: Option<UnixStream>,
    /// Packets, or parts of them.
    buffer: Vec<u8>,
    pub version: Version,
    frames: Option<Frames>,
    has_ended: bool,
    /// Bytes so far.
    received: usize,
    texts: Vec<String>,
    /// Whatever a test wants to remember of it.
    pub noted: Vec<String>,
}

struct Frames {
    decoder: Decoder,
    raw: Vec<u8>,
}

impl Client {
    /// Sends bytes and lets them have their effect. Bytes for a server that has closed are lost, as in life.
    pub fn send(&mut self, bytes: &[u8]) {
        self.write(bytes);
        self.site.run();
    }

    /// Sends bytes without letting anything happen, unless the socket is full.
    pub fn write(&mut self, bytes: &[u8]) {
        let framed = self.frames.is_some().then(|| {
            let mut out = Vec::new();
            masked_frame(Opcode::Binary, bytes, [1, 2, 3, 4], &mut out);
            out
        });
        self.write_raw(framed.as_deref().unwrap_or(bytes));
    }

    /// Sends bytes as they are, also inside a WebSocket.
    pub fn write_raw(&mut self, mut bytes: &[u8]) {
        let Some(stream) = &mut self.stream else { panic!("the connection was cut") };
        let mut stuck = 0;
        while !bytes.is_empty() {
            match stream.write(bytes) {
                Ok(written) => (bytes, stuck) = (&bytes[written..], 0),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.site.turn();
                    stuck += 1;
                    assert!(stuck < TURNS_MAX, "the server does not read");
                }
                Err(_) => return,
            }
        }
    }

    /// Sends a frame of its own.
    pub fn frame(&mut self, opcode: Opcode, data: &[u8]) {
        let mut out = Vec::new();
        masked_frame(opcode, data, [1, 2, 3, 4], &mut out);
        self.write_raw(&out);
        self.site.run();
    }

    pub fn text(&mut self, text: &str) {
        self.frame(Opcode::Text, text.as_bytes());
    }

    /// The text frames that have come; binary ones are the packets of MQTT, or [`Client::binary`].
    pub fn texts(&mut self) -> Vec<String> {
        self.fill();
        std::mem::take(&mut self.texts)
    }

    /// The content of the binary frames that have come.
    pub fn binary(&mut self) -> Vec<u8> {
        self.fill();
        std::mem::take(&mut self.buffer)
    }

    /// Whether the server has closed.
    pub fn has_ended(&mut self) -> bool {
        self.fill();
        self.has_ended
    }

    pub fn say(&mut self, packet: &ClientPacket<'_>) {
        let mut out = Vec::new();
        Encoder::new(self.version).client_packet(packet, &mut out).unwrap();
        self.send(&out);
    }

    /// CONNECT, and the answer.
    pub fn connect(&mut self, opening: &Opening<'_>) -> String {
        self.version = opening.level.version();
        self.send(&opening.bytes());
        self.next()
    }

    pub fn publish(&mut self, post: &Post<'_>) {
        let bytes = post.bytes(self.version);
        self.send(&bytes);
    }

    /// SUBSCRIBE to filters with the options of version 5 in a byte, and the answer, which must come first.
    pub fn subscribe(&mut self, id: u16, filters: &[(&str, u8)]) -> String {
        self.send_subscribe(id, filters, None);
        self.next()
    }

    pub fn send_subscribe(&mut self, id: u16, filters: &[(&str, u8)], label: Option<u32>) {
        let bytes = subscribe(self.version, id, filters, label);
        self.send(&bytes);
    }

    pub fn unsubscribe(&mut self, id: u16, filters: &[&str]) -> String {
        let unsubscribe = Unsubscribe {
            packet_id: PacketId::new(id).unwrap(),
            properties: Properties::NONE,
            filters: Filters::new(filters),
        };
        self.say(&ClientPacket::Unsubscribe(unsubscribe));
        self.next()
    }

    pub fn puback(&mut self, id: u16) {
        self.say(&ClientPacket::PubAck(ack(id)));
    }

    pub fn pubrec(&mut self, id: u16) {
        self.say(&ClientPacket::PubRec(ack(id)));
    }

    pub fn pubrel(&mut self, id: u16) {
        self.say(&ClientPacket::PubRel(ack(id)));
    }

    pub fn pubcomp(&mut self, id: u16) {
        self.say(&ClientPacket::PubComp(ack(id)));
    }

    pub fn disconnect(&mut self, code: u8, expiry: Option<u32>) {
        let expiry: Vec<_> =
            expiry.map(|at| (Property::SessionExpiryInterval, Value::U32(at))).into_iter().collect();
        let properties = properties(&expiry);
        let reason = ReasonCode::from_byte(code).unwrap();
        self.say(&ClientPacket::Disconnect(Disconnect { reason, properties: properties.as_properties() }));
    }

    /// Whether the server answers.
    pub fn is_alive(&mut self) -> bool {
        self.say(&ClientPacket::PingReq);
        self.try_next().as_deref() == Some("PINGRESP")
    }

    /// The connection fails: nothing is said.
    pub fn cut(&mut self) {
        self.stream = None;
        self.site.run();
    }

    /// Takes what the socket has, once.
    pub fn fill(&mut self) {
        let mut more = vec![0; 64 << 10];
        while let Some(stream) = &mut self.stream {
            match stream.read(&mut more) {
                Ok(0) => {
                    self.has_ended = true;
                    break;
                }
                Ok(read) => {
                    self.received += read;
                    match &mut self.frames {
                        Some(frames) => frames.raw.extend_from_slice(&more[..read]),
                        None => self.buffer.extend_from_slice(&more[..read]),
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.has_ended = true;
                    break;
                }
            }
        }
        self.unframe();
    }

    fn unframe(&mut self) {
        let Some(frames) = &mut self.frames else { return };
        loop {
            let consumed = match frames.decoder.decode(&mut frames.raw).unwrap() {
                Decoded::NeedMore { consumed: 0, .. } => return,
                Decoded::NeedMore { consumed, .. } => consumed,
                Decoded::Event { event, consumed } => {
                    match event {
                        Event::Binary(data) => self.buffer.extend_from_slice(&data),
                        Event::Close { .. } => self.has_ended = true,
                        Event::Ping(_) | Event::Pong(_) => {}
                        Event::Text(text) => self.texts.push(text.into_owned()),
                    }
                    consumed
                }
            };
            frames.raw.drain(..consumed);
        }
    }

    /// The bytes of the next packet; `None` when none has come.
    pub fn next_bytes(&mut self) -> Option<Vec<u8>> {
        while frame(&self.buffer, u32::MAX).unwrap().is_none() {
            let before = self.received;
            self.fill();
            // What made room may let more come.
            self.site.run();
            self.fill();
            if self.received == before {
                return None;
            }
        }
        let packet_bytes = frame(&self.buffer, u32::MAX).unwrap()?.packet_bytes;
        Some(self.buffer.drain(..packet_bytes).collect())
    }

    /// What the server says next, as text; `END` when it has closed; `None` when nothing has come.
    pub fn try_next(&mut self) -> Option<String> {
        if let Some(bytes) = self.next_bytes() {
            return Some(shown(self.version, &bytes));
        }
        assert!(self.buffer.is_empty(), "a part of a packet: {:x?}", self.buffer);
        self.has_ended.then(|| "END".into())
    }

    pub fn next(&mut self) -> String {
        self.try_next().expect("the server says something")
    }

    /// The next packet, and its reason string.
    pub fn next_told(&mut self) -> (String, Option<String>) {
        let bytes = self.next_bytes().expect("the server says something");
        let found = frame(&bytes, u32::MAX).unwrap().expect("a whole packet");
        let properties = match decode_server(self.version, &found).unwrap() {
            ServerPacket::ConnAck(connack) => connack.properties,
            ServerPacket::PubAck(ack) | ServerPacket::PubRec(ack) => ack.properties,
            ServerPacket::SubAck(suback) => suback.properties,
            ServerPacket::Disconnect(disconnect) => disconnect.properties,
            other => panic!("{other:?}"),
        };
        (shown(self.version, &bytes), properties.reason_string().map(str::to_owned))
    }

    /// All that has come.
    pub fn all(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(bytes) = self.next_bytes() {
            all.push(shown(self.version, &bytes));
        }
        assert!(self.buffer.is_empty(), "a part of a packet: {:x?}", self.buffer);
        if self.has_ended {
            all.push("END".into());
        }
        all
    }

    /// All that has come, without letting anything more happen.
    pub fn all_now(&mut self) -> Vec<String> {
        self.fill();
        let mut all = Vec::new();
        while let Some(found) = frame(&self.buffer, u32::MAX).unwrap() {
            let packet_bytes = found.packet_bytes;
            let bytes: Vec<u8> = self.buffer.drain(..packet_bytes).collect();
            all.push(shown(self.version, &bytes));
        }
        all
    }

    #[track_caller]
    pub fn expect(&mut self, expected: &[&str]) {
        assert_eq!(self.all(), expected);
    }
}

fn ack(id: u16) -> Ack<'static> {
    Ack::new(PacketId::new(id).unwrap(), ReasonCode::Success)
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP of version 5 with a code.
pub fn ack_with(first: u8, id: u16, code: u8) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    vec![first, 3, high, low, code]
}

pub fn properties(list: &[(Property, Value<'_>)]) -> PropertyBuf {
    let mut properties = PropertyBuf::new();
    list.iter().for_each(|(property, value)| properties.push(*property, *value).unwrap());
    properties
}

/// The bytes of SUBSCRIBE.
pub fn subscribe(version: Version, id: u16, filters: &[(&str, u8)], label: Option<u32>) -> Vec<u8> {
    let own = label.map(|label| (Property::SubscriptionIdentifier, Value::Varint(label)));
    let properties = properties(own.as_slice());
    let list: Vec<_> = filters.iter().map(|(filter, options)| (*filter, options_of(*options))).collect();
    let packet = ClientPacket::Subscribe(Subscribe {
        packet_id: PacketId::new(id).unwrap(),
        properties: properties.as_properties(),
        subscriptions: Subscriptions::new(&list),
    });
    let mut out = Vec::new();
    Encoder::new(version).client_packet(&packet, &mut out).unwrap();
    out
}

fn options_of(byte: u8) -> SubscribeOptions {
    SubscribeOptions {
        qos: Qos::from_bits(byte & 3).unwrap(),
        no_local: byte & 4 != 0,
        retain_as_published: byte & 8 != 0,
        retain_handling: match byte >> 4 {
            0 => RetainHandling::Send,
            1 => RetainHandling::SendIfNew,
            _ => RetainHandling::DoNotSend,
        },
    }
}

/// CONNECT.
#[derive(Clone)]
pub struct Opening<'a> {
    pub level: Level,
    pub id: &'a str,
    pub clean: bool,
    pub keep_alive: u16,
    pub properties: Vec<(Property, Value<'a>)>,
    pub will: Option<Post<'a>>,
    pub user: Option<&'a str>,
    pub password: Option<&'a [u8]>,
    pub is_bridge: bool,
}

impl<'a> Opening<'a> {
    /// With Clean Start, and a session that ends with the connection.
    pub fn v5(id: &'a str) -> Self {
        Self {
            level: Level::V5,
            id,
            clean: true,
            keep_alive: 0,
            properties: Vec::new(),
            will: None,
            user: None,
            password: None,
            is_bridge: false,
        }
    }

    /// With a clean session.
    pub fn v3(id: &'a str) -> Self {
        Self { level: Level::V311, ..Self::v5(id) }
    }

    /// Not a clean start; in version 5 with this session expiry.
    pub fn lasting(self, seconds: u32) -> Self {
        let unclean = Self { clean: false, ..self };
        match unclean.level {
            Level::V5 => unclean.with(Property::SessionExpiryInterval, Value::U32(seconds)),
            Level::V31 | Level::V311 => unclean,
        }
    }

    pub fn with(mut self, property: Property, value: Value<'a>) -> Self {
        self.properties.push((property, value));
        self
    }

    pub fn receive_maximum(self, most: u16) -> Self {
        self.with(Property::ReceiveMaximum, Value::U16(most))
    }

    pub fn will(self, will: Post<'a>) -> Self {
        Self { will: Some(will), ..self }
    }

    pub fn keep_alive(self, seconds: u16) -> Self {
        Self { keep_alive: seconds, ..self }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let own = properties(&self.properties);
        let of_will = self.will.as_ref().map(|will| properties(&will.properties)).unwrap_or_default();
        let will = self.will.as_ref().map(|will| Will {
            topic: will.topic,
            payload: will.payload,
            qos: Qos::from_bits(will.qos).unwrap(),
            retain: will.retain,
            properties: of_will.as_properties(),
        });
        let connect = Connect {
            level: self.level,
            is_bridge: self.is_bridge,
            clean_start: self.clean,
            keep_alive_seconds: self.keep_alive,
            client_id: self.id,
            will,
            user_name: self.user,
            password: self.password,
            properties: own.as_properties(),
        };
        let mut out = Vec::new();
        Encoder::new(self.level.version()).connect(&connect, &mut out).unwrap();
        out
    }
}

/// PUBLISH, or a will.
#[derive(Clone, Default)]
pub struct Post<'a> {
    pub topic: &'a str,
    pub payload: &'a [u8],
    pub qos: u8,
    pub id: u16,
    pub dup: bool,
    pub retain: bool,
    pub properties: Vec<(Property, Value<'a>)>,
}

impl<'a> Post<'a> {
    pub fn new(topic: &'a str, payload: &'a str) -> Self {
        Self { topic, payload: payload.as_bytes(), ..Self::default() }
    }

    pub fn q1(self, id: u16) -> Self {
        Self { qos: 1, id, ..self }
    }

    pub fn q2(self, id: u16) -> Self {
        Self { qos: 2, id, ..self }
    }

    pub fn dup(self) -> Self {
        Self { dup: true, ..self }
    }

    pub fn retain(self) -> Self {
        Self { retain: true, ..self }
    }

    pub fn with(mut self, property: Property, value: Value<'a>) -> Self {
        self.properties.push((property, value));
        self
    }

    /// Of a will: seconds to wait.
    pub fn delay(self, seconds: u32) -> Self {
        self.with(Property::WillDelayInterval, Value::U32(seconds))
    }

    pub fn expiry(self, seconds: u32) -> Self {
        self.with(Property::MessageExpiryInterval, Value::U32(seconds))
    }

    pub fn alias(self, alias: u16) -> Self {
        self.with(Property::TopicAlias, Value::U16(alias))
    }

    pub fn bytes(&self, version: Version) -> Vec<u8> {
        let properties = properties(&self.properties);
        let publish = Publish {
            dup: self.dup,
            qos: Qos::from_bits(self.qos).unwrap(),
            retain: self.retain,
            topic: self.topic,
            packet_id: PacketId::new(self.id),
            properties: properties.as_properties(),
            payload: self.payload,
        };
        let mut out = Vec::new();
        Encoder::new(version).publish(&publish, &mut out).unwrap();
        out
    }
}

/// A packet of the server in a line: `PUBLISH a/b "x" q1 #7 dup retain ids=[3] alias=1 expiry=5 user:k=v`, in which only
/// what there is is said; `PUBACK #7 00`, `SUBACK #1 [00 87]`, `CONNACK new 00`, `DISCONNECT 8E`.
pub fn shown(version: Version, bytes: &[u8]) -> String {
    let found = frame(bytes, u32::MAX).unwrap().expect("a whole packet");
    assert_eq!(found.packet_bytes, bytes.len());
    let ack = |name: &str, ack: Ack<'_>| format!("{name} #{} {:02X}", ack.packet_id, ack.reason.byte());
    match decode_server(version, &found).unwrap_or_else(|error| panic!("{error}: {bytes:x?}")) {
        ServerPacket::ConnAck(connack) => {
            let session = if connack.session_present { "present" } else { "new" };
            format!("CONNACK {session} {:02X}", connack.reason.byte())
        }
        ServerPacket::Publish(publish) => shown_publish(&publish),
        ServerPacket::PubAck(one) => ack("PUBACK", one),
        ServerPacket::PubRec(one) => ack("PUBREC", one),
        ServerPacket::PubRel(one) => ack("PUBREL", one),
        ServerPacket::PubComp(one) => ack("PUBCOMP", one),
        ServerPacket::SubAck(suback) => format!("SUBACK #{} [{}]", suback.packet_id, codes(suback.codes)),
        ServerPacket::UnsubAck(unsuback) => {
            format!("UNSUBACK #{} [{}]", unsuback.packet_id, codes(unsuback.codes))
        }
        ServerPacket::PingResp => "PINGRESP".into(),
        ServerPacket::Disconnect(disconnect) => format!("DISCONNECT {:02X}", disconnect.reason.byte()),
        ServerPacket::Auth(auth) => format!("AUTH {:02X}", auth.reason.byte()),
    }
}

fn codes(codes: ReasonCodes<'_>) -> String {
    codes.iter().map(|code| format!("{:02X}", code.byte())).collect::<Vec<_>>().join(" ")
}

fn shown_publish(publish: &Publish<'_>) -> String {
    let mut out = format!("PUBLISH {} \"{}\"", publish.topic, publish.payload.escape_ascii());
    if publish.payload.len() > 100 {
        out = format!("PUBLISH {} {} bytes", publish.topic, publish.payload.len());
    }
    if let Some(id) = publish.packet_id {
        write!(out, " q{} #{id}", publish.qos.bits()).unwrap();
    }
    for (said, word) in [(publish.dup, " dup"), (publish.retain, " retain")] {
        out.push_str(if said { word } else { "" });
    }
    let properties = &publish.properties;
    let mut ids: Vec<u32> = properties.subscription_identifiers().collect();
    ids.sort_unstable();
    if !ids.is_empty() {
        write!(out, " ids={ids:?}").unwrap();
    }
    let mut say = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            write!(out, " {name}={value}").unwrap();
        }
    };
    say("alias", properties.topic_alias().map(|alias| alias.to_string()));
    say("expiry", properties.message_expiry_interval_seconds().map(|seconds| seconds.to_string()));
    say("text", properties.is_payload_text().map(|text| text.to_string()));
    say("type", properties.content_type().map(str::to_owned));
    say("response", properties.response_topic().map(str::to_owned));
    say("correlation", properties.correlation_data().map(|data| data.escape_ascii().to_string()));
    for (name, value) in properties.user_properties() {
        write!(out, " user:{name}={value}").unwrap();
    }
    out
}
