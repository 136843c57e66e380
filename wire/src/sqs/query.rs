//! Forms as trees of members.
//!
//! Owns decoding of `application/x-www-form-urlencoded` without a loss, and names like `Attribute.1.Name`. Must not
//! know which members mean what, beyond that others are not kept. Start at [`parse`].

use std::borrow::Cow;

use super::input::Node;
use super::limits::MEMBERS_MAX;
use super::member;
use super::{Error, ErrorKind};

/// Parts of a parameter's name; the longest known has five.
const DEPTH_MAX: usize = 8;

/// Reads parameters, in the order of `sources`: query string first, then body. Of two with the same name the later one
/// counts. Names that no action knows are left out.
pub(super) fn parse<'a>(sources: [&'a [u8]; 2]) -> Result<Node<'a>, Error> {
    let mut root = Vec::new();
    let mut left = MEMBERS_MAX;
    for source in sources {
        for part in source.split(|byte| *byte == b'&').filter(|part| !part.is_empty()) {
            let (name, value) = split(part);
            let name = decode(name)?;
            if !is_known(&name) {
                continue;
            }
            left = left.checked_sub(1).ok_or_else(Error::too_many_members)?;
            insert(&mut root, name, decode(value)?);
        }
    }
    Ok(Node::Map(root))
}

/// The value of the first parameter of this name, in the body or else in the query string. Clients write the action
/// first, so that nothing behind it is looked at.
pub(super) fn lookup<'a>([query, body]: [&'a [u8]; 2], wanted: &str) -> Option<Cow<'a, str>> {
    let mut parts =
        [body, query].into_iter().flat_map(|source| source.split(|byte| *byte == b'&')).map(split);
    let (_, value) = parts.find(|(name, _)| decode(name).is_ok_and(|name| name == wanted))?;
    decode(value).ok()
}

fn split(part: &[u8]) -> (&[u8], &[u8]) {
    let end = part.iter().position(|byte| *byte == b'=').unwrap_or(part.len());
    let (name, rest) = part.split_at_checked(end).unwrap_or((part, &[]));
    (name, rest.get(1..).unwrap_or_default())
}

/// Whether an action could want it: known names and numbers, and not too many of them.
fn is_known(name: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_member = |part: &str| member::ALL.iter().any(|member| member.query == part);
    name.split('.').count() <= DEPTH_MAX && name.split('.').all(|part| is_number(part) || is_member(part))
}

/// Puts a value at its place. What is in the way, because two names contradict each other, is replaced.
fn insert<'a>(root: &mut Vec<(Cow<'a, str>, Node<'a>)>, name: Cow<'a, str>, value: Cow<'a, str>) {
    let mut parts: Vec<Cow<'a, str>> = match name {
        Cow::Borrowed(name) => name.split('.').map(Cow::Borrowed).collect(),
        Cow::Owned(name) => name.split('.').map(|part| Cow::Owned(part.to_owned())).collect(),
    };
    let last = parts.pop().unwrap_or_default();
    let mut map = root;
    for part in parts {
        let at = position(map, part);
        let Some((_, node)) = map.get_mut(at) else { return };
        if !matches!(node, Node::Map(_)) {
            *node = Node::Map(Vec::new());
        }
        let Node::Map(inner) = node else { return };
        map = inner;
    }
    let at = position(map, last);
    if let Some((_, node)) = map.get_mut(at) {
        *node = Node::Text(value);
    }
}

/// Where the key stands, after it was put there. The last one is nearly always meant.
fn position<'a>(map: &mut Vec<(Cow<'a, str>, Node<'a>)>, key: Cow<'a, str>) -> usize {
    let found = map.iter().rposition(|(known, _)| *known == key);
    found.unwrap_or_else(|| {
        map.push((key, Node::Null));
        map.len() - 1
    })
}

/// Undoes percent-encoding; `+` is a space, a malformed escape stays as it is.
fn decode(part: &[u8]) -> Result<Cow<'_, str>, Error> {
    let invalid = || Error::invalid_characters(ErrorKind::InvalidMessageContents);
    if !part.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return str::from_utf8(part).map(Cow::Borrowed).map_err(|_| invalid());
    }
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => match escaped(after) {
                Some(byte) => {
                    bytes.push(byte);
                    rest = after.get(2..).unwrap_or_default();
                }
                None => bytes.push(b'%'),
            },
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| invalid())
}

/// The byte that two hexadecimal digits stand for.
pub(super) fn escaped(digits: &[u8]) -> Option<u8> {
    let [high, low, ..] = *digits else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}
