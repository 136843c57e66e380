//! What connections hold in memory, added up by protocol when the back office asks.
//!
//! Owns no state: nothing is counted while nobody asks. Must not know HTTP of the private port. Start at [`Front::weigh`].

use super::Front;
use crate::mail::{Weight, Weights};
use crate::shard::{ConnKey, Cx, Door};
use std::time::{Duration, Instant};

/// Connections that are looked at in one go, unless that takes longer than [`SLICE`].
const CONNECTIONS_MAX: usize = 1000;

/// How long clients wait meanwhile.
const SLICE: Duration = Duration::from_micros(500);

/// Connections between two looks at the time.
const STRIDE: usize = 16;

impl Front {
    /// Adds up connections behind this one.
    pub(super) fn weigh(&self, cx: &Cx<'_>, after: Option<ConnKey>) -> Weights {
        let page = cx.io.connections_after(after, CONNECTIONS_MAX);
        let (begun, mut weights, mut last) = (Instant::now(), Weights::default(), None);
        let mut is_more = page.more;
        for (number, conn) in page.items.into_iter().enumerate() {
            if number % STRIDE == STRIDE - 1 && begun.elapsed() >= SLICE {
                is_more = true;
                break;
            }
            let (protocol, bytes) = self.weigh_one(cx, conn);
            weights.add(Weight { protocol, connections: 1, bytes: bytes as u64 });
            last = Some(conn);
        }
        weights.next = last.filter(|_| is_more);
        weights
    }

    /// The protocol of a connection that has a session, and its bytes.
    fn weigh_one(&self, cx: &Cx<'_>, conn: ConnKey) -> (Option<&'static str>, usize) {
        let own = cx.io.bytes_of(conn);
        let Some(owner) = cx.io.owner_of(conn) else { return (None, own) };
        let sessions = self.sessions_on(owner, conn);
        if sessions.is_empty() {
            return (None, own);
        }
        let index = owner.index();
        let (protocol, front) = match owner.door() {
            Door::Http => ("socketio", self.socketio.bytes_of(index)),
            Door::Stream => ("mqtt", self.mqtt.bytes_of(index)),
            Door::Feed => match self.streams.bytes_of(index) {
                Some(weighed) => weighed,
                None => return (None, own),
            },
        };
        let hub: usize = sessions.iter().filter_map(|session| cx.hub.hub.bytes_of(session)).sum();
        (Some(protocol), own + front + hub)
    }
}
