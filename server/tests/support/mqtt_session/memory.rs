//! What a client keeps of its session, over its connections: exchanges in both directions, what it is subscribed to, and
//! what has come.
//!
//! Owns the rules that outlive a connection: numbers in use are not given again, what was acknowledged does not come again,
//! what comes again comes in its first order. Must not know sockets, nor what holds for one connection only (`line`).
//! Start at [`Memory`].

use std::collections::BTreeMap;

use wire::mqtt::Qos;

use super::message::Number;

/// A client's side of one session.
#[derive(Debug, Default)]
pub struct Memory {
    /// From the server, in the order in which they came first.
    pub incoming: Vec<Incoming>,
    /// Over, by an answer that the server may not have read.
    unsure: Vec<Incoming>,
    /// To the server, in the order in which they were sent first.
    pub outgoing: Vec<Outgoing>,
    /// How often each message came, what was sent again not counted.
    had: BTreeMap<Number, u32>,
    pub wants: Vec<Want>,
    begun: u64,
    /// The client has answered what it never got: it knows no more what is under way.
    pub is_void: bool,
}

/// A message from the server whose exchange is not over.
#[derive(Clone, Debug)]
pub struct Incoming {
    pub id: u16,
    pub qos: Qos,
    pub number: Option<Number>,
    pub stage: Stage,
    /// The client's next answer is written, or waits to be.
    pub is_answered: bool,
    /// It came on the present connection.
    is_here: bool,
    /// The server has read what brought it to its stage.
    is_sure: bool,
    order: u64,
}

/// How far an exchange has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// PUBLISH.
    Sent,
    /// PUBREC.
    Received,
    /// PUBREL.
    Released,
}

/// A message to the server whose exchange is not over.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub id: u16,
    pub qos: Qos,
    pub topic: String,
    pub payload: Vec<u8>,
    pub retain: bool,
    /// Of QoS 2, that PUBREC has come, or PUBREL was sent or waits to be.
    pub stage: Stage,
    /// It is still to be written.
    pub is_queued: bool,
    /// It was sent on an earlier connection and not again on this one.
    pub is_old: bool,
}

/// A subscription that is or was.
#[derive(Clone, Debug)]
pub struct Want {
    /// Without group.
    pub filter: String,
    pub group: Option<String>,
    pub qos: Qos,
    /// The identifier; 0 = none.
    pub label: u32,
}

/// A PUBLISH of QoS 1 or 2 that has come.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    pub id: u16,
    pub qos: Qos,
    pub dup: bool,
    pub number: Option<Number>,
}

/// What a packet was to the exchanges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// The beginning of an exchange.
    New,
    /// Sent again; with the place of its exchange in their order.
    Again(u64),
    /// Sent again, but what was sent before was lost.
    Lost,
}

impl Incoming {
    pub fn is_here(&self) -> bool {
        self.is_here
    }
}

impl Memory {
    /// Nothing but what it may be subscribed to.
    pub fn of(wants: Vec<Want>) -> Self {
        Self { wants, ..Self::default() }
    }

    /// A new connection of the same session.
    pub fn begin_again(&mut self) {
        self.outgoing.retain(|outgoing| !outgoing.is_queued);
        self.outgoing.iter_mut().for_each(|outgoing| outgoing.is_old = true);
        for incoming in &mut self.incoming {
            (incoming.is_here, incoming.is_answered) = (false, false);
            if incoming.stage == Stage::Released {
                incoming.stage = Stage::Received;
            }
        }
    }

    /// The server has read everything that this client wrote.
    pub fn is_heard(&mut self) {
        self.unsure.clear();
        self.incoming.iter_mut().for_each(|incoming| incoming.is_sure = true);
    }

    /// Exchanges of this connection that the server has to count.
    pub fn here(&self) -> usize {
        self.incoming.iter().filter(|incoming| incoming.is_here).count()
    }

    pub fn find(&mut self, id: u16) -> Option<&mut Incoming> {
        self.incoming.iter_mut().find(|incoming| incoming.id == id)
    }

    /// PUBLISH of QoS 1 or 2.
    pub fn arrives(&mut self, arrival: Arrival) -> Met {
        let Arrival { id, qos, dup, number } = arrival;
        if let Some(known) = self.find(id) {
            assert!(dup, "number {id} is in use, for {known:?}, and not sent again: {arrival:?}");
            assert_eq!((known.qos, known.number), (qos, number), "another message under number {id}");
            assert!(!known.is_here, "number {id} comes twice on one connection");
            assert!(known.stage == Stage::Sent || !known.is_sure, "number {id} was received before");
            (known.stage, known.is_here, known.is_answered) = (Stage::Sent, true, false);
            return Met::Again(known.order);
        }
        if let Some(at) = self.unsure.iter().position(|over| over.id == id && over.number == number) {
            assert!(dup, "number {id} comes again without saying so");
            let over = self.unsure.remove(at);
            let order = over.order;
            let again = Incoming { stage: Stage::Sent, is_answered: false, is_here: true, ..over };
            let place = self.incoming.partition_point(|incoming| incoming.order < order);
            self.incoming.insert(place, again);
            return Met::Again(order);
        }
        self.begun += 1;
        self.incoming.push(Incoming {
            id,
            qos,
            number,
            stage: Stage::Sent,
            is_answered: false,
            is_here: true,
            is_sure: true,
            order: self.begun,
        });
        if dup { Met::Lost } else { Met::New }
    }

    /// A message came that was not sent again; how often by now.
    pub fn count(&mut self, number: Number) -> u32 {
        let count = self.had.entry(number).or_default();
        *count += 1;
        *count
    }

    /// PUBREL; `None` when the number is not in use, as what the client said may have come before.
    pub fn may_release(&mut self, id: u16) -> Option<u64> {
        let known = self.find(id)?;
        assert_eq!(known.qos, Qos::ExactlyOnce, "PUBREL for a message of QoS 1, number {id}");
        assert!(known.stage != Stage::Sent, "PUBREL for number {id}, which was not received");
        (known.stage, known.is_answered) = (Stage::Released, false);
        Some(known.order)
    }

    /// The client's PUBACK, PUBCOMP or refusing PUBREC is on its way; whether it fits the exchange.
    pub fn settles(&mut self, id: u16, fits: impl FnOnce(&Incoming) -> bool) -> Fit {
        let Some(at) = self.incoming.iter().position(|incoming| incoming.id == id) else {
            return Fit::Unknown;
        };
        if !self.incoming.get(at).is_some_and(fits) {
            return Fit::Misstep;
        }
        self.unsure.push(self.incoming.remove(at));
        Fit::Fits
    }

    /// The client's PUBREC is on its way.
    pub fn receives(&mut self, id: u16) -> Fit {
        match self.find(id) {
            None => Fit::Unknown,
            Some(known) if known.qos != Qos::ExactlyOnce => Fit::Misstep,
            Some(known) => {
                if known.stage == Stage::Sent {
                    (known.stage, known.is_sure) = (Stage::Received, false);
                }
                Fit::Fits
            }
        }
    }

    pub fn outgoing(&mut self, id: u16, qos: Qos) -> Option<&mut Outgoing> {
        self.outgoing.iter_mut().find(|outgoing| outgoing.id == id && outgoing.qos == qos)
    }

    /// An exchange of the client's own is over.
    pub fn forgets(&mut self, id: u16, qos: Qos) {
        self.outgoing.retain(|outgoing| outgoing.id != id || outgoing.qos != qos);
    }

    /// A number for a new message of the client's own.
    pub fn free_id(&self, most: u16) -> Option<u16> {
        (1..=most).find(|id| self.outgoing.iter().all(|outgoing| outgoing.id != *id))
    }

    /// The subscriptions by which a message of this topic may have come.
    pub fn wants(&self, topic: &str) -> impl Iterator<Item = &Want> {
        self.wants.iter().filter(move |want| hub::filter_matches(&want.filter, topic))
    }

    /// Share groups it was ever a member of.
    pub fn groups(&self) -> u32 {
        let mut groups: Vec<_> =
            self.wants.iter().filter_map(|want| Some((want.group.as_ref()?, &want.filter))).collect();
        groups.sort_unstable();
        groups.dedup();
        u32::try_from(groups.len()).unwrap_or(u32::MAX)
    }
}

/// Whether a step of the client's fits its exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    Fits,
    /// There is no exchange of that number.
    Unknown,
    /// Against the rules.
    Misstep,
}
