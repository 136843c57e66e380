//! Bridges: this server as a client of other MQTT brokers, so that channels here and topics there are the same.
//!
//! A bridge is a client of two servers at once. Its half here is an ordinary session of the hub (`local`), which the store keeps and
//! in which waits what the broker has not acknowledged; its half there (`remote`) is a session of the broker's. Between them
//! packets are passed on under their own ids (`relay`), so that the acknowledgement of one side is that of the other, and
//! no message has to be kept here (docs/decisions/0011). `topics` renames, `facing` keeps messages from going in circles, `pairing`
//! knows of the two sessions what neither server does, `link` has the sockets, `pulse` the time, `handshake` the way in. Owns
//! when to connect again. Must not know shards, to which it speaks by mail and by MQTT only. Start at [`Bridges::start`].
//!
//! ```text
//! Connecting ──both have answered──> Connected ──either ends──> Waiting ──a while──> Connecting
//!     └──any failure──> Waiting              any ──the server ends──> Stopped
//! ```

mod facing;
mod failure;
mod handshake;
mod link;
mod local;
mod memory;
mod node;
mod pairing;
mod passing;
mod pulse;
mod relay;
mod release;
mod remote;
mod status;
mod topics;

#[cfg(test)]
mod tests;

pub(crate) use local::name as client_id;
pub(crate) use status::{Counts, Loss, Standing, Story};

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::facing::{MARK_BYTES_MAX, sent};
use self::failure::Failure;
use self::handshake::greet;
use self::link::{About, Link};
use self::memory::Memory;
use self::node::Node;
use self::pairing::Found;
use self::relay::{Half, Relay};
use self::status::Status;
use self::topics::{Side, prefix};
use super::office::Office;
use crate::config::{self, BridgeRule, Config};

/// How long all bridges may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(3);

/// All bridges of a server; clones share them.
#[derive(Clone)]
pub(crate) struct Bridges {
    bridges: Arc<[Bridge]>,
    office: Office,
    stop: watch::Sender<bool>,
}

/// One of them.
struct Bridge {
    config: Arc<config::Bridge>,
    status: Arc<Status>,
}

/// How a bridge is doing.
pub(crate) struct View<'a> {
    pub(crate) config: &'a config::Bridge,
    pub(crate) story: Story,
    pub(crate) counts: Counts,
    /// Messages that wait here for the broker; `None` when the hub is too busy to say.
    pub(crate) queued: Option<u32>,
    /// Messages of QoS 1 and 2 that it has not acknowledged.
    pub(crate) in_flight: Option<u32>,
    /// Messages that the broker does not get since too many waited for it.
    pub(crate) overflow: Option<u64>,
}

/// The tasks of bridges.
pub(crate) struct Tasks {
    bridges: Bridges,
    tasks: Vec<JoinHandle<()>>,
}

impl Bridges {
    /// Starts a task for each; `zero` is the zero of the shards' clock.
    pub(crate) fn start(office: &Office, config: &Config, zero: Instant) -> Tasks {
        let (stop, stopped) = watch::channel(false);
        let bridge = |config: &config::Bridge| Bridge {
            config: Arc::new(config.clone()),
            status: Arc::new(Status::new()),
        };
        let bridges: Arc<[Bridge]> = config.bridges.iter().map(bridge).collect();
        let mut tasks = Vec::new();
        let node = Arc::new(Node::new(office.clone(), zero, config.mqtt.packet_bytes_max));
        for bridge in bridges.iter() {
            let (config, status) = (Arc::clone(&bridge.config), Arc::clone(&bridge.status));
            let task = Task { config, status, node: Arc::clone(&node), memory: None };
            tasks.push(tokio::spawn(task.run(stopped.clone())));
        }
        Tasks { bridges: Self { bridges, office: office.clone(), stop }, tasks }
    }

    /// How each is doing, in the order of the configuration.
    pub(crate) async fn views(&self) -> Vec<View<'_>> {
        let mut views = Vec::new();
        for Bridge { config, status } in self.bridges.iter() {
            // What is not known is not told; the next to ask may have more luck.
            let session = local::session(&self.office, &local::name(config)).await.ok().flatten();
            views.push(View {
                config,
                story: status.story(),
                counts: status.counts(),
                queued: session.as_ref().map(|session| session.queued),
                in_flight: session.as_ref().map(|session| session.in_flight),
                overflow: session.as_ref().map(|session| session.dropped),
            });
        }
        views
    }
}

impl Tasks {
    /// To look at them.
    pub(crate) fn bridges(&self) -> Bridges {
        self.bridges.clone()
    }

    /// Ends all connections with a goodbye; what is under way is sent again by the next process.
    pub(crate) async fn stop(self) {
        self.bridges.stop.send_replace(true);
        let ending = async {
            for task in self.tasks {
                // Fails only by a panic, which was reported.
                let _ = task.await;
            }
        };
        if tokio::time::timeout(GOODBYE, ending).await.is_err() {
            tracing::warn!("some bridges did not end in time");
        }
    }
}

/// A bridge at work.
struct Task {
    config: Arc<config::Bridge>,
    status: Arc<Status>,
    node: Arc<Node>,
    /// Once the session here has its subscriptions.
    memory: Option<Memory>,
}

impl Task {
    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut backoff = Backoff::new(&self.config);
        loop {
            self.status.stands(Standing::Connecting);
            let ended = self.once(&mut stop).await;
            let Err(failure) = ended else { break };
            let lasted = self.status.story().connected_for(Instant::now());
            let wait = backoff.next(lasted, chance());
            let (bridge, wait_ms) = (self.config.name.as_str(), wait.as_millis() as u64);
            self.status.failed(failure.to_string());
            self.status.stands(Standing::Waiting);
            tracing::warn!(bridge, url = %self.config.url, error = %failure, wait_ms, "a bridge is down");
            if tokio::time::timeout(wait, stop.wait_for(|stop| *stop)).await.is_ok() {
                break;
            }
        }
        self.status.stands(Standing::Stopped);
    }

    /// From the way to the broker to the end of the connection; `Ok` when all is to end.
    async fn once(&mut self, stop: &mut watch::Receiver<bool>) -> Result<(), Failure> {
        let node = Arc::clone(&self.node);
        let link = tokio::select! {
            // An error is that nobody can say stop any more.
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
            link = self.connect() => link?,
        };
        link.run(&node, stop).await
    }

    async fn connect(&mut self) -> Result<Link<'_>, Failure> {
        let (config, node) = (&self.config, &self.node);
        let (id, name) = (node.id().await?, local::name(config));
        let memory = match &mut self.memory {
            Some(memory) => memory,
            none => none.insert(remembered(node, config).await?),
        };
        let client_id = match &config.client_id {
            Some(id) => id.as_str().to_owned(),
            None => format!("trunkline-{id}-{}", config.name.as_str()),
        };
        let from_remote_max = match remote::version(config) {
            // It cannot be told how much this server takes, and would send what is too large again and again.
            wire::mqtt::Version::V3 => u32::MAX,
            wire::mqtt::Version::V5 => node.packet_bytes_max.saturating_sub(growth(config, Side::Remote)),
        };
        let remote = remote::open(config, &client_id, from_remote_max).await?;
        let own = local::hello(config, &name);
        let hello = handshake::Hello {
            receive_maximum: own.receive_maximum.min(remote.welcome.receive_maximum),
            packet_bytes_max: remote.welcome.packet_bytes_max.saturating_sub(growth(config, Side::Local)),
            ..own
        };
        let mut stream = local::open(&node.office, &name).await?;
        let greeting = tokio::time::timeout(local::PATIENCE, greet(&mut stream, Side::Local, &hello)).await;
        let (welcome, rest) = greeting.map_err(|_| Failure::Late(Side::Local))??;
        let (here, there) = (welcome.session_present, remote.welcome.session_present);
        let found = if there { Found::Old } else { Found::New };
        memory.pairing.meet(local::known(&node.office, &name).await?.id, found);
        if memory.pairing != memory.kept {
            node.keep_pairing(config.name.as_str(), &memory.pairing).await?;
            memory.kept = memory.pairing.clone();
        }
        let halves =
            (Half::new(&welcome, u32::MAX, rest), Half::new(&remote.welcome, from_remote_max, remote.rest));
        let mut relay = Relay::new((Arc::clone(config), Arc::clone(&self.status)), memory, halves);
        relay.begin(Instant::now())?;
        tracing::info!(
            bridge = config.name.as_str(),
            session_here = here,
            session_there = there,
            "a bridge is let in"
        );
        let seconds = remote.welcome.keep_alive_seconds.unwrap_or(config.keep_alive_seconds).max(1);
        let about = About {
            bridge: config.name.as_str().to_owned(),
            session: name,
            sends: sent(config),
            keep_alive: Duration::from_secs(u64::from(seconds)),
        };
        Ok(Link::new(relay, (Box::new(stream), remote.stream), about))
    }
}

/// What the bridge knows when its process has just begun; the session here has the subscriptions of the rules then.
async fn remembered(node: &Node, config: &config::Bridge) -> Result<Memory, Failure> {
    let (id, kept) = (node.id().await?, node.pairing(config.name.as_str()).await?);
    // Last, as it cannot be asked twice which filters are new.
    let new_here = local::prepare(&node.office, config).await?;
    Ok(Memory::new(id, config, (kept, &new_here)))
}

/// Bytes by which a message may be larger on the other side than on this one: its name, its mark and their lengths.
fn growth(config: &config::Bridge, from: Side) -> u32 {
    let longer =
        |rule: &BridgeRule| prefix(rule, from.other()).len().saturating_sub(prefix(rule, from).len());
    let longest = config.rules.iter().map(longer).max().unwrap_or(0);
    // The lengths of packet and properties may each take two bytes more.
    u32::try_from(longest).unwrap_or(u32::MAX).saturating_add(MARK_BYTES_MAX + 4)
}

/// How long to wait before the next try.
struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    fn new(config: &config::Bridge) -> Self {
        let (min, max) =
            (Duration::from_millis(config.backoff_min_ms), Duration::from_millis(config.backoff_max_ms));
        Self { min, max, next: min }
    }

    /// After a try by which there was a connection for so long; `chance` is from 0 to 255.
    fn next(&mut self, lasted: Duration, chance: u8) -> Duration {
        if lasted > self.max {
            self.next = self.min;
        }
        let wait = self.next;
        self.next = (wait * 2).min(self.max);
        wait - wait / 4 * u32::from(chance) / 255
    }
}

/// So that bridges which lost the same broker do not all come back at once.
fn chance() -> u8 {
    let mut byte = [0];
    // Without it they come when they come.
    let _ = getrandom::fill(&mut byte);
    let [byte] = byte;
    byte
}
