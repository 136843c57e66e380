//! socketioxide on axum doing what the back end of `trunkline dev` does, with the defaults of both but for the packets a
//! client may have waiting: 128 would lose messages of a burst that every other server of the comparison delivers.
//!
//! Prints `{"public","private","pid","pids"}` in one line when it serves; ends on SIGTERM or when standard input is
//! closed. It has no connection state recovery to turn on. Start at [`main`]; what clients see is in [`serve`].

use std::convert::Infallible;
use std::fmt;
use std::future::ready;
use std::net::SocketAddr;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::serve::ListenerExt as _;
use axum::{Json, Router};
use serde::de::{SeqAccess, Visitor};
use serde::ser::SerializeTuple as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};
use socketioxide::SocketIo;
use socketioxide::extract::{AckSender, Data, SocketRef, TryData};
use socketioxide::handler::ConnectHandler as _;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Packets that may wait for one client.
const WAITING_PACKETS_MAX: usize = 4096;

/// How often a client's first event looks whether the client is connected by now.
const EARLY_TURNS_MAX: u32 = 10_000;

/// Connections that may wait to be accepted, as many as the other servers of the comparison have.
const BACKLOG: u32 = 4096;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let (layer, io) = SocketIo::builder().max_buffer_size(WAITING_PACKETS_MAX).build_layer();
    io.ns("/", (async |_: SocketRef| {}).with(serve));
    let public = listen(port("--public")?)?;
    let private = listen(port("--private")?)?;
    let addresses = (public.local_addr()?.to_string(), private.local_addr()?.to_string());
    let clients = Router::new().layer(layer);
    let back_door = Router::new().route("/v1/messages", post(publish)).with_state(io);
    tokio::spawn(async move { axum::serve(public.tap_io(no_delay), clients).await });
    tokio::spawn(async move { axum::serve(private.tap_io(no_delay), back_door).await });
    let pid = std::process::id();
    println!("{}", json!({ "public": addresses.0, "private": addresses.1, "pid": pid, "pids": [pid] }));
    stopped().await
}

/// The port behind `name` in the arguments; 0, which means any, without it.
fn port(name: &str) -> Result<u16, Failure> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name).skip(1);
    Ok(arguments.next().map_or(Ok(0), |port| port.parse())?)
}

fn listen(port: u16) -> Result<TcpListener, Failure> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], port)))?;
    Ok(socket.listen(BACKLOG)?)
}

/// As the other servers of the comparison: small packets leave at once.
fn no_delay(stream: &mut TcpStream) {
    let _ = stream.set_nodelay(true);
}

/// Until SIGTERM or the end of standard input.
async fn stopped() -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut input = tokio::io::stdin();
    let mut buf = [0; 64];
    loop {
        tokio::select! {
            _ = terminate.recv() => std::process::exit(0),
            read = input.read(&mut buf) => if read.unwrap_or(0) == 0 { std::process::exit(0) },
        }
    }
}

/// What a client gives when it connects.
#[derive(Deserialize)]
struct Auth {
    user: Option<String>,
}

/// One client. What a handler does before it gives its future is done in the order of the events; futures run beside each other,
/// and echoes would come back in another order.
///
/// It is a middleware, which runs before the client is told that it is connected: an event that a client says at once would otherwise
/// find no handler.
async fn serve(socket: SocketRef, auth: TryData<Auth>) -> Result<(), Infallible> {
    if let TryData(Ok(Auth { user: Some(user) })) = auth {
        socket.join(format!("$user/{user}"));
    }
    socket.on("join", |socket: SocketRef, Data(room): Data<String>, ack: AckSender| {
        socket.join(room);
        let _ = ack.send("ok");
        ready(())
    });
    socket.on("leave", |socket: SocketRef, Data(room): Data<String>, ack: AckSender| {
        socket.leave(room);
        let _ = ack.send("ok");
        ready(())
    });
    socket.on("echo", |socket: SocketRef, Data(args): Data<Args>, ack: AckSender| {
        // Nothing can be emitted in the moment between telling the client that it is connected and noting that it is.
        let early = (!socket.connected()).then(|| socket.clone());
        let echo = move || {
            let _ = socket.emit("echo", &args);
            let _ = ack.send("ok");
        };
        let rest = match early {
            Some(early) => Some((early, echo)),
            None => {
                echo();
                None
            }
        };
        async move {
            if let Some((early, echo)) = rest {
                for _ in 0..EARLY_TURNS_MAX {
                    if early.connected() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                echo();
            }
        }
    });
    socket.on("say", async |socket: SocketRef, Data((room, data)): Data<(String, Value)>, ack: AckSender| {
        let _ = socket.to(room).emit("message", &data).await;
        let _ = ack.send("ok");
    });
    Ok(())
}

/// The body of a publish.
#[derive(Deserialize)]
struct Message {
    channel: String,
    #[serde(default = "default_event")]
    event: String,
    data: Value,
}

fn default_event() -> String {
    "message".into()
}

async fn publish(State(io): State<SocketIo>, Json(message): Json<Message>) -> (StatusCode, Json<Value>) {
    let Message { channel, event, data } = message;
    let sent = match channel.as_str() {
        "main" => io.emit(event, &data).await,
        _ => io.to(channel).emit(event, &data).await,
    };
    // A client whose queue was full is an error here; the others have the message, and the generator counts.
    (StatusCode::ACCEPTED, Json(json!({ "accepted": true, "complete": sent.is_ok() })))
}

/// Arguments of an event, however many: a tuple to serde, which is what socketioxide spreads over an event.
struct Args(Vec<Value>);

impl<'de> Deserialize<'de> for Args {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple(0, ArgsVisitor)
    }
}

impl Serialize for Args {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        self.0.iter().try_for_each(|value| tuple.serialize_element(value))?;
        tuple.end()
    }
}

struct ArgsVisitor;

impl<'de> Visitor<'de> for ArgsVisitor {
    type Value = Args;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the arguments of an event")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Args, A::Error> {
        let mut args = Vec::new();
        while let Some(value) = sequence.next_element()? {
            args.push(value);
        }
        Ok(Args(args))
    }
}
