//! HTTP/1.1 (RFC 9110, RFC 9112) as a server reads and writes it, and the little a client needs.
//!
//! Owns: strict parsing of heads, incremental decoding of bodies, writing of responses and requests, query strings.
//! Must not know: routes, cookies, which protocol runs over the request, sockets.
//! Where to start: [`parse_head`], then [`BodyDecoder`] for a body and [`Reply`] for the answer.
//!
//! The parser refuses everything two servers could read differently (request smuggling, RFC 9112 section 11.2);
//! it never repairs. An idle connection keeps nothing of this module; a body in progress keeps one [`BodyDecoder`].

mod body;
mod client;
mod fields;
mod head;
mod query;
mod response;

pub use body::{BodyDecoder, BodyError, Progress};
pub use client::{Request, ResponseHead, parse_response_head, write_request};
pub use fields::{Field, Fields};
pub use head::{BodyLength, Head, HeadError, HeadLimits, parse_head};
pub use query::{is_utf_8, lookup, pairs, percent_decode, percent_encode};
pub(crate) use response::push_field;
pub use response::{BodyForm, CONTINUE, Reply, ResponseWriter, reason, write_chunk, write_last_chunk};

#[cfg(test)]
mod tests;
