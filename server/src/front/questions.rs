//! What a client wants to do with a channel of which only the back end can say whether it may: the same question for every
//! protocol.
//!
//! The rules say that it is to be asked ([`crate::auth::Gate::weigh`]). Whoever has the connection keeps what is to be done together
//! with its [`Open`] question, and reads nothing more from it until the [`crate::mail::Ruling`] is there, which bounds what waits
//! and keeps the order of what a client says. Must not know protocols. Start at [`Open::ask`].

use std::sync::Arc;

use bytes::Bytes;
use hub::{Body, Millis, Publish, SessionId, Target};
use wire::mqtt::{Forwarded, Property, PropertyBuf, Value};

use crate::mail::{Deed, Draft, Handshake, Question, Terms, Upcall};
use crate::shard::Cx;

/// A question that is not answered yet.
#[derive(Debug)]
pub(super) struct Open {
    number: u64,
    /// When its client has waited for long enough.
    pub(super) until: Millis,
}

impl Open {
    /// Asks for a client, which waits at most so long. The answer comes to the home of the session.
    pub(super) fn ask(cx: &mut Cx<'_>, session: SessionId, question: Question, wait_ms: u64) -> Self {
        let number = u64::from_be_bytes(cx.io.random());
        let until = Millis(cx.io.now().0.saturating_add(wait_ms));
        cx.io.upcall(Upcall::Ask { session, number, question: Box::new(question) });
        Self { number, until }
    }

    /// Whether an answer is to this question, and not to an earlier one of the same session.
    pub(super) fn is(&self, number: u64) -> bool {
        self.number == number
    }
}

/// What is asked about a message; `None` if it goes to something else than one channel.
pub(super) fn publish_deed(
    publish: &Publish,
    qos: Option<u8>,
    request: Option<Arc<Handshake>>,
) -> Option<(Box<str>, Deed)> {
    let Target::Channel(channel) = &publish.target else { return None };
    let draft = Draft {
        event: publish.event.clone(),
        body: publish.body.clone(),
        attributes: publish.traits.attributes.clone(),
        qos,
        retain: publish.traits.retain,
        is_will: false,
        request,
    };
    Some((channel.as_str().into(), Deed::Publish(Box::new(draft))))
}

/// Changes a message as the back end says.
pub(super) fn change(publish: &mut Publish, terms: Terms) {
    let Terms { body, event, .. } = terms;
    let is_text = match &body {
        Some(Body::Raw(bytes)) => std::str::from_utf8(bytes).is_ok(),
        Some(Body::Values { .. }) | None => true,
    };
    if event.is_some() || !is_text {
        let attributes = &mut publish.traits.attributes;
        *attributes = changed(attributes, event.as_deref(), is_text).unwrap_or_default();
    }
    publish.event = event.or_else(|| publish.event.take());
    publish.body = body.unwrap_or_else(|| std::mem::replace(&mut publish.body, Body::Raw(Bytes::new())));
}

/// What travels with a message besides its content, with another event's name, or with a content that is no text.
fn changed(attributes: &Bytes, event: Option<&str>, is_text: bool) -> Option<Bytes> {
    let known = Forwarded::from_bytes(attributes.clone()).unwrap_or(Forwarded::NONE);
    let (properties, mut list) = (known.properties(), PropertyBuf::new());
    if let Some(flag) = properties.is_payload_text().filter(|_| is_text) {
        list.push(Property::PayloadFormatIndicator, Value::Byte(u8::from(flag))).ok()?;
    }
    let texts = [
        (Property::ContentType, properties.content_type()),
        (Property::ResponseTopic, properties.response_topic()),
    ];
    for (property, text) in texts {
        text.map_or(Ok(()), |text| list.push(property, Value::Text(text))).ok()?;
    }
    if let Some(data) = properties.correlation_data() {
        list.push(Property::CorrelationData, Value::Binary(data)).ok()?;
    }
    for (name, value) in properties.user_properties().filter(|(name, _)| event.is_none() || *name != EVENT) {
        list.push_user_property(name, value).ok()?;
    }
    // One that is no text of MQTT's is told where events have names.
    let _ = event.map(|event| list.push_user_property(EVENT, event));
    Some(Forwarded::from(list).as_bytes().clone())
}

/// The user property that names an event.
const EVENT: &str = "event";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front::attributes;

    fn message(attributes: Bytes) -> Publish {
        Publish {
            id: hub::MessageId(1),
            target: Target::Channel(hub::ChannelName::parse("tea", 16).unwrap()),
            event: Some("say".into()),
            body: Body::Raw(Bytes::from_static(b"hot")),
            volatile: false,
            except: None,
            reply_within_ms: None,
            token: None,
            traits: hub::Traits { attributes, ..hub::Traits::default() },
            receipt: None,
        }
    }

    #[test]
    fn a_message_is_changed_as_the_answer_says_and_keeps_the_rest() {
        let pairs = [("event", "say"), ("a", "1")];
        let mut publish = message(attributes(Some("text/tea"), pairs.into_iter()).unwrap());
        let (channel, Deed::Publish(draft)) = publish_deed(&publish, Some(1), None).unwrap() else {
            panic!()
        };
        assert_eq!((&*channel, draft.event.as_deref(), draft.qos), ("tea", Some("say"), Some(1)));
        let before = publish.traits.attributes.clone();
        change(
            &mut publish,
            Terms { body: Some(Body::Raw(Bytes::from_static(b"cold"))), ..Terms::default() },
        );
        assert_eq!(publish.traits.attributes, before);
        change(&mut publish, Terms { event: Some("shout".into()), ..Terms::default() });
        assert!(matches!(&publish.body, Body::Raw(bytes) if bytes == "cold"));
        let known = Forwarded::from_bytes(publish.traits.attributes.clone()).unwrap();
        assert_eq!((known.event(), publish.event.as_deref()), (Some("shout"), Some("shout")));
        assert_eq!(known.properties().content_type(), Some("text/tea"));
        assert_eq!(known.properties().user_property("a"), Some("1"));
    }
}
