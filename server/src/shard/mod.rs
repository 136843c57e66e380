//! One thread per core with an event loop: connections, timers, mailboxes.
//!
//! Must not know what any protocol above HTTP and WebSocket framing means: that is the [`Handler`]'s. Start at [`Io`]
//! for what a handler can do and at [`Handler`] for what it is told.

mod handler;
mod handover;
mod io;
mod response;
mod stats;

pub use handler::{Closed, Cx, Handler, HubPort, Owner, Request};
pub use handover::Handover;
pub use io::{ConnKey, Io};
pub use response::Response;
pub use stats::Stats;
