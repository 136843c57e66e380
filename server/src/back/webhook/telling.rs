//! What the back end is told: the CloudEvents of sessions.
//!
//! Owns attributes and data of each type. Must not know where they are sent. Start at [`Telling`].

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hub::{Body, Reason, SessionId, Subject};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use wire::cloudevent::{Attribute, CloudEvent, Data, sequence, timestamp};
use wire::http::percent_encode;
use wire::values::Values;

use super::lives::Life;
use crate::auth::unix_now;
use crate::back::gather::message_id;
use crate::back::values::text_of;
use crate::config::{Config, SendPasswords, WebhookType};
use crate::front::socketio::rooms;
use crate::mail::{Handshake, Hello, MqttHello, Speaks, StreamHello};

/// Something that a session did, and what goes with it.
pub(super) struct Telling<'a> {
    /// Unique for the session; has no dot.
    pub(super) id: &'a str,
    /// When. Milliseconds since 1970.
    pub(super) time_ms: u64,
    pub(super) kind: WebhookType,
    /// The session, and the event's place among those of it; a client that asks to connect may have none yet.
    pub(super) session: Option<(SessionId, u64)>,
    /// As it is with this event.
    pub(super) life: &'a Life,
    /// The name of the event that the client sent, and whether it waits for an answer.
    pub(super) event: Option<(&'a str, bool)>,
    /// The channel that it is about, which is its subject then.
    pub(super) channel: Option<&'a str>,
    /// JSON.
    pub(super) data: &'a str,
}

/// An event as it is sent.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// Its id; has no dot.
    pub(super) id: String,
    /// Its JSON.
    pub(super) body: Bytes,
}

impl Telling<'_> {
    /// The event. What types begin with is the receiver's.
    pub(super) fn tell(&self, config: &Config, type_prefix: &str) -> Told {
        let Life { speaks, user, state, generation, .. } = self.life;
        let session = self.session.map(|(session, place)| (session.to_string(), sequence(place)));
        let kind = format!("{type_prefix}.{}", self.kind.as_str());
        let (source, partition) = match (&session, speaks) {
            (Some((session, _)), _) => (format!("/sessions/{session}"), session.as_str()),
            // A single request; streams have sessions.
            (None, Speaks::Stream(name)) => (format!("/{name}"), self.channel.unwrap_or(name)),
            (None, Speaks::Mqtt(name) | Speaks::SocketIo(name)) => {
                let mut source = "/clients/".to_owned();
                percent_encode(name, &mut source);
                (source, &**name)
            }
        };
        let generation = i32::try_from(*generation).unwrap_or(i32::MAX);
        let mut extensions = vec![("partitionkey", Attribute::Text(partition))];
        if let Some((session, place)) = &session {
            extensions.push(("sessionid", Attribute::Text(session)));
            extensions.push(("generation", Attribute::Integer(generation)));
            extensions.push(("sequence", Attribute::Text(place)));
        }
        let subject = match speaks {
            Speaks::SocketIo(namespace) => {
                extensions.push(("protocol", Attribute::Text("socketio")));
                extensions.push(("namespace", Attribute::Text(namespace)));
                let root = config.socketio.root_channel.as_str();
                rooms::namespace_channel(namespace, root).unwrap_or_default()
            }
            Speaks::Mqtt(client_id) => {
                extensions.push(("protocol", Attribute::Text("mqtt")));
                extensions.push(("clientid", Attribute::Text(client_id)));
                client_id.to_string()
            }
            Speaks::Stream(protocol) => {
                extensions.push(("protocol", Attribute::Text(protocol)));
                String::new()
            }
        };
        let subject = self.channel.map_or(subject, str::to_owned);
        extensions.extend(user.as_deref().map(|user| ("userid", Attribute::Text(user))));
        extensions.extend(state.as_deref().map(|state| ("state", Attribute::Text(state))));
        if let Some((name, is_asked)) = self.event {
            extensions.push(("event", Attribute::Text(name)));
            extensions.push(("ackrequested", Attribute::Boolean(is_asked)));
        }
        let event = CloudEvent {
            id: self.id,
            source: &source,
            kind: &kind,
            subject: &subject,
            time_ms: self.time_ms,
            extensions: &extensions,
            data: Data::Json(self.data),
        };
        let body = Bytes::from(event.to_json());
        Told { id: self.id.to_owned(), body }
    }
}

/// What is told of a user or channel that came or went. Each has a `sequence` above those before it, also of earlier processes
/// whose clock was right.
pub(super) fn tell_presence(kind: WebhookType, subject: &Subject, sequence: &str, type_prefix: &str) -> Told {
    let (id, time_ms) = new_id();
    let (source, name, data) = match subject {
        Subject::User(user) => ("/users", &**user, json!({ "user": &**user })),
        Subject::Channel(channel) => ("/channels", channel.as_str(), json!({ "channel": channel.as_str() })),
    };
    let mut extensions =
        vec![("sequence", Attribute::Text(sequence)), ("partitionkey", Attribute::Text(name))];
    if let Subject::User(user) = subject {
        extensions.push(("userid", Attribute::Text(user)));
    }
    let (kind, data) = (format!("{type_prefix}.{}", kind.as_str()), data.to_string());
    let event = CloudEvent {
        id: &id,
        source,
        kind: &kind,
        subject: name,
        time_ms,
        extensions: &extensions,
        data: Data::Json(&data),
    };
    let body = Bytes::from(event.to_json());
    Told { id, body }
}

/// The data of `session.connect`; passwords are in it only if they are asked for.
pub(super) fn connect_data(hello: &Hello, handshake: &Handshake, passwords: SendPasswords) -> String {
    match hello {
        Hello::SocketIo { namespace, auth } => socketio_data(namespace, auth.as_ref(), handshake),
        Hello::Mqtt(hello) => mqtt_data(hello, handshake, passwords),
        Hello::Stream(hello) => stream_data(hello, handshake),
    }
}

fn stream_data(hello: &StreamHello, handshake: &Handshake) -> String {
    let (query, headers) = shown(handshake);
    json!({
        "channels": hello.channels,
        "query": query,
        "headers": headers,
        "remote": handshake.remote.map(|remote| remote.to_string()),
        "secure": handshake.secure,
    })
    .to_string()
}

fn mqtt_data(hello: &MqttHello, handshake: &Handshake, passwords: SendPasswords) -> String {
    let certificate = hello
        .certificate
        .as_ref()
        .map(|certificate| json!({ "subject": certificate.subject, "user": certificate.user.as_deref() }));
    let mut data = json!({
        "client_id": &*hello.client_id,
        "user_name": hello.user_name,
        "clean_start": hello.clean_start,
        "version": hello.version,
        "user_properties": hello.user_properties,
        "certificate": certificate,
        "remote": handshake.remote.map(|remote| remote.to_string()),
        "secure": handshake.secure,
    });
    if let (SendPasswords::Base64, Some(members)) = (passwords, data.as_object_mut()) {
        let password = hello.password.as_ref().map(|password| STANDARD.encode(&password.0));
        members.insert("password".to_owned(), password.into());
    }
    data.to_string()
}

fn socketio_data(namespace: &str, auth: Option<&Bytes>, handshake: &Handshake) -> String {
    let auth = auth.and_then(|auth| serde_json::from_slice::<Box<RawValue>>(auth).ok());
    let auth = auth.as_ref().map_or("null", |auth| auth.get());
    let (query, headers) = shown(handshake);
    let remote = handshake.remote.map(|remote| remote.to_string());
    let namespace = Value::from(namespace);
    let (query, headers, remote) = (Value::Object(query), Value::Object(headers), Value::from(remote));
    let is_secure = handshake.secure;
    format!(
        r#"{{"namespace":{namespace},"auth":{auth},"query":{query},"headers":{headers},"remote":{remote},"secure":{is_secure}}}"#
    )
}

/// Parameters as lists by name, and headers.
pub(super) fn shown(handshake: &Handshake) -> (Map<String, Value>, Map<String, Value>) {
    let mut query: Map<String, Value> = Map::new();
    for (name, value) in &handshake.query {
        let values = query.entry(name.to_string()).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(values) = values {
            values.push(Value::from(value.as_ref()));
        }
    }
    let mut headers: Map<String, Value> = Map::new();
    for (name, value) in &handshake.headers {
        match headers.get_mut(name.as_ref()) {
            Some(Value::String(before)) => {
                before.push_str(", ");
                before.push_str(value);
            }
            _ => drop(headers.insert(name.to_string(), Value::from(value.as_ref()))),
        }
    }
    (query, headers)
}

/// Name and arguments of an event; the front lets only events through that have a name.
pub(super) fn event_parts(values: &Values) -> Option<(Arc<str>, Cow<'static, str>)> {
    let event = values.as_event()?;
    let name = Arc::from(event.name.as_str());
    let (json, attachments) = event.args().into_parts();
    if attachments.is_empty() {
        // As it came: there is nothing to put in.
        return Some((name, Cow::Owned(String::from_utf8(json.into()).ok()?)));
    }
    Some((name, Cow::Owned(text_of(&Body::Values { json, attachments }).get().to_owned())))
}

/// A new id, and when it was made.
pub(super) fn new_id() -> (String, u64) {
    let id = message_id();
    // The upper 48 bits.
    (ulid::Ulid(id.0).to_string(), u64::try_from(id.0 >> 80).unwrap_or(u64::MAX))
}

/// How a client comes to its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coming {
    /// It is new.
    First,
    /// It goes on with nothing missing.
    Recovered,
    /// It goes on, and what waited in it follows.
    Resumed,
}

/// The data of `session.connected`.
pub(super) fn connected_data(coming: Coming, remote: Option<SocketAddr>) -> String {
    let (resumed, recovered) = (coming != Coming::First, coming == Coming::Recovered);
    let remote = remote.map(|remote| remote.to_string());
    json!({ "resumed": resumed, "recovered": recovered, "remote": remote }).to_string()
}

/// Why a session lost its connection, or ended.
pub(super) struct Why {
    /// In the words of the protocol.
    pub(super) reason: &'static str,
    /// The same for programs.
    pub(super) cause: &'static str,
}

/// The process before has ended under it.
pub(super) const RESTART: Why = Why { reason: "server restarted", cause: "restart" };

/// It was gone before that.
pub(super) const EXPIRED: Why = Why { reason: "recovery expired", cause: "expired" };

/// The last time that RFC 3339 can write.
const LAST_MS: u64 = 253_402_300_799_999;

/// The data of `session.disconnected`; `resumable_ms` is how long its client may come back.
pub(super) fn disconnected_data(why: &Why, resumable_ms: Option<u64>, lasted: Option<Duration>) -> String {
    let Why { reason, cause } = why;
    // A session that is kept for ever has no such time.
    let until = resumable_ms.filter(|ms| *ms < u64::MAX);
    let until = until.map(|ms| timestamp(unix_now().0.saturating_add(ms).min(LAST_MS)));
    let lasted = lasted.map(|lasted| u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX));
    json!({
        "reason": reason, "cause": cause, "resumable": resumable_ms.is_some(), "resumable_until": until, "duration_ms": lasted,
    })
    .to_string()
}

/// The data of `session.ended`.
pub(super) fn ended_data(why: &Why) -> String {
    json!({ "reason": why.reason, "cause": why.cause }).to_string()
}

/// The cause that a reason is.
pub(crate) fn cause(reason: Reason) -> &'static str {
    match reason {
        Reason::ClientLeft | Reason::ConnectionClosed | Reason::ConnectionFailed => "client",
        Reason::Silent => "timeout",
        Reason::Malformed | Reason::Misbehaved => "protocol",
        Reason::SlowConsumer | Reason::OverLimit => "slow",
        Reason::Kicked
        | Reason::Disconnected
        | Reason::Refused
        | Reason::NeverAdmitted
        | Reason::Revoked
        | Reason::UserFull => "kicked",
        Reason::TakenOver | Reason::Superseded => "taken_over",
        Reason::Expired | Reason::CredentialsExpired => "expired",
        Reason::Draining => "drain",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_can_forge_is_apart_from_what_it_cannot() {
        let pair = |name: &str, value: &str| (Box::from(name), Box::from(value));
        let handshake = Handshake {
            query: vec![pair("a", "1"), pair("a", "\"2\""), pair("headers", "x")],
            headers: vec![pair("cookie", "k=v"), pair("x-forwarded-for", "1"), pair("x-forwarded-for", "2")],
            remote: "10.0.0.7:9".parse().ok(),
            secure: true,
        };
        let auth = Bytes::from_static(br#"{"token":"t","headers":{"cookie":"forged"}}"#);
        let hello = |namespace: &str, auth| Hello::SocketIo { namespace: namespace.into(), auth };
        let data = connect_data(&hello("/chat", Some(auth)), &handshake, SendPasswords::Never);
        let data: Value = serde_json::from_str(&data).unwrap();
        let expected = serde_json::json!({
            "namespace": "/chat",
            "auth": { "token": "t", "headers": { "cookie": "forged" } },
            "query": { "a": ["1", "\"2\""], "headers": ["x"] },
            "headers": { "cookie": "k=v", "x-forwarded-for": "1, 2" },
            "remote": "10.0.0.7:9",
            "secure": true,
        });
        assert_eq!(data, expected);
        let data = connect_data(&hello("/", None), &Handshake::default(), SendPasswords::Never);
        let data: Value = serde_json::from_str(&data).unwrap();
        assert_eq!((&data["auth"], &data["remote"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn an_event_has_the_attributes_of_its_session() {
        let config = Config::loopback();
        let life = Life {
            user: Some("42".into()),
            state: Some(r#"{"cart":7}"#.into()),
            ..Life::new(Speaks::SocketIo("/chat".into()))
        };
        let session = SessionId::new(hub::Partition(1), 2, [3; 9]);
        let telling = Telling {
            id: "01KAP1",
            time_ms: 1_795_320_000_000,
            kind: WebhookType::SessionEvent,
            session: Some((session, 1 << 32 | 42)),
            life: &life,
            event: Some(("say", true)),
            channel: None,
            data: r#"["hi"]"#,
        };
        let Told { id, body } = telling.tell(&config, "com.example");
        let event: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((event["id"].as_str(), id.as_str()), (Some("01KAP1"), "01KAP1"));
        assert_eq!(event["time"], "2026-11-22T04:00:00.000Z");
        let session = session.to_string();
        for (name, value) in [
            ("specversion", Value::from("1.0")),
            ("type", "com.example.session.event".into()),
            ("source", format!("/sessions/{session}").into()),
            ("subject", "chat".into()),
            ("datacontenttype", "application/json".into()),
            ("sessionid", session.as_str().into()),
            ("partitionkey", session.as_str().into()),
            ("userid", "42".into()),
            ("protocol", "socketio".into()),
            ("namespace", "/chat".into()),
            ("generation", 1.into()),
            ("sequence", "00000000004294967338".into()),
            ("event", "say".into()),
            ("ackrequested", true.into()),
            ("state", r#"{"cart":7}"#.into()),
            ("data", serde_json::json!(["hi"])),
        ] {
            assert_eq!(event[name], value, "{name}");
        }
    }
}
