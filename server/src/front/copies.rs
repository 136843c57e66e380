//! What clients and back ends publish, and what clients send to the back end, on its way into queues: one CloudEvent each, in
//! the form in which the API of queues stores messages.
//!
//! Owns what a copy says, its group and its id. Must not know who publishes, nor when a copy is needed: that is the hub's. Start
//! at [`of_message`].

use bytes::Bytes;
use hub::queue::{Copied, QueueCopy, QueueName, QueueRefusal, Waiter};
use hub::{
    Body, ChannelName, Command, Message, MessageId, Publishers, Reason, SessionId, Subscribed,
    SubscriptionChange, filter_matches,
};
use std::sync::Arc;
use wire::cloudevent::{Attribute, CHANNEL_MESSAGE, CloudEvent, Data, SESSION_EVENT, sequence};
use wire::mqtt::Forwarded;
use wire::sqs::{Content, Md5, MessageAttributes, QueueKind, id_of, legal_json};
use wire::values::Values;

use crate::back::sqs::{declared_name, own_name};
use crate::back::values::{text_of, text_of_id};
use crate::back::webhook::cause;
use crate::config::{Binding, BindingGroup, ChannelFilter, Config, Text, Webhook, WebhookType};
use crate::mail::Bound;
use crate::shard::Cx;

/// An event that a client sent to the back end.
pub(super) struct ClientEvent<'a> {
    pub(super) session: SessionId,
    /// The protocol, as in `socketio`.
    pub(super) protocol: &'static str,
    pub(super) namespace: &'a str,
    /// Of the whole namespace.
    pub(super) channel: &'a ChannelName,
    pub(super) name: &'a str,
    /// The values behind the name.
    pub(super) args: Body,
    /// The client's number of it, if it wants an answer.
    pub(super) request: Option<u64>,
}

/// How a client publishes, as [`hub::Traits::way`] has it from the shard of the client to that of the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    SocketIo = 1,
    Mqtt,
    /// Of CloudEvents.
    WebSocket,
    /// A request of its own.
    Request,
}

impl Way {
    /// The protocol, as in the attribute of an event; `None`: it is not known.
    fn protocol(number: u8) -> Option<&'static str> {
        [
            (Self::SocketIo, "socketio"),
            (Self::Mqtt, "mqtt"),
            (Self::WebSocket, "websocket"),
            (Self::Request, "publish"),
        ]
        .into_iter()
        .find_map(|(way, name)| (way as u8 == number).then_some(name))
    }
}

/// Copies what was published on a channel into the queue of a binding.
pub(super) fn of_message(
    cx: &mut Cx<'_>,
    binding: u32,
    (channel, message): (&ChannelName, &Message),
    waiter: Waiter,
) {
    let session = message.traits.origin.map(|session| session.to_string());
    let of = (session.as_deref(), message.traits.user.as_deref());
    let places = (&**cx.io.config(), &*cx.hub.bound);
    let Some(road) = road_of(places, binding, channel, of) else { return };
    // A back end that is told has places of its own in mind: those of a session.
    let place = message.position.filter(|_| road.kind == CHANNEL_MESSAGE);
    let place = place.map(|position| sequence(position.offset));
    let known = [
        ("protocol", Way::protocol(message.traits.way)),
        ("event", message.event.as_deref()),
        ("sessionid", of.0),
        ("userid", of.1),
        ("sequence", place.as_deref()),
        ("partitionkey", Some(road.group)),
    ];
    let extensions = present(&known);
    let forwarded = Forwarded::from_bytes(message.traits.attributes.clone()).unwrap_or(Forwarded::NONE);
    let properties = forwarded.properties();
    let values;
    let data = match &message.body {
        Body::Raw(payload) => Data::of_payload(payload, properties.content_type()),
        body @ Body::Values { .. } => {
            values = values_of(body, message.traits.origin);
            Data::Json(&values)
        }
    };
    let id = text_of_id(message.id);
    let event = CloudEvent {
        id: &id,
        source: &road.source,
        kind: &road.kind,
        subject: channel.as_str(),
        time_ms: time_ms(message.id),
        extensions: &extensions,
        data,
    };
    let copy = copy_of(message.id, &event, road.queue_kind, road.group);
    send(cx, QueueCopy { queue: road.queue, message: copy, waiter });
}

/// Where a copy goes, and what it is there.
struct Road<'a> {
    queue: QueueName,
    queue_kind: QueueKind,
    group: &'a str,
    source: String,
    kind: String,
}

/// All bindings by their places: those of the configuration come first, then those of webhooks, then those that were made since.
pub(crate) fn bindings(config: &Config, bound: &[Bound]) -> Vec<hub::Binding> {
    let names = |events: &[Text]| events.iter().map(|event| event.as_str().to_owned()).collect();
    let declared = |binding: &Binding| hub::Binding {
        filter: binding.filter.as_str().to_owned(),
        events: names(&binding.events),
        publishers: Publishers::All,
    };
    let told = |(webhook, filter): (&Webhook, &ChannelFilter)| hub::Binding {
        filter: filter.as_str().to_owned(),
        events: names(&webhook.events),
        publishers: Publishers::Clients,
    };
    let made = |bound: &Bound| hub::Binding {
        filter: bound.filter.clone(),
        events: bound.events.clone(),
        publishers: Publishers::All,
    };
    let known = config.bindings.iter().map(declared).chain(config.published_to().map(told));
    known.chain(bound.iter().map(made)).collect()
}

/// Has the hub bind what is bound now. Nothing is under way between two callbacks, so no place changes its meaning.
pub(super) fn bind(cx: &mut Cx<'_>, bound: Arc<[Bound]>) {
    cx.hub.hub.bind(bindings(cx.io.config(), &bound));
    cx.hub.bound = bound;
}

/// Whether what clients publish may be copied somewhere.
pub(super) fn may_be(cx: &Cx<'_>) -> bool {
    !cx.hub.bound.is_empty() || cx.io.config().copies_publishes()
}

/// Of a binding by its place, see [`bindings`].
fn road_of<'a>(
    (config, bound): (&Config, &[Bound]),
    at: u32,
    channel: &'a ChannelName,
    (session, user): (Option<&'a str>, Option<&'a str>),
) -> Option<Road<'a>> {
    let at = at as usize;
    let behind = at.checked_sub(config.bindings.len());
    if let Some((webhook, _)) = behind.and_then(|at| config.published_to().nth(at)) {
        let (queue, kind) = told(config, webhook, WebhookType::SessionEvent);
        return Some(Road {
            queue,
            queue_kind: QueueKind::Fifo,
            source: session.map_or("/publish".to_owned(), |session| format!("/sessions/{session}")),
            group: session.or(user).unwrap_or(channel.as_str()),
            kind,
        });
    }
    let (queue, group) = match (config.bindings.get(at), behind) {
        (Some(binding), _) => (binding.queue.as_str(), binding.group),
        (None, Some(at)) => {
            let made = bound.get(at - config.published_to().count())?;
            (made.queue.as_str(), made.group)
        }
        (None, None) => return None,
    };
    // The back end has no session, and nobody need have a user.
    let group = match group {
        BindingGroup::Channel => None,
        BindingGroup::Session => session,
        BindingGroup::User => user.or(session),
    };
    Some(Road {
        queue: declared_name(config, queue),
        queue_kind: QueueKind::of(queue),
        group: group.unwrap_or(channel.as_str()),
        source: "/channels".to_owned(),
        kind: CHANNEL_MESSAGE.to_owned(),
    })
}

/// Where events for a webhook wait, and the type of one as it is told.
fn told(config: &Config, webhook: &Webhook, kind: WebhookType) -> (QueueName, String) {
    let queue = own_name(config, &format!("{}.fifo", webhook.name.as_str()));
    (queue, format!("{}.{}", webhook.type_prefix.as_str(), kind.as_str()))
}

/// Tells the back ends that want to hear it of a subscription.
pub(super) fn of_subscription(cx: &mut Cx<'_>, subscribed: &Subscribed) {
    let kind = match subscribed.change {
        SubscriptionChange::Asked(_) | SubscriptionChange::Given => WebhookType::ChannelSubscribed,
        SubscriptionChange::Ended(_) => WebhookType::ChannelUnsubscribed,
    };
    let takes = |webhook: &&Webhook| {
        let mut filters = webhook.filters.iter();
        let matches = |filter: &ChannelFilter| filter_matches(filter.as_str(), &subscribed.filter);
        webhook.types.contains(&kind) && filters.any(matches)
    };
    let (id, config) = (super::message_id(cx), cx.io.config());
    let tell = |webhook: &Webhook| {
        let (queue, kind) = told(config, webhook, kind);
        QueueCopy { queue, message: subscription_copy(id, &kind, subscribed), waiter: Waiter::Nobody }
    };
    let copies: Vec<QueueCopy> = config.webhooks.iter().filter(takes).map(tell).collect();
    copies.into_iter().for_each(|copy| send(cx, copy));
}

fn subscription_copy(id: MessageId, kind: &str, subscribed: &Subscribed) -> hub::queue::Message {
    let (session, text) = (subscribed.session.to_string(), text_of_id(id));
    let known = [
        ("sessionid", Some(session.as_str())),
        ("userid", subscribed.user.as_deref()),
        ("partitionkey", Some(&*subscribed.filter)),
    ];
    let (qos, cause) = match subscribed.change {
        SubscriptionChange::Asked(quality) => (Some(quality as u8), "client"),
        SubscriptionChange::Given => (None, "back_end"),
        SubscriptionChange::Ended(Reason::Kicked) => (None, "back_end"),
        SubscriptionChange::Ended(reason) => (None, cause(reason)),
    };
    let mut data = serde_json::json!({ "channel": &*subscribed.filter, "cause": cause });
    if let serde_json::Value::Object(data) = &mut data {
        data.extend(qos.map(|qos| ("qos".to_owned(), qos.into())));
        data.extend(subscribed.group.as_deref().map(|group| ("group".to_owned(), group.into())));
    }
    let (data, extensions) = (data.to_string(), present(&known));
    let event = CloudEvent {
        id: &text,
        source: &format!("/sessions/{session}"),
        kind,
        subject: &subscribed.filter,
        time_ms: time_ms(id),
        extensions: &extensions,
        data: Data::Json(&data),
    };
    copy_of(id, &event, QueueKind::Fifo, &format!("channel/{}", subscribed.filter))
}

/// Puts an event of a client into a queue of this name.
pub(super) fn of_event(cx: &mut Cx<'_>, id: MessageId, queue: &str, event: &ClientEvent<'_>) {
    let name = declared_name(cx.io.config(), queue);
    let session = event.session.to_string();
    let user = cx.hub.hub.user_of(&event.session);
    let known = [
        ("protocol", Some(event.protocol)),
        ("namespace", Some(event.namespace)),
        ("event", Some(event.name)),
        ("sessionid", Some(session.as_str())),
        ("userid", user.as_deref()),
        ("partitionkey", Some(session.as_str())),
    ];
    let extensions = present(&known);
    let (text, source) = (text_of_id(id), format!("/sessions/{session}"));
    let args = text_of(&event.args);
    let told = CloudEvent {
        id: &text,
        source: &source,
        kind: SESSION_EVENT,
        subject: event.channel.as_str(),
        time_ms: time_ms(id),
        extensions: &extensions,
        data: Data::Json(args.get()),
    };
    let waiter = match event.request {
        Some(request) => Waiter::Request { session: event.session, request },
        None => Waiter::Nobody,
    };
    let message = copy_of(id, &told, QueueKind::of(queue), &session);
    send(cx, QueueCopy { queue: name, message, waiter });
}

/// Counts what became of a copy, and tells of one that is missing.
pub(super) fn note(cx: &mut Cx<'_>, copied: &Copied) {
    let Err(refusal) = copied.result else { return cx.io.count_copy() };
    if !cx.io.count_failed_copy() {
        return;
    }
    let why = match refusal {
        QueueRefusal::TooLarge { bytes_max } => format!("its event is larger than {bytes_max} bytes"),
        QueueRefusal::NotFound => "there is no such queue any more".to_owned(),
        QueueRefusal::OverLimit => "sqs.messages_max, or what a FIFO queue remembers, is reached".to_owned(),
        other => format!("{other:?}"),
    };
    let (queue, id) = (copied.queue.as_str(), text_of_id(copied.message));
    tracing::warn!(
        queue,
        id,
        why,
        "a message is not in the queue that it is for; others of this second are only counted"
    );
}

/// Attributes that have a value.
fn present<'a>(known: &[(&'a str, Option<&'a str>)]) -> Vec<(&'a str, Attribute<'a>)> {
    known.iter().filter_map(|(name, value)| Some((*name, Attribute::Text((*value)?)))).collect()
}

/// The values of a client's event as a list; a single one of the back end is what it published.
fn values_of(body: &Body, origin: Option<SessionId>) -> String {
    let text = text_of(body);
    let Body::Values { json, attachments } = body else { return text.get().to_owned() };
    let values = Values::from_parts(json.clone(), attachments.clone());
    let is_single = origin.is_none() && values.elements().count() == 1;
    let inner = text.get().strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    inner.filter(|_| is_single).unwrap_or(text.get()).to_owned()
}

fn copy_of(id: MessageId, event: &CloudEvent<'_>, kind: QueueKind, group: &str) -> hub::queue::Message {
    let json = event.to_json();
    let body = legal_json(&json);
    let is_fifo = kind == QueueKind::Fifo;
    let size_bytes = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let content = Content {
        body_md5: Md5::of(body.as_bytes()),
        body,
        attributes: MessageAttributes::default(),
        sender_id: "".into(),
        trace_header: "".into(),
    };
    hub::queue::Message {
        id,
        content: Bytes::from(content.encode()),
        size_bytes,
        group: is_fifo.then(|| Box::from(&*id_of(group))),
        // However often it is copied, it is one message.
        deduplication: is_fifo.then(|| Box::from(event.id)),
        content_hash: None,
        delay_ms: None,
    }
}

fn send(cx: &mut Cx<'_>, copy: QueueCopy) {
    cx.hub.commands.push_back(Command::Copy(Box::new(copy)));
}

/// When it was published: the upper 48 bits of its id.
fn time_ms(id: MessageId) -> u64 {
    u64::try_from(id.0 >> 80).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(json: &'static str) -> Body {
        Body::Values { json: Bytes::from_static(json.as_bytes()), attachments: Vec::new() }
    }

    #[test]
    fn a_single_value_of_the_back_end_is_what_was_published() {
        let client = SessionId::new(hub::Partition(1), 2, [3; 9]);
        assert_eq!(values_of(&values(r#"[{"a":1}]"#), None), r#"{"a":1}"#);
        assert_eq!(values_of(&values(r#"[{"a":1}]"#), Some(client)), r#"[{"a":1}]"#);
        assert_eq!(values_of(&values("[1,[2]]"), None), "[1,[2]]");
        assert_eq!(values_of(&values("[]"), None), "[]");
    }

    #[test]
    fn a_fifo_queue_knows_a_copy_by_its_message() {
        let id = MessageId(1_795_320_000_000 << 80 | 7);
        let text = text_of_id(id);
        let event = CloudEvent {
            id: &text,
            source: "/channels",
            kind: CHANNEL_MESSAGE,
            subject: "tea",
            time_ms: time_ms(id),
            extensions: &[],
            data: Data::Json("\"\u{ffff}\""),
        };
        let copy = copy_of(id, &event, QueueKind::Fifo, "tea time");
        assert_eq!(copy.deduplication.as_deref(), Some(text.as_str()));
        assert_eq!(copy.group.as_deref(), Some("tea%20time"));
        let content = Content::decode(&copy.content).unwrap();
        assert_eq!(content.body.len(), copy.size_bytes as usize);
        assert!(content.body.contains(r#""time":"2026-11-22T04:00:00.000Z""#), "{}", content.body);
        assert!(content.body.ends_with(r#""data":"\uffff"}"#), "{}", content.body);
        let copy = copy_of(id, &event, QueueKind::Standard, "tea time");
        assert_eq!((copy.group, copy.deduplication), (None, None));
    }
}
