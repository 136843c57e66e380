//! Instructions and write calls of one delivery: `trunkline serve` under valgrind, with clients that relay to each other.
//!
//! Only instructions of the server's own process in user space are counted, system calls not. Two runs differ in
//! nothing but the number of messages, and only their difference is looked at: start, handshakes and end cancel out.
//! Each message is waited for by everybody before the next is sent, so both runs take the same turns however slow the
//! machine is. Start at [`costs`].

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::product::Product;
use super::subscriber::Client;

/// Who receives; small beside usual limits of open files, large beside what a message costs once.
const SUBSCRIBERS: u32 = 500;

/// Characters of a message's data.
const DATA_BYTES: usize = 200;

/// One shard, so that nothing depends on which one a connection comes to. No pings within a run.
const CONFIGURATION: &str = r#"
[server]
public_listen = "127.0.0.1:0"
private_listen = "127.0.0.1:0"
shards = 1
drain_window_ms = 0

[auth]
mode = "anonymous"

[socketio]
ping_interval_ms = 300000

[[socketio.namespace]]
name = "/"
events = "relay"
"#;

/// How messages come.
pub(super) struct Scenario {
    /// Messages at once.
    batch: u32,
    /// Batches of the two runs.
    rounds: (u32, u32),
}

/// Each message alone.
pub(super) const ONE_MESSAGE: Scenario = Scenario { batch: 1, rounds: (10, 110) };

/// Messages that arrive with one read and leave with one write for each connection.
pub(super) const BATCH: Scenario = Scenario { batch: 32, rounds: (2, 12) };

/// What one delivery costs.
pub(super) struct Costs {
    pub(super) instructions: f64,
    pub(super) writes: f64,
}

/// What one run counted.
struct Run {
    deliveries: u64,
    instructions: u64,
    writes: u64,
}

/// Measures with two runs.
pub(super) fn costs(product: &Product, scenario: &Scenario) -> Result<Costs> {
    let few = run(product, scenario.batch, scenario.rounds.0)?;
    let many = run(product, scenario.batch, scenario.rounds.1)?;
    let deliveries = many.deliveries - few.deliveries;
    let each = |few: u64, many: u64| many.saturating_sub(few) as f64 / deliveries as f64;
    Ok(Costs {
        instructions: each(few.instructions, many.instructions),
        writes: each(few.writes, many.writes),
    })
}

fn run(product: &Product, batch: u32, rounds: u32) -> Result<Run> {
    let (configuration, counted) = (product.file("fanout.toml"), product.file("cachegrind.out"));
    std::fs::write(&configuration, CONFIGURATION).context("the configuration of the server")?;
    let server = product.start(serve(product, &configuration, &counted))?;
    let mut sender = Client::connect(server.public)?;
    let mut subscribers =
        (0..SUBSCRIBERS).map(|_| Client::connect(server.public)).collect::<Result<Vec<_>>>()?;
    for _ in 0..rounds {
        deliver(&mut sender, &mut subscribers, batch)?;
    }
    let writes = server.writes()?;
    server.stop()?;
    let text = std::fs::read_to_string(&counted).context("what valgrind counted")?;
    let instructions = instructions(&text).context("valgrind's file has no line `summary:`")?;
    Ok(Run { deliveries: u64::from(SUBSCRIBERS * rounds * batch), instructions, writes })
}

fn serve(product: &Product, configuration: &Path, counted: &Path) -> Command {
    let mut command = Command::new("valgrind");
    command.args(["--quiet", "--tool=cachegrind", "--cache-sim=no"]);
    command.arg(format!("--cachegrind-out-file={}", counted.display()));
    command.arg(&product.binary).arg("serve").arg("--config").arg(configuration);
    // What a disk costs is not counted here.
    command.arg("--memory");
    command
}

/// Sends messages at once and waits until everybody has each of them.
fn deliver(sender: &mut Client, subscribers: &mut [Client], batch: u32) -> Result<()> {
    let packet = format!(r#"42["message","{}"]"#, "x".repeat(DATA_BYTES));
    sender.send(&packet, batch)?;
    for subscriber in subscribers {
        for _ in 0..batch {
            let received = subscriber.receive()?;
            anyhow::ensure!(received == packet, "a subscriber was sent {received:.100}");
        }
    }
    Ok(())
}

/// The only event that is counted without a simulated cache.
fn instructions(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("summary:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_all_instructions_is_found() {
        let text = "desc: I1 cache: none\ncmd: a b\nevents: Ir\nfl=a\nfn=b\n1 20\nsummary: 33261031\n";
        assert_eq!(instructions(text), Some(33_261_031));
        assert_eq!(instructions("events: Ir\n"), None);
    }
}
