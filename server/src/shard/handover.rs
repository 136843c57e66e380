//! A connection between two shards: the descriptor and everything that was read or is to be written.

/// A connection on its way to another shard. Dropping it closes the connection.
#[derive(Debug)]
pub struct Handover {
    pub(super) stream: std::net::TcpStream,
}
