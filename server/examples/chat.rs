//! The chat of `examples/chat-rust`: Trunkline is inside the program, which is the back end, without HTTP in between.
//!
//! `cargo run --release --example chat [examples/chat-rust/trunkline.toml]`, then open `examples/chat/page.html`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use trunkline::config::{Machine, SourceFile, Sources};
use trunkline::{Args, ClientEvent, Config, Event, Handle, Server, SessionId};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A room of the namespace `/` is the channel of that name.
const ROOM: &str = "chat/tea";
const NAME_MAX: usize = 20;
const TEXT_MAX: usize = 500;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut server = Server::start(config()?).await?;
    println!("clients on http://{}", server.public_addr());
    println!("REST on http://{}", server.private_addr());
    let chat = Arc::new(Chat { handle: server.handle(), names: Mutex::default() });
    let handler = move |event| {
        let chat = Arc::clone(&chat);
        async move {
            if let Err(error) = chat.on(event).await {
                eprintln!("{error}");
            }
        }
    };
    server.events()?.serve(handler).await;
    Ok(())
}

/// Of the file; variables as `TRUNKLINE_SERVER__PUBLIC_LISTEN` win over it.
fn config() -> Result<Config, Failure> {
    let name = std::env::args().nth(1).unwrap_or_else(|| "examples/chat-rust/trunkline.toml".to_owned());
    let text = std::fs::read_to_string(&name).map_err(|error| format!("{name}: {error}"))?;
    let file = Some(SourceFile { name, text });
    let sources = Sources { file, environment: std::env::vars().collect(), ..Sources::default() };
    Ok(Config::load(&sources, Machine::detect()).map_err(|problems| problems.to_string())?.config)
}

struct Chat {
    handle: Handle,
    /// Of those who have joined.
    names: Mutex<HashMap<SessionId, String>>,
}

impl Chat {
    async fn on(&self, event: ClientEvent) -> Result<(), Failure> {
        match event {
            ClientEvent::Connect(connect) => drop(connect.accept().await?),
            ClientEvent::Event(event) => self.answer(event).await?,
            ClientEvent::Disconnect(gone) => {
                let name = self.names().remove(&gone.session.id());
                if let Some(name) = name {
                    self.publish("notice", json!([{ "text": format!("{name} has left") }])).await?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    async fn answer(&self, event: Event) -> Result<(), Failure> {
        let Event { session, name, args, reply } = event;
        let text = text_of(&args);
        let answer = match name.as_str() {
            "join" => self.join(session.id(), &text).await?,
            "say" => self.say(session.id(), &text).await?,
            other => error("unknown", &format!("Nobody knows {other}.")),
        };
        if let Some(reply) = reply {
            reply.send(answer).await?;
        }
        Ok(())
    }

    async fn join(&self, session: SessionId, name: &str) -> Result<Value, Failure> {
        if name.is_empty() || name.chars().count() > NAME_MAX {
            return Ok(error("name", "A name has 1 to 20 characters."));
        }
        self.names().insert(session, name.to_owned());
        self.publish("notice", json!([{ "text": format!("{name} is here") }])).await?;
        Ok(json!([]))
    }

    async fn say(&self, session: SessionId, text: &str) -> Result<Value, Failure> {
        let Some(name) = self.names().get(&session).cloned() else {
            return Ok(error("join", "Join first."));
        };
        if text.is_empty() || text.chars().count() > TEXT_MAX {
            return Ok(error("text", "A message has 1 to 500 characters."));
        }
        self.publish("said", json!([{ "from": name, "text": text }])).await?;
        Ok(json!([]))
    }

    /// To whoever listens to the channel, by whatever protocol.
    async fn publish(&self, event: &str, args: Value) -> Result<(), Failure> {
        self.handle.of("/").to(ROOM).emit(event, args).await?;
        Ok(())
    }

    fn names(&self) -> std::sync::MutexGuard<'_, HashMap<SessionId, String>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The only argument, without the space around it; nothing if it is none, or no text.
fn text_of(args: &Args) -> String {
    args.parse::<(String,)>().map_or_else(|_| String::new(), |(text,)| text.trim().to_owned())
}

/// An acknowledgement that says what is wrong.
fn error(code: &str, message: &str) -> Value {
    json!([{ "error": { "code": code, "message": message } }])
}
