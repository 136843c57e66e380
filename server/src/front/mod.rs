//! What clients speak: finds the protocol of a request and keeps its sessions, one [`Front`] per shard.
//!
//! Must not know sockets, buffers or threads: those are [`crate::shard`]'s. Start at [`Front`].

use crate::config::Config;
use crate::mail::{Mail, PeerMail};
use crate::shard::{Closed, ConnKey, Cx, Handler, Owner, Request, Response};
use hub::{ShardId, Topology};
use std::sync::Arc;
use wire::http::Head;
use wire::websocket::Event;

/// The protocols of one shard.
#[derive(Debug)]
pub struct Front {
    shard: ShardId,
}

/// An engine session on its way to another shard.
#[derive(Debug)]
pub struct Migration;

impl Front {
    /// A front without sessions.
    #[must_use]
    pub fn new(_config: Arc<Config>, shard: ShardId, _topology: Topology) -> Self {
        Self { shard }
    }
}

impl Handler for Front {
    fn route(&self, _head: &Head<'_>) -> ShardId {
        self.shard
    }

    fn body_limit(&self, _head: &Head<'_>) -> Result<usize, Box<Response>> {
        Err(Box::new(Response::new(404)))
    }

    fn request(&mut self, cx: &mut Cx<'_>, conn: ConnKey, _request: &Request<'_>) {
        cx.io.respond(conn, Response::new(404));
    }

    fn message(&mut self, _cx: &mut Cx<'_>, _conn: ConnKey, _owner: Owner, _event: Event<'_>) {}

    fn closed(&mut self, _cx: &mut Cx<'_>, _conn: ConnKey, _owner: Owner, _why: Closed) {}

    fn blocked(&mut self, _cx: &mut Cx<'_>, _conn: ConnKey, _owner: Owner) {}

    fn writable(&mut self, _cx: &mut Cx<'_>, _conn: ConnKey, _owner: Owner) {}

    fn timer(&mut self, _cx: &mut Cx<'_>, _owner: Owner) {}

    fn mail(&mut self, _cx: &mut Cx<'_>, _mail: Mail) {}

    fn peer(&mut self, _cx: &mut Cx<'_>, _from: ShardId, _mail: PeerMail) {}

    fn hub_deadline(&self, _cx: &Cx<'_>) -> Option<hub::Millis> {
        None
    }

    fn tick_hub(&mut self, _cx: &mut Cx<'_>) {}

    fn drain(&mut self, _cx: &mut Cx<'_>, _window_ms: u64) {}
}
