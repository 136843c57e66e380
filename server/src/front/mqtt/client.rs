//! What is kept of a client while it is connected. What outlives the connection is the hub's.
//!
//! Owns the layout, since it decides the memory per connection. Must not know what happens to it. Start at [`Client`].

use std::collections::VecDeque;
use std::sync::Arc;

use hub::{Millis, Options, SessionId, SessionKey};
use wire::mqtt::{AliasesIn, AliasesOut, Encoder, Level, PacketId, ReasonCode, Version};

use super::access::Asker;
use super::asking::Petition;
use super::connect::Welcome;
use super::ruling::Held;
use super::scram::Exchange;
use super::told::Told;
use crate::front::rate::Rate;
use crate::shard::ConnKey;

/// A connection with a session: 104 bytes, and the box only while there is something in it.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) conn: ConnKey,
    pub(super) session: SessionKey,
    pub(super) id: SessionId,
    pub(super) kind: Kind,
    /// Version, largest packet and which explanations it wants.
    pub(super) encoder: Encoder,
    /// When its last packet came.
    pub(super) heard: Millis,
    /// The keep alive in force; 0 = off.
    pub(super) keep_alive_seconds: u16,
    /// Its messages of QoS 1 and 2 whose exchange is not over.
    pub(super) inbound: u16,
    /// Aliases that it takes.
    pub(super) aliases_max: u16,
    /// Its own name.
    pub(super) name: Arc<str>,
    pub(super) user: Option<Arc<str>>,
    pub(super) rare: Option<Box<Rare>>,
}

/// Facts about a client that are true or false.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kind {
    /// Packets travel in frames.
    pub(super) websocket: bool,
    /// MQTT 3.1, whose flags count for nothing.
    pub(super) v31: bool,
    /// All its subscriptions have No Local and Retain As Published.
    pub(super) bridge: bool,
    /// Its session was to end with the connection, so DISCONNECT cannot prolong it.
    pub(super) ends_with_connection: bool,
    /// It has proven its user by a method, and may do so again.
    pub(super) by_method: bool,
    /// It has shown its token by a method, and may show another one.
    pub(super) token_by_method: bool,
    /// [`super::held`] has what its token says.
    pub(super) holds: bool,
    /// The server itself is the client.
    pub(super) own: bool,
}

/// What few clients have at any time.
#[derive(Debug, Default)]
pub(super) struct Rare {
    pub(super) aliases_in: Option<Box<AliasesIn>>,
    pub(super) aliases_out: Option<Box<AliasesOut>>,
    /// Acknowledgements that wait for their turn, PUBACKs and PUBRECs apart.
    pub(super) acks: [VecDeque<Ack>; 2],
    pub(super) questions: Vec<Question>,
    /// It proves its user again.
    pub(super) exchange: Option<Box<Exchange>>,
    pub(super) rate: Option<Box<Rate>>,
    /// What it is told once its session is safe.
    pub(super) welcome: Option<Box<Welcome>>,
    /// It has no session: the back end is asked whether it may have one.
    pub(super) petition: Option<Box<Petition>>,
    /// What it wants to do with a channel, and the back end is asked about.
    pub(super) held: Option<Box<Held>>,
}

/// An acknowledgement that the client waits for.
#[derive(Clone, Debug)]
pub(super) struct Ack {
    pub(super) packet_id: PacketId,
    /// Unknown until the hub has answered.
    pub(super) told: Option<Told>,
}

/// A SUBSCRIBE or UNSUBSCRIBE of which not all is done.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) packet_id: PacketId,
    /// One per filter, in its order; as granted until the answer is known.
    pub(super) codes: Vec<ReasonCode>,
    pub(super) open: u32,
    pub(super) is_subscribe: bool,
    /// Granted, in case of success.
    pub(super) granted: Vec<ReasonCode>,
    /// What of it is refused, by its place.
    pub(super) refused: Vec<(u32, Told)>,
}

impl Client {
    /// Of which nothing is known yet but what it says.
    pub(super) fn new(
        (conn, session, id): (ConnKey, SessionKey, SessionId),
        (kind, encoder): (Kind, Encoder),
        name: Arc<str>,
    ) -> Self {
        Self {
            conn,
            session,
            id,
            kind,
            encoder,
            heard: Millis(0),
            keep_alive_seconds: 0,
            inbound: 0,
            aliases_max: 0,
            name,
            user: None,
            rare: None,
        }
    }

    pub(super) fn version(&self) -> Version {
        self.encoder.version()
    }

    /// Who it is, to [`super::access`], without what its token says ([`super::held`]).
    pub(super) fn asker(&self) -> Asker<'_> {
        Asker {
            name: &self.name,
            user: self.user.as_deref(),
            permissions: None,
            session: Some(self.id),
            is_own: self.kind.own,
        }
    }

    pub(super) fn level(&self) -> Level {
        match self.version() {
            Version::V3 if self.kind.v31 => Level::V31,
            Version::V3 => Level::V311,
            Version::V5 => Level::V5,
        }
    }

    pub(super) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Frees what is empty.
    pub(super) fn tidy(&mut self) {
        if self.rare.as_ref().is_some_and(|rare| rare.is_empty()) {
            self.rare = None;
        }
    }

    /// When its rate wants to be looked at.
    pub(super) fn rate_at(&self) -> Option<Millis> {
        let rate = self.rare.as_ref()?.rate.as_ref()?;
        Some(rate.paused_until().unwrap_or_else(|| rate.full_at()))
    }

    /// Whether nothing is read from it for a while, so that it cannot be heard.
    pub(super) fn is_paused(&self) -> bool {
        let pauses = |rare: &Rare| rare.rate.as_ref().is_some_and(|rate| rate.paused_until().is_some());
        self.rare.as_ref().is_some_and(|rare| rare.held.is_some() || pauses(rare))
    }

    /// Whether it knows that it has a session.
    pub(super) fn is_greeted(&self) -> bool {
        self.rare.as_ref().is_none_or(|rare| rare.welcome.is_none() && rare.petition.is_none())
    }

    /// Whether it has no session, and the back end is asked whether it may have one.
    pub(super) fn is_petitioner(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.petition.is_some())
    }

    /// What a client that knows no options means by a subscription, or a bridge by all of its.
    pub(super) fn options(&self, options: Options) -> Options {
        let bridge = self.kind.bridge;
        Options {
            skip_own: options.skip_own || bridge,
            keep_retain: options.keep_retain || bridge,
            ..options
        }
    }
}

impl Rare {
    fn is_empty(&self) -> bool {
        self.aliases_in.is_none()
            && self.aliases_out.is_none()
            && self.acks.iter().all(VecDeque::is_empty)
            && self.questions.is_empty()
            && self.exchange.is_none()
            && self.rate.is_none()
            && self.welcome.is_none()
            && self.petition.is_none()
            && self.held.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_stays_small() {
        assert!(size_of::<Client>() <= 104, "{}", size_of::<Client>());
    }
}
