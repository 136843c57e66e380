//! Servers of this kind that bridge to each other: who they are, and which of them sends what.
//!
//! Owns the topics below `$bridge/` and the marks that messages carry. Each server retains, for whoever bridges to it,
//!
//! - `$bridge/id`: its identity, a word that it has made up once;
//! - `$bridge/to/<identity of another>/<name of its bridge>`: the filters of what it sends there by itself, one per line, under
//!   the names of the other. It expires unless it is told anew.
//!
//! Where another server sends what a rule takes in, the rule rests: else every message would come twice. It rests only if the
//! other sends all of it, and by giving up the subscription, so that what waits there already still comes. Must not know
//! connections. Start at [`Facing`] and [`trail`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wire::mqtt::{Properties, PropertyBuf};

use super::status::Loss;
use super::topics::{Side, covers};

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

/// What the other server has said.
#[derive(Debug)]
pub(super) struct Facing {
    own: Arc<str>,
    other: Option<Arc<str>>,
    /// By the names of its bridges: what they send, and when that was said.
    sends: BTreeMap<String, (Vec<String>, Instant)>,
}

impl Facing {
    /// Nothing is known of the other.
    pub(super) fn new(own: Arc<str>) -> Self {
        Self { own, other: None, sends: BTreeMap::new() }
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
            self.other = text.filter(|text| is_identity(text)).map(Arc::from);
            return true;
        }
        let Some(name) = topic.strip_prefix(TO_TOPICS).and_then(|rest| rest.split_once('/')) else {
            return false;
        };
        if name.0 != &*self.own {
            return false;
        }
        match text.filter(|text| !text.is_empty() && text.len() <= TOLD_BYTES_MAX) {
            Some(text) if self.sends.len() < BRIDGES_MAX || self.sends.contains_key(name.1) => {
                let filters = text.lines().map(str::to_owned).collect();
                self.sends.insert(name.1.to_owned(), (filters, now));
            }
            Some(_) => {}
            None => drop(self.sends.remove(name.1)),
        }
        true
    }

    /// Forgets what was not said again.
    pub(super) fn forget(&mut self, now: Instant) {
        self.sends.retain(|_, (_, said)| now.saturating_duration_since(*said) < TOLD_FOR);
    }

    /// Whether the other sends by itself all that a filter of this server matches.
    pub(super) fn is_sent(&self, filter: &str) -> bool {
        self.sends.values().flat_map(|(filters, _)| filters).any(|sent| covers(sent, filter))
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

    fn facing(other: Option<&str>) -> Facing {
        let mut facing = Facing::new("own".into());
        facing.other = other.map(Arc::from);
        facing
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

    #[test]
    fn what_the_other_sends_is_known_for_a_while() {
        let now = Instant::now();
        let mut facing = facing(None);
        assert!(facing.hear((ID_TOPIC, b"0aF"), now));
        assert_eq!(facing.other().map(|other| &**other), Some("0aF"));
        assert!(facing.hear((ID_TOPIC, b"no word"), now) && facing.other().is_none());
        assert!(facing.hear(("$bridge/to/own/x", b"a/#\nb"), now));
        assert!(!facing.hear(("$bridge/to/third/x", b"c"), now), "not for this server");
        assert!(!facing.hear(("a", b""), now));
        assert!(
            facing.is_sent("a/+/c") && facing.is_sent("b") && !facing.is_sent("#") && !facing.is_sent("c")
        );
        facing.forget(now + TOLD_FOR - Duration::from_millis(1));
        assert!(facing.is_sent("b"));
        facing.forget(now + TOLD_FOR);
        assert!(!facing.is_sent("b"));
        facing.hear(("$bridge/to/own/x", b"b"), now);
        facing.hear(("$bridge/to/own/x", b""), now);
        assert!(!facing.is_sent("b"), "taken back");
    }
}
