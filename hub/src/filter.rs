//! The language of channel names and filters: what is valid, and which names a filter matches.
//! Levels are split by `/`; `+` stands for one whole level, `#` (last only) for this level and all below it, its parent
//! included. A wildcard in the first level never matches a name that starts with `$`.

use crate::Refusal;

/// Whether `text` is a valid channel name of at most `bytes_max` bytes.
pub(crate) fn is_channel_name(text: &str, bytes_max: u32) -> bool {
    has_valid_length(text, bytes_max) && !text.contains(['+', '#', '\0'])
}

/// Checks what a session may subscribe to: a channel name or a filter of at most `bytes_max` bytes.
///
/// # Errors
/// `ReservedChannel` when it starts with `$`, `InvalidFilter` when its wildcards are misplaced, otherwise
/// `InvalidChannel`.
pub fn check_filter(text: &str, bytes_max: u32) -> Result<(), Refusal> {
    if !has_valid_length(text, bytes_max) || text.contains('\0') {
        return Err(Refusal::InvalidChannel);
    }
    if text.starts_with('$') {
        return Err(Refusal::ReservedChannel);
    }
    if has_valid_wildcards(text) { Ok(()) } else { Err(Refusal::InvalidFilter) }
}

/// Checks what a client that names filters itself may subscribe to: names with `$` are for it to see, but for those by which
/// the back end reaches users and sessions.
///
/// # Errors
/// As [`check_filter`].
pub(crate) fn check_client_filter(text: &str, bytes_max: u32) -> Result<(), Refusal> {
    if !has_valid_length(text, bytes_max) || text.contains('\0') {
        return Err(Refusal::InvalidChannel);
    }
    if is_address(text) {
        return Err(Refusal::ReservedChannel);
    }
    if has_valid_wildcards(text) { Ok(()) } else { Err(Refusal::InvalidFilter) }
}

/// Whether a name or filter is about users or sessions.
fn is_address(text: &str) -> bool {
    matches!(text.split('/').next(), Some("$user" | "$client"))
}

/// Whether a valid name or filter holds wildcards.
pub(crate) fn is_filter(text: &str) -> bool {
    text.contains(['+', '#'])
}

/// Whether a valid filter (or name) matches a channel name.
#[must_use]
pub fn filter_matches(filter: &str, name: &str) -> bool {
    if name.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = name.split('/');
    for wanted in filter.split('/') {
        if wanted == "#" {
            return true;
        }
        match levels.next() {
            Some(level) if wanted == "+" || wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

fn has_valid_length(text: &str, bytes_max: u32) -> bool {
    !text.is_empty() && text.len() <= bytes_max as usize
}

fn has_valid_wildcards(text: &str) -> bool {
    let mut levels = text.split('/').peekable();
    while let Some(level) = levels.next() {
        let valid = match level {
            "+" => true,
            "#" => levels.peek().is_none(),
            _ => !is_filter(level),
        };
        if !valid {
            return false;
        }
    }
    true
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Filter, name, whether it matches; also run against the trie.
    pub(crate) const CASES: &[(&str, &str, bool)] = &[
        ("a", "a", true),
        ("a", "b", false),
        ("a/b", "a", false),
        ("a", "a/b", false),
        ("+", "a", true),
        ("+", "a/b", false),
        ("+", "/", false),
        ("+/+", "/", true),
        ("/+", "/a", true),
        ("+", "/a", false),
        ("a/+", "a/", true),
        ("a/+", "a", false),
        ("a/+/c", "a/b/c", true),
        ("a/+/c", "a/b/d", false),
        ("#", "a", true),
        ("#", "a/b/c", true),
        ("a/#", "a", true),
        ("a/#", "a/b/c", true),
        ("a/#", "ab", false),
        ("a/+/#", "a", false),
        ("a/+/#", "a/b", true),
        ("#", "$sys/x", false),
        ("+/x", "$sys/x", false),
        ("$sys/#", "$sys/x", true),
        ("a/#", "a/$x", true),
        ("+/+/+", "a//", true),
    ];

    #[test]
    fn matching() {
        for (filter, name, expected) in CASES {
            assert_eq!(filter_matches(filter, name), *expected, "{filter} on {name}");
        }
    }

    #[test]
    fn validity() {
        for good in ["a", "/", "+", "#", "a/+/b/#", "+/+", "/#"] {
            assert_eq!(check_filter(good, 20), Ok(()), "{good}");
        }
        for bad in ["a+", "+a", "a/#/b", "a#", "##", "++", "a/b+/c"] {
            assert_eq!(check_filter(bad, 20), Err(Refusal::InvalidFilter), "{bad}");
        }
        assert_eq!(check_filter("", 20), Err(Refusal::InvalidChannel));
        assert_eq!(check_filter("a\0", 20), Err(Refusal::InvalidChannel));
        assert_eq!(check_filter("abc", 2), Err(Refusal::InvalidChannel));
        assert_eq!(check_filter("$user/x", 20), Err(Refusal::ReservedChannel));
    }
}
