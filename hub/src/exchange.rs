//! Messages of higher quality between one session and the hub, both ways: what a client publishes until it is where it is
//! needed, and what a client gets until it has acknowledged it. Numbers and order are `flight`'s business.

use crate::command::{Offer, Publish, Receipt, Step, Target};
use crate::effect::{Effect, Effects, HubMail, Outcome, Recipient, Refusal};
use crate::filter::filter_matches;
use crate::flight::{Due, Flight, Parcel, Settled, Source};
use crate::hub::Hub;
use crate::ids::{ChannelName, SessionKey};
use crate::lifecycle::cost;
use crate::limits::{Limits, WhenFull};
use crate::message::{Grade, Message, Outgoing, Quality};
use crate::outbox::Outbox;
use crate::pact::Offered;
use crate::session::{Session, State};
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
    /// Too much waits.
    Dropped,
}

impl Hub {
    /// A claimed session publishes.
    pub(crate) fn offer(&mut self, offer: Offer, effects: &mut Effects) {
        let Offer { session: key, exchange, mut publish, request } = offer;
        let Some(session) = self.sessions.find(key) else { return };
        let (to, id) = (session.recipient(key), session.id);
        let connection = session.pact.as_ref().map_or(0, |pact| pact.connection);
        if let (Some(exchange), Some(rare)) = (exchange, session.rare()) {
            match rare.taken.entry(exchange) {
                Entry::Vacant(place) => {
                    place.insert(Offered::Open(Vec::new()));
                }
                Entry::Occupied(mut place) => {
                    return match place.get_mut() {
                        Offered::Open(others) => others.push((connection, request)),
                        Offered::Taken => {
                            effects.list.push(Effect::Done { to, request, outcome: Outcome::Repeated });
                        }
                    };
                }
            }
        }
        publish.traits.origin = Some(id);
        if publish.traits.quality > Quality::AtMostOnce {
            let shard = self.config.shard;
            publish.receipt = Some(Receipt { shard, session: key, id, connection, exchange, request });
        }
        self.route(publish, effects);
    }

    /// The client has forgotten the number of what it published.
    pub(crate) fn forget(&mut self, key: SessionKey, exchange: u16, request: u64, effects: &mut Effects) {
        let Some(session) = self.sessions.find(key) else { return };
        let to = session.recipient(key);
        let Some(pact) = &mut session.pact else { return };
        let known = pact.rare.as_mut().and_then(|rare| rare.taken.remove(&exchange));
        pact.tidy();
        let outcome = known.map_or(Outcome::Refused(Refusal::NotFound), |_| Outcome::Forgotten);
        effects.list.push(Effect::Done { to, request, outcome });
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
        if receipt.shard == self.config.shard {
            self.published(receipt, outcome, effects);
        } else {
            let mail = HubMail::Published { receipt, outcome };
            effects.list.push(Effect::Mail { to: receipt.shard, mail });
        }
    }

    /// What a home says when it cannot take a message.
    pub(crate) fn decline(&mut self, receipt: Option<Receipt>, refusal: Refusal, effects: &mut Effects) {
        self.acknowledge(receipt, Outcome::Refused(refusal), effects);
    }

    /// The answer of a home. A message that was refused is not taken: its number is free.
    pub(crate) fn published(&mut self, receipt: Receipt, outcome: Outcome, effects: &mut Effects) {
        let Some(session) = self.sessions.find(receipt.session).filter(|session| session.is(&receipt.id))
        else {
            return;
        };
        let (to, is_connected) = (session.recipient(receipt.session), session.is_connected());
        let Some(pact) = &mut session.pact else { return };
        let mut done = |(connection, request), outcome| {
            if is_connected && connection == pact.connection {
                effects.list.push(Effect::Done { to, request, outcome });
            }
        };
        done((receipt.connection, receipt.request), outcome);
        let (Some(exchange), Some(rare)) = (receipt.exchange, &mut pact.rare) else { return };
        let Some(Offered::Open(others)) = rare.taken.remove(&exchange) else { return };
        let is_refused = matches!(outcome, Outcome::Refused(_));
        for other in others {
            done(other, if is_refused { outcome } else { Outcome::Repeated });
        }
        if !is_refused {
            rare.taken.insert(exchange, Offered::Taken);
        }
        pact.tidy();
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
                effects.list.push(Effect::Taken { to, number });
                self.tell_settled(key, parcel, effects);
            }
            Settled::Misstep => effects.list.push(Effect::Misstep { to }),
            Settled::Unknown => {}
            Settled::Over(parcel) => {
                self.sessions.in_flight -= 1;
                self.tell_settled(key, parcel, effects);
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
            let due = flight.next(self.now, places, &mut pact.last);
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
                    let item = parcel.into_item();
                    budget = budget.saturating_sub(cost(&item));
                    effects.list.push(Effect::Send { to, item });
                }
                Some(Due::Taken(number)) => {
                    budget -= 1;
                    effects.list.push(Effect::Taken { to, number });
                }
                Some(Due::Late(parcel)) => {
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

    /// Gives a message to one session outside of a delivery to many; whether it has it, or will.
    pub(crate) fn hand_one(&mut self, key: SessionKey, parcel: Parcel, effects: &mut Effects) -> bool {
        let session = self.sessions.known_mut(key);
        let to = session.recipient(key);
        let handed = hand(session, &parcel, &self.config.limits);
        self.sessions.note(handed);
        if let Handed::Now(number) = handed {
            let grade = Grade { number, ..parcel.grade };
            effects.list.push(Parcel { grade, ..parcel }.send(to));
        }
        matches!(handed, Handed::Now(_) | Handed::Waits(_))
    }
}

impl Parcel {
    fn send(self, to: Recipient) -> Effect {
        Effect::Send { to, item: self.into_item() }
    }

    fn into_item(self) -> Outgoing {
        let Self { message, grade, labels, source: _ } = self;
        Outgoing::Message { message, ask: None, offset: None, grade, labels }
    }
}

/// What becomes of a message for a session with a pact. Of quality `AtMostOnce` it is lost with the connection; of higher
/// quality it waits, also without a connection, within the same bounds, and in the place of what is of quality `AtMostOnce`.
/// Where that is not enough it is lost, or takes the place of older ones of its quality that give way.
pub(crate) fn hand(session: &mut Session, parcel: &Parcel, limits: &Limits) -> Handed {
    let ready = session.state == State::Ready && !session.closing;
    let Some(pact) = &mut session.pact else { return Handed::Missed };
    if parcel.grade.quality == Quality::AtMostOnce {
        if ready {
            return Handed::Now(0);
        }
        if session.state == State::Detached || session.closing || parcel.message.volatile {
            return Handed::Missed;
        }
        let waits = Waiting::of(session.outbox.as_deref(), pact.flight.as_deref());
        let mut instead = 0;
        if waits.are_too_many_for(parcel, limits) {
            let outbox = session.outbox.as_mut().filter(|_| parcel.message.traits.gives_way);
            let goes = |gone: Waiting| !waits.without(gone).are_too_many_for(parcel, limits);
            instead = outbox.map_or(0, |outbox| outbox.make_way(goes));
            if instead == 0 {
                return Handed::Dropped;
            }
        }
        let outbox = session.outbox.get_or_insert_default();
        return match outbox.push(parcel.clone().into_item(), limits) {
            Ok(()) => Handed::Waits(instead),
            Err(_) => Handed::Dropped,
        };
    }
    let places = pact.places(limits);
    let has_place = pact.flight.as_ref().is_none_or(|flight| flight.has_place(places));
    if ready && has_place {
        return Handed::Now(pact.flight.get_or_insert_default().send(parcel.clone(), &mut pact.last));
    }
    if parcel.message.volatile {
        return Handed::Missed;
    }
    let mut instead = 0;
    let waits = Waiting::of(None, pact.flight.as_deref());
    if !matches!(parcel.source, Source::Retained) && waits.are_too_many_for(parcel, limits) {
        let flight = pact.flight.as_mut().filter(|_| parcel.message.traits.gives_way);
        let goes = |gone: Waiting| !waits.without(gone).are_too_many_for(parcel, limits);
        instead = flight.map_or(0, |flight| flight.make_way(goes));
        if instead == 0 {
            return Handed::Dropped;
        }
    }
    if let Some(outbox) = &mut session.outbox {
        let is_full = |outbox: &Outbox, flight: &Option<Box<Flight>>| {
            Waiting::of(Some(outbox), flight.as_deref()).are_too_many_for(parcel, limits)
        };
        while is_full(outbox, &pact.flight) && outbox.drop_oldest() {
            instead += 1;
        }
    }
    pact.flight.get_or_insert_default().wait(parcel.clone());
    Handed::Waits(instead)
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
    fn are_too_many_for(self, parcel: &Parcel, limits: &Limits) -> bool {
        self.count >= limits.outbox_messages_max as usize
            || (self.count > 0 && self.bytes + parcel.message.len_bytes() > limits.outbox_bytes_max)
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
