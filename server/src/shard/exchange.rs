//! HTTP exchanges: answering, holding, switching to WebSocket.
//!
//! Owns which answer a request may get when; must not know what is asked. Start at [`Io::respond`].

use super::connection::{Flags, NONE, Phase};
use super::handler::{Closed, Owner};
use super::io::{ConnKey, Io, Notice};
use super::response::Response;
use super::stream::notice_half_dead;
use bytes::Bytes;
use wire::http::BodyForm;
use wire::websocket::{Decoder, Role};

impl Io {
    /// Answers the request a connection waits with, fresh or held. Exactly one answer is written per request; a
    /// connection without a request to answer is left alone.
    pub fn respond(&mut self, conn: ConnKey, response: Response) {
        let Some(connection) = self.connections.get(conn) else { return };
        if !matches!(connection.phase, Phase::Asked | Phase::Held) {
            return;
        }
        let keep = connection.reply.keeps_alive() && !response.close && !self.draining;
        let reply = if keep { connection.reply } else { connection.reply.close() };
        let bytes = response.encode(reply);
        self.write(conn, &bytes);
        if keep {
            self.enter(conn, Phase::Head);
            self.rest(conn);
        } else {
            self.stats.closed_handler += 1;
            self.begin_closing(conn);
        }
    }

    /// The answer comes later, by [`Io::respond`]. Until then nothing is read, and the peer's FIN or a reset ends the
    /// connection ([`super::Handler::closed`]) at once.
    pub fn hold(&mut self, conn: ConnKey, owner: Owner) {
        match self.connections.get_mut(conn) {
            Some(connection) if connection.phase == Phase::Asked => {
                connection.owner = owner.0;
                let gone = connection.flags.has(Flags::FIN_SEEN) || connection.flags.has(Flags::ENDED);
                self.enter(conn, Phase::Held);
                self.no_deadline(conn);
                if gone {
                    self.fail(conn, Closed::Peer);
                }
            }
            Some(_) => {}
            None => self.notices.push_back(Notice::Closed(conn, owner, Closed::Peer)),
        }
    }

    /// Begins an answer that goes on: what is staged from then on ([`Io::stage`]) is its content, until the connection is closed.
    /// Fresh or held, the request is answered by that. What the client sends is discarded, and its FIN or a reset ends the
    /// connection ([`super::Handler::closed`]); [`super::Handler::blocked`] and [`super::Handler::writable`] come as for a
    /// WebSocket. Tells how the pieces are to be framed; `None`: there is nothing to answer any more.
    pub fn begin_answer(&mut self, conn: ConnKey, owner: Owner, response: &Response) -> Option<BodyForm> {
        let Some(connection) = self.connections.get_mut(conn) else {
            self.notices.push_back(Notice::Closed(conn, owner, Closed::Peer));
            return None;
        };
        if !matches!(connection.phase, Phase::Asked | Phase::Held) {
            return None;
        }
        connection.owner = owner.0;
        connection.partial = None;
        notice_half_dead(&connection.stream);
        let gone = connection.flags.has(Flags::FIN_SEEN) || connection.flags.has(Flags::ENDED);
        // Whatever ends it ends the connection, too.
        let (head, form) = response.begin(connection.reply.close());
        self.enter(conn, Phase::Answer);
        self.no_deadline(conn);
        self.write(conn, &head);
        if gone {
            self.fail(conn, Closed::Peer);
            return None;
        }
        self.queue(conn);
        Some(form)
    }

    /// Answers with 101 and turns the connection into a WebSocket whose messages have at most `message_bytes_max`
    /// bytes. `answer` is the complete head, from [`wire::websocket::Accept::respond`]. The request is fresh or held.
    pub fn upgrade_websocket(
        &mut self,
        conn: ConnKey,
        owner: Owner,
        answer: Vec<u8>,
        message_bytes_max: u32,
    ) {
        match self.connections.get_mut(conn) {
            Some(connection) if matches!(connection.phase, Phase::Asked | Phase::Held) => {
                let was_held = connection.phase == Phase::Held;
                connection.owner = owner.0;
                connection.decoder = Some(Decoder::new(Role::Server, message_bytes_max));
                self.stats.upgrades += 1;
                self.enter(conn, Phase::WebSocket);
                self.no_deadline(conn);
                self.write(conn, &Bytes::from(answer));
                if was_held {
                    // Nothing was read meanwhile.
                    self.queue(conn);
                }
            }
            Some(_) => {}
            None => self.notices.push_back(Notice::Closed(conn, owner, Closed::Error)),
        }
    }

    /// Changes the most bytes that further messages of a WebSocket may have.
    pub fn limit_messages(&mut self, conn: ConnKey, message_bytes_max: u32) {
        if let Some(decoder) = self.connections.get_mut(conn).and_then(|c| c.decoder.as_mut()) {
            decoder.limit(message_bytes_max);
        }
    }

    /// Between two requests: the next may have been read already, or may never come.
    pub(super) fn rest(&mut self, conn: ConnKey) {
        let keep_alive_ms = u64::from(self.config.limits.keep_alive_seconds) * 1000;
        let Some(connection) = self.connections.get_mut(conn) else { return };
        connection.owner = NONE;
        if connection.unsent.is_some() {
            return;
        }
        connection.flags.set(Flags::IDLE);
        let waiting = connection.partial.is_some() || connection.flags.has(Flags::READABLE);
        self.set_deadline(conn, keep_alive_ms);
        if waiting {
            self.queue(conn);
        }
    }

    /// Refuses what a connection sent with a complete answer, and ends it.
    pub(super) fn refuse(&mut self, conn: ConnKey, answer: Bytes) {
        self.stats.requests_refused += 1;
        self.write(conn, &answer);
        self.begin_closing(conn);
    }
}
