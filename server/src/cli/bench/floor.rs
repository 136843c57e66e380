//! `trunkline bench floor`, and its other process. Start at [`FloorArgs`].

use clap::Args;
use load::{Floor, WriterSettings};

use super::args::{OutputArgs, StreamArgs, floor_writer};
use crate::cli::Failure;

/// What the kernel alone costs: bare writes of the same frames to as many sockets
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  trunkline bench floor --connections 10000 --messages 100
  trunkline bench floor --connections 10000 --messages 3200 --frames-per-write 32")]
pub(super) struct FloorArgs {
    /// How many sockets
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    connections: u32,
    #[command(flatten)]
    stream: StreamArgs,
    /// Frames in one write
    #[arg(long, value_name = "N", default_value_t = 1)]
    frames_per_write: u32,
    /// Threads that write; 0 = one per core
    #[arg(long, value_name = "N", default_value_t = 0)]
    writers: u32,
    /// Event loops of the receivers; 0 = one per core
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// The other process of the floor
#[derive(Debug, Args)]
pub(super) struct FloorWriterArgs {
    #[arg(long)]
    connections: u32,
    #[arg(long)]
    writers: u32,
}

impl FloorArgs {
    pub(super) fn scenario(&self) -> Result<Floor, Failure> {
        Ok(Floor {
            connections: self.connections,
            threads: self.threads,
            writers: self.writers,
            stream: self.stream.stream(self.frames_per_write),
            writer: floor_writer()?,
        })
    }
}

impl FloorWriterArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        let settings = WriterSettings { connections: self.connections, writers: self.writers };
        Ok(load::serve_writer(settings, std::io::stdin().lock(), std::io::stdout().lock())?)
    }
}
