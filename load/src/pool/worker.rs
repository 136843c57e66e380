//! One event loop with its share of the clients.
//!
//! Owns the poll, its clients and the order in which they connect. Must not know protocols. Start at [`Worker::run`].

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Interest, Poll, Token, Waker};

use super::arrivals::Arrivals;
use super::link::{Edge, End, Link, Shared, State};
use super::local::Shown;
use super::returning::Alarms;
use super::socket::Socket;
use super::{Answer, Command, Converse, Counts, Measured, Publish, Say, Visit};
use crate::comeback::CutPlan;
use crate::latency::{Latencies, now_ns};
use crate::message::Marker;
use crate::session::{Opening, Script, Session};
use crate::target::Route;

/// Bytes of the read buffer; one per loop. Large enough for what a socket buffer usually holds.
const READ_BYTES: usize = 256 << 10;

/// Events of one turn.
const EVENTS_MAX: usize = 1024;

/// How long a turn waits at most; also the beat of attackers.
const TICK: Duration = Duration::from_millis(50);

/// How often resting clients are looked at.
const RESTING_EVERY_MS: u64 = 500;

/// How often clients ping unless a server wants more.
const PING_EVERY_MS_MAX: u64 = 50_000;

const WAKE: Token = Token(usize::MAX);

/// What a loop needs to begin.
pub(super) struct Setup {
    pub(super) route: Arc<Route>,
    pub(super) script: Arc<Script>,
    /// Numbers of its clients.
    pub(super) indexes: Vec<u32>,
    pub(super) opening_max: u32,
}

/// What connects a loop to whoever started it.
pub(super) struct Wires {
    /// The loop ends when nobody can send any more.
    pub(super) commands: Receiver<Command>,
    /// Whoever does not wait for an answer any more does not want it.
    pub(super) answers: Sender<Answer>,
    pub(super) shown: Arc<Shown>,
}

pub(super) struct Worker {
    pub(super) poll: Poll,
    pub(super) links: Vec<Link>,
    /// Places of links that want a connection.
    queue: VecDeque<usize>,
    /// Until when each connection that was begun must be open, with its attempt; in the order of their times, as all have
    /// the same bound. Those that are open leave it when they come to the front.
    deadlines: VecDeque<(u64, usize, u32)>,
    opening: u32,
    opening_max: u32,
    route: Arc<Route>,
    pub(super) script: Arc<Script>,
    pub(super) counts: Counts,
    arrivals: Arrivals,
    connects: Latencies,
    visits: Latencies,
    /// Until when clients answer what they hear.
    answer_until_ns: u64,
    /// How often each client that has pings sends one.
    ping_every_ms: u64,
    /// Looks at which clients have pinged so far; see [`Worker::ping_some`].
    pinged: u64,
    buf: Vec<u8>,
    wires: Wires,
    begun: Instant,
    looked_ms: u64,
    ticked_ms: u64,
    pub(super) leaving: bool,
    pub(super) alarms: Alarms,
    pub(super) cuts: Option<CutPlan>,
}

impl Worker {
    pub(super) fn new(setup: Setup, wires: Wires) -> std::io::Result<(Self, Waker)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        let link = |index: &u32| {
            let mut link = Link::new(*index, Session::new(&setup.script, *index));
            link.returning = setup.script.comeback.map(|_| Box::default());
            link
        };
        let links: Vec<_> = setup.indexes.iter().map(link).collect();
        let queue = match setup.script.opening {
            Opening::AtOnce => (0..links.len()).collect(),
            Opening::WhenAsked => VecDeque::new(),
        };
        let arrivals = Arrivals::new(setup.script.attribution);
        let worker = Self {
            poll,
            queue,
            deadlines: VecDeque::new(),
            counts: Counts { clients: links.len() as u64, ..Counts::default() },
            links,
            opening: 0,
            opening_max: setup.opening_max,
            route: setup.route,
            script: setup.script,
            arrivals,
            connects: Latencies::new(),
            visits: Latencies::new(),
            answer_until_ns: 0,
            ping_every_ms: PING_EVERY_MS_MAX,
            pinged: 0,
            buf: vec![0; READ_BYTES],
            wires,
            begun: Instant::now(),
            looked_ms: 0,
            ticked_ms: 0,
            leaving: false,
            alarms: Alarms::default(),
            cuts: None,
        };
        Ok((worker, waker))
    }

    /// Turns until the pool is dropped.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS_MAX);
        while self.obey() {
            self.open_queued();
            match self.poll.poll(&mut events, Some(self.until_alarm(TICK))) {
                Err(error) if error.kind() != ErrorKind::Interrupted => {
                    return self.fail(&format!("poll: {error}"));
                }
                _ => {}
            }
            for event in events.iter().filter(|event| event.token() != WAKE) {
                self.ready(event);
            }
            self.time_passes();
            self.show();
        }
    }

    fn show(&self) {
        self.wires.shown.counts(self.counts);
    }

    /// Does what was asked; false when nobody can ask any more.
    fn obey(&mut self) -> bool {
        loop {
            match self.wires.commands.try_recv() {
                Ok(Command::Leave) => self.leave(),
                Ok(Command::Cut(cuts)) => self.set_cuts(cuts),
                Ok(Command::Find(question)) => {
                    let _ = self.wires.answers.send(Answer::Findings(self.findings(&question)));
                }
                Ok(Command::Latencies(measured)) => {
                    let told = match measured {
                        Measured::Messages => self.arrivals.take(),
                        Measured::Message(number) => self.arrivals.take_of(number),
                        Measured::Connects => std::mem::replace(&mut self.connects, Latencies::new()),
                        Measured::Visits => std::mem::replace(&mut self.visits, Latencies::new()),
                    };
                    let _ = self.wires.answers.send(Answer::Latencies(told));
                }
                Ok(Command::Say(say)) => self.say(&say),
                Ok(Command::Publish(publish)) => self.publish(&publish),
                Ok(Command::Ping) => self.ping(|_| true),
                Ok(Command::Converse(converse)) => self.converse(&converse),
                Ok(Command::Visit(visit)) => self.visit(&visit),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn leave(&mut self) {
        self.leaving = true;
        self.queue.clear();
        for at in 0..self.links.len() {
            let Some(link) = self.links.get_mut(at) else { continue };
            match link.state {
                State::Gone => {}
                State::Resting(_) | State::Queued if link.session.begin_leaving() => {
                    link.state = State::Queued;
                    self.queue.push_back(at);
                }
                _ => {
                    link.part(&self.script);
                    self.ended(at, End::Finish);
                }
            }
        }
        self.show();
    }

    /// The place of client `index`, if it is one of ours. They are in ascending order.
    fn place(&self, index: u32) -> Option<usize> {
        self.links.binary_search_by_key(&index, |link| link.index).ok()
    }

    /// Many messages of one client leave in one write: first all is said, then all is sent.
    fn say(&mut self, say: &Say) {
        let mut speakers = Vec::new();
        for number in say.numbers.clone() {
            let Some(at) = self.place(say.client(number)) else { continue };
            let marker = Marker { number, due_ns: say.schedule.due_ns(number) };
            let said = self.links.get_mut(at).is_some_and(|link| link.say(&self.script, marker));
            if said {
                self.counts.said += 1;
                speakers.push(at);
            }
        }
        self.send(speakers);
    }

    fn publish(&mut self, publish: &Publish) {
        let mut speakers = Vec::new();
        for number in publish.numbers.clone() {
            let (client, channel) = publish.client(number);
            let Some(at) = self.place(client) else { continue };
            let Some(link) = self.links.get_mut(at) else { continue };
            let data = publish.marker(number).data(publish.payload_bytes);
            if link.publish(&self.script, &channel, &data) {
                self.counts.said += 1;
                speakers.push(at);
            }
        }
        self.send(speakers);
    }

    fn ping(&mut self, is_meant: impl Fn(usize) -> bool) {
        for at in (0..self.links.len()).filter(|at| is_meant(*at)) {
            if let Some(Err(end)) = self.links.get_mut(at).map(Link::ping) {
                self.ended(at, end);
            }
        }
    }

    /// Each client once in a period, a part of them at each look: a place in turn costs no memory, and it spreads them.
    fn ping_some(&mut self, now_ms: u64) {
        let turns = (self.ping_every_ms / RESTING_EVERY_MS).max(1);
        let now = now_ms / RESTING_EVERY_MS;
        // After a very long turn everybody is due, once.
        for look in (self.pinged + 1).max((now + 1).saturating_sub(turns))..=now {
            self.ping(|at| at as u64 % turns == look % turns);
        }
        self.pinged = now;
    }

    fn converse(&mut self, converse: &Converse) {
        self.answer_until_ns = converse.until_ns;
        let mut speakers = Vec::new();
        for index in converse.starters.clone() {
            let Some(at) = self.place(index) else { continue };
            let Some(link) = self.links.get_mut(at) else { continue };
            for _ in 0..converse.outstanding {
                self.counts.said += u64::from(link.say_next(&self.script, now_ns()));
            }
            speakers.push(at);
        }
        self.send(speakers);
    }

    fn send(&mut self, mut speakers: Vec<usize>) {
        speakers.sort_unstable();
        speakers.dedup();
        for at in speakers {
            if let Some(Err(end)) = self.links.get_mut(at).map(Link::flush) {
                self.ended(at, end);
            }
        }
    }

    fn visit(&mut self, visit: &Visit) {
        for number in visit.numbers.clone() {
            let Some(at) = self.place(visit.client(number)) else { continue };
            let Some(link) = self.links.get_mut(at) else { continue };
            let marker = Marker { number, due_ns: visit.schedule.due_ns(number) };
            if link.visit(Session::new(&self.script, link.index), marker) {
                self.queue.push_back(at);
            } else {
                self.counts.nobody_free += 1;
            }
        }
    }

    fn open_queued(&mut self) {
        while self.opening < self.opening_max {
            let Some(at) = self.queue.pop_front() else { return };
            self.try_connect(at);
        }
    }

    pub(super) fn try_connect(&mut self, at: usize) {
        if let Err(error) = self.connect(at) {
            let text = match error.kind() {
                // The one if the source was left to the system, the other if it was given.
                ErrorKind::AddrNotAvailable | ErrorKind::AddrInUse => {
                    "no free port: give more --source addresses".into()
                }
                _ => format!("connect: {error}"),
            };
            self.ended(at, End::Lost(text));
        }
    }

    fn connect(&mut self, at: usize) -> std::io::Result<()> {
        let Some(link) = self.links.get_mut(at) else { return Ok(()) };
        let mut stream = self.route.connect(link.index)?;
        self.poll.registry().register(&mut stream, Token(at), Interest::READABLE | Interest::WRITABLE)?;
        link.stream = Some(Socket::new(stream, self.route.target(link.index))?);
        link.state = State::Connecting;
        self.opening += 1;
        link.attempt += 1;
        let attempt = link.attempt;
        // Some attackers never finish their handshake, on purpose.
        if self.script.attack.is_none() {
            self.deadlines.push_back((self.now_ms() + self.script.handshake_ms_max, at, attempt));
        }
        Ok(())
    }

    /// Gives up connections whose handshake takes too long, so that their places go to others.
    fn give_up(&mut self) {
        let now_ms = self.now_ms();
        while let Some((due_ms, at, attempt)) = self.deadlines.front().copied() {
            let link = self.links.get(at).filter(|link| link.attempt == attempt && link.state.is_opening());
            if link.is_some() && due_ms > now_ms {
                return;
            }
            self.deadlines.pop_front();
            if let Some(link) = link {
                let phase = match link.state {
                    State::Connecting => "connect",
                    _ => link.session.phase(),
                };
                let within = Duration::from_millis(self.script.handshake_ms_max);
                self.ended(at, End::Lost(format!("no answer to {phase} within {} s", within.as_secs_f64())));
            }
        }
    }

    fn ready(&mut self, event: &Event) {
        let at = event.token().0;
        let before = self.links.get(at).map(|link| link.state);
        let outcome = self.serve(at, event);
        let after = self.links.get(at).map(|link| link.state);
        if before.is_some_and(State::is_opening) && !after.is_some_and(State::is_opening) {
            self.opening -= 1;
        }
        if let Err(end) = outcome {
            self.ended(at, end);
        }
    }

    /// Connects, writes and reads, as far as the event says.
    fn serve(&mut self, at: usize, event: &Event) -> Result<(), End> {
        let Some(link) = self.links.get_mut(at) else { return Ok(()) };
        let Some(stream) = &mut link.stream else { return Ok(()) };
        let mut shared = Shared {
            script: &self.script,
            counts: &mut self.counts,
            latencies: &mut self.arrivals,
            connects: &mut self.connects,
            answer_until_ns: self.answer_until_ns,
            ping_every_ms: &mut self.ping_every_ms,
            buf: &mut self.buf,
        };
        if link.state == State::Connecting {
            if let Ok(Some(error)) | Err(error) = stream.tcp().take_error() {
                return Err(End::Lost(format!("connect: {error}")));
            }
            if !event.is_writable() {
                return Ok(());
            }
            link.connected(self.route.target(link.index), &mut shared)?;
        } else if event.is_writable() && !link.is_flushed() {
            link.flush()?;
        }
        let edge = if event.is_read_closed() { Edge::End } else { Edge::Bytes };
        if event.is_readable() && link.read(edge, &mut shared)? {
            let stream = link.stream.as_mut().ok_or(End::Finish)?;
            let deaf = self.poll.registry().reregister(stream.tcp(), Token(at), Interest::WRITABLE);
            deaf.map_err(|error| End::Lost(error.to_string()))?;
        }
        // Who does not read learns only here that the connection was reset.
        if event.is_error() || event.is_write_closed() {
            return Err(End::Lost("closed by the server".into()));
        }
        Ok(())
    }

    /// A connection is over; counts how.
    pub(super) fn ended(&mut self, at: usize, end: End) {
        let now_ms = self.now_ms();
        let Some(link) = self.links.get_mut(at) else { return };
        if link.state.is_opening() {
            self.opening -= 1;
        }
        // Closing the descriptor takes it out of the poll.
        drop(link.disconnected());
        link.state = State::Gone;
        let visit = link.visit.take();
        // Whatever ends a connection behind the goodbye is the end that was wanted.
        let end = if link.session.is_leaving() { End::Finish } else { end };
        match end {
            End::Rest if !self.leaving => {
                link.state = State::Resting(now_ms + link.session.rest_ms().unwrap_or(0));
            }
            // Asked to leave between two polls: this is its last visit.
            End::Rest if link.session.begin_leaving() => {
                link.state = State::Queued;
                self.queue.push_back(at);
            }
            End::Rest | End::Finish => {
                if let Some(visit) = visit {
                    let now_ns = now_ns();
                    self.counts.last_arrival_ns = now_ns;
                    self.visits.arrived(visit.due_ns, now_ns);
                }
                self.counts.left += u64::from(link.is_ready());
                self.counts.failed += u64::from(!link.is_ready());
            }
            End::Lost(text) => {
                let (index, was_ready) = (link.index, link.is_ready());
                if !self.goes_away(at, &text) {
                    self.counts.cut += u64::from(was_ready);
                    self.counts.failed += u64::from(!was_ready);
                }
                self.fail(&format!("client {index}: {text}"));
            }
        }
    }

    fn fail(&self, text: &str) {
        self.wires.shown.failure(text);
    }

    fn time_passes(&mut self) {
        self.ring();
        self.give_up();
        let now_ms = self.now_ms();
        if self.script.attack.is_some() && now_ms >= self.ticked_ms + TICK.as_millis() as u64 {
            self.ticked_ms = now_ms;
            for at in 0..self.links.len() {
                if let Some(Err(end)) = self.links.get_mut(at).map(Link::tick) {
                    self.ended(at, end);
                }
            }
        }
        if now_ms >= self.looked_ms + RESTING_EVERY_MS {
            self.looked_ms = now_ms;
            if self.script.has_pings() {
                self.ping_some(now_ms);
            }
            // Those that come back after a loss have alarms instead.
            for (at, link) in self.links.iter_mut().enumerate().filter(|(_, it)| it.returning.is_none()) {
                if matches!(link.state, State::Resting(due_ms) if due_ms <= now_ms) {
                    link.state = State::Queued;
                    self.queue.push_back(at);
                }
            }
        }
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }
}
