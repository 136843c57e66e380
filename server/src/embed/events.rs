//! Client events as a `Stream`: who asks to connect, what they send, who left. Of Socket.IO clients and, with `auth.mode =
//! "back_end"`, of the coming and going of MQTT clients and streams.
//!
//! Taking the stream makes the program the back end. It is bounded: a program that does not read it slows its
//! clients down (the shards stop reading from them) instead of filling memory.

use super::args::Args;
use super::asks::Ask;
use super::handle::{Handle, Session};
use crate::auth::Grant;
use crate::back::checked::{check_body, check_identity};
use crate::back::office::{Office, OfficeError};
use crate::back::turns::UpcallStream;
use crate::mail::{
    Admission, Denial, Handshake, Hello, Mail, MqttHello, Speaks, StreamHello, Upcall, Upcalls,
};
use bytes::Bytes;
use futures_core::Stream;
use hub::{Body, Command, Reason, SessionId};
use serde_json::Value;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc;
use wire::values::{EventName, Values};

/// Something a client did.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientEvent {
    /// Asks to connect, to a namespace or under a client id: accept or refuse. Dropped unanswered, the client waits for its
    /// time-out.
    Connect(Connect),
    /// A client of MQTT was let in and has a session, or its own again.
    Connected(Connected),
    /// Wants to subscribe to a channel, or to publish on it, whose rule says `webhook`: say whether it may. Dropped unanswered,
    /// the client waits for its time-out.
    Ask(Ask),
    /// Sent an event.
    Event(Event),
    /// Came back with nothing missing (connection state recovery); nothing to decide.
    Recovered(Session),
    /// Lost its connection or left.
    Disconnect(Disconnect),
    /// Could have come back, did not: its state is gone now.
    Expired(Session),
}

/// A client that asks to connect to a namespace, by MQTT, or for a stream.
#[derive(Debug)]
pub struct Connect {
    /// The session it will have when accepted; its id is known already. A client of MQTT gets its session later
    /// ([`Connected`]), and this one stands for nothing but the answer.
    pub session: Session,
    /// Of MQTT: what it says. `auth` is `Null` then.
    pub mqtt: Option<Box<MqttHello>>,
    /// Of a stream: what it asks for. `auth` is `Null` then.
    pub stream: Option<Box<StreamHello>>,
    /// The client's `auth` payload, JSON object; `Null` when it sent none.
    pub auth: Value,
    /// Query, allow-listed headers and address of its first request.
    pub handshake: Arc<Handshake>,
}

/// A client of MQTT that has a session.
#[derive(Debug)]
pub struct Connected {
    /// Its session, whose namespace is `/`: rooms are channels, and channels topics.
    pub session: Session,
    /// Its client id.
    pub client_id: Arc<str>,
    /// Whether it is an earlier one that goes on.
    pub resumed: bool,
}

/// What an accepted session starts with.
#[derive(Debug, Clone, Default)]
pub struct Acceptance {
    /// The user it belongs to.
    pub user: Option<String>,
    /// Shown in presence.
    pub info: Option<Value>,
    /// Rooms it is in from the start; of MQTT channels.
    pub rooms: Vec<String>,
}

/// An event a client sent.
#[derive(Debug)]
pub struct Event {
    /// Who.
    pub session: Session,
    /// The event's name (numbers as text).
    pub name: String,
    /// Its arguments.
    pub args: Args,
    /// Set when the client waits for an acknowledgement; dropped, its time-out runs.
    pub reply: Option<Replier>,
}

/// A session that lost its connection or ended.
#[derive(Debug)]
pub struct Disconnect {
    /// Who.
    pub session: Session,
    /// In the protocol's words, such as `transport close`.
    pub reason: &'static str,
    /// The same for programs.
    pub cause: Reason,
    /// It may come back within the recovery window.
    pub resumable: bool,
}

/// The right to answer one event, once.
#[derive(Debug)]
pub struct Replier {
    session: Session,
    request: u64,
}

/// The stream of client events.
pub struct Events {
    handle: Handle,
    upcalls: UpcallStream,
}

impl Events {
    pub(super) fn new(handle: Handle, batches: mpsc::Receiver<Upcalls>) -> Self {
        Self { handle, upcalls: UpcallStream::new(batches) }
    }

    /// The next event; `None` when the server has stopped. The same as the stream's `next`.
    pub async fn next(&mut self) -> Option<ClientEvent> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    pub(super) fn office(&self) -> &Office {
        self.handle.office()
    }

    pub(super) fn inbox_events_max(&self) -> usize {
        self.handle.config().limits.inbox_events_max
    }

    fn event_of(&self, upcall: Upcall) -> Option<ClientEvent> {
        let session = |id: SessionId, namespace: Arc<str>| self.handle.session_of(id, namespace);
        Some(match upcall {
            Upcall::Connect { session: id, hello, handshake, .. } => {
                let (namespace, auth, mqtt, stream) = match hello {
                    Hello::SocketIo { namespace, auth } => (namespace, auth, None, None),
                    Hello::Mqtt(hello) => (no_namespace(), None, Some(hello), None),
                    Hello::Stream(hello) => (no_namespace(), None, None, Some(hello)),
                };
                let auth = auth.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default();
                let session = session(id, namespace);
                ClientEvent::Connect(Connect { session, mqtt, stream, auth, handshake })
            }
            Upcall::Claimed { session: id, client_id, resumed, .. } => {
                let session = session(id, no_namespace());
                ClientEvent::Connected(Connected { session, client_id, resumed })
            }
            Upcall::Ask { session: id, number, question } => {
                let session = session(id, namespace_of(question.speaks.clone()));
                ClientEvent::Ask(Ask::new(session, number, *question))
            }
            Upcall::Event { session: id, namespace, values, request } => {
                let session = session(id, namespace);
                let reply = request.map(|request| Replier { session: session.clone(), request });
                let (name, args) = parts_of(&values);
                ClientEvent::Event(Event { session, name, args, reply })
            }
            Upcall::Recovered { session: id, namespace, .. } => {
                ClientEvent::Recovered(session(id, namespace))
            }
            // A webhook has to be there that wants to know, and then this program is not told.
            Upcall::Refresh { .. } | Upcall::Reassigned { .. } => return None,
            Upcall::Disconnected { session: id, speaks, reason: cause, text: reason, resumable_ms } => {
                ClientEvent::Disconnect(Disconnect {
                    session: session(id, namespace_of(speaks)),
                    reason,
                    cause,
                    resumable: resumable_ms.is_some(),
                })
            }
            Upcall::Expired { session: id, speaks, .. } => {
                ClientEvent::Expired(session(id, namespace_of(speaks)))
            }
        })
    }
}

/// Rooms of this one are channels by their own names.
fn no_namespace() -> Arc<str> {
    "/".into()
}

fn namespace_of(speaks: Speaks) -> Arc<str> {
    match speaks {
        Speaks::SocketIo(namespace) => namespace,
        Speaks::Mqtt(_) | Speaks::Stream(_) => no_namespace(),
    }
}

/// Name and arguments of an event; the front lets only events through that have a name.
fn parts_of(values: &Values) -> (String, Args) {
    let Some(event) = values.as_event() else { return (String::new(), Args::none()) };
    let name = match &event.name {
        EventName::Text(text) => text.to_string(),
        EventName::Number(number) => (*number).to_owned(),
    };
    let (json, attachments) = event.args().into_parts();
    (name, Args(Body::Values { json, attachments }))
}

impl Stream for Events {
    type Item = ClientEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ClientEvent>> {
        loop {
            let Some(upcall) = ready!(Pin::new(&mut self.upcalls).poll_next(cx)) else {
                return Poll::Ready(None);
            };
            if let Some(event) = self.event_of(upcall) {
                return Poll::Ready(Some(event));
            }
        }
    }
}

impl Connect {
    /// Accepts with nothing more to say.
    ///
    /// # Errors
    /// [`OfficeError::Busy`], [`OfficeError::Stopped`].
    pub async fn accept(self) -> Result<Session, OfficeError> {
        self.accept_with(Acceptance::default()).await
    }

    /// Accepts, with a user, presence info, or rooms to be in from the start.
    ///
    /// # Errors
    /// As [`Connect::accept`]; [`OfficeError::Refused`] for a room name that is not valid, and [`OfficeError::Invalid`] for a
    /// user or info that is too long (nothing is answered then).
    pub async fn accept_with(self, acceptance: Acceptance) -> Result<Session, OfficeError> {
        let handle = self.session.handle().clone();
        let mut subscriptions = Vec::with_capacity(acceptance.rooms.len());
        for room in &acceptance.rooms {
            let channel = handle.room(self.session.namespace(), room).map_err(OfficeError::Refused)?;
            subscriptions.push(channel.as_str().to_owned());
        }
        let (user, info) = (acceptance.user, acceptance.info.map(|info| Bytes::from(info.to_string())));
        check_identity(user.as_deref(), info.as_deref(), &handle.config().limits)?;
        let grant = Grant { user: user.map(Arc::from), info, subscriptions, ..Grant::default() };
        let admission = Box::new(Admission { grant, ..Admission::default() });
        let mail = Mail::Admit { session: self.session.id(), admission };
        self.session.tell_home(mail).await?;
        Ok(self.session)
    }

    /// Refuses for good: the client gets `connect_error` with this message and data, CONNACK 5 or 0x87, or 403, and does not
    /// try again.
    ///
    /// # Errors
    /// [`OfficeError::Busy`], [`OfficeError::Stopped`].
    pub async fn refuse(self, message: &str, data: Option<Value>) -> Result<(), OfficeError> {
        let data = data.map(|data| Bytes::from(data.to_string()));
        let (session, denial) = (self.session.id(), Denial::Forbidden);
        let mail = Mail::Refuse { session, denial, message: message.into(), data };
        self.session.tell_home(mail).await
    }
}

impl Connect {
    /// Says that no verdict can be given now: the connection is closed and the client comes back by itself.
    ///
    /// # Errors
    /// As [`Connect::accept`].
    pub async fn unavailable(self) -> Result<(), OfficeError> {
        self.session.close_connection().await
    }
}

impl Replier {
    /// Acknowledges the event.
    ///
    /// # Errors
    /// [`OfficeError::Invalid`], and the client's time-out runs; [`OfficeError::Busy`], [`OfficeError::Stopped`]. A
    /// session that is gone is no error.
    pub async fn send(self, args: impl Into<Args>) -> Result<(), OfficeError> {
        let Args(body) = args.into();
        check_body(&body, &self.session.handle().config().limits)?;
        let answer = Command::Answer { session: self.session.id(), request: self.request, body };
        self.session.tell_home(Mail::Hub(answer)).await
    }
}
