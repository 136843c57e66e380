//! A client of Socket.IO that comes back to its session.

use std::net::SocketAddr;

use serde_json::Value;

use super::client::{WebSocket, field};

/// Where a WebSocket of Socket.IO begins.
pub const SOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

/// A client and what it knows after a while.
pub struct Recovering {
    pub socket: WebSocket,
    pub sid: String,
    pid: String,
    offset: Option<String>,
}

impl Recovering {
    /// Connects to `/`.
    pub fn new(address: SocketAddr) -> Self {
        let mut socket = WebSocket::connect(address, SOCKET);
        socket.next_text();
        socket.text("40");
        let reply = socket.next_text();
        let (sid, pid) = (field(&reply, "sid").unwrap(), field(&reply, "pid").unwrap());
        Self { socket, sid, pid, offset: None }
    }

    /// The next event's arguments, its offset noted.
    pub fn next(&mut self) -> Vec<Value> {
        let packet = self.socket.next_text();
        self.read(&packet)
    }

    fn read(&mut self, packet: &str) -> Vec<Value> {
        let json = packet.strip_prefix("42").unwrap_or_else(|| panic!("{packet}"));
        let mut values: Vec<Value> = serde_json::from_str(json).unwrap();
        self.offset = Some(values.pop().unwrap().as_str().unwrap().to_owned());
        values.remove(0);
        values
    }

    /// Comes back: the first argument of each missed event, and whether the session is still the same.
    pub fn back(&mut self, address: SocketAddr) -> (Vec<Value>, bool) {
        self.socket = WebSocket::connect(address, SOCKET);
        self.socket.next_text();
        let offset = self.offset.as_ref().map(|offset| format!(r#","offset":"{offset}""#));
        self.socket.text(&format!(r#"40{{"pid":"{}"{}}}"#, self.pid, offset.unwrap_or_default()));
        let mut missed = Vec::new();
        loop {
            let packet = self.socket.next_text();
            if packet.starts_with("40") {
                let same = field(&packet, "sid").as_ref() == Some(&self.sid);
                assert_eq!(same, field(&packet, "pid").as_ref() == Some(&self.pid));
                return (missed, same);
            }
            missed.push(self.read(&packet).remove(0));
        }
    }

    /// The first argument of each event that comes until the server closes the connection.
    pub fn rest(&mut self) -> Vec<Value> {
        let mut got = Vec::new();
        while let Some(packet) = self.socket.next_text_or_end() {
            if packet.starts_with("42") {
                got.push(self.read(&packet).remove(0));
            }
        }
        got
    }
}
