//! From the configuration and bound ports to running shards: mailboxes, and a hub and a front for each.
//!
//! Owns the translation of configured limits into the hub's, and the way of sessions of an earlier process into the hubs
//! before anybody can publish. Start at [`spawn`].

use crate::auth::Shared;
use crate::back::bridge::client_id;
use crate::back::sqs::BATCH_MAX;
use crate::config::{self, Config, WhenFull, WhenUserFull};
use crate::front::{Ban, Fit, Front, PidKey, Returning, bindings};
use crate::journal::{JournalInlet, Kept};
use crate::mail::{Bound, Upcalls};
use crate::shard::{HubPort, Listener, Seats, Sender, Shard, ShardHandle, ShardSetup, Time, inlet};
use crate::state::{End, NodeState, SavedBan, SavedClient, ShardState};
use crate::tls::TlsConfigs;
use hub::queue::{QueueConfig, QueueLimits, Wall};
use hub::{
    Allowance, ChannelRule, Command, Effect, Effects, HistoryRule, Hub, HubMail, Limits, Millis, Presence,
    RecoveryLimits, Report, SessionId, ShardId, StoredLimits, Token, Topology, UserFull, UserLimits, Watch,
};
use std::collections::{HashSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;

/// What all shards of a node share.
pub(super) struct NodeSetup {
    pub(super) config: Arc<Config>,
    pub(super) topology: Topology,
    /// The shards' clock.
    pub(super) time: Time,
    pub(super) uplink: mpsc::Sender<Upcalls>,
    /// Who writes down what is kept, if anybody.
    pub(super) journal: Option<JournalInlet>,
    /// How queues are made, where there is a journal.
    pub(super) queues: QueueConfig,
    pub(super) reports: mpsc::UnboundedSender<Vec<(Token, Report)>>,
    pub(super) tls: Option<TlsConfigs>,
    pub(super) key: PidKey,
    /// Who may what.
    pub(super) gate: Arc<Shared>,
    /// Bindings that were made while an earlier process ran.
    pub(super) bound: Arc<[Bound]>,
    /// Who gets what the shards leave behind, if anybody.
    pub(super) heir: Option<std::sync::mpsc::Sender<(ShardState, End)>>,
}

impl NodeSetup {
    /// What the threads of the shards start with: the sessions of an earlier process, if there are any.
    pub(super) fn places(&self, state: Option<NodeState>, kept: Option<Vec<Kept>>) -> io::Result<Vec<Place>> {
        let mut places = places(self)?;
        for place in &mut places {
            place.hub.configure_queues(self.queues.clone());
            place.hub.limit_stored(stored_limits(&self.config));
            place.hub.limit_attendance(self.config.limits.presence_members_max);
            place.hub.limit_users(user_limits(&self.config));
            place.hub.bind(bindings(&self.config, &self.bound));
            place.hub.watch(watch(&self.config));
            for bridge in &self.config.bridges {
                let (messages_max, bytes_max) = (bridge.queue_messages_max, bridge.queue_bytes_max);
                place.hub.allow(&client_id(bridge), Allowance { messages_max, bytes_max });
            }
        }
        match (kept, &self.journal) {
            (Some(kept), _) => {
                for (place, kept) in places.iter_mut().zip(kept) {
                    place.hub.keep_journal(&kept.last, kept.records);
                }
            }
            (None, Some(_)) => places.iter_mut().for_each(|place| place.hub.keep_queues()),
            (None, None) => {}
        }
        restore(&mut places, self.time.now(), state, self.journal.as_ref());
        Ok(places)
    }
}

/// Starts one thread per shard. When one cannot be started, those that run already are told to end.
pub(super) fn spawn(
    node: &NodeSetup,
    bound: Vec<Vec<Listener>>,
    places: Vec<Place>,
) -> io::Result<Vec<ShardHandle>> {
    let mut handles = Vec::with_capacity(places.len());
    for (setup, place) in shards(node, bound)?.into_iter().zip(places) {
        let (config, topology) = (Arc::clone(&node.config), node.topology);
        let (key, heir, gate) = (node.key.clone(), node.heir.clone(), Arc::clone(&node.gate));
        let bound = Arc::clone(&node.bound);
        let Place { id, hub, returning, bans } = place;
        let spawned = Shard::spawn(setup, move || {
            let front = Front::new(config, (id, topology), key, &gate).with_heir(heir);
            (front.with_returning(returning), HubPort::new(hub).with_bans(bans).with_bound(bound))
        });
        match spawned {
            Ok(handle) => handles.push(handle),
            Err(error) => {
                handles.iter().for_each(|handle| handle.sender.end_at(Instant::now()));
                return Err(error);
            }
        }
    }
    Ok(handles)
}

/// Turns the shards on the caller's thread instead, without listeners.
pub(super) fn by_hand(node: &NodeSetup, places: Vec<Place>) -> io::Result<Vec<(Sender, Shard<Front>)>> {
    let setups = shards(node, places.iter().map(|_| Vec::new()).collect())?;
    let start = |(setup, place): (ShardSetup, Place)| {
        let (config, key) = (Arc::clone(&node.config), node.key.clone());
        let front = Front::new(config, (place.id, node.topology), key, &node.gate)
            .with_heir(node.heir.clone())
            .with_returning(place.returning);
        let own = setup.peers.get(usize::from(place.id.0)).cloned();
        let sender = own.ok_or_else(|| io::Error::other("a shard is among its peers"))?;
        Ok((
            sender,
            Shard::by_hand(
                setup,
                front,
                HubPort::new(place.hub).with_bans(place.bans).with_bound(Arc::clone(&node.bound)),
            )?,
        ))
    };
    setups.into_iter().zip(places).map(start).collect()
}

/// The shards of a node, with the listeners of each.
fn shards(node: &NodeSetup, listeners: Vec<Vec<Listener>>) -> io::Result<Vec<ShardSetup>> {
    let boxes = listeners.iter().map(|_| inlet(&node.config)).collect::<io::Result<Vec<_>>>()?;
    let (peers, inlets): (Vec<Sender>, Vec<_>) = boxes.into_iter().unzip();
    let seats = Arc::new(Seats::new(node.config.limits.connections_max));
    let setup = |(id, (listeners, inlet))| ShardSetup {
        id,
        topology: node.topology,
        config: Arc::clone(&node.config),
        time: node.time.clone(),
        listeners,
        inlet,
        peers: peers.clone(),
        seats: Arc::clone(&seats),
        uplink: node.uplink.clone(),
        journal: node.journal.clone(),
        reports: node.reports.clone(),
        packet_bytes_max: node.config.mqtt.packet_bytes_max as usize,
        tls: node.tls.clone(),
    };
    Ok((0..).map(ShardId).zip(listeners.into_iter().zip(inlets)).map(setup).collect())
}

/// A shard that does not run yet.
pub(super) struct Place {
    id: ShardId,
    hub: Hub,
    /// Sessions of an earlier process.
    returning: Vec<Returning>,
    bans: Vec<Ban>,
}

fn places(node: &NodeSetup) -> io::Result<Vec<Place>> {
    let place = |id| {
        let config = hub_config(&node.config, id, node.topology, epoch()?);
        Ok(Place { id, hub: Hub::new(config), returning: Vec::new(), bans: Vec::new() })
    };
    (0..node.topology.shards).map(ShardId).map(place).collect()
}

/// Gives each hub what the one before it left, and lets them tell each other of it at once: whatever is published from now
/// on finds the sessions.
fn restore(places: &mut [Place], now: Millis, state: Option<NodeState>, journal: Option<&JournalInlet>) {
    let elapsed_ms = state.as_ref().map_or(0, NodeState::elapsed_ms);
    let mut left = state.map(|state| state.shards).unwrap_or_default();
    let (mut count, mut lost) = (0, 0);
    let mut mail = VecDeque::new();
    for place in &mut *places {
        let found = left.iter().position(|state| state.shard == place.id);
        let (mut snapshot, clients) = match found.map(|at| left.swap_remove(at)) {
            Some(ShardState { snapshot, clients, bans, .. }) => {
                place.bans = bans.into_iter().filter_map(|ban| still_banned(ban, now, elapsed_ms)).collect();
                (snapshot, clients)
            }
            // As it was made.
            None if journal.is_some() => (place.hub.snapshot(now), Vec::new()),
            None => continue,
        };
        let ids: Vec<SessionId> = snapshot.sessions.iter().map(|session| session.id).collect();
        if journal.is_some() {
            let sessions = snapshot.sessions.iter_mut().zip(&clients);
            sessions.for_each(|(session, client)| session.keepsake = client.keepsake());
        }
        let mut effects = Effects::default();
        let refused = place.hub.restore(now, elapsed_ms, snapshot, &mut effects);
        let refused: HashSet<SessionId> = refused.into_iter().collect();
        (count, lost) = (count + place.hub.len(), lost + refused.len());
        let kept = place.hub.take_keepsakes().into_iter();
        // One that cannot be read is of nobody, and ends when its time is over.
        let kept = kept.filter_map(|(id, keepsake)| Some((id, SavedClient::of_keepsake(&keepsake)?)));
        place.returning.extend(ids.into_iter().zip(clients).chain(kept).map(|(session, client)| {
            let fit = if refused.contains(&session) { Fit::Refused } else { Fit::Taken };
            Returning { session, client, fit }
        }));
        mail.extend(sent(place.id, effects, journal));
    }
    exchange(places, now, mail, journal);
    if lost > 0 {
        tracing::warn!(
            sessions = lost,
            "some sessions are not restored: limits.sessions_max was lowered, or there are other shards"
        );
    }
    if count > 0 {
        tracing::info!(
            sessions = count,
            away_ms = elapsed_ms,
            "sessions of the server before this one can be recovered"
        );
    }
}

/// `None` if it is over by now.
fn still_banned(saved: SavedBan, now: Millis, elapsed_ms: u64) -> Option<Ban> {
    let SavedBan { of, left_ms, reason } = saved;
    let until = match left_ms {
        Some(left_ms) => {
            Some(Millis(now.0 + left_ms.checked_sub(elapsed_ms).filter(|left_ms| *left_ms > 0)?))
        }
        None => None,
    };
    Some(Ban { of, until, reason })
}

/// From shard, to shard.
type Post = (ShardId, ShardId, HubMail);

/// Delivers the mail of hubs that do not run yet, and what it leads to.
fn exchange(places: &mut [Place], now: Millis, mut mail: VecDeque<Post>, journal: Option<&JournalInlet>) {
    while let Some((from, to, one)) = mail.pop_front() {
        let Some(place) = places.iter_mut().find(|place| place.id == to) else { continue };
        let mut effects = Effects::default();
        place.hub.apply(now, Command::Mail { from, mail: one }, &mut effects);
        mail.extend(sent(to, effects, journal));
    }
}

/// Nothing but mail, and what concerns the journal, follows while nobody is connected.
fn sent(
    from: ShardId,
    effects: Effects,
    journal: Option<&JournalInlet>,
) -> impl Iterator<Item = Post> + use<> {
    if let Some(journal) = journal.filter(|_| !effects.entries.is_empty()) {
        journal.write(from, effects.entries);
    }
    let loads = journal.cloned();
    effects.list.into_iter().filter_map(move |effect| match effect {
        Effect::Mail { to, mail } => Some((from, to, mail)),
        Effect::Load { id, place } => {
            loads.iter().for_each(|journal| journal.load(from, id, place));
            None
        }
        _ => None,
    })
}

/// Names this life of a hub; 53 bits, so that tools which read JSON numbers as floating point keep them apart.
fn epoch() -> io::Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(u64::from_le_bytes(bytes) >> 11)
}

/// How long the service takes for a deletion or a purge. Milliseconds.
const STRICT_PAUSE_MS: u64 = 60_000;

/// How the hubs' queues are made; `start` is the calendar's time at the zero of the shards' clock.
pub(super) fn queue_config(config: &Config, start_ms: u64) -> QueueConfig {
    let limits = QueueLimits {
        queues_max: config.sqs.queues_max,
        messages_max: config.sqs.messages_max,
        // The API takes ten, the program around the server more.
        batch_max: BATCH_MAX,
        receive_max: BATCH_MAX,
        ..QueueLimits::default()
    };
    let pause_ms = if config.sqs.strict_timing { STRICT_PAUSE_MS } else { 0 };
    QueueConfig { start: Wall(start_ms), pause_ms, limits }
}

/// What webhooks want to hear of.
fn watch(config: &Config) -> Watch {
    let webhooks = config.webhooks.iter();
    let filters = |is_one: fn(&config::Webhook) -> bool| {
        let some = webhooks.clone().filter(move |webhook| is_one(webhook));
        some.flat_map(|webhook| &webhook.filters).map(|filter| filter.as_str().to_owned()).collect()
    };
    Watch {
        users: webhooks.clone().any(config::Webhook::watches_users),
        channels: filters(config::Webhook::watches_channels),
        subscriptions: filters(config::Webhook::takes_subscriptions),
    }
}

fn user_limits(config: &Config) -> UserLimits {
    let when_full = match config.users.when_full {
        WhenUserFull::Refuse => UserFull::Refuse,
        WhenUserFull::EndOldest => UserFull::EndOldest,
    };
    UserLimits { sessions_max: config.users.max_sessions, when_full }
}

fn stored_limits(config: &Config) -> StoredLimits {
    let limits = &config.limits;
    StoredLimits {
        per_user_max: limits.stored_per_user_max,
        users_max: limits.stored_users_max,
        bytes_max: limits.stored_bytes_max,
    }
}

fn hub_config(config: &Config, shard: ShardId, topology: Topology, epoch: u64) -> hub::Config {
    let limits = &config.limits;
    let rules = config.channels.iter().map(|rule| ChannelRule {
        filter: rule.filter.plain(),
        history: (rule.history_messages_max > 0).then(|| HistoryRule {
            messages_max: rule.history_messages_max,
            age_ms_max: match rule.history_age_seconds_max {
                0 => u64::MAX,
                seconds => seconds.saturating_mul(1000),
            },
            durable: rule.history_durable,
        }),
        presence: match (rule.presence, rule.presence_events) {
            (false, _) => Presence::Off,
            (true, false) => Presence::Listed,
            (true, true) => Presence::Told,
        },
        when_full: match rule.when_full {
            WhenFull::Newest => hub::WhenFull::Newest,
            WhenFull::Oldest => hub::WhenFull::Oldest,
        },
    });
    hub::Config {
        shard,
        topology,
        epoch,
        limits: Limits {
            sessions_max: limits.sessions_max,
            channels_max: limits.channels_max,
            subscriptions_per_session_max: limits.channels_per_session_max,
            channel_name_bytes_max: limits.channel_name_bytes_max,
            outbox_messages_max: limits.outbox_messages_max,
            outbox_bytes_max: limits.outbox_bytes_max,
            asks_per_session_max: limits.pending_acks_out_max,
            asks_max: limits.asks_max,
            history_bytes_max: limits.history_bytes_max,
            retained_max: limits.retained_max,
            retained_bytes_max: limits.retained_bytes_max,
            delayed_max: limits.delayed_max,
            delayed_bytes_max: limits.delayed_bytes_max,
            recovery: RecoveryLimits {
                messages_max: config.recovery.messages_max,
                bytes_max: config.recovery.bytes_max,
                window_ms: config.recovery.window_ms,
            },
        },
        rules: rules.collect(),
    }
}
