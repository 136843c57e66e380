//! The msgpack parser (npm socket.io-msgpack-parser): one packet is one binary message, a map
//! `{type, data, nsp, id?}`, binary values in place.
//!
//! Owns the translation between msgpack and JSON text with attachments, in both directions and without a tree. Must
//! not know what a valid packet is: fields go through the same checks as those of the default parser.

mod read;
mod write;

pub(super) use read::decode;
pub(super) use write::encode;

/// Whether the first message of a connection says that the client uses this parser: it is binary, and a packet is a
/// map of at most 15 entries, whose first byte is `80` to `8f`. The default parser begins with text.
pub(super) fn is_first_message(data: &[u8]) -> bool {
    matches!(data.first(), Some(0x80..=0x8f))
}

#[cfg(test)]
mod tests;
