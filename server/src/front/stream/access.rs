//! Who a client is and what it may do, by the token of its request.
//!
//! Owns where a token of this protocol is, what its refusal looks like, and when a stream ends with its token. Must not know how a
//! token is read ([`crate::auth`]). Start at [`Streams::look`].

use std::borrow::Cow;
use std::sync::Arc;

use hub::{Command, Reason, SessionId};
use wire::http::{Head, pairs};
use wire::stream::Said;

use super::Streams;
use super::answer::{Later, Refusal};
use super::caller::{Kind, Scope, Stage};
use crate::auth::{self, Action, Asker, Grant, May, Verdict, is_reserved, token_in, unix_now};
use crate::config::Permission;
use crate::front::rights::Rights;
use crate::mail::SessionChange;
use crate::shard::{ConnKey, Cx};

/// A request to publish has no session that the back end could be asked about; about the message it can be, if a rule says so.
pub(super) const NO_SESSION: &str = "with `auth.mode = \"back_end\"` clients publish in a WebSocket (/ws), or where the back end is asked \
                                     about each message (`publish = \"webhook\"` of the channel)";

/// Of what no client has asked for.
pub(super) const UNASKED: u64 = 1;

/// Why a request is not served.
pub(super) enum Turned {
    /// It should not be repeated.
    Away(Refusal),
    /// It should.
    Off(Later),
}

impl From<Refusal> for Turned {
    fn from(refusal: Refusal) -> Self {
        Self::Away(refusal)
    }
}

impl Streams {
    /// Looks at the token of a request: who its client is.
    pub(super) fn look(&mut self, cx: &mut Cx<'_>, head: &Head<'_>) -> Result<Box<Grant>, Turned> {
        let cookies = head.header("cookie");
        let token = token_in(head.header("authorization"), pairs(head.query), cookies, self.gate.cookie());
        match self.gate.admit(token.as_deref(), unix_now()) {
            Verdict::Granted(grant) if cx.hub.bans.bar_user(cx.io.now(), grant.user.as_ref()) => {
                Err(Refusal::forbidden("the user is blocked").into())
            }
            Verdict::Granted(grant) => Ok(grant),
            Verdict::Refused(auth::Refusal::Missing) => {
                Err(Refusal::nobody(auth::Refusal::Missing.text()).into())
            }
            Verdict::Refused(refusal) => Err(Refusal::bad_token(refusal.text()).into()),
            Verdict::Later(_) => Err(Turned::Off(Later::Unknown)),
            // Later, when there is a session.
            Verdict::Ask => Ok(Box::default()),
        }
    }

    /// Whether a request shows nothing where something has to be shown, which its head tells: its body is not read.
    pub(super) fn shows_nothing(&self, head: &Head<'_>) -> Option<Refusal> {
        if self.asks() {
            let mut channels = pairs(head.query).filter(|(name, _)| name == "channel");
            let is_asked = |(_, channel): (_, Cow<'_, str>)| {
                self.weigh(&Grant::default(), Action::Publish, &channel) == May::Ask
            };
            return (!channels.next().is_some_and(is_asked)).then(|| Refusal::nobody(NO_SESSION));
        }
        let cookies = head.header("cookie");
        let shown = || token_in(head.header("authorization"), pairs(head.query), cookies, self.gate.cookie());
        (self.gate.wants_tokens() && shown().is_none())
            .then(|| Refusal::nobody(auth::Refusal::Missing.text()))
    }

    /// Whoever may read or write nothing here, whatever it shows.
    pub(super) fn turned_away(&self, head: &Head<'_>) -> Option<Refusal> {
        if !self.config.mqtt_acl.is_empty() || self.config.mqtt.acl_default != Permission::Allow {
            let detail = "which channels are for whom is said for clients of MQTT only ([[mqtt.acl]])";
            return Some(Refusal::new(403, "forbidden", detail));
        }
        // Browsers ask nobody before a WebSocket is opened.
        let changes = head.method == "POST" || head.websocket;
        let is_foreign = changes && self.site.is_foreign(head);
        is_foreign.then(|| Refusal::forbidden("a page of this origin may not publish"))
    }

    /// Whether somebody may do something with all that a channel or filter matches.
    pub(super) fn weigh(&self, grant: &Grant, action: Action, channel: &str) -> May {
        let Grant { user, permissions, .. } = grant;
        let asker = Asker { user: user.as_deref(), client: None, permissions: permissions.as_deref() };
        // Of the server's own names the hub says what there is to say.
        if is_reserved(action, channel) { May::Yes } else { self.gate.weigh(asker, action, channel) }
    }

    /// Keeps when a reader's time is over, and what it lets the client do later, who can ask for more in a WebSocket alone.
    pub(super) fn hold_grant(&mut self, cx: &Cx<'_>, (index, kind): (u32, Kind), grant: &Grant) {
        let mut rights = Rights::of(cx, &self.config, grant);
        // What does not depend on the user is not asked about again: it has named its channels.
        if kind != Kind::WebSocket {
            rights.permissions.take_if(|permissions| !permissions.name_the_user());
        }
        if kind == Kind::Poll {
            rights = rights.without_asking();
        }
        if !rights.are_nothing() {
            self.held.insert(index, rights);
        }
    }

    /// Ends the streams that a token let in; how many.
    pub(in crate::front) fn revoke(&mut self, cx: &mut Cx<'_>, token_id: &str) -> u64 {
        let is_by_it = |(_, held): &(&u32, &Rights)| held.are_by(token_id);
        let indexes: Vec<u32> = self.held.iter().filter(is_by_it).map(|(index, _)| *index).collect();
        for index in &indexes {
            self.finish(cx, *index, Reason::Revoked);
        }
        indexes.len() as u64
    }

    /// What a reader may do, if somebody has said that.
    pub(super) fn rights(&self, index: u32) -> Option<&Rights> {
        if self.held.is_empty() { None } else { self.held.get(&index) }
    }

    /// Changes what a reader may do, and until when. What it reads ends if it was allowed before and is not any more; `false`:
    /// there is no such reader.
    pub(in crate::front) fn change(&mut self, cx: &mut Cx<'_>, id: SessionId, change: SessionChange) -> bool {
        let Some(index) = self.index_of(id) else { return false };
        let change = change.shared(|permissions| self.gate.intern(permissions));
        let before = self.held.entry(index).or_default().change(cx, &self.config, change);
        if let Some(permissions) = before {
            let is_known = self.reader(index).is_some_and(|reader| reader.kind == Kind::WebSocket);
            let former = is_known.then(|| Grant { permissions, ..self.grant_of(cx, index) });
            self.leave_what_is_lost(cx, index, former.as_ref());
        }
        self.arm(cx, index);
        true
    }

    /// A reader is another user's.
    pub(super) fn reassigned(&mut self, cx: &mut Cx<'_>, id: SessionId, former: Option<Arc<str>>) {
        let Some(index) = self.index_of(id) else { return };
        let former = Grant { user: former, ..self.grant_of(cx, index) };
        self.leave_what_is_lost(cx, index, Some(&former));
    }

    /// What it has named itself was allowed when it did, or, if what it was granted before is known, where that says so; the rest
    /// was given to it.
    fn leave_what_is_lost(&mut self, cx: &mut Cx<'_>, index: u32, former: Option<&Grant>) {
        let Some(reader) = self.reader(index) else { return };
        if reader.scope == Scope::Own && reader.kind != Kind::WebSocket {
            return;
        }
        let (id, session, kind, stage) = (reader.id, reader.session, reader.kind, reader.stage);
        let grant = self.grant_of(cx, index);
        let was_allowed = |channel: &str| {
            former.is_none_or(|former| self.weigh(former, Action::Subscribe, channel) != May::No)
        };
        let mut lost = cx.hub.hub.wishes_of(&id);
        // What the back end said of a channel that it is asked about stands.
        lost.retain(|(_, channel)| {
            self.weigh(&grant, Action::Subscribe, channel) == May::No && was_allowed(channel)
        });
        if !lost.is_empty() && stage != Stage::Live {
            // It may be given what is kept of them: it comes back, and is looked at again.
            return self.finish(cx, index, Reason::CredentialsExpired);
        }
        for (group, filter) in lost {
            if let Some(reader) = self.reader_mut(index) {
                reader.set(&filter, None);
            }
            if kind == Kind::WebSocket {
                self.tell(cx, index, &Said::Unsubscribed, (&filter, None));
            }
            self.apply(cx, Command::Leave { session, filter, group, request: UNASKED });
        }
    }

    /// Looks at whoever wants something that goes on: who it is, if there is a place for it.
    pub(super) fn let_in(
        &mut self,
        cx: &mut Cx<'_>,
        conn: ConnKey,
        head: &Head<'_>,
    ) -> Result<Box<Grant>, Turned> {
        if let Some(refusal) = self.turned_away(head) {
            return Err(refusal.into());
        }
        // Before the token, whose verification is work.
        match self.put_off(cx, conn) {
            Some(later) => Err(Turned::Off(later)),
            None => self.look(cx, head),
        }
    }

    /// Whether somebody may read a channel or filter, unless the back end says no.
    pub(super) fn check_reading(&self, grant: &Grant, channel: &str, history: u32) -> Result<(), Refusal> {
        if self.weigh(grant, Action::Subscribe, channel) == May::No {
            return Err(Refusal::forbidden(&format!("`{channel}` is not for this client to read")));
        }
        if history > 0 && self.weigh(grant, Action::History, channel) == May::No {
            let detail = format!("what was published on `{channel}` is not for this client to read");
            return Err(Refusal::forbidden(&detail));
        }
        Ok(())
    }

    /// Whether the back end has to be asked for that.
    pub(super) fn is_to_be_asked(&self, grant: &Grant, channel: &str, history: u32) -> bool {
        self.gate.asks()
            && (self.weigh(grant, Action::Subscribe, channel) == May::Ask
                || history > 0 && self.weigh(grant, Action::History, channel) == May::Ask)
    }
}
