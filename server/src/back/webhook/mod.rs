//! Webhooks: the back end behind URLs, which is asked and told of what clients do.
//!
//! Owns the way from what shards tell to requests and from answers to what clients get: `teller` decides who is asked and what
//! an answer means (`connecting` of clients that connect, `asking` of what they want to do with channels), `telling` writes events, `reply` and `actions` read answers, `endpoint` with its `line`s makes requests,
//! `outbox` and `deliver` have what is only told wait and leave, `lives` knows sessions, and `rows` those of an earlier process
//! (`former`); `watcher` tells of users and channels that come and go, as `presence` finds. Must not know shards or sockets of clients: everything goes through the office. Start at
//! [`Webhooks::start`], then [`Teller`].

mod actions;
mod asking;
mod breaker;
mod connecting;
mod connection;
mod consent;
mod deliver;
mod endpoint;
mod failure;
mod fate;
mod former;
mod history;
mod line;
mod lives;
mod look;
mod outbox;
mod presence;
mod refreshing;
mod reply;
mod rows;
mod sign;
mod teller;
mod telling;
mod watcher;

use std::sync::{Arc, Weak};
use std::time::Duration;

use hub::{SessionId, Sighting};
use rustls::ClientConfig;
use store::{Tab, Table};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

pub(crate) use self::connecting::check_user;
pub use self::consent::webhook_warnings;
use self::deliver::Deliverer;
pub(crate) use self::deliver::Flow;
use self::endpoint::Endpoint;
pub(crate) use self::endpoint::Outcome;
use self::lives::Lives;
pub(crate) use self::look::{Delivery, LookTrouble, View};
use self::outbox::Outbox;
pub(crate) use self::reply::STATE_BYTES_MAX;
use self::reply::StateChange;
use self::teller::Teller;
pub(crate) use self::telling::cause;
use self::watcher::Watcher;
use super::rest::Desk;
use super::sqs::Door;
use super::turns::{Turns, UpcallStream};
use crate::back::rows::Rows;
use crate::config::{Config, Webhook};
use crate::mail::Upcalls;

/// How long it may take at the end until all that clients did was handled.
const END_WAIT: Duration = Duration::from_secs(3);

/// All webhooks of a node; clones share them.
#[derive(Clone)]
pub(crate) struct Webhooks {
    teller: Arc<Teller>,
    /// Of those that are told who comes and goes.
    watchers: Vec<Arc<Watcher>>,
}

impl Webhooks {
    /// Opens the outboxes, and tells of the sessions of an earlier process that are gone. Events leave from now on. Must be
    /// called on a tokio runtime.
    ///
    /// # Errors
    /// The store, or its queues, cannot be used.
    pub(crate) async fn open(
        desk: Desk,
        trust: Trust,
        (door, table): (&Door, Option<Weak<dyn Table>>),
    ) -> Result<Self, String> {
        let (office, config) = (desk.office().clone(), Arc::clone(desk.config()));
        let (mut webhooks, lives) = (Vec::with_capacity(config.webhooks.len()), Arc::<Lives>::default());
        for (webhook, tls) in config.webhooks.iter().zip(trust.0) {
            let name = webhook.name.as_str();
            let outbox = Outbox::open(door, &office, name).await;
            let outbox = outbox.map_err(|error| format!("webhook {name}: {error}"))?;
            let endpoint = Endpoint::new(webhook.clone(), tls);
            webhooks.push(Deliverer::new(endpoint, outbox, &lives, desk.clone()));
        }
        let rows = Rows::new(Tab::Sessions, table);
        let watchers = Watcher::open(&webhooks, &rows, &office).await?;
        let teller = Teller { desk, webhooks, lives, rows };
        teller.tell_of_former().await?;
        for webhook in &teller.webhooks {
            tokio::spawn(Arc::clone(webhook).run());
        }
        Ok(Self { teller: Arc::new(teller), watchers })
    }

    /// Whether anybody is told of that session.
    pub(super) fn are_told_of(&self, session: SessionId) -> bool {
        self.teller.is_told_of(session)
    }

    /// Changes what a session's events bring along from the next one on.
    pub(super) fn put_state(&self, session: SessionId, state: Option<Box<str>>) {
        self.teller.put_state(session, StateChange::Put(state));
    }

    /// Handles what shards tell, until [`Listening::end`]. Must be called on a tokio runtime.
    pub(crate) fn start(self, upcalls: mpsc::Receiver<Upcalls>) -> Listening {
        let teller = Arc::clone(&self.teller);
        let waiting_max = teller.desk.config().limits.inbox_events_max;
        let turns = Turns::new(teller.desk.office().clone(), waiting_max, move |upcall| {
            Arc::clone(&teller).handle(upcall)
        });
        let watchers = self.watchers.clone();
        for watcher in &watchers {
            tokio::spawn(Arc::clone(watcher).run());
        }
        let watching = move |shard, sightings: Vec<Sighting>| {
            watchers.iter().for_each(|watcher| watcher.note(shard, &sightings));
        };
        let (open, is_open) = oneshot::channel();
        let upcalls = UpcallStream::new(upcalls).watching(Box::new(watching)).while_open(is_open);
        Listening { open, turns: tokio::spawn(turns.run(upcalls)), webhooks: self }
    }
}

/// What shards tell is handled.
pub(crate) struct Listening {
    /// Dropped to end it.
    open: oneshot::Sender<()>,
    turns: JoinHandle<()>,
    webhooks: Webhooks,
}

impl Listening {
    /// Once clients do nothing any more: comes when all that they did was handled, and what the back end is to hear of it is stored, or
    /// that took too long.
    pub(crate) async fn end(self) {
        let Self { open, turns, webhooks } = self;
        drop(open);
        let abort = turns.abort_handle();
        let stored = async {
            // Fails only by a panic, which was reported.
            let _ = turns.await;
            for webhook in &webhooks.teller.webhooks {
                webhook.outbox.is_stored().await;
            }
        };
        if tokio::time::timeout(END_WAIT, stored).await.is_err() {
            tracing::warn!(
                "the back end is slow: of some sessions it is told by the next process that they ended"
            );
            abort.abort();
        }
    }
}

/// Whose certificates are trusted, of each webhook with TLS.
pub(crate) struct Trust(Vec<Option<Arc<ClientConfig>>>);

impl Trust {
    /// Reads the files.
    ///
    /// # Errors
    /// Which cannot be read, and why.
    pub(crate) fn load(config: &Config) -> Result<Self, String> {
        let one = |webhook: &Webhook| {
            let tls = webhook
                .url
                .is_secure
                .then(|| load::mqtt::Trust { authorities: webhook.ca_file.clone() }.client_config());
            let tls = tls.transpose();
            tls.map_err(|error| format!("webhook {}: {error}", webhook.name.as_str()))
        };
        config.webhooks.iter().map(one).collect::<Result<_, _>>().map(Self)
    }
}
