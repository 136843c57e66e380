//! A back end for webhooks that does as little as one can: it shows what a server does, not what a back end costs.
//!
//! Owns one event loop for all its connections, and who is under way. What one connection says is `connection`'s, the file of what was
//! heard `record`'s. Must not know how many ask, or why. Start at [`BackEnd::bind`].

mod connection;
mod record;

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;

use crate::error::Error;
use connection::{Connection, Until};
use record::Record;

/// The listener and the stopper; connections have the numbers of their places.
const LISTENER: Token = Token(usize::MAX);
const STOPPER: Token = Token(usize::MAX - 1);

/// How long those wait for whom there was no file, unless one is closed before.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// Read at once.
const READ_BYTES: usize = 64 << 10;

/// One port on which webhooks are answered.
#[derive(Debug)]
pub struct BackEnd {
    poll: Poll,
    listener: TcpListener,
    address: SocketAddr,
    waker: Arc<Waker>,
    connections: Slab<Connection>,
    /// Of the connection that is accepted next: places are used again.
    serial: u64,
    space: Vec<u8>,
    /// Connections wait that could not be accepted.
    is_behind: bool,
    answer_after: Duration,
    /// Answers that wait for their time, the earliest first.
    due: VecDeque<Due>,
    under_way: usize,
    heard: Heard,
    record: Option<Record>,
}

/// The answers to the requests of one reading.
#[derive(Debug)]
struct Due {
    at: Instant,
    place: usize,
    serial: u64,
    requests: usize,
    bytes: usize,
}

/// What there is to say in the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Events, those included that came again.
    pub events: u64,
    /// Requests under way at a time: read and not answered, by callers that were there. The most that ever were.
    pub most_under_way: usize,
}

/// Ends [`BackEnd::run`] from elsewhere.
#[derive(Clone, Debug)]
pub struct Stopper(Arc<Waker>);

impl Stopper {
    /// Before long.
    pub fn stop(&self) {
        // Fails only where the system has no memory, and then the next signal tries again.
        let _woken = self.0.wake();
    }
}

impl BackEnd {
    /// Listens; requests are answered by [`BackEnd::run`].
    ///
    /// # Errors
    /// The address cannot be had.
    pub fn bind(listen: SocketAddr) -> Result<Self, Error> {
        let failed = |error: std::io::Error| Error::io(format!("listening on {listen}"), &error);
        let poll = Poll::new().map_err(failed)?;
        let mut listener = TcpListener::bind(listen).map_err(failed)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE).map_err(failed)?;
        Ok(Self {
            waker: Arc::new(Waker::new(poll.registry(), STOPPER).map_err(failed)?),
            address: listener.local_addr().map_err(failed)?,
            poll,
            listener,
            connections: Slab::new(),
            serial: 0,
            space: vec![0; READ_BYTES],
            is_behind: false,
            answer_after: Duration::ZERO,
            due: VecDeque::new(),
            under_way: 0,
            heard: Heard::default(),
            record: None,
        })
    }

    /// Answers each request so long after it came, not at once.
    #[must_use]
    pub fn answer_after(mut self, wait: Duration) -> Self {
        self.answer_after = wait;
        self
    }

    /// Writes each event that it hears into a file, which is made or begun anew.
    ///
    /// # Errors
    /// The file cannot be had.
    pub fn record(mut self, path: &Path) -> Result<Self, Error> {
        self.record = Some(Record::create(path)?);
        Ok(self)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What ends it.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.waker.clone())
    }

    /// Answers until it is stopped.
    ///
    /// # Errors
    /// The system no longer says what happens on sockets, or what was heard cannot be written.
    pub fn run(mut self) -> Result<Heard, Error> {
        let mut events = Events::with_capacity(1024);
        loop {
            match self.poll.poll(&mut events, self.wait()) {
                Err(error) if error.kind() != ErrorKind::Interrupted => {
                    return Err(Error::io("waiting for requests", &error));
                }
                _ => {}
            }
            if !self.turn(&events)? {
                break;
            }
        }
        if let Some(record) = &mut self.record {
            record.flush()?;
        }
        Ok(self.heard)
    }

    /// How long nothing may happen.
    fn wait(&self) -> Option<Duration> {
        let due = self.due.front().map(|due| due.at.saturating_duration_since(Instant::now()));
        let accept = self.is_behind.then_some(ACCEPT_AGAIN);
        let flush = self.record.as_ref().and_then(Record::flush_after);
        [due, accept, flush].into_iter().flatten().min()
    }

    /// All that has come is read before anything is answered, so that all of it is seen to be under way; `false` once it is over.
    fn turn(&mut self, events: &Events) -> Result<bool, Error> {
        let (now, mut is_stopped) = (Instant::now(), false);
        for event in events {
            match event.token() {
                LISTENER => self.accept(),
                STOPPER => is_stopped = true,
                Token(place) => self.serve(place, event, now)?,
            }
        }
        if self.is_behind {
            self.accept();
        }
        self.heard.most_under_way = self.heard.most_under_way.max(self.under_way);
        self.answer(now);
        match &mut self.record {
            Some(record) if events.is_empty() => record.flush()?,
            _ => {}
        }
        Ok(!is_stopped)
    }

    /// All that wait. The system tells once that some do, so what could not be taken for now is remembered.
    fn accept(&mut self) {
        self.is_behind = false;
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => self.take(stream),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error)
                    if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                // There is no place for another file.
                Err(_) => {
                    self.is_behind = true;
                    return;
                }
            }
        }
    }

    fn take(&mut self, mut stream: TcpStream) {
        let entry = self.connections.vacant_entry();
        let interest = Interest::READABLE | Interest::WRITABLE;
        let is_watched = self.poll.registry().register(&mut stream, Token(entry.key()), interest).is_ok();
        if is_watched && stream.set_nodelay(true).is_ok() {
            self.serial += 1;
            entry.insert(Connection::new(stream, self.serial));
        }
    }

    fn serve(&mut self, place: usize, event: &Event, now: Instant) -> Result<(), Error> {
        let Some(connection) = self.connections.get_mut(place) else { return Ok(()) };
        let (serial, requests, bytes) = (connection.serial, connection.requests, connection.said());
        let until = if event.is_read_closed() { Until::End } else { Until::Little };
        let mut failure = None;
        let hear = &mut |text: &str| {
            self.heard.events += 1;
            if let Some(Err(error)) = self.record.as_mut().map(|record| record.add(text)) {
                failure.get_or_insert(error);
            }
        };
        let is_open = connection.read(until, &mut self.space, hear);
        let (requests, bytes) = (connection.requests - requests, connection.said() - bytes);
        // What the kernel had no room for.
        let is_open = is_open && connection.write();
        self.under_way += requests;
        if !is_open {
            self.end(place);
        } else if requests > 0 {
            self.due.push_back(Due { at: now + self.answer_after, place, serial, requests, bytes });
        }
        failure.map_or(Ok(()), Err)
    }

    /// What is due.
    fn answer(&mut self, now: Instant) {
        while self.due.front().is_some_and(|due| due.at <= now) {
            let Some(due) = self.due.pop_front() else { return };
            let connection = self.connections.get_mut(due.place).filter(|one| one.serial == due.serial);
            let Some(connection) = connection else { continue };
            self.under_way -= due.requests;
            connection.release(due.requests, due.bytes);
            if !connection.write() {
                self.end(due.place);
            }
        }
    }

    /// Nobody waits for the rest of its answers.
    fn end(&mut self, place: usize) {
        self.under_way -= self.connections.remove(place).requests;
    }
}
