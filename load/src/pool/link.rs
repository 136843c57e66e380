//! One client with its connection.
//!
//! Owns what is unsent and what is half received. Must not know other clients. Start at [`Link::read`].

use std::io::ErrorKind;

use super::Counts;
use super::arrivals::Arrivals;
use super::returning::Returning;
use super::socket::Socket;
use crate::latency::{Latencies, now_ns};
use crate::message::Marker;
use crate::session::{Next, Script, Session, Sink};

/// A client: some 180 bytes as long as it is quiet.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) session: Session,
    pub(super) stream: Option<Socket>,
    pub(super) state: State,
    /// Connections begun so far; a deadline of an earlier one means nothing.
    pub(super) attempt: u32,
    /// Not yet taken by the kernel.
    unsent: Vec<u8>,
    /// Received, but not yet a whole header.
    partial: Vec<u8>,
    /// The next number that is neither late nor a duplicate.
    pub(super) next_number: u32,
    pub(super) readiness: Readiness,
    /// Messages it said in a conversation.
    said: u32,
    /// The visit it is on: what it says when it is ready.
    pub(super) visit: Option<Marker>,
    /// Of clients that come back.
    pub(super) returning: Option<Box<Returning>>,
}

/// Whether the client is where the scenario wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    /// Its handshake was never over.
    Never,
    /// It is, with or without a connection at the moment.
    Now,
    /// It was, lost its connection and means to come back.
    Away,
}

/// Where the client stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Waits for its turn to connect.
    Queued,
    /// connect() is under way.
    Connecting,
    /// Connected, handshake or request under way.
    Opening,
    /// Connected and quiet.
    Open,
    /// Without connection until this time of the loop, in ms.
    Resting(u64),
    /// For good.
    Gone,
}

impl State {
    /// Whether it counts against the number of clients that open at the same time.
    pub(super) fn is_opening(self) -> bool {
        matches!(self, Self::Connecting | Self::Opening)
    }
}

/// What a socket became readable for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edge {
    /// Something to read.
    Bytes,
    /// The end of the connection, perhaps with something before it.
    End,
}

/// What all links of a loop share while one of them works.
pub(super) struct Shared<'a> {
    pub(super) script: &'a Script,
    pub(super) counts: &'a mut Counts,
    pub(super) latencies: &'a mut Arrivals,
    pub(super) connects: &'a mut Latencies,
    /// Until when what is heard is answered.
    pub(super) answer_until_ns: u64,
    /// How often clients that have pings send one.
    pub(super) ping_every_ms: &'a mut u64,
    /// The read buffer.
    pub(super) buf: &'a mut [u8],
}

/// How a connection came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// As the session wanted: it rests.
    Rest,
    /// As the session wanted: it is over.
    Finish,
    /// The server closed, or broke the rules, or the network did; in words.
    Lost(String),
}

/// Counts for one link.
struct Tally<'a> {
    counts: &'a mut Counts,
    latencies: &'a mut Arrivals,
    next_number: &'a mut u32,
    readiness: &'a mut Readiness,
    returning: Option<&'a mut Returning>,
    /// Messages that were counted.
    heard: u32,
    /// Read once per read call, when it is first needed.
    now_ns: Option<u64>,
    ping_every_ms: &'a mut u64,
}

impl Sink for Tally<'_> {
    fn ready(&mut self) {
        match std::mem::replace(self.readiness, Readiness::Now) {
            Readiness::Never | Readiness::Now => self.counts.ready += 1,
            Readiness::Away => self.counts.returned += 1,
        }
    }

    fn recovered(&mut self) {
        self.counts.recovered += 1;
    }

    fn message(&mut self, marker: Option<Marker>) {
        let Some(Marker { number, due_ns }) = marker else {
            self.counts.foreign += 1;
            return;
        };
        if number < *self.next_number {
            self.counts.repeated += 1;
            if !self.returning.as_mut().is_some_and(|returning| returning.gaps.fill(number)) {
                let again = self.returning.as_mut().is_some_and(|returning| returning.came_again(number));
                self.counts.again += u64::from(again);
                return;
            }
            self.counts.late += 1;
        } else {
            if let Some(returning) = &mut self.returning {
                returning.gaps.skip(*self.next_number..number);
            }
            *self.next_number = number + 1;
            self.counts.messages += 1;
        }
        self.heard += 1;
        let now_ns = *self.now_ns.get_or_insert_with(now_ns);
        self.counts.last_arrival_ns = now_ns;
        self.latencies.arrived(Marker { number, due_ns }, now_ns);
    }

    fn ack(&mut self) {
        self.counts.acks += 1;
    }

    fn confirmed(&mut self) {
        self.counts.confirmed += 1;
    }

    fn keep_alive(&mut self, seconds: u16) {
        let within_ms = u64::from(seconds) * 1000 * 5 / 6;
        if seconds > 0 {
            *self.ping_every_ms = within_ms.min(*self.ping_every_ms);
        }
    }
}

impl Link {
    pub(super) fn new(index: u32, session: Session) -> Self {
        let (unsent, partial) = (Vec::new(), Vec::new());
        Self {
            index,
            session,
            stream: None,
            state: State::Queued,
            attempt: 0,
            unsent,
            partial,
            next_number: 0,
            readiness: Readiness::Never,
            said: 0,
            visit: None,
            returning: None,
        }
    }

    /// Begins anew as `session`, to say `marker` when it is ready; false if it is still on an earlier visit.
    pub(super) fn visit(&mut self, session: Session, marker: Marker) -> bool {
        let is_free = self.visit.is_none() && self.stream.is_none();
        if is_free {
            self.session = session;
            self.state = State::Queued;
            self.readiness = Readiness::Never;
            self.visit = Some(marker);
        }
        is_free
    }

    /// Says a message, not yet sent; false if it cannot. What a session without a connection says, it keeps.
    pub(super) fn say(&mut self, script: &Script, marker: Marker) -> bool {
        let has_somewhere = self.stream.is_some() || matches!(self.session, Session::Mqtt(_));
        has_somewhere && self.session.say(script, marker, &mut self.unsent)
    }

    /// Publishes a message to a channel, not yet sent; false if it cannot.
    pub(super) fn publish(&mut self, script: &Script, channel: &str, data: &str) -> bool {
        self.session.publish(script, channel, data, &mut self.unsent)
    }

    /// Asks the server for a sign of life.
    pub(super) fn ping(&mut self) -> Result<(), End> {
        if self.session.ping(&mut self.unsent) { self.flush() } else { Ok(()) }
    }

    /// Says goodbye, as far as the kernel takes it at once.
    pub(super) fn part(&mut self, script: &Script) {
        if self.stream.is_some() && matches!(self.session, Session::Mqtt(_)) {
            self.session.leave(script, &mut self.unsent);
            // Whatever becomes of it, the connection ends now.
            let _ = self.flush();
        }
    }

    /// Says the next message of a conversation, due now.
    pub(super) fn say_next(&mut self, script: &Script, now_ns: u64) -> bool {
        let said = self.say(script, Marker { number: self.said, due_ns: now_ns });
        self.said += u32::from(said);
        said
    }

    /// Whether the client's handshake was ever over.
    pub(super) fn is_ready(&self) -> bool {
        self.readiness != Readiness::Never
    }

    /// Whether everything that was said is on its way.
    pub(super) fn is_flushed(&self) -> bool {
        self.unsent.is_empty() && self.stream.as_ref().is_none_or(Socket::is_flushed)
    }

    /// The kernel says the connection is there.
    pub(super) fn connected(
        &mut self,
        target: &crate::target::Target,
        shared: &mut Shared<'_>,
    ) -> Result<(), End> {
        shared.counts.connected += 1;
        self.state = State::Opening;
        let was_ready = self.is_ready();
        let mut out = std::mem::take(&mut self.unsent);
        let script = shared.script;
        let (session, mut tally) = self.parts(shared);
        session.connected(script, target, &mut out, &mut tally);
        // A client that is ready without an answer waits for none; one that comes back from a rest does.
        if self.is_ready() && !was_ready {
            self.state = State::Open;
        }
        self.send(out)
    }

    /// Reads all there is, to the end of the connection if `edge` says that it has come. True if the session wants to
    /// hear nothing more.
    pub(super) fn read(&mut self, edge: Edge, shared: &mut Shared<'_>) -> Result<bool, End> {
        loop {
            let held = self.partial.len();
            if shared.buf.len() <= held {
                return Err(End::Lost("an answer larger than the read buffer".into()));
            }
            let (front, space) = shared.buf.split_at_mut(held);
            front.copy_from_slice(&self.partial);
            let room = space.len();
            let Some(stream) = &mut self.stream else { return Ok(false) };
            shared.counts.reads += 1;
            let read = match stream.read(space) {
                Ok(0) => return Err(End::Lost("closed by the server".into())),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(End::Lost(error.to_string())),
            };
            shared.counts.bytes += read as u64;
            let is_told = stream.tells_by_short_reads();
            if self.received(held + read, shared)? {
                return Ok(true);
            }
            // A short read emptied the socket, and what comes later is a new edge; so the call that would only say
            // "would block" is saved. An end that came together with the bytes is no new edge.
            if is_told && read < room && edge == Edge::Bytes {
                return Ok(false);
            }
        }
    }

    /// Gives the session the first `filled` bytes of the read buffer and keeps what it leaves.
    fn received(&mut self, filled: usize, shared: &mut Shared<'_>) -> Result<bool, End> {
        let mut buf = std::mem::take(&mut shared.buf);
        let mut out = std::mem::take(&mut self.unsent);
        let script = shared.script;
        let (session, mut tally) = self.parts(shared);
        let bytes = buf.get_mut(..filled).unwrap_or_default();
        let outcome = session.received(script, bytes, &mut out, &mut tally);
        let heard = tally.heard;
        let result = outcome.map_err(End::Lost).map(|took| {
            let rest = buf.get(took.consumed..filled).unwrap_or_default();
            self.partial.clear();
            self.partial.extend_from_slice(rest);
            if rest.is_empty() {
                self.partial = Vec::new();
            }
            took.next
        });
        shared.buf = std::mem::take(&mut buf);
        self.unsent = out;
        if self.readiness == Readiness::Now && self.state == State::Opening {
            self.state = State::Open;
            // By now the server knows that the connection before this one was dead.
            drop(self.returning.as_mut().and_then(|returning| returning.silent.take()));
            self.begin_visit(shared);
        }
        if heard > 0 {
            self.respond(heard, shared);
        }
        self.flush()?;
        match result? {
            Next::Continue => Ok(false),
            Next::Deaf => Ok(true),
            Next::Rest => Err(End::Rest),
            Next::Finish => Err(End::Finish),
        }
    }

    fn begin_visit(&mut self, shared: &mut Shared<'_>) {
        if let Some(marker) = self.visit {
            shared.connects.arrived(marker.due_ns, now_ns());
            shared.counts.said += u64::from(self.say(shared.script, marker));
        }
    }

    /// What hearing messages leads to, if it does: the end of a visit, or the next messages of a conversation.
    fn respond(&mut self, heard: u32, shared: &mut Shared<'_>) {
        if self.visit.is_some() {
            return self.session.leave(shared.script, &mut self.unsent);
        }
        if shared.answer_until_ns == 0 {
            return;
        }
        let now_ns = now_ns();
        let answers = if now_ns < shared.answer_until_ns { heard } else { 0 };
        for _ in 0..answers {
            shared.counts.said += u64::from(self.say_next(shared.script, now_ns));
        }
    }

    /// Lets the session say something of its own accord.
    pub(super) fn tick(&mut self) -> Result<(), End> {
        if !self.is_flushed() || self.stream.is_none() || self.state == State::Connecting {
            return Ok(());
        }
        let mut out = Vec::new();
        let next = self.session.tick(&mut out);
        self.send(out)?;
        if next == Next::Finish { Err(End::Finish) } else { Ok(()) }
    }

    /// The kernel takes bytes again.
    pub(super) fn flush(&mut self) -> Result<(), End> {
        let out = std::mem::take(&mut self.unsent);
        self.send(out)
    }

    fn send(&mut self, mut out: Vec<u8>) -> Result<(), End> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let mut sent = 0;
        while let Some(rest) = out.get(sent..).filter(|rest| !rest.is_empty()) {
            match stream.write(rest) {
                Ok(bytes) => sent += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(End::Lost(error.to_string())),
            }
        }
        stream.flush().map_err(|error| End::Lost(error.to_string()))?;
        out.drain(..sent);
        self.unsent = if out.is_empty() { Vec::new() } else { out };
        Ok(())
    }

    /// The connection is gone: nothing of it is left.
    pub(super) fn disconnected(&mut self) -> Option<Socket> {
        self.session.disconnected();
        self.unsent = Vec::new();
        self.partial = Vec::new();
        self.stream.take()
    }

    fn parts<'a>(&'a mut self, shared: &'a mut Shared<'_>) -> (&'a mut Session, Tally<'a>) {
        let tally = Tally {
            counts: shared.counts,
            latencies: shared.latencies,
            next_number: &mut self.next_number,
            readiness: &mut self.readiness,
            returning: self.returning.as_deref_mut(),
            heard: 0,
            now_ns: None,
            ping_every_ms: shared.ping_every_ms,
        };
        (&mut self.session, tally)
    }
}
