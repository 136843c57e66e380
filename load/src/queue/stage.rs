//! One stage: connections that all do the same until so many messages are done.
//!
//! Owns the event loops and the sockets. Must not know what is said. Start at [`run`].

use std::io::{ErrorKind, Read as _, Write as _};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::line::{Line, Measured, Plan};
use crate::console::Console;
use crate::error::Error;
use crate::http::answer;
use crate::latency::now_ns;
use crate::still::Still;

/// Bytes of the read buffer; one per loop.
const READ_BYTES: usize = 256 << 10;

/// Events of one turn.
const EVENTS_MAX: usize = 256;

/// How long a turn waits at most.
const TICK: Duration = Duration::from_millis(50);

/// How often it is looked whether the loops are done; so much may be added to the time of a stage.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// After so many failures a stage ends: the rest would be the same.
const FAILURES_MAX: u64 = 1000;

/// How a stage is run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// Event loops.
    pub(super) threads: usize,
    /// How long nothing may be answered.
    pub(super) patience: Duration,
    pub(super) console: Console,
    /// What the bar says.
    pub(super) label: &'static str,
}

/// What a stage came to.
pub(super) struct Outcome {
    pub(super) elapsed: Duration,
    pub(super) done: u64,
    pub(super) measured: Measured,
}

/// A line and its socket.
struct Wire {
    stream: TcpStream,
    line: Line,
    out: Vec<u8>,
    written: usize,
    held: Vec<u8>,
}

/// Connects and runs to the end.
///
/// # Errors
/// [`Error`] if somebody cannot connect, a connection breaks, or nothing is answered for too long.
pub(super) fn run(plan: &Plan<'_>, manner: Manner) -> Result<Outcome, Error> {
    let mut shares: Vec<Vec<Wire>> = (0..manner.threads.max(1)).map(|_| Vec::new()).collect();
    let loops = shares.len();
    for index in 0..plan.connections {
        if let Some(share) = shares.get_mut(index as usize % loops) {
            share.push(Wire::connect(plan, index)?);
        }
    }
    let begun = Instant::now();
    let measured = std::thread::scope(|scope| {
        let threads: Vec<_> = shares
            .into_iter()
            .map(|share| scope.spawn(move || drive(plan, manner.patience, share)))
            .collect();
        let bar = manner.console.progress(manner.label, plan.count);
        while threads.iter().any(|thread| !thread.is_finished()) {
            bar.set_position(plan.done.load(Ordering::Relaxed));
            std::thread::sleep(LOOK_EVERY);
        }
        bar.finish_and_clear();
        let mut sum = Measured::new();
        for thread in threads {
            let Ok(measured) = thread.join() else { return Err(Error::new("an event loop panicked")) };
            sum.add(measured?);
        }
        Ok(sum)
    })?;
    Ok(Outcome { elapsed: begun.elapsed(), done: plan.done.load(Ordering::Relaxed), measured })
}

/// One event loop.
fn drive(plan: &Plan<'_>, patience: Duration, mut wires: Vec<Wire>) -> Result<Measured, Error> {
    let failed = |error: std::io::Error| Error::io(&plan.endpoint.target.host, &error);
    let (mut poll, mut events) = (Poll::new().map_err(failed)?, Events::with_capacity(EVENTS_MAX));
    let (mut measured, mut buf) = (Measured::new(), vec![0; READ_BYTES]);
    for (at, wire) in wires.iter_mut().enumerate() {
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut wire.stream, Token(at), interest).map_err(failed)?;
        wire.say(plan).map_err(failed)?;
    }
    let mut still = Still::new((0, 0));
    while wires.iter().any(|wire| wire.line.waiting_since_ns().is_some()) {
        match poll.poll(&mut events, Some(TICK)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(failed(error)),
            _ => {}
        }
        for event in &events {
            let Some(wire) = wires.get_mut(event.token().0) else { continue };
            wire.turn(plan, &mut buf, &mut measured)?;
        }
        // Receives that get nothing are answered, too: what counts is what comes of them.
        let idle = still.look((measured.requests - measured.empty, plan.done.load(Ordering::Relaxed)));
        if idle > patience {
            return Err(late(plan, &wires, patience));
        }
        if measured.failures > FAILURES_MAX {
            break;
        }
    }
    Ok(measured)
}

fn late(plan: &Plan<'_>, wires: &[Wire], patience: Duration) -> Error {
    let waiting = wires.iter().filter_map(|wire| wire.line.waiting_since_ns()).min();
    let longest = waiting.map_or(0, |since_ns| now_ns().saturating_sub(since_ns) / 1_000_000);
    let (done, count, within) = (plan.done.load(Ordering::Relaxed), plan.count, patience.as_secs_f64());
    Error::new(format!(
        "nothing went on for {within} s at {done} of {count} messages; the oldest request has waited for {longest} ms"
    ))
}

impl Wire {
    fn connect(plan: &Plan<'_>, index: u32) -> Result<Self, Error> {
        let target = &plan.endpoint.target;
        let tried = |error| Error::io(format!("connecting to {}", target.host), &error);
        let stream = std::net::TcpStream::connect(target.address).map_err(tried)?;
        stream.set_nodelay(true).map_err(tried)?;
        stream.set_nonblocking(true).map_err(tried)?;
        let (stream, line) = (TcpStream::from_std(stream), Line::new(index));
        Ok(Self { stream, line, out: Vec::new(), written: 0, held: Vec::new() })
    }

    /// Begins the next request.
    fn say(&mut self, plan: &Plan<'_>) -> std::io::Result<()> {
        self.written = 0;
        self.out.clear();
        self.line.next(plan, &mut self.out);
        self.flush()
    }

    fn flush(&mut self) -> std::io::Result<()> {
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes and reads what there is.
    fn turn(&mut self, plan: &Plan<'_>, buf: &mut [u8], measured: &mut Measured) -> Result<(), Error> {
        let host = &plan.endpoint.target.host;
        let failed = |error: std::io::Error| Error::io(host, &error);
        self.flush().map_err(failed)?;
        loop {
            match self.stream.read(buf) {
                Ok(0) if self.line.waiting_since_ns().is_none() => return Ok(()),
                Ok(0) => {
                    return Err(Error::new(format!("{host} closed a connection that waits for an answer")));
                }
                Ok(read) => self.held.extend_from_slice(buf.get(..read).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed(error)),
            }
            if let Some((taken, status, body)) = answer(&self.held).map_err(Error::new)? {
                self.held.drain(..taken);
                self.line.answered(plan, (status, &body), measured);
                self.say(plan).map_err(failed)?;
            }
        }
    }
}
