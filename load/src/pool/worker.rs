//! One event loop with its share of the clients.
//!
//! Owns the poll, its clients and the order in which they connect. Must not know protocols. Start at [`Worker::run`].

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Interest, Poll, Token, Waker};

use super::link::{Edge, End, Link, Shared, State};
use super::returning::Alarms;
use super::{Command, Counts, Shown};
use crate::comeback::CutPlan;
use crate::latency::Latencies;
use crate::session::{Script, Session};
use crate::target::Route;

/// Bytes of the read buffer; one per loop. Large enough for what a socket buffer usually holds.
const READ_BYTES: usize = 256 << 10;

/// Events of one turn.
const EVENTS_MAX: usize = 1024;

/// How long a turn waits at most; also the beat of attackers.
const TICK: Duration = Duration::from_millis(50);

/// How often resting clients are looked at.
const RESTING_EVERY_MS: u64 = 500;

const WAKE: Token = Token(usize::MAX);

/// What a loop needs to begin.
pub(super) struct Setup {
    pub(super) route: Arc<Route>,
    pub(super) script: Arc<Script>,
    /// Numbers of its clients.
    pub(super) indexes: Vec<u32>,
    pub(super) opening_max: u32,
}

pub(super) struct Worker {
    pub(super) poll: Poll,
    pub(super) links: Vec<Link>,
    /// Places of links that want a connection.
    queue: VecDeque<usize>,
    opening: u32,
    opening_max: u32,
    route: Arc<Route>,
    pub(super) script: Arc<Script>,
    pub(super) counts: Counts,
    latencies: Latencies,
    buf: Vec<u8>,
    commands: Receiver<Command>,
    shown: Arc<Shown>,
    begun: Instant,
    looked_ms: u64,
    ticked_ms: u64,
    pub(super) leaving: bool,
    pub(super) alarms: Alarms,
    pub(super) cuts: Option<CutPlan>,
}

impl Worker {
    pub(super) fn new(
        setup: Setup,
        commands: Receiver<Command>,
        shown: Arc<Shown>,
    ) -> std::io::Result<(Self, Waker)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        let link = |index: &u32| {
            let mut link = Link::new(*index, Session::new(&setup.script, *index));
            link.returning = setup.script.comeback.map(|_| Box::default());
            link
        };
        let links: Vec<_> = setup.indexes.iter().map(link).collect();
        let worker = Self {
            poll,
            queue: (0..links.len()).collect(),
            counts: Counts { clients: links.len() as u64, ..Counts::default() },
            links,
            opening: 0,
            opening_max: setup.opening_max,
            route: setup.route,
            script: setup.script,
            latencies: Latencies::new(),
            buf: vec![0; READ_BYTES],
            commands,
            shown,
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
        if let Ok(mut counts) = self.shown.counts.lock() {
            *counts = self.counts;
        }
    }

    /// Does what was asked; false when nobody can ask any more.
    fn obey(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Leave) => self.leave(),
                Ok(Command::Cut(cuts)) => self.set_cuts(cuts),
                Ok(Command::Find(question, to)) => {
                    // As below.
                    let _ = to.send(self.findings(&question));
                }
                Ok(Command::Latencies(to)) => {
                    // A receiver that is gone does not want them any more.
                    let _ = to.send(std::mem::replace(&mut self.latencies, Latencies::new()));
                }
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
                _ => self.ended(at, End::Finish),
            }
        }
        self.show();
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
                ErrorKind::AddrNotAvailable => "no free port: give more --source addresses".into(),
                _ => format!("connect: {error}"),
            };
            self.ended(at, End::Lost(text));
        }
    }

    fn connect(&mut self, at: usize) -> std::io::Result<()> {
        let Some(link) = self.links.get_mut(at) else { return Ok(()) };
        let mut stream = self.route.connect(link.index)?;
        self.poll.registry().register(&mut stream, Token(at), Interest::READABLE | Interest::WRITABLE)?;
        link.stream = Some(stream);
        link.state = State::Connecting;
        self.opening += 1;
        Ok(())
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
        let Some(stream) = &link.stream else { return Ok(()) };
        let mut shared = Shared {
            script: &self.script,
            counts: &mut self.counts,
            latencies: &mut self.latencies,
            buf: &mut self.buf,
        };
        if link.state == State::Connecting {
            if let Ok(Some(error)) | Err(error) = stream.take_error() {
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
            let deaf = self.poll.registry().reregister(stream, Token(at), Interest::WRITABLE);
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
        if let Ok(mut first) = self.shown.first_failure.lock() {
            first.get_or_insert_with(|| text.to_owned());
        }
    }

    fn time_passes(&mut self) {
        self.ring();
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
