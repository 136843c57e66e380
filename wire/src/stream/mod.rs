//! Streams for clients that speak plain HTTP: server-sent events, newline-delimited JSON, long polls, and
//! events both ways in WebSockets.
//!
//! Owns what a request may ask for, what a message looks like in each form, and the tokens by which a client says how far it
//! has read. Must not know who is subscribed, what a channel keeps, or how a response is framed (that is
//! [`crate::http::write_chunk`]). Start at [`Params`], then [`Form`] and [`Token`].
//!
//! What all readers of a message share is its tail; a head goes before it where a reader's own token has to be told, so that
//! a message is written once per form however many read it.
//!
//! Sources: HTML Living Standard, section 9.2, for server-sent events; the other forms are Trunkline's own.

mod content;
mod event;
mod form;
mod params;
mod position;
mod sse;

pub use event::{Around, Deed, MessageEvent, SUBPROTOCOL, Said, Wish, WishError};
pub use form::{Entry, Form, Notice, poll_answer};
pub use params::{Mode, ParamError, Params, Resume, Wanted};
pub use position::{Mark, POSITIONS_MAX, Position, Positions, Token};
pub use sse::retry;

#[cfg(test)]
mod tests;
