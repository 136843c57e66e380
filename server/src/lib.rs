//! Trunkline as a library: a node that holds client connections and routes messages between them and a back end.
//!
//! [`Server::start`] is the whole product; the `trunkline` program is a command line over it. Inside, `shard` owns
//! sockets and threads, `auth` who may what, `front` what clients speak, `back` what back ends use, `config` every key and limit, `state` what one process
//! leaves to the next.

pub mod auth;
pub mod back;
pub mod config;
pub mod embed;
pub mod front;
pub mod journal;
pub mod mail;
mod objects;
pub mod shard;
pub mod state;
pub mod tls;

pub use back::{
    Delivery, Invalid, OfficeError, Queue, QueueAttribute, QueueError, QueueMessage, QueueReceipt,
    QueueValue, ReceivedMessage, SentMessage,
};
pub use config::Config;
pub use embed::{
    Acceptance, Args, Ask, Asked, ClientEvent, Connect, Connected, Disconnect, Emit, Event, Events, Handle,
    Replier, Replies, Server, Session, StartError, Terms,
};
pub use hub::{Reason, Refusal, SessionId};
pub use mail::{Handshake, MqttHello, StreamHello};
