//! Publishing that goes on while the server is away: one message after the other, each until it is acknowledged.
//!
//! Owns the numbers. An attempt whose outcome nobody knows uses its number up, and the message is repeated with the
//! next one: so a number that reaches a client twice is always the server's doing, and a number that was never
//! acknowledged is never missed. Must not know who receives. Start at [`Steady::start`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::latency::now_ns;
use crate::message::{Batch, NUMBERS_MAX};
use crate::pool::Question;
use crate::publish::{Destination, Publisher};

/// The pause before a message is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// What was published so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Published {
    /// Messages acknowledged.
    pub(crate) acknowledged: u32,
    /// Attempts that failed.
    pub(crate) failures: u64,
    /// Numbers that were sent and never acknowledged.
    pub(crate) uncertain: Vec<u32>,
    /// Numbers used up.
    pub(crate) end: u32,
}

impl Published {
    /// What every client should have.
    pub(crate) fn question(&self) -> Question {
        Question { end: self.end, excepted: self.uncertain.clone() }
    }
}

/// A thread that publishes. Dropping it ends it.
pub(crate) struct Steady {
    stop: Arc<AtomicBool>,
    published: Arc<Mutex<Published>>,
    thread: Option<JoinHandle<()>>,
}

impl Steady {
    /// Begins; `interval` lies between the times at which two messages are due.
    pub(crate) fn start(
        destination: &Destination,
        interval: Duration,
        payload_bytes: usize,
    ) -> Result<Self, Error> {
        let (stop, published) = (Arc::default(), Arc::default());
        let source = Source {
            destination: destination.clone(),
            payload_bytes,
            publisher: Some(Publisher::connect(destination)?),
            stop: Arc::clone(&stop),
            published: Arc::clone(&published),
        };
        let builder = std::thread::Builder::new().name("publish".into());
        let thread = builder.spawn(move || source.run(interval));
        let thread = Some(thread.map_err(|error| Error::io("thread", &error))?);
        Ok(Self { stop, published, thread })
    }

    /// So far.
    pub(crate) fn published(&self) -> Published {
        self.published.lock().map(|published| published.clone()).unwrap_or_default()
    }

    /// Waits until so many more messages are acknowledged, or the time is over.
    pub(crate) fn wait_more(&self, messages: u32, within: Duration) {
        let (until, goal) = (Instant::now() + within, self.published().acknowledged + messages);
        while self.published().acknowledged < goal && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends it; a message that is being repeated then was not published.
    pub(crate) fn finish(mut self) -> Published {
        self.end();
        self.published()
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

impl Drop for Steady {
    fn drop(&mut self) {
        self.end();
    }
}

/// The thread's side.
struct Source {
    destination: Destination,
    payload_bytes: usize,
    publisher: Option<Publisher>,
    stop: Arc<AtomicBool>,
    published: Arc<Mutex<Published>>,
}

impl Source {
    fn run(mut self, interval: Duration) {
        let begun_ns = now_ns();
        for message in 0.. {
            let due_ns = begun_ns + message * interval.as_nanos() as u64;
            while now_ns() < due_ns && !self.is_over() {
                std::thread::park_timeout(Duration::from_nanos(due_ns.saturating_sub(now_ns())));
            }
            while !self.is_over() && !self.attempt(due_ns) {
                std::thread::park_timeout(RETRY_AFTER);
            }
            if self.is_over() {
                return;
            }
        }
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.end() >= NUMBERS_MAX
    }

    fn end(&self) -> u32 {
        self.published.lock().map_or(NUMBERS_MAX, |published| published.end)
    }

    /// Publishes the message that was due then; false if it must be repeated.
    fn attempt(&mut self, due_ns: u64) -> bool {
        let (number, payload_bytes) = (self.end(), self.payload_bytes);
        let publisher = match self.publisher.take() {
            Some(publisher) => Ok(publisher),
            None => Publisher::connect(&self.destination),
        };
        let Ok(mut publisher) = publisher else {
            self.note(|published| published.failures += 1);
            return false;
        };
        let batch = Batch { numbers: number..number + 1, due_ns, payload_bytes };
        let acknowledged = publisher.publish(&batch).and_then(|()| publisher.wait_answered()).is_ok();
        self.publisher = acknowledged.then_some(publisher);
        self.note(|published| {
            published.end = number + 1;
            if acknowledged {
                published.acknowledged += 1;
            } else {
                published.failures += 1;
                published.uncertain.push(number);
            }
        });
        acknowledged
    }

    fn note(&self, change: impl FnOnce(&mut Published)) {
        if let Ok(mut published) = self.published.lock() {
            change(&mut published);
        }
    }
}
