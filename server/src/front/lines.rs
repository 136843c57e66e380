//! Connections as the back office looks at them: whose sessions they carry, whatever the protocol.
//!
//! Owns no state. Must not know HTTP of the private port. Start at [`Front::lines`].

use super::Front;
use crate::mail::{Line, LineSession, Lines};
use crate::shard::{ConnKey, Cx, Door, Owner};
use hub::{Page, SessionId};
use smallvec::SmallVec;

impl Front {
    /// What is known of these connections.
    pub(super) fn lines(&self, cx: &Cx<'_>, of: Lines) -> Page<Line> {
        match of {
            Lines::One(conn) => {
                let line = self.line(cx, conn).map(|line| Line { ends: cx.io.ends(conn), ..line });
                Page { items: line.into_iter().collect(), more: false }
            }
            Lines::After(after, limit) => {
                let page = cx.io.connections_after(after, limit);
                let items = page.items.into_iter().filter_map(|conn| self.line(cx, conn)).collect();
                Page { items, more: page.more }
            }
            Lines::Under(sessions) => {
                let mut conns: Vec<ConnKey> = Vec::new();
                for conn in sessions.into_iter().filter_map(|session| self.connection_under(session)) {
                    // A page is short enough to look through.
                    if !conns.contains(&conn) {
                        conns.push(conn);
                    }
                }
                let items = conns.into_iter().filter_map(|conn| self.line(cx, conn)).collect();
                Page { items, more: false }
            }
        }
    }

    fn line(&self, cx: &Cx<'_>, conn: ConnKey) -> Option<Line> {
        let facts = cx.io.facts(conn)?;
        let owner = facts.owner;
        let mut line = Line {
            conn,
            protocol: None,
            transport: match facts.state {
                _ if facts.is_framed => "websocket",
                "stream" => "tcp",
                _ => "http",
            },
            facts,
            sessions: Vec::new(),
            ends: None,
        };
        for session in owner.map(|owner| self.sessions_on(owner, conn)).unwrap_or_default() {
            let others = || self.mqtt.inspect(cx, session).or_else(|| self.streams.inspect(cx, session));
            let Some(known) = self.socketio.inspect(cx, session).or_else(others) else { continue };
            (line.protocol, line.transport) = (Some(known.protocol), known.transport);
            let user = cx.hub.hub.user_of(&session);
            line.sessions.push(LineSession { id: session, namespace: known.namespace, user });
        }
        Some(line)
    }

    /// Ends a connection; `false`: it is not there. Clients with sessions are told as their protocol has it, and come back.
    pub(super) fn end_line(&mut self, cx: &mut Cx<'_>, conn: ConnKey) -> bool {
        let Some(facts) = cx.io.facts(conn) else { return false };
        let sessions = facts.owner.map(|owner| self.sessions_on(owner, conn)).unwrap_or_default();
        if sessions.is_empty() {
            cx.io.cut(conn);
        }
        for session in sessions {
            self.disconnect(cx, session);
        }
        true
    }

    /// A connection that closes may have an owner that is another's by now.
    pub(super) fn sessions_on(&self, owner: Owner, conn: ConnKey) -> SmallVec<[SessionId; 2]> {
        let index = owner.index();
        let mut sessions = match owner.door() {
            Door::Http => self.socketio.sessions_on(index),
            Door::Stream => self.mqtt.session_on(index).into_iter().collect(),
            Door::Feed => self.streams.session_on(index).into_iter().collect(),
        };
        sessions.retain(|session| self.connection_under(*session) == Some(conn));
        sessions
    }

    fn connection_under(&self, session: SessionId) -> Option<ConnKey> {
        let others =
            || self.mqtt.connection_under(session).or_else(|| self.streams.connection_under(session));
        self.socketio.connection_under(session).or_else(others)
    }
}
