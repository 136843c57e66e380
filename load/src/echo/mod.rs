//! `echo`: messages that come back to who said them, through the server and its back end.
//!
//! Owns the three ways to ask: bursts that grow until they take too long, then the highest rate that is held
//! (spray-socketio's ladder of 2014, and what it did not measure); one rate; or a number of messages always on their way.
//! Start at [`Echo::run`].

mod rounds;
mod sustained;

use std::time::Duration;

use crate::console::Console;
use crate::error::Error;
use crate::pool::Pool;
use crate::process::Pids;
use crate::report::Report;
use crate::session::{Answer, Emission, Join, Protocol, Script};
use crate::talk::{Outcome, Talk, Tempo};
use crate::target::Clients;
pub use rounds::Rounds;
pub use sustained::Sustained;

/// The topic of each client of MQTT.
const OWN_TOPIC: &str = "echo/%{i}";

/// The scenario's arguments.
#[derive(Clone, Debug)]
pub struct Echo {
    /// Who connects.
    pub clients: Clients,
    /// How.
    pub protocol: Protocol,
    /// What each client joins. Of MQTT the topic to which each is subscribed and says what comes back to it.
    pub join: Option<Join>,
    /// Event that the back end returns to its sender, with its argument. MQTT has none.
    pub event: String,
    /// How it comes back. MQTT knows but one way.
    pub answer: Answer,
    /// Characters of the data of a message.
    pub payload_bytes: usize,
    /// How messages are sent.
    pub plan: EchoPlan,
    /// How long nothing may arrive before the rest counts as lost.
    pub patience: Duration,
    /// The measured processes.
    pub server: Pids,
}

/// See [`Echo::plan`].
#[derive(Clone, Debug)]
pub enum EchoPlan {
    /// Bursts that grow, then the search for the highest rate; either may be left out.
    Ladder(Option<Rounds>, Option<Sustained>),
    /// One talk.
    Talk(Tempo, Duration),
}

impl Echo {
    /// Runs the plan.
    ///
    /// # Errors
    /// [`Error`] if nobody could be connected, arguments cannot be or the measured process is not there.
    pub fn run(&self, console: Console) -> Result<Report, Error> {
        self.protocol.check_speaking()?;
        self.server.check()?;
        let mut report = self.report();
        match &self.plan {
            EchoPlan::Ladder(rounds, sustained) => {
                if let Some(rounds) = rounds {
                    rounds.run(self, console, &mut report)?;
                }
                if let Some(sustained) = sustained {
                    sustained.run(self, console, &mut report)?;
                }
            }
            EchoPlan::Talk(tempo, duration) => {
                tempo.settings(*duration, &mut report);
                let outcome = self.talk(*tempo, *duration, console)?;
                outcome.report("echoes", &mut report);
                outcome.judge(&mut report);
            }
        }
        Ok(report)
    }

    /// New clients, so that nothing is left of an earlier run.
    fn open(&self, console: Console) -> Result<Pool, Error> {
        let pool = Pool::start(&self.clients, self.script())?;
        pool.wait_ready(console)?;
        Ok(pool)
    }

    fn script(&self) -> Script {
        if let Protocol::Mqtt(_) = self.protocol {
            let topic = self.join.as_ref().map_or(OWN_TOPIC, |join| &join.room);
            return Script::own_topic(self.protocol, topic, self.payload_bytes);
        }
        let emission = Some(Emission::answered(&self.event, self.payload_bytes, self.answer));
        Script { emission, ..Script::new(self.protocol, self.join.clone()) }
    }

    fn talk(&self, tempo: Tempo, duration: Duration, console: Console) -> Result<Outcome, Error> {
        let pool = self.open(console)?;
        let speakers = 0..self.clients.connections;
        let talk = Talk { pool: &pool, speakers, server: &self.server, patience: self.patience, console };
        let outcome = talk.run(tempo, duration)?;
        pool.leave(console);
        Ok(outcome)
    }

    fn report(&self) -> Report {
        let mut report = Report::new("echo");
        self.protocol.settings(&mut report);
        report.setting("connections", self.clients.connections);
        report.setting("payload_bytes", self.payload_bytes);
        if self.answer == Answer::Acknowledgement {
            report.note("an echo is the acknowledgement of the event");
        }
        if let Protocol::Mqtt(_) = self.protocol {
            report.note("an echo is the client's own message: it publishes to a topic to which it alone is subscribed");
        }
        report
    }
}
