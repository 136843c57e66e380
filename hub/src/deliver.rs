//! One message to its sessions on this shard. The inner loop of the product: no allocation and no hashing per session,
//! one look at each session's memory.

use crate::binding::Copies;
use crate::effect::{Counts, Effect, Effects, Recipient, Report};
use crate::exchange::{Handed, hand};
use crate::flight::{Parcel, Source};
use crate::hub::Hub;
use crate::ids::{AskId, ChannelName, Millis, Offset, SessionId, SessionKey, Token};
use crate::journal::{Journal, Promise, Then};
use crate::limits::Limits;
use crate::message::{Grade, Labels, Message, Outgoing, Quality};
use crate::pact;
use crate::reason::Reason;
use crate::recovery::Scope;
use crate::roster::RosterKey;
use crate::session::{Session, Sessions, State};
use smallvec::SmallVec;
use std::sync::Arc;

/// What is delivered.
pub(crate) struct Delivery<'a> {
    pub(crate) message: &'a Arc<Message>,
    /// Whom it concerns, for the recovery log.
    pub(crate) scope: Scope,
    /// It is an ask, open until then.
    pub(crate) reply_until: Option<Millis>,
    /// Who wants to know.
    pub(crate) token: Option<Token>,
    /// What waits until it is kept here.
    pub(crate) watch: Option<u64>,
    /// Changes of the journal before it began: its report waits for later ones.
    pub(crate) before: u64,
    /// To be made with it; its report waits for them.
    pub(crate) copies: Copies,
}

/// Whom it goes to.
#[derive(Clone, Copy)]
pub(crate) enum Reach<'a> {
    /// Members of any of these, each once.
    Members(&'a [RosterKey]),
    /// Members of several channels, and sessions, each once.
    Union(&'a Union<'a>),
    /// One session.
    One(SessionKey),
}

/// Whom the names concern under which a message was published.
pub(crate) struct Union<'a> {
    /// Each once, in the order of the names.
    pub(crate) rosters: Vec<RosterKey>,
    /// Behind the rosters.
    pub(crate) sessions: Vec<SessionKey>,
    /// By which name each of the rosters is concerned, and then each of the sessions.
    pub(crate) names: Vec<&'a ChannelName>,
}

impl<'a> Reach<'a> {
    pub(crate) fn rosters(&self) -> &'a [RosterKey] {
        match self {
            Reach::Members(rosters) => rosters,
            Reach::Union(union) => &union.rosters,
            Reach::One(_) => &[],
        }
    }

    /// The name by which a message reaches the roster in this place, or the session behind the rosters, if it has several.
    fn name(&self, place: usize) -> Option<&'a ChannelName> {
        match self {
            Reach::Union(union) => union.names.get(place).copied(),
            Reach::Members(_) | Reach::One(_) => None,
        }
    }

    fn sessions(&self) -> &[SessionKey] {
        match self {
            Reach::Members(_) => &[],
            Reach::Union(union) => &union.sessions,
            Reach::One(session) => std::slice::from_ref(session),
        }
    }
}

impl Hub {
    pub(crate) fn deliver(&mut self, delivery: &Delivery<'_>, reach: Reach<'_>, effects: &mut Effects) {
        let asks = delivery.reply_until.is_some();
        if asks && self.asks.len() >= self.config.limits.asks_max as usize {
            self.copy(&delivery.copies, delivery.message, None, effects);
            return self.drop_ask(delivery, reach, effects);
        }
        self.next_stamp();
        let except = self.mark_excepted(delivery.message, reach);
        let logged = self.sessions.recovering > 0 && !asks && !delivery.message.volatile;
        let mut pass = Pass {
            limits: &self.config.limits,
            message: delivery.message,
            to_readers: Arc::clone(delivery.message),
            is_renamed: false,
            stamp: self.stamp,
            except: &except,
            ask: asks.then(|| self.asks.next_id()),
            offset: (self.sessions.recovering > 0).then(|| self.log.offset(u64::from(logged))),
            start: effects.recipients.len(),
            counts: Counts::default(),
            asked: Vec::new(),
            missing: Vec::new(),
            is_recovering: false,
            rosters: reach.rosters(),
            sessions: &mut self.sessions,
            journal: &mut self.journal,
            effects,
        };
        for (place, roster) in reach.rosters().iter().enumerate() {
            let members = &self.rosters.known(*roster).members;
            if !members.is_empty() {
                pass.call(reach.name(place));
            }
            for key in members {
                pass.offer(*key, None);
            }
        }
        for (place, key) in (reach.rosters().len()..).zip(reach.sessions()) {
            pass.call(reach.name(place));
            pass.offer(*key, Some(Quality::ExactlyOnce));
        }
        let Pass { mut counts, asked, missing, is_recovering, mut offset, ask, start, .. } = pass;
        if logged && is_recovering {
            self.append_to_log(delivery, reach);
        } else if logged {
            offset = Some(self.log.offset(0));
        }
        if effects.recipients.len() > start {
            let to = start..effects.recipients.len();
            let message = Arc::clone(delivery.message);
            effects.list.push(Effect::Deliver { message, ask, offset, to });
        }
        let report = self.watch_report(delivery);
        self.copy(&delivery.copies, delivery.message, report, effects);
        if !asks {
            let watch = delivery.watch.or(report);
            counts = self.deal_all((delivery.message, watch), reach, counts, effects);
        }
        let expecting = u32::try_from(asked.len()).expect("no more than sessions");
        if let (true, Some(until), Some(token)) = (expecting > 0, delivery.reply_until, delivery.token) {
            self.open_ask(token, until, Arc::clone(delivery.message), (asked, missing));
        }
        if let Some((token, watch)) = delivery.token.zip(report) {
            self.journal.watch_for(watch, Then::Report(token, counts));
            self.promise_after(delivery.before, Promise::Watched(watch), effects);
        } else {
            self.report_delivered(delivery.token, counts, expecting, effects);
        }
    }

    /// To the groups of whom it reaches; adds to the counts.
    fn deal_all(
        &mut self,
        (message, watch): (&Arc<Message>, Option<u64>),
        reach: Reach<'_>,
        mut counts: Counts,
        effects: &mut Effects,
    ) -> Counts {
        for (place, roster) in reach.rosters().iter().enumerate() {
            if self.rosters.known(*roster).groups.is_some() {
                let message = called(message, reach.name(place));
                counts = self.deal((&message, watch), *roster, counts, effects);
            }
        }
        counts
    }

    /// With a journal, the back office hears of a message of higher quality when it is kept here, and with the members of
    /// share groups; of any message when its copies are safe.
    fn watch_report(&mut self, delivery: &Delivery<'_>) -> Option<u64> {
        let token = delivery.token.filter(|_| delivery.reply_until.is_none())?;
        let is_certain = self.journal.is_on() && delivery.message.traits.quality > Quality::AtMostOnce;
        (is_certain || !delivery.copies.is_empty())
            .then(|| self.journal.watch(Then::Report(token, Counts::default())))
    }

    pub(crate) fn report_delivered(
        &self,
        token: Option<Token>,
        counts: Counts,
        expecting: u32,
        effects: &mut Effects,
    ) {
        if let Some(token) = token {
            effects.report(token, Report::Delivered { shard: self.config.shard, counts, expecting });
        }
    }

    /// An ask that finds this hub full of asks reaches nobody here.
    fn drop_ask(&self, delivery: &Delivery<'_>, reach: Reach<'_>, effects: &mut Effects) {
        let dropped = u32::try_from(self.reach_max(reach)).unwrap_or(u32::MAX);
        self.report_delivered(delivery.token, Counts { dropped, ..Counts::default() }, 0, effects);
    }

    fn reach_max(&self, reach: Reach<'_>) -> usize {
        let members = reach.rosters().iter().map(|key| self.rosters.known(*key).members.len());
        members.sum::<usize>() + reach.sessions().len()
    }

    /// Stamps start over after 2^32 deliveries; then what the sessions remember is void.
    fn next_stamp(&mut self) {
        self.stamp = self.stamp.wrapping_add(1);
        if self.stamp == 0 {
            self.sessions.clear_stamps();
            self.stamp = 1;
        }
    }

    /// Makes excepted sessions look as if this delivery had seen them. Returns the excepted rosters that have more
    /// members than the delivery reaches: those are looked for at each recipient instead.
    fn mark_excepted(&mut self, message: &Message, reach: Reach<'_>) -> SmallVec<[RosterKey; 4]> {
        let mut large = SmallVec::new();
        let Some(except) = &message.except else { return large };
        for key in
            except.sessions.iter().filter_map(|id| self.sessions.key_of(id)).collect::<SmallVec<[_; 4]>>()
        {
            self.sessions.known_mut(key).stamp = self.stamp;
        }
        let reached = self.reach_max(reach);
        for roster in except.channels.iter().filter_map(|channel| self.rosters.find(channel.as_str())) {
            let members = &self.rosters.known(roster).members;
            if members.len() > reached {
                large.push(roster);
                continue;
            }
            for key in members {
                self.sessions.known_mut(*key).stamp = self.stamp;
            }
        }
        large
    }
}

/// A delivery on its way through the sessions.
struct Pass<'a> {
    sessions: &'a mut Sessions,
    journal: &'a mut Journal,
    effects: &'a mut Effects,
    limits: &'a Limits,
    message: &'a Arc<Message>,
    /// The same, by the name that concerns those who are offered it now.
    to_readers: Arc<Message>,
    /// It has come to others by another name already, or comes so now.
    is_renamed: bool,
    stamp: u32,
    except: &'a [RosterKey],
    ask: Option<AskId>,
    /// What recovering sessions are to remember.
    offset: Option<Offset>,
    /// Where its recipients begin.
    start: usize,
    counts: Counts,
    /// Sessions it asks, in no order.
    asked: Vec<SessionKey>,
    /// Sessions that have too many open asks.
    missing: Vec<SessionId>,
    /// Whether it concerns a session that may be resumed.
    is_recovering: bool,
    /// By which it comes.
    rosters: &'a [RosterKey],
}

impl Pass<'_> {
    /// From now on readers get it by this name.
    fn call(&mut self, name: Option<&ChannelName>) {
        if name.is_some_and(|name| *name != self.to_readers.channel) && self.ask.is_none() {
            self.to_readers = called(self.message, name);
            self.is_renamed = true;
        }
    }

    /// `named` is what the message itself grants to a session that it names.
    fn offer(&mut self, key: SessionKey, named: Option<Quality>) {
        let session = self.sessions.known_mut(key);
        if session.stamp == self.stamp {
            return;
        }
        session.stamp = self.stamp;
        if self.except.iter().any(|roster| session.is_subscribed(*roster)) {
            return;
        }
        if session.is_observer() {
            if session.state == State::Ready {
                self.effects.recipients.push(session.recipient(key));
            }
            return;
        }
        if session.pact.is_some() {
            return self.offer_graded(key, named);
        }
        if self.ask.is_some() && session.asks >= self.limits.asks_per_session_max {
            self.counts.dropped += 1;
            self.missing.push(session.id);
            return;
        }
        self.is_recovering |= session.recovery.is_some();
        if session.state == State::Ready && !session.closing {
            let to = session.recipient(key);
            if self.is_renamed && session.is_reader() {
                self.effects.send(to, (self.message, &self.to_readers), None);
            } else {
                self.effects.recipients.push(to);
            }
            self.counts.delivered += 1;
        } else if self.leave_waiting(key) {
            self.counts.queued += 1;
        } else {
            self.counts.dropped += 1;
            return;
        }
        if self.ask.is_some() {
            self.sessions.known_mut(key).asks += 1;
            self.asked.push(key);
        }
    }

    /// For a session with a pact: as its subscriptions grant, within its window. It cannot be asked.
    fn offer_graded(&mut self, key: SessionKey, named: Option<Quality>) {
        let session = self.sessions.known_mut(key);
        if self.ask.is_some() {
            self.counts.dropped += 1;
            self.missing.push(session.id);
            return;
        }
        let Some(pact) = &session.pact else { return };
        let Some((grade, labels)) = pact::grade(session, pact, self.message, (self.rosters, named)) else {
            return;
        };
        if self.journal.has_had(&session.id, self.message) {
            self.counts.queued += 1;
            return;
        }
        let (message, source) = (Arc::clone(&self.to_readers), Source::Live);
        let parcel = Parcel { message, grade, labels, source, record: 0 };
        let handed = hand(session, &parcel, self.limits, self.journal);
        match handed {
            Handed::Now(number) => {
                let to = Recipient { grade: Grade { number, ..grade }, ..session.recipient(key) };
                self.counts.delivered += 1;
                if session.is_kept() && grade.quality == Quality::ExactlyOnce {
                    let send = parcel.numbered(number).send(to);
                    self.journal.promise_to(session, send, &mut self.effects.list);
                } else {
                    self.effects.send(to, (self.message, &self.to_readers), parcel.labels);
                }
            }
            Handed::Waits(_) => self.counts.queued += 1,
            Handed::Missed | Handed::Dropped(_) => self.counts.dropped += 1,
        }
        let is_certain = grade.quality > Quality::AtMostOnce || self.message.traits.quality == grade.quality;
        if self.message.traits.retain && is_certain && matches!(handed, Handed::Now(_) | Handed::Waits(_)) {
            session.saw(self.message.id);
        }
        self.sessions.note(handed);
    }

    /// For a session that cannot take it now; false if it never gets it.
    fn leave_waiting(&mut self, key: SessionKey) -> bool {
        let session = self.sessions.known_mut(key);
        if self.message.volatile {
            return false;
        }
        let may_recover = session.recovery.is_some();
        if session.state == State::Detached || session.closing {
            return may_recover;
        }
        let message = if session.is_reader() { &self.to_readers } else { self.message };
        let item = Outgoing::Message {
            message: Arc::clone(message),
            ask: self.ask,
            offset: self.offset.filter(|_| may_recover),
            grade: Grade::default(),
            labels: None,
        };
        let outbox = session.outbox.get_or_insert_default();
        let outdated = if message.traits.key.is_some() { outbox.drop_outdated(message) } else { 0 };
        let waits = outbox.push(item, self.limits.allowance()).is_ok();
        if !waits {
            self.effects.list.push(close_slow(key, session));
        }
        self.sessions.queued -= u64::from(outdated);
        self.sessions.dropped += u64::from(outdated);
        self.sessions.queued += u64::from(waits);
        waits || may_recover
    }
}

/// A message by this name, if it has several.
fn called(message: &Arc<Message>, name: Option<&ChannelName>) -> Arc<Message> {
    match name {
        Some(name) if *name != message.channel => {
            Arc::new(Message { channel: name.clone(), ..Message::clone(message) })
        }
        _ => Arc::clone(message),
    }
}

/// The connection of a session whose outbox is full ends, once.
fn close_slow(key: SessionKey, session: &mut Session) -> Effect {
    session.closing = true;
    let to = session.recipient(key);
    Effect::CloseConnection { to, reason: Reason::SlowConsumer }
}

impl Effects {
    /// One more recipient of the delivery under way; by another name, or with labels, which are its own, something for it alone.
    fn send(&mut self, to: Recipient, (delivered, message): (&Arc<Message>, &Arc<Message>), labels: Labels) {
        if labels.is_none() && Arc::ptr_eq(delivered, message) {
            return self.recipients.push(to);
        }
        let message = Arc::clone(message);
        let item = Outgoing::Message { message, ask: None, offset: None, grade: to.grade, labels };
        self.list.push(Effect::Send { to, item });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Admit, Body, ChannelName, Command, Config, MessageId, Open, Part, Publish, RecoveryLimits, ShardId,
        Tag, Target, Topology,
    };

    fn hub() -> Hub {
        let limits = Limits {
            sessions_max: 10,
            channels_max: 10,
            subscriptions_per_session_max: 10,
            channel_name_bytes_max: 10,
            outbox_messages_max: 10,
            outbox_bytes_max: 10,
            asks_per_session_max: 1,
            asks_max: 1,
            history_bytes_max: 0,
            retained_max: 0,
            retained_bytes_max: 0,
            delayed_max: 1000,
            delayed_bytes_max: 100_000,
            recovery: RecoveryLimits { messages_max: 1, bytes_max: 1, window_ms: 1 },
        };
        let topology = Topology { shards: 1, partitions: 1 };
        Hub::new(Config { shard: ShardId(0), topology, epoch: 0, limits, rules: Vec::new() })
    }

    #[test]
    fn deliveries_go_on_when_their_numbers_start_over() {
        let (mut hub, mut effects) = (hub(), Effects::default());
        let session = SessionKey(0);
        let open = Open { tag: Tag(0), random: [0; 9], recover: false, part: Part::Client };
        let subscriptions = vec!["a".to_owned(), "#".to_owned()];
        let admit = Admit { session, user: None, info: None, subscriptions, keepsake: bytes::Bytes::new() };
        let resume = Command::Resume { session, budget: 9 };
        for command in [Command::Open(open), Command::Admit(admit), resume] {
            hub.apply(Millis(0), command, &mut effects);
        }
        let deliver = |hub: &mut Hub| {
            let mut effects = Effects::default();
            let publish = Publish {
                id: MessageId(0),
                target: Target::Channel(ChannelName::parse("a", 10).expect("valid")),
                event: None,
                body: Body::Raw(bytes::Bytes::new()),
                volatile: false,
                except: None,
                reply_within_ms: None,
                token: None,
                traits: crate::Traits::default(),
                receipt: None,
            };
            hub.apply(Millis(0), Command::Publish(Box::new(publish)), &mut effects);
            effects.recipients.len()
        };
        assert_eq!((deliver(&mut hub), hub.stamp), (1, 1));
        hub.stamp = u32::MAX;
        assert_eq!((deliver(&mut hub), hub.stamp), (1, 1), "the session had seen a delivery of that number");
    }
}
