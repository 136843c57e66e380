//! Every limit of the process in one place: what it counts, its default, and what happens when it is reached.
//!
//! A limit that is announced to clients (`socketio.max_payload_bytes`), a time-out of a protocol, and the size of what is
//! kept for recovery and history stand with their sections. Must not know who enforces a limit. Start at [`Limits`].

use super::table::section;

section! {
    /// What each part may hold. "Per session" is per client and namespace, "per connection" per transport, "per shard"
    /// per thread (`server.shards`), "per node" for the whole process. 0 switches a limit off only where it says so.
    pub struct Limits at Once "limits" {
        /// Open connections of the public port. 0 derives it from the number of files the process may open, which it
        /// raises to the hard limit at the start; the checked configuration holds the resolved number. At the limit new
        /// connections are accepted and closed at once, and counted.
        connections_max: usize = 0, 0..=100_000_000 "connections per node";
        /// Sessions, connected or kept for recovery; and transports, whether they have joined a namespace or not. At the
        /// limit a handshake is answered 503 and a CONNECT closes the transport, so that clients come back later.
        sessions_max: u32 = 2_000_000, 1..=100_000_000 "sessions per shard";
        /// Members of a channel that are told of one by one as they come and go (`presence_events`), and listed by
        /// `GET /v1/presence`. Where there are more there are only counts: each coming told to each would be too much.
        presence_members_max: u32 = 1000, 0..=1_000_000 "members per channel";
        /// Channels with subscribers, history or presence. At the limit a join or publish that would make a new one
        /// fails: 503 for the back end, an event is dropped and counted.
        channels_max: u32 = 1_000_000, 1..=100_000_000 "channels per shard";

        /// Connections that have not finished their handshake. At the limit the oldest of them is closed for each new
        /// one.
        half_open_max: usize = 10_000, 1..=10_000_000 "connections per shard";
        /// Transports that have joined no namespace yet; a polling one needs no open connection for that until
        /// `socketio.connect_timeout_ms` is over. At the limit a handshake is answered 503 with `Retry-After`. Together
        /// they keep at most this many times `handshake_bytes_max`, and a few hundred bytes each; and while the back end
        /// is asked, the credentials of each CONNECT (`connect_bytes_max`, `namespaces_per_connection_max`).
        unjoined_max: usize = 10_000, 1..=100_000_000 "transports per shard";
        /// What is kept of a transport's first request for the back end: the application's query parameters and
        /// `socketio.handshake_headers`, names and values, each with 64 bytes on top. For parameters beyond it the
        /// handshake is answered 414; a header that has no room behind those listed before it is left out.
        handshake_bytes_max: usize = 8192, 256..=1_048_576 "bytes per transport";
        /// What a client may send at once before it has joined a namespace, so it has to hold a CONNECT with its
        /// credentials: one WebSocket message (close code 1009 beyond it), one request body (413 beyond it). A body
        /// that is larger and names no session is refused before it is read. `socketio.max_payload_bytes` is the
        /// limit after that, and where it is the smaller one. So a connection that has not joined makes the server hold
        /// at most `head_bytes_max` and twice this.
        connect_bytes_max: usize = 16_384, 64..=1_073_741_824 "bytes";
        /// A token of a client (`[auth.jwt]`). A longer one is refused unread. Where it comes in a packet or a head, the limits
        /// of those hold, too.
        token_bytes_max: usize = 16_384, 256..=65_536 "bytes";
        /// Handshakes of one address, MQTT's CONNECT among them. Beyond it: 429 with `Retry-After`; an MQTT connection is closed
        /// without an answer, since clients come back from that. 0 switches it off, which is right behind a
        /// proxy, where all clients have one address unless it names them (`server.proxy_protocol_from`).
        handshakes_per_address_per_second: u32 = 0, 0..=1_000_000 "handshakes per second";
        /// Messages of one address by `POST /publish`. Beyond it: 429 with `Retry-After`. In WebSockets `events_per_second` counts
        /// them. 0 switches it off.
        publishes_per_address_per_second: u32 = 0, 0..=10_000_000 "messages per second";
        /// Time to send the complete head of a request, from its first byte or from accept. Then the connection is
        /// closed. On the private port and that of SQS, too; after an answer there is `keep_alive_seconds` for the next head.
        head_timeout_ms: u64 = 10_000, 100..=600_000 "milliseconds";
        /// Time to send the complete body of a request after its head. Then it is answered 408 and the connection is
        /// closed. On the private port and that of SQS it is for each begun 64 KiB, since imports may be long.
        body_timeout_ms: u64 = 30_000, 100..=600_000 "milliseconds";
        /// Time in which something of an answer on the private port, or that of SQS, has to leave, be it 64 KiB. Then its client
        /// does not read it, and the connection is closed; while there is nothing to send, as in `GET /v1/tail`, no time runs. On the
        /// public port `write_buffer_bytes_max` is the bound.
        write_timeout_ms: u64 = 30_000, 100..=600_000 "milliseconds";
        /// A keep-alive connection without a request is closed after this time.
        keep_alive_seconds: u32 = 75, 1..=3600 "seconds";
        /// Head of a request: request line and headers. Beyond it: 431, and the connection is closed.
        head_bytes_max: usize = 16_384, 1024..=1_048_576 "bytes";
        /// Headers of a request. Beyond it: 431, and the connection is closed.
        headers_max: usize = 64, 8..=256 "headers";
        /// Query string of a request. Beyond it: 414, and the connection is closed.
        query_bytes_max: usize = 4096, 64..=65_536 "bytes";

        /// Messages that wait for one session. At the limit volatile messages are dropped; for any other the session
        /// ends with reason `slow consumer` and its transport is closed. With recovery the client is sent what it
        /// missed when it comes back. An MQTT session lives on: messages of QoS 0 go first, then the rule of the channel
        /// says which (`when_full` of `[[channel]]`: nothing more is taken, or the oldest goes), which is counted.
        outbox_messages_max: u32 = 1000, 1..=1_000_000 "messages per session";
        /// Bytes of those messages; the same happens. Frames are shared between sessions, so this is not memory per
        /// session. At least twice `message_bytes_max`, so that two large messages between two polls end nothing.
        outbox_bytes_max: u64 = 2_097_152, 1024..=1_073_741_824 "bytes per session";
        /// Encoded bytes that wait while the socket of a connection would block. As long as any wait, further messages
        /// stay in the outboxes. Beyond the limit the connection is closed with reason `slow consumer`. It has to hold
        /// one message of `message_bytes_max`, which base64 makes a third larger on polling. A connection of MQTT has in any case
        /// room for a packet of `mqtt.packet_bytes_max`.
        write_buffer_bytes_max: usize = 2_097_152, 4096..=1_073_741_824 "bytes per connection";
        /// One message with all its attachments, from either side. Beyond it: 413 for the back end, an error for a program
        /// that has the server in it, close for a client. With SSE, NDJSON and queues the encoded form may be larger. Beside
        /// it a message of the back end has room for 64 MiB of names that it is for, or kept from; beyond that: 422.
        message_bytes_max: usize = 1_048_576, 1024..=268_435_456 "bytes";
        /// Binary attachments of one packet. Beyond it the connection is closed; 422 for the back end.
        attachments_max: usize = 10, 0..=1000 "attachments";
        /// Nesting of JSON, the list of an event's arguments being a level. Beyond it the connection is closed; 400 for
        /// the back end.
        json_depth_max: usize = 64, 4..=128 "levels";

        /// Namespaces that one connection joins. At the limit a CONNECT is answered by a CONNECT_ERROR.
        namespaces_per_connection_max: usize = 16, 1..=1000 "namespaces";
        /// Channels (rooms) of one session. At the limit a join fails: 422 for the back end.
        channels_per_session_max: u32 = 1000, 1..=1_000_000 "channels";
        /// Name of a channel, and of a room after encoding. Beyond it: 422 for the back end, and a join fails.
        channel_name_bytes_max: u32 = 2048, 16..=65_535 "bytes";
        /// Events with acknowledgement that a client has sent and that are not answered yet. Beyond it the oldest is
        /// forgotten: its answer is dropped if it still comes.
        pending_acks_in_max: usize = 1000, 1..=1_000_000 "events per session";
        /// Acknowledgements that the server waits for. At the limit a further event that asks for one is not sent, and
        /// its publisher is told that the session is missing.
        pending_acks_out_max: u16 = 1000, 1..=65_535 "events per session";
        /// Publishes that wait for acknowledgements. At the limit a further one is refused: 422 for the back end.
        asks_max: u32 = 100_000, 1..=10_000_000 "publishes per shard";
        /// Events of a session that wait for the back end, one of which is in flight. At the limit reading from the
        /// connection stops. Apart from these, 16 MiB of events per shard wait for a program that takes none; then the
        /// shard reads from no client until some are taken.
        inbox_events_max: usize = 100, 1..=100_000 "events per session";
        /// Messages that a connection sends, averaged over one second; of MQTT PUBLISH, SUBSCRIBE and UNSUBSCRIBE. Beyond it
        /// reading pauses, see also `mqtt.rate_breach_seconds`. 0 switches it off.
        events_per_second: u32 = 0, 0..=10_000_000 "messages per second and connection";
        /// Bytes that a connection sends, averaged over one second. The same happens. 0 switches it off.
        bytes_per_second: u64 = 0, 0..=100_000_000_000 "bytes per second and connection";

        /// Channels and filters of one stream (`/sse`, `/ndjson`, `/poll`, `/ws`). Beyond it: 422. The positions in all of them have to
        /// fit into one header.
        stream_channels_max: usize = 100, 1..=128 "channels";
        /// Messages that `history` brings, of each channel. A larger number is lowered to it.
        stream_history_max: u32 = 1000, 0..=1_000_000 "messages";
        /// Messages in the answer to a poll. A larger `limit` is lowered to it; what is more comes with the next one.
        poll_messages_max: u32 = 1000, 1..=100_000 "messages";

        /// Bytes of all histories together. Beyond it the oldest messages of the channel that is written to go first.
        history_bytes_max: u64 = 268_435_456, 0..=1_099_511_627_776 "bytes per shard";
        /// Values that channels retain. At the limit a message that is to be retained by a channel more is refused: 97 (quota
        /// exceeded) for MQTT 5, 422 for the back end.
        retained_max: u32 = 1_000_000, 0..=1_000_000_000 "values per shard";
        /// Bytes of those values; the same happens.
        retained_bytes_max: u64 = 1_073_741_824, 0..=1_099_511_627_776 "bytes per shard";
        /// Messages that wait to be published later (`$delayed/<seconds>/<topic>` of MQTT). At the limit a further one is
        /// refused: 97 (quota exceeded) for MQTT 5; at QoS 0, and for version 3, it is dropped. With `server.state_file` those
        /// that wait outlive a server that ends in order; a crash loses them. 0 switches it off: then nobody may publish to such
        /// topics (87).
        delayed_max: u32 = 100_000, 0..=100_000_000 "messages per shard";
        /// Bytes of those messages; the same happens.
        delayed_bytes_max: u64 = 67_108_864, 0..=1_099_511_627_776 "bytes per shard";
        /// Stored subscriptions of a user. At the limit a further one is refused: 422; a line of an import is rejected. A session
        /// has at most `channels_per_session_max`; what it has no place for is left out, and counted.
        stored_per_user_max: u32 = 1000, 1..=1_000_000 "subscriptions per user";
        /// Users of whom subscriptions are stored. At the limit those of a further one are refused likewise.
        stored_users_max: u32 = 10_000_000, 0..=1_000_000_000 "users per shard";
        /// Bytes of their names and subscriptions, all of which are in memory. Beyond it nothing more is stored.
        stored_bytes_max: u64 = 4_294_967_296, 0..=1_099_511_627_776 "bytes per shard";
        /// Bans of MQTT clients and blocks of users, by client id, user or address (`/v1/bans`). At the limit a further one is refused: 422; one for
        /// flapping is not made.
        bans_max: usize = 100_000, 0..=10_000_000 "bans per shard";
        /// Tokens that are revoked (`/v1/revocations`). At the limit those that are over go; if none is, a further one is refused: 422.
        revocations_max: usize = 100_000, 0..=10_000_000 "tokens per node";
        /// Messages that wait between two threads. At the limit the sender waits: a shard stops reading from its
        /// connections, a REST request waits.
        mailbox_messages_max: usize = 65_536, 64..=16_777_216 "messages per shard";

        /// Body of a request on the private port. Beyond it: 413.
        rest_body_bytes_max: usize = 4_194_304, 1024..=1_073_741_824 "bytes";
        /// Requests with an `Idempotency-Key` that are carried out, or whose answers are kept for 24 hours. At the limit the
        /// oldest answer is forgotten; if none is kept, the request gets a 503.
        idempotency_keys_max: usize = 100_000, 1..=10_000_000 "requests per node";
        /// Bytes of those answers. Beyond it the oldest are forgotten.
        idempotency_bytes_max: usize = 67_108_864, 1024..=1_099_511_627_776 "bytes per node";
        /// Items of one page of a list. A larger `limit` is lowered to it.
        rest_page_items_max: usize = 1000, 1..=100_000 "items";
        /// Streams of `GET /v1/tail`. At the limit: 503.
        tails_max: usize = 64, 1..=10_000 "streams per node";
        /// Messages that wait for a reader of `GET /v1/tail`. Beyond it they are dropped, and a line says how many.
        tail_messages_max: usize = 10_000, 1..=10_000_000 "messages per stream";
    }
}
