//! A client of MQTT that publishes to a server in this process, or hears what others publish.

use std::time::Instant;

use load::mqtt::{Connection, Login, Message, Properties, Qos, Session, Trust, Version};
use trunkline::Server;

use super::until::PATIENCE;

/// Of this id, with a session that lasts; without one for an empty id.
pub fn client(server: &Server, id: &str) -> Connection {
    connect(server, login(id))
}

pub fn login(id: &str) -> Login {
    Login {
        version: Version::V5,
        client_id: id.to_owned(),
        user: None,
        password: None,
        session: if id.is_empty() { Session::New } else { Session::Lasting(3600) },
        keep_alive_seconds: 0,
        will: None,
        user_properties: Vec::new(),
    }
}

pub fn connect(server: &Server, login: Login) -> Connection {
    let address = format!("mqtt://{}", server.public_addr()).parse().unwrap();
    Connection::open(&address, &Trust::default(), &login, PATIENCE).unwrap()
}

pub fn message(topic: &str, payload: impl AsRef<[u8]>, qos: Qos) -> Message {
    let (topic, payload) = (topic.to_owned(), payload.as_ref().to_vec());
    Message { topic, payload, qos, retain: false, properties: Properties::default() }
}

/// The next message.
pub fn next(client: &mut Connection) -> Message {
    client.receive(Some(Instant::now() + PATIENCE)).unwrap().expect("a message").message
}

/// Its payload.
pub fn text(message: Message) -> String {
    String::from_utf8(message.payload).unwrap()
}
