//! Rooms and namespaces of Socket.IO as names of channels.
//!
//! Owns the one mapping that the front, the back end's door and the embedding API share. The mapping goes one way:
//! membership is a subscription record, and no channel name is ever parsed back into a room.
//! Start at [`room_channel`].

use crate::config::Config;
use hub::SessionId;

/// The channel of a broadcast to a whole namespace: `chat` for `/chat`, and `root` for `/`.
///
/// `None` for a name that cannot be a channel: empty levels are kept, but NUL and a leading `$` are refused.
#[must_use]
pub fn namespace_channel(namespace: &str, root: &str) -> Option<String> {
    match namespace.strip_prefix('/')? {
        "" => Some(root.to_owned()),
        name => encode(name),
    }
}

/// The channel of a room: `chat/r1` for room `r1` of `/chat`, `r1` for room `r1` of `/`.
///
/// A room that is a socket id reaches that one socket, as in Socket.IO where each socket is in a room of its own id:
/// the result is then `$client/<id>`. `None` for a name that cannot be a channel: empty, with a NUL, or one of `/`
/// that begins with `$`.
#[must_use]
pub fn room_channel(namespace: &str, room: &str) -> Option<String> {
    if room.is_empty() {
        return None;
    }
    if room.parse::<SessionId>().is_ok() {
        return Some(format!("$client/{room}"));
    }
    match namespace.strip_prefix('/')? {
        "" => encode(room),
        name => encode(&format!("{name}/{room}")),
    }
}

/// Whether the channel of a room is the channel of a whole namespace or a room of another one: `custom` and `custom/r` of
/// `/` when there is a `/custom`. Clients often choose the names of rooms, so such a room would let them listen there.
#[must_use]
pub fn is_foreign_room(namespace: &str, room: &str, config: &Config) -> bool {
    if room.parse::<SessionId>().is_ok() {
        return false;
    }
    let own = if namespace == "/" { "" } else { namespace };
    let whole = format!("{own}/{room}");
    if whole.strip_prefix('/') == Some(config.socketio.root_channel.as_str()) {
        return true;
    }
    let ends = whole.match_indices('/').map(|(at, _)| at).chain([whole.len()]);
    let mut inner = ends.filter(|end| *end > own.len()).filter_map(|end| whole.get(..end));
    inner.any(|name| name != "/" && config.namespace(name).is_some())
}

/// The room of a namespace that a channel is, to show it to people and back ends; `None` for the namespace's own
/// channel, reserved names, and channels of other namespaces. Never used to deliver.
#[must_use]
pub fn room_of(namespace: &str, channel: &str, root: &str) -> Option<String> {
    if channel.starts_with('$') || namespace_channel(namespace, root).as_deref() == Some(channel) {
        return None;
    }
    let room = match namespace {
        "/" => channel,
        other => channel.strip_prefix(encode(other.strip_prefix('/')?)?.as_str())?.strip_prefix('/')?,
    };
    Some(wire::http::percent_decode(room).into_owned())
}

/// Replaces what channel names may not hold: the wildcards, the escape character itself and control characters.
fn encode(name: &str) -> Option<String> {
    if name.starts_with('$') || name.contains('\0') {
        return None;
    }
    let mut out = String::with_capacity(name.len());
    for character in name.chars() {
        if character.is_control() || matches!(character, '+' | '#' | '%') {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                out.push_str(&format!("%{byte:02X}"));
            }
        } else {
            out.push(character);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{NamespaceMatch, NamespaceName, NamespacePattern, NamespaceRule};

    #[test]
    fn rooms_of_the_root_have_no_prefix() {
        assert_eq!(room_channel("/", "r1").as_deref(), Some("r1"));
        assert_eq!(room_channel("/chat", "r1").as_deref(), Some("chat/r1"));
        assert_eq!(room_channel("/a/b", "r").as_deref(), Some("a/b/r"));
    }

    #[test]
    fn namespaces_have_a_channel_of_their_own() {
        assert_eq!(namespace_channel("/", "main").as_deref(), Some("main"));
        assert_eq!(namespace_channel("/chat", "main").as_deref(), Some("chat"));
        assert_eq!(namespace_channel("/$sys", "main"), None);
        assert_eq!(namespace_channel("chat", "main"), None);
    }

    #[test]
    fn rooms_are_shown_by_the_name_they_were_joined_with() {
        for (namespace, room) in [("/", "r1"), ("/chat", "r1"), ("/chat", "a+b#c%d"), ("/a+b", "x/y")] {
            let channel = room_channel(namespace, room).unwrap();
            assert_eq!(room_of(namespace, &channel, "main").as_deref(), Some(room));
        }
        assert_eq!(room_of("/", "main", "main"), None);
        assert_eq!(room_of("/chat", "chat", "main"), None);
        assert_eq!(room_of("/chat", "other/r", "main"), None);
        assert_eq!(room_of("/", "$user/1", "main"), None);
    }

    #[test]
    fn wildcards_and_controls_are_encoded() {
        assert_eq!(room_channel("/", "a+b#c%d").as_deref(), Some("a%2Bb%23c%25d"));
        assert_eq!(room_channel("/", "a\nb").as_deref(), Some("a%0Ab"));
        assert_eq!(room_channel("/", "\u{85}").as_deref(), Some("%C2%85"));
        assert_eq!(room_channel("/", "grün/1").as_deref(), Some("grün/1"));
    }

    #[test]
    fn a_room_that_is_another_namespace_is_foreign() {
        let mut config = Config::loopback();
        let root = config.namespaces[0].clone();
        for name in ["/custom", "/chat", "/chat/vip"] {
            let names = NamespaceMatch::Exact(NamespaceName::parse(name).unwrap());
            config.namespaces.push(NamespaceRule { names, ..root.clone() });
        }
        let names = NamespaceMatch::Pattern(NamespacePattern::parse("/team-*").unwrap());
        config.namespaces.push(NamespaceRule { names, ..root });
        for (namespace, room) in [
            ("/", "custom"),
            ("/", "custom/r"),
            ("/", "team-1"),
            ("/", "main"),
            ("/chat", "vip"),
            ("/chat", "vip/r"),
        ] {
            assert!(is_foreign_room(namespace, room, &config), "{namespace} {room}");
        }
        let id = SessionId([7; 15]).to_string();
        for (namespace, room) in [
            ("/", "r"),
            ("/", "/r"),
            ("/", "customs"),
            ("/", "a/custom"),
            ("/", id.as_str()),
            ("/custom", "r"),
            ("/custom", "custom"),
            ("/chat", "vips"),
            ("/chat", "main"),
            ("/chat/vip", "r"),
        ] {
            assert!(!is_foreign_room(namespace, room, &config), "{namespace} {room}");
        }
    }

    #[test]
    fn nul_dollar_and_nothing_are_refused() {
        assert_eq!(room_channel("/", "a\0b"), None);
        assert_eq!(room_channel("/", "$user/7"), None);
        assert_eq!(room_channel("/", ""), None);
        assert_eq!(room_channel("/chat", "$x").as_deref(), Some("chat/$x"));
    }

    #[test]
    fn a_socket_id_is_the_room_of_that_socket() {
        let id = SessionId([7; 15]).to_string();
        assert_eq!(room_channel("/chat", &id), Some(format!("$client/{id}")));
    }
}
