//! One request to the private port of a server in this process, and its answer. It blocks; the server has threads of its own.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;
use trunkline::Server;

/// Status, head and body.
pub fn ask_text(server: &Server, method: &str, target: &str, body: Option<&Value>) -> (u16, String, String) {
    let mut stream = TcpStream::connect(server.private_addr()).unwrap();
    stream.set_read_timeout(Some(super::until::PATIENCE)).unwrap();
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = format!(
        "{method} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_ascii_lowercase(), body.to_owned())
}

/// Status and JSON body; null for one that is none.
pub fn ask(server: &Server, method: &str, target: &str, body: Option<Value>) -> (u16, Value) {
    let (status, _, text) = ask_text(server, method, target, body.as_ref());
    (status, serde_json::from_str(&text).unwrap_or_default())
}
