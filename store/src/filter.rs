//! Matching of channel filters for the in-process bus.
//!
//! The hub has the index that matches one channel against very many filters. This is the plain definition on two
//! strings: it serves a bus of a few nodes and the contract tests, which should not depend on the index they may be
//! used to check.

/// Whether `channel` matches `filter`: `+` is one level, a final `#` any number of them, its parent level included.
/// Neither matches a first level that begins with `$` (MQTT 5.0, section 4.7.2).
pub(crate) fn matches(filter: &str, channel: &str) -> bool {
    if channel.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let (mut wanted, mut levels) = (filter.split('/'), channel.split('/'));
    loop {
        match (wanted.next(), levels.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(want), Some(level)) if want == level => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn levels_are_matched_one_by_one() {
        for (filter, channel) in [
            ("a/b", "a/b"),
            ("a/+", "a/b"),
            ("a/+", "a/"),
            ("#", "a/b"),
            ("a/#", "a"),
            ("a/#", "a/b/c"),
            ("+/b/#", "a/b"),
        ] {
            assert!(matches(filter, channel), "{filter} {channel}");
        }
        for (filter, channel) in [
            ("a/b", "a"),
            ("a", "a/b"),
            ("a/+", "a"),
            ("a/+", "a/b/c"),
            ("#", "$sys"),
            ("+/a", "$sys/a"),
            ("a/#", "ab"),
        ] {
            assert!(!matches(filter, channel), "{filter} {channel}");
        }
        assert!(matches("$sys/#", "$sys/a"));
    }
}
