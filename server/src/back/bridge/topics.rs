//! Which messages go which way, and under which names.
//!
//! Must not know packets. Start at [`Routes::other_name`].

use hub::filter_matches;

use crate::config::BridgeRule;

/// One of the two servers that a bridge is a client of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// This one.
    Local,
    /// The broker.
    Remote,
}

impl Side {
    pub(super) const fn other(self) -> Self {
        match self {
            Self::Local => Self::Remote,
            Self::Remote => Self::Local,
        }
    }

    /// As it is told.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Local => "this server",
            Self::Remote => "the broker",
        }
    }
}

/// The rules of a bridge.
#[derive(Clone, Debug)]
pub(super) struct Routes {
    rules: Vec<BridgeRule>,
}

impl Routes {
    pub(super) fn new(rules: Vec<BridgeRule>) -> Self {
        Self { rules }
    }

    /// The rules by which messages come from a side.
    pub(super) fn from(&self, side: Side) -> impl Iterator<Item = &BridgeRule> {
        let goes = move |rule: &&BridgeRule| match side {
            Side::Local => rule.goes_out(),
            Side::Remote => rule.goes_in(),
        };
        self.rules.iter().filter(goes)
    }

    /// What a topic of one side is called on the other; `None`: no rule lets it pass. Rules of a direction do not match the same
    /// topics, so there is one at most.
    pub(super) fn other_name(&self, side: Side, topic: &str) -> Option<String> {
        self.from(side).find_map(|rule| {
            let (filter, before, after) = match side {
                Side::Local => (&rule.local, &rule.local_prefix, &rule.remote_prefix),
                Side::Remote => (&rule.remote, &rule.remote_prefix, &rule.local_prefix),
            };
            filter_matches(filter.as_str(), topic).then(|| renamed(topic, before, after))?
        })
    }
}

/// The filter of a rule on a side.
pub(super) fn filter(rule: &BridgeRule, side: Side) -> &str {
    match side {
        Side::Local => rule.local.as_str(),
        Side::Remote => rule.remote.as_str(),
    }
}

/// `a/#` matches `a`, which has no part behind the prefix `a/`: there the prefix without its end is meant.
fn renamed(topic: &str, before: &str, after: &str) -> Option<String> {
    let name = match topic.strip_prefix(before) {
        Some(rest) => format!("{after}{rest}"),
        None if before.strip_suffix('/') == Some(topic) => after.strip_suffix('/')?.to_owned(),
        None => return None,
    };
    (!name.is_empty()).then_some(name)
}

/// Whether every topic that `inner` matches is matched by `outer`.
pub(super) fn covers(outer: &str, inner: &str) -> bool {
    let mut inner = inner.split('/');
    for level in outer.split('/') {
        if level == "#" {
            return true;
        }
        let Some(other) = inner.next() else { return false };
        if other == "#" || (level != "+" && level != other) {
            return false;
        }
    }
    inner.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{BridgeDirection, ChannelFilter};

    fn rule(direction: BridgeDirection, filter: &str, prefixes: (&str, &str)) -> BridgeRule {
        let with = |prefix: &str| ChannelFilter::parse(&format!("{prefix}{filter}")).unwrap();
        BridgeRule {
            direction,
            local: with(prefixes.0),
            remote: with(prefixes.1),
            local_prefix: prefixes.0.into(),
            remote_prefix: prefixes.1.into(),
            qos: 1,
        }
    }

    #[test]
    fn a_topic_has_its_name_on_the_other_side() {
        let routes = Routes::new(vec![
            rule(BridgeDirection::Out, "up/#", ("", "hq/")),
            rule(BridgeDirection::In, "down/+", ("plant/", "")),
            rule(BridgeDirection::Both, "#", ("here/", "there/")),
        ]);
        let name = |side, topic| routes.other_name(side, topic);
        assert_eq!(name(Side::Local, "up/a/b").as_deref(), Some("hq/up/a/b"));
        assert_eq!(name(Side::Local, "up").as_deref(), Some("hq/up"));
        assert_eq!(name(Side::Remote, "hq/up/a"), None, "out only");
        assert_eq!(name(Side::Remote, "down/x").as_deref(), Some("plant/down/x"));
        assert_eq!(name(Side::Remote, "down/x/y"), None);
        assert_eq!(name(Side::Local, "here/1").as_deref(), Some("there/1"));
        assert_eq!(name(Side::Local, "here").as_deref(), Some("there"), "`here/#` matches it");
        assert_eq!(name(Side::Remote, "there/1").as_deref(), Some("here/1"));
        assert_eq!(name(Side::Remote, "there/").as_deref(), Some("here/"));
    }

    #[test]
    fn what_would_have_no_name_does_not_pass() {
        let routes = Routes::new(vec![rule(BridgeDirection::Both, "#", ("here/", ""))]);
        assert_eq!(routes.other_name(Side::Local, "here"), None);
        assert_eq!(routes.other_name(Side::Local, "here/"), None);
        assert_eq!(routes.other_name(Side::Remote, "a").as_deref(), Some("here/a"));
    }

    #[test]
    fn a_filter_covers_what_it_matches_all_of() {
        for (outer, inner, expected) in [
            ("a/#", "a/+/b", true),
            ("a/#", "a", true),
            ("a/+", "a/b", true),
            ("a/+", "a/#", false),
            ("a/b", "a/+", false),
            ("#", "#", true),
            ("a/b", "a/b/c", false),
        ] {
            assert_eq!(covers(outer, inner), expected, "{outer} {inner}");
        }
    }
}
