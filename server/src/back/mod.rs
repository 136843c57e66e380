//! The back office: everything an ordinary back end touches, on tokio beside the shards.
//!
//! It asks shards through [`Office`] and never waits inside one. It must not know any client protocol; what a
//! message looks like to a client is the front's business. Where the server is a client itself, `bridge` speaks MQTT and `webhook` HTTP. Start at [`office`], then [`rest`].

pub mod batch;
pub(crate) mod bindings;
pub(crate) mod bridge;
pub mod checked;
pub(crate) mod dial;
pub mod gather;
mod imports;
pub(crate) mod keys;
mod members;
pub mod metrics;
mod moment;
pub mod office;
pub(crate) mod port;
pub(crate) mod queues;
pub mod rest;
pub(crate) mod revocations;
pub(crate) mod rows;
mod sock_diag;
pub(crate) mod sqs;
pub mod storage;
pub(crate) mod sys;
pub(crate) mod turns;
mod users;
pub mod values;
pub(crate) mod webhook;

pub use checked::Invalid;
pub use gather::{Delivery, Reply};
pub use office::{Office, OfficeError, OfficePorts};
pub use rest::TailSink;
pub use sqs::{
    Queue, QueueAttribute, QueueError, QueueMessage, QueueReceipt, QueueValue, ReceivedMessage, SentMessage,
};
pub use storage::Storage;
pub use webhook::webhook_warnings;
