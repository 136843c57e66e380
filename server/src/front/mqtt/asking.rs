//! Clients about whom the back end is asked, from CONNECT to the answer.
//!
//! Owns what is kept of them meanwhile, and what an answer means to them. Must not know who answers, nor how a client is let in.
//! Start at [`Mqtt::ask_back_end`].
//!
//! ```text
//! CONNECT ──> Upcall::Connect; nothing more is read
//!    ├──Mail::Admit──> let in (`connect`), in the place of those who asked before it under the same client id
//!    │      └──> Upcall::Claimed, and where there are webhooks CONNACK waits for Mail::Greet
//!    ├──Mail::Refuse──> CONNACK 4 or 5, of version 5 86 or 87
//!    └──Mail::Disconnect, `mqtt.connect_timeout_ms`, or the client is gone──> closed without a word
//! ```
//!
//! So a client waits that is known, and about whose will the back end is asked: Upcall::Ask, answered by Mail::Answer.
//!
//! There is no session yet, and the one that the client may have had goes on until it has shown who it is. So the question has
//! an id of its own, which is at home where the session is to be.

use std::collections::HashMap;
use std::sync::Arc;

use hub::{Millis, Reason, SessionId, SessionKey, Will, home_partition};
use wire::mqtt::{ClientPacket, Connect, Encoder, PropertyBuf, ReasonCode, decode_client, frame};

use super::access::{Identity, Said};
use super::client::{Client, Kind};
use super::connect::{Begun, Proof, level_name};
use super::told::Told;
use super::{Mqtt, owner};
use crate::front::questions::{Open, change, publish_deed};
use crate::mail::{
    Admission, Certified, Deed, Denial, Handshake, Hello, Hidden, Known, MqttHello, Question, Ruling, Speaks,
    Upcall,
};
use crate::shard::{ConnKey, Cx};
use crate::tls::subject_of;

/// No session has this slot.
const NO_SLOT: u32 = u32::MAX;

/// Petitions that are open.
#[derive(Debug, Default)]
pub(super) struct Petitions {
    clients: HashMap<SessionId, u32>,
    /// By client id, the oldest first.
    named: HashMap<Arc<str>, Vec<u32>>,
}

/// What is kept of a client until the answer comes.
#[derive(Debug)]
pub(super) struct Petition {
    /// CONNECT, as it came: it is read again.
    connect: Box<[u8]>,
    /// By its certificate.
    user: Option<Arc<str>>,
    /// When it is closed.
    until: Millis,
    /// It may come in once the back end has said that it may have its will.
    willing: Option<Box<Willing>>,
}

/// A client that is known, and its will, about which the back end is asked.
#[derive(Debug)]
struct Willing {
    identity: Identity,
    will: Box<Will>,
    proof: Option<Proof>,
    open: Open,
}

impl Petitions {
    pub(super) fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    fn insert(&mut self, id: SessionId, name: &Arc<str>, index: u32) {
        self.clients.insert(id, index);
        self.named.entry(Arc::clone(name)).or_default().push(index);
    }

    fn remove(&mut self, id: &SessionId, name: &str, index: u32) {
        self.clients.remove(id);
        if let Some(all) = self.named.get_mut(name) {
            all.retain(|one| *one != index);
            if all.is_empty() {
                self.named.remove(name);
            }
        }
        if self.clients.is_empty() {
            *self = Self::default();
        }
    }

    /// Who asked before this one under its client id.
    fn before(&self, name: &str, index: u32) -> Vec<u32> {
        let all = self.named.get(name).map_or(&[][..], Vec::as_slice);
        all.iter().copied().take_while(|one| *one != index).collect()
    }
}

impl Mqtt {
    /// Asks the back end about a client. At the limit of those that wait it is closed, and comes back.
    pub(super) fn ask_back_end(
        &mut self,
        cx: &mut Cx<'_>,
        (conn, connect, packet): (ConnKey, &Connect<'_>, &[u8]),
        (name, user): (Arc<str>, Option<Arc<str>>),
    ) -> Begun {
        if self.petitions.clients.len() >= self.config.limits.unjoined_max {
            cx.io.close(conn);
            return Begun::Over;
        }
        let id = SessionId::new(home_partition(&name, &self.topology), NO_SLOT, cx.io.random());
        let until = Millis(cx.io.now().0 + self.config.mqtt.connect_timeout_ms);
        let kind = Kind { websocket: cx.io.is_websocket(conn), ..Kind::default() };
        let encoder = Encoder::for_client(connect);
        let mut client = Client::new((conn, SessionKey(NO_SLOT), id), (kind, encoder), Arc::clone(&name));
        client.rare().petition =
            Some(Box::new(Petition { connect: packet.into(), user: user.clone(), until, willing: None }));
        let index = u32::try_from(self.clients.insert(client)).expect("fewer clients than `sessions_max`");
        self.petitions.insert(id, &name, index);
        cx.io.own(conn, owner(index));
        cx.io.pause_reading(conn);
        self.arm(cx, index);
        let hello = Hello::Mqtt(Box::new(hello(cx, conn, connect, (name, user))));
        let (remote, secure) = (cx.io.peer_addr(conn), cx.io.is_secure(conn));
        let handshake = Arc::new(Handshake { remote, secure, ..Handshake::default() });
        cx.io.upcall(Upcall::Connect { session: id, hello, known: Known::default(), handshake });
        Begun::Asked(0)
    }

    /// Asks the back end about the will of a client that is known otherwise.
    pub(super) fn ask_about_will(
        &mut self,
        cx: &mut Cx<'_>,
        (conn, connect): (ConnKey, &Connect<'_>),
        (name, identity): (Arc<str>, Identity),
        (will, proof): (Box<Will>, Option<Proof>),
    ) -> Begun {
        let encoder = Encoder::for_client(connect);
        let mut packet = Vec::new();
        let is_written = encoder.client_packet(&ClientPacket::Connect(*connect), &mut packet).is_ok();
        let is_full = self.petitions.clients.len() >= self.config.limits.unjoined_max;
        let Some((channel, deed)) = will_deed(&will).filter(|_| is_written && !is_full) else {
            cx.io.close(conn);
            return Begun::Over;
        };
        let id = SessionId::new(home_partition(&name, &self.topology), NO_SLOT, cx.io.random());
        let (speaks, user) = (Speaks::Mqtt(Arc::clone(&name)), identity.user.clone());
        let question = Question { speaks, user, channel, deed };
        let open = Open::ask(cx, id, question, self.config.mqtt.connect_timeout_ms);
        let kind = Kind { websocket: cx.io.is_websocket(conn), ..Kind::default() };
        let mut client = Client::new((conn, SessionKey(NO_SLOT), id), (kind, encoder), Arc::clone(&name));
        let until = open.until;
        let willing = Some(Box::new(Willing { identity, will, proof, open }));
        client.rare().petition =
            Some(Box::new(Petition { connect: packet.into(), user: None, until, willing }));
        let index = u32::try_from(self.clients.insert(client)).expect("fewer clients than `sessions_max`");
        self.petitions.insert(id, &name, index);
        cx.io.own(conn, owner(index));
        cx.io.pause_reading(conn);
        self.arm(cx, index);
        Begun::Asked(0)
    }

    /// The back end has said whether a client may have its will.
    pub(super) fn will_ruled(&mut self, cx: &mut Cx<'_>, id: SessionId, (number, ruling): (u64, Ruling)) {
        let Some(&index) = self.petitions.clients.get(&id) else { return };
        let Some(client) = self.client(index) else { return };
        let petition = client.rare.as_ref().and_then(|rare| rare.petition.as_ref());
        let willing = petition.and_then(|petition| petition.willing.as_ref());
        if willing.is_none_or(|willing| !willing.open.is(number)) {
            return;
        }
        let (name, is_let) = (Arc::clone(&client.name), matches!(ruling, Ruling::Yes(_) | Ruling::Drop));
        if is_let {
            self.displace_petitions(cx, &name, index);
        }
        let Some((conn, Petition { connect, willing: Some(willing), .. })) = self.answered(cx, index) else {
            return;
        };
        let Some(connect) = read_again(&connect).filter(|_| !cx.io.has_left(conn)) else {
            return cx.io.close(conn);
        };
        let Willing { identity, mut will, proof, .. } = *willing;
        let will = match ruling {
            Ruling::Yes(terms) => {
                change(&mut will.publish, terms);
                Some(will)
            }
            Ruling::Drop => None,
            Ruling::No { message, .. } => {
                self.refuse_connect(cx, conn, &connect, Told::by_back_end(&message));
                return;
            }
            Ruling::Unknown => return cx.io.close(conn),
        };
        if let Begun::Here(index, _) = self.claim(cx, (conn, &connect), (name, identity), (will, proof))
            && self.client(index).is_some_and(Client::is_greeted)
        {
            cx.io.resume_reading(conn);
        }
    }

    /// Those that asked before this one under its client id give way.
    pub(super) fn displace_petitions(&mut self, cx: &mut Cx<'_>, name: &str, index: u32) {
        for older in self.petitions.before(name, index) {
            self.end(cx, older, None, Reason::TakenOver);
        }
    }

    /// Whether this is the name of an open question.
    pub(in crate::front) fn asks(&self, id: SessionId) -> bool {
        self.petitions.clients.contains_key(&id)
    }

    /// When a client has waited for long enough.
    pub(super) fn asked_until(&self, index: u32) -> Option<Millis> {
        self.client(index)?.rare.as_ref()?.petition.as_ref().map(|petition| petition.until)
    }

    /// The back end lets a client in.
    pub(in crate::front) fn admit(&mut self, cx: &mut Cx<'_>, id: SessionId, admission: Admission) {
        let Some(&index) = self.petitions.clients.get(&id) else { return };
        let Some(name) = self.client(index).map(|client| Arc::clone(&client.name)) else { return };
        self.displace_petitions(cx, &name, index);
        let Some((conn, petition)) = self.answered(cx, index) else { return };
        if cx.io.has_left(conn) {
            // It may have come back already, and is not to be displaced by what it has given up.
            return cx.io.close(conn);
        }
        let Admission { mut grant, user_properties, luggage, recovery: _ } = admission;
        grant.user = grant.user.or(petition.user);
        grant.permissions = grant.permissions.map(|permissions| self.access.intern(permissions));
        let said = Some(Box::new(Said { user_properties, luggage }));
        let identity = Identity { user: grant.user.clone(), grant: Some(Box::new(grant)), said };
        let Some(connect) = read_again(&petition.connect) else { return cx.io.close(conn) };
        if let Begun::Here(index, _) = self.let_in(cx, (conn, &connect), (name, identity), None)
            && self.client(index).is_some_and(Client::is_greeted)
        {
            cx.io.resume_reading(conn);
        }
    }

    /// The back end refuses a client, which then stays away.
    pub(in crate::front) fn deny(
        &mut self,
        cx: &mut Cx<'_>,
        id: SessionId,
        (denial, message): (Denial, &str),
    ) {
        let Some(&index) = self.petitions.clients.get(&id) else { return };
        let Some(encoder) = self.client(index).map(|client| client.encoder) else { return };
        let Some((conn, _)) = self.answered(cx, index) else { return };
        let reason = match denial {
            Denial::Unknown => ReasonCode::BadUserNameOrPassword,
            Denial::Forbidden => ReasonCode::NotAuthorized,
        };
        self.figures.refused(reason);
        // Left out if it is no text of the protocol's.
        let told = PropertyBuf::with_reason_string(message);
        self.refuse_with(cx, conn, encoder, (reason, &told));
    }

    /// Nobody can say whether a client may come in: it is closed, and comes back.
    pub(super) fn send_back(&mut self, cx: &mut Cx<'_>, id: SessionId) {
        if let Some(&index) = self.petitions.clients.get(&id) {
            self.end(cx, index, None, Reason::NeverAdmitted);
        }
    }

    /// Forgets a question; its connection is somebody else's business.
    fn answered(&mut self, cx: &mut Cx<'_>, index: u32) -> Option<(ConnKey, Petition)> {
        let mut client = self.remove(cx, index)?;
        let petition = client.rare.as_mut().and_then(|rare| rare.petition.take())?;
        Some((client.conn, *petition))
    }

    /// A client goes that waits for an answer: the question is not one any more.
    pub(super) fn forget_petition(&mut self, client: &Client, index: u32) {
        if client.rare.as_ref().is_some_and(|rare| rare.petition.is_some()) {
            self.petitions.remove(&client.id, &client.name, index);
        }
    }
}

/// What is asked about a will.
fn will_deed(will: &Will) -> Option<(Box<str>, Deed)> {
    let (channel, mut deed) = publish_deed(&will.publish, Some(will.publish.traits.quality as u8), None)?;
    if let Deed::Publish(draft) = &mut deed {
        draft.is_will = true;
    }
    Some((channel, deed))
}

/// CONNECT that was read before.
fn read_again(packet: &[u8]) -> Option<Connect<'_>> {
    let frame = frame(packet, u32::MAX).ok()??;
    match decode_client(None, &frame) {
        Ok(ClientPacket::Connect(connect)) => Some(connect),
        _ => None,
    }
}

fn hello(
    cx: &Cx<'_>,
    conn: ConnKey,
    connect: &Connect<'_>,
    (client_id, user): (Arc<str>, Option<Arc<str>>),
) -> MqttHello {
    let certificate = cx.io.client_certificate(conn).and_then(subject_of);
    let pairs = connect.properties.user_properties();
    MqttHello {
        client_id,
        user_name: connect.user_name.map(Box::from),
        password: connect.password.map(|password| Hidden(bytes::Bytes::copy_from_slice(password))),
        clean_start: connect.clean_start,
        version: level_name(connect.level),
        certificate: certificate.map(|subject| Certified { subject, user }),
        user_properties: pairs.map(|(name, value)| (name.into(), value.into())).collect(),
    }
}
