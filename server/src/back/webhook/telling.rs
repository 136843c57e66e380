//! What the back end is told: the CloudEvents of sessions.
//!
//! Owns attributes and data of each type. Must not know where they are sent. Start at [`Telling`].

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hub::{Body, Reason, SessionId};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use wire::cloudevent::{Attribute, CloudEvent, Data, sequence, timestamp};
use wire::values::Values;

use super::lives::Life;
use crate::back::gather::message_id;
use crate::back::values::text_of;
use crate::config::{Config, WebhookType};
use crate::front::socketio::rooms;
use crate::mail::Handshake;

/// Something that a session did, and what goes with it.
pub(super) struct Telling<'a> {
    /// Unique for the session; has no dot.
    pub(super) id: &'a str,
    /// When. Milliseconds since 1970.
    pub(super) time_ms: u64,
    pub(super) kind: WebhookType,
    pub(super) session: SessionId,
    /// As it is with this event.
    pub(super) life: &'a Life,
    /// Its place among the events of the session.
    pub(super) place: u64,
    /// The name of the event that the client sent, and whether it waits for an answer.
    pub(super) event: Option<(&'a str, bool)>,
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
        let session = self.session.to_string();
        let (source, kind) =
            (format!("/sessions/{session}"), format!("{type_prefix}.{}", self.kind.as_str()));
        let Life { namespace, user, state, generation, .. } = self.life;
        let root = config.socketio.root_channel.as_str();
        let subject = rooms::namespace_channel(namespace, root).unwrap_or_default();
        let place = sequence(self.place);
        let generation = i32::try_from(*generation).unwrap_or(i32::MAX);
        let mut extensions = vec![
            ("sessionid", Attribute::Text(&session)),
            ("protocol", Attribute::Text("socketio")),
            ("namespace", Attribute::Text(namespace)),
            ("generation", Attribute::Integer(generation)),
            ("sequence", Attribute::Text(&place)),
            ("partitionkey", Attribute::Text(&session)),
        ];
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

/// The data of `session.connect`.
pub(super) fn connect_data(namespace: &str, auth: Option<&Bytes>, handshake: &Handshake) -> String {
    let auth = auth.and_then(|auth| serde_json::from_slice::<Box<RawValue>>(auth).ok());
    let auth = auth.as_ref().map_or("null", |auth| auth.get());
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
    let remote = handshake.remote.map(|remote| remote.to_string());
    let namespace = Value::from(namespace);
    let (query, headers, remote) = (Value::Object(query), Value::Object(headers), Value::from(remote));
    let is_secure = handshake.secure;
    format!(
        r#"{{"namespace":{namespace},"auth":{auth},"query":{query},"headers":{headers},"remote":{remote},"secure":{is_secure}}}"#
    )
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
}

/// The data of `session.connected`.
pub(super) fn connected_data(coming: Coming, remote: Option<SocketAddr>) -> String {
    let is_recovered = coming == Coming::Recovered;
    let remote = remote.map(|remote| remote.to_string());
    json!({ "resumed": is_recovered, "recovered": is_recovered, "remote": remote }).to_string()
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

/// The data of `session.disconnected`; `resumable_ms` is how long its client may come back.
pub(super) fn disconnected_data(why: &Why, resumable_ms: Option<u64>, lasted: Option<Duration>) -> String {
    let Why { reason, cause } = why;
    let until = resumable_ms.map(|ms| timestamp(new_id().1.saturating_add(ms)));
    let lasted = lasted.map(|lasted| u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX));
    json!({
        "reason": reason, "cause": cause, "resumable": until.is_some(), "resumable_until": until, "duration_ms": lasted,
    })
    .to_string()
}

/// The data of `session.ended`.
pub(super) fn ended_data(why: &Why) -> String {
    json!({ "reason": why.reason, "cause": why.cause }).to_string()
}

/// The cause that a reason is.
pub(super) fn cause(reason: Reason) -> &'static str {
    match reason {
        Reason::ClientLeft | Reason::ConnectionClosed | Reason::ConnectionFailed => "client",
        Reason::Silent => "timeout",
        Reason::Malformed | Reason::Misbehaved => "protocol",
        Reason::SlowConsumer | Reason::OverLimit => "slow",
        Reason::Kicked | Reason::Disconnected | Reason::Refused | Reason::NeverAdmitted => "kicked",
        Reason::TakenOver => "taken_over",
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
        let data: Value = serde_json::from_str(&connect_data("/chat", Some(&auth), &handshake)).unwrap();
        let expected = serde_json::json!({
            "namespace": "/chat",
            "auth": { "token": "t", "headers": { "cookie": "forged" } },
            "query": { "a": ["1", "\"2\""], "headers": ["x"] },
            "headers": { "cookie": "k=v", "x-forwarded-for": "1, 2" },
            "remote": "10.0.0.7:9",
            "secure": true,
        });
        assert_eq!(data, expected);
        let data: Value = serde_json::from_str(&connect_data("/", None, &Handshake::default())).unwrap();
        assert_eq!((&data["auth"], &data["remote"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn an_event_has_the_attributes_of_its_session() {
        let config = Config::loopback();
        let life = Life {
            user: Some("42".into()),
            state: Some(r#"{"cart":7}"#.into()),
            ..Life::new("/chat".into())
        };
        let session = SessionId::new(hub::Partition(1), 2, [3; 9]);
        let telling = Telling {
            id: "01KAP1",
            time_ms: 1_795_320_000_000,
            kind: WebhookType::SessionEvent,
            session,
            life: &life,
            place: 1 << 32 | 42,
            event: Some(("say", true)),
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
