//! Tells one back end of users and channels that come and go.
//!
//! Owns the way from what shards notice to the outbox, and the rows by which a process knows who was told to be there by the one
//! before. Such a row is safe before the back end hears that one is there, and goes when it has been told that it is gone: so
//! nobody stays there for ever. Must not know pauses (`presence`). Start at [`Watcher::open`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use hub::{ChannelName, Command, Query, Report, ShardId, Sighting, Subject, filter_matches};
use serde::{Deserialize, Serialize};
use store::{Change, Row};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use wire::cloudevent::sequence;
use wire::sqs::id_of;

use super::deliver::Deliverer;
use super::presence::{Presence, Step, Told};
use super::telling::tell_presence;
use crate::auth::unix_now;
use crate::back::office::Office;
use crate::back::rows::Rows;
use crate::config::{ChannelFilter, Webhook, WebhookType};

/// Told at once.
const BATCH: usize = 500;

/// Before what the store did not take is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// Channels that a shard tells at a time.
const PAGE: u32 = 1000;

/// What keys of rows begin with.
const PREFIX: &str = "there/";

/// Of one webhook.
pub(super) struct Watcher {
    webhook: Arc<Deliverer>,
    office: Office,
    rows: Rows,
    presence: Mutex<Presence>,
    changed: Notify,
    /// The place of the next event, unless the clock says a later one.
    place: AtomicU64,
}

/// A row: somebody of whom the back end was told, or is being told, that it is there.
#[derive(Serialize, Deserialize)]
struct Kept<'a> {
    is_user: bool,
    name: &'a str,
    is_told: bool,
}

impl Watcher {
    /// Those of webhooks that want to hear who comes and goes, with what earlier processes told them.
    ///
    /// # Errors
    /// The store cannot be read, or a shard does not answer.
    pub(super) async fn open(
        webhooks: &[Arc<Deliverer>],
        rows: &Rows,
        office: &Office,
    ) -> Result<Vec<Arc<Self>>, String> {
        let mut watchers = Vec::new();
        for webhook in webhooks {
            let config = &webhook.endpoint.config;
            if config.watches_users() || config.watches_channels() {
                watchers.push(Arc::new(Self {
                    webhook: Arc::clone(webhook),
                    office: office.clone(),
                    rows: rows.clone(),
                    presence: Mutex::default(),
                    changed: Notify::new(),
                    place: AtomicU64::new(0),
                }));
            }
        }
        let scanned = rows.clone();
        let read = move || scanned.scan(PREFIX.as_bytes(), |row| Some((row.key.clone(), former(row)?)));
        let former = tokio::task::spawn_blocking(read).await;
        let former = former.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        let until = Instant::now();
        for (key, (subject, told)) in former {
            match watchers.iter().find(|watcher| watcher.key(&subject) == key) {
                Some(watcher) if takes(watcher.config(), &subject) => {
                    watcher.presence().restore(subject.clone(), told, until + watcher.pause(&subject));
                }
                // Nobody wants to know any more.
                _ => drop(rows.change_at(key, Change::Delete)),
            }
        }
        if watchers.iter().any(|watcher| watcher.config().watches_channels()) {
            look(&watchers, office).await?;
        }
        Ok(watchers)
    }

    /// Takes what a shard noticed.
    pub(super) fn note(&self, shard: ShardId, sightings: &[Sighting]) {
        let now = Instant::now();
        let mut presence = self.presence();
        for Sighting { subject, is_here } in sightings {
            if !takes(self.config(), subject) {
                continue;
            }
            if *is_here {
                presence.comes(shard, subject.clone());
            } else {
                presence.goes(shard, subject.clone(), (now, self.pause(subject)));
            }
        }
        drop(presence);
        self.changed.notify_one();
    }

    /// Until the node ends: then all go, and nobody is told, as they come back to the next process.
    pub(super) async fn run(self: Arc<Self>) {
        while !self.office.is_draining() {
            let (batch, deadline) = self.take();
            if !batch.is_empty() {
                self.tell(batch).await;
                continue;
            }
            let due = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.changed.notified() => {}
                () = due => {}
                () = self.office.drain_begins() => {}
            }
        }
    }

    fn take(&self) -> (Vec<Step>, Option<Instant>) {
        let (now, mut presence) = (Instant::now(), self.presence());
        let batch: Vec<_> = std::iter::from_fn(|| presence.next(now)).take(BATCH).collect();
        (batch, presence.next_deadline())
    }

    /// Each is another one, so they need not wait for each other.
    async fn tell(&self, batch: Vec<Step>) {
        let results = join_all(batch.iter().map(|step| self.tell_one(step))).await;
        let mut is_lost = false;
        for (step, is_stored) in batch.into_iter().zip(results) {
            if !is_stored {
                is_lost = true;
                self.presence().failed(step);
            }
        }
        if is_lost && !self.office.is_draining() {
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// `true` once it is stored.
    async fn tell_one(&self, Step { subject, told, .. }: &Step) -> bool {
        let is_here = *told == Told::Here;
        if is_here && !self.rows.is_safe(self.keep(subject, Told::Unsure)).await {
            return false;
        }
        let kind = match (subject, is_here) {
            (Subject::User(_), true) => WebhookType::UserOnline,
            (Subject::User(_), false) => WebhookType::UserOffline,
            (Subject::Channel(_), true) => WebhookType::ChannelOccupied,
            (Subject::Channel(_), false) => WebhookType::ChannelVacated,
        };
        if self.config().types.contains(&kind) {
            let place = sequence(self.next_place());
            let event = tell_presence(kind, subject, &place, self.config().type_prefix.as_str());
            if !self.webhook.outbox.put_of(id_of(&key_of(subject)).into_owned(), &event).await {
                return false;
            }
        }
        // Changes are done in their order, so neither needs to be waited for.
        if is_here {
            drop(self.keep(subject, Told::Here));
        } else {
            drop(self.rows.change_at(self.key(subject), Change::Delete));
        }
        true
    }

    fn keep(&self, subject: &Subject, told: Told) -> Option<oneshot::Receiver<bool>> {
        let (is_user, name) = match subject {
            Subject::User(user) => (true, &**user),
            Subject::Channel(channel) => (false, channel.as_str()),
        };
        let body = postcard::to_allocvec(&Kept { is_user, name, is_told: told == Told::Here }).ok()?;
        self.rows.change_at(self.key(subject), Change::Put { body: body.into(), ttl: None })
    }

    fn key(&self, subject: &Subject) -> Bytes {
        let (webhook, key) = (self.config().name.as_str(), key_of(subject));
        format!("{PREFIX}{webhook}/{}", id_of(&key)).into()
    }

    fn pause(&self, subject: &Subject) -> Duration {
        Duration::from_millis(match subject {
            Subject::User(_) => self.config().offline_after_ms,
            Subject::Channel(_) => self.config().vacated_after_ms,
        })
    }

    /// Rises, over processes too where the clock is right.
    fn next_place(&self) -> u64 {
        self.place.fetch_max(unix_now().0 << 12, Ordering::Relaxed);
        self.place.fetch_add(1, Ordering::Relaxed)
    }

    fn config(&self) -> &Webhook {
        &self.webhook.endpoint.config
    }

    fn presence(&self) -> MutexGuard<'_, Presence> {
        self.presence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Channels of sessions that were restored have come before anybody noticed.
async fn look(watchers: &[Arc<Watcher>], office: &Office) -> Result<(), String> {
    for shard in office.shards() {
        let mut after = None;
        loop {
            let query = Query::Watched { after, limit: PAGE };
            let report = office.ask(shard, |token| Command::Query { token, query }).await;
            let Report::Channels(page) = report.map_err(|error| error.to_string())? else { break };
            after = page.items.last().map(|view| view.channel.clone());
            let sighting = |channel| Sighting { subject: Subject::Channel(channel), is_here: true };
            let sightings: Vec<_> = page.items.into_iter().map(|view| sighting(view.channel)).collect();
            watchers.iter().for_each(|watcher| watcher.note(shard, &sightings));
            if !page.more {
                break;
            }
        }
    }
    Ok(())
}

fn takes(config: &Webhook, subject: &Subject) -> bool {
    match subject {
        Subject::User(_) => config.watches_users(),
        Subject::Channel(channel) => {
            let matches = |filter: &ChannelFilter| filter_matches(filter.as_str(), channel.as_str());
            config.watches_channels() && config.filters.iter().any(matches)
        }
    }
}

/// Whose events come one after the other.
fn key_of(subject: &Subject) -> String {
    match subject {
        Subject::User(user) => format!("user/{user}"),
        Subject::Channel(channel) => format!("channel/{}", channel.as_str()),
    }
}

fn former(row: &Row) -> Option<(Subject, Told)> {
    let Kept { is_user, name, is_told } = postcard::from_bytes(&row.body).ok()?;
    let subject = if is_user {
        Subject::User(name.into())
    } else {
        Subject::Channel(ChannelName::parse(name, u32::MAX).ok()?)
    };
    Some((subject, if is_told { Told::Here } else { Told::Unsure }))
}
