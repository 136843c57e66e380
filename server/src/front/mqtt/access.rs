//! Who may connect, and which topics a client may use.
//!
//! Owns the rules of the configuration and the names that nobody but the server uses. Must not know packets. Start at
//! [`Access`].

use std::borrow::Cow;
use std::sync::Arc;

use hub::{SessionId, Topology};
use wire::mqtt::ReasonCode;

use super::replies;
use super::told::Told;
use crate::auth::{self, Action, Gate, Grant, May, Permissions, Verdict};
use crate::config::{AclAction, AclRule, AuthMode, Config, MqttUser, Permission};
use crate::mail::Luggage;

/// The rules, as configured.
#[derive(Debug)]
pub(super) struct Access {
    users: Vec<MqttUser>,
    rules: Vec<AclRule>,
    default: Permission,
    mode: AuthMode,
    name_is_user: bool,
    /// Whether a rule hides messages from clients whose filters ask for more than it.
    pub(super) hides: bool,
    topology: Topology,
    gate: Gate,
}

/// Who a client has shown to be.
#[derive(Debug, Default)]
pub(super) struct Identity {
    /// The user, or nobody in particular.
    pub(super) user: Option<Arc<str>>,
    /// What its token says, if it has shown one, or the back end.
    pub(super) grant: Option<Box<Grant>>,
    /// What else the back end said.
    pub(super) said: Option<Box<Said>>,
}

/// What the back end says with its yes that is not about the client's rights.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) user_properties: Vec<(Box<str>, Box<str>)>,
    pub(super) luggage: Option<Box<Luggage>>,
}

impl Identity {
    pub(super) fn of_user(user: Option<Arc<str>>) -> Self {
        Self { user, ..Self::default() }
    }

    pub(super) fn permissions(&self) -> Option<&Permissions> {
        self.grant.as_ref()?.permissions.as_deref()
    }
}

/// What a client's credentials lead to.
#[derive(Debug)]
pub(super) enum Shown {
    /// They are good.
    Identity(Identity),
    /// They are not.
    Refused(ReasonCode),
    /// It cannot be known now: the client should come back.
    Later,
    /// The back end decides.
    Ask,
}

/// How a client may do something that it is not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// At once.
    Given,
    /// Once the back end has said so.
    Asked,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker<'a> {
    pub(super) name: &'a str,
    pub(super) user: Option<&'a str>,
    /// Of its token.
    pub(super) permissions: Option<&'a Permissions>,
    /// Known once it has a session.
    pub(super) session: Option<SessionId>,
    /// The server itself, for which no rule holds.
    pub(super) is_own: bool,
}

/// What the client ids of the server's own clients begin with; nobody else may have such a one.
pub const OWN_NAMES: &str = "$bridge/";

impl<'a> Asker<'a> {
    fn plain(self) -> auth::Asker<'a> {
        auth::Asker { user: self.user, client: Some(self.name), permissions: self.permissions }
    }
}

impl Access {
    pub(super) fn new(config: &Config, topology: Topology, gate: Gate) -> Self {
        Self {
            users: config.mqtt_users.clone(),
            rules: config.mqtt_acl.clone(),
            default: config.mqtt.acl_default,
            mode: config.auth.mode,
            name_is_user: config.mqtt.client_id_is_user,
            hides: config.mqtt_acl.iter().any(|rule| rule.deny.contains(&AclAction::Subscribe)),
            topology,
            gate,
        }
    }

    /// Whether the back end decides about clients that are no configured users.
    pub(super) fn asks(&self) -> bool {
        self.mode == AuthMode::BackEnd
    }

    /// Equal permissions are kept once.
    pub(super) fn intern(&mut self, permissions: Arc<Permissions>) -> Arc<Permissions> {
        self.gate.intern(permissions)
    }

    /// Whether tokens are what clients are let in by.
    pub(super) fn wants_tokens(&self) -> bool {
        self.gate.wants_tokens()
    }

    /// Who a client is, from its user name and password. Without configured users anonymous access takes everybody,
    /// whatever name it gives, as nobody in particular. Where tokens are asked for the password is one, and where the back end
    /// decides it is asked, unless the name is that of a configured user.
    pub(super) fn identify(&mut self, name: Option<&str>, password: Option<&[u8]>) -> Shown {
        let known = name.and_then(|name| self.users.iter().find(|user| user.name.as_str() == name));
        if self.gate.wants_tokens() && known.is_none() {
            return self.by_token(password.unwrap_or_default());
        }
        if self.asks() && known.is_none() {
            return Shown::Ask;
        }
        let Some(name) = name.filter(|_| !self.users.is_empty()) else {
            return match self.mode {
                AuthMode::Anonymous => Shown::Identity(Identity::default()),
                AuthMode::BackEnd | AuthMode::Jwt => Shown::Refused(ReasonCode::NotAuthorized),
            };
        };
        match known.filter(|user| user.password.matches(password.unwrap_or_default())) {
            Some(_) => Shown::Identity(Identity::of_user(Some(Arc::from(name)))),
            None => Shown::Refused(ReasonCode::BadUserNameOrPassword),
        }
    }

    /// Who a client is by its token.
    pub(super) fn by_token(&mut self, token: &[u8]) -> Shown {
        let Ok(token) = std::str::from_utf8(token) else {
            return Shown::Refused(ReasonCode::BadUserNameOrPassword);
        };
        match self.gate.admit(Some(token), auth::unix_now()) {
            Verdict::Granted(grant) => {
                Shown::Identity(Identity { user: grant.user.clone(), grant: Some(grant), said: None })
            }
            Verdict::Refused(_) => Shown::Refused(ReasonCode::BadUserNameOrPassword),
            Verdict::Later(_) => Shown::Later,
            Verdict::Ask => Shown::Ask,
        }
    }

    /// Whether a client of a user, or of nobody in particular, may bear this name.
    pub(super) fn may_have_name(&self, name: &str, user: Option<&str>) -> bool {
        match user {
            _ if !self.name_is_user => true,
            Some(user) => user == name,
            None => self.users.iter().all(|user| user.name.as_str() != name),
        }
    }

    /// Whether a client may publish to a topic.
    ///
    /// # Errors
    /// The reason of the refusal.
    pub(super) fn publish(&self, asker: Asker<'_>, topic: &str) -> Result<Leave, Told> {
        // Whoever answers a request is not known beforehand, and who asked has told this name to those only.
        if replies::reader(topic, &self.topology).is_some() {
            return Ok(Leave::Given);
        }
        self.check(asker, AclAction::Publish, topic)
    }

    /// Whether a client may subscribe to a filter, `$share` and group taken off.
    ///
    /// # Errors
    /// The reason of the refusal.
    pub(super) fn subscribe(&self, asker: Asker<'_>, filter: &str) -> Result<Leave, Told> {
        match replies::reader(filter, &self.topology) {
            None => self.check(asker, AclAction::Subscribe, filter),
            reader if reader == asker.session => Ok(Leave::Given),
            Some(_) => {
                Err(Told::new(ReasonCode::NotAuthorized, "answers to another client are not for this one"))
            }
        }
    }

    /// Whether a rule keeps a client from getting a message, by whatever filter it comes. Asked only where a rule `hides`.
    pub(super) fn is_hidden(&self, asker: Asker<'_>, topic: &str) -> bool {
        if asker.is_own {
            return false;
        }
        let rule = self.rules.iter().find(|rule| {
            let decides =
                rule.allow.contains(&AclAction::Subscribe) || rule.deny.contains(&AclAction::Subscribe);
            decides && covers(rule.filter.as_str(), topic, asker)
        });
        rule.is_some_and(|rule| !rule.allow.contains(&AclAction::Subscribe))
    }

    /// The first rule that covers all of it and names the action decides, and then what holds for all protocols: what a rule
    /// here allows needs no token, but nobody is nobody.
    fn check(&self, asker: Asker<'_>, action: AclAction, filter: &str) -> Result<Leave, Told> {
        let what = match action {
            AclAction::Subscribe => Action::Subscribe,
            AclAction::Publish => Action::Publish,
        };
        if asker.is_own {
            // It is bound by names alone.
            let is_free = !auth::is_reserved(what, filter);
            return if is_free { Ok(Leave::Given) } else { Err(ReasonCode::NotAuthorized.into()) };
        }
        let covering = self.rules.iter().filter(|rule| covers(rule.filter.as_str(), filter, asker));
        let mut deciding =
            covering.filter(|rule| rule.allow.contains(&action) || rule.deny.contains(&action));
        let may = match (deciding.next(), self.default) {
            (Some(rule), _) if rule.allow.contains(&action) => {
                self.gate.weigh_granted(asker.plain(), what, filter)
            }
            (Some(rule), _) => return Err(Told::new(code(rule), "a rule for clients of MQTT forbids it")),
            (None, Permission::Allow) => self.gate.weigh(asker.plain(), what, filter),
            (None, Permission::Deny) => {
                return Err(Told::new(ReasonCode::NotAuthorized, "no rule for clients of MQTT allows it"));
            }
        };
        match may {
            May::Yes => Ok(Leave::Given),
            May::Ask => Ok(Leave::Asked),
            May::No => {
                Err(Told::new(ReasonCode::NotAuthorized, self.gate.why_not(asker.plain(), what, filter)))
            }
        }
    }
}

/// The configuration takes codes of refusals only.
fn code(rule: &AclRule) -> ReasonCode {
    u8::try_from(rule.code).ok().and_then(ReasonCode::from_byte).unwrap_or(ReasonCode::NotAuthorized)
}

/// Whether everything that `asked` matches is matched by `rule`, in which `%c` is the client's name and `%u` its user. A name
/// that would be more than one plain level covers nothing (CVE-2017-7650).
fn covers(rule: &str, asked: &str, asker: Asker<'_>) -> bool {
    auth::covers(rule, asked, |level, other| substituted(level, asker).is_some_and(|level| level == other))
}

/// A text of the configuration with the client's name for `%c` and its user for `%u`; `None` when there is no user, or one
/// of them would be more than one plain level. What is put in is not looked at for marks.
pub(super) fn substituted<'a>(text: &'a str, asker: Asker<'_>) -> Option<Cow<'a, str>> {
    if !text.contains('%') {
        return Some(text.into());
    }
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, mark)) = rest.split_once('%') {
        out.push_str(before);
        let value = match mark.as_bytes().first() {
            Some(b'c') => Some(asker.name),
            Some(b'u') => asker.user,
            _ => {
                out.push('%');
                rest = mark;
                continue;
            }
        };
        out.push_str(value.filter(|value| !value.is_empty() && !value.contains(['+', '#', '/']))?);
        rest = mark.get(1..).unwrap_or_default();
    }
    out.push_str(rest);
    Some(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_must_cover_the_whole_filter() {
        let asker = Asker { name: "c1", user: Some("bob"), permissions: None, session: None, is_own: false };
        let cases = [
            ("a/#", "a", true),
            ("a/#", "a/+/b", true),
            ("a/+", "a/#", false),
            ("a/+", "a/+", true),
            ("a/b", "a/+", false),
            ("#", "$SYS/x", false),
            ("d/%c/#", "d/c1/x", true),
            ("d/%c/#", "d/c2/x", false),
            ("d/%u", "d/bob", true),
            ("d/%u-%c", "d/bob-c1", true),
        ];
        for (rule, asked, expected) in cases {
            assert_eq!(covers(rule, asked, asker), expected, "{rule} {asked}");
        }
        let marked = Asker { name: "%u", user: Some("bob"), permissions: None, session: None, is_own: false };
        assert!(covers("d/%c", "d/%u", marked) && !covers("d/%c", "d/bob", marked));
        assert_eq!(substituted("%c%d%/%u%", asker).as_deref(), Some("c1%d%/bob%"));
        let tricky = Asker { name: "#", user: None, permissions: None, session: None, is_own: false };
        assert!(!covers("d/%c", "d/#", tricky) && !covers("d/%u", "d/%u", tricky));
    }
}
