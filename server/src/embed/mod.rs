//! Trunkline inside a Rust program: start it, read client events from a stream, publish and ask, without HTTP.
//!
//! Owns the public API only; every call goes through the back office like a REST request does. Start at
//! [`Server::start`], then [`Events`] and [`Handle`].
//!
//! ```no_run
//! use futures_util::StreamExt as _;
//! use trunkline::{ClientEvent, Config, Server};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let mut server = Server::start(Config::embedded()).await?;
//! let mut events = server.events()?;
//! while let Some(event) = events.next().await {
//!     match event {
//!         ClientEvent::Connect(connect) => connect.accept().await.map(drop)?,
//!         ClientEvent::Event(event) => event.session.emit("echo", event.args.clone()).await.map(drop)?,
//!         ClientEvent::Disconnect(gone) => println!("{} left: {}", gone.session.id(), gone.reason),
//!         _ => {}
//!     }
//! }
//! # Ok(()) }
//! ```

mod args;
mod asks;
mod by_hand;
mod emit;
mod events;
mod handle;
mod keeping;
mod node;
mod ports;
mod secret;
mod serve;
mod server;
mod unheard;

pub use args::Args;
pub use asks::{Ask, Asked, Terms};
pub use by_hand::ByHand;
pub use emit::{Emit, Replies};
pub use events::{Acceptance, ClientEvent, Connect, Connected, Disconnect, Event, Events, Replier};
pub use handle::{Handle, Session};
pub use server::{Server, StartError};
