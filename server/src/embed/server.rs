//! Starting and stopping a node: shards on their threads, the back office and the private port on the caller's tokio.

use super::events::Events;
use super::handle::Handle;
use super::keeping::{Keeper, Keeping, open_disk};
use super::node::{self, NodeSetup};
use super::ports::{self, Addrs, Ports};
use super::unheard::Unheard;
use crate::auth::Shared;
use crate::back::bindings::Bindings;
use crate::back::bridge::{Bridges, Tasks};
use crate::back::port::Served;
use crate::back::rest::{self, Desk};
use crate::back::revocations::Revocations;
use crate::back::rows::Rows;
use crate::back::sqs::{self, Door};
use crate::back::webhook::{Listening, Trust, Webhooks};
use crate::back::{Office, OfficePorts, Storage, keys, metrics, sys};
use crate::config::Config;
use crate::front::PidKey;
use crate::mail::Mail;
use crate::shard::{Sender, ShardHandle, Time};
use crate::state::{self, End, NodeState, Place, ShardState, Taken};
use crate::tls::{self, TlsConfigs, TlsError};
use futures_util::future::OptionFuture;
use hub::{ShardId, Topology};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::Tab;
use store::disk::Faults;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// Partitions of a node; a fixed number, chosen at the first start (64), so that homes do not move with cores.
const PARTITIONS: u16 = 64;

/// Batches of client events that wait for the program; a shard that finds no room stops reading from clients.
const EVENT_BATCHES_MAX: usize = 1024;

/// How much longer than the drain window the shards may take to end.
const DRAIN_SLACK: Duration = Duration::from_secs(5);

/// How often it is looked whether the clients of a node that ends are gone.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address that cannot be listened on.
    #[error("{port} port: cannot listen on {addr}: {error}")]
    Listen {
        /// `public`, `private`, `MQTT`, `MQTT TLS` or `SQS`.
        port: &'static str,
        /// As configured.
        addr: SocketAddr,
        /// The system's reason.
        error: io::Error,
    },
    /// Certificates.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// The directory of the store.
    #[error("store.dir {}: {error}", path.display())]
    Store {
        /// As configured.
        path: PathBuf,
        /// What is wrong with it.
        error: String,
    },
    /// What the configuration says cannot be: the key, and why.
    #[error("{0}")]
    Config(String),
    /// A queue that the configuration declares cannot be.
    #[error("{0}")]
    Queue(String),
    /// Threads or polls.
    #[error("cannot start a shard: {0}")]
    Shard(io::Error),
    /// The stream of events was taken before, or goes to webhooks.
    #[error(
        "the events were already taken; there is one stream per server, and none where there is a [[webhook]]"
    )]
    EventsTaken,
}

/// A running node. Dropping it leaves the shards running; call [`Server::drain`].
pub struct Server {
    handle: Handle,
    config: Arc<Config>,
    gate: Arc<Shared>,
    running: Running,
    upcalls: Unheard,
    addrs: Addrs,
    private: Served,
    /// The port of SQS alone.
    sqs: Option<Served>,
    /// Publish figures and look after the keys of tokens until they are ended.
    minders: Vec<AbortHandle>,
    bridges: Tasks,
    /// Takes what clients do, if there are webhooks.
    listening: Option<Listening>,
}

/// What has to end in order.
struct Running {
    shards: Vec<ShardHandle>,
    keeper: Option<Keeper>,
    estate: Option<Estate>,
}

/// What is open once it is written down what is kept.
#[derive(Default)]
struct Opened {
    /// To queues, for those who use them.
    door: Option<Door>,
    webhooks: Option<Webhooks>,
    /// Likewise, where there are queues.
    bindings: Option<Bindings>,
}

/// What is left to the next process, and where.
struct Estate {
    /// What lay there, until the start has come to its end. Before the place: it goes back while that is still ours.
    taken: Option<Taken>,
    place: Place,
    topology: Topology,
    shards: std::sync::mpsc::Receiver<(ShardState, End)>,
}

/// What a start reads before it binds a port.
struct Files {
    gate: Arc<Shared>,
    tls: Option<TlsConfigs>,
    trust: Trust,
}

impl Files {
    fn read(config: &Config) -> Result<Self, StartError> {
        sqs::check(config).map_err(StartError::Config)?;
        let gate = Shared::new(config).map_err(StartError::Config)?;
        let tls = tls::load(config)?;
        let trust = Trust::load(config).map_err(StartError::Config)?;
        Ok(Self { gate, tls, trust })
    }
}

impl Server {
    /// Binds all ports and starts; must be called on a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Self::begin(config, None).await
    }

    /// The same with a store that goes wrong when it is told to, for tests of what clients see then.
    ///
    /// # Errors
    /// [`StartError`].
    #[doc(hidden)]
    pub async fn start_with_faults(config: Config, faults: Arc<dyn Faults>) -> Result<Self, StartError> {
        Self::begin(config, Some(faults)).await
    }

    /// A whole server for a test, such as one of a program that uses SQS: in memory, one shard, its ports on 127.0.0.1 and
    /// chosen by the kernel, anonymous clients. It is there within milliseconds, and so is its end.
    ///
    /// ```
    /// use std::time::Duration;
    /// use trunkline::Server;
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let server = Server::ephemeral().await?;
    /// let orders = server.handle().queue("orders")?;
    /// orders.create().await?;
    /// // What the program under test does, with any SDK of SQS and this as its `endpoint_url`:
    /// let endpoint_url = server.sqs_url().ok_or("has queues")?;
    /// assert!(endpoint_url.starts_with("http://127.0.0.1:"));
    /// // What the test does meanwhile, or in its place:
    /// orders.send("tea").await?;
    /// for message in orders.receive(10, Duration::from_secs(1)).await? {
    ///     assert_eq!(message.body, "tea");
    ///     orders.delete(message.receipt).await?;
    /// }
    /// assert_eq!(orders.attributes().await?["ApproximateNumberOfMessages"], "0");
    /// server.drain().await;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`StartError`]: no port, thread or poll.
    pub async fn ephemeral() -> Result<Self, StartError> {
        Self::start(Config::ephemeral()).await
    }

    /// What of a configuration can be found wrong without starting, beside what its own reader finds. Reads the files that it
    /// names.
    ///
    /// # Errors
    /// [`StartError::Config`], [`StartError::Tls`].
    pub fn check(config: &Config) -> Result<(), StartError> {
        Files::read(config).map(drop)
    }

    async fn begin(config: Config, faults: Option<Arc<dyn Faults>>) -> Result<Self, StartError> {
        let config = Arc::new(config);
        let Files { gate, tls, trust } = Files::read(&config)?;
        let topology = topology_of(&config);
        let (upcall_sender, upcalls) = mpsc::channel(EVENT_BATCHES_MAX);
        let (report_sender, reports) = mpsc::unbounded_channel();
        let Ports { listeners, addrs } = ports::bind(&config, topology)?;
        let private = listen("private", config.server.private_listen).await?;
        let sqs = listen_sqs(&config).await?;
        // Only now that all ports are ours: a start that fails leaves the file to the next.
        let (state, heir, mut estate) = inherit(&config, topology).await;
        let zero = zero(state.as_ref());
        let mut keeping = open_store(&config, topology, zero, faults).await?;
        let revocations = recall(&gate, keeping.as_ref()).await?;
        let kept = keeping.as_mut().and_then(Keeping::take);
        let setup = NodeSetup {
            config: Arc::clone(&config),
            topology,
            time: Time::Since(zero),
            uplink: upcall_sender,
            journal: keeping.as_ref().map(Keeping::inlet),
            queues: node::queue_config(&config, keeping.as_ref().map_or(0, Keeping::zero_ms)),
            reports: report_sender,
            tls,
            key: PidKey::generate(),
            gate: Arc::clone(&gate),
            bound: keeping.as_ref().map_or_else(Arc::default, |keeping| keeping.bound(&config)),
            heir,
        };
        let (setup, places) = restored(setup, state, kept).await.map_err(StartError::Shard)?;
        let shards = node::spawn(&setup, listeners, places).map_err(StartError::Shard)?;
        if let Some(taken) = estate.as_mut().and_then(|estate| estate.taken.take()) {
            // Fails only by a panic, which was reported.
            let _ = tokio::task::spawn_blocking(move || taken.used()).await;
        }
        drop(setup);
        let senders: Vec<Sender> = shards.iter().map(|shard| shard.sender.clone()).collect();
        let office = Office::start(OfficePorts { shards: senders.clone(), topology, reports });
        let mut running = Running { shards, keeper: None, estate };
        let open = running.open((&office, &config), (keeping, senders), (trust, zero));
        let Opened { door, webhooks, bindings } = match open.await {
            Ok(opened) => opened,
            Err(error) => {
                // Sessions of the process before were taken in, and are left to the next start.
                office.start_draining();
                office.start_closing();
                running.end(Instant::now()).await;
                return Err(error);
            }
        };
        let storage = storage(&office, &config, running.keeper.as_ref());
        let bridges = Bridges::start(&office, &config, zero);
        let desk = Desk::new(office.clone(), Arc::clone(&config), zero, storage);
        let desk = desk.with((bridges.bridges(), revocations)).with_webhooks(webhooks.clone());
        let desk = desk.with_bindings(bindings);
        let private = Served::start(rest::router(desk, door.clone()), private, &config);
        let sqs = door.clone().zip(sqs).map(|(door, port)| Served::start(door.router(), port, &config));
        let minders =
            publish_figures(&office, &config).into_iter().chain(keys::watch(&gate, &config)).collect();
        let handle = Handle::new(office, Arc::clone(&config), door);
        let mut upcalls = Unheard::start(upcalls, handle.clone());
        let listening = webhooks.and_then(|webhooks| Some(webhooks.start(upcalls.hand_over()?)));
        Ok(Self { handle, config, gate, running, upcalls, addrs, private, sqs, minders, bridges, listening })
    }

    /// Where clients connect, port resolved.
    #[must_use]
    pub fn public_addr(&self) -> SocketAddr {
        self.addrs.public
    }

    /// Where clients that speak only MQTT connect, port resolved; `None` unless `mqtt.listen` is set.
    #[must_use]
    pub fn mqtt_addr(&self) -> Option<SocketAddr> {
        self.addrs.mqtt
    }

    /// The same under TLS; `None` unless `mqtt.tls_listen` is set.
    #[must_use]
    pub fn mqtt_tls_addr(&self) -> Option<SocketAddr> {
        self.addrs.mqtt_tls
    }

    /// Where the back end connects, port resolved.
    #[must_use]
    pub fn private_addr(&self) -> SocketAddr {
        self.private.addr
    }

    /// Where SQS alone is spoken, port resolved; `None` unless `sqs.listen` is set. It is spoken on the private port, too.
    #[must_use]
    pub fn sqs_addr(&self) -> Option<SocketAddr> {
        self.sqs.as_ref().map(|served| served.addr)
    }

    /// What SDKs of SQS are told as `endpoint_url`: the port of SQS alone if there is one, else the private port, by the
    /// address that it is bound to. `None` if `sqs.enabled` is false.
    #[must_use]
    pub fn sqs_url(&self) -> Option<String> {
        let addr = self.sqs_addr().unwrap_or(self.private.addr);
        self.config.sqs.enabled.then(|| format!("http://{addr}"))
    }

    /// To publish and ask from anywhere.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// The stream of client events, once: whoever has it is the back end. Taken within a second of the start it has
    /// everything from the first client on. Later it begins with what comes then: until then events are dropped, and
    /// clients that ask to connect are closed and come back.
    ///
    /// # Errors
    /// [`StartError::EventsTaken`].
    pub fn events(&mut self) -> Result<Events, StartError> {
        let upcalls = self.upcalls.hand_over().ok_or(StartError::EventsTaken)?;
        Ok(Events::new(self.handle.clone(), upcalls))
    }

    /// Reads the certificate files again; connections accepted from now on get the new ones. `false`: TLS is not
    /// configured, so there was nothing to read.
    ///
    /// # Errors
    /// [`StartError::Tls`]; the old certificates stay in use.
    pub async fn reload_tls(&self) -> Result<bool, StartError> {
        let Some(tls) = tls::load(&self.config)? else { return Ok(false) };
        for shard in 0..self.running.shards.len() {
            let shard = ShardId(u8::try_from(shard).unwrap_or(u8::MAX));
            if let Err(error) = self.handle.office().tell(shard, Mail::Tls(tls.clone())).await {
                tracing::warn!(shard = shard.0, %error, "a shard keeps its old certificates");
            }
            // Once it answers it has them, since mail is read in its order.
            let _ = metrics::stats_of(self.handle.office(), shard).await;
        }
        Ok(true)
    }

    /// Reads the file with the keys of tokens again; who shows a token from now on needs one of those that are there. Nobody who is
    /// let in is looked at again. `None`: there is no such file; otherwise how many keys count that are not fetched.
    ///
    /// # Errors
    /// [`StartError::Config`]; the old keys stay in use.
    pub async fn reload_keys(&self) -> Result<Option<usize>, StartError> {
        if self.config.jwt.key_file.is_none() {
            return Ok(None);
        }
        let (gate, config) = (Arc::clone(&self.gate), Arc::clone(&self.config));
        let reading = tokio::task::spawn_blocking(move || gate.keys().read_again(&config)).await;
        let read = reading.map_err(|error| StartError::Shard(io::Error::other(error)))?;
        read.map(Some).map_err(StartError::Config)
    }

    /// Ends when the store takes no changes any more: nothing that rests on one is acknowledged until the process is started
    /// again. Without a store, or trouble, it never ends.
    pub async fn store_failed(&mut self) -> String {
        let Some(keeper) = &mut self.running.keeper else { return std::future::pending().await };
        match keeper.failure().await {
            Ok(failure) => failure.to_string(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Closes connections at random times within the configured window, answers new handshakes with 503 meanwhile, and
    /// ends. Receives that wait for messages of queues are answered at once. With `server.state_file` the sessions that may be
    /// recovered are left there for the next start.
    pub async fn drain(self) {
        let Self {
            handle,
            config,
            gate: _gate,
            running,
            private,
            sqs,
            minders,
            bridges,
            listening,
            upcalls: _upcalls,
            addrs: _,
        } = self;
        handle.office().start_draining();
        minders.iter().for_each(AbortHandle::abort);
        bridges.stop().await;
        let end = Instant::now() + Duration::from_millis(config.server.drain_window_ms);
        if let Some(listening) = listening {
            send_away(&running.shards, end).await;
            listening.end().await;
        }
        handle.office().start_closing();
        running.end(end).await;
        tokio::join!(private.end(), OptionFuture::from(sqs.map(Served::end)));
    }
}

impl Running {
    /// Begins to write down what is kept, and opens the door to queues, if there is one, with those that the configuration
    /// declares.
    async fn open(
        &mut self,
        (office, config): (&Office, &Arc<Config>),
        (keeping, shards): (Option<Keeping>, Vec<Sender>),
        (trust, zero): (Trust, Instant),
    ) -> Result<Opened, StartError> {
        let Some(keeping) = keeping else { return Ok(Opened::default()) };
        let (shelf, table, bound) = (keeping.shelf(), keeping.table(), keeping.bound(config));
        self.keeper = Some(keeping.start(shards).map_err(StartError::Shard)?);
        let door = Door::new(office.clone(), Arc::clone(config), shelf).map_err(StartError::Config)?;
        if config.sqs.enabled {
            door.declare().await.map_err(StartError::Queue)?;
        }
        let mut opened = Opened::default();
        let bindings = || Bindings::new(office.clone(), bound, table.clone());
        opened.bindings = config.sqs.enabled.then(bindings);
        if !config.webhooks.is_empty() {
            let desk = Desk::new(office.clone(), Arc::clone(config), zero, None);
            let webhooks = Webhooks::open(desk, trust, (&door, table)).await;
            opened.webhooks = Some(webhooks.map_err(StartError::Config)?);
        }
        opened.door = config.sqs.enabled.then_some(door);
        Ok(opened)
    }

    /// Ends the shards, which close connections that are there until then, and afterwards what they leave something to.
    async fn end(self, end: Instant) {
        let Self { shards, keeper, estate } = self;
        for shard in &shards {
            shard.sender.end_at(end);
            shard.sender.not_needed();
        }
        let window = end.saturating_duration_since(Instant::now());
        let joining = tokio::task::spawn_blocking(move || {
            let panicked = |handle: ShardHandle| handle.join.join().is_err();
            shards.into_iter().map(panicked).filter(|panicked| *panicked).count()
        });
        match tokio::time::timeout(window + DRAIN_SLACK, joining).await {
            Ok(Ok(0)) => {}
            Ok(Ok(shards)) => tracing::error!(shards, "threads of shards had ended by a panic"),
            Ok(Err(error)) => tracing::error!(%error, "the threads of the shards could not be waited for"),
            Err(_) => tracing::warn!("some shards did not end in time"),
        }
        if let Some(keeper) = keeper {
            // Fails only by a panic, which was reported.
            let _ = tokio::task::spawn_blocking(move || keeper.close()).await;
        }
        if let Some(estate) = estate {
            // Fails only by a panic, which was reported.
            let _ = tokio::task::spawn_blocking(move || estate.leave()).await;
        }
    }
}

/// Has shards close connections until then, and stay open behind that; comes when the connections are gone.
async fn send_away(shards: &[ShardHandle], end: Instant) {
    for shard in shards {
        shard.sender.needed();
        shard.sender.end_at(end);
    }
    let is_over = || shards.iter().all(|shard| shard.sender.is_over() || shard.join.is_finished());
    while !is_over() && Instant::now() < end + DRAIN_SLACK {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The figures that MQTT clients may subscribe to.
fn publish_figures(office: &Office, config: &Config) -> Option<AbortHandle> {
    let interval = Duration::from_secs(u64::from(config.mqtt.sys_interval_seconds));
    let wanted = config.mqtt.enabled && !interval.is_zero();
    wanted.then(|| tokio::spawn(sys::publish_for_ever(office.clone(), interval)).abort_handle())
}

impl Estate {
    /// Writes down what the shards that have ended left, if that is anything.
    fn leave(self) {
        let (shards, ends): (Vec<ShardState>, Vec<End>) = self.shards.try_iter().unzip();
        let missing = usize::from(self.topology.shards).saturating_sub(shards.len());
        let cut = ends.iter().filter(|end| **end == End::Cut).count();
        let mut state = NodeState { saved_at_ms: state::unix_ms(), topology: self.topology, shards };
        if missing + cut > 0 {
            tracing::error!(
                missing,
                cut,
                "not all shards ended in order: clients will be told that they missed something, and those of missing shards are forgotten"
            );
            state.doubt();
        }
        let (sessions, path) = (state.session_count(), self.place.path().display());
        if state.is_empty() {
            return;
        }
        match self.place.save(&state) {
            Ok(()) => tracing::info!(sessions, %path, "sessions were left to the next start"),
            Err(error) => {
                tracing::error!(sessions, %path, %error, "the state file cannot be written: no session can be recovered");
            }
        }
    }
}

/// What the process before this one left, where this one will leave its own, and who gathers that.
async fn inherit(
    config: &Config,
    topology: Topology,
) -> (Option<NodeState>, Option<std::sync::mpsc::Sender<(ShardState, End)>>, Option<Estate>) {
    let Some(path) = config.server.state_file.clone() else { return (None, None, None) };
    let opened = tokio::task::spawn_blocking(move || Place::open(Path::new(&path), topology)).await;
    let Some((place, found)) = opened.unwrap_or(None) else { return (None, None, None) };
    let (state, taken) = found.unzip();
    let (heir, shards) = std::sync::mpsc::channel();
    (state, Some(heir), Some(Estate { taken, place, topology, shards }))
}

/// The zero of the shards' clock: before anything that they know of.
fn zero(state: Option<&NodeState>) -> Instant {
    let now = Instant::now();
    let age = state.map_or(Duration::ZERO, |state| Duration::from_millis(state.age_ms_max()));
    now.checked_sub(age).unwrap_or(now)
}

/// The store, if there is to be one, with what was kept in it.
async fn open_store(
    config: &Arc<Config>,
    topology: Topology,
    zero: Instant,
    faults: Option<Arc<dyn Faults>>,
) -> Result<Option<Keeping>, StartError> {
    let Some(path) = config.store.dir.clone() else {
        let is_wanted = config.sqs.enabled || !config.webhooks.is_empty();
        let wanted = is_wanted.then_some(config.sqs.memory_bytes_max);
        return wanted.map(|bytes_max| Keeping::in_memory(bytes_max, topology, zero)).transpose();
    };
    let config = Arc::clone(config);
    let open = move || {
        let opened = open_disk(&path, &config.store, faults);
        Keeping::read(opened?, topology, zero)
    };
    let opened = tokio::task::spawn_blocking(open).await;
    opened.map_err(|error| StartError::Shard(io::Error::other(error)))?.map(Some)
}

/// What the shards start with. It may take a while.
async fn restored(
    setup: NodeSetup,
    state: Option<NodeState>,
    kept: Option<Vec<crate::journal::Kept>>,
) -> io::Result<(NodeSetup, Vec<node::Place>)> {
    let restoring =
        tokio::task::spawn_blocking(move || setup.places(state, kept).map(|places| (setup, places)));
    restoring.await.map_err(io::Error::other)?
}

/// How partitions are spread over the shards, of which the configuration has no more than those.
pub(super) fn topology_of(config: &Config) -> Topology {
    let shards = u8::try_from(config.server.shards.clamp(1, PARTITIONS)).unwrap_or(u8::MAX);
    Topology { shards, partitions: PARTITIONS }
}

/// The tokens that were revoked before.
async fn recall(gate: &Arc<Shared>, keeping: Option<&Keeping>) -> Result<Revocations, StartError> {
    let (gate, rows) = (Arc::clone(gate), Rows::new(Tab::Sessions, keeping.and_then(Keeping::table)));
    let opened = tokio::task::spawn_blocking(move || Revocations::open(&gate, rows)).await;
    let opened = opened.map_err(io::Error::other).map_err(StartError::Shard)?;
    opened.map_err(|error| StartError::Config(format!("store.dir: revoked tokens cannot be read: {error}")))
}

/// The store for the back office, which from now on waits for it.
fn storage(office: &Office, config: &Config, keeper: Option<&Keeper>) -> Option<Storage> {
    let (keeper, directory) = (keeper?, config.store.dir.as_deref()?);
    office.start_keeping();
    Some(Storage::new(keeper.caretaker()?, directory, config.store.backup_dir.as_deref()))
}

async fn listen_sqs(config: &Config) -> Result<Option<(TcpListener, SocketAddr)>, StartError> {
    match config.sqs.listen.filter(|_| config.sqs.enabled) {
        Some(addr) => listen("SQS", addr).await.map(Some),
        None => Ok(None),
    }
}

async fn listen(port: &'static str, addr: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let fails = |error| StartError::Listen { port, addr, error };
    let listener = TcpListener::bind(addr).await.map_err(fails)?;
    let bound = listener.local_addr().map_err(fails)?;
    Ok((listener, bound))
}
