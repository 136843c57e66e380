//! Counters and gauges of a shard, declared once with their documentation: metrics and reference pages come from here.
//!
//! Must not know how they are shown. Start at [`Stats`].

/// Whether a figure only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatKind {
    /// Grows from 0 at the start of the shard.
    Counter,
    /// The present state.
    Gauge,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Stat {
    /// Name, without prefix: `connections`.
    pub name: &'static str,
    /// What kind of figure.
    pub kind: StatKind,
    /// What it counts.
    pub doc: &'static str,
}

macro_rules! stats {
    ($( $kind:ident $name:ident = $doc:literal; )+) => {
        /// A snapshot of a shard's figures.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Stats {
            $( #[doc = $doc] pub $name: u64, )+
        }

        /// All figures, in the order of [`Stats::values`].
        pub const STATS: &[Stat] =
            &[$( Stat { name: stringify!($name), kind: StatKind::$kind, doc: $doc }, )+];

        impl Stats {
            /// The figures in the order of [`STATS`].
            #[must_use]
            pub fn values(&self) -> [u64; STATS.len()] {
                [$( self.$name, )+]
            }

            /// Adds another shard's figures to these.
            pub fn add(&mut self, other: &Self) {
                $( self.$name += other.$name; )+
            }
        }
    };
}

stats! {
    Gauge connections = "Open connections.";
    Gauge websockets = "Connections that are WebSockets.";
    Gauge streams = "Connections that speak a protocol of bytes (MQTT), bare or inside a WebSocket.";
    Gauge answers = "HTTP answers that go on (server-sent events, lines of JSON).";
    Gauge held = "HTTP requests that wait for an answer (long polls).";
    Gauge half_open = "Connections that have not sent a complete request head, or CONNECT, yet.";
    Gauge blocked = "Connections with bytes in their write buffer.";
    Gauge write_buffer_bytes = "Bytes in write buffers.";
    Gauge upcalls_waiting = "Client events that the back office has not taken yet.";
    Gauge posts_waiting = "Messages that other shards have not taken yet.";
    Gauge entries_waiting = "Changes of what is kept that are not yet safe.";
    Gauge stalled_ms = "Milliseconds for which nothing has been read from clients, as the back office or another shard is behind.";
    Counter accepted = "Connections accepted.";
    Counter refused_connections_max = "Connections closed at accept: limits.connections_max.";
    Counter refused_files = "Connections closed at accept: the process has no free file descriptor.";
    Counter refused_proxy_headers = "Connections from server.proxy_protocol_from closed for want of a PROXY header.";
    Counter refused_handshakes = "Handshakes refused: limits.handshakes_per_address_per_second.";
    Counter refused_publishes = "Messages by POST refused: limits.publishes_per_address_per_second.";
    Counter closed_half_open = "Connections closed in favour of newer ones: limits.half_open_max.";
    Counter closed_unknown = "Connections closed because their first byte begins no protocol that is spoken here.";
    Counter closed_peer = "Connections ended by the peer.";
    Counter closed_error = "Connections that failed, by a reset or in TLS.";
    Counter closed_violation = "WebSockets closed because the peer broke the protocol.";
    Counter closed_too_long = "Connections closed because of limits.write_buffer_bytes_max.";
    Counter closed_timeout = "Connections closed by a time-out of head, body, keep-alive or writing.";
    Counter closed_handler = "Connections closed by decision of the protocol layer, or after the last answer.";
    Counter tls_handshakes = "TLS handshakes completed.";
    Counter tls_failures = "Connections on which TLS failed.";
    Counter requests = "HTTP requests.";
    Counter requests_refused = "HTTP requests answered with an error before they reached a protocol.";
    Counter upgrades = "Connections that became WebSockets, streams in them included.";
    Counter messages_in = "WebSocket messages received.";
    Counter bytes_in = "Bytes received, after TLS.";
    Counter bytes_out = "Bytes accepted by sockets, before TLS.";
    Counter reads = "System calls that read from a connection.";
    Counter writes = "System calls that wrote to a connection.";
    Counter pieces_out = "Frames and answers staged for writing.";
    Counter handovers_out = "Connections handed to another shard.";
    Counter handovers_in = "Connections taken from another shard.";
    Counter mail_in = "Messages from the back office.";
    Counter posts_in = "Messages from other shards.";
    Counter posts_out = "Messages to other shards.";
    Counter upcalls = "Client events for the back office.";
    Counter reports = "Answers to the back office.";
    Counter entries = "Changes of what is kept beyond the life of the process.";
    Counter queue_copies = "Messages and events of clients put into queues by bindings and namespaces.";
    Counter queue_copies_failed = "Messages and events of clients that are not in the queue they are for: too large, or no queue, or no room.";
    Counter timers = "Deadlines that came.";
    Counter turns = "Turns of the event loop.";
    Counter turns_stalled = "Turns without reading from clients, as the back office or another shard was behind.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_values_go_together() {
        let mut stats = Stats { turns: 7, connections: 2, ..Stats::default() };
        stats.add(&Stats { turns: 3, ..Stats::default() });
        let value = |name| {
            let row = STATS.iter().position(|row| row.name == name).unwrap();
            stats.values()[row]
        };
        assert_eq!((value("turns"), value("connections")), (10, 2));
        assert!(STATS.iter().all(|row| row.doc.ends_with('.')));
    }
}
