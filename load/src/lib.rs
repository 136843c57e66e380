//! The load generator behind `trunkline bench`: opens very many client connections and measures what a server does.
//!
//! Owns scenarios, the clients' event loops, measurements and their report. A scenario is a module, a protocol is a
//! value of [`Protocol`]. Sees the codecs; must not know the hub or the server, so that it can measure any server and
//! takes no short cut through ours. Start at a scenario ([`Idle`], [`Fanout`], [`Floor`], [`Hostile`]); below it is
//! `pool`, one event loop per core, and below that `session`, the clients as bytes in, bytes out.

mod avalanche;
mod comeback;
mod console;
mod cuts;
mod error;
mod fanout;
mod floor;
mod hostile;
mod idle;
mod latency;
mod message;
mod pool;
mod process;
mod publish;
mod report;
mod session;
mod settle;
mod steady;
mod target;

pub use avalanche::{
    Avalanche, OwnServer, Restart, Restarted, ServerCommand, ShellRestart, Stop, free_addresses,
};
pub use comeback::{Cut, Recovery, Span};
pub use console::Console;
pub use cuts::Cuts;
pub use error::Error;
pub use fanout::{Fanout, Stream};
pub use floor::{Floor, WriterCommand, WriterSettings, serve_writer};
pub use hostile::{Attack, Bounds, Hostile};
pub use idle::Idle;
pub use process::Pids;
pub use publish::{Confirm, Destination};
pub use report::Report;
pub use session::{Join, Protocol};
pub use target::{Clients, Target};
