//! `pairs`: messages from one client to one other, through the server and its back end.
//!
//! Owns who is whose partner: of N pairs, client k and client N + k share a room, or, of MQTT, each has a topic to which the
//! other one publishes, since a room would give everybody what they said themselves. At a rate the first half says messages
//! to the second; without one both answer each other. Start at [`Pairs::run`].

use std::time::Duration;

use crate::console::Console;
use crate::error::Error;
use crate::pool::Pool;
use crate::process::Pids;
use crate::report::Report;
use crate::session::{Emission, Join, Protocol, Script};
use crate::talk::{Talk, Tempo};
use crate::target::Clients;

/// The scenario's arguments.
#[derive(Clone, Debug)]
pub struct Pairs {
    /// Who connects; an even number.
    pub clients: Clients,
    /// How.
    pub protocol: Protocol,
    /// Event that gets a client into a room. MQTT has none.
    pub join_event: String,
    /// Event, which MQTT has not, that gets its second argument to the other members of the room that is its first.
    pub say_event: String,
    /// Characters of the data of a message.
    pub payload_bytes: usize,
    /// How they talk.
    pub tempo: Tempo,
    /// For how long.
    pub duration: Duration,
    /// How long nothing may arrive before the rest counts as lost.
    pub patience: Duration,
    /// The measured processes.
    pub server: Pids,
}

impl Pairs {
    /// Connects everybody and lets them talk.
    ///
    /// # Errors
    /// [`Error`] if nobody could be connected, arguments contradict each other or the measured process is not there.
    pub fn run(&self, console: Console) -> Result<Report, Error> {
        self.protocol.check_speaking()?;
        self.server.check()?;
        let pairs = self.clients.connections / 2;
        if pairs == 0 || self.clients.connections % 2 == 1 {
            return Err(Error::new("pairs need an even number of connections"));
        }
        let pool = Pool::start(&self.clients, self.script(pairs))?;
        pool.wait_ready(console)?;
        let talk =
            Talk { pool: &pool, speakers: 0..pairs, server: &self.server, patience: self.patience, console };
        let outcome = talk.run(self.tempo, self.duration)?;
        pool.leave(console);
        let mut report = self.report(pairs);
        outcome.report("messages", &mut report);
        outcome.judge(&mut report);
        Ok(report)
    }

    fn script(&self, pairs: u32) -> Script {
        if let Protocol::Mqtt(_) = self.protocol {
            let partner = format!("pairs/%{{i+{pairs}%{}}}", self.clients.connections);
            let emission = Some(Emission::to_topic(&partner, self.payload_bytes));
            return Script { emission, ..Script::new(self.protocol, Some(Join::to_filter("pairs/%{i}"))) };
        }
        let room = format!("pair-%{{i%{pairs}}}");
        let emission = Emission::new(&self.say_event, Some(&room), self.payload_bytes);
        let join = Join { event: self.join_event.clone(), room };
        Script { emission: Some(emission), ..Script::new(self.protocol, Some(join)) }
    }

    fn report(&self, pairs: u32) -> Report {
        let mut report = Report::new("pairs");
        self.protocol.settings(&mut report);
        report.setting("pairs", pairs);
        report.setting("payload_bytes", self.payload_bytes);
        self.tempo.settings(self.duration, &mut report);
        report
    }
}
