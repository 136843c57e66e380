//! A blocking Socket.IO client over WebSocket, as small as it can be: joins `/`, sends packets, receives packets.
//!
//! Written for the counting stage, which must not depend on the code it measures. Start at [`Client::connect`].

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result};

/// How long anything may take under valgrind.
const PATIENCE: Duration = Duration::from_secs(60);

/// The request that begins a session without polling. The key is that of RFC 6455, section 1.3: nothing depends on it.
const UPGRADE: &str = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nhost: localhost\r\n\
    connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A text frame from a server (RFC 6455, section 5.2).
const TEXT: u8 = 0x81;

/// Set in the length when a mask follows, which a client owes; ours is zero and changes nothing.
const MASKED: u8 = 0x80;

/// One client.
pub(super) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Connects and joins the namespace `/`.
    pub(super) fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).context("a client cannot connect")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut client = Self { stream: BufReader::new(stream) };
        client.upgrade()?;
        let open = client.receive()?;
        anyhow::ensure!(open.starts_with('0'), "no session: {open}");
        client.send("40", 1)?;
        let joined = client.receive()?;
        anyhow::ensure!(joined.starts_with("40"), "not let in: {joined}");
        Ok(client)
    }

    fn upgrade(&mut self) -> Result<()> {
        self.stream.get_mut().write_all(UPGRADE.as_bytes())?;
        let mut status = String::new();
        self.stream.read_line(&mut status)?;
        anyhow::ensure!(status.contains(" 101 "), "no WebSocket: {status}");
        let mut line = status;
        while line.trim() != "" {
            line.clear();
            self.stream.read_line(&mut line)?;
        }
        Ok(())
    }

    /// Sends the same packet some times, with one write.
    pub(super) fn send(&mut self, packet: &str, times: u32) -> Result<()> {
        let mut frames = Vec::new();
        for _ in 0..times {
            frame(packet.as_bytes(), &mut frames)?;
        }
        self.stream.get_mut().write_all(&frames).context("a client cannot send")
    }

    /// The next packet.
    pub(super) fn receive(&mut self) -> Result<String> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).context("a client waits in vain")?;
        let [first, short] = head;
        anyhow::ensure!(first == TEXT && short <= 126, "a frame of another kind: {first:#x} {short:#x}");
        let mut length = u16::from(short);
        if short == 126 {
            let mut long = [0; 2];
            self.stream.read_exact(&mut long)?;
            length = u16::from_be_bytes(long);
        }
        let mut packet = vec![0; usize::from(length)];
        self.stream.read_exact(&mut packet)?;
        String::from_utf8(packet).context("a text frame holds text")
    }
}

/// Adds a text frame from a client.
fn frame(payload: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let length = u16::try_from(payload.len()).context("packets here are short")?;
    match u8::try_from(length) {
        Ok(short) if short < 126 => out.extend([TEXT, MASKED | short]),
        _ => {
            out.extend([TEXT, MASKED | 126]);
            out.extend(length.to_be_bytes());
        }
    }
    out.extend([0; 4]);
    out.extend(payload);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_both_lengths_have_a_mask_of_zeros() {
        let mut out = Vec::new();
        frame(b"40", &mut out).unwrap();
        assert_eq!(out, *b"\x81\x82\0\0\0\x0040");
        out.clear();
        frame(&[b'x'; 300], &mut out).unwrap();
        assert_eq!((&out[..8], out.len()), (b"\x81\xfe\x01\x2c\0\0\0\0".as_slice(), 308));
    }
}
