//! An Engine.IO server that sends back what it gets, for the protocol's own test suites: no Socket.IO, no channels.
//!
//! `engineio_echo --ready-file PATH --config FILE` serves Engine.IO at `/engine.io/`.

#[path = "support/mod.rs"]
mod support;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (server, key) = support::start_echo("/engine.io/").await?;
    support::write_ready_file(&server, key)?;
    support::until_stopped(server).await
}
