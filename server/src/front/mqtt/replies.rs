//! Topics for answers: `reply/<session>` and below, which the session alone reads and everybody may publish to
//! (MQTT 5.0, 4.10.1). Its client is told the name as Response Information.
//!
//! Owns their form. A filter that begins with a wildcard may well be granted; what it would bring of another session is
//! held back when it is delivered. Must not know subscriptions. Start at [`reader`].

use hub::{SessionId, Topology};

/// The first level.
const ROOT: &str = "reply";

/// What the names of a session's topics begin with.
pub(super) fn prefix(session: SessionId) -> String {
    format!("{ROOT}/{session}/")
}

/// The only session that may read what is published to a topic, or that a filter is about. A topic whose second level is
/// no session's name is like any other.
pub(super) fn reader(topic: &str, topology: &Topology) -> Option<SessionId> {
    let below = topic.strip_prefix(ROOT)?.strip_prefix('/')?;
    let session: SessionId = below.split('/').next()?.parse().ok()?;
    (session.partition().0 < topology.partitions).then_some(session)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hub::Partition;

    #[test]
    fn only_names_of_sessions_are_private() {
        let topology = Topology { shards: 2, partitions: 64 };
        let session = SessionId::new(Partition(63), 5, [7; 9]);
        let other = SessionId::new(Partition(64), 5, [7; 9]);
        let prefix = prefix(session);
        for topic in [format!("{prefix}a/b"), format!("{prefix}#"), format!("reply/{session}"), prefix] {
            assert_eq!(reader(&topic, &topology), Some(session), "{topic}");
        }
        for topic in
            ["reply", "reply/", "reply/+/a", "reply/#", "replies/a", "a/reply", &format!("reply/{other}/a")]
        {
            assert_eq!(reader(topic, &topology), None, "{topic}");
        }
    }
}
