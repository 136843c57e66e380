//! What the tokens of clients say, or the back end said of them, while they are connected.
//!
//! Owns the end of it, and that a session keeps no subscription that its client is not granted any more. Must not know how a
//! token is read ([`crate::auth`]). Start at [`Held`].

use std::borrow::Cow;
use std::sync::Arc;

use hub::{CatchUp, Command, Join, Options, Quality, Reason, SessionId};
use wire::mqtt::{Auth, Property, PropertyBuf, Qos, ReasonCode, Value, parse_share};

use super::access::{Access, Asker, Identity, Shown, substituted};
use super::client::Client;
use super::connect::NO_SESSION;
use super::subscribe::split_share;
use super::{Mqtt, availability};
use crate::auth::Grant;
use crate::config::AutoSubscribe;
use crate::front::rights::Rights;
use crate::mail::SessionChange;
use crate::shard::{ConnKey, Cx};

/// Of one client that has shown a token, or of which the back end has said more than who it is.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// When they are over the client is closed.
    rights: Rights,
    /// To be made when it is greeted.
    subscriptions: Vec<String>,
}

/// Authentication methods by which a client shows a token and nothing else happens: the plain one, and two that other servers
/// have.
const METHODS: [&str; 3] = ["JWT", "CUSTOM-JWT", "OAUTH2-JWT"];

/// The method, if it is one of those.
pub(super) fn token_method(named: Option<&str>) -> Option<&'static str> {
    METHODS.into_iter().find(|method| named == Some(method))
}

impl Mqtt {
    /// Keeps what a client is granted, if that is anything.
    pub(super) fn hold_grant(&mut self, cx: &Cx<'_>, index: u32, grant: Option<Box<Grant>>) {
        let says = |grant: &Grant| {
            grant.permissions.is_some()
                || grant.expires.is_some()
                || grant.token_id.is_some()
                || !grant.subscriptions.is_empty()
        };
        let Some(grant) = grant.filter(|grant| says(grant)) else { return };
        if let Some(client) = self.client_mut(index) {
            client.kind.holds = true;
            let rights = Rights::of(cx, &self.config, &grant);
            self.held.insert(index, Held { rights, subscriptions: grant.subscriptions });
        }
    }

    /// Who a client is, with what its token says.
    pub(super) fn asker(&self, index: u32) -> Option<Asker<'_>> {
        let client = self.client(index)?;
        let held = if client.kind.holds { self.held.get(&index) } else { None };
        Some(Asker {
            permissions: held.and_then(|held| held.rights.permissions.as_deref()),
            ..client.asker()
        })
    }

    /// Ends the sessions of the clients that have shown a token; how many.
    pub(in crate::front) fn revoke(&mut self, cx: &mut Cx<'_>, token_id: &str) -> u64 {
        let is_by_it = |(_, held): &(&u32, &Held)| held.rights.are_by(token_id);
        let indexes: Vec<u32> = self.held.iter().filter(is_by_it).map(|(index, _)| *index).collect();
        for index in &indexes {
            match self.client(*index).map(|client| client.session) {
                // The hub has none for it yet: it comes back, and is refused.
                Some(NO_SESSION) => self.end(cx, *index, None, Reason::Revoked),
                Some(session) => self.apply(cx, Command::End { session, reason: Reason::Revoked }),
                None => {}
            }
        }
        indexes.len() as u64
    }

    /// What a client may do, if somebody has said that.
    pub(super) fn rights(&self, index: u32) -> Option<&Rights> {
        self.client(index).filter(|client| client.kind.holds)?;
        self.held.get(&index).map(|held| &held.rights)
    }

    /// Asks the back end about a client whose time is nearly over.
    pub(super) fn ask_ahead(&mut self, cx: &mut Cx<'_>, index: u32) {
        let Some(client) = self.client(index).filter(|client| client.kind.holds && client.is_greeted())
        else {
            return;
        };
        let session = client.id;
        if let Some(held) = self.held.get_mut(&index) {
            held.rights.ask(cx, session);
        }
    }

    /// Changes what a client may do, and until when. The subscriptions end that were allowed before and are not any more. `false`:
    /// there is no connection.
    pub(in crate::front) fn change(
        &mut self,
        cx: &mut Cx<'_>,
        session: SessionId,
        change: SessionChange,
    ) -> bool {
        let Some(index) = self.index_of(session) else { return false };
        let change = change.shared(|permissions| self.access.intern(permissions));
        if let Some(client) = self.client_mut(index) {
            client.kind.holds = true;
        }
        let before = self.held.entry(index).or_default().rights.change(cx, &self.config, change);
        if let Some(before) = before {
            self.leave_what_is_not_granted(cx, index, |access, asker, filter| {
                access.subscribe(Asker { permissions: before.as_deref(), ..asker }, filter).is_ok()
            });
        }
        self.arm(cx, index);
        true
    }

    /// A session is another user's. What its client asked for as the former one ends if this one may not, and what the
    /// configuration has each of them subscribed to is this one's.
    pub(super) fn reassigned(&mut self, cx: &mut Cx<'_>, index: u32, user: Option<Arc<str>>) {
        let Some(client) = self.client_mut(index) else { return };
        let session = client.session;
        let former = std::mem::replace(&mut client.user, user);
        let Some(asker) = self.client(index).map(Client::asker) else { return };
        let before = Asker { user: former.as_deref(), ..asker };
        let entries = self.config.mqtt_auto_subscribe.iter().enumerate();
        let change = |(place, entry): (usize, &AutoSubscribe)| {
            let was = substituted(entry.filter.as_str(), before).map(Cow::into_owned);
            (was.as_deref() != substituted(entry.filter.as_str(), asker).as_deref()).then_some((place, was))
        };
        let changes: Vec<(usize, Option<String>)> = entries.filter_map(change).collect();
        for filter in changes.iter().filter_map(|(_, was)| was.as_deref()) {
            let (group, filter) = split_share(filter);
            let filter = filter.to_owned();
            self.apply(cx, Command::Leave { session, filter, group, request: 0 });
        }
        self.leave_what_is_not_granted(cx, index, |access, asker, filter| {
            access.subscribe(Asker { user: former.as_deref(), ..asker }, filter).is_ok()
        });
        for (place, _) in changes {
            self.subscribe_as_configured(cx, index, place);
        }
    }

    /// Of a session that goes on: what its client is not granted goes. Then what it is to have from the start is there.
    pub(super) fn subscribe_as_granted(&mut self, cx: &mut Cx<'_>, index: u32) {
        let Some(kind) = self.client(index).map(|client| client.kind).filter(|kind| !kind.own) else {
            return;
        };
        let held = if kind.holds { self.held.get(&index) } else { None };
        if self.access.wants_tokens() || held.is_some_and(|held| held.rights.permissions.is_some()) {
            self.leave_what_is_not_granted(cx, index, |_, _, _| true);
        }
        let Some(held) = self.held.get_mut(&index) else { return };
        for filter in std::mem::take(&mut held.subscriptions) {
            let Some(client) = self.client(index) else { return };
            let qos = availability::qos_max(&self.config.mqtt).min(Qos::AtLeastOnce);
            let quality = if qos == Qos::AtMostOnce { Quality::AtMostOnce } else { Quality::AtLeastOnce };
            let (session, options) =
                (client.session, client.options(Options { quality, ..Options::default() }));
            let catch_up = if self.config.mqtt.retain_available { CatchUp::IfNew } else { CatchUp::Never };
            // Nobody waits for the answer: 0 is no request of the client's.
            self.apply(
                cx,
                Command::Join(Join { session, filter, group: None, options, catch_up, request: 0 }),
            );
        }
    }

    /// Ends the subscriptions that are not granted, of those that can be lost.
    fn leave_what_is_not_granted(
        &mut self,
        cx: &mut Cx<'_>,
        index: u32,
        can_be_lost: impl Fn(&Access, Asker<'_>, &str) -> bool,
    ) {
        let Some((asker, client)) = self.asker(index).zip(self.client(index)) else { return };
        let session = client.session;
        let by_token = self.held.get(&index).map_or(&[][..], |held| &held.subscriptions);
        // What the configuration subscribes to is nobody's to grant, nor is a user's own channel.
        let at_start = self.config.mqtt_auto_subscribe.iter();
        let at_start = at_start.filter_map(|entry| substituted(entry.filter.as_str(), asker));
        let kept: Vec<_> = at_start.collect();
        let is_kept = |group: Option<&str>, filter: &str| {
            let is_one = |own: &str| match parse_share(own) {
                Some((own_group, own)) => group == Some(own_group) && own == filter,
                None => group.is_none() && own == filter,
            };
            filter.starts_with("$user/")
                || kept.iter().any(|own| is_one(own))
                || group.is_none() && by_token.iter().any(|own| own == filter)
        };
        let mut lost = cx.hub.hub.wishes_of(&client.id);
        lost.retain(|(group, filter)| {
            !is_kept(group.as_deref(), filter)
                && self.access.subscribe(asker, filter).is_err()
                && can_be_lost(&self.access, asker, filter)
        });
        for (group, filter) in lost {
            self.apply(cx, Command::Leave { session, filter, group, request: 0 });
        }
    }

    /// A client that is let in shows another token, by which its session goes on (MQTT 5.0, 4.12.1).
    pub(super) fn renew(&mut self, cx: &mut Cx<'_>, index: u32, (conn, auth): (ConnKey, &Auth<'_>)) {
        let method = token_method(auth.properties.authentication_method());
        let Some(method) = method.filter(|_| auth.reason == ReasonCode::Reauthenticate) else {
            return self.part_for(cx, index, ReasonCode::ProtocolError);
        };
        let shown = self.access.by_token(auth.properties.authentication_data().unwrap_or_default());
        let Some(client) = self.client(index) else { return };
        // A session is of one user, and its name may be that token's alone.
        let fits = |identity: &Identity| {
            identity.user == client.user
                && identity.grant.as_ref().is_some_and(|grant| grant.has_client_id(&client.name))
        };
        match shown {
            Shown::Identity(identity) if fits(&identity) => {
                let encoder = client.encoder;
                self.hold_grant(cx, index, identity.grant);
                self.subscribe_as_granted(cx, index);
                self.arm(cx, index);
                let mut properties = PropertyBuf::new();
                properties
                    .push(Property::AuthenticationMethod, Value::Text(method))
                    .expect("a method is plain text, and short");
                let auth = Auth { reason: ReasonCode::Success, properties: properties.as_properties() };
                let websocket = cx.io.is_websocket(conn);
                self.put_on(cx, (conn, websocket), |out| encoder.auth(&auth, out));
            }
            // It comes back, and is looked at again.
            Shown::Later => self.part(cx, index, ReasonCode::ServerBusy, Reason::CredentialsExpired),
            // Nobody is asked where there are tokens.
            Shown::Identity(_) | Shown::Refused(_) | Shown::Ask => {
                self.part(cx, index, ReasonCode::NotAuthorized, Reason::CredentialsExpired);
            }
        }
    }
}
