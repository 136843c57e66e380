//! Messages of higher quality between one session and the hub, both ways: what a client publishes until it is where it is
//! needed, and what a client gets until it has acknowledged it. Numbers and order are `flight`'s business.

use crate::command::{Offer, Publish, Receipt, Step, Target};
use crate::effect::{Effect, Effects, HubMail, Outcome, Refusal};
use crate::flight::{Due, Flight, Parcel, Settled};
use crate::hub::Hub;
use crate::ids::SessionKey;
use crate::limits::Limits;
use crate::message::{Grade, Outgoing, Quality};
use crate::session::{Session, State};

/// What became of a message for one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handed {
    /// The session's connection takes it under this number; 0 = without one.
    Now(u16),
    Waits,
    Dropped,
}

impl Hub {
    /// A claimed session publishes.
    pub(crate) fn offer(&mut self, offer: Offer, effects: &mut Effects) {
        let Offer { session: key, exchange, mut publish, request } = offer;
        let Some(session) = self.sessions.find(key) else { return };
        let (to, id) = (session.recipient(key), session.id);
        if let (Some(exchange), Some(rare)) = (exchange, session.rare())
            && !rare.taken.insert(exchange)
        {
            effects.list.push(Effect::Done { to, request, outcome: Outcome::Repeated });
            return;
        }
        publish.traits.origin = Some(id);
        if publish.traits.quality > Quality::AtMostOnce {
            publish.receipt = Some(Receipt { shard: self.config.shard, session: key, id, request });
        }
        self.route(publish, effects);
    }

    /// The client has forgotten the number of what it published.
    pub(crate) fn forget(&mut self, key: SessionKey, exchange: u16, request: u64, effects: &mut Effects) {
        let Some(session) = self.sessions.find(key) else { return };
        let to = session.recipient(key);
        if let Some(pact) = &mut session.pact {
            if let Some(rare) = &mut pact.rare {
                rare.taken.remove(&exchange);
            }
            pact.tidy();
        }
        effects.list.push(Effect::Done { to, request, outcome: Outcome::Forgotten });
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

    /// A message that was refused is not taken: its number is free.
    pub(crate) fn published(&mut self, receipt: Receipt, outcome: Outcome, effects: &mut Effects) {
        let Some(session) = self.sessions.find(receipt.session).filter(|session| session.is(&receipt.id))
        else {
            return;
        };
        let to = session.recipient(receipt.session);
        if session.is_connected() {
            effects.list.push(Effect::Done { to, request: receipt.request, outcome });
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
            Settled::Taken => effects.list.push(Effect::Taken { to, number }),
            Settled::Misstep => effects.list.push(Effect::Misstep { to }),
            Settled::Unknown => {}
            Settled::Over => {
                if session.state == State::Ready && !session.closing {
                    self.pump(key, u32::MAX, effects);
                }
                self.go_on_walking(key, effects);
            }
        }
        if let Some(pact) = self.sessions.find(key).and_then(|session| session.pact.as_mut()) {
            pact.tidy();
        }
    }

    /// Sends what has a place with the client, at most `budget` things; gives what is left of the budget.
    pub(crate) fn pump(&mut self, key: SessionKey, mut budget: u32, effects: &mut Effects) -> u32 {
        let session = self.sessions.known_mut(key);
        let to = session.recipient(key);
        let Some(pact) = &mut session.pact else { return budget };
        let Some(flight) = &mut pact.flight else { return budget };
        let before = flight.len_waiting();
        while budget > 0
            && let Some(due) = flight.next(self.now, pact.window, &mut pact.last)
        {
            budget -= 1;
            effects.list.push(match due {
                Due::Message(Parcel { message, grade, labels, group: _ }) => {
                    let item = Outgoing::Message { message, ask: None, offset: None, grade, labels };
                    Effect::Send { to, item }
                }
                Due::Taken(number) => Effect::Taken { to, number },
            });
        }
        self.sessions.queued -= (before - flight.len_waiting()) as u64;
        budget
    }

    /// Gives a message to one session outside of a delivery to many.
    pub(crate) fn hand_one(&mut self, key: SessionKey, parcel: Parcel, effects: &mut Effects) {
        let session = self.sessions.known_mut(key);
        let to = session.recipient(key);
        match hand(session, parcel.clone(), &self.config.limits) {
            Handed::Now(number) => {
                let Parcel { message, grade, labels, group: _ } = parcel;
                let grade = Grade { number, ..grade };
                let item = Outgoing::Message { message, ask: None, offset: None, grade, labels };
                effects.list.push(Effect::Send { to, item });
            }
            Handed::Waits => self.sessions.queued += 1,
            Handed::Dropped => {}
        }
    }

    /// What a home says when it cannot take a message.
    pub(crate) fn decline(&mut self, receipt: Option<Receipt>, refusal: Refusal, effects: &mut Effects) {
        self.acknowledge(receipt, Outcome::Refused(refusal), effects);
    }
}

/// What becomes of a message for a session with a pact. Of quality `AtMostOnce` it is lost with the connection and at a
/// full outbox; of higher quality it waits, also without a connection, within the same bounds.
pub(crate) fn hand(session: &mut Session, parcel: Parcel, limits: &Limits) -> Handed {
    let ready = session.state == State::Ready && !session.closing;
    let Some(pact) = &mut session.pact else { return Handed::Dropped };
    if parcel.grade.quality == Quality::AtMostOnce {
        if ready {
            return Handed::Now(0);
        }
        if session.state == State::Detached || session.closing || parcel.message.volatile {
            return Handed::Dropped;
        }
        let Parcel { message, grade, labels, group: _ } = parcel;
        let item = Outgoing::Message { message, ask: None, offset: None, grade, labels };
        return match session.outbox.get_or_insert_default().push(item, limits) {
            Ok(()) => Handed::Waits,
            Err(_) => Handed::Dropped,
        };
    }
    if parcel.message.volatile && !ready {
        return Handed::Dropped;
    }
    let flight = pact.flight.get_or_insert_default();
    if ready && flight.has_room(pact.window) {
        return Handed::Now(flight.send(parcel, &mut pact.last));
    }
    let bytes = parcel.message.body.len_bytes() as u64;
    let over_bytes = flight.len_waiting() > 0 && flight.bytes_waiting() + bytes > limits.outbox_bytes_max;
    if flight.len_waiting() >= limits.outbox_messages_max as usize || over_bytes {
        return Handed::Dropped;
    }
    flight.wait(parcel);
    Handed::Waits
}
