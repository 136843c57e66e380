//! Bringing shards up: listeners, mailboxes, threads.
//!
//! Must not know what a shard does with them. Start at [`Shard::spawn`]; before it, [`listeners`] and [`inlet`].

use super::accept::Spare;
use super::addresses::Handshakes;
use super::admission::{HalfOpen, Seats};
use super::connection::Connections;
use super::ending::Ending;
use super::entropy::Entropy;
use super::handler::{Handler, HubPort};
use super::io::Io;
use super::mailbox::{Inbox, Sender, mailbox};
use super::outbox::{Outbox, Receivers};
use super::staging::Staging;
use super::stats::Stats;
use super::timers::{Clock, Deadlines, OwnerTimers, Time};
use super::{READ_BUFFER_BYTES, Shard, WAKE_TOKEN, listener_token};
use crate::config::Config;
use crate::journal::JournalInlet;
use crate::mail::Upcalls;
use crate::tls::TlsConfigs;
use hub::{Report, ShardId, Token, Topology};
use mio::unix::SourceFd;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::mpsc;
use wire::http::HeadLimits;

/// Connections that may wait to be accepted; the kernel lowers it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// Events taken from the kernel at once. Few, since what a turn reads waits for its end: with 1,024, point to point at QoS 1 had a p99
/// a third higher at the same rate.
const EVENTS: usize = 32;

/// A socket that new connections come by.
#[derive(Debug)]
pub struct Listener {
    /// Listens already.
    pub socket: TcpListener,
    /// What may come.
    pub takes: Takes,
}

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Requests and streams, told apart by their first byte; under TLS if there is a certificate.
    Anything,
    /// Streams only, never under TLS.
    Streams,
    /// Streams only, always under TLS.
    StreamsOverTls,
}

/// One listener per shard on the same address: the kernel spreads new connections over them (SO_REUSEPORT). With port
/// 0 the kernel chooses the port once.
///
/// # Errors
/// Those of the operating system, such as an address in use.
pub fn listeners(address: SocketAddr, shards: u8, takes: Takes) -> io::Result<Vec<Listener>> {
    // With SO_REUSEPORT a second server on the same port would get a part of the clients, and nobody would notice.
    // Without it the address is refused if anybody has it. A port that the kernel chooses is nobody's.
    if address.port() != 0 {
        drop(TcpListener::bind(address)?);
    }
    let first = listen(address)?;
    let address = first.local_addr()?;
    let rest = (1..shards).map(|_| listen(address));
    let sockets = std::iter::once(Ok(first)).chain(rest);
    sockets.map(|socket| socket.map(|socket| Listener { socket, takes })).collect()
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restarted server must get its port although old connections are in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The receiving side of a shard that does not run yet.
#[derive(Debug)]
pub struct Inlet {
    poll: mio::Poll,
    inbox: Inbox,
}

/// A mailbox for a shard. All shards need the senders of all others, so the mailboxes come first.
///
/// # Errors
/// Those of the operating system (file descriptors).
pub fn inlet(config: &Config) -> io::Result<(Sender, Inlet)> {
    let poll = mio::Poll::new()?;
    let waker = mio::Waker::new(poll.registry(), WAKE_TOKEN)?;
    let (sender, inbox) = mailbox(waker, config.limits.mailbox_messages_max);
    Ok((sender, Inlet { poll, inbox }))
}

/// What a shard is made of.
#[derive(Debug)]
pub struct ShardSetup {
    /// Its number.
    pub id: ShardId,
    /// All shards of the node.
    pub topology: Topology,
    /// The checked configuration.
    pub config: Arc<Config>,
    /// The milliseconds that all shards of the process see.
    pub time: Time,
    /// From [`listeners`], one of each address.
    pub listeners: Vec<Listener>,
    /// From [`inlet`].
    pub inlet: Inlet,
    /// The mailboxes of all shards, by number, its own included.
    pub peers: Vec<Sender>,
    /// The connections of the node, shared by all shards.
    pub seats: Arc<Seats>,
    /// Client events, in batches. When it is full, or 16 MiB of them are not taken, the shard stops reading from clients.
    pub uplink: mpsc::Sender<Upcalls>,
    /// Who writes down what is kept beyond the life of the process, if anybody.
    pub journal: Option<JournalInlet>,
    /// Answers to what the back office asked; bounded by what it asked.
    pub reports: mpsc::UnboundedSender<Vec<(Token, Report)>>,
    /// Bytes of the largest packet of a stream: the handler's limit, beyond which the shard closes what it does not.
    pub packet_bytes_max: usize,
    /// For TLS, where listeners have it.
    pub tls: Option<TlsConfigs>,
}

/// A running shard.
#[derive(Debug)]
pub struct ShardHandle {
    /// Its mailbox.
    pub sender: Sender,
    /// Ends after [`Sender::end_at`].
    pub join: JoinHandle<()>,
}

impl<H: Handler + 'static> Shard<H> {
    /// Starts the thread of a shard. `make` runs on it.
    ///
    /// # Errors
    /// Those of the operating system: threads, registration of the listeners.
    pub fn spawn<M>(setup: ShardSetup, make: M) -> io::Result<ShardHandle>
    where
        M: FnOnce() -> (H, HubPort) + Send + 'static,
    {
        let own = setup.peers.get(usize::from(setup.id.0));
        let sender =
            own.cloned().ok_or_else(|| io::Error::other("a shard needs its own mailbox among its peers"))?;
        let registry = listen_in_poll(&setup)?;
        let join = std::thread::Builder::new().name(format!("shard-{}", setup.id.0)).spawn(move || {
            let (handler, hub) = make();
            Self::new(setup, registry, handler, hub).run();
        })?;
        Ok(ShardHandle { sender, join })
    }

    /// A shard that is turned by its caller.
    pub(super) fn new(setup: ShardSetup, registry: mio::Registry, handler: H, hub: HubPort) -> Self {
        let ShardSetup { id, topology, config, time, listeners, inlet, peers, .. } = setup;
        let ShardSetup { seats, uplink, reports, packet_bytes_max, tls, journal, .. } = setup;
        let ending = Ending::new(peers.len());
        let receivers = Receivers { uplink, reporter: reports, peers, journal };
        let outbox = Outbox::new(id, receivers, config.limits.mailbox_messages_max);
        let clock = Clock::new(time);
        let now = clock.now();
        let io = Io {
            shard: id,
            head_limits: head_limits(&config),
            clock,
            registry,
            connections: Connections::new(),
            seats,
            half_opens: HalfOpen::default(),
            staging: Staging::default(),
            deadlines: Deadlines::new(now),
            owners: OwnerTimers::new(now),
            outbox,
            stream_bytes_max: packet_bytes_max + READ_BUFFER_BYTES,
            ready: Vec::new(),
            notices: VecDeque::new(),
            feeding: None,
            leaving: None,
            draining: false,
            handshakes: Handshakes::new(config.limits.handshakes_per_address_per_second, topology.shards),
            publishes: Handshakes::new(config.limits.publishes_per_address_per_second, topology.shards),
            clients: HashMap::new(),
            entropy: Entropy::new(),
            stats: Stats::default(),
            complained: None,
            config,
        };
        Self {
            io,
            handler,
            hub,
            poll: inlet.poll,
            events: mio::Events::with_capacity(EVENTS),
            inbox: inlet.inbox,
            listeners,
            accepting: false,
            buffer: vec![0; READ_BUFFER_BYTES].into(),
            arrivals: super::Arrivals::default(),
            tls,
            spare: Spare::new(),
            ending,
        }
    }
}

/// Has the poll of a shard watch its listeners.
pub(super) fn listen_in_poll(setup: &ShardSetup) -> io::Result<mio::Registry> {
    for (index, listener) in setup.listeners.iter().enumerate() {
        let token = listener_token(index);
        let mut source = SourceFd(&listener.socket.as_raw_fd());
        setup.inlet.poll.registry().register(&mut source, token, mio::Interest::READABLE)?;
    }
    setup.inlet.poll.registry().try_clone()
}

/// The handler decides about bodies, request by request.
fn head_limits(config: &Config) -> HeadLimits {
    let limits = &config.limits;
    HeadLimits {
        head_bytes_max: limits.head_bytes_max,
        headers_max: limits.headers_max,
        query_bytes_max: limits.query_bytes_max,
        body_bytes_max: u64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_share_a_port_and_two_servers_do_not() {
        let shared = listeners(([127, 0, 0, 1], 0).into(), 4, Takes::Anything).expect("any port is free");
        let address = shared[0].socket.local_addr().unwrap();
        assert!(shared.iter().all(|listener| listener.socket.local_addr().unwrap() == address));
        assert_eq!(listeners(address, 4, Takes::Streams).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
