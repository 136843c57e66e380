//! The back end that the acceptance tests drive clients against; `acceptance/README.md` says what each event does.
//!
//! `acceptance --ready-file PATH --config FILE`: handlers on the embedding API, everything else as configured.
#![allow(clippy::indexing_slicing, reason = "what an object of JSON does not have is null")]

use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use trunkline::{
    Acceptance, Args, ClientEvent, Connect, Emit, Event, OfficeError, Replier, Replies, Session,
};

#[path = "support/mod.rs"]
mod support;

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Calls = Arc<Mutex<HashMap<String, u64>>>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let (mut server, key) = support::start().await?;
    let events = server.events()?;
    support::write_ready_file(&server, key)?;
    let calls = Calls::default();
    let serving = tokio::spawn(events.serve(move |event| {
        let calls = Arc::clone(&calls);
        async move {
            match event {
                ClientEvent::Connect(connect) => support::told(admit(connect).await),
                ClientEvent::Event(event) => support::told(handle(event, calls).await),
                _ => {}
            }
        }
    }));
    support::until_stopped(server).await?;
    serving.abort();
    Ok(())
}

async fn admit(connect: Connect) -> Result<(), Failure> {
    let auth = support::auth_of(&connect);
    if connect.session.namespace() == "/no" {
        return Ok(connect.refuse("Auth failed (custom namespace)", Some(json!({ "code": 7 }))).await?);
    }
    if let Some(message) = auth["refuse"].as_str() {
        return Ok(connect.refuse(message, None).await?);
    }
    if auth["unavailable"] == true {
        return Ok(connect.unavailable().await?);
    }
    if let Some(delay_ms) = auth["delayMs"].as_u64() {
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
    }
    let acceptance = Acceptance { user: auth["user"].as_str().map(str::to_owned), ..Acceptance::default() };
    let session = connect.accept_with(acceptance).await?;
    session.emit("auth", json!([auth])).await?;
    Ok(())
}

async fn handle(event: Event, calls: Calls) -> Result<(), Failure> {
    let Event { session, name, args, reply } = event;
    let answer = match name.as_str() {
        "message" => session.emit("message-back", args).await.map(|_| None)?,
        "message-with-ack" => Some(args),
        "never" => None,
        "handshake" | "join" | "leave" | "rooms" | "kick" | "kick-transport" => {
            about(&session, &name, args).await?
        }
        "flood" | "volatile" => Some(flood(&session, &name, args).await?),
        "flaky" => flaky(&args, &calls)?,
        "slow-ack" | "ask-me" | "ask-room" => {
            support::meanwhile(wait_for_clients(session, name, args, reply));
            return Ok(());
        }
        _ => publish(&session, &name, args).await?,
    };
    match (reply, answer) {
        (Some(reply), Some(answer)) => Ok(reply.send(answer).await?),
        _ => Ok(()),
    }
}

/// Events whose handler takes as long as clients take.
async fn wait_for_clients(
    session: Session,
    name: String,
    args: Args,
    reply: Option<Replier>,
) -> Result<(), Failure> {
    let answer = match name.as_str() {
        "ask-me" => return ask_me(&session, args).await,
        "ask-room" => ask_room(&session, args).await?,
        _ => {
            let mut values = args.to_values();
            tokio::time::sleep(Duration::from_millis(take_number(&mut values)?)).await;
            Args::from_values(values)?
        }
    };
    match reply {
        Some(reply) => Ok(reply.send(answer).await?),
        None => Ok(()),
    }
}

/// Events about the session itself.
async fn about(session: &Session, name: &str, args: Args) -> Result<Option<Args>, Failure> {
    Ok(match name {
        "handshake" => Some(support::handshake_of(session).into()),
        "kick" => session.disconnect().await.map(|()| None)?,
        "kick-transport" => session.close_connection().await.map(|()| None)?,
        "rooms" => {
            let mut rooms = session.rooms().await?;
            rooms.sort();
            Some(json!([rooms]).into())
        }
        _ => {
            for room in names(args.to_values().first()) {
                let done =
                    if name == "join" { session.join(&room).await } else { session.leave(&room).await };
                if let Err(OfficeError::Refused(refusal)) = &done {
                    return Ok(Some(json!({ "error": format!("{refusal:?}") }).into()));
                }
                done?;
            }
            Some("ok".into())
        }
    })
}

/// Events that publish to others.
async fn publish(session: &Session, name: &str, args: Args) -> Result<Option<Args>, Failure> {
    let mut values = args.to_values();
    let everyone = || session.handle().of(session.namespace());
    let emit: Emit = match name {
        "to-room" => session.broadcast().to(&take_text(&mut values)?),
        "to-rooms" => {
            let (rooms, except) = (names(Some(&take(&mut values))), names(Some(&take(&mut values))));
            let union = rooms.iter().fold(session.broadcast(), |emit, room| emit.to(room));
            except.iter().fold(union, |emit, room| emit.except(room))
        }
        "all" => everyone(),
        "others" => session.broadcast(),
        "all-volatile" => everyone().volatile(),
        _ => return Ok(None),
    };
    let event = take_text(&mut values)?;
    emit.emit(&event, Args::from_values(values)?).await?;
    Ok(Some("ok".into()))
}

async fn flood(session: &Session, name: &str, args: Args) -> Result<Args, Failure> {
    let (event, count, size) = args.parse::<(String, u64, usize)>()?;
    let text = "x".repeat(size);
    for i in 0..count {
        let emit = session.handle().of(session.namespace()).session(session.id());
        let emit = if name == "volatile" { emit.volatile() } else { emit };
        emit.send(&event, json!([i, text])).await?;
    }
    Ok(json!([count]).into())
}

fn flaky(args: &Args, calls: &Calls) -> Result<Option<Args>, Failure> {
    let (key, fail_n) = args.parse::<(String, u64)>()?;
    let mut calls = calls.lock().map_err(|_| "poisoned")?;
    let count = calls.entry(key).or_default();
    *count += 1;
    Ok((*count > fail_n).then(|| json!([*count]).into()))
}

async fn ask_me(session: &Session, args: Args) -> Result<(), Failure> {
    let mut values = args.to_values();
    let wait = Duration::from_millis(take_number(&mut values)?);
    let event = take_text(&mut values)?;
    let reply = session.ask(&event, Args::from_values(values)?, wait).await?;
    let asked =
        json!({ "timeout": reply.is_none(), "args": reply.map_or_else(Vec::new, |args| args.to_values()) });
    session.emit("asked", Args::from_values(vec![asked])?).await?;
    Ok(())
}

async fn ask_room(session: &Session, args: Args) -> Result<Args, Failure> {
    let mut values = args.to_values();
    let room = take_text(&mut values)?;
    let wait = Duration::from_millis(take_number(&mut values)?);
    let event = take_text(&mut values)?;
    let asking = session.broadcast().to(&room).ask(&event, Args::from_values(values)?, wait);
    let Replies { replies, missing } = asking.await?;
    let replies: Vec<Vec<Value>> = replies.iter().map(|(_, args)| args.to_values()).collect();
    Ok(Args::from_values(vec![json!({ "replies": replies, "missing": missing.len() })])?)
}

fn take(values: &mut Vec<Value>) -> Value {
    if values.is_empty() { Value::Null } else { values.remove(0) }
}

fn take_text(values: &mut Vec<Value>) -> Result<String, Failure> {
    take(values).as_str().map(str::to_owned).ok_or_else(|| "a string was expected".into())
}

fn take_number(values: &mut Vec<Value>) -> Result<u64, Failure> {
    take(values).as_u64().ok_or_else(|| "a number was expected".into())
}

/// One name or a list of names.
fn names(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(name)) => vec![name.clone()],
        Some(Value::Array(list)) => list.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}
