//! `trunkline bench`: measures a server, ours or another one, with very many clients.
//!
//! Owns the arguments, a file for each scenario. The scenarios are the crate `load`'s, which knows nothing of this server. Start at [`Bench`].

mod args;
mod avalanche;
mod back_end;
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
mod queue;
mod report;

pub(super) use args::duration;
use clap::Subcommand;
use load::Console;
pub(super) use queue::SigningArgs;

use super::Failure;

/// Measure a server with very many clients
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Build with --release. Where the limit of open files (ulimit -Hn) is below the number of
connections, clients are spread over several processes; a server needs a limit above its own
connections.

Every scenario prints its report as text. --json prints it as one JSON object instead, --report DIR
also writes a page with charts, and `trunkline bench report` shows several saved reports side by
side.

Examples:
  trunkline bench idle --connections 15000 --room-event join --server-pid 4711
  trunkline bench fanout --channel main --messages 100 --server-pid 4711 --with-floor
  trunkline bench fanout --connections 1000 --rate 50 --json > ours.json
  trunkline bench fanout --connections 1000 --rate 50 --report fanout-1000
  trunkline bench avalanche --connections 5000
  trunkline bench queue --messages 100000 --server-pid 4711
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
    Queue(queue::QueueArgs),
    Cuts(cuts::CutsArgs),
    Avalanche(avalanche::AvalancheArgs),
    Report(report::ReportArgs),
    BackEnd(back_end::BackEndArgs),
    /// Another process of a scenario
    #[command(hide = true)]
    Helper,
}

impl Bench {
    /// Runs the scenario and prints its report; fails if the server did not do what it must, or the run is void.
    pub(super) fn run(self) -> Result<(), Failure> {
        let console = Console::detect();
        let (report, output) = match self.scenario {
            Scenario::Idle(args) => (args.scenario()?.run(console)?, args.clients.output),
            Scenario::Broadcast(args) => (args.scenario()?.run(console)?, args.clients.output),
            Scenario::Echo(args) => (args.scenario()?.run(console)?, args.clients.output),
            Scenario::Comet(args) => (args.scenario()?.run(console)?, args.clients.output),
            Scenario::Fanout(args) => (args.scenario()?.run(console)?, args.clients.output),
            Scenario::Pairs(args) => (args.scenario()?.run(console)?, args.clients.output),
            Scenario::Churn(args) => (args.scenario()?.run(console)?, args.clients.output),
            Scenario::Floor(args) => (args.scenario()?.run(console)?, args.output),
            Scenario::Hostile(args) => (args.scenario()?.run(console)?, args.clients.output),
            Scenario::Queue(args) => (args.scenario()?.run(console)?, args.output),
            Scenario::Cuts(args) => (args.scenario()?.run(console)?, args.clients.output),
            Scenario::Avalanche(args) => (args.run(console)?, args.clients.output),
            Scenario::Report(args) => return args.run(),
            Scenario::BackEnd(args) => return args.run(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        bench: Bench,
    }

    fn parsed(arguments: &str) -> Result<Scenario, String> {
        let line = Line::try_parse_from(["bench"].into_iter().chain(arguments.split(' ')));
        line.map(|line| line.bench.scenario).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn needs(arguments: &str, missing: &str) {
        let message = parsed(arguments).unwrap_err();
        assert!(message.contains("required arguments were not provided"), "{arguments}: {message}");
        assert!(message.contains(missing), "{arguments}: {message}");
    }

    #[test]
    fn an_argument_that_would_do_nothing_is_refused() {
        needs("idle --room lobby", "--room-event <EVENT>");
        needs("avalanche --target http://127.0.0.1:1", "--restart-command <COMMAND>");
        needs("avalanche --publish-url http://127.0.0.1:1", "--restart-command <COMMAND>");
        needs("fanout --floor-writers 2", "--with-floor");
        needs("fanout --floor-processes 2", "--with-floor");
        needs("broadcast --floor-writers 2", "--with-floor");
        needs("hostile --channel lobby", "--publish-url <URL>");
        needs("echo --duration 5s", "--rate <N>");
        for unknown in ["avalanche --server-pid 1", "avalanche --confirm", "pairs --room lobby"] {
            let message = parsed(unknown).unwrap_err();
            assert!(message.contains("unexpected argument"), "{unknown}: {message}");
        }
        for contrary in
            ["echo --rate 5 --first 9", "echo --rate 5 --outstanding 1", "fanout --rate 5 --in-flight 2"]
        {
            let message = parsed(contrary).unwrap_err();
            assert!(message.contains("cannot be used with"), "{contrary}: {message}");
        }
    }

    #[test]
    fn arguments_that_belong_together_are_taken() {
        for good in [
            "idle --room lobby --room-event join",
            "avalanche --restart-command ./r --target http://127.0.0.1:1 --publish-url http://127.0.0.1:2",
            "fanout --floor-writers 2 --with-floor",
            "hostile --channel lobby --publish-url http://127.0.0.1:1",
            "echo --duration 5s --outstanding 8",
            "churn --room lobby",
            "comet --channel main",
            "queue --stages send,cycle --groups 100 --access-key-id A --access-key-secret B",
        ] {
            parsed(good).unwrap();
        }
    }

    #[test]
    fn several_servers_are_refused_where_messages_would_not_reach_all() {
        let two = "--target http://127.0.0.1:1,http://127.0.0.1:2";
        let refused = |scenario: &str| match parsed(&format!("{scenario} {two}")).unwrap() {
            Scenario::Fanout(args) => args.scenario().err(),
            Scenario::Cuts(args) => args.scenario().err(),
            Scenario::Comet(args) => args.scenario().err(),
            Scenario::Pairs(args) => args.scenario().err(),
            Scenario::Broadcast(args) => args.scenario().err(),
            other => unreachable!("{other:?}"),
        };
        for scenario in ["fanout", "cuts", "comet"] {
            let message = refused(scenario).unwrap().0;
            assert!(message.starts_with("2 of --target, but only one can be: messages are"), "{message}");
        }
        assert!(refused("pairs").unwrap().0.contains("the two of a pair"));
        assert!(refused("broadcast").is_none());
    }

    #[test]
    fn defaults_are_those_of_the_scenario() {
        let Scenario::Comet(comet) = parsed("comet").unwrap() else { unreachable!() };
        assert_eq!(comet.scenario().unwrap().destination.channel, "$user/u%{i}");
        let Scenario::Pairs(pairs) = parsed("pairs").unwrap() else { unreachable!() };
        let pairs = pairs.scenario().unwrap();
        assert_eq!((pairs.say_event.as_str(), pairs.join_event.as_str()), ("say", "join"));
        let Scenario::Echo(echo) = parsed("echo").unwrap() else { unreachable!() };
        assert_eq!(echo.scenario().unwrap().event, "echo");
    }
}
