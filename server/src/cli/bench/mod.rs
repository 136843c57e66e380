//! `trunkline bench`: measures a server, ours or another one, with very many clients.
//!
//! Owns the arguments, a file for each scenario. The scenarios are the crate `load`'s, which knows nothing of this server. Start at [`Bench`].

mod args;
mod avalanche;
mod cuts;
mod fanout;
mod floor;
mod hostile;
mod idle;

use clap::Subcommand;
use load::Console;

use super::Failure;

/// Measure a server with very many clients
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Build with --release, and raise the limit of open files (ulimit -n) above the connections.

Examples:
  trunkline bench idle --connections 15000 --room-event join --server-pid 4711
  trunkline bench fanout --channel main --messages 100 --server-pid 4711 --with-floor
  trunkline bench avalanche --connections 5000"
)]
pub(super) struct Bench {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    Idle(idle::IdleArgs),
    Fanout(fanout::FanoutArgs),
    Floor(floor::FloorArgs),
    Hostile(hostile::HostileArgs),
    Cuts(cuts::CutsArgs),
    Avalanche(avalanche::AvalancheArgs),
    #[command(hide = true)]
    FloorWriter(floor::FloorWriterArgs),
}

impl Bench {
    /// Runs the scenario and prints its report; fails if the server did not do what it must, or the run is void.
    pub(super) fn run(self) -> Result<(), Failure> {
        let console = Console::detect();
        let (report, output) = match self.scenario {
            Scenario::Idle(args) => (args.scenario().run(console)?, args.clients.common.output),
            Scenario::Fanout(args) => (args.scenario()?.run(console)?, args.clients.common.output),
            Scenario::Floor(args) => (args.scenario()?.run(console)?, args.output),
            Scenario::Hostile(args) => (args.scenario().run(console)?, args.clients.common.output),
            Scenario::Cuts(args) => (args.scenario()?.run(console)?, args.clients.common.output),
            Scenario::Avalanche(args) => (args.run(console)?, args.clients.common.output),
            Scenario::FloorWriter(args) => return args.run(),
        };
        output.print(&report)
    }
}
