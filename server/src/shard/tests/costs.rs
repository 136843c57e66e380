//! What a delivery costs a shard, counted: system calls and allocations of one turn, from the published message to the
//! bytes in the sockets of its subscribers.
//!
//! The shard has the product's front and is turned by the test's own thread, so that a turn is exactly one and its
//! allocations are counted where they happen.

use super::rig::{Client, PATIENCE};
use crate::config::{AuthMode, Config};
use crate::front::{Front, PidKey};
use crate::mail::Mail;
use crate::shard::setup::listen_in_poll;
use crate::shard::{HubPort, Seats, Sender, Shard, ShardSetup, Stats, Takes, Time, inlet, listeners};
use allocation_counter::AllocationInfo;
use bytes::Bytes;
use hub::{
    Body, ChannelName, Command, Hub, Limits, MessageId, Publish, RecoveryLimits, ShardId, Target, Topology,
};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

const SUBSCRIBERS: u64 = 200;
/// Messages of a busy turn.
const BATCH: u64 = 32;
const DATA: &str = "some data";
const PACKET: &str = r#"42["message","some data"]"#;

/// A shard that stands still between two calls of [`Still::turn`], and its subscribers.
struct Still {
    shard: Shard<Front>,
    sender: Sender,
    clients: Vec<Client<TcpStream>>,
}

/// What one turn did.
struct Turn {
    writes: u64,
    pieces: u64,
    memory: AllocationInfo,
}

impl Still {
    fn with_subscribers() -> Self {
        let mut config = Config::loopback();
        config.auth.mode = AuthMode::Anonymous;
        let gate = crate::auth::Shared::new(&config).unwrap();
        let config = Arc::new(config);
        let topology = Topology { shards: 1, partitions: 64 };
        let listeners = listeners(config.server.public_listen, 1, Takes::Anything).unwrap();
        let address = listeners[0].socket.local_addr().unwrap();
        let (sender, inlet) = inlet(&config).unwrap();
        let seats = Arc::new(Seats::new(config.limits.connections_max));
        // Nothing is said to the back office: anonymous clients are let in without asking it.
        let (uplink, _) = tokio::sync::mpsc::channel(1);
        let (reports, _) = tokio::sync::mpsc::unbounded_channel();
        let setup = ShardSetup {
            id: ShardId(0),
            topology,
            config: Arc::clone(&config),
            time: Time::Since(Instant::now()),
            listeners,
            inlet,
            peers: vec![sender.clone()],
            seats,
            uplink,
            journal: None,
            reports,
            packet_bytes_max: 2_000_000,
            tls: None,
        };
        let registry = listen_in_poll(&setup).unwrap();
        let hub = HubPort::new(Hub::new(hub_config(topology)));
        let mut shard = Shard::new(
            setup,
            registry,
            Front::new(config, (ShardId(0), topology), PidKey::generate(), &gate),
            hub,
        );
        let clients = connect(address, &sender, &mut shard);
        Self { shard, sender, clients }
    }

    fn publish(&self, messages: u64) {
        for n in 0..messages {
            let publish = Publish {
                id: MessageId(u128::from(n)),
                target: Target::Channel(ChannelName::parse("main", 64).unwrap()),
                event: None,
                body: Body::Raw(Bytes::from_static(DATA.as_bytes())),
                volatile: false,
                except: None,
                reply_within_ms: None,
                token: None,
                traits: hub::Traits::default(),
                receipt: None,
            };
            self.sender.try_send(Mail::Hub(Command::Publish(Box::new(publish)))).unwrap();
        }
    }

    /// The turn that takes these messages; every subscriber has them after it.
    fn turn(&mut self, messages: u64) -> Turn {
        self.publish(messages);
        let Stats { writes, pieces_out, .. } = self.shard.io.stats;
        let memory = allocation_counter::measure(|| assert!(self.shard.turn().is_continue()));
        for client in &mut self.clients {
            (0..messages).for_each(|_| assert_eq!(client.receive_text(), PACKET));
        }
        let stats = &self.shard.io.stats;
        Turn { writes: stats.writes - writes, pieces: stats.pieces_out - pieces_out, memory }
    }
}

/// Blocking clients on a thread of their own, while the shard is turned.
fn connect(address: SocketAddr, sender: &Sender, shard: &mut Shard<Front>) -> Vec<Client<TcpStream>> {
    std::thread::scope(|scope| {
        let connecting = scope.spawn(|| {
            let clients = (0..SUBSCRIBERS).map(|_| join(address)).collect::<Vec<_>>();
            // The shard may sleep by now.
            sender.try_send(Mail::TailClosed).unwrap();
            clients
        });
        let mails = shard.io.stats.mail_in;
        while shard.io.stats.mail_in == mails && !connecting.is_finished() {
            assert!(shard.turn().is_continue());
        }
        connecting.join().unwrap()
    })
}

fn join(address: SocketAddr) -> Client<TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut client = Client::over(stream);
    client.upgrade("/socket.io/?EIO=4&transport=websocket");
    assert!(client.receive_text().starts_with('0'));
    client.text("40");
    assert!(client.receive_text().starts_with("40"));
    client
}

fn hub_config(topology: Topology) -> hub::Config {
    let limits = Limits {
        sessions_max: 1000,
        channels_max: 1000,
        subscriptions_per_session_max: 10,
        channel_name_bytes_max: 64,
        outbox_messages_max: 100,
        outbox_bytes_max: 100_000,
        asks_per_session_max: 1,
        asks_max: 1,
        history_bytes_max: 0,
        recovery: RecoveryLimits { messages_max: 1, bytes_max: 1, window_ms: 1 },
        retained_max: 1000,
        retained_bytes_max: 100_000,
        delayed_max: 1000,
        delayed_bytes_max: 100_000,
    };
    hub::Config { shard: ShardId(0), topology, epoch: 1, limits, rules: Vec::new() }
}

#[test]
fn a_turn_writes_once_per_connection_however_many_messages_it_has() {
    let mut still = Still::with_subscribers();
    let one = still.turn(1);
    assert_eq!((one.writes, one.pieces), (SUBSCRIBERS, SUBSCRIBERS));
    let many = still.turn(BATCH);
    assert_eq!((many.writes, many.pieces), (SUBSCRIBERS, BATCH * SUBSCRIBERS));
}

#[test]
fn a_delivery_allocates_nothing_between_message_and_socket() {
    let mut still = Still::with_subscribers();
    // The lists of a turn grow to their size once.
    still.turn(BATCH);
    for messages in [1, BATCH] {
        let memory = still.turn(messages).memory;
        // Of the message itself and of its one encoding: the same for any number of subscribers.
        let allocations = memory.count_total / messages;
        assert!(allocations <= 24, "{allocations} allocations per message: {memory:?}");
        assert!(memory.bytes_current <= 0, "the turn kept memory: {memory:?}");
    }
}
