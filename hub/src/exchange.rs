//! Messages of higher quality between one session and the hub, both ways: what a client publishes until it is where it is
//! needed, and what a client gets until it has acknowledged it. Numbers and order are `flight`'s business.

use crate::binding::publisher;
use crate::command::{Offer, Publish, Receipt, SessionReceipt, Step, Target};
use crate::effect::{Effect, Effects, Outcome, Recipient, Refusal};
use crate::filter::filter_matches;
use crate::flight::{Due, Flight, Parcel, Sent, Settled, Source};
use crate::hub::Hub;
use crate::hub_mail::HubMail;
use crate::ids::{ChannelName, SessionId, SessionKey};
use crate::journal::{Journal, Promise};
use crate::lifecycle::cost;
use crate::limits::{Allowance, Limits, WhenFull};
use crate::message::{Body, Message, Outgoing, Quality};
use crate::outbox::Outbox;
use crate::pact::{Offered, OfferedState, Pact};
use crate::record::{OwedRecord, Record};
use crate::saved::unpublished_message;
use crate::session::{Session, State};
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::collections::btree_map::Entry;
use std::sync::Arc;

/// What became of a message for one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handed {
    /// The session's connection takes it under this number; 0 = without one.
    Now(u16),
    /// It waits, in the place of so many others that were dropped for it.
    Waits(u32),
    /// There is no connection, and it does not wait for one.
    Missed,
    /// Too much waits. So many others, of which it would have taken the place, are gone, too.
    Dropped(u32),
}

impl Hub {
    /// A claimed session publishes.
    pub(crate) fn offer(&mut self, offer: Offer, effects: &mut Effects) {
        let Offer { session: key, exchange, mut publish, request } = offer;
        let Some(session) = self.sessions.find(key) else { return };
        let (to, id) = (session.recipient(key), session.id);
        let connection = session.pact.as_ref().map_or(0, |pact| pact.connection);
        publish.traits.origin = Some(id);
        publish.traits.user = publisher(&self.bindings, session);
        let is_kept = session.is_kept();
        if let (Some(exchange), Some(rare)) = (exchange, session.rare()) {
            match rare.taken.entry(exchange) {
                Entry::Vacant(place) => {
                    let record = match unpublished_message(&publish).filter(|_| is_kept) {
                        Some(message) => {
                            let offer = Record::Offer { session: id, exchange, message };
                            self.journal.keep(id.partition(), offer)
                        }
                        None => 0,
                    };
                    place.insert(Offered { record, state: OfferedState::Open(Vec::new()) });
                }
                Entry::Occupied(mut place) => {
                    match &mut place.get_mut().state {
                        OfferedState::Open(others) => others.push((connection, request)),
                        OfferedState::Taken => {
                            let done = Effect::Done { to, request, outcome: Outcome::Repeated };
                            self.promise_to(key, done, effects);
                        }
                    }
                    return;
                }
            }
        }
        if publish.traits.quality > Quality::AtMostOnce {
            let shard = self.config.shard;
            let receipt = SessionReceipt { shard, session: key, id, connection, exchange, request };
            publish.receipt = Some(Receipt::Session(receipt));
        }
        if exchange.is_some() && is_kept {
            // If it went on before it is known under its number, it could come twice.
            return self.promise(Promise::Route(Box::new(publish)), effects);
        }
        self.route(publish, effects);
    }

    /// The client has forgotten the number of what it published.
    pub(crate) fn forget(&mut self, key: SessionKey, exchange: u16, request: u64, effects: &mut Effects) {
        let Some(session) = self.sessions.find(key) else { return };
        let (to, partition) = (session.recipient(key), session.id.partition());
        let Some(pact) = &mut session.pact else { return };
        let known = pact.rare.as_mut().and_then(|rare| rare.taken.remove(&exchange));
        pact.tidy();
        let outcome = match known {
            Some(offered) => {
                self.journal.drop_record(partition, offered.record);
                Outcome::Forgotten
            }
            None => Outcome::Refused(Refusal::NotFound),
        };
        self.promise_to(key, Effect::Done { to, request, outcome }, effects);
    }

    /// To the home of the channel it is for.
    pub(crate) fn route(&mut self, publish: Publish, effects: &mut Effects) {
        let Target::Channel(channel) = &publish.target else { return };
        let home = channel.home(&self.config.topology);
        if home == self.config.shard {
            self.publish(publish, effects);
        } else {
            let mail = HubMail::Publish(Box::new(publish));
            effects.list.push(Effect::Mail { to: home, mail });
        }
    }

    /// The home has done with a message: its publisher hears of it, behind what it gets of it itself.
    pub(crate) fn acknowledge(&mut self, receipt: Option<Receipt>, outcome: Outcome, effects: &mut Effects) {
        let Some(receipt) = receipt else { return };
        let to = receipt.shard();
        if to == self.config.shard {
            self.published(receipt, outcome, effects);
        } else {
            effects.list.push(Effect::Mail { to, mail: HubMail::Published { receipt, outcome } });
        }
    }

    /// What a home says when it cannot take a message.
    pub(crate) fn decline(&mut self, receipt: Option<Receipt>, refusal: Refusal, effects: &mut Effects) {
        self.acknowledge(receipt, Outcome::Refused(refusal), effects);
    }

    /// The answer of a home.
    pub(crate) fn published(&mut self, receipt: Receipt, outcome: Outcome, effects: &mut Effects) {
        match receipt {
            Receipt::Session(receipt) => self.offered(receipt, outcome, effects),
            Receipt::Request { session, request, .. } => {
                if !matches!(outcome, Outcome::Refused(_)) {
                    self.answer(&session, request, Body::nothing(), effects);
                }
            }
            Receipt::Front { request, .. } => effects.list.push(Effect::Placed { request, outcome }),
            Receipt::Record { place, seen, .. } => {
                if let Some(message) = seen {
                    self.journal.keep_seen(self.now, place.partition, message);
                }
                self.journal.drop_record(place.partition, place.number);
            }
        }
    }

    /// A message that was refused is not taken: its number is free.
    /// It must not be published after that, so its publisher hears of it when nothing is kept of it.
    fn offered(&mut self, receipt: SessionReceipt, outcome: Outcome, effects: &mut Effects) {
        let key = receipt.session;
        let Some(session) = self.sessions.find(key).filter(|session| session.is(&receipt.id)) else { return };
        let (to, is_connected) = (session.recipient(key), session.is_connected());
        let Some(pact) = &mut session.pact else { return };
        let is_on = |connection| is_connected && connection == pact.connection;
        let mut asked = SmallVec::<[(u64, Outcome); 1]>::new();
        asked.extend(is_on(receipt.connection).then_some((receipt.request, outcome)));
        let is_refused = matches!(outcome, Outcome::Refused(_));
        let mut refused_record = 0;
        if let (Some(exchange), Some(rare)) = (receipt.exchange, &mut pact.rare)
            && let Entry::Occupied(mut place) = rare.taken.entry(exchange)
            && let OfferedState::Open(others) =
                std::mem::replace(&mut place.get_mut().state, OfferedState::Taken)
        {
            let next = if is_refused { outcome } else { Outcome::Repeated };
            let others = others.into_iter().filter(|(connection, _)| is_on(*connection));
            asked.extend(others.map(|(_, request)| (request, next)));
            let record = place.get().record;
            if is_refused {
                place.remove();
                refused_record = record;
            } else if record > 0 {
                let taken = Record::Taken { session: receipt.id, exchange };
                place.get_mut().record = self.journal.keep(receipt.id.partition(), taken);
            }
            self.journal.drop_record(receipt.id.partition(), record);
            pact.tidy();
        }
        for (request, outcome) in asked {
            let done = Effect::Done { to, request, outcome };
            if refused_record > 0 {
                self.promise_to(key, done, effects);
            } else {
                effects.list.push(done);
            }
        }
    }

    pub(crate) fn settle(&mut self, (key, number): (SessionKey, u16), step: Step, effects: &mut Effects) {
        let Some(session) = self.sessions.find(key) else { return };
        let to = session.recipient(key);
        let Some(pact) = &mut session.pact else { return };
        let settled = match &mut pact.flight {
            Some(flight) => flight.settle(number, step),
            None => Flight::default().settle(number, step),
        };
        match settled {
            Settled::Taken(parcel) => {
                self.keep_number(key, number, parcel.as_ref());
                self.promise_to(key, Effect::Taken { to, number }, effects);
                self.tell_settled(key, parcel, effects);
            }
            Settled::Misstep => effects.list.push(Effect::Misstep { to }),
            Settled::Unknown => {}
            Settled::Over(sent) => {
                self.sessions.in_flight -= 1;
                self.bury_number(key, &sent);
                self.tell_settled(key, sent.parcel, effects);
                let session = self.sessions.known(key);
                if session.state == State::Ready && !session.closing {
                    self.pump(key, u32::MAX, effects);
                }
                self.go_on_walking(key, effects);
            }
        }
        if let Some(pact) = &mut self.sessions.known_mut(key).pact {
            pact.tidy();
        }
    }

    /// Sends what has a place with the client, at most `budget` things.
    pub(crate) fn pump(&mut self, key: SessionKey, mut budget: u32, effects: &mut Effects) {
        while budget > 0 {
            let session = self.sessions.known_mut(key);
            let to = session.recipient(key);
            let Some(pact) = &mut session.pact else { return };
            let places = pact.places(&self.config.limits);
            let Some(flight) = &mut pact.flight else { return };
            let before = (flight.len_waiting(), flight.len_sent());
            let due = flight.next(self.now, places);
            let left = (before.0 - flight.len_waiting()) as u64;
            let begun = (flight.len_sent() - before.1) as u64;
            if due.is_none() {
                pact.tidy();
            }
            self.sessions.queued -= left;
            self.sessions.in_flight += begun;
            self.sessions.expired += left - begun;
            match due {
                Some(Due::Message(parcel)) => {
                    let must_wait = self.must_wait(key, &parcel);
                    let item = parcel.into_item();
                    budget = budget.saturating_sub(cost(&item));
                    let send = Effect::Send { to, item };
                    if must_wait {
                        self.promise_to(key, send, effects);
                    } else {
                        effects.list.push(send);
                    }
                }
                Some(Due::Taken(number)) => {
                    budget -= 1;
                    self.promise_to(key, Effect::Taken { to, number }, effects);
                }
                Some(Due::Late(parcel)) => {
                    self.drop_parcel(key, &parcel);
                    self.tell_settled(key, Some(parcel), effects);
                    continue;
                }
                None => return,
            }
        }
    }

    /// Whether what waits of a channel makes place for what comes later.
    pub(crate) fn gives_way(&self, channel: &ChannelName) -> bool {
        let rules = &self.config.rules;
        // Nearly always nobody asks for it, and then nothing is looked up.
        let is_asked = rules.iter().any(|rule| rule.when_full == WhenFull::Oldest);
        let rule = || rules.iter().find(|rule| filter_matches(&rule.filter, channel.as_str()));
        is_asked && rule().is_some_and(|rule| rule.when_full == WhenFull::Oldest)
    }

    /// A message of an earlier hub under the rules of this one.
    pub(crate) fn ruled(&self, message: Arc<Message>) -> Arc<Message> {
        let gives_way = self.gives_way(&message.channel);
        if message.traits.gives_way == gives_way {
            return message;
        }
        let mut message = Arc::unwrap_or_clone(message);
        message.traits.gives_way = gives_way;
        Arc::new(message)
    }

    /// Whether a message that is to be sent now is held back until it is safe, or behind one that is.
    fn must_wait(&mut self, key: SessionKey, parcel: &Parcel) -> bool {
        let session = self.sessions.known_mut(key);
        let is_safe = self.journal.is_safe(session.id.partition(), parcel.record);
        let Some(flight) = session.pact.as_mut().and_then(|pact| pact.flight.as_mut()) else { return false };
        let must_wait = parcel.must_be_kept() && (!is_safe || flight.holds_back());
        if must_wait {
            flight.hold();
        } else {
            flight.left(parcel.grade.number);
        }
        must_wait
    }

    /// Gives a message to one session outside of a delivery to many; whether it has it, or will.
    pub(crate) fn hand_one(&mut self, key: SessionKey, parcel: Parcel, effects: &mut Effects) -> bool {
        let session = self.sessions.known_mut(key);
        let to = session.recipient(key);
        let must_be_kept = session.is_kept() && parcel.grade.quality == Quality::ExactlyOnce;
        let handed = hand(session, &parcel, &self.config.limits, &mut self.journal);
        self.sessions.note(handed);
        if let Handed::Now(number) = handed {
            let send = parcel.numbered(number).send(to);
            if must_be_kept {
                self.promise_to(key, send, effects);
            } else {
                effects.list.push(send);
            }
        }
        matches!(handed, Handed::Now(_) | Handed::Waits(_))
    }

    /// The client has a message of quality `ExactlyOnce`: its number is kept instead.
    fn keep_number(&mut self, key: SessionKey, number: u16, parcel: Option<&Parcel>) {
        let Some(parcel) = parcel.filter(|parcel| parcel.record > 0) else { return };
        let session = self.sessions.known_mut(key);
        let (id, partition) = (session.id, session.id.partition());
        let (message, group) = (parcel.message.id, parcel.group().cloned());
        let used = Record::Used { session: id, number, message, group };
        let record = self.journal.keep(partition, used);
        if let Some(flight) = session.pact.as_mut().and_then(|pact| pact.flight.as_mut()) {
            flight.keep_number(number, record);
        }
        self.journal.drop_record(partition, parcel.record);
    }

    /// An exchange is over. The number of one that was taken exactly once is remembered a little longer.
    fn bury_number(&mut self, key: SessionKey, sent: &Sent) {
        let partition = self.sessions.known(key).id.partition();
        match &sent.parcel {
            Some(parcel) => self.journal.drop_record(partition, parcel.record),
            None => self.journal.bury(self.now, partition, sent.record),
        }
    }

    fn drop_parcel(&mut self, key: SessionKey, parcel: &Parcel) {
        let partition = self.sessions.known(key).id.partition();
        self.journal.drop_record(partition, parcel.record);
    }
}

impl Parcel {
    pub(crate) fn send(self, to: Recipient) -> Effect {
        Effect::Send { to, item: self.into_item() }
    }

    /// Its number must be known after a crash, before the client has it.
    fn must_be_kept(&self) -> bool {
        self.record > 0 && self.grade.quality == Quality::ExactlyOnce
    }

    fn into_item(self) -> Outgoing {
        let Self { message, grade, labels, source: _, record: _ } = self;
        Outgoing::Message { message, ask: None, offset: None, grade, labels }
    }
}

/// As [`place`]; where a session's queue has a measure of its own, what it lost is counted.
pub(crate) fn hand(session: &mut Session, parcel: &Parcel, limits: &Limits, journal: &mut Journal) -> Handed {
    let handed = place(session, parcel, limits, journal);
    let lost = match handed {
        Handed::Waits(instead) => instead,
        Handed::Dropped(outdated) => 1 + outdated,
        Handed::Now(_) | Handed::Missed => return handed,
    };
    let rare = session.pact.as_mut().and_then(|pact| pact.rare.as_mut());
    if let Some(own) = rare.and_then(|rare| rare.own.as_mut()) {
        own.dropped += u64::from(lost);
    }
    handed
}

/// What becomes of a message for a session with a pact. Of quality `AtMostOnce` it is lost with the connection; of higher
/// quality it waits, also without a connection, within the same bounds, and in the place of what is of quality `AtMostOnce`.
/// Where that is not enough it is lost, or takes the place of older ones of its quality that give way.
fn place(session: &mut Session, parcel: &Parcel, limits: &Limits, journal: &mut Journal) -> Handed {
    let is_kept = session.is_kept();
    let ready = session.state == State::Ready && !session.closing;
    let Some(pact) = &mut session.pact else { return Handed::Missed };
    if parcel.grade.quality == Quality::AtMostOnce {
        return if ready { Handed::Now(0) } else { hand_once(session, parcel, limits) };
    }
    let places = pact.places(limits);
    let has_place = pact.flight.as_ref().is_none_or(|flight| flight.has_place(places));
    let take_in = |pact: &mut Pact, journal: &mut Journal| {
        let flight = pact.flight.get_or_insert_default();
        let mut parcel = parcel.clone().numbered(flight.next_number(&mut pact.last));
        if is_kept {
            parcel.record = journal.keep(session.id.partition(), owed(session.id, &parcel));
        }
        parcel
    };
    if ready && has_place {
        let parcel = take_in(pact, journal);
        let (number, must_wait) = (parcel.grade.number, parcel.must_be_kept());
        let flight = pact.flight.get_or_insert_default();
        flight.send(parcel);
        if must_wait {
            flight.hold();
        } else {
            flight.left(number);
        }
        return Handed::Now(number);
    }
    if parcel.message.volatile {
        return Handed::Missed;
    }
    let mut instead = 0;
    if let Some(flight) = pact.flight.as_mut().filter(|_| parcel.outdates()) {
        let outdated = flight.drop_outdated(&parcel.message);
        instead = u32::try_from(outdated.len()).unwrap_or(u32::MAX);
        outdated.into_iter().for_each(|record| journal.drop_record(session.id.partition(), record));
    }
    if pact.flight.as_ref().is_some_and(|flight| !flight.has_number()) {
        return Handed::Dropped(instead);
    }
    let allowance = pact.allowance(limits);
    let waits = Waiting::of(None, pact.flight.as_deref());
    if !matches!(parcel.source, Source::Retained) && waits.are_too_many_for(parcel, allowance) {
        let flight = pact.flight.as_mut().filter(|_| parcel.message.traits.gives_way);
        let goes = |gone: Waiting| !waits.without(gone).are_too_many_for(parcel, allowance);
        let gone = flight.map_or(Vec::new(), |flight| flight.make_way(goes));
        if gone.is_empty() {
            return Handed::Dropped(instead);
        }
        instead += u32::try_from(gone.len()).unwrap_or(u32::MAX);
        gone.into_iter().for_each(|record| journal.drop_record(session.id.partition(), record));
    }
    if let Some(outbox) = &mut session.outbox {
        let is_full = |outbox: &Outbox, flight: &Option<Box<Flight>>| {
            Waiting::of(Some(outbox), flight.as_deref()).are_too_many_for(parcel, allowance)
        };
        while is_full(outbox, &pact.flight) && outbox.drop_oldest() {
            instead += 1;
        }
    }
    let parcel = take_in(pact, journal);
    pact.flight.get_or_insert_default().wait(parcel);
    Handed::Waits(instead)
}

/// A message of quality `AtMostOnce` for a session that cannot take it now.
fn hand_once(session: &mut Session, parcel: &Parcel, limits: &Limits) -> Handed {
    if session.state == State::Detached || session.closing || parcel.message.volatile {
        return Handed::Missed;
    }
    let mut instead = 0;
    if let Some(outbox) = session.outbox.as_mut().filter(|_| parcel.outdates()) {
        instead = outbox.drop_outdated(&parcel.message);
    }
    let pact = session.pact.as_deref();
    let allowance = pact.map_or_else(|| limits.allowance(), |pact| pact.allowance(limits));
    let waits = Waiting::of(session.outbox.as_deref(), pact.and_then(|pact| pact.flight.as_deref()));
    if waits.are_too_many_for(parcel, allowance) {
        let outbox = session.outbox.as_mut().filter(|_| parcel.message.traits.gives_way);
        let goes = |gone: Waiting| !waits.without(gone).are_too_many_for(parcel, allowance);
        let gone = outbox.map_or(0, |outbox| outbox.make_way(goes));
        instead += gone;
        if gone == 0 {
            return Handed::Dropped(instead);
        }
    }
    let outbox = session.outbox.get_or_insert_default();
    match outbox.push(parcel.clone().into_item(), allowance) {
        Ok(()) => Handed::Waits(instead),
        Err(_) => Handed::Dropped(instead),
    }
}

/// What keeps a message for a session.
pub(crate) fn owed(session: SessionId, parcel: &Parcel) -> Record {
    Record::Owed(Box::new(OwedRecord {
        session,
        number: parcel.grade.number,
        message: Arc::clone(&parcel.message),
        quality: parcel.grade.quality,
        retained: parcel.grade.retained,
        labels: parcel.labels.clone(),
        group: parcel.group().cloned(),
    }))
}

/// Things that wait for a session.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Waiting {
    pub(crate) count: usize,
    pub(crate) bytes: u64,
}

impl Waiting {
    fn of(outbox: Option<&Outbox>, flight: Option<&Flight>) -> Self {
        let of_outbox = outbox.map_or((0, 0), |outbox| (outbox.len(), outbox.bytes()));
        let of_flight = flight.map_or((0, 0), |flight| (flight.len_waiting(), flight.bytes_waiting()));
        Self { count: of_outbox.0 + of_flight.0, bytes: of_outbox.1 + of_flight.1 }
    }

    fn without(self, gone: Self) -> Self {
        Self { count: self.count - gone.count, bytes: self.bytes - gone.bytes }
    }

    /// Whether they leave no place for one thing more; one may exceed the bytes alone.
    fn are_too_many_for(self, parcel: &Parcel, allowance: Allowance) -> bool {
        self.count >= allowance.messages_max as usize
            || (self.count > 0 && self.bytes + parcel.message.len_bytes() > allowance.bytes_max)
    }
}

/// Takes away as many of the oldest of those that give way as are `enough`; how many, which is none if there are not enough.
pub(crate) fn make_way<T>(
    items: &mut VecDeque<T>,
    bytes_if_it_gives_way: impl Fn(&T) -> Option<u64>,
    enough: impl Fn(Waiting) -> bool,
) -> Waiting {
    let mut gone = Waiting::default();
    for bytes in items.iter().filter_map(&bytes_if_it_gives_way) {
        gone = Waiting { count: gone.count + 1, bytes: gone.bytes + bytes };
        if enough(gone) {
            let mut left = gone.count;
            items.retain(|item| {
                let goes = left > 0 && bytes_if_it_gives_way(item).is_some();
                left -= usize::from(goes);
                !goes
            });
            return gone;
        }
    }
    Waiting::default()
}
