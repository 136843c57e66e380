//! `trunkline bench floor`. Start at [`FloorArgs`].

use clap::Args;
use load::Floor;

use super::args::{OutputArgs, StreamArgs, helper};
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
    /// Threads that write, in each process that does; 0 = one per core
    #[arg(long, value_name = "N", default_value_t = 0)]
    writers: u32,
    /// Processes that write; 0 = as many as it takes to have enough open files
    #[arg(long, value_name = "N", default_value_t = 0)]
    processes: u32,
    /// Processes of the receivers; 0 = as many as it takes to have enough open files
    #[arg(long, value_name = "N", default_value_t = 0)]
    client_processes: u32,
    /// Event loops of the receivers, of all processes together; 0 = one per core
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

impl FloorArgs {
    pub(super) fn scenario(&self) -> Result<Floor, Failure> {
        Ok(Floor {
            connections: self.connections,
            threads: self.threads,
            client_processes: self.client_processes,
            writers: self.writers,
            processes: self.processes,
            stream: self.stream.stream(self.frames_per_write),
            helper: helper()?,
        })
    }
}
