//! What clients speak: finds the protocol of a request and keeps its sessions, one [`Front`] per shard.
//!
//! Must not know sockets, buffers or threads: those are [`crate::shard`]'s. Start at [`Front`]; today all of it is
//! [`socketio`].

mod apply;
pub mod socketio;
mod tail;

use std::sync::Arc;
use std::sync::mpsc::Sender;

use hub::{ShardId, Topology};
use wire::http::Head;
use wire::websocket::Event;

use self::socketio::SocketIo;
use crate::config::Config;
use crate::mail::{Mail, PeerMail};
use crate::shard::{Closed, ConnKey, Cx, Door, Handler, Owner, Request, Response};
use crate::state::{End, ShardState};

pub use socketio::{Fit, Migration, PidKey, PidProof, Returning};

/// The protocols of one shard.
#[derive(Debug)]
pub struct Front {
    socketio: SocketIo,
    /// Who gets what the shard leaves behind.
    heir: Option<Sender<ShardState>>,
    /// Taken in when the shard starts.
    returning: Vec<Returning>,
}

impl Front {
    /// A front without sessions.
    #[must_use]
    pub fn new(config: Arc<Config>, shard: ShardId, topology: Topology, key: PidKey) -> Self {
        Self { socketio: SocketIo::new(config, shard, topology, key), heir: None, returning: Vec::new() }
    }

    /// At its end the shard hands over to `heir` what the next process goes on with.
    #[must_use]
    pub fn with_heir(self, heir: Option<Sender<ShardState>>) -> Self {
        Self { heir, ..self }
    }

    /// Sessions of an earlier process come back once the shard runs.
    #[must_use]
    pub fn with_returning(self, returning: Vec<Returning>) -> Self {
        Self { returning, ..self }
    }
}

impl Handler for Front {
    fn started(&mut self, cx: &mut Cx<'_>) {
        for returning in std::mem::take(&mut self.returning) {
            self.socketio.restore(cx, returning);
        }
    }

    fn route(&self, head: &Head<'_>) -> ShardId {
        self.socketio.route(head)
    }

    fn body_limit(&self, head: &Head<'_>) -> Result<usize, Box<Response>> {
        if self.socketio.serves(head.path) {
            self.socketio.body_bytes_max(head)
        } else {
            Err(Box::new(not_found()))
        }
    }

    fn begins(&mut self, cx: &mut Cx<'_>, conn: ConnKey, head: &Head<'_>) -> Option<Owner> {
        self.socketio.serves(head.path).then(|| self.socketio.begins(cx, conn, head)).flatten()
    }

    fn request(&mut self, cx: &mut Cx<'_>, conn: ConnKey, request: &Request<'_>) {
        if self.socketio.serves(request.head.path) {
            self.socketio.request(cx, conn, request);
        } else {
            cx.io.respond(conn, not_found());
        }
    }

    fn message(&mut self, cx: &mut Cx<'_>, conn: ConnKey, owner: Owner, event: Event<'_>) {
        self.socketio.message(cx, conn, owner, event);
    }

    /// Nobody speaks a protocol of bytes yet.
    fn stream(&mut self, cx: &mut Cx<'_>, conn: ConnKey, _owner: Option<Owner>, bytes: &[u8]) -> usize {
        cx.io.close(conn);
        bytes.len()
    }

    fn closed(&mut self, cx: &mut Cx<'_>, conn: ConnKey, owner: Owner, why: Closed) {
        match owner.door() {
            Door::Http => self.socketio.closed(cx, conn, owner, why),
            Door::Stream => {}
        }
    }

    fn blocked(&mut self, cx: &mut Cx<'_>, conn: ConnKey, owner: Owner) {
        match owner.door() {
            Door::Http => self.socketio.blocked(cx, conn, owner),
            Door::Stream => {}
        }
    }

    fn writable(&mut self, cx: &mut Cx<'_>, conn: ConnKey, owner: Owner) {
        match owner.door() {
            Door::Http => self.socketio.writable(cx, conn, owner),
            Door::Stream => {}
        }
    }

    fn timer(&mut self, cx: &mut Cx<'_>, owner: Owner) {
        match owner.door() {
            Door::Http => self.socketio.timer(cx, owner),
            Door::Stream => {}
        }
    }

    fn mail(&mut self, cx: &mut Cx<'_>, mail: Mail) {
        self.socketio.mail(cx, mail);
    }

    fn peer(&mut self, cx: &mut Cx<'_>, from: ShardId, mail: PeerMail) {
        self.socketio.peer(cx, from, mail);
    }

    fn hub_deadline(&self, cx: &Cx<'_>) -> Option<hub::Millis> {
        cx.hub.hub.next_deadline()
    }

    fn tick_hub(&mut self, cx: &mut Cx<'_>) {
        self.socketio.apply(cx, hub::Command::Tick);
    }

    fn flush(&mut self, cx: &mut Cx<'_>) {
        self.socketio.answer_polls(cx);
    }

    fn drain(&mut self, cx: &mut Cx<'_>, window_ms: u64) {
        self.socketio.drain(cx, window_ms);
    }

    fn ended(&mut self, cx: &mut Cx<'_>, end: End) {
        if let Some(heir) = self.heir.take() {
            // Fails only when nobody waits for it any more.
            let _ = heir.send(self.socketio.state(cx, end));
        }
    }
}

fn not_found() -> Response {
    Response::new(404).header("content-type", "text/plain").body(&b"not found"[..])
}
