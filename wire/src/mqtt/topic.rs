//! The syntax of topic names and topic filters (MQTT 5.0, 4.7 and 4.8.2).
//!
//! Owns what is well-formed. Must not know limits on length or levels, reserved names, or matching. Start at
//! [`parse_share`].

use super::error::{Fault, fault};
use super::reader::{any_word, repeated};

/// Splits `$share/group/filter` into group and filter; `None`: not a shared subscription. Of a filter from a decoded
/// packet both parts are well-formed.
pub fn parse_share(filter: &str) -> Option<(&str, &str)> {
    filter.strip_prefix("$share/")?.split_once('/')
}

/// A topic name of at least one character, without wildcards [MQTT-3.3.2-2, 4.7.3-1].
pub(super) fn check_name(name: &str) -> Result<(), &'static Fault> {
    if name.is_empty() {
        return Err(fault!(malformed("topic is empty")));
    }
    if has_wildcard(name) {
        return Err(fault!(malformed("topic has a wildcard")));
    }
    Ok(())
}

pub(super) fn has_wildcard(name: &str) -> bool {
    any_word(name.as_bytes(), |word| has_zero(word ^ repeated(b'+')) || has_zero(word ^ repeated(b'#')))
}

/// Whether any byte of the word is 0.
const fn has_zero(word: u64) -> bool {
    word.wrapping_sub(repeated(1)) & !word & repeated(0x80) != 0
}

/// A topic filter, shared or not [MQTT-4.7.1-1, -2, 4.7.3-1, 4.8.2-1, -2].
pub(super) fn check_filter(filter: &str) -> Result<(), &'static Fault> {
    let Some(shared) = filter.strip_prefix("$share").filter(|rest| rest.is_empty() || rest.starts_with('/'))
    else {
        return check_levels(filter);
    };
    let (group, filter) = shared
        .strip_prefix('/')
        .and_then(|shared| shared.split_once('/'))
        .ok_or(fault!(malformed("shared subscription has no filter")))?;
    if group.is_empty() || has_wildcard(group) {
        return Err(fault!(malformed("shared subscription has no proper group name")));
    }
    check_levels(filter)
}

fn check_levels(filter: &str) -> Result<(), &'static Fault> {
    if filter.is_empty() {
        return Err(fault!(malformed("filter is empty")));
    }
    if !has_wildcard(filter) {
        return Ok(());
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let well_formed = match level {
            "+" => true,
            "#" => levels.peek().is_none(),
            level => !has_wildcard(level),
        };
        if !well_formed {
            return Err(fault!(malformed("wildcard is not a level of its own or not the last")));
        }
    }
    Ok(())
}
