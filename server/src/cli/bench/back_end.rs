//! `trunkline bench back-end`. Start at [`BackEndArgs`].

use std::net::SocketAddr;

use clap::Args;
use load::BackEnd;

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

Examples:
  trunkline bench back-end
  trunkline bench back-end --listen 127.0.0.1:9123
  trunkline bench echo --ack --connections 1000 --outstanding 4"
)]
pub(super) struct BackEndArgs {
    /// Where it listens; port 0 takes any that is free
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8123")]
    listen: SocketAddr,
}

impl BackEndArgs {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let back_end = BackEnd::bind(self.listen)?;
        println!("answering webhooks at http://{}/", back_end.address());
        match back_end.run()? {}
    }
}
