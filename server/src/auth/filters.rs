//! What filters have to do with each other: one covers another, or has channels in common with it.
//!
//! Must not know who asks for what. Start at [`covers`].

/// Whether everything that `asked`, a channel or filter, matches is matched by the filter `rule`. `is_level` says whether a
/// level of the rule that is no wildcard stands for this one of what is asked.
pub(crate) fn covers(rule: &str, asked: &str, is_level: impl Fn(&str, &str) -> bool) -> bool {
    // Names with `$` are seen by filters that begin so, and by no wildcard [MQTT-4.7.2-1].
    if asked.starts_with('$') && rule.starts_with(['+', '#']) {
        return false;
    }
    let mut asked = asked.split('/');
    for level in rule.split('/') {
        if level == "#" {
            return true;
        }
        let Some(other) = asked.next() else { return false };
        let is_covered = match level {
            "+" => other != "#",
            _ => is_level(level, other),
        };
        if !is_covered {
            return false;
        }
    }
    asked.next().is_none()
}

/// Whether there can be a channel that both match. `one` is a filter, `other` a channel or filter.
pub(super) fn overlap(one: &str, other: &str) -> bool {
    let is_wild = |text: &str| text.starts_with(['+', '#']);
    let is_own = |text: &str| text.starts_with('$');
    if is_wild(one) && is_own(other) || is_wild(other) && is_own(one) {
        return false;
    }
    let (mut ones, mut others) = (one.split('/'), other.split('/'));
    loop {
        match (ones.next(), others.next()) {
            // `a/#` matches `a`, too.
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (None, Some(_)) | (Some(_), None) => return false,
            (Some(a), Some(b)) if a == b || a == "+" || b == "+" => {}
            (Some(_), Some(_)) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_filter_covers_what_it_matches_whole() {
        let cases = [
            ("a/#", "a", true),
            ("a/#", "a/+/b", true),
            ("a/+", "a/#", false),
            ("a/+", "a/+", true),
            ("a/b", "a/+", false),
            ("#", "$SYS/x", false),
            ("$SYS/#", "$SYS/x", true),
            ("+/b", "a/b", true),
            ("a", "a/b", false),
        ];
        for (rule, asked, expected) in cases {
            assert_eq!(covers(rule, asked, |a, b| a == b), expected, "{rule} {asked}");
        }
    }

    #[test]
    fn filters_that_share_a_channel_overlap() {
        let cases = [
            ("a/+", "+/b", true),
            ("a/#", "a", true),
            ("a", "a/#", true),
            ("a/b", "a/c", false),
            ("a/+/c", "a/#", true),
            ("a/+", "a/b/c", false),
            ("#", "$SYS/x", false),
            ("$SYS/#", "+/x", false),
            ("$SYS/#", "$SYS/+", true),
        ];
        for (one, other, expected) in cases {
            assert_eq!(overlap(one, other), expected, "{one} {other}");
            assert_eq!(overlap(other, one), expected, "{other} {one}");
        }
    }

    fn filter() -> impl Strategy<Value = String> {
        let level = prop::sample::select(vec!["a", "b", "", "+", "$s"]);
        (prop::collection::vec(level, 1..4), any::<bool>()).prop_map(|(mut levels, is_open)| {
            if is_open {
                levels.push("#");
            }
            levels.join("/")
        })
    }

    fn channel() -> impl Strategy<Value = String> {
        let level = prop::sample::select(vec!["a", "b", "", "$s"]);
        prop::collection::vec(level, 1..4).prop_map(|levels| levels.join("/"))
    }

    /// As MQTT 5.0 section 4.7 says, level by level.
    fn matches(filter: &[&str], channel: &[&str]) -> bool {
        match (filter, channel) {
            (["#"], _) | ([], []) => true,
            ([level, filter @ ..], [name, channel @ ..]) if level == name || *level == "+" => {
                matches(filter, channel)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_says_the_same(one in filter(), other in filter(), channel in channel()) {
            let levels = |text: &str| -> Vec<String> { text.split('/').map(str::to_owned).collect() };
            let is_matched = |filter: &str| {
                let (filter_levels, channel_levels) = (levels(filter), levels(&channel));
                let filter_levels: Vec<&str> = filter_levels.iter().map(String::as_str).collect();
                let channel_levels: Vec<&str> = channel_levels.iter().map(String::as_str).collect();
                let is_hidden = channel.starts_with('$') && filter.starts_with(['+', '#']);
                !is_hidden && matches(&filter_levels, &channel_levels)
            };
            if is_matched(&one) && is_matched(&other) {
                prop_assert!(overlap(&one, &other), "{} {} {}", one, other, channel);
            }
            if covers(&one, &other, |a, b| a == b) && is_matched(&other) {
                prop_assert!(is_matched(&one), "{} {} {}", one, other, channel);
            }
            prop_assert_eq!(covers(&one, &channel, |a, b| a == b), is_matched(&one));
            prop_assert_eq!(overlap(&one, &channel), is_matched(&one));
        }
    }
}
