//! Reading: from bytes to requests and frames, and those to the handler.
//!
//! Owns how much of a connection is read in a turn, the assembly of requests, and what an early end means. Must not know
//! what requests and messages say. Start at [`Shard::read`]; what is offered of streams is in `stream.rs`.

use super::Shard;
use super::connection::{Body, Flags, NONE, Partial, Phase, rest_of};
use super::handler::{Closed, Cx, Handler, Request};
use super::io::{ConnKey, Notice};
use super::response::Response;
use super::stream::Speech;
use super::tls::{self, Received};
use bytes::Bytes;
use wire::http::{BodyDecoder, BodyLength, CONTINUE, Head, Reply, parse_head};
use wire::websocket::{self, CloseCode, Decoded, Event, Opcode, Violation};

/// What one connection may give in a turn before the others have theirs.
const READ_BYTES_PER_SHARE: usize = 256 << 10;

/// What sorting some bytes led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    used: usize,
    /// Whether the rest may be of use now.
    go_on: bool,
}

impl Step {
    fn on(used: usize) -> Self {
        Self { used, go_on: true }
    }

    fn wait(used: usize) -> Self {
        Self { used, go_on: false }
    }
}

impl<H: Handler> Shard<H> {
    /// Reads what a connection has, as long as it is of use and within its share of the turn.
    pub(super) fn read(&mut self, conn: ConnKey) {
        self.feed_kept(conn);
        let mut budget = READ_BYTES_PER_SHARE;
        while let Some(connection) = self.io.connections.get_mut(conn) {
            if !connection.wants_bytes() || !connection.flags.has(Flags::READABLE) {
                return;
            }
            if connection.flags.has(Flags::AWAITS_PROXY) {
                if self.take_proxy_header(conn) {
                    continue;
                }
                return;
            }
            if budget == 0 || self.io.outbox.is_stalled() {
                return self.io.queue(conn);
            }
            let received = tls::receive(connection, &mut self.buffer, &mut self.io.stats);
            if !matches!(received, Received::Bytes(_)) {
                connection.flags.unset(Flags::READABLE);
            }
            let tls_speaks = connection.tls.as_ref().is_some_and(|tls| tls.wants_write());
            match received {
                Received::Bytes(bytes) | Received::Last(bytes) => {
                    budget = budget.saturating_sub(bytes);
                    self.feed(conn, bytes);
                }
                Received::Empty => {}
                Received::End => self.ended(conn),
                Received::Failed => self.io.fail(conn, Closed::Error),
            }
            if tls_speaks {
                self.io.flush(conn);
            }
        }
    }

    /// Sorts what was kept of earlier reads, if it can be used now.
    pub(super) fn feed_kept(&mut self, conn: ConnKey) {
        let Some(connection) = self.io.connections.get(conn) else { return };
        let waits = |partial: &Partial| !partial.bytes.is_empty() || !partial.inner.is_empty();
        let too_little = connection.phase == Phase::Stream && connection.flags.has(Flags::OFFERED);
        if connection.wants_bytes() && !too_little && connection.partial.as_deref().is_some_and(waits) {
            self.feed(conn, 0);
        }
    }

    /// Sorts the first `count` bytes of the read buffer, behind what was kept.
    fn feed(&mut self, conn: ConnKey, count: usize) {
        let Some(connection) = self.io.connections.get_mut(conn) else { return };
        let mut buffer = std::mem::take(&mut self.buffer);
        let fresh = buffer.get_mut(..count).expect("a read fills at most the buffer");
        let kept =
            connection.partial.as_mut().map(|partial| std::mem::take(&mut partial.bytes)).unwrap_or_default();
        connection.tidy();
        if kept.is_empty() {
            self.feed_bytes(conn, fresh);
        } else {
            let mut all = kept;
            all.extend_from_slice(fresh);
            self.feed_owned(conn, all);
        }
        self.buffer = buffer;
    }

    /// Sorts bytes and keeps those that cannot be used yet.
    pub(super) fn feed_bytes(&mut self, conn: ConnKey, bytes: &mut [u8]) {
        let used = self.use_bytes(conn, bytes);
        let rest = bytes.get(used..).unwrap_or_default();
        match self.io.leaving.take() {
            Some(leaving) => self.io.leave(leaving, rest.to_vec()),
            None => {
                if let Some(connection) = self.io.connections.get_mut(conn) {
                    connection.keep(rest);
                }
            }
        }
    }

    /// As [`Shard::feed_bytes`], but what is kept stays where it is.
    fn feed_owned(&mut self, conn: ConnKey, mut bytes: Vec<u8>) {
        let used = self.use_bytes(conn, &mut bytes);
        match self.io.leaving.take() {
            Some(leaving) => self.io.leave(leaving, rest_of(bytes, used).unwrap_or_default()),
            None => {
                if let Some(connection) = self.io.connections.get_mut(conn) {
                    connection.keep_growing(bytes, used);
                }
            }
        }
    }

    fn use_bytes(&mut self, conn: ConnKey, bytes: &mut [u8]) -> usize {
        self.io.feeding = Some(conn);
        self.offer_kept_inner(conn);
        let used = self.sort(conn, bytes);
        self.io.feeding = None;
        used
    }

    /// Uses as many bytes as possible; returns how many.
    fn sort(&mut self, conn: ConnKey, bytes: &mut [u8]) -> usize {
        let mut used = 0;
        loop {
            let Some(connection) = self.io.connections.get(conn) else { return bytes.len() };
            let rest = bytes.get_mut(used..).unwrap_or_default();
            if rest.is_empty() || !connection.wants_bytes() {
                return used;
            }
            let step = match connection.phase {
                Phase::Head => self.head(conn, rest),
                Phase::Body => self.body(conn, rest),
                Phase::WebSocket => self.frames(conn, rest),
                Phase::Stream if connection.is_framed() => self.frames(conn, rest),
                Phase::Stream => Step::wait(self.offer(conn, rest)),
                Phase::Answer | Phase::Closing => Step::on(rest.len()),
                Phase::Asked | Phase::Held | Phase::Moving => Step::wait(0),
            };
            used += step.used;
            if !step.go_on {
                return used;
            }
        }
    }

    /// The first bytes of a connection, or those of a request.
    fn head(&mut self, conn: ConnKey, bytes: &[u8]) -> Step {
        let is_new = self.io.connections.get(conn).is_some_and(|c| c.flags.has(Flags::HALF_OPEN));
        let Some(first) = bytes.first().filter(|_| is_new) else { return self.request_head(conn, bytes) };
        match self.speech(conn, *first) {
            Speech::Http => self.request_head(conn, bytes),
            Speech::Stream => {
                self.io.become_stream(conn);
                Step::on(0)
            }
            Speech::Unknown => {
                self.io.stats.closed_unknown += 1;
                self.io.discard(conn);
                Step::on(bytes.len())
            }
        }
    }

    fn request_head(&mut self, conn: ConnKey, bytes: &[u8]) -> Step {
        let idle = self.io.connections.get_mut(conn).is_some_and(|c| c.flags.take(Flags::IDLE));
        let head = match parse_head(bytes, &self.io.head_limits) {
            Ok(Some(head)) => head,
            Ok(None) => {
                if idle {
                    self.io.set_deadline(conn, self.io.config.limits.head_timeout_ms);
                }
                return Step::wait(0);
            }
            Err(error) => {
                let mut answer = Vec::new();
                error.respond(&mut answer);
                self.io.refuse(conn, answer.into());
                return Step::on(bytes.len());
            }
        };
        self.io.no_longer_half_open(conn);
        let home = self.handler.route(&head);
        if home == self.io.shard {
            return self.begin(conn, head, bytes);
        }
        match self.io.hand_over(conn, home, bytes) {
            Ok(()) => Step::on(bytes.len()),
            Err(super::handover::Blocked) => Step::wait(0),
        }
    }

    /// A head has come: with the request as a whole, or with a part of its body.
    fn begin<'a>(&mut self, conn: ConnKey, head: Head<'a>, bytes: &'a [u8]) -> Step {
        let (head_text, after) = bytes.split_at_checked(head.len).unwrap_or((bytes, &[]));
        let limit = match self.handler.body_limit(&head) {
            Ok(limit) => limit,
            Err(refusal) => {
                self.refuse_head(conn, &head, *refusal);
                return Step::on(head_text.len());
            }
        };
        let decoder = match BodyDecoder::new(head.body, limit as u64) {
            Ok(decoder) => decoder,
            Err(error) => {
                self.refuse_head(conn, &head, Response::refusal(error.status(), error.text()));
                return Step::on(bytes.len());
            }
        };
        let whole = match head.body {
            BodyLength::None => after.get(..0),
            BodyLength::Length(length) => usize::try_from(length).ok().and_then(|length| after.get(..length)),
            BodyLength::Chunked | BodyLength::UntilClose => None,
        };
        if let Some(body) = whole {
            let used = head_text.len() + body.len();
            self.ask(conn, Request { head, body });
            return Step::on(used);
        }
        if head.expect_continue && after.is_empty() {
            self.io.write(conn, &Bytes::from_static(CONTINUE));
        }
        let body = Body { head: head_text.to_vec(), decoder, content: Vec::new() };
        let owner = self.handler.begins(&mut Cx { io: &mut self.io, hub: &mut self.hub }, conn, &head);
        self.io.enter(conn, Phase::Body);
        self.io.set_deadline(conn, self.io.config.limits.body_timeout_ms);
        if let Some(connection) = self.io.connections.get_mut(conn) {
            connection.owner = owner.map_or(NONE, |owner| owner.0);
            connection.partial = Some(Box::new(Partial { body: Some(body), ..Partial::default() }));
        }
        self.tell();
        Step::on(head_text.len())
    }

    fn body(&mut self, conn: ConnKey, bytes: &[u8]) -> Step {
        let Some(connection) = self.io.connections.get_mut(conn) else { return Step::on(bytes.len()) };
        let body = connection.partial.as_mut().and_then(|partial| partial.body.as_mut());
        let body = body.expect("a connection in this phase has a body");
        match body.decoder.decode(bytes, &mut body.content) {
            Ok(progress) if progress.done => {
                let body = connection.partial.take().and_then(|partial| partial.body);
                let body = body.expect("it was just decoded");
                let head = parse_head(&body.head, &self.io.head_limits);
                let head = head.ok().flatten().expect("the same bytes were a head before");
                self.ask(conn, Request { head, body: &body.content });
                Step::on(progress.consumed)
            }
            Ok(progress) => Step::wait(progress.consumed),
            Err(error) => {
                connection.partial = None;
                let answer = Response::refusal(error.status(), error.text()).encode(Reply::closing());
                self.io.refuse(conn, answer);
                Step::on(bytes.len())
            }
        }
    }

    /// Answers a request whose body will not be read.
    fn refuse_head(&mut self, conn: ConnKey, head: &Head<'_>, mut refusal: Response) {
        refusal.close |= !matches!(head.body, BodyLength::None | BodyLength::Length(0));
        self.io.stats.requests_refused += 1;
        self.expect_answer(conn, Reply::to(head));
        self.io.respond(conn, refusal);
    }

    fn expect_answer(&mut self, conn: ConnKey, reply: Reply) {
        self.io.enter(conn, Phase::Asked);
        if let Some(connection) = self.io.connections.get_mut(conn) {
            connection.reply = reply;
        }
    }

    /// Gives a complete request to the handler.
    fn ask(&mut self, conn: ConnKey, request: Request<'_>) {
        self.io.stats.requests += 1;
        self.expect_answer(conn, Reply::to(&request.head));
        self.call(|handler, cx| handler.request(cx, conn, &request));
        let unanswered =
            self.io.connections.get(conn).is_some_and(|connection| connection.phase == Phase::Asked);
        if unanswered {
            tracing::error!(path = request.head.path, "a request was left without an answer");
            self.io.respond(conn, Response::refusal(500, "no answer"));
        }
    }

    fn frames(&mut self, conn: ConnKey, bytes: &mut [u8]) -> Step {
        let mut used = 0;
        while let Some(connection) = self.io.connections.get_mut(conn) {
            if !connection.is_framed() || !connection.wants_bytes() {
                break;
            }
            let decoder = connection.decoder.as_mut().expect("a WebSocket has a decoder");
            match decoder.decode(bytes.get_mut(used..).unwrap_or_default()) {
                Ok(Decoded::NeedMore { consumed, .. }) => return Step::wait(used + consumed),
                Ok(Decoded::Event { event, consumed }) => {
                    used += consumed;
                    self.event(conn, event);
                }
                Err(violation) => {
                    self.violation(conn, violation);
                    return Step::on(bytes.len());
                }
            }
        }
        Step::on(used)
    }

    fn event(&mut self, conn: ConnKey, event: Event<'_>) {
        let Some(connection) = self.io.connections.get(conn) else { return };
        match event {
            Event::Binary(payload) if connection.phase == Phase::Stream => self.offer_inner(conn, &payload),
            Event::Text(_) | Event::Binary(_) => {
                let owner = connection.owner();
                self.io.stats.messages_in += 1;
                if let Some(owner) = owner {
                    self.call(|handler, cx| handler.message(cx, conn, owner, event));
                }
            }
            Event::Ping(payload) => {
                let mut pong = Vec::with_capacity(payload.len() + 2);
                websocket::frame(Opcode::Pong, payload, &mut pong);
                self.io.write(conn, &pong.into());
            }
            Event::Pong(_) => {}
            Event::Close { code, .. } => {
                let mut echo = Vec::new();
                match code {
                    Some(code) => websocket::close_frame(code, "", &mut echo),
                    None => websocket::frame(Opcode::Close, &[], &mut echo),
                }
                self.end_websocket(conn, echo, Closed::Peer);
            }
        }
    }

    pub(super) fn violation(&mut self, conn: ConnKey, Violation { code, text }: Violation) {
        tracing::debug!(code = code.0, text, "a peer broke the WebSocket protocol");
        let mut goodbye = Vec::new();
        websocket::close_frame(CloseCode(code.0), text, &mut goodbye);
        self.end_websocket(conn, goodbye, Closed::Violation(code));
    }

    /// The last frame, then the owner is told.
    fn end_websocket(&mut self, conn: ConnKey, last: Vec<u8>, why: Closed) {
        let owner = self.io.connections.get(conn).and_then(|connection| connection.owner());
        self.io.count_closed(why);
        self.io.write(conn, &last.into());
        // The flush of a large batch may have found the connection broken and told the owner already.
        if self.io.connections.get(conn).is_some() {
            self.io.notices.extend(owner.map(|owner| Notice::Closed(conn, owner, why)));
            self.io.begin_closing(conn);
        }
        self.tell();
    }

    /// The peer sends nothing more.
    fn ended(&mut self, conn: ConnKey) {
        let Some(connection) = self.io.connections.get_mut(conn) else { return };
        connection.flags.set(Flags::ENDED);
        let nothing_left = connection.batch == NONE && connection.unsent.is_none();
        match connection.phase {
            Phase::WebSocket | Phase::Stream | Phase::Answer => {
                self.io.fail(conn, Closed::Peer);
                self.tell();
            }
            Phase::Head | Phase::Body => {
                self.io.count_closed(Closed::Peer);
                self.io.begin_closing(conn);
                self.tell();
            }
            Phase::Closing if nothing_left => drop(self.io.discard(conn)),
            Phase::Closing | Phase::Asked | Phase::Held | Phase::Moving => {}
        }
    }
}
