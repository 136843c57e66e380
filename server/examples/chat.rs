//! A chat in one file: rooms, messages to a room, and who is here. Start it, then in two terminals run a Socket.IO
//! client: `io("http://127.0.0.1:8000", {auth: {name: "ada"}})`, `emit("join", "tea")`, `emit("say", "tea", "hi")`.
//!
//! `cargo run --release --example chat`

use serde_json::{Value, json};
use trunkline::{Acceptance, ClientEvent, Config, Event, Server};

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let config = Config::embedded_with(&[
        "server.public_listen=127.0.0.1:8000",
        "server.private_listen=127.0.0.1:9000",
    ])?;
    let mut server = Server::start(config).await?;
    println!("Socket.IO on http://{}", server.public_addr());
    server.events()?.serve(|event| async { told(on(event).await) }).await;
    Ok(())
}

fn told(result: Result<(), Failure>) {
    if let Err(error) = result {
        eprintln!("{error}");
    }
}

async fn on(event: ClientEvent) -> Result<(), Failure> {
    match event {
        ClientEvent::Connect(connect) => {
            match connect.auth.get("name").and_then(Value::as_str).map(str::to_owned) {
                Some(name) => {
                    let acceptance = Acceptance { user: Some(name), ..Acceptance::default() };
                    connect.accept_with(acceptance).await.map(drop)?;
                }
                None => connect.refuse("tell me your name", Some(json!({ "field": "auth.name" }))).await?,
            }
        }
        ClientEvent::Event(event) => handle(event).await?,
        ClientEvent::Disconnect(gone) => println!("{} left: {}", gone.session.id(), gone.reason),
        _ => {}
    }
    Ok(())
}

async fn handle(event: Event) -> Result<(), Failure> {
    let Event { session, name, args, reply } = event;
    match name.as_str() {
        "join" => session.join(&args.parse::<(String,)>()?.0).await?,
        "say" => {
            let (room, text) = args.parse::<(String, String)>()?;
            let said = json!([{ "from": session.id().to_string(), "text": text }]);
            session.broadcast().to(&room).emit("said", said).await?;
        }
        other => eprintln!("unknown event {other}"),
    }
    if let Some(reply) = reply {
        reply.send("ok").await?;
    }
    Ok(())
}
