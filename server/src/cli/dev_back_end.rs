//! The back end that `trunkline dev` brings along, so that clients can talk before there is one: a Rust program on the
//! embedding API like any other.
//!
//! Everybody is let in; `auth.user` (a string) names the user. `join` and `leave` with a room name do that; every other
//! event goes to the other clients of the namespace. Acknowledgements say that it is done.

use serde_json::json;
use trunkline::{Acceptance, Args, ClientEvent, Connect, Event, Events, OfficeError};

/// Serves until the server stops.
pub(super) async fn run(events: Events) {
    events
        .serve(|event| async {
            match event {
                ClientEvent::Connect(connect) => told(admit(connect).await),
                ClientEvent::Event(event) => told(handle(event).await),
                _ => {}
            }
        })
        .await;
}

async fn admit(connect: Connect) -> Result<(), OfficeError> {
    let user = connect.auth.get("user").and_then(|user| user.as_str()).map(str::to_owned);
    connect.accept_with(Acceptance { user, ..Acceptance::default() }).await.map(drop)
}

async fn handle(event: Event) -> Result<(), OfficeError> {
    let Event { session, name, args, reply } = event;
    let answer = match (name.as_str(), args.parse::<(String,)>()) {
        ("join", Ok((room,))) => done(session.join(&room).await)?,
        ("leave", Ok((room,))) => done(session.leave(&room).await)?,
        ("join" | "leave", Err(_)) => json!([{ "error": "the name of one room is expected" }]).into(),
        _ => session.broadcast().emit(&name, args).await.map(|_| Args::none())?,
    };
    match reply {
        Some(reply) => reply.send(answer).await,
        None => Ok(()),
    }
}

/// A refusal is told to the client: it concerns its arguments, not the server.
fn done(result: Result<(), OfficeError>) -> Result<Args, OfficeError> {
    match result {
        Ok(()) => Ok("ok".into()),
        Err(OfficeError::Refused(refusal)) => Ok(json!([{ "error": format!("{refusal:?}") }]).into()),
        Err(error) => Err(error),
    }
}

fn told(result: Result<(), OfficeError>) {
    if let Err(error) = result {
        tracing::warn!(%error, "the back end of `trunkline dev` could not answer an event");
    }
}
