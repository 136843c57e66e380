//! CONNECT: who it is, where its session lives, and what it is told.
//!
//! Owns the order of MQTT 5.0, 3.1.4: authentication first, then the take-over of an earlier connection, which is the
//! hub's. Must not know packets behind it. Start at [`Mqtt::connect`].

use std::sync::Arc;

use hub::{Claim, Command, Millis, SessionId, SessionKey, Will, claim_home};
use tokio::sync::oneshot;
use wire::mqtt::{
    self, ConnAck, ConnAckProperties, Connect, Encoder, Level, Properties, ReasonCode, Version,
};

use super::access::{Asker, Identity, Leave, OWN_NAMES, Shown};
use super::client::{Client, Kind};
use super::held::token_method;
use super::publish::lifetime_ms;
use super::scram::METHOD;
use super::told::Told;
use super::{BUDGET, Mqtt, NONE, availability, owner, replies};
use crate::front::apply::tag_of;
use crate::front::rights::Rights;
use crate::mail::{Known, Luggage, Upcall};
use crate::shard::{ConnKey, Cx, Door};

/// What became of the first packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begun {
    /// The client of this index; so many bytes behind the first packet were used, too.
    Here(u32, usize),
    /// The client has to say more before the first packet can be used.
    Waits,
    /// The back end is asked whether the client may come in; so many bytes behind the first packet were used, too.
    Asked(usize),
    /// Another shard goes on.
    Elsewhere,
    /// The connection ends.
    Over,
}

/// What a client is told with its session.
#[derive(Debug, Default)]
pub(super) struct Welcome {
    assigned: bool,
    keep_alive_seconds: Option<u16>,
    expiry_seconds: Option<u32>,
    /// Of the method by which it was let in, if any.
    proof: Option<Proof>,
    wants_response_information: bool,
    session_present: bool,
    user_properties: Vec<(Box<str>, Box<str>)>,
    /// For the back office.
    luggage: Option<Box<Luggage>>,
    state: Option<Box<str>>,
    /// It is not told before the hub says so.
    waits_for_hub: bool,
    /// Nor before the back office does, with this number.
    waits_for_office: Option<u64>,
    /// The back office waits until it is told.
    until_told: Option<oneshot::Sender<()>>,
}

/// How a client was let in by a method.
#[derive(Debug)]
pub(super) enum Proof {
    /// By this last step of the server's.
    Scram(String),
    /// By a token, under this name.
    Token(&'static str),
}

/// A session that never ends by itself.
const FOR_EVER: u32 = u32::MAX;

/// Of a client that the hub has no session for yet.
pub(super) const NO_SESSION: SessionKey = SessionKey(u32::MAX);

impl Welcome {
    fn waits(&self) -> bool {
        self.waits_for_hub || self.waits_for_office.is_some()
    }
}

/// How long a client wants its session to outlive the connection. Seconds.
fn expiry_asked(connect: &Connect<'_>) -> u32 {
    match connect.level.version() {
        Version::V3 if connect.clean_start => 0,
        Version::V3 => FOR_EVER,
        Version::V5 => connect.properties.session_expiry_interval_seconds().unwrap_or(0),
    }
}

/// A version as the back end is told.
pub(super) fn level_name(level: Level) -> &'static str {
    match level {
        Level::V31 => "3.1",
        Level::V311 => "3.1.1",
        Level::V5 => "5",
    }
}

impl Mqtt {
    pub(super) fn connect(
        &mut self,
        cx: &mut Cx<'_>,
        conn: ConnKey,
        (connect, packet): (&Connect<'_>, &[u8]),
    ) -> Begun {
        if self.drain.is_some() {
            self.turn_away(cx, conn, Encoder::for_client(connect));
            return Begun::Over;
        }
        if cx.io.is_own(conn) {
            let name = Arc::from(connect.client_id);
            return self.claim(cx, (conn, connect), (name, Identity::default()), (None, None));
        }
        if !cx.io.allow_handshake(conn) {
            // Some clients stay away after a refusal, and none after a close.
            cx.io.close(conn);
            return Begun::Over;
        }
        let certified = self.certified(cx, conn);
        let named = certified.and_then(|user| Ok((self.name(cx, connect, user.as_deref())?, user)));
        let (name, certified) = match named {
            Ok(named) => named,
            Err(reason) => return self.refuse_connect(cx, conn, connect, reason),
        };
        let home = claim_home(&name, &self.topology);
        if home != self.shard {
            cx.io.hand_over_stream(conn, home);
            return Begun::Elsewhere;
        }
        if self.is_barred(cx, conn, &name) {
            return self.refuse_connect(cx, conn, connect, ReasonCode::Banned);
        }
        let method = connect.properties.authentication_method();
        let by_token = token_method(method).filter(|_| self.access.wants_tokens());
        if method.is_some() && by_token.is_none() {
            return self.challenge(cx, conn, connect);
        }
        let shown = match (&certified, by_token) {
            (Some(_), _) if self.access.asks() => Shown::Ask,
            (Some(user), _) => Shown::Identity(Identity::of_user(Some(Arc::clone(user)))),
            (None, None) => self.access.identify(connect.user_name, connect.password),
            (None, Some(_)) => {
                self.access.by_token(connect.properties.authentication_data().unwrap_or_default())
            }
        };
        match shown {
            Shown::Identity(identity) => {
                self.let_in(cx, (conn, connect), (name, identity), by_token.map(Proof::Token))
            }
            Shown::Refused(reason) => self.refuse_connect(cx, conn, connect, reason),
            Shown::Ask => self.ask_back_end(cx, (conn, connect, packet), (name, certified)),
            Shown::Later => {
                // Some clients stay away after a refusal, and none after a close.
                cx.io.close(conn);
                Begun::Over
            }
        }
    }

    /// A client that is known. `proof` is there if it was proven by a method.
    pub(super) fn let_in(
        &mut self,
        cx: &mut Cx<'_>,
        (conn, connect): (ConnKey, &Connect<'_>),
        (name, identity): (Arc<str>, Identity),
        proof: Option<Proof>,
    ) -> Begun {
        let has_name = identity.grant.as_ref().is_none_or(|grant| grant.has_client_id(&name));
        if !has_name || !self.access.may_have_name(&name, identity.user.as_deref()) {
            return self.refuse_connect(cx, conn, connect, ReasonCode::ClientIdentifierNotValid);
        }
        if self.is_user_barred(cx, &name, identity.user.as_ref()) {
            return self.refuse_connect(cx, conn, connect, ReasonCode::Banned);
        }
        let will = match self.will(cx, connect, &name, &identity) {
            Ok(Some((will, Leave::Asked))) => {
                return self.ask_about_will(cx, (conn, connect), (name, identity), (will, proof));
            }
            Ok(will) => will.map(|(will, _)| will),
            Err(told) => return self.refuse_connect(cx, conn, connect, told),
        };
        if identity.said.is_none() {
            // It has come later than all that wait under its name.
            self.displace_petitions(cx, &name, NONE);
        }
        self.claim(cx, (conn, connect), (name, identity), (will, proof))
    }

    pub(super) fn refuse_connect(
        &mut self,
        cx: &mut Cx<'_>,
        conn: ConnKey,
        connect: &Connect<'_>,
        told: impl Into<Told>,
    ) -> Begun {
        let told = told.into();
        self.refuse(cx, conn, Encoder::for_client(connect), (told.code, told.words()));
        Begun::Over
    }

    /// The client's own name, or one whose home is this shard. `certified` is its user, if a certificate says so.
    pub(super) fn name(
        &self,
        cx: &mut Cx<'_>,
        connect: &Connect<'_>,
        certified: Option<&str>,
    ) -> Result<Arc<str>, ReasonCode> {
        let config = &self.config.mqtt;
        let is_user = config.client_id_is_user && connect.client_id.is_empty();
        let user = certified.or(connect.user_name);
        let name = user.filter(|_| is_user).unwrap_or(connect.client_id);
        if name.len() > config.client_id_bytes_max || name.starts_with(OWN_NAMES) {
            return Err(ReasonCode::ClientIdentifierNotValid);
        }
        if !name.is_empty() {
            return Ok(Arc::from(name));
        }
        if !connect.may_be_given_an_id() {
            return Err(ReasonCode::ClientIdentifierNotValid);
        }
        loop {
            let name = format!("auto-{:032x}", u128::from_be_bytes(cx.io.random()));
            if claim_home(&name, &self.topology) == self.shard {
                return Ok(Arc::from(name));
            }
        }
    }

    /// The will, if the client may publish it, or may once the back end has said so.
    fn will(
        &self,
        cx: &mut Cx<'_>,
        connect: &Connect<'_>,
        name: &str,
        identity: &Identity,
    ) -> Result<Option<(Box<Will>, Leave)>, Told> {
        let Some(will) = &connect.will else { return Ok(None) };
        let (user, permissions) = (identity.user.as_deref(), identity.permissions());
        let asker = Asker { name, user, permissions, session: None, is_own: false };
        let delay = will.properties.will_delay_interval_seconds().unwrap_or(0);
        let sent = mqtt::Publish {
            dup: false,
            qos: will.qos,
            retain: will.retain,
            topic: will.topic,
            packet_id: None,
            properties: will.properties,
            payload: will.payload,
        };
        availability::publish(&self.config.mqtt, &sent)?;
        let (publish, leave) = self.message(cx, asker, &sent, will.topic)?;
        let put_off_ms = publish.traits.delay_ms;
        let expires_after_ms = lifetime_ms(&will.properties).map(|ms| ms.saturating_add(put_off_ms));
        let will = Will { publish, delay_ms: u64::from(delay) * 1000, expires_after_ms };
        Ok(Some((Box::new(will), leave)))
    }

    pub(super) fn claim(
        &mut self,
        cx: &mut Cx<'_>,
        (conn, connect): (ConnKey, &Connect<'_>),
        (name, Identity { user, mut grant, said }): (Arc<str>, Identity),
        (will, proof): (Option<Box<Will>>, Option<Proof>),
    ) -> Begun {
        let asked = expiry_asked(connect);
        let expiry = asked.min(self.config.mqtt.session_expiry_seconds_max);
        let own = cx.io.is_own(conn);
        let info = grant.as_ref().and_then(|grant| grant.info.clone());
        let state = grant.as_mut().and_then(|grant| grant.state.take());
        let (user_properties, luggage) =
            said.map(|said| (said.user_properties, said.luggage)).unwrap_or_default();
        let keep_alive_seconds = if own { connect.keep_alive_seconds } else { self.keep_alive(connect) };
        let index = u32::try_from(self.clients.insert(Client {
            conn,
            session: NO_SESSION,
            id: SessionId([0; 15]),
            kind: Kind {
                websocket: cx.io.is_websocket(conn),
                v31: connect.level == Level::V31,
                bridge: connect.is_bridge,
                ends_with_connection: asked == 0,
                by_method: matches!(proof, Some(Proof::Scram(_))),
                token_by_method: matches!(proof, Some(Proof::Token(_))),
                holds: false,
                own,
            },
            encoder: Encoder::for_client(connect),
            heard: cx.io.now(),
            keep_alive_seconds,
            inbound: 0,
            aliases_max: connect.properties.topic_alias_maximum().unwrap_or(0),
            name: Arc::clone(&name),
            user: user.clone(),
            rare: None,
        }))
        .expect("fewer clients than `sessions_max`, a u32");
        self.hold_grant(cx, index, grant);
        self.figures.connected(connect.level);
        self.welcome = Some(Welcome {
            assigned: connect.client_id.is_empty(),
            keep_alive_seconds: Some(keep_alive_seconds).filter(|own| *own != connect.keep_alive_seconds),
            expiry_seconds: Some(expiry).filter(|own| *own != asked),
            proof,
            wants_response_information: connect.properties.request_response_information() == Some(true),
            user_properties,
            luggage,
            state,
            ..Welcome::default()
        });
        cx.io.own(conn, owner(index));
        let claim = Claim {
            tag: tag_of(Door::Stream, index),
            name,
            fresh: connect.clean_start,
            keep_ms: self.keep_ms(expiry),
            window: self.window(connect),
            will,
            user,
            info,
            random: cx.io.random(),
        };
        self.apply(cx, Command::Claim(Box::new(claim)));
        self.welcome = None;
        if self.client(index).is_some() { Begun::Here(index, 0) } else { Begun::Over }
    }

    /// Seconds of a session expiry as the hub counts.
    pub(super) fn keep_ms(&self, seconds: u32) -> u64 {
        match seconds.min(self.config.mqtt.session_expiry_seconds_max) {
            FOR_EVER => u64::MAX,
            seconds => u64::from(seconds) * 1000,
        }
    }

    /// The client's own, unless the server's limit is lower, which only version 5 can be told.
    fn keep_alive(&self, connect: &Connect<'_>) -> u16 {
        let (own, max) = (connect.keep_alive_seconds, self.config.mqtt.server_keep_alive_seconds);
        match connect.level.version() {
            Version::V5 if max > 0 && (own == 0 || own > max) => max,
            Version::V3 | Version::V5 => own,
        }
    }

    fn window(&self, connect: &Connect<'_>) -> u16 {
        match connect.level.version() {
            Version::V3 => self.config.mqtt.v3_receive_maximum,
            Version::V5 => connect.properties.receive_maximum().unwrap_or(u16::MAX),
        }
    }

    /// The hub has a session for the client, which is told of it at once or, if that or what the back end is told is not safe
    /// yet, later.
    pub(super) fn claimed(
        &mut self,
        cx: &mut Cx<'_>,
        index: u32,
        (session, id): (SessionKey, SessionId),
        (session_present, is_safe): (bool, bool),
    ) {
        let Some(client) = self.clients.get_mut(index as usize) else { return };
        (client.session, client.id) = (session, id);
        self.note_index(id, index);
        self.arm(cx, index);
        let Some(mut welcome) = self.welcome.take() else { return };
        (welcome.session_present, welcome.waits_for_hub) = (session_present, !is_safe);
        self.tell_of(cx, index, &mut welcome);
        match welcome.waits() {
            true => self.greet_later(cx, index, welcome),
            false => self.greet(cx, index, &welcome),
        }
    }

    /// The back end is told of a client that has a session.
    fn tell_of(&mut self, cx: &mut Cx<'_>, index: u32, welcome: &mut Welcome) {
        let Some(client) = self.client(index).filter(|client| self.tells() && !client.kind.own) else {
            return;
        };
        let known = Known { user: client.user.clone(), state: welcome.state.take() };
        let (session, client_id) = (client.id, Arc::clone(&client.name));
        let (remote, resumed) = (cx.io.peer_addr(client.conn), welcome.session_present);
        let luggage = welcome.luggage.take();
        self.told += 1;
        let number = self.told;
        welcome.waits_for_office = (!self.config.webhooks.is_empty()).then_some(number);
        cx.io.upcall(Upcall::Claimed { session, number, client_id, resumed, known, luggage, remote });
    }

    /// What the client sends before it is answered waits in the socket.
    fn greet_later(&mut self, cx: &mut Cx<'_>, index: u32, welcome: Welcome) {
        let Some(client) = self.client_mut(index) else { return };
        client.rare().welcome = Some(Box::new(welcome));
        let conn = client.conn;
        cx.io.pause_reading(conn);
    }

    /// The session of a client that waited is safe.
    pub(super) fn agreed(&mut self, cx: &mut Cx<'_>, index: u32) {
        self.waited(cx, index, |welcome| welcome.waits_for_hub = false);
    }

    /// What the back end is told of a client that waited is safe.
    pub(in crate::front) fn may_be_greeted(
        &mut self,
        cx: &mut Cx<'_>,
        session: SessionId,
        (number, until_told): (u64, oneshot::Sender<()>),
    ) {
        let Some(index) = self.index_of(session) else { return };
        self.waited(cx, index, |welcome| {
            if welcome.waits_for_office.take_if(|waits| *waits == number).is_some() {
                welcome.until_told = Some(until_told);
            }
        });
    }

    fn waited(&mut self, cx: &mut Cx<'_>, index: u32, note: impl FnOnce(&mut Welcome)) {
        let Some(client) = self.client_mut(index) else { return };
        let conn = client.conn;
        let Some(rare) = client.rare.as_mut() else { return };
        let Some(welcome) = rare.welcome.as_mut() else { return };
        note(welcome);
        let Some(welcome) = rare.welcome.take_if(|welcome| !welcome.waits()) else { return };
        client.tidy();
        cx.io.resume_reading(conn);
        self.greet(cx, index, &welcome);
    }

    /// The client is told of its session, and gets what waits.
    pub(super) fn greet(&mut self, cx: &mut Cx<'_>, index: u32, welcome: &Welcome) {
        let Some(client) = self.client(index) else { return };
        let (session, id, session_present) = (client.session, client.id, welcome.session_present);
        let (name, version, websocket) = (Arc::clone(&client.name), client.version(), client.kind.websocket);
        let (conn, encoder) = (client.conn, client.encoder);
        let told = (version == Version::V5).then(|| self.told(welcome, &name, id));
        let properties = told.as_ref().map_or(Properties::NONE, mqtt::PropertyBuf::as_properties);
        let connack = ConnAck { session_present, reason: ReasonCode::Success, properties };
        if !self.put_on(cx, (conn, websocket), |out| encoder.connack(&connack, out)) {
            // Its own limit is smaller than what it has to be told.
            return self.end(cx, index, None, hub::Reason::Misbehaved);
        }
        if !session_present {
            self.subscribe_at_start(cx, index);
        }
        self.subscribe_as_granted(cx, index);
        self.apply(cx, Command::Resume { session, budget: BUDGET });
    }

    fn told(&self, welcome: &Welcome, name: &str, id: SessionId) -> mqtt::PropertyBuf {
        let config = &self.config.mqtt;
        let replies = replies::prefix(id);
        let (method, data) = match &welcome.proof {
            None => (None, None),
            Some(Proof::Scram(data)) => (Some(METHOD), Some(data.as_bytes())),
            Some(Proof::Token(method)) => (Some(*method), None),
        };
        let told = ConnAckProperties {
            server_keep_alive_seconds: welcome.keep_alive_seconds,
            topic_alias_maximum: config.topic_alias_maximum,
            assigned_client_identifier: welcome.assigned.then_some(name),
            authentication_method: method,
            authentication_data: data,
            maximum_packet_size_bytes: Some(config.packet_bytes_max),
            receive_maximum: config.receive_maximum,
            maximum_qos: availability::qos_max(config),
            retain_available: config.retain_available,
            wildcard_subscription_available: config.wildcard_subscriptions,
            shared_subscription_available: config.shared_subscriptions,
            subscription_identifier_available: config.subscription_identifiers,
            session_expiry_interval_seconds: welcome.expiry_seconds,
            response_information: welcome.wants_response_information.then_some(&replies),
            ..ConnAckProperties::default()
        };
        let mut told = told.to_buf();
        for (name, value) in &welcome.user_properties {
            // What has no form in the protocol was refused by the back office.
            let _ = told.push_user_property(name, value);
        }
        told
    }

    /// Sets the client's timer to the end of its keep alive.
    pub(super) fn arm(&self, cx: &mut Cx<'_>, index: u32) {
        let Some(client) = self.client(index) else { return };
        let keep_alive = u64::from(client.keep_alive_seconds) * 1500;
        let hears = keep_alive > 0 && !client.is_paused();
        let silent_at = hears.then_some(client.heard.0 + keep_alive);
        let rate_at = client.rate_at().map(|at| at.0);
        let drained_at = self.drain.as_ref().map(|drain| drain.at(client.id).0);
        let over_at = self.rights(index).and_then(Rights::due_at).map(|at| at.0);
        let asked_until = self.asked_until(index).map(|at| at.0);
        let held_until = self.held_until(index).map(|at| at.0);
        let deadlines = [silent_at, drained_at, rate_at, over_at, asked_until, held_until];
        if let Some(at) = deadlines.into_iter().flatten().min() {
            cx.io.arm(owner(index), Millis(at));
        }
    }
}
