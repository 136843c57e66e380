//! One message to everybody after the other: how long each took to each client.
//!
//! Owns the times at which messages are sent. Must not know who sends them. Start at [`Volley::fire`].

use std::collections::VecDeque;
use std::time::Duration;

use crate::console::Console;
use crate::error::Error;
use crate::fanout::Sender;
use crate::latency::{Latencies, now_ns};
use crate::message::Batch;
use crate::pool::{Measured, Pool};
use crate::report::Report;

/// The messages of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volley {
    /// How many, one by one.
    pub messages: u32,
    /// Time between two of them; none = each when the one before has arrived or its patience is over.
    pub interval: Option<Duration>,
    /// Characters of the data of a message.
    pub payload_bytes: usize,
    /// What arrives later than this counts as bad.
    pub patience: Duration,
}

/// One message.
#[derive(Clone, Debug)]
pub(super) struct Shot {
    /// Clients that were there when it was sent.
    pub(super) clients: u64,
    /// Of each delivery within the patience, from the planned time.
    pub(super) latencies: Latencies,
}

/// A message on its way.
struct Flying {
    number: u32,
    clients: u64,
    due_ns: u64,
}

impl Shot {
    /// Between the first and the last client.
    pub(super) fn spread_ms(&self) -> f64 {
        self.latencies.max_ms() - self.latencies.min_ms()
    }
}

impl Volley {
    /// Sends every message to the clients of the pool.
    pub(super) fn fire(
        &self,
        pool: &Pool,
        sender: &mut impl Sender,
        console: Console,
    ) -> Result<Vec<Shot>, Error> {
        let bar = console.progress("publishing", self.messages.into());
        let (mut shots, mut flying, start_ns) = (Vec::new(), VecDeque::new(), now_ns());
        for number in 0..self.messages {
            sender.prepare()?;
            let due_ns = self.due_ns(start_ns, number).unwrap_or_else(now_ns);
            std::thread::sleep(Duration::from_nanos(due_ns.saturating_sub(now_ns())));
            let counts = pool.counts();
            let (clients, arrived) = (counts.present(), counts.messages + counts.present());
            let payload_bytes = self.payload_bytes;
            sender.send(&Batch { numbers: number..number + 1, due_ns, payload_bytes })?;
            flying.push_back(Flying { number, clients, due_ns });
            // In a series the next message does not wait for this one.
            let next_ns = self.due_ns(start_ns, number + 1).filter(|_| number + 1 < self.messages);
            let until_ns = next_ns.unwrap_or(due_ns + self.patience.as_nanos() as u64);
            let complete = pool.wait_messages_while(arrived, |_| until(until_ns));
            if self.interval.is_none() && !complete {
                // Whoever is late must not be counted for the next message.
                pool.wait_messages(arrived, self.patience);
            }
            self.land(pool, &mut flying, &mut shots)?;
            sender.finish()?;
            bar.set_position(u64::from(number) + 1);
        }
        // In a series the patience of the last ones is not over yet.
        while let Some(last) = flying.back() {
            let until_ns = last.due_ns + self.patience.as_nanos() as u64;
            pool.wait_messages_while(expected(&shots, &flying), |_| until(until_ns));
            pool.check()?;
            self.land(pool, &mut flying, &mut shots)?;
        }
        bar.finish_and_clear();
        Ok(shots)
    }

    /// Counts the messages whose patience is over, the eldest first; all of them if everything has arrived.
    fn land(&self, pool: &Pool, flying: &mut VecDeque<Flying>, shots: &mut Vec<Shot>) -> Result<(), Error> {
        let complete = pool.counts().messages >= expected(shots, flying);
        let is_over =
            |each: &Flying| complete || until(each.due_ns + self.patience.as_nanos() as u64).is_zero();
        while flying.front().is_some_and(is_over) {
            let eldest = flying.pop_front().map(|each| self.count(pool, &each));
            shots.extend(eldest.transpose()?);
        }
        Ok(())
    }

    fn count(&self, pool: &Pool, of: &Flying) -> Result<Shot, Error> {
        let latencies = pool.latencies_of(Measured::Message(of.number))?;
        Ok(Shot { clients: of.clients, latencies: latencies.within(self.patience) })
    }

    fn due_ns(&self, start_ns: u64, number: u32) -> Option<u64> {
        let interval = self.interval?;
        Some(start_ns + interval.as_nanos() as u64 * u64::from(number))
    }

    /// How long a series takes, if it has a plan.
    pub(super) fn planned(&self) -> Option<Duration> {
        self.interval.map(|interval| interval * self.messages)
    }

    pub(super) fn settings(&self, report: &mut Report) {
        report.setting("messages", self.messages);
        if let Some(interval) = self.interval {
            report.setting("interval_ms", interval.as_secs_f64() * 1000.0);
        }
        report.setting("payload_bytes", self.payload_bytes);
        report.setting("patience_seconds", self.patience.as_secs_f64());
    }
}

/// Deliveries of all messages so far.
fn expected(shots: &[Shot], flying: &VecDeque<Flying>) -> u64 {
    shots.iter().map(|shot| shot.clients).chain(flying.iter().map(|each| each.clients)).sum()
}

/// The time that is left.
fn until(until_ns: u64) -> Duration {
    Duration::from_nanos(until_ns.saturating_sub(now_ns()))
}
