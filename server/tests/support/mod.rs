//! A node of real shards with a scripted back end, for tests and examples.
//!
//! Start at [`Node::start`]. The back end is a closure that sees every upcall and answers through [`Office`].

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing
)]

pub mod client;
pub mod recovering;
pub mod stream;
pub mod token;
pub mod whole;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use bytes::Bytes;
use hub::{
    Body, ChannelName, Command, Hub, MessageId, Publish, Report, SessionId, ShardId, Target, Token, Topology,
};
use tokio::sync::mpsc;
use trunkline::auth::Grant;
use trunkline::auth::Shared;
use trunkline::config::Config;
use trunkline::front::{Front, PidKey};
use trunkline::mail::{Admission, Denial, Mail, Upcall, Upcalls};
use trunkline::shard::{HubPort, Seats, Sender, Shard, ShardSetup, Takes, Time, Unsent, inlet, listeners};
use wire::values::Values;

/// Running shards.
pub struct Node {
    pub address: SocketAddr,
    pub office: Office,
    pub reports: mpsc::UnboundedReceiver<Vec<(Token, Report)>>,
    joins: Vec<JoinHandle<()>>,
}

/// What a back end can say to shards.
#[derive(Clone)]
pub struct Office {
    senders: Arc<Vec<Sender>>,
    topology: Topology,
    next: Arc<AtomicU64>,
}

impl Node {
    /// Starts `config.server.shards` shards on a free port of 127.0.0.1, or on `config.server.public_listen`.
    pub fn start(config: Config, mut back_end: impl FnMut(&Office, Upcall) + Send + 'static) -> Self {
        let shards = u8::try_from(config.server.shards).unwrap();
        let topology = Topology { shards, partitions: 64 };
        let gate = Shared::new(&config).unwrap();
        let config = Arc::new(config);
        let sockets = listeners(config.server.public_listen, shards, Takes::Anything).unwrap();
        let address = sockets[0].socket.local_addr().unwrap();
        let (peers, inlets): (Vec<_>, Vec<_>) = (0..shards).map(|_| inlet(&config).unwrap()).unzip();
        let (uplink, mut upcalls) = mpsc::channel::<Upcalls>(1024);
        let (report, reports) = mpsc::unbounded_channel();
        let (zero, seats) = (Instant::now(), Arc::new(Seats::new(10_000)));
        let key = PidKey::generate();
        let mut joins = Vec::new();
        for (id, (listener, inlet)) in (0..).map(ShardId).zip(sockets.into_iter().zip(inlets)) {
            let setup = ShardSetup {
                id,
                topology,
                config: Arc::clone(&config),
                time: Time::Since(zero),
                listeners: vec![listener],
                inlet,
                peers: peers.clone(),
                seats: Arc::clone(&seats),
                uplink: uplink.clone(),
                journal: None,
                reports: report.clone(),
                packet_bytes_max: 2_000_000,
                tls: None,
            };
            let (config, key, gate) = (Arc::clone(&config), key.clone(), Arc::clone(&gate));
            let make = move || {
                let hub = Hub::new(hub_config(&config, id, topology));
                let port = HubPort::new(hub);
                (Front::new(config, (id, topology), key, &gate), port)
            };
            joins.push(Shard::spawn(setup, make).unwrap().join);
        }
        let office = Office { senders: Arc::new(peers), topology, next: Arc::new(AtomicU64::new(1)) };
        let ours = office.clone();
        std::thread::spawn(move || {
            while let Some(batch) = upcalls.blocking_recv() {
                batch.into_iter().for_each(|upcall| back_end(&ours, upcall));
            }
        });
        Self { address, office, reports, joins }
    }

    /// Stops all shards and waits for their threads.
    pub fn stop(self) {
        self.office.end();
        self.joins.into_iter().for_each(|join| join.join().unwrap());
    }
}

impl Office {
    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Tells all shards to end at once.
    pub fn end(&self) {
        self.senders.iter().for_each(|sender| sender.end_at(Instant::now()));
    }

    /// To one shard; waits while its mailbox is full. A shard that ends hears nothing more.
    pub fn send(&self, shard: ShardId, mail: Mail) {
        let mut mail = Box::new(mail);
        while let Err(Unsent::Full(back)) = self.senders[usize::from(shard.0)].try_send(*mail) {
            mail = back;
            std::thread::yield_now();
        }
    }

    pub fn to_session(&self, session: SessionId, mail: Mail) {
        self.send(self.topology.owner(session.partition()), mail);
    }

    pub fn to_all(&self, mut mail: impl FnMut() -> Mail) {
        (0..self.topology.shards).for_each(|shard| self.send(ShardId(shard), mail()));
    }

    pub fn admit(&self, session: SessionId, subscriptions: &[&str]) {
        let subscriptions = subscriptions.iter().map(|&name| name.to_owned()).collect();
        let grant = Grant { subscriptions, ..Grant::default() };
        let admission = Box::new(Admission { grant, ..Admission::default() });
        self.to_session(session, Mail::Admit { session, admission });
    }

    pub fn refuse(&self, session: SessionId, message: &str, data: Option<&'static str>) {
        let data = data.map(Bytes::from_static_str);
        self.to_session(
            session,
            Mail::Refuse { session, denial: Denial::Forbidden, message: message.into(), data },
        );
    }

    /// An event to one session.
    pub fn emit(&self, session: SessionId, event: &str, args: &Values) {
        self.publish(Target::Session(session), event, args);
    }

    /// An event to a channel.
    pub fn broadcast(&self, channel: &str, event: &str, args: &Values) {
        self.publish(Target::Channel(ChannelName::parse(channel, 2048).unwrap()), event, args);
    }

    pub fn publish(&self, target: Target, event: &str, args: &Values) -> Token {
        let token = Token(self.number());
        let publish = Publish { token: Some(token), ..message(self.number(), target.clone(), event, args) };
        self.publish_as(&target, publish);
        token
    }

    pub fn publish_as(&self, target: &Target, publish: Publish) {
        let home = match target {
            Target::Channel(channel) => channel.home(&self.topology),
            Target::Session(session) => self.topology.owner(session.partition()),
            Target::Union(_) => ShardId(0),
        };
        self.send(home, Mail::Hub(Command::Publish(Box::new(publish))));
    }

    /// The answer to a client's event.
    pub fn answer(&self, session: SessionId, request: u64, values: &Values) {
        let command = Command::Answer { session, request, body: body(values) };
        self.to_session(session, Mail::Hub(command));
    }
}

/// A message that asks for nothing.
pub fn message(id: u64, target: Target, event: &str, args: &Values) -> Publish {
    Publish {
        id: MessageId(u128::from(id)),
        target,
        event: Some(event.into()),
        body: body(args),
        volatile: false,
        except: None,
        reply_within_ms: None,
        token: None,
        traits: hub::Traits::default(),
        receipt: None,
    }
}

pub fn body(values: &Values) -> Body {
    let (json, attachments) = values.clone().into_parts();
    Body::Values { json, attachments }
}

/// Arguments from JSON text of an array.
pub fn args(json: &str) -> Values {
    Values::parse(json, Vec::new(), &wire::values::Bounds::default()).unwrap()
}

trait FromStaticStr {
    fn from_static_str(text: &'static str) -> Self;
}

impl FromStaticStr for Bytes {
    fn from_static_str(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes())
    }
}

pub fn hub_config(config: &Config, shard: ShardId, topology: Topology) -> hub::Config {
    let limits = &config.limits;
    let recovery = hub::RecoveryLimits {
        messages_max: config.recovery.messages_max,
        bytes_max: config.recovery.bytes_max,
        window_ms: config.recovery.window_ms,
    };
    hub::Config {
        shard,
        topology,
        epoch: 0x1234_5678,
        limits: hub::Limits {
            sessions_max: limits.sessions_max,
            channels_max: limits.channels_max,
            subscriptions_per_session_max: limits.channels_per_session_max,
            channel_name_bytes_max: limits.channel_name_bytes_max,
            outbox_messages_max: limits.outbox_messages_max,
            outbox_bytes_max: limits.outbox_bytes_max,
            asks_per_session_max: limits.pending_acks_out_max,
            asks_max: limits.asks_max,
            history_bytes_max: limits.history_bytes_max,
            retained_max: 1000,
            retained_bytes_max: 100_000,
            delayed_max: 1000,
            delayed_bytes_max: 100_000,
            recovery,
        },
        rules: Vec::new(),
    }
}
