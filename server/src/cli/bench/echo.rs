//! `trunkline bench echo`. Start at [`EchoArgs`].

use std::time::Duration;

use clap::Args;
use load::{Answer, Echo, EchoPlan, Protocol, Rounds, Sustained, Tempo};

use super::args::{ClientArgs, RoomArgs, ServerArgs, TalkArgs, duration};
use crate::cli::Failure;

/// Arguments of the bursts and the search.
const LADDER: [&str; 9] =
    ["first", "step", "last", "pause", "limit", "hold", "hold_from", "hold_to", "hold_p99_ms"];

/// Messages that come back to their sender: growing bursts, then the highest rate that is held
#[derive(Debug, Args)]
#[command(
    after_help = "The server's back end returns --event to its sender, as the one of `trunkline dev` does. Of mqtt an
echo is the client's own message, since it is subscribed to the topic that it publishes to.

Examples:
  trunkline bench echo --connections 2000 --server-pid 4711
  trunkline bench echo --last 0 --hold 60s            only the highest rate
  trunkline bench echo --hold 0s                      only the bursts
  trunkline bench echo --rate 20000 --duration 10s    one rate
  trunkline bench echo --outstanding 1 --duration 10s each message when the one before is back
  trunkline bench echo --ack --outstanding 4          as acknowledgements, of `bench back-end`
  trunkline bench echo --protocol mqtt --rate 20000 --duration 10s --target mqtt://127.0.0.1:1883",
    mut_arg("protocol", |arg| arg.help("What clients speak: socketio or mqtt")),
    mut_arg("topic", |arg| arg.help("Topic to which each client of mqtt is subscribed and publishes [default: echo/%{i}]"))
)]
pub(super) struct EchoArgs {
    /// How many clients
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    connections: u32,
    /// Messages of the first burst
    #[arg(long, value_name = "N", default_value_t = 5_000)]
    first: u32,
    /// By how many the next burst is larger
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    step: u32,
    /// Messages of the largest burst; 0 leaves bursts out
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    last: u32,
    /// Time between two bursts
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    pause: Duration,
    /// How long a burst may take; one that takes longer is the last
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    limit: Duration,
    /// How long the highest rate must be held; 0s leaves the search out
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    hold: Duration,
    /// Messages a second with which the search begins
    #[arg(long, value_name = "N", default_value_t = 1_000.0)]
    hold_from: f64,
    /// Messages a second with which the search ends, if they are still held
    #[arg(long, value_name = "N")]
    hold_to: Option<f64>,
    /// A rate is held while 99 of 100 messages are back within so many milliseconds
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 1_000.0)]
    hold_p99_ms: f64,
    /// Instead of all that: messages a second, at times fixed beforehand
    #[arg(long, value_name = "N", group = "tempo", conflicts_with_all = LADDER)]
    rate: Option<f64>,
    /// Instead of all that: messages on their way for each client, the next one when one is back
    #[arg(long, value_name = "N", group = "tempo", conflicts_with_all = LADDER)]
    outstanding: Option<u32>,
    /// How long --rate or --outstanding lasts
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration, requires = "tempo")]
    duration: Duration,
    /// Messages come back as the acknowledgement of --event, not as an event of their own
    #[arg(long)]
    ack: bool,
    #[command(flatten)]
    talk: TalkArgs,
    #[command(flatten)]
    room: RoomArgs,
    #[command(flatten)]
    measured: ServerArgs,
    #[command(flatten)]
    pub(super) clients: ClientArgs,
}

impl EchoArgs {
    pub(super) fn scenario(&self) -> Result<Echo, Failure> {
        let protocol = self.talk.speak.protocol()?;
        let answer = if self.ack { Answer::Acknowledgement } else { Answer::Event };
        if self.ack && matches!(protocol, Protocol::Mqtt(_)) {
            return Err(Failure("--ack: MQTT has no acknowledgement that carries a message".into()));
        }
        Ok(Echo {
            clients: self.clients.clients(self.connections, protocol),
            protocol,
            join: self.room.join(protocol, "echo/%{i}")?,
            event: self.talk.event.clone(),
            answer,
            payload_bytes: self.talk.payload_bytes,
            plan: self.plan(),
            patience: self.talk.patience,
            server: self.measured.pids(),
        })
    }

    fn plan(&self) -> EchoPlan {
        let Self { first, step, last, pause, limit, hold, .. } = *self;
        let talk = |tempo| EchoPlan::Talk(tempo, self.duration);
        match (self.rate, self.outstanding) {
            (Some(rate), _) => talk(Tempo::Rate(rate)),
            (None, Some(outstanding)) => talk(Tempo::Outstanding(outstanding)),
            (None, None) => {
                let rounds = (last > 0).then_some(Rounds { first, step, last, pause, limit });
                let sustained = Sustained {
                    first_per_second: self.hold_from,
                    last_per_second: self.hold_to,
                    hold,
                    p99_ms_max: self.hold_p99_ms,
                };
                EchoPlan::Ladder(rounds, (!hold.is_zero()).then_some(sustained))
            }
        }
    }
}
