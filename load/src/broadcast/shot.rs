//! One message to everybody after the other: how long each took to each client.
//!
//! Owns the times at which messages are sent. Must not know who sends them. Start at [`Volley::fire`].

use std::time::Duration;

use crate::console::Console;
use crate::error::Error;
use crate::fanout::Sender;
use crate::latency::{Latencies, now_ns};
use crate::message::Batch;
use crate::pool::Pool;
use crate::report::Report;

/// How often a wait looks.
const LOOK_EVERY: Duration = Duration::from_millis(1);

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
    /// Of each delivery, from the planned time.
    pub(super) latencies: Latencies,
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
        let clients = pool.counts().ready;
        let bar = console.progress("publishing", self.messages.into());
        let (mut shots, start_ns) = (Vec::new(), now_ns());
        for number in 0..self.messages {
            sender.prepare()?;
            let due_ns = self.due_ns(start_ns, number).unwrap_or_else(now_ns);
            std::thread::sleep(Duration::from_nanos(due_ns.saturating_sub(now_ns())));
            let counted = pool.counts().messages;
            let payload_bytes = self.payload_bytes;
            sender.send(&Batch { numbers: number..number + 1, due_ns, payload_bytes })?;
            // In a series the next message does not wait for this one.
            let next_ns = self.due_ns(start_ns, number + 1).filter(|_| number + 1 < self.messages);
            let until_ns = next_ns.unwrap_or(due_ns + self.patience.as_nanos() as u64);
            while pool.counts().messages < counted + clients && now_ns() < until_ns {
                std::thread::sleep(LOOK_EVERY);
            }
            shots.push(Shot { latencies: pool.latencies() });
            if next_ns.is_none() && pool.counts().messages < counted + clients {
                // Whoever is late must not be taken for a receiver of the next message.
                pool.wait_messages(counted + clients, self.patience);
                pool.latencies();
            }
            sender.finish()?;
            bar.set_position(u64::from(number) + 1);
        }
        bar.finish_and_clear();
        Ok(shots)
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
