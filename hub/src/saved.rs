//! What of a claimed session goes on in the next process, as plain data, and how a hub takes it in again.
//!
//! Kept are the session under its client's name, what it is subscribed to, every message on its way to it, under which
//! number and how far, and what it has published but not forgotten. Not kept: what is of quality `AtMostOnce`, and who
//! waits for answers. When a snapshot is made, and what else is in it, is `snapshot`'s business.

use crate::command::{Options, Publish, Target, Will};
use crate::effect::Effects;
use crate::flight::{Flight, Parcel, Sent, Source};
use crate::hub::Hub;
use crate::hub_mail::{ShareChange, ShareMail, Walk};
use crate::ids::{ChannelName, Millis, SessionId, SessionKey, ShardId};
use crate::interest::{Joined, Waiter};
use crate::message::{Grade, Message, Quality};
use crate::pact::{Offered, OfferedState, Pact};
use crate::session::{Identity, Session, State};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A session under its client's own name. Messages are places in [`Snapshot::messages`](crate::Snapshot::messages).
#[derive(Clone, Debug)]
pub struct SavedClaim {
    /// The public name.
    pub id: SessionId,
    /// The client's own name.
    pub name: Arc<str>,
    /// The back end's user.
    pub user: Option<Arc<str>>,
    /// How long ago it was opened. Milliseconds.
    pub age_ms: u64,
    /// How long it outlives its connection. Milliseconds.
    pub keep_ms: u64,
    /// How much longer it is kept; `u64::MAX` = for ever. Milliseconds.
    pub left_ms: u64,
    /// Most exchanges at once.
    pub window: u16,
    /// The number given last.
    pub last: u16,
    /// Published when its time has come.
    pub will: Option<SavedWill>,
    /// Channels and filters.
    pub subscriptions: Vec<SavedSubscription>,
    /// Share groups, each named `group/filter`.
    pub shares: Vec<SavedSubscription>,
    /// Exchanges that are not over, in the order in which they began.
    pub sent: Vec<SavedExchange>,
    /// What waits for a place, in order.
    pub waiting: Vec<SavedParcel>,
    /// Numbers under which the client has published and which it has not forgotten.
    pub taken: Vec<u16>,
    /// Walks over retained values that are not at their end.
    pub walks: Vec<SavedWalk>,
}

/// A will that was not published.
#[derive(Clone, Debug)]
pub struct SavedWill {
    /// Its message.
    pub message: u32,
    /// As in [`Will`].
    pub expires_after_ms: Option<u64>,
    /// When it is due. Milliseconds from now.
    pub left_ms: u64,
}

/// A message that is to be published later.
#[derive(Clone, Debug)]
pub struct SavedDelayed {
    /// It.
    pub message: u32,
    /// When it is due. Milliseconds from now.
    pub left_ms: u64,
}

/// A subscription with its options.
#[derive(Clone, Debug)]
pub struct SavedSubscription {
    /// Channel name or filter.
    pub name: Arc<str>,
    /// How it is served.
    pub options: Options,
}

/// An exchange that is not over.
#[derive(Clone, Debug)]
pub struct SavedExchange {
    /// Names it.
    pub number: u16,
    /// `AtLeastOnce` or `ExactlyOnce`.
    pub quality: Quality,
    /// `None` once the client has it and only the number is in use.
    pub parcel: Option<SavedParcel>,
}

/// A message for one session.
#[derive(Clone, Debug)]
pub struct SavedParcel {
    /// Which.
    pub message: u32,
    /// How the session gets it.
    pub quality: Quality,
    /// The client is told that it is a retained value.
    pub retained: bool,
    /// Of the subscriptions that it came by.
    pub labels: Vec<u32>,
    /// The share group that it was dealt from.
    pub group: Option<Arc<str>>,
}

/// A walk over the values of one home.
#[derive(Clone, Debug)]
pub struct SavedWalk {
    /// That home.
    pub home: ShardId,
    /// Which channels.
    pub filter: Arc<str>,
    /// How the session wants them.
    pub options: Options,
    /// Only channels after this one.
    pub after: Option<ChannelName>,
}

/// The messages of a snapshot, each once, however many sessions it is for.
#[derive(Debug)]
pub(crate) struct Messages {
    now: Millis,
    pub(crate) list: Vec<Arc<Message>>,
    /// By address.
    places: BTreeMap<usize, u32>,
}

impl Messages {
    pub(crate) fn new(now: Millis) -> Self {
        Self { now, list: Vec::new(), places: BTreeMap::new() }
    }

    /// The place of a message, which must outlive this.
    pub(crate) fn place(&mut self, message: &Arc<Message>) -> u32 {
        let (now, list) = (self.now, &mut self.list);
        *self.places.entry(Arc::as_ptr(message).addr()).or_insert_with(|| add(list, leaving(message, now)))
    }

    /// The place of a message that is published yet to be.
    fn place_unpublished(&mut self, publish: &Publish) -> Option<u32> {
        let message = unpublished_message(publish)?;
        Some(add(&mut self.list, leaving(&message, self.now)))
    }

    fn parcel(&mut self, parcel: &Parcel) -> SavedParcel {
        SavedParcel {
            message: self.place(&parcel.message),
            quality: parcel.grade.quality,
            retained: parcel.grade.retained,
            labels: parcel.labels.iter().flatten().copied().collect(),
            group: parcel.group().cloned(),
        }
    }
}

/// What a publish to one channel would bring.
pub(crate) fn unpublished_message(publish: &Publish) -> Option<Arc<Message>> {
    let Target::Channel(channel) = &publish.target else { return None };
    Some(Arc::new(Message {
        id: publish.id,
        channel: channel.clone(),
        event: publish.event.clone(),
        body: publish.body.clone(),
        volatile: publish.volatile,
        except: publish.except.clone(),
        traits: publish.traits.clone(),
        position: None,
        published: Millis(0),
    }))
}

fn add(list: &mut Vec<Arc<Message>>, message: Arc<Message>) -> u32 {
    list.push(message);
    u32::try_from(list.len() - 1).expect("fewer messages than 2^32 fit into memory")
}

/// A message as it leaves: its end counts from now.
pub(crate) fn leaving(message: &Arc<Message>, now: Millis) -> Arc<Message> {
    moved(message, |expires| expires.saturating_sub(now.0))
}

/// And as it arrives, `elapsed_ms` later.
pub(crate) fn arriving(message: &Arc<Message>, now: Millis, elapsed_ms: u64) -> Arc<Message> {
    moved(message, |left_ms| now.0.saturating_add(left_ms.saturating_sub(elapsed_ms)))
}

fn moved(message: &Arc<Message>, to: impl Fn(u64) -> u64) -> Arc<Message> {
    let Some(expires) = message.traits.expires else { return Arc::clone(message) };
    let mut message = Message::clone(message);
    message.traits.expires = Some(Millis(to(expires.0)));
    Arc::new(message)
}

impl Hub {
    /// `None` for a session that ends with its connection, and for one that records keep. One that is connected counts as
    /// detached now.
    pub(crate) fn saved_claim(&self, session: &Session, messages: &mut Messages) -> Option<SavedClaim> {
        let pact = session.pact.as_ref().filter(|pact| pact.keep_ms > 0 && pact.records.is_none())?;
        let left = |at: Millis| if at.0 == u64::MAX { u64::MAX } else { at.0.saturating_sub(messages.now.0) };
        let is_detached = session.state == State::Detached;
        let left_ms = if is_detached { left(pact.until) } else { pact.keep_ms };
        let will_left =
            |will: &Will| if is_detached { left(pact.will_at) } else { left_ms.min(will.delay_ms) };
        let will_left_ms = pact.will.as_deref().map(will_left);
        let name =
            |record: &crate::session::Subscription| Arc::clone(&self.rosters.known(record.roster).name.0);
        let records = session.subscriptions.iter().map(name).zip(&pact.options);
        let rare = pact.rare.as_deref();
        let shares =
            rare.into_iter().flat_map(|rare| &rare.shares).map(|(name, options)| (Arc::clone(name), options));
        let saved = |(name, options): (Arc<str>, &Options)| SavedSubscription { name, options: *options };
        let taken = rare.into_iter().flat_map(|rare| &rare.taken);
        let own = self.config.shard;
        let walking = self.walking.iter().filter(|walk| walk.session == session.id).map(|walk| (own, walk));
        let walks = pact.pages_to_come().chain(walking);
        let walks = walks.filter(|(_, walk)| walk.options.quality > Quality::AtMostOnce);
        let mut claim = SavedClaim {
            id: session.id,
            name: Arc::clone(&pact.name),
            user: session.user(),
            age_ms: messages.now.0.saturating_sub(session.since.0),
            keep_ms: pact.keep_ms,
            left_ms,
            window: pact.window,
            last: pact.last,
            will: None,
            subscriptions: records.map(saved).collect(),
            shares: shares.map(saved).collect(),
            sent: Vec::new(),
            waiting: Vec::new(),
            taken: taken.filter(|(_, offered)| offered.is_taken()).map(|(number, _)| *number).collect(),
            walks: walks.map(|(home, walk)| SavedWalk::of(home, walk)).collect(),
        };
        claim.will =
            pact.will.as_deref().zip(will_left_ms).and_then(|(will, ms)| saved_will(will, ms, messages));
        if let Some(flight) = &pact.flight {
            for Sent { number, quality, parcel, .. } in flight.exchanges() {
                let (number, quality) = (*number, *quality);
                let parcel = parcel.as_ref().map(|parcel| messages.parcel(parcel));
                claim.sent.push(SavedExchange { number, quality, parcel });
            }
            claim.waiting.extend(flight.waiting().map(|parcel| messages.parcel(parcel)));
        }
        Some(claim)
    }

    /// What a session is subscribed to, what is on its way to it, and when it ends. Its record is there.
    pub(crate) fn restore_claim(
        &mut self,
        claim: SavedClaim,
        messages: &[Arc<Message>],
        elapsed_ms: u64,
        effects: &mut Effects,
    ) {
        let Some(key) = self.sessions.key_of(&claim.id) else { return };
        let at = |left_ms: u64| match left_ms {
            u64::MAX => Millis(u64::MAX),
            left_ms => Millis(self.now.0.saturating_add(left_ms.saturating_sub(elapsed_ms))),
        };
        let (until, will_at) = (at(claim.left_ms), claim.will.as_ref().map(|will| at(will.left_ms)));
        let mut pact = Pact::new(Arc::clone(&claim.name), self.allowance_of(&claim.name));
        (pact.keep_ms, pact.until, pact.will_at) = (claim.keep_ms, until, will_at.unwrap_or(until));
        (pact.window, pact.last) = (claim.window.max(1), claim.last);
        pact.will = claim.will.as_ref().and_then(|will| restored_will(will, messages));
        if !claim.taken.is_empty() {
            let offered = || Offered { record: 0, state: OfferedState::Taken };
            let taken = claim.taken.iter().map(|number| (*number, offered()));
            pact.rare.get_or_insert_default().taken = taken.collect();
        }
        let sent = claim.sent.iter().filter_map(|exchange| {
            let parcel = match &exchange.parcel {
                Some(parcel) => Some(parcel.restored(messages)?),
                None => None,
            };
            let parcel = parcel.map(|parcel: Parcel| parcel.numbered(exchange.number));
            let SavedExchange { number, quality, .. } = *exchange;
            Some(Sent { number, quality, parcel, record: 0, has_left: true })
        });
        let waiting = claim.waiting.iter().filter_map(|parcel| parcel.restored(messages));
        let flight = Flight::restored(sent, waiting, &mut pact.last);
        self.sessions.queued += flight.len_waiting() as u64;
        self.sessions.in_flight += flight.len_sent() as u64;
        pact.flight = Some(Box::new(flight));
        pact.expect_pages(claim.walks.iter().map(|walk| walk.restored(claim.id)));
        pact.tidy();
        self.sessions.known_mut(key).pact = Some(Box::new(pact));
        self.names.insert(&self.sessions, key);
        if until.0 < u64::MAX {
            self.windows.insert((until, key));
        }
        if let Some(at) = will_at.filter(|at| at.0 < u64::MAX) {
            self.wills.insert((at, key));
        }
        for SavedSubscription { name, options } in claim.subscriptions {
            let roster = self.rosters.find_or_insert(&name);
            self.join(key, roster, effects);
            self.set_options(key, roster, options);
        }
        for share in claim.shares {
            self.rejoin(key, (claim.id, claim.window), share, effects);
        }
    }

    /// A session that is away is a member again. Nobody waits for the answer.
    fn rejoin(
        &mut self,
        key: SessionKey,
        (member, window): (SessionId, u16),
        share: SavedSubscription,
        effects: &mut Effects,
    ) {
        let SavedSubscription { name: group, options } = share;
        if let Some(rare) = self.sessions.known_mut(key).rare() {
            rare.shares.push((Arc::clone(&group), options));
        }
        let joined = Joined { session: key, id: member, connection: 0, request: 0, is_new: true, walk: None };
        let token = self.interests.expect(Waiter::Join(Box::new(joined)));
        for change in [ShareChange::Joins { options, window, token }, ShareChange::Away] {
            self.tell_share(ShareMail { group: Arc::clone(&group), member, change }, effects);
        }
    }
}

impl SavedClaim {
    /// The record, without what it remembers and is subscribed to.
    pub(crate) fn session(&self, since: Millis) -> Session {
        let identity = Identity::of(self.user.clone(), None);
        Session { identity, ..Session::new(self.id, State::Detached, since) }
    }
}

impl SavedWalk {
    fn of(home: ShardId, walk: &Walk) -> Self {
        let Walk { filter, options, after, .. } = walk;
        Self { home, filter: Arc::clone(&filter.0), options: *options, after: after.clone() }
    }

    fn restored(&self, session: SessionId) -> (ShardId, Walk) {
        let Self { home, filter, options, after } = self;
        let (filter, after) = (ChannelName(Arc::clone(filter)), after.clone());
        (*home, Walk { session, filter, options: *options, after, since: 0 })
    }
}

impl SavedParcel {
    fn restored(&self, messages: &[Arc<Message>]) -> Option<Parcel> {
        let message = Arc::clone(messages.get(self.message as usize)?);
        let grade = Grade { quality: self.quality, retained: self.retained, ..Grade::default() };
        let labels = (!self.labels.is_empty()).then(|| self.labels.as_slice().into());
        let source = self.group.clone().map_or(Source::Live, Source::Group);
        Some(Parcel { message, grade, labels, source, record: 0 })
    }
}

fn saved_will(will: &Will, left_ms: u64, messages: &mut Messages) -> Option<SavedWill> {
    let message = messages.place_unpublished(&will.publish)?;
    Some(SavedWill { message, expires_after_ms: will.expires_after_ms, left_ms })
}

/// Its delay has become a time.
fn restored_will(will: &SavedWill, messages: &[Arc<Message>]) -> Option<Box<Will>> {
    let publish = unpublished(messages.get(will.message as usize)?);
    Some(Box::new(Will { publish, expires_after_ms: will.expires_after_ms, delay_ms: 0 }))
}

impl SavedDelayed {
    pub(crate) fn of(at: Millis, publish: &Publish, messages: &mut Messages) -> Option<Self> {
        let left_ms = at.0.saturating_sub(messages.now.0);
        Some(Self { message: messages.place_unpublished(publish)?, left_ms })
    }

    pub(crate) fn restored(
        &self,
        messages: &[Arc<Message>],
        now: Millis,
        elapsed_ms: u64,
    ) -> Option<(Millis, Publish)> {
        let at = Millis(now.0.saturating_add(self.left_ms.saturating_sub(elapsed_ms)));
        Some((at, unpublished(messages.get(self.message as usize)?)))
    }
}

/// A message that is published yet to be.
pub(crate) fn unpublished(message: &Arc<Message>) -> Publish {
    Publish {
        id: message.id,
        target: Target::Channel(message.channel.clone()),
        event: message.event.clone(),
        body: message.body.clone(),
        volatile: message.volatile,
        except: message.except.clone(),
        reply_within_ms: None,
        token: None,
        traits: message.traits.clone(),
        receipt: None,
    }
}
