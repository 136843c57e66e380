//! MQTT inside WebSocket.
//!
//! Owns the upgrade and the bytes of a packet that is not whole. Must not know packets. Start at [`Framing::received`].

use wire::http::{HeadLimits, parse_response_head};
use wire::websocket::{
    Decoded, Decoder, Event, Opcode, UpgradeRequest, check_response, client_key, masked_frame,
    write_upgrade_request,
};

use crate::session::{NONCE, decoder, mask};

/// Where servers usually have it.
const PATH: &str = "/mqtt";

/// The subprotocol of both versions [MQTT-6.0.0-3].
const SUBPROTOCOL: &str = "mqtt";

/// Of one connection: 56 bytes.
#[derive(Debug)]
pub(crate) struct Framing {
    decoder: Decoder,
    /// Bytes of packets.
    pub(crate) held: Vec<u8>,
    index: u32,
    is_open: bool,
}

impl Framing {
    /// Asks a host for the upgrade at a path, or where it usually is. `index` tells masks apart.
    pub(crate) fn begin((host, path): (&str, &str), index: u32, out: &mut Vec<u8>) -> Self {
        let path = if path.is_empty() { PATH } else { path };
        let (key, headers) = (client_key(NONCE), [("sec-websocket-protocol", SUBPROTOCOL)]);
        write_upgrade_request(out, &UpgradeRequest { target: path, host, key: &key, headers: &headers });
        Self { decoder: decoder(), held: Vec::new(), index, is_open: false }
    }

    /// Whether packets can be said.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Takes what has come; returns how many bytes that was. Control frames are answered.
    pub(crate) fn received(&mut self, buf: &mut [u8], out: &mut Vec<u8>) -> Result<usize, String> {
        let mut start = 0;
        if !self.is_open {
            let limits = HeadLimits::default();
            let head = parse_response_head(buf, &limits).map_err(|error| error.to_string())?;
            let Some(head) = head else { return Ok(0) };
            check_response(&head, &client_key(NONCE))
                .map_err(|error| format!("upgrade refused with {}: {error}", head.status))?;
            (start, self.is_open) = (head.len, true);
        }
        loop {
            let rest = buf.get_mut(start..).unwrap_or_default();
            match self.decoder.decode(rest).map_err(|violation| violation.to_string())? {
                Decoded::NeedMore { consumed, .. } => return Ok(start + consumed),
                Decoded::Event { event, consumed } => {
                    match event {
                        Event::Binary(bytes) => self.held.extend_from_slice(&bytes),
                        Event::Text(_) => return Err("a text frame, which MQTT does not have".into()),
                        Event::Ping(payload) => masked_frame(Opcode::Pong, payload, mask(self.index), out),
                        Event::Pong(_) => {}
                        Event::Close { code, reason } => {
                            let code = code.map_or(1005, |code| code.0);
                            return Err(format!("closed by the server: {code} {reason}"));
                        }
                    }
                    start += consumed;
                }
            }
        }
    }

    /// Packets of so many bytes are dealt with. Memory is kept only for one that is not whole.
    pub(crate) fn release(&mut self, bytes: usize) {
        self.held.drain(..bytes.min(self.held.len()));
        if self.held.is_empty() {
            self.held = Vec::new();
        }
    }

    /// Says packets.
    pub(crate) fn say(&self, packets: &[u8], out: &mut Vec<u8>) {
        if !packets.is_empty() {
            masked_frame(Opcode::Binary, packets, mask(self.index), out);
        }
    }
}
