//! The command line: one file per command, each with the arguments and what the command does with them.
//!
//! Commands that run a server (`dev`, `serve`) go through `run.rs`; commands that talk to one (`pub`, `sub`, `status`, `store`,
//! `queue`, `import`, `webhook`) go through `door.rs`, or, as clients of MQTT, through `mqtt/`. Must not know listeners, shards or
//! protocols. Start at [`main`].

mod bench;
mod check_config;
mod dev;
mod dev_back_end;
mod door;
mod import;
mod load;
mod log;
mod mqtt;
mod publish;
mod queue;
mod reference;
mod run;
mod serve;
mod service;
mod status;
mod store;
mod subscribe;
mod webhook;

#[cfg(test)]
mod tests;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Why a command did not do what was asked, in words for the person who typed it. Exit status 1; wrong usage is 2, which
/// is clap's.
#[derive(Debug, PartialEq, Eq)]
struct Failure(String);

impl<T: std::fmt::Display> From<T> for Failure {
    fn from(text: T) -> Self {
        Self(text.to_string())
    }
}

/// The program.
#[derive(Debug, Parser)]
#[command(name = "trunkline", version, about = ABOUT, after_help = AFTER_HELP, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const ABOUT: &str = "Holds very many client connections (Socket.IO, MQTT, plain HTTP) and routes messages between them and your back end.";

const AFTER_HELP: &str = "Examples:
  trunkline dev                       a server on this machine, ready in a second
  trunkline pub main hello            a message to all clients of Socket.IO in /
  trunkline serve --config trunkline.toml";

#[derive(Debug, Subcommand)]
enum Command {
    Dev(dev::Dev),
    Serve(serve::Serve),
    CheckConfig(check_config::CheckConfig),
    Pub(publish::Publish),
    Sub(subscribe::Subscribe),
    Status(status::Status),
    Store(store::Store),
    Queue(Box<queue::Queue>),
    Webhook(webhook::Webhook),
    Import(import::Import),
    Bench(Box<bench::Bench>),
    Reference(reference::Reference),
}

/// Reads the arguments and runs the command.
pub(crate) fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Dev(dev) => dev.run(),
        Command::Serve(serve) => serve.run(),
        Command::CheckConfig(check) => check.run(),
        Command::Pub(publish) => publish.run(),
        Command::Sub(subscribe) => subscribe.run(),
        Command::Status(status) => status.run(),
        Command::Store(store) => store.run(),
        Command::Queue(queue) => queue.run(),
        Command::Webhook(webhook) => webhook.run(),
        Command::Import(import) => import.run(),
        Command::Bench(bench) => bench.run(),
        Command::Reference(reference) => reference.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(text)) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

/// What somebody else has written, for a terminal, which obeys control characters.
fn legible(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut legible, character| {
        match character.is_control() {
            true => legible.extend(character.escape_default()),
            false => legible.push(character),
        }
        legible
    })
}

/// Writes to standard output, where a reader that went away (`| head`) is the end of the work and no failure.
fn print(text: &str) -> Result<(), Failure> {
    print_bytes(text.as_bytes())
}

/// The same for what is no text.
fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        outcome => Ok(outcome?),
    }
}
