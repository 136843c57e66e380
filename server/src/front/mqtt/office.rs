//! What the back office asks and decides about clients: how they are connected, and who is refused.
//!
//! Must not know what the hub knows of their sessions: those that wait for their clients are the hub's alone. Start at
//! [`Mqtt::inspect`] and [`Mqtt::is_barred`].

use std::sync::Arc;

use hub::{Millis, SessionId};
use wire::mqtt::Level;

use super::client::{Ack, Client, Rare};
use super::flapping::Measure;
use super::{Figures, Mqtt};
use crate::front::{Ban, Banned};
use crate::mail::Inspection;
use crate::shard::{ConnKey, Cx};

impl Mqtt {
    /// What was counted since the shard started.
    pub(in crate::front) fn figures(&self) -> Figures {
        self.figures.clone()
    }

    /// Whether a client is refused before anything else is asked: for its name, or for where it comes from.
    pub(super) fn is_barred(&self, cx: &mut Cx<'_>, conn: ConnKey, name: &Arc<str>) -> bool {
        if cx.hub.bans.is_empty() {
            return false;
        }
        let now = cx.io.now();
        let address = cx.io.peer_addr(conn).map(|address| Banned::Address(address.ip().to_canonical()));
        cx.hub.bans.bar(now, &Banned::Client(Arc::clone(name)))
            || address.is_some_and(|address| cx.hub.bans.bar(now, &address))
    }

    /// Whether a client that has proved who it is is refused all the same: for its user, or since it connects too often,
    /// which bans it for a while. Who proves nothing cannot have others banned.
    pub(super) fn is_user_barred(
        &mut self,
        cx: &mut Cx<'_>,
        name: &Arc<str>,
        user: Option<&Arc<str>>,
    ) -> bool {
        let (now, config) = (cx.io.now(), &self.config.mqtt);
        if cx.hub.bans.bar_user(now, user) {
            return true;
        }
        let measure = Measure {
            connects_max: config.flapping_connects_max,
            window_ms: u64::from(config.flapping_window_seconds) * 1000,
        };
        if measure.connects_max == 0 || !self.flapping.connects(now, name, measure) {
            return false;
        }
        let until = Millis(now.0 + u64::from(config.flapping_ban_seconds) * 1000);
        let reason = Some(Arc::from("flapping"));
        let ban = Ban { of: Banned::Client(Arc::clone(name)), until: Some(until), reason };
        tracing::info!(client_id = &**name, "an MQTT client id is banned for connecting too often");
        cx.hub.bans.add(now, ban, self.config.limits.bans_max);
        true
    }

    /// How the client of a session is connected; `None` while it is not.
    /// The session of a client.
    pub(in crate::front) fn session_on(&self, index: u32) -> Option<SessionId> {
        self.client(index).filter(|client| !client.is_petitioner()).map(|client| client.id)
    }

    /// Bytes of a client, beside what the hub has, its name among that. Of what few clients have only the parts that can be large.
    pub(in crate::front) fn bytes_of(&self, index: u32) -> usize {
        let Some(client) = self.client(index) else { return 0 };
        let rare = client.rare.as_ref().map_or(0, |rare| {
            let acks: usize = rare.acks.iter().map(|acks| acks.capacity() * size_of::<Ack>()).sum();
            let questions =
                rare.questions.iter().map(|question| size_of_val(question) + question.codes.capacity());
            size_of::<Rare>() + acks + questions.sum::<usize>()
        });
        size_of::<Client>() + rare + size_of::<u32>()
    }

    /// The connection of a session.
    pub(in crate::front) fn connection_under(&self, session: SessionId) -> Option<ConnKey> {
        Some(self.client(self.index_of(session)?)?.conn)
    }

    pub(in crate::front) fn inspect(&self, cx: &Cx<'_>, session: SessionId) -> Option<Inspection> {
        let client = self.client(self.index_of(session)?)?;
        Some(Inspection {
            protocol: protocol(client),
            namespace: None,
            transport: if client.kind.websocket { "websocket" } else { "tcp" },
            remote: cx.io.peer_addr(client.conn),
            expires: self.rights(self.index_of(session)?).and_then(|rights| rights.expire(cx.io.now())),
        })
    }
}

fn protocol(client: &Client) -> &'static str {
    match client.level() {
        Level::V31 => "mqtt/3.1",
        Level::V311 => "mqtt/3.1.1",
        Level::V5 => "mqtt/5",
    }
}
