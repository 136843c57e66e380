//! The load generator behind `trunkline bench`: opens very many client connections and measures what a server does.
//!
//! Owns scenarios, the clients' event loops, measurements and their report. A scenario is a module, a protocol is a
//! value of [`Protocol`]. Sees the codecs; must not know the hub or the server, so that it can measure any server and
//! takes no short cut through ours. Start at a scenario ([`Idle`], [`Broadcast`], [`Echo`], [`Comet`], [`Fanout`],
//! [`Pairs`], [`Churn`], [`Cuts`], [`Avalanche`], [`Floor`], [`Hostile`], [`Queue`]); below it is `pool`, one event loop per core, and
//! below that `session`, the clients as bytes in, bytes out.

mod avalanche;
mod back_end;
mod broadcast;
mod churn;
mod comeback;
mod comet;
mod console;
mod cuts;
mod echo;
mod error;
mod fanout;
mod floor;
mod helper;
mod hostile;
mod http;
mod idle;
mod latency;
mod message;
pub mod mqtt;
mod pairs;
mod pool;
mod process;
mod publish;
mod queue;
mod report;
mod schedule;
mod session;
mod settle;
pub mod sqs;
mod steady;
mod still;
mod talk;
mod target;
mod verdict;

pub use avalanche::{
    Avalanche, OwnServer, Restart, Restarted, ServerCommand, ShellRestart, Stop, free_addresses,
};
pub use back_end::{BackEnd, Heard, Stopper};
pub use broadcast::{Broadcast, Volley};
pub use churn::Churn;
pub use comeback::{Cut, Recovery, Span};
pub use comet::{Comet, Journal, JournalTo, Traffic};
pub use console::{Bar, Console};
pub use cuts::Cuts;
pub use echo::{Echo, EchoPlan, Rounds, Sustained};
pub use error::Error;
pub use fanout::{Fanout, Stream};
pub use floor::Floor;
pub use helper::{Helper, serve_helper};
pub use hostile::{Attack, Bounds, Hostile};
pub use idle::Idle;
pub use pairs::Pairs;
pub use process::Pids;
pub use publish::{Confirm, Destination, PublishBody};
pub use queue::{Cargo, Queue, Stage};
pub use report::{Bars, Comparison, Histogram, Historic, Report, Series};
pub use session::{Answer, Join, Protocol};
pub use talk::Tempo;
pub use target::{Clients, Target};
