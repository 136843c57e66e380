//! Publishing as a client of MQTT does: a pool of its own, of the same clients as all others.
//!
//! Owns how long answers may take. Must not know packets. Start at [`Mqtt::connect`].

use std::time::Duration;

use super::ANSWER_WITHIN;
use crate::comeback::{Comeback, CutPlan};
use crate::console::Console;
use crate::error::Error;
use crate::mqtt::{Options, Qos};
use crate::pool::{Counts, Pool, Publish};
use crate::session::{Protocol, Script};
use crate::still::Still;
use crate::target::{Clients, Target};

/// How often answers are looked for.
const LOOK_EVERY: Duration = Duration::from_micros(200);

/// Clients in an event loop of their own. Dropping it lets them leave.
pub(super) struct Mqtt {
    pool: Pool,
    host: String,
    qos: Qos,
    publishers: u32,
    is_lasting: bool,
    /// Messages that clients were told to say.
    told: u64,
}

impl Mqtt {
    /// Connects so many clients; with a comeback they are those of sessions that last.
    pub(super) fn connect(
        url: &Target,
        options: Options,
        (publishers, comeback): (u32, Option<Comeback>),
    ) -> Result<Self, Error> {
        let clients = Clients {
            targets: vec![url.clone()],
            sources: Vec::new(),
            connections: publishers,
            opening_max: publishers,
            threads: 1,
            processes: 1,
            helper: None,
        };
        let script = Script { comeback, ..Script::new(Protocol::Mqtt(options), None) };
        let pool = Pool::start(&clients, script)?;
        let (host, is_lasting) = (url.host.clone(), comeback.is_some());
        let client = Self { pool, host, qos: options.qos, publishers, is_lasting, told: 0 };
        client.pool.wait_ready(Console::Silent).map_err(|error| client.trouble(&error.to_string()))?;
        match client.pool.counts().failed {
            0 => Ok(client),
            failed => Err(client.trouble(&format!("{failed} of {publishers} publishers failed"))),
        }
    }

    pub(super) fn publishers(&self) -> u32 {
        self.publishers
    }

    pub(super) fn cut(&self, cuts: Option<CutPlan>) {
        if self.is_lasting {
            self.pool.cut(cuts);
        }
    }

    pub(super) fn lasting_counts(&self) -> Option<Counts> {
        self.is_lasting.then(|| self.pool.counts())
    }

    /// Does not wait until they have said it.
    pub(super) fn publish(&mut self, publish: Publish) -> Result<(), Error> {
        self.check(&self.pool.counts())?;
        self.told += publish.numbers.len() as u64;
        self.pool.publish(&publish);
        Ok(())
    }

    pub(super) fn wait_answered(&self) -> Result<(), Error> {
        self.wait("said", self.told, |counts| counts.said)?;
        if self.qos > Qos::AtMostOnce {
            return self.wait("acknowledged", self.told, |counts| counts.confirmed);
        }
        // A server deals with packets in their order, so that it has read what came before when it answers this.
        let signs = self.pool.counts().acks + u64::from(self.publishers);
        self.pool.ping();
        self.wait("read by the server", signs, |counts| counts.acks)
    }

    /// Waits until `measure` reaches `goal`; in vain when it has not moved for too long.
    fn wait(&self, what: &str, goal: u64, measure: impl Fn(&Counts) -> u64) -> Result<(), Error> {
        let mut still = Still::new(measure(&self.pool.counts()));
        loop {
            let counts = self.pool.counts();
            let reached = measure(&counts);
            if reached >= goal {
                return Ok(());
            }
            self.check(&counts)?;
            if still.look(reached) > ANSWER_WITHIN {
                return Err(self.trouble(&format!("only {reached} of {goal} {what}")));
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn check(&self, counts: &Counts) -> Result<(), Error> {
        self.pool.check()?;
        match counts.cut + counts.failed {
            0 => Ok(()),
            _ => Err(self.trouble("the connection was lost")),
        }
    }

    fn trouble(&self, what: &str) -> Error {
        let why = self.pool.first_failure().map(|failure| format!(": {failure}")).unwrap_or_default();
        Error::new(format!("publishing to {}: {what}{why}", self.host))
    }
}

impl Drop for Mqtt {
    fn drop(&mut self) {
        self.pool.leave(Console::Silent);
    }
}
