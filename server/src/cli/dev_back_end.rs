//! The back end that `trunkline dev` brings along, so that clients can talk before there is one: a Rust program on the
//! embedding API like any other.
//!
//! Everybody is let in; `auth.user` (a string) names the user. `join` and `leave` with a room name do that; `echo` comes
//! back to its sender as it is; `say` with a room name and more goes to the other members of that room as `message`; every
//! other event goes to the other clients of the namespace. Acknowledgements say that it is done, or why not.

use serde_json::json;
use trunkline::{Acceptance, Args, ClientEvent, Connect, Event, Events, OfficeError, Session};

/// Serves until the server stops.
pub(super) async fn run(events: Events) {
    events
        .serve(|event| async {
            match event {
                ClientEvent::Connect(connect) => told(admit(connect).await),
                ClientEvent::Ask(ask) => told(ask.allow().await),
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
    // What waits for an answer of the server is boxed: it would make the future of every event as large as its own.
    let outcome = match name.as_str() {
        "join" | "leave" => Box::pin(membership(&session, &name, &args)).await,
        "echo" => echo(&session, args).await,
        "say" => say(&session, &args).await,
        _ => Box::pin(session.broadcast().emit(&name, args)).await.map(|_| Args::none()),
    };
    let (answer, failed) = match outcome {
        Ok(answer) => (answer, Ok(())),
        Err(error) => (json!([{ "error": error.to_string() }]).into(), Err(error)),
    };
    match reply {
        // Whoever waits for an acknowledgement would wait for ever.
        Some(reply) => reply.send(answer).await.and(failed),
        None => failed,
    }
}

async fn membership(session: &Session, name: &str, args: &Args) -> Result<Args, OfficeError> {
    match args.parse::<(String,)>() {
        Ok((room,)) if name == "join" => done(session.join(&room).await),
        Ok((room,)) => done(session.leave(&room).await),
        Err(_) => Ok(json!([{ "error": "the name of one room is expected" }]).into()),
    }
}

/// Back to the sender alone. Whether it is still there is of no interest.
async fn echo(session: &Session, args: Args) -> Result<Args, OfficeError> {
    let own = session.handle().of(session.namespace()).session(session.id());
    own.send("echo", args).await.map(|_| Args::none())
}

/// To the other members of a room.
async fn say(session: &Session, args: &Args) -> Result<Args, OfficeError> {
    let mut values = args.to_values();
    let Some(room) = values.first().and_then(|room| room.as_str()).map(str::to_owned) else {
        return Ok(json!([{ "error": "the name of a room is expected, and what to say" }]).into());
    };
    values.remove(0);
    let Ok(args) = Args::from_values(values) else {
        return Ok(json!([{ "error": "this cannot be said" }]).into());
    };
    match session.broadcast().to(&room).send("message", args).await {
        Ok(_) => Ok(Args::none()),
        Err(error) => done(Err(error)),
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
