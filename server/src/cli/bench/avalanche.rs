//! `trunkline bench avalanche`. Start at [`AvalancheArgs`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use load::{
    Avalanche, Confirm, Console, OwnServer, Protocol, PublishBody, Recovery, Report, Restart, ServerCommand,
    ShellRestart, Span, Stop, Target, free_addresses,
};

use super::args::{ClientArgs, PublishArgs, RoomArgs, SpeakArgs, door, duration, recovery, span};
use crate::cli::Failure;

/// The configuration of the server we start ourselves. `cargo xtask compare` has the same for the servers that it starts: it knows
/// this program from outside only.
const CONFIG: &str = "\
[server]
state_file = \"{folder}/sessions\"

[[socketio.namespace]]
name = \"/\"
recovery = \"always\"
";

/// The same where clients speak MQTT, which the back end that `trunkline dev` brings along does not decide about.
const MQTT_CONFIG: &str = "\
[server]
state_file = \"{folder}/sessions\"

[auth]
mode = \"anonymous\"
";

/// A restart under very many clients: how long until all are back, and what they missed
#[derive(Debug, Args)]
#[command(
    after_help = "Without --restart-command a server is started as a child, `trunkline dev` with connection state \
                        recovery, at free addresses of its own, and restarted by a signal. Arguments behind -- are added \
                        to its command line; {folder} in them is a folder of its own that outlives the restart.

Exit status 1 if somebody never comes back, if fewer are recovered than expected, or if anything comes twice or out of \
                        order.

Examples:
  trunkline bench avalanche --connections 5000
  trunkline bench avalanche --signal kill --recovery off
  trunkline bench avalanche --connections 5000 -- --shards 2 --set server.drain_window_ms=3000
  trunkline bench avalanche --restart-command ./restart.sh --target http://127.0.0.1:8000
  trunkline bench avalanche --protocol mqtt --qos 1 --restart-command ./restart.sh --target mqtt://127.0.0.1:1883",
    mut_arg("target", |arg| arg.requires("restart_command")),
    mut_arg("protocol", |arg| arg.help("What clients speak: socketio or mqtt"))
)]
pub(super) struct AvalancheArgs {
    /// How many clients
    #[arg(long, value_name = "N", default_value_t = 15_000)]
    connections: u32,
    #[command(flatten)]
    speak: SpeakArgs,
    /// Messages per second, before, during and after the restart
    #[arg(long, value_name = "N", default_value_t = 2.0)]
    rate: f64,
    /// Characters of the data of each message
    #[arg(long, value_name = "N", default_value_t = 200)]
    payload_bytes: usize,
    /// Whether clients ask for the session they had: on or off
    #[arg(long, value_name = "WORD", default_value = "on", value_parser = recovery)]
    recovery: Recovery,
    /// Percent of those that come back that must be given the session they had; with 100 nothing may be lost either
    #[arg(long, value_name = "PERCENT")]
    expect_recovered: Option<f64>,
    /// How long a client stays away after it lost its connection, and after each refusal
    #[arg(long, value_name = "TIME..TIME", default_value = "500ms..5s", value_parser = span)]
    return_after: Span,
    /// Where random times begin; the same seed gives the same times
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How long we wait for the last client after the restart
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = duration)]
    patience: Duration,
    /// Shell command that restarts the server and returns when it is ready; may print the new process last
    #[arg(long, value_name = "COMMAND")]
    restart_command: Option<String>,
    /// How our own server is stopped: term or kill
    #[arg(long, value_name = "WORD", default_value = "term", conflicts_with = "restart_command")]
    signal: Stop,
    /// Program of our own server [default: this one]
    #[arg(long, value_name = "FILE", conflicts_with = "restart_command")]
    server: Option<PathBuf>,
    /// Further arguments of our own server
    #[arg(last = true, value_name = "ARGUMENT", conflicts_with = "restart_command")]
    server_arguments: Vec<String>,
    /// Private port of the server that is restarted by the command; with a path if it is not /v1/messages. Or mqtt://HOST:PORT to
    /// publish as a client, which is what happens if clients speak mqtt [default: http://127.0.0.1:9000, or the target]
    #[arg(long, value_name = "URL", requires = "restart_command", value_parser = Target::of_back_end)]
    publish_url: Option<Target>,
    #[command(flatten)]
    publish: PublishArgs,
    #[command(flatten)]
    room: RoomArgs,
    #[command(flatten)]
    pub(super) clients: ClientArgs,
}

impl AvalancheArgs {
    pub(super) fn run(&self, console: Console) -> Result<Report, Failure> {
        let mut scenario = self.scenario()?;
        if let Some(command) = &self.restart_command {
            return Ok(scenario.run(&mut ShellRestart { command: command.clone() }, console)?);
        }
        let [public, private] = free_addresses()?;
        if let PublishBody::Mqtt(_) = scenario.destination.body {
            scenario.clients.targets = vec![url("mqtt", public)?];
            scenario.destination.url = url("mqtt", public)?;
        } else {
            scenario.clients.targets = vec![url("http", public)?];
            scenario.destination.url = url("http", private)?;
        }
        let config = if scenario.protocol == Protocol::SocketIo { CONFIG } else { MQTT_CONFIG };
        let mut server = OwnServer::start(self.server((public, private), config)?)?;
        Ok(scenario.run(&mut server as &mut dyn Restart, console)?)
    }

    fn scenario(&self) -> Result<Avalanche, Failure> {
        let interval = Duration::try_from_secs_f64(1.0 / self.rate);
        let protocol = self.speak.protocol()?;
        let clients = self.clients.clients(self.connections, protocol);
        let urls: Vec<Target> = self.publish_url.iter().cloned().collect();
        let door = door(&urls, protocol, &clients);
        Ok(Avalanche {
            clients,
            protocol,
            join: self.room.join(protocol, self.publish.channel())?,
            // What is acknowledged has to be on its way, or a loss would prove nothing.
            destination: self.publish.destination(&door, (Confirm::Yes, protocol)),
            interval: interval.map_err(|_| "the rate must be above 0")?,
            payload_bytes: self.payload_bytes,
            recovery: self.recovery,
            away: self.return_after,
            seed: self.seed,
            patience: self.patience,
            expect_recovered: self.expect_recovered,
        })
    }

    fn server(
        &self,
        (public, private): (SocketAddr, SocketAddr),
        config: &str,
    ) -> Result<ServerCommand, Failure> {
        let program = match &self.server {
            Some(program) => program.clone(),
            None => std::env::current_exe()?,
        };
        let (public, private) = (public.to_string(), private.to_string());
        let own = ["dev", "--public", &public, "--private", &private, "--ready-file", "{folder}/ready.json"];
        let mut arguments: Vec<String> = own.map(str::to_owned).into();
        if !self.server_arguments.iter().any(|argument| argument.starts_with("--config")) {
            arguments.extend(["--config".into(), "{folder}/trunkline.toml".into()]);
        }
        arguments.extend(self.server_arguments.iter().cloned());
        let files = vec![("trunkline.toml".into(), config.into())];
        Ok(ServerCommand { program, arguments, files, stop: self.signal, within: self.patience })
    }
}

fn url(scheme: &str, address: SocketAddr) -> Result<Target, Failure> {
    Ok(format!("{scheme}://{address}").parse::<Target>()?)
}
