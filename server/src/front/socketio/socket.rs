//! One Socket.IO socket: a client in one namespace, the front's side of a hub session.
//!
//! Owns the layout of what a delivery touches. Must not know packets. Start at [`Socket`].

use hub::{SessionId, SessionKey};
use wire::socketio::Codec;

use super::namespaces::NamespaceKey;
use crate::shard::ConnKey;

/// A client in one namespace. The hub's `Tag` is its index, so a delivery goes from the tag to here and from here
/// straight to the connection, without the engine in between: one cache line for each recipient.
#[derive(Debug)]
pub(super) struct Socket {
    /// The WebSocket to write to; `None` while the client polls.
    pub(super) conn: Option<ConnKey>,
    pub(super) variant: Variant,
    /// Its engine session, [`super::engine::NONE`] once that is gone.
    pub(super) engine: u32,
    /// The engine's next socket.
    pub(super) next: u32,
    /// Void until the hub has answered.
    pub(super) session: SessionKey,
    pub(super) id: SessionId,
    pub(super) stage: Stage,
    /// The back end is behind with its events.
    pub(super) held: bool,
    /// Numbers of the client's requests that are not answered. Boxed, as nearly no socket has any at a given time.
    #[expect(clippy::box_collection, reason = "8 bytes in every socket instead of 24")]
    pub(super) requests: Option<Box<Vec<u64>>>,
}

/// What an encoding depends on; sockets with equal variants share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Variant {
    pub(super) namespace: NamespaceKey,
    pub(super) codec: Codec,
    pub(super) offsets: Offsets,
}

/// Whether events carry the place from which they can be recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offsets {
    /// The client may come back.
    Appended,
    /// It may not, or did not ask to.
    Absent,
}

/// How far a socket has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The hub has not answered yet.
    Opening,
    /// The back end is asked, or its yes waits for the transport.
    Asking,
    /// CONNECT was answered.
    Joined,
}

impl Socket {
    /// Remembers a request. Beyond `max` the oldest is forgotten, and its answer dropped if it still comes: a back
    /// end that never answers some events must not stop the others.
    pub(super) fn open_request(&mut self, number: u64, max: usize) {
        let open = self.requests.get_or_insert_default();
        if open.contains(&number) {
            return;
        }
        if open.len() >= max {
            open.remove(0);
        }
        open.push(number);
    }

    /// Forgets a request; `false` when it is not open, so that at most one answer is sent.
    pub(super) fn close_request(&mut self, number: u64) -> bool {
        let Some(open) = &mut self.requests else { return false };
        let Some(at) = open.iter().position(|&one| one == number) else { return false };
        open.remove(at);
        if open.is_empty() {
            self.requests = None;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_fits_a_cache_line_and_a_half() {
        assert!(size_of::<Socket>() <= 72, "{}", size_of::<Socket>());
    }
}
