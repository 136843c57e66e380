//! `trunkline bench back-end`. Start at [`BackEndArgs`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use load::{BackEnd, Stopper};
use tokio::signal::unix::{SignalKind, signal};

use super::args::duration;
use crate::cli::Failure;

/// The least that a back end behind a webhook can do, to measure a server with: runs until it is stopped
#[derive(Debug, Args)]
#[command(
    after_help = "An event whose acknowledgement a client waits for is answered with its own arguments, everything
else with yes. Signatures are not looked at. The server is told of it by

  [auth]
  mode = \"back_end\"

  [[webhook]]
  name = \"echo\"
  url = \"http://127.0.0.1:8123/\"
  secrets = [\"whsec_...\"]
  types = [\"session.connect\", \"session.event\"]

SIGTERM and SIGINT end it. Then it says how many events it heard, and how many requests were at
most under way at a time: read and not answered yet. Answered at once they are few; with
--answer-after they are as many as the server allows.

With --record each event is a line {\"heard_ms\":N,\"event\":{..}}: when it was heard, in
milliseconds since 1970, and the event as it came, again if it came again. Lines are written in
groups, at the latest when nothing comes for 0.1 s.

Examples:
  trunkline bench back-end
  trunkline bench back-end --listen 127.0.0.1:9123
  trunkline bench back-end --record heard.ndjson --answer-after 5ms
  trunkline bench echo --ack --connections 1000 --outstanding 4"
)]
pub(super) struct BackEndArgs {
    /// Where it listens; port 0 takes any that is free
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8123")]
    listen: SocketAddr,
    /// How long each request waits for its answer
    #[arg(long, value_name = "TIME", default_value = "0ms", value_parser = duration)]
    answer_after: Duration,
    /// Write each event that is heard into this file, as NDJSON
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

impl BackEndArgs {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let mut back_end = BackEnd::bind(self.listen)?.answer_after(self.answer_after);
        if let Some(path) = &self.record {
            back_end = back_end.record(path)?;
        }
        stop_by_signal(back_end.stopper())?;
        println!("answering webhooks at http://{}/", back_end.address());
        let heard = back_end.run()?;
        println!(
            "{} events heard, at most {} requests under way at a time",
            heard.events, heard.most_under_way
        );
        Ok(())
    }
}

/// From when this returns no signal is lost.
fn stop_by_signal(stopper: Stopper) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let entered = runtime.enter();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    drop(entered);
    std::thread::spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                stopper.stop();
            }
        })
    });
    Ok(())
}
