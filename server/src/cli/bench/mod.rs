//! `trunkline bench`: measures a server, ours or another one, with very many clients.
//!
//! Owns the arguments, a file for each scenario. The scenarios are the crate `load`'s, which knows nothing of this server. Start at [`Bench`].

mod args;
mod avalanche;
mod broadcast;
mod churn;
mod comet;
mod cuts;
mod echo;
mod fanout;
mod floor;
mod hostile;
mod idle;
mod pairs;
mod report;

use clap::Subcommand;
use load::Console;

use super::Failure;

/// Measure a server with very many clients
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Build with --release. Where the limit of open files (ulimit -Hn) is below the number of connections, clients
are spread over several processes; a server needs a limit above its own connections.

Every scenario prints its report as text. --json prints it as one JSON object instead, --report DIR also
writes a page with charts, and `trunkline bench report` shows several saved reports side by side.

Examples:
  trunkline bench idle --connections 15000 --room-event join --server-pid 4711
  trunkline bench fanout --channel main --messages 100 --server-pid 4711 --with-floor
  trunkline bench fanout --connections 1000 --rate 50 --json > ours.json
  trunkline bench fanout --connections 1000 --rate 50 --report fanout-1000
  trunkline bench avalanche --connections 5000
  trunkline bench report ours.json theirs.json --report compared"
)]
pub(super) struct Bench {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    Idle(idle::IdleArgs),
    Broadcast(broadcast::BroadcastArgs),
    Echo(echo::EchoArgs),
    Comet(comet::CometArgs),
    Fanout(fanout::FanoutArgs),
    Pairs(pairs::PairsArgs),
    Churn(churn::ChurnArgs),
    Floor(floor::FloorArgs),
    Hostile(hostile::HostileArgs),
    Cuts(cuts::CutsArgs),
    Avalanche(avalanche::AvalancheArgs),
    Report(report::ReportArgs),
    /// Another process of a scenario
    #[command(hide = true)]
    Helper,
}

impl Bench {
    /// Runs the scenario and prints its report; fails if the server did not do what it must, or the run is void.
    pub(super) fn run(self) -> Result<(), Failure> {
        let console = Console::detect();
        let (report, output) = match self.scenario {
            Scenario::Idle(args) => (args.scenario().run(console)?, args.clients.common.output),
            Scenario::Broadcast(args) => (args.scenario()?.run(console)?, args.clients.common.output),
            Scenario::Echo(args) => (args.scenario().run(console)?, args.clients.common.output),
            Scenario::Comet(args) => (args.scenario().run(console)?, args.clients.common.output),
            Scenario::Fanout(args) => (args.scenario()?.run(console)?, args.clients.common.output),
            Scenario::Pairs(args) => (args.scenario().run(console)?, args.clients.common.output),
            Scenario::Churn(args) => (args.scenario().run(console)?, args.clients.common.output),
            Scenario::Floor(args) => (args.scenario()?.run(console)?, args.output),
            Scenario::Hostile(args) => (args.scenario().run(console)?, args.clients.common.output),
            Scenario::Cuts(args) => (args.scenario()?.run(console)?, args.clients.common.output),
            Scenario::Avalanche(args) => (args.run(console)?, args.clients.common.output),
            Scenario::Report(args) => return args.run(),
            Scenario::Helper => return help(),
        };
        output.print(&report)
    }
}

/// Does what the parent process says on standard input.
fn help() -> Result<(), Failure> {
    let input = std::io::BufReader::new(std::io::stdin());
    Ok(load::serve_helper(input, std::io::stdout().lock())?)
}
