//! Servers of this kind that bridge to each other: who they are, and which of them sends what.
//!
//! Owns the topics below `$bridge/` and the marks that messages carry. Each server retains, for whoever bridges to it,
//!
//! - `$bridge/id`: its identity, a word that it has made up once;
//! - `$bridge/to/<identity of another>/<name of its bridge>`: what it sends there by itself ([`Sent`], in JSON). It expires unless it
//!   is told anew.
//!
//! Where another server sends what a rule takes in, the rule rests: else every message would come twice. It rests only if the
//! other sends all of it, the same topics under the same names and no worse, and by giving up the subscription, so that what
//! waits there already still comes. What was said outlasts a connection. Must not know connections. Start at [`Facing`] and
//! [`trail`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use wire::mqtt::{Properties, PropertyBuf};

use super::status::Loss;
use super::topics::{Side, covers, filter, from, prefix, renaming};
use crate::config::{Bridge, BridgeRule};

/// Where a server says who it is.
pub(super) const ID_TOPIC: &str = "$bridge/id";
/// Below which it says what it sends to whom.
pub(super) const TO_TOPICS: &str = "$bridge/to/";
/// How long that holds unless it is said again.
pub(super) const TOLD_FOR: Duration = Duration::from_secs(60);
/// How often it is said.
pub(super) const TOLD_EVERY: Duration = Duration::from_secs(20);

/// The user property with the identities of the servers that a message came by, one for each.
const TRAIL: &str = "trunkline-path";
/// A message that came by so many servers goes no further.
const HOPS_MAX: usize = 16;
/// Bridges of the other server that are heard of.
const BRIDGES_MAX: usize = 64;
/// Bytes of what each says.
const TOLD_BYTES_MAX: usize = 64 << 10;
/// Bytes of an identity.
const ID_BYTES_MAX: usize = 64;

/// What a server sends to another by one rule of a bridge of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sent {
    /// The topics, under its own names.
    filter: String,
    /// What their names begin with; and what takes that place at the other.
    prefix: String,
    other_prefix: String,
    /// Highest QoS.
    qos: u8,
    /// Whether what is retained stays so.
    retain: bool,
}

/// All that a bridge here sends.
pub(super) fn sent(config: &Bridge) -> Vec<Sent> {
    let sent = |rule: &BridgeRule| Sent {
        filter: filter(rule, Side::Local).to_owned(),
        prefix: prefix(rule, Side::Local).to_owned(),
        other_prefix: prefix(rule, Side::Remote).to_owned(),
        qos: rule.qos,
        retain: config.retain,
    };
    from(&config.rules, Side::Local).map(sent).collect()
}

impl Sent {
    /// Whether all comes by this that a rule here would take in. The other's own side is the broker's here.
    fn replaces(&self, rule: &BridgeRule, retain: bool) -> bool {
        let (there, here) = (prefix(rule, Side::Remote), prefix(rule, Side::Local));
        covers(&self.filter, filter(rule, Side::Remote))
            && renaming(&self.prefix, &self.other_prefix) == renaming(there, here)
            && self.qos >= rule.qos
            && (self.retain || !retain)
    }
}

/// What the other server has said.
#[derive(Debug)]
pub(super) struct Facing {
    own: Arc<str>,
    /// What is retained there is to be retained here.
    retain: bool,
    other: Option<Arc<str>>,
    /// By the names of its bridges: what they send, and when that was said.
    sends: BTreeMap<String, (Vec<Sent>, Instant)>,
}

impl Facing {
    /// Nothing is known of the other.
    pub(super) fn new(own: Arc<str>, config: &Bridge) -> Self {
        Self { own, retain: config.retain, other: None, sends: BTreeMap::new() }
    }

    /// What to subscribe to at the other.
    pub(super) fn filters(&self) -> [String; 2] {
        [ID_TOPIC.to_owned(), format!("{TO_TOPICS}{}/+", self.own)]
    }

    /// Who the other is.
    pub(super) fn other(&self) -> Option<&Arc<str>> {
        self.other.as_ref()
    }

    /// What the other says; whether this is such a message at all.
    pub(super) fn hear(&mut self, (topic, payload): (&str, &[u8]), now: Instant) -> bool {
        let text = std::str::from_utf8(payload).ok();
        if topic == ID_TOPIC {
            let other: Option<Arc<str>> = text.filter(|text| is_identity(text)).map(Arc::from);
            if self.other != other {
                // What was heard was said by somebody else.
                self.sends.clear();
            }
            self.other = other;
            return true;
        }
        let Some(name) = topic.strip_prefix(TO_TOPICS).and_then(|rest| rest.split_once('/')) else {
            return false;
        };
        if name.0 != &*self.own {
            return false;
        }
        let text = text.filter(|text| text.len() <= TOLD_BYTES_MAX);
        match text.and_then(|text| serde_json::from_str(text).ok()) {
            Some(sent) if self.sends.len() < BRIDGES_MAX || self.sends.contains_key(name.1) => {
                self.sends.insert(name.1.to_owned(), (sent, now));
            }
            Some(_) => {}
            None => drop(self.sends.remove(name.1)),
        }
        true
    }

    /// There is a connection again: what was said holds until there was time to say it anew.
    pub(super) fn resume(&mut self, now: Instant) {
        self.sends.values_mut().for_each(|(_, said)| *said = now);
    }

    /// Forgets what was not said again.
    pub(super) fn forget(&mut self, now: Instant) {
        self.sends.retain(|_, (_, said)| now.saturating_duration_since(*said) < TOLD_FOR);
    }

    /// Whether the other sends by itself all that a rule here would take in.
    pub(super) fn is_sent(&self, rule: &BridgeRule) -> bool {
        self.sends.values().flat_map(|(sent, _)| sent).any(|sent| sent.replaces(rule, self.retain))
    }
}

/// Whether a text can be an identity.
pub(super) fn is_identity(text: &str) -> bool {
    (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Adds the mark of the server that a message comes from, once it is known that it has not been where it goes: not at the broker,
/// and not here before on a way out or in.
///
/// # Errors
/// [`Loss::Loop`].
pub(super) fn trail(
    facing: &Facing,
    from: Side,
    properties: &Properties<'_>,
    out: &mut PropertyBuf,
) -> Result<(), Loss> {
    let mut hops = 0;
    let (mut is_known, other) = (false, facing.other().map(|other| &**other));
    let mark = match from {
        Side::Local => Some(&*facing.own),
        Side::Remote => other,
    };
    for (_, hop) in properties.user_properties().filter(|(name, _)| *name == TRAIL) {
        hops += 1;
        let goes_there = from == Side::Local && other == Some(hop);
        if *hop == *facing.own || goes_there || hops >= HOPS_MAX {
            return Err(Loss::Loop);
        }
        is_known |= mark == Some(hop);
    }
    if let Some(mark) = mark.filter(|_| !is_known) {
        out.push_user_property(TRAIL, mark).map_err(|_| Loss::TooLarge)?;
    }
    Ok(())
}

/// Bytes that a mark adds to a packet, at most.
pub(super) const MARK_BYTES_MAX: u32 = (5 + TRAIL.len() + ID_BYTES_MAX) as u32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{BridgeDirection, ChannelFilter};

    fn facing(other: Option<&str>) -> Facing {
        let (own, other) = ("own".into(), other.map(Arc::from));
        Facing { own, retain: true, other, sends: BTreeMap::new() }
    }

    fn marked(facing: &Facing, from: Side, hops: &[&str]) -> Result<Vec<String>, Loss> {
        let mut properties = PropertyBuf::new();
        hops.iter().for_each(|hop| properties.push_user_property(TRAIL, hop).unwrap());
        let mut out = PropertyBuf::new();
        trail(facing, from, &properties.as_properties(), &mut out)?;
        Ok(out.as_properties().user_properties().map(|(_, hop)| hop.to_owned()).collect())
    }

    #[test]
    fn a_message_does_not_go_where_it_has_been() {
        let known = facing(Some("other"));
        assert_eq!(marked(&known, Side::Local, &[]), Ok(vec!["own".to_owned()]));
        assert_eq!(marked(&known, Side::Local, &["third"]), Ok(vec!["own".to_owned()]));
        assert_eq!(marked(&known, Side::Local, &["other"]), Err(Loss::Loop));
        assert_eq!(marked(&known, Side::Local, &["own", "third"]), Err(Loss::Loop));
        assert_eq!(marked(&known, Side::Remote, &[]), Ok(vec!["other".to_owned()]));
        assert_eq!(marked(&known, Side::Remote, &["other"]), Ok(vec![]), "it is marked already");
        assert_eq!(marked(&known, Side::Remote, &["own"]), Err(Loss::Loop));
        let unknown = facing(None);
        assert_eq!(marked(&unknown, Side::Remote, &["third"]), Ok(vec![]));
        assert_eq!(marked(&unknown, Side::Local, &["a"; HOPS_MAX]), Err(Loss::Loop));
    }

    /// A rule that takes in, by its filter and the prefixes here and there.
    fn rule(filter: &str, prefixes: (&str, &str), qos: u8) -> BridgeRule {
        let with = |prefix: &str| ChannelFilter::parse(&format!("{prefix}{filter}")).unwrap();
        BridgeRule {
            direction: BridgeDirection::In,
            local: with(prefixes.0),
            remote: with(prefixes.1),
            local_prefix: prefixes.0.into(),
            remote_prefix: prefixes.1.into(),
            qos,
        }
    }

    fn told(filter: &str, prefixes: (&str, &str)) -> Sent {
        let (prefix, other_prefix) = (prefixes.0.to_owned(), prefixes.1.to_owned());
        Sent { filter: filter.to_owned(), prefix, other_prefix, qos: 1, retain: true }
    }

    #[test]
    fn what_the_other_sends_is_known_for_a_while() {
        let now = Instant::now();
        let mut facing = facing(None);
        let (a, b, c) = (rule("a/+/c", ("", ""), 1), rule("b", ("", ""), 1), rule("c", ("", ""), 1));
        let is_sent = |facing: &Facing, rule: &BridgeRule| facing.is_sent(rule);
        assert!(facing.hear((ID_TOPIC, b"0aF"), now));
        assert_eq!(facing.other().map(|other| &**other), Some("0aF"));
        let text = serde_json::to_string(&[told("a/#", ("", "")), told("b", ("", ""))]).unwrap();
        let says = ("$bridge/to/own/x", text.as_bytes());
        assert!(facing.hear(says, now));
        assert!(!facing.hear(("$bridge/to/third/x", text.as_bytes()), now), "not for this server");
        assert!(!facing.hear(("a", b""), now));
        assert!(is_sent(&facing, &a) && is_sent(&facing, &b) && !is_sent(&facing, &c));
        facing.forget(now + TOLD_FOR - Duration::from_millis(1));
        assert!(is_sent(&facing, &b));
        facing.resume(now + TOLD_FOR);
        facing.forget(now + TOLD_FOR);
        assert!(is_sent(&facing, &b), "a connection that was away is no silence");
        facing.forget(now + TOLD_FOR * 2);
        assert!(!is_sent(&facing, &b));
        facing.hear(says, now);
        facing.hear(("$bridge/to/own/x", b""), now);
        assert!(!is_sent(&facing, &b), "taken back");
        facing.hear(says, now);
        assert!(facing.hear((ID_TOPIC, b"no word"), now) && facing.other().is_none());
        assert!(!is_sent(&facing, &b), "said by another");
    }

    #[test]
    fn a_rule_rests_only_for_the_same_topics_under_the_same_names() {
        let mut plain = told("a/#", ("", ""));
        assert!(plain.replaces(&rule("a/+", ("", ""), 1), true));
        assert!(!plain.replaces(&rule("a/#", ("", "x/"), 1), true), "other topics there");
        assert!(!plain.replaces(&rule("a/#", ("x/", ""), 1), true), "other names here");
        assert!(!plain.replaces(&rule("#", ("", ""), 1), true), "a part of it");
        assert!(!plain.replaces(&rule("a/#", ("", ""), 2), true), "a lower quality");
        plain.retain = false;
        assert!(
            !plain.replaces(&rule("a/#", ("", ""), 1), true)
                && plain.replaces(&rule("a", ("", ""), 1), false)
        );
        // What is `x` there is `here/x` here, but what it sends is `other/x` there.
        let renamed = told("other/#", ("other/", "here/"));
        assert!(!renamed.replaces(&rule("#", ("here/", ""), 1), true));
        assert!(renamed.replaces(&rule("#", ("here/", "other/"), 1), true));
        assert!(renamed.replaces(&rule("+", ("here/a/", "other/a/"), 1), true), "a part with the same names");
    }
}
