//! What outlives a process or crosses a node: a [`Log`] per partition, a [`Table`] of small rows, a [`Bus`] of live frames.
//!
//! The hub decides order and meaning; an implementation keeps records and replays them, and is never asked what comes
//! next. No keyspace, stream, subject, sequence or file offset of an engine crosses this boundary: [`Position`],
//! [`Rev`] and bodies are opaque to whoever does not make them.
//!
//! Writes never block: their results go to a [`Completions`] sink. Reads block and belong to the back office.
//! A record is one whole state change; no meaning depends on two records landing together, only on their order within
//! a partition.
//!
//! Start at [`Log`]. [`memory`] and [`disk`] are the implementations, [`Faulty`] makes any of them misbehave by a seed, and
//! [`contract`] holds the rules that each of them is tested against.

mod bus;
mod clock;
pub mod contract;
pub mod disk;
mod done;
mod error;
mod faulty;
mod filter;
mod log;
pub mod memory;
mod table;

pub use bus::{Answers, Bus, Frame, Inbound, Interest, Member, NodeId, Question, Reply, To};
pub use clock::{Clock, ManualClock, Timestamp, WallClock};
pub use done::{Completion, Completions, Done, Token};
pub use error::StoreError;
pub use faulty::{Faulty, Odds};
pub use hub::Partition;
pub use log::{
    Append, Caps, Durability, Entity, Log, Max, Page, Position, Record, RecordId, Snapshot, Write,
};
pub use table::{Change, Expect, Rev, Row, RowChange, RowOp, Tab, Table, Watcher};
