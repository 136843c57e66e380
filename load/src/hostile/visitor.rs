//! Well-behaved clients beside an attack: one that stays, and newcomers.
//!
//! Owns their threads and what they saw. Each blocks in calls of its own, so the generator's load does not show in
//! its times more than the machine's does. Start at [`Witnesses::start`].

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use wire::websocket::{Opcode, masked_frame};

use crate::error::Error;
use crate::latency::Latencies;
use crate::message::Marker;
use crate::session::{Protocol, Script, Sink, WebSocket, event, mask, say};
use crate::target::Target;

/// Between two questions of the one that stays.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// Between two newcomers.
const VISIT_EVERY: Duration = Duration::from_millis(500);

/// An answer that takes longer counts as none.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// What a witness saw.
#[derive(Clone, Debug)]
pub(super) struct Testimony {
    pub(super) asked: u64,
    pub(super) answered: u64,
    pub(super) latencies: Latencies,
    /// Why the first question was not answered.
    pub(super) trouble: Option<String>,
}

impl Testimony {
    fn new() -> Self {
        Self { asked: 0, answered: 0, latencies: Latencies::new(), trouble: None }
    }

    fn note(&mut self, due: Instant, outcome: Result<(), String>) {
        self.asked += 1;
        match outcome {
            Ok(()) => {
                self.answered += 1;
                self.latencies.record(due.elapsed());
            }
            Err(text) => {
                self.trouble.get_or_insert(text);
            }
        }
    }
}

/// Both witnesses, at work.
pub(super) struct Witnesses {
    over: Arc<AtomicBool>,
    threads: [JoinHandle<Testimony>; 2],
}

impl Witnesses {
    /// Connects the one that stays, then begins. `ask` is an event the server acknowledges; without it the witness
    /// sends WebSocket pings.
    pub(super) fn start(target: &Target, ask: Option<&str>) -> Result<Self, Error> {
        let over = Arc::new(AtomicBool::new(false));
        let canary = Visitor::connect(target).map_err(|text| Error::new(format!("canary: {text}")))?;
        let (ask, theirs) = (ask.map(str::to_owned), Arc::clone(&over));
        let stay = move || canary.stay(ask.as_deref(), &theirs);
        let (target, theirs) = (target.clone(), Arc::clone(&over));
        let visit = move || newcomers(&target, &theirs);
        let spawn = |name: &str, body: Box<dyn FnOnce() -> Testimony + Send>| {
            let thread = std::thread::Builder::new().name(name.into()).spawn(body);
            thread.map_err(|error| Error::io(name, &error))
        };
        let threads = [spawn("canary", Box::new(stay))?, spawn("newcomers", Box::new(visit))?];
        Ok(Self { over, threads })
    }

    /// Ends them: the one that stayed, the newcomers.
    pub(super) fn finish(self) -> [Testimony; 2] {
        self.over.store(true, Ordering::Relaxed);
        self.threads.map(|thread| thread.join().unwrap_or_else(|_| Testimony::new()))
    }
}

fn newcomers(target: &Target, over: &AtomicBool) -> Testimony {
    let mut testimony = Testimony::new();
    let mut due = Instant::now();
    while !over.load(Ordering::Relaxed) {
        testimony.note(due, Visitor::connect(target).map(|_| ()));
        due += VISIT_EVERY;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    testimony
}

/// A Socket.IO client on a blocking socket.
struct Visitor {
    stream: TcpStream,
    session: WebSocket,
    script: Script,
    held: Vec<u8>,
    seen: Seen,
}

#[derive(Default)]
struct Seen {
    ready: bool,
    acks: u64,
}

impl Sink for Seen {
    fn ready(&mut self) {
        self.ready = true;
    }
    fn message(&mut self, _marker: Option<Marker>) {}
    fn ack(&mut self) {
        self.acks += 1;
    }
}

impl Visitor {
    /// Connects and joins the main namespace.
    fn connect(target: &Target) -> Result<Self, String> {
        let until = Instant::now() + ANSWER_WITHIN;
        let stream = TcpStream::connect_timeout(&target.address, ANSWER_WITHIN).map_err(|e| e.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let script = Script::new(Protocol::SocketIo, None);
        let (held, seen) = (Vec::new(), Seen::default());
        let mut visitor = Self { stream, session: WebSocket::new(0), script, held, seen };
        let mut out = Vec::new();
        visitor.session.connected(&visitor.script, target, &mut out, &mut visitor.seen);
        visitor.write(&out)?;
        while !visitor.seen.ready {
            visitor.read(until)?;
        }
        Ok(visitor)
    }

    /// Asks at fixed times. A question waits for the answer to the one before, but counts from when it was due.
    fn stay(mut self, ask: Option<&str>, over: &AtomicBool) -> Testimony {
        let mut testimony = Testimony::new();
        let mut due = Instant::now();
        while !over.load(Ordering::Relaxed) {
            let outcome = self.ask(ask, testimony.asked + 1);
            let lost = outcome.is_err();
            testimony.note(due, outcome);
            if lost {
                break;
            }
            due += ASK_EVERY;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        testimony
    }

    fn ask(&mut self, name: Option<&str>, id: u64) -> Result<(), String> {
        let mut out = Vec::new();
        match name {
            Some(name) => say(&event(name, "canary", Some(id)), 0, &mut out),
            None => masked_frame(Opcode::Ping, b"canary", mask(0), &mut out),
        }
        self.write(&out)?;
        let (until, acks) = (Instant::now() + ANSWER_WITHIN, self.seen.acks);
        while self.seen.acks == acks {
            self.read(until)?;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream.set_write_timeout(Some(ANSWER_WITHIN)).map_err(|error| error.to_string())?;
        self.stream.write_all(bytes).map_err(|error| error.to_string())
    }

    fn read(&mut self, until: Instant) -> Result<(), String> {
        let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.stream.set_read_timeout(Some(left)).map_err(|error| error.to_string())?;
        let mut buf = vec![0; 64 << 10];
        let read = match self.stream.read(&mut buf) {
            Ok(0) => return Err("closed by the server".into()),
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err(format!("no answer within {} s", ANSWER_WITHIN.as_secs()));
            }
            Err(error) => return Err(error.to_string()),
        };
        self.held.extend_from_slice(buf.get(..read).unwrap_or_default());
        let mut out = Vec::new();
        let took = self.session.received(&self.script, &mut self.held, &mut out, &mut self.seen)?;
        self.held.drain(..took.consumed);
        self.write(&out)
    }
}
