//! The handler of the tests, the shards it runs on, and a blocking client. Nothing sleeps: clients block on sockets,
//! tests on the channel of what the handler saw.

use crate::config::Config;
use crate::front::Migration;
use crate::mail::{Handshake, Hello, Known, Mail, PeerMail, Upcall, Upcalls};
use crate::shard::{
    Closed, ConnKey, Cx, Handler, HubPort, Owner, Request, Response, Seats, Sender, Shard, ShardHandle,
    ShardSetup, Stats, Takes, Time, inlet, listeners,
};
use crate::state::End;
use bytes::Bytes;
use hub::{Hub, HubMail, Limits, Millis, RecoveryLimits, SessionId, ShardId, Topology};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use wire::http::{BodyForm, Head};
use wire::websocket::{Event, accept, text_frame};

/// Longer than anything takes; only a failing test waits for it.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// What the handler was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Request(u8, String),
    Held(ConnKey, Owner),
    Upgraded(ConnKey, Owner),
    Closed(Owner, Closed),
    Blocked(Owner),
    Writable(Owner),
    /// Due, now.
    Timer(Owner, u64, u64),
    Adopted(u8, ConnKey),
    Text(u8, String),
    /// A stream spoke without an owner, and with how many bytes.
    Offered(ConnKey, usize),
    Owned(u8, ConnKey, Owner),
    /// Mail of another shard's hub, by its number.
    Peer(u8, u64),
    Draining(u8),
    Ended(u8, End),
}

/// The largest packet of a stream; [`packet`] makes one.
pub(super) const PACKET_BYTES_MAX: usize = 200_000;

/// The first byte of a stream's first packet.
pub(super) const HELLO: u8 = 0x10;

/// Mail of a hub with this number and more is passed on as a 1 to the shard that the rest names.
pub(super) const PASS_ON: u64 = 100;

type Order = Box<dyn FnOnce(&mut Double, &mut Cx<'_>) + Send>;

/// Echoes, holds, upgrades. The first segment of a path says what to do, `/on/N/..` on which shard.
pub(super) struct Double {
    shard: ShardId,
    seen: std::sync::mpsc::Sender<Seen>,
    orders: Receiver<Order>,
    next_owner: u32,
    pub(super) conns: HashMap<Owner, ConnKey>,
    pub(super) armed: HashMap<Owner, Millis>,
    /// Every text message becomes an upcall.
    pub(super) upcalls: bool,
    /// Calls of [`Handler::stream`].
    pub(super) offers: u64,
}

impl Double {
    pub(super) fn see(&self, seen: Seen) {
        self.seen.send(seen).ok();
    }

    /// Does what a packet of a stream says; `false` when it is to be kept.
    fn packet(&mut self, cx: &mut Cx<'_>, conn: ConnKey, text: &str) -> bool {
        let mut words = text.split(' ');
        let what = words.next().unwrap_or_default();
        let mut number = || words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        match what {
            "own" => {
                let owner = self.own(conn);
                cx.io.own(conn, owner);
                self.see(Seen::Owned(self.shard.0, conn, owner));
            }
            "on" => {
                let to = ShardId(number() as u8);
                if to != self.shard {
                    cx.io.hand_over_stream(conn, to);
                    return false;
                }
                self.packet(cx, conn, "own");
            }
            "move" => {
                self.say(cx, conn, "staged before the move");
                cx.io.hand_over_stream(conn, ShardId(number() as u8));
            }
            "flood" => {
                let (count, bytes) = (number(), number());
                let text = "x".repeat(bytes);
                (0..count).for_each(|_| self.say(cx, conn, &text));
            }
            "pause" => cx.io.pause_reading(conn),
            "who" => self.say(cx, conn, &cx.io.peer_addr(conn).expect("it is there").to_string()),
            "bye" => {
                self.say(cx, conn, "goodbye");
                cx.io.close_after_flush(conn);
            }
            "close" => cx.io.close(conn),
            _ => {
                self.see(Seen::Text(self.shard.0, text.to_owned()));
                self.say(cx, conn, text);
            }
        }
        true
    }

    /// Sends a packet.
    pub(super) fn say(&self, cx: &mut Cx<'_>, conn: ConnKey, text: &str) {
        let bytes = packet(0x30, text);
        if cx.io.is_websocket(conn) {
            cx.io.stage(conn, &wire::websocket::binary_frame(&[&bytes]));
        } else {
            cx.io.stage(conn, &bytes.into());
        }
    }

    fn own(&mut self, conn: ConnKey) -> Owner {
        let owner = Owner(self.next_owner);
        self.next_owner += 1;
        self.conns.insert(owner, conn);
        owner
    }
}

pub(in crate::shard) fn upcall(text: &str) -> Upcall {
    let handshake = Arc::new(Handshake::default());
    let hello = Hello::SocketIo { namespace: text.into(), auth: None };
    Upcall::Connect { session: SessionId([0; 15]), hello, known: Known::default(), handshake }
}

/// A packet of the streams of the tests: its kind, the length of its text in four bytes, its text.
pub(super) fn packet(kind: u8, text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap();
    [&[kind], &length.to_be_bytes()[..], text.as_bytes()].concat()
}

/// The text of the packet at the front, and the bytes it takes.
fn first_packet(bytes: &[u8]) -> Option<(String, usize)> {
    let length = u32::from_be_bytes(bytes.get(1..5)?.try_into().unwrap()) as usize;
    let text = bytes.get(5..5 + length)?;
    Some((String::from_utf8(text.to_vec()).unwrap(), 5 + length))
}

/// Any migration will do: the handler of the tests moves connections without sessions.
pub(super) fn luggage() -> Box<Migration> {
    Box::new(Migration::Packets { slot: 0, packets: Vec::new() })
}

/// Of `/on/3/get`: 3 and `get`.
fn place(path: &str) -> (Option<u8>, &str) {
    match path.strip_prefix("/on/").and_then(|rest| rest.split_once('/')) {
        Some((shard, what)) => (shard.parse().ok(), what),
        None => (None, path.trim_start_matches('/')),
    }
}

impl Handler for Double {
    fn route(&self, head: &Head<'_>) -> ShardId {
        place(head.path).0.map_or(self.shard, ShardId)
    }

    fn body_limit(&self, head: &Head<'_>) -> Result<usize, Box<Response>> {
        match place(head.path).1 {
            "nowhere" => Err(Box::new(Response::new(404))),
            _ => Ok(1 << 20),
        }
    }

    fn request(&mut self, cx: &mut Cx<'_>, conn: ConnKey, request: &Request<'_>) {
        self.see(Seen::Request(self.shard.0, request.head.path.to_owned()));
        match place(request.head.path).1 {
            "hold" => {
                let owner = self.own(conn);
                cx.io.hold(conn, owner);
                self.see(Seen::Held(conn, owner));
            }
            "answer" => {
                let owner = self.own(conn);
                let form = cx.io.begin_answer(conn, owner, &Response::new(200).header("x-first", "1"));
                if let Some(form) = form {
                    let piece = if form == BodyForm::Chunked { "3\r\none\r\n" } else { "one" };
                    cx.io.stage(conn, &Bytes::from_static(piece.as_bytes()));
                }
                self.see(Seen::Held(conn, owner));
            }
            "ws" => {
                let owner = self.own(conn);
                let mut answer = Vec::new();
                accept(&request.head).expect("the tests ask properly").respond(None, &mut answer);
                cx.io.upgrade_websocket(conn, owner, answer, 1 << 20);
                self.see(Seen::Upgraded(conn, owner));
            }
            "stream" => {
                let mut answer = Vec::new();
                accept(&request.head).expect("the tests ask properly").respond(Some("mqtt"), &mut answer);
                cx.io.upgrade_stream(conn, answer);
            }
            "echo" => cx.io.respond(conn, Response::new(200).body(request.body.to_vec())),
            "who" => {
                let peer = cx.io.peer_addr(conn).expect("it is there").to_string();
                cx.io.respond(conn, Response::new(200).body(peer));
            }
            "silence" => {}
            what => cx.io.respond(conn, Response::new(200).body(format!("{} on {}", what, self.shard.0))),
        }
    }

    fn message(&mut self, cx: &mut Cx<'_>, conn: ConnKey, _owner: Owner, event: Event<'_>) {
        let Event::Text(text) = event else {
            let Event::Binary(bytes) = event else { return };
            return cx.io.stage(conn, &wire::websocket::binary_frame(&[&bytes]));
        };
        if self.upcalls {
            cx.io.upcall(upcall(&text));
            return;
        }
        let mut words = text.split(' ');
        let mut number = |or: usize| words.next().and_then(|word| word.parse().ok()).unwrap_or(or);
        match text.split(' ').next().unwrap_or_default() {
            "flood" => {
                number(0);
                let (count, bytes) = (number(1), number(1));
                let frame = text_frame(&["x".repeat(bytes).as_bytes()]);
                (0..count).for_each(|_| cx.io.stage(conn, &frame));
            }
            "bye" => {
                cx.io.stage(conn, &text_frame(&[b"goodbye"]));
                cx.io.close_after_flush(conn);
            }
            "pause" => cx.io.pause_reading(conn),
            "move" => {
                number(0);
                let to = ShardId(number(0) as u8);
                cx.io.stage(conn, &text_frame(&[b"staged before the move"]));
                cx.io.migrate(conn, to, luggage());
            }
            _ => {
                self.see(Seen::Text(self.shard.0, text.to_string()));
                cx.io.stage(conn, &text_frame(&[text.as_bytes()]));
            }
        }
    }

    fn begins_stream(&self, first: u8) -> bool {
        first == HELLO
    }

    /// Uses whole packets, as long as it may read.
    fn stream(&mut self, cx: &mut Cx<'_>, conn: ConnKey, owner: Option<Owner>, bytes: &[u8]) -> usize {
        self.offers += 1;
        if owner.is_none() {
            self.see(Seen::Offered(conn, bytes.len()));
        }
        let mut used = 0;
        while let Some((text, length)) = first_packet(&bytes[used..]) {
            if !self.packet(cx, conn, &text) {
                break;
            }
            used += length;
            if !cx.io.is_streaming(conn) {
                break;
            }
        }
        used
    }

    fn closed(&mut self, _cx: &mut Cx<'_>, _conn: ConnKey, owner: Owner, why: Closed) {
        self.see(Seen::Closed(owner, why));
    }

    fn blocked(&mut self, cx: &mut Cx<'_>, conn: ConnKey, owner: Owner) {
        assert!(!cx.io.is_writable(conn));
        self.see(Seen::Blocked(owner));
    }

    fn writable(&mut self, cx: &mut Cx<'_>, conn: ConnKey, owner: Owner) {
        assert!(cx.io.is_writable(conn));
        self.see(Seen::Writable(owner));
    }

    fn timer(&mut self, cx: &mut Cx<'_>, owner: Owner) {
        let due = self.armed.get(&owner).map_or(0, |at| at.0);
        self.see(Seen::Timer(owner, due, cx.io.now().0));
    }

    fn mail(&mut self, cx: &mut Cx<'_>, _mail: Mail) {
        while let Ok(order) = self.orders.try_recv() {
            order(self, cx);
        }
    }

    fn peer(&mut self, cx: &mut Cx<'_>, _from: ShardId, mail: PeerMail) {
        if let PeerMail::Engine { connection: Some(connection), .. } = mail {
            let owner = Owner(self.next_owner);
            self.next_owner += 1;
            let conn = cx.io.adopt(connection, owner).expect("the client is there");
            self.conns.insert(owner, conn);
            self.see(Seen::Adopted(self.shard.0, conn));
            cx.io.stage(conn, &text_frame(&[b"moved"]));
        } else if let PeerMail::Hub(HubMail::InterestKnown { token }) = mail {
            self.see(Seen::Peer(self.shard.0, token));
            if let Some(to) = token.checked_sub(PASS_ON).and_then(|to| u8::try_from(to).ok()) {
                cx.io.post(ShardId(to), PeerMail::Hub(HubMail::InterestKnown { token: 1 }));
            }
        }
    }

    fn hub_deadline(&self, cx: &Cx<'_>) -> Option<Millis> {
        cx.hub.hub.next_deadline()
    }

    fn tick_hub(&mut self, _cx: &mut Cx<'_>) {}

    fn flush(&mut self, _cx: &mut Cx<'_>) {}

    fn drain(&mut self, _cx: &mut Cx<'_>, _window_ms: u64) {
        self.see(Seen::Draining(self.shard.0));
    }

    fn ended(&mut self, _cx: &mut Cx<'_>, end: End) {
        self.see(Seen::Ended(self.shard.0, end));
    }
}

fn hub_config(shard: ShardId, topology: Topology) -> hub::Config {
    let recovery = RecoveryLimits { messages_max: 1, bytes_max: 1, window_ms: 1 };
    let limits = Limits {
        sessions_max: 1,
        channels_max: 1,
        subscriptions_per_session_max: 1,
        channel_name_bytes_max: 64,
        outbox_messages_max: 1,
        outbox_bytes_max: 1,
        asks_per_session_max: 1,
        asks_max: 1,
        history_bytes_max: 1,
        recovery,
        retained_max: 1000,
        retained_bytes_max: 100_000,
        delayed_max: 1000,
        delayed_bytes_max: 100_000,
    };
    hub::Config { shard, topology, epoch: 1, limits, rules: Vec::new() }
}

/// How to start.
pub(super) struct Plan {
    pub(super) shards: u8,
    pub(super) config: Config,
    pub(super) tls: Option<crate::tls::TlsConfigs>,
    pub(super) uplink_batches: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self { shards: 1, config: Config::loopback(), tls: None, uplink_batches: 64 }
    }
}

/// Running shards.
pub(super) struct Rig {
    pub(super) address: SocketAddr,
    /// Only for streams.
    pub(super) stream_address: SocketAddr,
    /// The same under TLS.
    pub(super) secure_stream_address: SocketAddr,
    handles: Vec<ShardHandle>,
    orders: Vec<std::sync::mpsc::Sender<Order>>,
    pub(super) seen: Receiver<Seen>,
    pub(super) uplink: tokio::sync::mpsc::Receiver<Upcalls>,
    pub(super) seats: Arc<Seats>,
}

impl Rig {
    pub(super) fn one() -> Self {
        Self::start(Plan::default())
    }

    pub(super) fn start(plan: Plan) -> Self {
        let Plan { shards, config, tls, uplink_batches } = plan;
        let config = Arc::new(config);
        let topology = Topology { shards, partitions: 64 };
        let seats = Arc::new(Seats::new(config.limits.connections_max));
        let bind = |takes| {
            let bound = listeners(config.server.public_listen, shards, takes).unwrap();
            (bound[0].socket.local_addr().unwrap(), bound)
        };
        let (address, public) = bind(Takes::Anything);
        let (stream_address, streams) = bind(Takes::Streams);
        let (secure_stream_address, secure_streams) = bind(Takes::StreamsOverTls);
        let others = streams.into_iter().zip(secure_streams);
        let bound =
            public.into_iter().zip(others).map(|(public, (plain, secure))| vec![public, plain, secure]);
        let (peers, inlets): (Vec<Sender>, Vec<_>) = (0..shards).map(|_| inlet(&config).unwrap()).unzip();
        let (uplink, uplink_out) = tokio::sync::mpsc::channel(uplink_batches);
        let (reports, _) = tokio::sync::mpsc::unbounded_channel();
        let (seen_in, seen) = channel();
        let zero = Instant::now();
        let mut orders = Vec::new();
        let mut handles = Vec::new();
        for (id, (listeners, inlet)) in (0..shards).zip(bound.zip(inlets)) {
            let id = ShardId(id);
            let (order, orders_out) = channel();
            orders.push(order);
            let setup = ShardSetup {
                id,
                topology,
                config: config.clone(),
                time: Time::Since(zero),
                listeners,
                inlet,
                peers: peers.clone(),
                seats: seats.clone(),
                uplink: uplink.clone(),
                journal: None,
                reports: reports.clone(),
                packet_bytes_max: PACKET_BYTES_MAX,
                tls: tls.clone(),
            };
            let seen = seen_in.clone();
            let make = move || {
                let (conns, armed) = (HashMap::new(), HashMap::new());
                let double = Double {
                    shard: id,
                    seen,
                    orders: orders_out,
                    next_owner: 0,
                    conns,
                    armed,
                    upcalls: false,
                    offers: 0,
                };
                let port = HubPort::new(Hub::new(hub_config(id, topology)));
                (double, port)
            };
            handles.push(Shard::spawn(setup, make).unwrap());
        }
        Self {
            address,
            stream_address,
            secure_stream_address,
            handles,
            orders,
            seen,
            uplink: uplink_out,
            seats,
        }
    }

    pub(super) fn sender(&self, shard: usize) -> &Sender {
        &self.handles[shard].sender
    }

    /// Has a shard do something.
    pub(super) fn order(&self, shard: usize, order: impl FnOnce(&mut Double, &mut Cx<'_>) + Send + 'static) {
        self.orders[shard].send(Box::new(order)).unwrap();
        self.sender(shard).try_send(Mail::Disconnect { session: SessionId([0; 15]) }).unwrap();
    }

    pub(super) fn stats(&self, shard: usize) -> Stats {
        let (reply, stats) = tokio::sync::oneshot::channel();
        self.sender(shard).try_send(Mail::Stats { reply }).unwrap();
        stats.blocking_recv().unwrap()
    }

    /// Asks until the figures are as wanted; each answer takes a turn of the shard.
    pub(super) fn stats_when(&self, shard: usize, wanted: impl Fn(&Stats) -> bool) -> Stats {
        let begin = Instant::now();
        loop {
            let stats = self.stats(shard);
            if wanted(&stats) {
                return stats;
            }
            assert!(begin.elapsed() < PATIENCE, "still {stats:?}");
        }
    }

    pub(super) fn client(&self) -> Client<TcpStream> {
        Self::client_of(self.address)
    }

    pub(super) fn client_of(address: SocketAddr) -> Client<TcpStream> {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, buffer: Vec::new() }
    }

    /// The next thing the handler saw.
    pub(super) fn next(&self) -> Seen {
        self.seen.recv_timeout(PATIENCE).expect("the handler sees something")
    }

    /// The next thing it saw that `pick` takes; others are skipped.
    pub(super) fn wait<T>(&self, pick: impl Fn(Seen) -> Option<T>) -> T {
        std::iter::from_fn(|| Some(self.next())).find_map(pick).expect("it never ends")
    }

    /// Ends all shards and waits for their threads.
    pub(super) fn end(mut self) {
        self.finish();
    }

    fn finish(&mut self) {
        for handle in &self.handles {
            handle.sender.end_at(Instant::now());
        }
        for handle in self.handles.drain(..) {
            handle.join.join().expect("the shard did not panic");
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.finish();
        }
    }
}

/// A blocking client.
pub(super) struct Client<S> {
    pub(super) stream: S,
    buffer: Vec<u8>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl<S: Read + Write> Client<S> {
    pub(super) fn over(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    pub(super) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
        self.stream.flush().unwrap();
    }

    pub(super) fn get(&mut self, path: &str) {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n"));
    }

    /// Reads more; `false` at the end. A reset counts as one.
    fn more(&mut self) -> bool {
        let mut chunk = [0; 65536];
        match self.stream.read(&mut chunk) {
            Ok(0) => false,
            Ok(bytes) => {
                self.buffer.extend_from_slice(&chunk[..bytes]);
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("the client waited in vain: {error}"),
        }
    }

    fn take(&mut self, bytes: usize) -> Vec<u8> {
        while self.buffer.len() < bytes {
            assert!(self.more(), "the server ended early");
        }
        self.buffer.drain(..bytes).collect()
    }

    /// The head of an answer, with its empty line.
    pub(super) fn head(&mut self) -> String {
        loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                return String::from_utf8(self.take(at + 4)).unwrap();
            }
            assert!(self.more(), "the server ended early, after {:?}", String::from_utf8_lossy(&self.buffer));
        }
    }

    pub(super) fn answer(&mut self) -> Answer {
        let head = self.head();
        let status = head[9..12].parse().unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let body = self.take(length.map_or(0, |length| length.parse().unwrap()));
        Answer { status, head, body: String::from_utf8(body).unwrap() }
    }

    /// All that still comes.
    pub(super) fn until_end(&mut self) -> Vec<u8> {
        while self.more() {}
        std::mem::take(&mut self.buffer)
    }

    /// Whether nothing comes any more.
    pub(super) fn is_ended(&mut self) -> bool {
        self.buffer.is_empty() && !self.more()
    }

    pub(super) fn upgrade(&mut self, path: &str) {
        let fields = "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13";
        let key = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
        self.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n{fields}\r\n{key}\r\n\r\n"));
        assert!(self.head().starts_with("HTTP/1.1 101 "));
    }

    /// A masked frame: first byte as given, mask of zeros or not.
    pub(super) fn frame(&mut self, first: u8, payload: &[u8]) {
        self.send(masked(first, payload));
    }

    pub(super) fn text(&mut self, text: &str) {
        self.frame(0x81, text.as_bytes());
    }

    /// The next frame: first byte and payload.
    pub(super) fn receive(&mut self) -> (u8, Vec<u8>) {
        let head = self.take(2);
        let length = match head[1] {
            126 => u64::from(u16::from_be_bytes(self.take(2).try_into().unwrap())),
            127 => u64::from_be_bytes(self.take(8).try_into().unwrap()),
            short => u64::from(short),
        };
        (head[0], self.take(length as usize))
    }

    /// The text of the next packet of a bare stream.
    pub(super) fn receive_packet(&mut self) -> String {
        let head = self.take(5);
        assert_eq!(head[0], 0x30);
        let length = u32::from_be_bytes(head[1..].try_into().unwrap());
        String::from_utf8(self.take(length as usize)).unwrap()
    }

    pub(super) fn receive_text(&mut self) -> String {
        let (first, payload) = self.receive();
        assert_eq!(first, 0x81, "{:?}", String::from_utf8_lossy(&payload));
        String::from_utf8(payload).unwrap()
    }
}

pub(super) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut out = vec![first];
    match payload.len() {
        length @ 0..=125 => out.push(0x80 | length as u8),
        length @ 126..=65535 => {
            out.push(0x80 | 126);
            out.extend((length as u16).to_be_bytes());
        }
        length => {
            out.push(0x80 | 127);
            out.extend((length as u64).to_be_bytes());
        }
    }
    out.extend(mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    out
}
