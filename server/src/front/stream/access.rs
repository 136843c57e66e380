//! Who a client is and what it may do, by the token of its request.
//!
//! Owns where a token of this protocol is, what its refusal looks like, and when a stream ends with its token. Must not know how a
//! token is read ([`crate::auth`]). Start at [`Streams::look`].

use std::sync::Arc;

use hub::Millis;
use wire::http::{Head, pairs};

use super::Streams;
use super::answer::{Later, Refusal};
use crate::auth::{self, Action, Asker, Grant, Verdict, is_reserved, token_in, unix_now};
use crate::config::Permission;
use crate::shard::Cx;

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
    pub(super) fn look(&mut self, head: &Head<'_>) -> Result<Box<Grant>, Turned> {
        let cookies = head.header("cookie");
        let token = token_in(head.header("authorization"), pairs(head.query), cookies, self.gate.cookie());
        match self.gate.admit(token.as_deref(), unix_now()) {
            Verdict::Granted(grant) => Ok(grant),
            Verdict::Refused(auth::Refusal::Missing) => {
                Err(Refusal::nobody(auth::Refusal::Missing.text()).into())
            }
            Verdict::Refused(refusal) => Err(Refusal::bad_token(refusal.text()).into()),
            Verdict::Later(_) => Err(Turned::Off(Later::Unknown)),
            Verdict::Ask => {
                Err(Refusal::nobody("streams are not for clients whom the back end lets in (`auth.mode`)")
                    .into())
            }
        }
    }

    /// Whether a request shows nothing where something has to be shown, which its head tells: its body is not read.
    pub(super) fn shows_nothing(&self, head: &Head<'_>) -> Option<Refusal> {
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
        let is_foreign = head.method == "POST" && self.site.is_foreign(head);
        is_foreign.then(|| Refusal::new(403, "forbidden", "a page of this origin may not publish"))
    }

    /// Whether somebody may do something with all that a channel or filter matches.
    pub(super) fn may(&self, grant: &Grant, action: Action, channel: &str) -> bool {
        let Grant { user, permissions, .. } = grant;
        let asker = Asker { user: user.as_deref(), client: None, permissions: permissions.as_deref() };
        // Of the server's own names the hub says what there is to say.
        is_reserved(action, channel) || self.gate.may(asker, action, channel)
    }

    /// Keeps when a reader's token is over.
    pub(super) fn hold_grant(&mut self, cx: &Cx<'_>, index: u32, grant: &Grant) {
        let Some(at) = grant.expires else { return };
        let left_ms = at.0.saturating_sub(unix_now().0);
        self.ends.insert(index, Millis(cx.io.now().0.saturating_add(left_ms)));
    }

    /// When a reader's token is over.
    pub(super) fn token_ends(&self, index: u32) -> Option<Millis> {
        if self.ends.is_empty() { None } else { self.ends.get(&index).copied() }
    }

    /// Who has published, for whoever takes it out of a queue.
    pub(super) fn publisher_of(&self, grant: &Grant) -> Option<Arc<str>> {
        grant.user.clone().filter(|_| !self.config.bindings.is_empty())
    }
}
