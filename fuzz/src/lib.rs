//! Fuzz targets of the codecs, and of MQTT sessions on a whole node. Each asserts properties: the same result at any split of
//! the input, limits held, encoding and decoding inverse to each other; of sessions, what the protocol promises to clients.
//!
//! A target is a plain function of bytes. `fuzz_targets/` hands it to libFuzzer, `tests/short.rs` runs all of
//! [`TARGETS`] on stable with the files in `seeds/` and mutations of them.
//!
//! Short: `cargo test --manifest-path fuzz/Cargo.toml`. Long, in this folder:
//! `cargo +nightly fuzz run websocket corpus/websocket seeds/websocket -- -max_len=2048`.
//! A new target is a module here, a row of [`TARGETS`], a `[[bin]]` with its file, and a folder of seeds.

mod engineio;
mod http_body;
mod http_head;
mod mqtt;
mod mqtt_session;
mod socketio;
mod split;
mod sqs;
mod stream;
mod stream_socket;
mod websocket;

pub use engineio::{engineio_packet, engineio_payload};
pub use http_body::http_body;
pub use http_head::http_head;
pub use mqtt::mqtt;
pub use mqtt_session::mqtt_session;
pub use socketio::{msgpack, socketio_packet};
pub use split::Split;
pub use sqs::sqs;
pub use stream::stream;
pub use stream_socket::stream_socket;
pub use websocket::websocket;

/// A target: the name of its binary and of its folder of seeds, and how many mutations of those a short run tries.
pub type Target = (&'static str, u32, fn(&[u8]));

/// Of targets that take some microseconds.
const MANY: u32 = 20_000;

/// Of targets that start a node.
const FEW: u32 = 1_000;

/// Every target.
pub const TARGETS: &[Target] = &[
    ("http_head", MANY, http_head),
    ("http_body", MANY, http_body),
    ("websocket", MANY, websocket),
    ("engineio_packet", MANY, engineio_packet),
    ("engineio_payload", MANY, engineio_payload),
    ("socketio_packet", MANY, socketio_packet),
    ("msgpack", MANY, msgpack),
    ("mqtt", MANY, mqtt),
    ("mqtt_session", FEW, mqtt_session),
    ("sqs", MANY, sqs),
    ("stream", MANY, stream),
    ("stream_socket", MANY, stream_socket),
];

/// Runs a target on the files named on the command line, to reproduce a finding on stable.
pub fn replay(target: fn(&[u8])) {
    for path in std::env::args_os().skip(1) {
        println!("{}", path.display());
        target(&std::fs::read(&path).expect("the file can be read"));
    }
}
