//! Which messages go which way, and under which names.
//!
//! Must not know packets. Start at [`other_name`].

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

/// The rules by which messages come from a side.
pub(super) fn from(rules: &[BridgeRule], side: Side) -> impl Iterator<Item = &BridgeRule> {
    rules.iter().filter(move |rule| match side {
        Side::Local => rule.goes_out(),
        Side::Remote => rule.goes_in(),
    })
}

/// What a topic of one side is called on the other; `None`: no rule lets it pass. Rules of a direction do not match the same
/// topics, so there is one at most.
pub(super) fn other_name(rules: &[BridgeRule], side: Side, topic: &str) -> Option<String> {
    from(rules, side).find_map(|rule| {
        let (before, after) = (prefix(rule, side), prefix(rule, side.other()));
        filter_matches(filter(rule, side), topic).then(|| renamed(topic, before, after))?
    })
}

/// The filter of a rule on a side.
pub(super) fn filter(rule: &BridgeRule, side: Side) -> &str {
    match side {
        Side::Local => rule.local.as_str(),
        Side::Remote => rule.remote.as_str(),
    }
}

/// What topics of a rule begin with on a side.
pub(super) fn prefix(rule: &BridgeRule, side: Side) -> &str {
    match side {
        Side::Local => &rule.local_prefix,
        Side::Remote => &rule.remote_prefix,
    }
}

/// What a prefix and the one in its place say of names: two pairs that say the same give every topic the same name.
pub(super) fn renaming<'a>(before: &'a str, after: &'a str) -> (&'a str, &'a str) {
    let alike = before.chars().rev().zip(after.chars().rev()).take_while(|(one, other)| one == other);
    let len: usize = alike.map(|(one, _)| one.len_utf8()).sum();
    let short = |text: &'a str| text.get(..text.len() - len).unwrap_or(text);
    (short(before), short(after))
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
        let rules = [
            rule(BridgeDirection::Out, "up/#", ("", "hq/")),
            rule(BridgeDirection::In, "down/+", ("plant/", "")),
            rule(BridgeDirection::Both, "#", ("here/", "there/")),
        ];
        let name = |side, topic| other_name(&rules, side, topic);
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
        let rules = [rule(BridgeDirection::Both, "#", ("here/", ""))];
        assert_eq!(other_name(&rules, Side::Local, "here"), None);
        assert_eq!(other_name(&rules, Side::Local, "here/"), None);
        assert_eq!(other_name(&rules, Side::Remote, "a").as_deref(), Some("here/a"));
    }

    #[test]
    fn prefixes_that_end_alike_rename_alike() {
        assert_eq!(renaming("a/", "here/a/"), ("", "here/"));
        assert_eq!(renaming("", "here/"), ("", "here/"));
        assert_eq!(renaming("a/", "here/b/"), ("a", "here/b"));
        assert_eq!(renaming("\u{e4}x", "\u{e5}x"), ("\u{e4}", "\u{e5}"));
        assert_eq!(renaming("same", "same"), ("", ""));
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
