//! MQTT inside WebSockets: the request that opens one (MQTT 5.0, section 6).

use wire::http::Head;
use wire::websocket::{accept, choose_subprotocol};

use super::Mqtt;
use crate::shard::{ConnKey, Cx, Response};

/// Names of the subprotocol; the second is of clients that are older than its registration.
const SUBPROTOCOLS: &[&str] = &["mqtt", "mqttv3.1"];

impl Mqtt {
    /// Whether requests to this path open a WebSocket of MQTT.
    pub(in crate::front) fn serves(&self, path: &str) -> bool {
        self.config.mqtt.enabled && self.config.mqtt.path.matches(path)
    }

    pub(in crate::front) fn request(&mut self, cx: &mut Cx<'_>, conn: ConnKey, head: &Head<'_>) {
        let accepted = match accept(head) {
            Ok(accepted) => accepted,
            Err(error) => return cx.io.respond(conn, Response::no_websocket(error)),
        };
        if !head.header("origin").is_none_or(|origin| self.config.socketio.cors_origins.allow(origin)) {
            return cx.io.respond(conn, Response::refusal(403, "this origin may not connect").closing());
        }
        let Some(subprotocol) = choose_subprotocol(head, SUBPROTOCOLS) else {
            let refusal = Response::refusal(400, "the WebSocket subprotocol must be mqtt");
            return cx.io.respond(conn, refusal.closing());
        };
        if self.drain.is_some() {
            return cx.io.respond(conn, Response::refusal(503, "the server stops").closing());
        }
        let mut answer = Vec::new();
        accepted.respond(Some(subprotocol), &mut answer);
        cx.io.upgrade_stream(conn, answer);
    }
}
